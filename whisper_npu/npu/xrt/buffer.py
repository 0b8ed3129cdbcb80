"""Memory that the host and the NPU share: bos, their views, and a matrix laid out in one.

What bo.map() gives does not keep its bo alive, and a sub-bo of a sub-bo has a wrong address (XRT 2.25,
pyxrt.cpp, xrt_bo.cpp): so `view` ties both together, and a buffer takes every sub-bo from the root.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import DeviceError, DeviceNotFoundError, NoAnswerError, PlanError, one_line
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.threads import Threads
from whisper_npu.npu.device import Buffer
from whisper_npu.npu.layout import Layout, fill, in_tiles

FIRST_DATA_ARGUMENT = 3  # of a kernel, after opcode, instructions and their size in bytes
DOCTOR = "whisper-npu doctor shows what is wrong"
# After a command that its firmware never finished, a Phoenix answers every submission with ETIME or EIO, and
# unloading the driver may hang as well (github.com/FIM43-Redeye/xdna-emu, findings of 2026-05-20).
REBOOT = "the NPU's firmware hangs: reboot, nothing less helps (unloading the driver may hang as well)"
WEDGED = re.compile(
    r"(?:err(?:no|or)?|\bret)(?: code)?[ :=]*-?(?:62|5)\b(?!\.\d)|\bE(?:TIME|IO)\b"
    "|timer expired|input/output error",
    re.IGNORECASE,
)

At = tuple[int, int]  # (row, column) in the grid of tiles


class Driver:
    """The binding and the opened device."""

    def __init__(self, pyxrt: ModuleType) -> None:
        with pyxrt_errors("opening the NPU", DeviceNotFoundError):
            self.device = pyxrt.device(0)
        self.pyxrt = pyxrt
        self._data_group: int | None = None

    def serve(self, handle: Any) -> None:
        """Allocate data where this kernel reads it; all kernels read the one memory of the host."""
        self._data_group = handle.group_id(FIRST_DATA_ARGUMENT)

    def data_bo(self, nbytes: int) -> Any:
        if self._data_group is None:
            raise DeviceError("operands are written before a kernel is loaded: call load(contract) first")
        return self.pyxrt.bo(self.device, nbytes, self.pyxrt.bo.host_only, self._data_group)

    def sub_bo(self, root: Any, nbytes: int, offset: int) -> Any:
        return self.pyxrt.bo(root, nbytes, offset)

    def sync_to_device(self, bo: Any, nbytes: int) -> None:
        bo.sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE, nbytes, 0)

    def sync_from_device(self, bo: Any, nbytes: int) -> None:
        bo.sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE, nbytes, 0)

    def power_mode(self) -> str | None:
        """From a JSON document of XRT's (core/common/info_platform.cpp), for which no root is needed."""
        try:
            platform = self.device.get_info(self.pyxrt.xrt_info_device.platform)
            mode = json.loads(platform)["platforms"][0]["status"]["power_mode"]
        except (RuntimeError, AttributeError, ValueError, LookupError, TypeError):  # an older one
            return None
        return mode if isinstance(mode, str) else None


