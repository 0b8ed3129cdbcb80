"""The one door through which every product of the model goes: plan, pack, dispatch, reduce, slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import RLock
from time import perf_counter

from whisper_npu.errors import PlanError, UnknownKernelError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.threads import Threads
from whisper_npu.npu.contract import Contract, find_contract
from whisper_npu.npu.cost import XDNA1_PROFILE, modelled_plan_seconds
from whisper_npu.npu.device import (
    Buffer,
    Chain,
    Completion,
    Device,
    Enters,
    InPlaceOnRows,
    RowFunction,
    RowProduct,
)
from whisper_npu.npu.plan import Layout, Plan, Problem, b_layout, tiled_plan
from whisper_npu.npu.planner import Choice, Fixed, Gemm, asked_for, choose, kernels_of

KEPT_PLANS = 256
KEPT_OPERANDS = 16  # buffers of activations; an encoder's window has nine shapes


@dataclass(frozen=True)
class Weight:
    """A B operand that stays on the device, already rounded and in the kernel's layout."""

    buffer: Buffer
    shape: tuple[int, int]  # (K, N)


@dataclass(frozen=True)
class Product:
    """What was executed of one plan for one operation, summed over its calls. Seconds are MEASURED."""

    operation: str  # whose product it is, "attention.scores" for example
    plan: Plan
    calls: int
    dispatches: int  # as the device counted them
    bytes_to_device: int
    bytes_from_device: int
    pack_seconds: float
    kernel_seconds: float
    overlay_changes: int  # calls that found the array configured for another overlay than theirs

    def __add__(self, other: Product) -> Product:
        assert (self.operation, self.plan) == (other.operation, other.plan)
        return replace(
            self,
            calls=self.calls + other.calls,
            dispatches=self.dispatches + other.dispatches,
            bytes_to_device=self.bytes_to_device + other.bytes_to_device,
            bytes_from_device=self.bytes_from_device + other.bytes_from_device,
            pack_seconds=self.pack_seconds + other.pack_seconds,
            kernel_seconds=self.kernel_seconds + other.kernel_seconds,
            overlay_changes=self.overlay_changes + other.overlay_changes,
        )


def as_it_is(x: F32) -> F32:
    """The row function that changes nothing."""
    return x


@dataclass(frozen=True)
class RowStep:
    """A product with a weight, and what the host does to its rows, from several threads."""

    weight: Weight
    operation: str
    before: RowFunction  # some rows of what is given to (rows, K) float32
    after: InPlaceOnRows  # on (rows, N) of the result


# A product of one call, with its start (before packing) and end in seconds on perf_counter's clock.
OnProduct = Callable[[Product, float, float], None]


