"""Names, types, links, locks and the sequence: what does not fit together is refused, by name."""

from __future__ import annotations

import pytest

from tests.support.verifier_designs import broken, column, one_core, runtime_k, task_of, with_token
from whisper_npu.kernels.verifier import DesignError, check_wiring, parse

RELEASE_A = "aie.objectfifo.release @A_L2L1(Consume, 1)"


def refuse(text: str, *says: str) -> None:
    with pytest.raises(DesignError) as raised:
        check_wiring(parse(text))
    for part in says:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("release @A_L2L1", "release @A_L9L1", "there is no fifo A_L9L1"),
        ("acquire @A_L2L1", "acquire @A_L9L1", "there is no fifo A_L9L1"),
        ("link [@A_L3L2]", "link [@A_L9L2]", "there is no fifo A_L9L2"),
        ("metadata = @A_L3L2", "metadata = @A_L9L2", "moves A through A_L9L2, there is no such fifo"),
        ("metadata = @A_L3L2", "metadata = @A_L2L1", "shim A_L2L1: the fifo has no end at a shim"),
        ("symbol = @C_L2L3", "symbol = @C_L9L3", "waits for C_L9L3, there is no such fifo"),
        ("call @matmul", "call @product", "calls the function product, which is not declared"),
        ("private @matmul", "private @zero", "function zero is declared 2 times"),
        ("@B_L3L2(", "@A_L3L2(", "fifo A_L3L2 is declared 2 times"),
        ("%t0_2 = aie.tile(0, 2)", "%t0_2 = aie.tile(0, 1)", "tile (0,1) is declared 2 times"),
        ("@A_L3L2(%t0_0, {%t0_1}, 2 :", "@A_L3L2(%t0_0, {%t0_1}, 0 :", "A_L3L2 has depth 0"),
        ("@A_L3L2(%t0_0, {%t0_1}", "@A_L3L2(%t0_0, {}", "A_L3L2 has no consumer"),
        ("@A_L3L2(%t0_0, {%t0_1}", "@A_L3L2(%t0_1, {%t0_1}", "from memtile (0,1) to itself"),
        ("@A_L3L2(%t0_0, {%t0_1}", "@A_L3L2(%t0_0, {%t0_1, %t0_1}", "declared 2 times"),
    ],
)
def test_names(old: str, new: str, says: str) -> None:
    refuse(broken(one_core(), old, new), says)


# ----------------------------------------------------------------------------------------------- types


def test_function_with_other_types() -> None:
    text = broken(one_core(), "@matmul(memref<8x16xbf16>", "@matmul(memref<16x8xbf16>")
    refuse(text, "core (0,2) calls matmul", "memref<8x16xbf16>", "declared", "memref<16x8xbf16>")


def test_k_and_n_exchanged() -> None:
    """In the fifo only: the core acquires what does not come."""
    fifo = "{%t0_2}, 2 : i32) : !aie.objectfifo<memref<16x12xbf16>>"
    text = broken(one_core(), fifo, fifo.replace("16x12", "12x16"))
    refuse(text, "core (0,2) acquires B_L2L1 as memref<16x12xbf16>", "memref<12x16xbf16>")


def test_function_of_no_object_file() -> None:
    text = broken(one_core(), ' attributes {link_with = "matmul.o"}\n    func', "\n    func")
    refuse(text, "core (0,2) calls zero", "link_with")
    with_core = broken(text, "{stack_size = 3328 : i32}", '{stack_size = 3328 : i32, link_with = "matmul.o"}')
    check_wiring(parse(with_core))


def test_host_array_of_another_type() -> None:
    text = one_core().replace("%A: memref<384xbf16>", "%A: memref<384xf32>")
    text = text.replace("metadata = @A_L3L2} : memref<384xbf16>", "metadata = @A_L3L2} : memref<384xf32>")
    refuse(text, "shim A_L3L2: A is memref<384xf32>", "memref<128xbf16>")


