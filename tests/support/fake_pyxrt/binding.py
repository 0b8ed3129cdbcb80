"""The classes of pyxrt, with its names and signatures, over a Chip."""

from __future__ import annotations

import json
import operator
import time
import weakref
from contextlib import AbstractContextManager
from enum import Enum
from hashlib import sha256
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from tests.support.fake_pyxrt import chip as chip_module
from tests.support.fake_pyxrt.chip import CHAIN, Chip, Context, Fault, Flight, Memory, Span
from tests.support.stand_in_kernels import MAX_ARGUMENTS, XCLBIN_MAGIC

KERNEL_NAME = "MLIR_AIE"
OPCODE, INSTRUCTIONS, INSTRUCTION_BYTES, FIRST_DATA = 0, 1, 2, 3  # arguments of that kernel
ARGUMENTS = FIRST_DATA + MAX_ARGUMENTS
START_NPU = 3  # the opcode
HOST, SRAM = 0, 1  # memory banks
UNEXPECTED = "qds_device::wait() unexpected command state"
MAX_INT, MAX_UNSIGNED = 2**31 - 1, 2**32 - 1


class _PybindEnum(Enum):
    """As pybind11 makes them: equal to their numbers, and no ints."""

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, int) and self.value == other)

    def __hash__(self) -> int:
        return hash(self.value)


ert_cmd_state = _PybindEnum(
    "ert_cmd_state",
    {
        "ERT_CMD_STATE_NEW": chip_module.NEW,
        "ERT_CMD_STATE_QUEUED": 2,
        "ERT_CMD_STATE_COMPLETED": chip_module.COMPLETED,
        "ERT_CMD_STATE_ERROR": chip_module.ERROR,
        "ERT_CMD_STATE_ABORT": chip_module.ABORT,
        "ERT_CMD_STATE_SUBMITTED": 7,
        "ERT_CMD_STATE_TIMEOUT": chip_module.TIMEOUT,
        "ERT_CMD_STATE_NORESPONSE": 9,
        "ERT_CMD_STATE_SKERROR": 10,
        "ERT_CMD_STATE_SKCRASHED": 11,
    },
)
xclBOSyncDirection = _PybindEnum(
    "xclBOSyncDirection",
    {
        "XCL_BO_SYNC_BO_TO_DEVICE": 0,
        "XCL_BO_SYNC_BO_FROM_DEVICE": 1,
        "XCL_BO_SYNC_BO_GMIO_TO_AIE": 2,
        "XCL_BO_SYNC_BO_AIE_TO_GMIO": 3,
    },
)
xrt_info_device = _PybindEnum("xrt_info_device", {"bdf": 0, "name": 5, "platform": 12})
flags = _PybindEnum(
    "flags",
    {
        "normal": 0,
        "cacheable": 1 << 24,
        "svm": 1 << 27,
        "device_only": 1 << 28,
        "host_only": 1 << 29,
        "p2p": 1 << 30,
    },
)


class _Object:
    """One of pyxrt's classes; `pyxrt_module` makes a subclass for its chip."""

    chip: ClassVar[Chip]
    classes: ClassVar[dict[str, type[Any]]]  # of the same module, by name

    @property
    def _lock(self) -> AbstractContextManager[object]:
        return self.chip.lock

    def _exists(self) -> None:
        self.chip.objects.add(self)

    def _no_overload(self, function: str, *arguments: object) -> TypeError:
        """To be raised."""
        given = ", ".join(type(argument).__name__ for argument in arguments)
        message = f"{function}(): incompatible function arguments: {given}"
        self.chip.note(message)
        return TypeError(message)

    def _index(self, value: object, limit: int, function: str) -> int:
        """An argument that C++ takes as a number from 0 to `limit`."""
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise self._no_overload(function, value) from None
        if isinstance(value, Enum) or not 0 <= number <= limit:
            raise self._no_overload(function, value)
        return number


class Uuid(_Object):
    def __init__(self, text: str) -> None:
        self._text = text

    def to_string(self) -> str:
        return self._text


class Xclbin(_Object):
    def __init__(self, path: str) -> None:
        if not isinstance(path, str):
            raise self._no_overload("xclbin", path)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise RuntimeError(f"No such file '{path}'") from error
        if not content.startswith(XCLBIN_MAGIC):
            raise RuntimeError("xclbin: buffer too small to contain header")
        self._content = content
        self._exists()

    def get_uuid(self) -> Uuid:
        uuid: Uuid = self.classes["uuid"](sha256(self._content).hexdigest()[:32])
        return uuid


