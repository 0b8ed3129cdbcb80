"""What runs a kernel's dispatches: contexts, and in them runs that are made once and used again.

How pyxrt wants it (XRT 2.25, pyxrt.cpp, xrt_kernel.cpp): run.wait returns a state and raises nothing;
runlist.wait raises and takes no timeout; both hold Python's GIL while they wait; a run must not be destroyed
while its command runs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import one_line
from whisper_npu.npu.artifacts import Artifact
from whisper_npu.npu.contract import Argument, Contract
from whisper_npu.npu.layout import allocated, in_tiles, tile_of
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.xrt.buffer import (
    FIRST_DATA_ARGUMENT,
    REBOOT,
    At,
    Driver,
    XrtBuffer,
    is_wedged,
    view,
)
from whisper_npu.owned import temporary_folder

KERNEL_NAME = "MLIR_AIE"  # what aiecc calls the one kernel of an xclbin
OPCODE = 3  # run the instructions in argument 1
NEW, COMPLETED, TIMEOUT = "NEW", "COMPLETED", "TIMEOUT"
# ert_cmd_state by value (ert.h): the binding's enumeration needs microseconds for a name, and has not all.
STATES = (
    *("0", NEW, "QUEUED", "RUNNING", COMPLETED, "ERROR", "ABORT", "SUBMITTED", TIMEOUT),
    *("NORESPONSE", "SKERROR", "SKCRASHED"),
)
RUNNING_STATES = (NEW, "QUEUED", "RUNNING", "SUBMITTED")
UNEXPECTED = "unexpected command state"
LINGER_MS = 100  # that what runs after a failure gets to end before it is left behind
# How a run's end is awaited with the GIL left to other threads. Asking for a state reads a word of memory
# (xdna-driver, hwq.cpp, poll_command) and takes about a microsecond. A sleep ends 50 us late or more (timer
# slack, man 2 prctl), half of a short dispatch's 100 us: so those are asked for without a pause, in which
# nobody else has the GIL. Longer ones are noticed late by a twentieth of what they took, or by one sleep.
SPIN_SECONDS = 150e-6
SHORTEST_SLEEP_SECONDS = 20e-6
LATE = 1 / 20
# No submission takes as long as this. Only run.wait learns at once that the device is gone, so whatever is
# not done by then is left to it.
LONGEST_POLL_SECONDS = 1.0
VERSIONS = "driver, firmware and XRT may not belong together: whisper-npu doctor prints all three"
HANGS = (
    "another program may hold the NPU, or the kernel was built for another array: see dmesg for amdxdna, "
    "build the kernel again, or allow more with --timeout; where all submissions fail from then on, reboot"
)


class Context:
    """An xclbin on the array, and the kernels that run on it: one for each size."""

    def __init__(self, driver: Driver, configuration: bytes) -> None:
        # A file of its own: between two looks at the kernel's folder somebody could put another one there.
        with temporary_folder() as folder:
            path = folder / "kernel.xclbin"
            path.write_bytes(configuration)
            xclbin = driver.pyxrt.xclbin(str(path))
        driver.device.register_xclbin(xclbin)
        self.driver = driver
        self.hw_context = driver.pyxrt.hw_context(driver.device, xclbin.get_uuid())
        self.handle = driver.pyxrt.kernel(self.hw_context, KERNEL_NAME)
        self.kernels: dict[Contract, LoadedKernel] = {}
        driver.serve(self.handle)

    def add(self, artifact: Artifact) -> LoadedKernel:
        kernel = LoadedKernel(self.driver, self.handle, self.hw_context, artifact)
        self.kernels[artifact.contract] = kernel
        return kernel

    def close(self) -> None:
        """Runs first, then their bos, the kernel, the context."""
        for kernel in self.kernels.values():
            for submission in kernel.submissions:
                submission.close()
        self.kernels.clear()
        self.handle = self.hw_context = None


class LoadedKernel:
    """The instructions of one contract, and two submissions that take turns."""

    def __init__(self, driver: Driver, handle: Any, hw_context: Any, artifact: Artifact) -> None:
        nbytes = len(artifact.instructions)
        bo = driver.pyxrt.bo(driver.device, nbytes, driver.pyxrt.bo.cacheable, handle.group_id(1))
        np.frombuffer(bo.map(), np.uint8)[:nbytes] = np.frombuffer(artifact.instructions, np.uint8)
        driver.sync_to_device(bo, nbytes)

        # One for both submissions: the array executes a context's commands in order.
        workspaces = [
            (FIRST_DATA_ARGUMENT + number, _zeros(driver, argument))
            for number, argument in enumerate(artifact.contract.arguments)
            if argument.is_workspace
        ]

        def new_run() -> Any:
            run = driver.pyxrt.run(handle)
            for argument, value in (*enumerate((OPCODE, bo, nbytes)), *workspaces):
                run.set_arg(argument, value)
            return run

        def new_list() -> Any:
            return driver.pyxrt.runlist(hw_context)

        self.submissions = tuple(Submission(driver, artifact.contract, new_run, new_list) for _ in range(2))


def _zeros(driver: Driver, argument: Argument) -> Any:
    """A bo for an argument, zero on the device too."""
    bo = driver.data_bo(argument.nbytes)
    view(bo, argument.dtype)[:] = 0
    driver.sync_to_device(bo, argument.nbytes)
    return bo


class Submission:
    """Dispatches that are submitted together: a run list, and after it a single run.

    The array takes the commands of a context in order. So whoever waits for the single run, which takes a
    timeout, has waited for the list, which takes none. Each run keeps a place in the bo of results;
    runs and places are made when they are first needed.
    """

    def __init__(
        self, driver: Driver, contract: Contract, new_run: Callable[[], Any], new_list: Callable[[], Any]
    ) -> None:
        self._driver, self._contract = driver, contract
        self._new_run, self._new_list = new_run, new_list
        self._runs: list[Any] = []  # the single run, then those of the list
        self._list: Any = None
        self._listed = 0
        self._last_place = -1
        self._places: list[_Places] = []
        self._staying: tuple[Any, ...] = ()  # bos of results that stay where the single run writes them
        self._list_runs = self._last_runs = False  # submitted, and nobody has waited yet
        self.dispatches: Sequence[Dispatch] = ()  # submitted last; the last of them is the single run's
        self._results: list[NDArray[Any]] = []  # (places, batch, rows, cols) each, in the bos of `_places`
        self._gathered: NDArray[Any] = np.empty(0)  # (places, batch, elements), likewise

    def submit(
        self, dispatches: Sequence[Dispatch], operands: Sequence[XrtBuffer], staying: Sequence[Any] = ()
    ) -> None:
        """staying: bos for the results of a single dispatch, where they stay; none for places of its own."""
        assert not staying or len(dispatches) == 1
        if len(dispatches) > len(self._runs):
            self._make_places(len(dispatches))
        self.dispatches, self._staying = dispatches, tuple(staying)
        if staying:
            first = FIRST_DATA_ARGUMENT + len(self._contract.arguments) - self._contract.results
            for argument, bo in enumerate(staying, first):
                self._runs[0].set_arg(argument, bo)
            self._last_place = -1
        else:
            self._place_last_run(len(dispatches) - 1)
        contract = self._contract
        if contract.gathers:
            for place, dispatch in enumerate(dispatches):
                tiles = [operand.gathered(at) for operand, at in zip(operands, dispatch.read, strict=True)]
                products = len(dispatch.read[0])
                contract.gather(self._gathered[place, :products], *tiles)
                self._gathered[place, products:] = 0  # the last dispatch of a plan may have fewer
            self._places[0].sync_to_device(self._driver, len(dispatches))
        elif contract.batch > 1:  # one dispatch, of operands of one tile per matrix: all of a bo
            for argument, operand in enumerate(operands, FIRST_DATA_ARGUMENT):
                self._runs[0].set_arg(argument, operand.bo)
        else:
            for run, dispatch in zip(self._in_order(), dispatches, strict=True):
                for argument, (operand, at) in enumerate(zip(operands, dispatch.read, strict=True)):
                    run.set_arg(FIRST_DATA_ARGUMENT + argument, operand.tile_bo(at[0]))
        if len(dispatches) > 1:
            self._list_of(len(dispatches) - 1).execute()
            self._list_runs = True
        self._runs[0].start()
        self._last_runs = True

    def wait(self, timeout_ms: int) -> Failure | None:
        """How the first dispatch that failed ended, or None. What is still running stays in flight."""
        listed = len(self.dispatches) - 1
        last = COMPLETED
        if self._last_runs:
            last = self._state_of_last_run(timeout_ms)
            if last == TIMEOUT and _is_running(self._runs[0]):
                return Failure(range(listed + 1), TIMEOUT)
            self._last_runs = False
        if self._list_runs:
            try:
                self._list.wait()
            except RuntimeError as error:
                return self._first_failure(listed, error)
            finally:
                self._list_runs = False
        return None if last == COMPLETED else Failure(range(listed, listed + 1), last)

    def sync_results(self) -> None:
        if self._staying:
            return
        for places in self._places[-self._contract.results :]:
            places.sync_from_device(self._driver, len(self.dispatches))

    def results(self, number: int) -> NDArray[Any]:
        """One result of each dispatch, a view that the next submission overwrites.

        (dispatches, batch, rows, cols)
        """
        return self._results[number][: len(self.dispatches)]

    def close(self) -> None:
        # A list without the run behind it could be waited for without end only: it is left behind at once.
        left_behind = self._list_runs and not self._last_runs
        if not left_behind:
            with suppress(RuntimeError):  # the device is gone
                self.wait(LINGER_MS)
            left_behind = self._last_runs and _is_running(self._runs[0])
        if left_behind:
            # XRT ends the process if a running run is destroyed: this one, and all it uses, is never freed.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
            return
        self._list = None
        self._runs.clear()
        self._forget_places()
        del self._new_run, self._new_list  # whoever keeps an error keeps this, and they keep the context

    def _state_of_last_run(self, timeout_ms: int) -> str:
        start = perf_counter()
        _poll(self._runs[0], min(LONGEST_POLL_SECONDS, 0.5e-3 * timeout_ms))
        left_ms = max(1, timeout_ms - round(1e3 * (perf_counter() - start)))
        try:
            return _state(self._runs[0].wait(left_ms))  # which returns at once where the run has ended
        except RuntimeError as error:
            # With a driver that has sync objects XRT 2.25 raises "unexpected command state" in place of
            # returning TIMEOUT, and raises the same at once where the device is gone (xdna-driver,
            # platform.cpp). Whatever else it raises is no timeout, however late it comes.
            if UNEXPECTED not in str(error) or perf_counter() - start < 0.9e-3 * timeout_ms:
                raise
            return TIMEOUT

    def _first_failure(self, listed: int, error: RuntimeError) -> Failure:
        states = [_state(run.state()) for run in self._runs[1 : listed + 1]]
        # Those before it stay NEW: neither driver nor XRT touches the runs of a list that went well.
        failed = next((place for place, state in enumerate(states) if state not in (NEW, COMPLETED)), None)
        if failed is None:
            return Failure(range(listed), one_line(error))
        return Failure(range(failed, failed + 1), states[failed])

    def _in_order(self) -> list[Any]:
        """The run of each dispatch: those of the list, then the single one."""
        return [*self._runs[1 : len(self.dispatches)], self._runs[0]]

    def _place_last_run(self, place: int) -> None:
        """The single run's results come right behind those of the list, however long that is."""
        if place != self._last_place:
            self._set_place(self._runs[0], place)
            self._last_place = place

    def _set_place(self, run: Any, place: int) -> None:
        for places in self._places:
            run.set_arg(places.number, places.sub_bo(self._driver, place))

    def _list_of(self, count: int) -> Any:
        """A run list of the first `count` runs; the one before, if it was of as many."""
        if self._listed != count:
            self._list = None  # a run is in one list only
            self._list = self._new_list()
            for run in self._runs[1 : count + 1]:
                self._list.add(run)
            self._listed = count
        return self._list

    def _make_places(self, count: int) -> None:
        self._list, self._listed = None, 0
        self._forget_places()
        contract, first_result = self._contract, len(self._contract.arguments) - self._contract.results
        if contract.gathers:
            gathered = self._places_of(0, count)
            self._gathered = gathered.view.reshape(count, contract.batch, -1)
        for number, layout in enumerate(contract.written):
            places = self._places_of(first_result + number, count)
            self._results.append(in_tiles(places.view, layout)[:, :, 0, 0])
        self._runs += [self._new_run() for _ in range(count - len(self._runs))]
        for place, run in enumerate(self._runs[1:]):
            self._set_place(run, place)
        self._last_place = -1

    def _places_of(self, number: int, count: int) -> _Places:
        """New ones, for an argument of the contract."""
        argument = self._contract.arguments[number]
        bo = self._driver.data_bo(count * argument.nbytes)
        elements = view(bo, argument.dtype).reshape(count, -1)
        places = _Places(FIRST_DATA_ARGUMENT + number, bo, argument, elements)
        self._places.append(places)
        return places

    def _forget_places(self) -> None:
        self._results.clear()
        self._gathered = np.empty(0)
        self._places.clear()


