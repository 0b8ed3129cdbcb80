"""Text to data; and every text that is not understood to one line that says where."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whisper_npu.kernels.verifier
from tests.support.verifier_designs import broken, column, one_core, runtime_k
from whisper_npu.kernels.verifier import DesignError, MemRef, parse
from whisper_npu.kernels.verifier.design import For, Load, Memcpy, WriteParameter


def refuse(text: str, *says: str) -> None:
    with pytest.raises(DesignError, match=r"^line \d+: ") as raised:
        parse(text)
    for part in says:
        assert part in str(raised.value)


def test_design() -> None:
    design = parse(column())
    assert design.device == "npu1_1col"
    assert [(tile.col, tile.row) for tile in design.tiles] == [(0, row) for row in range(6)]
    a = design.fifo("A_L2L1")
    assert str(a.producer) == "memtile (0,1)"
    assert [str(tile) for tile in a.consumers] == [f"core (0,{row})" for row in range(2, 6)]
    assert a.memref == MemRef((8, 16), "bf16")
    assert a.to_stream == ((2, 64), (2, 8), (4, 16), (8, 1))
    assert a.depth == 2
    b = design.fifo("B_L3L2")
    assert (b.depth, b.producer_depth, b.consumer_depth(b.consumers[0])) == ((1, 2), 1, 2)
    assert design.links[1].out_offsets == (0, 192, 384, 576)
    assert design.links[2].in_offsets == (0, 96, 192, 288)
    assert [function.link_with for function in design.functions] == ["matmul.o", "matmul.o"]
    assert [core.stack_size for core in design.cores] == [3328] * 4
    assert isinstance(design.cores[0].body[-1], For)
    task = design.sequence.ops[0]
    assert isinstance(task, Memcpy)
    assert (task.argument, task.fifo, task.token, task.id) == ("C", "C_L2L3", True, 0)
    assert (task.sizes, task.strides) == ((3, 4, 8, 12), (384, 12, 48, 1))


def test_runtime_loop() -> None:
    design = parse(runtime_k())
    (buffer,) = design.buffers
    assert (buffer.name, buffer.value, str(buffer.tile)) == ("steps", "%buffer", "core (0,2)")
    assert design.cores[0].dynamic_objfifo_lowering
    loop = design.cores[0].body[-1]
    assert isinstance(loop, For)
    assert sum(isinstance(op, Load) for op in loop.body) == 1


@pytest.mark.parametrize(
    "spelling",
    [
        "(@steps, 0, 3)",
        "(@steps, 0, %three) : i32",
    ],
)
def test_spellings_of_rtp_write(spelling: str) -> None:
    constant = "%three = arith.constant 3 : i32\n      " if "%three" in spelling else ""
    text = broken(runtime_k(), "aiex.npu.rtp_write(@steps, 0, 3)", f"{constant}aiex.npu.rtp_write{spelling}")
    assert WriteParameter("steps", 0, 3) in parse(text).sequence.ops


def test_attributes_in_any_order() -> None:
    text = broken(
        runtime_k(),
        "{dynamic_objfifo_lowering = true, stack_size = 3328 : i32}",
        '{stack_size = 4096 : i32, link_with = "x.o", dynamic_objfifo_lowering = true}',
    )
    (core,) = parse(text).cores
    assert (core.stack_size, core.link_with, core.dynamic_objfifo_lowering) == (4096, "x.o", True)


def test_order_at_a_consumer() -> None:
    text = broken(one_core(), "{%t0_2}, 2", "{%t0_2 dimensionsFromStream [<size = 128, stride = 1>]}, 2")
    assert parse(text).fifo("A_L2L1").from_stream == (((128, 1),),)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("aie.device(npu1_1col)", "aie.device(1)", "expected a word, found '1'"),
        ("aie.tile(0, 2)", "aie.logical_tile(0, 2)", "unknown operation 'aie.logical_tile'"),
        ("func.call @zero(%c)", "func.invoke @zero(%c)", "unknown operation 'func.invoke'"),
        ("aiex.npu.dma_wait", "aiex.npu.sync", "unknown operation 'aiex.npu.sync'"),
        ("aie.end", "scf.yield\n aie.end", "unknown operation 'scf.yield'"),
        ("aie.end", "", "expected a word"),
        ("scf.for %kk = %c0 to %steps", "scf.for %kk = %c0 to %stops", "%stops is not defined"),
        ("scf.for %kk = %c0 to %steps", "scf.for %kk = %c0 to %c", "%c is memref<8x12xf32>, not index"),
        ("%c1 = arith", "%c0 = arith", "%c0 is defined twice"),
        ("%sa[0]", "%sa[1]", "%sa has 1 objects, there is no [1]"),
        ("%b, %c) : (memref<8x16xbf16>", "%b, %c) : (memref<16x8xbf16>", "%a is memref<8x16xbf16>"),
        ("%a, %b, %c)", "%a, %b)", "2 arguments, 3 types"),
        ("memref<8x12xf32>", "memref<8x12xf64>", "memref<8x12xf64> is no static memref"),
        ("memref<8x12xf32>", "memref<?x12xf32>", "memref<?x12xf32> is no static memref"),
        ("(%t0_0, {%t0_1}", "(%t7_0, {%t0_1}", "%t7_0 is not defined"),
        ("(Consume, 1)", "(Borrow, 1)", "'Borrow' is none of"),
        ("(Consume, 1)", "(Consume, 0)", "0 objects"),
        ("{stack_size = 3328", "{stack = 3328", "'stack' is none of stack_size"),
        ("issue_token = true", "issue_token = 1", "issue_token must be true or false"),
        ("id = 1 : i64", "id = true", "id must be an integer"),
        ("metadata = @A_L3L2", "metadata = 3", "metadata must be a name"),
        ("[0, 16, 48, 1]", "[16, 48, 1]", "4 offsets, sizes and strides"),
        ("[1, 3, 8, 16]", "[1, 0, 8, 16]", "sizes from 1"),
        ("-> [@A_L2L1]", "-> @A_L2L1", "expected '['"),
        (
            "2 : i32) : !aie.objectfifo<memref<128",
            "[1 : i32] ) : !aie.objectfifo<memref<128",
            "1 depths for a producer",
        ),
        ("module {", "module ~ {", "unexpected '~'"),
        (
            "aie.runtime_sequence @sequence(",
            "aie.runtime_sequence @sequence() { }\n aie.runtime_sequence @s(",
            "this has 2",
        ),
    ],
)
def test_refused(old: str, new: str, says: str) -> None:
    refuse(broken(one_core(), old, new), says)


def test_line_of_an_error() -> None:
    text = broken(one_core(), "    aie.objectfifo @B_L3L2(", "    aie.objectpipe @B_L3L2(")
    number = next(n for n, line in enumerate(text.splitlines(), 1) if "objectpipe" in line)
    refuse(
        text, f"line {number}: unknown operation 'aie.objectpipe': aie.objectpipe @B_L3L2(%t0_0, {{%t0_1}}"
    )


def test_load_of_a_fifo_s_object() -> None:
    text = broken(
        one_core(), "func.call @zero", "%x = memref.load %c[%c0, %c0] : memref<8x12xf32>\n func.call @zero"
    )
    refuse(text, "%c is no aie.buffer of i32")


@given(st.data())
def test_mangled_text(data: st.DataObject) -> None:
    """Whatever is cut out: it still parses, or DesignError says where; nothing else is raised."""
    text = runtime_k()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    try:
        parse(text[:start] + text[end:])
        outcome = "parsed"
    except DesignError as error:
        outcome = str(error)
    assert outcome.startswith(("parsed", "line "))


@pytest.mark.parametrize("text", ["", "\n\n", "// nothing", "module {", "module { aie.device(npu1) { } }"])
def test_no_design(text: str) -> None:
    refuse(text)


def test_imports() -> None:
    """It can judge generators and contracts only as long as it knows neither."""
    folder = Path(whisper_npu.kernels.verifier.__file__).parent
    allowed = ["whisper_npu.kernels.verifier", "whisper_npu.npu.targets", "whisper_npu.errors"]
    allowed.append("whisper_npu.kernels.toolchain")  # the spellings
    # What cores call is given to it, as what sources say.
    for_functions = ["whisper_npu.kernels.core", "whisper_npu.host", "whisper_npu.cache", "whisper_npu.home"]
    for path in folder.glob("*.py"):
        known = (*allowed, *(for_functions if path.stem == "core_functions" else ()))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                modules += [alias.name for alias in node.names]
            for module in modules:
                if module.startswith("whisper_npu"):
                    assert module.startswith(known), f"{path.name} imports {module}"
                    assert path.stem == "core_functions" or not module.endswith("core_functions")