# ----------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[0, 192, 384, 576]", "[0, 190, 384, 576]", "B_L2L1_1 at offset 190 overlaps the piece before"),
        ("[0, 192, 384, 576]", "[0, 194, 384, 576]", "B_L2L1_1 at offset 194 leaves a gap"),
        ("[0, 192, 384, 576]", "[0, 192, 384]", "3 offsets for 4 fifos"),
        ("([0, 96, 192, 288] [])", "([0, 48, 192, 288] [])", "C_L1L2_1 at offset 48 overlaps"),
        ("([0, 96, 192, 288] [])", "([] [0, 96, 192, 288])", "C_L2L3 is whole, it takes no offset"),
        ("<memref<768xbf16>>", "<memref<800xbf16>>", "pieces have 768 elements, an object of B_L3L2 has 800"),
        ("<memref<768xbf16>>", "<memref<768xf32>>", "element types bf16 and f32 differ"),
        (
            "link [@B_L3L2] -> [@B_L2L1_0, ",
            "link [@B_L3L2] -> [@B_L2L1_1, ",
            "B_L2L1_0 ends at memtile (0,1), where 0 links",
        ),
        (
            "link [@A_L3L2]",
            "link [@A_L3L2] -> [@A_L2L1]([] [])\n aie.objectfifo.link [@A_L3L2]",
            "where 2 links take it on",
        ),
        ("[@A_L3L2] -> [@A_L2L1]", "[@A_L3L2, @B_L3L2] -> [@A_L2L1, @B_L2L1_0]", "one input or one output"),
        ("[@A_L3L2] -> [@A_L2L1]", "[@A_L2L1] -> [@A_L3L2]", "at memtiles, A_L3L2 starts at shim (0,0)"),
        ("[@A_L3L2] -> [@A_L2L1]", "[@A_L2L1] -> [@A_L2L1]", "A_L2L1 does not come to memtile (0,1)"),
    ],
)
def test_links(old: str, new: str, says: str) -> None:
    refuse(broken(column(), old, new), says)


def test_fifo_that_no_link_takes_on() -> None:
    text = broken(one_core(), "aie.objectfifo.link [@A_L3L2] -> [@A_L2L1]([] [])", "")
    refuse(text, "A_L3L2 ends at memtile (0,1), where 0 links take it on")


# ----------------------------------------------------------------------------------------------- cores


def test_missing_release() -> None:
    refuse(broken(one_core(), RELEASE_A, ""), "core (0,2)", "acquires 1 of A_L2L1 and releases 0")


def test_missing_acquire() -> None:
    text = one_core()
    start = text.index("%sb = aie.objectfifo.acquire")
    acquire = text[start : text.index("\n", text.index("%b = ", start))]
    text = broken(text, acquire, "").replace("func.call @matmul(%a, %b, %c)", "func.call @zero(%c)")
    text = text.replace(": (memref<8x16xbf16>, memref<16x12xbf16>, memref<8x12xf32>)", ": (memref<8x12xf32>)")
    refuse(text, "core (0,2)", "acquires 0 of B_L2L1 and releases 1")


def test_release_before_acquire() -> None:
    text = broken(one_core(), RELEASE_A, "")
    refuse(broken(text, "%sa = aie", f"{RELEASE_A}\n %sa = aie"), "acquires 0 of A_L2L1 and releases 1")


def test_release_in_another_body() -> None:
    text = broken(one_core(), "aie.objectfifo.release @C_L1L2(Produce, 1)", "")
    text = broken(text, RELEASE_A, f"{RELEASE_A}\n aie.objectfifo.release @C_L1L2(Produce, 1)")
    refuse(text, "the body of loop %kk acquires 0 of C_L1L2 and releases 1")


def test_roles() -> None:
    text = one_core().replace("@A_L2L1(Consume", "@A_L2L1(Produce")
    refuse(text, "core (0,2) produces A_L2L1, whose producer is memtile (0,1)")
    refuse(
        one_core().replace("@C_L1L2(Produce", "@C_L1L2(Consume"), "consumes C_L1L2, which does not come there"
    )
    swapped = column().replace("@B_L2L1_1(Consume", "@B_L2L1_0(Consume")
    refuse(swapped, "core (0,3) consumes B_L2L1_0, which does not come there")


def test_acquire_of_more_than_there_is() -> None:
    text = one_core().replace("@A_L2L1(Consume, 1)", "@A_L2L1(Consume, 3)")
    refuse(text, "core (0,2) acquires 3 of A_L2L1, which has depth 2")


def test_acquire_in_the_else_of_an_if() -> None:
    text = one_core()
    start, end = text.index("%sa = aie"), text.index(RELEASE_A)
    step = text[start : text.index("\n", text.index("release @B_L2L1(", end))]
    condition = "%odd = arith.cmpi eq, %kk, %c0 : index\n scf.if %odd {\n } else {\n"
    refuse(broken(text, step, f"{condition}{step}\n}}"), "core (0,2)", "else of an scf.if is dropped")
    then = broken(text, step, f"%odd = arith.cmpi eq, %kk, %c0 : index\n scf.if %odd {{\n{step}\n}}")
    check_wiring(parse(then))


