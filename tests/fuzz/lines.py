"""What may be printed."""

from __future__ import annotations

import unicodedata

LONGEST = 2000  # characters of a line; names have up to 255
_REORDERING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}  # Unicode's UAX #9


def is_line(text: str) -> bool:
    """Whether it is one line that a terminal shows and does not obey, and that cannot pass for another."""
    disturbing = {"Cc", "Cs", "Zl", "Zp"}
    return len(text) < LONGEST and not any(
        unicodedata.category(letter) in disturbing or letter in _REORDERING for letter in text
    )
