"""faster-whisper's own model with this project's encoder: one that is made so, and one that exists already.

faster-whisper gives every window to `encode` of CTranslate2's model, and does all else with what comes back.
That one method is replaced, so that its loop, its batches, detection of languages, word timestamps and
fallback are its own. This module has faster-whisper's public names, so that it can be imported in its place.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from whisper_npu.audio import N_FRAMES, SAMPLE_RATE, log_mel
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.checkpoint.resolve import check_name
from whisper_npu.compat.attached import Attached, already_attached, unknown_kind
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, prepared_encoder
from whisper_npu.errors import (
    CheckpointError,
    DecoderFolderError,
    FeaturesError,
    UsageError,
    one_line,
    quoted,
)
from whisper_npu.npu.device import Device
from whisper_npu.transcription.compute_type import DEFAULT, resolve_compute_type
from whisper_npu.transcription.encoded import EncodedOnDevice, opening_decoder
from whisper_npu.transcription.libraries import ctranslate2, faster_whisper
from whisper_npu.transcription.opening import Progress, device_for, kept_in, silent, with_decoder

BatchedInferencePipeline = faster_whisper.BatchedInferencePipeline
available_models = faster_whisper.available_models
decode_audio = faster_whisper.decode_audio
download_model = faster_whisper.download_model
format_timestamp = faster_whisper.format_timestamp
__version__ = faster_whisper.__version__

__all__ = [
    "BatchedInferencePipeline",
    "WhisperModel",
    "__version__",
    "attach",
    "available_models",
    "decode_audio",
    "download_model",
    "format_timestamp",
]

# How far two encoders of the same weights may be apart, in the median of a window's positions: the length of
# the difference over the length of the features. MEASURED with tiny.en and base: 0.006 in float32, where the
# kernels' bf16 operands are all of the difference, and 0.040 where CTranslate2 multiplies in int8. Weights
# that differ by 10 % are 0.3 apart, other models above 1.
SAME = 0.05
SAME_IN_INT8 = 0.15


class WhisperModel(faster_whisper.WhisperModel):  # type: ignore[misc]  # faster-whisper is untyped
    """faster-whisper's WhisperModel, whose encoder runs on the NPU or on the device that emulates it.

    A program that uses faster-whisper changes one import. Methods, results and errors of decoding are
    faster-whisper's. A context manager, which closes the device. Several threads may use it, as they may
    use faster-whisper's; the encoder takes one window at a time.
    """

    model: Any  # CTranslate2's; faster-whisper sets it, and calls it for all of the decoding
    attached: Attached  # the encoder: what device it runs on, and what it dispatches

    def __init__(
        self,
        model_size_or_path: str | Path,
        device: str | Device = "auto",
        device_index: int | list[int] = 0,
        compute_type: str = DEFAULT,
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | Path | None = None,
        local_files_only: bool = False,
        files: dict[str, Any] | None = None,
        revision: str | None = None,
        use_auth_token: str | bool | None = None,
        *,
        kernel: str = "auto",
        **model_kwargs: Any,
    ) -> None:
        """The parameters of faster-whisper's constructor, and `kernel`.

        model_size_or_path: a name, a folder, or a hub id; folders in Hugging Face's format too.
        device: "auto", "npu", "emulator" or "cpu", which means the same, or what `open_device` gave. No GPU
        is used: "cuda" is refused.
        device_index: 0; there is one device.
        compute_type: the decoder's, which runs on the CPU; the encoder's products are bf16. A type that this
        CPU does not compute in, such as float16, is refused; "default" takes the nearest to the weights'.
        cpu_threads: for encoder and decoder; 0 for one per core.
        num_workers: decoders that work at once if several threads transcribe.
        download_root: searched first, and where downloads go. revision, use_auth_token: of the hub.
        files: refused, as the encoder's weights are read from a folder.
        kernel: the encoder's, "auto", "gemm", or a kernel's name.
        model_kwargs: of ctranslate2.models.Whisper.

        Raises UnknownModelError, CheckpointError, UnknownKernelError, DeviceNotFoundError, UsageError.
        """
        _check(device_index, compute_type, num_workers, download_root, files)
        model = _model(model_size_or_path, download_root, local_files_only, revision, use_auth_token)
        with device_for(device, cpu_threads or None) as (opened, _):
            decodes_in = resolve_compute_type(compute_type)
            checkpoint = load_checkpoint(
                model,
                model_dir=None if download_root is None else Path(download_root),
                local_files_only=local_files_only,
            )
            _check_window(checkpoint)
            threads = cpu_threads or opened.threads.count

            def open_decoder(folder: Path) -> None:
                try:
                    with opening_decoder(folder):
                        super(WhisperModel, self).__init__(
                            str(folder),
                            device="cpu",
                            compute_type=decodes_in,
                            cpu_threads=threads,
                            num_workers=num_workers,
                            **model_kwargs,
                        )
                except DecoderFolderError as error:
                    if model_kwargs and error.__cause__ is not None:
                        raise error.__cause__ from None  # what CTranslate2 says of its own keywords
                    raise

            with ThreadPoolExecutor(1, "whisper-npu stages") as meanwhile:
                encoder = meanwhile.submit(
                    prepared_encoder,
                    checkpoint.dims,
                    checkpoint.encoder,
                    opened,
                    kernel,
                    kept_in(checkpoint, None, silent),
                )
                with_decoder(checkpoint, decodes_in, None, silent, open_decoder)
                self.attached = Attached(encoder.result(), self._end, opened.close)
        self.model = _Encoded(self.model, self.attached)

    def close(self) -> None:
        """Close the device, a given one too. What is asked of this model from here on raises UsageError."""
        self.attached.detach()

    def _end(self) -> None:
        self.model = _Closed()

    def __enter__(self) -> WhisperModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(
    model: Any,
    checkpoint: str | Path | None,
    *,
    device: str | Device = "auto",
    kernel: str = "auto",
    threads: int | None = None,
    cache_dir: Path | None = None,
    model_dir: Path | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Attached:
    """As `whisper_npu.compat.attach`, for a WhisperModel or a BatchedInferencePipeline."""
    whisper = _whisper_of(model)
    if isinstance(whisper, EncodedOnDevice | WhisperModel):
        raise UsageError("this model encodes on the device already: it takes no other encoder")
    if attached_to(model) is not None:
        raise already_attached()
    if checkpoint is None:
        raise UsageError(
            "checkpoint is missing: faster-whisper does not give its weights back, so name what the model "
            'was made of, such as attach(model, "base")'
        )
    own = whisper.model
    if not own.model_is_loaded:
        raise UsageError("the model is unloaded: load it again, with its model.load_model(), before attach")
    with device_for(device, threads) as (opened, close):
        found = load_checkpoint(
            checkpoint,
            cache_dir=cache_dir,
            model_dir=model_dir,
            local_files_only=local_files_only,
            progress=progress,
        )
        _check_window(found)
        expected = _own_features(own, found)
        encoder = prepared_encoder(
            found.dims, found.encoder, opened, kernel, kept_in(found, cache_dir, progress or silent)
        )
        _check_same(found.name, encoder, expected, int8=own.compute_type.startswith("int8"))

    def put_back() -> None:
        if whisper.model is encoded:  # nobody put another in its place
            whisper.model = own

    attached = Attached(encoder, put_back, close)
    encoded = whisper.model = _Encoded(own, attached)
    return attached


def attached_to(model: Any) -> Attached | None:
    """What `attach` gave for this model, or for the one within a pipeline. Raises UsageError for others."""
    whisper = _whisper_of(model)
    if isinstance(whisper, EncodedOnDevice | WhisperModel):
        raise UsageError("this model has no encoder of its own to go back to: close it")
    return whisper.model.attached if isinstance(whisper.model, _Encoded) else None


def _whisper_of(model: Any) -> Any:
    whisper = model.model if isinstance(model, BatchedInferencePipeline) else model
    if not isinstance(whisper, faster_whisper.WhisperModel):
        raise unknown_kind(model)
    return whisper


class _Encoded:
    """CTranslate2's model, with another encoder in front of its decoder."""

    def __init__(self, whisper: Any, attached: Attached) -> None:
        self._whisper = whisper
        self.attached = attached
        dims = attached.encoder.dims
        self._n_frames = 2 * dims.n_audio_ctx
        self._n_mels, self._n_state = dims.n_mels, dims.n_audio_state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whisper, name)

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        """features: a StorageView, (batch, n_mels, 3000) float32. to_cpu: it is there in any case.

        Returns a StorageView, (batch, n_audio_ctx, n_audio_state) float32.
        """
        mels = np.asarray(features)
        if mels.shape[-1] != self._n_frames:
            raise FeaturesError(
                f"the features have {mels.shape[-1]} frames, the encoder takes {self._n_frames}: use "
                "faster_whisper.audio.pad_or_trim"
            )
        return ctranslate2.StorageView.from_array(self.attached.encode(mels))

    # CTranslate2 takes log-mel here too, and would encode it by its own encoder.

    def generate(self, features: Any, *given: Any, **named: Any) -> Any:
        return self._whisper.generate(self._encoded(features), *given, **named)

    def detect_language(self, features: Any) -> Any:
        return self._whisper.detect_language(self._encoded(features))

    def align(self, features: Any, *given: Any, **named: Any) -> Any:
        return self._whisper.align(self._encoded(features), *given, **named)

    def _encoded(self, features: Any) -> Any:
        """Source: WhisperEncoder::is_encoded in CTranslate2's src/layers/whisper.cc."""
        _, rows, columns = features.shape
        is_encoded = columns == self._n_state and rows != self._n_mels
        return features if is_encoded else self.encode(features)


