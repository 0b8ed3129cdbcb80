"""The designs themselves: committed texts, parameters, limits, traffic, and the products they compute."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.coverage import times_moved
from tests.support.toy_target import TOY
from whisper_npu.apps.cli.kernel_commands import core_functions, designs, find_design
from whisper_npu.dtypes import DType
from whisper_npu.encoder import encoder_ops
from whisper_npu.host.bf16 import on_grid
from whisper_npu.kernels import goldens, registry
from whisper_npu.kernels.build import array_part
from whisper_npu.kernels.gemm.design import dram_movement
from whisper_npu.kernels.gemm.family import goldens as gemm_goldens
from whisper_npu.kernels.gemm.kernel import (
    HEADS,
    Gemm,
    gemm,
    gemm_of_batch,
    gemm_tiles,
    padded_gemm,
)
from whisper_npu.kernels.layer.kernel import LayerContract
from whisper_npu.kernels.matmul.kernel import (
    MatmulContract,
    in_bf16,
    matmul_64x64,
    matmul_64x64_baseline,
    matmul_64x64_batch,
    matmul_64x512,
    matmul_64x512_k,
)
from whisper_npu.kernels.mlir import DesignParameterError, Text
from whisper_npu.kernels.norm.kernel import NormContract
from whisper_npu.kernels.registry import design
from whisper_npu.kernels.shim import task_count
from whisper_npu.kernels.table import figures
from whisper_npu.kernels.verifier import DesignError, Usage, check_structure, execute, parse
from whisper_npu.kernels.verifier.core_functions import CoreFunctionError
from whisper_npu.kernels.verifier.design import Memcpy, WriteParameter
from whisper_npu.kernels.verify import (
    Verdict,
    WrongResultError,
    host_arguments,
    random_inputs,
    results,
    verify,
)
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import BASELINE
from whisper_npu.npu.planner import choose
from whisper_npu.npu.targets import NPU1, Target
from whisper_npu.ops import Matmul
from whisper_npu.released import released_dimensions

# One of each size; turbo and the distilled models have the encoder of their teacher.
MODELS = ("tiny", "base", "small", "medium", "large-v2", "large-v3")


def whisper_designs(model: str) -> tuple[Contract, ...]:
    """What the planner chooses for a model's products where every kernel for them can be had.

    Designs of whole layers have tests of their own (test_layer_design.py).
    """
    gemms = [Gemm(NPU1, tile) for tile in gemm_tiles(NPU1)]
    kernels = [kernel for kernel in registry.kernels(NPU1) if not kernel.makes_whole]
    others = [kernel for kernel in kernels if not kernel.matches(BASELINE.problem)]
    return tuple(choose(encoder_ops(released_dimensions(model)), [*gemms, *others]).contracts)


DESIGNS = designs()
GOLDENS = [contract for family in registry.FAMILIES for contract in family.goldens(NPU1)]

OF_MODEL = {model: whisper_designs(model) for model in MODELS}
EVERY = tuple(dict.fromkeys([*DESIGNS, *(contract for chosen in OF_MODEL.values() for contract in chosen)]))


BASE_BUT_FOR_BATCHES = [
    contract
    for contract in OF_MODEL["base"]
    if not isinstance(contract, MatmulContract) or contract.products == 1
]


def executed() -> list[Contract]:
    """Kernels of fixed sizes, norms, tiny, base but for its batches, the least of large, each overlay once.

    The rest differ from them in their sequences alone: which elements those move, and how often, is read from
    their texts. Base's batches are tiny's with eight heads for six.
    """
    needed = {
        *OF_MODEL["tiny"],
        *BASE_BUT_FOR_BATCHES,
        *registry.contracts(NPU1),
        padded_gemm(NPU1, BASELINE.problem),
    }
    found = [contract for contract in DESIGNS if contract in needed or not contract.macs]
    found.append(min(OF_MODEL["large-v3"], key=lambda contract: contract.macs))
    known = {contract.overlay for contract in found}
    for contract in EVERY:
        if contract.overlay not in known:
            assert isinstance(contract, MatmulContract)
            assert contract.core_tile is not None
            m, k, n = contract.core_tile
            known.add(contract.overlay)
            found.append(gemm_of_batch(NPU1, 2, 8 * m, 3 * k, 8 * n, contract.core_tile))
    return found


EXECUTED = executed()

each_executed = pytest.mark.parametrize("contract", EXECUTED, ids=lambda contract: contract.name)
each = pytest.mark.parametrize("contract", EVERY, ids=lambda contract: contract.name)

SMALL = [
    "matmul_64x64",
    "matmul_64x64_bf16",
    "matmul_64x64_batch16",
    "matmul_64x512",
    "matmul_128x512",
    "matmul_128x512_bf16",
    "matmul_64x512_k512",
]


def verified(contract: Contract, functions: str = "auto") -> Verdict:
    text = design(contract)
    return verify(contract, text, core_functions(contract, text, functions)[0])


@lru_cache
def verdict_of(contract: Contract) -> Verdict:
    """Each design is verified once: the largest take seconds."""
    return verified(contract)


def test_the_committed_texts_are_what_the_generators_print() -> None:
    """And nothing else is committed: each file is held to its generator, byte for byte."""
    texts = goldens.goldens()
    assert {path: path.read_text(encoding="utf-8") for path in texts} == texts
    folder = Path(registry.__file__).parent
    assert set(texts) == {folder / path.relative_to(folder) for path in folder.rglob("*.mlir")}
    assert all(text.startswith(f"// Generated by {goldens.COMMAND}") for text in texts.values())


def test_another_core_tile_has_goldens_too() -> None:
    """kernels/README.md: who sets GEMM_TILE writes the goldens anew."""
    for tile in ((64, 32, 96), (32, 64, 16)):
        for contract in gemm_goldens(NPU1, tile):
            assert contract.name.startswith(f"gemm_{'x'.join(map(str, tile))}_")
            check_structure(parse(design(contract)), NPU1)


def test_goldens_that_no_family_has_any_more_are_removed(tmp_path: Path) -> None:
    text = goldens.MARK + "module {}\n"
    (tmp_path / "old.mlir").write_text(text)
    (tmp_path / "mine.mlir").write_text("module {}\n")
    goldens.write({tmp_path / "new.mlir": text})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.mlir", "new.mlir"]


@pytest.mark.parametrize("contract", GOLDENS, ids=lambda contract: contract.name)
def test_what_is_committed_is_verified(contract: Contract) -> None:
    assert 0 < verdict_of(contract).tolerance_used <= 1


@lru_cache
def usage_of(contract: Contract) -> Usage:
    return check_structure(parse(design(contract)), contract.target)


@each
def test_every_design_is_within_limits_and_moves_what_its_contract_says(contract: Contract) -> None:
    """Of every released size: each result is written once, element by element; no operand is left out."""
    text = design(contract)
    usage, parsed = usage_of(contract), parse(text)
    assert usage.l1_highest <= NPU1.core.memory_bytes
    assert usage.memtile_highest <= NPU1.memtile.memory_bytes
    assert len(text) < 100_000
    moved = times_moved(parsed)
    arguments = [argument.name for argument in contract.arguments]
    assert list(moved) == arguments
    for name in arguments[-contract.results :]:
        assert moved[name].min() == moved[name].max() == 1
    for name in arguments[: -contract.results]:
        assert 1 <= moved[name].min() == moved[name].max()
    nbytes = {argument.name: argument.dtype.nbytes for argument in contract.arguments}
    traffic = sum(int(counts.sum(dtype=np.int64)) * nbytes[name] for name, counts in moved.items())
    assert traffic == contract.bytes_to_device + contract.bytes_from_device


def test_which_designs_are_executed() -> None:
    """Every overlay, tiny, and base but for its batches: a design added to them is executed as well."""
    assert {contract.overlay for contract in EXECUTED} == {contract.overlay for contract in EVERY}
    assert {*OF_MODEL["tiny"], *BASE_BUT_FOR_BATCHES} <= set(EXECUTED)
    assert len(OF_MODEL["base"]) == len(BASE_BUT_FOR_BATCHES) + 2
    assert {*OF_MODEL["large-v3"]}.intersection(EXECUTED)
    assert set(GOLDENS) - set(EXECUTED) <= {contract for contract in GOLDENS if contract not in EVERY}


@each_executed
def test_a_design_computes_its_contract(contract: Contract) -> None:
    """One dispatch suffices: it leaves the array as it found it."""
    verdict = verdict_of(contract)
    assert 0 < verdict.tolerance_used <= 1
    assert verdict.dispatches == (2 if isinstance(contract, NormContract) else 1)


@pytest.mark.parametrize("name", [*SMALL, "gemm_96x64x48_384x128x192", "norm_48x384"])
def test_dispatches_in_a_row_compute_their_own_operands(name: str) -> None:
    contract = find_design(name)
    text = design(contract)
    verdict = verify(contract, text, core_functions(contract, text, "auto")[0], least_dispatches=3)
    assert verdict.dispatches == 3
    assert 0 < verdict.tolerance_used <= 1


@each_executed
def test_the_contract_knows_what_the_design_moves_and_multiplies(contract: Contract) -> None:
    """The cost model charges by the contract; here the design's own traffic and calls confirm it."""
    execution = verdict_of(contract).execution
    assert execution.dram_bytes == contract.bytes_to_device + contract.bytes_from_device
    macs = [sum(call.macs * count for call, count in calls.items()) for calls in execution.calls.values()]
    assert sum(macs) == contract.macs
    assert len(macs) == contract.cores
    assert max(macs) == min(macs)  # every core works, and all work alike


