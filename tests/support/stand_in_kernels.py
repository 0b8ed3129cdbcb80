"""Stand-ins for what the NPU needs and no toolchain or chip is here to give: kernels, and the chip's files.

A stand-in kernel is a folder as `whisper-npu kernels build` writes it. Where a real NAME.insts.bin holds NPU
instructions, a stand-in's says in 64 words what a dispatch does: its arguments, an operation on them, and the
operation's sizes. Whoever plays the NPU decodes them and does it: tests/support/fake_pyxrt by this file, and
tests/xrt/amdxdna_stub.c. A family of kernels that computes something else is one more subclass of `Operation`
here, with one more case of `operation_of`, and one more row of `operations` there.
"""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache, singledispatch
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.vmac import accumulate
from whisper_npu.kernels.matmul.kernel import MatmulContract
from whisper_npu.kernels.norm.kernel import NormContract
from whisper_npu.kernels.toolchain import NEWEST
from whisper_npu.npu.artifacts import MANIFEST, SCHEMA, SCHEMA_VERSION
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.layout import Along
from whisper_npu.npu.targets import NPU1, Target
from whisper_npu.ops import EPSILON, Direction

MAGIC, VERSION, WORDS = 0x55504E57, 2, 64
MAX_ARGUMENTS = 5  # data bos of a kernel, as aiecc describes every xclbin
FIRST_SIZE = 4 + 3 * MAX_ARGUMENTS  # after magic, version, operation, number of arguments, and the arguments
XCLBIN_MAGIC = b"xclbin2\0"  # with which a real one begins, too
DTYPES = (DType.BF16, DType.F32)
DIRECTIONS = (Direction.IN, Direction.OUT)
ROUNDINGS = (Rounding.NEAREST_EVEN, Rounding.TOWARD_ZERO, Rounding.FLOOR)

Memory = NDArray[np.uint8]
Elements = NDArray[Any]  # float32, or the bits of bf16 as uint16


@dataclass(frozen=True)
class Argument:
    """One data bo of a dispatch."""

    elements: int
    dtype: DType
    direction: Direction

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.nbytes

    @property
    def is_written(self) -> bool:
        return self.direction is Direction.OUT


class Operation(ABC):
    """What a dispatch does. A frozen dataclass, whose fields are the words of its sizes."""

    code: ClassVar[int]

    @abstractmethod
    def needs(self, count: int) -> Sequence[tuple[int, Direction]]:
        """The elements that it reads or writes of each of `count` arguments.

        Raises ValueError for impossible sizes.
        """

    @abstractmethod
    def compute(self, *arguments: Elements) -> None:
        """Do it, in fp32."""


class Work(Protocol):
    """What one dispatch does, to those who play the NPU."""

    @property
    def arguments(self) -> tuple[Argument, ...]: ...

    def compute(self, *memories: Memory) -> None: ...


@dataclass(frozen=True)
class Instructions:
    """What one dispatch does with its arguments. Raises ValueError where they do not fit the operation."""

    operation: Operation
    arguments: tuple[Argument, ...]

    def __post_init__(self) -> None:
        needed = self.operation.needs(len(self.arguments))
        if len(needed) != len(self.arguments):
            raise ValueError(f"{len(self.arguments)} arguments for {self.operation}, which has {len(needed)}")
        for number, (argument, (elements, direction)) in enumerate(zip(self.arguments, needed, strict=True)):
            if argument.elements < elements or argument.direction is not direction:
                raise ValueError(
                    f"argument {number} is {argument}, {self.operation} needs {elements} elements"
                )

    @property
    def nbytes(self) -> tuple[int, ...]:
        """One number for each data bo."""
        return tuple(argument.nbytes for argument in self.arguments)

    def compute(self, *memories: Memory) -> None:
        """Do what a dispatch does. Raises ValueError for too few bytes."""
        elements = []
        for argument, memory in zip(self.arguments, memories, strict=True):
            if len(memory) < argument.nbytes:
                raise ValueError(f"{len(memory)} bytes are too few for {argument}")
            elements.append(as_elements(memory[: argument.nbytes], argument.dtype))
        self.operation.compute(*elements)


