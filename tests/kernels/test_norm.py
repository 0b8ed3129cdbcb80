"""The layer norm of rows: its contract, its design executed from the text, and when the planner takes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.cxx import find_cxx
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import DesignSource, array_part, build
from whisper_npu.kernels.goldens import goldens
from whisper_npu.kernels.mlir import DesignParameterError
from whisper_npu.kernels.norm.core import NORM_CC
from whisper_npu.kernels.norm.kernel import (
    CHUNK,
    NEWTON_STEPS,
    PRODUCT_ERROR,
    ROWS,
    START,
    NormContract,
    NormOnRows,
    affine,
    centred,
    inverse_root,
    kernels_built,
    max_cols,
    norm,
    padded_norm,
)
from whisper_npu.kernels.tools import Toolchain
from whisper_npu.kernels.verifier import (
    Design,
    DesignError,
    Execution,
    Functions,
    MemRef,
    check_structure,
    execute,
    parse,
)
from whisper_npu.kernels.verifier.core_functions import CoreFunctionError, compiled
from whisper_npu.kernels.verify import (
    compiled_functions,
    host_arguments,
    numpy_functions,
    results,
    verify,
)
from whisper_npu.npu.artifacts import built, find_kernel
from whisper_npu.npu.cost import host_seconds, modelled_plan_seconds, overlay_change
from whisper_npu.npu.planner import choose
from whisper_npu.npu.targets import NPU1, Target
from whisper_npu.ops import EPSILON, Matmul, Norm

Make = Callable[[NormContract, Design], Functions]
KERNEL = NormOnRows(NPU1)
N_STATES = (384, 512, 768, 1024, 1280)  # of all released Whisper models
GOLDEN = norm(NPU1, 1504, 512)
needs_compiler = pytest.mark.skipif(find_cxx(os.environ) is None, reason="no C++ compiler")
MAKES = [pytest.param(compiled_functions, marks=needs_compiler), numpy_functions]
both = pytest.mark.parametrize("make", MAKES, ids=["compiled", "numpy"])


def op_of(M: int, N: int) -> Norm:
    return Norm(M, N, residual=True)


def operands(op: Norm, seed: int = 0, offset: float = 0.0) -> tuple[F32, ...]:
    """offset: of x, so that the mean is large beside the deviations."""
    rng = np.random.default_rng(seed)
    x, *others = (rng.standard_normal(operand.shape).astype(np.float32) for operand in op.inputs)
    return (x + np.float32(offset), *others)


@lru_cache
def text_of(contract: NormContract) -> str:
    return registry.design(contract)


def contract_of(op: Norm) -> NormContract:
    contract = KERNEL.plan(op).contract
    assert isinstance(contract, NormContract)
    return contract


@lru_cache
def functions(make: Make, contract: NormContract, design: Design) -> Functions:
    return make(contract, design)


def run(
    op: Norm, make: Make, inputs: tuple[F32, ...], text: str | None = None
) -> tuple[NDArray[Any], NDArray[Any], Execution]:
    """The design of the op's contract, executed from its text: sum and y, without padding."""
    plan, contract = KERNEL.plan(op), contract_of(op)
    design = parse(text or text_of(contract))
    check_structure(design, NPU1)
    arguments = host_arguments(plan, inputs)
    execution = execute(design, arguments, functions(make, contract, design), NPU1)
    assert not any(np.isnan(argument).any() for argument in arguments[-2:])
    sums, y = results(plan, arguments)
    return sums, y, execution


def assert_within_tolerance(op: Norm, inputs: Sequence[F32], results: Sequence[NDArray[Any]]) -> None:
    numerics = padded_norm(NPU1, op).numerics
    bounds = op.tolerance(numerics, *inputs)
    for result, expected, bound in zip(results, op.reference(*inputs), bounds, strict=True):
        assert (np.abs(result - expected) <= bound).all()


# ------------------------------------------------------------------------------------------------ the design


