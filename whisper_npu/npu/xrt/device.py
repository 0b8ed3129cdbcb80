"""The real NPU through pyxrt: the only module that may import it.

What is used of it is the flow that an NPU knows: register_xclbin, hw_context, kernel; the older load_xclbin
is "not supported". xrt_buffer.py holds the memory, xrt_runs.py the contexts and their runs.
"""

from __future__ import annotations

import importlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from types import ModuleType, TracebackType

import numpy as np

from whisper_npu.errors import DeviceError, DeviceNotFoundError, DispatchError, PlanError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.threads import Threads
from whisper_npu.npu.artifacts import Artifact, built, find_kernel, searched_folders
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import (
    Buffer,
    Chain,
    ChainCompletion,
    Completion,
    Device,
    NpuOptions,
    RowProduct,
    RowsDone,
    run_rows_in_steps,
    run_steps,
)
from whisper_npu.npu.plan import Layout, Plan, Problem, tiled_plan
from whisper_npu.npu.targets.npu1 import XDNA1
from whisper_npu.npu.xrt.buffer import DOCTOR, Driver, LentBuffer, XrtBuffer, pyxrt_errors
from whisper_npu.npu.xrt.runs import (
    LOT,
    VERSIONS,
    Context,
    Kernel,
    Lent,
    Lot,
    Sum,
    dispatches_of,
    explained,
    is_all_of_c,
)


def import_pyxrt() -> ModuleType:
    """The binding of the system's XRT. Raises DeviceNotFoundError where this Python cannot import it."""
    try:
        return importlib.import_module("pyxrt")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "pyxrt"
        reason = (
            "no module pyxrt (system package python3-xrt)"
            if missing
            else f"pyxrt is there but fails: {error}"
        )
        raise DeviceNotFoundError(f"no NPU: {reason} for this Python; {DOCTOR}") from error


def open_npu(options: NpuOptions, threads: Threads | None = None, root: Path = Path("/")) -> Device:
    """The NPU of this machine. Raises DeviceNotFoundError, which says what was looked for and not found.

    threads: of the host. root: where /sys and /dev are looked for; another folder than / in tests.
    """
    missing = []
    if not _has_pci_device(root, XDNA1.pci_id):
        missing.append(f"no PCI device {XDNA1.pci_id} (XDNA1) under /sys/bus/pci/devices")
    if not any((root / "dev/accel").glob("accel*")):
        missing.append("no device node /dev/accel/accel0 (driver amdxdna)")
    try:
        pyxrt = import_pyxrt()
    except DeviceNotFoundError as error:
        missing.append(str(error).removeprefix("no NPU: "))
    if missing:
        raise DeviceNotFoundError(f"no NPU: {'; '.join(missing)}. Use --device emulator, or auto")
    folders = searched_folders(options.kernel_folders)
    if not built(folders):
        looked = ", ".join(map(str, folders))
        raise DeviceNotFoundError(
            f"an XDNA1 NPU is there, but no built kernels in {looked}: whisper-npu kernels build. "
            "Or use --device emulator, or auto"
        )
    return XrtDevice(pyxrt, folders, options.timeout_seconds, threads or Threads())


def _has_pci_device(root: Path, pci_id: str) -> bool:
    vendor, device = (f"0x{part}" for part in pci_id.split(":"))
    for folder in (root / "sys/bus/pci/devices").glob("*"):
        try:
            found = tuple((folder / name).read_text().strip() for name in ("vendor", "device"))
        except OSError:
            continue
        if found == (vendor, device):
            return True
    return False


