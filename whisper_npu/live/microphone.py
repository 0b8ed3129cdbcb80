"""A microphone, through PortAudio: blocks of samples at 16 kHz, and in one line what is wrong with it.

Only this module imports sounddevice, PortAudio's Python binding: its documentation and source
(github.com/spatialaudio/python-sounddevice, sounddevice.py) say what is called here.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from whisper_npu.audio import SAMPLE_RATE, Samples
from whisper_npu.audio.store import peak_of
from whisper_npu.errors import MicrophoneError, MissingPackageError, UsageError, one_line, quoted, shown
from whisper_npu.extras import require_package
from whisper_npu.near import did_you_mean

BLOCK = 0.1  # seconds of sound that come at a time
PATIENCE = 10.0  # seconds without any sound, after which a microphone is gone
_REMEMBERED = 36_000  # blocks whose arrival is known: an hour
_INVALID_SAMPLE_RATE = -9997  # paInvalidSampleRate of PortAudio's portaudio.h
_DEVICE_UNAVAILABLE = -9985  # paDeviceUnavailable
_LIST = "whisper-npu listen --list_microphones shows those that there are"
NONE = "there is no microphone: plug one in, or allow it in the system's sound settings"


@dataclass(frozen=True)
class Device:
    """A device that records, as PortAudio knows it."""

    number: int
    name: str
    rate: int  # Hz, its own
    is_default: bool


@dataclass(frozen=True)
class _Heard:
    """What the callback saw of one block."""

    data: bytes  # float32
    recorded: float  # when its first sample was recorded, on PortAudio's clock; 0: it does not know
    arrived: float  # monotonic
    lost_before: bool  # an overflow


def microphones() -> tuple[Device, ...]:
    """All devices that record. Raises MissingPackageError without sounddevice or PortAudio."""
    return _devices(_sounddevice())


class Microphone:
    """A microphone that is open. A context manager, which closes it.

    which: its number, or a part of its name that no other has; None: the system's default.

    Sound is recorded from the first call of `blocks` on. Raises MissingPackageError without sounddevice or
    PortAudio, UsageError where no microphone is called so, MicrophoneError where there is none or it cannot
    be opened.
    """

    is_live = True  # its sound comes when it is spoken

    def __init__(self, which: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        sounddevice = _sounddevice()
        self._failed = sounddevice.PortAudioError
        self._device = _chosen(_devices(sounddevice), which)
        self._clock = clock
        self._queue: SimpleQueue[_Heard | None] = SimpleQueue()  # None: PortAudio records no more
        self._stream, self._rate = self._opened(sounddevice)
        self._resampling = _resampling(self._rate)
        self._stopped = self._ends = False
        self._n_samples = 0  # at 16 kHz, given so far
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # end of a block, when it came
        self.peak = 0.0  # the loudest sample's magnitude
        self.n_overflows = 0
        self.seconds_lost = 0.0  # by overflows, as far as PortAudio's clock tells

    @property
    def name(self) -> str:
        return shown(self._device.name)

    def blocks(self) -> Iterator[Samples]:
        """(n,) float32 at 16 kHz, as they come, until `stop`. Raises MicrophoneError where it is gone."""
        try:
            self._stream.start()
        except self._failed as error:
            raise self._refused(error) from error
        previous_end = 0.0
        while True:
            heard = self._next()
            if heard is None:
                break
            seconds = len(heard.data) / 4 / self._rate
            if heard.lost_before:
                self.n_overflows += 1
                if 0.0 < previous_end < heard.recorded:
                    self.seconds_lost += heard.recorded - previous_end
            previous_end = heard.recorded + seconds if heard.recorded else 0.0
            samples = self._resampled(np.frombuffer(heard.data, np.float32), last=False)
            self.peak = max(self.peak, peak_of(samples))
            self._n_samples += len(samples)
            self._arrivals.append((self._n_samples / SAMPLE_RATE, heard.arrived))
            yield samples
        rest = self._resampled(np.empty(0, np.float32), last=True)
        self._n_samples += len(rest)
        yield rest

    def _next(self) -> _Heard | None:
        """The next block; None once it was stopped, and all that was recorded before is given."""
        since = self._clock()
        while True:
            if self._stopped and not self._ends:
                self._ends = True
                self._stream.stop()  # what is recorded already comes before this returns
            try:
                heard = self._queue.get(timeout=0 if self._ends else BLOCK)
            except Empty:
                if self._ends:
                    return None
                if self._clock() - since > PATIENCE:
                    raise MicrophoneError(
                        f"no sound has come from {self.name} for {PATIENCE:.0f} s: it was unplugged, or the "
                        "system has turned it off"
                    ) from None
                continue
            if heard is None and not self._ends:
                raise MicrophoneError(f"{self.name} is gone: it was unplugged, or another program took it")
            return heard

    def stop(self) -> None:
        """`blocks` ends soon. Any thread may call it, a signal handler too."""
        self._stopped = True

    def heard_at(self, seconds: float) -> float:
        """When, on the monotonic clock, the sound at `seconds` from the start had come."""
        arrivals = self._arrivals
        if not arrivals:
            return self._clock()
        found = bisect_left(arrivals, (seconds, 0.0))
        return arrivals[min(found, len(arrivals) - 1)][1]

    def close(self) -> None:
        """Nothing is recorded any more."""
        self._stopped = True
        with suppress(self._failed):
            self._stream.close()
        self._resampling = None  # the stream's callbacks hold this object, and it would stay with it

    def __enter__(self) -> Microphone:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _opened(self, sounddevice: Any) -> tuple[Any, int]:
        """The stream and its rate: 16 kHz, or the device's own where that is refused."""
        try:
            return self._stream_at(sounddevice, SAMPLE_RATE), SAMPLE_RATE
        except self._failed as error:
            if _code(error) != _INVALID_SAMPLE_RATE:
                raise self._refused(error) from error
        try:
            return self._stream_at(sounddevice, self._device.rate), self._device.rate
        except self._failed as error:
            raise self._refused(error) from error

    def _stream_at(self, sounddevice: Any, rate: int) -> Any:
        return sounddevice.RawInputStream(
            samplerate=rate,
            blocksize=round(BLOCK * rate),
            device=self._device.number,
            channels=1,
            dtype="float32",
            callback=self._heard,
            finished_callback=lambda: self._queue.put(None),
        )

    def _heard(self, data: Any, n_frames: int, times: Any, status: Any) -> None:
        """Called in PortAudio's thread, which must not wait for anything."""
        self._queue.put(_Heard(bytes(data), times.inputBufferAdcTime, self._clock(), status.input_overflow))

    def _resampled(self, samples: Samples, *, last: bool) -> Samples:
        if self._resampling is None:
            return samples
        done: Samples = self._resampling.resample_chunk(samples, last)
        return done

    def _refused(self, error: Exception) -> MicrophoneError:
        remedy = "another program may use it, or this user may not: close the other one, or name another by "
        remedy += "--microphone"
        if _code(error) != _DEVICE_UNAVAILABLE:
            remedy = "check the system's sound settings, or name another by --microphone"
        return MicrophoneError(f"{self.name} cannot be opened ({_said(error)}); {remedy}")


