"""Which device is opened, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from whisper_npu import open_device
from whisper_npu.errors import DeviceNotFoundError, UsageError
from whisper_npu.host.threads import Threads
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.xrt.device import open_npu


def write_pci_device(root: Path, vendor: str, device: str) -> None:
    folder = root / "sys/bus/pci/devices/0000:c4:00.1"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "device").write_text(f"{device}\n")


def test_the_emulator_says_that_it_is_one() -> None:
    with open_device("emulator", Fidelity.EXACT) as device:
        assert device.name == "emulator"
        assert device.clock == "CPU"
        assert "emulator (exact), no NPU" in device.description


def test_an_npu_that_is_not_there_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        open_npu(NpuOptions(), root=tmp_path)
    message = str(caught.value)
    for looked_for in ("1022:1502", "/dev/accel/accel0", "Use --device emulator"):
        assert looked_for in message
    assert "\n" not in message


def test_another_npu_generation_is_not_taken_for_xdna1(tmp_path: Path) -> None:
    write_pci_device(tmp_path, "0x1022", "0x17f0")
    with pytest.raises(DeviceNotFoundError, match="no PCI device 1022:1502"):
        open_npu(NpuOptions(), root=tmp_path)


def test_only_what_is_missing_is_named(tmp_path: Path) -> None:
    write_pci_device(tmp_path, "0x1022", "0x1502")
    with pytest.raises(DeviceNotFoundError) as caught:
        open_npu(NpuOptions(), root=tmp_path)
    assert "no PCI device" not in str(caught.value)
    assert "no device node" in str(caught.value)


def test_an_npu_without_kernels_is_no_device_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pci_device(tmp_path, "0x1022", "0x1502")
    (tmp_path / "dev/accel").mkdir(parents=True)
    (tmp_path / "dev/accel/accel0").touch()
    monkeypatch.setitem(sys.modules, "pyxrt", ModuleType("pyxrt"))
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(DeviceNotFoundError, match=r"no built kernels in .*none, .*: whisper-npu kernels"):
        open_npu(NpuOptions(), root=tmp_path)


def test_auto_falls_to_the_emulator_and_npu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise DeviceNotFoundError("no NPU")

    monkeypatch.setattr("whisper_npu.npu.xrt.device.open_npu", absent)
    assert open_device("auto").name == "emulator"
    with pytest.raises(DeviceNotFoundError):
        open_device("npu")


def test_what_is_asked_of_an_npu_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[NpuOptions, int]] = []

    def absent(options: NpuOptions, threads: Threads, **_: object) -> None:
        asked.append((options, threads.count))
        raise DeviceNotFoundError("no NPU")

    monkeypatch.setattr("whisper_npu.npu.xrt.device.open_npu", absent)
    for options in (NpuOptions((tmp_path,), 3.0), None):
        with pytest.raises(DeviceNotFoundError):
            open_device("npu", npu=options, threads=3)
    assert asked == [(NpuOptions((tmp_path,), 3.0), 3), (NpuOptions(), 3)]


def test_a_folder_of_kernels_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: there is no such folder"):
        NpuOptions((tmp_path, tmp_path / "nowhere"))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown device 'tpu': there are auto, npu, emulator, cpu"):
        open_device("tpu")


def test_words_of_other_programs_for_a_device() -> None:
    for word in ("cpu", "CPU"):
        with open_device(word) as device:
            assert device.name == "emulator"
    with pytest.raises(UsageError, match="device 'cuda:0': no GPU is used; npu is"):
        open_device("cuda:0")
