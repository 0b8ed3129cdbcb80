"""Whether a design fits a target: memory, channels, descriptors, locks, and what a DMA can say.

How is counted (mlir-aie's objectFifo lowering; AM020 for the fields of a descriptor):

- L1: the stack, and the buffers of each fifo's end at the core and local ones behind it (memory_map.py), with
  room left for the compiler's own data. Its banks are counted, not limited.
- Buffer descriptors: one for each buffer that a channel serves, and for each piece of it where the memtile
  splits or joins. A memtile's even channels share one half of its descriptors, the odd ones the other;
  channels are numbered in the order of the fifos. The shim's are the runtime sequence's `id`s.
- Shim tasks: as many on a channel as its queue holds, until a wait on that channel (sequence.py).
- Locks: two for each pool of buffers, for each of its pieces; two for each of the shim's fifos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from whisper_npu.kernels.verifier.design import Design, Dims, Memcpy, MemRef, ObjectFifo, Tile
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.memory_map import BankUse, bank_use
from whisper_npu.kernels.verifier.patterns import is_contiguous, visited
from whisper_npu.kernels.verifier.sequence import check_queues
from whisper_npu.kernels.verifier.wiring import IN, OUT, Pool, channels, check_wiring, pools
from whisper_npu.npu.targets import WORD_BYTES, Target, TileLimits


@dataclass(frozen=True)
class Usage:
    """What a design takes of each tile that it uses."""

    l1_bytes: Mapping[Tile, int]  # of each core, the stack included: its highest address
    memtile_bytes: Mapping[Tile, int]
    channels_in: Mapping[Tile, int]
    channels_out: Mapping[Tile, int]
    buffer_descriptors: Mapping[Tile, int]  # of cores and memtiles
    locks: Mapping[Tile, int]
    banks: Mapping[Tile, BankUse]  # of each core

    @property
    def l1_highest(self) -> int:
        return max(self.l1_bytes.values(), default=0)

    @property
    def memtile_highest(self) -> int:
        return max(self.memtile_bytes.values(), default=0)

    @property
    def bank_conflicts(self) -> BankUse:
        """Of the core whose calls have the most pairs of inputs in one bank."""
        return max(self.banks.values(), key=lambda use: use.sharing, default=BankUse())


def check_structure(design: Design, target: Target) -> Usage:
    """What the design takes of the array. Raises DesignError, naming the place, the value and the limit."""
    check_device(design, target)
    check_wiring(design)
    _check_tiles(design, target)
    found = pools(design)
    usage = Usage(
        l1_bytes=_l1_bytes(design, found, target),
        memtile_bytes=_memtile_bytes(design, found, target),
        channels_in=_channels(design, IN, target),
        channels_out=_channels(design, OUT, target),
        buffer_descriptors=_buffer_descriptors(design, found, target),
        locks=_locks(design, found, target),
        banks=bank_use(design, found, target),
    )
    _at_most("the sequence", len(design.sequence.arguments), target.kernel_arguments, "arguments")
    for fifo in design.fifos:
        _check_orders(fifo, found, target)
    for op in design.sequence.ops:
        if isinstance(op, Memcpy):
            _check_task(op, target)
    check_queues(design, target)
    return usage


def _at_most(place: object, value: int, limit: int, what: str) -> None:
    if value > limit:
        raise DesignError(f"{place}: {value:,} {what}, the limit is {limit:,}")


def _tile_limits(tile: Tile, target: Target) -> TileLimits:
    return {"shim": target.shim, "memtile": target.memtile, "core": target.core}[tile.kind]


def check_device(design: Design, target: Target) -> int:
    """The columns of the device that a design is for. Raises DesignError where it is none of the target's."""
    known = {target.device(columns): columns for columns in range(1, target.columns + 1)}
    if design.device == f"{target.name}_{target.columns}col":
        raise DesignError(
            f"the device {design.device} no longer exists, {target.name} has all {target.columns} columns"
        )
    if design.device not in known:
        raise DesignError(f"the device is {design.device}, {target.name} has {', '.join(known)}")
    return known[design.device]


def _check_tiles(design: Design, target: Target) -> None:
    last_column = check_device(design, target) - 1
    for tile in design.tiles:
        _at_most(f"%{tile.name} of {design.device}", tile.col, last_column, "is its column")
        _at_most(f"%{tile.name} of {design.device}", tile.row, 1 + target.core_rows, "is its row")
    for buffer in design.buffers:
        if buffer.tile.kind == "shim":
            raise DesignError(f"buffer {buffer.name}: {buffer.tile} has no memory")


# ----------------------------------------------------------------------------------- what a tile has


