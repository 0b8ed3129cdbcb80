"""Changes of a text: each makes one thing of a design wrong, or only writes it otherwise."""

from __future__ import annotations

from collections.abc import Callable

Change = Callable[[str], str]


def put(old: str, new: str, which: int = 0) -> Change:
    """One place changes: the first, or number `which`."""

    def change(text: str) -> str:
        at = -1
        for _ in range(which + 1):
            at = text.index(old, at + 1)
        return text[:at] + new + text[at + len(old) :]

    return change


def put_all(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def without(line: str, which: int = 0) -> Change:
    """A line that begins so is left out."""

    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        found = [number for number, one in enumerate(lines) if one.strip().startswith(line)]
        del lines[found[which]]
        return "".join(lines)

    return change


def twice(line: str, which: int = 0) -> Change:
    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        found = [number for number, one in enumerate(lines) if one.strip().startswith(line)]
        lines.insert(found[which], lines[found[which]])
        return "".join(lines)

    return change


def exchanged(one: str, other: str) -> Change:
    """Two lines that begin so change places."""

    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        (a, b) = (next(n for n, line in enumerate(lines) if line.strip().startswith(x)) for x in (one, other))
        lines[a], lines[b] = lines[b], lines[a]
        return "".join(lines)

    return change


def both(first: Change, second: Change) -> Change:
    return lambda text: second(first(text))
