"""What one run over an archive asks for: small, frozen, and the same in every process that works on it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from math import inf, isinf
from typing import Any

from whisper_npu.apps.archive.stores import is_url, local_path
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.errors import UsageError
from whisper_npu.home import expanded
from whisper_npu.npu.device_names import device_name
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.options import NpuOptions
from whisper_npu.output import Layout
from whisper_npu.output.formats import check_format
from whisper_npu.transcription.compute_type import AUTO
from whisper_npu.transcription.load import DEFAULT_MODEL
from whisper_npu.transcription.options import WHOLE_RECORDING, TranscribeOptions

PART_MINUTES = 10.0
_SHORTEST_PART = 1.0  # seconds
_LONGEST_WHOLE = 1.5  # parts that a recording may last which is not cut


@dataclass(frozen=True)
class Wanted:
    """Where the work is done, and by how many."""

    address: str | None = None  # of a cluster, HOST:PORT; "local": Ray is started here. None: what is there
    n_workers: int | None = None  # at most; None: as many as the machines have room for
    threads: int | None = None  # of each worker; None: up to four
    memory: int = 0  # bytes that a worker needs


@dataclass(frozen=True)
class AskedArchive:
    """Raises UsageError for a value out of range, and for a format that does not exist.

    The names are those of the command line. Credentials belong where fsspec finds them, on each machine.
    """

    out: str  # the folder that is written: a path, or a URL that fsspec opens

    # What is written
    formats: tuple[str, ...] = ()
    layout: Layout = field(default_factory=Layout)
    options: TranscribeOptions = field(default_factory=TranscribeOptions)

    # The recordings
    part_minutes: float = PART_MINUTES  # about how long a part of a long recording is; inf: none is cut
    audio_track: int | None = None
    strict: bool = False  # a damaged recording fails
    max_seconds: float = inf  # a longer one fails

    # The model, and what it runs on: as for `load_model`
    model: str = DEFAULT_MODEL
    model_dir: str | None = None
    local_files_only: bool = False
    device: str = "auto"
    kernel: str = "auto"
    fidelity: Fidelity = Fidelity.FAST
    compute_type: str = AUTO
    kernels: tuple[str, ...] = ()
    timeout: float = NpuOptions.timeout_seconds
    check_results: str = "auto"
    on_device_error: str = "fail"
    threads: int | None = None  # of one worker; None: one per core

    def __post_init__(self) -> None:
        if not self.out:
            raise UsageError("--out is empty; is it a variable of the shell that is not set?", option="out")
        for fmt in self.formats:
            check_format(fmt)
        if not self.part_seconds >= _SHORTEST_PART:
            raise UsageError(
                f"part_minutes is {self.part_minutes:g}, must be at least {_SHORTEST_PART / 60:.2g}; "
                "inf: no recording is cut",
                option="part_minutes",
            )
        has_cues = not {"srt", "vtt", "lrc"}.isdisjoint(self.formats)
        if self.layout.needs_words and has_cues and not self.options.word_timestamps:
            raise UsageError(
                "max_line_width, max_words_per_line and highlight_words need the time of every word: "
                "switch word_timestamps on",
                option="word_timestamps",
            )
        object.__setattr__(self, "device", device_name(self.device))
        # Other processes have other current folders.
        object.__setattr__(self, "out", self.out if is_url(self.out) else local_path(self.out))
        object.__setattr__(self, "kernels", tuple(map(local_path, self.kernels)))
        if self.model_dir is not None:
            object.__setattr__(self, "model_dir", local_path(self.model_dir))
        if self.model not in HUB_IDS and os.path.isdir(expanded(self.model)):
            object.__setattr__(self, "model", local_path(self.model))

    @property
    def part_seconds(self) -> float:
        """About how long a part of a long recording is."""
        return 60 * self.part_minutes

    def cuts(self, seconds: float) -> bool:
        """Whether a recording of this length is cut. Clips are taken from the recording as a whole."""
        return (
            seconds > _LONGEST_WHOLE * self.part_seconds and self.options.clip_timestamps == WHOLE_RECORDING
        )

    def settings(self) -> dict[str, Any]:
        """All that decides what is written of a recording, by the options' names, for JSON.

        What may change from one run over an archive to the next, such as threads, is not here.
        """
        decisive = {
            "model": self.model,
            "device": self.device,
            "kernel": self.kernel,
            "fidelity": self.fidelity.value,
            "compute_type": self.compute_type,
            "formats": ",".join(sorted(set(self.formats))),
            "part_minutes": self.part_minutes,
            "audio_track": self.audio_track,
            "strict": self.strict,
            **asdict(self.options),
            **asdict(self.layout),
        }
        return {name: _for_json(value) for name, value in decisive.items()}


def _for_json(value: Any) -> Any:
    """JSON has no infinity, and no tuples."""
    if isinstance(value, float) and isinf(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
