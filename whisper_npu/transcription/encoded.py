"""faster-whisper's model, with its audio features from the encoder of this project.

faster-whisper gets the audio features in one place, `WhisperModel.encode`. It is replaced here, so that long
files, language detection, timestamps, VAD and temperature fallback all use this project's encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder
from whisper_npu.errors import DecoderError, DecoderFolderError, DeviceError, one_line
from whisper_npu.npu.device import Run, merged
from whisper_npu.transcription.ahead import Ahead
from whisper_npu.transcription.features import MeasuredFeatures
from whisper_npu.transcription.libraries import ctranslate2, faster_whisper
from whisper_npu.transcription.prompt import with_prompt
from whisper_npu.transcription.stages import (
    OnRun,
    OnStage,
    Stage,
    ignore_run,
    ignore_stage,
    no_context,
    no_question,
)
from whisper_npu.transcription.took import EncoderRun

# What encodes from a window that failed on: given the error, the window's number and its second.
OnDeviceError = Callable[[DeviceError, int, float], AudioEncoder]


class _Encoded(NamedTuple):
    features: F32  # (n_audio_ctx, n_audio_state)
    runs: list[Run]
    overlapped_s: float = 0.0  # MEASURED seconds of its encoding in which nobody waited for it


class EncodedOnDevice(faster_whisper.WhisperModel):  # type: ignore[misc]  # faster-whisper is untyped
    """faster-whisper's model with `encode` on the device; CTranslate2 does the decoding.

    It is loaded without an encoder, which `take` gives it.
    """

    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        with opening_decoder(folder):
            super().__init__(str(folder), device="cpu", compute_type=compute_type, cpu_threads=threads)
        self._runs: tuple[Run, ...] = ()  # of the encoder, since `start_measuring`
        self._last: tuple[F32, F32] | None = None  # the last window and its audio features
        self._ahead: Ahead[_Encoded] | None = None  # while windows are expected
        self._expected: F32 | None = None  # the last window that is
        self._waited: tuple[float, float | None] = 0.0, None  # seconds in `encode`; since when it is there
        self.on_stage: OnStage = ignore_stage
        self.on_run: OnRun = ignore_run
        self.stage: Stage = no_context
        self.go_on = no_question  # raises where the work is to end
        self.on_device_error: OnDeviceError = fail
        self._position = 0.0  # where the next window begins, in seconds
        self._at = 0.0  # where the one begins that is encoded

    @property
    def model(self) -> Any:
        """CTranslate2's model: faster-whisper sets it, and calls it for all of the decoding."""
        return self._decoder

    @model.setter
    def model(self, whisper: Any) -> None:
        whole = whisper if isinstance(whisper, _Decoder) else _Decoder(whisper, lambda: self.go_on())
        self._decoder = whole

    def take(self, encoder: AudioEncoder) -> None:
        """Encode by this from here on."""
        self._npu_encoder = encoder
        self.feature_extractor: MeasuredFeatures = MeasuredFeatures(encoder.dims)
        self.start_measuring()
        self.stop_listening()

    @property
    def works_ahead(self) -> bool:
        """Whether windows that are known beforehand are encoded while others are decoded."""
        return self._npu_encoder.device.leaves_cpu_free

    def expect(self, features: Sequence[F32], most: int) -> None:
        """`encode` is called with these next, behind what is expected already: work ahead at them.

        features: (n_mels, n_frames) float32 each. most: windows whose audio features may wait.
        """
        if not self.works_ahead or len(features) == 0:
            return
        self._npu_encoder.device.threads.check_open()
        if self._ahead is None:
            self._ahead = Ahead(self._recorded_ahead, most)
            self._expected = None if self._last is None else self._last[0]
        todo = []
        for mel in self._windows_of(np.asarray(features)):
            if self._expected is None or not np.array_equal(mel, self._expected):
                todo.append(mel)
            self._expected = mel
        self._ahead.expect(todo)

    def stop_working_ahead(self) -> None:
        """Nothing is expected any more. What was encoded for nothing counts as what the encoder did."""
        ahead, self._ahead, self._expected = self._ahead, None, None
        for encoded in [] if ahead is None else ahead.close():
            self._count(encoded)

    def stop_listening(self) -> None:
        """Nobody follows the work any more, and nothing of the recording is kept."""
        self.carried: list[int] = []  # the tokens before every window's prompt
        self.where: Callable[[], float] = at_start  # seconds, where in the recording the window starts
        self.on_window = ignore_window  # called before each window with the tokens of the text before it
        self.spoken_until = 0.0  # seconds, where the last word before this run ends
        self.go_on = self.feature_extractor.go_on = no_question

    @property
    def encoder(self) -> AudioEncoder:
        return self._npu_encoder

    def encode(self, features: F32) -> Any:
        """features: (n_mels, n_frames) or (batch, n_mels, n_frames) float32.

        Returns a StorageView (batch, n_audio_ctx, n_audio_state) float32. The window in which the language
        was detected is not encoded again.
        """
        self.go_on()
        with self.stage("encoder"):
            return self._encode(features)

    def _encode(self, features: F32) -> Any:
        start = perf_counter()
        self._waited = self._waited[0], start
        self._npu_encoder.device.trim()  # what the decoder left
        windows = self._windows_of(features)
        encoded = np.empty((len(windows), *self._npu_encoder.shape), np.float32)
        for number, mel in enumerate(windows):
            if self._last is None or not np.array_equal(mel, self._last[0]):
                try:
                    found = self._taken(mel)
                except DeviceError as error:
                    self.stop_working_ahead()
                    self._npu_encoder = self.on_device_error(error, self._windows + 1, self.where())
                    found = self._recorded(mel)
                self._last = mel.copy(), found.features
                self._count(found)
            encoded[number] = self._last[1]
        if not np.isfinite(encoded).all():
            raise DeviceError(
                "the encoder's output is not finite: the weights or the device are damaged; "
                "whisper-npu models verify finds the one, whisper-npu doctor the other"
            )
        self._npu_encoder.device.trim()  # for the decoder
        end = perf_counter()
        self._waited = self._waited[0] + end - start, None
        self.on_stage("encoder", start, end)
        with _decoder_failures("take the encoder's features"):
            return ctranslate2.StorageView.from_array(encoded)

    def _windows_of(self, features: F32) -> F32:
        """(batch, n_mels, n_frames), as many frames as a window has."""
        frames = 2 * self._npu_encoder.dims.n_audio_ctx  # faster-whisper always pads to 30 s
        padded: F32 = faster_whisper.audio.pad_or_trim(features, frames)
        return padded.reshape(-1, features.shape[-2], frames)

    def _taken(self, mel: F32) -> _Encoded:
        """A window that is encoded now, or was ahead."""
        if self._ahead is None:
            return self._recorded(mel)
        self._npu_encoder.device.threads.check_open()  # in a fork nobody would encode it
        if self._ahead.is_next(mel):
            return self._ahead.take()
        with self._ahead.paused():
            return self._recorded(mel)

    def _recorded(self, mel: F32) -> _Encoded:
        """The audio features of a window, and what the device ran for them."""
        with self._npu_encoder.device.recording() as recording:  # of all threads: one window at a time
            return _Encoded(self._npu_encoder(mel), recording.runs)

    def _recorded_ahead(self, mel: F32) -> _Encoded:
        start, waited = perf_counter(), self._waited_until()
        encoded = self._recorded(mel)
        worked, waited = perf_counter() - start, self._waited_until() - waited
        return encoded._replace(overlapped_s=max(0.0, worked - waited))

    def _waited_until(self) -> float:
        """MEASURED seconds that `encode` has taken since `start_measuring`."""
        before, since = self._waited
        return before if since is None else before + perf_counter() - since

    def _count(self, encoded: _Encoded) -> None:
        self._windows += 1
        self._overlapped_s += encoded.overlapped_s
        self._runs = merged([*self._runs, *encoded.runs])
        for run in encoded.runs:
            self.on_run(run)

    def get_prompt(
        self,
        tokenizer: Any,
        previous_tokens: list[int],
        without_timestamps: bool = False,
        prefix: str | None = None,
        hotwords: str | None = None,
    ) -> Any:
        """The tokens that a decoder reads before a window's text."""
        self.on_window(previous_tokens)
        if self.carried:
            previous_tokens = with_prompt(self.carried, previous_tokens)
        return super().get_prompt(tokenizer, previous_tokens, without_timestamps, prefix, hotwords)

    def add_word_timestamps(
        self,
        segments: Any,
        tokenizer: Any,
        encoder_output: Any,
        num_frames: Any,
        prepend_punctuations: str,
        append_punctuations: str,
        last_speech_timestamp: float,
    ) -> Any:
        """Words after a long pause are shortened: what was said before this run counts too."""
        return super().add_word_timestamps(
            segments,
            tokenizer,
            encoder_output,
            num_frames,
            prepend_punctuations,
            append_punctuations,
            max(last_speech_timestamp, self.spoken_until),
        )

    def start_measuring(self) -> None:
        self._last = None
        self._windows = 0
        self._waited = 0.0, None
        self._overlapped_s = 0.0
        self.feature_extractor.seconds = 0.0
        self._runs = ()

    def measured(self) -> tuple[EncoderRun, float]:
        """What the encoder ran since `start_measuring`, and the seconds that the log-mel took."""
        waited, _ = self._waited
        run = EncoderRun(self._windows, self._runs, waited + self._overlapped_s, self._overlapped_s)
        return run, self.feature_extractor.seconds