class Device(_Object):
    def __init__(self, index: int) -> None:
        number = self._index(index, MAX_UNSIGNED, "device")
        with self._lock:
            self.chip.ioctl()
        if number != 0:
            raise RuntimeError(f" No such device with index '{number}'")
        self._exists()

    def register_xclbin(self, xclbin: Xclbin) -> Uuid:
        if not isinstance(xclbin, Xclbin):
            raise self._no_overload("register_xclbin", xclbin)
        with self._lock:
            self.chip.ioctl()
            uuid = xclbin.get_uuid()
            self.chip.registered[uuid.to_string()] = xclbin._content
        return uuid

    def load_xclbin(self, xclbin: object) -> Uuid:
        raise self.chip.misuse("load_xclbin: Operation not supported")

    def get_info(self, key: Enum) -> str:
        if not isinstance(key, xrt_info_device):
            raise self._no_overload("get_info", key)
        self.chip.ioctl()
        status = {"power_mode": self.chip.power_mode}  # as of XRT's core/common/info_platform.cpp
        return {
            "bdf": "0000:c4:00.1",
            "name": "RyzenAI-npu1",
            "platform": json.dumps({"platforms": [{"static_region": {"name": "x"}, "status": status}]}),
        }[key.name]


class HwContext(_Object):
    def __init__(self, device: Device, uuid: Uuid) -> None:
        if not isinstance(device, Device) or not isinstance(uuid, Uuid):
            raise self._no_overload("hw_context", device, uuid)
        with self._lock:
            self.chip.ioctl()
            if uuid.to_string() not in self.chip.registered:
                raise self.chip.misuse(f"hw_context: no xclbin with uuid {uuid.to_string()} is registered")
            self._context = self.chip.new_context(uuid.to_string())


class Kernel(_Object):
    def __init__(self, context: HwContext, name: str, *old_flow: object) -> None:
        if isinstance(context, Device):
            raise self.chip.misuse("kernel(device, uuid, name): Operation not supported")
        if not isinstance(context, HwContext) or not isinstance(name, str) or old_flow:
            raise self._no_overload("kernel", context, name, *old_flow)
        if name != KERNEL_NAME:
            raise RuntimeError(f"No such kernel '{name}': Invalid argument")
        self._context = context._context
        self._exists()

    def group_id(self, index: int) -> int:
        number = self._index(index, MAX_INT, "group_id")
        if number in (OPCODE, INSTRUCTION_BYTES) or number >= ARGUMENTS:
            raise self.chip.misuse(f"group_id: argument {number} is no bo")
        return (SRAM if number == INSTRUCTIONS else HOST) | (self._context.slot + 1) << 16

    def __call__(self, *arguments: object) -> Run:
        run: Run = self.classes["run"](self)
        for index, argument in enumerate(arguments):
            run.set_arg(index, argument)
        run.start()
        return run


