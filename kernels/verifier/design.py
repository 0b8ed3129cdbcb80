"""What a design's text says, as data: tiles, fifos, links, cores and the runtime sequence.

Spelling and meaning: mlir-aie's dialects aie and aiex. Sizes, strides and offsets count elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

ELEMENT_BYTES = {"bf16": 2, "f32": 4, "i32": 4}
PRODUCE, CONSUME = "Produce", "Consume"

Dims = tuple[tuple[int, int], ...]  # (size, stride), outermost first


@dataclass(frozen=True)
class MemRef:
    """The type of a buffer, or of a number that a function takes by value."""

    shape: tuple[int, ...]  # (): a number
    dtype: str  # "bf16" | "f32" | "i32"

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def element_bytes(self) -> int:
        return ELEMENT_BYTES[self.dtype]

    @property
    def nbytes(self) -> int:
        return self.elements * self.element_bytes

    def __str__(self) -> str:
        return f"memref<{'x'.join(map(str, self.shape))}x{self.dtype}>" if self.shape else self.dtype


@dataclass(frozen=True)
class Tile:
    """A place in the array: row 0 shim, row 1 memtile, the rows above cores."""

    name: str
    col: int
    row: int

    @property
    def kind(self) -> str:
        return ("shim", "memtile")[self.row] if self.row < 2 else "core"

    def __str__(self) -> str:
        return f"{self.kind} ({self.col},{self.row})"


@dataclass(frozen=True)
class ObjectFifo:
    """A stream of objects of one type, from its producer to every consumer."""

    name: str
    producer: Tile
    consumers: tuple[Tile, ...]
    depth: int | tuple[int, ...]  # of every endpoint, or of the producer and then each consumer
    memref: MemRef
    to_stream: Dims  # the order in which the producer's DMA reads an object; () as it lies
    from_stream: tuple[Dims, ...]  # the order in which each consumer's DMA writes it

    @property
    def shim(self) -> Tile | None:
        """The tile that moves its objects from or to the host's memory."""
        return next((tile for tile in (self.producer, *self.consumers) if tile.kind == "shim"), None)

    @property
    def producer_depth(self) -> int:
        return self.depth if isinstance(self.depth, int) else self.depth[0]

    def consumer_depth(self, tile: Tile) -> int:
        return self.depth if isinstance(self.depth, int) else self.depth[1 + self.consumers.index(tile)]


@dataclass(frozen=True)
class Link:
    """Fifos that share a memtile's buffers: forward, split (several outputs) or join (several inputs)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    in_offsets: tuple[int, ...]
    out_offsets: tuple[int, ...]


@dataclass(frozen=True)
class Function:
    """A kernel function, compiled apart."""

    name: str
    memrefs: tuple[MemRef, ...]
    link_with: str | None


@dataclass(frozen=True)
class LocalBuffer:
    """Memory of a tile that belongs to no fifo, such as a runtime parameter."""

    name: str  # as the runtime sequence calls it
    value: str  # as cores call it
    tile: Tile
    memref: MemRef
    initial_value: tuple[int, ...] | None  # one element stands for all


# -------------------------------------------------------------------------------- operations of a core


@dataclass(frozen=True)
class Constant:
    result: str
    value: int


@dataclass(frozen=True)
class Arithmetic:
    result: str
    operation: str  # "addi", ..., or "cmpi" and its predicate: "cmpi slt"
    left: str
    right: str
    bits: int  # of its operands' type


@dataclass(frozen=True)
class Cast:
    result: str
    value: str
    bits: int  # of the result's type


@dataclass(frozen=True)
class Load:
    result: str
    buffer: str
    indices: tuple[str, ...]


@dataclass(frozen=True)
class Acquire:
    result: str
    fifo: str
    role: str  # "Produce" | "Consume"
    count: int
    memref: MemRef


@dataclass(frozen=True)
class Access:
    result: str
    subview: str
    index: int


@dataclass(frozen=True)
class Release:
    fifo: str
    role: str
    count: int


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[str, ...]
    memrefs: tuple[MemRef, ...]


@dataclass(frozen=True)
class For:
    variable: str
    lower: str
    upper: str
    step: str
    body: tuple[CoreOp, ...]


@dataclass(frozen=True)
class If:
    condition: str
    then: tuple[CoreOp, ...]
    otherwise: tuple[CoreOp, ...]


CoreOp = Constant | Arithmetic | Cast | Load | Acquire | Access | Release | Call | For | If


@dataclass(frozen=True)
class Core:
    """The program of one core."""

    tile: Tile
    body: tuple[CoreOp, ...]
    stack_size: int | None
    link_with: str | None
    dynamic_objfifo_lowering: bool


# --------------------------------------------------------------------- operations of the runtime sequence


@dataclass(frozen=True)
class Memcpy:
    """A shim DMA task: part of a host array through a fifo; four dimensions, outermost first."""

    argument: str
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    id: int
    fifo: str
    token: bool
    memref: MemRef

    @property
    def offset(self) -> int:
        return sum(o * t for o, t in zip(self.offsets, self.strides, strict=True))

    @property
    def elements(self) -> int:
        return prod(self.sizes)


@dataclass(frozen=True)
class Wait:
    fifo: str


@dataclass(frozen=True)
class WriteParameter:
    buffer: str
    index: int
    value: int


SequenceOp = Memcpy | Wait | WriteParameter


@dataclass(frozen=True)
class RuntimeSequence:
    """What the host's command processor does, in order."""

    arguments: tuple[tuple[str, MemRef], ...]
    ops: tuple[SequenceOp, ...]


@dataclass(frozen=True)
class Design:
    """All of one `aie.device`."""

    device: str
    tiles: tuple[Tile, ...]
    fifos: tuple[ObjectFifo, ...]
    links: tuple[Link, ...]
    functions: tuple[Function, ...]
    buffers: tuple[LocalBuffer, ...]
    cores: tuple[Core, ...]
    sequence: RuntimeSequence

    def fifo(self, name: str) -> ObjectFifo:
        return next(fifo for fifo in self.fifos if fifo.name == name)