@dataclass(frozen=True)
class _Places:
    """A bo that has a place for each run, of what the kernel takes as one of its arguments."""

    number: int  # of the argument, as XRT counts
    bo: Any
    argument: Argument
    view: NDArray[Any]  # (places, elements)

    def sub_bo(self, driver: Driver, place: int) -> Any:
        return driver.sub_bo(self.bo, self.argument.nbytes, place * self.argument.nbytes)

    def sync_to_device(self, driver: Driver, count: int) -> None:
        """The first `count` places."""
        driver.sync_to_device(self.bo, count * self.argument.nbytes)

    def sync_from_device(self, driver: Driver, count: int) -> None:
        driver.sync_from_device(self.bo, count * self.argument.nbytes)


class Dispatch(NamedTuple):
    """The tiles of one dispatch, `contract.batch` of each operand; fewer in the last."""

    read: tuple[tuple[At, ...], ...]
    written: tuple[tuple[At, ...], ...]


@lru_cache(maxsize=256)  # an encoder has a dozen different plans and runs each many times
def dispatches_of(plan: Plan) -> tuple[Dispatch, ...]:
    batch, reads = plan.contract.batch, len(plan.inputs)

    def grouped(tiles: NDArray[np.intp]) -> list[tuple[At, ...]]:
        found = [(row, col) for row, col in tiles.tolist()]
        return [tuple(found[first : first + batch]) for first in range(0, len(found), batch)]

    operands = [grouped(tiles) for tiles in plan.walk().tiles]
    return tuple(Dispatch(tiles[:reads], tiles[reads:]) for tiles in zip(*operands, strict=True))


