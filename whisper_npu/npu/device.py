"""The seam between what a model asks for and whatever computes it: `Device.run` takes an op.

`npu/emulator/` and `npu/xrt/` are the two homes. A subclass executes plans; it may override how an op is run
where it can do that faster, with the same results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from threading import RLock
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.errors import PlanError, UnknownKernelError, UsageError, WrongResultError, quoted
from whisper_npu.host.memory import give_back_free_memory
from whisper_npu.host.threads import Threads
from whisper_npu.kernels import registry
from whisper_npu.kernels.matmul.kernel import MatmulPlan
from whisper_npu.npu.checksum import Checked, Sums, Turns, wrong_in
from whisper_npu.npu.contract import Contract, in_order_of_trial
from whisper_npu.npu.host_ops import run_on_host
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.planner import Choice, asked_for, choose, whole_by
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Direction, Linear, Matmul, Op, Part, flattened

KEPT_PLANS = 256
KEPT_BUFFERS = 16  # of activations; an encoder's window has nine shapes


class Buffer(ABC):
    """A matrix, or a batch of them, in the device's memory, in the layout that a kernel reads or writes."""

    @property
    @abstractmethod
    def layout(self) -> Layout: ...

    @abstractmethod
    def write(self, matrix: F32) -> None:
        """Pad, round and lay out what has the layout's shape."""

    @abstractmethod
    def read(self) -> F32:
        """What has the layout's shape, without its padding. The caller may change it; no run does."""

    @abstractmethod
    def operand(self, index: int, rows: slice) -> F32:
        """Some rows of a matrix of the batch as the device reads it, rounded. Only of what was written."""

    @abstractmethod
    def lying_as(self, layout: Layout) -> Buffer:
        """The same memory as an operand of another plan, whose layout says the same of it."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back. The buffer is of no use afterwards; what `read` gave stays."""


@dataclass(frozen=True)
class Together:
    """Operands of an op that stay from run to run, laid out together on a device: from `Device.hold`.

    It stands for each of them.
    """

    plan: Plan  # that reads them
    buffers: Mapping[str, Buffer]  # by the names of the plan's operands


@dataclass(frozen=True)
class Staying:
    """A result that stays on the device, for other ops to read: from `Device.result`."""

    plan: Plan  # that writes it
    buffer: Buffer

    def array(self) -> F32:
        """As an op gives it. The host reads it from the device."""
        return self.plan.turned_back(self.buffer.read())


# An operand of an op: an array of the host, one that is staged on the device, one of several held there, or
# what another op left there.
Value = F32 | Buffer | Together | Staying


@dataclass(frozen=True)
class Stats:
    """What a device did, counted by the device where it did it.

    Seconds are MEASURED, on the clock `Device.clock`.
    """

    calls: int = 0  # plans executed
    dispatches: int = 0
    submissions: int = 0  # of one dispatch or of a list of them
    bytes_to_device: int = 0
    bytes_from_device: int = 0
    overlay_changes: int = 0  # calls that found the array configured for another overlay than theirs
    pack_measured_s: float = 0.0  # rounding operands and laying them out, on the host
    kernel_measured_s: float = 0.0  # inside the device

    def __add__(self, other: Stats) -> Stats:
        return Stats(
            self.calls + other.calls,
            self.dispatches + other.dispatches,
            self.submissions + other.submissions,
            self.bytes_to_device + other.bytes_to_device,
            self.bytes_from_device + other.bytes_from_device,
            self.overlay_changes + other.overlay_changes,
            self.pack_measured_s + other.pack_measured_s,
            self.kernel_measured_s + other.kernel_measured_s,
        )


@dataclass(frozen=True)
class Run:
    """One executed plan, or several executions of it, and whose work it was."""

    name: str  # of the op, "attention.scores" for example
    plan: Plan
    stats: Stats
    start: float = 0.0  # MEASURED, before packing, on perf_counter's clock; of several executions nothing
    end: float = 0.0


@dataclass
class Recording:
    """What a device executed while it was recorded, in order."""

    runs: list[Run] = field(default_factory=list)

    @property
    def stats(self) -> Stats:
        return sum((run.stats for run in self.runs), Stats())

    @property
    def by_plan(self) -> tuple[Run, ...]:
        return merged(self.runs)