def test_the_list_says_what_the_verifier_counts_in_each_text() -> None:
    """The list reads one text of an overlay and executes none."""
    for contract, row in zip(DESIGNS, figures(DESIGNS), strict=True):
        assert row.contract == contract
        assert row.usage == usage_of(contract)
        low, high = row.core_cycles
        assert 0 < low < high  # of a norm too, which multiplies no matrices
        if contract in EXECUTED:
            assert low >= max(verdict_of(contract).cycles.compute.values())


# Those of several phases are counted phase by phase in test_layer_design.py.
OF_ONE_PHASE = {c.name: c for c in (*DESIGNS, *GOLDENS) if not isinstance(c, LayerContract)}


@pytest.mark.parametrize("contract", OF_ONE_PHASE.values(), ids=lambda c: c.name)
def test_the_contract_knows_how_the_design_moves_it(contract: Contract) -> None:
    """What the cost model charges for: tasks, numbers written, and the busiest channels of the shims."""
    sequence = parse(design(contract)).sequence
    assert contract.tasks == sum(isinstance(op, Memcpy) for op in sequence.ops)
    assert contract.writes == sum(isinstance(op, WriteParameter) for op in sequence.ops)
    sizes = {argument.name: argument.dtype.nbytes for argument in contract.arguments}
    results = {argument.name for argument in contract.arguments[-contract.results :]}
    moved: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for op in sequence.ops:
        if isinstance(op, Memcpy):
            moved[op.argument in results][op.fifo] += op.elements * sizes[op.argument]
    assert contract.stream_bytes == tuple(max(moved[written].values()) for written in (False, True))