# --- Operations ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeparateMatmul(Operation):
    """C_i (m,n) = A_i (m,k) @ B_i (k,n) for i below `count`; arguments A, B, C.

    Element (row r, column c) of matrix i lies at i * step + r * row + c.
    """

    code: ClassVar[int] = 0
    count: int
    m: int
    k: int
    n: int
    rounding: int  # of C, where that is bf16: index in ROUNDINGS
    a_row: int
    a_step: int
    b_row: int
    b_step: int
    c_row: int
    c_step: int

    def needs(self, count: int) -> Sequence[tuple[int, Direction]]:
        _refuse_unless(min(self.count, self.m, self.k, self.n) > 0 and self.rounding < len(ROUNDINGS), self)

        def extent(rows: int, cols: int, row: int, step: int) -> int:
            return (self.count - 1) * step + (rows - 1) * row + cols

        return (
            (extent(self.m, self.k, self.a_row, self.a_step), Direction.IN),
            (extent(self.k, self.n, self.b_row, self.b_step), Direction.IN),
            (extent(self.m, self.n, self.c_row, self.c_step), Direction.OUT),
        )

    def matrices(self, *arguments: Elements) -> tuple[Elements, Elements, Elements]:
        """A, B and C, (count, rows, cols) each, where they lie."""
        a, b, c = arguments
        return (
            _strided(a, (self.count, self.m, self.k), (self.a_step, self.a_row, 1)),
            _strided(b, (self.count, self.k, self.n), (self.b_step, self.b_row, 1)),
            _strided(c, (self.count, self.m, self.n), (self.c_step, self.c_row, 1)),
        )

    def compute(self, *arguments: Elements) -> None:
        a, b, c = self.matrices(*arguments)
        store(_products(a, b), c, ROUNDINGS[self.rounding])


@dataclass(frozen=True)
class PairsMatmul(Operation):
    """The same with A and B of each product one after the other; arguments: pairs, C.

    A lies in micro-tiles of (r,s), B of (s,t).
    """

    code: ClassVar[int] = 1
    count: int
    m: int
    k: int
    n: int
    rounding: int
    r: int
    s: int
    t: int

    def needs(self, count: int) -> Sequence[tuple[int, Direction]]:
        m, k, n, r, s, t = self.m, self.k, self.n, self.r, self.s, self.t
        possible = min(self.count, m, k, n, r, s, t) > 0 and self.rounding < len(ROUNDINGS)
        _refuse_unless(possible and not (m % r or k % s or n % t), self)
        return ((self.count * (m * k + k * n), Direction.IN), (self.count * m * n, Direction.OUT))

    def matrices(self, *arguments: Elements) -> tuple[Elements, Elements, Elements]:
        """Copies of A and B, and C where it lies, (count, rows, cols) each."""
        count, m, k, n = self.count, self.m, self.k, self.n
        pairs, c = arguments[0][: count * (m * k + k * n)].reshape(count, -1), arguments[1][: count * m * n]
        a = _rows(pairs[:, : m * k], (m, k), (self.r, self.s))
        b = _rows(pairs[:, m * k :], (k, n), (self.s, self.t))
        return a, b, c.reshape(count, m, n)

    def compute(self, *arguments: Elements) -> None:
        a, b, c = self.matrices(*arguments)
        store(_products(a, b), c, ROUNDINGS[self.rounding])


def _products(a: Elements, b: Elements) -> F32:
    """A @ B of each pair, bf16 as a core of npu1 sums it. a: (count, m, k), b: (count, k, n)."""
    a_f32, b_f32 = as_f32(a), as_f32(b)
    if a.dtype == np.float32:
        return np.matmul(a_f32, b_f32)
    c = np.zeros((len(a), a.shape[1], b.shape[2]), np.float32)
    for sums, one_a, one_b in zip(c, a_f32, b_f32, strict=True):
        accumulate(sums, one_a, one_b, NPU1.micro_tile[1])
    return c


