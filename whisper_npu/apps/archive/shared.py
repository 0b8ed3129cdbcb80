"""What all machines of a run share: its output folder and its recordings."""

from __future__ import annotations

from dataclasses import dataclass

SETTINGS = "archive.json"  # in the output folder: another one in each, as its content says


@dataclass(frozen=True)
class Shared:
    """What a worker must see as the driver does, or its machine lacks the folders of this run."""

    settings: str | None  # the content of SETTINGS
    recording: str | None  # the path of a recording; None: they have addresses, which are no machine's own
