"""The layer kernels' design: what it takes of the array, its text executed, its tasks counted.

Every dispatch here finds its results full of NaN, and WORK too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, reduce
from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.layer_dispatches import (
    Case,
    attention,
    encoder_layer,
    product,
    rows_of_stream,
    two_products,
)
from tests.support.toy_target import TOY
from whisper_npu.dtypes import DType
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import array_part
from whisper_npu.kernels.layer.design import text_of
from whisper_npu.kernels.layer.kernel import layer
from whisper_npu.kernels.layer.movement import A, B, C, streams, turns_of
from whisper_npu.kernels.layer.phases import OBJECT, Matrix, Number, Phase, Rows
from whisper_npu.kernels.layer.planes import laid_out, planes, taken_apart
from whisper_npu.kernels.layer.weights import by_columns, header, numbers_of, objects_of
from whisper_npu.kernels.layer.work import works_of
from whisper_npu.kernels.mlir import DesignParameterError
from whisper_npu.kernels.shim import Start, Task
from whisper_npu.kernels.toolchain import GENERATIONS
from whisper_npu.kernels.verifier import check_structure, parse
from whisper_npu.kernels.verifier.core_functions import in_numpy
from whisper_npu.kernels.verifier.design import Acquire, CoreOp, For, If, Release
from whisper_npu.kernels.verifier.wiring import walk
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Activation, EncoderLayer, Stem
from whisper_npu.released import released_dimensions

RNG = np.random.default_rng
SIZES = ("tiny", "base", "small", "medium", "large-v3")


@lru_cache
def small_layer() -> Case:
    return encoder_layer(64, 31, RNG(0))


# --------------------------------------------------------------------------------- what the text computes


def share(case: Case) -> float:
    """Of their tolerance, that the results of a dispatch take."""
    return case.share(case.dispatch.run())


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("result", DType)
def test_a_product_of_several_blocks_and_steps(activation: Activation, result: DType) -> None:
    assert share(product((300, 150, 500), RNG(1), activation, result)) <= 1


def test_a_product_of_rows_that_overlap() -> None:
    """As a convolution takes them: three positions, two further on each time."""
    assert share(product((300, 192, 200), RNG(2), Activation.GELU, step=128)) <= 1


def test_a_product_of_what_the_phase_before_has_made() -> None:
    assert share(two_products(40, (64, 256, 256), RNG(3))) <= 1


@pytest.mark.parametrize(("n_ctx", "n_head"), [(1, 1), (1, 16), (31, 4), (31, 20), (300, 6), (1500, 1)])
def test_attention_of_every_head(n_ctx: int, n_head: int) -> None:
    assert share(attention(n_ctx, n_head, RNG(4))) <= 1


def test_attention_leaves_out_what_a_mask_leaves_out() -> None:
    """Whole blocks of keys at the front and in the middle, and parts of others."""
    mask = RNG(5).random(300) < 0.7
    mask[:40] = mask[100:170] = False
    assert share(attention(300, 2, RNG(6), mask)) <= 1


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_attention_to_all_keys_alike_and_to_one(scale: float) -> None:
    assert share(attention(70, 1, RNG(7), scale=scale)) <= 1


@pytest.mark.parametrize("n_state", [64, 128, 384, 512, 768, 1280])
def test_rows_are_added_and_normalised(n_state: int) -> None:
    assert share(rows_of_stream((250, n_state), RNG(8), added=True, total=True, normed=True)) <= 1


@pytest.mark.parametrize(
    ("added", "total", "normed"), [(0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
)
def test_rows_give_what_is_asked_for(added: bool, total: bool, normed: bool) -> None:
    assert share(rows_of_stream((400, 384), RNG(9), added=added, total=total, normed=normed)) <= 1


def test_rows_whose_planes_lie_in_blocks() -> None:
    """As those of many long rows do: a shim could not step from one to the next."""
    near = replace(NPU1, shim=replace(NPU1.shim, max_step=2**16))
    case = rows_of_stream((500, 64), RNG(10), added=True, total=True, normed=True, stepping=near)
    (phase,) = case.dispatch.phases
    assert isinstance(phase, Rows)
    assert phase.sum
    assert phase.sum.block == 256
    assert share(case) <= 1


@pytest.mark.parametrize(("n_state", "n_ctx"), [(64, 31), (128, 40)])
def test_layers_one_after_the_other(n_state: int, n_ctx: int) -> None:
    """The second finds WORK as the first has left it, and each core where it began."""
    case = encoder_layer(n_state, n_ctx, RNG(11))
    loaded = case.dispatch.loaded()
    before = loaded.settle()
    first = case.dispatch.run(loaded)
    assert case.share(first) <= 1
    assert loaded.settle() == before
    second = case.dispatch.run(loaded, work=first.memory["WORK"])
    assert np.array_equal(second.memory["Y"].view(np.uint16), first.memory["Y"].view(np.uint16))
    assert loaded.settle() == before


def test_the_cores_functions_in_numpy_give_the_same_bits() -> None:
    dispatch = small_layer().dispatch
    by_cores, by_numpy = (
        dispatch.run(loaded).memory for loaded in (dispatch.loaded(), dispatch.loaded(functions=in_numpy))
    )
    for name, memory in by_cores.items():
        assert np.array_equal(memory.view(np.uint16), by_numpy[name].view(np.uint16)), name


# ---------------------------------------------------------------------------------- what it takes


def test_what_the_array_holds() -> None:
    usage = check_structure(parse(small_layer().dispatch.text), NPU1)
    assert set(usage.l1_bytes.values()) == {64_320}
    assert set(usage.memtile_bytes.values()) == {98_304}
    assert usage.bank_conflicts.pairs == 4
    assert usage.bank_conflicts.sharing == 1
    assert max(usage.locks.values()) <= 16
    in_and_out = [(usage.channels_in[tile], usage.channels_out[tile]) for tile in usage.channels_in]
    assert Counter(in_and_out) == {(1, 2): 4, (6, 3): 4, (2, 1): 16}


ACQUIRES = {  # by the loop that they stand in
    "%round": {"B": 1},
    "%of_c": {},
    "%step": {"A": 1, "B": 1},
    "%result": {"C": 1},
    "%part": {"C": 1},
    "%query": {"C": 1},
    "%head": {"A": 1},
    "%block": {"B": 1},
    "%unit": {},
    "%taken": {"A": 1},
    "%added": {"B": 1},
    "%half": {"C": 1},
    "%once": {"C": 1},
}


def test_each_loop_of_a_core_releases_what_it_acquires() -> None:
    design = parse(small_layer().dispatch.text)
    assert len(design.cores) == 16
    for core in design.cores:
        loops = [op for op in walk(core.body) if isinstance(op, For)]
        for kind in (Acquire, Release):
            assert {loop.variable: counted(loop, kind) for loop in loops} == ACQUIRES


def counted(loop: For, kind: type[CoreOp]) -> dict[str, int]:
    """By the operand that a fifo carries."""
    ops = (op for op in loop.body if isinstance(op, kind))
    return Counter(op.fifo[0] for op in ops if isinstance(op, (Acquire, Release)))


def test_no_core_chooses_by_an_if() -> None:
    """Its else would lose an acquire in silence; loops that do not turn lose none."""
    design = parse(small_layer().dispatch.text)
    assert not [op for core in design.cores for op in walk(core.body) if isinstance(op, If)]


def objects_of_core(phase: Phase) -> dict[str, int]:
    """What a core takes and gives in a phase, by its header's numbers and the loops of its program."""
    n = Counter(numbers_of(phase, NPU1))
    tiles, queries, units = n[Number.TILES], n[Number.QUERIES], n[Number.UNITS]
    return {
        A: tiles * n[Number.STEPS] + queries * NPU1.columns + units * 2 * NPU1.columns,
        B: 1 + tiles * n[Number.STEPS] + queries * n[Number.KEY_BLOCKS] + units * n[Number.ADDITIONS],
        C: tiles * (n[Number.IN_BF16] + n[Number.IN_F32])
        + queries
        + units * (n[Number.SUMS] + n[Number.NORMED]),
    }


