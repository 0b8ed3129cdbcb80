"""The functions that a design's cores call, on the host: kernels/matmul.cc itself, or the same sums in numpy.

A design declares each function with its buffers' types and the object that it is linked from:

    func.func private @zero_f32(memref<64x32xf32>) attributes {link_with = "matmul_64x64x32.o"}

The object's name gives m, k, n. Buffers keep their declared shapes, but hold micro-tiles of r,s,t = 4,8,4
(AIE API, aie::mmul<4, 8, 4, bfloat16, bfloat16>): A (m/r, k/s, r, s), B (k/s, n/t, s, t), C (m/r, n/t, r, t).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import WhisperNpuError
from whisper_npu.host.bf16 import F32, Rounding, to_bf16
from whisper_npu.host.cxx import COMPILERS, find_cxx
from whisper_npu.kernels.build import MATMUL_CC, BuildError, Tile, tile_of_object
from whisper_npu.npu.targets.npu1 import XDNA1

# -ffp-contract=off: every sum is an IEEE fp32 sum, whatever the host has.
FLAGS = ("-std=c++20", "-O2", "-ffp-contract=off", "-DNDEBUG", "-fPIC", "-shared", "-fvisibility=hidden")

_HOST = Path(__file__).parent / "host"
_DTYPES: Mapping[str, np.dtype[Any]] = {"bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32)}
_ERROR_BYTES = 512


class CoreFunctionError(WhisperNpuError):
    """A core function declared or called as matmul.cc does not allow, or one that oversteps its buffers."""


class UnknownCoreFunctionError(CoreFunctionError):
    """A function that matmul.cc does not define, or that the design does not declare."""


class NoCompilerError(CoreFunctionError):
    """No C++ compiler on this machine; `in_numpy` needs none."""


class CompileError(CoreFunctionError):
    """The C++ compiler refused matmul.cc for these sizes."""


@dataclass(frozen=True)
class Declaration:
    """One `func.func private` of a design: an argument is a shape and an element type, "bf16" or "f32"."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    link_with: str


class CoreFunctions(Protocol):
    """The functions of one design, by name."""

    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        """Run `name` on its arguments, arrays of the declared shapes and dtypes; it writes the last one.

        Raises UnknownCoreFunctionError, or CoreFunctionError if an argument is not as declared or the
        function reads or writes beyond one.
        """

    def reads(self, name: str) -> tuple[bool, ...]:
        """For each argument of `name`, whether its contents matter to the function.

        Raises UnknownCoreFunctionError.
        """


def compiled(
    declarations: Sequence[Declaration], *, cache_dir: Path | None = None, source: Path = MATMUL_CC
) -> CoreFunctions:
    """matmul.cc compiled by this machine's C++ compiler, against our header of the AIE API in `host/`.

    Each object's sizes are compiled once; libraries are kept in `cache_dir` (default: $WHISPER_NPU_CACHE, or
    whisper-npu in the user's cache folder) under a hash of sources, flags and compiler.

    Raises NoCompilerError, CompileError, or CoreFunctionError if a declaration does not fit its function.
    """
    functions = _checked(declarations)
    compiler = _compiler(os.environ)
    libraries = {
        tile: ctypes.CDLL(str(_library(compiler, tile, source, cache_dir)))
        for tile in dict.fromkeys(function.tile for function in functions.values())
    }
    return _Compiled(functions, libraries)


def in_numpy(declarations: Sequence[Declaration]) -> CoreFunctions:
    """The same functions in numpy, for machines without a C++ compiler: same order of sums, so the same bits.

    Raises CoreFunctionError if a declaration does not fit its function.
    """
    return _InNumpy(_checked(declarations))


