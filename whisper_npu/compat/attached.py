"""This project's encoder in the place of another package's, until it is detached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder
from whisper_npu.errors import FeaturesError, UsageError
from whisper_npu.npu.device import Device, Recording


class Attached:
    """What `attach` gives. A context manager, which detaches.

    Dropping it detaches nothing: the model holds it. Several threads may use it; they take turns.
    """

    def __init__(
        self, encoder: AudioEncoder, put_back: Callable[[], None], close: Callable[[], None]
    ) -> None:
        """put_back: gives the model its own encoder. close: whatever was opened for this one."""
        self.encoder = encoder
        self._put_back = put_back
        self._close = close
        self._one_at_a_time = Lock()
        self._attached = True

    @property
    def device(self) -> Device:
        """What the encoder runs on, or ran on. Its `name` is "npu" or "emulator"; `description` says more."""
        return self.encoder.device

    def encode(self, mels: F32) -> F32:
        """What the model calls in the place of its own encoder.

        mels: (batch, n_mels, 2 * n_audio_ctx) float32, or a view of any strides.
        Returns (batch, n_audio_ctx, n_audio_state) float32.
        Raises FeaturesError for another shape and for what are no floating-point numbers; UsageError once
        this is detached; DeviceError where the device fails, or was opened in the process that forked this.
        """
        self._check_attached()
        self.device.threads.check_open()  # before the lock, which a forked process may find taken for ever
        self._check(mels)
        with self._one_at_a_time:
            self._check_attached()
            self.device.trim()  # what a decoder left in the host's memory
            features = np.empty((len(mels), *self.encoder.shape), np.float32)
            for number, mel in enumerate(mels):
                features[number] = self.encoder(mel)
            self.device.trim()  # for the decoder
            return features

    def recording(self) -> AbstractContextManager[Recording]:
        """Record what the encoder dispatches inside this, `recording.stats.dispatches` for example.

        Raises UsageError once this is detached.
        """
        self._check_attached()
        return self.device.recording()

    @property
    def is_attached(self) -> bool:
        return self._attached

    def detach(self) -> None:
        """Give the model its own encoder back, and close the device unless the caller had opened it.

        Waits for a window that another thread is encoding. Once detached, this does nothing.
        """
        with self._one_at_a_time:
            if not self._attached:
                return
            self._attached = False
            self._put_back()
            self._close()

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def __repr__(self) -> str:
        state = "attached" if self._attached else "detached"
        return f"<{type(self).__name__}: encoder on {self.device.name}, {state}>"

    def _check_attached(self) -> None:
        if not self._attached:
            raise UsageError("this encoder was detached from its model: attach it again")

    def _check(self, mels: object) -> None:
        n_mels, n_frames = self.encoder.dims.n_mels, 2 * self.encoder.dims.n_audio_ctx
        if not isinstance(mels, np.ndarray):
            raise FeaturesError(
                f"the mel is a {type(mels).__name__}, must be an array of floating-point numbers"
            )
        if mels.dtype.kind != "f":
            raise FeaturesError(f"the mel is {mels.dtype}, must be floating-point numbers")
        if mels.ndim != 3 or mels.shape[1:] != (n_mels, n_frames):
            raise FeaturesError(
                f"the mel has shape {mels.shape}, this model takes (batch, {n_mels}, {n_frames})"
            )


def already_attached() -> UsageError:
    """The error for a model that has an encoder of ours."""
    return UsageError("the model has this encoder already: whisper_npu.compat.detach(model) detaches it")


def unknown_kind(model: Any) -> UsageError:
    """The error for what `attach` cannot attach to."""
    kind = type(model)
    for name in ("_orig_mod", "module"):  # of torch.compile and DataParallel
        if hasattr(model, name):
            return UsageError(
                f"model is a {kind.__module__}.{kind.__qualname__}, which wraps another: give the one within "
                f"it, model.{name}, or attach before compiling or wrapping"
            )
    return UsageError(
        f"model is a {kind.__module__}.{kind.__qualname__}, must be faster-whisper's WhisperModel or "
        "BatchedInferencePipeline, transformers' WhisperForConditionalGeneration, WhisperModel or a pipeline "
        "with one, or what openai-whisper's load_model gives"
    )