class Bo(_Object):
    """A root bo, or a part of one: (device, size, flags, group) or (parent, size, offset)."""

    flags = flags
    normal, cacheable, device_only = flags["normal"], flags["cacheable"], flags["device_only"]
    host_only, p2p, svm = flags["host_only"], flags["p2p"], flags["svm"]

    def __init__(self, parent: Device | Bo, size: int, *rest: Any) -> None:
        nbytes = self._index(size, 2**63, "bo")
        with self._lock:
            if isinstance(parent, Device) and len(rest) == 2 and isinstance(rest[0], flags):
                self._allocate(nbytes, rest[0], self._index(rest[1], MAX_UNSIGNED, "bo"))
            elif isinstance(parent, Bo) and len(rest) == 1:
                self._divide(parent, nbytes, self._index(rest[0], 2**63, "bo"))
            else:
                raise self._no_overload("bo", parent, size, *rest)
            self._size = nbytes
            self._exists()

    def _allocate(self, size: int, kind: Enum, group: int) -> None:
        bank = group & 0xFFFF
        if size == 0:
            raise self.chip.misuse("a bo of 0 bytes")
        if kind not in (flags["cacheable"], flags["host_only"]):
            raise self.chip.misuse(f"a bo with flags {kind.name}: an NPU takes cacheable and host_only")
        cacheable = kind is flags["cacheable"]
        if bank != (SRAM if cacheable else HOST):
            raise self.chip.misuse(f"a {kind.name} bo in memory group {group}, which is another argument's")
        self.chip.ioctl()
        self._memory: Memory = self.chip.new_memory(size, cacheable=cacheable)
        self._start = 0
        self._is_sub = False

    def _divide(self, parent: Bo, size: int, offset: int) -> None:
        if parent._is_sub:
            raise self.chip.misuse("a sub-bo of a sub-bo gets a wrong address: derive it from the root bo")
        if size == 0 or offset + size > parent._size:
            raise self.chip.misuse(f"a sub-bo of {size} bytes at {offset} in a bo of {parent._size}")
        self._memory = parent._memory
        self._start = offset
        self._is_sub = True

    def map(self) -> memoryview:
        with self._lock:
            return self._memory.view(self._start, self._size)

    def sync(self, direction: Enum, *part: int) -> None:
        """(direction), or (direction, size, offset)."""
        if not isinstance(direction, xclBOSyncDirection) or len(part) not in (0, 2):
            raise self._no_overload("sync", direction, *part)
        size, offset = (self._index(number, 2**63, "sync") for number in (part or (self._size, 0)))
        if size == 0 or offset + size > self._size:
            raise self.chip.misuse(f"sync of {size} bytes at {offset} of a bo of {self._size}")
        start = self._start + offset
        with self._lock:
            if direction is xclBOSyncDirection["XCL_BO_SYNC_BO_TO_DEVICE"]:
                self.chip.sync_to_device(self._memory, start, start + size)
            elif direction is xclBOSyncDirection["XCL_BO_SYNC_BO_FROM_DEVICE"]:
                self.chip.sync_from_device(self._memory, start, start + size)
            else:
                raise self.chip.misuse(f"sync {direction.name}: an NPU has no GMIO")

    def write(self, data: Any, seek: int) -> None:
        with memoryview(data) as view:
            if not view.c_contiguous:
                raise self.chip.misuse("bo.write ignores strides: give it a C-contiguous array")
            self._part("write", view.nbytes, seek)[:] = view.cast("B")

    def read(self, size: int, skip: int) -> Any:
        import numpy as np

        return np.frombuffer(bytes(self._part("read", size, skip)), np.int8)

    def _part(self, function: str, size: int, offset: int) -> memoryview:
        start = self._index(offset, 2**63, function)
        if start + size > self._size:
            raise self.chip.misuse(f"{function} of {size} bytes at {start} of a bo of {self._size}")
        return self.map()[start : start + size]

    def size(self) -> int:
        return self._size

    def address(self) -> int:
        return (id(self._memory) << 12) + self._start