# --- What matmul.cc defines ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parameter:
    """One argument as the C function takes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: bool = True


def _parameters(name: str, tile: Tile) -> tuple[_Parameter, ...]:
    """What `name` takes when it is compiled for `tile`."""
    a = _Parameter("A", (tile.m, tile.k), "bf16")
    b = _Parameter("B", (tile.k, tile.n), "bf16")
    pair = _Parameter("A and B", (tile.m * tile.k + tile.k * tile.n,), "bf16")
    c = (tile.m, tile.n)
    known = {
        "zero_f32": (_Parameter("C", c, "f32", read=False),),
        "matmul_bf16_f32": (a, b, _Parameter("C", c, "f32")),
        "matmul_bf16_bf16": (a, b, _Parameter("C", c, "bf16", read=False)),
        "matmul_pair_bf16_f32": (pair, _Parameter("C", c, "f32", read=False)),
    }
    if name not in known:
        raise UnknownCoreFunctionError(f"unknown core function {name!r}: matmul.cc has {', '.join(known)}")
    return known[name]


@dataclass(frozen=True)
class _Function:
    """One declared function, found to fit the C function of its name."""

    name: str
    tile: Tile
    parameters: tuple[_Parameter, ...]
    shapes: tuple[tuple[int, ...], ...]  # as declared
    dtypes: tuple[np.dtype[Any], ...]

    def check(self, arguments: Sequence[NDArray[Any]]) -> None:
        if len(arguments) != len(self.shapes):
            raise CoreFunctionError(f"{self.name} takes {len(self.shapes)} arguments, not {len(arguments)}")
        for index, (array, shape, dtype) in enumerate(zip(arguments, self.shapes, self.dtypes, strict=True)):
            if array.shape != shape or array.dtype != dtype:
                raise CoreFunctionError(
                    f"argument {index} of {self.name} is {_type(array.shape, array.dtype)}, "
                    f"declared {_type(shape, dtype)}"
                )
            if not array.flags.c_contiguous:
                raise CoreFunctionError(f"argument {index} of {self.name} is not contiguous; pass a copy")
        if not arguments[-1].flags.writeable:
            raise CoreFunctionError(f"argument {len(arguments) - 1} of {self.name} is written, but read-only")


def _checked(declarations: Sequence[Declaration]) -> dict[str, _Function]:
    """The declared functions by name, each held against what matmul.cc defines for its object's sizes."""
    functions: dict[str, _Function] = {}
    for declaration in declarations:
        name, tile = declaration.name, _tile(declaration.link_with)
        parameters = _parameters(name, tile)
        if not len(declaration.shapes) == len(declaration.dtypes) == len(parameters):
            raise CoreFunctionError(
                f"{name} of {declaration.link_with} takes {len(parameters)} arguments, "
                f"declared with {len(declaration.shapes)}"
            )
        for index, parameter in enumerate(parameters):
            shape, dtype = declaration.shapes[index], declaration.dtypes[index]
            # Declared in its two dimensions or flat: never with two sizes exchanged.
            if shape not in (parameter.shape, (prod(parameter.shape),)) or dtype != parameter.dtype:
                raise CoreFunctionError(
                    f"argument {index} ({parameter.name}) of {name} is declared {_type(shape, dtype)}; "
                    f"in {declaration.link_with} it is {_type(parameter.shape, parameter.dtype)}"
                )
        if name in functions:
            raise CoreFunctionError(f"{name} is declared twice; a design declares each function once")
        dtypes = tuple(_DTYPES[dtype] for dtype in declaration.dtypes)
        functions[name] = _Function(name, tile, parameters, declaration.shapes, dtypes)
    return functions


def _tile(link_with: str) -> Tile:
    try:
        return tile_of_object(link_with)
    except BuildError as error:
        raise CoreFunctionError(str(error)) from error


def _type(shape: tuple[int, ...], dtype: object) -> str:
    return "x".join([*map(str, shape), str(dtype)])


