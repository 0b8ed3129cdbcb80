"""Reads the encoder from a CTranslate2 folder's model.bin, and writes such files.

The format, little-endian, as ctranslate2/specs/model_spec.py writes it and src/models/model.cc reads it:

    u32 binary version, string spec name, u32 spec revision
    u32 number of variables, each: string name, u8 rank, u32 per dimension, u8 dtype, u32 bytes, the data
    u32 number of aliases, each: string alias, string name of the variable
    string = u16 length including a closing NUL, then the bytes in UTF-8

Names and shapes of the variables: ctranslate2/specs/whisper_spec.py.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.checkpoint.arrays import ArraysOnDemand
from whisper_npu.checkpoint.files import read_json
from whisper_npu.encoder import ModelDimensions, encoder_shapes
from whisper_npu.errors import CheckpointError, one_line
from whisper_npu.untrusted import open_regular

# WhisperSpec was added to CTranslate2 (November 2022) after the binary version had become 6 (October 2022):
# no Whisper model with an older version exists; 6 is still the newest.
_BINARY_VERSION = 6
_SPEC = "WhisperSpec"
_SPEC_REVISION = 3

_MAX_VARIABLES = 100_000  # large-v3 has 1,500: more only fill the memory of who reads them
_MAX_RANK = 3  # of a convolution's weight

# By type id; the order is DataType's in include/ctranslate2/types.h.
_DTYPES: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(name) for name in ("<f4", "i1", "<i2", "<i4", "<f2", ml_dtypes.bfloat16)
)

# The width of the heads in every release of Whisper, for a model.bin without encoder/num_heads.
_D_HEAD = 64

# encoder_shapes' name -> CTranslate2's, below encoder/
_STEM = {
    "conv1.weight": "conv1/weight",
    "conv1.bias": "conv1/bias",
    "conv2.weight": "conv2/weight",
    "conv2.bias": "conv2/bias",
    "positional_embedding": "position_encodings/encodings",
    "ln_post.weight": "layer_norm/gamma",
    "ln_post.bias": "layer_norm/beta",
}
# The same below encoder/layer_i/
_BLOCK = {
    "attn_ln.weight": "self_attention/layer_norm/gamma",
    "attn_ln.bias": "self_attention/layer_norm/beta",
    "attn.out.weight": "self_attention/linear_1/weight",
    "attn.out.bias": "self_attention/linear_1/bias",
    "mlp_ln.weight": "ffn/layer_norm/gamma",
    "mlp_ln.bias": "ffn/layer_norm/beta",
    "mlp.0.weight": "ffn/linear_0/weight",
    "mlp.0.bias": "ffn/linear_0/bias",
    "mlp.2.weight": "ffn/linear_1/weight",
    "mlp.2.bias": "ffn/linear_1/bias",
}
_QKV = "self_attention/linear_0"  # query, key and value stacked along the rows

MODEL = "model.bin"
# The files besides model.bin that faster-whisper opens, and would otherwise ask a hub for, or fail without.
COMPANIONS = ("config.json", "tokenizer.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
PREPROCESSOR = "preprocessor_config.json"


def is_ctranslate2(folder: Path) -> bool:
    return os.path.isfile(folder / MODEL)


def missing_companions(folder: Path) -> list[str]:
    """The files besides model.bin that faster-whisper needs and the folder lacks."""
    missing = [name for name in COMPANIONS if not os.path.isfile(folder / name)]
    if not any(os.path.isfile(folder / name) for name in VOCABULARIES):
        missing.append(" or ".join(VOCABULARIES))
    return missing


def check_companions(folder: Path, dims: ModelDimensions) -> None:
    """Raises CheckpointError unless faster-whisper can open the folder without a hub."""
    missing = missing_companions(folder)
    preprocessor = folder / PREPROCESSOR
    # Without this file faster-whisper computes 80 mel bands.
    if dims.n_mels != 80 and not os.path.isfile(preprocessor):
        missing.append(preprocessor.name)
    if missing:
        raise CheckpointError(
            f"CTranslate2 folder {folder} lacks {', '.join(missing)}; copy the missing files from the "
            "checkpoint it was converted from (ct2-transformers-converter has --copy_files)"
        )
    read_json(folder / "config.json")
    if (
        os.path.isfile(preprocessor)
        and (found := read_json(preprocessor).get("feature_size", 80)) != dims.n_mels
    ):
        raise CheckpointError(
            f"{preprocessor}: feature_size is {found}, but model.bin takes {dims.n_mels} mel bands; "
            "copy the file from the checkpoint that model.bin was converted from"
        )


def read_encoder(folder: Path) -> tuple[ModelDimensions, ArraysOnDemand]:
    """The encoder's sizes and arrays, under encoder_shapes' names and in its shapes.

    Arrays keep their dtype (float16, float32, bfloat16); int8 and int16 weights are returned as float32. The
    file is mapped, and an array's data is read when the array is asked for.

    Raises CheckpointError, naming file, place, what was found and what was expected, if model.bin is
    truncated, is another kind of file, or does not hold a Whisper encoder.
    """
    model = parse_model(folder / MODEL)
    dims = _dimensions(model)
    shapes = encoder_shapes(dims)
    names = dict(_STEM)
    for layer in range(dims.n_audio_layer):
        names |= {f"blocks.{layer}.{ours}": f"layer_{layer}/{theirs}" for ours, theirs in _BLOCK.items()}
    read = {ours: model.floats(f"encoder/{theirs}", shapes[ours]) for ours, theirs in names.items()}

    n_state = dims.n_audio_state
    for layer in range(dims.n_audio_layer):
        stacked = f"encoder/layer_{layer}/{_QKV}"
        for row, projection in enumerate(("query", "key", "value")):
            rows = slice(row * n_state, (row + 1) * n_state)
            read[f"blocks.{layer}.attn.{projection}.weight"] = model.floats(
                f"{stacked}/weight", (3 * n_state, n_state), rows
            )
            # A key bias b adds q.b to the scores of every key alike, and the softmax over the keys cancels
            # it. Whisper has none and CTranslate2 stores zeros: leaving it out changes nothing.
            if projection != "key":
                read[f"blocks.{layer}.attn.{projection}.bias"] = model.floats(
                    f"{stacked}/bias", (3 * n_state,), rows
                )

    used = {"encoder/num_heads", *(f"encoder/{name}" for name in names.values())}
    used |= {
        f"encoder/layer_{i}/{_QKV}/{part}" for i in range(dims.n_audio_layer) for part in ("weight", "bias")
    }
    for name in model.variables:
        if not name.startswith(("encoder/", "decoder/")):
            raise CheckpointError(
                f"{model.path}: variable {name} is neither the encoder's nor the decoder's; "
                "convert the checkpoint again"
            )
        if not name.startswith("encoder/") or name in used:
            continue
        if name.removesuffix("_scale") not in used:
            raise CheckpointError(
                f"{model.path}: variable {name} has no place in a Whisper encoder of {dims.n_audio_layer} "
                "layers; convert the checkpoint again"
            )
        model.check_scale(name.removesuffix("_scale"))
    return dims, ArraysOnDemand(folder, read)


@dataclass(frozen=True)
class Variable:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int  # of the data, in bytes from the start of the file


@dataclass(frozen=True)
class ModelFile:
    path: Path
    revision: int  # of WhisperSpec
    content: NDArray[Any]  # the mapped file, (bytes,) uint8
    variables: Mapping[str, Variable]  # aliases included

    def variable(self, name: str) -> Variable:
        if (found := self.variables.get(name)) is None:
            raise CheckpointError(f"{self.path}: variable {name} is missing; convert the checkpoint again")
        return found

    def stored(self, name: str) -> NDArray[Any]:
        """The variable as it is stored: a view into the mapped file."""
        variable = self.variable(name)
        n_bytes = math.prod(variable.shape) * variable.dtype.itemsize
        data = self.content[variable.offset : variable.offset + n_bytes]
        return data.view(variable.dtype).reshape(variable.shape)

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        found = self.variable(name).shape
        if len(found) != rank or 0 in found:
            raise CheckpointError(
                f"{self.path}: variable {name} has shape {found}, expected {rank} dimensions of 1 or more; "
                "convert the checkpoint again"
            )
        return found

    def integer(self, name: str) -> int:
        """A variable that is one whole number."""
        found = self.variable(name)
        if found.shape != () or found.dtype.kind != "i":
            raise CheckpointError(
                f"{self.path}: variable {name} is {found.dtype} {found.shape}, expected one whole number; "
                "convert the checkpoint again"
            )
        return int(self.stored(name))

    def check_scale(self, name: str) -> None:
        """Raises CheckpointError unless NAME_scale is one float, or one for each row of the variable."""
        found, scale = self.variable(name), self.variable(f"{name}_scale")
        if scale.dtype.kind == "i" or scale.shape not in ((), found.shape[:1]) or found.dtype.itemsize > 4:
            raise CheckpointError(
                f"{self.path}: variable {name} is {found.dtype} {found.shape} with a scale of {scale.dtype} "
                f"{scale.shape}, expected one float or one for each row; convert the checkpoint again"
            )

    def layers(self, side: str) -> int:
        """How many layers the encoder or the decoder has."""
        return next(i for i in itertools.count() if f"{side}/layer_{i}/{_QKV}/weight" not in self.variables)

    def heads(self, side: str, n_state: int) -> int:
        """How many heads a layer of the encoder or the decoder has."""
        name = f"{side}/num_heads"
        return self.integer(name) if name in self.variables else n_state // _D_HEAD

    def floats(
        self, name: str, shape: tuple[int, ...], rows: slice = slice(None)
    ) -> Callable[[], NDArray[Any]]:
        """Reads a copy of the variable, or of some of its rows, in a floating-point dtype.

        Raises CheckpointError, before anything is read, unless the variable has `shape`.
        """
        found = self.variable(name)
        if found.shape != shape:
            raise CheckpointError(
                f"{self.path}: variable {name} has shape {found.shape}, expected {shape}; "
                "convert the checkpoint again"
            )
        if found.dtype.kind != "i":
            return lambda: np.array(self.stored(name)[rows])
        # Quantised as round(weight * weight_scale): one scale for each row (int8) or for all (int16).
        scale = self.stored(f"{name}_scale")
        if scale.dtype.kind == "i" or scale.shape not in ((), shape[:1]) or found.dtype.itemsize > 2:
            raise CheckpointError(
                f"{self.path}: variable {name} is {found.dtype} with a scale of {scale.dtype} {scale.shape}, "
                f"expected int8 or int16 with one float scale or {shape[0]}; convert the checkpoint again"
            )
        scales = np.broadcast_to(scale.astype(np.float32), shape[:1])[rows]

        def dequantised() -> NDArray[Any]:
            with np.errstate(all="ignore"):  # a scale of zero becomes inf, which is reported by name
                of_rows = scales.reshape((-1,) + (1,) * (len(shape) - 1))
                return np.asarray(self.stored(name)[rows].astype(np.float32) / of_rows)

        return dequantised


def _dimensions(model: ModelFile) -> ModelDimensions:
    n_state, n_mels, _ = model.shape("encoder/conv1/weight", 3)
    n_ctx, _ = model.shape("encoder/position_encodings/encodings", 2)
    n_mlp, _ = model.shape("encoder/layer_0/ffn/linear_0/weight", 2)
    n_layer, n_head = model.layers("encoder"), model.heads("encoder", n_state)
    if n_layer < 1 or n_head < 1 or n_state % n_head:
        raise CheckpointError(
            f"{model.path}: {n_layer} encoder layers with {n_head} heads over a width of {n_state}; expected "
            "one layer or more, and a number of heads that divides the width; convert the checkpoint again"
        )
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=n_ctx,
        n_audio_state=n_state,
        n_audio_head=n_head,
        n_audio_layer=n_layer,
        n_audio_mlp=n_mlp,
    )


class _Cursor:
    """Reads the mapped file from start to end; every read is first checked against the file's end."""

    def __init__(self, path: Path, content: NDArray[Any]) -> None:
        self.path = path
        self.content = content
        self.offset = 0

    def error(self, offset: int, expected: str, found: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path}: at byte {offset}: expected {expected}, found {found}; the file is damaged or is "
            "not CTranslate2's: copy or convert it again"
        )

    def skip(self, n_bytes: int, what: str) -> int:
        """Skip n_bytes; returns where they begin."""
        start = self.offset
        if n_bytes > len(self.content) - start:
            raise self.error(
                start, f"{what} of {n_bytes} bytes", f"{len(self.content) - start} to the file's end"
            )
        self.offset = start + n_bytes
        return start

    def integers(self, layout: str, what: str) -> tuple[int, ...]:
        start = self.skip(struct.calcsize(layout), what)
        return struct.unpack(layout, self.content[start : self.offset].tobytes())

    def integer(self, layout: str, what: str) -> int:
        return self.integers(layout, what)[0]

    def string(self, what: str) -> str:
        length = self.integer("<H", f"the length of {what}")
        start = self.skip(length, what)
        raw = self.content[start : self.offset].tobytes()
        if not raw.endswith(b"\0"):
            raise self.error(start, f"{what} with a closing NUL", repr(raw[-20:]))
        try:
            text = raw[:-1].decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            raise self.error(start, f"{what} in printable UTF-8", repr(raw[:40]))
        return text


