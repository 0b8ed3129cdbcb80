"""Which kernel makes which op: the least modelled time of a run, changes of overlay included. Pure.

A change of overlay costs as much as a dozen dispatches, so one kernel for all products is the rule; a second
one for products of a batch, whose shapes are odd, is the exception that has to pay for its changes. An op on
rows is the host's unless a kernel is modelled cheaper. A kernel that makes ops whole is taken where that is
modelled cheaper than all this, with what the host does in between.

What is compared are sums of middles: of each plan's range, and of the range of each change of overlay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

from whisper_npu.errors import UnknownKernelError
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import Modelled, host_seconds, modelled_plan_seconds, overlay_change, total
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Profile, Target
from whisper_npu.ops import Linear, Matmul, Op, flattened

_NONE = "there is no kernel to choose from: build some with whisper-npu kernels build"


def smallest(ops: Iterable[Op]) -> Iterator[Op]:
    """The ops that cannot be lowered any more, in the order of the work."""
    for op in ops:
        yield from (part.op for part in flattened(op, lambda whole: False))


def products(ops: Iterable[Op]) -> list[Matmul]:
    """Every matrix product of these ops, in the order of the work."""
    return [op for op in smallest(ops) if isinstance(op, Matmul)]


@dataclass(frozen=True)
class Alternative:
    """One way to make all products, or all ops."""

    kernels: tuple[Kernel, ...]  # for all; and perhaps a second for some products of a batch
    plans: tuple[Plan, ...]  # in the order of the work
    made_by_second: int  # how many of the plans
    seconds: Modelled  # changes of overlay included
    host_seconds: float | None = (
        None  # MODELLED, of what the host does in between; None where nobody compared it
    )

    @property
    def dispatches(self) -> int:
        return sum(plan.dispatches for plan in self.plans)

    @property
    def with_host(self) -> Modelled:
        return self.seconds.plus(self.host_seconds or 0.0)

    @property
    def is_mixed(self) -> bool:
        return len({type(kernel) for kernel in self.kernels}) > 1

    def __str__(self) -> str:
        if self.host_seconds is not None:
            names, all_of_it = ", ".join(kernel.name for kernel in self.kernels), self.with_host
            return f"{names}: {self.dispatches:,} dispatches, {all_of_it.in_units(1e3)} ms"
        main, *second = (kernel.name.removeprefix("matmul_") for kernel in self.kernels)
        if second:
            main = f"{main}, and {second[0]} for {self.made_by_second} of {len(self.plans)} products"
        else:
            main = f"{main} for all"
        return f"{main}: {self.dispatches:,} dispatches, {self.seconds.in_units(1e3)} ms MODELLED"


@dataclass(frozen=True)
class Choice:
    """The kernels of a run, and why."""

    kernels: tuple[Kernel, ...]  # the first for every product with a weight
    on_rows: tuple[Kernel, ...] = ()  # candidates for what is no product
    reason: str = ""  # one line; none where nothing was compared
    plans: Mapping[Op, Plan] = field(default_factory=dict)  # of the ops chosen for
    seconds: Modelled | None = None  # likewise
    alternatives: tuple[Alternative, ...] = ()  # the best of each kind, the one taken first
    whole: tuple[Kernel, ...] = ()  # for ops that are lowered for all others; the first that can takes an op

    @property
    def name(self) -> str:
        """Of the kernels that make what was chosen for."""
        none_left = self.whole and not any(isinstance(op, Matmul) for op in self.plans)
        return ", ".join(kernel.name for kernel in (*self.whole, *(() if none_left else self.kernels)))

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """Those that will be needed whatever comes."""
        known = (contract for kernel in self.kernels for contract in kernel.known)
        return tuple(dict.fromkeys((*(plan.contract for plan in self.plans.values()), *known)))

    def plan(self, op: Op) -> Plan | None:
        """For any op: as chosen, or else by the same rule for this op alone.

        None: the host's, or to be lowered.
        """
        if op in self.plans:
            return self.plans[op]
        for kernel in self.whole:
            if kernel.matches(op):
                return kernel.plan(op)
        if not isinstance(op, Matmul):
            return _on_rows(op, self.on_rows, self.kernels)
        main = self._for_products
        if op.batch == 1:
            return main.plan(op)
        return min(self.kernels, key=lambda kernel: _alone(kernel.plan(op), kernel == main)).plan(op)

    def plan_of_weight(self, layer: Linear | Matmul) -> Plan | None:
        """One that reads a weight as every layer with it will, whatever its M.

        None: a larger op reads it, and lays out all of its weights together.
        """
        one_row = replace(layer, M=1)
        if isinstance(layer, Linear):
            if one_row in self._layers_of_larger_ops:
                return None
            for kernel in self.whole:
                if kernel.matches(one_row):
                    return kernel.plan(one_row)
        return self._for_products.plan(Matmul(1, layer.K, layer.N))

    @property
    def _for_products(self) -> Kernel:
        if not self.kernels:
            raise UnknownKernelError(
                f"{self.name} makes no matrix products: build others with whisper-npu kernels build"
            )
        return self.kernels[0]

    @cached_property
    def _layers_of_larger_ops(self) -> frozenset[Linear]:
        """Those of what was chosen for, each of one row."""
        larger = (op for op in self.plans if not isinstance(op, Linear))
        parts = (part.op for op in larger for part in op.lower())
        return frozenset(replace(op, M=1) for op in parts if isinstance(op, Linear))


def _alone(plan: Plan, is_main: bool) -> float:
    profile = plan.contract.target.profile
    there_and_back = 0.0 if is_main else 2 * overlay_change(profile).middle
    return there_and_back + modelled_plan_seconds(plan, profile).middle


def _on_rows(op: Op, kernels: Sequence[Kernel], products: Sequence[Kernel]) -> Plan | None:
    """The cheapest kernel's plan, where it and two changes of overlay are modelled cheaper than the host."""
    plans = [kernel.plan(op) for kernel in kernels if kernel.matches(op)]
    if not plans:
        return None
    profile = plans[0].contract.target.profile
    best = min(plans, key=lambda plan: _alone(plan, is_main=False))
    return best if _alone(best, is_main=not products) < host_seconds(op, profile) else None