@dataclass(frozen=True)
class NormOfRows(Operation):
    """s = x + residual; y = (s - mean) / sqrt(variance + epsilon) * weight + bias, of each row.

    Arguments: x; the residual, if any; one or two with weight and bias; s, where there is a residual; y.
    Element c of row r lies at r * row + c.
    """

    code: ClassVar[int] = 2
    rows: int
    cols: int
    row: int
    epsilon: int  # the bits of an fp32
    residual: int  # 0 or 1
    weight: int  # the number of its argument, and where in that it begins
    weight_start: int
    bias: int
    bias_start: int

    def needs(self, count: int) -> Sequence[tuple[int, Direction]]:
        added, parameters = 1 + self.residual, range(1 + self.residual, count - 1 - self.residual)
        possible = min(self.rows, self.cols) > 0 and self.cols <= self.row and self.residual < 2
        _refuse_unless(possible and {self.weight, self.bias} == set(parameters), self)
        extent = (self.rows - 1) * self.row + self.cols
        ends = (self.weight, self.weight_start + self.cols), (self.bias, self.bias_start + self.cols)
        return (
            *[(extent, Direction.IN)] * added,
            *(
                (max(end for argument, end in ends if argument == number), Direction.IN)
                for number in parameters
            ),
            *[(extent, Direction.OUT)] * added,
        )

    def compute(self, *arguments: Elements) -> None:
        def rows(number: int) -> Elements:
            return _strided(arguments[number], (self.rows, self.cols), (self.row, 1))

        weight = as_f32(arguments[self.weight][self.weight_start :][: self.cols])
        bias = as_f32(arguments[self.bias][self.bias_start :][: self.cols])
        epsilon = np.uint32(self.epsilon).view(np.float32)
        s = as_f32(rows(0))
        if self.residual:
            s = s + as_f32(rows(1))
            store(s, rows(-2))
        centred = s - s.mean(1, keepdims=True)
        variance = np.square(centred).mean(1, keepdims=True)
        store(centred / np.sqrt(variance + epsilon) * weight + bias, rows(-1))


OPERATIONS: dict[int, type[Operation]] = {
    operation.code: operation for operation in (SeparateMatmul, PairsMatmul, NormOfRows)
}


@singledispatch
def operation_of(contract: Contract) -> Operation:
    """What a dispatch of this contract's kernel does."""
    raise NotImplementedError(f"no stand-in for kernels of {type(contract).__name__}")


@operation_of.register
def _(contract: MatmulContract) -> Operation:
    m, k, n, count, layout = contract.m, contract.k, contract.n, contract.batch, contract.batch_layout
    rounding = ROUNDINGS.index(contract.result_rounding)
    if contract.packs_pairs:
        return PairsMatmul(count, m, k, n, rounding, *contract.target.micro_tile)

    def places(rows: int, cols: int, along: Along | None) -> tuple[int, int]:
        return (count * cols, cols) if along is Along.COLS else (cols, rows * cols)

    a, b, c = (layout.a, layout.b, layout.c) if layout else (None, None, None)
    return SeparateMatmul(count, m, k, n, rounding, *places(m, k, a), *places(k, n, b), *places(m, n, c))


@operation_of.register
def _(contract: NormContract) -> Operation:
    """Weight is the first row of PARAMETERS and bias the second; more of them repeat these."""
    rows, cols, parameters = contract.rows, contract.cols, 2
    epsilon = int(np.float32(EPSILON).view(np.uint32))
    return NormOfRows(
        rows,
        cols,
        row=cols,
        epsilon=epsilon,
        residual=1,
        weight=parameters,
        weight_start=0,
        bias=parameters,
        bias_start=cols,
    )


# --- As words -----------------------------------------------------------------------------------------------


def instructions(contract: Contract) -> bytes:
    """A stand-in's NAME.insts.bin."""
    arguments = tuple(Argument(given.elements, given.dtype, given.direction) for given in contract.arguments)
    return encode(operation_of(contract), arguments)


def encode(operation: Operation, arguments: Sequence[Argument]) -> bytes:
    described = [
        word
        for given in arguments
        for word in (given.elements, DTYPES.index(given.dtype), DIRECTIONS.index(given.direction))
    ]
    described += [0] * (3 * MAX_ARGUMENTS - len(described))
    words = [MAGIC, VERSION, operation.code, len(arguments), *described, *astuple(operation)]  # type: ignore[call-overload]
    return struct.pack(f"<{WORDS}I", *words, *[0] * (WORDS - len(words)))


@lru_cache(maxsize=64)
def decode(content: bytes) -> Instructions:
    """Raises ValueError for anything but a stand-in's instructions."""
    if len(content) != 4 * WORDS:
        raise ValueError(f"{len(content)} bytes are no stand-in instructions: they have {4 * WORDS}")
    words = struct.unpack(f"<{WORDS}I", content)
    magic, version, code, count = words[:4]
    described, sizes = words[4:FIRST_SIZE], words[FIRST_SIZE:]
    kind = OPERATIONS.get(code)
    if (magic, version) != (MAGIC, VERSION) or kind is None or not 0 < count <= MAX_ARGUMENTS:
        raise ValueError(f"no stand-in instructions: they begin with {content[:16].hex()}")
    length = len(fields(kind))  # type: ignore[arg-type]
    if any(described[3 * count :]) or any(sizes[length:]):
        raise ValueError("no stand-in instructions: there are words behind the last")
    return Instructions(kind(*sizes[:length]), tuple(_arguments(described[: 3 * count])))