def _resampling(rate: int) -> Any:
    """soxr's stream, or None where there is nothing to do."""
    if rate == SAMPLE_RATE:
        return None
    import soxr

    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="soxr_hq")


def _sounddevice() -> Any:
    require_package("sounddevice", "live", "a microphone")
    try:
        import sounddevice
    except ImportError as error:
        raise MissingPackageError(
            f"sounddevice, which a microphone needs, is damaged ({one_line(error)}): "
            "pip install --force-reinstall sounddevice"
        ) from error
    except OSError as error:  # what it raises where it finds no library
        raise MissingPackageError(
            f"a microphone needs PortAudio, which is not installed ({one_line(error)}): "
            "apt install libportaudio2, or dnf install portaudio"
        ) from error
    except Exception as error:  # its PortAudioError, which nobody has yet: Pa_Initialize fails
        raise MicrophoneError(
            f"PortAudio does not start ({one_line(error)}); check the system's sound settings"
        ) from error
    return sounddevice


def _devices(sounddevice: Any) -> tuple[Device, ...]:
    try:
        default = sounddevice.query_devices(kind="input")["index"]
    except (sounddevice.PortAudioError, ValueError):  # there is none
        default = -1
    try:
        found = sounddevice.query_devices()
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(f"PortAudio cannot say which microphones there are ({_said(error)})") from error
    return tuple(
        Device(one["index"], one["name"], int(one["default_samplerate"]), one["index"] == default)
        for one in found
        if one["max_input_channels"] > 0
    )


def _chosen(devices: tuple[Device, ...], which: str | None) -> Device:
    if not devices:
        raise MicrophoneError(NONE)
    if which is None:
        default = [one for one in devices if one.is_default]
        if not default:
            raise MicrophoneError(f"no microphone is the system's default: name one by --microphone; {_LIST}")
        return default[0]
    if which.isdecimal():
        found = [one for one in devices if one.number == int(which)]
    else:
        name = which.strip().lower()
        whole = [one for one in devices if one.name.lower() == name]
        found = whole or [one for one in devices if name and name in one.name.lower()]
    if len(found) > 1:
        names = ", ".join(f"{one.number}: {shown(one.name)}" for one in found)
        raise UsageError(f"--microphone {shown(which)} may be {names}; give the number")
    if not found:
        hint = did_you_mean(which, [one.name for one in devices]) or _LIST
        raise UsageError(f"--microphone {quoted(which)}: no microphone is called so; {hint}")
    return found[0]


def _code(error: Exception) -> int | None:
    """PaErrorCode of a PortAudioError."""
    code = error.args[1] if len(error.args) > 1 else None
    return code if isinstance(code, int) else None


def _said(error: Exception) -> str:
    return one_line(error).removeprefix("Error opening RawInputStream: ")
