"""Checks a design's MLIR text against a target and executes it: no NPU, no toolchain.

design = parse(text)                       # spelling
usage = check_structure(design, target)    # limits of tiles, DMAs and shim; names, types, links, locks
execution = execute(design, [a, b, c], functions, target)  # every object of every fifo, in place
LoadedDesign(design, functions, target)    # the same for dispatches one after the other
cycles = count_cycles(design, execution, target)
"""

from __future__ import annotations

from whisper_npu.kernels.verifier.cycles import Cycles, count_cycles
from whisper_npu.kernels.verifier.design import (
    Core,
    Design,
    Function,
    Link,
    LocalBuffer,
    MemRef,
    ObjectFifo,
    RuntimeSequence,
    Tile,
)
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.execute import Execution, LoadedDesign, execute
from whisper_npu.kernels.verifier.memory_map import BankUse
from whisper_npu.kernels.verifier.parse import parse
from whisper_npu.kernels.verifier.program import FunctionCall, Functions
from whisper_npu.kernels.verifier.structure import Usage, check_structure
from whisper_npu.kernels.verifier.wiring import Channel, check_wiring

__all__ = [
    "BankUse",
    "Channel",
    "Core",
    "Cycles",
    "Design",
    "DesignError",
    "Execution",
    "Function",
    "FunctionCall",
    "Functions",
    "Link",
    "LoadedDesign",
    "LocalBuffer",
    "MemRef",
    "ObjectFifo",
    "RuntimeSequence",
    "Tile",
    "Usage",
    "check_structure",
    "check_wiring",
    "count_cycles",
    "execute",
    "parse",
]
