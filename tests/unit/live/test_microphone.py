"""A microphone through a sounddevice that is a test's: what comes, and what is said where nothing comes."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.fake_sounddevice import (
    DEVICE_UNAVAILABLE,
    INVALID_DEVICE,
    FakeMicrophone,
    PortAudioError,
    plug_in,
)
from whisper_npu.audio import SAMPLE_RATE, Samples
from whisper_npu.errors import MicrophoneError, MissingPackageError, UsageError
from whisper_npu.live import microphone as module
from whisper_npu.live.microphone import Microphone, microphones


def noise(seconds: float, rate: int = SAMPLE_RATE) -> Samples:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def recorded(opened: Microphone, device: FakeMicrophone) -> Samples:
    """All that is spoken into it."""
    device.on_end = opened.stop
    return np.concatenate(list(opened.blocks()))


def test_all_of_the_sound_comes_bit_by_bit_and_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    (device,) = plug_in(monkeypatch, FakeMicrophone("Desk", noise(3.0)))
    with Microphone() as opened:
        assert opened.name == "Desk"
        heard = recorded(opened, device)
    assert np.array_equal(heard[: 3 * SAMPLE_RATE], device.sound)
    assert not heard[3 * SAMPLE_RATE :].any()
    assert device.n_open == 0


def test_what_resamples_goes_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """soxr complains on stderr about whatever is there when the process ends."""
    made: list[weakref.ref[object]] = []

    class Resampling:
        def __init__(self, *_: object, **__: object) -> None:
            made.append(weakref.ref(self))

    monkeypatch.setattr("soxr.ResampleStream", Resampling)
    plug_in(monkeypatch, FakeMicrophone("Studio", rates=(48_000,)))
    opened = Microphone()
    assert made[0]() is not None
    opened.close()
    assert made[0]() is None


def test_a_device_that_refuses_16_khz_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    at = np.arange(3 * 48_000) / 48_000
    device = FakeMicrophone(
        "Studio", (0.5 * np.sin(2 * np.pi * 440 * at)).astype(np.float32), rates=(48_000,)
    )
    plug_in(monkeypatch, device)
    with Microphone() as opened:
        heard = recorded(opened, device)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE)
    middle = slice(SAMPLE_RATE // 2, 2 * SAMPLE_RATE)
    assert len(heard) >= 3 * SAMPLE_RATE
    assert np.max(np.abs(heard[middle] - expected[middle])) < 1e-3


def test_when_a_sound_had_come_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    (device,) = plug_in(monkeypatch, FakeMicrophone("Desk", noise(1.0)))
    clock = iter(range(10_000))
    with Microphone(clock=lambda: float(next(clock))) as opened:
        assert len(recorded(opened, device)) >= SAMPLE_RATE
        times = [opened.heard_at(seconds / 10) for seconds in range(1, 11)]
        assert times == sorted(set(times))
        assert opened.heard_at(0.05) == times[0]
        assert opened.heard_at(1000.0) >= times[-1]


@pytest.mark.parametrize(("knows_time", "seconds"), [(True, 1.75), (False, 0.0)])
def test_what_is_lost_is_counted(knows_time: bool, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeMicrophone("Desk", noise(2.0), lost={3: 0.25, 7: 1.5}, knows_time=knows_time)
    plug_in(monkeypatch, device)
    with Microphone() as opened:
        recorded(opened, device)
        assert opened.n_overflows == 2
        assert opened.seconds_lost == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("which", "name"), [(None, "Array"), ("1", "USB Desk"), ("usb", "USB Desk"), ("array", "Array")]
)
def test_which_one_is_meant(which: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = FakeMicrophone("Speaker", n_inputs=0)
    plug_in(monkeypatch, speaker, FakeMicrophone("USB Desk"), FakeMicrophone("Array"), default=2)
    assert [(one.number, one.name, one.is_default) for one in microphones()] == [
        (1, "USB Desk", False),
        (2, "Array", True),
    ]
    with Microphone(which) as opened:
        assert opened.name == name


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("Dask", "no microphone is called so; did you mean Desk?"),
        ("nonsense", "whisper-npu listen --list_microphones shows"),
        ("0", "no microphone is called so"),  # it has no input
        ("99", "no microphone is called so"),
        ("s", "--microphone s may be 1: Desk, 2: Studio; give the number"),
        ("", "no microphone is called so"),
    ],
)
def test_one_that_is_not_there(which: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, FakeMicrophone("Sink", n_inputs=0), FakeMicrophone("Desk"), FakeMicrophone("Studio"))
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        Microphone(which)


def test_two_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, FakeMicrophone("USB mic"), FakeMicrophone("USB mic"), FakeMicrophone("USB mic 2"))
    with pytest.raises(UsageError, match="may be 0: USB mic, 1: USB mic; give the number"):
        Microphone("USB mic")


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, FakeMicrophone("Speaker", n_inputs=0), default=-1)
    assert microphones() == ()
    with pytest.raises(MicrophoneError, match="there is no microphone: plug one in"):
        Microphone()


def test_none_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, FakeMicrophone("Desk"), default=-1)
    with pytest.raises(MicrophoneError, match="name one by --microphone"):
        Microphone()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (("Device unavailable", DEVICE_UNAVAILABLE), "another program may use it, or this user may not"),
        (("Invalid device", INVALID_DEVICE), r"\(Invalid device .*\); check the system's sound settings"),
    ],
)
def test_one_that_cannot_be_opened(
    error: tuple[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = PortAudioError(f"Error opening RawInputStream: {error[0]}", error[1])
    plug_in(monkeypatch, FakeMicrophone("Desk", refuses=refused))
    with pytest.raises(MicrophoneError, match=f"^Desk cannot be opened .*{said}"):
        Microphone()


def test_one_that_is_unplugged_gives_all_that_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (device,) = plug_in(monkeypatch, FakeMicrophone("Desk", noise(9.0), unplugged_after=7))
    came = []
    with (
        Microphone() as opened,
        pytest.raises(MicrophoneError, match="Desk is gone: it was unplugged"),
    ):
        came.extend(opened.blocks())
    assert np.array_equal(np.concatenate(came), device.sound[: 7 * SAMPLE_RATE // 10])
    assert device.n_open == 0


def test_one_from_which_no_sound_comes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, FakeMicrophone("Desk", noise(9.0), silent_after=2))
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with Microphone() as opened, pytest.raises(MicrophoneError, match="no sound has come from Desk for"):
        list(opened.blocks())


def fails(error: BaseException) -> Callable[..., object]:
    def fail(name: str, *rest: object) -> object:
        if name == "sounddevice":
            raise error
        return real(name, *rest)

    real = __import__
    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("PortAudio library not found"), "apt install libportaudio2"),
        (PortAudioError("Error initializing PortAudio: x", -10000), "PortAudio does not start"),
        (ImportError("No module named '_cffi_backend'"), "sounddevice, which a microphone needs, is damaged"),
    ],
)
def test_what_it_needs_is_named(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)  # so that it is found, wherever the tests run
    monkeypatch.setattr("builtins.__import__", fails(error))
    with pytest.raises((MissingPackageError, MicrophoneError), match=said):
        Microphone()


def test_without_sounddevice_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'whisper-npu\[live\]'"):
        microphones()
