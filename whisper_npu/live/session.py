"""Sound in, work out: who feeds, who transcribes, and what comes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Event, Lock

import numpy as np

from whisper_npu.audio import SAMPLE_RATE, Samples
from whisper_npu.audio.samples import LOUDEST
from whisper_npu.errors import AudioError, CancelledError, DecoderError, DeviceError, UsageError
from whisper_npu.live.line import Line
from whisper_npu.live.options import LiveOptions, check_live_options
from whisper_npu.live.transcriber import Transcriber
from whisper_npu.live.utterances import Cutter, Utterance, steps_in
from whisper_npu.live.voice import STEP, Voice
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions


def _nobody_asks() -> None:
    """The default: nobody waits for news."""


class Session:
    """One person (or file) being listened to. Sound goes in by `feed`, what is to be transcribed comes out.

    >>> from whisper_npu import load_audio, load_model
    >>> session = Session()
    >>> session.feed(load_audio("samples/sns-0930.wav"))
    >>> session.end()
    >>> with load_model("tiny.en") as model:
    ...     while work := session.take(timeout=None):
    ...         print(work.run(model).text)
    He might even have been made amiable himself.

    Thread-safe: one thread feeds, another one takes work, runs it, and takes the next; so the lines come in
    their order. It knows no model, no device and no clock: its time is that of the sound. It keeps the sound
    that is not transcribed yet, and no other.
    """

    def __init__(self, options: TranscribeOptions | None = None, live: LiveOptions | None = None) -> None:
        """Raises UsageError for options that have no sense live: see `check_live_options`."""
        options, live = options or TranscribeOptions(), live or LiveOptions()
        check_live_options(options)
        # Called in the thread that feeds, whenever `take` may have something.
        self.on_news: Callable[[], None] = _nobody_asks
        self._transcriber = Transcriber(options)
        self._feeding = Lock()  # what follows, up to the condition, is for the one who feeds
        self._voice = Voice()
        self._rest = np.empty(0, np.float32)  # less than a step
        self._n_samples = 0  # that were fed
        self._news = Condition()  # what follows is for both
        self._cutter = Cutter(live, options)
        self._partial_every = steps_in(live.partial_every) if live.partial_every else None
        self._partial_at = 0  # the step at which the last partial was taken
        self._partial: Work | None = None  # of the open utterance
        self._finished: deque[Utterance] = deque()  # which wait for `take`
        self._in_work: dict[int, float] = {}  # seconds of the final ones, by their ids
        self._has_ended = False

    def feed(self, samples: Samples) -> None:
        """What was heard next: (n,) float32 at 16 kHz, in -1..1, any n.

        Samples that are no numbers are taken for silence. Raises AudioError for another shape or dtype, and
        for samples most of which are no sound; UsageError after `end`.
        """
        samples = _checked(samples)
        with self._feeding:
            if self._has_ended:
                raise UsageError("the session has ended and hears nothing more: begin another one")
            self._n_samples += len(samples)
            self._rest = self._heard(np.concatenate([self._rest, samples]))

    def end(self) -> None:
        """Nothing more comes: what is open becomes final. To be called by the one who feeds, once or more."""
        with self._feeding:
            if self._has_ended:
                return
            if len(self._rest):  # a last step, with silence for what is missing
                self._heard(np.pad(self._rest, (0, STEP - len(self._rest))))
            with self._news:
                utterance = self._cutter.end()
                self._add(utterance and utterance.until(self._n_samples))
                self._has_ended = True
                self._news.notify_all()
        self.on_news()

    def take(self, timeout: float | None = 0) -> Work | None:
        """What to transcribe next, or None if there is nothing within `timeout` seconds, or for ever.

        The oldest finished utterance comes first; where none waits, what is said so far of the one that is
        being spoken, every `LiveOptions.partial_every` seconds of sound. timeout: None waits until there is
        something, or the session is done.
        """
        with self._news:
            self._news.wait_for(lambda: self._finished or self._partial_is_due() or self.is_done, timeout)
            if self._finished:
                utterance = self._finished.popleft()
                self._in_work[utterance.id] = utterance.seconds
                return Work(self, utterance, is_final=True)
            if self._partial_is_due() and (spoken := self._cutter.open):
                self._partial_at = self._cutter.n_steps
                self._partial = Work(self, spoken, is_final=False)
                return self._partial
            return None

    @property
    def is_done(self) -> bool:
        """Whether it has ended, and nothing is left to take."""
        with self._news:  # not while `end` adds what is still open
            return self._has_ended and not self._finished

    @property
    def seconds_heard(self) -> float:
        """How much was fed."""
        return self._n_samples / SAMPLE_RATE

    @property
    def seconds_behind(self) -> float:
        """Of finished utterances that are not transcribed yet, those in work included."""
        with self._news:
            waiting = sum(utterance.seconds for utterance in self._finished)
            return waiting + sum(self._in_work.values())

    def _heard(self, samples: Samples) -> Samples:
        """Hears all whole steps; gives the samples that remain."""
        n_whole = len(samples) // STEP * STEP
        for first in range(0, n_whole, STEP):
            step = samples[first : first + STEP].copy()  # not a view, which would keep all of `samples`
            probability = self._voice.probability(step)
            with self._news:
                self._add(self._cutter.hear(step, probability))
                has_news = bool(self._finished) or self._partial_is_due()
                if has_news:
                    self._news.notify_all()
            if has_news:
                self.on_news()
        return samples[n_whole:].copy()

    def _add(self, utterance: Utterance | None) -> None:
        """One that has ended, if one has."""
        if utterance is not None:
            self._finished.append(utterance)
            if self._partial is not None:
                self._partial.overtake()
                self._partial = None

    def _partial_is_due(self) -> bool:
        """Not in a pause: the utterance may end with it, and its final text would have to wait."""
        every, cutter = self._partial_every, self._cutter
        if every is None or cutter.n_steps - self._partial_at < every:
            return False
        return cutter.n_steps_spoken >= every

    def _is_over(self, work: Work) -> None:
        with self._news:
            if work.is_final:
                self._in_work.pop(work.utterance.id, None)
            elif self._partial is work:
                self._partial = None


class Work:
    """One utterance to transcribe, by one `run`: a final one, or one that is still being spoken."""

    def __init__(self, session: Session, utterance: Utterance, *, is_final: bool) -> None:
        self.is_final, self.utterance = is_final, utterance
        self._session = session
        self._cancelled = Event()
        self._is_overtaken = False

    def run(self, model: Model) -> Line | None:
        """Its line; None for a partial one without text, or whose utterance ended meanwhile.

        A final one has a second attempt where the device or decoder fails, since nobody else has its sound;
        a partial one that fails is None. Raises CancelledError after `cancel`, and what `Model.stream`
        raises otherwise.
        """
        try:
            try:
                return self._line(model)
            except (DeviceError, DecoderError):
                return self._line(model) if self.is_final else None
        except CancelledError:
            if self._is_overtaken:
                return None
            raise
        finally:
            self._session._is_over(self)

    def _line(self, model: Model) -> Line | None:
        transcriber = self._session._transcriber
        if self.is_final:
            return transcriber.final(model, self.utterance, self._cancelled)
        line = transcriber.partial(model, self.utterance, self._cancelled)
        return line if line.text and not self._is_overtaken else None

    def cancel(self) -> None:
        """End the work soon, from any thread: `run` raises CancelledError. What was said is lost."""
        self._cancelled.set()
        self._session._is_over(self)

    def overtake(self) -> None:
        """Its utterance has ended: nobody needs this line any more."""
        self._is_overtaken = True
        self._cancelled.set()


def _checked(samples: Samples) -> Samples:
    """With silence for what is no number."""
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.float32:
        is_array = isinstance(samples, np.ndarray)
        given = f"{samples.dtype} of shape {samples.shape}" if is_array else type(samples).__name__
        raise AudioError(
            f"live sound is {given}, must be an array (n_samples,) of float32 at {SAMPLE_RATE} Hz in -1..1; "
            "of samples of 16 bits make one by x.astype(np.float32) / 32768"
        )
    is_sound = np.abs(samples) <= LOUDEST
    if is_sound.all():
        return samples
    if np.count_nonzero(np.isfinite(samples) & ~is_sound) > len(samples) / 2:
        raise AudioError(
            f"live sound has samples far beyond full scale, up to {np.nanmax(np.abs(samples)):g}; "
            "expected floats in -1..1: scale them, such as x / 32768 for samples of 16 bits"
        )
    return np.where(is_sound, samples, np.float32(0))
