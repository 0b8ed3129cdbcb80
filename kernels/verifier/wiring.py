"""What holds for a design on any array: names, types, links, and who takes and gives which fifo's objects.

Also what follows from its fifos: the pools of buffers in each tile, and the DMA channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from whisper_npu.kernels.verifier.design import (
    CONSUME,
    PRODUCE,
    Access,
    Acquire,
    Arithmetic,
    Call,
    Cast,
    Constant,
    Core,
    CoreOp,
    Design,
    For,
    If,
    Link,
    Load,
    MemRef,
    ObjectFifo,
    Release,
    Tile,
    WriteParameter,
)
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.sequence import check_sequence

IN, OUT = "in", "out"

# mlir-aie's designs write 2**32 - 1 or more for a loop that a core never leaves (IRON's range_(sys.maxsize)).
ENDLESS = 2**32 - 1


@dataclass(frozen=True)
class Channel:
    """A tile's DMA channel; each carries one fifo, by whose name it goes."""

    tile: Tile
    direction: str  # "in" | "out"
    fifo: str

    def __str__(self) -> str:
        return f"DMA channel {self.direction} {self.fifo} of {self.tile}"


@dataclass(frozen=True)
class Port:
    """Where in a pool's object a fifo's object lies."""

    fifo: str
    offset: int
    elements: int


@dataclass(frozen=True)
class Pool:
    """`depth` buffers of a tile: `inputs` fill and `outputs` empty them; where there are none, the core does.

    An endpoint at a core has its own pool. Linked fifos share one in the memtile: a join's lies in its output
    fifo, any other's in its input fifo.
    """

    tile: Tile
    memref: MemRef
    depth: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def nbytes(self) -> int:
        return self.depth * self.memref.nbytes

    @property
    def pieces(self) -> int:
        return max(len(self.inputs), len(self.outputs))


def channels(design: Design) -> tuple[Channel, ...]:
    """One out channel at each fifo's producer, also for a broadcast, and one in channel at each consumer.

    Two cores side by side could share memory instead; they are counted as if they had none in common.
    """
    found: list[Channel] = []
    for fifo in design.fifos:
        found.append(Channel(fifo.producer, OUT, fifo.name))
        found += [Channel(tile, IN, fifo.name) for tile in fifo.consumers]
    return tuple(found)


def pools(design: Design) -> tuple[Pool, ...]:
    """Every pool of a design whose links are sound."""
    found: list[Pool] = []
    for fifo in design.fifos:
        whole = (Port(fifo.name, 0, fifo.memref.elements),)
        if fifo.producer.kind == "core":
            found.append(Pool(fifo.producer, fifo.memref, fifo.producer_depth, (), whole))
        found += [
            Pool(tile, fifo.memref, fifo.consumer_depth(tile), whole, ())
            for tile in fifo.consumers
            if tile.kind == "core"
        ]
    return (*found, *(_linked_pool(design, link) for link in design.links))


def _linked_pool(design: Design, link: Link) -> Pool:
    tile = design.fifo(link.outputs[0]).producer
    if len(link.inputs) > 1:
        whole = design.fifo(link.outputs[0])
        depth = whole.producer_depth
    else:
        whole = design.fifo(link.inputs[0])
        depth = whole.consumer_depth(tile)
    inputs = _ports(design, link.inputs, link.in_offsets)
    return Pool(tile, whole.memref, depth, inputs, _ports(design, link.outputs, link.out_offsets))


def _ports(design: Design, names: Sequence[str], offsets: Sequence[int]) -> tuple[Port, ...]:
    return tuple(
        Port(name, offset, design.fifo(name).memref.elements)
        for name, offset in zip(names, offsets or (0,), strict=True)
    )


def check_wiring(design: Design) -> None:
    """Raises DesignError, naming the place, where names, types, links, cores or the sequence do not fit."""
    _unique("tile", [f"({tile.col},{tile.row})" for tile in design.tiles])
    _unique("fifo", [fifo.name for fifo in design.fifos])
    _unique("function", [function.name for function in design.functions])
    _unique("buffer", [buffer.name for buffer in design.buffers])
    _unique("program of", [str(core.tile) for core in design.cores])
    for fifo in design.fifos:
        _check_fifo(fifo)
    _check_links(design)
    for core in design.cores:
        _CoreCheck(design, core).check()
    check_sequence(design)