class XrtBuffer(Buffer):
    """A matrix for the device, in a root bo of which tiles are sub-bos; or a result of a plan.

    The bo is made at the first write. A result has none of its own: its values are the host's, or lie where
    the array wrote them.
    """

    def __init__(
        self,
        driver: Driver,
        layout: Layout,
        threads: Threads,
        out: F32 | None = None,
        *,
        passing: bool = False,
    ) -> None:
        self._driver = driver
        self._layout = layout
        self._threads = threads
        self.bo: Any = None
        self.tiles: NDArray[Any] = np.empty(0)  # (batch, down, across, tile_rows, tile_cols), in the bo
        self.result: F32 | None = None  # of layout.shape
        self.out = out  # where a result goes; None: to memory of its own
        self.stays = False  # a result in `bo`, whence nobody takes it but who reads it
        self.passing = passing  # a result may stay where the array wrote it, until its kernel runs again
        self._tile_bos: dict[At, Any] = {}

    @property
    def layout(self) -> Layout:
        return self._layout

    def write(self, matrix: F32) -> None:
        layout = self.layout
        if matrix.shape != layout.shape:
            raise PlanError(f"a matrix of shape {matrix.shape} does not fit a buffer of {layout}")
        with pyxrt_errors(f"writing {layout} to the NPU"):
            if self.bo is None:
                bo = self._driver.data_bo(layout.nbytes)
                memory = view(bo, layout.dtype)
                memory[:] = 0  # padding stays zero for good
                self.bo, self.tiles = bo, in_tiles(memory, layout)
            batch = matrix.reshape(layout.batch, layout.rows, layout.cols)

            def pack(some: slice) -> None:
                bf16 = layout.dtype is DType.BF16
                packed = to_bf16(batch[some], layout.rounding) if bf16 else batch[some]
                fill(self.tiles[some], packed, layout)

            self._threads.parallel_for_blocks(pack, layout.batch, batch[0].nbytes)
            self._driver.sync_to_device(self.bo, layout.nbytes)

    def stay(self, bo: Any) -> None:
        """Be a result that the array leaves in this bo, for another plan to read there."""
        self.bo, self.tiles = bo, in_tiles(view(bo, self.layout.dtype), self.layout)
        self.stays = True

    def lying_as(self, layout: Layout) -> XrtBuffer:
        same = XrtBuffer(self._driver, layout, self._threads)
        same.stay(self.bo)
        return same

    def read(self) -> F32:
        if self.stays:
            self._driver.sync_from_device(self.bo, self.layout.nbytes)
            found: F32 = self.tiles[0, 0, 0, : self.layout.rows, : self.layout.cols]  # of one tile
            return found
        if self.result is None:
            raise PlanError(f"a buffer of {self.layout} is read before anything was written to it")
        return self.result

    def operand(self, index: int, rows: slice) -> F32:
        height, of_one = self.layout.tile_rows, self.tiles[index]  # (down, across, tile_rows, tile_cols)
        first = rows.start // height
        tiles = of_one[first : -(-rows.stop // height)].swapaxes(1, 2)
        if self.layout.dtype is DType.BF16:
            tiles = (tiles.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
        whole: F32 = tiles.reshape(len(tiles) * height, -1)
        return whole[rows.start - first * height : rows.stop - first * height, : self.layout.cols]

    def close(self) -> None:
        self.result = self.out = None
        self.tiles = np.empty(0)
        self._tile_bos.clear()
        self.bo = None

    def tile_bo(self, at: At) -> Any:
        """The sub-bo of a tile, made when it is first asked for."""
        found = self._tile_bos.get(at)
        if found is None:
            layout = self.layout
            nbytes = layout.tile_rows * layout.tile_cols * layout.dtype.nbytes
            offset = (at[0] * layout.grid[1] + at[1]) * nbytes
            found = self._tile_bos[at] = self._driver.sub_bo(self.bo, nbytes, offset)
        return found

    def gathered(self, tiles: Sequence[At]) -> NDArray[Any]:
        """(len(tiles), tile_rows, tile_cols): copies of tiles as the host wrote them."""
        rows, cols = np.transpose(tiles)
        batch, down = np.divmod(rows, self.layout.matrix_grid[0])
        found: NDArray[Any] = self.tiles[batch, down, cols]
        return found

    def set_result(self, values: F32) -> None:
        """values: (batch, rows, cols); copied to `out` where there is one, and kept as they are otherwise."""
        values = values.reshape(self.layout.shape)
        if self.out is not None:
            self._threads.parallel_for_rows(np.copyto, self.out, values)
        self.result = values if self.out is None else self.out


class _Mapping:
    """A bo and its memory, for NumPy to keep together."""

    def __init__(self, bo: Any) -> None:
        self.bo, self.memory = bo, bo.map()
        self.__array_interface__ = np.frombuffer(self.memory, np.uint8).__array_interface__


def view(bo: Any, dtype: DType) -> NDArray[Any]:
    """A bo's memory. It keeps the bo alive, and so does every view of it."""
    return np.asarray(_Mapping(bo)).view(np.float32 if dtype is DType.F32 else ml_dtypes.bfloat16)


class pyxrt_errors:
    """What pyxrt raises, as an error that says what was being done and what to do about it.

    No generator of contextlib: its frame would keep the error, and with it runs and contexts, until the next
    collection of cycles.
    """

    def __init__(self, doing: str, kind: type[DeviceError] = DeviceError) -> None:
        self.doing, self.kind = doing, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (RuntimeError, OSError, MemoryError)):
            reason = one_line(error) or type(error).__name__
            hangs = self.kind is DeviceError and is_wedged(str(error))
            failure = NoAnswerError if hangs else self.kind
            raise failure(f"{self.doing} failed: {reason}; {_remedy(error)}") from error


def is_wedged(message: str) -> bool:
    """Whether an error of XRT's names ETIME or EIO."""
    return WEDGED.search(message) is not None


def _remedy(error: BaseException) -> str:
    text = str(error).lower()
    if is_wedged(text):
        return REBOOT
    if "index" in text:  # "No such device with index '0'"
        return f"XRT sees no NPU: is its plugin for NPUs installed (libxrt-npu2)? {DOCTOR}"
    if "no such device" in text:
        return f"the NPU is gone: reload its driver (modprobe -r amdxdna; modprobe amdxdna); {DOCTOR}"
    if "unexpected command state" in text:
        return f"the NPU does not answer, it may be gone; {DOCTOR}"
    if isinstance(error, MemoryError) or "memory" in text or "temporarily unavailable" in text:
        return f"raise the limit of locked memory (ulimit -l unlimited) or use a smaller model; {DOCTOR}"
    if "permission" in text:
        return f"join the group that owns /dev/accel/accel0 (render) and log in again; {DOCTOR}"
    return DOCTOR
