"""What the two cores of a lane run: the functions of norm.cc, and the same in NumPy, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.kernels.core import CoreFunction, CoreSource, Parameter, Sizes
from whisper_npu.kernels.norm.kernel import CHUNK, ROWS, WIDTH, affine, centred, max_cols
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Direction

Array = NDArray[Any]
IN, OUT, INOUT = Direction.IN, Direction.OUT, Direction.INOUT


def object_sizes(target: Target) -> Sizes:
    """What norm.cc is compiled for: rows and columns of an object, and the longest row."""
    return ROWS, CHUNK, max_cols(target)


def units(target: Target) -> Sizes:
    """What the object's sizes are multiples of."""
    return ROWS, CHUNK, CHUNK


def functions(target: Target, sizes: Sizes) -> tuple[CoreFunction, ...]:
    """What norm.cc defines for these sizes."""
    rows, chunk, cols = sizes

    def piece(name: str, direction: Direction = IN) -> Parameter:
        return Parameter(name, (rows, chunk), "f32", direction)

    def kept(name: str, direction: Direction) -> Parameter:
        """Whole rows, of as many chunks as the rows of the dispatch have."""
        return Parameter(name, (cols // chunk, rows, chunk), "f32", direction, in_part=True)

    def scale(direction: Direction) -> Parameter:
        return Parameter("scale", (rows, WIDTH), "f32", direction)

    at, chunks, inverse = (Parameter(name, (), "i32") for name in ("chunk", "chunks", "inverse N"))
    return (
        _function("norm_header_f32", _copy, piece("header"), piece("unit", OUT)),
        _function(
            "norm_sum_f32", _sum, piece("x"), piece("residual"), piece("sum", OUT), kept("rows", INOUT), at
        ),
        _function("norm_centre_f32", _centre, kept("rows", INOUT), scale(OUT), chunks, inverse),
        _function("norm_unit_f32", _unit, kept("rows", IN), scale(IN), piece("unit", OUT), at),
        _function("norm_parameters_f32", _keep, piece("unit"), kept("parameters", INOUT), at),
        _function("norm_affine_f32", _affine, piece("unit"), kept("parameters", IN), piece("y", OUT), at),
    )


NORM_CC = CoreSource(Path(__file__).with_name("norm.cc"), ("rows", "chunk", "cols"), units, functions)


def _function(name: str, in_numpy: Callable[..., None], *parameters: Parameter) -> CoreFunction:
    """in_numpy: takes one array for each parameter, of its shape."""

    def call(arguments: Sequence[Array]) -> None:
        in_numpy(*(array.reshape(p.shape) for array, p in zip(arguments, parameters, strict=True)))

    return CoreFunction(name, parameters, call)


def _copy(given: Array, made: Array) -> None:
    made[:] = given


def _sum(x: Array, residual: Array, total: Array, rows: Array, chunk: Array) -> None:
    total[:] = x + residual
    rows[int(chunk)] = total


def _centre(rows: Array, scale: Array, chunks: Array, inverse_n: Array) -> None:
    """inverse_n: the bits of 1 / N."""
    used = rows[: int(chunks)]  # (chunks, ROWS, CHUNK)
    s = used.swapaxes(0, 1).reshape(used.shape[1], -1)  # (ROWS, N)
    deviations, scale[:] = centred(s, np.float32(inverse_n.view(np.float32)))
    used[:] = deviations.reshape(used.shape[1], len(used), -1).swapaxes(0, 1)


def _unit(rows: Array, scale: Array, unit: Array, chunk: Array) -> None:
    unit[:] = rows[int(chunk)] * scale[:, :1]


def _keep(unit: Array, parameters: Array, chunk: Array) -> None:
    parameters[int(chunk)] = unit


def _affine(unit: Array, parameters: Array, y: Array, chunk: Array) -> None:
    weight, bias = parameters[int(chunk)]
    y[:] = affine(unit, weight, bias)