class Run(_Object):
    def __init__(self, kernel: Kernel) -> None:
        if not isinstance(kernel, Kernel):
            raise self._no_overload("run", kernel)
        self._kernel = kernel
        self._arguments: dict[int, int | Span] = {}
        self._flight: Flight | None = None
        self._state = chip_module.NEW
        self._polls = 0
        self._alone = False  # started by itself, not by a list
        self._lists = 0
        self.chip.counts.runs += 1
        self._exists()

    @property
    def _context(self) -> Context:
        return self._kernel._context

    def set_arg(self, index: int, value: object) -> None:
        number = self._index(index, MAX_INT, "set_arg")
        if number >= ARGUMENTS:
            raise IndexError(f"vector::_M_range_check: __n (which is {number}) >= this->size()")
        with self._lock:
            if self._flight:
                raise self.chip.misuse("set_arg of a run that was started and not waited for")
            self._arguments[number] = self._argument(number, value)

    def _argument(self, number: int, value: object) -> int | Span:
        if number in (OPCODE, INSTRUCTION_BYTES):
            if isinstance(value, Bo):
                raise self.chip.misuse(f"argument {number} is a number, not a bo")
            return self._index(value, MAX_INT, "set_arg")
        if not isinstance(value, Bo):
            raise self.chip.misuse(f"argument {number} is a bo, not {type(value).__name__}")
        if value._memory.cacheable != (number == INSTRUCTIONS):
            wanted = "cacheable" if number == INSTRUCTIONS else "host_only"
            raise self.chip.misuse(f"argument {number} must be a {wanted} bo")
        if value._start % 4:
            raise self.chip.misuse(f"argument {number} begins at byte {value._start}: a DMA moves words of 4")
        return Span(weakref.ref(value._memory), value._start, value._start + value._size, writes=False)

    def start(self) -> None:
        with self._lock:
            if self._lists:
                raise self.chip.misuse("a run that belongs to a runlist cannot be started by itself")
            self._launch()
            self._alone = True
            self.chip.counts.single_runs += 1

    def _launch(self) -> None:
        if self._flight:
            raise self.chip.misuse("start of a run that was started and not waited for")
        content = self._instructions()
        try:
            what = self._context.read(content)
        except ValueError as error:
            raise self.chip.misuse(f"the instruction bo on the device (was it synced?): {error}") from error
        surplus = [number for number in self._arguments if number >= FIRST_DATA + len(what.arguments)]
        if surplus:
            raise self.chip.misuse(f"argument {surplus[0]} is set, and these instructions do not use it")
        spans = tuple(
            self._bytes(number, argument.nbytes, writes=argument.is_written)
            for number, argument in enumerate(what.arguments, FIRST_DATA)
        )
        self.chip.ioctl()
        self._state, self._polls, self._alone = chip_module.NEW, 0, False
        self._flight = self.chip.start(self._context, what, spans)

    def _instructions(self) -> bytes:
        """What the device would read as instructions."""
        if self._arguments.get(OPCODE) != START_NPU:
            raise self.chip.misuse(f"argument {OPCODE} is {self._arguments.get(OPCODE)}, not {START_NPU}")
        nbytes = self._arguments.get(INSTRUCTION_BYTES)
        if not isinstance(nbytes, int):
            raise self.chip.misuse(f"argument {INSTRUCTION_BYTES} is not set")
        span = self._bytes(INSTRUCTIONS, nbytes)
        memory = span.memory()
        assert memory is not None
        return memory.device[span.start : span.stop].tobytes()

    def _bytes(self, number: int, nbytes: int, *, writes: bool = False) -> Span:
        """The first bytes of a bo that was given as an argument."""
        span = self._arguments.get(number)
        if not isinstance(span, Span):
            raise self.chip.misuse(f"argument {number} is not set")
        if span.memory() is None:
            raise self.chip.misuse(f"argument {number}: its bo is gone")
        if span.stop - span.start < nbytes:
            raise self.chip.misuse(f"argument {number} has {span.stop - span.start} bytes of {nbytes}")
        return Span(span.memory, span.start, span.start + nbytes, writes)

    def wait(self, timeout_ms: int = 0) -> Enum:
        """Returns a state and raises nothing, but see `Chip.sync_objects`; 0 is for ever."""
        limit = self._index(timeout_ms, MAX_UNSIGNED, "wait")
        with self._lock:
            if self._lists:
                raise self.chip.misuse("wait for a run that belongs to a runlist: wait for the list")
            if self._flight is None:
                if self._state == chip_module.NEW:
                    raise self.chip.misuse("wait for a run that was not started")
                return _state(self._state)
            if self.chip.gone and self.chip.sync_objects:
                raise RuntimeError(UNEXPECTED)
            self.chip.ioctl()
            self.chip.counts.waits_for_running += self._flight.runs
            if self._flight.fault is Fault.DIES:
                time.sleep(0.95 * limit / 1e3)
                self.chip.gone = True
                return self.wait(timeout_ms)
            self.chip.execute_until(self._flight)
            if not self._flight.hung:
                self._land()
                return _state(self._state)
            if limit == 0:
                raise self.chip.misuse("wait for ever, for a run that hangs")
        if self.chip.sync_objects:
            time.sleep(limit / 1e3)
            raise RuntimeError(UNEXPECTED)
        return _state(chip_module.TIMEOUT)

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        assert flight is not None
        self._state = flight.state
        self.chip.land(flight)

    def _withdraw(self) -> None:
        assert self._flight is not None
        self.chip.withdraw(self._flight)
        self._flight = None

    def wait2(self, *timeout: object) -> None:
        if timeout:  # std::chrono, which the binding cannot convert to
            raise self._no_overload("wait2", *timeout)
        state = self.wait()
        if state != chip_module.COMPLETED:
            raise RuntimeError(f"run failed execution ({state.name})")

    def state(self) -> Enum:
        """Polls. In progress at first; when it says how the run ended, the run may be started again.

        Of a member of a runlist it says so only where the list failed: NEW before the one that failed.
        """
        with self._lock:
            self._polls += 1
            alive = not self.chip.gone and self._flight and self._flight.fault is not Fault.DIES
            if alive and not self._lists and self._polls > 1:
                assert self._flight is not None
                self.chip.execute_until(self._flight)
                if not self._flight.hung:
                    self._land()
            return _state(self._state)

    def __del__(self) -> None:
        flight = getattr(self, "_flight", None)
        if flight:
            with self._lock:
                self.chip.flights.remove(flight)
            if self._alone:
                self.chip.note("a run was destroyed while its command is in progress: XRT aborts the process")
            elif not self.chip.is_lost(flight):
                self.chip.note("a run was destroyed before its runlist was waited for")


