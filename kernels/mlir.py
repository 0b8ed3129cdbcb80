"""MLIR text of MLIR-AIE's dialects aie and aiex, line by line: what every family's design.py prints with.

A design reads in the order of its sections: tiles, data movement in the array, core task, DRAM movement. Case
tells the level: M,K,N the problem, m,k,n one core's tile, r,s,t the micro-tile. A fifo's name tells its hop:
A_L3L2 goes from DRAM to a memtile, A_L2L1 from there to cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from whisper_npu.errors import UsageError
from whisper_npu.kernels.core import Parameter
from whisper_npu.kernels.toolchain import NEWEST, Acquire, Generation, subview_of
from whisper_npu.npu.contract import Argument, Contract
from whisper_npu.npu.targets import Target

FIRST_CORE_ROW = 2  # above one row of shims and one of memtiles, as Target.core_rows counts
FOREVER = 4294967295

Dims = Sequence[tuple[int, int]]  # (size, stride) in elements, outermost first
Place = tuple[int, int]  # column and row of a tile


class DesignParameterError(UsageError):
    """A contract that the array cannot hold: names the value and the limit."""


def check_multiple(design: str, size: str, value: int, unit: int) -> None:
    """Raises DesignParameterError unless a size, called `size`, is `unit` or a multiple of it."""
    if value < unit or value % unit:
        least = f", at least {unit}" if value < unit else ""
        raise DesignParameterError(f"{design}: {size} = {value} must be a multiple of {unit}{least}")


def check_reach(contract: Contract) -> None:
    """Raises DesignParameterError where an operand has elements that no offset of 32 bits reaches.

    mlir-aie, include/aie/Dialect/AIEX/IR/AIEX.td: NpuAddressPatchOp's arg_plus.
    """
    for argument in contract.arguments:
        if argument.nbytes >= 2**32:
            raise DesignParameterError(
                f"{contract.name}: {argument.name} would have {argument.nbytes:,} bytes, the array reaches "
                f"{2**32 - 1:,} of an operand"
            )


@dataclass(frozen=True)
class Array:
    """The tiles of a target's whole array. Rows are counted from the lowest core."""

    target: Target

    @property
    def columns(self) -> range:
        return range(self.target.columns)

    @property
    def rows(self) -> range:
        return range(self.target.core_rows)

    @property
    def tiles(self) -> list[Place]:
        """Every tile: shims, memtiles, then the cores row by row."""
        rows = range(FIRST_CORE_ROW + self.target.core_rows)
        return [(column, row) for row in rows for column in self.columns]

    @property
    def cores(self) -> list[Place]:
        """Column by column."""
        return [core(column, row) for column in self.columns for row in self.rows]


def core(column: int, row: int) -> Place:
    """The tile of a core; its row is counted from the lowest core."""
    return column, FIRST_CORE_ROW + row


def memref(shape: tuple[int, ...], dtype: str) -> str:
    return f"memref<{'x'.join(map(str, shape))}x{dtype}>"


def tile(place: Place) -> str:
    return f"%t{place[0]}_{place[1]}"


def _order(name: str, dims: Dims) -> str:
    """A fifo's attribute for one end; none where there are no dimensions."""
    each = ", ".join(f"<size = {size}, stride = {stride}>" for size, stride in dims)
    return f" {name} [{each}]" if dims else ""


def parameter_type(parameter: Parameter) -> str:
    """How a design declares what a core function takes."""
    assert parameter.shape is not None, f"a design has to say how much {parameter.name} holds"
    return parameter.dtype if parameter.is_number else memref(parameter.shape, parameter.dtype)


@dataclass(frozen=True)
class Value:
    """An SSA name and its type: a memref, or i32."""

    name: str
    type: str


