"""One recording of an archive."""

from __future__ import annotations

from dataclasses import dataclass

MISSING = "missing"  # the identity of what is not there


@dataclass(frozen=True)
class Source:
    name: str  # unique in the archive: its path below the folder, or as the manifest has it
    url: str  # what fsspec opens
    identity: str  # another one where the recording has changed: its size, and its time or etag
    stem: str  # of its files below the output folder, without an ending: talks/monday
    language: str | None = None  # as a manifest says; None: as the options say
    problem: str | None = None  # why it cannot be read, where that is known already: one line; it fails
