"""Text with tables, once as Markdown for files and once for a screen, where nothing may be wider than it.

On a screen a wide table becomes several, one below the other, that begin with the same column.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from whisper_npu.markdown import as_table
from whisper_npu.screen import WIDTH, cells

_GAP = 2  # between columns
_TEXT = 16  # columns that a text is given at least, if it is that long
_FILLING = "\0"  # behind a wide character while lines are counted; no text that is shown has it
_ITEM = re.compile(r"( *)- ")


@dataclass(frozen=True)
class Table:
    """At least one row; all rows have the same heads, and the first column says what a row is about.

    left: heads of the columns that hold text; the other columns are aligned to the right.
    """

    rows: Sequence[Mapping[str, str]]
    left: Collection[str]


Page = Sequence[str | Table]  # texts are Markdown and end with a line break


def page_as_markdown(page: Page) -> str:
    """For files: texts as they are, tables as wide as they must be."""
    return "".join(as_table(block.rows, block.left) if isinstance(block, Table) else block for block in page)


def page_as_text(page: Page, width: int = WIDTH) -> str:
    """For a screen of so many columns: texts wrapped anew, tables cut."""
    return "".join(
        fitted(block, width) if isinstance(block, Table) else wrapped_markdown(block, width) for block in page
    )


def fitted(table: Table, width: int = WIDTH) -> str:
    """A table without lines, in so many columns of characters.

    Long heads and texts are wrapped; what has no room beside the first column follows in further tables.
    """
    widths = _widths(table, width)
    cuts = [_widened({head: widths[head] for head in heads}, width) for heads in _cuts(widths, width)]
    return "\n".join("".join(f"{line}\n" for line in _lines(table, cut)) for cut in cuts)


def _widths(table: Table, width: int) -> dict[str, int]:
    """The columns' widths. Where its texts can be wrapped for that, the first leaves room for all others.

    Its words, which may be names to copy, are broken only where no other column would fit beside them.
    """
    heads = list(table.rows[0])
    widths = {head: max(_longest_word(head), *(len(row[head]) for row in table.rows)) for head in heads}
    first, *others = heads
    if first in table.left:
        words = max(_longest_word(text) for text in (first, *(row[first] for row in table.rows)))
        beside_all = width - sum(_GAP + widths[head] for head in others)
        wanted = beside_all if beside_all >= words else max(words, width // 3)
        least = [min(widths[head], _TEXT) if head in table.left else widths[head] for head in others]
        beside_one = width - max((_GAP + columns for columns in least), default=0)
        widths[first] = min(widths[first], wanted, max(beside_one, _TEXT // 2))
    for head in others:
        if head in table.left:
            widths[head] = min(widths[head], width - widths[first] - _GAP)
    return widths


def _longest_word(text: str) -> int:
    return max((len(word) for word in text.split()), default=0)


def _cuts(widths: Mapping[str, int], width: int) -> Iterator[list[str]]:
    """The heads of each table."""
    first, *others = widths
    heads, used = [first], widths[first]
    for head in others:
        if len(heads) > 1 and used + _GAP + widths[head] > width:
            yield heads
            heads, used = [first], widths[first]
        heads.append(head)
        used += _GAP + widths[head]
    yield heads


def _widened(widths: Mapping[str, int], width: int) -> dict[str, int]:
    """With what is left of the screen given to heads that are wrapped, as far as that looks well."""
    left = width - sum(widths.values()) - _GAP * (len(widths) - 1)
    wider = {}
    for head, columns in widths.items():
        more = max(0, min(len(head), _TEXT) - columns)
        wider[head] = columns + min(more, left)
        left -= min(more, left)
    return wider


def _lines(table: Table, widths: Mapping[str, int]) -> Iterator[str]:
    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(widths[head]) if head in table.left else cell.rjust(widths[head])
            for head, cell in zip(widths, cells, strict=True)
        ]
        return (" " * _GAP).join(aligned).rstrip()

    def wrapped(row: Mapping[str, str], *, at_the_bottom: bool = False) -> Iterator[str]:
        cells = [textwrap.wrap(row[head], widths[head], break_on_hyphens=False) for head in widths]
        if at_the_bottom:
            highest = max(map(len, cells))
            cells = [[""] * (highest - len(cell)) + cell for cell in cells]
        for parts in zip_longest(*cells, fillvalue=""):
            yield line(parts)

    yield from wrapped({head: head for head in widths}, at_the_bottom=True)
    yield line(["-" * widths[head] for head in widths])
    for row in table.rows:
        yield from wrapped(row)


def wrapped_markdown(text: str, width: int = WIDTH) -> str:
    """Paragraphs, and the items of lists below their first word; headings without their signs."""
    parts: list[str] = []
    for line in text.splitlines():
        begins = not line or line.startswith("#") or _ITEM.match(line) or not parts or not parts[-1]
        if begins or parts[-1].startswith("#"):
            parts.append(line.rstrip())
        else:
            parts[-1] += f" {line.strip()}"
    return "".join(f"{part}\n" for part in _wrapped(parts, width))


def _wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    for part in parts:
        item = _ITEM.match(part)
        yield from wrap(
            part.lstrip("# "), width, first=item[1] if item else "", rest=" " * len(item[0]) if item else ""
        ) or [""]


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most so many columns, unless a word is longer: neither words nor paths are broken."""
    lines = textwrap.wrap(
        text if text.isascii() else "".join(map(_as_wide_as_shown, text)),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_FILLING, "") for line in lines]


def _as_wide_as_shown(character: str) -> str:
    """For textwrap, which counts characters: of a character that takes two columns it makes two."""
    return character + _FILLING * (cells(character) - 1)