class _Closed:
    """In the place of CTranslate2's model once the device is closed."""

    def __getattr__(self, name: str) -> Any:
        raise UsageError("this WhisperModel was closed: make another, or use it within its `with` block")


def _check(
    device_index: object, compute_type: object, num_workers: object, download_root: object, files: object
) -> None:
    """Raises UsageError for what faster-whisper's constructor takes and cannot be had here."""
    if device_index not in (0, [0]):
        raise UsageError(
            f"device_index is {quoted(device_index)}: there is one device, leave it out or give 0"
        )
    if not isinstance(compute_type, str):
        raise UsageError(
            f"compute_type is {quoted(compute_type)}, must be a name such as 'int8' or 'float32'"
        )
    if not isinstance(num_workers, int) or num_workers < 1:
        raise UsageError(f"num_workers is {quoted(num_workers)}, must be a whole number, at least 1")
    if not isinstance(download_root, str | Path | None):
        raise UsageError(f"download_root is {quoted(download_root)}, must be a folder")
    if files:
        raise UsageError(
            "files: the encoder's weights are read from a folder; write the files to one, and pass it as "
            "model_size_or_path"
        )


def _model(
    asked: str | Path,
    download_root: str | Path | None,
    local_files_only: bool,
    revision: str | None,
    use_auth_token: str | bool | None,
) -> str | Path:
    """What `load_checkpoint` takes. A folder comes before a model of its name, as in faster-whisper."""
    if isinstance(asked, str | Path) and asked != "" and os.path.isdir(asked):
        return Path(asked)
    if revision is None and not use_auth_token:
        return asked
    check_name(str(asked))
    try:
        return Path(
            download_model(
                str(asked),
                local_files_only=local_files_only,
                cache_dir=None if download_root is None else str(download_root),
                revision=revision,
                use_auth_token=use_auth_token,
            )
        )
    except Exception as error:  # requests', httpx's or the system's, by version of huggingface_hub
        at = "" if revision is None else f" at revision {revision!r}"
        raise CheckpointError(
            f"model {quoted(str(asked))}{at} cannot be had from the hub "
            f"({type(error).__name__}: {one_line(error)}); check revision and use_auth_token, or "
            "pass a local folder"
        ) from error


