"""The encoder works ahead: beside the decoder, a batch at most, and all else is as without it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Event, Thread
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.dtypes import F32
from whisper_npu.errors import AudioError, DeviceError
from whisper_npu.npu.device import Stats, Value
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.ops import Op
from whisper_npu.report import as_text
from whisper_npu.transcription.ahead import Ahead
from whisper_npu.transcription.batches import one_ahead
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

PATIENCE = 60  # seconds until a test fails whose threads wait for each other in vain
BATCHES = TranscribeOptions(batch_size=2, language="de")
SAID = [Window([(0.0, f" {word}", 5.0)]) for word in ("the", "an", "an", "the", "an", "the", "the")]
# The second window stops early: what is behind 2 s becomes a window that nobody expected.
EARLY = [SAID[0], Window([(0.0, " an", 2.0), (2.0, "", 5.0)]), SAID[2], *SAID[2:]]


@dataclass
class Windows:
    """What a device did, for all of its views."""

    changed: Condition = field(default_factory=Condition)
    begun: int = 0
    ended: int = 0
    by: list[Thread] = field(default_factory=list)
    fails_at: int = 0  # the window, from 1
    held: Event | None = None  # no window ends before this is set
    lingers: float = 0.0  # seconds that a window takes longer, unless another one begins meanwhile
    at_once: int = 0  # the most that there ever were
    seconds: float = 0.0  # that all of them took
    since: float = 0.0

    def begin(self) -> None:
        with self.changed:
            self.begun += 1
            self.since = perf_counter()
            self.at_once = max(self.at_once, self.begun - self.ended)
            self.by.append(threading.current_thread())
            self.changed.notify_all()
            fails = self.begun == self.fails_at
        if fails:
            raise DeviceError("the device is lost")

    def end(self) -> None:
        assert self.held is None or self.held.wait(PATIENCE)
        with self.changed:
            self.changed.wait_for(lambda: self.begun - self.ended > 1, self.lingers)
            self.ended += 1
            self.seconds += perf_counter() - self.since
            self.changed.notify_all()

    def wait_until(self, state: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(state, PATIENCE), f"{self.begun} begun, {self.ended} ended"


class Beside(Emulator):
    """An emulator whose dispatches are said to leave the CPU free."""

    def __init__(self, *, ahead: bool = True) -> None:
        super().__init__()
        self.windows = Windows()
        self._ahead = ahead

    @property
    def leaves_cpu_free(self) -> bool:
        return self._ahead

    @property
    def clock(self) -> str:
        return "NPU"  # so that an emulator may go on in its place

    def run(self, op: Op, operands: Mapping[str, Value]) -> Stats:
        if op.name == "stem":
            self.windows.begin()
        stats = super().run(op, operands)
        if op.name == "ln_post":
            self.windows.end()
        return stats


@dataclass
class Talk:
    """A model on a device, with a decoder that says what is written."""

    device: Beside
    model: Model
    decoder: ScriptedDecoder

    @property
    def windows(self) -> Windows:
        return self.device.windows


@pytest.fixture
def speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 s of speech in every 6 s: a window."""
    monkeypatch.setattr(
        "faster_whisper.vad.get_speech_timestamps",
        lambda audio, options: [{"start": at, "end": at + 80_000} for at in range(0, len(audio), 96_000)],
    )


Talks = Callable[..., Talk]


@pytest.fixture
def talks(speech: None, tmp_path: Path) -> Iterator[Talks]:
    """Opens talks: `talks(ahead=True, windows=SAID)`."""
    opened: list[Model] = []

    def talk(*, ahead: bool = True, said: list[Window] = SAID, on_device_error: str = "fail") -> Talk:
        device = Beside(ahead=ahead)
        folder = tmp_path / str(len(opened))
        model = small_model(folder, n_audio_ctx=300, device=device, on_device_error=on_device_error)
        opened.append(model)
        decoder = ScriptedDecoder(model)
        decoder.windows, decoder.listens = [*said], True
        model._whisper.model = decoder
        device.windows.begun = device.windows.ended = 0
        return Talk(device, model, decoder)

    yield talk
    for model in opened:
        model.close()
    assert not helpers()


def helpers() -> list[Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "whisper-npu ahead"]


def noise(windows: int) -> F32:
    return np.random.default_rng(0).standard_normal(windows * 96_000, dtype=np.float32) / 10