def test_the_committed_text_is_what_the_generator_prints() -> None:
    (path,) = (path for path in goldens() if path.stem == GOLDEN.name)
    assert path.parent.name == "norm"
    assert path.read_text("utf-8") == goldens()[path]


@both
def test_the_verifier_takes_it(make: Make) -> None:
    verdict = verify(GOLDEN, text_of(GOLDEN), make(GOLDEN, parse(text_of(GOLDEN))))
    assert 0 < verdict.tolerance_used <= 1
    assert verdict.dispatches == 2  # rows and parameters are kept in memory of the cores' own
    # Its cores make no products: what they take is the contract's count.
    profile = GOLDEN.target.profile
    assert profile.optimistic.core is not None
    assert verdict.cycles.bound == "compute"
    assert verdict.cycles.cycles == ceil(GOLDEN.core_cycles(profile.optimistic.core)) > verdict.cycles.dram


@both
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    M=st.integers(1, 70),
    chunks=st.integers(1, 7),
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from([0.0, 30.0]),
)
def test_it_computes_the_op_at_any_size(make: Make, M: int, chunks: int, seed: int, offset: float) -> None:
    op = op_of(M, chunks * CHUNK)
    inputs = operands(op, seed, offset)
    assert_within_tolerance(op, inputs, run(op, make, inputs)[:2])


@both
@pytest.mark.parametrize("N", N_STATES)
def test_it_computes_the_norms_of_whisper(make: Make, N: int) -> None:
    op = op_of(1500, N)
    inputs = operands(op, N)
    assert_within_tolerance(op, inputs, run(op, make, inputs)[:2])


@pytest.mark.parametrize(("M", "N"), [(1, CHUNK), (33, 384), (17, max_cols(NPU1))])
@needs_compiler
def test_every_way_to_compute_gives_the_same_bits(M: int, N: int) -> None:
    op = op_of(M, N)
    inputs = operands(op)
    contract, plan = contract_of(op), KERNEL.plan(op)
    bos = host_arguments(plan, inputs)[:3]
    tiles = [bo.reshape(layout.padded) for bo, layout in zip(bos, plan.inputs, strict=True)]
    of_contract = [result[:M] for result in contract.compute(*tiles)]
    for make in (compiled_functions, numpy_functions):
        for result, expected in zip(run(op, make, inputs)[:2], of_contract, strict=True):
            assert np.array_equal(result, expected)


@pytest.mark.parametrize(("M", "N"), [(1, CHUNK), (33, 384), (1500, 512), (3000, 256)])
def test_the_contract_knows_what_the_design_moves_and_calls(M: int, N: int) -> None:
    op = op_of(M, N)
    contract = padded_norm(NPU1, op)
    execution = run(op, numpy_functions, operands(op))[2]
    assert execution.dram_bytes == contract.bytes_to_device + contract.bytes_from_device
    assert contract.macs == op.macs == 0
    assert check_structure(parse(text_of(contract)), NPU1).l1_highest == contract.l1_bytes
    counts = [
        sum(n for call, n in calls.items() if call.function == "norm_centre_f32")
        for calls in execution.calls.values()
    ]
    assert len(counts) == NPU1.cores == contract.cores
    assert sorted(set(counts)) == [0, contract.rounds]  # the upper cores centre nothing
    assert all(execution.calls.values())
    assert sum(counts) * ROWS == contract.rows


def test_all_sizes_share_the_array() -> None:
    def array(M: int, N: int) -> str:
        return array_part(text_of(contract_of(op_of(M, N))))

    assert array(1500, 512) == array(1, 128) == array(3000, max_cols(NPU1))
    assert len({padded_norm(NPU1, op_of(M, 512)).overlay for M in (1, 1500)}) == 1


def test_the_longest_row_leaves_no_room_for_another_chunk() -> None:
    longest = norm(NPU1, 16, max_cols(NPU1))
    assert longest.l1_bytes <= NPU1.l1_bytes < longest.l1_bytes + ROWS * CHUNK * 4
    assert max_cols(NPU1) >= max(N_STATES)