def _check_window(checkpoint: Checkpoint) -> None:
    frames = 2 * checkpoint.dims.n_audio_ctx
    if frames != N_FRAMES:
        raise CheckpointError(
            f"model {checkpoint.name} has windows of {frames} frames, faster-whisper's loop makes "
            f"{N_FRAMES}: whisper_npu.load_model takes it"
        )


def _own_features(own: Any, checkpoint: Checkpoint) -> F32:
    """What a model's own encoder makes of the window that is tried, (n_audio_ctx, n_audio_state) float32.

    Raises UsageError where the checkpoint's encoder has other sizes.
    """
    dims = checkpoint.dims
    if own.n_mels != dims.n_mels:
        raise _other(checkpoint.name, f"it takes {dims.n_mels} mel bands, the model {own.n_mels}")
    window = ctranslate2.StorageView.from_array(_window(dims.n_mels)[None])
    encoded = own.encode(window, to_cpu=True)
    features: F32 = np.asarray(encoded.to(ctranslate2.DataType.float32))[0]
    if features.shape != (dims.n_audio_ctx, dims.n_audio_state):
        raise _other(
            checkpoint.name, f"its encoder is {dims.n_audio_state} wide, the model's {features.shape[-1]}"
        )
    return features


def _check_same(name: str, encoder: AudioEncoder, expected: F32, *, int8: bool) -> None:
    features = encoder(_window(encoder.dims.n_mels))
    lengths = np.linalg.norm(expected, axis=1)
    apart = float(np.median(np.linalg.norm(features - expected, axis=1) / lengths))
    limit = SAME_IN_INT8 if int8 else SAME
    if not apart <= limit:
        raise _other(
            name,
            f"on one window its encoder's features are {apart:.2f} from the model's, of the same weights "
            f"they are at most {limit}",
        )


def _other(name: str, why: str) -> UsageError:
    return UsageError(f"checkpoint {name} is not the model's: {why}; name the one that it was made of")


def _window(n_mels: int) -> F32:
    """30 s of noise that swells as often as syllables do; (n_mels, 3000) float32."""
    n_samples = 30 * SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal(n_samples, dtype=np.float32)
    loudness = np.sin(np.linspace(0, 120 * np.pi, n_samples)) ** 2
    swelling = (0.1 * loudness * noise).astype(np.float32)
    return np.ascontiguousarray(log_mel(swelling, n_mels)[:, :N_FRAMES])
