"""Values, and segments, that were kept as JSON, where whoever reads them trusts none of it.

Each function raises TypeError, ValueError or KeyError for what it does not find.
"""

from __future__ import annotations

import math
from typing import Any

from whisper_npu.transcription.transcript import Segment, Word


def segment(found: Any) -> Segment:
    given = dict(mapping(found))
    words = given.pop("words")
    return Segment(
        id=whole(given.pop("id")),
        seek=whole(given.pop("seek")),
        text=text(given.pop("text")),
        tokens=tuple(map(whole, sequence(given.pop("tokens")))),
        words=None if words is None else tuple(map(word, sequence(words))),
        **{name: number(value) for name, value in given.items()},
    )


def word(found: Any) -> Word:
    given = dict(mapping(found))
    return Word(word=text(given.pop("word")), **{name: number(value) for name, value in given.items()})


def mapping(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError(f"{type(found).__name__} in the place of an object")
    return found


def sequence(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise TypeError(f"{type(found).__name__} in the place of a list")
    return found


def text(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError(f"{type(found).__name__} in the place of text")
    return found


def whole(found: Any) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**53:
        raise ValueError("a number that is none, or out of range")
    return found


def number(found: Any) -> float:
    if not isinstance(found, (int, float)) or isinstance(found, bool) or not math.isfinite(found):
        raise ValueError("a number that is none, or out of range")
    return found
