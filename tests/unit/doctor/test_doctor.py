"""`whisper-npu doctor` on machines made of files: a healthy one, and one for each thing that users meet."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import CONTRACTS, MATMUL_64X64, MATMUL_64X512, MATMUL_128X512
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.stand_in_kernels import write_kernel, xclbin
from whisper_npu import doctor
from whisper_npu.apps.cli import run
from whisper_npu.doctor import NEEDS, Check, Machine, Status, as_document, diagnose
from whisper_npu.doctor.hardware import FIRMWARE_FILES, HEAP_BYTES, OTHER_NPUS
from whisper_npu.doctor.install import KNOWN
from whisper_npu.doctor.machine import Actions, Opened, Process, Python, load_kernels
from whisper_npu.doctor.text import as_text
from whisper_npu.errors import DeviceError, DeviceNotFoundError, NoAnswerError
from whisper_npu.kernels import registry
from whisper_npu.npu.device import Buffer, Device, Stats
from whisper_npu.npu.emulator.device import EmulatedBuffer, Emulator, Fidelity
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.trials import Trials
from whisper_npu.npu.xrt import clock
from whisper_npu.npu.xrt.buffer import DOCTOR
from whisper_npu.npu.xrt.device import import_pyxrt, open_npu
from whisper_npu.screen import PLAIN, Screen

LINUX = "6.17.8-amd64"
RENDER, OTHERS = 992, 1000  # numbers of groups
NPU = "sys/bus/pci/devices/0000:c4:00.1"
NODE = "dev/accel/accel0"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PACKAGES = "usr/lib/python3/dist-packages"
SUFFIX = ".cpython-313-x86_64-linux-gnu.so"


class StandInNpu(Emulator):
    """An emulator that says that it is an NPU."""

    name = "npu"
    clock = "NPU"
    description = "npu (stand-in)"


class ConstantNpu(StandInNpu):
    """Every dispatch completes, and the result is the same everywhere."""

    value = 0.0

    def execute(self, plan: Plan, buffers: Sequence[Buffer]) -> Stats:
        stats = super().execute(plan, buffers)
        *_, c = buffers
        assert isinstance(c, EmulatedBuffer)
        c.read()[...] = self.value  # where the result went
        return stats


class ZerosNpu(ConstantNpu):
    """Nothing was computed."""


class NansNpu(ConstantNpu):
    """The result was never written."""

    value = np.nan


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def raises(error: Exception) -> Callable[..., Any]:
    def failing(*arguments: object) -> Any:
        raise error

    return failing


def npu_or_emulator(npu: Callable[[], Device]) -> Callable[[str], Device]:
    """What opens a device by its name."""
    return lambda name: Emulator(Fidelity.FAST) if name == "emulator" else npu()


def with_npu(machine: Machine, npu: Callable[[], Device]) -> Machine:
    """One whose NPU is opened by this."""
    return with_actions(machine, open_device=npu_or_emulator(npu))


def really_open(node: Path) -> None:
    """Opens what is there; modes are not asked, for root ignores them."""
    node.read_bytes()


@pytest.fixture
def healthy(tmp_path: Path) -> Machine:
    """A machine on which everything is as it should be."""
    root = tmp_path / "root"
    write(
        root / "proc/cpuinfo", "processor : 0\nmodel name\t: AMD Ryzen 7 7840HS\nflags\t\t: fpu avx512f\n\n"
    )
    write(root / "proc/cmdline", "BOOT_IMAGE=/vmlinuz quiet")
    for name, content in {
        "vendor": "0x1022\n",
        "device": "0x1502\n",
        "fw_version": "1.5.5.391\n",
        "accel/accel0/dev": "261:0\n",
        "iommu_group/type": "DMA-FQ\n",
    }.items():
        write(root / "sys/kernel/iommu_groups/17/type", "DMA-FQ\n")
        if not name.startswith("iommu_group"):
            write(root / NPU / name, content)
    (root / "sys/bus/pci/drivers/amdxdna").mkdir(parents=True)
    (root / NPU / "driver").symlink_to("../../drivers/amdxdna")
    (root / NPU / "iommu_group").symlink_to("../../../../kernel/iommu_groups/17")
    write(root / "sys/module/amdxdna/version", "0.6\n")
    write(root / f"lib/modules/{LINUX}/kernel/drivers/accel/amdxdna/amdxdna.ko.zst")
    write(root / "lib/firmware/amdnpu/1502_00/npu.sbin.zst")
    write(root / NODE)
    write(root / "etc/group", f"root:x:0:\nrender:x:{RENDER}:anna\nanna:x:{OTHERS}:\n")
    for library in ("libxrt_core", "libxrt_coreutil", "libxrt_driver_xdna"):
        write(root / LIBRARIES / f"{library}.so.2.25.0")
        (root / LIBRARIES / f"{library}.so.2").symlink_to(f"{library}.so.2.25.0")
    write(root / PACKAGES / f"pyxrt{SUFFIX}")
    kernels = tmp_path / "kernels"
    write_kernel(kernels, MATMUL_64X512, xclbin(MATMUL_64X512))
    return Machine(
        root=root,
        linux_release=LINUX,
        process=Process("anna", OTHERS, frozenset({RENDER, OTHERS}), memlock_bytes=None),
        python=Python("3.13", (SUFFIX, ".abi3.so", ".so")),
        kernel_folders=(kernels,),
        trials=Trials(tmp_path / "trials", "this"),
        cache=tmp_path / "cache",
        actions=Actions(
            open_node=really_open,
            import_pyxrt=lambda: ModuleType("pyxrt"),
            open_context=lambda: Opened(("matmul_64x512",), 1028, "Default"),
            compile_rows=lambda: True,
            compile_bf16_dot=lambda: True,
            open_device=npu_or_emulator(lambda: StandInNpu(Fidelity.FAST)),
            models_here=lambda: ("tiny.en", "base"),
            audio_formats=lambda: "wav by libsndfile",
        ),
    )


def with_process(machine: Machine, **changes: Any) -> Machine:
    return replace(machine, process=replace(machine.process, **changes))


def with_actions(machine: Machine, **changes: Any) -> Machine:
    return replace(machine, actions=replace(machine.actions, **changes))


def checked(machine: Machine, id: str) -> Check:
    """One check of a diagnosis, which must be in the output with all that it says."""
    diagnosis = diagnose(machine)
    (check,) = (check for check in diagnosis.checks if check.id == id)
    text = f"{unwrapped(as_text(diagnosis))} "
    if check.status is not Status.SKIPPED:
        shown = (f" {check.status.value} {id}{then} {unwrapped(check.found)} " for then in ("", ":"))
        assert any(line in text for line in shown)
    assert (check.remedy is not None) == (check.status is Status.PROBLEM)
    if check in diagnosis.causes or (check.is_problem and id not in NEEDS):
        assert f" {id}: {unwrapped(check.found)} -> {unwrapped(check.remedy or '')} " in text
    elif check.is_problem:
        assert id in text.partition("What follows: ")[2].partition(" Details")[0]
    return check


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def problem(machine: Machine, id: str) -> tuple[str, str]:
    """What a check found and its remedy; it must be a problem."""
    check = checked(machine, id)
    assert check.status is Status.PROBLEM, check
    assert check.remedy
    return check.found, check.remedy


# --- Health -------------------------------------------------------------------------------------------------


def test_a_healthy_machine_has_no_problem_and_runs_on_its_npu(healthy: Machine) -> None:
    diagnosis = diagnose(healthy)
    assert {check.status for check in diagnosis.checks} == {Status.OK}, as_text(diagnosis)
    assert diagnosis.runs_on_npu
    assert diagnosis.verdict == "Transcription works here, on the NPU."
    assert as_text(diagnosis).startswith("Transcription works here, on the NPU.\n\nDetails:\n")


def test_what_was_found_is_named(healthy: Machine) -> None:
    text = unwrapped(as_text(diagnose(healthy)))
    for found in (
        "AMD Ryzen 7 7840HS",
        "1022:1502 at 0000:c4:00.1: XDNA1",
        LINUX,
        "group 17, DMA-FQ",
        "/dev/accel/accel0 opens",
        "anna is in render",
        "any amount of memory",
        "/lib/firmware/amdnpu/1502_00/npu.sbin.zst",
        "driver 0.6, firmware 1.5.5.391, XRT 2.25.0 (plugin 2.25.0)",
        "opened, and right answers from matmul_64x512",
        f"{NPU1.hw_contexts} contexts fit at once",
        "built and verified: matmul_64x512",
        "MEASURED (NPU)",
        "1,028 MHz with contexts open, power mode Default",
        "every kernel that was tried on this machine came back",
        "here: tiny.en, base; others are downloaded",
        "wav by libsndfile",
        "right to the last bit",
    ):
        assert found in text


def test_the_checks_come_in_the_order_of_their_causes(healthy: Machine) -> None:
    order = [check.id for check in diagnose(healthy).checks]
    for cause, effect in (("npu", "driver"), ("driver", "node"), ("node", "context"), ("pyxrt", "context")):
        assert order.index(cause) < order.index(effect)
    assert order[-1] == "product"


def test_the_document_says_the_same(healthy: Machine) -> None:
    diagnosis = diagnose(healthy)
    document = json.loads(json.dumps(as_document(diagnosis)))
    assert (document["schema"], document["schema_version"]) == ("whisper-npu/doctor", 2)
    assert document["runs_on_npu"] is True
    assert document["device"] == "npu"
    assert [set(check) for check in document["checks"]] == [{"id", "status", "found", "remedy"}] * len(
        diagnosis.checks
    )
    assert {check["status"] for check in document["checks"]} == {"ok"}
    product = document["product"]
    assert product["right"] is True
    assert product["problem"] == [150, 160, 600]
    assert (product["wrong"], product["elements"]) == (0, 150 * 600)
    assert document["verdict"] == diagnosis.verdict
    assert (document["asked_for"], document["works"], document["causes"]) == ("auto", True, [])


def without_an_npu(machine: Machine) -> Machine:
    (machine.root / NPU / "vendor").write_text("0x8086\n")
    return with_npu(machine, lambda: Emulator(Fidelity.FAST))


def test_without_an_npu_the_cpu_transcribes_and_one_line_says_what_was_not_looked_at(
    healthy: Machine,
) -> None:
    machine = without_an_npu(healthy)
    found, remedy = problem(machine, "npu")
    assert "no NPU of AMD's" in found
    assert "BIOS" in remedy
    for id in ("driver", "node", "group", "memlock", "firmware", "xrt", "pyxrt", "context"):
        assert checked(machine, id).status is Status.SKIPPED
    diagnosis = diagnose(machine)
    assert diagnosis.works
    assert not diagnosis.runs_on_npu
    assert [check.id for check in diagnosis.causes] == ["npu"]
    lines = as_text(diagnosis).splitlines()
    verdict = "Transcription works here, on the CPU. The NPU does not: no XDNA1 chip found."
    assert lines[:3] == [verdict, "", "What keeps it from the NPU:"]
    assert sum("driver" in line for line in lines) == 1
    assert "problem" not in "".join(line for line in lines if not line.startswith("  problem  npu"))


# --- The text -----------------------------------------------------------------------------------------------


def machines(healthy: Machine) -> Iterator[Machine]:
    yield healthy
    yield without_pyxrt(forbidden(replace(healthy, linux_release="6.12.0", kernel_folders=())))
    yield with_actions(with_npu(healthy, ZerosNpu), compile_rows=lambda: False)
    yield without_an_npu(healthy)


def test_every_line_fits_into_80_columns_and_is_indented_below_its_first(healthy: Machine) -> None:
    """Neither a terminal nor a variable of the environment is asked."""
    for machine in machines(replace(healthy, cache=Path("/home/anna/.cache/whisper-npu"))):
        short = replace(machine, kernel_folders=(Path("/home/anna/kernels"),))
        text = as_text(diagnose(short))
        assert max(map(len, text.splitlines())) <= PLAIN.width
        details = text.partition("Details:\n")[2].splitlines()
        for line in details:
            assert line[:2] == "  "
            assert line[2:10].rstrip() in ("ok", "problem", ""), line
            assert line[20] == " "


@pytest.mark.parametrize("signs", [False, True])
def test_a_narrow_screen_shows_the_same_words(healthy: Machine, signs: bool) -> None:
    for machine in machines(replace(healthy, cache=Path("/home/anna/.cache/whisper-npu"))):
        short = replace(machine, kernel_folders=(Path("/home/anna/kernels"),))
        diagnosis = diagnose(short)
        text = as_text(diagnosis, Screen(45, signs=signs))
        for line in text.splitlines():
            assert len(line) <= 45 or " " not in line.strip(), "only a path may be longer"
        assert unwrapped(text).startswith(diagnosis.verdict)
        ok, problem = ("✓", "✗") if signs else ("ok", "problem")
        for check in diagnosis.checks:
            sign = {Status.OK: ok, Status.PROBLEM: problem}.get(check.status)
            assert sign is None or f" {sign} {check.id}: {unwrapped(check.found)}" in unwrapped(text)


def test_colours_change_nothing_but_the_colour(healthy: Machine) -> None:
    diagnosis = diagnose(without_an_npu(healthy))
    text = as_text(diagnosis, Screen(colours=True))
    assert text.startswith("\033[1mTranscription works here")
    assert "\033[31mproblem\033[0m" not in text.partition("Details")[0]
    assert re.sub(r"\033\[\d+m", "", text) == as_text(diagnosis)


def test_a_path_is_never_broken(healthy: Machine) -> None:
    for folder in (Path("/" + "a-folder-name/" * 5), Path("/" + "a-folder-with-a-long-name/" * 5)):
        text = as_text(diagnose(replace(healthy, cache=folder)))
        assert str(folder) in text
        (line,) = (line for line in text.splitlines() if str(folder) in line)
        assert len(line) <= max(PLAIN.width, len(f"    {folder},"))
    folder = Path("/" + "/".join(["a-folder-with-a-long-name"] * 5))
    assert str(folder) in as_text(diagnose(replace(healthy, kernel_folders=(folder,))))


def test_what_follows_from_a_cause_is_named_in_one_line(healthy: Machine) -> None:
    (healthy.root / "sys/module/amdxdna/version").unlink()
    (healthy.root / "sys/module/amdxdna").rmdir()
    (healthy.root / NPU / "driver").unlink()
    (healthy.root / NPU / "fw_version").unlink()
    (healthy.root / NODE).unlink()
    machine = with_npu(healthy, lambda: Emulator(Fidelity.FAST))
    diagnosis = diagnose(machine)
    assert [check.id for check in diagnosis.causes] == ["driver"]
    text = as_text(diagnosis)
    assert "The NPU does not: its driver amdxdna is not loaded." in unwrapped(text)
    assert "  What follows: node\n" in text
    assert "  Not looked at: firmware, context, power\n" in text
    assert text.count("->") == 1
    assert json.loads(json.dumps(as_document(diagnosis)))["causes"] == ["driver"]


def test_causes_that_do_not_follow_from_each_other_are_all_named(healthy: Machine) -> None:
    machine = with_process(forbidden(healthy), group_ids=frozenset({OTHERS}), user="bert", memlock_bytes=4096)
    diagnosis = diagnose(with_npu(machine, lambda: Emulator(Fidelity.FAST)))
    assert [check.id for check in diagnosis.causes] == ["group", "memlock"]
    assert diagnosis.verdict.endswith("The NPU does not: bert is not in group render.")


# --- What one types, by distribution ------------------------------------------------------------------------

RELEASES = {
    "Ubuntu 24.04": (
        'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble',
        "ppa:amd-team/xrt",
    ),
    "Ubuntu 26.04": (
        "ID=ubuntu\nVERSION_ID=26.04\nVERSION_CODENAME=resolute",
        "sudo apt install libxrt-npu2",
    ),
    "Mint 22": (
        'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble',
        "ppa:amd-team/xrt",
    ),
    "Debian 13": ('ID=debian\nVERSION_ID="13"', "-t trixie-backports libxrt-npu2"),
    "Arch": ("ID=arch\nBUILD_ID=rolling", "sudo pacman -S xrt xrt-plugin-amdxdna"),
    "CachyOS": ("# a comment\n\nID=cachyos\nID_LIKE=arch", "sudo pacman -S xrt xrt-plugin-amdxdna"),
    "Fedora 44": ("ID=fedora\nVERSION_ID=44", "sudo dnf install xrt python3-xrt"),
}


@pytest.mark.parametrize("place", ["etc", "usr/lib"])
@pytest.mark.parametrize("system", RELEASES)
def test_the_command_is_the_one_of_this_distribution(healthy: Machine, system: str, place: str) -> None:
    release, command = RELEASES[system]
    write(healthy.root / place / "os-release", release)
    for file in (healthy.root / LIBRARIES).iterdir():
        file.unlink()
    _, remedy = problem(healthy, "xrt")
    assert command in remedy
    assert "; " not in remedy  # no other distribution's


@pytest.mark.parametrize(
    "release", [None, "", "ID=debian\nVERSION_ID=12", "ID=fedora\nVERSION_ID=43", 'ID="open']
)
def test_where_none_is_known_those_of_all_are_shown(healthy: Machine, release: str | None) -> None:
    if release is not None:
        write(healthy.root / "etc/os-release", release)
    for file in (healthy.root / LIBRARIES).iterdir():
        file.unlink()
    _, remedy = problem(healthy, "xrt")
    for packages in KNOWN:
        assert f"{packages.system}: {packages.xrt}" in remedy


# --- What users meet ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", sorted(OTHER_NPUS))
def test_1_a_chip_that_is_not_supported(healthy: Machine, chip: str) -> None:
    (healthy.root / NPU / "device").write_text(f"0x{chip}\n")
    found, remedy = problem(healthy, "npu")
    assert f"1022:{chip} at 0000:c4:00.1" in found
    assert "not supported" in found
    assert ("XDNA2" in found) == (chip == "17f0")
    assert "XDNA1 (1022:1502)" in remedy
    emulated = with_npu(healthy, lambda: Emulator(Fidelity.FAST))
    assert "The NPU does not: it is " in diagnose(emulated).verdict


def test_1_a_virtual_machine(healthy: Machine) -> None:
    write(healthy.root / "proc/cpuinfo", "model name : AMD EPYC\nflags : fpu hypervisor sse\n")
    found, remedy = problem(healthy, "cpu")
    assert "AMD EPYC, in a virtual machine" in found
    assert "hypervisor" in remedy
    assert checked(without_an_npu(healthy), "cpu").found == "AMD EPYC, in a virtual machine"


def test_1_a_kernel_without_the_driver(healthy: Machine) -> None:
    old = replace(healthy, linux_release="6.12.57+deb13-amd64")
    found, remedy = problem(old, "linux")
    assert found.startswith("6.12.57+deb13-amd64")
    assert "6.14" in remedy
    write(old.root / f"lib/modules/{old.linux_release}/updates/dkms/amdxdna.ko.xz")
    assert checked(old, "linux").status is Status.OK


def test_2_no_plugin_for_the_npu(healthy: Machine) -> None:
    for file in (healthy.root / LIBRARIES).glob("libxrt_driver_xdna*"):
        file.unlink()
    found, remedy = problem(healthy, "xrt")
    assert "2.25.0 in /usr/lib/x86_64-linux-gnu, without libxrt_driver_xdna.so" in found
    assert "No such device with index '0'" in found
    assert "libxrt-npu2" in remedy
    assert checked(healthy, "context").found == "needs xrt"


def test_2_no_xrt(healthy: Machine) -> None:
    for file in (healthy.root / LIBRARIES).iterdir():
        file.unlink()
    found, remedy = problem(healthy, "xrt")
    assert "XRT is not installed" in found
    assert "libxrt-npu2" in remedy


def test_3_a_node_that_is_absent(healthy: Machine) -> None:
    (healthy.root / NODE).unlink()
    found, _ = problem(healthy, "node")
    assert found.startswith("/dev/accel/accel0 does not exist")
    assert "denied" not in found


def forbidden(machine: Machine) -> Machine:
    return with_actions(machine, open_node=raises(PermissionError(errno.EACCES, os.strerror(errno.EACCES))))


def test_3_a_node_that_is_forbidden(healthy: Machine) -> None:
    machine = with_process(forbidden(healthy), group_ids=frozenset({OTHERS}), user="bert")
    found, _ = problem(machine, "node")
    assert found == "/dev/accel/accel0 exists, permission denied"
    found, remedy = problem(machine, "group")
    assert found == "bert is not in group render"
    assert "sudo usermod -aG render bert; log out and in again" in remedy


def test_3_a_login_from_before_the_group(healthy: Machine) -> None:
    machine = with_process(forbidden(healthy), group_ids=frozenset({OTHERS}))
    found, remedy = problem(machine, "group")
    assert found == "anna is in render, but not yet in this login"
    assert remedy == "log out and in again"


def test_3_a_node_of_another_group(healthy: Machine) -> None:
    found, remedy = problem(forbidden(healthy), "group")
    assert "/dev/accel/accel0 is not for that group" in found
    assert 'SUBSYSTEM=="accel"' in remedy


def test_3_no_group_at_all(healthy: Machine) -> None:
    write(healthy.root / "etc/group", "root:x:0:\n")
    found, remedy = problem(with_process(forbidden(healthy), group_ids=frozenset({OTHERS})), "group")
    assert found == "there is no group render"
    assert remedy.startswith("sudo groupadd --system render; ")


def test_3_who_may_open_the_node_needs_no_group(healthy: Machine) -> None:
    assert checked(with_process(healthy, group_ids=frozenset({OTHERS})), "group").status is Status.OK
    assert checked(with_process(forbidden(healthy), user_id=0), "group").status is Status.OK


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_3_a_container_needs_the_device_passed(healthy: Machine, mark: str) -> None:
    write(healthy.root / mark)
    found, remedy = problem(forbidden(healthy), "node")
    assert "permission denied" in found
    assert "--group-add" in remedy
    (healthy.root / NODE).unlink()
    found, remedy = problem(healthy, "node")
    assert found == "/dev/accel/accel0 is not in this container"
    assert "--device /dev/accel/accel0" in remedy


@pytest.mark.parametrize("kilobytes", [8192, HEAP_BYTES // 1024])
def test_4_a_small_memlock_limit(healthy: Machine, kilobytes: int) -> None:
    machine = with_process(healthy, memlock_bytes=kilobytes * 1024)
    found, remedy = problem(machine, "memlock")
    assert f"may lock {kilobytes:,} KiB" in found
    assert "65,536" in found
    assert "/etc/security/limits.d" in remedy
    assert "log out and in again" in remedy
    assert checked(machine, "context").found == "needs memlock"
    assert checked(with_process(machine, user_id=0), "memlock").status is Status.OK
    assert checked(with_process(machine, memlock_bytes=2 * HEAP_BYTES), "memlock").status is Status.OK


def test_5_versions_that_do_not_match(healthy: Machine) -> None:
    plugin = healthy.root / LIBRARIES / "libxrt_driver_xdna.so.2.25.0"
    plugin.rename(plugin.with_name("libxrt_driver_xdna.so.2.21.75"))
    found, remedy = problem(healthy, "versions")
    assert "driver 0.6, firmware 1.5.5.391, XRT 2.25.0 (plugin 2.21.75)" in found
    assert "ERT_CMD_STATE_ABORT" in remedy


def test_5_a_command_that_is_aborted_points_to_the_versions(healthy: Machine) -> None:
    machine = with_npu(healthy, raises(DeviceError("a dispatch ended as ERT_CMD_STATE_ABORT")))
    found, remedy = problem(machine, "product")
    assert "ERT_CMD_STATE_ABORT" in found
    assert "compare the versions" in remedy
    assert "driver 0.6, firmware 1.5.5.391, XRT 2.25.0" in checked(machine, "versions").found


def test_the_product_does_not_send_the_reader_to_the_doctor(healthy: Machine) -> None:
    machine = with_npu(healthy, raises(DeviceError(f"no NPU: no device node; {DOCTOR}. Use --device auto")))
    assert checked(machine, "product").found == "no NPU: no device node. Use --device auto"


def test_6_no_firmware(healthy: Machine) -> None:
    (healthy.root / "lib/firmware/amdnpu/1502_00/npu.sbin.zst").unlink()
    (healthy.root / NPU / "fw_version").unlink()
    found, remedy = problem(healthy, "firmware")
    assert "amdnpu/1502_00" in found
    assert "linux-firmware" in remedy
    assert "reboot" in remedy


@pytest.mark.parametrize("name", FIRMWARE_FILES)
@pytest.mark.parametrize("suffix", ["", ".xz", ".zst"])
@pytest.mark.parametrize("folder", ["", "updates/", f"{LINUX}/"])
def test_6_firmware_is_found_wherever_linux_looks(
    healthy: Machine, name: str, suffix: str, folder: str
) -> None:
    (healthy.root / "lib/firmware/amdnpu/1502_00/npu.sbin.zst").unlink()
    file = f"lib/firmware/{folder}amdnpu/1502_00/{name}{suffix}"
    write(healthy.root / file)
    assert f"/{file}" in checked(healthy, "firmware").found


def test_6_firmware_that_the_driver_refuses(healthy: Machine) -> None:
    (healthy.root / NPU / "driver").unlink()
    (healthy.root / NPU / "fw_version").unlink()
    found, remedy = problem(healthy, "driver")
    assert "not bound to 0000:c4:00.1" in found
    assert "Incompatible firmware protocol" in remedy
    assert "reboot" in remedy
    firmware = checked(healthy, "firmware")
    assert firmware.status is Status.SKIPPED  # the files are there: what is wrong is the driver's
    assert "none loaded" in firmware.found


def test_6_a_driver_that_is_not_loaded(healthy: Machine) -> None:
    (healthy.root / "sys/module/amdxdna/version").unlink()
    (healthy.root / "sys/module/amdxdna").rmdir()
    assert "sudo modprobe amdxdna" in problem(healthy, "driver")[1]
    for file in healthy.root.glob("lib/modules/**/amdxdna.ko*"):
        file.unlink()
    assert "not among the modules" in problem(healthy, "driver")[1]


@pytest.mark.parametrize("argument", ["amd_iommu=off", "iommu=off"])
def test_6_an_iommu_that_is_off(healthy: Machine, argument: str) -> None:
    (healthy.root / NPU / "iommu_group").unlink()
    found, remedy = problem(healthy, "iommu")
    assert "no IOMMU group" in found
    assert "AMD-Vi" in remedy
    write(healthy.root / "proc/cmdline", f"quiet {argument} splash")
    found, remedy = problem(healthy, "iommu")
    assert found == f"the kernel was booted with {argument}"
    assert remedy.startswith(f"remove {argument} ")


def test_6_passthrough_is_said(healthy: Machine) -> None:
    write(healthy.root / "sys/kernel/iommu_groups/17/type", "identity\n")
    assert "iommu=pt" in checked(healthy, "iommu").found


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP])
def test_6_without_pasid_the_node_does_not_open(healthy: Machine, number: int) -> None:
    machine = with_actions(healthy, open_node=raises(OSError(number, os.strerror(number))))
    found, remedy = problem(machine, "node")
    assert os.strerror(number) in found
    assert "PASID" in remedy


def failing_import(machine: Machine, cause: ImportError) -> Machine:
    error = DeviceNotFoundError("no NPU")
    error.__cause__ = cause
    return with_actions(machine, import_pyxrt=raises(error))


def without_pyxrt(machine: Machine) -> Machine:
    for file in (machine.root / PACKAGES).glob("pyxrt*"):
        file.unlink()
    return failing_import(machine, ModuleNotFoundError("No module named 'pyxrt'", name="pyxrt"))


def test_7_no_pyxrt(healthy: Machine) -> None:
    found, remedy = problem(without_pyxrt(healthy), "pyxrt")
    assert "no pyxrt for Python 3.13: No module named 'pyxrt'" in found
    assert "python3-xrt" in remedy
    assert "X-ray tracer" in remedy


def test_7_pyxrt_of_another_python(healthy: Machine) -> None:
    machine = without_pyxrt(healthy)
    write(machine.root / PACKAGES / "pyxrt.cpython-314-x86_64-linux-gnu.so")
    found, remedy = problem(machine, "pyxrt")
    assert "is built for Python 3.14, this is 3.13" in found
    assert "Python 3.14 and --system-site-packages" in remedy


def test_7_pyxrt_that_the_environment_does_not_see(healthy: Machine) -> None:
    machine = without_pyxrt(healthy)
    write(machine.root / PACKAGES / f"pyxrt{SUFFIX}")
    found, remedy = problem(machine, "pyxrt")
    assert found == f"/{PACKAGES}/pyxrt{SUFFIX} is for this Python 3.13, which does not look there"
    assert "python3.13 -m venv --system-site-packages" in remedy
    assert f"PYTHONPATH=/{PACKAGES}" in remedy


def test_7_pyxrt_that_does_not_load(healthy: Machine) -> None:
    cause = ImportError("libxrt_coreutil.so.2: cannot open shared object file")
    found, remedy = problem(failing_import(healthy, cause), "pyxrt")
    assert found == f"pyxrt does not load: {cause}"
    assert "from one source" in remedy
    assert "--system-site-packages" not in remedy


def test_7_the_x_ray_tracer_of_the_same_name(healthy: Machine) -> None:
    machine = without_pyxrt(healthy)
    (machine.root / PACKAGES / "xrt/backends/raycing").mkdir(parents=True)
    found, remedy = problem(machine, "pyxrt")
    assert "X-ray tracer" in found
    assert "sudo apt remove python3-xrt" in remedy


def test_8_a_context_that_cannot_be_made(healthy: Machine) -> None:
    for process, opened in (("41", NODE), ("42", NODE), ("43", "dev/null")):
        (healthy.root / "proc" / process / "fd").mkdir(parents=True)
        (healthy.root / "proc" / process / "fd/3").symlink_to(f"/{opened}")
    machine = with_actions(healthy, open_context=raises(DeviceError("hw_context failed: err=22")))
    found, remedy = problem(machine, "context")
    assert "hw_context failed: err=22" in found
    assert "open in 2 other processes" in found
    assert "end other programs on the NPU" in remedy


@pytest.mark.parametrize(("npu", "zeros"), [(ZerosNpu, True), (NansNpu, False)])
def test_8_a_wrong_product(healthy: Machine, npu: type[Emulator], zeros: bool) -> None:
    machine = with_npu(healthy, lambda: npu(Fidelity.FAST))
    found, remedy = problem(machine, "product")
    assert "WRONG" in found
    assert ("nothing but zeros" in found) == zeros
    assert "--device emulator" in remedy
    diagnosis = diagnose(machine)
    assert not diagnosis.works
    assert diagnosis.verdict.startswith("Transcription works here with --device emulator only, on the CPU.")
    assert "gives wrong results" in diagnosis.verdict
    assert diagnosis.emulated
    assert diagnosis.emulated.right
    assert "NaN" not in json.dumps(as_document(diagnosis))


def test_8_a_run_that_times_out(healthy: Machine) -> None:
    machine = with_npu(healthy, raises(DeviceError("no answer in 2 s (--timeout)")))
    found, _ = problem(machine, "product")
    assert "--timeout" in found
    diagnosis = diagnose(machine)
    assert diagnosis.verdict.endswith("The NPU does not: no answer in 2 s (--timeout).")
    assert as_document(diagnosis)["product"] is None


def test_8_no_kernel_is_built(healthy: Machine, tmp_path: Path) -> None:
    found, remedy = problem(replace(healthy, kernel_folders=(tmp_path / "empty",)), "kernels")
    assert str(tmp_path / "empty") in found
    assert "whisper-npu kernels build" in remedy


def test_8_a_kernel_that_is_refused_is_named_beside_the_good_ones(healthy: Machine) -> None:
    (kernels,) = healthy.kernel_folders
    broken = write_kernel(kernels, MATMUL_64X64, xclbin(MATMUL_64X64))
    (broken / f"{MATMUL_64X64.name}.xclbin").write_bytes(b"other")
    found, remedy = problem(healthy, "kernels")
    assert f"verified: {MATMUL_64X512.name};" in found
    assert f"{MATMUL_64X64.name}.xclbin is not the file that was built" in found
    assert "again" in remedy


@pytest.mark.parametrize(("has_dot", "multiplies_in"), [(True, "bf16"), (False, "float32, as NumPy does")])
def test_9_what_the_emulator_multiplies_in(healthy: Machine, has_dot: bool, multiplies_in: str) -> None:
    machine = with_actions(healthy, compile_bf16_dot=lambda: has_dot)
    (rows,) = (check for check in diagnose(machine).checks if check.id == "rows")
    assert rows.found.endswith(f"the emulator multiplies in {multiplies_in}")


def test_9_without_a_compiler(healthy: Machine) -> None:
    machine = with_actions(healthy, compile_rows=lambda: False)
    found, remedy = problem(machine, "rows")
    assert "NumPy" in found
    assert "g++" in remedy
    assert diagnose(machine).runs_on_npu


def test_9_which_device_it_was_is_said_and_counted(healthy: Machine) -> None:
    machine = with_npu(healthy, lambda: Emulator(Fidelity.FAST))
    check = checked(machine, "product")
    assert "on the emulator" in check.found
    assert "1 dispatch," in check.found
    assert "MEASURED (CPU)" in check.found
    diagnosis = diagnose(machine)
    assert diagnosis.verdict == "Transcription works here, on the CPU."
    assert not diagnosis.runs_on_npu


def test_a_device_with_only_kernels_that_auto_does_not_take_is_tried_too(healthy: Machine) -> None:
    class Only(StandInNpu):
        def contracts(self) -> Any:
            return (CONTRACTS[-1],)

        def kernels(self) -> Any:
            return registry.kernels_built(self.contracts())

    assert not Only().kernels()
    diagnosis = diagnose(with_npu(healthy, lambda: Only(Fidelity.FAST)))
    assert diagnosis.trial
    assert diagnosis.trial.kernel == CONTRACTS[-1].name


# --- With the code that runs an NPU, on a fake of pyxrt -----------------------------------------------------


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeXrt]:
    fake = FakeXrt()
    monkeypatch.setitem(sys.modules, "pyxrt", fake.module)
    yield fake
    assert not fake.misuses


def above_pyxrt(machine: Machine) -> Machine:
    """The same, with everything between it and pyxrt."""
    options = NpuOptions(kernel_folders=machine.kernel_folders)
    return with_actions(
        machine,
        import_pyxrt=import_pyxrt,
        open_context=lambda: load_kernels(options, machine.root, machine.trials),
        open_device=npu_or_emulator(lambda: open_npu(options, root=machine.root, trials=machine.trials)),
    )


@pytest.fixture
def faked(healthy: Machine, fake: FakeXrt) -> Machine:
    return above_pyxrt(healthy)


def test_a_healthy_npu_answers_right(faked: Machine, fake: FakeXrt) -> None:
    diagnosis = diagnose(faked)
    assert {check.status for check in diagnosis.checks} == {Status.OK}, as_text(diagnosis)
    assert diagnosis.runs_on_npu
    assert diagnosis.trial
    assert diagnosis.trial.device == "npu"
    assert 2 * diagnosis.trial.dispatches <= fake.counts.dispatches  # a warm-up, and the one that is shown
    assert "opened, and right answers from matmul_64x512; " in checked(faked, "context").found
    assert not +fake.alive()


def test_8_contexts_that_other_programs_hold(faked: Machine, fake: FakeXrt) -> None:
    device = fake.module.device(0)
    (kernels,) = faked.kernel_folders
    file = fake.module.xclbin(str(next(kernels.glob("*/*.xclbin"))))
    device.register_xclbin(file)
    held = [fake.module.hw_context(device, file.get_uuid()) for _ in range(NPU1.hw_contexts)]
    found, remedy = problem(faked, "context")
    assert "hw_context" in found
    assert "end other programs" in remedy
    assert not diagnose(faked).runs_on_npu
    held.clear()
    assert checked(faked, "context").status is Status.OK


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.ABORT, "ABORT"),
        (Fault.ERROR, "ERROR"),
        (Fault.ZEROS, "zeros"),
        (Fault.GARBAGE, "wrong"),
        (Fault.GONE, "gone"),
        (Fault.WEDGED, "firmware hangs: reboot"),
    ],
)
def test_8_an_npu_that_fails(faked: Machine, fake: FakeXrt, fault: Fault, said: str) -> None:
    fake.inject(fault, lasting=True)
    diagnosis = diagnose(faked)
    by_id = {check.id: check for check in diagnosis.checks}
    for id in ("context", "product"):
        assert by_id[id].status is Status.PROBLEM, id
    assert said in by_id["context"].found
    assert not diagnosis.works
    assert diagnosis.verdict.startswith("Transcription works here with --device emulator only")


def test_8_firmware_that_hangs_while_a_context_opens(faked: Machine, fake: FakeXrt) -> None:
    fake.wedge_at_contexts()
    found, remedy = problem(faked, "context")
    assert f"{MATMUL_64X512.name}: opening a hw_context" in found
    assert remedy.startswith("reboot")
    assert "other programs" not in remedy
    diagnosis = diagnose(faked)
    assert "trials" in [check.id for check in diagnosis.causes]
    assert MATMUL_64X512.name in checked(faked, "trials").found


def test_8_kernels_are_tried_from_small_to_large_and_one_that_hangs_is_named_after_the_reboot(
    faked: Machine, fake: FakeXrt
) -> None:
    (kernels,) = faked.kernel_folders
    write_kernel(kernels, MATMUL_64X64, xclbin(MATMUL_64X64))  # one core
    write_kernel(kernels, MATMUL_128X512, xclbin(MATMUL_128X512))
    opened = faked.actions.open_context()
    assert opened.kernels == (MATMUL_64X64.name, MATMUL_64X512.name, MATMUL_128X512.name)
    assert (opened.clock_mhz, opened.power_mode) == (None, "Default")  # the node is a plain file
    for file in faked.trials.folder.iterdir():
        file.unlink()
    fake.inject(Fault.WEDGED, at=2)
    found, remedy = problem(faked, "context")
    assert MATMUL_64X512.name in found
    assert "reboot" in remedy
    fake.heal()
    rebooted = above_pyxrt(replace(faked, trials=Trials(faked.trials.folder, "the next boot")))
    found, _ = problem(rebooted, "trials")
    assert f"the last trial that did not come back was {MATMUL_64X512.name} (" in found
    assert checked(rebooted, "context").found.startswith(
        f"opened, and right answers from {MATMUL_64X64.name}, {MATMUL_128X512.name}; "
    )
    (kernels / MATMUL_128X512.name / "manifest.json").unlink()
    (kernels / MATMUL_64X64.name / "manifest.json").unlink()
    diagnosis = diagnose(rebooted)
    assert f"the last trial that did not come back was {MATMUL_64X512.name}" in diagnosis.verdict
    assert [check.id for check in diagnosis.causes] == ["trials"]
    rebooted.trials.forget_lost()
    assert checked(rebooted, "trials").status is Status.OK


def test_a_pyxrt_that_says_nothing_of_its_speed(faked: Machine, fake: FakeXrt) -> None:
    fake.module.xrt_info_device = object()  # type: ignore[attr-defined]
    assert checked(faked, "power").found == "an unknown clock with contexts open, power mode unknown"


def test_the_clock_is_the_arrays_as_the_driver_says(
    healthy: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two nodes of its own the first is an older driver's. Other drivers' nodes are not asked."""
    pci = healthy.root / "sys/bus/pci"
    for number, driver in enumerate(("intel_vpu", "amdxdna", "habanalabs"), start=1):
        device = pci / f"devices/0000:c5:00.{number}"
        write(device / f"accel/accel{number}/dev", f"261:{number}\n")
        write(healthy.root / f"dev/accel/accel{number}")
        (pci / "drivers" / driver).mkdir(exist_ok=True)
        (device / "driver").symlink_to(f"../../drivers/{driver}")
    asked = []

    def answer(file: int, request: int, call: clock.GetInfo) -> None:
        asked.append((os.path.basename(os.readlink(f"/proc/self/fd/{file}")), request, call.param))
        if len(asked) == 1:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        assert call.buffer_size == 48
        clock.Clocks.from_address(call.buffer).mp_npu_clock.freq_mhz = 600
        clock.Clocks.from_address(call.buffer).h_clock.freq_mhz = 1028

    monkeypatch.setattr(clock, "ioctl", answer)
    assert clock.array_clock_mhz(healthy.root) == 1028
    assert asked == [("accel0", 0xC0106447, 3), ("accel2", 0xC0106447, 3)]
    for node in ("accel0", "accel2"):
        (healthy.root / "dev/accel" / node).unlink()
    assert clock.array_clock_mhz(healthy.root) is None