def test_program_where_no_core_is() -> None:
    refuse(broken(one_core(), "aie.core(%t0_2)", "aie.core(%t0_1)"), "memtile (0,1)")


# ---------------------------------------------------------------------------------- runtime parameters


def test_loaded_bound_without_dynamic_lowering() -> None:
    refuse(
        broken(runtime_k(), "dynamic_objfifo_lowering = true, ", ""), "core (0,2)", "dynamic_objfifo_lowering"
    )
    text = broken(runtime_k(), "dynamic_objfifo_lowering = true", "dynamic_objfifo_lowering = false")
    refuse(text, "dynamic_objfifo_lowering")


def test_bound_computed_from_a_parameter() -> None:
    text = broken(runtime_k(), "dynamic_objfifo_lowering = true, ", "")
    text = broken(
        text, "scf.for %kk = %c1 to %steps", "%n = arith.addi %steps, %c0 : index\n scf.for %kk = %c1 to %n"
    )
    refuse(text, "dynamic_objfifo_lowering")


LOAD = "%loaded = memref.load %buffer[%c0] : memref<1xi32>"


@pytest.mark.parametrize(
    "before",
    ["%sc = aie.objectfifo.acquire", "%sa = aie.objectfifo.acquire", "scf.for %round"],
    ids=["first in the round", "after the output is acquired", "before any round"],
)
def test_load_before_the_data_came(before: str) -> None:
    text = broken(broken(runtime_k(), LOAD, ""), before, f"{LOAD}\n {before}")
    refuse(text, "core (0,2) loads %buffer before it acquired an object to consume", "race")


def test_parameter_of_another_core() -> None:
    text = broken(runtime_k(), "aie.buffer(%t0_2)", "aie.buffer(%t0_1)")
    refuse(text, "core (0,2) loads %buffer, which is in memtile (0,1)")


def reading_steps(text: str) -> str:
    """A design whose core gives the parameter's buffer to a function as well."""
    declared = 'func.func private @see(memref<1xi32>) attributes {link_with = "matmul.o"}\n    func.func'
    return broken(text, "func.func", declared)


SEE = "func.call @see(%buffer) : (memref<1xi32>) -> ()"


def test_parameter_that_a_function_reads() -> None:
    text = reading_steps(runtime_k())
    check_wiring(parse(broken(text, LOAD, f"{LOAD}\n {SEE}")))
    refuse(
        broken(text, "%sc = aie.objectfifo.acquire", f"{SEE}\n %sc = aie.objectfifo.acquire"),
        "core (0,2) gives see %buffer before it acquired an object to consume",
        "race",
    )


def test_buffer_of_another_tile_given_to_a_function() -> None:
    text = broken(reading_steps(runtime_k()), LOAD, f"%three = arith.constant 3 : i32\n {SEE}")
    text = broken(text, "%steps = arith.index_cast %loaded", "%steps = arith.index_cast %three")
    text = broken(text, "aie.buffer(%t0_2)", "aie.buffer(%t0_1)")
    refuse(text, "core (0,2) gives see %buffer, which is in memtile (0,1)")


def test_parameters_that_do_not_exist() -> None:
    refuse(broken(runtime_k(), "rtp_write(@steps, 0", "rtp_write(@sheep, 0"), "there is no buffer sheep")
    refuse(broken(runtime_k(), "rtp_write(@steps, 0", "rtp_write(@steps, 1"), "index 1 is outside steps")


# --------------------------------------------------------------------------------------------- sequence

WAIT = "aiex.npu.dma_wait {symbol = @C_L2L3}"


def test_output_never_waited_for() -> None:
    refuse(broken(one_core(), WAIT, ""), "output C_L2L3: 1 tasks of 96 elements are never waited for")


def test_output_without_token() -> None:
    """Its lowering makes it give one whatever the text says: a wait too few would go unseen."""
    refuse(broken(one_core(), ", issue_token = true", ""), "output C_L2L3", "gives a token all the same")


def test_a_token_that_nobody_takes() -> None:
    """It would answer the next dispatch's wait."""
    text = one_core()
    task = task_of(text, "A_L3L2")
    refuse(broken(text, task, with_token(task)), "input A_L3L2: 1 tokens are never waited for")


def test_one_wait_takes_one_token() -> None:
    refuse(broken(one_core(), WAIT, f"{WAIT}\n{WAIT}"), "waits for C_L2L3", "token")
    text = one_core()
    task = task_of(text, "C_L2L3")
    other = broken(task, "id = 2", "id = 3")
    refuse(
        broken(text, task, f"{task}\n{other}"), "output C_L2L3: 1 tasks of 96 elements are never waited for"
    )
