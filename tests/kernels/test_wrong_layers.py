"""Texts of the layer kernels with one thing wrong: each is refused, and says why."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pytest

from tests.support.layer_dispatches import Case, attention, product, rows_of_stream, two_products
from tests.support.text_changes import Change, both, exchanged, put, twice, without
from whisper_npu.dtypes import DType

MEMCPY, WAIT = "aiex.npu.dma_memcpy_nd(", "aiex.npu.dma_wait"
WRONG_RESULT = r"of its tolerance"
HANGS = r"deadlock|unconsumed"
WAIT_OF_A = f"{WAIT} {{symbol = @A_L3L2_0}}"


@lru_cache
def case(name: str) -> Case:
    """As small as each kind of phase is, but with more than one round, and more than one block of rows."""
    rng = np.random.default_rng(0)
    match name:
        case "product":
            return product((300, 64, 500), rng)
        case "long product":
            return product((1100, 64, 500), rng)
        case "product in fp32":
            return product((200, 64, 200), rng, result=DType.F32)
        case "two products":
            return two_products(100, (64, 256, 256), rng)
        case "attention":
            return attention(60, 6, rng, rng.random(60) < 0.6)
        case _:
            return rows_of_stream((250, 512), rng, added=True, total=True, normed=True)


def moved_behind(line: str, which: int, other: str, of_others: int) -> Change:
    """A line that begins so goes behind another one; `which`, `of_others`: their numbers among such."""

    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        at = [number for number, one in enumerate(lines) if one.strip().startswith(line)][which]
        behind = [number for number, one in enumerate(lines) if one.strip().startswith(other)][of_others]
        assert at < behind
        lines.insert(behind, lines.pop(at))
        return "".join(lines)

    return change


def moved_before(line: str, other: str) -> Change:
    """The first line that begins so goes before the first that begins otherwise."""

    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        at, before = (
            next(number for number, one in enumerate(lines) if one.strip().startswith(start))
            for start in (line, other)
        )
        assert before < at
        lines.insert(before, lines.pop(at))
        return "".join(lines)

    return change


def unspread(text: str) -> str:
    return re.sub(r" dimensionsFromStream \[[^]]*\]", "", text)


# what is wrong: (dispatch, change, what is said)
WRONG: dict[str, tuple[str, Change, str]] = {
    # --- between phases
    "a wait between phases too late": (
        "two products",
        moved_behind(f"{WAIT} {{symbol = @C_L2L3_2}}", 0, f"{MEMCPY}%WORK", 7),
        r"shim A_L3L2_0 reads of WORK what a task of C_L2L3_2 may not have written yet",
    ),
    "a wait between phases missing": (
        "two products",
        without(f"{WAIT} {{symbol = @C_L2L3_1}}"),
        r"reads of WORK what a task of C_L2L3_1 may not have written yet",
    ),
    "a wait for an input between phases missing": (
        "two products",
        without(f"{WAIT} {{symbol = @A_L3L2_3}}"),
        r"input A_L3L2_3: 1 tokens are never waited for",
    ),
    "A sent ahead of what it reads": (
        "two products",
        moved_before(f"{MEMCPY}%WORK[0, 0, 0, 0][1, 4, 64, 64]", "// ahead"),
        r"shim A_L3L2_0 reads of WORK what a task of C_L2L3_0 may not have written yet",
    ),
    "C sent ahead over what is still read": (
        "two products",
        lambda text: re.sub(
            r"%Y\[0, 0, 0, 0\]\[[^]]*\]\[[^]]*\](.*)memref<\d+x",
            r"%X[0, 0, 0, 0][1, 1, 256, 64][0, 0, 64, 1]\1memref<16384x",
            text,
        ),
        r"shim C_L2L3_0 writes to X over what a task of A_L3L2_0 may not have read yet",
    ),
    "the second product reads what the first has read": (
        "two products",
        put("(%WORK[0, 0, 0, 16384][1, 4, 64, 64]", "(%WORK[0, 0, 0, 0][1, 4, 64, 64]"),
        WRONG_RESULT,
    ),
    "the header of the phase before": (
        "two products",
        put("%HEADERS[0, 0, 0, 16384]", "%HEADERS[0, 0, 0, 0]"),
        HANGS,
    ),
    "a header missing": (
        "product",
        without(f"{MEMCPY}%HEADERS", 2),
        r"nothing has written|" + HANGS,
    ),
    "a header twice": (
        "product",
        put("%HEADERS[0, 0, 0, 4096][1, 1, 1, 4096]", "%HEADERS[0, 0, 0, 4096][2, 1, 1, 4096]"),
        HANGS + "|" + WRONG_RESULT,
    ),
    "the header of another column": (
        "product",
        put("%HEADERS[0, 0, 0, 4096]", "%HEADERS[0, 0, 0, 8192]"),
        WRONG_RESULT,
    ),
    "the weights before the header": (
        "product",
        exchanged(f"{MEMCPY}%HEADERS[0, 0, 0, 0]", f"{MEMCPY}%WEIGHTS[0, 0, 0, 0]"),
        HANGS + "|" + WRONG_RESULT,
    ),
    # --- queues
    "a fifth task on a queue": (
        "long product",
        without(f"{WAIT} {{symbol = @A_L3L2_0}}"),
        r"takes buffer descriptor 0",
    ),
    "a fifth task with a descriptor of its own": (
        "long product",
        both(
            moved_behind(WAIT_OF_A, 0, f"{MEMCPY}%X[0, 0, 0, 65536]", 0),
            lambda text: re.sub(r"(%X\[0, 0, 0, 65536\].*)id = 0", r"\1id = 12", text),
        ),
        r"5 tasks of A_L3L2_0 may be outstanding, the limit is 4",
    ),
    # --- what the shims move
    "A of the next rows of cores": ("product", put("%X[0, 0, 0, 4096]", "%X[0, 0, 0, 8192]"), WRONG_RESULT),
    "A of the first row block twice": ("product", put("%X[0, 0, 0, 16384]", "%X[0, 0, 0, 0]"), WRONG_RESULT),
    "A once for two column blocks": ("product", put("[2, 1, 64, 64]", "[1, 1, 64, 64]"), HANGS),
    "B of the second row block missing": ("product", put("[2, 1, 1, 8192]", "[1, 1, 1, 8192]"), HANGS),
    "B of another column": (
        "product",
        put("%WEIGHTS[0, 0, 0, 8192]", "%WEIGHTS[0, 0, 0, 16384]"),
        WRONG_RESULT,
    ),
    "B not spread": ("product", unspread, r"divmod|nothing has written|" + HANGS + "|" + WRONG_RESULT),
    "C of another column": ("product", put("(%Y[0, 0, 0, 128]", "(%Y[0, 0, 0, 64]"), WRONG_RESULT),
    "C's column blocks and row blocks exchanged": (
        "product",
        put("[131072, 256, 512, 1]", "[256, 131072, 512, 1]"),
        WRONG_RESULT,
    ),
    "the halves of fp32 side by side": (
        "product in fp32",
        put("[2, 1, 256, 64][256,", "[2, 1, 256, 64][64,"),
        WRONG_RESULT,
    ),
    "K and V of the next head": ("attention", put("%X[0, 0, 0, 640]", "%X[0, 0, 0, 768]"), WRONG_RESULT),
    "V without K": ("attention", put("%X[0, 0, 0, 640]", "%X[0, 0, 0, 704]"), WRONG_RESULT),
    "keys in another order": (
        "attention",
        put("64, 128][", "32, 256]["),
        r"outside X|" + WRONG_RESULT,
    ),
    "a block of keys too few": ("attention", put("64, 128][", "32, 128]["), HANGS),
    "queries of one head for all": (
        "attention",
        put("[2, 4, 64, 64][256, 64,", "[2, 4, 64, 64][256, 0,"),
        r"only the outermost dimension may repeat",
    ),
    "queries of the heads in another order": (
        "attention",
        put("[2, 4, 64, 64][256, 64,", "[2, 4, 64, 64][64, 256,"),
        WRONG_RESULT,
    ),
    "halves of x exchanged": (
        "rows",
        put("[8, 2, 4, 1024][16384, 131072,", "[8, 2, 4, 1024][16384, 16384,"),
        WRONG_RESULT,
    ),
    "x of the next row of cores": ("rows", put("%X[0, 0, 0, 4096]", "%X[0, 0, 0, 8192]"), WRONG_RESULT),
    "rows added of another column": ("rows", put("%U[0, 0, 0, 32768]", "%U[0, 0, 0, 65536]"), WRONG_RESULT),
    "rows added in planes": (
        "rows",
        put("[2, 1, 32, 1024][131072, 32768, 1024, 1]", "[2, 2, 16, 1024][65536, 131072, 1024, 1]"),
        WRONG_RESULT,
    ),
    "a plane too near": ("rows", put("[65536, 131072, 1024, 1]", "[65536, 65536, 1024, 1]"), WRONG_RESULT),
    "planes in each round": (
        "rows",
        put("[2, 3, 16, 1024][65536, 131072,", "[2, 3, 16, 1024][196608, 65536,"),
        r"outside Y|" + WRONG_RESULT,
    ),
    "normalised rows left out": ("rows", put("[2, 3, 16, 1024]", "[2, 2, 16, 1024]"), HANGS),
    # --- what the cores do
    "a core takes another column's head": (
        "attention",
        put("%column = arith.constant 0", "%column = arith.constant 1"),
        WRONG_RESULT,
    ),
    "a core takes another column's units": (
        "rows",
        put("%column = arith.constant 1", "%column = arith.constant 2"),
        WRONG_RESULT,
    ),
    "a core adds another row's units": (
        "rows",
        put("%row = arith.constant 3", "%row = arith.constant 2"),
        WRONG_RESULT,
    ),
    "a core that there is not": (
        "rows",
        put("%row = arith.constant 3", "%row = arith.constant 4"),
        WRONG_RESULT,
    ),
    "heads of another number": (
        "attention",
        put("%heads = arith.constant 4", "%heads = arith.constant 3"),
        HANGS,
    ),
    "an acquire dropped": (
        "product",
        without("%tile1 = aie.objectfifo.acquire @A_L2L1_0"),
        r"%tile1 is not defined",
    ),
    "an acquire and its release dropped": (
        "rows",
        lambda text: re.sub(
            r"\n *%tile\d+ = aie.objectfifo.acquire @B_L2L1_0.*\n *func.call @layer_rows_add.*"
            r"\n *aie.objectfifo.release @B_L2L1_0.*",
            "",
            text,
            count=1,
        ),
        HANGS,
    ),
    "a release dropped": (
        "product",
        without("aie.objectfifo.release @B_L2L1_0", 1),
        r"the body of loop %step acquires 1 of B_L2L1_0 and releases 0",
    ),
    "an object of C given away too early": (
        "attention",
        both(
            without("aie.objectfifo.release @C_L1L2_0_0(Produce", 2),
            put(
                "func.call @layer_attend_start",
                "aie.objectfifo.release @C_L1L2_0_0(Produce, 1)\nfunc.call @layer_attend_start",
            ),
        ),
        r"uses %tile\d+ of C_L1L2_0_0 after its release",
    ),
    "sums not zeroed": ("two products", without("func.call @layer_zero"), r"nothing has written"),
    "a step left out": ("product", without("func.call @layer_matmul"), WRONG_RESULT),
    "a step twice": ("product", twice("func.call @layer_matmul"), WRONG_RESULT),
    "an epilogue left out": ("product", without("func.call @layer_finish(", 5), r"nothing has written"),
    "biases of the first column block for all": (
        "product",
        put("%tile3, %of_c_i32)", "%tile3, %row)"),
        WRONG_RESULT,
    ),
    "attention not begun": ("attention", without("func.call @layer_attend_start"), r"nothing has written"),
    "attention not ended": ("attention", without("func.call @layer_attend_finish"), WRONG_RESULT),
    "a query left out": ("attention", without("func.call @layer_query"), r"nothing has written"),
    "the mask of another block": (
        "attention",
        lambda text: re.sub(r"(@layer_attend\(.*), %block_i32\)", r"\1, %column)", text, count=1),
        WRONG_RESULT,
    ),
    "rows not taken": ("rows", without("func.call @layer_rows_take"), r"nothing has written"),
    "rows not added": ("rows", without("func.call @layer_rows_add"), WRONG_RESULT),
    "sums and normalised rows exchanged": (
        "rows",
        exchanged("func.call @layer_rows_sum", "func.call @layer_rows_normed"),
        r"not defined|is defined twice",
    ),
    "numbers of the wrong loop": (
        "product",
        put("%steps_i32 = memref.load %numbers_0_0[%c3]", "%steps_i32 = memref.load %numbers_0_0[%c0]"),
        HANGS + "|" + WRONG_RESULT,
    ),
    "numbers before the header": (
        "product",
        lambda text: re.sub(
            r"(?s)( *%tile0 = aie.objectfifo.acquire @B_L2L1_0.*?release @B_L2L1_0\(Consume, 1\)\n)"
            r"( *%tiles_i32 = memref.load [^\n]*\n)",
            r"\2\1",
            text,
            count=1,
        ),
        r"loads %numbers_0_0 before it acquired",
    ),
    "a loop that the toolchain would unroll": (
        "product",
        put("dynamic_objfifo_lowering = true, ", ""),
        r"dynamic_objfifo_lowering",
    ),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda name: name.replace(" ", "-"))
def test_a_layer_with_one_thing_wrong_is_refused(wrong: str) -> None:
    name, change, says = WRONG[wrong]
    right = case(name)
    text = change(right.dispatch.text)
    assert text != right.dispatch.text
    said = right.said(text)
    assert said
    assert re.search(says, said), said


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in WRONG.values()))
def test_nothing_is_wrong_with_the_text_itself(name: str) -> None:
    assert case(name).said(case(name).dispatch.text) == ""
