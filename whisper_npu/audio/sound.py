"""A recording that was read: its samples, wherever they lie, and what was seen of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from types import TracebackType

from whisper_npu.audio.samples import SAMPLE_RATE
from whisper_npu.audio.store import InMemory, Samples, Store


@dataclass(frozen=True)
class Sound:
    """Samples at 16 kHz, mono, that are read piece by piece. A context manager, which lets them go.

    A recording of any length takes little memory: see `Store`.
    """

    name: str  # as messages call the recording
    kept_in: Store | InMemory

    @property
    def n_samples(self) -> int:
        """At 16 kHz."""
        return self.kept_in.n_samples

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / SAMPLE_RATE

    @property
    def peak(self) -> float:
        """The loudest sample's magnitude; floats of a recording lie in -1..1."""
        return self.kept_in.peak

    @property
    def level(self) -> str:
        """How loud it is, in words."""
        if self.peak == 0:
            return "all of its samples are 0"
        return f"its loudest sample is at {20 * log10(self.peak):.0f} dB"

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32."""
        return self.kept_in.samples(start, stop)

    def close(self) -> None:
        if isinstance(self.kept_in, Store):
            self.kept_in.close()

    def __enter__(self) -> Sound:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