class _Decoder:
    """CTranslate2's model, whose calls raise DecoderError where it fails."""

    def __init__(self, whisper: Any, go_on: Callable[[], None]) -> None:
        """go_on: called before each call; raises where the work is to end."""
        self._whisper, self._go_on = whisper, go_on

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._whisper, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*given: Any, **named: Any) -> Any:
            self._go_on()
            with _decoder_failures(name):
                return found(*given, **named)

        return call


@contextmanager
def _decoder_failures(doing: str) -> Iterator[None]:
    """CTranslate2 raises RuntimeError and ValueError for whatever fails within it, such as a full memory."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        raise DecoderError(
            f"the decoder (CTranslate2 on the CPU) failed to {doing.replace('_', ' ')}: {one_line(error)}; "
            "free memory, or lower the batch size or the beam size; "
            "whisper-npu models verify finds a damaged model"
        ) from error


@contextmanager
def opening_decoder(folder: Path) -> Iterator[None]:
    """For whoever has CTranslate2 open a decoder's folder.

    Raises DecoderFolderError for whatever fails meanwhile. CTranslate2 would warn if it converts the weights'
    type; the model's compute_type says what it took.
    """
    before = ctranslate2.get_log_level()
    ctranslate2.set_log_level(logging.ERROR)
    try:
        yield
    except Exception as error:  # the tokenizer's library raises no narrower one
        raise DecoderFolderError(
            f"CTranslate2 cannot open {folder}: {one_line(error)}; "
            "whisper-npu models verify finds what is damaged"
        ) from error
    finally:
        ctranslate2.set_log_level(before)


def fail(error: DeviceError, window: int, seconds: float) -> AudioEncoder:
    """The default: what the device raised ends the work."""
    raise error


def at_start() -> float:
    """The default: no window has begun."""
    return 0.0


def ignore_window(tokens: list[int]) -> None:
    """The default: nobody follows."""