@given(
    sizes=st.tuples(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 5000)),
    batch=st.sampled_from([1, 2, 5]),
    tile=st.sampled_from([(96, 64, 48), (16, 64, 16), (128, 64, 16)]),
    target=st.sampled_from([NPU1, TOY]),
)
def test_a_gemm_of_any_sizes_knows_its_tasks(
    sizes: tuple[int, int, int], batch: int, tile: tuple[int, int, int], target: Target
) -> None:
    contract = padded_gemm(target, Matmul(*sizes, batch), tile)
    try:
        movement = dram_movement(contract)
    except DesignParameterError:
        return  # no design, whatever the model says of it
    assert contract.tasks == task_count(*movement)


@pytest.mark.parametrize("name", SMALL)
def test_numpy_core_functions_give_the_same_product(name: str) -> None:
    verified(find_design(name), "numpy")


@pytest.mark.parametrize(
    ("M", "K", "N"), [(256, 64, 256), (512, 128, 256), (256, 192, 768), (768, 320, 512), (256, 4160, 256)]
)
def test_gemm_computes_shapes_that_nobody_built_it_for(M: int, K: int, N: int) -> None:
    verified(gemm(NPU1, M, K, N, (64, 64, 64)))


# Each size the least, the middle and the largest once: a tile is compiled.
tiles = st.sampled_from([(16, 16, 48), (32, 8, 16), (48, 24, 32)])


