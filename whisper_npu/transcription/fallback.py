"""What goes on where a device fails: nothing, or the emulator, from the window that failed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from whisper_npu.checkpoint import Checkpoint
from whisper_npu.encoder import AudioEncoder, prepared_encoder
from whisper_npu.errors import DeviceError, DeviceNotFoundError, UsageError, one_line
from whisper_npu.npu.device import Device
from whisper_npu.npu.device_names import ON_DEVICE_ERROR
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.staging import KeptIn


class DeviceWarning(UserWarning):
    """A device failed, and the emulator goes on in its place."""


@dataclass(frozen=True)
class Switch:
    """A device that failed, and what went on in its place. A window that failed is encoded anew."""

    from_device: str  # its description
    to_device: str
    why: str  # the error, in one line
    window: int | None = None  # of the recording, from 1; None: it failed while the model was loaded
    seconds: float = 0.0  # where that window begins in the recording

    def __str__(self) -> str:
        at = "while the model was loaded" if self.window is None else f"in the window at {self.seconds:.1f} s"
        return f"the device failed {at}, and the emulator on this CPU goes on: {self.why}"

    def to_dict(self) -> dict[str, object]:
        """For a report."""
        return {
            "from": self.from_device,
            "to": self.to_device,
            "why": self.why,
            "window": self.window,
            "seconds": self.seconds,
        }


OnSwitch = Callable[[Switch], None]


def warn(switch: Switch) -> None:
    """The default of whoever asked for no other: Python's warning."""
    warnings.warn(str(switch), DeviceWarning, stacklevel=2)


class Fallback:
    """Makes the encoder anew on the emulator when its device fails, once.

    It keeps the checkpoint's arrays for that: until then the encoder is in memory twice.
    """

    def __init__(self, checkpoint: Checkpoint, device: Device, kept_in: KeptIn | None) -> None:
        self._checkpoint: Checkpoint | None = checkpoint
        self._device, self._kept_in = device, kept_in
        self.switch: Switch | None = None
        self.on_switch: OnSwitch = warn

    def encoder(self, error: DeviceError, window: int | None = None, seconds: float = 0.0) -> AudioEncoder:
        """On the emulator. Raises the error where that would not help: the device was closed, or is it."""
        device, checkpoint = self._device, self._checkpoint
        device.threads.check_open()
        if checkpoint is None or device.clock == "CPU" or isinstance(error, DeviceNotFoundError):
            raise error
        device.give_up()
        emulator = Emulator(threads=device.threads, target=device.target)
        made = prepared_encoder(checkpoint.dims, checkpoint.encoder, emulator, kept_in=self._kept_in)
        self._checkpoint = None  # its arrays are not needed any more
        why = one_line(error)
        self.switch = Switch(device.description, emulator.description, why, window, seconds)
        self.on_switch(self.switch)
        return made


def check_on_device_error(asked: str) -> None:
    """Raises UsageError for a word that is none."""
    if asked not in ON_DEVICE_ERROR:
        raise UsageError(f"on_device_error is {asked!r}, must be one of {', '.join(ON_DEVICE_ERROR)}")
