"""A design's MLIR text to data.

Knows the operations that our designs need, in the spelling of every generation of mlir-aie
(kernels/toolchain.py), and refuses every other: what is not understood cannot be verified. A text that no
single generation reads is refused too. Whatever the spelling, the data is the same. Like MLIR's own parser it
checks that each SSA name is defined before its use, once, and has the type that its use says.

A text may be anybody's, so its size and depth have limits: none that an array of this size comes near, and
such that whatever is within them is judged in seconds and in a few hundred MB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple, TypeVar

from whisper_npu.errors import LONGEST_QUOTE, quoted, shown
from whisper_npu.kernels.toolchain import GENERATIONS, Generation, RtpWrite, subview_of
from whisper_npu.kernels.toolchain import Acquire as AcquireForm
from whisper_npu.kernels.verifier.design import (
    CONSUME,
    ELEMENT_BYTES,
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
    Dims,
    For,
    Function,
    If,
    Link,
    Load,
    LocalBuffer,
    Memcpy,
    MemRef,
    ObjectFifo,
    Release,
    RuntimeSequence,
    SequenceOp,
    Tile,
    Wait,
    WriteParameter,
)
from whisper_npu.kernels.verifier.errors import DesignError

ARITHMETIC = ("addi", "subi", "muli", "divui", "remui", "divsi", "remsi")
PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")

MAX_CHARACTERS = 2**20  # of a text; the longest of our generators has a tenth
MAX_TOKEN = 200  # characters of a name, a string or a type
MAX_DEPTH = 32  # bodies inside each other
MAX_DECLARATIONS = 2_000  # operations of the device: tiles, fifos, links, functions, buffers, cores
MAX_ITEMS = 64  # of a list: a link's fifos, a call's arguments, an order's dimensions
MAX_WORDS = 2**16  # of a dense list, and in all that a sequence writes: four times a core's memory
MAX_RANK = 8  # of a memref
MAX_BYTES = 2**32  # of a memref: its offsets are 32 bits (mlir-aie, AIEX.td, NpuAddressPatchOp's arg_plus)
BITS_OF = {"index": 64, "i32": 32}

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
      | (?P<memref>memref<[^<>]*>)
      | (?P<string>"[^"\n]*")
      | (?P<value>%[\w.$]+)
      | (?P<symbol>@[\w.$]+)
      | (?P<word>!?[A-Za-z_][\w.$]*)
      | (?P<number>-?\d+)
      | (?P<mark>->|[][(){}<>=:,])
      | (?P<unknown>.)""",
    re.VERBOSE | re.ASCII,
)

Attribute = int | str | bool | tuple[int, ...]
Item = TypeVar("Item")


@lru_cache(maxsize=2)  # the declared functions are wanted first, and then all of it
def parse(text: str) -> Design:
    """The design that `text` holds. Raises DesignError with the line's number and the line."""
    if len(text) > MAX_CHARACTERS:
        raise DesignError(f"line 1: a text of {len(text):,} characters, at most {MAX_CHARACTERS:,} are read")
    return _Parser(text).design()


class _Token(NamedTuple):  # made by the ten thousand: a dataclass takes three times as long
    kind: str
    text: str
    start: int


