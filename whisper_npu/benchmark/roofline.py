"""A roofline of each op of a window: multiplications per byte of DRAM, and per second. MODELLED throughout.

Two ways stand beside each other: the layer kernels, phase by phase of their dispatches, and the gemm kernels,
with a dispatch per product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from os.path import relpath

from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.sizes import MODELS
from whisper_npu.encoder import ModelDimensions, encoder_ops
from whisper_npu.kernels import registry
from whisper_npu.kernels.layer.kernel import LayerContract
from whisper_npu.kernels.layer.phases import Gemm, Phase
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import Modelled, Spent, spent, total
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.planner import choose
from whisper_npu.npu.targets import NPU1, WORD_BYTES, CoreRate, Dram, Rates, Target
from whisper_npu.ops import Attention, Linear, Matmul, Norm, Op, flattened
from whisper_npu.page import Page, Table, page_as_markdown, wrap
from whisper_npu.released import released_dimensions

LAYER, GEMM = "layer", "gemm"  # as --kernel calls them
RESOURCES = {"arithmetic": "arithmetic", "dram": "DRAM", "streams": "streams", "tasks": "tasks"}


@dataclass(frozen=True)
class Roof:
    """What no op exceeds at one end of a profile."""

    macs_per_second: float  # all cores in their inner loop
    dram: Dram

    @classmethod
    def of(cls, target: Target, rates: Rates) -> Roof:
        core, dram = charged(rates)
        return cls(target.cores * core.macs_per_cycle * target.profile.clock_hz, dram)

    @property
    def dram_rates(self) -> tuple[float, ...]:
        """Bytes per second: what one direction gives, and both together where that is more."""
        return tuple(sorted({self.dram.read, self.dram.together}))

    @property
    def ridges(self) -> tuple[float, ...]:
        """MAC per byte where the roofs meet, for each of `dram_rates`."""
        return tuple(self.macs_per_second / rate for rate in self.dram_rates)


def charged(rates: Rates) -> tuple[CoreRate, Dram]:
    """What a roof is made of."""
    assert rates.core is not None
    assert rates.dram is not None
    return rates.core, rates.dram


@dataclass(frozen=True)
class End:
    """What an op takes at one end of a profile, part by part of its dispatch."""

    parts: tuple[Spent, ...]

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def bound(self) -> str:
        """What takes longest, over all parts."""
        return max(RESOURCES, key=lambda name: sum(float(getattr(part, name)) for part in self.parts))


@dataclass(frozen=True)
class Point:
    """One op of a window as one family makes it, without the latency of a dispatch."""

    op: str
    made_by: str  # LAYER or GEMM
    times: int  # in a window
    macs: int  # that the op asks for: padding takes time and counts for nothing; 0: it has no product
    bytes_read: int  # from DRAM, counted as often as they are read
    bytes_written: int
    cautious: End
    optimistic: End

    @property
    def seconds(self) -> Modelled:
        return Modelled(self.cautious.seconds, self.optimistic.seconds)

    @property
    def nbytes(self) -> int:
        return self.bytes_read + self.bytes_written

    @property
    def macs_per_byte(self) -> float:
        return self.macs / self.nbytes

    def of_roof(self, end: End, roof: Roof) -> float:
        """What is reached of the lower roof above the op: that of arithmetic, or of its own bytes."""
        least = max(self.macs / roof.macs_per_second, roof.dram.seconds(self.bytes_read, self.bytes_written))
        return least / end.seconds


@dataclass(frozen=True)
class Window:
    """Every op of a window of one model."""

    model: str
    points: tuple[Point, ...]

    def of(self, family: str) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.made_by == family)

    @property
    def with_products(self) -> tuple[Point, ...]:
        """What a roofline shows."""
        return tuple(point for point in self.points if point.macs)


@dataclass(frozen=True)
class Rooflines:
    target: Target
    shown: Window  # op by op
    windows: tuple[Window, ...]  # of every size

    @property
    def cautious(self) -> Roof:
        return Roof.of(self.target, self.target.profile.cautious)

    @property
    def optimistic(self) -> Roof:
        return Roof.of(self.target, self.target.profile.optimistic)


def run_rooflines(model: str = "base", target: Target = NPU1) -> Rooflines:
    """model: a released one, which is shown op by op. Raises UnknownModelError for another."""
    shown = window_of(model, target)
    windows = (shown if name == model else window_of(name, target) for name in MODELS)
    return Rooflines(target, shown, tuple(windows))


def window_of(model: str, target: Target) -> Window:
    dims = released_dimensions(model)
    return Window(model, (*_points_of_layers(dims, target), *_points_of_gemms(dims, target)))


def _points_of_layers(dims: ModelDimensions, target: Target) -> Iterator[Point]:
    """Phase by phase. A product whose columns are made in several phases is one point."""
    (kernel,) = _kernels(target, LAYER)
    parts = [part.op for op in encoder_ops(dims) for part in flattened(op, kernel.matches)]
    for op, times in Counter(op for op in parts if kernel.matches(op)).items():
        contract = kernel.contract(op)
        assert isinstance(contract, LayerContract)
        alike = groupby(range(len(contract.phases)), _product_of(contract.phases))
        made = [list(numbers) for _, numbers in alike]
        for (name, macs), numbers in zip(_stages(op), made, strict=True):
            yield _point(name, LAYER, times, macs, contract, numbers)


def _product_of(phases: Sequence[Phase]) -> Callable[[int], object]:
    """What phases of one product have in common, and others have not."""

    def key(number: int) -> object:
        phase = phases[number]
        return (phase.a, phase.K) if isinstance(phase, Gemm) else number

    return key


def _stages(op: Op) -> Iterator[tuple[str, int]]:
    """What a dispatch does one after the other: a name, and multiplications."""
    if isinstance(op, Linear):
        yield from [(f"{op.name}, norm", 0)] * op.norm
        yield op.name, op.macs
        yield from [(f"{op.name}, residual", 0)] * op.residual
    elif isinstance(op, (Attention, Norm)):
        yield op.name, op.macs
    else:
        for part in op.lower():
            yield from _stages(part.op)


def _points_of_gemms(dims: ModelDimensions, target: Target) -> Iterator[Point]:
    choice = choose(encoder_ops(dims), _kernels(target, GEMM))
    plans = choice.alternatives[0].plans
    for op, times in Counter(plan.op for plan in plans).items():
        plan = choice.plans[op]
        assert isinstance(op, Matmul)
        assert plan.dispatches == 1
        yield _point(op.name, GEMM, times, op.macs, plan.contract, [0])


def _kernels(target: Target, group: str) -> list[Kernel]:
    return [kernel for kernel in registry.kernels(target) if kernel.group == group]


def _point(
    name: str, family: str, times: int, macs: int, contract: Contract, numbers: Iterable[int]
) -> Point:
    """numbers: of the parts of the dispatch that make the op."""
    profile, numbers = contract.target.profile, list(numbers)

    def end(rates: Rates) -> End:
        works = contract.works(rates.core)
        return End(tuple(spent(works[number], profile, rates) for number in numbers))

    works = [contract.works(None)[number] for number in numbers]
    return Point(
        op=name,
        made_by=family,
        times=times,
        macs=macs,
        bytes_read=sum(work.bytes_read for work in works),
        bytes_written=sum(work.bytes_written for work in works),
        cautious=end(profile.cautious),
        optimistic=end(profile.optimistic),
    )


# ---------------------------------------------------------------------------------------------- what is shown


def write_files(rooflines: Rooflines, files: Files) -> None:
    files.write_tables(
        as_markdown(rooflines, _picture(files)),
        as_document(rooflines),
        [_fields(rooflines, point) for point in rooflines.shown.points],
    )


def _picture(files: Files) -> str | None:
    """The plot, as the text names it."""
    if files.plot is None or files.markdown is None:
        return None
    return relpath(files.plot, files.markdown.parent)


def as_markdown(rooflines: Rooflines, picture: str | None = None) -> str:
    """For base, with its picture, it is docs/roofline.md."""
    return page_as_markdown(page(rooflines, picture))


def page(rooflines: Rooflines, picture: str | None = None) -> Page:
    """For people: what binds each op, and why."""
    target, window = rooflines.target, rooflines.shown
    profile, columns = target.profile, target.columns
    shown = f"![multiplications per byte and per second of each op]({picture})\n\n" if picture else ""
    channels = columns * target.shim.dma_channels
    streams = channels * WORD_BYTES / profile.read_cycles_per_word * profile.clock_hz
    cautious, optimistic = rooflines.cautious, rooflines.optimistic
    return (
        "# What binds each op\n\n"
        f"A roofline of one window of {window.model}, op by op, as the layer kernels make it and as gemm\n"
        "kernels do. `whisper-npu benchmark roofline --markdown FILE.md --plot FILE.svg` writes this.\n"
        f"Everything is MODELLED for {target.title}; nobody measured it. A range spans the cautious and the\n"
        "optimistic end of the profile.\n\n"
        f"{shown}"
        "Lines are roofs: a slope is what DRAM gives, a level what the cores multiply at most. A mark with\n"
        "its bar is an op.\n\n",
        *_bounds(rooflines),
        "\n## Why\n\n"
        "- arithmetic: the busiest core. Its roof is the inner loop alone, "
        f"{_giga(cautious.macs_per_second)} to {_giga(optimistic.macs_per_second)} GMAC/s.\n"
        "  What keeps an op below it is what each step costs besides, vectors that multiply nothing\n"
        "  (softmax, GELU, biases, conversions), and padding, whose multiplications are not counted here\n"
        "- DRAM: what the array does not keep is read again, for each block of C that needs it. Roofs\n"
        f"  meet at {_ridges(cautious)} MAC per byte, cautious, and at {_ridges(optimistic)}, optimistic, "
        "by how evenly bytes\n  go both ways. Left of that DRAM's roof is the lower one, however fast the "
        "cores multiply\n"
        f"- streams: the busiest channel of a shim, {WORD_BYTES} bytes per cycle. All {channels} "
        f"that read bring\n  {streams / 1e9:.1f} GB/s, hardly more than DRAM's optimistic "
        f"{optimistic.dram.read / 1e9:g}: unevenly used, they bind before it does\n"
        "- tasks: starts that overlap with nothing, and stand in every time; in layer kernels the others\n"
        "  start while channels and cores are at work\n"
        f"- {_attention(window)}\n"
        "- norms and sums of the residual stream multiply no matrices: they have a line in the table\n"
        "  and no mark in the picture\n\n"
        f"## {window.model}, by layer kernels\n\n",
        Table([_cells(rooflines, point) for point in window.of(LAYER)], left=("op", *_BOUNDS)),
        f"\n## {window.model}, by gemm kernels\n\n"
        "The tile that the planner would choose. Softmax, GELU, norms, biases and sums are the host's then,\n"
        "and not in it.\n\n",
        Table([_cells(rooflines, point) for point in window.of(GEMM)], left=("op", *_BOUNDS)),
        "\n- times: in a window; all other figures are of one\n"
        "- MMAC: what the op asks for, without padding; MB: through DRAM, both ways, as often as they go\n"
        "- MODELLED ms: without the latency of dispatches\n"
        "- of the roof: how much of the lower roof over the op is reached\n"
        f"  - {profile.name}: {profile.basis}\n\n"
        "## Every size\n\n",
        Table(
            [_size(each, family) for each in rooflines.windows for family in (LAYER, GEMM)],
            left=("encoder", *_BOUNDS),
        ),
        "\n- MODELLED ms: all ops of a window, as above\n"
        "- bound: what share of that time is of ops that it binds\n",
    )


def _giga(per_second: float) -> str:
    return f"{1e-9 * per_second:,.0f}"


_BOUNDS = ("bound, cautious", "bound, optimistic")


def _bounds(rooflines: Rooflines) -> tuple[str, ...]:
    """What binds which ops with products, for either end."""
    lines: list[str] = []
    for end in ("cautious", "optimistic"):
        bound = {
            resource: [
                p.op for p in rooflines.shown.of(LAYER) if p.macs and getattr(p, end).bound == resource
            ]
            for resource in RESOURCES
        }
        binds = "; ".join(f"{RESOURCES[name]} binds {', '.join(ops)}" for name, ops in bound.items() if ops)
        lines += wrap(f"{end}, layer kernels: {binds}", 96, first="- ", rest="  ")
    return tuple(f"{line}\n" for line in lines)


def _ridges(roof: Roof) -> str:
    return " to ".join(f"{ridge:.0f}" for ridge in reversed(roof.ridges))


def _attention(window: Window) -> str:
    """The op that gains most by staying on the array."""
    (fused,) = (point for point in window.of(LAYER) if point.op == "attention")
    apart = [point for point in window.of(GEMM) if point.op in _parts_of_attention()]
    names = " and ".join(f"{point.op} has {point.macs_per_byte:.0f}" for point in apart)
    return (
        f"attention by layer kernels has {fused.macs_per_byte:.0f} MAC per byte, because its scores stay "
        f"in the\n  cores; by gemm they cross DRAM: {names}"
    )


def _parts_of_attention() -> list[str]:
    return [part.op.name for part in Attention(1, 1, 1).lower() if isinstance(part.op, Matmul)]


def _cells(rooflines: Rooflines, point: Point) -> dict[str, str]:
    of_roof = [
        100 * point.of_roof(end, roof)
        for end, roof in (
            (point.cautious, rooflines.cautious),
            (point.optimistic, rooflines.optimistic),
        )
    ]
    low, high = sorted(f"{percent:.0f}" for percent in of_roof)
    return {
        "op": point.op,
        "times": str(point.times),
        "MMAC": f"{point.macs / 1e6:,.0f}" if point.macs else "-",
        "MB": f"{point.nbytes / 1e6:.1f}",
        "MAC/byte": f"{point.macs_per_byte:.1f}" if point.macs else "-",
        "MODELLED ms": point.seconds.in_units(1e3),
        "MODELLED GMAC/s": _rates([point]),
        "of the roof": f"{low} %" if low == high else f"{low} to {high} %",
        "bound, cautious": RESOURCES[point.cautious.bound],
        "bound, optimistic": RESOURCES[point.optimistic.bound],
    }


def _rates(points: Sequence[Point]) -> str:
    """GMAC per second of all these, one after the other."""
    macs = 1e-9 * sum(point.times * point.macs for point in points)
    if not macs:
        return "-"
    seconds = window_seconds(points)
    return f"{macs / seconds.cautious_s:,.0f} to {macs / seconds.optimistic_s:,.0f}"


def window_seconds(points: Iterable[Point]) -> Modelled:
    return total(point.seconds * point.times for point in points)


def _size(window: Window, family: str) -> dict[str, str]:
    points = window.of(family)
    macs = sum(point.times * point.macs for point in points)
    return {
        "encoder": f"{window.model} by {family}",
        "GMAC": f"{macs / 1e9:,.1f}",
        "MAC/byte": f"{macs / sum(point.times * point.nbytes for point in points):.1f}",
        "MODELLED ms": window_seconds(points).in_units(1e3),
        "MODELLED GMAC/s": _rates(points),
        "bound, cautious": _shares((point.times, point.cautious) for point in points),
        "bound, optimistic": _shares((point.times, point.optimistic) for point in points),
    }


def _shares(ends: Iterable[tuple[int, End]]) -> str:
    seconds = dict.fromkeys(RESOURCES, 0.0)
    for times, end in ends:
        seconds[end.bound] += times * end.seconds
    whole = sum(seconds.values())
    shares = [(name, 100 * seconds[name] / whole) for name in RESOURCES if seconds[name]]
    return ", ".join(f"{RESOURCES[name]} {percent:.0f} %" for name, percent in shares)


def as_document(rooflines: Rooflines) -> dict[str, object]:
    profile = rooflines.target.profile
    roofs = {"cautious": rooflines.cautious, "optimistic": rooflines.optimistic}
    return {
        "schema": "whisper-npu/benchmark-roofline",
        "schema_version": 1,
        "profiles": {profile.name: profile.basis},
        "model": rooflines.shown.model,
        "roofs": {
            end: {
                "macs_per_second": roof.macs_per_second,
                "dram_read_bytes_per_second": roof.dram.read,
                "dram_write_bytes_per_second": roof.dram.write,
                "dram_together_bytes_per_second": roof.dram.together,
            }
            for end, roof in roofs.items()
        },
        "rows": [_fields(rooflines, point) for point in rooflines.shown.points],
        "sizes": [
            {
                "model": window.model,
                "made_by": family,
                **window_seconds(window.of(family)).as_fields(profile.name),
            }
            for window in rooflines.windows
            for family in (LAYER, GEMM)
        ],
    }


def _fields(rooflines: Rooflines, point: Point) -> dict[str, object]:
    return {
        "op": point.op,
        "made_by": point.made_by,
        "times": point.times,
        "macs": point.macs,
        "bytes_read": point.bytes_read,
        "bytes_written": point.bytes_written,
        **point.seconds.as_fields(rooflines.target.profile.name),
        "of_roof_cautious": point.of_roof(point.cautious, rooflines.cautious),
        "of_roof_optimistic": point.of_roof(point.optimistic, rooflines.optimistic),
        "bound_cautious": point.cautious.bound,
        "bound_optimistic": point.optimistic.bound,
    }