class Text:
    """A design under way: one method per operation, spelled as mlir-aie's parser wants it.

    toolchain: the generation whose spelling it is. dtype: the element's name in MLIR, "bf16", "f32" or "i32".
    """

    def __init__(self, toolchain: Generation = NEWEST) -> None:
        self._toolchain = toolchain
        self._lines: list[str] = []
        self._depth = 0
        self._names = 0
        self._fifos: dict[str, str] = {}  # name -> memref type of its objects
        self._functions: dict[str, tuple[str, ...]] = {}  # name -> types of its parameters
        self._arguments: dict[str, str] = {}  # of the runtime sequence: name -> memref type
        self._words: dict[tuple[int, ...], Value] = {}  # that the sequence writes, and what it calls them
        self._words_at = 0  # the line where their globals go

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def line(self, text: str) -> None:
        self._lines.append("  " * self._depth + text)

    def section(self, title: str) -> None:
        self._lines.append("")
        self.line(f"// {title}")

    @contextmanager
    def block(self, head: str, end: str = "}") -> Iterator[None]:
        self.line(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line(end)

    # array

    @contextmanager
    def device(self, name: str) -> Iterator[None]:
        """name: as Target.device gives it."""
        with self.block("module"), self.block(f"aie.device({name})"):
            yield

    def function(self, name: str, types: Sequence[str], link_with: str) -> None:
        """Declare a core function. types: of its parameters. link_with: the object that holds it."""
        self._functions[name] = tuple(types)
        self.line(f'func.func private @{name}({", ".join(types)}) attributes {{link_with = "{link_with}"}}')

    def tiles(self, places: Iterable[Place]) -> None:
        for place in places:
            self.line(f"{tile(place)} = aie.tile({place[0]}, {place[1]})")

    def buffer(self, name: str, place: Place, shape: tuple[int, ...], dtype: str) -> Value:
        """Memory of a tile that belongs to no fifo; the runtime sequence calls it `name`."""
        value = Value(f"%{name}", memref(shape, dtype))
        self.line(f'{value.name} = aie.buffer({tile(place)}) {{sym_name = "{name}"}} : {value.type}')
        return value

    def fifo(
        self,
        name: str,
        producer: Place,
        consumers: Sequence[Place],
        depth: int,
        shape: tuple[int, ...],
        dtype: str,
        to_stream: Dims = (),
        from_stream: Dims = (),
    ) -> None:
        """to_stream: the order in which the producer reads an object. from_stream: in which consumers write.

        () where it is the order in which the object lies.
        """
        self._fifos[name] = memref(shape, dtype)
        read, written = _order("dimensionsToStream", to_stream), _order("dimensionsFromStream", from_stream)
        receivers = ", ".join(f"{tile(place)}{written}" for place in consumers)
        self.line(
            f"aie.objectfifo @{name}({tile(producer)}{read}, {{{receivers}}}, {depth} : i32) "
            f": !aie.objectfifo<{self._fifos[name]}>"
        )

    def link(self, inputs: Sequence[str], outputs: Sequence[str], offsets: Sequence[int] = ()) -> None:
        """offsets: of the joined inputs or the split outputs, in elements of the whole object."""

        def names(fifos: Sequence[str]) -> str:
            return ", ".join(f"@{fifo}" for fifo in fifos)

        joins = offsets if len(inputs) > 1 else ()
        splits = offsets if len(outputs) > 1 else ()
        self.line(
            f"aie.objectfifo.link [{names(inputs)}] -> [{names(outputs)}]({list(joins)} {list(splits)})"
        )

    # cores

    @contextmanager
    def core(
        self,
        place: Place,
        stack_bytes: int,
        constants: Mapping[str, int] | None = None,
        *,
        loads_bounds: bool = False,
    ) -> Iterator[None]:
        """A core that does its task forever. It has %c0, %c1, and `constants` (name with %: value) as well.

        loads_bounds: whether a loop around fifos ends where a buffer says.
        """
        dynamic = "dynamic_objfifo_lowering = true, " if loads_bounds else ""
        end = f"}} {{{dynamic}stack_size = {stack_bytes} : i32}}"
        self._names = 0
        with self.block(f"%core_{place[0]}_{place[1]} = aie.core({tile(place)})", end):
            for name, value in {"%c0": 0, "%c1": 1, "%forever": FOREVER, **(constants or {})}.items():
                self.line(f"{name} = arith.constant {value} : index")
            with self.loop("%round", "%c0", "%forever"):
                yield
            self.line("aie.end")

    @contextmanager
    def loop(self, variable: str, start: str, end: str) -> Iterator[None]:
        with self.block(f"scf.for {variable} = {start} to {end} step %c1"):
            yield

    def load(self, result: str, buffer: Value, index: str = "%c0") -> Value:
        """An element of a buffer of i32."""
        self.line(f"{result} = memref.load {buffer.name}[{index}] : {buffer.type}")
        return Value(result, "i32")

    def load_index(self, result: str, buffer: Value, index: str = "%c0") -> Value:
        """The same as an index, called `result`. Returns it as i32."""
        number = self.load(f"{result}_i32", buffer, index)
        self.line(f"{result} = arith.index_cast {number.name} : i32 to index")
        return number

    def as_i32(self, index: str) -> Value:
        """An index, for a function that takes it by value."""
        self.line(f"{index}_i32 = arith.index_cast {index} : index to i32")
        return Value(f"{index}_i32", "i32")

    def number(self, result: str, value: int) -> Value:
        """The same of a number that the design knows."""
        self.line(f"{result} = arith.constant {value} : i32")
        return Value(result, "i32")

    def acquire(self, fifo: str, port: str) -> Value:
        object, type = f"%tile{self._names}", self._fifos[fifo]
        self._names += 1
        if self._toolchain.acquire is Acquire.OBJECT:
            self.line(f"{object} = aie.objectfifo.acquire @{fifo}({port}, 1) : {type}")
        else:
            view, subview = subview_of(object), f"!aie.objectfifosubview<{type}>"
            self.line(f"{view} = aie.objectfifo.acquire @{fifo}({port}, 1) : {subview}")
            self.line(f"{object} = aie.objectfifo.subview.access {view}[0] : {subview} -> {type}")
        return Value(object, type)

    def release(self, fifo: str, port: str) -> None:
        self.line(f"aie.objectfifo.release @{fifo}({port}, 1)")

    def call(self, function: str, *arguments: Value) -> None:
        names = ", ".join(argument.name for argument in arguments)
        types = tuple(argument.type for argument in arguments)
        assert self._functions[function] == types, (function, types)
        self.line(f"func.call @{function}({names}) : ({', '.join(types)}) -> ()")

    # DRAM

    @contextmanager
    def sequence(self, arguments: Sequence[Argument]) -> Iterator[None]:
        """The runtime sequence, on host arrays as a contract names them."""
        self._arguments = {a.name: memref((a.elements,), a.dtype.value) for a in arguments}
        heads = ", ".join(f"%{name}: {type}" for name, type in self._arguments.items())
        self._words_at = len(self._lines)
        with self.block(f"aie.runtime_sequence @sequence({heads})"):
            yield

    def dma(
        self, argument: str, offset: int, dims: Dims, descriptor: int, fifo: str, *, token: bool = False
    ) -> None:
        """Move part of a host array through a fifo; `token` lets the sequence wait for it."""
        sizes = ", ".join(str(size) for size, _ in dims)
        strides = ", ".join(str(stride) for _, stride in dims)
        issue = ", issue_token = true" if token else ""
        self.line(
            f"aiex.npu.dma_memcpy_nd(%{argument}[0, 0, 0, {offset}][{sizes}][{strides}]) "
            f"{{id = {descriptor} : i64, metadata = @{fifo}{issue}}} : {self._arguments[argument]}"
        )

    def wait(self, fifo: str) -> None:
        self.line(f"aiex.npu.dma_wait {{symbol = @{fifo}}}")

    def waits(self, fifos: Iterable[str]) -> None:
        for fifo in fifos:
            self.wait(fifo)

    def write(self, buffer: str, first: int, *words: int) -> None:
        """Put numbers of 32 bits into a core's buffer of i32, by its name, from element `first` on.

        All generations read `blockwrite` alike, not so `rtp_write`. Its data is a global of the device, but
        nothing that configures the array. Its address counts 32-bit words from the buffer's start (mlir-aie,
        test/Conversion/DmaToNpu/dma_to_npu.mlir: 100 in a buffer at byte 1,024 is byte 1,424 of the tile).
        """
        if words not in self._words:
            self._words[words] = self._global(words)
        data = self._words[words]
        self.line(
            f"aiex.npu.blockwrite({data.name}) {{address = {first} : ui32, buffer = @{buffer}}} : {data.type}"
        )

    def _global(self, words: tuple[int, ...]) -> Value:
        number, type = len(self._words), memref((len(words),), "i32")
        values = f"[{', '.join(map(str, words))}]" if len(words) > 1 else str(words[0])
        in_device = "  " * (self._depth - 1)
        self._lines.insert(
            self._words_at + number,
            f'{in_device}memref.global "private" constant @words_{number} : {type} = dense<{values}>',
        )
        self.line(f"%words_{number} = memref.get_global @words_{number} : {type}")
        return Value(f"%words_{number}", type)
