"""Stand-ins that are a design's own text: who plays the NPU runs the verifier on the bytes of the bos.

Those of stand_in_kernels.py compute what a contract promises; so the host that writes bos by the contract is
always right with them. These do what the design says: which bytes of which argument it reads and writes, in
which order, how often. NAME.xclbin holds the array's part of the text, NAME.insts.bin the rest, the runtime
sequence. A sequence therefore meets the array that its context has loaded, as on an NPU, whether the two
belong together or not.

Each dispatch finds the array as it is after loading.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tests.support.stand_in_kernels import Argument, Memory
from whisper_npu.dtypes import DType
from whisper_npu.errors import WhisperNpuError
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import array_part
from whisper_npu.kernels.verifier import Design, Functions, check_wiring, execute, parse
from whisper_npu.kernels.verifier.core_functions import NoCompilerError, compiled, in_numpy
from whisper_npu.kernels.verifier.design import Memcpy
from whisper_npu.kernels.verifier.memory import DTYPES
from whisper_npu.npu.targets import NPU1, Target
from whisper_npu.ops import Direction

MARK = b"// text of a design\n"  # with which both files begin; tests/xrt/amdxdna_stub.c knows it too
PAGE, WORD = 4096, 4
TARGET = NPU1  # what the fake and the stub say that they are


@dataclass(frozen=True)
class InText:
    """What one dispatch does by its text; as stand_in_kernels.Instructions to those who play the NPU."""

    design: Design
    functions: Functions
    target: Target

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """A shim's channel out of the array writes; the sequence says which argument.

        What is read as well is a workspace, unless it is the last: behind a result a dispatch may keep more.
        """
        copies = [op for op in self.design.sequence.ops if isinstance(op, Memcpy)]
        written = {op.argument for op in copies if self.design.fifo(op.fifo).producer.kind != "shim"}
        read = {op.argument for op in copies if self.design.fifo(op.fifo).producer.kind == "shim"}
        *_, (last, _) = self.design.sequence.arguments

        def direction(name: str) -> Direction:
            if name not in written:
                return Direction.IN
            return Direction.INOUT if name in read and name != last else Direction.OUT

        return tuple(
            Argument(memref.elements, DType(memref.dtype), direction(name))
            for name, memref in self.design.sequence.arguments
        )

    def compute(self, *memories: Memory) -> None:
        """Execute it on these bytes, in the order of the arguments.

        Raises DesignError and CoreFunctionError where that cannot be: an NPU would hang, or move what it
        should not.
        """
        arguments = [
            memory[: memref.nbytes].view(DTYPES[memref.dtype])
            for memory, (_, memref) in zip(memories, self.design.sequence.arguments, strict=True)
        ]
        with np.errstate(all="ignore"):  # memory that nobody wrote holds signalling NaNs, too
            execute(self.design, arguments, self.functions, self.target)


def is_text(content: bytes) -> bool:
    return content.startswith(MARK)


@lru_cache(maxsize=64)
def read(array: bytes, instructions: bytes) -> InText:
    """What these instructions do on an array that is configured so.

    Raises ValueError where they are no text, or name what that array has not.
    """
    if not is_text(array) or not is_text(instructions):
        raise ValueError(f"no text of a design: it begins with {instructions[:16]!r}")
    try:
        design = parse(_whole(_decoded(array), _decoded(instructions)))
        check_wiring(design)
        return InText(design, _core_functions(design), TARGET)
    except WhisperNpuError as error:
        raise ValueError(str(error)) from error


def _core_functions(design: Design) -> Functions:
    """Compiled where there is a compiler. The object's name in the text says which source it is."""
    sources = tuple(source for family in registry.FAMILIES for source in family.core_sources())
    try:
        return compiled(design.functions, sources, TARGET)
    except NoCompilerError:
        return in_numpy(design.functions, sources, TARGET)


# --- Files --------------------------------------------------------------------------------------------------


def files(text: str) -> tuple[bytes, bytes]:
    """The array's part, in whole pages, and the instructions, in whole words."""
    array, sequence = _parts(text)
    return _padded(array, PAGE), _padded(sequence, WORD)


def _parts(text: str) -> tuple[str, str]:
    """What configures the array, and all other lines."""
    array = array_part(text)
    of_array, others = iter(array.splitlines(keepends=True)), []
    wanted = next(of_array, None)
    for line in text.splitlines(keepends=True):
        if line == wanted:
            wanted = next(of_array, None)
        else:
            others.append(line)
    assert wanted is None, "the array's part is lines of the text, in order"
    return array, "".join(others)


def _whole(array: str, sequence: str) -> str:
    """The sequence stands last in the device, which the last two lines close."""
    *lines, device, module = array.rstrip().splitlines()
    return "\n".join([*lines, sequence, device, module, ""])


def _padded(text: str, unit: int) -> bytes:
    content = MARK + text.encode()
    return content + b"\n" * (-len(content) % unit)


def _decoded(content: bytes) -> str:
    return content.removeprefix(MARK).rstrip(b"\0").decode("utf-8")
