"""`whisper-npu doctor`: whether transcription works here, on what, and what keeps it from the NPU.

Every check looks at one thing and says what it found and what would help. The last one multiplies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from whisper_npu import __version__
from whisper_npu.doctor.check import Check, Status, ok, problem, skipped
from whisper_npu.doctor.hardware import (
    PciDevice,
    amd_npus,
    check_cpu,
    check_driver,
    check_firmware,
    check_group,
    check_iommu,
    check_linux,
    check_memlock,
    check_node,
    check_npu,
)
from whisper_npu.doctor.host import check_audio, check_cache, check_models, check_rows
from whisper_npu.doctor.machine import Machine, this_machine
from whisper_npu.doctor.runtime import (
    check_context,
    check_kernels,
    check_pyxrt,
    check_trials,
    check_versions,
    check_xrt,
)
from whisper_npu.doctor.trial import Trial, multiply_on
from whisper_npu.errors import NoAnswerError, WhisperNpuError
from whisper_npu.npu.targets import DEFAULT as TARGET
from whisper_npu.npu.trials import RETRY
from whisper_npu.npu.xrt.buffer import DOCTOR

__all__ = ["Check", "Diagnosis", "Machine", "Status", "as_document", "diagnose", "this_machine"]

SCHEMA, SCHEMA_VERSION = "whisper-npu/doctor", 2
# What each check of the NPU needs, itself behind it: a problem there makes its own follow from that.
NEEDS: dict[str, tuple[str, ...]] = {
    "npu": (),
    "cpu": ("npu",),
    "linux": ("npu",),
    "iommu": ("npu",),
    "firmware": ("npu",),
    "driver": ("cpu", "linux", "iommu", "firmware"),
    "group": ("npu",),
    "node": ("driver", "iommu", "group"),
    "memlock": ("npu",),
    "xrt": ("npu",),
    "versions": ("xrt",),
    "pyxrt": ("xrt",),
    "kernels": ("npu",),
    "trials": ("npu",),
    "context": ("node", "memlock", "xrt", "versions", "pyxrt", "kernels", "trials"),
    "power": ("context",),
    "product": ("context",),
}
NEEDED_FOR_A_CONTEXT = ("node", "memlock", "xrt", "pyxrt", "kernels")


@dataclass(frozen=True)
class Diagnosis:
    device: str  # what was asked for, as transcribe --device
    checks: tuple[Check, ...]
    trial: Trial | None  # None: that device could not be opened, or it failed
    emulated: Trial | None = None  # where that device does not work: the emulator in its place

    @property
    def works(self) -> bool:
        """Whether transcription does, on what was asked for."""
        return self.trial is not None and self.trial.right

    @property
    def runs_on_npu(self) -> bool:
        return self.works and self.trial is not None and self.trial.device == "npu"

    @property
    def causes(self) -> tuple[Check, ...]:
        """What keeps the NPU from working, each where it begins, in the order of NEEDS."""
        problems = {check.id: check for check in self.checks if check.is_problem and check.id in NEEDS}
        spoilt: set[str] = set()  # by a problem of their own, or of what they need
        causes = []
        for id, needed in NEEDS.items():
            if id in problems and spoilt.isdisjoint(needed):
                causes.append(problems[id])
            if id in problems or not spoilt.isdisjoint(needed):
                spoilt.add(id)
        return tuple(causes)

    @property
    def follows(self) -> tuple[Check, ...]:
        """The checks of the NPU that fail, or cannot be made, because of the causes."""
        causes = self.causes
        return tuple(
            check
            for check in self.checks
            if check.id in NEEDS and check.status is not Status.OK and check not in causes
        )

    @property
    def verdict(self) -> str:
        """In plain words: where transcription works, and why not on the NPU."""
        if self.runs_on_npu:
            return "Transcription works here, on the NPU."
        why = self.causes[0].short or self.causes[0].found if self.causes else None
        npu = f" The NPU does not: {why}." if why else ""
        if self.works:
            return f"Transcription works here, on the CPU.{npu}"
        if self.emulated is None or not self.emulated.right:
            return f"Transcription does not work here, not even on the CPU.{npu}"
        if self.device == "npu":
            return f"Transcription works here, on the CPU, and not with --device npu.{npu}"
        return f"Transcription works here with --device emulator only, on the CPU.{npu}"


def diagnose(machine: Machine, device: str = "auto") -> Diagnosis:
    """Look at a machine, and multiply on a device: as transcribe --device would open it."""
    npus = [npu for npu in amd_npus(machine) if npu.id == TARGET.pci_id]
    checks = [check_npu(machine), check_cpu(machine)]
    if npus:
        checks += _checks_of(machine, npus[0])
    else:
        others = [id for id in NEEDS if id not in ("npu", "cpu", "product")]
        checks += [skipped(id, f"there is no {TARGET.title} NPU") for id in others]
    checks += [check_rows(machine), check_models(machine), check_cache(machine), check_audio(machine)]
    product, trial = _multiply(machine, device, "product")
    if (trial and trial.right) or device == "emulator":
        return Diagnosis(device, (*checks, product), trial)
    instead, emulated = _multiply(machine, "emulator", "emulator")
    return Diagnosis(device, (*checks, product, instead), trial, emulated)


def _checks_of(machine: Machine, npu: PciDevice) -> list[Check]:
    checks = [
        check_linux(machine),
        check_driver(machine, npu),
        check_iommu(machine, npu),
        check_firmware(machine, npu),
        check_node(machine, npu),
        check_group(machine, npu),
        check_memlock(machine),
        check_xrt(machine),
        check_versions(machine, npu),
        check_pyxrt(machine),
        check_kernels(machine),
        check_trials(machine),
    ]
    missing = [c.id for c in checks if c.id in NEEDED_FOR_A_CONTEXT and c.status != Status.OK]
    if missing:
        why = f"needs {', '.join(missing)}"
        return [*checks, skipped("context", why), skipped("power", why)]
    return [*checks, *check_context(machine, npu)]


def _multiply(machine: Machine, name: str, id: str) -> tuple[Check, Trial | None]:
    remedy = "sudo dmesg | grep amdxdna, and compare the versions; --device emulator does without the NPU"
    try:
        with machine.actions.open_device(name) as device:
            trial = multiply_on(device)
    except WhisperNpuError as error:
        if isinstance(error, NoAnswerError):
            remedy = f"reboot; {RETRY} then tries it again; --device emulator does without the NPU"
        found = str(error).replace(f"; {DOCTOR}", "")  # which the reader has before him
        return problem(id, found, remedy, found.partition(";")[0]), None
    shape = "({0},{1})@({1},{2})".format(*trial.problem)
    dispatches = "1 dispatch" if trial.dispatches == 1 else f"{trial.dispatches} dispatches"
    right = "right to the last bit" if trial.right else f"{trial.wrong:,} of {trial.elements:,} WRONG"
    found = (
        f"{shape} by {trial.kernel} on the {trial.device}: {right}"
        f"{', nothing but zeros' if trial.zeros else ''}, {dispatches}, "
        f"{1000 * trial.seconds:.3g} ms MEASURED ({trial.clock})"
    )
    if trial.right:
        return ok(id, found), trial
    return problem(id, found, remedy, f"{trial.kernel} gives wrong results"), trial


def as_document(diagnosis: Diagnosis) -> dict[str, object]:
    """The diagnosis for programs."""
    trial = diagnosis.trial
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "whisper_npu_version": __version__,
        "verdict": diagnosis.verdict,
        "asked_for": diagnosis.device,
        "works": diagnosis.works,
        "runs_on_npu": diagnosis.runs_on_npu,
        "device": trial.device if trial else None,
        "causes": [check.id for check in diagnosis.causes],
        "checks": [
            {"id": c.id, "status": c.status.value, "found": c.found, "remedy": c.remedy}
            for c in diagnosis.checks
        ],
        "product": trial and {**asdict(trial), "right": trial.right},
    }
