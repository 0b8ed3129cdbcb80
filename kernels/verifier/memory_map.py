"""Where each buffer of a core lies, and which buffers that a call reads share a bank of its memory.

mlir-aie's basic-sequential allocation puts the stack first and then the buffers, the largest first, those
of one size in the text's order (AIEAssignBuffers.cpp). Pull request 3746 replaces it by one that places
buffers by bank, which this map does not show. A memory is made of banks, one behind the other. Two loads
that a core issues at once take a cycle more where both go to the same bank
(github.com/jdominick05/ignite-xdna, docs/SILICON.md): a product wants the A and the B of a step in
different ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from whisper_npu.kernels.verifier.design import CONSUME, Access, Acquire, Call, Core, Design, Tile
from whisper_npu.kernels.verifier.wiring import Pool, walk
from whisper_npu.npu.targets import Target


@dataclass(frozen=True)
class Placed:
    """A buffer's bytes."""

    name: str  # of its fifo, or its own
    address: int
    nbytes: int

    def banks(self, bank_bytes: int) -> range:
        return range(self.address // bank_bytes, (self.address + self.nbytes - 1) // bank_bytes + 1)


@dataclass(frozen=True)
class BankUse:
    """Of a core: the pairs of buffers that one call may read, and those of them that share a bank.

    Each buffer of one fifo makes a pair with each of the other: two of A and two of B make four.
    """

    pairs: int = 0
    sharing: int = 0

    def __str__(self) -> str:
        return f"{self.sharing} of {self.pairs}" if self.pairs else "-"


def memory_map(design: Design, found: Sequence[Pool], core: Core) -> tuple[Placed, ...]:
    """Every buffer of a core, by address."""
    tile = core.tile
    sizes = [(local.name, local.memref.nbytes) for local in design.buffers if local.tile == tile]
    for pool in found:
        if pool.tile == tile:
            (fifo,) = (port.fifo for port in (*pool.inputs, *pool.outputs))
            sizes += [(fifo, pool.memref.nbytes)] * pool.depth
    address, placed = core.stack_size or 0, []
    for name, nbytes in sorted(sizes, key=lambda buffer: -buffer[1]):
        placed.append(Placed(name, address, nbytes))
        address += nbytes
    return tuple(placed)


def bank_use(design: Design, found: Sequence[Pool], target: Target) -> Mapping[Tile, BankUse]:
    """What each core's calls read together. Of a buffer that ends in another bank both count."""
    bank_bytes = target.core.memory_bytes // target.core.banks
    return {core.tile: _of_core(core, memory_map(design, found, core), bank_bytes) for core in design.cores}


def _of_core(core: Core, placed: Sequence[Placed], bank_bytes: int) -> BankUse:
    pairs = sharing = 0
    for fifos in _read_together(core):
        for one, other in combinations(fifos, 2):
            for a, b in product(*([p for p in placed if p.name == name] for name in (one, other))):
                pairs += 1
                shared = set(a.banks(bank_bytes)).intersection(b.banks(bank_bytes))
                sharing += bool(shared)
    return BankUse(pairs, sharing)


def _read_together(core: Core) -> Sequence[tuple[str, ...]]:
    """The fifos whose objects one call consumes, once each, however many calls there are."""
    found: dict[tuple[str, ...], None] = {}
    views: dict[str, str] = {}  # SSA value -> fifo
    objects: dict[str, str] = {}
    for op in walk(core.body):
        if isinstance(op, Acquire) and op.role == CONSUME:
            views[op.result] = op.fifo
        elif isinstance(op, Access) and op.subview in views:
            objects[op.result] = views[op.subview]
        elif isinstance(op, Call):
            found[tuple(dict.fromkeys(objects[name] for name in op.arguments if name in objects))] = None
    return tuple(found)