def _arguments(words: Sequence[int]) -> Iterator[Argument]:
    for elements, dtype, direction in zip(words[::3], words[1::3], words[2::3], strict=True):
        if dtype >= len(DTYPES) or direction >= len(DIRECTIONS):
            raise ValueError(f"stand-in instructions with an argument of type {dtype}, direction {direction}")
        yield Argument(elements, DTYPES[dtype], DIRECTIONS[direction])


def _refuse_unless(possible: bool, operation: Operation) -> None:
    if not possible:
        raise ValueError(f"stand-in instructions of impossible sizes: {operation}")


# --- Memory -------------------------------------------------------------------------------------------------


def as_elements(memory: Memory, dtype: DType) -> Elements:
    """Memory as elements: fp32, or the bits of bf16."""
    whole = memory[: len(memory) // dtype.nbytes * dtype.nbytes]
    return whole.view(np.uint16 if dtype is DType.BF16 else np.float32)


def as_f32(x: Elements) -> F32:
    return x if x.dtype == np.float32 else (x.astype(np.uint32) << 16).view(np.float32)


def store(values: F32, to: Elements, rounding: Rounding = Rounding.NEAREST_EVEN) -> None:
    to[...] = values if to.dtype == np.float32 else to_bf16(values, rounding).view(np.uint16)


def _strided(elements: Elements, shape: tuple[int, ...], steps: tuple[int, ...]) -> Elements:
    return np.lib.stride_tricks.as_strided(elements, shape, tuple(step * elements.itemsize for step in steps))


def _rows(tiles: Elements, shape: tuple[int, int], micro: tuple[int, int]) -> Elements:
    """(count, rows * cols) in micro-tile order -> (count, rows, cols)."""
    (rows, cols), (height, width) = shape, micro
    blocks = tiles.reshape(-1, rows // height, cols // width, height, width)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, rows, cols)


# --- Files --------------------------------------------------------------------------------------------------


def xclbin(*contracts: Contract) -> bytes:
    """A stand-in's NAME.xclbin: the file's magic, and which instructions this array configuration runs."""
    return XCLBIN_MAGIC + b"".join(sha256(instructions(contract)).digest() for contract in contracts)


def read(array: bytes, instructions: bytes) -> Instructions:
    """What instructions do on an array that a stand-in xclbin has configured; array: after the file's magic.

    Raises ValueError for anything but a stand-in's instructions, and for those of another xclbin.
    """
    what = decode(instructions)
    if sha256(instructions).digest() not in (array[at : at + 32] for at in range(0, len(array), 32)):
        raise ValueError("these instructions belong to another xclbin than the context's")
    return what


def write_kernel(
    folder: Path,
    contract: Contract,
    xclbin: bytes,
    *,
    insts: bytes | None = None,
    target: str | None = None,
) -> Path:
    """folder/NAME/ with NAME.xclbin, NAME.insts.bin and manifest.json, as a build leaves it.

    Kernels of the same xclbin are of one overlay. insts: the instructions; None for those of the contract.
    target: what the manifest says; None for the contract's.
    """
    insts = insts or instructions(contract)
    name = contract.name
    place = folder / name
    place.mkdir(parents=True)
    outputs = {f"{name}.xclbin": xclbin, f"{name}.insts.bin": insts}
    for file, content in outputs.items():
        (place / file).write_bytes(content)
    manifest = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "design": name,
        "contract": contract.as_json(),
        "operands": contract.arguments_as_json(),
        "overlay": {"name": name, "sha256": _sha256(xclbin)},
        "toolchain": NEWEST.name,
        "sources": {f"{name}.mlir": _sha256(b""), "matmul.cc": _sha256(b""), "product.hpp": _sha256(b"")},
        "target": target or contract.target.name,
        "tools": {"aiecc": "stand-in", "clang++": "stand-in"},
        "commands": [["stand-in", name]],
        "core_programs": {},
        "outputs": {file: _sha256(content) for file, content in outputs.items()},
    }
    (place / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return place


def write_npu(root: Path, target: Target = NPU1) -> Path:
    """What /sys and /dev hold of an NPU with its driver loaded, under another root."""
    vendor, device = target.pci_id.split(":")
    pci = root / "sys/bus/pci/devices/0000:c4:00.1"
    pci.mkdir(parents=True, exist_ok=True)
    (pci / "vendor").write_text(f"0x{vendor}\n")
    (pci / "device").write_text(f"0x{device}\n")
    node = root / "dev/accel/accel0"
    node.parent.mkdir(parents=True, exist_ok=True)
    node.touch()
    return root


def _sha256(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
