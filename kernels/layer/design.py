"""A dispatch of phases as a design: one array configuration, and a runtime sequence that goes through them.

Row j of the array gets A by the shim and memtile of column j, broadcast along the row; column c gets B by its
own, broadcast up the column, and joins its cores' C. Headers come by B. So phases, and all their sizes, stand
in the sequence and in memory only.

L1: 2 A + 2 B + C of 8 KiB, 16 KiB of sums, 2,560 + 1,024 + 64 bytes kept, 3,328 of stack: 64,320 bytes of
64,512. A memtile holds 2 A + 2 B of 8 KiB and 2 joined C of 32 KiB: 98,304 bytes.

A core loops over what its header asks for, one kind of work behind the other, and two of the three loops do
not turn. No scf.if chooses: the objectFifo pass drops an acquire in its else branch (verifier/wiring.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from whisper_npu.kernels.core import CoreFunction
from whisper_npu.kernels.layer.core import LAYER_CC, functions
from whisper_npu.kernels.layer.movement import A, B, C, turns_of
from whisper_npu.kernels.layer.phases import (
    HALVES,
    KEPT,
    KEYS,
    MASK_WORDS,
    MAX_BIASES,
    MAX_KEYS,
    MAX_ROW,
    NUMBERS,
    OBJECT,
    TILE,
    UNIT,
    Attend,
    Gemm,
    Number,
    Phase,
    Rows,
    row_length,
)
from whisper_npu.kernels.layer.weights import numbers_of
from whisper_npu.kernels.layer.work import DEPTH_AB, DEPTH_C
from whisper_npu.kernels.mlir import (
    Array,
    DesignParameterError,
    Dims,
    Text,
    Value,
    check_multiple,
    core,
    parameter_type,
)
from whisper_npu.kernels.shim import put
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.contract import Argument
from whisper_npu.npu.targets import Target

BF16 = "bf16"
# What a core's loops end at.
LOOPS = (
    Number.TILES,
    Number.STEPS,
    Number.IN_BF16,
    Number.IN_F32,
    Number.QUERIES,
    Number.KEY_BLOCKS,
    Number.UNITS,
    Number.ADDITIONS,
    Number.SUMS,
    Number.NORMED,
)


def text_of(
    name: str,
    target: Target,
    arguments: Sequence[Argument],
    phases: Sequence[Phase],
    toolchain: Generation = NEWEST,
) -> str:
    """MLIR text, as a toolchain spells it. arguments: of bf16, all that the phases name, HEADERS and WEIGHTS.

    Raises DesignParameterError, before a line is printed, for what the array cannot hold.
    """
    _check(name, target, phases)
    array, turns = Array(target), turns_of(tuple(phases), target)
    text = Text(toolchain)
    with text.device(target.device()):
        known = functions(target, ())
        for function in known:
            types = [parameter_type(parameter) for parameter in function.parameters]
            text.function(function.name, types, LAYER_CC.object_name())

        text.section("Tiles")
        text.tiles(array.tiles)
        cores = [_Core.of(text, known, c, j) for c in array.columns for j in array.rows]

        text.section("Data movement in the array")
        a_order, b_order = _in_micro_tiles(target, "A"), _in_micro_tiles(target, "B")
        for j in array.rows:
            along_row = [core(c, j) for c in array.columns]
            text.fifo(f"{A}_{j}", (j, 0), [(j, 1)], DEPTH_AB, (OBJECT,), BF16)
            text.fifo(f"A_L2L1_{j}", (j, 1), along_row, DEPTH_AB, (TILE, TILE), BF16, a_order)
            text.link([f"{A}_{j}"], [f"A_L2L1_{j}"])
        # L1 holds buffers of one size in the order of their fifos (verifier/memory_map.py): with C between A
        # and B a core's four pairs of A and B share a bank once, not twice.
        for c in array.columns:
            for j in array.rows:
                text.fifo(f"C_L1L2_{c}_{j}", core(c, j), [(c, 1)], DEPTH_C, (TILE, TILE), BF16)
            joined = (len(array.rows) * OBJECT,)
            text.fifo(f"{C}_{c}", (c, 1), [(c, 0)], DEPTH_AB, joined, BF16, _in_rows(target))
            pieces = [f"C_L1L2_{c}_{j}" for j in array.rows]
            text.link(pieces, [f"{C}_{c}"], [j * OBJECT for j in array.rows])
        for c in array.columns:
            up_column = [core(c, j) for j in array.rows]
            text.fifo(f"{B}_{c}", (c, 0), [(c, 1)], DEPTH_AB, (OBJECT,), BF16, from_stream=SPREAD)
            text.fifo(f"B_L2L1_{c}", (c, 1), up_column, DEPTH_AB, (TILE, TILE), BF16, b_order)
            text.link([f"{B}_{c}"], [f"B_L2L1_{c}"])

        text.section("Core task")
        for each in cores:
            constants = {f"%c{number}": int(number) for number in sorted(LOOPS) if number > 1}
            constants |= {"%heads": target.columns, "%halves": HALVES * target.columns}
            with text.core(core(each.column, each.row), target.stack_bytes, constants, loads_bounds=True):
                _one_phase(text, each)

        text.section("DRAM movement")
        with text.sequence(arguments):
            put(text, turns)
    return str(text)


# ---------------------------------------------------------------------------------- movement in the array

SPREAD: Dims = [(KEYS, TILE), (2, KEYS * TILE), (TILE, 1)]  # row 2 i + h of B becomes row i + 32 h


def _in_micro_tiles(target: Target, operand: str) -> Dims:
    """An object sent as micro-tiles of A or of B, one behind the other."""
    r, s, t = target.micro_tile
    height, width = (r, s) if operand == "A" else (s, t)
    return [(TILE // height, height * TILE), (TILE // width, width), (height, TILE), (width, 1)]


def _in_rows(target: Target) -> Dims:
    """An object of micro-tiles of C sent in rows."""
    r, _, t = target.micro_tile
    return [(TILE // r, r * TILE), (r, t), (TILE // t, r * t), (t, 1)]


# -------------------------------------------------------------------------------------------- core task


@dataclass(frozen=True)
class _Core:
    """One core, its fifos, and what its functions are given besides objects."""

    column: int
    row: int
    given: Mapping[str, Value]  # by the name of a parameter
    parameters: Mapping[str, Sequence[str]]  # of each function

    @staticmethod
    def of(text: Text, known: Sequence[CoreFunction], column: int, row: int) -> _Core:
        def buffer(name: str, size: int, dtype: str) -> Value:
            return text.buffer(f"{name}_{column}_{row}", core(column, row), (size,), dtype)

        given = {
            "sums": buffer("sums", UNIT, "f32"),
            "kept": buffer("kept", KEPT, "f32"),
            "mask": buffer("mask", MASK_WORDS, "i32"),
            "numbers": buffer("numbers", NUMBERS, "i32"),
            "column": Value("%column", "i32"),
            "row": Value("%row", "i32"),
        }
        names = {function.name: [p.name for p in function.parameters] for function in known}
        return _Core(column, row, given, names)

    def call(self, text: Text, function: str, objects: Mapping[str, Value] = MappingProxyType({})) -> None:
        """objects: and numbers of its loops, by the name of a parameter."""
        known = {**self.given, **objects}
        text.call(function, *(known[name] for name in self.parameters[function]))

    @property
    def a(self) -> str:
        return f"A_L2L1_{self.row}"

    @property
    def b(self) -> str:
        return f"B_L2L1_{self.column}"

    @property
    def c(self) -> str:
        return f"C_L1L2_{self.column}_{self.row}"


def _one_phase(text: Text, core: _Core) -> None:
    """What its header asks for."""
    b = text.acquire(core.b, "Consume")
    core.call(text, "layer_header", {"B": b})
    text.release(core.b, "Consume")
    for number in LOOPS:
        text.load_index(_end(number), core.given["numbers"], f"%c{number}")
    text.number("%column", core.column)
    text.number("%row", core.row)
    with text.loop("%of_c", "%c0", _end(Number.TILES)):
        _multiply(text, core, text.as_i32("%of_c"))
    with text.loop("%query", "%c0", _end(Number.QUERIES)):
        _attend(text, core)
    with text.loop("%unit", "%c0", _end(Number.UNITS)):
        _add_and_normalise(text, core)


def _end(number: Number) -> str:
    return f"%{number.name.lower()}"


def _multiply(text: Text, core: _Core, tile: Value) -> None:
    """A tile of C."""
    core.call(text, "layer_zero")
    with text.loop("%step", "%c0", _end(Number.STEPS)):
        a, b = text.acquire(core.a, "Consume"), text.acquire(core.b, "Consume")
        core.call(text, "layer_matmul", {"A": a, "B": b})
        text.release(core.a, "Consume")
        text.release(core.b, "Consume")
    with text.loop("%result", "%c0", _end(Number.IN_BF16)):
        c = text.acquire(core.c, "Produce")
        core.call(text, "layer_finish", {"C": c, "tile": tile})
        text.release(core.c, "Produce")
    with text.loop("%part", "%c0", _end(Number.IN_F32)):
        part, c = text.as_i32("%part"), text.acquire(core.c, "Produce")
        core.call(text, "layer_finish_f32", {"C": c, "tile": tile, "half": part})
        text.release(core.c, "Produce")


def _attend(text: Text, core: _Core) -> None:
    """64 queries of a head, the one of its column. They stay in C until the result takes their place."""
    c = text.acquire(core.c, "Produce")
    with text.loop("%head", "%c0", "%heads"):
        head, a = text.as_i32("%head"), text.acquire(core.a, "Consume")
        core.call(text, "layer_query", {"A": a, "C": c, "head": head})
        text.release(core.a, "Consume")
    core.call(text, "layer_attend_start")
    with text.loop("%block", "%c0", _end(Number.KEY_BLOCKS)):
        block, b = text.as_i32("%block"), text.acquire(core.b, "Consume")
        core.call(text, "layer_attend", {"C": c, "B": b, "block": block})
        text.release(core.b, "Consume")
    core.call(text, "layer_attend_finish", {"C": c})
    text.release(core.c, "Produce")


def _add_and_normalise(text: Text, core: _Core) -> None:
    """A unit of rows. Those of the other columns come by A as well, those of the other rows by B."""
    with text.loop("%taken", "%c0", "%halves"):
        taken, a = text.as_i32("%taken"), text.acquire(core.a, "Consume")
        core.call(text, "layer_rows_take", {"A": a, "object": taken})
        text.release(core.a, "Consume")
    with text.loop("%added", "%c0", _end(Number.ADDITIONS)):
        added, b = text.as_i32("%added"), text.acquire(core.b, "Consume")
        core.call(text, "layer_rows_add", {"B": b, "object": added})
        text.release(core.b, "Consume")
    with text.loop("%half", "%c0", _end(Number.SUMS)):
        half, c = text.as_i32("%half"), text.acquire(core.c, "Produce")
        core.call(text, "layer_rows_sum", {"C": c, "half": half})
        text.release(core.c, "Produce")
    with text.loop("%once", "%c0", _end(Number.NORMED)):
        c = text.acquire(core.c, "Produce")
        core.call(text, "layer_rows_normed", {"C": c})
        text.release(core.c, "Produce")


# ------------------------------------------------------------------------------------- what is refused


def _check(name: str, target: Target, phases: Sequence[Phase]) -> None:
    """Raises DesignParameterError, naming value and limit, where the array cannot hold a phase."""
    if target.core_rows > target.columns:
        raise DesignParameterError(
            f"{name}: {target.core_rows} rows of cores and {target.columns} columns; each row takes A by the "
            "shim of a column of its own"
        )
    for number, phase in enumerate(phases, 1):
        of_phase = f"{name}, phase {number}"
        check_multiple(of_phase, "M", phase.M, target.core_rows * TILE)
        if isinstance(phase, Gemm):
            _check_gemm(of_phase, target, phase)
        elif isinstance(phase, Attend):
            check_multiple(of_phase, "n_keys", phase.n_keys, KEYS)
            _at_most(of_phase, "n_keys", phase.n_keys, MAX_KEYS)
        else:
            _check_rows(of_phase, phase)
        for what, value in numbers_of(phase, target).items():
            _at_most(of_phase, what.name.lower(), value, 2**16 - 1)


def _check_gemm(name: str, target: Target, phase: Gemm) -> None:
    check_multiple(name, "K", phase.K, TILE)
    check_multiple(name, "N", phase.N, target.columns * TILE)
    _at_most(name, "N", phase.N, target.columns * MAX_BIASES)


def _check_rows(name: str, phase: Rows) -> None:
    _at_most(name, "n_state", phase.n_state, MAX_ROW)
    row, total, normed = row_length(phase.n_state), phase.sum, phase.normed
    assert total or normed, phase
    if normed is not None and normed.ld != row:
        raise DesignParameterError(f"{name}: normalised rows lie {normed.ld} apart, it takes {row}")
    if total is not None and normed is not None:
        behind = replace(
            normed, offset=total.offset + HALVES * total.half, block=total.block, step=total.step
        )
        if total.unit != UNIT or normed != behind:
            raise DesignParameterError(
                f"{name}: sums and normalised rows leave by one task: the sums must lie in planes, the rows "
                f"in the plane behind them, {behind}, not {normed}"
            )


def _at_most(name: str, what: str, value: int, limit: int) -> None:
    if value > limit:
        raise DesignParameterError(f"{name}: {what} = {value:,}, at most {limit:,}")