def released_layer(model: str) -> EncoderLayer:
    sizes = released_dimensions(model)
    return EncoderLayer(sizes.n_audio_ctx, sizes.n_audio_state, sizes.n_audio_head, sizes.n_audio_mlp)


def released_stem(model: str) -> Stem:
    sizes = released_dimensions(model)
    return Stem(sizes.n_audio_ctx, sizes.n_mels, sizes.n_audio_state)


def moved_in_phases(text: str) -> list[list[tuple[str, int]]]:
    """For each phase of a text its tasks, those too that start ahead: which hop, and how many bytes."""
    sequence = text[text.index("aie.runtime_sequence") :]
    tasks = re.compile(r"dma_memcpy_nd\(%\w+\[[^]]*\]\[([^]]*)\].*metadata = @(\w+)_\d")
    found, before = [], []
    for phase in sequence.split("// ")[1:]:
        moved = [(hop, 2 * prod(map(int, sizes.split(", ")))) for sizes, hop in tasks.findall(phase)]
        if phase.startswith("ahead"):
            before = moved
        else:
            found.append(before + moved)
            before = []
    return found


@pytest.mark.parametrize("part", ["layer", "stem"])
@pytest.mark.parametrize("model", SIZES)
def test_shims_take_whatever_a_released_size_has(model: str, part: str) -> None:
    """Structure and sequence of the text; streams as long as cores want them; tasks and bytes as counted."""
    contract = layer(released_layer(model) if part == "layer" else released_stem(model), NPU1)
    text = registry.design(contract)
    check_structure(parse(text), NPU1)
    assert array_part(text) == array_part(small_layer().dispatch.text)
    works = works_of(contract.phases, NPU1, None)
    assert text.count("dma_memcpy_nd") == sum(work.tasks for work in works)
    for phase, moved, work in zip(contract.phases, moved_in_phases(text), works, strict=True):
        wanted = objects_of_core(phase)
        for stream in streams(phase, NPU1):
            pieces = NPU1.core_rows if stream.hop == C else 1
            assert stream.nbytes == wanted[stream.hop] * pieces * OBJECT * 2
        assert sum(nbytes for hop, nbytes in moved if hop != C) == work.bytes_read
        assert sum(nbytes for hop, nbytes in moved if hop == C) == work.bytes_written


