"""The designs themselves: committed text, parameters, limits, traffic, and the products they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_npu.apps.cli.kernel_commands import core_functions
from whisper_npu.encoder import encoder_problems
from whisper_npu.kernels.build import array_part
from whisper_npu.kernels.designs import (
    DESIGNS,
    MLIR_FOLDER,
    Design,
    DesignParameterError,
    find_design,
    gemm_design,
    wide,
)
from whisper_npu.kernels.table import rows
from whisper_npu.kernels.verifier import DesignError, Functions, check_structure, execute, parse
from whisper_npu.kernels.verifier.core_functions import CoreFunctionError
from whisper_npu.kernels.verify import Verdict, WrongResultError, host_arguments, verify
from whisper_npu.npu.contract import (
    HEADS_OF_CONTEXT,
    HEADS_OF_CONTEXT_TRANSPOSED,
    HEADS_OF_SCORES,
    MATMUL_64X64,
    MATMUL_64X512,
    MATMUL_64X512_BF16,
    Contract,
    DType,
    HeadsAlong,
    gemm,
    gemm_of_heads,
    matmul_64x64_batch,
    matmul_64x512_k,
)
from whisper_npu.npu.cost import gemm_tiles, padded_gemm
from whisper_npu.npu.device import Fidelity
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.matmul import Matmul
from whisper_npu.npu.plan import Problem
from whisper_npu.npu.planner import Gemm, choose
from whisper_npu.npu.targets.npu1 import XDNA1
from whisper_npu.released import released_dimensions

by_name = pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)

SMALL = [
    "matmul_64x64",
    "matmul_64x64_bf16",
    "matmul_64x64_batch16",
    "matmul_64x512",
    "matmul_128x512",
    "matmul_128x512_bf16",
    "matmul_64x512_k512",
]


def functions_of(design: Design) -> Functions:
    return core_functions(parse(design.text), "auto")[0]


@lru_cache
def verdict_of(design: Design) -> Verdict:
    """Of every design once: the largest take seconds."""
    return verify(design.contract, design.text, functions_of(design))


@by_name
def test_the_committed_text_is_what_the_generator_prints(design: Design) -> None:
    assert (MLIR_FOLDER / f"{design.name}.mlir").read_text(encoding="utf-8") == design.text


def test_nothing_else_is_committed() -> None:
    assert {path.stem for path in MLIR_FOLDER.glob("*")} == {design.name for design in DESIGNS}


@by_name
def test_every_design_is_within_limits_and_computes_its_contract(design: Design) -> None:
    verdict = verdict_of(design)
    assert 0 < verdict.tolerance_used <= 1
    assert verdict.usage.l1_highest <= XDNA1.core.memory_bytes
    assert verdict.usage.memtile_highest <= XDNA1.memtile.memory_bytes


@by_name
def test_the_contract_knows_what_the_design_moves_and_multiplies(design: Design) -> None:
    """The cost model charges by the contract; here the design's own traffic and calls confirm it."""
    contract = design.contract
    execution = verdict_of(design).execution
    assert execution.dram_bytes == contract.bytes_to_device + contract.bytes_from_device
    m, k, n = contract.core_tile or (0, 0, 0)
    products = [
        count
        for calls in execution.calls.values()
        for call, count in calls.items()
        if call.function.startswith("matmul")
    ]
    assert sum(products) * m * k * n == contract.macs
    assert len(products) == contract.cores
    assert max(products) == min(products)  # every core works, and all work alike


def test_the_list_says_what_the_verifier_counts_in_each_text() -> None:
    """The list reads one text of an overlay and executes none; here every design is executed."""
    for design, row in zip(DESIGNS, rows(DESIGNS), strict=True):
        verdict = verdict_of(design)
        assert row.contract == design.contract
        assert row.usage == verdict.usage
        assert row.compute_cycles == max(verdict.cycles.compute.values())
        assert row.dram_cycles == verdict.cycles.dram


@pytest.mark.parametrize("name", SMALL)
def test_numpy_core_functions_give_the_same_product(name: str) -> None:
    design = find_design(name)
    verify(design.contract, design.text, core_functions(parse(design.text), "numpy")[0])


@pytest.mark.parametrize(
    ("M", "K", "N"), [(256, 64, 256), (512, 128, 256), (256, 192, 768), (768, 320, 512), (256, 4160, 256)]
)
def test_gemm_computes_shapes_that_nobody_built_it_for(M: int, K: int, N: int) -> None:
    design = gemm_design(gemm(M, K, N, (64, 64, 64)))
    verify(design.contract, design.text, functions_of(design))


tiles = st.tuples(st.sampled_from([16, 32, 48]), st.sampled_from([8, 16, 24]), st.sampled_from([16, 32, 48]))


