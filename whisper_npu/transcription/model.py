"""Speech to text: faster-whisper's loop and CTranslate2's decoder, with the encoder of this project.

`WhisperModel.encode` is the one place where faster-whisper obtains an encoder's output; it is replaced, so
that long files, language detection, timestamps, VAD and temperature fallback all run on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import RLock
from time import perf_counter
from typing import Any, BinaryIO

import ctranslate2
import faster_whisper
import numpy as np
from faster_whisper.audio import pad_or_trim
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray

from whisper_npu.audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, load_audio, log_mel
from whisper_npu.cache import cache_folder
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_problems
from whisper_npu.errors import CheckpointError, UsageError
from whisper_npu.host.bf16 import F32
from whisper_npu.npu.device import Device, open_device
from whisper_npu.npu.matmul import OnProduct, Product, matmul_on
from whisper_npu.quiet_transformers import no_pytorch_needed
from whisper_npu.transcription.compute_type import AUTO, computes_in_int8, resolve_compute_type
from whisper_npu.transcription.result import Segment, Transcript, Word

DEFAULT_MODEL = "base"
TASKS = ("transcribe", "translate")
SHORTEST_REST = 1.0  # seconds of a window that are worth a decoding of their own; VAD pads speech by 0.4
NO_SPEECH_THRESHOLD = 0.6  # openai/whisper's: above it the model itself doubts that anybody speaks

# "audio", "mel", "encoder" (one call of it), or "transcribe", which encloses mel, encoder and decoding; with
# its start and end in seconds on perf_counter's clock.
OnStage = Callable[[str, float, float], None]
Audio = str | Path | BinaryIO | NDArray[np.floating]


@dataclass(frozen=True)
class TranscribeOptions:
    """How to transcribe, in the names and with the defaults of openai/whisper and faster-whisper."""

    language: str | None = None  # code ("de") or English name ("German"); None: detected
    task: str = "transcribe"  # or "translate", to English
    beam_size: int = 5
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # each next one where the last failed
    initial_prompt: str | None = None
    condition_on_previous_text: bool = True
    word_timestamps: bool = False
    vad_filter: bool = False  # cut out what Silero VAD hears no speech in, before transcribing
    batch_size: int | None = None  # windows decoded at a time, cut where VAD hears no speech; None: in turn

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UsageError(f"unknown task {self.task!r}: there are {', '.join(TASKS)}")
        if self.beam_size < 1:
            raise UsageError(f"beam_size is {self.beam_size}, must be at least 1")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}, must be at least 1")
        if not self.temperature or not all(0 <= t <= 1 for t in self.temperature):
            given = ", ".join(map(str, self.temperature))
            raise UsageError(f"temperature is {given or 'empty'}, must be a number, or several, from 0 to 1")


@dataclass(frozen=True)
class EncoderRun:
    """What the encoder did for one recording. Seconds are MEASURED."""

    windows: int  # of 30 s
    products: tuple[Product, ...]
    total_seconds: float

    @property
    def pack_seconds(self) -> float:
        """Rounding operands to bf16 and laying them out for the kernel."""
        return sum(product.pack_seconds for product in self.products)

    @property
    def kernel_seconds(self) -> float:
        """Inside the device."""
        return sum(product.kernel_seconds for product in self.products)

    @property
    def host_seconds(self) -> float:
        """The rest: softmax, GELU, norms, biases, slicing."""
        return self.total_seconds - self.pack_seconds - self.kernel_seconds


@dataclass(frozen=True)
class Transcription:
    """A transcript, and what it took. Seconds are MEASURED."""

    transcript: Transcript
    encoder: EncoderRun
    audio_seconds: float  # reading, resampling
    mel_seconds: float
    decode_seconds: float  # faster-whisper's loop and CTranslate2's decoder

    @property
    def text(self) -> str:
        return self.transcript.text


class Model:
    """A checkpoint on a device, ready to transcribe. A context manager, which closes the device.

    Of several threads that call at once, one transcribes at a time.

    compute_type: the decoder's. decoder_folder: with the checkpoint's decoder in it, None for its own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Device,
        kernel: str = "auto",
        *,
        compute_type: str = AUTO,
        decoder_folder: Path | None = None,
    ) -> None:
        self.checkpoint = replace(checkpoint, encoder={})  # once they are staged nobody needs the arrays
        self.device = device
        self._one_at_a_time = RLock()
        matmul = matmul_on(device, kernel, encoder_problems(checkpoint.dims))
        self.encoder = AudioEncoder(checkpoint.dims, checkpoint.encoder, matmul)
        folder = decoder_folder or checkpoint.decoder_folder
        self._whisper = _EncodedOnDevice(
            folder, resolve_compute_type(compute_type), self.encoder, device.threads.count
        )

    @property
    def compute_type(self) -> str:
        """What the decoder computes in, by CTranslate2's name for it."""
        name: str = self._whisper.model.compute_type
        return name

    def observe(self, on_product: OnProduct, on_stage: OnStage) -> None:
        """Have these called with every product and every stage, as each ends."""
        self.encoder.matmul.on_product = on_product
        self._whisper.on_stage = self._whisper.feature_extractor.on_stage = on_stage

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
        with self._one_at_a_time:
            return self._transcribed(audio, options or TranscribeOptions(), on_segment)

    def _transcribed(
        self, audio: Audio, options: TranscribeOptions, on_segment: Callable[[Segment], None] | None
    ) -> Transcription:
        language = self._language(options)
        start = perf_counter()
        samples = load_audio(audio)  # (n_samples,) float32
        audio_seconds = perf_counter() - start
        self._whisper.on_stage("audio", start, start + audio_seconds)
        duration = len(samples) / SAMPLE_RATE
        self._whisper.start_measuring()
        start = perf_counter()
        found, info = run_loop(self._whisper, samples, options, language)
        segments: list[Segment] = []
        elsewhere = 0.0  # what the caller does with a segment is no part of decoding it
        for segment in _spoken(found, samples):
            segments.append(_segment(segment, id=len(segments)))
            if on_segment:
                handed_over = perf_counter()
                on_segment(segments[-1])
                elsewhere += perf_counter() - handed_over
        self._whisper.on_stage("transcribe", start, perf_counter())
        total = perf_counter() - start - elsewhere
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
            with no_pytorch_needed():  # 1.5 s
                from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

            code = TO_LANGUAGE_CODE.get(code, code)
        if code not in known:
            raise UsageError(
                f"model {name} does not know language {options.language!r}: it knows {', '.join(known)}"
            )
        return code