def asked_for(kernel: Kernel) -> Choice:
    """No choice at all."""
    return Choice((kernel,))


def whole_by(kernel: Kernel, ops: Iterable[Op], kernels: Sequence[Kernel]) -> Choice:
    """This kernel for whatever it can make, and for all else what is best among the others.

    Raises UnknownKernelError where products are left, and no kernel for them.
    """
    ops, others = list(ops), _not_whole(kernels)
    alone = _makes_all(kernel, ops) and not _make_products(others)
    return _whole(kernel, ops, None if alone else _lowered(ops, others))


def _not_whole(kernels: Iterable[Kernel]) -> list[Kernel]:
    return [kernel for kernel in kernels if not kernel.makes_whole]


def _make_products(kernels: Iterable[Kernel]) -> bool:
    return any(kernel.matches(Matmul(1, 1, 1)) for kernel in kernels)


def _makes_all(kernel: Kernel, ops: Iterable[Op]) -> bool:
    """Whether no product is left when it has made whatever it can."""
    parts = (part.op for op in ops for part in flattened(op, kernel.matches))
    return not any(isinstance(op, Matmul) for op in parts if not kernel.matches(op))


def _whole(kernel: Kernel, ops: Sequence[Op], rest: Choice | None) -> Choice:
    """rest: for what it cannot make; None: that is the host's."""
    parts = [part.op for op in ops for part in flattened(op, kernel.matches)]
    plans = {op: kernel.plan(op) for op in dict.fromkeys(parts) if kernel.matches(op)}
    reason = f"{kernel.name} for whatever it can make, as asked for"
    if rest is None:
        return Choice((), (), reason, plans, whole=(kernel,))
    left = set(smallest(op for op in parts if op not in plans))
    plans |= {op: plan for op, plan in rest.plans.items() if op in left}
    return Choice(rest.kernels, rest.on_rows, reason, plans, whole=(kernel,))


def choose(ops: Iterable[Op], kernels: Sequence[Kernel]) -> Choice:
    """The kernels that make `ops`, in this order, in the least time, MODELLED by their target's profile.

    Raises UnknownKernelError where there is no kernel for products, and none that makes all ops whole.
    """
    ops = list(ops)
    whole = [kernel for kernel in kernels if kernel.makes_whole and any(map(kernel.matches, ops))]
    refused = dict.fromkeys(
        f"{kernel.name} does not make {op}: {why}"
        for kernel in kernels
        for op in dict.fromkeys(ops)
        if (why := kernel.refuses(op)) is not None
    )
    lowered = None
    if _make_products(kernels) or not whole:
        lowered = _lowered(ops, _not_whole(kernels))
    if lowered is not None and not whole:
        return replace(lowered, reason="; ".join(filter(None, [lowered.reason, *refused])))
    ways = [_whole(kernel, ops, lowered) for kernel in whole if lowered or _makes_all(kernel, ops)]
    if not ways:
        raise UnknownKernelError(_NONE)
    compared = [(_compared(way, ops), way) for way in (*ways, *([lowered] if lowered else []))]
    compared.sort(key=lambda one: round(one[0].with_host.middle, 9))
    (first, best), *others = compared
    profile = next(iter(best.plans.values())).contract.target.profile
    reason = f"{first} MODELLED ({profile.name}), the host's part included"
    return replace(
        best,
        reason="; ".join([reason, *(str(other) for other, _ in others), *refused]),
        seconds=first.seconds,
        alternatives=(first, *(other for other, _ in others), *(lowered.alternatives[1:] if lowered else ())),
    )