class Matmul:
    """A @ B on a device, by the kernels of a choice. Call it with arrays, or with a `Weight` staged before.

    What was executed since the last `take_products` is on record, as loop nests and counts. Whoever needs
    the time of each product sets `on_product`, which is called at the end of each. Of several threads that
    call at once, one multiplies at a time.
    """

    def __init__(self, device: Device, kernels: Contract | Choice) -> None:
        self.device = device
        self.choice = asked_for(Fixed(kernels)) if isinstance(kernels, Contract) else kernels
        self._loaded: set[Contract] = set()
        for contract in self.choice.known_contracts:
            self._load(contract)
        self.on_product: OnProduct | None = None
        self._plans: dict[Problem, Plan] = {}  # oldest first
        self._products: dict[tuple[str, Plan], Product] = {}
        self._overlay: str | None = None  # of the last product; None before the first
        self._operands: dict[tuple[str, Layout], Buffer] = {}  # least recently used first
        self._one_at_a_time = RLock()  # calls share operands and the record

    @property
    def threads(self) -> Threads:
        """Those of the host, for what lies between the products."""
        return self.device.threads

    def stage(self, weight: F32) -> Weight:
        """Write a weight to the device once, for any number of products.

        weight: (K, N) float32, float16 or bfloat16, any strides.
        """
        K, N = weight.shape
        buffer = self.device.alloc(b_layout(self.choice.contract_of_weight(K, N), K, N))
        buffer.write(weight)
        return Weight(buffer, (K, N))

    def plan(self, problem: Problem) -> Plan:
        plan = self._planned(problem)
        self._load(plan.contract)
        return plan

    def modelled_seconds(self, problem: Problem) -> float:
        """MODELLED time on an NPU, for choosing among ways to make the same product."""
        return modelled_plan_seconds(self._planned(problem), XDNA1_PROFILE)

    def _planned(self, problem: Problem) -> Plan:
        with self._one_at_a_time:
            plan = self._plans.get(problem)
            if plan is None:
                plan = self._plans[problem] = tiled_plan(problem, self.choice.contract(problem))
                if len(self._plans) > KEPT_PLANS:
                    self._plans.pop(next(iter(self._plans)))
            return plan

    def _load(self, contract: Contract) -> None:
        if contract not in self._loaded:
            self.device.load(contract)
            self._loaded.add(contract)

    def __call__(self, a: F32, b: F32 | Weight, operation: str) -> F32:
        """a: (M, K) float32; b: (K, N) float32 or staged. Returns (M, N) float32.

        Of several heads, a: (heads, M, K), b: (heads, K, N); returns (heads, M, N).

        Raises PlanError where heads or K differ or a size is 0, DeviceError where the device fails.
        """
        if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
            raise PlanError(
                f"{operation}: A is {a.shape} but B is {b.shape}; heads and inner sizes must agree"
            )
        with self._one_at_a_time:
            plan = self.plan(Problem(a.shape[-2], a.shape[-1], b.shape[-1], *a.shape[:-2]))
            start = perf_counter()
            a_buffer = self._staged("A", plan.a, a)
            b_buffer = b.buffer if isinstance(b, Weight) else self._staged("B", plan.b, b)
            packed = perf_counter()
            c_buffer = self.device.alloc(plan.c)
            done = self.device.run(plan, a_buffer, b_buffer, c_buffer)
            product = self._product(operation, plan, done, packed - start)
            _add(self._products, product)
            if self.on_product:
                self.on_product(product, start, perf_counter())
            c = c_buffer.read()
            c_buffer.close()
            return c.reshape(*a.shape[:-1], -1)

    def by_rows(self, x: F32, *steps: RowStep) -> F32:
        """after(before(x) @ weight) of one step after the other, for some rows after the others where that is
        faster.

        x: (M, ...) float32. Returns (M, N) of the last step, float32. Recorded is what calls record.

        Raises PlanError where what a step takes is not as wide as its weight, DeviceError where the device
        fails.
        """
        with self._one_at_a_time:
            start = perf_counter()
            plans = [self.plan(Problem(len(x), *step.weight.shape)) for step in steps]
            products = [
                RowProduct(step.before, plan, self._operand("A", plan.a), step.weight.buffer, step.after)
                for step, plan in zip(steps, plans, strict=True)
            ]
            c, all_done = self.device.run_rows(products, x)
            for step, plan, done in zip(steps, plans, all_done, strict=True):
                product = self._product(step.operation, plan, done.product, done.pack_seconds)
                _add(self._products, product)
                if self.on_product:
                    self.on_product(product, start, start + done.seconds)  # as if one came after the other
                start += done.seconds
            return c

    def chain(
        self,
        a: F32,
        b: F32,
        between: Callable[[F32], object],
        other: F32,
        *,
        enters: Enters,
        operations: tuple[str, str],
    ) -> F32:
        """between(A @ B) @ other, or other @ between(A @ B) where the result enters as B, of every head.

        a: (heads, M, K), b: (heads, K, N) float32; other: (heads, N, any) or (heads, any, M). `between` works
        in place on parts of A @ B, (some, N) where it enters as A, (M, some) where it enters as B, from
        several threads. Recorded are the two products, each with the packing of its operands.
        """
        heads, M, K = a.shape
        N = b.shape[2]
        if enters is Enters.A:
            second = Problem(M, N, other.shape[2], heads)
        else:
            second = Problem(other.shape[1], M, N, heads)
        with self._one_at_a_time:
            chain = Chain(self.plan(Problem(M, K, N, heads)), between, self.plan(second), enters)
            first = chain.first
            start = perf_counter()
            a_buffer, b_buffer = self._staged("A", first.a, a), self._staged("B", first.b, b)
            first_packed = perf_counter()
            layout = chain.second.b if enters is Enters.A else chain.second.a
            other_buffer = self._staged("other", layout, other)
            packed = perf_counter()
            c_buffer = self.device.alloc(chain.second.c)
            done = self.device.run_chain(chain, a_buffer, b_buffer, other_buffer, c_buffer)
            end = perf_counter()
            one = self._product(operations[0], first, done.first, first_packed - start)
            packing = packed - first_packed + done.pack_seconds
            two = self._product(operations[1], chain.second, done.second, packing)
            for product in (one, two):
                _add(self._products, product)
            if self.on_product:
                # As if one came after the other, what `between` took between them.
                self.on_product(one, start, start + one.pack_seconds + one.kernel_seconds)
                self.on_product(two, end - two.pack_seconds - two.kernel_seconds, end)
            c = c_buffer.read()
            c_buffer.close()
            return c.reshape(a.shape[0], *c.shape[-2:])

    def take_products(self) -> tuple[Product, ...]:
        """What was executed since the last call of this, one record for each operation and plan."""
        with self._one_at_a_time:
            products = tuple(self._products.values())
            self._products.clear()
            return products

    def _product(self, operation: str, plan: Plan, done: Completion, pack_seconds: float) -> Product:
        """The record of one call; to be made in the order of the calls."""
        before, self._overlay = self._overlay, plan.contract.overlay
        return Product(
            operation=operation,
            plan=plan,
            calls=1,
            dispatches=done.dispatches,
            bytes_to_device=done.bytes_to_device,
            bytes_from_device=done.bytes_from_device,
            pack_seconds=pack_seconds,
            kernel_seconds=done.seconds,
            overlay_changes=int(before not in (None, self._overlay)),
        )

    def _staged(self, role: str, layout: Layout, matrix: F32) -> Buffer:
        buffer = self._operand(role, layout)
        buffer.write(matrix.reshape(layout.shape))  # one head may come as (1, rows, cols)
        return buffer

    def _operand(self, role: str, layout: Layout) -> Buffer:
        """Activations of one shape share one buffer: a product is done before the next is packed."""
        buffer = self._operands.pop((role, layout), None) or self.device.alloc(layout)
        self._operands[role, layout] = buffer
        if len(self._operands) > KEPT_OPERANDS:
            self._operands.pop(next(iter(self._operands))).close()
        return buffer