class _EncodedOnDevice(faster_whisper.WhisperModel):  # type: ignore[misc]  # faster-whisper is untyped
    """faster-whisper's model with `encode` on the device; CTranslate2 keeps the decoder."""

    def __init__(self, folder: Path, compute_type: str, encoder: AudioEncoder, threads: int) -> None:
        try:
            super().__init__(str(folder), device="cpu", compute_type=compute_type, cpu_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"CTranslate2 cannot open {folder}: {str(error).splitlines()[0]}"
            ) from error
        self._npu_encoder = encoder
        self._last: tuple[F32, F32] | None = None  # the last window and its positions
        self.on_stage: OnStage = _nobody
        self.feature_extractor: _MeasuredFeatures = _MeasuredFeatures(encoder.dims)
        self.start_measuring()

    def encode(self, features: F32) -> Any:
        """features: (n_mels, n_frames) or (batch, n_mels, n_frames) float32.

        Returns a StorageView (batch, n_audio_ctx, n_audio_state) float32.
        """
        start = perf_counter()
        frames = 2 * self._npu_encoder.dims.n_audio_ctx  # faster-whisper always pads to 30 s
        windows = pad_or_trim(features, frames).reshape(-1, features.shape[-2], frames)
        positions = np.stack([self._positions(mel) for mel in windows])
        end = perf_counter()
        self._encoder_seconds += end - start
        self.on_stage("encoder", start, end)
        return ctranslate2.StorageView.from_array(positions)

    def _positions(self, mel: F32) -> F32:
        """mel: (n_mels, n_frames). The window in which the language was detected is not encoded again."""
        if self._last is None or not np.array_equal(mel, self._last[0]):
            self._last = mel.copy(), self._npu_encoder(mel)
            self._windows += 1
        return self._last[1]

    def detect_language(
        self, *, features: F32, language_detection_segments: int, language_detection_threshold: float
    ) -> Any:
        """features: (n_mels, n_frames) float32, the last frame beyond the recording's end.

        Without that frame they are what is decoded, and the window need not be encoded twice.
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
        self._npu_encoder.matmul.take_products()

    def measured(self) -> tuple[EncoderRun, float]:
        """What ran since `start_measuring`: the encoder, and the seconds of the log-mel."""
        products = self._npu_encoder.matmul.take_products()
        return EncoderRun(self._windows, products, self._encoder_seconds), self.feature_extractor.seconds


class _MeasuredFeatures:
    """`log_mel` for the checkpoint's bands, with a stopwatch; and what else faster-whisper asks of it."""

    sampling_rate = SAMPLE_RATE
    hop_length = HOP_LENGTH
    time_per_frame = HOP_LENGTH / SAMPLE_RATE  # seconds

    def __init__(self, dims: ModelDimensions) -> None:
        self._n_mels = dims.n_mels
        # How far a window reaches: what the positions cover, and no more than faster-whisper's 30 s.
        self.nb_max_frames = min(N_FRAMES, 2 * dims.n_audio_ctx)
        self.n_samples = self.nb_max_frames * HOP_LENGTH
        self.seconds = 0.0
        self.on_stage: OnStage = _nobody

    def __call__(self, samples: F32, chunk_length: None = None) -> F32:
        """samples: (n_samples,) float32. Returns (n_mels, n_frames) float32. The window is the model's."""
        start = perf_counter()
        mel = log_mel(samples, self._n_mels)
        end = perf_counter()
        self.seconds += end - start
        self.on_stage("mel", start, end)
        return mel


