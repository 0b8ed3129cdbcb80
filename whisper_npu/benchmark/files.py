"""The files that a benchmark writes: only those asked for, each completely or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.errors import UsageError, shown
from whisper_npu.extras import require_package
from whisper_npu.output import as_json, check_file, is_stream, write_atomically

PLOT_FORMATS = (".png", ".svg")


@dataclass(frozen=True)
class Files:
    """Where to write what; None: do not write it."""

    markdown: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    plot: Path | None = None
    trace: Path | None = None

    @property
    def asked(self) -> tuple[Path, ...]:
        all_kinds = (self.markdown, self.json, self.csv, self.plot, self.trace)
        return tuple(path for path in all_kinds if path is not None)

    @property
    def ending(self) -> str:
        """The last line on the screen, once they are written; empty where there are none."""
        return f"\nwrote {', '.join(map(shown, self.asked))}\n" if self.asked else ""

    def check(self) -> None:
        """Check before the work what would fail after it.

        Raises OutputError, UsageError, MissingPackageError.
        """
        for path in self.asked:
            check_file(path)
        regular = [path.resolve() for path in self.asked if not is_stream(path)]
        for path in regular:
            if regular.count(path) > 1:
                raise UsageError(f"{shown(path)}: would be written more than once; name different files")
        if self.plot is not None:
            if self.plot.suffix.lower() not in PLOT_FORMATS:
                raise UsageError(f"{shown(self.plot)}: a plot's name ends in {' or '.join(PLOT_FORMATS)}")
            require_package("matplotlib", "benchmark", "--plot")

    def write_tables(
        self, markdown: str, document: Mapping[str, object], rows: Sequence[Mapping[str, object]]
    ) -> None:
        """Write what every benchmark can: its text, all results as JSON, and its rows as CSV."""
        if self.markdown:
            write_atomically(self.markdown, markdown)
        if self.json:
            write_atomically(self.json, as_json(document))
        if self.csv:
            write_atomically(self.csv, as_csv(rows))


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same fields, below a header line; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
