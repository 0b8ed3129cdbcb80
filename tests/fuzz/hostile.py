"""One hostile recording, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Expected:
    """What must come of a recording; by default samples or one line that says why there are none.

    seconds: samples must come, and last from so long to so long
    refused: one line must come
    warned: beside the samples there must be a warning
    """

    seconds: tuple[float, float] | None = None
    refused: bool = False
    warned: bool = False


EITHER = Expected()
REFUSED = Expected(refused=True)


def reads(least: float, most: float = inf, *, warned: bool = False) -> Expected:
    return Expected((least, most), warned=warned)


@dataclass(frozen=True)
class Hostile:
    """A recording as an attacker, a bad disk or a broken recorder makes it.

    name: its format and what is wrong with it, such as "flac/cut at half"
    suffix: how the name of its file ends
    n_zeros: how many more zero bytes the file has, as a hole in it
    """

    name: str
    suffix: str
    content: bytes
    expected: Expected = EITHER
    n_zeros: int = 0

    @property
    def kind(self) -> str:
        return self.name.partition("/")[0]