def merged(runs: Iterable[Run]) -> tuple[Run, ...]:
    """One record for each op's name and plan, in the order of the first."""
    total: dict[tuple[str, Plan], Stats] = {}
    for run in runs:
        key = run.name, run.plan
        total[key] = total.get(key, Stats()) + run.stats
    return tuple(Run(name, plan, stats) for (name, plan), stats in total.items())


class Scheduled(NamedTuple):
    """One step of an op."""

    part: Part
    outlives: frozenset[str]  # what it makes that is read after the next kernel ran


@dataclass
class _Array:
    """How the array stands, for all views of one device."""

    overlay: str | None = None  # of the last dispatch; None before the first


class Device(ABC):
    """Something that runs ops. A context manager; safe from several threads, which take turns.

    A device chooses a kernel for each op as it comes. `prepared` gives the same device with kernels chosen
    for a whole list of ops, which weights are staged for.

    checked: how much of its products is checked by checksums before they are used.
    """

    def __init__(self, target: Target, threads: Threads, *, checked: Checked = Checked.NOTHING) -> None:
        self.target = target
        self.threads = threads  # of the host, for whatever is done beside the device
        self._random = np.random.default_rng()  # for the checksums
        self.turns = Turns(checked, self._random)  # for all views
        self._sums: WeakKeyDictionary[Buffer, Sums] = WeakKeyDictionary()  # of weights, for all views
        self.choice: Choice | None = None
        self._lock = RLock()  # runs share buffers and the array
        self._array = _Array()
        self._forget()

    def _forget(self) -> None:
        """A view of its own: nothing planned, loaded or recorded."""
        self._plans: dict[Op, Plan | None] = {}  # oldest first
        self._schedules: dict[tuple[str, Op], tuple[Scheduled, ...]] = {}  # oldest first
        self._weights: dict[tuple[int, int], Choice] = {}  # by K and N, where nothing was prepared
        self._loaded: set[Contract] = set()
        self._buffers: dict[Layout, Buffer] = {}  # least recently used first
        self._recordings: list[Recording] = []

    # --------------------------------------------------------------------- what each device has and does

    @property
    @abstractmethod
    def name(self) -> str:
        """`emulator` or `npu`."""

    @property
    @abstractmethod
    def description(self) -> str:
        """One line for a report: what ran."""

    @property
    @abstractmethod
    def clock(self) -> str:
        """Whose seconds Stats count: `CPU` for the emulator, `NPU` for hardware."""

    @property
    def leaves_cpu_free(self) -> bool:
        """Whether the CPU can do other work while dispatches run, so that it pays to run ops ahead."""
        return False

    @abstractmethod
    def contracts(self) -> tuple[Contract, ...]:
        """The kernels with a name that it can run."""

    @abstractmethod
    def kernels(self) -> tuple[Kernel, ...]:
        """What the planner may choose from."""

    @abstractmethod
    def load(self, contract: Contract) -> None:
        """Make a kernel ready. Raises DeviceError where the device cannot run it."""

    @abstractmethod
    def alloc(self, layout: Layout, out: F32 | None = None) -> Buffer:
        """A buffer of this layout, its contents undefined.

        out: of the layout's shape, where a result is to go.
        """

    @abstractmethod
    def execute(self, plan: Plan, buffers: Sequence[Buffer]) -> Stats:
        """Execute every dispatch of a plan; results hold the sum of their partial results afterwards.

        buffers: one for each operand of the plan. Raises PlanError where a buffer's layout is not the plan's
        or a dispatch leaves its operand, DeviceError where the device fails.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for what runs, and release everything."""

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ----------------------------------------------------------------------------------------- for models

    def prepared(self, ops: Iterable[Op] = (), kernel: str | Contract | Choice = "auto") -> Device:
        """This device, with kernels chosen and loaded for these ops, given in the order of the work.

        kernel: "auto" for the least modelled time; a name of `contracts`; "gemm", the best of the
        whole-matrix kernels; one core tile of them, "gemm_96x64x48" for example; "layer", which makes linear
        layers, attention and encoder layers whole; or what was chosen elsewhere.
        Raises UnknownKernelError for a name that the device has no kernel for, DeviceError where one cannot
        be loaded.
        """
        view = copy(self)
        view._forget()
        view.choice = self.chosen(ops, kernel)
        for contract in in_order_of_trial(view.choice.contracts):
            view._load(contract)
        return view

    def chosen(self, ops: Iterable[Op], kernel: str | Contract | Choice = "auto") -> Choice:
        """The kernels that `prepared` takes. Raises UnknownKernelError."""
        if isinstance(kernel, Choice):
            return kernel
        if isinstance(kernel, str):
            self.check_kernel(kernel)
            kernels = self.kernels()
            named = [k for k in kernels if kernel in (k.group, k.name) and k.group is not None]
            whole = next((k for k in named if k.makes_whole), None)
            if whole is not None:
                self._check_can_check(whole)
                return whole_by(whole, ops, kernels)
            if self.turns.checked is Checked.ALL:
                kernels = tuple(k for k in kernels if not k.makes_whole)
            if kernel == "auto" or named:
                return choose(ops, named or kernels)
            kernel = registry.find_contract(kernel, self.contracts())
        if not isinstance(kernel, Contract):
            raise UnknownKernelError(f"kernel is {quoted(kernel)}, must be a name, such as auto")
        return asked_for(registry.kernel_of(kernel))

    def _check_can_check(self, whole: Kernel) -> None:
        if self.turns.checked is Checked.ALL:
            raise UsageError(
                f"kernel {whole.name} makes no single products, and only those can be checked by checksums: "
                f"check them with another kernel, auto for example, or take {whole.name} without checking all"
            )

    def check_kernel(self, kernel: str) -> None:
        """Raises UnknownKernelError where `prepared` would: before a model is loaded for it."""
        grouped = [k for k in self.kernels() if k.group is not None]
        groups = dict.fromkeys(str(k.group) for k in grouped)
        if kernel == "gemm" and kernel not in groups:
            raise UnknownKernelError(
                "this device has no gemm kernel: build a model's with whisper-npu kernels build --model NAME"
            )
        if kernel not in groups and kernel in (k.group for k in registry.kernels(self.target)):
            raise UnknownKernelError(
                f"this device has no {kernel} kernel: build those that you need with "
                "whisper-npu kernels build NAME"
            )
        others = dict.fromkeys(["auto", *groups, *(k.name for k in grouped)])
        if kernel not in others:
            registry.find_contract(kernel, self.contracts(), others)

    def stage(self, layer: Linear | Matmul, weight: NDArray[Any]) -> Buffer:
        """Write a weight to the device once, for any number of runs of layers of this K and N.

        weight: (K, N) float32, float16 or bfloat16, any strides. Raises PlanError where not `stages`.
        """
        self.threads.check_open()  # before the lock, which a forked process may find taken for ever
        with self._lock:
            plan = self._plan_of_weight(layer)
            if plan is None:
                raise PlanError(
                    f"the weight of {layer} is laid out together with others: give it to hold, with all of "
                    "the op's constants"
                )
            buffer = self._alloc_weight(plan)
            buffer.write(plan.turned_weight(weight))
            return buffer

    def stages(self, layer: Linear | Matmul) -> bool:
        """Whether a weight of this layer is read by itself. Otherwise `hold` takes it with others."""
        with self._lock:
            return self._plan_of_weight(layer) is not None

    def hold(
        self, op: Op, constants: Mapping[str, Value], kept: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, Value]:
        """Write what stays from run to run of an op to the device once: `run(op, {"x": x, "y": y} | held)`.

        constants: operands of the op by name, arrays as `run` takes them or weights from `stage`. What is
        returned is for this op and device only; whoever gave an array may change it, unless it is a vector.
        kept: what `kept` gave of equal constants, for equal `kept_forms`. It is read only, and may be mapped;
        constants that it stands for are not asked for.
        Raises PlanError where some are missing that lie together with those that are given.
        """
        self.threads.check_open()
        with self._lock:
            plan = self._planned(op)
            if plan is None or not plan.constants & constants.keys():
                return self._with_weights_staged(op, constants, kept or {})
            missing = sorted(plan.constants - constants.keys())
            if missing:
                raise PlanError(f"{op} is made of all its constants at once: {', '.join(missing)} is missing")
            self._load(plan.contract)
            if kept:
                together = self._together_from(plan, kept)
            else:
                given = {name: constants[name] for name in sorted(plan.constants)}
                shapes = {operand.name: operand.shape for operand in op.inputs}
                for name, value in given.items():
                    _check_shape(f"{name} of {op.name}", value, shapes[name])
                together = self._together(plan, given)
            others = {name: constants[name] for name in constants if name not in plan.constants}
            return {**others, **dict.fromkeys(plan.constants, together)}

    def _together(self, plan: Plan, given: Mapping[str, Value]) -> Together:
        """given: the plan's constants."""
        laid = plan.held(given)
        of = [layout for layout in plan.inputs if layout.operand in laid]
        return Together(plan, {layout.operand: self._kept(layout, laid[layout.operand]) for layout in of})

    def _with_weights_staged(
        self, op: Op, constants: Mapping[str, Value], kept: Mapping[str, NDArray[Any]]
    ) -> dict[str, Value]:
        """For an op that is lowered: each weight as the part that multiplies by it reads it."""
        layers, held = self._layers_by_weight(op), dict[str, Value]()
        for name in constants:
            if name in layers and name in kept:
                held[name] = self._weight_from(layers[name], kept[name])
                continue
            value = held[name] = constants[name]
            if name in layers and isinstance(value, np.ndarray):
                held[name] = self.stage(layers[name], value)
        return held

    def _layers_by_weight(self, op: Op) -> dict[str, Linear]:
        """Of an op that is lowered: for each weight that is read by itself, what multiplies by it."""
        parts = flattened(op, lambda part: isinstance(part, Linear))
        return {
            part.operands["weight"]: part.op
            for part in parts
            if isinstance(part.op, Linear) and self.stages(part.op)
        }

    def _kept(self, layout: Layout, x: Value) -> Buffer:
        """In a buffer of its own."""
        if isinstance(x, Buffer):
            return x
        assert isinstance(x, np.ndarray)
        buffer = self.alloc(layout)
        buffer.write(x.reshape(layout.shape))
        return buffer

    def kept_forms(self, op: Op) -> dict[str, str]:
        """What `kept` gives of an op's constants, by name: all besides their values that decides the bytes.

        None of them where they do not lie in the host's memory: there is nothing to keep.
        """
        return {}

    def kept(self, held: Mapping[str, Value]) -> dict[str, NDArray[Any]]:
        """What `hold` laid out, by the names of `kept_forms`, for whoever starts again with it."""
        return {}

    def _weight_from(self, layer: Linear, kept: NDArray[Any]) -> Buffer:
        """As `stage`, from what was kept."""
        raise NotImplementedError(f"{self.name} keeps no weights on the host")

    def _together_from(self, plan: Plan, kept: Mapping[str, NDArray[Any]]) -> Together:
        """As `_together`, from what was kept."""
        raise NotImplementedError(f"{self.name} keeps no weights on the host")

    def trim(self) -> None:
        """Give the system what is free, and what can be had again at once: something else needs memory."""
        give_back_free_memory()

    def give_up(self) -> None:  # noqa: B027 - most devices hold nothing
        """Release what it holds of hardware: others may use it. The next run takes it again."""

    def _alloc_weight(self, plan: Plan) -> Buffer:
        """For a weight. plan: from `_plan_of_weight`."""
        assert plan.weight is not None
        return self.alloc(plan.weight)

    def _plan_of_weight(self, layer: Linear | Matmul) -> Plan | None:
        """How a weight of this layer's K and N is read. From here on all products of this size read it so.

        None where it is read together with others.
        """
        size = layer.K, layer.N
        if self.choice is None and size not in self._weights:
            self._weights[size] = self._chosen_for(layer)
            self._plans.clear()  # those of other kernels would not read what is staged
            self._schedules.clear()
        plan = self._chosen_for(Matmul(1, *size)).plan_of_weight(layer)
        if plan is None or plan.weight is None:
            return None
        self._load(plan.contract)
        return plan

    def result(self, op: Op, name: str = "y") -> Value:
        """Memory for a result of an op that other ops read: `run` takes it for the one, then for the others.

        Where the op's kernel leaves it as kernels read it, it stays on the device, and no other result takes
        its place as long as somebody has it. Otherwise it is an array of the host.
        """
        self.threads.check_open()
        with self._lock:
            plan = self._planned(op)
            layout = None if plan is None else plan.passed_on(name)
            if plan is None or layout is None:
                (shape,) = (operand.shape for operand in op.outputs if operand.name == name)
                return np.empty(shape, np.float32)
            self._load(plan.contract)
            return Staying(plan, self._alloc_staying(layout))

    def _alloc_staying(self, layout: Layout) -> Buffer:
        """For a result that the next op reads where it lies."""
        return self.alloc(layout)

    def run(self, op: Op, operands: Mapping[str, Value]) -> Stats:
        """Run an op. operands: for each of `op.operands` an array of its shape; results are written in place.

        Arrays may have any strides. Inputs are float32 or convertible to it; results are float32, in memory
        that no input has. A weight may be what `stage` gave, what stays the same what `hold` gave, and what
        `result` gave goes from one op to the next. Raises PlanError where an operand is missing, unknown, or
        cannot be used, DeviceError where the device fails.
        """
        _check(op, operands)
        self.threads.check_open()
        with self._lock, self.recording() as recording:
            plan, values = self._planned(op), dict(operands)
            for name, value in operands.items():
                if isinstance(value, Together) and value.plan != plan:
                    raise PlanError(
                        f"what was held for another op or device is given to {op}: hold it for this"
                    )
                if isinstance(value, Staying) and not self._stays(op, plan, name, value):
                    values[name] = value.array()
            self._run_schedule(self._scheduled(op), values)
        return recording.stats

    def _stays(self, op: Op, plan: Plan | None, name: str, value: Staying) -> bool:
        """Whether a run takes it where it lies. Raises PlanError where it is a result, and of another op."""
        if any(operand.name == name for operand in op.outputs):
            if value.plan != plan:
                raise PlanError(f"{name} of {op.name} is memory for another op's result: ask for this op's")
            return True
        layout = None if plan is None else plan.passed_on(name)
        return layout is not None and layout.lies_as(value.buffer.layout)

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record what this device, as it was prepared, executes, for other threads too."""
        recording = Recording()
        with self._lock:
            self._recordings = [*self._recordings, recording]
        try:
            yield recording
        finally:
            with self._lock:
                self._recordings = [kept for kept in self._recordings if kept is not recording]

    def plan(self, op: Op) -> Plan | None:
        """How the op is executed, its kernel loaded; None where it is lowered, or done by the host."""
        plan = self._planned(op)
        if plan is not None:
            self._load(plan.contract)
        return plan

    # ------------------------------------------------------------------------------------- how an op runs

    def _scheduled(self, op: Op) -> tuple[Scheduled, ...]:
        """What the device does for an op, one after the other."""
        key = op.name, op  # equal ops may have different names, which their parts bear
        schedule = self._schedules.get(key)
        if schedule is None:
            parts = tuple(flattened(op, self._runs_whole))
            by_kernel = [self._planned(part.op) is not None for part in parts]
            schedule = self._schedules[key] = tuple(
                Scheduled(part, _read_after_next_kernel(parts, by_kernel, number))
                for number, part in enumerate(parts)
            )
            if len(self._schedules) > KEPT_PLANS:
                self._schedules.pop(next(iter(self._schedules)))
        return schedule

    def _runs_whole(self, op: Op) -> bool:
        """Whether an op is not lowered: here, where one kernel makes it."""
        return self._planned(op) is not None

    def _run_schedule(self, schedule: Sequence[Scheduled], values: dict[str, Value]) -> None:
        """values: by name; what parts make for each other is put there."""
        for part, outlives in schedule:
            self._run_part(part, values, outlives)

    def _run_part(self, part: Part, values: dict[str, Value], outlives: frozenset[str]) -> None:
        """Run one op by a kernel, or on the host.

        outlives: values that are read after the next kernel ran. Others may lie where a kernel wrote them,
        until it runs again.
        """
        op, names = part.op, part.operands
        for operand in op.outputs:
            if names[operand.name] in outlives:
                values.setdefault(names[operand.name], np.empty(operand.shape, np.float32))
        plan = self.plan(op)
        if plan is None:
            known = {name: values[value] for name, value in names.items() if value in values}
            run_on_host(op, known, self.threads)
            values |= {value: known[name] for name, value in names.items()}
            return
        start = perf_counter()
        given = {operand.name: values[names[operand.name]] for operand in op.inputs}
        buffers = self._inputs(plan, given)
        results = [
            self._result(plan, layout, values.get(names[operand.name]))
            for operand, layout in zip(op.outputs, plan.outputs, strict=True)
        ]
        packed = perf_counter()
        stats = self.execute(plan, [*buffers, *results])
        if isinstance(plan, MatmulPlan):
            if self.turns.comes():
                is_weight = any(value is buffers[1] for value in given.values())
                self._check_product(op.name, plan, buffers, results[0], is_weight=is_weight)
        elif self.turns.checked is Checked.ONE and self.turns.comes():
            self._try_again(plan.contract)
        self._record(op.name, plan, replace(stats, pack_measured_s=packed - start), start, perf_counter())
        for operand, result in zip(op.outputs, results, strict=True):
            out = values.get(names[operand.name])
            if isinstance(out, Staying):
                continue
            if not plan.results_are_views and isinstance(out, np.ndarray):
                plan.turn_back(result.read(), out)
            else:
                values[names[operand.name]] = plan.turned_back(result.read())
            result.close()

    def _inputs(self, plan: Plan, given: Mapping[str, Value]) -> list[Buffer]:
        """The operands that a plan reads. given: the op's inputs, in its order."""
        together = next((value for value in given.values() if isinstance(value, Together)), None)
        if together is None:
            turned = plan.turned(tuple(x.array() if isinstance(x, Staying) else x for x in given.values()))
            return [self._staged(layout, x) for layout, x in zip(plan.inputs, turned, strict=True)]
        values: dict[str, Value] = dict(together.buffers)
        arrays = {}
        for name, x in given.items():
            if isinstance(x, Staying):
                layout = plan.passed_on(name)
                assert layout is not None, name
                values[layout.operand] = x.buffer.lying_as(layout)
            elif name not in plan.constants:
                arrays[name] = x
        values |= plan.passing(arrays)
        return [self._staged(layout, values[layout.operand]) for layout in plan.inputs]

    def _check_product(
        self, name: str, plan: MatmulPlan, operands: Sequence[Buffer], result: Buffer, *, is_weight: bool
    ) -> None:
        """Raises WrongResultError where a product cannot be right. is_weight: whether B stays as it is."""
        a, b = operands
        c = result.read().reshape(plan.c.batch, plan.c.rows, plan.c.cols)
        numerics, of_b = plan.contract.numerics, self._sums.get(b)
        if of_b is None:
            of_b = Sums.of(plan.problem, b.operand, self.threads, self._random)
            if is_weight:
                self._sums[b] = of_b
        wrong = wrong_in(plan.problem, numerics, a.operand, b.operand, c, of_b, self.threads)
        if wrong is None:
            return
        self._distrust(plan.contract)
        rows, cols = (wrong.cols, wrong.rows) if plan.transposed else (wrong.rows, wrong.cols)
        of = f"of product {wrong.index + 1} of {plan.c.batch}, " if plan.c.batch > 1 else ""
        raise WrongResultError(
            f"{plan.contract.name}: the {self.clock}'s result for {name}, {plan.op}, cannot be right: {of}"
            f"{_numbered('row', rows)}, {_numbered('column', cols)}, contradicts the "
            "checksums of its operands; nothing of it was used: try again, and if it comes again, "
            "whisper-npu doctor tries the kernels, and --device emulator does without them"
        )

    def _try_again(self, contract: Contract) -> None:  # noqa: B027 - nothing, unless a device can lie
        """Compute what a kernel's answer is known for, where no checksum goes through what it makes."""

    def _distrust(self, contract: Contract) -> None:  # noqa: B027 - nothing, unless a device has something
        """After a wrong result: make anew whatever can be for this kernel."""

    def _result(self, plan: Plan, layout: Layout, out: Value | None) -> Buffer:
        if isinstance(out, Staying):
            return out.buffer
        if out is None or not plan.results_are_views:
            return self._alloc_passing(layout)
        assert isinstance(out, np.ndarray)
        return self.alloc(layout, plan.turned_back(out))

    def _alloc_passing(self, layout: Layout) -> Buffer:
        """For a result that nobody keeps.

        It may lie where the kernel wrote it, until that kernel runs again.
        """
        return self.alloc(layout)

    def _staged(self, layout: Layout, x: Value) -> Buffer:
        """Activations of one layout share one buffer: an op is done before the next is packed."""
        if isinstance(x, Buffer):
            return x
        assert isinstance(x, np.ndarray)
        buffer = self._buffers.pop(layout, None) or self.alloc(layout)
        self._buffers[layout] = buffer
        if len(self._buffers) > KEPT_BUFFERS:
            self._buffers.pop(next(iter(self._buffers))).close()
        buffer.write(x.reshape(layout.shape))  # a vector is a matrix of one row, a batch of one a matrix
        return buffer

    def _planned(self, op: Op) -> Plan | None:
        with self._lock:
            if op not in self._plans:
                self._plans[op] = self._chosen_for(op).plan(op)
                if len(self._plans) > KEPT_PLANS:
                    self._plans.pop(next(iter(self._plans)))
            return self._plans[op]

    def _chosen_for(self, op: Op) -> Choice:
        """The kernels of this view; of a device that nothing was prepared for, the best for this op alone.

        Once a weight is staged, whatever is multiplied by one of its size takes the kernel that reads it.
        """
        if self.choice is not None:
            return self.choice
        if isinstance(op, Matmul) and op.batch == 1 and (op.K, op.N) in self._weights:
            return self._weights[op.K, op.N]
        return choose([op], [kernel for kernel in self.kernels() if not kernel.makes_whole])

    def _load(self, contract: Contract) -> None:
        if contract not in self._loaded:
            self.load(contract)
            self._loaded.add(contract)

    def _record(self, name: str, plan: Plan, stats: Stats, start: float, end: float) -> None:
        """To be called in the order of the runs."""
        before, self._array.overlay = self._array.overlay, plan.contract.overlay
        changes = int(before not in (None, self._array.overlay))
        run = Run(name, plan, replace(stats, calls=1, overlay_changes=changes), start, end)
        for recording in self._recordings:
            recording.runs.append(run)