class Runlist(_Object):
    def __init__(self, context: HwContext | None = None) -> None:
        if context is not None and not isinstance(context, HwContext):
            raise self._no_overload("runlist", context)
        self._context = context and context._context
        self._runs: list[Run] = []
        self._running = False
        self.chip.counts.runlists += 1
        self._exists()

    def add(self, run: Run) -> None:
        if not isinstance(run, Run):
            raise self._no_overload("add", run)
        with self._lock:
            if self._context is None:
                raise self.chip.misuse("cannot add a run to a runlist without a context")
            if run._context is not self._context:
                raise self.chip.misuse("a runlist takes runs of its own context only")
            if self._running or run._flight:
                raise self.chip.misuse("runlist must be idle before adding run objects, and so must the run")
            run._lists += 1
            self._runs.append(run)

    def execute(self) -> None:
        with self._lock:
            if self._running:
                raise self.chip.misuse("runlist must be idle before submitting for execution")
            if len(set(map(id, self._runs))) < len(self._runs):
                raise self.chip.misuse("a run is twice in one runlist")
            self.chip.ioctl()
            self.chip.counts.lists += 1
            self._running = bool(self._runs)
            for first in range(0, len(self._runs), CHAIN):
                self._submit(self._runs[first : first + CHAIN])

    def _submit(self, runs: list[Run]) -> None:
        """All of them, or none."""
        submitted = []
        try:
            for run in runs:
                run._launch()
                submitted.append(run)
        except RuntimeError:
            for run in submitted:
                run._withdraw()
            raise

    def wait(self, *timeout: object) -> None:
        """Raises RuntimeError with the state of the first run that failed; later ones count as aborted."""
        if timeout:  # std::chrono, which the binding cannot convert to
            raise self._no_overload("wait", *timeout)
        with self._lock:
            submitted = [run for run in self._runs if run._flight] if self._running else []
            if submitted:
                self.chip.ioctl()
            self._running = False
            self.chip.counts.waits_for_running += any(run._flight.runs for run in submitted if run._flight)
            failed = None
            for run in submitted:
                assert run._flight is not None
                self.chip.execute_until(run._flight)
                if failed is not None:
                    self.chip.abort(run._flight)
                elif run._flight.state != chip_module.COMPLETED:
                    failed = run._flight.state
                run._land()
                if failed is None:
                    run._state = chip_module.NEW  # nobody touches it
        if failed is not None:
            raise RuntimeError(f"runlist failed execution ({_state(failed).name})")

    def __del__(self) -> None:
        flights = [run._flight for run in getattr(self, "_runs", ())]
        if getattr(self, "_running", False) and not all(f is None or self.chip.is_lost(f) for f in flights):
            self.chip.note("a runlist was destroyed before it was waited for")
        for run in getattr(self, "_runs", ()):
            run._lists -= 1


def _state(number: int) -> Enum:
    return ert_cmd_state(number)


CLASSES: dict[str, type[_Object]] = {
    "uuid": Uuid,
    "xclbin": Xclbin,
    "device": Device,
    "hw_context": HwContext,
    "kernel": Kernel,
    "bo": Bo,
    "run": Run,
    "runlist": Runlist,
}
ENUMS = (ert_cmd_state, xclBOSyncDirection, xrt_info_device)


def pyxrt_module(chip: Chip) -> ModuleType:
    """A module as `import pyxrt` gives it, whose objects live on `chip`."""
    module = ModuleType("pyxrt")
    module.__spec__ = ModuleSpec("pyxrt", None)  # importlib.util.find_spec finds it
    classes: dict[str, type[Any]] = {}
    for name, base in CLASSES.items():
        classes[name] = type(name, (base,), {"chip": chip, "classes": classes, "__module__": "pyxrt"})
    for name, bound in classes.items():
        setattr(module, name, bound)
    for enum in ENUMS:
        setattr(module, enum.__name__, enum)

    def enumerate_devices() -> int:
        return 0 if chip.gone else 1

    module.enumerate_devices = enumerate_devices  # type: ignore[attr-defined]
    return module