@settings(max_examples=25)
@given(
    heads=st.integers(1, 5),
    M=st.integers(1, 400),
    K=st.integers(1, 60),
    N=st.integers(1, 400),
    tile=tiles,
    lying=st.sampled_from([HEADS_OF_SCORES, HEADS_OF_CONTEXT, HEADS_OF_CONTEXT_TRANSPOSED]),
)
def test_gemm_computes_any_heads_and_sizes_however_they_lie(
    heads: int, M: int, K: int, N: int, tile: tuple[int, int, int], lying: HeadsAlong
) -> None:
    one = padded_gemm(Problem(M, K, N), tile)
    contract = gemm_of_heads(heads, one.m, one.k, one.n, lying, tile) if heads > 1 else one
    design = gemm_design(contract)
    verify(contract, design.text, core_functions(parse(design.text), "numpy")[0])


@pytest.mark.parametrize("heads", [1, 3])
def test_more_rounds_than_a_repeat_count_holds_go_in_parts(heads: int) -> None:
    for problem in (Problem(65 * 64, 8, 2 * 64, heads), Problem(2 * 64, 8, 65 * 64, heads)):
        contract = padded_gemm(problem, (16, 8, 16))
        design = gemm_design(contract)
        verify(contract, design.text, core_functions(parse(design.text), "numpy")[0])


@pytest.mark.parametrize(("K", "N"), [(64, 512), (192, 1024), (4096, 512), (5120, 512)])
def test_the_wide_design_computes_other_depths_and_widths(K: int, N: int) -> None:
    """Beyond K = 4096 a column's B comes in parts: no repeat count is above 64."""
    design = Design(matmul_64x512_k(K, N), wide)
    verify(design.contract, design.text, functions_of(design))


def test_one_xclbin_serves_every_gemm() -> None:
    """M, K, N and heads stand in the runtime sequence alone: the rest is the same text, byte for byte."""
    arrays: dict[str, set[str]] = {}
    for design in DESIGNS:
        arrays.setdefault(design.contract.overlay, set()).add(array_part(design.text))
    assert all(len(parts) == 1 for parts in arrays.values())
    assert sum(design.contract.overlay == "gemm_96x64x48" for design in DESIGNS) > 20
    others = [
        gemm_design(gemm(256, 64, 256, tile)).text for tile in ((64, 64, 64), (32, 64, 64), (64, 64, 32))
    ]
    assert len({array_part(text) for text in others} | arrays["gemm_96x64x48"]) == 4


@pytest.mark.parametrize("model", ["medium", "large-v3"])
def test_what_is_not_committed_is_within_limits_too(model: str) -> None:
    choice = choose(encoder_problems(released_dimensions(model)), [Gemm(tile) for tile in gemm_tiles()])
    for contract in choice.contracts.values():
        text = gemm_design(contract).text
        assert check_structure(parse(text)).l1_highest <= XDNA1.core.memory_bytes
        assert len(text) < 300_000


def test_steps_longer_than_a_descriptor_holds_are_refused() -> None:
    with pytest.raises(DesignParameterError, match="would step over more than 1,048,576 words"):
        _ = gemm_design(gemm(640, 64, 12800, (160, 64, 16))).text


@pytest.mark.parametrize("name", SMALL)
def test_verifier_and_exact_emulator_agree(name: str) -> None:
    """Bit for bit where every sum is exact; on random data to the last fp32 summation order."""
    design = find_design(name)
    contract, functions = design.contract, functions_of(design)
    rng = np.random.default_rng(0)
    shapes = (contract.batch, contract.m, contract.k), (contract.batch, contract.k, contract.n)
    matmul = Matmul(Emulator(Fidelity.EXACT), contract)
    for integers in (True, False):
        draw: Callable[..., np.ndarray] = (
            (lambda size: rng.integers(-1, 2, size)) if integers else (lambda size: rng.standard_normal(size))
        )
        a, b = (draw(size=shape).astype(np.float32) for shape in shapes)
        arguments = host_arguments(contract, a, b)
        execute(parse(design.text), arguments, functions)
        c = arguments[-1].astype(np.float32).reshape(contract.batch, contract.m, contract.n)
        for number in range(contract.batch):
            emulated = matmul(a[number], b[number], "test")
            if integers:
                assert np.array_equal(c[number], emulated)
                continue
            magnitude = np.abs(a[number]).astype(np.float64) @ np.abs(b[number])
            bound = contract.k * 2.0**-24 * magnitude
            if contract.result_dtype is DType.BF16:  # such a difference may tip the rounding over
                bound += 2.0**-7 * magnitude
            assert (np.abs(c[number] - emulated) <= bound).all()


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (replace(MATMUL_64X512, core_tile=None), "names no tile"),
        (replace(MATMUL_64X64, m=100, core_tile=(100, 64, 64)), "tile m = 100 must be a multiple of 16"),
        (replace(MATMUL_64X64, k=4, core_tile=(64, 4, 64)), "tile k = 4 must be a multiple of 8"),
        (
            replace(MATMUL_64X64, m=128, n=128, core_tile=(128, 64, 128)),
            r"a core would hold 134,400 bytes of 65,536",
        ),
        (replace(MATMUL_64X512, operand_dtype=DType.F32), "designs take bf16"),
        (replace(MATMUL_64X512_BF16, k=128), "bf16 C takes K = 128 in one step, the tile has k = 64"),
        (replace(MATMUL_64X512, cores=8), "8 cores; designs take 1 or 16"),
        (matmul_64x64_batch(24), "a batch of 24 must be a multiple of 16"),
        (matmul_64x512_k(100), "K = 100 must be a multiple of 64"),
        (gemm(1500, 512, 576), "M = 1500 must be a multiple of 384"),
        (gemm(1536, 512, 512), "N = 512 must be a multiple of 192"),
    ],
)
def test_what_the_array_cannot_hold_is_refused_before_a_line_is_printed(
    contract: Contract, message: str
) -> None:
    def never(contract: Contract) -> str:
        raise AssertionError("printed")

    with pytest.raises(DesignParameterError, match=message):
        _ = Design(contract, never).text