def _check(op: Op, operands: Mapping[str, Value]) -> None:
    for operand in op.operands:
        if operand.name not in operands:
            raise PlanError(f"{op.name} takes {_names(op)}: {operand.name} is missing")
        given, of = operands[operand.name], f"{operand.name} of {op.name}"
        if isinstance(given, Buffer) and operand.direction is Direction.IN and not operand.is_weight:
            raise PlanError(f"{of} is no weight, and only weights are staged: give an array")
        if not isinstance(given, (np.ndarray, Buffer, Together, Staying)):
            raise PlanError(f"{of} is a {type(given).__name__}, must be an array of NumPy")
        _check_shape(of, given, operand.shape)
        if operand.direction is not Direction.IN:
            _check_result(of, given)
        if operand.name == "mask" and isinstance(given, np.ndarray) and not given.any():
            raise PlanError(f"{of} leaves no key: at least one must not be 0")
    unknown = operands.keys() - {operand.name for operand in op.operands}
    if unknown:
        raise PlanError(f"{op.name} takes {_names(op)}, not {', '.join(sorted(unknown))}")
    for result in op.outputs:
        for other in op.operands:
            if other.name != result.name and _overlap(operands[result.name], operands[other.name]):
                raise PlanError(
                    f"{result.name} of {op.name} shares memory with {other.name}: give a result its own"
                )


