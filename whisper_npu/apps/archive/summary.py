"""What a run over an archive came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whisper_npu.apps.archive.tasks import Failed


@dataclass(frozen=True)
class Summary:
    n_before: int  # recordings that an earlier run had done
    n_done: int  # in this run
    failed: tuple[Failed, ...]
    n_left: int  # neither done nor failed: the run was stopped
    audio_seconds: float  # of the recordings that are done in this run
    wall_seconds: float  # MEASURED, from the list of recordings to the last line of results.jsonl
    ran_on: Mapping[str, int] = field(default_factory=dict)  # how many workers a device had, at most
    stopped_by: BaseException | None = None  # an interrupt, or an error that concerned all recordings