def test_more_rounds_than_one_task_repeats_go_in_strips() -> None:
    """Three of them: no channel's queue ever holds more than four tasks."""
    op = op_of(16 * (2 * NPU1.max_repeat + 1), CHUNK)
    inputs = operands(op)
    design = parse(text_of(contract_of(op)))
    waiting = 0
    for task in design.sequence.ops:
        if getattr(task, "fifo", "") == "X_L3L2_0":
            waiting += 1
        elif getattr(task, "fifo", "") == "SUM_L2L3_0" and not hasattr(task, "sizes"):
            waiting -= 1
        assert waiting <= 4
    assert_within_tolerance(op, inputs, run(op, numpy_functions, inputs)[:2])


INVERSE = int(norm(NPU1, 48, 384).inverse.view(np.int32))


def with_number(buffer: str, index: int, number: int) -> tuple[str, str]:
    """What to replace, and with what, so that one core reads another number than the others."""
    written = next(line for line in text_of(norm(NPU1, 48, 384)).splitlines() if f"@{buffer}}}" in line)
    wrong = f"aiex.npu.rtp_write(@{buffer}, {index}, %wrong) : i32"
    return written, f"{written}\n %wrong = arith.constant {number} : i32\n {wrong}"


BROKEN = {
    "one round too many": (*with_number("lower_sizes_0_0", 0, 4), "wait"),
    "one round too few": (*with_number("upper_sizes_1_1", 0, 2), "Y_L2L3_1"),
    "one chunk too few": (*with_number("lower_sizes_2_0", 1, 2), "SUM_L2L3_2"),
    "one chunk too many": (*with_number("upper_sizes_3_0", 1, 4), "Y_L2L3_3"),
    "a row short": (
        "%X[0, 0, 0, 0][3, 3, 4, 128]",
        "%X[0, 0, 0, 0][3, 3, 3, 128]",
        "no multiple of an object",
    ),
    "another core's buffer": ("@norm_header_f32(%tile0", "@norm_header_f32(%rows_0_0", "memref"),
    "parameters of another core": (", %parameters_0_0, ", ", %parameters_0_1, ", "which is in core"),
    "no parameters": ("metadata = @X_L3L2_0}", "metadata = @RESIDUAL_L3L2_0}", "deadlock"),
    "sizes before anything came": (
        "      scf.for %round = %c0 to %forever step %c1 {\n",
        "      scf.for %round = %c0 to %forever step %c1 {\n"
        "        %early = memref.load %lower_sizes_0_0[%c0] : memref<3xi32>\n",
        "before it acquired",
    ),
    "an index for a number": (", %chunk_i32) :", ", %chunk) :", "%chunk is index, not i32"),
    "a number that no i32 holds": (
        "%c0_i32 = arith.index_cast %c0 :",
        "%c0_i32 = arith.index_cast %forever :",
        "%c0_i32 = 4294967295 is no signed number of 32 bits",
    ),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda name: name.replace(" ", "-"))
def test_a_broken_design_is_caught(broken: str) -> None:
    old, new, says = BROKEN[broken]
    op = op_of(48, 384)
    text = text_of(contract_of(op))
    assert old in text
    with pytest.raises((DesignError, CoreFunctionError), match=says):
        run(op, numpy_functions, operands(op), text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%SUM[0, 0, 0, 4608]", "%SUM[0, 0, 0, 0]"),  # column 1 writes where column 0 does
        ("[3, 3, 4, 128][1536, 128, 384, 1]", "[3, 3, 4, 128][1536, 384, 128, 1]"),
        (f"dense<[3, 3, {INVERSE}]>", f"dense<[3, 3, {INVERSE + 64}]>"),
    ],
)
def test_a_wrong_design_gives_a_wrong_result_or_says_so(old: str, new: str) -> None:
    op = op_of(48, 384)
    inputs = operands(op)
    text = text_of(contract_of(op))
    assert old in text
    sums, y, _ = run(op, numpy_functions, inputs)
    try:
        wrong = run(op, numpy_functions, inputs, text.replace(old, new, 1))
    except (DesignError, AssertionError):
        return
    assert not (np.array_equal(sums, wrong[0]) and np.array_equal(y, wrong[1]))


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        (norm(NPU1, 1500, 512), "rows = 1500 must be a multiple of 16"),
        (norm(NPU1, 16, 500), "cols = 500 must be a multiple of 128"),
        (norm(NPU1, 16, max_cols(NPU1) + CHUNK), "at most 6528, not 6656"),
        (norm(replace(NPU1, core_rows=3), 48, 512), "3 cores in a column; 2 lanes take 2 each"),
    ],
)
def test_what_the_array_cannot_hold_is_refused(contract: NormContract, says: str) -> None:
    with pytest.raises(DesignParameterError, match=says):
        text_of(contract)


