"""The decoder alone, as CTranslate2 opens it.

CTranslate2 loads a Whisper whole, and brings its weights into the compute type anew at every start. Both are
done once here. Of the encoder only what CTranslate2 asks for is left: its ends and one layer, which nobody
runs. Where the decoder computes in int8 its weights are stored in int8, rounded by CTranslate2's own rule, so
that it says the same to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu import cache
from whisper_npu.checkpoint.ctranslate2_folder import (
    COMPANIONS,
    PREPROCESSOR,
    VOCABULARIES,
    ModelFile,
    parse_model,
    write_model,
)
from whisper_npu.checkpoint.files import chunks, content_key
from whisper_npu.errors import CacheError

# Part of every cache key: raise it whenever the same input would give another folder.
_WRITER_VERSION = "1"

_MODEL = "model.bin"
_LATER_ENCODER_LAYER = re.compile(r"encoder/layer_[1-9]\d*/")
_BLOCK = 1 << 17  # elements that are rounded at a time: what a core's cache holds


def decoder_alone(whole: Path, *, int8: bool, cache_folder: Path, progress: Callable[[str], None]) -> Path:
    """The cache's folder with the decoder of a CTranslate2 folder, written unless it is there.

    int8: whether the decoder computes in int8. Where the cache cannot be written this is `whole` itself, and
    `progress` hears why.
    """
    companions = (*COMPANIONS, *VOCABULARIES, PREPROCESSOR)
    files = [whole / _MODEL, *(file for name in companions if (file := whole / name).is_file())]
    key = content_key(f"decoder {_WRITER_VERSION} {int8}", [(file.name, _identity(file)) for file in files])

    def build(out: Path) -> None:
        progress(f"keeping the decoder of {whole} apart, once")
        for file in files[1:]:
            (out / file.name).write_bytes(b"".join(chunks(file)))
        _write(parse_model(files[0]), out / _MODEL, int8=int8)

    try:
        return cache.find_or_build(cache_folder, key, build)
    except CacheError as error:
        progress(f"the decoder is loaded with the encoder: {error}")
        return whole


def _identity(file: Path) -> str:
    """What changes when the file does. Hashing it would cost as much as is gained."""
    real = file.resolve()
    status = real.stat()
    return f"{real} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _write(model: ModelFile, path: Path, *, int8: bool) -> None:
    written: dict[int, str] = {}  # where the data lies in `model` -> the name that it is written under
    aliases: dict[str, str] = {}
    for name, variable in model.variables.items():
        if not _LATER_ENCODER_LAYER.match(name):
            first = written.setdefault(variable.offset, name)
            # The scale of an aliased weight is aliased with it.
            if first != name and name.removesuffix("_scale") not in aliases:
                aliases[name] = first
    write_model(path, model.revision, _stored(model, written.values(), int8=int8), aliases)


def _stored(model: ModelFile, names: Iterable[str], *, int8: bool) -> Iterator[tuple[str, NDArray[Any]]]:
    """The variables; for int8, what CTranslate2 would round is rounded, and its scale comes after it."""
    for name in names:
        array = model.stored(name)
        # A convolution's weight has three dimensions; CTranslate2 builds differ in what they do with it.
        if int8 and name.endswith("weight") and array.ndim == 2 and array.dtype.kind != "i":
            rounded, scale = _in_int8(array)
            yield name, rounded
            yield f"{name}_scale", scale
        else:
            yield name, array


def _in_int8(weight: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """weight: (rows, cols) float. Returns round(weight * scale), and the scale of each row.

    Source: quantize_s8_row in CTranslate2's src/cpu/kernels.cc.
    """
    rounded = np.empty(weight.shape, np.int8)
    scale = np.ones(len(weight), np.float32)
    step = max(1, _BLOCK // weight.shape[1])
    for at in range(0, len(weight), step):
        rows = weight[at : at + step].astype(np.float32)
        largest = np.abs(rows).max(axis=1)
        np.divide(np.float32(127), largest, out=scale[at : at + step], where=largest != 0)
        rows *= scale[at : at + step, None]
        with np.errstate(invalid="ignore"):  # weights that are no numbers stay the decoder's to suffer from
            rounded[at : at + step] = np.rint(rows, out=rows)
    return rounded, scale