def _nobody(stage: str, start: float, end: float) -> None:
    """Nobody observes."""


def _silent(step: str) -> None:
    """Nobody is told of the progress."""


def run_loop(
    whisper: faster_whisper.WhisperModel, samples: F32, options: TranscribeOptions, language: str | None
) -> tuple[Iterator[Any], Any]:
    """faster-whisper's loop over a recording: its segments, decoded as they are iterated, and its info.

    samples: (n_samples,) float32. language: a code that the model knows, None for detecting it.
    """
    loop = whisper.transcribe
    if options.batch_size is not None:
        loop = partial(
            _WholeWindows(whisper).transcribe,
            batch_size=options.batch_size,
            chunk_length=whisper.feature_extractor.n_samples / SAMPLE_RATE,
        )
    found, info = loop(
        samples,
        language=language,
        task=options.task,
        beam_size=options.beam_size,
        temperature=list(options.temperature),
        initial_prompt=options.initial_prompt,
        condition_on_previous_text=options.condition_on_previous_text,
        no_speech_threshold=NO_SPEECH_THRESHOLD,
        word_timestamps=options.word_timestamps,
        without_timestamps=False,
        vad_filter=options.vad_filter or options.batch_size is not None,
    )
    return found, info


class _WholeWindows(faster_whisper.BatchedInferencePipeline):  # type: ignore[misc]  # untyped
    """Windows decoded several at a time, each to its end.

    Whisper often stops before it, at a phrase that it has opened and not closed. faster-whisper's loop over
    windows in turn goes on from there; its batches leave out what follows (its issue 1427). Here the rest is
    a window of its own, of the next batch.
    """

    last_speech_timestamp: float  # where words end so far; faster-whisper's

    def forward(
        self, features: F32, tokenizer: Any, chunks_metadata: Sequence[dict[str, Any]], options: Any
    ) -> list[list[dict[str, Any]]]:
        """features: (batch, n_mels, n_frames) float32. Returns the segments of each window."""
        segments: list[list[dict[str, Any]]] = [[] for _ in features]
        waiting = list(zip(segments, features, chunks_metadata, strict=True))
        while waiting:
            places, windows, chunks = zip(*waiting, strict=True)
            spoken_until = self.last_speech_timestamp
            found = super().forward(np.stack(windows), tokenizer, chunks, options)
            # The rest of an early window must not hide what was said in later ones.
            self.last_speech_timestamp = max(spoken_until, self.last_speech_timestamp)
            waiting = []
            for place, window, chunk, new, tokens in zip(
                places, windows, chunks, found, self._tokens, strict=True
            ):
                place += new
                done = _stopped_at(tokens, tokenizer.timestamp_begin) * self.model.time_precision
                if min(done, chunk["duration"] - done) >= SHORTEST_REST:
                    rest = window[:, round(done * self.model.frames_per_second) :]
                    left = {"offset": chunk["offset"] + done, "duration": chunk["duration"] - done}
                    waiting.append((place, pad_or_trim(rest, window.shape[1]), chunk | left))
        return segments

    def generate_segment_batched(self, features: F32, tokenizer: Any, options: Any) -> tuple[Any, Any]:
        encoded, outputs = super().generate_segment_batched(features, tokenizer, options)
        self._tokens: list[list[int]] = [output["tokens"] for output in outputs]
        return encoded, outputs