class XrtDevice:
    """Executes plans on the NPU. One lock round it: safe from several threads, one plan at a time.

    Contexts stay open, one for each xclbin, the least recently used closed at the array's limit. Everything
    that a kernel needs for its dispatches is made once and kept with its context.
    """

    def __init__(
        self, pyxrt: ModuleType, folders: Sequence[Path], timeout_seconds: float, threads: Threads
    ) -> None:
        self._threads = threads
        self._driver = Driver(pyxrt)
        self._folders = tuple(folders)
        self._timeout_ms = max(1, round(1e3 * timeout_seconds))
        self._lock = threading.RLock()
        self._contexts: OrderedDict[str, Context] = OrderedDict()  # by overlay, least recently used first
        self._answered: set[Contract] = set()  # whose known product came out right
        # Python may end without a call of close, and a run must not outlive the library.
        self._close = weakref.finalize(self, _close_all, self._contexts)

    @property
    def name(self) -> str:
        return "npu"

    @property
    def description(self) -> str:
        return f"NPU ({XDNA1.target}) through pyxrt"

    @property
    def clock(self) -> str:
        return "NPU"

    @property
    def threads(self) -> Threads:
        return self._threads

    def kernels(self) -> tuple[Contract, ...]:
        return built(self._folders)

    def gemm_tiles(self) -> tuple[tuple[int, int, int], ...]:
        return ()  # of whatever shape: only what is built

    def load(self, contract: Contract) -> None:
        """Check the built kernel's files, load them, and have it compute a product whose answer is known.

        Raises KernelNotBuiltError, KernelManifestError, DispatchError, DeviceError.
        """
        with self._lock:
            self._kernel(contract)
            if contract not in self._answered:
                self._check_known_answer(contract)
                self._answered.add(contract)

    def alloc(self, layout: Layout) -> Buffer:
        return XrtBuffer(self._driver, layout, self._threads)

    def _alloc_lent(self, layout: Layout) -> Buffer:
        return LentBuffer(self._driver, layout, self._threads)

    def run(self, plan: Plan, a: Buffer, b: Buffer, c: Buffer) -> Completion:
        start = perf_counter()
        for operand, layout, buffer in (("A", plan.a, a), ("B", plan.b, b), ("C", plan.c, c)):
            if buffer.layout != layout:
                raise PlanError(f"{operand} lies as {buffer.layout}, the plan reads {layout}")
        assert isinstance(a, XrtBuffer)
        assert isinstance(b, XrtBuffer)
        assert isinstance(c, XrtBuffer)
        if a.bo is None or b.bo is None:
            raise PlanError("an operand was never written: write A and B before the plan runs")
        contract = plan.contract
        if contract.heads_along and contract.batch != plan.problem.heads:
            raise PlanError(
                f"{contract.name} takes {contract.batch} heads, the problem has {plan.problem.heads}"
            )
        with self._lock:
            self.load(contract)
            dispatches = self._dispatch(plan, a, b, c)
        return Completion(
            dispatches=dispatches,
            bytes_to_device=dispatches * contract.bytes_to_device,
            bytes_from_device=dispatches * contract.bytes_from_device,
            seconds=perf_counter() - start,
        )

    def run_rows(self, products: Sequence[RowProduct], given: F32) -> tuple[F32, tuple[RowsDone, ...]]:
        with self._lock:  # nobody else runs a kernel whose result was lent
            return run_rows_in_steps(self, products, given, self._alloc_lent)

    def run_chain(self, chain: Chain, a: Buffer, b: Buffer, other: Buffer, c: Buffer) -> ChainCompletion:
        with self._lock:
            return run_steps(self, chain, a, b, other, c, self._alloc_lent)

    def close(self) -> None:
        """Wait for what runs; release runs, bos and contexts in this order."""
        with self._lock:
            _close_all(self._contexts)
        self._threads.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _dispatch(self, plan: Plan, a: XrtBuffer, b: XrtBuffer, c: XrtBuffer) -> int:
        """Submit lot after lot: while the array works on one, the host sums the one before.

        Returns the number of dispatches that completed.
        """
        dispatches = dispatches_of(plan)
        kernel = self._kernel(plan.contract)
        lends = isinstance(c, LentBuffer) and is_all_of_c(plan, dispatches)
        total = Lent() if lends else Sum(plan)
        waiting: tuple[Lot, int] | None = None
        try:
            for number, first in enumerate(range(0, len(dispatches), LOT)):
                lot = kernel.lots[number % 2]
                with pyxrt_errors(f"{plan.contract.name}: submitting dispatch {first + 1} of {plan.problem}"):
                    lot.submit(dispatches[first : first + LOT], a, b)
                if waiting is not None:
                    self._finish(plan, *waiting, total)
                waiting = lot, first
            if waiting is not None:
                self._finish(plan, *waiting, total)
        except BaseException:
            self._abandon(plan.contract)
            raise
        total.give_to(c)
        return total.dispatches

    def _finish(self, plan: Plan, lot: Lot, first: int, total: Sum | Lent) -> None:
        """Wait for a lot, check how each run ended, add up what they computed."""
        with pyxrt_errors(f"{plan.contract.name}: waiting for dispatch {first + 1} of {plan.problem}"):
            failure = lot.wait(self._timeout_ms)
            if failure is None:
                nbytes = len(lot.dispatches) * plan.contract.bytes_from_device
                self._driver.sync_from_device(lot.c_bo, nbytes)
        if failure is not None:
            raise DispatchError(explained(plan, first, failure, self._timeout_ms))
        total.add(lot)

    def _abandon(self, contract: Contract) -> None:
        """After a failure: close the context, so that the next product begins with a new one."""
        for overlay, context in list(self._contexts.items()):
            if contract in context.kernels:
                self._contexts.pop(overlay).close()

    def _kernel(self, contract: Contract) -> Kernel:
        for overlay, context in self._contexts.items():
            if contract in context.kernels:
                self._contexts.move_to_end(overlay)
                return context.kernels[contract]
        artifact = find_kernel(contract, self._folders)
        context = self._context(artifact)
        with pyxrt_errors(f"loading {contract.name}"):
            return context.add(artifact)

    def _context(self, artifact: Artifact) -> Context:
        """The open context of an overlay, or a new one, if need be in place of the least recently used."""
        if artifact.overlay in self._contexts:
            self._contexts.move_to_end(artifact.overlay)
            return self._contexts[artifact.overlay]
        while len(self._contexts) >= XDNA1.hw_contexts:
            self._close_oldest()
        while True:
            try:
                with pyxrt_errors(f"opening a hw_context for {artifact.xclbin}"):
                    context = Context(self._driver, artifact.xclbin)
            except DeviceError as error:
                if not self._contexts:  # none of ours to give up: other programs may hold them
                    raise DeviceError(
                        f"{error}; the NPU has {XDNA1.hw_contexts} contexts for all programs, "
                        "others may hold them"
                    ) from error
                self._close_oldest()
            else:
                self._contexts[artifact.overlay] = context
                return context

    def _close_oldest(self) -> None:
        self._contexts.popitem(last=False)[1].close()

    def _check_known_answer(self, contract: Contract) -> None:
        """One dispatch of small integers, whose sums every dtype holds: zeros or garbage are refused."""
        heads = contract.batch if contract.heads_along else 1
        rows = contract.m if contract.heads_along else contract.m * contract.batch
        plan = tiled_plan(Problem(rows, contract.k, contract.n, heads), contract)
        rng = np.random.default_rng(0)
        a = rng.integers(-1, 2, plan.a.shape).astype(np.float32)
        b = rng.integers(-1, 2, plan.b.shape).astype(np.float32)
        a_buffer, b_buffer, c_buffer = (
            XrtBuffer(self._driver, layout, self._threads) for layout in (plan.a, plan.b, plan.c)
        )
        a_buffer.write(a)
        b_buffer.write(b)
        self._dispatch(plan, a_buffer, b_buffer, c_buffer)
        c = c_buffer.read()
        a_buffer.close()
        b_buffer.close()
        wrong = int((c != a @ b).sum())
        if wrong:
            self._abandon(contract)
            found = "another product" if c.any() else "zeros"
            raise DispatchError(
                f"{contract.name}: the NPU answers a known product {plan.problem} with {found}, {wrong:,} of "
                f"{c.size:,} elements are wrong; no result of it can be trusted: build the "
                f"kernel again; {VERSIONS}"
            )


def _close_all(contexts: OrderedDict[str, Context]) -> None:
    while contexts:
        contexts.popitem()[1].close()
