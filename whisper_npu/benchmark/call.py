"""One dispatch of each kernel, step by step: allocate, convert, copy in, run, copy out. All MEASURED."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.projection import operands
from whisper_npu.benchmark.timings import Timings, device_document, machine, machine_line
from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import DeviceError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, tiled_plan
from whisper_npu.npu.cost import Start, modelled_run_seconds, modelled_seconds, profiles
from whisper_npu.npu.device import Device
from whisper_npu.npu.layout import Layout
from whisper_npu.ops import Matmul
from whisper_npu.page import Page, Table, page_as_markdown

STEPS = ("allocate", "convert", "copy in", "run", "copy out")


@dataclass(frozen=True)
class Call:
    """One dispatch of one kernel. Seconds are MEASURED."""

    plan: MatmulPlan
    dispatches: int  # counted by the device
    steps: dict[str, Timings]  # by the names of STEPS

    @property
    def median_total(self) -> float:
        return sum(timings.median for timings in self.steps.values())


@dataclass(frozen=True)
class Calls:
    device: Device
    repeats: int
    calls: tuple[Call, ...]


def run_calls(device: Device, *, repeats: int, progress: Callable[[str], None]) -> Calls:
    """Dispatch each kernel of the device once to warm up, then `repeats` times."""
    calls = []
    for contract in device.contracts():
        if not isinstance(contract, MatmulContract):
            continue
        device.load(contract)
        progress(f"measuring one dispatch of {contract.name}")
        plan = one_dispatch(contract)
        a, b = operands(plan.problem)
        runs = [_one_call(device, plan, a, b) for _ in range(repeats + 1)][1:]  # the first warms up
        steps = {step: Timings(tuple(run[at] for run in runs)) for at, step in enumerate(STEPS)}
        calls.append(Call(plan, 1, steps))
    return Calls(device, repeats, tuple(calls))


def one_dispatch(contract: MatmulContract) -> MatmulPlan:
    """The plan that fills exactly one dispatch, with all its products."""
    if contract.batch_layout is not None:
        return tiled_plan(Matmul(contract.m, contract.k, contract.n, contract.batch), contract)
    return tiled_plan(Matmul(contract.batch * contract.m, contract.k, contract.n), contract)


def _one_call(device: Device, plan: MatmulPlan, a: F32, b: F32) -> tuple[float, ...]:
    """MEASURED seconds of each of STEPS. Raises DeviceError unless the device needed one dispatch."""
    start = perf_counter()
    a_buffer, b_buffer, c_buffer = device.alloc(plan.a), device.alloc(plan.b), device.alloc(plan.c)
    allocated = perf_counter()
    a, b = _converted(a, plan.a), _converted(b, plan.b)
    converted = perf_counter()
    a_buffer.write(a)
    b_buffer.write(b)
    copied = perf_counter()
    done = device.execute(plan, [a_buffer, b_buffer, c_buffer])
    ran = perf_counter()
    np.array(c_buffer.read())
    end = perf_counter()
    for buffer in (a_buffer, b_buffer, c_buffer):
        buffer.close()
    if done.dispatches != 1:
        raise DeviceError(f"{plan.contract.name}: {done.dispatches} dispatches where one was planned")
    return allocated - start, converted - allocated, copied - converted, ran - copied, end - ran


def _converted(matrix: F32, layout: Layout) -> F32:
    """Round in bulk and pad to whole tiles, as the layout says."""
    padded = np.zeros((*layout.shape[:-2], *layout.padded), np.float32)
    rounded = on_grid(matrix, layout.rounding) if layout.dtype is DType.BF16 else matrix
    padded[..., : layout.rows, : layout.cols] = rounded
    return padded


def write_files(calls: Calls, files: Files) -> None:
    rows = [_fields(call) for call in calls.calls]
    files.write_tables(as_markdown(calls), as_document(calls), rows)


def as_markdown(calls: Calls) -> str:
    return page_as_markdown(page(calls))


def page(calls: Calls) -> Page:
    """For people: the table, and the meaning of its columns."""
    rows = []
    for call in calls.calls:
        contract = call.plan.contract
        row = {"kernel": contract.name, "problem": str(call.plan.problem)}
        row |= {f"{step} us": _microseconds(t.median) for step, t in call.steps.items()}
        row |= {"MEASURED us": _microseconds(call.median_total), "run, spread us": _spread(call.steps["run"])}
        row |= {
            f"MODELLED us {p.name}": modelled_seconds(contract, 1, p).in_units(1e6)
            for p in profiles(calls.device.target)
        }
        rows.append(row)
    return (
        f"One dispatch of each kernel, MEASURED on {calls.device.description}\n({machine_line()}); "
        f"medians of {calls.repeats} repeats after one to warm up.\n\n",
        Table(rows, left=("kernel", "problem")),
        "\n- convert: operands rounded to bf16 and padded, in bulk; copy in: the device's own write\n"
        + f"- run: on the {calls.device.clock} ({calls.device.name}), as the host sees it\n"
        + "- MODELLED us: the dispatch alone, on an NPU, optimistic to cautious; nobody measured it\n"
        + "".join(f"  - {profile.name}: {profile.basis}\n" for profile in profiles(calls.device.target))
        + _one_after_another(calls),
    )


def _one_after_another(calls: Calls) -> str:
    """What a single dispatch does not show: changes of overlay, and waking a sleeping NPU."""
    plans, profile = [call.plan for call in calls.calls], calls.device.target.profile
    awake, asleep = (modelled_run_seconds(plans, profile, start) for start in (Start.AWAKE, Start.ASLEEP))
    return (
        "\nAll of them once, one after the other, with every change of overlay: MODELLED "
        f"{awake.in_units(1e3)} ms\n({profile.name}), and {asleep.in_units(1e3)} ms if the NPU slept before, "
        f"which it does after {profile.sleeps_after_seconds:g} s without a dispatch.\n"
    )


def as_document(calls: Calls) -> dict[str, object]:
    return {
        "schema": "whisper-npu/benchmark-call",
        "schema_version": 2,
        "machine": machine(),
        "device": device_document(calls.device),
        "repeats": calls.repeats,
        "profiles": {profile.name: profile.basis for profile in profiles(calls.device.target)},
        "rows": [_fields(call) for call in calls.calls],
    }


def _fields(call: Call) -> dict[str, object]:
    contract, problem = call.plan.contract, call.plan.problem
    fields: dict[str, object] = {
        "kernel": contract.name,
        "M": problem.M,
        "K": problem.K,
        "N": problem.N,
        "heads": problem.batch,
        "dispatches": call.dispatches,
        "bytes_to_device": contract.bytes_to_device,
        "bytes_from_device": contract.bytes_from_device,
    }
    for step, timings in call.steps.items():
        name = step.replace(" ", "_")
        fields |= {
            f"measured_{name}_seconds": timings.median,
            f"measured_{name}_seconds_min": timings.low,
            f"measured_{name}_seconds_max": timings.high,
        }
    for profile in profiles(contract.target):
        fields |= modelled_seconds(contract, 1, profile).as_fields(profile.name)
    return fields


def _microseconds(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f}" if seconds >= 1e-4 else f"{1e6 * seconds:,.1f}"


def _spread(timings: Timings) -> str:
    return f"{_microseconds(timings.low)} to {_microseconds(timings.high)}"
