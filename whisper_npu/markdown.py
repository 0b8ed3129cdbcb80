"""Markdown tables that are readable as plain text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def as_table(rows: Sequence[Mapping[str, str]], left: Collection[str]) -> str:
    """A table of at least one row; all rows have the same heads.

    left: heads of the columns that hold text; the other columns are aligned to the right.
    """
    heads = list(rows[0])
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}

    def line(row: Mapping[str, str]) -> str:
        cells = [row[h].ljust(widths[h]) if h in left else row[h].rjust(widths[h]) for h in heads]
        return f"| {' | '.join(cells)} |"

    rule = "|" + "|".join("-" * (widths[h] + 1) + ("-" if h in left else ":") for h in heads) + "|"
    return "\n".join([line({h: h for h in heads}), rule, *map(line, rows)]) + "\n"
