"""`whisper-npu doctor`: finds, in order, what keeps this machine from transcribing on its NPU.

Every check looks at one thing and says what it found and what would help. The last one multiplies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite

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
from whisper_npu.doctor.machine import Machine, this_machine
from whisper_npu.doctor.runtime import (
    check_context,
    check_kernels,
    check_pyxrt,
    check_rows,
    check_versions,
    check_xrt,
)
from whisper_npu.doctor.trial import Trial, multiply_on
from whisper_npu.errors import WhisperNpuError
from whisper_npu.npu.targets import DEFAULT as TARGET

__all__ = ["Check", "Diagnosis", "Machine", "Status", "as_document", "as_text", "diagnose", "this_machine"]

SCHEMA, SCHEMA_VERSION = "whisper-npu/doctor", 1
ON_THE_NPU = (
    "driver",
    "iommu",
    "node",
    "group",
    "memlock",
    "firmware",
    "xrt",
    "versions",
    "pyxrt",
    "context",
)
NEEDED_FOR_A_CONTEXT = ("node", "memlock", "xrt", "pyxrt", "kernels")


@dataclass(frozen=True)
class Diagnosis:
    checks: tuple[Check, ...]
    trial: Trial | None  # None: no device could be opened, or it failed

    @property
    def runs_on_npu(self) -> bool:
        return self.trial is not None and self.trial.device == "npu" and self.trial.right

    @property
    def verdict(self) -> str:
        if self.trial is None:
            return "transcribe would fail on this device: use --device emulator"
        used = f"transcribe would run on: {self.trial.description}"
        return used if self.trial.right else f"{used}; its products are WRONG, use --device emulator"


def diagnose(machine: Machine) -> Diagnosis:
    npus = [npu for npu in amd_npus(machine) if npu.id == TARGET.pci_id]
    checks = [check_cpu(machine), check_npu(machine), check_linux(machine)]
    if npus:
        checks += _checks_of(machine, npus[0])
    else:
        checks += [skipped(id, f"there is no {TARGET.title} NPU") for id in ON_THE_NPU]
        checks.append(check_kernels(machine))
    product, trial = _multiply(machine)
    return Diagnosis((*checks, check_rows(machine), product), trial)


def _checks_of(machine: Machine, npu: PciDevice) -> list[Check]:
    checks = [
        check_driver(machine, npu),
        check_iommu(machine, npu),
        check_node(machine, npu),
        check_group(machine, npu),
        check_memlock(machine),
        check_firmware(machine, npu),
        check_xrt(machine),
        check_versions(machine, npu),
        check_pyxrt(machine),
    ]
    kernels = check_kernels(machine)
    missing = [c.id for c in [*checks, kernels] if c.id in NEEDED_FOR_A_CONTEXT and c.status != Status.OK]
    if missing:
        return [*checks, skipped("context", f"needs {', '.join(missing)}"), kernels]
    return [*checks, check_context(machine, npu), kernels]


def _multiply(machine: Machine) -> tuple[Check, Trial | None]:
    remedy = "transcribe with --device emulator; sudo dmesg | grep amdxdna, and compare the versions above"
    try:
        with machine.actions.open_device() as device:
            trial = multiply_on(device)
    except WhisperNpuError as error:
        return problem("product", str(error), remedy), None
    shape = "({0},{1})@({1},{2})".format(*trial.problem)
    dispatches = "1 dispatch" if trial.dispatches == 1 else f"{trial.dispatches} dispatches"
    found = (
        f"{shape} by {trial.kernel} on the {trial.device}: {dispatches}, max error "
        f"{trial.max_error:.2g} ({100 * trial.tolerance_used:.0f} % of the tolerance), "
        f"{1000 * trial.seconds:.3g} ms MEASURED ({trial.clock})"
    )
    if trial.right:
        return ok("product", found), trial
    return problem("product", f"{found}{', nothing but zeros' if trial.zeros else ''}: WRONG", remedy), trial


def as_text(diagnosis: Diagnosis) -> str:
    """One line per check, its remedy below it, and at the end the device that transcription would use."""
    lines = []
    for check in diagnosis.checks:
        lines.append(f"{check.status.value:8} {check.id:9} {check.found}")
        if check.remedy:
            lines.append(f"{'':18} -> {check.remedy}")
    return "\n".join([*lines, "", diagnosis.verdict]) + "\n"


def as_document(diagnosis: Diagnosis) -> dict[str, object]:
    """The diagnosis for programs."""
    trial = diagnosis.trial
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "whisper_npu_version": __version__,
        "runs_on_npu": diagnosis.runs_on_npu,
        "device": trial.device if trial else None,
        "verdict": diagnosis.verdict,
        "checks": [{**asdict(check), "status": check.status.value} for check in diagnosis.checks],
        "product": trial and {**_finite(asdict(trial)), "right": trial.right},
    }


def _finite(fields: dict[str, object]) -> dict[str, object]:
    """NaN and infinity as None: JSON has neither."""
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in fields.items()}
