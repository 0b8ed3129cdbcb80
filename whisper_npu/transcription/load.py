"""Loading a model by its name, and transcribing with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.npu.device import Device
from whisper_npu.transcription.compute_type import AUTO, resolve_compute_type
from whisper_npu.transcription.model import Audio, Model
from whisper_npu.transcription.opening import device_for, kept_in, silent, with_decoder
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.result import Transcription

DEFAULT_MODEL = "base"


def load_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | Device = "auto",
    kernel: str = "auto",
    threads: int | None = None,
    compute_type: str = AUTO,
    cache_dir: Path | None = None,
    model_dir: Path | None = None,
    local_files_only: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Model:
    """Load a model by name, folder or hub id, and stage its encoder on a device.

    model, cache_dir, model_dir, local_files_only, progress: as in `whisper_npu.checkpoint.load_checkpoint`.
    progress may be called in another thread than this one, while the encoder is staged; never after the
    return.
    device: "auto", "npu", "emulator" ("cpu" means the same), or a device from `open_device`. Closing the
    model closes it.
    kernel: "auto", "gemm", or a kernel's name.
    threads: for encoder and decoder, None for one per core; not used with a device that is open already.
    compute_type: the decoder's, "auto" or one of CTranslate2's names, such as "float32".

    Raises UnknownModelError, CheckpointError, UnknownKernelError, DeviceNotFoundError, UsageError.
    """
    report = progress or silent
    with device_for(device, threads) as opened:
        compute_type = resolve_compute_type(compute_type)
        checkpoint = load_checkpoint(
            model,
            cache_dir=cache_dir,
            model_dir=model_dir,
            local_files_only=local_files_only,
            progress=progress,
        )

        def with_folder(folder: Path) -> Model:
            return Model(
                checkpoint,
                opened,
                kernel,
                compute_type=compute_type,
                decoder_folder=folder,
                kept_in=kept_in(checkpoint, cache_dir, report),
            )

        return with_decoder(checkpoint, compute_type, cache_dir, report, with_folder)


def transcribe(
    audio: Audio, *, model: str | Path = DEFAULT_MODEL, options: TranscribeOptions | None = None
) -> Transcription:
    """Transcribe one recording. `load_model` is for several, and for choosing device and kernel."""
    with load_model(model) as loaded:
        return loaded.transcribe(audio, options)
