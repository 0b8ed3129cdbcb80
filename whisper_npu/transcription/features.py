"""The log-mel of a recording, for faster-whisper's loop."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from whisper_npu.audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, log_mel
from whisper_npu.dtypes import F32
from whisper_npu.encoder import ModelDimensions
from whisper_npu.transcription.stages import OnStage, Stage, ignore_stage, no_context, no_question


class MeasuredFeatures:
    """faster-whisper's feature extractor: `log_mel` for the checkpoint's bands, with a stopwatch."""

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

    def __call__(self, samples: F32, chunk_length: int | None = None) -> F32:
        """samples: (n_samples,) float32. Returns (n_mels, n_frames) float32.

        chunk_length: seconds of the windows in which the recording is decoded; None: as long as can be.
        """
        asked = self._n_frames if chunk_length is None else chunk_length * SAMPLE_RATE // HOP_LENGTH
        self.nb_max_frames = min(asked, self._n_frames)
        with self.stage("mel"):
            start = perf_counter()
            mel = log_mel(samples, self._n_mels, self.go_on)
            end = perf_counter()
        self.seconds += end - start
        self.on_stage("mel", start, end)
        return mel
