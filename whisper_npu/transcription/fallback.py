"""What goes on where a device fails: nothing, or the emulator, from the window that failed."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from whisper_npu.checkpoint import Checkpoint
from whisper_npu.encoder import AudioEncoder, prepared_encoder
from whisper_npu.errors import DeviceError, DeviceNotFoundError, UsageError, quoted
from whisper_npu.npu.device import Device
from whisper_npu.npu.device_names import ON_DEVICE_ERROR
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.staging import KeptIn
from whisper_npu.transcription.took import Switch


class DeviceWarning(UserWarning):
    """A device failed, and the emulator goes on in its place."""


OnSwitch = Callable[[Switch], None]


def warn(switch: Switch) -> None:
    """The default of whoever asked for no other: Python's warning."""
    warnings.warn(str(switch), DeviceWarning, stacklevel=2)


class Fallback:
    """Makes the encoder anew on the emulator when its device fails, once.

    It keeps the checkpoint's arrays for that: until then the encoder is in memory twice.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: Device, kept_in: KeptIn | None, on_switch: OnSwitch
    ) -> None:
        self._checkpoint: Checkpoint | None = checkpoint
        self._device, self._kept_in = device, kept_in
        self.switch: Switch | None = None
        self._on_switch = on_switch

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
        why = " ".join(str(error).split())
        self.switch = Switch(device.description, emulator.description, why, window, seconds)
        self._on_switch(self.switch)
        return made


def check_on_device_error(asked: str) -> None:
    """Raises UsageError for a word that is none."""
    if asked not in ON_DEVICE_ERROR:
        raise UsageError(f"on_device_error is {quoted(asked)}, must be one of {', '.join(ON_DEVICE_ERROR)}")
