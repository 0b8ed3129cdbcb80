"""Memory at work: no buffer is overwritten before its slowest reader, and where the buffers of a core lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.verifier_designs import broken, column, one_core, run, waited_for
from whisper_npu.kernels.verifier import DesignError, MemRef, Tile, check_structure, parse
from whisper_npu.kernels.verifier.memory import BITS, POISON, Buffers, unwritten
from whisper_npu.kernels.verifier.memory_map import memory_map
from whisper_npu.kernels.verifier.wiring import Pool, Port, pools
from whisper_npu.npu.targets import NPU1

# --------------------------------------------------------------------------------- the slowest reader


@given(
    depth=st.integers(1, 3),
    pieces=st.integers(1, 3),
    readers=st.integers(1, 4),
    order=st.lists(st.integers(0, 6), min_size=20, max_size=120),
)
def test_every_reader_gets_every_object(depth: int, pieces: int, readers: int, order: list[int]) -> None:
    """Whoever may go goes, in any order: each reads what was written, nothing skipped or overwritten."""
    ports = [Port(f"in{number}", 2 * number, 2) for number in range(pieces)]
    whole = 2 * pieces
    outputs = [Port(f"out{number}", 0, whole) for number in range(readers)]
    tile = Tile("t0_1", 0, 1)
    buffers = Buffers(Pool(tile, MemRef((whole,), "i32"), depth, tuple(ports), tuple(outputs)))
    seen: list[list[int]] = [[] for _ in outputs]
    for choice in order:
        if choice < pieces and buffers.can_write(choice):
            number = buffers.written[choice]
            buffers.slot(number)[2 * choice : 2 * choice + 2] = number
            buffers.written[choice] += 1
        reader = choice - pieces
        if 0 <= reader < readers and buffers.can_read(reader):
            number = buffers.read[reader]
            assert len(set(buffers.slot(number).tolist())) == 1
            seen[reader].append(int(buffers.slot(number)[0]))
            buffers.read[reader] += 1
    for got in seen:
        assert got == list(range(len(got)))
    for port in range(pieces):
        assert buffers.written[port] - min(buffers.read) <= depth


def lagging(text: str) -> str:
    """The core (0,5) holds one tile of B, the others three: its branch of the split falls behind.

    B begins to come before A does, so that the others fill up.
    """
    for j in range(4):
        depth = "[1 : i32, 1 : i32]" if j == 3 else "[1 : i32, 3 : i32]"
        text = broken(text, f"{{%t0_{2 + j}}}, 2 : i32)", f"{{%t0_{2 + j}}}, {depth})")
    return text


def a_after_b(text: str, objects: int) -> str:
    """The sequence sends `objects` objects of B, waits for them, and only then A and what is left of B."""
    lines = text.splitlines()
    b = next(line for line in lines if "metadata = @B_L3L2" in line)
    a = next(line for line in lines if "metadata = @A_L3L2" in line)
    first = broken(b, f"[{STEPS}, 4, 16, 12]", f"[{objects}, 4, 16, 12]")
    left = broken(b, f"[{STEPS}, 4, 16, 12]", f"[{STEPS - objects}, 4, 16, 12]").replace("id = 2", "id = 9")
    left = broken(left, "%B[0, 0, 0, 0]", f"%B[0, 0, 0, {objects * 16 * 48}]")
    return broken(broken(text, f"{a}\n", ""), b, f"{waited_for(first)}\n{a}\n{left}")


STEPS = 6
SHAPE = (16, 16 * STEPS, 48)


def test_a_split_waits_for_its_slowest_branch() -> None:
    """Three tiles of B are in the array when A comes; the slow core has one, the memtile keeps two for it."""
    text = a_after_b(lagging(column(steps=STEPS, rounds=2)), 3)
    check_structure(parse(text), NPU1)
    assert run(text, *SHAPE)[1] < 1e-4


def test_a_split_takes_no_more_than_its_slowest_branch_leaves_room_for() -> None:
    """The fourth would overwrite the second, which the slow core has not got yet: B's token never comes."""
    text = a_after_b(lagging(column(steps=STEPS, rounds=2)), 4)
    with pytest.raises(DesignError, match=r"deadlock: the sequence waits for B_L3L2"):
        run(text, *SHAPE)