@settings(max_examples=25)
@given(
    batch=st.integers(1, 4),
    M=st.integers(1, 300),
    K=st.integers(1, 60),
    N=st.integers(1, 300),
    tile=tiles,
)
def test_gemm_computes_any_batch_and_sizes(
    batch: int, M: int, K: int, N: int, tile: tuple[int, int, int]
) -> None:
    one = padded_gemm(NPU1, Matmul(M, K, N), tile)
    contract = gemm_of_batch(NPU1, batch, one.m, one.k, one.n, tile) if batch > 1 else one
    verified(contract)


@pytest.mark.parametrize("batch", [1, 3])
def test_more_rounds_than_a_repeat_count_holds_go_in_parts(batch: int) -> None:
    for op in (Matmul(65 * 64, 8, 2 * 64, batch), Matmul(2 * 64, 8, 65 * 64, batch)):
        verified(padded_gemm(NPU1, op, (16, 8, 16)))


@pytest.mark.parametrize(("K", "N"), [(64, 512), (192, 1024), (4096, 512), (5120, 512)])
def test_the_wide_design_computes_other_depths_and_widths(K: int, N: int) -> None:
    """Beyond K = 4096 a column's B comes in parts: no repeat count is above 64."""
    verified(matmul_64x512_k(NPU1, K, N))


def test_one_xclbin_serves_every_gemm() -> None:
    """M, K, N and the batch stand in the runtime sequence alone: the rest is the same text, byte for byte."""
    arrays: dict[str, set[str]] = {}
    for contract in DESIGNS:
        arrays.setdefault(contract.overlay, set()).add(array_part(design(contract)))
    assert all(len(parts) == 1 for parts in arrays.values())
    assert sum(contract.overlay == "gemm_96x64x48" for contract in DESIGNS) > 20
    others = [design(gemm(NPU1, 256, 64, 256, tile)) for tile in ((64, 64, 64), (32, 64, 64), (64, 64, 32))]
    assert len({array_part(text) for text in others} | arrays["gemm_96x64x48"]) == 4


def test_steps_longer_than_a_descriptor_holds_are_refused() -> None:
    too_wide = r"rows of B lie 1,056,768 words apart, a shim steps over at most 1,048,576"
    with pytest.raises(DesignParameterError, match=too_wide):
        design(gemm(NPU1, 256, 17 * 64, 129 * 256, (64, 64, 64)))


@pytest.mark.parametrize("name", SMALL)
def test_verifier_and_contract_agree(name: str) -> None:
    """Bit for bit: the C++ on the verifier's AIE API, moved about by the text, adds as the contract says."""
    contract = find_design(name)
    assert isinstance(contract, MatmulContract)
    text = design(contract)
    functions, _ = core_functions(contract, text, "auto")
    plan = registry.family_of(contract).dispatch(contract)
    inputs = random_inputs(plan, np.random.default_rng(0))
    arguments = host_arguments(plan, inputs)
    execute(parse(text), arguments, functions, NPU1)
    (c,) = results(plan, arguments)
    operands = (on_grid(x, contract.operand_rounding) for x in inputs)
    a, b = (x.reshape(contract.batch, *x.shape[-2:]) for x in operands)
    computed = np.concatenate([contract.compute(*product)[0] for product in zip(a, b, strict=True)])
    assert np.array_equal(c.astype(np.float32).reshape(computed.shape), computed)


# --------------------------------------------------------------------------------------- another target

# On two columns of three cores, with micro-tiles of 8,4,2. L1 has 40 KiB.
TOY_TILE = (32, 12, 24)


def on_toy(m: int, k: int, n: int, **others: object) -> MatmulContract:
    whole = MatmulContract("toy", TOY, m, k, n, core_count=6, core_tile=TOY_TILE)
    return replace(whole, **others)  # type: ignore[arg-type]


