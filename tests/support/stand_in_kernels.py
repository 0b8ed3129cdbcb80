"""Stand-ins for what the NPU needs and no toolchain or chip is here to give: kernels, and the chip's files.

A stand-in kernel is a folder as `whisper-npu kernels build` writes it. Where a real NAME.insts.bin holds NPU
instructions, a stand-in's says in 64 words which product a dispatch computes; whoever plays the NPU decodes
them and computes it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.host.bf16 import F32, Rounding, to_bf16
from whisper_npu.npu.artifacts import MANIFEST, SCHEMA, SCHEMA_VERSION
from whisper_npu.npu.contract import Along, Contract, DType, contract_as_json
from whisper_npu.npu.targets.npu1 import XDNA1

MAGIC, VERSION, WORDS = 0x55504E57, 1, 64
XCLBIN_MAGIC = b"xclbin2\0"  # with which a real one begins, too
SEPARATE, PAIRS = 0, 1  # forms: A, B, C each in a bo; or pairs of A and B in one, C in another
DTYPES = (DType.BF16, DType.F32)
RESULT_DTYPES = (DType.F32, DType.BF16)
ROUNDINGS = (Rounding.NEAREST_EVEN, Rounding.TOWARD_ZERO, Rounding.FLOOR)

Memory = NDArray[np.uint8]


@dataclass(frozen=True)
class Place:
    """Where an operand's elements lie: (row r, column c) of product i at i * step + r * row + c."""

    row: int
    step: int

    def elements(self, count: int, rows: int, cols: int) -> int:
        """How many elements the operand's memory must have."""
        return (count - 1) * self.step + (rows - 1) * self.row + cols


@dataclass(frozen=True)
class Instructions:
    """What one dispatch computes: C_i (m,n) = A_i (m,k) @ B_i (k,n) for i below `count`."""

    form: int
    count: int
    m: int
    k: int
    n: int
    operand_dtype: DType
    result_dtype: DType
    result_rounding: Rounding
    a: Place
    b: Place
    c: Place

    @property
    def nbytes(self) -> tuple[int, ...]:
        """Of each data bo, C last."""
        m, k, n, count = self.m, self.k, self.n, self.count
        c = self.c.elements(count, m, n) * self.result_dtype.nbytes
        if self.form == PAIRS:
            return count * (m * k + k * n) * self.operand_dtype.nbytes, c
        operands = self.a.elements(count, m, k), self.b.elements(count, k, n)
        return *(elements * self.operand_dtype.nbytes for elements in operands), c


def instructions(contract: Contract) -> bytes:
    """A stand-in's NAME.insts.bin."""
    m, k, n, count = contract.m, contract.k, contract.n, contract.batch
    form = PAIRS if count > 1 and contract.heads_along is None else SEPARATE
    heads = contract.heads_along
    words = [MAGIC, VERSION, form, count, m, k, n]
    words += [DTYPES.index(contract.operand_dtype), RESULT_DTYPES.index(contract.result_dtype)]
    words += [ROUNDINGS.index(contract.result_rounding)]
    for rows, cols, along in (
        (m, k, heads and heads.a),
        (k, n, heads and heads.b),
        (m, n, heads and heads.c),
    ):
        words += [count * cols, cols] if along is Along.COLS else [cols, rows * cols]
    return struct.pack(f"<{WORDS}I", *words, *[0] * (WORDS - len(words)))


def decode(content: bytes) -> Instructions:
    """Raises ValueError for anything but a stand-in's instructions."""
    if len(content) != 4 * WORDS:
        raise ValueError(f"{len(content)} bytes are no stand-in instructions: they have {4 * WORDS}")
    magic, version, form, count, m, k, n, operand, result, rounding, *rest = struct.unpack(
        f"<{WORDS}I", content
    )
    places, padding = rest[:6], rest[6:]
    if (magic, version) != (MAGIC, VERSION) or form not in (SEPARATE, PAIRS) or any(padding):
        raise ValueError(f"no stand-in instructions: they begin with {content[:12].hex()}")
    if min(count, m, k, n) < 1 or operand >= len(DTYPES) or max(result, rounding) >= len(ROUNDINGS):
        raise ValueError(f"stand-in instructions of impossible sizes or types: {content[:40].hex()}")
    return Instructions(
        form,
        count,
        m,
        k,
        n,
        DTYPES[operand],
        RESULT_DTYPES[result],
        ROUNDINGS[rounding],
        *(Place(row, step) for row, step in zip(places[::2], places[1::2], strict=True)),
    )


