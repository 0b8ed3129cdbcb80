"""The log-mel of a recording, for faster-whisper's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from whisper_npu.audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, InMemory, LogMel, SampleSource
from whisper_npu.dtypes import F32
from whisper_npu.encoder import ModelDimensions
from whisper_npu.transcription.stages import OnStage, Stage, ignore_stage, no_context, no_question


class MeasuredFeatures:
    """faster-whisper's feature extractor: the log-mel for the checkpoint's bands, with a stopwatch."""

    sampling_rate = SAMPLE_RATE
    hop_length = HOP_LENGTH
    time_per_frame = HOP_LENGTH / SAMPLE_RATE  # seconds

    def __init__(self, dims: ModelDimensions) -> None:
        self._n_mels = dims.n_mels
        # The length of a window: what the positions cover, but at most faster-whisper's 30 s.
        self._n_frames = min(N_FRAMES, 2 * dims.n_audio_ctx)
        self.n_samples = self._n_frames * HOP_LENGTH
        self.chunk_length = self.n_samples / SAMPLE_RATE  # seconds
        self.nb_max_frames = self._n_frames  # of the windows of this recording
        self.seconds = 0.0
        self.on_stage: OnStage = ignore_stage
        self.stage: Stage = no_context
        self.go_on: Callable[[], None] = no_question  # raises where the work is to end
        self._heard: Mel | None = None

    def mel_of(self, source: SampleSource) -> Mel:
        """Its log-mel, which is looked through once for its loudest frame."""
        with self.measured():
            return Mel(LogMel(source, self._n_mels, self.go_on), self)

    @contextmanager
    def hearing(self, mel: Mel) -> Iterator[None]:
        """Meanwhile this is the log-mel of whatever samples faster-whisper gives."""
        self._heard = mel
        try:
            yield
        finally:
            self._heard = None

    def __call__(self, samples: F32, chunk_length: int | None = None) -> Any:
        """samples: (n_samples,) float32. Returns (n_mels, n_frames) float32, or what is sliced like it.

        chunk_length: seconds of the windows in which the recording is decoded; None: as long as can be.
        """
        self.set_window(chunk_length)
        return self._heard or self.mel_of(InMemory(samples))[:, :]

    def set_window(self, chunk_length: int | None) -> None:
        """chunk_length: as above."""
        asked = self._n_frames if chunk_length is None else chunk_length * SAMPLE_RATE // HOP_LENGTH
        self.nb_max_frames = min(asked, self._n_frames)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """For whatever belongs to the log-mel."""
        with self.stage("mel"):
            start = perf_counter()
            yield
            end = perf_counter()
        self.seconds += end - start
        self.on_stage("mel", start, end)


class Mel:
    """A log-mel, (n_mels, n_frames) float32, whose slices are computed, and measured, when they are taken."""

    def __init__(self, mel: LogMel, features: MeasuredFeatures) -> None:
        self._mel, self._features = mel, features
        self.shape = mel.shape
        self.position = 0  # the first frame of the slice that was taken last

    def __getitem__(self, key: tuple[Any, slice]) -> F32:
        """[:, start:stop] or [..., start:stop] -> (n_mels, stop - start) float32."""
        with self._features.measured():
            self.position = key[1].start or 0
            return self._mel[key]
