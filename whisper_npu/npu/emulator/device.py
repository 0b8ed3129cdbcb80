"""A device without hardware: it executes a plan's dispatches on this CPU, with the contract's numerics.

What is computed follows from walking the plan and from nothing else (`blocks.py`). `host/gemm.py` packs
operands and multiplies them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import Enum
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakSet

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import PlanError, UsageError, quoted
from whisper_npu.host import gemm as host_gemm
from whisper_npu.host import vmac
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.gemm import HostGemm, OperandForm, Packed, Side, blas, cpu_has_dot, fastest
from whisper_npu.host.memory import give_back_pages
from whisper_npu.host.native import build_meanwhile
from whisper_npu.host.threads import Threads
from whisper_npu.kernels import registry
from whisper_npu.kernels.layer.dispatch import rows_of
from whisper_npu.kernels.layer.execute import Words, unwritten, values_of
from whisper_npu.kernels.layer.kernel import LayerPlan
from whisper_npu.kernels.layer.phases import HEADERS, OBJECT, TILE, WEIGHTS, Gemm, Phase
from whisper_npu.kernels.matmul.kernel import MatmulPlan
from whisper_npu.npu.checksum import Checked
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Buffer, Device, Scheduled, Stats, Together, Value
from whisper_npu.npu.emulator.blocks import (
    SIDES,
    ByRows,
    Executed,
    LinearByRows,
    NormByRows,
    apportion,
    attend_in_blocks,
    form_of,
    multiply_box,
    run_dispatches,
    run_rows_in_blocks,
    walked,
)
from whisper_npu.npu.emulator.phases import (
    KEPT_FORM,
    Headers,
    Products,
    form,
    kept_names,
    kept_of,
    of_kept,
    products_of,
    run_phases,
)
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import DEFAULT, Target
from whisper_npu.ops import Attention, EncoderLayer, Linear, Norm, Op, Part, Stem

T = TypeVar("T")
KEPT_WORKSPACES = 2  # of an encoder's stem, and of its layers


class Fidelity(Enum):
    """How literally the emulator takes a plan."""

    EXACT = "exact"  # dispatch by dispatch; products to the bit as a core sums and rounds them
    FAST = "fast"  # sums in IEEE fp32, in few large operations


def fidelity_of(name: str | Fidelity) -> Fidelity:
    """In any case. Raises UsageError for a word that is none."""
    try:
        return name if isinstance(name, Fidelity) else Fidelity(str(name).lower())
    except ValueError:
        known = " and ".join(one.value for one in Fidelity)
        raise UsageError(f"unknown fidelity {quoted(name)}: there are {known}") from None


class EmulatedBuffer(Buffer):
    """Matrices: operands of products as the host's gemm packs them, other bf16 as it is, all else as float32.

    Other bf16 has its padding, of zeros.
    """

    def __init__(self, layout: Layout, gemm: HostGemm | None, threads: Threads, out: F32 | None) -> None:
        self._layout = layout
        self._threads = threads
        self._gemm = gemm  # None: not an operand of a product
        self.packed: Packed | None = None
        self.words: Words | None = None  # (batch, *padded), of bf16 that is no operand of a product
        self.result: F32 | None = None  # (batch, rows, cols)
        self._numbers: F32 | None = None  # `result`, where it was written
        self._derived: dict[Any, Any] = {}
        self.mapped: tuple[NDArray[Any], ...] = ()  # in files, of what it has
        self.out = out  # where a result goes; None: to memory of its own

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def form(self) -> OperandForm:
        return form_of(self._layout)

    @property
    def gemm(self) -> HostGemm:
        assert self._gemm is not None
        return self._gemm

    def write(self, matrix: F32) -> None:
        layout = self.layout
        if matrix.shape != layout.shape:
            raise PlanError(f"a matrix of shape {matrix.shape} does not fit a buffer of {layout}")
        matrix = matrix.reshape(layout.batch, layout.rows, layout.cols)
        self._derived.clear()
        if self._gemm is None and layout.dtype is DType.BF16:
            if matrix.dtype != ml_dtypes.bfloat16:
                matrix = matrix.astype(np.float32, copy=False)
            rounded = to_bf16(matrix, layout.rounding).view(np.uint16)
            if (layout.rows, layout.cols) == layout.padded:
                self.words = rounded
                return
            if self.words is None:
                self.words = np.zeros((layout.batch, *layout.padded), np.uint16)
            self.words[:, : layout.rows, : layout.cols] = rounded
        elif self._gemm is None:
            if self._numbers is None:
                self._numbers = np.empty((layout.batch, layout.rows, layout.cols), np.float32)
            self._numbers[...] = matrix  # a copy: whoever wrote may change it
            self.result = self._numbers
        else:
            self.packed = self._gemm.pack(matrix, self.form, self._threads, self.packed)

    def read(self) -> F32:
        if self.result is None and self.packed is None and self.words is None:
            raise PlanError(f"a buffer of {self.layout} is read before anything was written to it")
        values = self.matrices().reshape(self.layout.shape)
        if self.out is None or np.may_share_memory(values, self.out):
            return values
        self.out[...] = values
        return self.out

    def lying_as(self, layout: Layout) -> EmulatedBuffer:
        """Of results only: its values are what there is of them."""
        same = EmulatedBuffer(layout, None, self._threads, None)
        same.result = self.result
        return same

    def close(self) -> None:
        self.packed = self.result = self.out = self.words = self._numbers = None
        self._derived.clear()
        self.mapped = ()

    @property
    def written(self) -> Packed:
        """`packed`, for a run to read."""
        if self.packed is None:
            raise PlanError("an operand was never written: write every operand before the plan runs")
        return self.packed

    def matrices(self) -> F32:
        """(batch, rows, cols) float32 of what was written."""
        if self._gemm is not None:
            return self._gemm.unpack(self.written, self.form)
        if self.words is not None:
            return values_of(self.words[:, : self.layout.rows, : self.layout.cols], are_bf16=True)
        if self.result is None:
            raise PlanError("an operand was never written: write every operand before the plan runs")
        return self.result

    def memory(self) -> Words:
        """As the array has it, flat, of a matrix that is one tile."""
        if self.words is not None:
            return self.words.reshape(-1)
        if self.result is None:
            raise PlanError("an operand was never written: write every operand before the plan runs")
        return self.result.reshape(-1).view(np.uint16)

    def derived(self, key: Hashable, make: Callable[[Words], T]) -> T:
        """What `make` makes of what was written, kept until something else is written."""
        if key not in self._derived:
            self._derived[key] = make(self.memory())
        found: T = self._derived[key]
        return found

    def derive_from(self, kept: Mapping[Hashable, Any]) -> None:
        """What was derived of the same before: nothing needs to be written."""
        self._derived |= kept

    def give_back_memory(self) -> None:
        """What was derived is all that is read from here on."""
        assert self._derived
        self.words = self.result = self._numbers = None

    def operand(self, index: int, rows: slice) -> F32:
        if self._gemm is None:
            return self.matrices()[index, rows]
        one = slice(index, index + 1)
        if self.form.side is Side.LHS:
            some, rows = self.gemm.unpack(self.written[one, rows], self.form), slice(None)
        else:
            some = self.gemm.unpack(self.written[one], self.form)
        return some[0, rows]

    def whole_rows_of_out(self) -> F32 | None:
        """`out` as (batch, rows, cols), for whoever writes rows that lie together; None where they do not."""
        if self.out is None or self.out.strides[-1] != self.out.itemsize:
            return None
        return self.out.reshape(self.layout.batch, self.layout.rows, self.layout.cols)


class Emulator(Device):
    """Executes plans on this CPU. Its seconds are the CPU's.

    gemm_of: what multiplies an operand; None for `fastest`, and for NumPy where every dispatch is executed.
    Where anything is checked every product is made as a whole: there is nothing to check within a block.
    """

    def __init__(
        self,
        fidelity: Fidelity = Fidelity.FAST,
        threads: Threads | None = None,
        target: Target = DEFAULT,
        gemm_of: Callable[[OperandForm], HostGemm] | None = None,
        *,
        checked: Checked = Checked.NOTHING,
    ) -> None:
        super().__init__(target, threads or Threads(), checked=checked)
        self.fidelity = fidelity
        self._mapped: WeakSet[EmulatedBuffer] = WeakSet()  # constants in files, of all views of this device
        self._workspaces: dict[Contract, Words] = {}  # least recently used first; of all views
        self._gemm_of = gemm_of or (fastest if fidelity is Fidelity.FAST else blas)
        if self._gemm_of is fastest and cpu_has_dot():
            build_meanwhile(host_gemm.SOURCE)
        if fidelity is Fidelity.EXACT:
            build_meanwhile(vmac.SOURCE)

    @property
    def name(self) -> str:
        return "emulator"

    @property
    def description(self) -> str:
        return f"emulator ({self.fidelity.value}), no NPU: the NPU's plans and numerics on this CPU"

    @property
    def clock(self) -> str:
        return "CPU"

    def contracts(self) -> tuple[Contract, ...]:
        return registry.contracts(self.target)

    def kernels(self) -> tuple[Kernel, ...]:
        return registry.kernels(self.target)

    def load(self, contract: Contract) -> None:
        """Nothing to load: a contract says all that the emulator needs."""

    def alloc(self, layout: Layout, out: F32 | None = None) -> Buffer:
        gemm = self._gemm_of(form_of(layout)) if layout.operand in SIDES else None
        return EmulatedBuffer(layout, gemm, self.threads, out)

    def kept_forms(self, op: Op) -> dict[str, str]:
        with self._lock:
            plan = self._planned(op)
            if plan is not None and plan.constants:
                return self._forms_together(plan)
            weights = {name: self._weight_for(layer) for name, layer in self._layers_by_weight(op).items()}
            return {
                name: f"{form.rows} x {form.cols} {form.dtype} {form.rounding} as {buffer.gemm.form_of_rhs}"
                for name, buffer in weights.items()
                if buffer.layout.operand in SIDES
                for form in [buffer.form]
            }

    def kept(self, held: Mapping[str, Value]) -> dict[str, NDArray[Any]]:
        for value in held.values():
            if isinstance(value, Together):
                return self._kept_together(value)
        return {
            name: value.written
            for name, value in held.items()
            if isinstance(value, EmulatedBuffer) and value.layout.operand in SIDES
        }

    def _weight_for(self, layer: Linear) -> EmulatedBuffer:
        """Where a weight that is read by itself goes."""
        plan = self._plan_of_weight(layer)
        assert plan is not None
        buffer = self._alloc_weight(plan)
        assert isinstance(buffer, EmulatedBuffer)
        return buffer

    def _weight_from(self, layer: Linear, kept: NDArray[Any]) -> Buffer:
        buffer = self._weight_for(layer)
        buffer.packed = kept
        return self._in_files(buffer, [kept])

    def _in_files(self, buffer: EmulatedBuffer, arrays: Iterable[NDArray[Any]]) -> EmulatedBuffer:
        """Its files are closed with it: a device may outlive its models."""
        buffer.mapped = tuple(arrays)
        self._mapped.add(buffer)
        return buffer

    def trim(self) -> None:
        with self._lock:
            self._workspaces.clear()
            for buffer in self._mapped:
                for array in buffer.mapped:
                    give_back_pages(array)
        super().trim()

    def execute(self, plan: Plan, buffers: Sequence[Buffer]) -> Stats:
        start = perf_counter()
        mine = _checked(plan, buffers)
        operands, results = mine[: len(plan.inputs)], mine[len(plan.inputs) :]
        walk = walked(plan)
        if isinstance(plan, MatmulPlan) and walk.box is not None and self.fidelity is Fidelity.FAST:
            a, b = operands
            c = results[0]
            c.result, executed = multiply_box(
                plan, walk.box, a.gemm, a.written, b.written, self.threads, c.whole_rows_of_out()
            )
        elif isinstance(plan, LayerPlan) and self.fidelity is Fidelity.FAST:
            executed = self._run_phases(plan, operands, results[0])
        else:
            given = [operand.matrices() for operand in operands]
            written, executed = run_dispatches(plan, walk.walk, given, self.threads)
            for result, values in zip(results, written, strict=True):
                result.result = values
        return _stats(plan, executed, perf_counter() - start)

    def _run_phases(
        self, plan: LayerPlan, operands: Sequence[EmulatedBuffer], result: EmulatedBuffer
    ) -> Executed:
        """The dispatch of a layer kernel."""
        contract = plan.kernel
        assert isinstance(plan.op, (Linear, Attention, EncoderLayer, Stem))
        given = {operand.layout.operand: operand for operand in operands}
        headers, products = self._headers_and_products(plan, given)
        memory = {name: operand.memory() for name, operand in given.items() if name not in (HEADERS, WEIGHTS)}
        *_, y = contract.arguments
        memory["Y"] = np.empty(y.nbytes // 2, np.uint16)
        memory["Y"][1::OBJECT] = unwritten(1)  # in each stretch that no phase writes
        if work := next((a for a in contract.arguments if a.is_workspace), None):
            memory["WORK"] = self._workspace(contract, work.elements)
        rows_read = rows_of(plan.op)
        run_phases(
            contract.phases, headers.told, products, rows_read, memory, self._gemm_of_phases, self.threads
        )
        rows, cols = result.layout.rows, result.layout.cols
        whole = memory["Y"].reshape(result.layout.padded[0], -1)  # two words for each fp32
        made = whole[:rows, : cols * y.dtype.nbytes // DType.BF16.nbytes]
        result.result = values_of(made, are_bf16=y.dtype is DType.BF16)[None]
        return Executed(1, 1)

    @property
    def _gemm_of_phases(self) -> HostGemm:
        return self._gemm_of(form(Side.RHS, TILE, TILE))

    def _headers_and_products(
        self, plan: LayerPlan, operands: Mapping[str, Buffer]
    ) -> tuple[Headers, Products]:
        """What HEADERS and WEIGHTS say. operands: of the plan, those two at least where it has them."""
        phases, target, headers = plan.kernel.phases, self.target, plan.kernel.laid.headers
        with_headers, stored = operands[headers], operands.get(WEIGHTS)
        assert isinstance(with_headers, EmulatedBuffer)
        found = with_headers.derived(phases, lambda words: Headers.of(phases, words, target))
        if stored is None:
            return found, (None,) * len(phases)
        assert isinstance(stored, EmulatedBuffer)
        gemm, threads = self._gemm_of_phases, self.threads
        products = stored.derived(
            _products_key(phases), lambda words: products_of(phases, words, target, gemm, threads)
        )
        stored.give_back_memory()
        return found, products

    def _together(self, plan: Plan, given: Mapping[str, Value]) -> Together:
        together = super()._together(plan, given)
        if isinstance(plan, LayerPlan) and self.fidelity is Fidelity.FAST:
            self._headers_and_products(plan, together.buffers)
        return together

    def _forms_together(self, plan: Plan) -> dict[str, str]:
        if not isinstance(plan, LayerPlan) or self.fidelity is not Fidelity.FAST:
            return {}
        names = (*kept_names(plan.kernel.phases), *_others(plan))
        made = f"{plan.held_form}, {KEPT_FORM}, {self._gemm_of_phases.form_of_rhs}"
        return dict.fromkeys(names, made)

    def _kept_together(self, together: Together) -> dict[str, NDArray[Any]]:
        assert isinstance(together.plan, LayerPlan)
        others = {name: together.buffers[name] for name in _others(together.plan)}
        found = kept_of(*self._headers_and_products(together.plan, together.buffers))
        for name, buffer in others.items():
            assert isinstance(buffer, EmulatedBuffer)
            found[name] = buffer.matrices()
        return found

    def _together_from(self, plan: Plan, kept: Mapping[str, NDArray[Any]]) -> Together:
        assert isinstance(plan, LayerPlan)
        phases, buffers = plan.kernel.phases, dict[str, Buffer]()
        headers, products = of_kept(phases, kept, self.target)
        for layout in plan.holds:
            buffer = buffers[layout.operand] = EmulatedBuffer(layout, None, self.threads, None)
            if layout.operand == plan.kernel.laid.headers:
                buffer.derive_from({phases: headers})
            if layout.operand == WEIGHTS:
                buffer.derive_from({_products_key(phases): products})
                self._in_files(buffer, [product.packed for product in products if product is not None])
            if layout.operand in _others(plan):
                buffer.result = kept[layout.operand]
                self._in_files(buffer, [kept[layout.operand]])
        return Together(plan, buffers)

    def _workspace(self, contract: Contract, elements: int) -> Words:
        """Zeros at first; then as the last dispatch of the kernel left it."""
        kept = self._workspaces.pop(contract, None)
        if kept is None:
            kept = np.zeros(elements, np.uint16)
        self._workspaces[contract] = kept
        if len(self._workspaces) > KEPT_WORKSPACES:
            self._workspaces.pop(next(iter(self._workspaces)))
        return kept

    # -------------------------------------------------------------- the same in fewer passes over memory

    def _runs_whole(self, op: Op) -> bool:
        return self._goes_by_rows(op) or self._is_attention(op) or super()._runs_whole(op)

    def _run_schedule(self, schedule: Sequence[Scheduled], values: dict[str, Value]) -> None:
        """Parts whose rows do not depend on each other go block by block together, and so does attention."""
        number = 0
        while number < len(schedule):
            (part, outlives), stop = schedule[number], number
            while stop < len(schedule) and self._goes_by_rows(schedule[stop].part.op):
                stop += 1
            if stop > number:
                read_later = {v for later in schedule[stop:] for v in later.part.operands.values()}
                self._run_rows([each.part for each in schedule[number:stop]], values, read_later)
            elif isinstance(part.op, Attention) and self._is_attention(part.op):
                self._attend(part.op, part, values)
            else:
                self._run_part(part, values, outlives)
            number = max(stop, number + 1)

    @property
    def _goes_by_blocks(self) -> bool:
        return self.fidelity is Fidelity.FAST and self.turns.checked is Checked.NOTHING

    def _is_attention(self, op: Op) -> bool:
        return (
            self._goes_by_blocks
            and isinstance(op, Attention)
            and self._planned(op) is None
            and self._is_whole(op.scores)
            and self._is_whole(op.context)
        )

    def _goes_by_rows(self, op: Op) -> bool:
        if not self._goes_by_blocks:
            return False
        if not isinstance(op, (Linear, Norm)) or self._planned(op) is not None:
            return False
        if isinstance(op, Norm):
            return True
        return self._is_whole(op.product) and (op.prologue is None or self.plan(op.prologue) is None)

    def _is_whole(self, op: Op) -> bool:
        """Whether its plan makes all of the product, each part of every sum once."""
        plan = self.plan(op)
        return isinstance(plan, MatmulPlan) and walked(plan).is_whole

    def _run_rows(self, parts: Sequence[Part], values: dict[str, Value], read_later: set[str]) -> None:
        start = perf_counter()
        made = {part.operands[operand.name] for part in parts for operand in part.op.outputs}
        read_here = {part.operands[operand.name] for part in parts for operand in part.op.inputs}
        kept = made & (read_later | (made - read_here))
        steps = [self._by_rows(part, values) for part in parts]
        spent = run_rows_in_blocks(steps, values, kept, self.threads)
        shares = iter(apportion(perf_counter() - start, spent))
        for step in steps:
            if isinstance(step, NormByRows):
                start += next(shares)
                continue
            before, pack, product, after = (next(shares) for _ in range(4))
            stats = _stats(step.plan, step.tally.executed(), product, pack)
            end = start + before + pack + product + after
            self._record(step.op.name, step.plan, stats, start, end)  # as if one came after the other
            start = end

    def _by_rows(self, part: Part, values: Mapping[str, Value]) -> ByRows:
        if isinstance(part.op, Norm):
            return NormByRows(part, part.op)
        assert isinstance(part.op, Linear)
        plan = self.plan(part.op.product)
        assert isinstance(plan, MatmulPlan)
        weight = values[part.operands["weight"]]
        if not isinstance(weight, Buffer):  # in a buffer of its own: several may have one layout
            weight = self._kept(plan.b, weight)
        if weight.layout != plan.b:
            raise PlanError(f"B lies as {weight.layout}, the plan reads {plan.b}")
        assert isinstance(weight, EmulatedBuffer)
        return LinearByRows.of(part, part.op, plan, weight.gemm, weight.written[0])

    def _attend(self, op: Attention, part: Part, values: dict[str, Value]) -> None:
        start = perf_counter()
        given = {name: values[value] for name, value in part.operands.items() if value in values}
        scores, context = self.plan(op.scores), self.plan(op.context)
        assert isinstance(scores, MatmulPlan)
        assert isinstance(context, MatmulPlan)
        spent, packed_s, executed = attend_in_blocks(
            op, (scores, context), self._gemm_of, given, self.threads
        )
        values[part.operands["y"]] = given["y"]
        end = perf_counter()
        first, _, pack, second = apportion(end - start - packed_s, spent)
        recorded = (op.scores, scores, first, packed_s), (op.context, context, second, pack)
        # The first product begins the call and the second ends it; what lies between them is softmax.
        spans = (start, start + packed_s + first), (end - pack - second, end)
        for (product, plan, kernel_s, pack_s), done, (begin, stop) in zip(
            recorded, executed, spans, strict=True
        ):
            stats = _stats(plan, done, kernel_s, pack_s)
            self._record(product.name, plan, stats, begin, stop)

    def close(self) -> None:
        self._mapped.clear()
        self.threads.close()


def _products_key(phases: Sequence[Phase]) -> Hashable:
    """Which products are made of WEIGHTS, whatever the rows."""
    return tuple((phase.b, phase.K, phase.N) for phase in phases if isinstance(phase, Gemm))


def _others(plan: LayerPlan) -> list[str]:
    """What is held besides headers and weights: it is kept as it lies."""
    return [layout.operand for layout in plan.holds if layout.operand not in (HEADERS, WEIGHTS)]


def _checked(plan: Plan, buffers: Sequence[Buffer]) -> list[EmulatedBuffer]:
    mine = []
    for layout, buffer in zip(plan.layouts, buffers, strict=True):
        if buffer.layout != layout:
            raise PlanError(f"{layout.operand} lies as {buffer.layout}, the plan reads {layout}")
        assert isinstance(buffer, EmulatedBuffer)
        mine.append(buffer)
    return mine


def _stats(plan: Plan, executed: Executed, kernel_s: float, pack_s: float = 0.0) -> Stats:
    return Stats(
        dispatches=executed.dispatches,
        submissions=executed.submissions,
        bytes_to_device=executed.dispatches * plan.contract.bytes_to_device,
        bytes_from_device=executed.dispatches * plan.contract.bytes_from_device,
        pack_measured_s=pack_s,
        kernel_measured_s=kernel_s,
    )
