"""A recording that was read: its samples, wherever they lie, and what was seen of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log10
from types import TracebackType

import numpy as np
import numpy.typing as npt

from whisper_npu.audio.damage import MOST, Damage
from whisper_npu.audio.samples import SAMPLE_RATE, Alone
from whisper_npu.audio.store import Excerpt, InMemory, Samples, Store

OFFSET = 0.05  # ordinary recordings have up to 0.02, which does no harm
_FAINTEST = -120  # dB of full scale: what is fainter is no sound of a recorder


@dataclass(frozen=True)
class Sound:
    """Samples at 16 kHz, mono, that are read piece by piece. A context manager, which lets them go.

    A recording of any length takes little memory: see `Store`.
    """

    name: str  # as messages call the recording
    kept_in: Store | InMemory | Excerpt
    damage: tuple[Damage, ...] = ()  # what is lost of it, in the order of time
    alone: tuple[Alone, ...] = ()  # where one channel is heard, since all cancel each other out
    track: int = 1  # which of the audio tracks it is, from 1
    n_tracks: int = 1  # how many audio tracks the file has

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a listener should know, without the name: damage, and other things."""
        phase = [f"its channels cancel each other out (opposite phase){one}" for one in self.alone[:MOST]]
        if len(self.alone) > MOST:
            phase[-1] += f"; so it is in {len(self.alone) - MOST} other places"
        return (*phase, *map(str, self.damage))

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
        """The loudest sample's magnitude, without an offset; floats of a recording lie in -1..1."""
        return self.kept_in.levels.swing if self.has_offset else self.kept_in.peak

    @property
    def has_offset(self) -> bool:
        """Whether the offset is more than recordings usually have."""
        return self.offset > OFFSET

    @property
    def offset(self) -> float:
        """How far all samples are moved to one side (DC): the largest mean of a quarter of a second."""
        return self.kept_in.levels.offset

    @property
    def levels(self) -> npt.NDArray[np.float32]:
        """How loud it is from one `LEVEL_STEP` to the next, without clicks and offset: see `Levels`."""
        return self.kept_in.levels.values()

    @property
    def level(self) -> str:
        """How loud it is, in words, and which track it is if there are others to choose from."""
        loudest = "all of its samples are 0" if self.n_samples else "it has no samples"
        if self.peak:
            decibels = 20 * log10(self.peak)
            place = f"at {decibels:.0f}" if decibels > _FAINTEST else f"below {_FAINTEST}"
            loudest = f"its loudest sample is {place} dB"
        if self.has_offset:
            loudest += f" beside an offset (DC) of {self.offset:.2f}"
        if self.n_tracks == 1:
            return loudest
        return f"{loudest}; it is audio track {self.track} of {self.n_tracks}: choose another by audio_track"

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32."""
        return self.kept_in.samples(start, stop)

    def part(self, start: int, stop: int) -> Sound:
        """From sample `start` to before sample `stop`, as a recording of its own, while this one is open.

        Its level is its own. What is lost of the recording is not told again: `warnings` is empty.
        """
        return replace(self, kept_in=Excerpt(self.kept_in, start, stop), damage=(), alone=())

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