def test_the_encoder_begins_the_next_windows_before_the_decoder_is_done(talks: Talks) -> None:
    talk = talks()
    said: list[int] = []

    def decode() -> None:
        """At the first window of a batch all of the next one's are encoded, else this waits in vain."""
        said.append(len(talk.decoder.prompts))
        known = min(7, said[-1] // 2 * 2 + 4)
        talk.windows.wait_until(lambda: talk.windows.ended >= known)

    talk.decoder.on_window = decode
    result = talk.model.transcribe(noise(7), BATCHES)
    assert said == list(range(7))
    assert talk.windows.ended == result.took.encoder.windows == 7
    assert threading.main_thread() not in talk.windows.by
    took = result.took
    assert took.encoder.total_seconds >= talk.windows.seconds - 1e-3
    assert 0 < took.encoder.overlapped_seconds <= took.encoder.total_seconds
    assert took.encoder.pack_seconds + took.encoder.kernel_seconds <= took.encoder.total_seconds
    assert min(took.decode_seconds, took.mel_seconds, took.encoder.waited_seconds) > 0
    report = result.report
    measured = report.to_dict()["measured_seconds"]
    assert isinstance(measured, dict)
    stages = [measured[name] for name in ("audio", "mel", "encoder", "decode", "other")]
    assert measured["overlapped"] == took.encoder.overlapped_seconds
    assert sum(stages) - measured["overlapped"] == pytest.approx(measured["total"])
    assert "of the encoder beside other stages: it worked ahead" in as_text(report)


def test_never_more_than_a_batch_waits(talks: Talks) -> None:
    talk = talks()
    most: list[int] = []

    def decode() -> None:
        n_batch = len(talk.decoder.prompts) // 2
        talk.windows.wait_until(lambda: talk.windows.ended >= min(7, 2 * n_batch + 4))
        for thread in helpers():  # it ends where there is no room
            thread.join(PATIENCE)
        assert not helpers()
        most.append(talk.windows.begun - 2 * (n_batch + 1))  # without those of this batch

    talk.decoder.on_window = decode
    talk.model.transcribe(noise(7), BATCHES)
    assert most == [2, 2, 2, 2, 1, 1, -1]


@pytest.mark.parametrize("said", [SAID, EARLY], ids=["whole", "early"])
def test_results_and_counts_are_those_of_one_after_the_other(talks: Talks, said: list[Window]) -> None:
    apart, ahead = talks(ahead=False, said=said), talks(said=said)
    ahead.windows.lingers = 0.1
    audio = noise(7)
    audio[2 * 96_000 : 4 * 96_000] = 0  # equal windows, which are encoded once
    options = TranscribeOptions(batch_size=2, no_speech_threshold=None)  # the language is detected, too
    results = [talk.model.transcribe(audio, options) for talk in (apart, ahead)]
    assert results[0].segments == results[1].segments
    assert len(apart.decoder.heard) == len(said)
    assert all(map(np.array_equal, apart.decoder.heard, ahead.decoder.heard))
    one, other = (result.took.encoder for result in results)
    assert one.windows == other.windows == ahead.windows.begun
    counts = [
        sorted((run.name, str(run.plan), run.stats.calls, run.stats.dispatches) for run in encoder.runs)
        for encoder in (one, other)
    ]
    assert counts[0] == counts[1]
    assert one.overlapped_seconds == 0
    assert apart.windows.by == [threading.main_thread()] * one.windows
    assert ahead.windows.at_once == 1
    unexpected = 1 + (said is EARLY)  # where the language is detected; what is left of the second window
    assert ahead.windows.by.count(threading.main_thread()) == unexpected


@pytest.mark.filterwarnings("ignore:the device failed in the window")
@pytest.mark.parametrize("fails_at", [1, 2, 7])
@pytest.mark.parametrize("on_device_error", ["fail", "emulate"])
def test_a_device_that_fails_does_so_at_the_window_that_failed(
    talks: Talks, fails_at: int, on_device_error: str
) -> None:
    outcomes = []
    for ahead in (False, True):
        talk = talks(ahead=ahead, on_device_error=on_device_error)
        talk.windows.fails_at = fails_at
        segments: list[Any] = []
        failure = None
        try:
            talk.model.transcribe(noise(7), BATCHES, segments.append)
        except DeviceError as error:
            failure = str(error)
        assert not helpers()
        assert (failure is None) == (on_device_error == "emulate")
        assert talk.windows.begun == fails_at  # and nothing is tried behind it
        switch = talk.model.switch
        at = switch and (switch.window, switch.seconds, switch.why)
        outcomes.append((segments, failure, at, talk.decoder.prompts))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][0]) == (7 if on_device_error == "emulate" else (fails_at - 1) // 2 * 2)


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "end", ["close", "drop", "cancel", "interrupt", "close the model", "damage", "decoder", "keep"]
)
def test_no_thread_is_left_behind(talks: Talks, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = talks()
    talk.decoder.on_window = lambda: talk.windows.wait_until(lambda: talk.windows.begun > 2)  # the next batch
    stream = talk.model.stream(noise(7), BATCHES)
    next(stream)
    if end == "close":
        stream.close()
    elif end == "drop":
        del stream
    elif end == "cancel":
        stream.cancel()
    elif end == "interrupt":
        stream.close()
        talk.decoder.windows = [*SAID]
        with pytest.raises(KeyboardInterrupt):
            talk.model.transcribe(noise(7), BATCHES, interrupt)
    elif end == "close the model":
        talk.model.close()
        with pytest.raises(DeviceError, match="the device was closed"):
            list(stream)
    elif end == "damage":
        monkeypatch.setattr("whisper_npu.audio.InMemory.samples", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(stream)
    elif end == "decoder":
        talk.decoder.windows.clear()  # its next call fails
        with pytest.raises(IndexError):
            list(stream)
    elif end == "keep":  # the thread ends by itself
        for thread in helpers():
            thread.join(PATIENCE)
    assert not helpers()
    assert talk.windows.ended == talk.windows.begun or end == "close the model"


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals need the main one"
)
def test_control_c_ends_the_wait_for_a_window(talks: Talks) -> None:
    talk = talks()
    talk.windows.held = held = Event()
    main = threading.get_ident()

    def press() -> None:
        talk.windows.wait_until(lambda: talk.windows.begun > 0)
        signal.pthread_kill(main, signal.SIGINT)
        held.set()  # the window that is under way ends, and the thread with it

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    presses = Thread(target=press)
    try:
        presses.start()
        with pytest.raises(KeyboardInterrupt):
            talk.model.transcribe(noise(7), BATCHES)
    finally:
        presses.join()
        signal.signal(signal.SIGINT, before)
    assert not helpers()
    talk.windows.held = None
    talk.decoder.windows = [*SAID]
    assert len(talk.model.transcribe(noise(7), BATCHES).segments) == 7  # and the model goes on


def test_what_was_encoded_for_nothing_is_counted(talks: Talks) -> None:
    talk = talks()
    with talk.model.stream(noise(7), BATCHES) as stream:
        next(stream)
        talk.windows.wait_until(lambda: talk.windows.ended >= 4)
    took = stream.result().took
    assert took.encoder.windows == talk.windows.ended == 4
    assert {run.stats.calls for run in took.encoder.runs if run.name == "conv1"} == {4}


def test_a_device_that_is_the_cpu_does_not_work_ahead(talks: Talks) -> None:
    assert not Emulator().leaves_cpu_free
    talk = talks(ahead=False)
    talk.decoder.on_window = lambda: begun.append(talk.windows.begun)
    begun: list[int] = []
    talk.model.transcribe(noise(7), BATCHES)
    assert begun == [2, 2, 4, 4, 6, 6, 7]


def test_one_window_after_the_other_is_not_worked_ahead(talks: Talks) -> None:
    """Where the next window begins says the decoder."""
    talk = talks()
    result = talk.model.transcribe(noise(3), TranscribeOptions(language="de"))
    assert talk.windows.by == [threading.main_thread()] * result.took.encoder.windows
    assert result.took.encoder.overlapped_seconds == 0


# ------------------------------------------------------------------------------------------ the queue alone


def mel(number: int) -> F32:
    return np.full((2, 3), number, np.float32)


@given(
    st.integers(1, 4),
    st.lists(st.one_of(st.integers(1, 3), st.just("take"), st.just("other")), max_size=20),
)
def test_windows_come_in_order_and_no_more_than_may_wait(most: int, steps: list[int | str]) -> None:
    encoded: list[int] = []
    taken = expected = 0
    at_once: list[int] = []
    running: list[None] = []

    def encode(one: F32) -> int:
        running.append(None)
        assert len(running) == 1  # one at a time
        number = int(one[0, 0])
        if number >= 0:
            encoded.append(number)
            at_once.append(len(encoded) - taken)
        running.pop()
        return number

    ahead = Ahead(encode, most)
    for step in steps:
        if isinstance(step, int):
            ahead.expect([mel(expected + i) for i in range(step)])
            expected += step
        elif step == "other":
            with ahead.paused():
                assert encode(mel(-1)) == -1
        elif taken < expected:
            assert ahead.is_next(mel(taken))
            assert ahead.take() == taken
            taken += 1
    left = ahead.close()
    assert encoded == list(range(len(encoded)))
    assert left == encoded[taken:]
    assert max(at_once, default=0) <= most + 1  # one more may begin before this test counts what it has taken
    assert not helpers()


def test_an_error_comes_when_its_window_is_taken_and_ends_the_work() -> None:
    encoded: list[int] = []

    def encode(one: F32) -> int:
        encoded.append(int(one[0, 0]))
        if encoded[-1] == 1:
            raise DeviceError("lost")
        return encoded[-1]

    ahead = Ahead(encode, 5)
    ahead.expect(map(mel, range(5)))
    assert ahead.take() == 0
    with ahead.paused():
        assert encode(mel(9)) == 9  # is not delayed by the error that is to come
    with pytest.raises(DeviceError, match="lost"):
        ahead.take()
    assert ahead.close() == []
    assert sorted(encoded) == [0, 1, 9]


def test_it_may_be_closed_by_its_own_thread() -> None:
    """Garbage collection runs in any thread."""
    done = Event()

    def encode(one: F32) -> int:
        ahead.close()
        done.set()
        return 0

    ahead = Ahead(encode, 2)
    ahead.expect([mel(0), mel(1)])
    assert done.wait(PATIENCE)
    for thread in helpers():
        thread.join(PATIENCE)
    assert not helpers()


def test_what_fails_ahead_fails_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise AudioError("unreadable")

    given = one_ahead(items())
    assert [next(given), next(given)] == [1, 2]
    with pytest.raises(AudioError, match="unreadable"):
        next(given)
    assert list(one_ahead(iter("abc"))) == ["a", "b", "c"]
    assert list(one_ahead(iter(()))) == []


def test_an_interrupt_is_not_postponed() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(one_ahead(items()))
