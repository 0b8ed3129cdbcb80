"""Speech to text: faster-whisper's loop and CTranslate2's decoder, with the encoder of this project.

faster-whisper gets the audio features in one place, `WhisperModel.encode`. It is replaced here, so that long
files, language detection, timestamps, VAD and temperature fallback all use this project's encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Lock, get_ident
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_npu.audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, load_audio, log_mel
from whisper_npu.cache import cache_folder
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.checkpoint.resolve import check_name
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_ops
from whisper_npu.errors import CheckpointError, UsageError
from whisper_npu.npu.device import Device, Run, merged
from whisper_npu.npu.open import open_device
from whisper_npu.npu.planner import Choice
from whisper_npu.staging import KeptIn
from whisper_npu.transcription.compute_type import AUTO, computes_in_int8, resolve_compute_type
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.libraries import ctranslate2, faster_whisper
from whisper_npu.transcription.loop import as_segment, check_clips, run_loop, spoken
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.prompt import check_tokens, prompt_tokens, with_prompt
from whisper_npu.transcription.result import EncoderRun, Segment, Transcription
from whisper_npu.transcription.stream import Decoded, Stream

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
        self._one_at_a_time = Lock()  # which another thread may release than the one that took it
        self._at_work: int | None = None  # the thread that took it
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
        Raises AudioError; DeviceError; UsageError for what the model does not know, or is too long for it,
        and if this thread is in the middle of another stream of this model.
        """
        with self.stream(audio, options) as stream:
            for segment in stream:
                if on_segment:
                    on_segment(segment)
            return stream.result()

    def stream(self, audio: Audio, options: TranscribeOptions | None = None) -> Stream:
        """The segments of `audio`, each decoded when it is asked for. audio, and what is raised: as above.

        Returns when the audio is loaded and its language known. The model is at work until the stream is
        exhausted, closed or dropped; other threads wait for that.
        """
        options = options or TranscribeOptions()
        self._check(options)
        decoded = Decoded(clips=options.clip_timestamps)
        return Stream(self._decode(audio, options, decoded), decoded)

    def detect_language(self, audio: Audio) -> tuple[str, float]:
        """The code of the language of the first 30 s, and its probability from 0 to 1.

        An English-only model says ("en", 1.0). audio: as for `transcribe`. Raises AudioError, DeviceError.
        """
        with self._alone():
            samples = load_audio(audio)  # (n_samples,) float32
            if not self._whisper.model.is_multilingual:
                return "en", 1.0
            self._whisper.start_measuring()
            language, probability, _ = self._whisper.detect_language(audio=samples)
            return language, float(probability)

    def _decode(
        self, audio: Audio, options: TranscribeOptions, decoded: Decoded
    ) -> Generator[Segment | None, None, None]:
        """The work of a stream: yields None once the language is known, then the segments."""
        with self._alone():
            with self._stage("audio"):
                start = perf_counter()
                samples = load_audio(audio)  # (n_samples,) float32
                decoded.audio_seconds = perf_counter() - start
            self._whisper.on_stage("audio", start, start + decoded.audio_seconds)
            decoded.duration = len(samples) / SAMPLE_RATE
            check_clips(options, decoded.duration)
            self._whisper.start_measuring()
            start = perf_counter()
            elsewhere = 0.0  # seconds in the caller's hands, which do not count as decoding

            @contextmanager
            def handed_over() -> Iterator[None]:
                nonlocal elsewhere
                since = perf_counter()
                try:
                    yield
                finally:
                    elsewhere += perf_counter() - since

            def measure() -> None:
                decoded.encoder, decoded.mel_seconds = self._whisper.measured()
                measured = decoded.encoder.total_seconds + decoded.mel_seconds
                decoded.decode_seconds = perf_counter() - start - elsewhere - measured

            try:
                with self._stage("decode"):
                    self._whisper.carried = self._carried(options)
                    found, info = run_loop(self._whisper, samples, options)
                    decoded.language = info.language
                    decoded.language_probability = float(info.language_probability)
                    self._whisper.follow(decoded.reach, options.clip_timestamps[0])
                    measure()
                    with handed_over():
                        yield None
                    for segment in spoken(found, samples, options):
                        one = as_segment(segment, id=len(decoded.segments), duration=decoded.duration)
                        decoded.segments.append(one)
                        decoded.reach(one.end)
                        measure()
                        with handed_over(), self._stage("other"):
                            yield one
                decoded.reach(decoded.duration)
                decoded.finished = True
            finally:
                measure()
                self._whisper.follow(_ignore_position, 0.0)
                self._whisper.carried = []
                self._whisper.on_stage("transcribe", start, perf_counter())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time: waits for other threads. Raises UsageError if this thread would wait for itself."""
        if self._at_work == get_ident():
            raise UsageError(
                "the model is in the middle of another recording: exhaust or close its stream first"
            )
        with self._one_at_a_time:
            self._at_work = get_ident()
            try:
                yield
            finally:
                self._at_work = None

    def close(self) -> None:
        self.device.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, options: TranscribeOptions) -> None:
        """Raises UsageError for what this model does not know."""
        name = self.checkpoint.name
        language = options.language
        if not self._whisper.model.is_multilingual:
            _check_english_only(name, options)
        elif language and self._whisper.hf_tokenizer.token_to_id(f"<|{language}|>") is None:
            raise UsageError(
                f"model {name} does not know {name_of(language)} ({language}): "
                "take a later one, such as turbo"
            )
        check_tokens(self._whisper, options)

    def _carried(self, options: TranscribeOptions) -> list[int]:
        """The tokens to put before every window's prompt; in batches faster-whisper does that itself."""
        if options.carry_initial_prompt and options.batch_size is None:
            return prompt_tokens(self._whisper, options)
        return []