def _check_shape(name: str, given: Value, wanted: tuple[int, ...]) -> None:
    """What is held was checked when it was laid out."""
    if isinstance(given, Together):
        return
    buffer = given.buffer if isinstance(given, Staying) else given
    shape = buffer.layout.operand_shape if isinstance(buffer, Buffer) else buffer.shape
    if shape != wanted:
        raise PlanError(f"{name} has shape {shape}, must be {wanted}")


def _check_result(name: str, given: Value) -> None:
    if isinstance(given, Staying):
        return
    if not isinstance(given, np.ndarray):
        raise PlanError(f"{name} is a result: give a float32 array")
    if given.dtype != np.float32:
        raise PlanError(f"{name} is a result of dtype {given.dtype}, must be float32")
    if not given.flags.writeable:
        raise PlanError(f"{name} is a result, and its array is read-only")


def _overlap(a: Value, b: Value) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return False
    return np.may_share_memory(a, b) and np.shares_memory(a, b)


def _numbered(what: str, some: slice) -> str:
    first, last = some.start + 1, some.stop
    return f"{what} {first}" if first == last else f"{what}s {first} to {last}"


def _names(op: Op) -> str:
    return ", ".join(operand.name for operand in op.operands)


def _read_after_next_kernel(parts: Sequence[Part], by_kernel: Sequence[bool], number: int) -> frozenset[str]:
    """What part `number` makes that is read after the next kernel ran: it needs memory of its own."""
    made = {parts[number].operands[operand.name] for operand in parts[number].op.outputs}
    following = next((i for i in range(number + 1, len(parts)) if by_kernel[i]), len(parts))
    read = {value for part in parts[following + 1 :] for value in part.operands.values()}
    return frozenset(made & read)
