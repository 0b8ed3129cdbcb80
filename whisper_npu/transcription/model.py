"""Speech to text: faster-whisper's loop and CTranslate2's decoder, with the encoder of this project."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, get_ident
from time import perf_counter
from typing import TYPE_CHECKING

from whisper_npu.audio import AudioSource, Sound, name_of, open_audio
from whisper_npu.checkpoint import Checkpoint
from whisper_npu.encoder import AudioEncoder, prepared_encoder
from whisper_npu.errors import DeviceError, UsageError, quoted
from whisper_npu.npu.device import Device
from whisper_npu.npu.planner import Choice
from whisper_npu.staging import KeptIn
from whisper_npu.transcription.check import check_options, check_point
from whisper_npu.transcription.compute_type import AUTO, resolve_compute_type
from whisper_npu.transcription.encoded import EncodedOnDevice
from whisper_npu.transcription.fallback import Fallback, OnSwitch, check_on_device_error, warn
from whisper_npu.transcription.keywords import with_keywords
from whisper_npu.transcription.listening import language_of, listen
from whisper_npu.transcription.loop import check_clips
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.prompt import prompt_tokens
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.resume import ResumePoint
from whisper_npu.transcription.speech import spoken
from whisper_npu.transcription.stages import OnRun, OnStage, Stage, no_context, no_question
from whisper_npu.transcription.stream import Decoded, OnProgress, Stream, ignore_progress
from whisper_npu.transcription.took import RunOn, Switch, Took
from whisper_npu.transcription.transcript import Segment

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from whisper_npu.transcription.keywords import TranscribeKeywords


PATIENCE = 0.2  # seconds, after which one that waits for the model asks whether it still should


class Model:
    """A checkpoint on a device, ready to transcribe. A context manager, which closes the device.

    Several threads may call it; one of them transcribes at a time.

    compute_type: the decoder's. decoder_folder: where the decoder is; None: in the checkpoint's own folder.
    kept_in: where the encoder's staged weights are kept for the next start; None: nowhere.
    on_device_error: "fail" raises what the device raised; "emulate" goes on in the emulator from the window
    that failed. `switch` says so then, and on_switch is called with it; by default it is a DeviceWarning.
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
        on_device_error: str = "fail",
        on_switch: OnSwitch = warn,
    ) -> None:
        check_on_device_error(on_device_error)
        self.checkpoint = replace(checkpoint, encoder={})  # the arrays are not needed once they are staged
        self.device = device
        self.kernel = kernel  # as asked for
        self._one_at_a_time = Lock()  # which another thread may release than the one that took it
        self._at_work: int | None = None  # the thread that took it, or went on with its stream
        self._stage: Stage = no_context
        folder = decoder_folder or checkpoint.decoder_folder
        compute_type = resolve_compute_type(compute_type)

        # The decoder on this thread: memory that is freed while it is loaded serves this thread again.
        with ThreadPoolExecutor(1, "whisper-npu stages") as meanwhile:
            encoder = meanwhile.submit(
                prepared_encoder, checkpoint.dims, checkpoint.encoder, device, kernel, kept_in
            )
            self._whisper = EncodedOnDevice(folder, compute_type, device.threads.count)
            self._fallback: Fallback | None = None
            if on_device_error == "emulate":
                self._fallback = Fallback(checkpoint, device, kept_in, on_switch)
                self._whisper.on_device_error = self._fallback.encoder
            try:
                made = encoder.result()
            except DeviceError as error:
                if self._fallback is None:
                    raise
                made = self._fallback.encoder(error)
        self._whisper.take(made)

    @property
    def encoder(self) -> AudioEncoder:
        """What encodes: another one after a `switch`."""
        return self._whisper.encoder

    @property
    def device_at_work(self) -> Device:
        """What the encoder runs on: the emulator after a `switch`, else `device`."""
        return self.device if self.switch is None else self.encoder.device

    @property
    def switch(self) -> Switch | None:
        """From the device to the emulator, once it failed; None before."""
        return None if self._fallback is None else self._fallback.switch

    @property
    def compute_type(self) -> str:
        """The decoder's type, by CTranslate2's name."""
        name: str = self._whisper.model.compute_type
        return name

    @property
    def is_multilingual(self) -> bool:
        """Whether it knows other languages than English."""
        return bool(self._whisper.model.is_multilingual)

    @property
    def choice(self) -> Choice:
        """The encoder's kernels, and why they were chosen."""
        choice = self.encoder.device.choice
        assert choice is not None
        return choice

    @property
    def ran_on(self) -> RunOn:
        """Model, device and kernels, for reports."""
        return replace(
            RunOn.of(self.device, self.checkpoint.name, self.kernel).after(self.switch),
            weights=self.checkpoint.source,
            kernel=self.choice.name,
            kernel_reason=self.choice.reason or None,
            compute_type=self.compute_type,
        )

    def observe(self, on_run: OnRun, on_stage: OnStage) -> None:
        """Call these with every run and every stage, soon after each ends."""
        self._whisper.on_run = on_run
        self._whisper.on_stage = self._whisper.feature_extractor.on_stage = on_stage

    def within(self, stage: Stage) -> None:
        """Do every stage within the context that this gives for it, for example a meter's."""
        self._stage = self._whisper.stage = self._whisper.feature_extractor.stage = stage

    def transcribe(
        self,
        audio: AudioSource | Sound,
        options: TranscribeOptions | None = None,
        on_segment: Callable[[Segment], None] | None = None,
        *,
        on_progress: OnProgress = ignore_progress,
        cancelled: Event | None = None,
        sampling_rate: int | None = None,
        audio_track: int | None = None,
        **keywords: Unpack[TranscribeKeywords],
    ) -> Transcription:
        """The whole of a recording. Any thread may call, and waits until the model is free.

        audio, sampling_rate, audio_track: as in `whisper_npu.load_audio`; or what `open_audio` gave.
        options, keywords: a `TranscribeOptions`, its fields one by one, or both: a keyword counts more.
        on_segment is called with each segment as soon as it is decoded, on_progress with the seconds of the
        recording that are done, and its seconds in all. An exception of theirs ends the work.
        cancelled: an Event that any thread may set, at any time: the work ends soon, with CancelledError.

        Raises AudioError; DeviceError; DecoderError; UsageError for an option or value that does not exist,
        for what the model does not know, or is too long for it, and if this thread is in the middle of
        another stream of this model.

        >>> from whisper_npu import load_model
        >>> model = load_model("tiny.en")
        >>> result = model.transcribe("samples/sns-0930.wav", beam_size=1, hotwords="amiable")
        >>> print(result)
        He might even have been made amiable himself.
        >>> model.close()
        """
        if on_segment is not None:
            _check_callable("on_segment", on_segment)
        with self.stream(
            audio,
            options,
            on_progress=on_progress,
            cancelled=cancelled,
            sampling_rate=sampling_rate,
            audio_track=audio_track,
            **keywords,
        ) as stream:
            for segment in stream:
                if on_segment:
                    on_segment(segment)
            return stream.result()

    def stream(
        self,
        audio: AudioSource | Sound,
        options: TranscribeOptions | None = None,
        *,
        on_progress: OnProgress = ignore_progress,
        cancelled: Event | None = None,
        sampling_rate: int | None = None,
        audio_track: int | None = None,
        after: ResumePoint | None = None,
        **keywords: Unpack[TranscribeKeywords],
    ) -> Stream:
        """The segments of a recording, each decoded when it is asked for. All else is as in `transcribe`.

        after: where to go on: the `point` of an earlier stream of the same recording, with the same model and
        options, which was not finished. What comes is then what that one would have given from there on.
        Returns when the audio is loaded and its language known. The model is at work until the stream is
        exhausted, closed or dropped; other threads wait for that.
        """
        options = with_keywords(options, keywords)
        _check_callable("on_progress", on_progress)
        check_options(self.checkpoint.name, self._whisper, options)
        decoded = Decoded(
            name_of(audio),
            self.ran_on,
            on_progress,
            clips=options.clip_timestamps,
            cancelled=cancelled or Event(),
        )

        def opened() -> AbstractContextManager[Sound]:
            if isinstance(audio, Sound):
                return nullcontext(audio)  # the caller's to close
            return open_audio(
                audio, sampling_rate=sampling_rate, audio_track=audio_track, cancelled=decoded.cancelled
            )

        return Stream(self._decode(opened, options, decoded, after), decoded)

    def check(self, options: TranscribeOptions) -> None:
        """Raises UsageError for what the model does not know, or is too long for it, as `stream` would."""
        check_options(self.checkpoint.name, self._whisper, options)

    def check_point(self, point: ResumePoint, duration: float) -> None:
        """Raises UsageError for a point that cannot be of a recording of `duration` seconds."""
        check_point(self._whisper, point, duration)

    def detect_language(
        self, audio: AudioSource, *, sampling_rate: int | None = None, audio_track: int | None = None
    ) -> tuple[str, float]:
        """The code of the language of the first 30 s, and its probability from 0 to 1.

        An English-only model says ("en", 1.0). audio, sampling_rate, audio_track: as in `transcribe`.
        Raises AudioError, DeviceError, DecoderError.
        """
        opened = open_audio(audio, sampling_rate=sampling_rate, audio_track=audio_track)
        with opened as sound, self._alone():
            self._whisper.start_measuring()
            return language_of(self._whisper, sound)

    def _decode(
        self,
        opened: Callable[[], AbstractContextManager[Sound]],
        options: TranscribeOptions,
        decoded: Decoded,
        after: ResumePoint | None,
    ) -> Generator[Segment | None, None, None]:
        """The work of a stream: yields None once the language is known, then the segments."""
        self._check_thread()
        with ExitStack() as closing:
            with self._stage("audio"):  # other threads may have the model meanwhile
                start = perf_counter()
                sound = closing.enter_context(opened())
                audio_seconds = perf_counter() - start
            closing.enter_context(self._alone(decoded.go_on))
            self._whisper.on_stage("audio", start, start + audio_seconds)
            if after is not None:
                self.check_point(after, sound.duration)
            decoded.hears(sound, after)
            check_clips(options, decoded.duration)
            self._whisper.start_measuring()
            switch_before = self.switch
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
                encoder, mel_seconds = self._whisper.measured()
                decode_seconds = perf_counter() - start - elsewhere - encoder.waited_seconds - mel_seconds
                decoded.took = Took(encoder, audio_seconds, mel_seconds, decode_seconds)
                decoded.ran_on = self.ran_on  # which a device that fails changes
                if self.switch is not switch_before:
                    decoded.switched(self.switch)

            try:
                with self._stage("decode"):
                    self._whisper.go_on = self._whisper.feature_extractor.go_on = decoded.go_on
                    self._whisper.carried = self._carried(options)
                    found = listen(self._whisper, sound, options, decoded.reach_window, after)
                    decoded.language = found.language
                    decoded.language_probability = found.language_probability
                    measure()
                    with handed_over():
                        yield None
                    self._at_work = get_ident()  # another thread may go on with it
                    decoded.go_on()
                    for segment in spoken(found.segments, found.source, options):
                        decoded.add(segment)
                        measure()
                        with handed_over(), self._stage("other"):
                            yield decoded.segments[-1]
                        self._at_work = get_ident()
                        decoded.go_on()
                decoded.finish(sound)
            finally:
                self._whisper.stop_working_ahead()
                measure()
                self._whisper.stop_listening()
                self._whisper.on_stage("transcribe", start, perf_counter())

    @contextmanager
    def _alone(self, go_on: Callable[[], None] = no_question) -> Iterator[None]:
        """One at a time: waits for other threads. Raises UsageError if this thread would wait for itself.

        go_on: asked while it waits; raises where there is nothing to wait for any more.
        """
        self._check_thread()
        go_on()
        while not self._one_at_a_time.acquire(timeout=PATIENCE):
            go_on()
        self._at_work = get_ident()
        try:
            yield
        finally:
            self._at_work = None
            self._one_at_a_time.release()

    def _check_thread(self) -> None:
        """Raises UsageError if this thread is in the middle of another recording, DeviceError once closed."""
        if self._at_work == get_ident():
            raise UsageError(
                "the model is in the middle of another recording: exhaust or close its stream first"
            )
        self.device.threads.check_open()

    def close(self) -> None:
        """Close the device. Whatever is asked of this model from here on raises DeviceError."""
        self.device.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carried(self, options: TranscribeOptions) -> list[int]:
        """The tokens to put before every window's prompt; in batches faster-whisper does that itself."""
        if options.carry_initial_prompt and options.batch_size is None:
            return prompt_tokens(self._whisper, options)
        return []


def _check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise UsageError(f"{name} is {quoted(value)}, must be a function")