@both
@pytest.mark.parametrize("taken", [MemRef((1,), "i32"), MemRef((), "f32")], ids=str)
def test_a_number_is_declared_as_what_it_is(make: Make, taken: MemRef) -> None:
    design = parse(text_of(GOLDEN))
    *others, last = design.functions
    wrong = replace(last, memrefs=(*last.memrefs[:-1], taken))
    with pytest.raises(CoreFunctionError, match=r"argument 3 \(chunk\) of norm_affine_f32 .* it is i32"):
        make(GOLDEN, replace(design, functions=(*others, wrong)))


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "i < object; i += width)\n    aie",
            "i <= object; i += width)\n    aie",
            "reads 64 bytes at offset 1024",
        ),
        ("rows + chunk * object;", "rows + chunk * object + 4;", "must be aligned to 32"),
    ],
)
def test_an_access_outside_an_argument_is_an_error(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = NORM_CC.path.read_text("utf-8")
    assert text.count(old) == 1
    source = tmp_path / "norm.cc"
    source.write_text(text.replace(old, new), "utf-8")
    op = op_of(16, 256)

    def make(contract: NormContract, design: Design) -> Functions:
        return compiled(design.functions, [replace(NORM_CC, path=source)], NPU1)

    with pytest.raises(CoreFunctionError, match=says):
        run(op, make, operands(op))


# ---------------------------------------------------------------------- what a core's arithmetic really does


def aligned_sum(*addends: tuple[NDArray[np.float64], NDArray[np.int_]]) -> F32:
    """What a vmac adds up: each addend is rounded on the grid of the largest exponent, the exact sum to fp32.

    addends: (value, exponent). As in github.com/FIM43-Redeye/xdna-emu, bf16_pipeline.rs.
    """
    largest = np.max([np.where(value == 0, -1000, exponent) for value, exponent in addends], axis=0)
    grid = np.exp2(np.maximum(largest, -900) - 23.0)
    total: F32 = np.sum([np.rint(value / grid) * grid for value, _ in addends], axis=0).astype(np.float32)
    return total


def exponent(x: NDArray[Any]) -> NDArray[np.int_]:
    of_each: NDArray[np.int_] = np.frexp(x)[1].astype(int) - 1
    return of_each


def vmac(acc: F32, a: F32, b: F32, other: F32 | None = None) -> F32:
    """acc + a b + other, a and b on the bf16 grid."""
    sums = [acc] if other is None else [acc, other]
    addends = [(s.astype(np.float64), exponent(s)) for s in sums]
    return aligned_sum(*addends, (a.astype(np.float64) * b, exponent(a) + exponent(b)))


def pieces(x: F32) -> tuple[F32, F32, F32]:
    one = np.ones_like(x)
    first = on_grid(x, Rounding.NEAREST_EVEN)
    rest = vmac(x, -first, one)
    second = on_grid(rest, Rounding.NEAREST_EVEN)
    return first, second, on_grid(vmac(rest, -second, one), Rounding.NEAREST_EVEN)


def core_product(x: F32, y: F32, onto: F32 | None = None) -> F32:
    """onto + x y as Peano's mul_elem_16 and mac_elem_16 make it, "safe"."""
    x, y = np.broadcast_arrays(x, y)
    (a, b, c), (d, e, f) = pieces(x), pieces(y)
    acc = np.zeros_like(a)
    for left, right in ((c, f), (c, e), (b, f), (a, f), (b, e), (d, c), (b, d), (a, e)):
        acc = vmac(acc, left, right)
    return vmac(acc, a, d, None if onto is None else np.broadcast_to(onto, a.shape))


def core_add(x: F32, y: F32) -> F32:
    x, y = np.broadcast_arrays(x, y)
    return aligned_sum((x.astype(np.float64), exponent(x)), (y.astype(np.float64), exponent(y)))


def core_norm(op: Norm, x: F32, residual: F32, weight: F32, bias: F32) -> tuple[F32, F32]:
    """norm.cc, with a core's products and sums."""
    inverse = np.array([1 / op.N], np.float32)

    def total(vectors: F32, squares: bool) -> F32:
        acc = np.zeros((op.M, 4, 16), np.float32)
        for i in range(op.N // 64):
            part = vectors.reshape(op.M, -1, 4, 16)[:, i]
            acc = core_product(part, part, acc) if squares else core_add(acc, part)
        sums = core_add(core_add(acc[:, 0], acc[:, 1]), core_add(acc[:, 2], acc[:, 3]))
        while sums.shape[1] > 1:
            sums = core_add(*np.split(sums, 2, axis=1))
        return sums

    s = core_add(x, residual)
    deviations = core_add(s, -core_product(total(s, squares=False), inverse))
    variance = core_product(total(deviations, squares=True), inverse)
    root = core_root(core_add(variance, np.array([EPSILON], np.float32)))
    return s, core_product(core_product(deviations, root), weight, np.broadcast_to(bias, s.shape))


def core_root(v: F32) -> F32:
    y: F32 = (START - (v.view(np.int32) >> 1)).astype(np.int32).view(np.float32)
    half = core_product(v, np.array([0.5], np.float32))
    for _ in range(NEWTON_STEPS):
        y = core_product(y, core_product(-half, core_product(y, y), np.full_like(v, 1.5)))
    return y


def test_a_cores_product_is_as_near_as_the_kernel_says() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(1, 2, 200_000).astype(np.float32) for _ in range(2))
    x[:1000] = np.nextafter(np.float32(2), 0) - np.arange(1000, dtype=np.float32) * np.float32(2.0**-23)
    y[500:1500] = x[:1000]
    exact = x.astype(np.float64) * y
    error = np.abs(core_product(x, y) - exact) / exact
    assert 2.0**-24 < error.max() <= PRODUCT_ERROR


def test_the_inverse_root_is_as_near_as_the_kernel_says() -> None:
    v = np.geomspace(EPSILON, 1e6, 100_001).astype(np.float32)
    for root in (inverse_root, core_root):
        error = np.abs(root(v) * np.sqrt(v.astype(np.float64)) - 1)
        assert error.max() <= 16 * 2.0**-24


@pytest.mark.parametrize(("N", "offset", "spread"), [(128, 0, 1), (512, 0, 1), (384, 30, 1), (1280, 1, 1e-3)])
def test_the_tolerance_covers_a_cores_arithmetic(N: int, offset: float, spread: float) -> None:
    op = op_of(20, N)
    x, *others = operands(op, N)
    inputs = (x * np.float32(spread) + np.float32(offset), others[0] * np.float32(spread), *others[1:])
    assert_within_tolerance(op, inputs, core_norm(op, *inputs))


# ------------------------------------------------------------------------------------------------ the family


def test_the_registry_knows_the_family() -> None:
    assert NormOnRows(NPU1) in registry.kernels(NPU1)
    contract = registry.contract_named("norm_1504x512", NPU1)
    assert contract == GOLDEN == padded_norm(NPU1, op_of(1500, 512))
    assert contract is not None
    assert registry.contract_named("norm_1504", NPU1) is None
    document = contract.as_json()
    assert document == {"name": "norm_1504x512", "target": "npu1", "rows": 1504, "cols": 512}


def test_the_family_plans_with_a_contract_given() -> None:
    family = registry.family_of(GOLDEN)
    assert family.has_design(GOLDEN)
    plan = family.plan_with(GOLDEN, op_of(3000, 512))
    assert plan is not None
    assert plan.dispatches == 2
    for other in (op_of(1500, 384), Norm(1500, 512), Matmul(1504, 512, 512)):
        assert family.plan_with(GOLDEN, other) is None


def tool(path: Path, script: str) -> Path:
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit\n{script}\n', "utf-8")
    path.chmod(0o755)
    return path


def test_a_build_compiles_its_source_and_says_so_in_the_manifest(tmp_path: Path) -> None:
    """Tools that only write the files asked for: the object, or xclbin and instructions."""
    peano, kernels = tmp_path / "peano", tmp_path / "kernels"
    (peano / "bin").mkdir(parents=True)
    tool(peano / "bin" / "clang++", 'for file; do :; done; echo "$@" > "$file"')
    outputs = f'ls *.o && for file in xclbin insts.bin; do echo 1234567 > "{GOLDEN.name}.$file"; done'
    aiecc = tool(tmp_path / "aiecc", outputs)
    build([DesignSource.of(GOLDEN)], kernels, tools=Toolchain(aiecc, tmp_path, peano, xclbinutil=aiecc))

    manifest = json.loads((kernels / GOLDEN.name / "manifest.json").read_text("utf-8"))
    assert manifest["contract"] == GOLDEN.as_json()
    assert manifest["overlay"]["name"] == "norm"
    assert sorted(manifest["sources"]) == ["norm.cc", "norm_1504x512.mlir"]
    rows, parameters = 1504 * 512, 4 * 512
    assert [tuple(operand.values()) for operand in manifest["operands"]] == [
        ("X", rows, "f32", "in"),
        ("RESIDUAL", rows, "f32", "in"),
        ("PARAMETERS", parameters, "f32", "in"),
        ("SUM", rows, "f32", "out"),
        ("Y", rows, "f32", "out"),
    ]
    compile_line, link_line = manifest["commands"]
    assert {"-DDIM_ROWS=2", "-DDIM_CHUNK=128", "-DDIM_COLS=6528", str(NORM_CC.path)} <= {*compile_line}
    assert compile_line[-1] == NORM_CC.object_name(2, 128, 6528) == "norm_2x128x6528.o"
    assert link_line[0] == str(aiecc)
    assert built([kernels], NPU1) == (GOLDEN,)
    assert find_kernel(GOLDEN, [kernels]).contract == GOLDEN


@pytest.mark.parametrize(
    ("op", "matches"),
    [
        (op_of(1500, 512), True),
        (op_of(1, CHUNK), True),
        (Norm(1500, 512), False),  # without a residual
        (op_of(1500, 500), False),
        (op_of(1500, max_cols(NPU1) + CHUNK), False),
        (Matmul(1, 1, 1), False),
    ],
)
def test_it_matches_only_what_it_can_do(op: Norm | Matmul, matches: bool) -> None:
    assert KERNEL.matches(op) == matches
    if not matches:
        with pytest.raises(PlanError):
            KERNEL.plan(op)


@given(M=st.integers(1, 4000), N=st.sampled_from(N_STATES))
def test_a_plan_is_one_dispatch_whatever_the_size(M: int, N: int) -> None:
    plan = KERNEL.plan(op_of(M, N))
    assert plan.dispatches == plan.submissions == 1
    assert len(plan.walk()) == 1
    assert [layout.operand for layout in plan.layouts] == ["X", "RESIDUAL", "PARAMETERS", "SUM", "Y"]
    assert M <= plan.layouts[0].padded[0] < M + 16
    for layout, argument in zip(plan.layouts, plan.contract.arguments, strict=True):
        assert layout.nbytes == argument.nbytes


def test_where_only_some_sizes_are_built_rows_go_in_blocks() -> None:
    built = norm(NPU1, 512, 384), norm(NPU1, 1504, 384), norm(NPU1, 512, 512)
    (kernel,) = kernels_built([*built, *registry.contracts(NPU1)])
    assert isinstance(kernel, NormOnRows)
    assert kernel.plan(op_of(1500, 384)).contract == built[1]
    plan = kernel.plan(op_of(1500, 512))
    assert (plan.contract, plan.dispatches) == (built[2], 3)
    walk = plan.walk()
    assert walk.tiles[0].tolist() == walk.tiles[4].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert not walk.tiles[2].any()  # the parameters are the same for all
    assert not kernel.matches(op_of(1500, 768))


def test_a_known_answer_tells_wrong_from_right() -> None:
    contract = norm(NPU1, 16, 256)
    known = contract.known_answer(contract.trial_op, np.random.default_rng(0))
    plan = registry.family_of(contract).trial(contract)
    sums, y = contract.compute(*plan.turned(known.inputs))
    assert sums.all()
    assert not any(map(np.any, known.wrong((sums, y))))
    y[3, 7] = np.nan
    sums[0] += 1
    assert [wrong.sum() for wrong in known.wrong((sums, y))] == [256, 1]


@pytest.mark.parametrize("cols", [256, 512, 1280])
def test_a_known_answer_sees_what_is_computed_in_bf16(cols: int) -> None:
    contract = norm(NPU1, 16, cols)
    known = contract.known_answer(contract.trial_op, np.random.default_rng(0))
    x, residual, weight, bias = known.inputs
    s = x + residual
    deviations, scale = centred(s, contract.inverse)

    def bf16(values: F32) -> F32:
        return on_grid(values, Rounding.NEAREST_EVEN)

    for y in (
        bf16(affine(deviations * scale, weight, bias)),
        affine(bf16(deviations) * scale, weight, bias),
        affine(deviations * bf16(scale), weight, bias),
        affine(bf16(deviations * scale), bf16(weight), bias),
    ):
        assert known.wrong((s, y))[1].mean() > 0.5
    assert known.wrong((bf16(s), y))[0].mean() > 0.5


# ----------------------------------------------------------------------------------------------- the planner

# All as the profile's optimistic end has it, but for the host.
FAST_DRAM = replace(NPU1, profile=replace(NPU1.profile, cautious=NPU1.profile.optimistic))


def chosen(target: Target, M: int, N: int) -> bool:
    """Whether the planner takes `norm` between two products."""
    op = op_of(M, N)
    choice = choose([Matmul(M, N, N), op, Matmul(M, N, N)], registry.kernels(target))
    plan = choice.plan(op)
    assert plan is None or plan.contract.overlay == "norm"
    return plan is not None


@pytest.mark.parametrize("target", [NPU1, FAST_DRAM], ids=["middle", "optimistic"])
def test_the_norms_of_whisper_stay_on_the_host(target: Target) -> None:
    """Two changes of overlay cost more than all that a norm moves."""
    assert not any(chosen(target, 1500, N) for N in N_STATES)


def test_norm_is_taken_where_its_rows_pay_for_two_changes_of_overlay() -> None:
    M, N = 1500, 1024
    while not chosen(FAST_DRAM, M, N):
        M *= 2
    assert M > 1500
    profile = FAST_DRAM.profile

    def saved(rows: int) -> float:
        plan = NormOnRows(FAST_DRAM).plan(op_of(rows, N))
        switches = 2 * overlay_change(profile).middle
        return host_seconds(plan.op, profile) - switches - modelled_plan_seconds(plan, profile).middle

    assert saved(M) > 0 >= saved(M // 2)


def test_at_the_cautious_rate_the_host_moves_the_bytes_as_fast() -> None:
    cautious = replace(NPU1, profile=replace(NPU1.profile, optimistic=NPU1.profile.cautious))
    assert not chosen(cautious, 10**6, 512)
