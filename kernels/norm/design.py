"""The layer norm of rows as a design.

Column c of the array takes the c-th part of the rows, `height` of them in a round, ROWS for each lane.
Objects are chunks of CHUNK columns. X and RESIDUAL come on the shim's two channels in, SUM and Y leave on its
two channels out; the memtile splits what comes to its lanes and joins what leaves. It has six channels in
each direction, so that X, RESIDUAL, SUM and Y of four cores would not fit: a lane is two cores. The lower
adds and normalises, the upper applies weight and bias.

A dispatch starts with PARAMETERS, weight and bias, on the fifo of X; the lower core passes them on. Then each
core reads how many rounds and chunks there are, the lower also 1 / N: the runtime sequence has written them
by then. M and N stand in the DRAM movement only, so one xclbin serves all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_npu.dtypes import DType
from whisper_npu.kernels.mlir import (
    Array,
    DesignParameterError,
    Place,
    Text,
    Value,
    check_multiple,
    core,
    parameter_type,
)
from whisper_npu.kernels.norm.core import NORM_CC, functions, object_sizes
from whisper_npu.kernels.norm.kernel import CHUNK, DEPTH, ROWS, WIDTH, NormContract, lanes, max_cols
from whisper_npu.kernels.shim import Traffic, move, traffic
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.targets import Target

INPUTS, OUTPUTS = ("X", "RESIDUAL"), ("SUM", "Y")
OBJECT = (ROWS, CHUNK)
F32 = DType.F32.value


def design(contract: NormContract, toolchain: Generation = NEWEST) -> str:
    """MLIR text, as a toolchain spells it.

    Raises DesignParameterError, before a line is printed, for what the array cannot hold.
    """
    check_sizes(contract)
    target, array = contract.target, Array(contract.target)
    text = Text(toolchain)
    with text.device(target.device()):
        sizes = object_sizes(target)
        for function in functions(target, sizes):
            types = [parameter_type(parameter) for parameter in function.parameters]
            text.function(function.name, types, NORM_CC.object_name(*sizes))

        text.section("Tiles")
        text.tiles(array.tiles)
        every_lane = [Lane.of(text, target, c, i) for c in array.columns for i in range(lanes(target))]

        text.section("Data movement in the array")
        for c in array.columns:
            move_in_column(text, contract, c, [lane for lane in every_lane if lane.column == c])

        text.section("Core task")
        for lane in every_lane:
            with text.core(lane.lower, target.stack_bytes, {"%c2": 2}, loads_bounds=True):
                normalise(text, lane)
            with text.core(lane.upper, target.stack_bytes, loads_bounds=True):
                apply_parameters(text, lane)

        text.section("DRAM movement")
        with text.sequence(contract.arguments):
            numbers = contract.rounds, contract.chunks, int(contract.inverse.view("int32"))
            for lane in every_lane:
                text.write(lane.name("lower_sizes"), 0, *numbers)
                text.write(lane.name("upper_sizes"), 0, *numbers[:2])
            move_in_dram(text, contract)
    return str(text)


@dataclass(frozen=True)
class Lane:
    """Two cores, and what they keep besides objects."""

    column: int
    index: int
    rows: Value
    scale: Value
    parameters: Value
    lower_sizes: Value  # rounds, chunks of a row, the bits of 1 / N
    upper_sizes: Value  # rounds, chunks of a row

    @staticmethod
    def of(text: Text, target: Target, column: int, index: int) -> Lane:
        def buffer(name: str, row: int, shape: tuple[int, ...], dtype: str = F32) -> Value:
            return text.buffer(f"{name}_{column}_{index}", core(column, 2 * index + row), shape, dtype)

        kept = (max_cols(target) // CHUNK, *OBJECT)
        return Lane(
            column,
            index,
            rows=buffer("rows", 0, kept),
            scale=buffer("scale", 0, (ROWS, WIDTH)),
            parameters=buffer("parameters", 1, kept),
            lower_sizes=buffer("lower_sizes", 0, (3,), "i32"),
            upper_sizes=buffer("upper_sizes", 1, (2,), "i32"),
        )

    @property
    def lower(self) -> Place:
        return core(self.column, 2 * self.index)

    @property
    def upper(self) -> Place:
        return core(self.column, 2 * self.index + 1)

    def name(self, of: str) -> str:
        """What a fifo or a buffer of this lane is called."""
        return f"{of}_{self.column}_{self.index}"


def move_in_column(text: Text, contract: NormContract, c: int, its_lanes: Sequence[Lane]) -> None:
    shim, memtile = (c, 0), (c, 1)
    joined = (contract.height * CHUNK,)
    offsets = [lane.index * ROWS * CHUNK for lane in its_lanes]
    for name in INPUTS:
        text.fifo(f"{name}_L3L2_{c}", shim, [memtile], DEPTH, joined, F32)
        for lane in its_lanes:
            text.fifo(lane.name(f"{name}_L2L1"), memtile, [lane.lower], DEPTH, OBJECT, F32)
        text.link([f"{name}_L3L2_{c}"], [lane.name(f"{name}_L2L1") for lane in its_lanes], offsets)
    for lane in its_lanes:
        text.fifo(lane.name("UNIT_L1L1"), lane.lower, [lane.upper], DEPTH, OBJECT, F32)
    for name in OUTPUTS:
        for lane in its_lanes:
            giver = lane.lower if name == "SUM" else lane.upper
            text.fifo(lane.name(f"{name}_L1L2"), giver, [memtile], DEPTH, OBJECT, F32)
        text.fifo(f"{name}_L2L3_{c}", memtile, [shim], DEPTH, joined, F32)
        text.link([lane.name(f"{name}_L1L2") for lane in its_lanes], [f"{name}_L2L3_{c}"], offsets)


def normalise(text: Text, lane: Lane) -> None:
    """The lower core: it passes the parameters on, and then takes its rows, ROWS a round."""
    x, residual, total, unit = map(lane.name, ("X_L2L1", "RESIDUAL_L2L1", "SUM_L1L2", "UNIT_L1L1"))

    def pass_on(header: Value) -> None:
        text.call("norm_header_f32", header, text.acquire(unit, "Produce"))
        text.release(unit, "Produce")
        text.release(x, "Consume")

    header = text.acquire(x, "Consume")
    # Only now: before something has come, the sequence may not have written the numbers yet.
    text.load_index("%rounds", lane.lower_sizes, "%c0")
    chunks = text.load_index("%chunks", lane.lower_sizes, "%c1")
    inverse = text.load("%inverse", lane.lower_sizes, "%c2")
    pass_on(header)
    with text.loop("%chunk", "%c1", "%chunks"):
        pass_on(text.acquire(x, "Consume"))

    with text.loop("%turn", "%c0", "%rounds"):
        with text.loop("%chunk", "%c0", "%chunks"):
            chunk = text.as_i32("%chunk")
            sums = text.acquire(total, "Produce")
            operands = text.acquire(x, "Consume"), text.acquire(residual, "Consume")
            text.call("norm_sum_f32", *operands, sums, lane.rows, chunk)
            text.release(x, "Consume")
            text.release(residual, "Consume")
            text.release(total, "Produce")
        text.call("norm_centre_f32", lane.rows, lane.scale, chunks, inverse)
        with text.loop("%chunk", "%c0", "%chunks"):
            chunk = text.as_i32("%chunk")
            text.call("norm_unit_f32", lane.rows, lane.scale, text.acquire(unit, "Produce"), chunk)
            text.release(unit, "Produce")


def apply_parameters(text: Text, lane: Lane) -> None:
    """The upper core: it keeps the parameters, and applies them to all that comes."""
    unit, result = lane.name("UNIT_L1L1"), lane.name("Y_L1L2")
    header = text.acquire(unit, "Consume")
    text.load_index("%rounds", lane.upper_sizes, "%c0")
    text.load_index("%chunks", lane.upper_sizes, "%c1")
    text.call("norm_parameters_f32", header, lane.parameters, text.as_i32("%c0"))
    text.release(unit, "Consume")
    with text.loop("%chunk", "%c1", "%chunks"):
        chunk = text.as_i32("%chunk")
        text.call("norm_parameters_f32", text.acquire(unit, "Consume"), lane.parameters, chunk)
        text.release(unit, "Consume")

    with text.loop("%turn", "%c0", "%rounds"), text.loop("%chunk", "%c0", "%chunks"):
        chunk = text.as_i32("%chunk")
        y = text.acquire(result, "Produce")
        text.call("norm_affine_f32", text.acquire(unit, "Consume"), lane.parameters, y, chunk)
        text.release(unit, "Consume")
        text.release(result, "Produce")


def move_in_dram(text: Text, contract: NormContract) -> None:
    """PARAMETERS in a round of its own, and then all rows."""
    cols, height, number = contract.cols, contract.height, contract.rounds
    of_round = [(contract.chunks, CHUNK), (height, cols), (CHUNK, 1)]

    def rows(name: str, hop: str, c: int) -> Traffic:
        order, start = [(number, height * cols)], c * number * height * cols
        return traffic(contract, name, f"{name}_{hop}_{c}", c, order, of_round, start)

    inputs, outputs = [], []
    for c in Array(contract.target).columns:
        x, residual = (rows(name, "L3L2", c) for name in INPUTS)
        parameters = traffic(contract, "PARAMETERS", x.fifo, c, [], of_round)
        inputs += [x.behind(parameters), residual]
        outputs += [rows(name, "L2L3", c) for name in OUTPUTS]
    move(text, contract.target, inputs, outputs)


def check_sizes(contract: NormContract) -> None:
    """Raises DesignParameterError, naming value and limit, where the array cannot hold the contract."""
    target = contract.target
    if target.core_rows != 2 * lanes(target):
        raise DesignParameterError(
            f"{contract.name}: {target.core_rows} cores in a column; {lanes(target)} lanes take 2 each"
        )
    units = ("rows", contract.rows, target.columns * contract.height), ("cols", contract.cols, CHUNK)
    for size, value, unit in units:
        check_multiple(contract.name, size, value, unit)
    if contract.cols > max_cols(target):
        raise DesignParameterError(
            f"{contract.name}: a core holds rows of at most {max_cols(target)}, not {contract.cols}"
        )