def _unique(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise DesignError(f"{what} {name} is declared {count} times")


def _check_fifo(fifo: ObjectFifo) -> None:
    if not fifo.consumers:
        raise DesignError(f"fifo {fifo.name} has no consumer")
    _unique(f"fifo {fifo.name}: consumer", map(str, fifo.consumers))
    if fifo.producer in fifo.consumers:
        raise DesignError(f"fifo {fifo.name} goes from {fifo.producer} to itself")
    shims = [tile for tile in (fifo.producer, *fifo.consumers) if tile.kind == "shim"]
    if len(shims) > 1:
        raise DesignError(f"fifo {fifo.name} has {len(shims)} ends at shims, a transfer could not tell which")
    depths = (fifo.depth,) if isinstance(fifo.depth, int) else fifo.depth
    if min(depths) < 1:
        raise DesignError(f"fifo {fifo.name} has depth {min(depths)}, at least 1 is needed")


# ------------------------------------------------------------------------------------------------ links


def _check_links(design: Design) -> None:
    fifos = {fifo.name: fifo for fifo in design.fifos}
    ends: Counter[tuple[Tile, str]] = Counter()
    for link in design.links:
        ends.update(_check_link(link, fifos))
    for channel in channels(design):
        if channel.tile.kind == "memtile" and ends[channel.tile, channel.fifo] != 1:
            count = ends[channel.tile, channel.fifo]
            raise DesignError(
                f"fifo {channel.fifo} ends at {channel.tile}, where {count} links take it on, not 1"
            )


def _check_link(link: Link, fifos: Mapping[str, ObjectFifo]) -> list[tuple[Tile, str]]:
    """Returns the ends of fifos that the link joins up."""
    place = f"link {', '.join(link.inputs)} -> {', '.join(link.outputs)}"
    for name in (*link.inputs, *link.outputs):
        if name not in fifos:
            raise DesignError(f"{place}: there is no fifo {name}")
    if not link.inputs or not link.outputs or min(len(link.inputs), len(link.outputs)) > 1:
        raise DesignError(f"{place}: a link has one input or one output")
    inputs, outputs = [fifos[name] for name in link.inputs], [fifos[name] for name in link.outputs]
    tile = outputs[0].producer
    if tile.kind != "memtile":
        raise DesignError(f"{place}: links are at memtiles, {outputs[0].name} starts at {tile}")
    for fifo in outputs:
        if fifo.producer != tile:
            raise DesignError(f"{place}: {fifo.name} starts at {fifo.producer}, not at {tile}")
    for fifo in inputs:
        if tile not in fifo.consumers:
            raise DesignError(f"{place}: {fifo.name} does not come to {tile}")
    dtypes = sorted({fifo.memref.dtype for fifo in (*inputs, *outputs)})
    if len(dtypes) > 1:
        raise DesignError(f"{place}: element types {' and '.join(dtypes)} differ")
    if len(inputs) > 1:
        _check_pieces(place, outputs[0], inputs, link.in_offsets, link.out_offsets)
    else:
        _check_pieces(place, inputs[0], outputs, link.out_offsets, link.in_offsets)
        if len(outputs) > 1 and inputs[0].from_stream[inputs[0].consumers.index(tile)]:
            raise DesignError(f"{place}: a split input with dimensionsFromStream is not understood here")
    return [(tile, fifo.name) for fifo in (*inputs, *outputs)]


def _check_pieces(
    place: str,
    whole: ObjectFifo,
    pieces: Sequence[ObjectFifo],
    offsets: Sequence[int],
    other_offsets: Sequence[int],
) -> None:
    """The pieces' offsets cover the whole object in order, without gap or overlap."""
    if any(other_offsets):
        raise DesignError(f"{place}: {whole.name} is whole, it takes no offset {max(other_offsets)}")
    if len(pieces) > 1 and len(offsets) != len(pieces):
        raise DesignError(f"{place}: {len(offsets)} offsets for {len(pieces)} fifos")
    end = 0
    for piece, offset in zip(pieces, offsets or (0,), strict=True):
        if offset != end:
            fault = "overlaps the piece before" if offset < end else "leaves a gap after the piece before"
            raise DesignError(f"{place}: {piece.name} at offset {offset} {fault}, which ends at {end}")
        end += piece.memref.elements
    if end != whole.memref.elements:
        raise DesignError(
            f"{place}: the pieces have {end} elements, an object of {whole.name} has {whole.memref.elements}"
        )


# ------------------------------------------------------------------------------------------------ cores


class _CoreCheck:
    """One core's program, read once from top to bottom."""

    def __init__(self, design: Design, core: Core) -> None:
        self.core = core
        self.place = str(core.tile)
        self.fifos = {fifo.name: fifo for fifo in design.fifos}
        self.functions = {function.name: function for function in design.functions}
        self.buffers = {buffer.value: buffer for buffer in design.buffers}
        written = {op.buffer for op in design.sequence.ops if isinstance(op, WriteParameter)}
        self.parameters = {buffer.value for buffer in design.buffers if buffer.name in written}
        self.loaded: set[str] = set()  # values that depend on a parameter

    def check(self) -> None:
        if self.core.tile.kind != "core":
            raise DesignError(f"aie.core at {self.place}, which has no core")
        self.body(self.core.body, "its program")
        self.endless()
        self.loads_after_acquire(self.core.body, acquired=False, in_loop=False)

    def body(self, ops: Sequence[CoreOp], name: str) -> None:
        """Types and roles of each operation; and what the body acquires it releases, no more and no less."""
        taken: Counter[tuple[str, str]] = Counter()
        given: Counter[tuple[str, str]] = Counter()
        for op in ops:
            if isinstance(op, Acquire):
                self.acquire(op)
                taken[op.fifo, op.role] += op.count
            elif isinstance(op, Release):
                self.end(op)
                given[op.fifo, op.role] += op.count
                if given[op.fifo, op.role] > taken[op.fifo, op.role]:
                    self.unbalanced(name, op.fifo, taken[op.fifo, op.role], given[op.fifo, op.role])
            elif isinstance(op, Call):
                self.call(op)
            elif isinstance(op, For):
                self.loop(op)
            elif isinstance(op, If):
                self.body(op.then, "an scf.if")
                if any(isinstance(inner, Acquire) for inner in walk(op.otherwise)):
                    raise DesignError(
                        f"{self.place}: an acquire in the else of an scf.if is dropped in silence"
                    )
                self.body(op.otherwise, "an else")
            else:
                self.follow(op)
        for fifo, role in taken:
            if taken[fifo, role] != given[fifo, role]:
                self.unbalanced(name, fifo, taken[fifo, role], given[fifo, role])

    def unbalanced(self, name: str, fifo: str, taken: int, given: int) -> None:
        raise DesignError(f"{self.place}: {name} acquires {taken} of {fifo} and releases {given}")

    def end(self, op: Acquire | Release) -> ObjectFifo:
        """The fifo, which must start or end at this core, as the role says."""
        fifo = self.fifos.get(op.fifo)
        if fifo is None:
            raise DesignError(f"{self.place}: there is no fifo {op.fifo}")
        if op.role == PRODUCE and fifo.producer != self.core.tile:
            raise DesignError(f"{self.place} produces {op.fifo}, whose producer is {fifo.producer}")
        if op.role == CONSUME and self.core.tile not in fifo.consumers:
            raise DesignError(f"{self.place} consumes {op.fifo}, which does not come there")
        return fifo

    def acquire(self, op: Acquire) -> None:
        fifo = self.end(op)
        if op.memref != fifo.memref:
            raise DesignError(
                f"{self.place} acquires {op.fifo} as {op.memref}, its objects are {fifo.memref}"
            )
        produces = op.role == PRODUCE
        depth = fifo.producer_depth if produces else fifo.consumer_depth(self.core.tile)
        if op.count > depth:
            raise DesignError(f"{self.place} acquires {op.count} of {op.fifo}, which has depth {depth}")

    def call(self, op: Call) -> None:
        function = self.functions.get(op.function)
        if function is None:
            raise DesignError(f"{self.place} calls the function {op.function}, which is not declared")
        if function.memrefs != op.memrefs:
            declared, called = (", ".join(map(str, memrefs)) for memrefs in (function.memrefs, op.memrefs))
            raise DesignError(f"{self.place} calls {op.function} with ({called}), declared is ({declared})")
        if function.link_with is None and self.core.link_with is None:
            raise DesignError(
                f"{self.place} calls {op.function}, which no link_with names an object file for"
            )
        for name in op.arguments:
            if name in self.buffers and self.buffers[name].tile != self.core.tile:
                raise DesignError(
                    f"{self.place} gives {op.function} {name}, which is in {self.buffers[name].tile}"
                )

    def loop(self, op: For) -> None:
        uses_fifos = any(isinstance(inner, (Acquire, Release)) for inner in walk(op.body))
        dynamic = not self.loaded.isdisjoint((op.lower, op.upper, op.step))
        if dynamic and uses_fifos and not self.core.dynamic_objfifo_lowering:
            raise DesignError(
                f"{self.place}: a loop with a loaded bound needs dynamic_objfifo_lowering = true on its core"
            )
        self.body(op.body, f"the body of loop {op.variable}")

    def follow(self, op: CoreOp) -> None:
        """Keep track of the values that come from a parameter buffer."""
        if isinstance(op, Load):
            if self.buffers[op.buffer].tile != self.core.tile:
                raise DesignError(
                    f"{self.place} loads {op.buffer}, which is in {self.buffers[op.buffer].tile}"
                )
            self.loaded.add(op.result)
        elif isinstance(op, (Cast, Arithmetic)):
            operands = (op.value,) if isinstance(op, Cast) else (op.left, op.right)
            if not self.loaded.isdisjoint(operands):
                self.loaded.add(op.result)

    def endless(self) -> None:
        """The core's outermost loop never ends, and all of its rounds are alike.

        A dispatch finds the core where the one before left it. What a core would do in its thousandth round
        nobody executes here; mlir-aie, too, takes a counter that nobody reads out of such a loop
        (AIECoreForeverLoops.cpp).
        """
        constants = {op.result: op.value for op in self.core.body if isinstance(op, Constant)}
        longest = 0
        for op in self.core.body:
            if not isinstance(op, For):
                continue
            lower, upper, step = (constants.get(name) for name in (op.lower, op.upper, op.step))
            if lower is None or upper is None or not step or step < 1:
                continue
            turns = max(0, -((lower - upper) // step))
            if turns < ENDLESS:
                longest = max(longest, turns)
                continue
            if any(op.variable in operands(inner) for inner in walk(op.body)):
                raise DesignError(
                    f"{self.place} works with {op.variable}, the number of its round: dispatches would differ"
                )
            return
        raise DesignError(
            f"{self.place} has ended after {longest:,} rounds, a later dispatch would not find it: "
            f"loop forever, to {ENDLESS}"
        )

    def loads_after_acquire(self, ops: Sequence[CoreOp], *, acquired: bool, in_loop: bool) -> bool:
        """A parameter is there once the data is that the sequence sends after it, and not before."""
        for op in ops:
            if isinstance(op, Acquire):
                acquired = acquired or op.role == CONSUME
            elif isinstance(op, Load) and not acquired:
                raise DesignError(
                    f"{self.place} loads {op.buffer} before it acquired an object to consume: "
                    "a race with the rtp_write that sets it"
                )
            elif isinstance(op, Call) and not acquired:
                for name in self.parameters.intersection(op.arguments):
                    raise DesignError(
                        f"{self.place} gives {op.function} {name} before it acquired an object to consume: "
                        "a race with the rtp_write that sets it"
                    )
            elif isinstance(op, For):
                # An outermost loop starts a round: what the round before acquired says nothing about it.
                inner = self.loads_after_acquire(op.body, acquired=acquired and in_loop, in_loop=True)
                acquired = acquired or (inner and in_loop)
            elif isinstance(op, If):
                self.loads_after_acquire(op.then, acquired=acquired, in_loop=in_loop)
                self.loads_after_acquire(op.otherwise, acquired=acquired, in_loop=in_loop)
        return acquired


def operands(op: CoreOp) -> tuple[str, ...]:
    """The SSA values that an operation takes, those of its bodies not."""
    if isinstance(op, Arithmetic):
        return op.left, op.right
    if isinstance(op, Cast):
        return (op.value,)
    if isinstance(op, Load):
        return (op.buffer, *op.indices)
    if isinstance(op, Access):
        return (op.subview,)
    if isinstance(op, Call):
        return op.arguments
    if isinstance(op, For):
        return op.lower, op.upper, op.step
    return (op.condition,) if isinstance(op, If) else ()


def walk(ops: Iterable[CoreOp]) -> Iterator[CoreOp]:
    """Every operation, also of inner bodies, in the text's order."""
    left = [iter(ops)]
    while left:
        op = next(left[-1], None)
        if op is None:
            left.pop()
            continue
        yield op
        if isinstance(op, For):
            left.append(iter(op.body))
        elif isinstance(op, If):
            left += [iter(op.otherwise), iter(op.then)]
