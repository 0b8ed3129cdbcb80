"""Dispatches one after the other: cores go on where they are, and none of them may end, ever."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from tests.support.contracts import MATMUL_64X64
from tests.support.verifier_designs import NumpyFunctions, broken, column, one_core, operands, runtime_k
from whisper_npu.kernels.registry import design
from whisper_npu.kernels.verifier import DesignError, LoadedDesign, check_structure, parse
from whisper_npu.kernels.verify import Verdict, WrongResultError, numpy_functions, verify
from whisper_npu.npu.targets import NPU1

FOREVER = "%forever = arith.constant 4294967295"


def loaded(text: str) -> LoadedDesign:
    return LoadedDesign(parse(text), NumpyFunctions(), NPU1)


@pytest.mark.parametrize(
    ("text", "shape"),
    [(one_core(), (8, 48, 12)), (runtime_k(), (8, 48, 12)), (column(), (24, 32, 48))],
    ids=["one_core", "runtime_k", "column"],
)
def test_every_dispatch_computes_its_own_operands_and_leaves_the_array_as_it_was(
    text: str, shape: tuple[int, int, int]
) -> None:
    """Three steps on two buffers: the second dispatch begins with the other one."""
    array, records = loaded(text), []
    stood = array.settle()
    for number in range(3):
        a, b, c = operands(*shape)
        a, b = (np.roll(x, number) for x in (a, b))
        records.append(array.dispatch([a, b, c]))
        assert np.abs(c - a.astype(np.float64) @ b.astype(np.float64)).max() < 1e-4
        assert array.settle() == stood
    assert records[0].calls == records[1].calls == records[2].calls
    assert records[0].fifo_bytes == records[2].fifo_bytes


def test_what_a_core_kept_shows_in_how_the_array_stands() -> None:
    """It takes the first A for itself, once: the second dispatch finds another array than the first."""
    text = one_core()
    once = """scf.for %only = %c0 to %c1 step %c1 {
        %sx = aie.objectfifo.acquire @A_L2L1(Consume, 1) : !aie.objectfifosubview<memref<8x16xbf16>>
        aie.objectfifo.release @A_L2L1(Consume, 1)
      }
      scf.for %round"""
    text = broken(text, "scf.for %round", once)
    text = broken(text, "[1, 3, 8, 16][0, 16, 48, 1]", "[1, 4, 8, 16][0, 16, 48, 1]")
    text = text.replace("384xbf16", "400xbf16")
    check_structure(parse(text), NPU1)
    array = loaded(text)
    stood = array.settle()
    a, b, c = operands(8, 50, 12)
    array.dispatch([a, b[:48].copy(), c])
    assert array.settle() != stood
    with pytest.raises(DesignError, match="unconsumed"):
        array.dispatch([a, b[:48].copy(), c])


def matmul_with_rounds_before(count: int, later: Callable[[str], str] = lambda text: text) -> str:
    """A matmul whose core runs its round `count` times, then goes on with `later` of it forever."""
    text = design(MATMUL_64X64)
    core_round = text[text.index("scf.for %round") : text.index("aie.end")]
    once = broken(core_round, "%forever", "%c1")
    return broken(text, core_round, once * count + later(core_round))


def multiplied_twice(core_round: str) -> str:
    (call,) = (line for line in core_round.splitlines() if "func.call @matmul" in line)
    return broken(core_round, call, f"{call}\n{call}")


def verified(text: str) -> Verdict:
    return verify(MATMUL_64X64, text, numpy_functions(MATMUL_64X64, parse(text)))


def test_a_design_that_is_right_in_its_first_dispatch_only() -> None:
    text = matmul_with_rounds_before(1, multiplied_twice)
    functions = numpy_functions(MATMUL_64X64, parse(text))
    array, ones = LoadedDesign(parse(text), functions, NPU1), np.ones(64 * 64, ml_dtypes.bfloat16)
    found = []
    for _ in range(2):
        c = np.zeros(64 * 64, np.float32)
        array.dispatch([ones, ones, c])
        found.append(set(c.tolist()))
    assert found == [{64}, {128}]
    with pytest.raises(WrongResultError, match="matmul_64x64: C"):
        verified(text)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_design_is_dispatched_until_one_leaves_the_array_as_it_was(rounds: int) -> None:
    """The rounds before the endless loop have the words of those in it, and other places."""
    assert verified(matmul_with_rounds_before(rounds)).dispatches == 1 + rounds


def test_an_array_that_never_stands_as_it_did() -> None:
    with pytest.raises(DesignError, match="3 dispatches each leave the array as none before"):
        verified(matmul_with_rounds_before(3))


@pytest.mark.parametrize("rounds", [0, 1, 2, 20, 1000, 4294967294])
def test_a_core_that_ends_some_day(rounds: int) -> None:
    text = broken(one_core(), FOREVER, f"%forever = arith.constant {rounds}")
    with pytest.raises(DesignError, match=rf"core \(0,2\) has ended after {rounds:,} rounds.*loop forever"):
        check_structure(parse(text), NPU1)
    with pytest.raises(DesignError, match="loop forever"):
        loaded(text)


def test_a_core_whose_bound_nobody_knows() -> None:
    text = broken(runtime_k(), "%round = %c0 to %forever", "%round = %c0 to %bound")
    load = "%n = memref.load %buffer[%c0] : memref<1xi32>\n %bound = arith.index_cast %n : i32 to index\n"
    text = broken(text, "scf.for %round", f"{load} scf.for %round")
    with pytest.raises(DesignError, match=r"core \(0,2\)"):
        check_structure(parse(text), NPU1)


def test_a_core_without_a_loop() -> None:
    text = one_core()
    body = text[text.index("scf.for %round") : text.index("aie.end")]
    with pytest.raises(DesignError, match=r"core \(0,2\) has ended after 0 rounds"):
        check_structure(parse(broken(text, body, "")), NPU1)


@pytest.mark.parametrize("bound", [4294967295, 2**63 - 1])
def test_loops_that_never_end(bound: int) -> None:
    check_structure(parse(broken(one_core(), FOREVER, f"%forever = arith.constant {bound}")), NPU1)


def test_rounds_that_are_not_alike() -> None:
    """Right in the first dispatch, and wrong in the second."""
    text = broken(one_core(), "scf.for %kk = %c0 to", "scf.for %kk = %round to")
    with pytest.raises(DesignError, match=r"core \(0,2\) works with %round, the number of its round"):
        check_structure(parse(text), NPU1)
