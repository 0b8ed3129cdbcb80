"""What each kernel promises: the product of one dispatch, its numerics, and how far off it may be.

A contract says what any device that claims to run the kernel must compute; the emulator executes it, the
planner plans with it, the tests hold every device to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import UnknownKernelError
from whisper_npu.host.bf16 import F32, Rounding
from whisper_npu.npu.targets.npu1 import XDNA1

DEPTH_AB = 2  # buffers of A and of B in a core: one is filled while the core works on the other
DEPTH_C = 1  # one fp32 C of 64x64 is 16 KiB; two would not leave room for A and B


class DType(Enum):
    """An element as it lies in a bo."""

    BF16 = "bf16"
    F32 = "f32"

    @property
    def nbytes(self) -> int:
        return 2 if self is DType.BF16 else 4


class Along(Enum):
    """Where the next head of an operand lies."""

    ROWS = "rows"  # below the one before
    COLS = "cols"  # beside it


@dataclass(frozen=True)
class HeadsAlong:
    """How the heads of each operand lie in its bo, for a kernel that walks over them."""

    a: Along
    b: Along
    c: Along


# Q is read as columns of (n_ctx, n_state), K^T as rows of its transpose; scores come one below the other. P V
# takes them so, and writes each head's columns of (n_ctx, n_state): what the output projection reads.
HEADS_OF_SCORES = HeadsAlong(a=Along.COLS, b=Along.ROWS, c=Along.ROWS)
HEADS_OF_CONTEXT = HeadsAlong(a=Along.ROWS, b=Along.COLS, c=Along.COLS)
# V^T P^T: each head's V^T below the one before, P^T as the scores of K Q^T come, and O^T like V^T.
HEADS_OF_CONTEXT_TRANSPOSED = HeadsAlong(a=Along.ROWS, b=Along.ROWS, c=Along.ROWS)
_NAMES_OF_HEADS = {
    HEADS_OF_SCORES: "scores",
    HEADS_OF_CONTEXT: "context",
    HEADS_OF_CONTEXT_TRANSPOSED: "context_t",
}


@dataclass(frozen=True)
class Contract:
    """One kernel: C (m,n) = A (m,k) @ B (k,n), `batch` times a dispatch.

    The host rounds operands to `operand_dtype` by `operand_rounding` when it stages them. The cores
    multiply and sum their k products in fp32, then write C as `result_dtype`, rounded by
    `result_rounding` where that is bf16. Where a problem's K is larger than k, the host adds the partial
    results in fp32.
    """

    name: str
    m: int
    k: int
    n: int
    cores: int  # that share one dispatch
    core_tile: tuple[int, int, int] | None = None  # m,k,n of one core's step; None where there is no design
    block: tuple[int, int] | None = None  # rows, columns of C that a round makes; None: one round makes all
    batch: int = 1  # independent products of one dispatch: packed in pairs, or lying as `heads_along` says
    heads_along: HeadsAlong | None = None
    sizes_at_run_time: bool = False  # m, k, n and batch stand in the instructions, not in the array
    operand_dtype: DType = DType.BF16
    operand_rounding: Rounding = Rounding.NEAREST_EVEN
    result_dtype: DType = DType.F32
    result_rounding: Rounding = Rounding.NEAREST_EVEN

    def __hash__(self) -> int:
        """A name tells contracts apart nearly always, and plans are looked up by theirs at every product."""
        return hash(self.name)

    @property
    def overlay(self) -> str:
        """The array's configuration (xclbin) that it needs; kernels of one overlay share it."""
        if not self.sizes_at_run_time or self.core_tile is None:
            return self.name
        return _gemm_overlay(self.core_tile, self.result_dtype)

    @property
    def packs_pairs(self) -> bool:
        """Whether its products are independent, A and B of each packed as a pair."""
        return self.batch > 1 and self.heads_along is None

    @property
    def macs(self) -> int:
        """Multiplications of one dispatch; what a product leaves empty of it is worked on like the rest."""
        return self.batch * self.m * self.k * self.n

    @property
    def bytes_to_device(self) -> int:
        """A and B of one dispatch, as often as DRAM is read: A for every block of columns, B of rows."""
        rows, columns = self.block or (self.m, self.n)
        a, b = self.m * self.k * (self.n // columns), self.k * self.n * (self.m // rows)
        return self.batch * (a + b) * self.operand_dtype.nbytes

    @property
    def l1_bytes(self) -> int:
        """What a core's memory holds of `core_tile`: two buffers of A and B, one of C, and the stack."""
        assert self.core_tile is not None
        m, k, n = self.core_tile
        operands = DEPTH_AB * (m * k + k * n) * self.operand_dtype.nbytes
        return operands + DEPTH_C * m * n * self.result_dtype.nbytes + XDNA1.stack_bytes

    @property
    def bytes_from_device(self) -> int:
        """C of one dispatch."""
        return self.batch * self.m * self.n * self.result_dtype.nbytes

    def reference(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
        """The true product in float64, of operands as they are: it knows nothing of tiles or of bf16."""
        product: NDArray[np.float64] = a.astype(np.float64) @ b.astype(np.float64)
        return product

    def tolerance(self, a: F32, b: F32) -> NDArray[np.float64]:
        """How far from `reference` each element of C may lie: a bound, not an estimate.

        Why: rounding moves each operand by at most u of itself, so a product by 2u + u^2; K fp32 products
        and sums move a sum by at most K * 2^-24 of the sum of magnitudes, in whatever order; a bf16
        result moves each K tile's partial by one more rounding. All are relative to |A| @ |B|. (Higham,
        Accuracy and Stability of Numerical Algorithms, section 3.1.) Subnormals, below 2^-126, may be
        lost whole.

        a: (M, K), b: (K, N) float32. Returns (M, N) float64.
        """
        magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
        K = a.shape[1]
        u = self.operand_rounding.unit if self.operand_dtype is DType.BF16 else 0.0
        operands = 2 * u + u * u
        sums = (K + self.k) * 2.0**-24
        result = self.result_rounding.unit if self.result_dtype is DType.BF16 else 0.0
        relative = (1 + operands) * (1 + sums) * (1 + result) - 1
        bound: NDArray[np.float64] = magnitude * relative + K * 2.0**-125
        return bound


MATMUL_64X64 = Contract("matmul_64x64", m=64, k=64, n=64, cores=1, core_tile=(64, 64, 64))
MATMUL_64X512 = Contract("matmul_64x512", m=64, k=64, n=512, cores=16, core_tile=(64, 64, 32))
MATMUL_128X512 = Contract("matmul_128x512", m=128, k=64, n=512, cores=16, core_tile=(128, 32, 32))
# The same with C rounded to bf16 by the core: half the bytes back. One step covers k, for what a core adds
# to lies in C itself.
MATMUL_64X64_BF16 = replace(MATMUL_64X64, name="matmul_64x64_bf16", result_dtype=DType.BF16)
MATMUL_64X512_BF16 = replace(MATMUL_64X512, name="matmul_64x512_bf16", result_dtype=DType.BF16)
MATMUL_128X512_BF16 = replace(
    MATMUL_128X512, name="matmul_128x512_bf16", core_tile=(128, 64, 32), result_dtype=DType.BF16
)


def matmul_64x64_batch(batch: int) -> Contract:
    """`batch` independent (64,64)@(64,64), spread over 16 cores."""
    return replace(MATMUL_64X64, name=f"matmul_64x64_batch{batch}", cores=16, batch=batch)


def matmul_64x512_k(K: int, N: int = 512) -> Contract:
    """(64,K)@(K,N) with the sum over K on the cores; N in rounds of 512 columns."""
    name = f"matmul_64x512_k{K}" + ("" if N == 512 else f"_n{N}")
    return replace(MATMUL_64X512, name=name, k=K, n=N, block=(64, 512))


# What the planner takes for Whisper tiny, base and small, as tests/unit/test_planner.py holds it.
GEMM_TILE = (96, 64, 48)


def gemm(
    M: int,
    K: int,
    N: int,
    core_tile: tuple[int, int, int] = GEMM_TILE,
    result_dtype: DType = DType.F32,
) -> Contract:
    """Whole matrices, M and N in rounds of 4x4 core tiles, the sum over K on the cores."""
    m, _, n = core_tile
    overlay = _gemm_overlay(core_tile, result_dtype)
    return Contract(
        f"{overlay}_{M}x{K}x{N}",
        m=M,
        k=K,
        n=N,
        cores=XDNA1.cores,
        core_tile=core_tile,
        block=(XDNA1.core_rows * m, XDNA1.columns * n),
        sizes_at_run_time=True,
        result_dtype=result_dtype,
    )


def gemm_of_heads(
    heads: int,
    M: int,
    K: int,
    N: int,
    heads_along: HeadsAlong,
    core_tile: tuple[int, int, int] = GEMM_TILE,
    result_dtype: DType = DType.F32,
) -> Contract:
    """`gemm` for each of several heads in one dispatch: the instructions walk from head to head."""
    one = gemm(M, K, N, core_tile, result_dtype)
    kind = _NAMES_OF_HEADS[heads_along]
    name = f"{one.overlay}_{kind}_{heads}x{M}x{K}x{N}"
    return replace(one, name=name, batch=heads, heads_along=heads_along)


def _gemm_overlay(core_tile: tuple[int, int, int], result_dtype: DType) -> str:
    name = f"gemm_{'x'.join(map(str, core_tile))}"
    return name if result_dtype is DType.F32 else f"{name}_{result_dtype.value}"


def contract_as_json(contract: Contract) -> dict[str, object]:
    """A contract for a manifest: its fields, enumerations by value."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        return value.value if isinstance(value, Enum) else value

    return {name: plain(value) for name, value in asdict(contract).items()}


# The numerics of the experiment that took 163.7 s: operands truncated, results floored.
MATMUL_64X64_BASELINE = Contract(
    "matmul_64x64_baseline",
    m=64,
    k=64,
    n=64,
    cores=1,
    operand_rounding=Rounding.TOWARD_ZERO,
    result_dtype=DType.BF16,
    result_rounding=Rounding.FLOOR,
)

# The kernels of one size. Gemms have any, and are not listed here; the planner chooses among all.
CONTRACTS: tuple[Contract, ...] = (
    MATMUL_64X64,
    MATMUL_64X512,
    MATMUL_128X512,
    MATMUL_64X64_BF16,
    MATMUL_64X512_BF16,
    MATMUL_128X512_BF16,
    matmul_64x64_batch(16),
    matmul_64x64_batch(64),
    matmul_64x512_k(512),
    matmul_64x512_k(2048),
    MATMUL_64X64_BASELINE,
)


def contract_named(name: str) -> Contract | None:
    """The contract of exactly this name, a gemm's of any sizes too; None for any other name."""
    fixed = next((contract for contract in CONTRACTS if contract.name == name), None)
    found = re.fullmatch(
        r"gemm_(\d+x\d+x\d+)(_bf16)?(?:_(scores|context|context_t)_(\d+)x|_)(\d+)x(\d+)x(\d+)", name
    )
    if fixed or not found:
        return fixed
    tile, bf16, kind, heads, *sizes = found.groups()
    m, k, n = map(int, tile.split("x"))
    M, K, N = map(int, sizes)
    dtype = DType.BF16 if bf16 else DType.F32
    if kind is None:
        return gemm(M, K, N, (m, k, n), dtype)
    along = next(along for along, named in _NAMES_OF_HEADS.items() if named == kind)
    return gemm_of_heads(int(heads), M, K, N, along, (m, k, n), dtype)


def find_contract(
    name: str, contracts: Iterable[Contract] = CONTRACTS, others: Iterable[str] = ()
) -> Contract:
    """The contract called `name`, with or without its `matmul_` in front.

    others: what else the user may have meant. Raises UnknownKernelError, naming the nearest names.
    """
    by_name = {contract.name: contract for contract in contracts}
    found = by_name.get(name) or by_name.get(f"matmul_{name}")
    if found is None:
        short = [*others, *(n.removeprefix("matmul_") for n in by_name)]
        near = get_close_matches(name.removeprefix("matmul_"), short, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UnknownKernelError(f"unknown kernel {name!r}: {hint}there are {', '.join(short)}")
    return found