def parse_model(path: Path) -> ModelFile:
    """The table of variables, with aliases resolved; no variable's data is read."""
    try:
        with open_regular(path) as file:
            content = np.memmap(file, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise CheckpointError(
            f"{path}: expected CTranslate2's model.bin, found a file that cannot be mapped "
            f"({one_line(error)}); copy or convert it again"
        ) from error

    cursor = _Cursor(path, content)
    version = cursor.integer("<I", "the binary version")
    if version != _BINARY_VERSION:
        raise cursor.error(0, f"binary version {_BINARY_VERSION}", str(version))
    start = cursor.offset
    if (spec := cursor.string("the specification's name")) != _SPEC:
        raise cursor.error(start, f"the specification {_SPEC}", repr(spec[:40]))
    start = cursor.offset
    if not 1 <= (revision := cursor.integer("<I", "the specification's revision")) <= _SPEC_REVISION:
        raise cursor.error(start, f"revision 1 to {_SPEC_REVISION} of {_SPEC}", str(revision))

    variables: dict[str, Variable] = {}
    start = cursor.offset
    if (count := cursor.integer("<I", "the number of variables")) > _MAX_VARIABLES:
        raise cursor.error(start, f"at most {_MAX_VARIABLES:,} variables", f"{count:,}")
    for _ in range(count):
        start = cursor.offset
        name = cursor.string("a variable's name")
        if name in variables:
            raise cursor.error(start, "every variable once", f"{name} twice")
        variables[name] = _variable(cursor, name)
    start = cursor.offset
    if (count := cursor.integer("<I", "the number of aliases")) > _MAX_VARIABLES:
        raise cursor.error(start, f"at most {_MAX_VARIABLES:,} aliases", f"{count:,}")
    for _ in range(count):
        start = cursor.offset
        alias, target = cursor.string("an alias"), cursor.string("an alias's target")
        if alias in variables or target not in variables:
            raise cursor.error(start, "a new name for a variable of this file", f"{alias} for {target}")
        variables[alias] = variables[target]
        # A quantised variable's scale has the alias too.
        if f"{target}_scale" in variables:
            variables.setdefault(f"{alias}_scale", variables[f"{target}_scale"])
    if cursor.offset != len(content):
        raise cursor.error(cursor.offset, "the file's end", f"{len(content) - cursor.offset} more bytes")
    return ModelFile(path, revision, content, variables)


def _variable(cursor: _Cursor, name: str) -> Variable:
    start = cursor.offset
    if (rank := cursor.integer("<B", f"the rank of {name}")) > _MAX_RANK:
        raise cursor.error(start, f"at most {_MAX_RANK} dimensions of {name}", str(rank))
    shape = cursor.integers(f"<{rank}I", f"the shape of {name}")
    start = cursor.offset
    type_id = cursor.integer("<B", f"the dtype of {name}")
    if type_id >= len(_DTYPES):
        raise cursor.error(start, f"a dtype from 0 to {len(_DTYPES) - 1} for {name}", str(type_id))
    dtype = _DTYPES[type_id]
    start = cursor.offset
    n_bytes = cursor.integer("<I", f"the size of {name}")
    if n_bytes != math.prod(shape) * dtype.itemsize:
        raise cursor.error(start, f"the size of {name}: {shape} {dtype}", f"{n_bytes} bytes")
    return Variable(shape, dtype, cursor.skip(n_bytes, f"the data of {name}"))


def write_model(
    path: Path, revision: int, variables: Iterable[tuple[str, NDArray[Any]]], aliases: Mapping[str, str]
) -> None:
    """Write a model.bin. variables: names and arrays, read in turn. aliases: alias -> variable."""

    def string(text: str) -> bytes:
        raw = text.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    with path.open("wb") as file:
        file.write(struct.pack("<I", _BINARY_VERSION) + string(_SPEC) + struct.pack("<I", revision))
        count_at, count = file.tell(), 0
        file.write(struct.pack("<I", count))
        for name, array in variables:
            shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
            file.write(string(name) + shape + struct.pack("<BI", _DTYPES.index(array.dtype), array.nbytes))
            file.write(np.ascontiguousarray(array).view(np.uint8).data if array.ndim else array.tobytes())
            count += 1
        file.write(struct.pack("<I", len(aliases)))
        for alias, target in aliases.items():
            file.write(string(alias) + string(target))
        file.seek(count_at)
        file.write(struct.pack("<I", count))