def _check_english_only(name: str, options: TranscribeOptions) -> None:
    language = options.language
    remedy = "it knows English only: take one without .en"
    if options.task == "translate":
        raise UsageError(f"model {name} cannot translate, {remedy}")
    if options.multilingual or language not in (None, "en"):
        why = f"does not know {name_of(language)} ({language})" if language else "is not multilingual"
        raise UsageError(f"model {name} {why}, {remedy}")


class _EncodedOnDevice(faster_whisper.WhisperModel):  # type: ignore[misc]  # faster-whisper is untyped
    """faster-whisper's model with `encode` on the device; CTranslate2 does the decoding.

    It is loaded without an encoder, which `take` gives it.
    """

    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        try:
            with _no_conversion_warning():
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
        self.carried: list[int] = []  # the tokens before every window's prompt
        self.follow(_ignore_position, 0.0)
        self.feature_extractor: _MeasuredFeatures = _MeasuredFeatures(encoder.dims)
        self.start_measuring()

    def encode(self, features: F32) -> Any:
        """features: (n_mels, n_frames) or (batch, n_mels, n_frames) float32.

        Returns a StorageView (batch, n_audio_ctx, n_audio_state) float32. The window in which the language
        was detected is not encoded again.
        """
        self._on_position(self._position)
        # If nobody speaks in this window, the next one begins at its end.
        self._position += self.feature_extractor.nb_max_frames * self.feature_extractor.time_per_frame
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
        self,
        audio: F32 | None = None,
        features: F32 | None = None,
        vad_filter: bool = False,
        vad_parameters: Any = None,
        language_detection_segments: int = 1,
        language_detection_threshold: float = 0.5,
    ) -> Any:
        """features: (n_mels, n_frames) float32, with one frame behind the recording's end.

        Without that frame the window equals the first one that is decoded, and need not be encoded twice.
        """
        if features is not None:
            features = features[:, : max(1, features.shape[1] - 1)]
        return super().detect_language(
            audio,
            features,
            vad_filter,
            vad_parameters,
            language_detection_segments=language_detection_segments,
            language_detection_threshold=language_detection_threshold,
        )

    def get_prompt(
        self,
        tokenizer: Any,
        previous_tokens: list[int],
        without_timestamps: bool = False,
        prefix: str | None = None,
        hotwords: str | None = None,
    ) -> Any:
        """The tokens that a decoder reads before a window's text."""
        if self.carried:
            previous_tokens = with_prompt(self.carried, previous_tokens)
        return super().get_prompt(tokenizer, previous_tokens, without_timestamps, prefix, hotwords)

    def follow(self, on_position: Callable[[float], None], start: float) -> None:
        """Before each window is decoded, call this with the seconds where it begins. start: the first's."""
        self._on_position = on_position
        self._position = start

    def _split_segments_by_timestamps(self, **window: Any) -> Any:
        """faster-whisper calls it with what was said in a window, and learns where the next one begins."""
        segments, seek, ended = super()._split_segments_by_timestamps(**window)
        frames = seek - window["seek"]
        self._position = window["time_offset"] + frames * self.feature_extractor.time_per_frame
        return segments, seek, ended

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
        self._n_frames = min(N_FRAMES, 2 * dims.n_audio_ctx)
        self.n_samples = self._n_frames * HOP_LENGTH
        self.chunk_length = self.n_samples / SAMPLE_RATE  # seconds
        self.nb_max_frames = self._n_frames  # of the windows of this recording
        self.seconds = 0.0
        self.on_stage: OnStage = _ignore_stage
        self.stage: Stage = _no_context

    def __call__(self, samples: F32, chunk_length: int | None = None) -> F32:
        """samples: (n_samples,) float32. Returns (n_mels, n_frames) float32.

        chunk_length: seconds of the windows in which the recording is decoded; None: as long as can be.
        """
        asked = self._n_frames if chunk_length is None else chunk_length * SAMPLE_RATE // HOP_LENGTH
        self.nb_max_frames = min(asked, self._n_frames)
        with self.stage("mel"):
            start = perf_counter()
            mel = log_mel(samples, self._n_mels)
            end = perf_counter()
        self.seconds += end - start
        self.on_stage("mel", start, end)
        return mel