@dataclass(frozen=True)
class _Declared:
    """What both implementations share."""

    functions: Mapping[str, _Function]

    def reads(self, name: str) -> tuple[bool, ...]:
        return tuple(parameter.read for parameter in self.find(name).parameters)

    def find(self, name: str) -> _Function:
        if name not in self.functions:
            declared = ", ".join(self.functions) or "none"
            raise UnknownCoreFunctionError(f"core function {name!r} is not declared; declared: {declared}")
        return self.functions[name]


# --- Compiled -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compiled(_Declared):
    libraries: Mapping[Tile, ctypes.CDLL]

    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        function = self.find(name)
        function.check(arguments)
        count = len(arguments)
        buffers = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arguments))
        sizes = (ctypes.c_size_t * count)(*(array.nbytes for array in arguments))
        problem = ctypes.create_string_buffer(_ERROR_BYTES)
        failed = self.libraries[function.tile].whisper_npu_call(
            name.encode(), buffers, sizes, ctypes.c_size_t(count), problem, ctypes.c_size_t(_ERROR_BYTES)
        )
        if failed:
            raise CoreFunctionError(f"{name} {problem.value.decode()}")


def _compiler(environ: Mapping[str, str]) -> tuple[str, ...]:
    if compiler := find_cxx(environ):
        return compiler
    chosen = environ.get("CXX", "").strip()
    missing = f"no {chosen} ($CXX)" if chosen else f"none of {', '.join(COMPILERS)}"
    raise NoCompilerError(f"matmul.cc needs a C++ compiler: {missing} on PATH; install g++ or set CXX")


def _library(compiler: tuple[str, ...], tile: Tile, source: Path, cache_dir: Path | None) -> Path:
    """The shared library of one tile's sizes, from the cache or compiled into it."""
    from whisper_npu.cache import cache_folder, find_or_build

    options = (*FLAGS, *tile.defines, f"-I{_HOST}")
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    key = sha256(repr([compiler, version.stdout, FLAGS, tile]).encode())
    for part in (source, _HOST / "call.cc", _HOST / "aie_api" / "aie.hpp"):
        key.update(sha256(part.read_bytes()).digest())
    library = f"{tile.name}.so"

    def build(folder: Path) -> None:
        command = [*compiler, *options, str(source), str(_HOST / "call.cc"), "-o", str(folder / library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            because = lines[0].strip() if lines else f"exit status {done.returncode}"
            raise CompileError(f"{compiler[0]} refuses {source.name} for {tile.name}: {because}")

    return find_or_build(cache_folder(cache_dir), f"core-{key.hexdigest()[:32]}", build) / library


# --- In numpy -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _InNumpy(_Declared):
    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        function = self.find(name)
        function.check(arguments)
        m, k, n = function.tile.sizes
        r, s, t = XDNA1.micro_tile
        *operands, c = arguments
        adds_to_c = function.parameters[-1].read
        sums = _rows(c, (m, n), (r, t)) if adds_to_c else np.zeros((m, n), np.float32)
        if operands:
            pair = np.concatenate([operand.ravel() for operand in operands])  # B behind A, as in a pair
            a, b = _rows(pair[: m * k], (m, k), (r, s)), _rows(pair[m * k :], (k, n), (s, t))
            for step in range(k):
                sums += a[:, step, None] * b[step]  # products are exact; each sum is rounded, as in mac
        micro_tiles = sums.reshape(m // r, r, n // t, t).swapaxes(1, 2)
        result = to_bf16(micro_tiles, Rounding.NEAREST_EVEN) if c.dtype == ml_dtypes.bfloat16 else micro_tiles
        c[...] = result.reshape(c.shape)


def _rows(buffer: NDArray[Any], shape: tuple[int, int], micro_tile: tuple[int, int]) -> F32:
    """The float32 matrix of `shape` whose micro-tiles lie in `buffer` one after the other: a copy."""
    (rows, columns), (height, width) = shape, micro_tile
    tiles = buffer.reshape(rows // height, columns // width, height, width).astype(np.float32)
    return tiles.swapaxes(1, 2).reshape(shape)