def test_tasks_of_the_layer_of_base() -> None:
    """Few and long: 1,500 positions are six blocks of rows, of which each sends its A by a task.

    Before a product can begin, A of four rows of cores starts: all else has started ahead.
    """
    contract = layer(released_layer("base"), NPU1)
    moved = moved_in_phases(registry.design(contract))
    assert [len(tasks) for tasks in moved] == [12, 36, 24, 36, 16, 36, 36, 16]
    works = works_of(contract.phases, NPU1, None)
    assert [work.tasks for work in works] == [24, 32, 28, 36, 16, 36, 36, 4]
    assert [work.tasks - work.hidden_tasks for work in works] == [8, 4, 8, 4, 4, 4, 4, 4]


# --------------------------------------------------------------------------------------- when tasks start


def test_what_the_phase_before_writes_is_not_read_ahead() -> None:
    """By the elements themselves, where the timetable goes by the ends of a task."""

    def places(task: Task) -> set[int]:
        loops = (np.arange(count) * stride for count, stride in task.dims)
        return set(reduce(np.add.outer, loops, np.array(task.offset)).ravel().tolist())

    ahead = 0
    for turn, after in pairwise(turns_of(small_layer().dispatch.phases, NPU1)):
        written = [task for each in turn.phase.outputs for task in each.tasks]
        for step in turn.ahead:
            if isinstance(step, Start):
                ahead += 1
                assert any(step.task in each.tasks for each in (*after.phase.inputs, *after.phase.outputs))
                for task in written:
                    assert task.argument != step.task.argument or not places(task) & places(step.task)
    assert ahead > 50


# ---------------------------------------------------------------------------------- one overlay, any spelling


def test_all_dispatches_share_one_overlay() -> None:
    cases = [
        product((1, 1, 1), RNG(0)),
        attention(31, 1, RNG(0)),
        rows_of_stream((1, 64), RNG(0), normed=True),
    ]
    parts = {array_part(case.dispatch.text) for case in cases}
    assert parts == {array_part(small_layer().dispatch.text)}


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids=str)
def test_every_generation_of_the_toolchain_reads_the_same(generation: object) -> None:
    dispatch = small_layer().dispatch
    text = text_of("layer", NPU1, dispatch.arguments, dispatch.phases, generation)  # type: ignore[arg-type]
    assert parse(text) == parse(dispatch.text)


# ---------------------------------------------------------------------------------- what is refused


def phase_of(case: Case) -> Phase:
    return case.dispatch.phases[0]


