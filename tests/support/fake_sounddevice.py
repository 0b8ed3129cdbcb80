"""A module in the place of sounddevice, with microphones that a test plugs in, and as strict as the real one.

As in sounddevice 0.5 (sounddevice.py): a number may be any device's, `query_devices(kind=...)` raises
PortAudioError where there is no default, errors have PortAudio's code as their second argument, callbacks run
in a thread of PortAudio's with a buffer that is reused, and what a callback raises ends the stream.
"""

from __future__ import annotations

import importlib.machinery
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

# PaErrorCode, portaudio.h
INVALID_SAMPLE_RATE, INVALID_DEVICE, DEVICE_UNAVAILABLE = -9997, -9996, -9985


class PortAudioError(Exception):
    """args: what went wrong, and PaErrorCode."""

    def __str__(self) -> str:
        return f"{self.args[0]} [PaErrorCode {self.args[1]}]" if len(self.args) > 1 else str(self.args[0])


class CallbackFlags:
    __slots__ = ("input_overflow",)

    def __init__(self, *, input_overflow: bool = False) -> None:
        self.input_overflow = input_overflow


@dataclass
class FakeMicrophone:
    """A device, and what is spoken into it.

    rates: that it takes, the first is its own. lost: by the number of a block, seconds of sound that are lost
    before it. unplugged_after: blocks. silent_after: blocks, after which it only seems to go on.
    """

    name: str
    sound: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(16_000, np.float32))
    rates: Sequence[int] = (16_000, 48_000)
    n_inputs: int = 1
    refuses: PortAudioError | None = None
    lost: dict[int, float] = field(default_factory=dict)
    unplugged_after: int | None = None
    silent_after: int | None = None
    knows_time: bool = True
    n_open: int = 0  # streams that are not closed
    on_end: Callable[[], None] = lambda: None  # all of the sound was recorded


class _Module(types.ModuleType):
    PortAudioError = PortAudioError
    CallbackFlags = CallbackFlags

    def __init__(self, devices: Sequence[FakeMicrophone], default: int) -> None:
        super().__init__("sounddevice")
        self.__spec__ = importlib.machinery.ModuleSpec("sounddevice", None)
        self._devices, self._default = list(devices), default
        outer = self

        class RawInputStream(_Stream):
            _module = outer

        self.RawInputStream = RawInputStream

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        assert kind in ("input", None)
        if device is None and kind is None:
            return tuple(self.query_devices(i) for i in range(len(self._devices)))
        index = self._default if device is None else device
        if not 0 <= index < len(self._devices):
            raise PortAudioError(f"Error querying device {index}")
        one = self._devices[index]
        return {
            "name": one.name,
            "index": index,
            "hostapi": 0,
            "max_input_channels": one.n_inputs,
            "max_output_channels": 0,
            "default_low_input_latency": 0.01,
            "default_high_input_latency": 0.1,
            "default_samplerate": float(one.rates[-1]),
        }


class _Stream:
    _module: _Module

    def __init__(
        self,
        *,
        samplerate: float,
        blocksize: int,
        device: int,
        channels: int,
        dtype: str,
        callback: Callable[[Any, int, Any, CallbackFlags], None],
        finished_callback: Callable[[], None],
    ) -> None:
        prefix = "Error opening RawInputStream: "
        self._microphone = microphone = self._module._devices[device]
        assert dtype == "float32"
        if channels > microphone.n_inputs:
            raise PortAudioError(f"{prefix}Invalid number of channels", -9998)
        if microphone.refuses is not None:
            raise microphone.refuses
        if samplerate not in microphone.rates:
            raise PortAudioError(f"{prefix}Invalid sample rate", INVALID_SAMPLE_RATE)
        self._rate, self._n_block = samplerate, blocksize
        self._callback, self._finished = callback, finished_callback
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="PortAudio", daemon=True)
        self._is_closed = False
        microphone.n_open += 1

    def start(self) -> None:
        assert not self._is_closed
        self._thread.start()

    def _run(self) -> None:
        microphone = self._microphone
        buffer = bytearray(4 * self._n_block)
        at = 100.0  # of PortAudio's clock
        sound = microphone.sound
        number = 0
        try:
            while not self._stopping.is_set():
                if microphone.unplugged_after == number:
                    return
                if microphone.silent_after == number:
                    self._stopping.wait()
                    return
                lost = microphone.lost.get(number, 0.0)
                at += lost
                block = sound[number * self._n_block : (number + 1) * self._n_block]
                buffer[:] = np.pad(block, (0, self._n_block - len(block))).astype(np.float32).tobytes()
                times = types.SimpleNamespace(inputBufferAdcTime=at if microphone.knows_time else 0.0)
                self._callback(
                    memoryview(buffer), self._n_block, times, CallbackFlags(input_overflow=bool(lost))
                )
                buffer[:] = b"\xff" * len(buffer)  # PortAudio uses it again: whoever keeps it hears NaN
                at += self._n_block / self._rate
                number += 1
                if number * self._n_block >= len(sound):
                    microphone.on_end()
                    time.sleep(0.005)
        finally:
            self._finished()

    def stop(self, ignore_errors: bool = True) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def close(self, ignore_errors: bool = True) -> None:
        self.stop()
        if not self._is_closed:
            self._is_closed = True
            self._microphone.n_open -= 1


def plug_in(
    patch: pytest.MonkeyPatch, *microphones: FakeMicrophone, default: int = 0
) -> tuple[FakeMicrophone, ...]:
    """From here on sounddevice is this one. default: the number of the system's; -1: there is none."""
    patch.setitem(sys.modules, "sounddevice", _Module(microphones, default))
    return microphones