class _Parser:
    """Recursive descent, one method per construct."""

    def __init__(self, text: str) -> None:
        self.source = text
        self.rest = self._tokens()
        self.next = self.last = next(self.rest)
        self.scopes: list[dict[str, str]] = [{}]  # SSA name -> type
        self.tiles: dict[str, Tile] = {}
        self.fifos: list[ObjectFifo] = []
        self.links: list[Link] = []
        self.functions: list[Function] = []
        self.buffers: list[LocalBuffer] = []
        self.cores: list[Core] = []
        self.sequences: list[RuntimeSequence] = []
        self.globals: dict[str, tuple[MemRef, tuple[int, ...]]] = {}  # by name: words for the sequence
        self.data: dict[str, str] = {}  # SSA name -> global
        self.spellings: list[tuple[str, tuple[Generation, ...]]] = []  # met so far, and who reads each
        self.depth = 0  # bodies that it is in
        self.declared = 0  # operations of the device
        self.written = 0  # words, by the sequence

    # ------------------------------------------------------------------------------------------ tokens

    def _tokens(self) -> Iterator[_Token]:
        for match in TOKEN.finditer(self.source):
            kind, text = str(match.lastgroup), match.group()
            if kind == "skip":
                continue
            if kind == "unknown":
                raise self.error_at(match.start(), f"unexpected {text!r}")
            if len(text) > MAX_TOKEN:
                what = f"a {kind} of {len(text):,} characters, at most {MAX_TOKEN} are read"
                raise self.error_at(match.start(), what)
            if not text.isprintable():
                raise self.error_at(match.start(), f"a {kind} that cannot be printed")
            yield _Token(kind, text, match.start())
        yield _Token("end", "end of text", len(self.source))

    def error_at(self, start: int, problem: str) -> DesignError:
        number = self.source.count("\n", 0, start) + 1
        begin = self.source.rfind("\n", 0, start) + 1
        end = self.source.find("\n", begin)
        # Long lines say nothing in whole: what stands where the problem is does.
        begin = max(begin, start - LONGEST_QUOTE // 2)
        line = self.source[begin : len(self.source) if end < 0 else end][:LONGEST_QUOTE]
        return DesignError(f"line {number}: {problem}: {shown(line.strip())}")

    def error(self, problem: str) -> DesignError:
        """At the token read last."""
        return self.error_at(self.last.start, problem)

    def take(self) -> _Token:
        token = self.next
        if token.kind != "end":
            self.last, self.next = token, next(self.rest)
        return token

    def kind(self, kind: str) -> str:
        token = self.take()
        if token.kind != kind:
            raise self.error_at(token.start, f"expected a {kind}, found {token.text!r}")
        return token.text

    def expect(self, *texts: str) -> None:
        for text in texts:
            token = self.take()
            if token.text != text:
                raise self.error_at(token.start, f"expected {text!r}, found {token.text!r}")

    def accept(self, text: str) -> bool:
        found = self.next.text == text
        if found:
            self.take()
        return found

    def one_of(self, kind: str, known: tuple[str, ...]) -> str:
        text = self.kind(kind)
        if text not in known:
            raise self.error(f"{text!r} is none of {', '.join(known)}")
        return text

    def number(self, bits: int = 64) -> int:
        """A signed one of so many bits."""
        return self.whole(self.kind("number"), bits)

    def whole(self, text: str, bits: int = 64) -> int:
        value = int(text)
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise self.error(f"{quoted(value)} is no signed number of {bits} bits")
        return value

    def symbol(self) -> str:
        return self.kind("symbol")[1:]

    def items(
        self, opening: str, item: Callable[[], Item], closing: str, most: int = MAX_ITEMS
    ) -> tuple[Item, ...]:
        self.expect(opening)
        found: list[Item] = []
        while not self.accept(closing):
            if found:
                self.expect(",")
            if len(found) == most:
                raise self.error(f"more than {most:,} in one list")
            found.append(item())
        return tuple(found)

    # --------------------------------------------------------------------------------- types, attributes

    def memref(self) -> MemRef:
        text = self.kind("memref")
        match = re.fullmatch(r"memref<((?:[1-9][0-9]*x)+)(\w+)>", text.replace(" ", ""))
        if match is None or match.group(2) not in ELEMENT_BYTES:
            raise self.error(f"{text} is no static memref of {', '.join(ELEMENT_BYTES)}")
        memref = MemRef(tuple(int(size) for size in match.group(1).split("x")[:-1]), match.group(2))
        if len(memref.shape) > MAX_RANK:
            raise self.error(f"{text} has {len(memref.shape)} dimensions, at most {MAX_RANK} are read")
        if memref.nbytes >= MAX_BYTES:
            raise self.error(
                f"{text} is larger than {MAX_BYTES - 1:,} bytes, which is all that can be reached"
            )
        return memref

    def parameter_type(self) -> MemRef:
        """A buffer, or a number by value."""
        return MemRef((), "i32") if self.accept("i32") else self.memref()

    def wrapped_memref(self, wrapper: str) -> MemRef:
        self.expect(wrapper, "<")
        memref = self.memref()
        self.expect(">")
        return memref

    def sized(self, type_name: str) -> int:
        """`2 : i32`."""
        value = self.number()
        self.expect(":", type_name)
        return value

    def attributes(self, *known: str) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        self.expect("{")
        while not self.accept("}"):
            if found:
                self.expect(",")
            key = self.one_of("word", known)
            if key in found:
                raise self.error(f"{key} is given twice")
            self.expect("=")
            found[key] = self.attribute()
        return found

    def attribute(self) -> Attribute:
        token = self.take()
        if token.kind == "string":
            return token.text[1:-1]
        if token.kind == "symbol":
            return token.text[1:]
        if token.text in ("true", "false"):
            return token.text == "true"
        if token.text == "dense":
            return self.dense()
        if token.kind != "number":
            raise self.error(f"{token.text!r} is no attribute known here")
        if self.accept(":"):
            self.one_of("word", ("i32", "i64", "ui32"))
        return self.whole(token.text)

    def dense(self) -> tuple[int, ...]:
        self.expect("<")
        several = self.next.text == "["
        values = self.items("[", self.word, "]", MAX_WORDS) if several else (self.word(),)
        self.expect(">")
        if self.accept(":"):
            self.memref()
        return values

    def word(self) -> int:
        return self.number(BITS_OF["i32"])

    def integer(self, attributes: dict[str, Attribute], key: str) -> int:
        value = attributes.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(f"{key} must be an integer")
        return value

    def text(self, attributes: dict[str, Attribute], key: str) -> str:
        value = attributes.get(key)
        if not isinstance(value, str):
            raise self.error(f"{key} must be a name")
        return value

    def flag(self, attributes: dict[str, Attribute], key: str) -> bool:
        value = attributes.get(key, False)
        if not isinstance(value, bool):
            raise self.error(f"{key} must be true or false")
        return value

    # ---------------------------------------------------------------------------------------- SSA names

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.scopes.append({})
        yield
        self.scopes.pop()

    def define(self, name: str, type_name: str) -> str:
        if any(name in scope for scope in self.scopes):
            raise self.error(f"{name} is defined twice")
        self.scopes[-1][name] = type_name
        return name

    def type_of(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise self.error(f"{name} is not defined")

    def value(self, type_name: str) -> str:
        """The name of an SSA value of that type."""
        name = self.kind("value")
        self.check_type(name, type_name)
        return name

    def check_type(self, name: str, type_name: str) -> None:
        if self.type_of(name) != type_name:
            raise self.error(f"{name} is {self.type_of(name)}, not {type_name}")

    def tile(self) -> Tile:
        return self.tiles[self.value("tile")]

    # ------------------------------------------------------------------------------------------- device

    def design(self) -> Design:
        self.expect("module")
        if self.next.kind == "symbol":
            self.take()
        self.expect("{", "aie.device", "(")
        device = self.kind("word")
        self.expect(")")
        if self.next.kind == "symbol":
            self.take()
        self.expect("{")
        while not self.accept("}"):
            self.device_op()
        self.expect("}")
        if self.next.kind != "end":
            self.take()
            raise self.error("text after the module")
        if len(self.sequences) != 1:
            raise self.error(f"a design has 1 aie.runtime_sequence, this has {len(self.sequences)}")
        return Design(
            device,
            tuple(self.tiles.values()),
            tuple(self.fifos),
            tuple(self.links),
            tuple(self.functions),
            tuple(self.buffers),
            tuple(self.cores),
            self.sequences[0],
        )

    def result(self) -> str:
        """`%name =`, not defined yet: its type is known when the operation is."""
        name = self.kind("value")
        self.expect("=")
        return name

    def device_op(self) -> None:
        self.declared += 1
        if self.declared > MAX_DECLARATIONS:
            raise self.error(f"more than {MAX_DECLARATIONS:,} operations of the device")
        result = self.result() if self.next.kind == "value" else ""
        operation = self.kind("word")
        with_result = {"aie.tile": self.tile_op, "aie.buffer": self.buffer_op, "aie.core": self.core_op}
        without = {
            "func.func": self.function_op,
            "aie.objectfifo": self.fifo_op,
            "aie.objectfifo.link": self.link_op,
            "memref.global": self.global_op,
            "aie.runtime_sequence": self.sequence_op,
        }
        if operation in with_result and result:
            with_result[operation](result)
        elif operation in without and not result:
            without[operation]()
        else:
            raise self.error(f"unknown operation {operation!r}")

    def tile_op(self, result: str) -> None:
        self.expect("(")
        col = self.number()
        self.expect(",")
        row = self.number()
        self.expect(")")
        if col < 0 or row < 0:
            raise self.error(f"there is no tile ({col},{row})")
        self.tiles[self.define(result, "tile")] = Tile(result[1:], col, row)

    def buffer_op(self, result: str) -> None:
        self.expect("(")
        tile = self.tile()
        self.expect(")")
        attributes = self.attributes("sym_name", "initial_value")
        self.expect(":")
        memref = self.memref()
        initial = attributes.get("initial_value")
        if self.accept("="):
            self.expect("dense")
            initial = self.dense()
        if initial is not None and not isinstance(initial, tuple):
            raise self.error("initial_value must be dense<...>")
        if initial is not None and len(initial) not in (1, memref.elements):
            raise self.error(f"{len(initial)} initial values for {memref}")
        self.define(result, str(memref))
        self.buffers.append(LocalBuffer(self.text(attributes, "sym_name"), result, tile, memref, initial))

    def global_op(self) -> None:
        """Constant words of the device, for `blockwrite`."""
        self.expect('"private"', "constant")
        name = self.symbol()
        self.expect(":")
        memref = self.memref()
        self.expect("=", "dense")
        values = self.dense()
        if name in self.globals:
            raise self.error(f"@{name} is defined twice")
        if memref.dtype != "i32" or len(memref.shape) != 1:
            raise self.error(f"@{name} is {memref}, only rows of i32 can be written")
        if len(values) not in (1, memref.elements):
            raise self.error(f"{len(values)} values for {memref}")
        if memref.elements > MAX_WORDS:
            raise self.error(f"@{name} is {memref}, at most {MAX_WORDS:,} words are written")
        self.globals[name] = memref, values if len(values) == memref.elements else values * memref.elements

    def function_op(self) -> None:
        self.expect("private")
        name = self.symbol()
        memrefs = self.items("(", self.parameter_type, ")")
        attributes = self.attributes("link_with") if self.accept("attributes") else {}
        link_with = self.text(attributes, "link_with") if attributes else None
        self.functions.append(Function(name, memrefs, link_with))

    def dims(self) -> Dims:
        return self.items("[", self.dim, "]")

    def dim(self) -> tuple[int, int]:
        self.expect("<", "size", "=")
        size = self.number()
        self.expect(",", "stride", "=")
        stride = self.number()
        self.expect(">")
        return size, stride

    def fifo_op(self) -> None:
        name = self.symbol()
        self.expect("(")
        producer = self.tile()
        to_stream = self.dims() if self.accept("dimensionsToStream") else ()
        self.expect(",")
        consumers = self.items("{", self.consumer, "}")
        self.expect(",")
        depth: int | tuple[int, ...]
        if self.next.text == "[":
            depth = self.items("[", lambda: self.sized("i32"), "]")
            if len(depth) != 1 + len(consumers):
                raise self.error(f"{len(depth)} depths for a producer and {len(consumers)} consumers")
        else:
            depth = self.sized("i32")
        self.expect(")", ":")
        memref = self.wrapped_memref("!aie.objectfifo")
        tiles = tuple(tile for tile, _ in consumers)
        from_stream = tuple(dims for _, dims in consumers)
        self.fifos.append(ObjectFifo(name, producer, tiles, depth, memref, to_stream, from_stream))

    def consumer(self) -> tuple[Tile, Dims]:
        tile = self.tile()
        return tile, self.dims() if self.accept("dimensionsFromStream") else ()

    def link_op(self) -> None:
        inputs = self.items("[", self.symbol, "]")
        self.expect("->")
        outputs = self.items("[", self.symbol, "]")
        self.expect("(")
        in_offsets = self.items("[", self.number, "]")
        out_offsets = self.items("[", self.number, "]")
        self.expect(")")
        self.links.append(Link(inputs, outputs, in_offsets, out_offsets))

    # --------------------------------------------------------------------------------------------- cores

    def core_op(self, result: str) -> None:
        self.expect("(")
        tile = self.tile()
        self.expect(")", "{")
        body: list[CoreOp] = []
        with self.scope():
            while not self.accept("aie.end"):
                body.extend(self.core_body_op())
        self.expect("}")
        attributes: dict[str, Attribute] = {}
        if self.next.text == "{":
            attributes = self.attributes("stack_size", "link_with", "dynamic_objfifo_lowering")
        stack = self.integer(attributes, "stack_size") if "stack_size" in attributes else None
        link_with = self.text(attributes, "link_with") if "link_with" in attributes else None
        self.define(result, "core")
        dynamic = self.flag(attributes, "dynamic_objfifo_lowering")
        self.cores.append(Core(tile, tuple(body), stack, link_with, dynamic))

    def block(self) -> tuple[CoreOp, ...]:
        self.expect("{")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} bodies inside each other")
        body: list[CoreOp] = []
        with self.scope():
            while not self.accept("}"):
                body.extend(self.core_body_op())
        self.depth -= 1
        return tuple(body)

    def core_body_op(self) -> tuple[CoreOp, ...]:
        """One operation; two for an acquire that gives the object itself."""
        result = self.result() if self.next.kind == "value" else ""
        operation = self.kind("word")
        with_result: dict[str, Callable[[str], CoreOp]] = {
            "arith.constant": self.constant_op,
            "arith.cmpi": self.compare_op,
            "arith.index_cast": self.cast_op,
            "memref.load": self.load_op,
            "aie.objectfifo.subview.access": self.access_op,
        }
        without: dict[str, Callable[[], CoreOp]] = {
            "aie.objectfifo.release": self.release_op,
            "func.call": self.call_op,
            "scf.for": self.for_op,
            "scf.if": self.if_op,
        }
        dialect, _, name = operation.partition(".")
        if result and operation == "aie.objectfifo.acquire":
            return self.acquire_op(result)
        if result and dialect == "arith" and name in ARITHMETIC:
            return (self.arithmetic_op(result, name),)
        if result and operation in with_result:
            return (with_result[operation](result),)
        if not result and operation in without:
            return (without[operation](),)
        raise self.error(f"unknown operation {operation!r}")

    def constant_op(self, result: str) -> Constant:
        digits = self.kind("number")
        self.expect(":")
        type_name = self.one_of("word", ("index", "i32"))
        return Constant(self.define(result, type_name), self.whole(digits, BITS_OF[type_name]))

    def operands(self) -> tuple[str, str, str]:
        """Two names and their type."""
        left = self.kind("value")
        self.expect(",")
        right = self.kind("value")
        self.expect(":")
        type_name = self.one_of("word", ("index", "i32"))
        self.check_type(left, type_name)
        self.check_type(right, type_name)
        return left, right, type_name

    def arithmetic_op(self, result: str, operation: str) -> Arithmetic:
        left, right, type_name = self.operands()
        return Arithmetic(self.define(result, type_name), operation, left, right, BITS_OF[type_name])

    def compare_op(self, result: str) -> Arithmetic:
        predicate = self.one_of("word", PREDICATES)
        self.expect(",")
        left, right, type_name = self.operands()
        return Arithmetic(self.define(result, "i1"), f"cmpi {predicate}", left, right, BITS_OF[type_name])

    def cast_op(self, result: str) -> Cast:
        value = self.kind("value")
        self.expect(":")
        source = self.one_of("word", ("index", "i32"))
        self.check_type(value, source)
        to = "index" if source == "i32" else "i32"
        self.expect("to", to)
        return Cast(self.define(result, to), value, BITS_OF[to])

    def load_op(self, result: str) -> Load:
        buffer = self.kind("value")
        indices = self.items("[", lambda: self.value("index"), "]")
        self.expect(":")
        memref = self.memref()
        self.check_type(buffer, str(memref))
        if all(local.value != buffer for local in self.buffers) or memref.dtype != "i32":
            raise self.error(f"{buffer} is no aie.buffer of i32, only those are loaded from")
        if len(indices) != len(memref.shape):
            raise self.error(f"{len(indices)} indices into {memref}")
        return Load(self.define(result, "i32"), buffer, indices)

    def port(self) -> tuple[str, str, int]:
        """`@fifo(Consume, 1)`."""
        fifo = self.symbol()
        self.expect("(")
        role = self.one_of("word", (PRODUCE, CONSUME))
        self.expect(",")
        count = self.number()
        self.expect(")")
        if count < 1:
            raise self.error(f"{count} objects of {fifo}")
        return fifo, role, count

    def acquire_op(self, result: str) -> tuple[CoreOp, ...]:
        fifo, role, count = self.port()
        self.expect(":")
        if self.next.kind != "memref":
            memref = self.wrapped_memref("!aie.objectfifosubview")
            self.read_by("an acquire of a subview", "acquire", AcquireForm.SUBVIEW)
            return (Acquire(self.define(result, f"{count} of {memref}"), fifo, role, count, memref),)
        memref = self.memref()
        self.read_by("an acquire of the object", "acquire", AcquireForm.OBJECT)
        if count != 1:
            raise self.error(f"{count} objects of {fifo} at once: an acquire of the object takes 1")
        subview = subview_of(result)
        return (
            Acquire(self.define(subview, f"1 of {memref}"), fifo, role, 1, memref),
            Access(self.define(result, str(memref)), subview, 0),
        )

    def read_by(self, spelling: str, field: str, form: AcquireForm | RtpWrite) -> None:
        """Note a spelling that only some generations read. Raises DesignError where none reads this text."""
        readers = tuple(g for g in GENERATIONS.values() if getattr(g, field) is form)
        for earlier, its_readers in self.spellings:
            if not set(readers) & set(its_readers):
                raise self.error(
                    f"{spelling} is for {names_of(readers)}, {earlier} before it for "
                    f"{names_of(its_readers)}: no toolchain reads both"
                )
        if all(spelling != earlier for earlier, _ in self.spellings):
            self.spellings.append((spelling, readers))

    def access_op(self, result: str) -> Access:
        subview = self.kind("value")
        (index,) = self.items("[", self.number, "]")
        self.expect(":")
        memref = self.wrapped_memref("!aie.objectfifosubview")
        self.expect("->")
        if self.memref() != memref:
            raise self.error(f"an object of a subview of {memref} has that type")
        count, _, type_name = self.type_of(subview).partition(" of ")
        if type_name != str(memref):
            raise self.error(f"{subview} is {self.type_of(subview)}, not of {memref}")
        if not 0 <= index < int(count):
            raise self.error(f"{subview} has {count} objects, there is no [{index}]")
        return Access(self.define(result, str(memref)), subview, index)

    def release_op(self) -> Release:
        return Release(*self.port())

    def call_op(self) -> Call:
        function = self.symbol()
        arguments = self.items("(", lambda: self.kind("value"), ")")
        self.expect(":")
        memrefs = self.items("(", self.parameter_type, ")")
        self.expect("->", "(", ")")
        if len(arguments) != len(memrefs):
            raise self.error(f"{len(arguments)} arguments, {len(memrefs)} types")
        for argument, memref in zip(arguments, memrefs, strict=True):
            self.check_type(argument, str(memref))
        return Call(function, arguments, memrefs)

    def for_op(self) -> For:
        variable = self.kind("value")
        self.expect("=")
        lower = self.value("index")
        self.expect("to")
        upper = self.value("index")
        self.expect("step")
        step = self.value("index")
        with self.scope():
            self.define(variable, "index")
            return For(variable, lower, upper, step, self.block())

    def if_op(self) -> If:
        condition = self.value("i1")
        then = self.block()
        return If(condition, then, self.block() if self.accept("else") else ())

    # ---------------------------------------------------------------------------------- runtime sequence

    def sequence_op(self) -> None:
        if self.next.kind == "symbol":
            self.take()
        with self.scope():
            arguments = self.items("(", self.argument, ")")
            self.expect("{")
            constants: dict[str, int] = {}
            ops: list[SequenceOp] = []
            while not self.accept("}"):
                if self.next.kind == "value":
                    self.sequence_value(constants)
                else:
                    ops.extend(self.sequence_body_op(constants))
        self.sequences.append(RuntimeSequence(arguments, tuple(ops)))

    def argument(self) -> tuple[str, MemRef]:
        name = self.kind("value")
        self.expect(":")
        memref = self.memref()
        return self.define(name, str(memref))[1:], memref

    def sequence_value(self, constants: dict[str, int]) -> None:
        result = self.result()
        operation = self.one_of("word", ("arith.constant", "memref.get_global"))
        if operation == "arith.constant":
            constant = self.constant_op(result)
            constants[constant.result] = constant.value
            return
        name = self.symbol()
        self.expect(":")
        memref = self.memref()
        if name not in self.globals:
            raise self.error(f"there is no memref.global @{name} before")
        if self.globals[name][0] != memref:
            raise self.error(f"@{name} is {self.globals[name][0]}, not {memref}")
        self.data[self.define(result, str(memref))] = name

    def sequence_body_op(self, constants: dict[str, int]) -> tuple[SequenceOp, ...]:
        """One operation; a WriteParameter for each word of a blockwrite."""
        operation = self.kind("word")
        if operation == "aiex.npu.dma_memcpy_nd":
            return (self.memcpy_op(),)
        if operation == "aiex.npu.dma_wait":
            return (Wait(self.text(self.attributes("symbol"), "symbol")),)
        if operation == "aiex.npu.rtp_write":
            return (self.write_op(constants),)
        if operation == "aiex.npu.blockwrite":
            return self.blockwrite_op()
        raise self.error(f"unknown operation {operation!r}")

    def memcpy_op(self) -> Memcpy:
        self.expect("(")
        argument = self.kind("value")
        offsets, sizes, strides = (self.items("[", self.number, "]") for _ in range(3))
        if not len(offsets) == len(sizes) == len(strides) == 4:
            raise self.error("a shim transfer has 4 offsets, sizes and strides")
        if min(sizes) < 1 or min(strides) < 0 or min(offsets) < 0:
            raise self.error("a shim transfer has sizes from 1, strides and offsets from 0")
        self.expect(")")
        attributes = self.attributes("id", "metadata", "issue_token")
        self.expect(":")
        memref = self.memref()
        self.check_type(argument, str(memref))
        return Memcpy(
            argument[1:],
            offsets,
            sizes,
            strides,
            self.integer(attributes, "id"),
            self.text(attributes, "metadata"),
            self.flag(attributes, "issue_token"),
            memref,
        )

    def blockwrite_op(self) -> tuple[WriteParameter, ...]:
        """`(%data) {address = word, buffer = @buffer} : type`: the words of a global into a buffer of i32."""
        self.expect("(")
        data = self.kind("value")
        self.expect(")")
        attributes = self.attributes("address", "buffer")
        self.expect(":")
        self.check_type(data, str(self.memref()))
        if data not in self.data:
            raise self.error(f"{data} is no memref.get_global, only those are written")
        if "buffer" not in attributes:
            raise self.error("a blockwrite without a buffer writes to registers, which is not understood")
        first = self.integer(attributes, "address")
        buffer, (_, words) = self.text(attributes, "buffer"), self.globals[self.data[data]]
        self.writes(len(words))
        return tuple(WriteParameter(buffer, first + index, word) for index, word in enumerate(words))

    def writes(self, words: int) -> None:
        self.written += words
        if self.written > MAX_WORDS:
            raise self.error(f"the sequence writes more than {MAX_WORDS:,} words")

    def write_op(self, constants: dict[str, int]) -> WriteParameter:
        """`(@buffer, index, number)`, or `(@buffer, index, %number) : i32`."""
        self.writes(1)
        self.expect("(")
        buffer = self.symbol()
        self.expect(",")
        index = self.number()
        self.expect(",")
        if self.next.kind != "value":
            value = self.word()
            self.read_by("an rtp_write of a number", "rtp_write", RtpWrite.LITERAL)
            self.expect(")")
            return WriteParameter(buffer, index, value)
        name = self.value("i32")
        if name not in constants:
            raise self.error(f"{name} is no arith.constant of the sequence")
        self.read_by("an rtp_write of an SSA value", "rtp_write", RtpWrite.SSA_VALUE)
        self.expect(")", ":", "i32")
        return WriteParameter(buffer, index, constants[name])


def names_of(generations: Iterable[Generation]) -> str:
    return " and ".join(generation.name for generation in generations)
