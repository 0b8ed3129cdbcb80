"""Which kernel makes which product: the least modelled time of a run, changes of overlay included. Pure.

A change of overlay costs as much as a dozen dispatches, so one kernel for all products is the rule; a second
one for products of heads, whose shapes are odd, is the exception that has to pay for its changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from whisper_npu.errors import UnknownKernelError
from whisper_npu.host.bf16 import Rounding
from whisper_npu.npu.contract import Contract, DType, gemm
from whisper_npu.npu.cost import XDNA1_PROFILE, Profile, modelled_plan_seconds, padded_gemm
from whisper_npu.npu.plan import Plan, Problem, tiled_plan


@dataclass(frozen=True)
class Fixed:
    """One contract, whose tiles every product is cut into."""

    only: Contract

    @property
    def name(self) -> str:
        return self.only.name

    def contract(self, problem: Problem) -> Contract:
        return self.only


@dataclass(frozen=True)
class Gemm:
    """The whole-matrix kernels of one core tile: one overlay for all of them, one dispatch a product.

    For one K and N, B lies the same whatever M is, so that weights can be staged before M is known.
    """

    core_tile: tuple[int, int, int]
    built: tuple[Contract, ...] | None = None  # the only ones there are; None: one for any shape

    @property
    def name(self) -> str:
        return gemm(0, 0, 0, self.core_tile).overlay

    def contract(self, problem: Problem) -> Contract:
        wanted = padded_gemm(problem, self.core_tile)
        if self.built is None or (problem.heads > 1 and wanted in self.built):
            return wanted
        return _best_built([contract for contract in self.built if contract.batch == 1], problem)


def _best_built(contracts: Sequence[Contract], problem: Problem) -> Contract:
    """Of tiles k,n those that pad B least and are largest; of their contracts that of least modelled time."""

    def padding(sizes: tuple[int, int]) -> tuple[int, int]:
        (k, n), (K, N) = sizes, (problem.K, problem.N)
        down, across = -(-K // k), -(-N // n)
        return down * k * across * n, down * across

    k, n = min({(contract.k, contract.n) for contract in contracts}, key=padding)
    same = [contract for contract in contracts if (contract.k, contract.n) == (k, n)]
    return min(same, key=lambda contract: modelled_plan_seconds(tiled_plan(problem, contract), XDNA1_PROFILE))


Kernel = Fixed | Gemm


def kernels_of(
    contracts: Iterable[Contract], any_shape: Iterable[tuple[int, int, int]]
) -> tuple[Kernel, ...]:
    """What a device with these contracts, and gemms of any shape for these core tiles, gives to choose from.

    Only kernels of the best numerics, and none that takes its operands in pairs: those go by name only.
    """
    contracts = tuple(contracts)
    fixed = [
        Fixed(contract) for contract in contracts if _is_for_all(contract) and not contract.sizes_at_run_time
    ]
    anything = [Gemm(tile) for tile in any_shape]
    built = [contract for contract in contracts if contract.sizes_at_run_time and _is_for_all(contract)]
    tiles = {contract.core_tile for contract in built if contract.batch == 1 and contract.core_tile}
    some = [
        Gemm(tile, tuple(contract for contract in built if contract.core_tile == tile))
        for tile in sorted(tiles - {kernel.core_tile for kernel in anything})
    ]
    return (*fixed, *anything, *some)


def _is_for_all(contract: Contract) -> bool:
    return (
        contract.result_dtype is DType.F32
        and contract.operand_rounding is Rounding.NEAREST_EVEN
        and not contract.packs_pairs
    )


@dataclass(frozen=True)
class Alternative:
    """One way to make all products. Seconds are MODELLED, changes of overlay included."""

    kernels: tuple[Kernel, ...]  # for all; and perhaps a second for some products of heads
    plans: tuple[Plan, ...]  # in the order of the work
    seconds: float

    @property
    def dispatches(self) -> int:
        return sum(plan.dispatches for plan in self.plans)

    @property
    def is_mixed(self) -> bool:
        return len({type(kernel) for kernel in self.kernels}) > 1

    def __str__(self) -> str:
        main, *second = (kernel.name.removeprefix("matmul_") for kernel in self.kernels)
        if second:
            other = sum(plan.contract == self.kernels[1].contract(plan.problem) for plan in self.plans)
            main = f"{main}, and {second[0]} for {other} of {len(self.plans)} products"
        else:
            main = f"{main} for all"
        return f"{main}: {self.dispatches:,} dispatches, {1e3 * self.seconds:,.0f} ms"


@dataclass(frozen=True)
class Choice:
    """The kernels of a run, and why."""

    kernels: tuple[Kernel, ...]  # the first for every product with a weight
    reason: str = ""  # one line; none where nothing was compared
    contracts: Mapping[Problem, Contract] = field(default_factory=dict)  # of the problems chosen for
    seconds: float | None = None  # MODELLED; likewise
    alternatives: tuple[Alternative, ...] = ()  # the best of each kind, the one taken first

    @property
    def name(self) -> str:
        return ", ".join(kernel.name for kernel in self.kernels)

    @property
    def known_contracts(self) -> tuple[Contract, ...]:
        """Those that will be needed whatever comes."""
        fixed = (kernel.only for kernel in self.kernels if isinstance(kernel, Fixed))
        return tuple(dict.fromkeys((*self.contracts.values(), *fixed)))

    def contract(self, problem: Problem) -> Contract:
        """For any problem: as chosen, or else by the same rule for this problem alone."""
        chosen = self.contracts.get(problem)
        if chosen is not None or problem.heads == 1:
            return chosen or self.kernels[0].contract(problem)
        main = self.kernels[0]
        return min(self.kernels, key=lambda kernel: _alone(kernel, main, problem)).contract(problem)

    def contract_of_weight(self, K: int, N: int) -> Contract:
        """One that reads a weight as every product with it will, whatever its M."""
        return self.kernels[0].contract(Problem(1, K, N))


def _alone(kernel: Kernel, main: Kernel, problem: Problem) -> float:
    there_and_back = 0.0 if kernel == main else 2 * XDNA1_PROFILE.overlay_switch_seconds
    return there_and_back + modelled_plan_seconds(
        tiled_plan(problem, kernel.contract(problem)), XDNA1_PROFILE
    )


def asked_for(kernel: Kernel) -> Choice:
    """No choice at all."""
    return Choice((kernel,))


def choose(
    problems: Iterable[Problem], kernels: Sequence[Kernel], profile: Profile = XDNA1_PROFILE
) -> Choice:
    """The kernels that make `problems`, in this order, in the least modelled time.

    Products of heads may also be made transposed: both their operands are activations, the caller's to turn.
    Raises UnknownKernelError where there is no kernel.
    """
    if not kernels:
        raise UnknownKernelError(
            "there is no kernel to choose from: build some with whisper-npu kernels build"
        )
    run = tuple(problems)
    costs = {kernel: _Costs(kernel, run, profile) for kernel in kernels}
    ways = [_Way((kernel,), frozenset(), of_kernel.seconds) for kernel, of_kernel in costs.items()]
    of_heads = {problem for problem in run if problem.heads > 1}
    # Some go to a second kernel: any one of the problems, or all of them.
    for some in {*(frozenset([problem]) for problem in of_heads), frozenset(of_heads)} - {frozenset()}:
        changes = sum((before in some) != (after in some) for before, after in pairwise(run))
        second = min(kernels, key=lambda kernel: costs[kernel].of(some))
        charged = changes * profile.overlay_switch_seconds + costs[second].of(some)
        ways += [
            _Way((kernel, second), some, charged + of_kernel.seconds - of_kernel.of(some))
            for kernel, of_kernel in costs.items()
            if kernel != second
        ]
    # Seconds to the nanosecond: of equals the first, not the one that rounding favours.
    ways.sort(key=lambda way: round(way.seconds, 9))
    kinds = {way.kind: way for way in reversed(ways)}  # the best of each
    best, *others = (
        Alternative(way.kernels, way.plans(run, costs), way.seconds)
        for way in sorted(kinds.values(), key=ways.index)
    )
    rejected = "".join(f"; {other}" for other in others if not other.is_mixed)
    return Choice(
        kernels=best.kernels,
        reason=f"{best} MODELLED ({profile.name}){rejected}",
        contracts={plan.problem: plan.contract for plan in best.plans},
        seconds=best.seconds,
        alternatives=(best, *others),
    )


class _Costs:
    """What one kernel takes for each problem of a run, products of heads the way round that is cheaper."""

    def __init__(self, kernel: Kernel, run: Sequence[Problem], profile: Profile) -> None:
        self._counts = Counter(run)
        self.plans: dict[Problem, Plan] = {}
        self._seconds: dict[Problem, float] = {}
        for problem in self._counts:
            ways_round = (problem, problem.transposed) if problem.heads > 1 else (problem,)
            plans = [tiled_plan(way, kernel.contract(way)) for way in ways_round]
            seconds = [modelled_plan_seconds(plan, profile) for plan in plans]
            self._seconds[problem] = min(seconds)
            self.plans[problem] = plans[seconds.index(min(seconds))]

    @property
    def seconds(self) -> float:
        return self.of(self._counts)

    def of(self, some: Iterable[Problem]) -> float:
        return sum(self._counts[problem] * self._seconds[problem] for problem in some)


@dataclass(frozen=True)
class _Way:
    kernels: tuple[Kernel, ...]
    second: frozenset[Problem]  # what the second kernel makes
    seconds: float

    @property
    def kind(self) -> tuple[type[Kernel], ...]:
        return tuple(type(kernel) for kernel in self.kernels)

    def plans(self, run: Sequence[Problem], costs: Mapping[Kernel, _Costs]) -> tuple[Plan, ...]:
        main, second = costs[self.kernels[0]], costs[self.kernels[-1]]
        return tuple((second if problem in self.second else main).plans[problem] for problem in run)
