"""Which known name a mistyped one was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_NEAR = 0.7  # difflib's ratio: "bsae" to "base" has 0.75, "patience" to "batched" 0.53


def near_names(word: str, names: Iterable[str]) -> list[str]:
    """At most three names near the word, the nearest first; none if nothing is near."""
    known = {name.lower(): name for name in names}
    return [known[name] for name in difflib.get_close_matches(word.lower(), known, n=3, cutoff=_NEAR)]


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A question for a message; empty if nothing is near."""
    near = near_names(word, names)
    return f"did you mean {' or '.join(near)}?" if near else ""
