"""All hostile recordings, and whether what came of one is what must come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.fuzz import boxes, chunked, disguised, matroska, mpeg, riff, xiph
from tests.fuzz.hostile import EITHER, Hostile
from tests.fuzz.mutations import mutated
from tests.fuzz.reader import DAMAGE, LONGEST_SECONDS, Outcome


def hostile_recordings(seed: int = 0) -> Iterator[Hostile]:
    """The same ones for the same seed."""
    for family in (riff, chunked, xiph, mpeg, boxes, matroska):
        yield from family.hostile()
    yield from disguised.hostile(seed)
    yield from mutated(seed)


def in_the_suite(recordings: Iterable[Hostile]) -> Iterator[Hostile]:
    """Every second one of which it is known what must come, and every eighth of the others."""
    for number, recording in enumerate(recordings):
        if number % (8 if recording.expected is EITHER else 2) == 0:
            yield recording


def problem(recording: Hostile, outcome: Outcome) -> str | None:
    """What is wrong with the outcome, if anything."""
    expected, seconds = recording.expected, outcome.seconds
    if outcome.fault is not None:
        return outcome.fault
    if outcome.took > LONGEST_SECONDS:
        return f"took {outcome.took:.0f} s"
    if expected.refused and outcome.line is None:
        return f"{seconds:.2f} s were read, though it must be refused"
    if expected.seconds is not None:
        least, most = expected.seconds
        if seconds is None:
            return f"was refused, though {least:.2f} s can be read: {outcome.line}"
        if not least <= seconds <= most:
            return f"{seconds:.2f} s were read, not {least:.2f} to {most:.2f}; warned: {outcome.warnings}"
    if expected.warned and seconds is not None and not any(DAMAGE in words for words in outcome.warnings):
        return f"{seconds:.2f} s were read without a warning"
    return None
