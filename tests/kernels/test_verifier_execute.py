"""The verifier computes what a sound design computes, and says where any other hangs, races or loses data."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.verifier_designs import (
    NumpyFunctions,
    broken,
    column,
    one_core,
    operands,
    run,
    runtime_k,
)
from whisper_npu.kernels.verifier import DesignError, FunctionCall, check_structure, execute, parse
from whisper_npu.kernels.verifier.design import Dims
from whisper_npu.kernels.verifier.patterns import HostTransfer, is_contiguous, visited
from whisper_npu.npu.targets import NPU1

M, K, N = 8, 48, 12  # of one_core and runtime_k: 3 steps of 16


def refuse(text: str, *says: str) -> None:
    with pytest.raises(DesignError) as raised:
        run(text, M, K, N)
    for part in says:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


# --------------------------------------------------------------------------------------- sound designs


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (one_core(), (M, K, N)),
        (one_core(m=16, k=8, n=20, steps=1), (16, 8, 20)),
        (runtime_k(), (M, K, N)),
        (runtime_k(steps=1), (M, 16, N)),
        (column(), (24, 32, 48)),
        (column(m=16, k=8, n=4, steps=3, rounds=2), (32, 24, 16)),
    ],
    ids=["one_core", "one_core_one_step", "runtime_k", "runtime_k_one_step", "column", "column_other_tile"],
)
def test_product(text: str, shape: tuple[int, int, int]) -> None:
    _, error = run(text, *shape)
    assert error < 1e-4


def test_record_counts_what_moved_and_ran() -> None:
    execution, _ = run(column(), 24, 32, 48)
    matmul = FunctionCall("matmul", ((8, 16), (16, 12), (8, 12)), macs=1000)
    zero = FunctionCall("zero", ((8, 12),))
    assert len(execution.calls) == 4
    for calls in execution.calls.values():
        assert calls == {matmul: 6, zero: 3}  # 3 rounds of 2 steps; the next round's zero is not counted
    assert execution.fifo_objects["A_L2L1"] == 6
    assert execution.fifo_bytes["B_L3L2"] == 3 * 32 * 48 * 2
    shim = {direction: count for (_, direction), count in execution.shim_bytes.items()}
    assert shim == {"out": 24 * 32 * 2 + 3 * 32 * 48 * 2, "in": 24 * 48 * 4}
    assert execution.dram_bytes == sum(shim.values())
    memtile = {direction: count for (_, direction), count in execution.memtile_bytes.items()}
    assert memtile == {
        "in": shim["out"] + shim["in"],
        "out": shim["out"] + shim["in"],
    }  # broadcast: one channel


def test_record_of_parameters() -> None:
    (parameter,) = run(runtime_k(), M, K, N)[0].parameters
    assert (parameter.buffer, parameter.index, parameter.value) == ("steps", 0, 3)


def test_output_that_no_transfer_reaches_stays() -> None:
    text = one_core(steps=1)
    wider = text.replace("%C: memref<96xf32>", "%C: memref<100xf32>")
    wider = wider.replace("issue_token = true} : memref<96xf32>", "issue_token = true} : memref<100xf32>")
    a, b, _ = operands(8, 16, 12)
    c = np.full(100, 7, np.float32)
    execute(parse(wider), [a, b, c], NumpyFunctions(), NPU1)
    assert (c[96:] == 7).all()


# ------------------------------------------------------------------------------------- wrong products

WRONG = [
    # strides of A's inner and outer micro-tile dimension
    ("<size = 2, stride = 8>, <size = 4, stride = 16>", "<size = 2, stride = 16>, <size = 4, stride = 8>"),
    # k and n of B: as if it were (n,k)
    ("<size = 2, stride = 96>, <size = 3, stride = 4>", "<size = 3, stride = 4>, <size = 2, stride = 96>"),
    # C left in micro-tiles
    ("<size = 4, stride = 4>, <size = 3, stride = 16>", "<size = 3, stride = 16>, <size = 4, stride = 4>"),
    # A's chunks of K in the wrong place of the host matrix
    ("[1, 3, 8, 16][0, 16, 48, 1]", "[1, 3, 8, 16][0, 48, 16, 1]"),
]


@pytest.mark.parametrize(("old", "new"), WRONG)
def test_wrong_order_gives_a_wrong_product(old: str, new: str) -> None:
    try:
        _, error = run(broken(one_core(), old, new), M, K, N)
    except DesignError:
        return
    assert error > 0.1


def test_transfer_outside_the_host_array() -> None:
    refuse(broken(one_core(), "[0, 192, 12, 1]", "[0, 12, 192, 1]"), "B_L3L2", "outside B", "576")
    refuse(broken(one_core(), "%A[0, 0, 0, 0]", "%A[0, 0, 0, 2]"), "A_L3L2", "element 385 is outside A")


# ------------------------------------------------------------------------------- hangs and left-overs


def test_too_few_tiles_of_a() -> None:
    short = broken(one_core(), "[1, 3, 8, 16][0, 16, 48, 1]", "[1, 2, 8, 16][0, 16, 48, 1]")
    refuse(
        short,
        "deadlock",
        "the sequence waits for C_L2L3",
        "core (0,2) waits to consume A_L2L1, got 2 objects (256 elements)",
        "shim C_L2L3 has 96 of 96 elements left",
    )


@pytest.mark.parametrize(("tiles", "left"), [(4, "holds 1 of A_L2L1"), (9, "shim A_L3L2 has 256 of 1152")])
def test_too_many_tiles_of_a(tiles: int, left: str) -> None:
    text = one_core().replace(f"%A: memref<{M * K}xbf16>", "%A: memref<2048xbf16>")
    text = text.replace(
        f"metadata = @A_L3L2}} : memref<{M * K}xbf16>", "metadata = @A_L3L2} : memref<2048xbf16>"
    )
    text = broken(text, "[1, 3, 8, 16]", f"[1, {tiles}, 8, 16]")
    a, b, c = operands(M, K, N)
    longer = np.zeros(2048, a.dtype)
    with pytest.raises(DesignError, match="unconsumed") as raised:
        execute(parse(text), [longer, b, c], NumpyFunctions(), NPU1)
    assert left in str(raised.value)


def test_transfer_of_half_an_object() -> None:
    refuse(broken(one_core(), "[1, 3, 8, 16]", "[1, 3, 8, 15]"), "A_L3L2", "360 elements", "128")


def test_core_that_expects_more_steps() -> None:
    text = broken(one_core(), "%steps = arith.constant 3", "%steps = arith.constant 4")
    refuse(text, "deadlock", "waits to consume A_L2L1, got 3 objects")


def test_wrong_parameter() -> None:
    refuse(broken(runtime_k(), "rtp_write(@steps, 0, 3)", "rtp_write(@steps, 0, 2)"), "unconsumed", "A_L2L1")


def test_output_not_asked_for_by_the_host() -> None:
    lines = one_core().splitlines()
    text = "\n".join(line for line in lines if "C_L2L3, issue" not in line and "dma_wait" not in line)
    refuse(text, "unconsumed", "memtile (0,1) has 1 objects (96 elements) of C_L1L2")


def test_broadcast_waits_for_its_slowest_consumer() -> None:
    text = broken(
        column(), "%steps = arith.constant 2", "%steps = arith.constant 1"
    )  # of the core (0,2) only
    with pytest.raises(DesignError, match=r"deadlock|unconsumed") as raised:
        run(text, 24, 32, 48)
    assert "core (0,2)" in str(raised.value)


def test_runaway_core() -> None:
    endless = "scf.for %spin = %c0 to %forever step %c1 { }\n        scf.for %kk"
    refuse(broken(one_core(), "scf.for %kk", endless), "core (0,2)", "%spin runs away")


def test_timeout() -> None:
    with pytest.raises(DesignError, match=r"not done in time: core \(0,2\) has not begun$"):
        execute(parse(one_core()), operands(M, K, N), NumpyFunctions(), NPU1, timeout_seconds=-1)


def test_core_that_ends() -> None:
    text = broken(one_core(), "%forever = arith.constant 4294967295", "%forever = arith.constant 1")
    refuse(text, "core (0,2) has ended after 1 rounds", "loop forever")


# -------------------------------------------------------------------------- memory that nothing wrote


def test_missing_zero() -> None:
    text = broken(one_core(), "func.call @zero(%c) : (memref<8x12xf32>) -> ()", "")
    refuse(text, "core (0,2)", "matmul reads C_L1L2, which nothing has written")


def test_missing_zero_in_a_later_round() -> None:
    """What the round before left in the buffer is nothing to add to."""
    skipped = """%first = arith.cmpi eq, %turn, %c0 : index
        scf.if %first {
          func.call @zero(%c) : (memref<8x12xf32>) -> ()
        }"""
    text = broken(column(), "func.call @zero(%c) : (memref<8x12xf32>) -> ()", skipped)
    text = broken(text, "%round = %c0 to %forever step %c1 {", "%round = %c0 to %forever step %c1 {\n{{")
    text = broken(text, "{{", "%many = arith.constant 9 : index\n scf.for %turn = %c0 to %many step %c1 {")
    text = broken(text, "(Produce, 1)\n      }\n", "(Produce, 1)\n      }\n      }\n")
    with pytest.raises(DesignError, match="matmul reads C_L1L2_0, which nothing has written"):
        run(text, 24, 32, 48)


def test_output_that_no_function_wrote() -> None:
    text = one_core()
    for call in ("func.call @zero(%c) : (memref<8x12xf32>) -> ()", text[text.index("func.call @matmul") :]):
        text = broken(text, call.split("\n")[0], "")
    refuse(text, "fifo C_L2L3 brings elements to the host that nothing has written")


def test_parameter_that_nothing_wrote() -> None:
    text = broken(runtime_k(), "aiex.npu.rtp_write(@steps, 0, 3)", "")
    refuse(text, "core (0,2) loads %buffer[0], which nothing has written")


def test_initial_value_of_a_parameter() -> None:
    text = broken(runtime_k(), "aiex.npu.rtp_write(@steps, 0, 3)", "")
    for spelling in (
        ('"steps"} : memref<1xi32>', '"steps"} : memref<1xi32> = dense<3>'),
        ('"steps"} : memref<1xi32>', '"steps", initial_value = dense<[3]> : memref<1xi32>} : memref<1xi32>'),
    ):
        assert run(broken(text, *spelling), M, K, N)[1] < 1e-4


def test_use_after_release() -> None:
    text = one_core()
    release = "aie.objectfifo.release @A_L2L1(Consume, 1)\n"
    text = broken(text, release, "")
    text = broken(text, "func.call @matmul", release + "          func.call @matmul")
    refuse(text, "matmul uses %a of A_L2L1 after its release")


# ------------------------------------------------------------------------------------ any one mistake

NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])|(?<=[<x])\d+(?=x)")


@given(st.sampled_from([one_core(), runtime_k()]), st.data())
def test_a_changed_number(text: str, data: st.DataObject) -> None:
    """It is refused in one line, or it runs: nothing else is raised, and nothing hangs."""
    match = data.draw(st.sampled_from(list(NUMBER.finditer(text))))
    number = data.draw(st.integers(0, 2 * int(match.group()) + 2))
    changed = f"{text[: match.start()]}{number}{text[match.end() :]}"
    try:
        check_structure(parse(changed), NPU1)
        run(changed, M, K, N)
        outcome = "it runs"
    except DesignError as error:
        outcome = str(error)
    assert "\n" not in outcome


# ---------------------------------------------------------------------------------------- host arrays


def test_host_arrays_must_fit() -> None:
    a, b, c = operands(M, K, N)
    design = parse(one_core())
    for arrays, says in (
        ([a, b], "3 arguments, 2 arrays"),
        ([a, b, c[:4]], "argument C"),
        ([a.astype(np.float32), b, c], "argument A"),
        ([a, b, np.zeros((N, M), np.float32).T], "argument C"),
    ):
        with pytest.raises(DesignError, match=says):
            execute(design, arrays, NumpyFunctions(), NPU1)


# ------------------------------------------------------------------------------------------- patterns


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 20)), min_size=1, max_size=4),
    st.integers(0, 5),
    st.data(),
)
def test_transfers_visit_what_their_dimensions_say(
    dims: list[tuple[int, int]], offset: int, data: st.DataObject
) -> None:
    """Object by object, whether or not an object ends where a dimension does."""
    pattern: Dims = tuple(dims)
    index = visited(pattern)
    elements = data.draw(st.sampled_from([e for e in range(1, index.size + 1) if index.size % e == 0]))
    host = np.arange(300)
    transfer = HostTransfer(host, offset, pattern, elements)
    read = [transfer.read(number) for number in range(index.size // elements)]
    np.testing.assert_array_equal(np.concatenate(read), offset + index)
    for number, values in enumerate(read):
        transfer.write(number, -values)
    expected = np.arange(300)
    expected[offset + index] *= -1
    np.testing.assert_array_equal(host, expected)


def test_contiguous() -> None:
    assert is_contiguous(((4, 12), (3, 4), (4, 1)))
    assert is_contiguous(((1, 999), (3, 4), (4, 1)))
    assert not is_contiguous(((4, 13), (3, 4), (4, 1)))
