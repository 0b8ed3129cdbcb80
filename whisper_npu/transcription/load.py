"""Loading a model by its name, and transcribing with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from whisper_npu.audio import AudioSource
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.home import expanded
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.options import NpuOptions
from whisper_npu.transcription.compute_type import AUTO, resolve_compute_type
from whisper_npu.transcription.fallback import OnSwitch, warn
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.opening import device_for, kept_in, silent, with_decoder
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.stream import OnProgress, ignore_progress
from whisper_npu.transcription.transcript import Segment

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from whisper_npu.transcription.keywords import TranscribeKeywords

DEFAULT_MODEL = "base"


def load_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | Device = "auto",
    kernel: str = "auto",
    fidelity: str | Fidelity = Fidelity.FAST,
    kernels: str | Path | Iterable[str | Path] = (),
    timeout: float = NpuOptions.timeout_seconds,
    check_results: str = "auto",
    on_device_error: str = "fail",
    on_switch: OnSwitch = warn,
    threads: int | None = None,
    compute_type: str = AUTO,
    cache_dir: str | Path | None = None,
    model_dir: str | Path | None = None,
    local_files_only: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Model:
    """Load a model by name, folder or hub id, and stage its encoder on a device.

    model: a name such as tiny.en or large-v3-turbo, a folder in CTranslate2's or Hugging Face's format, or a
    hub id. model_dir: where models are searched first, and downloaded to; local_files_only: download nothing.
    cache_dir: where decoders and staged weights are kept; None: the user's cache.
    progress: is told, in a line, of every step that takes long. It may be called in another thread than this
    one, while the encoder is staged; never after the return.
    device: "auto", "npu", "emulator" (or "cpu", which means the same), or a device from `open_device`, for
    which fidelity, kernels, timeout, check_results and threads have no effect. Closing the model closes it.
    kernel: "auto", "gemm", or a kernel's name.
    fidelity: the emulator's, "fast" or "exact". kernels: folders of built ones for an NPU, searched first.
    timeout: seconds that one submission to an NPU may take.
    check_results: "auto", "off", "one" or "all", as for `open_device`.
    on_device_error: "fail" raises what the device raised; "emulate" goes on in the emulator from the window
    that failed: on_switch is called with what happened (a `Switch`), by default to give a DeviceWarning;
    `Model.switch` and the report tell it too.
    threads: for encoder and decoder, None or 0 for one per core.
    compute_type: the decoder's, "auto" or one of CTranslate2's names, such as "float32".

    Raises UnknownModelError, CheckpointError, UnknownKernelError, DeviceNotFoundError, UsageError.

    >>> from whisper_npu import load_model
    >>> with load_model("tiny.en", device="emulator") as model:
    ...     print(model.device.name, model.transcribe("samples/sns-0930.wav"))
    emulator He might even have been made amiable himself.
    """
    report = progress or silent
    cache_dir, model_dir = (
        None if folder is None else Path(expanded(folder)) for folder in (cache_dir, model_dir)
    )
    npu = NpuOptions.of(kernels, timeout)
    with device_for(device, threads, fidelity, npu, check_results) as (opened, _):
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
                on_device_error=on_device_error,
                on_switch=on_switch,
            )

        return with_decoder(checkpoint, compute_type, cache_dir, report, with_folder)


def transcribe(
    audio: AudioSource,
    *,
    model: str | Path = DEFAULT_MODEL,
    options: TranscribeOptions | None = None,
    on_segment: Callable[[Segment], None] | None = None,
    on_progress: OnProgress = ignore_progress,
    cancelled: Event | None = None,
    sampling_rate: int | None = None,
    audio_track: int | None = None,
    **keywords: Unpack[TranscribeKeywords],
) -> Transcription:
    """Transcribe one recording. `load_model` is for several, and for choosing device and kernel.

    All but model is as in `Model.transcribe`.
    """
    with load_model(model) as loaded:
        return loaded.transcribe(
            audio,
            options,
            on_segment,
            on_progress=on_progress,
            cancelled=cancelled,
            sampling_rate=sampling_rate,
            audio_track=audio_track,
            **keywords,
        )