def _l1_bytes(design: Design, found: tuple[Pool, ...], target: Target) -> Mapping[Tile, int]:
    used: Counter[Tile] = Counter()
    for core in design.cores:
        if (stack := core.stack_size or 0) < target.stack_bytes:
            given = f"{stack:,} bytes" if core.stack_size is not None else "no stack_size"
            raise DesignError(
                f"{core.tile}: {given} for the stack; {target.stack_bytes:,} are the least that a core needs"
            )
        if stack % target.vector_align:
            raise DesignError(
                f"{core.tile}: {stack:,} bytes for the stack are no multiple of {target.vector_align}: the "
                "vectors of the buffers behind it would lie between two places"
            )
        used[core.tile] = stack
    used.update(_buffer_bytes(design, found, "core"))
    for tile, count in used.items():
        _at_most(tile, count, target.l1_bytes, "bytes of buffers and stack in L1")
    return used


def _memtile_bytes(design: Design, found: tuple[Pool, ...], target: Target) -> Mapping[Tile, int]:
    used = _buffer_bytes(design, found, "memtile")
    for tile, count in used.items():
        _at_most(tile, count, target.memtile.memory_bytes, "bytes of buffers")
    return used


def _buffer_bytes(design: Design, found: tuple[Pool, ...], kind: str) -> Counter[Tile]:
    used: Counter[Tile] = Counter()
    for pool in found:
        if pool.tile.kind == kind:
            used[pool.tile] += pool.nbytes
    for buffer in design.buffers:
        if buffer.tile.kind == kind:
            used[buffer.tile] += buffer.memref.nbytes
    return used


def _channels(design: Design, direction: str, target: Target) -> Mapping[Tile, int]:
    used = Counter(channel.tile for channel in channels(design) if channel.direction == direction)
    for tile, count in used.items():
        _at_most(tile, count, _tile_limits(tile, target).dma_channels, f"DMA channels {direction}")
    return used


