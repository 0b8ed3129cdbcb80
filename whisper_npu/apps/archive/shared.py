"""What all machines of a run share: its output folder and its recordings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shared:
    """What a worker must see as the driver does, or its machine lacks the folders of this run."""

    settings: str | None  # the content of archive.json, which is another one in each output folder
    recording: str | None  # the path of a recording; None: they have URLs, which are no machine's own