class Accumulator:
    """One result of a plan: the host adds each partial result to its tile, in the order of the dispatches."""

    def __init__(self, plan: Plan, number: int, out: F32 | None) -> None:
        """out: of the result's shape, where it is added up; None: in new memory."""
        self._number = number
        self._layout = layout = plan.outputs[number]
        self._total = allocated(layout) if out is None else out[None] if layout.batch == 1 else out
        self._written = np.zeros(layout.grid, bool)

    def add(self, submission: Submission) -> None:
        """What one submission computed; the last dispatch of a plan may have fewer tile products."""
        dispatches, partials = submission.dispatches, submission.results(self._number)
        start = 0
        while start < len(dispatches):
            tiles = dispatches[start].written[self._number]
            stop = start + 1
            while (
                len(tiles) == 1 and stop < len(dispatches) and dispatches[stop].written[self._number] == tiles
            ):
                stop += 1
            for product, at in enumerate(tiles):
                self._add_to(at, partials[start:stop, product])
            start = stop

    def _add_to(self, at: At, partials: NDArray[Any]) -> None:
        """Each is added in turn, so the sum is the emulator's to the bit.

        partials: (steps of K, rows, cols).
        """
        total = tile_of(self._total, self._layout, at)  # smaller at the edges
        partials = partials[:, : total.shape[0], : total.shape[1]]
        if not self._written[at]:
            self._written[at] = True
            if total.size > 1:  # NumPy adds a single element's partial results in pairs
                np.add.reduce(partials, axis=0, dtype=np.float32, out=total)
                return
            total[:] = partials[0]
            partials = partials[1:]
        for partial in partials:
            total += partial.astype(np.float32, copy=False)

    def give_to(self, result: XrtBuffer) -> None:
        """NaN where no dispatch wrote."""
        missing = () if self._written.all() else np.argwhere(~self._written).tolist()
        for row, col in missing:
            tile_of(self._total, self._layout, (row, col))[:] = np.nan
        result.result = self._total.reshape(self._layout.shape) if result.out is None else result.out