def test_a_verifier_that_looks_at_the_fastest_branch_computes_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tests above can fail: with such a mistake the slow core gets another tile of B than its own."""

    def by_the_fastest(buffers: Buffers, port: int) -> bool:
        return buffers.written[port] - max(buffers.read) < buffers.depth

    monkeypatch.setattr(Buffers, "can_write", by_the_fastest)
    for objects in (3, 4):
        assert run(a_after_b(lagging(column(steps=STEPS, rounds=2)), objects), *SHAPE)[1] > 0.1


def test_a_broadcast_waits_for_its_slowest_consumer() -> None:
    """One core has room for one tile of A, the others for four."""
    text = broken(
        column(steps=STEPS, rounds=2),
        "{%t0_2, %t0_3, %t0_4, %t0_5}, 2 : i32)",
        "{%t0_2, %t0_3, %t0_4, %t0_5}, [2 : i32, 4 : i32, 4 : i32, 1 : i32, 4 : i32])",
    )
    check_structure(parse(text), NPU1)
    assert run(text, *SHAPE)[1] < 1e-4


# ------------------------------------------------------------------------------------------- the banks


def test_where_the_buffers_of_a_core_lie() -> None:
    """As mlir-aie's basic-sequential allocation prints them: the stack, then the largest first."""
    design = parse(one_core(m=96, k=64, n=48))
    placed = memory_map(design, pools(design), design.cores[0])
    assert [(p.name, p.address, p.nbytes) for p in placed] == [
        ("C_L1L2", 3_328, 18_432),
        ("A_L2L1", 21_760, 12_288),
        ("A_L2L1", 34_048, 12_288),
        ("B_L2L1", 46_336, 6_144),
        ("B_L2L1", 52_480, 6_144),
    ]
    assert [list(p.banks(16 * 1024)) for p in placed] == [[0, 1], [1, 2], [2], [2, 3], [3]]


def test_pairs_of_inputs_that_share_a_bank_are_counted() -> None:
    """Both A and the first B have bytes in bank 2; the second B is in bank 3 alone."""
    usage = check_structure(parse(one_core(m=96, k=64, n=48)), NPU1)
    assert (usage.bank_conflicts.sharing, usage.bank_conflicts.pairs) == (2, 4)
    assert str(usage.bank_conflicts) == "2 of 4"


def test_a_larger_stack_moves_them_apart() -> None:
    """A then ends with bank 2."""
    text = one_core(m=96, k=64, n=48).replace("stack_size = 3328", "stack_size = 6144")
    assert check_structure(parse(text), NPU1).bank_conflicts.sharing == 0


def test_one_bank_holds_all() -> None:
    single = replace(NPU1, core=replace(NPU1.core, banks=1))
    usage = check_structure(parse(one_core()), single)
    assert (usage.bank_conflicts.sharing, usage.bank_conflicts.pairs) == (4, 4)


def test_a_call_with_one_input_has_no_pairs() -> None:
    text = one_core()
    call = text[text.index("func.call @matmul") :].split("\n")[0]
    text = broken(text, call, "func.call @zero(%c) : (memref<8x12xf32>) -> ()")
    assert check_structure(parse(text), NPU1).bank_conflicts.pairs == 0


def test_a_local_buffer_takes_its_place_by_size() -> None:
    buffer = '%t0_2 = aie.tile(0, 2)\n    %table = aie.buffer(%t0_2) {sym_name = "t"} : memref<4096xf32>'
    design = parse(broken(one_core(), "%t0_2 = aie.tile(0, 2)", buffer))
    first = memory_map(design, pools(design), design.cores[0])[0]
    assert (first.name, first.address) == ("t", 3_328)
    assert np.prod((4096, 4)) == first.nbytes


# --------------------------------------------------------------------------------- what nothing has written


def test_memory_that_nothing_has_written_is_known() -> None:
    for dtype, bits in BITS.items():
        memory = np.full(8, POISON[dtype], bits)
        assert unwritten(memory, dtype)
        memory[:7] = 1
        assert unwritten(memory, dtype)
        memory[7] = 1
        assert not unwritten(memory, dtype)


def test_the_low_half_of_a_number_of_fp32_may_be_anything() -> None:
    """Two elements of bf16 may carry it."""
    numbers = np.arange(2**16, dtype=np.uint32) + np.uint32(0x3F80_0000)
    assert not unwritten(numbers.view(np.uint16), "bf16")
    numbers[1] = np.uint32(POISON["bf16"] << 16 | 5)  # a NaN: no number that a core computes has these bits
    assert unwritten(numbers.view(np.uint16), "bf16")
