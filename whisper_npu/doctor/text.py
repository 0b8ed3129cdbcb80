"""A diagnosis for people: the verdict, what stands in the way, and then the details."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from whisper_npu.doctor import NEEDS, Check, Diagnosis, Status

WIDTH = 80  # of every terminal
ID = 9  # the longest name of a check


def as_text(diagnosis: Diagnosis) -> str:
    return "\n".join(_lines(diagnosis)) + "\n"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield from _wrapped(diagnosis.verdict)
    causes, others = diagnosis.causes, _others(diagnosis)
    if causes:
        yes = diagnosis.runs_on_npu
        yield from ("", "What is wrong all the same:" if yes else "What keeps it from the NPU:")
        for check in causes:
            yield from _remedied(check)
        failing, unseen = (_ids(diagnosis, status) for status in (Status.PROBLEM, Status.SKIPPED))
        if failing:
            yield from _wrapped(f"What follows: {failing}", first="  ", rest="    ")
        if unseen:
            yield from _wrapped(f"Not looked at: {unseen}", first="  ", rest="    ")
    if others:
        yield from ("", "What else could be better:")
        for check in others:
            yield from _remedied(check)
    yield from ("", "Details:")
    for check in diagnosis.checks:
        if check.status is not Status.SKIPPED:
            first = f"  {check.status.value:8} {check.id:{ID}} "
            yield from _wrapped(check.found, first=first, rest=" " * len(first))


def _remedied(check: Check) -> Iterator[str]:
    yield from _wrapped(f"{check.id}: {check.found}", first="  ", rest="    ")
    yield from _wrapped(f"-> {check.remedy}", first="    ", rest="       ")


def _ids(diagnosis: Diagnosis, status: Status) -> str:
    return ", ".join(check.id for check in diagnosis.follows if check.status is status)


def _others(diagnosis: Diagnosis) -> tuple[Check, ...]:
    """Problems that the NPU has nothing to do with."""
    return tuple(check for check in diagnosis.checks if check.is_problem and check.id not in NEEDS)


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """Neither words nor paths are broken."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
