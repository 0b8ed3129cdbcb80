"""Arrays of samples: mixed down to mono, resampled to 16 kHz, and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whisper_npu.audio.damage import LIBRARY_ERRORS
from whisper_npu.errors import AudioError, one_line

Samples = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000  # samples per second of Whisper's input
MIN_SAMPLE_RATE = 1_000  # Hz; a lower rate means a damaged header, and upsampling would fill the memory
MAX_CHANNELS = 64  # an array with more is probably (n_samples, n_channels), transposed
# Of whole numbers as wav files hold them: the value of silence, and how far the loudest sample is from it.
_MIDDLE_AND_SCALE = {
    np.dtype(np.int16): (0, 2**15),
    np.dtype(np.int32): (0, 2**31),
    np.dtype(np.uint8): (128, 2**7),
}
BLOCK = 2**19  # samples, of all channels, to decode or resample in one call: a few hundredths of a second


@dataclass(frozen=True)
class Decoded:
    """What a library made of a recording."""

    mono: Samples  # (n_samples,)
    rate: int  # Hz
    length_is_estimated: bool = False  # so the library may have stopped early

    @property
    def seconds(self) -> float:
        return len(self.mono) / self.rate


def to_mono(samples: Samples) -> Samples:
    """(n_samples,) or (n_channels, n_samples) -> (n_samples,): the channels' mean, as librosa.to_mono."""
    if samples.ndim == 1:
        return samples
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is reported as an error, not as a warning
        mono: Samples = np.mean(samples, axis=0)
    return mono


def as_array(source: object) -> npt.NDArray[Any] | None:
    """An array, or what can be seen as one, such as a PyTorch tensor; None for all else.

    Raises AudioError for what says that it can and cannot, such as a tensor on a GPU.
    """
    if isinstance(source, np.ndarray):
        return source
    if not hasattr(source, "__array__"):
        return None
    try:
        return np.asarray(source)
    except Exception as error:  # whatever another library raises
        raise AudioError(
            f"cannot make an array of {type(source).__name__} ({one_line(error)}); "
            "give a NumPy array, such as tensor.detach().cpu().numpy()"
        ) from error


def array_to_mono(array: npt.NDArray[Any]) -> Samples:
    """(n_samples,), (n_channels, n_samples) or (n_samples, n_channels) -> (n_samples,) in -1..1."""
    if array.ndim not in (1, 2):
        raise AudioError(
            f"the array has shape {array.shape}; expected (n_samples,) or (n_channels, n_samples): reshape it"
        )
    if array.ndim == 2:
        if array.shape[0] > array.shape[1] > 0:  # as soundfile gives them
            array = array.T
        if not 1 <= len(array) <= MAX_CHANNELS:
            raise AudioError(
                f"the array has shape {array.shape}, so {len(array)} channels, outside 1..{MAX_CHANNELS}; "
                "expected (n_channels, n_samples) or (n_samples, n_channels): reshape it"
            )
    return to_mono(_as_floats(array))


def _as_floats(array: npt.NDArray[Any]) -> Samples:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 that is too large becomes infinity, which is reported
            return array.astype(np.float32, copy=False)
    if array.dtype not in _MIDDLE_AND_SCALE:
        known = ", ".join(map(str, _MIDDLE_AND_SCALE))
        raise AudioError(
            f"the array holds {array.dtype}; expected floats in -1..1, or one of {known}: scale it, "
            "such as array.astype(np.float32) / 32768 for samples of 16 bits"
        )
    middle, scale = _MIDDLE_AND_SCALE[array.dtype]
    samples = array.astype(np.float32)
    samples -= np.float32(middle)
    samples *= np.float32(1 / scale)
    return samples


def resample(name: str, mono: Samples, rate: int) -> Samples:
    """Resample to 16 kHz like librosa.resample: default quality, ceil(n_samples * 16000 / rate) samples."""
    if rate == SAMPLE_RATE:
        return mono
    import soxr

    resampled = np.zeros(math.ceil(len(mono) * (float(SAMPLE_RATE) / rate)), np.float32)
    n_done = 0
    try:
        stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="soxr_hq")
        for start in range(0, len(mono), BLOCK):  # between blocks, Ctrl-C is heeded
            last = start + BLOCK >= len(mono)
            part = stream.resample_chunk(mono[start : start + BLOCK], last)[: len(resampled) - n_done]
            resampled[n_done : n_done + len(part)] = part
            n_done += len(part)
    except LIBRARY_ERRORS as error:
        raise AudioError(
            f"{name}: cannot be resampled from {rate} Hz ({error}); "
            "convert it: ffmpeg -i FILE -ar 16000 converted.wav"
        ) from error
    return resampled


def check_rate(name: str, rate: object) -> None:
    if not isinstance(rate, (int, np.integer)) or rate < MIN_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate!r}; correct it to a whole number of at least {MIN_SAMPLE_RATE} Hz"
        )


def check_finite(name: str, mono: Samples, rate: int) -> None:
    finite = np.isfinite(mono)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioError(
            f"{name}: sample {first} (at {first / rate:.3f} s) is NaN or infinite; "
            "export it again, or replace such samples with np.nan_to_num"
        )