def merged(products: Iterable[Product]) -> tuple[Product, ...]:
    """Records of several runs as one: one for each operation and plan, in the order of the first."""
    total: dict[tuple[str, Plan], Product] = {}
    for product in products:
        _add(total, product)
    return tuple(total.values())


def _add(total: dict[tuple[str, Plan], Product], product: Product) -> None:
    key = product.operation, product.plan
    total[key] = total[key] + product if key in total else product


def matmul_on(device: Device, kernel: str | Contract, problems: Iterable[Problem]) -> Matmul:
    """Products on `device` by `kernel`: a contract, a name, or "auto" for the least modelled time.

    problems: what is chosen for, in the order of the work. Names: those of `device.kernels()`; "gemm", the
    best of its whole-matrix kernels; one core tile of them, "gemm_96x64x48" for example.
    Raises UnknownKernelError for a name that the device has no kernel for.
    """
    if isinstance(kernel, Contract):
        return Matmul(device, kernel)
    check_kernel(device, kernel)
    kernels = kernels_of(device.kernels(), device.gemm_tiles())
    named = [k for k in kernels if isinstance(k, Gemm) and kernel in ("gemm", k.name)]
    if kernel == "auto" or named:
        return Matmul(device, choose(problems, named or kernels))
    return Matmul(device, find_contract(kernel, device.kernels()))


def check_kernel(device: Device, kernel: str) -> None:
    """Raises UnknownKernelError where `matmul_on` would: before a model is loaded for it."""
    gemms = [k for k in kernels_of(device.kernels(), device.gemm_tiles()) if isinstance(k, Gemm)]
    if kernel == "gemm" and not gemms:
        raise UnknownKernelError(
            "this device has no gemm kernel: build a model's with whisper-npu kernels build --model NAME"
        )
    others = ["auto", "gemm", *(gemm.name for gemm in gemms)]
    if kernel not in others:
        find_contract(kernel, device.kernels(), others)
