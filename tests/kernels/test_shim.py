"""Shim tasks: what they stream, in how many, and that no queue of a channel is ever asked for more."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.toy_target import TOY
from whisper_npu.encoder import encoder_ops
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, Gemm, GemmContract, gemm
from whisper_npu.kernels.matmul.kernel import matmul_64x512_k
from whisper_npu.kernels.mlir import Dims
from whisper_npu.kernels.registry import design
from whisper_npu.kernels.shim import DIMENSIONS, StepTooLongError, Task, traffic
from whisper_npu.kernels.verifier import parse
from whisper_npu.kernels.verifier.design import Memcpy, RuntimeSequence, Wait
from whisper_npu.npu.planner import choose
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul
from whisper_npu.released import RELEASED, released_dimensions

ON_TOY = gemm(TOY, 96, 12, 48, (32, 12, 24))
C_WORDS = TOY.shim.max_step  # C is fp32

strides = st.integers(1, 40) | st.integers(C_WORDS - 2, C_WORDS)
round_loops = st.lists(st.tuples(st.integers(1, 12), st.just(0) | strides | st.just(C_WORDS + 1)), max_size=2)
tile_loops = st.lists(st.tuples(st.integers(1, 4), strides), min_size=1, max_size=4)


def stream(offset: int, dims: Dims) -> list[int]:
    """Where each element lies that the loops visit, in order."""
    turns = product(*(range(size) for size, _ in dims))
    steps = [stride for _, stride in dims]
    return [offset + sum(turn * step for turn, step in zip(place, steps, strict=True)) for place in turns]


@given(rounds=round_loops, of_round=tile_loops, start=st.integers(0, 100))
def test_tasks_stream_what_the_loops_say_in_descriptors_that_a_shim_takes(
    rounds: Dims, of_round: Dims, start: int
) -> None:
    tasks = traffic(ON_TOY, "C", "C_L2L3_0", 0, rounds, of_round, start).tasks
    assert [place for task in tasks for place in stream(task.offset, task.dims)] == stream(
        start, [*rounds, *of_round]
    )
    for task in tasks:
        (repeat, _), *inner = task.dims
        assert len(task.dims) == DIMENSIONS
        assert repeat <= TOY.max_repeat
        # What lies in one piece: (*, 1, 1, elements), strides (*, 0, 0, 1).
        is_linear = [stride for _, stride in inner[:-1]] == [0, 0] and inner[0][0] == inner[1][0] == 1
        assert is_linear or all(stride > 0 for _, stride in inner)
        assert all(stride <= TOY.shim.max_step for size, stride in task.dims if size > 1)


def test_rows_of_tiles_below_one_another_are_one_loop() -> None:
    """Which leaves B of a long K a dimension more; as many rows as a wrap counts, and no more."""
    for steps, dims in (
        (85, ((1, 0), (1, 61200), (2040, 30), (24, 1))),
        (86, ((1, 0), (86, 720), (24, 30), (24, 1))),
    ):
        (task,) = traffic(ON_TOY, "B", "B_L3L2_0", 0, [], [(steps, 720), (24, 30), (24, 1)]).tasks
        assert task.dims == dims


@given(rounds=round_loops, of_round=tile_loops)
def test_a_task_says_which_round_needs_it_first(rounds: Dims, of_round: Dims) -> None:
    tasks = traffic(ON_TOY, "C", "C_L2L3_0", 0, rounds, of_round).tasks
    elements_of_round = len(stream(0, of_round))
    before = 0
    for task in tasks:
        assert task.first == before // elements_of_round
        before += len(stream(0, task.dims))


def test_a_row_that_lies_too_far_from_the_next_is_refused() -> None:
    with pytest.raises(StepTooLongError, match=r"rows of C lie 32,769 words apart.* at most 32,768"):
        traffic(ON_TOY, "C", "C_L2L3_0", 0, [], [(2, C_WORDS + 1), (4, 1)])


def longest_queues(sequence: RuntimeSequence) -> dict[str, int]:
    """For each fifo the most tasks that may not be done yet; a wait retires those of its own fifo only.

    What writes to DRAM gives a token in any case; none may be left.
    """
    pending: dict[str, deque[Memcpy]] = defaultdict(deque)
    longest: dict[str, int] = defaultdict(int)
    for op in sequence.ops:
        if isinstance(op, Memcpy):
            pending[op.fifo].append(op)
            longest[op.fifo] = max(longest[op.fifo], len(pending[op.fifo]))
        elif isinstance(op, Wait):
            while not pending[op.fifo].popleft().token:
                pass
    left = [task for tasks in pending.values() for task in tasks]
    assert not any(task.token or task.argument == "C" for task in left)
    return longest


SIZES = dict.fromkeys(map(released_dimensions, RELEASED))
WHISPER = {
    contract.name: contract
    for kernels in ([k for k in registry.kernels(NPU1) if not k.makes_whole], [Gemm(NPU1, GEMM_TILE)])
    for size in SIZES
    for contract in choose(encoder_ops(size), kernels).contracts
    if isinstance(contract, GemmContract)
}
DEEP = matmul_64x512_k(NPU1, 64 * 64 * 5, 1024), gemm(NPU1, 40 * 64, 64, 9 * 64, (16, 64, 16))


@pytest.mark.parametrize("contract", [*WHISPER.values(), *DEEP], ids=lambda contract: contract.name)
def test_no_queue_overflows_and_inputs_come_first(contract: object) -> None:
    sequence = parse(design(contract)).sequence  # type: ignore[arg-type]
    assert max(longest_queues(sequence).values()) <= NPU1.shim_queue
    tasks = [op for op in sequence.ops if isinstance(op, Memcpy)]
    first_output = next(number for number, task in enumerate(tasks) if task.argument == "C")
    fed = {task.fifo for task in tasks[:first_output]}
    assert fed == {task.fifo for task in tasks if task.argument != "C"}


@pytest.mark.parametrize("contract", WHISPER.values(), ids=list(WHISPER))
def test_a_product_of_whisper_takes_few_tasks_or_says_why(contract: object) -> None:
    """Starting each takes the controller up to 2,870 cycles, one after the other."""
    text = design(contract)  # type: ignore[arg-type]
    count = text.count("dma_memcpy_nd")
    assert count <= 72
    assert (f"// {count} tasks: " in text) == (count > 64)


def test_attention_takes_no_more_tasks_for_more_heads() -> None:
    """Heads are steps along K to A and B, and a dimension of C. Only long rows part what one task did."""

    def tasks(heads: int, *sizes: int) -> int:
        M, K, N = sizes
        contract = Gemm(NPU1, GEMM_TILE).plan(Matmul(M, K, N, heads)).contract
        return design(contract).count("dma_memcpy_nd")

    assert [tasks(heads, 1500, 64, 1500) for heads in (2, 6, 20)] == [36, 36, 48]
    assert [tasks(heads, 1500, 1500, 64) for heads in (2, 6, 20)] == [12, 24, 36]


def test_what_shares_a_fifo_goes_in_the_order_given() -> None:
    own = traffic(ON_TOY, "C", "C_L2L3_0", 0, [(3, 8)], [(8, 1)])
    other = traffic(ON_TOY, "A", "C_L2L3_0", 0, [], [(8, 1)])
    assert own.behind(other).tasks == (*other.tasks, *own.tasks)
    assert other.tasks == (Task("A", 0, 0, ((1, 0), (1, 0), (1, 0), (8, 1))),)