def compute(what: Instructions, *data: Memory) -> None:
    """Do what a dispatch does: read A and B (or pairs of them), write C. Sums are fp32."""
    count, m, k, n = what.count, what.m, what.k, what.n
    *operands, c_memory = data
    if what.form == PAIRS:
        r, s, t = XDNA1.micro_tile
        pairs = _elements(operands[0], what.operand_dtype)[: count * (m * k + k * n)].reshape(count, -1)
        a = _rows(pairs[:, : m * k], (m, k), (r, s))
        b = _rows(pairs[:, m * k :], (k, n), (s, t))
    else:
        a = _strided(_elements(operands[0], what.operand_dtype), what.a, (count, m, k))
        b = _strided(_elements(operands[1], what.operand_dtype), what.b, (count, k, n))
    product = np.matmul(_as_f32(a), _as_f32(b))  # (count, m, n)
    c = _strided(_elements(c_memory, what.result_dtype), what.c, (count, m, n))
    c[:] = product if c.dtype == np.float32 else to_bf16(product, what.result_rounding).view(np.uint16)


def _elements(memory: Memory, dtype: DType) -> NDArray[Any]:
    """Memory as elements: fp32, or the bits of bf16."""
    return memory[: len(memory) // dtype.nbytes * dtype.nbytes].view(
        np.uint16 if dtype is DType.BF16 else np.float32
    )


def _as_f32(x: NDArray[Any]) -> F32:
    return x if x.dtype == np.float32 else (x.astype(np.uint32) << 16).view(np.float32)


def _strided(elements: NDArray[Any], place: Place, shape: tuple[int, int, int]) -> NDArray[Any]:
    if len(elements) < place.elements(*shape):
        raise ValueError(f"{len(elements)} elements are too few for {shape} at {place}")
    size = elements.itemsize
    return np.lib.stride_tricks.as_strided(elements, shape, (place.step * size, place.row * size, size))


def _rows(tiles: NDArray[Any], shape: tuple[int, int], micro: tuple[int, int]) -> NDArray[Any]:
    """(count, rows * cols) in micro-tile order -> (count, rows, cols)."""
    (rows, cols), (height, width) = shape, micro
    blocks = tiles.reshape(-1, rows // height, cols // width, height, width)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, rows, cols)


def xclbin(*contracts: Contract) -> bytes:
    """A stand-in's NAME.xclbin: the file's magic, and which instructions this array configuration runs."""
    return XCLBIN_MAGIC + b"".join(sha256(instructions(contract)).digest() for contract in contracts)


def runs(xclbin: bytes) -> frozenset[bytes]:
    """The sha256 of each instruction file that a stand-in xclbin runs."""
    content = xclbin.removeprefix(XCLBIN_MAGIC)
    return frozenset(content[at : at + 32] for at in range(0, len(content), 32))


def write_kernel(folder: Path, contract: Contract, xclbin: bytes, *, target: str = XDNA1.target) -> Path:
    """folder/NAME/ with NAME.xclbin, NAME.insts.bin and manifest.json, as a build leaves it.

    Kernels of the same xclbin are of one overlay.
    """
    name = contract.name
    place = folder / name
    place.mkdir(parents=True)
    outputs = {f"{name}.xclbin": xclbin, f"{name}.insts.bin": instructions(contract)}
    for file, content in outputs.items():
        (place / file).write_bytes(content)
    manifest = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "design": name,
        "contract": contract_as_json(contract),
        "overlay": {"name": name, "sha256": _sha256(xclbin)},
        "target": target,
        "sources": {f"{name}.mlir": _sha256(b""), "matmul.cc": _sha256(b"")},
        "tools": {"aiecc": "stand-in", "clang++": "stand-in"},
        "commands": [["stand-in", name]],
        "outputs": {file: _sha256(content) for file, content in outputs.items()},
    }
    (place / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return place


def write_npu(root: Path) -> Path:
    """What /sys and /dev hold of an XDNA1 NPU with its driver loaded, under another root."""
    vendor, device = XDNA1.pci_id.split(":")
    pci = root / "sys/bus/pci/devices/0000:c4:00.1"
    pci.mkdir(parents=True)
    (pci / "vendor").write_text(f"0x{vendor}\n")
    (pci / "device").write_text(f"0x{device}\n")
    node = root / "dev/accel/accel0"
    node.parent.mkdir(parents=True)
    node.touch()
    return root


def _sha256(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
