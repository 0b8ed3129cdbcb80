"""What `load_model` and the drop-ins open alike: a device, a decoder, and a place for staged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from whisper_npu.cache import discard
from whisper_npu.checkpoint import Checkpoint
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.errors import DecoderFolderError, UsageError, quoted
from whisper_npu.home import cache_folder
from whisper_npu.npu.device import Device
from whisper_npu.npu.device_names import DEVICE_NAMES
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.staging import KeptIn
from whisper_npu.transcription.compute_type import computes_in_int8

Progress = Callable[[str], None]  # is told, in one line, of every step that takes long
T = TypeVar("T")


@contextmanager
def device_for(
    device: str | Device,
    threads: int | None,
    fidelity: str | Fidelity = Fidelity.FAST,
    npu: NpuOptions | None = None,
    check_results: str = "auto",
) -> Iterator[tuple[Device, Callable[[], None]]]:
    """The device of this name, or one that is open already; and what closes it if it was opened here.

    The device of a name is closed too if what is done with it here fails; one of the caller's stays open.
    threads, fidelity, npu, check_results: as for `open_device`; not used with a device that is open already.
    Raises UsageError for what is neither, and what `open_device` raises.
    """
    if not isinstance(device, str | Device):
        names = ", ".join(DEVICE_NAMES)
        raise UsageError(f"device is {quoted(device)}, must be one of {names}, or what open_device gave")
    if isinstance(device, str):
        opened = open_device(device, fidelity, npu, threads, check_results)
        close = opened.close
    else:
        opened, close = device, _leave_open
    opened.threads.check_open()
    try:
        yield opened, close
    except BaseException:
        close()
        raise


def _leave_open() -> None:
    """For a device that the caller opened."""


def kept_in(checkpoint: Checkpoint, cache_dir: Path | None, progress: Progress) -> KeptIn:
    """Where the staged weights of a checkpoint's encoder are kept for the next start."""
    cache, folder = cache_folder(cache_dir), checkpoint.decoder_folder.resolve()
    return KeptIn(cache, checkpoint.encoder_identity, progress, str(folder))


def with_decoder(
    checkpoint: Checkpoint,
    compute_type: str,
    cache_dir: Path | None,
    progress: Progress,
    opened: Callable[[Path], T],
) -> T:
    """What `opened` makes of the folder with the checkpoint's decoder, which is stored first if it is absent.

    compute_type: as returned by `resolve_compute_type`. Where `opened` raises DecoderFolderError the folder
    is damaged: it is stored anew, once.
    """
    cache, whole = cache_folder(cache_dir), checkpoint.decoder_folder

    def stored() -> Path:
        return decoder_alone(
            whole, int8=computes_in_int8(compute_type), cache_folder=cache, progress=progress
        )

    folder = stored()
    try:
        return opened(folder)
    except DecoderFolderError:
        if folder.parent != cache:  # made a moment ago
            raise
        progress("the stored decoder is damaged")
        discard(cache, folder.name)
        return opened(stored())


def silent(step: str) -> None:
    """The default: no progress is shown."""
