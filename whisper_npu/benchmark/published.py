"""Matrix products that others measured on XDNA1; the cost model is compared with them."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.dtypes import DType
from whisper_npu.kernels.gemm.kernel import GemmContract, best_gemm, padded_gemm
from whisper_npu.npu.cost import modelled_seconds
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul


@dataclass(frozen=True)
class PublishedGemm:
    """One product, bf16 operands and fp32 sums; `gflops` is 2 M K N divided by the published time."""

    problem: Matmul
    gflops: float
    source: str
    core_tile: tuple[int, int, int] | None = None  # if published; C is bf16 then

    @property
    def seconds(self) -> float:
        """MEASURED by its author on an NPU."""
        return 2 * self.problem.macs / (1e9 * self.gflops)

    @property
    def contract(self) -> GemmContract:
        """The modelled kernel: with the published tile, or with the tile of least modelled time."""
        if self.core_tile is None:
            return best_gemm(NPU1, self.problem)
        return padded_gemm(NPU1, self.problem, self.core_tile, DType.BF16)

    @property
    def modelled_seconds(self) -> float:
        return modelled_seconds(self.contract, 1, NPU1.profile)

    @property
    def ratio(self) -> float:
        """MODELLED divided by MEASURED."""
        return self.modelled_seconds / self.seconds


_IRON = "AMD IRON, flm/gemm README"
_WHISPER_XDNA = "whisper-xdna README"
PUBLISHED: tuple[PublishedGemm, ...] = (
    PublishedGemm(Matmul(256, 512, 512), 615, _IRON),
    PublishedGemm(Matmul(512, 512, 512), 2 * 512**3 / 267e-6 / 1e9, _WHISPER_XDNA),  # 267 us through pyxrt
    PublishedGemm(Matmul(1024, 1024, 1024), 2005, _IRON),
    PublishedGemm(Matmul(1536, 1536, 384), 1761, _WHISPER_XDNA),
    PublishedGemm(Matmul(1536, 1280, 1280), 1409, _WHISPER_XDNA),
    PublishedGemm(Matmul(1536, 5120, 1280), 1514, _WHISPER_XDNA),
    PublishedGemm(Matmul(4224, 4032, 4224), 3120, "arXiv 2512.13282, tables 1 and 2", (96, 56, 96)),
)
# Not in the test's bounds. With K = 64 there is only one step to overlap, and the time depends on how C's
# 9.4 MB reach DRAM. The model knows a bandwidth, but neither pauses between rounds nor other readers of DRAM.
HARD_POINT = PublishedGemm(Matmul(1536, 64, 1536), 386, _WHISPER_XDNA)

RECORD_FLOPS = 3.14e12  # per second, the record of a bf16 product on XDNA1; arXiv 2512.13282, table 2


@dataclass(frozen=True)
class PublishedEncoder:
    """A whole encoder at 1,500 positions on XDNA1, MEASURED by its author."""

    model: str
    seconds: tuple[float, ...]  # one value, or the smallest and the largest

    def __str__(self) -> str:
        return " to ".join(f"{1e3 * seconds:,.0f}" for seconds in self.seconds)


PUBLISHED_ENCODERS_SOURCE = _WHISPER_XDNA
PUBLISHED_ENCODERS: tuple[PublishedEncoder, ...] = (
    PublishedEncoder("tiny", (0.484,)),
    PublishedEncoder("small", (1.507,)),
    PublishedEncoder("large-v3-turbo", (3.346,)),
    PublishedEncoder("large-v3", (3.344, 3.990)),
)