def test_a_64x512_dispatch_does_not_fit_one_core() -> None:
    assert replace(MATMUL_64X512, cores=1, core_tile=(64, 64, 512)).l1_bytes > 2 * XDNA1.core.memory_bytes


# Each mutation of a right design's text, and what the verifier must say of it.
BROKEN = {
    "over-full L1": (
        "matmul_64x64",
        lambda t: t.replace("@C_L1L2(%t0_2, {%t0_1}, 1 : i32)", "@C_L1L2(%t0_2, {%t0_1}, 2 : i32)"),
        r"L1|core memory|65,?536",
    ),
    "third input channel": (
        "matmul_64x512",
        lambda t: t.replace(
            "    aie.objectfifo @B_L3L2_1(",
            "    aie.objectfifo @D(%t1_0, {%t1_2}, 1 : i32) : !aie.objectfifo<memref<16xbf16>>\n"
            "    aie.objectfifo @B_L3L2_1(",
        ),
        r"core \(1,2\).*3 .*channel",
    ),
    "a transfer one row short": (
        "matmul_64x512",
        lambda t: t.replace("%A[0, 0, 0, 0][1, 1, 64, 64]", "%A[0, 0, 0, 0][1, 1, 63, 64]"),
        r"A_L3L2",
    ),
    "swapped strides": (
        "matmul_64x512",
        lambda t: t.replace(
            "<size = 8, stride = 256>, <size = 8, stride = 4>, <size = 8, stride = 32>",
            "<size = 8, stride = 4>, <size = 8, stride = 256>, <size = 8, stride = 32>",
        ),
        r"out of tolerance",
    ),
    "swapped k and n": (
        "matmul_64x512",
        lambda t: t.replace("memref<64x32xbf16>", "memref<32x64xbf16>"),
        r"32x64|64x32",
    ),
    "missing release": (
        "matmul_64x512",
        lambda t: t.replace("          aie.objectfifo.release @A_L2L1(Consume, 1)\n", "", 1),
        r"A_L2L1",
    ),
    "too few tiles of A": (
        "matmul_64x512_k512",
        lambda t: t.replace("%A[0, 0, 0, 0][1, 8, 64, 64]", "%A[0, 0, 0, 0][1, 7, 64, 64]"),
        r"A_L",
    ),
    "too many tiles of A": (
        "matmul_64x512_k512",
        lambda t: t.replace(" = arith.constant 8 : index", " = arith.constant 7 : index"),
        r"A_L|B_L",
    ),
    "unknown fifo": (
        "matmul_64x512",
        lambda t: t.replace("metadata = @B_L3L2_3", "metadata = @B_L3L2_9"),
        r"B_L3L2_9",
    ),
    "C not zeroed": (
        "matmul_64x512",
        lambda t: t.replace("        func.call @zero_f32(%tile0) : (memref<64x32xf32>) -> ()\n", "", 1),
        r"never written|C_L1L2",
    ),
    "steps read too early": (
        "gemm_96x64x48_1536x384x384",
        lambda t: t.replace(
            "      scf.for %round = %c0 to %forever step %c1 {\n",
            "      scf.for %round = %c0 to %forever step %c1 {\n"
            "        %early = memref.load %steps_0_0[%c0] : memref<1xi32>\n",
            1,
        ),
        r"acquire",
    ),
    "runtime loop without dynamic lowering": (
        "gemm_96x64x48_1536x384x384",
        lambda t: t.replace("dynamic_objfifo_lowering = true, ", ""),
        r"dynamic_objfifo_lowering",
    ),
    "rows of another head": (
        "matmul_64x512",
        lambda t: t.replace("%C[0, 0, 0, 128]", "%C[0, 0, 0, 0]"),
        r"out of tolerance",
    ),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda name: name.replace(" ", "-"))
def test_a_broken_design_is_caught(broken: str) -> None:
    name, breaks, message = BROKEN[broken]
    design = find_design(name)
    text = breaks(design.text)
    assert text != design.text
    with pytest.raises((DesignError, WrongResultError, CoreFunctionError), match=message):
        verify(design.contract, text, core_functions(parse(text), "auto")[0])


def test_check_structure_alone_catches_what_needs_no_execution() -> None:
    name, breaks, message = BROKEN["over-full L1"]
    with pytest.raises(DesignError, match=message):
        check_structure(parse(breaks(find_design(name).text)))