# --- The command --------------------------------------------------------------------------------------------


def test_the_exit_code_says_whether_transcribe_works_with_that_device(
    healthy: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()

    def stand_in(npu: NpuOptions) -> Machine:
        asked.append(npu)
        return healthy

    monkeypatch.setattr(doctor, "this_machine", stand_in)
    assert run(["doctor", "--kernels", str(here), "--kernels", str(there), "--timeout", "3"]) == 0
    assert asked == [NpuOptions(kernel_folders=(here, there), timeout_seconds=3)]
    assert capsys.readouterr().out.startswith("Transcription works here, on the NPU.\n")
    refused = with_actions(without_an_npu(healthy), open_device=no_npu)
    monkeypatch.setattr(doctor, "this_machine", lambda npu: refused)
    for device, code in (("auto", 0), ("emulator", 0), ("npu", 1)):
        assert run(["doctor", "--device", device, "--json"]) == code
        document = json.loads(capsys.readouterr().out)
        assert document["asked_for"] == device
        assert document["device"] == (None if device == "npu" else "emulator")
        assert document["verdict"].endswith("The NPU does not: no XDNA1 chip found.")
    broken = with_npu(healthy, ZerosNpu)
    monkeypatch.setattr(doctor, "this_machine", lambda npu: broken)
    assert run(["doctor"]) == 1  # auto takes the NPU, whose results are wrong
    nothing = with_actions(healthy, open_device=raises(DeviceError("no memory")))
    monkeypatch.setattr(doctor, "this_machine", lambda npu: nothing)
    capsys.readouterr()
    assert run(["doctor", "--device", "emulator"]) == 1
    assert capsys.readouterr().out.startswith("Transcription does not work here, not even on the CPU.")


def no_npu(name: str) -> Device:
    if name == "npu":
        raise DeviceNotFoundError("no NPU")
    return Emulator(Fidelity.FAST)


def test_retry_forgets_what_did_not_come_back(
    healthy: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NoAnswerError), healthy.trials.of("matmul_lost", "0"):
        raise NoAnswerError
    monkeypatch.setattr(doctor, "this_machine", lambda npu: healthy)
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "What is wrong all the same:" in out
    assert "matmul_lost" in out
    run(["doctor", "--retry"])
    assert "matmul_lost" not in capsys.readouterr().out


def test_this_machine_can_be_diagnosed(tmp_path: Path) -> None:
    machine = doctor.this_machine(NpuOptions(kernel_folders=(tmp_path,)))
    assert machine.kernel_folders[0] == tmp_path
    assert as_text(diagnose(machine)).count("\n") > len(diagnose(machine).checks)
