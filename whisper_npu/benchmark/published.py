"""Matrix products and encoders that others measured on XDNA1; the cost model is compared with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import geometric_mean

from whisper_npu.dtypes import DType
from whisper_npu.kernels.gemm.kernel import CoreTile, GemmContract, padded_gemm
from whisper_npu.npu.cost import Modelled, modelled_seconds
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul


@dataclass(frozen=True)
class Machine:
    """Whose machine and whose kernels."""

    name: str
    source: str
    clock_hz: float
    clock: str  # how the clock is known
    vmacs_per_cycle: float | None = None  # of the compiled inner loop; None where nobody says


LINUX, WINDOWS = NPU1.clocks["Linux"], NPU1.clocks["Windows"]
_README = "github.com/amd/IRON, iron/operators/flm/gemm/README.md; the runtime's own npu_time"
_LINUX_DEFAULT = "not stated; Linux's default"
_UPSTREAM = (
    16 / 32
)  # vmacs and bundles of mlir-aie's bf16 loop as Peano compiles it; ignite-xdna, docs/SILICON.md
FLM = Machine("IRON flm.GEMM", _README, LINUX, _LINUX_DEFAULT)
IRON = Machine("IRON operators.GEMM", _README, LINUX, _LINUX_DEFAULT, _UPSTREAM)
WHISPER_XDNA = Machine(
    "whisper-xdna",
    "github.com/drakosha/whisper-xdna, README and src/rawxrt.py (tiles_for)",
    LINUX,
    _LINUX_DEFAULT,
    _UPSTREAM,
)
RECORD = Machine("arXiv 2512.13282", "arXiv 2512.13282, tables 1 and 2", 1.0e9, "stated")
IGNITE = Machine(
    "ignite-xdna",
    "github.com/jdominick05/ignite-xdna, docs/SILICON.md and kernels/README.md; 8700G, Windows",
    WINDOWS,
    "measured",
    _UPSTREAM,
)


@dataclass(frozen=True)
class PublishedGemm:
    """One product, bf16 operands and fp32 sums."""

    machine: Machine
    problem: Matmul
    core_tile: CoreTile
    seconds: float  # MEASURED by its author on an NPU
    result_dtype: DType = DType.F32

    @property
    def contract(self) -> GemmContract:
        """The kernel of this project with the same core tile, padded as it pads."""
        return padded_gemm(NPU1, self.problem, self.core_tile, self.result_dtype)

    @property
    def modelled(self) -> Modelled:
        """One dispatch, at the clock of the machine; all else as for anybody."""
        return modelled_seconds(self.contract, 1, NPU1.profile.at(self.machine.clock_hz))

    @property
    def modelled_with_its_loop(self) -> Modelled | None:
        """The same with the rate of the compiled loop in place of an assumed one, where it is known."""
        rate = self.machine.vmacs_per_cycle
        if rate is None:
            return None
        profile = NPU1.profile.compiled(rate, rate, NPU1.micro_tile)
        return modelled_seconds(self.contract, 1, profile.at(self.machine.clock_hz))

    @property
    def ratio(self) -> float:
        """The middle of what is MODELLED, divided by what was MEASURED."""
        return self.modelled.middle / self.seconds

    @property
    def is_within(self) -> bool:
        """Whether what was MEASURED lies in the range."""
        return self.modelled.optimistic_s <= self.seconds <= self.modelled.cautious_s


def _microseconds(
    machine: Machine, tile: CoreTile, dtype: DType, points: dict[tuple[int, int, int], float]
) -> tuple[PublishedGemm, ...]:
    return tuple(
        PublishedGemm(machine, Matmul(*sizes), tile, 1e-6 * microseconds, dtype)
        for sizes, microseconds in points.items()
    )


def _gflops(machine: Machine, M: int, K: int, N: int, tile: CoreTile, gflops: float) -> PublishedGemm:
    """Of a point whose author gives 2 M K N over the time."""
    problem = Matmul(M, K, N)
    return PublishedGemm(machine, problem, tile, 2 * problem.macs / (1e9 * gflops))


# Points whose core tile and type of C the source names, or its code does.
PUBLISHED: tuple[PublishedGemm, ...] = (
    *_microseconds(
        FLM,
        (64, 64, 64),
        DType.BF16,
        {
            (256, 512, 512): 218,
            (512, 512, 1024): 390,
            (512, 1024, 1024): 639,
            (1024, 1024, 1024): 1071,
            (1024, 2048, 1024): 2134,
            (512, 1536, 1536): 1498,
            (1024, 2560, 2560): 6364,
        },
    ),
    *_microseconds(
        IRON,
        (64, 64, 64),
        DType.BF16,
        {
            (256, 512, 512): 227,
            (512, 512, 1024): 466,
            (512, 1024, 1024): 798,
            (1024, 1024, 1024): 1418,
            (1024, 2048, 1024): 2738,
            (512, 1536, 1536): 1699,
            (1024, 2560, 2560): 8232,
        },
    ),
    *_microseconds(WHISPER_XDNA, (64, 64, 32), DType.F32, {(512, 512, 512): 267}),
    _gflops(WHISPER_XDNA, 1536, 1536, 384, (64, 64, 32), 1761),
    _gflops(WHISPER_XDNA, 1536, 1280, 1280, (64, 64, 32), 1409),
    _gflops(WHISPER_XDNA, 1536, 5120, 1280, (64, 64, 32), 1514),
    _gflops(WHISPER_XDNA, 1536, 64, 1536, (32, 64, 64), 386),
    PublishedGemm(
        RECORD, Matmul(4224, 4032, 4224), (96, 56, 96), 2 * 4224 * 4032 * 4224 / 3.12e12, DType.BF16
    ),
    _gflops(IGNITE, 2048, 2048, 2048, (64, 64, 64), 2502),
    _gflops(IGNITE, 2048, 2048, 2048, (64, 64, 32), 1716),
    _gflops(IGNITE, 2048, 2048, 2048, (32, 64, 128), 2495),
    _gflops(IGNITE, 2048, 2048, 2048, (128, 64, 32), 2136),
    _gflops(IGNITE, 2048, 2048, 2048, (128, 32, 64), 2071),
    _gflops(IGNITE, 2048, 2048, 2048, (64, 32, 128), 2147),
    _gflops(IGNITE, 2048, 4096, 4096, (64, 64, 64), 2641),
    _gflops(IGNITE, 2048, 4096, 4096, (64, 64, 32), 1801),
    _gflops(IGNITE, 2048, 4096, 4096, (32, 64, 128), 2700),
    PublishedGemm(IGNITE, Matmul(1024, 1024, 1024), (64, 64, 32), 2 * 1024**3 / 2.072e12, DType.BF16),
    PublishedGemm(IGNITE, Matmul(512, 512, 512), (64, 64, 32), 2 * 512**3 / 0.895e12, DType.BF16),
)


def mean_ratio(points: Iterable[PublishedGemm] = PUBLISHED) -> float:
    """Of MODELLED middle over MEASURED, the geometric mean."""
    return geometric_mean([point.ratio for point in points])


def mean_ratio_with_its_loop(points: Iterable[PublishedGemm]) -> float | None:
    """The same with the rates of compiled loops, of the points where they are known; None for none."""
    known = [(point, point.modelled_with_its_loop) for point in points]
    ratios = [modelled.middle / point.seconds for point, modelled in known if modelled]
    return geometric_mean(ratios) if ratios else None


RECORD_FLOPS = 3.14e12  # per second, the record of a bf16 product on XDNA1; arXiv 2512.13282, table 2


@dataclass(frozen=True)
class PublishedEncoder:
    """A whole encoder at 1,500 positions on XDNA1, MEASURED by its author."""

    model: str
    seconds: tuple[float, ...]  # one value, or the smallest and the largest

    def __str__(self) -> str:
        return " to ".join(f"{1e3 * seconds:,.0f}" for seconds in self.seconds)


PUBLISHED_ENCODERS_SOURCE = "whisper-xdna README"
PUBLISHED_ENCODERS: tuple[PublishedEncoder, ...] = (
    PublishedEncoder("tiny", (0.484,)),
    PublishedEncoder("small", (1.507,)),
    PublishedEncoder("large-v3-turbo", (3.346,)),
    PublishedEncoder("large-v3", (3.344, 3.990)),
)