TOY_DESIGNS = {
    "one core": on_toy(32, 12, 24, core_count=1),
    "one core in bf16": on_toy(32, 12, 24, core_count=1, result_dtype=DType.BF16),
    "wide": on_toy(32, 12, 6 * 24, block=(32, 6 * 24)),
    "wide in bf16": on_toy(32, 12, 6 * 24, result_dtype=DType.BF16),
    "wide, two rounds": on_toy(32, 36, 2 * 6 * 24, block=(32, 6 * 24)),
    "wide, K in parts of five": on_toy(32, 11 * 12, 6 * 24, block=(32, 6 * 24)),
    "wide, more parts of B than a queue holds": on_toy(32, 17 * 12, 2 * 6 * 24, block=(32, 6 * 24)),
    "pairs": on_toy(32, 12, 24, products=18),
    "gemm": gemm(TOY, 96, 12, 48, TOY_TILE),
    "gemm, rounds below one another": gemm(TOY, 7 * 96, 24, 2 * 48, TOY_TILE),
    "gemm, rounds beside one another": gemm(TOY, 2 * 96, 36, 6 * 48, TOY_TILE),
    "gemm, more rounds each way than a queue holds": gemm(TOY, 4 * 96, 24, 6 * 48, TOY_TILE),
    "scores": gemm_of_batch(TOY, 3, 96, 12, 2 * 48, TOY_TILE),
    "context": gemm_of_batch(TOY, 2, 2 * 96, 24, 48, TOY_TILE),
    "context transposed": gemm_of_batch(TOY, 2, 96, 24, 3 * 48, TOY_TILE),
}


