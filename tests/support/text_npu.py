"""An NPU whose kernels are the designs' own texts (text_kernels.py), opened by the public door."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support import text_kernels
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.stand_in_kernels import XCLBIN_MAGIC, Memory, write_kernel, write_npu
from whisper_npu.kernels import registry
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.xrt import device as xrt

Text = str | tuple[str, str]  # of a design; or of one for the array and of another for the instructions


class TextNpu(ABC):
    """What a test has: `open` with kernels, `problems` afterwards. Devices are closed at the end."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._devices = ExitStack()
        # No kernel of this machine's user may be found.
        patch.setenv("WHISPER_NPU_KERNELS", str(folder / "kernels"))
        patch.setenv("XDG_DATA_HOME", str(folder / "none"))

    def __enter__(self) -> TextNpu:
        return self

    def __exit__(self, *error: Any) -> None:
        self._devices.close()

    def open(
        self,
        *kernels: Contract | Mapping[Contract, Text],
        timeout_seconds: float = 10.0,
        check_results: str = "off",
    ) -> Device:
        """With these kernels built: each of its own design, or of the text that is given for it.

        Unless results are to be checked, no dispatch comes that was not asked for.
        """
        texts: dict[Contract, Text] = {}
        for given in kernels:
            texts |= given if isinstance(given, Mapping) else {given: registry.design(given)}
        for contract, text in texts.items():
            of_array, of_instructions = (text, text) if isinstance(text, str) else text
            array, _ = text_kernels.files(of_array)
            _, insts = text_kernels.files(of_instructions)
            write_kernel(self.folder / "kernels", contract, self.xclbin(array), insts=insts)
        npu = NpuOptions((self.folder / "kernels",), timeout_seconds)
        device = open_device("npu", npu=npu, check_results=check_results)
        return self._devices.enter_context(device)

    @abstractmethod
    def xclbin(self, array: bytes) -> bytes:
        """A file that configures the array so."""

    @abstractmethod
    def dispatches(self) -> int:
        """Executed so far."""

    @abstractmethod
    def contexts(self) -> int:
        """That are open now."""

    @abstractmethod
    def fail(self, state: str, at: int) -> None:
        """Let the driver end the `at`-th dispatch from now with TIMEOUT, ERROR or ABORT."""

    @abstractmethod
    def problems(self) -> list[str]:
        """What an NPU would have answered with wrong data or a hang."""

    @abstractmethod
    def forget_problems(self) -> None: ...

    def only_problem(self) -> str:
        """The one that there is; then there is none."""
        (problem,) = self.problems()
        self.forget_problems()
        return problem


class FakeTextNpu(TextNpu):
    """Above the fake pyxrt."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, patch)
        self.fake = FakeXrt()
        root = write_npu(folder / "root")
        patch.setitem(sys.modules, "pyxrt", self.fake.module)
        patch.setattr(xrt, "open_npu", partial(xrt.open_npu, root=root))

    def xclbin(self, array: bytes) -> bytes:
        return XCLBIN_MAGIC + array

    def dispatches(self) -> int:
        return self.fake.counts.dispatches

    def contexts(self) -> int:
        return self.fake.alive()["hw_context"]

    def fail(self, state: str, at: int) -> None:
        ended = {"TIMEOUT": Fault.ENDED, "ERROR": Fault.ERROR, "ABORT": Fault.ABORT}
        self.fake.inject(ended[state], at=at)

    def problems(self) -> list[str]:
        return self.fake.problems()

    def forget_problems(self) -> None:
        self.fake.misuses.clear()


class _Seen(ctypes.Structure):
    """Bytes that the array sees: struct seen of tests/xrt/amdxdna_stub.c."""

    _fields_: ClassVar = [("start", ctypes.c_void_p), ("bytes", ctypes.c_uint64)]

    @property
    def memory(self) -> Memory:
        """The very bytes."""
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.bytes).from_address(self.start))


_SEEN = ctypes.POINTER(_Seen)
_DISPATCH = ctypes.CFUNCTYPE(ctypes.c_int, _SEEN, _SEEN, _SEEN, ctypes.c_void_p, ctypes.c_uint64)


class GenuineTextNpu(TextNpu):
    """Above the genuine pyxrt and the stub of the driver, which calls back for every dispatch."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, patch)
        self._problems: list[str] = []
        self._xclbins: dict[bytes, bytes] = {}
        self._stub = ctypes.CDLL(None)
        if not hasattr(self._stub, "amdxdna_stub_text"):
            pytest.skip("needs the stub of the driver: make test-xrt")
        self._stub.amdxdna_stub_count.restype = ctypes.c_uint64
        self._before = self.counted("dispatches")
        self._dispatch = _DISPATCH(self._executed)  # kept as long as the stub may call it
        self._stub.amdxdna_stub_text(self._dispatch)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.fault(None)
        self._stub.amdxdna_stub_text(None)

    def xclbin(self, array: bytes) -> bytes:
        """XRT's own tool makes it; the array's part is its PDI."""
        if array not in self._xclbins:
            place = self.folder / "xclbin"
            shutil.copytree(Path(__file__).parents[1] / "xrt/xclbin", place)
            (place / "stand-in.pdi").write_bytes(array)
            command = ["xclbinutil", "--add-replace-section", "MEM_TOPOLOGY:JSON:mem_topology.json"]
            command += ["--add-kernel", "kernels.json", "--add-replace-section"]
            command += ["AIE_PARTITION:JSON:aie_partition.json", "--output", "stand-in.xclbin"]
            subprocess.run(command, cwd=place, check=True, capture_output=True)
            self._xclbins[array] = (place / "stand-in.xclbin").read_bytes()
            shutil.rmtree(place)
        return self._xclbins[array]

    def dispatches(self) -> int:
        return self.counted("dispatches") - self._before

    def contexts(self) -> int:
        return self.counted("contexts")

    def fail(self, state: str, at: int) -> None:
        self.fault(f"{state.lower()}@{at}")

    def fault(self, text: str | None) -> None:
        """As tests/xrt/amdxdna_stub.c reads it; None: no more."""
        self._stub.amdxdna_stub_fault(text and text.encode())

    def counted(self, name: str) -> int:
        """By the stub, of the whole process."""
        return int(self._stub.amdxdna_stub_count(name.encode()))

    def problems(self) -> list[str]:
        return self._problems

    def forget_problems(self) -> None:
        self._problems.clear()

    def _executed(self, array: Any, sequence: Any, bos: Any, reason: int, reason_bytes: int) -> int:
        """What the stub calls. No exception may leave it: 0, or 1 and a reason."""
        try:
            what = text_kernels.read(array[0].memory.tobytes(), sequence[0].memory.tobytes())
            memories = []
            for number, argument in enumerate(what.arguments):
                if bos[number].bytes < argument.nbytes:
                    raise ValueError(f"bo{number} has {bos[number].bytes} bytes of {argument.nbytes}")
                memories.append(bos[number].memory[: argument.nbytes])
            what.compute(*memories)
        except Exception as error:
            self._problems.append(str(error))
            said = str(error).encode()[: reason_bytes - 1] + b"\0"
            ctypes.memmove(reason, said, len(said))
            return 1
        return 0


def text_npu(config: pytest.Config) -> type[TextNpu]:
    """Which of the two a run of the tests asks for: --device xrt is the genuine pyxrt."""
    return GenuineTextNpu if "xrt" in (config.getoption("--device") or ()) else FakeTextNpu