def _compared(way: Choice, ops: Sequence[Op]) -> Alternative:
    """What a window takes by it, one window after the other."""
    work = [part.op for op in ops for part in flattened(op, lambda part: way.plan(part) is not None)]
    plans = [(op, way.plan(op)) for op in work]
    made = [plan for _, plan in plans if plan is not None]
    profile = made[0].contract.target.profile
    overlays = [plan.contract.overlay for plan in made]
    changes = sum(
        before != after for before, after in zip(overlays, overlays[1:] + overlays[:1], strict=True)
    )
    seconds = total(modelled_plan_seconds(plan, profile) for plan in made)
    host = sum(host_seconds(op, profile) for op, plan in plans if plan is None)
    used = (*way.whole, *(way.kernels if any(isinstance(plan.op, Matmul) for plan in made) else ()))
    made_by_second = way.alternatives[0].made_by_second if way.alternatives else 0
    return Alternative(used, tuple(made), made_by_second, seconds + overlay_change(profile) * changes, host)


def _lowered(ops: Iterable[Op], kernels: Sequence[Kernel]) -> Choice:
    """The kernels that make the products that ops are lowered to, and what rows are left.

    Raises UnknownKernelError where there is no kernel for products.
    """
    work = list(smallest(ops))
    run = [op for op in work if isinstance(op, Matmul)]
    example = Matmul(1, 1, 1)
    matches = [kernel.matches(example) for kernel in kernels]
    for_products = [kernel for kernel, does in zip(kernels, matches, strict=True) if does]
    on_rows = tuple(kernel for kernel, does in zip(kernels, matches, strict=True) if not does)
    if not for_products:
        raise UnknownKernelError(_NONE)
    profile = _target(for_products[0]).profile
    counts = Counter(run)
    costs = {kernel: _Costs(kernel, counts, profile) for kernel in for_products}
    ways = [_Way((kernel,), frozenset(), 0, of_kernel.middle) for kernel, of_kernel in costs.items()]
    per_change = overlay_change(profile)
    batches = {op for op in counts if op.batch > 1}
    # Some go to a second kernel: any one of the problems, or all of them.
    for some in {*(frozenset([op]) for op in batches), frozenset(batches)} - {frozenset()}:
        changes = sum((before in some) != (after in some) for before, after in pairwise(run))
        second = min(for_products, key=lambda kernel: costs[kernel].of(some))
        charged = changes * per_change.middle + costs[second].of(some)
        ways += [
            _Way((kernel, second), some, changes, charged + of_kernel.middle - of_kernel.of(some))
            for kernel, of_kernel in costs.items()
            if kernel != second
        ]
    # Seconds to the nanosecond: of equals the first, not the one that rounding favours.
    ways.sort(key=lambda way: round(way.middle, 9))
    kinds = {way.kind: way for way in reversed(ways)}  # the best of each
    in_order = sorted(kinds.values(), key=ways.index)
    best, *others = (way.alternative(run, costs, per_change) for way in in_order)
    rejected = "".join(f"; {other}" for other in others if not other.is_mixed)
    plans: dict[Op, Plan] = {plan.op: plan for plan in best.plans}
    for op in dict.fromkeys(work):
        if not isinstance(op, Matmul) and (plan := _on_rows(op, on_rows, best.kernels)):
            plans[op] = plan
    return Choice(
        kernels=best.kernels,
        on_rows=on_rows,
        reason=f"{best} ({profile.name}){rejected}",
        plans=plans,
        seconds=best.seconds,
        alternatives=(best, *others),
    )


def _target(kernel: Kernel) -> Target:
    contract = kernel.contract(Matmul(1, 1, 1))
    assert contract is not None
    return contract.target


class _Costs:
    """What one kernel takes for each product of a run."""

    def __init__(self, kernel: Kernel, counts: Counter[Matmul], profile: Profile) -> None:
        self.plans = {op: kernel.plan(op) for op in counts}
        self.seconds = {op: modelled_plan_seconds(plan, profile) for op, plan in self.plans.items()}
        self._middles = {op: counts[op] * seconds.middle for op, seconds in self.seconds.items()}
        self.middle = sum(self._middles.values())

    def of(self, some: Iterable[Matmul]) -> float:
        """The middles of these, as often as the run makes them."""
        return sum(self._middles[op] for op in some)


@dataclass(frozen=True)
class _Way:
    kernels: tuple[Kernel, ...]
    second: frozenset[Matmul]  # what the second kernel makes
    changes: int  # of overlay
    middle: float  # MODELLED seconds

    @property
    def kind(self) -> tuple[type[Kernel], ...]:
        return tuple(type(kernel) for kernel in self.kernels)

    def alternative(
        self, run: Sequence[Matmul], costs: Mapping[Kernel, _Costs], per_change: Modelled
    ) -> Alternative:
        main, second = costs[self.kernels[0]], costs[self.kernels[-1]]
        of = [second if op in self.second else main for op in run]
        plans = tuple(cost.plans[op] for cost, op in zip(of, run, strict=True))
        work = total(cost.seconds[op] for cost, op in zip(of, run, strict=True))
        made_by_second = sum(op in self.second for op in run)
        return Alternative(self.kernels, plans, made_by_second, work + per_change * self.changes)
