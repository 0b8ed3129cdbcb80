"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    id: str
    status: Status
    found: str  # one line
    remedy: str | None = None  # one line; only a problem has one
    short: str | None = None  # of a problem: as the verdict names it; None: as found

    @property
    def is_problem(self) -> bool:
        return self.status is Status.PROBLEM


def ok(id: str, found: str) -> Check:
    return Check(id, Status.OK, found)


def problem(id: str, found: str, remedy: str, short: str | None = None) -> Check:
    return Check(id, Status.PROBLEM, found, remedy, short)


def skipped(id: str, why: str) -> Check:
    return Check(id, Status.SKIPPED, why)
