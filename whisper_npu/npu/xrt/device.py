"""The real NPU through pyxrt.

What is used of it is the flow that an NPU knows: register_xclbin, hw_context, kernel; the older load_xclbin
is "not supported". buffer.py holds the memory, runs.py the contexts and their runs.
"""

from __future__ import annotations

import importlib
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.errors import DeviceError, DeviceNotFoundError, DispatchError, NoAnswerError, PlanError
from whisper_npu.host.threads import Threads
from whisper_npu.kernels import registry
from whisper_npu.npu.artifacts import Artifact, as_compiled, built, find_kernel, searched_folders
from whisper_npu.npu.checksum import Checked
from whisper_npu.npu.contract import Contract, KnownAnswer
from whisper_npu.npu.device import Buffer, Device, Stats
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import DEFAULT, Target
from whisper_npu.npu.trials import Trials, boot_id, user_folder
from whisper_npu.npu.xrt.buffer import DOCTOR, Driver, XrtBuffer, pyxrt_errors
from whisper_npu.npu.xrt.runs import (
    VERSIONS,
    Context,
    LoadedKernel,
    Result,
    Submission,
    dispatches_of,
    explained,
    result_of,
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


def open_npu(
    options: NpuOptions,
    threads: Threads | None = None,
    root: Path = Path("/"),
    target: Target = DEFAULT,
    trials: Trials | None = None,
    *,
    checked: Checked = Checked.ONE,
) -> XrtDevice:
    """The NPU of this machine. Raises DeviceNotFoundError, which says what was looked for and not found.

    threads: of the host. root: where /sys and /dev are looked for; another folder than / in tests. trials:
    None for this user's.
    """
    missing = []
    if not _has_pci_device(root, target.pci_id):
        missing.append(f"no PCI device {target.pci_id} ({target.title}) under /sys/bus/pci/devices")
    if not any((root / "dev/accel").glob("accel*")):
        missing.append("no device node /dev/accel/accel0 (driver amdxdna)")
    try:
        pyxrt = import_pyxrt()
    except DeviceNotFoundError as error:
        missing.append(str(error).removeprefix("no NPU: "))
    if missing:
        raise DeviceNotFoundError(f"no NPU: {'; '.join(missing)}. Use --device emulator, or auto")
    folders = searched_folders(options.kernel_folders)
    if not built(folders, target):
        looked = ", ".join(map(str, folders))
        raise DeviceNotFoundError(
            f"an {target.title} NPU is there, but no built kernels in {looked}: whisper-npu kernels build. "
            "Or use --device emulator, or auto"
        )
    compiled = as_compiled(target, folders)
    trials = trials or Trials(user_folder(), boot_id())
    return XrtDevice(
        pyxrt,
        compiled,
        folders,
        options.timeout_seconds,
        threads or Threads(),
        trials,
        checked=checked,
    )


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


class XrtDevice(Device):
    """Executes plans on the NPU. A lock around it makes it safe from several threads: one plan at a time.

    Contexts stay open, one for each xclbin; at the array's limit the least recently used is closed.
    Everything that a kernel needs for its dispatches is made once and kept with its context.
    """

    def __init__(
        self,
        pyxrt: ModuleType,
        target: Target,
        folders: Sequence[Path],
        timeout_seconds: float,
        threads: Threads,
        trials: Trials,
        *,
        checked: Checked,
    ) -> None:
        super().__init__(target, threads, checked=checked)
        self._driver = Driver(pyxrt)
        self._trials = trials
        self._folders = tuple(folders)
        self._timeout_ms = max(1, round(1e3 * timeout_seconds))
        self._trials_laid_out: dict[Contract, _Trial] = {}  # of kernels that are tried again and again
        self._free_bos: dict[int, list[Any]] = {}  # by their size: of results that stayed and are not needed
        self._contexts: OrderedDict[str, Context] = OrderedDict()  # by overlay, least recently used first
        self._answered: set[Contract] = set()  # those whose known answer came out right
        # Python may end without a call of close, and a run must not outlive the library.
        self._alive = _Alive()  # shared by all views of the device, and by nothing else
        weakref.finalize(self._alive, _close_all, self._contexts)

    @property
    def name(self) -> str:
        return "npu"

    @property
    def description(self) -> str:
        return f"NPU ({self.target.name}) through pyxrt"

    @property
    def clock(self) -> str:
        return "NPU"

    @property
    def leaves_cpu_free(self) -> bool:
        return True

    def contracts(self) -> tuple[Contract, ...]:
        return built(self._folders, self.target)

    def kernels(self) -> tuple[Kernel, ...]:
        return registry.kernels_built(self.contracts())

    def load(self, contract: Contract) -> None:
        """Check the built kernel's files, load them, and have it compute a product whose answer is known.

        The first time on this machine the trial is on record (npu/trials.py). Raises KernelNotBuiltError,
        KernelManifestError, DispatchError (TrialLostError, NoAnswerError), DeviceError.
        """
        with self._lock:
            self.threads.check_open()  # nothing would close the context again
            if contract in self._answered:
                self._kernel(contract)
                return
            artifact = find_kernel(contract, self._folders)
            with self._trials.of(contract.name, artifact.digest):
                self._loaded_kernel(artifact)
                self._check_known_answer(contract, self._trial_of(contract))
            self._answered.add(contract)

    def power_mode(self) -> str | None:
        """As xrt-smi configure --pmode calls it, or None: pyxrt does not say."""
        return self._driver.power_mode()

    def alloc(self, layout: Layout, out: F32 | None = None) -> Buffer:
        return XrtBuffer(self._driver, layout, self.threads, out)

    def _alloc_passing(self, layout: Layout) -> Buffer:
        return XrtBuffer(self._driver, layout, self.threads, passing=True)

    def _alloc_staying(self, layout: Layout) -> Buffer:
        """In a bo that another result had before, where nobody has that one any more."""
        buffer, free = XrtBuffer(self._driver, layout, self.threads), self._free_bos
        of_size = free.setdefault(layout.nbytes, [])
        with pyxrt_errors(f"making room for {layout} on the NPU"):
            buffer.stay(of_size.pop() if of_size else self._driver.data_bo(layout.nbytes))
        weakref.finalize(buffer, of_size.append, buffer.bo).atexit = False
        return buffer

    def execute(self, plan: Plan, buffers: Sequence[Buffer]) -> Stats:
        start = perf_counter()
        mine = []
        for layout, buffer in zip(plan.layouts, buffers, strict=True):
            if buffer.layout != layout:
                raise PlanError(f"{layout.operand} lies as {buffer.layout}, the plan reads {layout}")
            assert isinstance(buffer, XrtBuffer)
            mine.append(buffer)
        operands, results = mine[: len(plan.inputs)], mine[len(plan.inputs) :]
        if any(operand.bo is None for operand in operands):
            raise PlanError("an operand was never written: write every operand before the plan runs")
        contract = plan.contract
        with self._lock:
            self.load(contract)
            dispatches, submissions = self._dispatch(plan, operands, results)
        return Stats(
            dispatches=dispatches,
            submissions=submissions,
            bytes_to_device=dispatches * contract.bytes_to_device,
            bytes_from_device=dispatches * contract.bytes_from_device,
            kernel_measured_s=perf_counter() - start,
        )

    def give_up(self) -> None:
        with self._lock:
            _close_all(self._contexts)

    def close(self) -> None:
        """Wait for what runs; release runs, bos and contexts in this order."""
        with self._lock:
            _close_all(self._contexts)
            self._free_bos.clear()
            self._trials_laid_out.clear()
        self.threads.close()

    def _dispatch(
        self, plan: Plan, operands: Sequence[XrtBuffer], results: Sequence[XrtBuffer]
    ) -> tuple[int, int]:
        """Submit `plan.run_list` dispatches at a time; while they run, the host adds up those before.

        Returns the dispatches that completed, and the submissions.
        """
        dispatches = dispatches_of(plan)
        kernel = self._kernel(plan.contract)
        made = [result_of(plan, number, result) for number, result in enumerate(results)]
        staying = [result.bo for result in results if result.stays]
        waiting: tuple[Submission, int] | None = None
        completed = submitted = 0
        try:
            for first in range(0, len(dispatches), plan.run_list):
                submission = kernel.submissions[submitted % 2]
                with pyxrt_errors(f"{plan.contract.name}: submitting dispatch {first + 1} of {plan.op}"):
                    submission.submit(dispatches[first : first + plan.run_list], operands, staying)
                submitted += 1
                if waiting is not None:
                    completed += self._finish(plan, *waiting, made)
                waiting = submission, first
            if waiting is not None:
                completed += self._finish(plan, *waiting, made)
        except BaseException:
            self._abandon(plan.contract)
            raise
        for result, buffer in zip(made, results, strict=True):
            result.give_to(buffer)
        return completed, submitted

    def _finish(self, plan: Plan, submission: Submission, first: int, results: Sequence[Result]) -> int:
        """Wait for a submission, check how each run ended, add up what they computed.

        Returns how many runs they were.
        """
        with pyxrt_errors(f"{plan.contract.name}: waiting for dispatch {first + 1} of {plan.op}"):
            failure = submission.wait(self._timeout_ms)
            if failure is None:
                submission.sync_results()
        if failure is not None:
            kind = NoAnswerError if failure.hangs else DispatchError
            raise kind(explained(plan, first, failure, self._timeout_ms))
        for result in results:
            result.add(submission)
        return len(submission.dispatches)

    def _abandon(self, contract: Contract) -> None:
        """After a failure: close the context, so that the next plan begins with a new one.

        What is left behind may still write to results that stay: nobody gets their memory.
        """
        self._free_bos.clear()
        for overlay, context in list(self._contexts.items()):
            if contract in context.kernels:
                self._contexts.pop(overlay).close()

    def _distrust(self, contract: Contract) -> None:
        self._abandon(contract)
        self._answered.discard(contract)  # the known product is computed again before the next

    def _kernel(self, contract: Contract) -> LoadedKernel:
        for overlay, context in self._contexts.items():
            if contract in context.kernels:
                self._contexts.move_to_end(overlay)
                return context.kernels[contract]
        return self._loaded_kernel(find_kernel(contract, self._folders))

    def _loaded_kernel(self, artifact: Artifact) -> LoadedKernel:
        context = self._context(artifact)
        with pyxrt_errors(f"{artifact.contract.name}: loading the instructions"):
            return context.add(artifact)

    def _context(self, artifact: Artifact) -> Context:
        """The open context of an overlay, or a new one, if need be in place of the least recently used."""
        if artifact.overlay in self._contexts:
            self._contexts.move_to_end(artifact.overlay)
            return self._contexts[artifact.overlay]
        while len(self._contexts) >= self.target.hw_contexts:
            self._close_oldest()
        while True:
            try:
                with pyxrt_errors(f"{artifact.contract.name}: opening a hw_context for {artifact.xclbin}"):
                    context = Context(self._driver, artifact.configuration)
            except NoAnswerError:  # to close another would not help
                raise
            except DeviceError as error:
                if not self._contexts:  # none of ours to give up: other programs may hold them
                    raise DeviceError(
                        f"{error}; the NPU has {self.target.hw_contexts} contexts for all programs, "
                        "others may hold them"
                    ) from error
                self._close_oldest()
            else:
                self._contexts[artifact.overlay] = context
                return context

    def _close_oldest(self) -> None:
        self._contexts.popitem(last=False)[1].close()

    def _try_again(self, contract: Contract) -> None:
        with self._lock:
            if contract not in self._trials_laid_out:
                self._trials_laid_out[contract] = self._trial_of(contract)
            self._check_known_answer(contract, self._trials_laid_out[contract])

    def _trial_of(self, contract: Contract) -> _Trial:
        plan = registry.family_of(contract).trial(contract)
        known = contract.known_answer(contract.trial_op, np.random.default_rng(0))
        operands = tuple(XrtBuffer(self._driver, layout, self.threads) for layout in plan.inputs)
        for operand, matrix in zip(operands, plan.turned(known.inputs), strict=True):
            operand.write(matrix.reshape(operand.layout.shape))
        return _Trial(plan, operands, replace(known, inputs=()))

    def _check_known_answer(self, contract: Contract, trial: _Trial) -> None:
        """One dispatch whose answer is known: whatever else comes is refused."""
        plan, operands, known = trial
        results = [XrtBuffer(self._driver, layout, self.threads) for layout in plan.outputs]
        self._dispatch(plan, operands, results)
        answers = tuple(plan.turned_back(result.read()) for result in results)
        wrong = known.wrong(answers)
        if any(map(np.any, wrong)):
            self._abandon(contract)
            found = "another result" if any(answer.any() for answer in answers) else "zeros"
            places = " and ".join(
                _places(layout.operand, elements)
                for layout, elements in zip(plan.outputs, wrong, strict=True)
                if elements.any()
            )
            raise DispatchError(
                f"{contract.name}: the NPU answers a known {plan.op} with {found}; wrong are {places}; "
                f"no result of it can be trusted: build the kernel again; {VERSIONS}"
            )


class _Trial(NamedTuple):
    """A dispatch whose answer is known, its operands written."""

    plan: Plan
    operands: tuple[XrtBuffer, ...]
    known: KnownAnswer


def _places(operand: str, wrong: NDArray[np.bool_]) -> str:
    """Which elements of a result are wrong: how many, and where the first and the last of them lie."""
    found = np.argwhere(wrong)
    first, last = (",".join(map(str, place)) for place in (found.min(0), found.max(0)))
    where = f"from [{first}] to [{last}]" if len(found) > 1 else f"at [{first}]"
    return f"{len(found):,} of {wrong.size:,} elements of {operand}, {where}"


class _Alive:
    """What lives as long as any view of a device."""


def _close_all(contexts: OrderedDict[str, Context]) -> None:
    while contexts:
        contexts.popitem()[1].close()
