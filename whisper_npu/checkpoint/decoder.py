"""Stores the decoder alone, in a form that CTranslate2 opens.

CTranslate2 loads a whole Whisper model and converts its weights to the compute type at every start. Here the
encoder is removed and the weights are converted once. CTranslate2 insists on a part of the encoder, its ends
and one layer, which nobody runs. For a decoder in int8 the weights are stored in int8, rounded by
CTranslate2's own rule, so that its output is the same to the bit. The small files are written as
decoder_files.py found them to be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu import cache
from whisper_npu.checkpoint.ctranslate2_folder import (
    COMPANIONS,
    MODEL,
    PREPROCESSOR,
    VOCABULARIES,
    ModelFile,
    parse_model,
    write_model,
)
from whisper_npu.checkpoint.decoder_files import checked_files
from whisper_npu.checkpoint.files import identity
from whisper_npu.errors import CacheError

# Part of every cache key: increase it whenever the same input would give another folder.
_WRITER_VERSION = "3"

DECODER = "decoder"  # the kind of cache entry; made from a CTranslate2 folder
INT8 = "int8"  # the detail of an entry whose weights are stored in int8

_LATER_ENCODER_LAYER = re.compile(r"encoder/layer_[1-9]\d*/")
_BLOCK = 1 << 17  # elements that are rounded at a time: they fit a core's cache


def decoder_alone(whole: Path, *, int8: bool, cache_folder: Path, progress: Callable[[str], None]) -> Path:
    """The cached folder with the decoder of a CTranslate2 folder, written first if it is absent.

    int8: whether the decoder computes in int8. If the cache cannot be written, the folder has a link to the
    model.bin of `whole`, lasts as long as this process, and `progress` is told why.

    Raises CheckpointError as `checked_files` does, CacheError if no folder at all can be written.
    """

    def build(out: Path) -> None:
        progress(f"storing the decoder of {whole} separately, once")
        write_decoder(whole, out, int8=int8)

    about = cache.About(
        DECODER, str(whole.resolve()), INT8 if int8 else "as stored", identity=_identity(whole)
    )
    try:
        return cache.find_or_build(cache_folder, cache_key(whole, int8=int8), build, about)
    except CacheError as error:
        progress(f"the decoder is loaded with the encoder: {error}")
        return checked_folder(whole)


def checked_folder(whole: Path) -> Path:
    """A folder with the checked files of a CTranslate2 folder and a link to its model.bin, for this run.

    Raises as `decoder_alone` does.
    """

    def link(out: Path) -> None:
        _write_small(whole, out)
        (out / MODEL).symlink_to((whole / MODEL).resolve())

    return cache.build_for_this_run(link)


def cache_key(whole: Path, *, int8: bool) -> str:
    """The name of the decoder's entry: another one when a file of the folder changes."""
    return cache.content_key(f"decoder {_WRITER_VERSION} {int8}", [("whole", _identity(whole))])


def _identity(whole: Path) -> str:
    """Another text when a file of the folder changes."""
    return cache.content_key("", [(file.name, identity(file)) for file in _files(whole)])


def write_decoder(whole: Path, out: Path, *, int8: bool) -> None:
    """Write the decoder of a CTranslate2 folder into an empty folder. Raises CheckpointError."""
    model = _write_small(whole, out)
    _write(model, out / MODEL, int8=int8)


def _write_small(whole: Path, out: Path) -> ModelFile:
    """Write all but model.bin; returns what is in model.bin."""
    model = parse_model(whole / MODEL)
    n_mels = model.shape("encoder/conv1/weight", 3)[1]
    for name, content in checked_files(whole, model, n_mels).items():
        (out / name).write_bytes(content)
    return model


def _files(whole: Path) -> list[Path]:
    companions = (*COMPANIONS, *VOCABULARIES, PREPROCESSOR)
    return [whole / MODEL, *(file for name in companions if os.path.isfile(file := whole / name))]


def _write(model: ModelFile, path: Path, *, int8: bool) -> None:
    written: dict[int, str] = {}  # offset of the data in `model` -> the name under which it is written
    aliases: dict[str, str] = {}
    for name, variable in model.variables.items():
        if not _LATER_ENCODER_LAYER.match(name):
            first = written.setdefault(variable.offset, name)
            # The scale of an aliased weight is aliased with it.
            if first != name and name.removesuffix("_scale") not in aliases:
                aliases[name] = first
    write_model(path, model.revision, _stored(model, written.values(), int8=int8), aliases)


def _stored(model: ModelFile, names: Iterable[str], *, int8: bool) -> Iterator[tuple[str, NDArray[Any]]]:
    """The variables. For int8, those that CTranslate2 would round are rounded, each followed by its scale."""
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
        with np.errstate(invalid="ignore"):  # the decoder has to cope with weights that are not numbers
            rounded[at : at + step] = np.rint(rows, out=rows)
    return rounded, scale