def _buffer_descriptors(design: Design, found: tuple[Pool, ...], target: Target) -> Mapping[Tile, int]:
    of_end: dict[tuple[Tile, str], int] = {}  # by tile and fifo
    for pool in found:
        for ports, others in ((pool.inputs, pool.outputs), (pool.outputs, pool.inputs)):
            for port in ports:
                of_end[pool.tile, port.fifo] = pool.depth * (max(1, len(others)) if len(ports) == 1 else 1)
    used: Counter[Tile] = Counter()
    halves: Counter[tuple[Tile, int]] = Counter()  # of a memtile, by the channel's parity
    numbers: Counter[tuple[Tile, str]] = Counter()
    for channel in channels(design):
        number = numbers[channel.tile, channel.direction]
        numbers[channel.tile, channel.direction] += 1
        count = of_end.get((channel.tile, channel.fifo), 0)
        used[channel.tile] += count
        if channel.tile.kind == "memtile":
            halves[channel.tile, number % 2] += count
    for tile, count in used.items():
        _at_most(tile, count, _tile_limits(tile, target).buffer_descriptors, "buffer descriptors")
    for (tile, parity), count in halves.items():
        what = f"buffer descriptors of {('even', 'odd')[parity]} DMA channels"
        _at_most(tile, count, target.memtile.buffer_descriptors // 2, what)
    return Counter({tile: count for tile, count in used.items() if tile.kind != "shim"})


def _locks(design: Design, found: tuple[Pool, ...], target: Target) -> Mapping[Tile, int]:
    used: Counter[Tile] = Counter()
    for pool in found:
        used[pool.tile] += 2 * pool.pieces
        names = ", ".join(port.fifo for port in (*pool.inputs, *pool.outputs))
        _at_most(
            f"{pool.tile}: {names}", pool.depth * pool.pieces, target.max_lock_value, "as a lock's value"
        )
    for channel in channels(design):
        if channel.tile.kind == "shim":
            used[channel.tile] += 2
    for tile, count in used.items():
        _at_most(tile, count, _tile_limits(tile, target).locks, "locks")
    return used


# ----------------------------------------------------------------------------- what a descriptor says


def _check_orders(fifo: ObjectFifo, found: tuple[Pool, ...], target: Target) -> None:
    """dimensionsToStream and dimensionsFromStream of one fifo."""
    _check_bytes(f"fifo {fifo.name}: an object", fifo.memref.elements, fifo.memref)
    ends = [(fifo.producer, "dimensionsToStream", fifo.to_stream)]
    ends += [
        (tile, "dimensionsFromStream", dims)
        for tile, dims in zip(fifo.consumers, fifo.from_stream, strict=True)
    ]
    for tile, name, dims in ends:
        if dims and tile.kind == "shim":
            raise DesignError(
                f"fifo {fifo.name}: the shim takes no {name}, the sequence's transfers say the order"
            )
        if dims:
            place = f"fifo {fifo.name}: {name} at {tile}"
            _check_dims(place, dims, fifo.memref, _tile_limits(tile, target), target.max_bd_size)
            for elements in _pieces(fifo, tile, found):
                _check_permutation(place, dims, elements)


def _pieces(fifo: ObjectFifo, tile: Tile, found: tuple[Pool, ...]) -> list[int]:
    """The elements of what one descriptor moves: an object, or each piece that was joined into it."""
    for pool in found:
        joined = len(pool.inputs) > 1 and any(port.fifo == fifo.name for port in pool.outputs)
        if pool.tile == tile and joined:
            return [port.elements for port in pool.inputs]
    return [fifo.memref.elements]


def _check_dims(place: str, dims: Dims, memref: MemRef, tile: TileLimits, max_bd_size: int) -> None:
    _at_most(place, len(dims), tile.dma_dimensions, "dimensions")
    for size, stride in dims:
        if size < 1 or stride < 1:
            raise DesignError(f"{place}: size {size}, stride {stride}: both start at 1")
        _at_most(place, size, max_bd_size, "as a size")
        # Of a size of 1 as well: mlir-aie, AIEDialect.cpp, DMABDOp::verify.
        _at_most(place, stride, memref.elements, "elements in a step of one object")
    _check_innermost(place, dims, memref)
    for words, step in _in_words(place, dims, memref):
        _at_most(place, words, tile.max_wrap, "words or steps in a wrap")
        _at_most(place, step, tile.max_step, "words in a step")


def _check_permutation(place: str, dims: Dims, elements: int) -> None:
    moved = prod(size for size, _ in dims)
    if moved != elements:
        raise DesignError(f"{place} moves {moved} elements of {elements}")
    index = visited(dims)
    if index.max() >= elements:
        raise DesignError(f"{place} reaches element {index.max()} of {elements}")
    if np.bincount(index).max() > 1:
        raise DesignError(f"{place} visits elements twice and leaves out others")


def _check_bytes(place: str, elements: int, memref: MemRef) -> None:
    if elements * memref.element_bytes % WORD_BYTES:
        raise DesignError(
            f"{place} is at {elements} elements of {memref.dtype}, {elements * memref.element_bytes} bytes, "
            f"which is no multiple of {WORD_BYTES}"
        )


def _check_innermost(place: str, dims: Dims, memref: MemRef) -> None:
    size, stride = dims[-1]
    if memref.element_bytes < WORD_BYTES and size > 1 and stride != 1:
        raise DesignError(f"{place}: {memref.dtype} needs the innermost stride 1, it is {stride}")


def _in_words(place: str, dims: Dims, memref: MemRef) -> list[tuple[int, int]]:
    """(wrap, step) of each dimension in words; of sizes that are 1 the step is 0, no field holds it."""
    found: list[tuple[int, int]] = []
    for number, (size, stride) in enumerate(dims):
        innermost = number == len(dims) - 1
        if innermost:
            _check_bytes(f"{place}: the end of the innermost dimension", size, memref)
        elif size > 1:
            _check_bytes(f"{place}: a stride", stride, memref)
        words = size * memref.element_bytes // WORD_BYTES if innermost else size
        step = max(1, stride * memref.element_bytes // WORD_BYTES) if size > 1 and stride else 0
        found.append((words, step))
    return found


# -------------------------------------------------------------------------------------- shim transfers


def _check_task(op: Memcpy, target: Target) -> None:
    place = f"shim {op.fifo}"
    if not 0 <= op.id < target.shim.buffer_descriptors:
        raise DesignError(
            f"{place}: id {op.id} is none of {target.shim.buffer_descriptors} buffer descriptors"
        )
    dims = tuple(zip(op.sizes, op.strides, strict=True))
    _check_bytes(f"{place}: the offset into {op.argument}", op.offset, op.memref)
    _check_innermost(place, dims, op.memref)
    if any(size > 1 and stride < 1 for size, stride in dims[1:]):
        raise DesignError(f"{place}: only the outermost dimension may repeat, with stride 0: {dims}")
    (repeat, _), *inner = words = _in_words(place, dims, op.memref)
    _at_most(place, repeat, target.max_repeat, "as the repeat count of the outermost dimension")
    if not is_contiguous(dims[1:]):
        for wrap, _ in inner[1:]:
            _at_most(place, wrap, target.shim.max_wrap, "words or steps in a wrap")
    for _, step in words:
        _at_most(place, step, target.shim.max_step, "words in a step")
