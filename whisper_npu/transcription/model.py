"""Speech to text: faster-whisper's loop and CTranslate2's decoder, with the encoder of this project.

faster-whisper gets the audio features in one place, `WhisperModel.encode`. It is replaced here, so that long
files, language detection, timestamps, VAD and temperature fallback all use this project's encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import RLock
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_npu.audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, load_audio, log_mel
from whisper_npu.cache import cache_folder
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_ops
from whisper_npu.errors import CheckpointError, UsageError
from whisper_npu.npu.device import Device, Run, merged
from whisper_npu.npu.open import open_device
from whisper_npu.npu.planner import Choice
from whisper_npu.staging import KeptIn
from whisper_npu.transcription.compute_type import AUTO, computes_in_int8, resolve_compute_type
from whisper_npu.transcription.libraries import ctranslate2, faster_whisper
from whisper_npu.transcription.loop import as_segment, run_loop, spoken
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.result import EncoderRun, Segment, Transcript, Transcription
from whisper_npu.without_torch import no_torch_notice

DEFAULT_MODEL = "base"

# Called with a stage, and its start and end in seconds on perf_counter's clock. Stages: "audio", "mel",
# "encoder" (one call of it), and "transcribe", which includes mel, encoder and decoding.
OnStage = Callable[[str, float, float], None]
OnRun = Callable[[Run], None]
# Called with a stage as it starts; what it returns is a context for as long as the stage lasts. Stages:
# "audio", "decode", which holds "mel" and "encoder" (one call of it), and "other" for the caller's part.
Stage = Callable[[str], AbstractContextManager[None]]
Audio = str | Path | BinaryIO | NDArray[np.floating]


class Model:
    """A checkpoint on a device, ready to transcribe. A context manager, which closes the device.

    Several threads may call it; one of them transcribes at a time.

    compute_type: the decoder's. decoder_folder: where the decoder is; None: in the checkpoint's own folder.
    kept_in: where the encoder's staged weights are kept for the next start; None: nowhere.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Device,
        kernel: str = "auto",
        *,
        compute_type: str = AUTO,
        decoder_folder: Path | None = None,
        kept_in: KeptIn | None = None,
    ) -> None:
        self.checkpoint = replace(checkpoint, encoder={})  # the arrays are not needed once they are staged
        self.device = device
        self._one_at_a_time = RLock()
        self._stage: Stage = _no_context
        folder = decoder_folder or checkpoint.decoder_folder
        compute_type = resolve_compute_type(compute_type)

        def staged_encoder() -> AudioEncoder:
            prepared = device.prepared(encoder_ops(checkpoint.dims), kernel)
            return AudioEncoder(checkpoint.dims, checkpoint.encoder, prepared, kept_in)

        # The decoder on this thread: memory that is freed while it is loaded serves this thread again.
        with ThreadPoolExecutor(1, "whisper-npu stages") as meanwhile:
            encoder = meanwhile.submit(staged_encoder)
            self._whisper = _EncodedOnDevice(folder, compute_type, device.threads.count)
            self.encoder = encoder.result()
        self._whisper.take(self.encoder)

    @property
    def compute_type(self) -> str:
        """The decoder's type, by CTranslate2's name."""
        name: str = self._whisper.model.compute_type
        return name

    @property
    def choice(self) -> Choice:
        """The encoder's kernels, and why they were chosen."""
        choice = self.encoder.device.choice
        assert choice is not None
        return choice

    def observe(self, on_run: OnRun, on_stage: OnStage) -> None:
        """Call these with every run and every stage, soon after each ends."""
        self._whisper.on_run = on_run
        self._whisper.on_stage = self._whisper.feature_extractor.on_stage = on_stage

    def within(self, stage: Stage) -> None:
        """Do every stage within the context that this gives for it, for example a meter's."""
        self._stage = self._whisper.stage = self._whisper.feature_extractor.stage = stage

    def transcribe(
        self,
        audio: Audio,
        options: TranscribeOptions | None = None,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Transcription:
        """audio: a file, "-" for stdin, an open binary file, or (n_samples,) float32 mono at 16 kHz.

        on_segment is called with each segment as soon as it is decoded.
        Raises AudioError, UsageError for a language or task that the model does not have, DeviceError.
        """
        options = options or TranscribeOptions()
        with self._one_at_a_time:
            language = self._language(options)
            with self._stage("audio"):
                start = perf_counter()
                samples = load_audio(audio)  # (n_samples,) float32
                audio_seconds = perf_counter() - start
            self._whisper.on_stage("audio", start, start + audio_seconds)
            duration = len(samples) / SAMPLE_RATE
            self._whisper.start_measuring()
            start = perf_counter()
            segments: list[Segment] = []
            in_callback = 0.0  # seconds that do not count as decoding
            with self._stage("decode"):
                found, info = run_loop(self._whisper, samples, options, language)
                for segment in spoken(found, samples):
                    segments.append(as_segment(segment, id=len(segments)))
                    if on_segment:
                        handed_over = perf_counter()
                        with self._stage("other"):
                            on_segment(segments[-1])
                        in_callback += perf_counter() - handed_over
            self._whisper.on_stage("transcribe", start, perf_counter())
            total = perf_counter() - start - in_callback
            encoder, mel_seconds = self._whisper.measured()
            return Transcription(
                transcript=Transcript(
                    segments=tuple(segments),
                    language=info.language,
                    language_probability=float(info.language_probability),
                    duration=duration,
                ),
                encoder=encoder,
                audio_seconds=audio_seconds,
                mel_seconds=mel_seconds,
                decode_seconds=total - encoder.total_seconds - mel_seconds,
            )

    def close(self) -> None:
        self.device.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _language(self, options: TranscribeOptions) -> str | None:
        """The code of the language asked for, if the model knows it."""
        known = self._whisper.supported_languages
        name = self.checkpoint.name
        if known == ["en"] and options.task == "translate":
            raise UsageError(f"model {name} cannot translate, it knows English only: take one without .en")
        if options.language is None:
            return None
        code = options.language.lower()
        if code not in known:
            with no_torch_notice():  # takes 1.5 s
                from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

            code = TO_LANGUAGE_CODE.get(code, code)
        if code not in known:
            raise UsageError(
                f"model {name} does not know language {options.language!r}: it knows {', '.join(known)}"
            )
        return code


class _EncodedOnDevice(faster_whisper.WhisperModel):  # type: ignore[misc]  # faster-whisper is untyped
    """faster-whisper's model with `encode` on the device; CTranslate2 does the decoding.

    It is loaded without an encoder, which `take` gives it.
    """

    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        try:
            super().__init__(str(folder), device="cpu", compute_type=compute_type, cpu_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"CTranslate2 cannot open {folder}: {str(error).splitlines()[0]}"
            ) from error
        self._runs: tuple[Run, ...] = ()  # of the encoder, since `start_measuring`
        self._last: tuple[F32, F32] | None = None  # the last window and its audio features
        self.on_stage: OnStage = _ignore_stage
        self.on_run: OnRun = _ignore_run
        self.stage: Stage = _no_context

    def take(self, encoder: AudioEncoder) -> None:
        """Encode by this from here on."""
        self._npu_encoder = encoder
        self.feature_extractor: _MeasuredFeatures = _MeasuredFeatures(encoder.dims)
        self.start_measuring()

    def encode(self, features: F32) -> Any:
        """features: (n_mels, n_frames) or (batch, n_mels, n_frames) float32.

        Returns a StorageView (batch, n_audio_ctx, n_audio_state) float32. The window in which the language
        was detected is not encoded again.
        """
        with self.stage("encoder"):
            return self._encode(features)

    def _encode(self, features: F32) -> Any:
        start = perf_counter()
        frames = 2 * self._npu_encoder.dims.n_audio_ctx  # faster-whisper always pads to 30 s
        self._npu_encoder.device.trim()  # what the decoder left
        windows = faster_whisper.audio.pad_or_trim(features, frames).reshape(-1, features.shape[-2], frames)
        encoded = np.empty((len(windows), *self._npu_encoder.shape), np.float32)
        for number, mel in enumerate(windows):
            if self._last is None or not np.array_equal(mel, self._last[0]):
                with self._npu_encoder.device.recording() as recording:
                    self._last = mel.copy(), self._npu_encoder(mel)
                self._windows += 1
                self._runs = merged([*self._runs, *recording.runs])
                for run in recording.runs:
                    self.on_run(run)
            encoded[number] = self._last[1]
        self._npu_encoder.device.trim()  # for the decoder
        end = perf_counter()
        self._encoder_seconds += end - start
        self.on_stage("encoder", start, end)
        return ctranslate2.StorageView.from_array(encoded)

    def detect_language(
        self, *, features: F32, language_detection_segments: int, language_detection_threshold: float
    ) -> Any:
        """features: (n_mels, n_frames) float32, with one frame behind the recording's end.

        Without that frame the window equals the first one that is decoded, and need not be encoded twice.
        """
        return super().detect_language(
            features=features[:, : max(1, features.shape[1] - 1)],
            language_detection_segments=language_detection_segments,
            language_detection_threshold=language_detection_threshold,
        )

    def start_measuring(self) -> None:
        self._last = None
        self._windows = 0
        self._encoder_seconds = 0.0
        self.feature_extractor.seconds = 0.0
        self._runs = ()

    def measured(self) -> tuple[EncoderRun, float]:
        """What the encoder ran since `start_measuring`, and the seconds that the log-mel took."""
        return EncoderRun(self._windows, self._runs, self._encoder_seconds), self.feature_extractor.seconds


class _MeasuredFeatures:
    """faster-whisper's feature extractor: `log_mel` for the checkpoint's bands, with a stopwatch."""

    sampling_rate = SAMPLE_RATE
    hop_length = HOP_LENGTH
    time_per_frame = HOP_LENGTH / SAMPLE_RATE  # seconds

    def __init__(self, dims: ModelDimensions) -> None:
        self._n_mels = dims.n_mels
        # The length of a window: what the positions cover, but at most faster-whisper's 30 s.
        self.nb_max_frames = min(N_FRAMES, 2 * dims.n_audio_ctx)
        self.n_samples = self.nb_max_frames * HOP_LENGTH
        self.seconds = 0.0
        self.on_stage: OnStage = _ignore_stage
        self.stage: Stage = _no_context

    def __call__(self, samples: F32, chunk_length: None = None) -> F32:
        """samples: (n_samples,) float32. Returns (n_mels, n_frames) float32. chunk_length is not used."""
        with self.stage("mel"):
            start = perf_counter()
            mel = log_mel(samples, self._n_mels)
            end = perf_counter()
        self.seconds += end - start
        self.on_stage("mel", start, end)
        return mel


def _ignore_run(run: Run) -> None:
    """The default: nobody observes."""


def _ignore_stage(stage: str, start: float, end: float) -> None:
    """The default: nobody observes."""


def _no_context(stage: str) -> AbstractContextManager[None]:
    """The default: a stage needs nothing around it."""
    return nullcontext()


def _silent(step: str) -> None:
    """The default: no progress is shown."""


def load_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | Device = "auto",
    kernel: str = "auto",
    threads: int | None = None,
    compute_type: str = AUTO,
    cache_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Model:
    """Load a model by name, folder or hub id, and stage its encoder on a device.

    model, cache_dir, progress: as in `whisper_npu.checkpoint.load_checkpoint`.
    device: "auto", "npu", "emulator", or a device from `open_device`; the model closes it.
    kernel: "auto", "gemm", or a kernel's name.
    threads: for encoder and decoder, None for one per core; not used with a device that is open already.
    compute_type: the decoder's, "auto" or one of CTranslate2's names, such as "float32".

    Raises UnknownModelError, CheckpointError, UnknownKernelError, DeviceNotFoundError, UsageError.
    """
    opened = open_device(device, threads=threads) if isinstance(device, str) else device
    try:
        compute_type = resolve_compute_type(compute_type)
        checkpoint = load_checkpoint(model, cache_dir=cache_dir, progress=progress)
        cache, report = cache_folder(cache_dir), progress or _silent
        decoder_folder = decoder_alone(
            checkpoint.decoder_folder,
            int8=computes_in_int8(compute_type),
            cache_folder=cache,
            progress=report,
        )
        kept_in = KeptIn(cache, checkpoint.encoder_identity, report)
        return Model(
            checkpoint,
            opened,
            kernel,
            compute_type=compute_type,
            decoder_folder=decoder_folder,
            kept_in=kept_in,
        )
    except BaseException:
        opened.close()
        raise


def transcribe(
    audio: Audio, *, model: str | Path = DEFAULT_MODEL, options: TranscribeOptions | None = None
) -> Transcription:
    """Transcribe one recording. `load_model` is for several, and for choosing device and kernel."""
    with load_model(model) as loaded:
        return loaded.transcribe(audio, options)