class WholeResult:
    """A result that one dispatch writes whole: it is taken from where the array wrote it, or left there."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._number = number
        self._layout = plan.outputs[number]
        self._matrices: F32 = np.empty(0, np.float32)

    def add(self, submission: Submission) -> None:
        matrices = submission.results(self._number)[0]  # (batch, *padded)
        self._matrices = matrices[: self._layout.batch, : self._layout.rows, : self._layout.cols]

    def give_to(self, result: XrtBuffer) -> None:
        result.set_result(self._matrices)


class StayingResult:
    """A result that the array leaves in a bo of its own, for another dispatch."""

    def add(self, submission: Submission) -> None:
        """It is all there is."""

    def give_to(self, result: XrtBuffer) -> None:
        """It has it."""


Result = Accumulator | WholeResult | StayingResult


def result_of(plan: Plan, number: int, buffer: XrtBuffer) -> Result:
    """How a result of a plan is put together from what its dispatches write."""
    if buffer.stays:
        return StayingResult()
    dispatches, layout = dispatches_of(plan), plan.outputs[number]
    all_of_it = tuple((index, 0) for index in range(layout.batch))  # one tile per matrix, in order
    whole = (
        len(dispatches) == 1
        and layout.matrix_grid == (1, 1)
        and dispatches[0].written[number] == all_of_it
        and plan.contract.written[number].dtype is DType.F32
    )
    if whole and (buffer.passing or buffer.out is not None):
        return WholeResult(plan, number)
    return Accumulator(plan, number, buffer.out)


@dataclass(frozen=True)
class Failure:
    """Which dispatches of a submission it may be, and their state."""

    dispatches: range
    state: str

    @property
    def hangs(self) -> bool:
        return self.state == TIMEOUT or is_wedged(self.state)


def _state(state: Any) -> str:
    """An ert_cmd_state in short."""
    value = int(state)
    return STATES[value] if value < len(STATES) else str(value)


def _is_running(run: Any) -> bool:
    return _state(run.state()) in RUNNING_STATES


def _poll(run: Any, seconds: float) -> None:
    """Returns when the run has ended, or after so many seconds; other threads may have the GIL meanwhile."""
    start = perf_counter()
    while _is_running(run) and (waited := perf_counter() - start) < seconds:
        if waited > SPIN_SECONDS:
            sleep(max(SHORTEST_SLEEP_SECONDS, LATE * waited))


def explained(plan: Plan, first: int, failure: Failure, timeout_ms: int) -> str:
    start, last = first + failure.dispatches.start + 1, first + failure.dispatches.stop
    which = f"dispatch {start:,}" if start == last else f"one of dispatches {start:,} to {last:,}"
    ended = f"ended with {failure.state}"
    if failure.state == TIMEOUT:
        ended += f" ({timeout_ms / 1e3:g} s allowed)"
    remedy = HANGS if failure.state == TIMEOUT else REBOOT if failure.hangs else VERSIONS
    return f"{plan.contract.name}: {which} of {plan.dispatches:,} for {plan.op} {ended}: {remedy}"