def _stopped_at(tokens: Sequence[int], timestamp_begin: int) -> int:
    """The last timestamp at which a phrase ends, as a number of its steps, where another one was opened.

    0 where the tokens are complete: a single timestamp at their end says that nothing follows.
    """
    times = [token >= timestamp_begin for token in tokens]
    pairs = [i for i in range(1, len(tokens)) if times[i - 1] and times[i]]
    if not pairs or times[-2:] == [False, True]:
        return 0
    return tokens[pairs[-1] - 1] - timestamp_begin


def _spoken(segments: Iterator[Any], samples: F32) -> Iterator[Any]:
    """Without the words that Whisper invents in silence.

    faster-whisper keeps a segment that the model is sure of even where it hears no speech: "You" for 5 s of
    zeros. Such a segment stays only where Silero VAD hears speech too.
    """
    for segment in segments:
        heard = samples[int(segment.start * SAMPLE_RATE) : int(segment.end * SAMPLE_RATE)]
        doubtful = segment.no_speech_prob > NO_SPEECH_THRESHOLD or not heard.any()
        if not doubtful or get_speech_timestamps(heard, VadOptions()):
            yield segment


def _segment(segment: Any, id: int) -> Segment:
    words = segment.words and tuple(
        Word(float(w.start), float(w.end), w.word, float(w.probability)) for w in segment.words
    )
    return Segment(
        id=id,
        start=float(segment.start),
        end=float(segment.end),
        text=segment.text,
        tokens=tuple(segment.tokens),
        avg_logprob=float(segment.avg_logprob),
        no_speech_prob=float(segment.no_speech_prob),
        compression_ratio=float(segment.compression_ratio),
        temperature=float(segment.temperature or 0.0),
        words=words,
    )


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

    model, cache_dir, progress: as `whisper_npu.checkpoint.load_checkpoint` takes them.
    device: "auto", "npu", "emulator", or one that `open_device` opened; the model closes it.
    kernel: "auto" or a contract's name.
    threads: of encoder and decoder, None for one a core; a device that is open already has its own.
    compute_type: the decoder's, "auto" or one of CTranslate2's names, such as "float32".

    Raises UnknownModelError, CheckpointError, UnknownKernelError, DeviceNotFoundError, UsageError.
    """
    opened = open_device(device, threads=threads) if isinstance(device, str) else device
    try:
        compute_type = resolve_compute_type(compute_type)
        checkpoint = load_checkpoint(model, cache_dir=cache_dir, progress=progress)
        decoder_folder = decoder_alone(
            checkpoint.decoder_folder,
            int8=computes_in_int8(compute_type),
            cache_folder=cache_folder(cache_dir),
            progress=progress or _silent,
        )
        return Model(checkpoint, opened, kernel, compute_type=compute_type, decoder_folder=decoder_folder)
    except BaseException:
        opened.close()
        raise


def transcribe(
    audio: Audio, *, model: str | Path = DEFAULT_MODEL, options: TranscribeOptions | None = None
) -> Transcription:
    """Transcribe one recording; `load_model` is for several, and for choosing device and kernel."""
    with load_model(model) as loaded:
        return loaded.transcribe(audio, options)
