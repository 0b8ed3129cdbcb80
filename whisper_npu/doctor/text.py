"""A diagnosis for people: the verdict, what stands in the way, and then the details."""

from __future__ import annotations

from collections.abc import Iterator

from whisper_npu.doctor import NEEDS, Check, Diagnosis, Status
from whisper_npu.errors import shown
from whisper_npu.page import wrap
from whisper_npu.screen import PLAIN, Screen

ID = 9  # the longest name of a check
BESIDE = 60  # columns from which what was found stands beside its check's name, not below it
SIGNS = {Status.OK: "✓", Status.PROBLEM: "✗"}
COLOURS = {Status.OK: "green", Status.PROBLEM: "red"}


def as_text(diagnosis: Diagnosis, screen: Screen = PLAIN) -> str:
    return "\n".join(_lines(diagnosis, screen)) + "\n"


def _lines(diagnosis: Diagnosis, screen: Screen) -> Iterator[str]:
    verdict = wrap(shown(diagnosis.verdict), screen.width)
    yield from (screen.styled(line, "bold") for line in verdict)
    causes, others = diagnosis.causes, _others(diagnosis)
    if causes:
        yes = diagnosis.runs_on_npu
        yield from ("", "What is wrong all the same:" if yes else "What keeps it from the NPU:")
        for check in causes:
            yield from _remedied(check, screen)
        failing, unseen = (_ids(diagnosis, status) for status in (Status.PROBLEM, Status.SKIPPED))
        if failing:
            yield from wrap(f"What follows: {failing}", screen.width, first="  ", rest="    ")
        if unseen:
            yield from wrap(f"Not looked at: {unseen}", screen.width, first="  ", rest="    ")
    if others:
        yield from ("", "What else could be better:")
        for check in others:
            yield from _remedied(check, screen)
    yield from ("", "Details:")
    for check in diagnosis.checks:
        if check.status is not Status.SKIPPED:
            yield from _detail(check, screen)


def _remedied(check: Check, screen: Screen) -> Iterator[str]:
    yield from wrap(f"{check.id}: {shown(check.found)}", screen.width, first="  ", rest="    ")
    yield from wrap(f"-> {shown(check.remedy or '')}", screen.width, first="    ", rest="       ")


def _detail(check: Check, screen: Screen) -> Iterator[str]:
    status = SIGNS[check.status] if screen.signs else f"{check.status.value:8}"
    first, found = f"  {status} {check.id:{ID}} ", shown(check.found)
    longest = max(map(len, found.split()))  # perhaps a path
    if screen.width >= max(BESIDE, len(first) + longest):
        lines = wrap(found, screen.width, first=first, rest=" " * len(first))
    else:
        lines = wrap(f"{status.rstrip()} {check.id}: {found}", screen.width, first="  ", rest="    ")
    word = status.rstrip()
    yield lines[0].replace(word, screen.styled(word, COLOURS[check.status]), 1)
    yield from lines[1:]


def _ids(diagnosis: Diagnosis, status: Status) -> str:
    return ", ".join(check.id for check in diagnosis.follows if check.status is status)


def _others(diagnosis: Diagnosis) -> tuple[Check, ...]:
    """Problems that the NPU has nothing to do with."""
    return tuple(check for check in diagnosis.checks if check.is_problem and check.id not in NEEDS)