REFUSED: dict[str, tuple[Callable[[], Case], dict[str, object], str]] = {
    "M": (lambda: product((1, 1, 1), RNG(0)), {"M": 300}, r"phase 1: M = 300 must be a multiple of 256"),
    "K": (lambda: product((1, 1, 1), RNG(0)), {"K": 100}, r"K = 100 must be a multiple of 64"),
    "N": (lambda: product((1, 1, 1), RNG(0)), {"N": 320}, r"N = 320 must be a multiple of 256"),
    "biases": (lambda: product((1, 1, 1), RNG(0)), {"N": 2816}, r"N = 2,816, at most 2,560"),
    "counts": (lambda: product((1, 1, 1), RNG(0)), {"M": 2**24}, r"tiles = 65,536, at most 65,535"),
    "keys": (lambda: attention(1, 1, RNG(0)), {"n_keys": 40}, r"n_keys = 40 must be a multiple of 32"),
    "many keys": (lambda: attention(1, 1, RNG(0)), {"n_keys": 8224}, r"n_keys = 8,224, at most 8,192"),
    "long rows": (
        lambda: rows_of_stream((1, 64), RNG(0), normed=True),
        {"n_state": 2112},
        r"n_state = 2,112, at most 2,048",
    ),
    "rows apart": (
        lambda: rows_of_stream((1, 64), RNG(0), normed=True),
        {"normed": Matrix("Y", 0, 64)},
        r"normalised rows lie 64 apart, it takes 512",
    ),
    "planes": (
        lambda: rows_of_stream((1, 64), RNG(0), total=True, normed=True),
        {"normed": Matrix("Y", 0, 512)},
        r"the sums must lie in planes, the rows in the plane behind them",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_array_cannot_hold_is_refused_before_a_line_is_printed(what: str) -> None:
    make, change, says = REFUSED[what]
    dispatch = make().dispatch
    phase = replace(dispatch.phases[0], **change)  # type: ignore[arg-type]
    with pytest.raises(DesignParameterError, match=says):
        text_of("one", NPU1, dispatch.arguments, [phase])


def test_an_array_with_more_rows_than_columns_is_refused() -> None:
    dispatch = product((1, 1, 1), RNG(0)).dispatch
    with pytest.raises(DesignParameterError, match=r"3 rows of cores and 2 columns"):
        text_of("one", TOY, dispatch.arguments, dispatch.phases)


# ---------------------------------------------------------------------------------- what the host lays out


@given(
    rows=st.integers(1, 6).map(lambda blocks: 256 * blocks),
    n_state=st.sampled_from([64, 384, 512, 768, 1280]),
    normed=st.booleans(),
)
@settings(max_examples=10)
def test_a_stream_in_planes_comes_back(rows: int, n_state: int, normed: bool) -> None:
    where = planes(NPU1, "X", 0, rows, n_state, normed=normed)
    x = np.arange((rows - 1) * n_state, dtype=np.float32).reshape(rows - 1, n_state)
    memory = laid_out(x, where)
    assert memory.size == where.elements
    assert where.units.half <= NPU1.shim.max_step * 2
    assert np.array_equal(taken_apart(memory, where, x.shape), x)


@pytest.mark.parametrize("result", DType)
def test_objects_of_weights_lie_as_columns_take_them(result: DType) -> None:
    """Row 2 i + h of storage is row i + 32 h of the object, whose columns `by_columns` says."""
    weight = np.arange(128 * 512, dtype=np.float32).reshape(128, 512) % 251
    numbers = by_columns(np.arange(512), NPU1.columns, result)  # (blocks, columns, 64)
    found = objects_of(weight, NPU1.columns, result).reshape(4, 2, 2, 32, 2, 64)
    for c, block, step in np.ndindex(4, 2, 2):
        wanted = weight[64 * step : 64 * step + 64, numbers[block, c]]
        assert np.array_equal(found[c, block, step].swapaxes(0, 1).reshape(64, 64).astype(np.float32), wanted)
    assert sorted(numbers.ravel()) == list(range(512))


def test_a_header_says_its_numbers_biases_and_mask() -> None:
    biases = RNG(0).standard_normal(640).astype(np.float32)
    mask = RNG(1).random(8192) < 0.5
    stored = header({Number.TILES: 65_535, Number.ROW: 512}, biases, mask)
    x = stored.reshape(32, 2, 64).swapaxes(0, 1).reshape(-1).astype(np.float32)
    assert x[:2] @ [256, 1] == 65_535
    assert x[2 * Number.ROW : 2 * Number.ROW + 2] @ [256, 1] == 512
    pairs = x[32 : 32 + 1280].reshape(-1, 2)
    assert np.all(np.abs(pairs.sum(1) - biases) <= 2.0**-17 * np.abs(biases))
    bits = np.unpackbits(x[1312 : 1312 + 1024].astype(np.uint8), bitorder="little")
    assert np.array_equal(bits, mask)
