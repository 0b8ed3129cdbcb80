"""Which known name a mistyped one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 100  # characters that are compared: no name is longer
NEAR = 0.7  # difflib's ratio: "bsae" to "base" has 0.75, "patience" to "batched" 0.53


def near_names(word: str, names: Iterable[str], cutoff: float = NEAR) -> list[str]:
    """At most three names near the word, in any case, the nearest first; none if nothing is near.

    cutoff: difflib's least ratio, 0 to 1.
    """
    import difflib  # only where something is wrong

    known = {name.lower(): name for name in names}
    return [
        known[name] for name in difflib.get_close_matches(word[:_LONGEST].lower(), known, n=3, cutoff=cutoff)
    ]


def did_you_mean(word: str, names: Iterable[str], cutoff: float = NEAR) -> str:
    """A question for a message; empty if nothing is near."""
    near = near_names(word, names, cutoff)
    return f"did you mean {' or '.join(near)}?" if near else ""
