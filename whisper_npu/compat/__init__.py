"""This project's encoder inside models of faster-whisper, transformers and openai-whisper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_npu.errors import NoEffectError, UsageError

if TYPE_CHECKING:
    from whisper_npu.compat.attached import Attached
    from whisper_npu.npu.device import Device

__all__ = ["attach", "detach"]


def attach(
    model: Any,
    checkpoint: str | Path | None = None,
    *,
    device: str | Device = "auto",
    kernel: str = "auto",
    threads: int | None = None,
    cache_dir: Path | None = None,
    model_dir: Path | None = None,
    local_files_only: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Attached:
    """Let an existing model encode on the device; all else about it stays as it is.

    model: faster-whisper's WhisperModel or BatchedInferencePipeline; transformers' WhisperModel,
    WhisperForConditionalGeneration, another model with its encoder, the encoder alone, or a pipeline with
    one; or what openai-whisper's load_model gives.
    checkpoint: for faster-whisper's only, which does not give its weights back: the name, folder or hub id
    that `model` was made of. Whether it is the same encoder is tried on one window.
    device, kernel, threads: as for `whisper_npu.load_model`. Detaching closes a device that is named here,
    and leaves open one from `open_device`, which has its threads already.
    cache_dir, model_dir, local_files_only, progress: where the checkpoint is found, as for `load_model`.

    Raises UsageError for another kind of model, for one that has this encoder already, and for a checkpoint
    of other weights; NoEffectError for what has no effect beside the others; CheckpointError for a model
    whose own weights are not those of a Whisper encoder; and what `load_model` raises.
    """
    if threads is not None and not isinstance(device, str):
        raise NoEffectError("threads has no effect: the device has its own; pass it to open_device")
    package = _package(model)
    if package == "faster_whisper":
        from whisper_npu.compat.faster_whisper import attach as to_faster_whisper

        return to_faster_whisper(
            model,
            checkpoint,
            device=device,
            kernel=kernel,
            threads=threads,
            cache_dir=cache_dir,
            model_dir=model_dir,
            local_files_only=local_files_only,
            progress=progress,
        )
    of_files = {
        "checkpoint": checkpoint,
        "cache_dir": cache_dir,
        "model_dir": model_dir,
        "local_files_only": local_files_only or None,
        "progress": progress,
    }
    for name, value in of_files.items():
        if value is not None:
            raise NoEffectError(f"{name} has no effect: the model gives its own weights; leave it out")
    if package == "transformers":
        from whisper_npu.compat.transformers import attach as to_transformers

        return to_transformers(model, device=device, kernel=kernel, threads=threads)
    from whisper_npu.compat.openai_whisper import attach as to_openai_whisper

    return to_openai_whisper(model, device=device, kernel=kernel, threads=threads)


def detach(model: Any) -> None:
    """As `detach` of what `attach` gave for this model: for whoever has lost that, as in a notebook.

    Raises UsageError where nothing is attached, and for another kind of model.
    """
    package = _package(model)
    if package == "faster_whisper":
        from whisper_npu.compat.faster_whisper import attached_to
    elif package == "transformers":
        from whisper_npu.compat.transformers import attached_to
    else:
        from whisper_npu.compat.openai_whisper import attached_to
    attached = attached_to(model)
    if attached is None:
        raise UsageError("the model has its own encoder: there is nothing to detach")
    attached.detach()


def _package(model: Any) -> str:
    """Which of the packages a model is of. Raises UsageError."""
    from whisper_npu.compat.attached import unknown_kind

    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    for package in ("faster_whisper", "transformers", "whisper"):
        if package in packages:
            return package
    raise unknown_kind(model)