@pytest.mark.parametrize("functions", ["auto", "numpy"])
@pytest.mark.parametrize("name", TOY_DESIGNS)
def test_another_target_takes_the_same_designs(name: str, functions: str) -> None:
    contract = TOY_DESIGNS[name]
    execution = verified(contract, functions).execution
    assert execution.dram_bytes == contract.bytes_to_device + contract.bytes_from_device
    macs = [sum(call.macs * count for call, count in calls.items()) for calls in execution.calls.values()]
    assert set(macs) == {contract.macs // contract.cores}
    text = design(contract)
    assert ("aie.device(toy_1col)" if contract.cores == 1 else "aie.device(toy)") in text
    with pytest.raises(DesignError, match="the device is toy"):
        check_structure(parse(text), NPU1)


def test_another_target_has_other_limits() -> None:
    with pytest.raises(DesignParameterError, match="tile m = 16 must be a multiple of 32"):
        design(replace(TOY_DESIGNS["wide"], m=16, core_tile=(16, 12, 24)))
    with pytest.raises(DesignParameterError, match=r"would hold [\d,]+ bytes of 40,448"):
        design(replace(TOY_DESIGNS["one core"], m=96, n=96, core_tile=(96, 12, 96)))
    with pytest.raises(DesignParameterError, match="a batch of 16 must be a multiple of 6"):
        design(replace(TOY_DESIGNS["pairs"], products=16))
    with pytest.raises(DesignParameterError, match=r"rows of B lie 57,600 words apart.* at most 32,768"):
        design(gemm(TOY, 96, 171 * 12, 48 * 200, TOY_TILE))


# ------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (replace(matmul_64x512(NPU1), core_tile=None), "names no tile"),
        (
            replace(matmul_64x64(NPU1), m=100, core_tile=(100, 64, 64)),
            "tile m = 100 must be a multiple of 16",
        ),
        (replace(matmul_64x64(NPU1), k=4, core_tile=(64, 4, 64)), "tile k = 4 must be a multiple of 8"),
        (
            replace(matmul_64x64(NPU1), m=128, n=128, core_tile=(128, 64, 128)),
            r"a core would hold 134,400 bytes of 64,512",
        ),
        (replace(matmul_64x512(NPU1), operand_dtype=DType.F32), "designs take bf16"),
        (
            replace(in_bf16(matmul_64x512(NPU1)), k=128),
            "bf16 C takes K = 128 in one step, the tile has k = 64",
        ),
        (replace(matmul_64x512(NPU1), core_count=8), "8 cores; designs take 1 or 16"),
        (matmul_64x64_batch(NPU1, 24), "a batch of 24 must be a multiple of 16"),
        (matmul_64x512_k(NPU1, 100), "K = 100 must be a multiple of 64"),
        (replace(matmul_64x512(NPU1), m=128), "M = 128 must be the tile's 64"),
        (replace(matmul_64x64(NPU1), k=128), "K = 128 must be the tile's 64"),
        (replace(matmul_64x64_batch(NPU1, 16), core_count=1), "must be a multiple of 16, one per core"),
        (replace(matmul_64x512(NPU1), products=2, batch_layout=HEADS), "only a gemm takes"),
        (matmul_64x64_baseline(NPU1), "has no design"),
        (gemm(NPU1, 384, 64, 192, result_dtype=DType.BF16), "must be f32"),
        (gemm(NPU1, 1500, 512, 576), "M = 1500 must be a multiple of 384"),
        (gemm(NPU1, 1536, 512, 512), "N = 512 must be a multiple of 192"),
    ],
)
def test_what_the_array_cannot_hold_is_refused_before_a_line_is_printed(
    contract: Contract, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(text: Text, line: str) -> None:
        raise AssertionError(f"printed {line}")

    monkeypatch.setattr(Text, "line", never)
    with pytest.raises(DesignParameterError, match=message):
        design(contract)


def test_a_64x512_dispatch_does_not_fit_one_core() -> None:
    assert (
        replace(matmul_64x512(NPU1), core_count=1, core_tile=(64, 64, 512)).l1_bytes
        > 2 * NPU1.core.memory_bytes
    )


FOREVER = "%forever = arith.constant 4294967295"


def eight_tasks_at_once(text: str) -> str:
    """A in eight tasks of one step each; nobody waits for one."""
    whole = next(line for line in text.splitlines() if "metadata = @A_L3L2" in line)
    one = whole.replace("[1, 8, 64, 64]", "[1, 1, 64, 64]").replace("[8, 1, 64, 64]", "[1, 1, 64, 64]")
    tasks = [
        one.replace("%A[0, 0, 0, 0]", f"%A[0, 0, 0, {64 * step}]").replace(
            "id = 0", f"id = {(12 + step) % 16}"
        )
        for step in range(8)
    ]
    return text.replace(whole, "\n".join(tasks))


# Each mutation of a right design's text, and what the verifier must say of it.
BROKEN = {
    "a core that ends after 2 rounds": (
        "matmul_64x512",
        lambda t: t.replace(FOREVER, "%forever = arith.constant 2", 1),
        r"core \(0,2\) has ended after 2 rounds",
    ),
    "a core that ends after 20 rounds": (
        "gemm_96x64x48_1536x384x384",
        lambda t: t.replace(FOREVER, "%forever = arith.constant 20", 1),
        r"core \(0,2\) has ended after 20 rounds",
    ),
    "cores that end after 1,000 rounds": (
        "norm_1504x384",
        lambda t: t.replace(FOREVER, "%forever = arith.constant 1000"),
        r"core \(0,2\) has ended after 1,000 rounds",
    ),
    "a stack of 64 bytes": (
        "gemm_96x64x48_1536x384x384",
        lambda t: t.replace("stack_size = 3328", "stack_size = 64", 1),
        r"64 bytes for the stack",
    ),
    "an empty stack": (
        "matmul_64x64",
        lambda t: t.replace("stack_size = 3328", "stack_size = 0"),
        r"0 bytes for the stack",
    ),
    "no stack": (
        "matmul_64x64",
        lambda t: t.replace("stack_size = 3328 : i32", ""),
        r"no stack_size for the stack",
    ),
    "eight tasks at once": (
        "matmul_64x512_k512",
        eight_tasks_at_once,
        r"shim \(0,0\): 5 tasks of A_L3L2 may be outstanding, the limit is 4",
    ),
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
    contract = find_design(name)
    text = breaks(design(contract))
    assert text != design(contract)
    with pytest.raises((DesignError, WrongResultError, CoreFunctionError), match=message):
        verify(contract, text, core_functions(contract, text, "auto")[0])


def test_check_structure_alone_catches_what_needs_no_execution() -> None:
    name, breaks, message = BROKEN["over-full L1"]
    with pytest.raises(DesignError, match=message):
        check_structure(parse(breaks(design(find_design(name)))), NPU1)