@contextmanager
def _no_conversion_warning() -> Iterator[None]:
    """CTranslate2 warns if it converts the weights' type; `Model.compute_type` says what it took."""
    before = ctranslate2.get_log_level()
    ctranslate2.set_log_level(logging.ERROR)
    try:
        yield
    finally:
        ctranslate2.set_log_level(before)


def _ignore_position(seconds: float) -> None:
    """The default: nobody follows."""


def _ignore_run(run: Run) -> None:
    """The default: nobody observes."""


def _ignore_stage(stage: str, start: float, end: float) -> None:
    """The default: nobody observes."""


def _no_context(stage: str) -> AbstractContextManager[None]:
    """The default: a stage needs nothing around it."""
    return nullcontext()


def _silent(step: str) -> None:
    """The default: no progress is shown."""


def check_model(name: str, options: TranscribeOptions) -> None:
    """What can be said of a model before it is loaded.

    Raises what `load_model` and `Model.stream` would raise: for a name that means nothing, and for a language
    or task that an English-only model (.en) does not have.
    """
    check_name(name)
    if name.lower().endswith(".en"):
        _check_english_only(name, options)


def load_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | Device = "auto",
    kernel: str = "auto",
    threads: int | None = None,
    compute_type: str = AUTO,
    cache_dir: Path | None = None,
    model_dir: Path | None = None,
    local_files_only: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Model:
    """Load a model by name, folder or hub id, and stage its encoder on a device.

    model, cache_dir, model_dir, local_files_only, progress: as in `whisper_npu.checkpoint.load_checkpoint`.
    device: "auto", "npu", "emulator", or a device from `open_device`. Closing the model closes it.
    kernel: "auto", "gemm", or a kernel's name.
    threads: for encoder and decoder, None for one per core; not used with a device that is open already.
    compute_type: the decoder's, "auto" or one of CTranslate2's names, such as "float32".

    Raises UnknownModelError, CheckpointError, UnknownKernelError, DeviceNotFoundError, UsageError.
    """
    opened = open_device(device, threads=threads) if isinstance(device, str) else device
    try:
        compute_type = resolve_compute_type(compute_type)
        checkpoint = load_checkpoint(
            model,
            cache_dir=cache_dir,
            model_dir=model_dir,
            local_files_only=local_files_only,
            progress=progress,
        )
        cache, report = cache_folder(cache_dir), progress or _silent
        decoder_folder = decoder_alone(
            checkpoint.decoder_folder,
            int8=computes_in_int8(compute_type),
            cache_folder=cache,
            progress=report,
        )
        kept_in = KeptIn(cache, checkpoint.encoder_identity, report, str(checkpoint.decoder_folder.resolve()))
        return Model(
            checkpoint,
            opened,
            kernel,
            compute_type=compute_type,
            decoder_folder=decoder_folder,
            kept_in=kept_in,
        )
    except BaseException:
        if isinstance(device, str):
            opened.close()
        raise


def transcribe(
    audio: Audio, *, model: str | Path = DEFAULT_MODEL, options: TranscribeOptions | None = None
) -> Transcription:
    """Transcribe one recording. `load_model` is for several, and for choosing device and kernel."""
    with load_model(model) as loaded:
        return loaded.transcribe(audio, options)
