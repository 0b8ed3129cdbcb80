"""Designs with one thing wrong, in the texts of every path of the generators: each is refused, and says why.

By structure where limits or wiring show it, by execution where it hangs, races or loses data, by comparison
with float64 where it computes something else. What is only written otherwise is at the end, and accepted.
"""

from __future__ import annotations

import re

import pytest

from tests.support.mutated_designs import RIGHT, verdict
from tests.support.text_changes import Change, both, exchanged, put, put_all, twice, without

MEMCPY, FIFO = "aiex.npu.dma_memcpy_nd(", "aie.objectfifo "
WRONG_PRODUCT = r"out of tolerance"
HANGS = r"deadlock|unconsumed"

# what is wrong: (design, change, what is said)
WRONG: dict[str, tuple[str, Change, str]] = {
    # --- what the shims move
    "A from its second element on": (
        "gemm",
        put("%A[0, 0, 0, 384]", "%A[0, 0, 0, 386]"),
        r"outside A|" + WRONG_PRODUCT,
    ),
    "A of another column's rows": ("gemm", put("%A[0, 0, 0, 384]", "%A[0, 0, 0, 768]"), WRONG_PRODUCT),
    "B of another column": ("gemm", put("%B[0, 0, 0, 16]", "%B[0, 0, 0, 32]"), WRONG_PRODUCT),
    "B of another column, wide": ("wide", put("%B[0, 0, 0, 64]", "%B[0, 0, 0, 128]"), WRONG_PRODUCT),
    "C to another column": ("gemm", put("%C[0, 0, 0, 16]", "%C[0, 0, 0, 32]"), WRONG_PRODUCT),
    "C a row too low": ("wide", put("%C[0, 0, 0, 64]", "%C[0, 0, 0, 320]"), r"outside C"),
    "C beyond its end": ("gemm", put("%C[0, 0, 0, 48]", "%C[0, 0, 0, 64]"), r"element \d+ is outside C"),
    "A with too long rows": ("gemm", put("[1536, 8, 24, 1]", "[1536, 8, 26, 1]"), WRONG_PRODUCT),
    "A with steps of K that overlap": ("gemm", put("[1536, 8, 24, 1]", "[1536, 4, 24, 1]"), WRONG_PRODUCT),
    "A of the first round twice": ("gemm", put("[1536, 8, 24, 1]", "[0, 8, 24, 1]"), WRONG_PRODUCT),
    "B not sent again": ("gemm", put("[2, 1, 24, 16][0,", "[1, 1, 24, 16][0,"), HANGS),
    "B sent three times": ("gemm", put("[2, 1, 24, 16][0,", "[3, 1, 24, 16][0,"), HANGS),
    "A sent three times": ("gemm", put("[2, 3, 16, 8][1536", "[3, 3, 16, 8][768"), r"outside A|" + HANGS),
    "B with strides exchanged": (
        "wide",
        put("[2048, 16, 256, 1]", "[16, 2048, 256, 1]"),
        r"outside B|" + WRONG_PRODUCT,
    ),
    "B without its stride": ("wide", put("[2048, 16, 256, 1]", "[2048, 16, 16, 1]"), WRONG_PRODUCT),
    "A two steps of K only": ("wide", put("[1, 3, 16, 8]", "[1, 2, 16, 8]"), HANGS),
    "A four steps of K": ("wide", put("[1, 3, 16, 8][0, 8,", "[1, 4, 16, 8][0, 4,"), HANGS),
    "A half an object": ("wide", put("[1, 3, 16, 8]", "[1, 3, 16, 4]"), r"no multiple of an object"),
    "an odd offset": ("wide", put("%A[0, 0, 0, 0]", "%A[0, 0, 0, 1]"), r"outside A|no multiple of 4"),
    "C's columns in another order": ("gemm", put("[4096, 4096, 64, 1]", "[64, 4096, 64, 1]"), WRONG_PRODUCT),
    "C's rows further apart": ("wide", put("[0, 16, 256, 1]", "[0, 16, 240, 1]"), WRONG_PRODUCT),
    "a task left out": ("gemm", without(f"{MEMCPY}%A", 1), r"deadlock"),
    "a task of B left out": ("gemm", without(f"{MEMCPY}%B", 2), r"deadlock"),
    "a task of C left out": ("gemm", without(f"{MEMCPY}%C", 3), r"none of whose tasks will issue a token"),
    "a task twice": ("gemm", twice(f"{MEMCPY}%A"), r"takes buffer descriptor 0"),
    "a task twice, with a descriptor of its own": (
        "gemm",
        both(twice(f"{MEMCPY}%A"), put("{id = 0 :", "{id = 1 :")),
        HANGS,
    ),
    "five tasks at once": (
        "one core",
        put(
            "      aiex.npu.dma_memcpy_nd(%A",
            "".join(
                f"      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 0][1, 1, 16, 8][0, 0, 8, 1]) {{id = {n} : i64, "
                "metadata = @A_L3L2} : memref<128xbf16>\n"
                for n in range(10, 14)
            )
            + "      aiex.npu.dma_memcpy_nd(%A",
        ),
        r"5 tasks of A_L3L2 may be outstanding, the limit is 4",
    ),
    "A through B's fifo": ("gemm", put("metadata = @A_L3L2_0", "metadata = @B_L3L2_0"), HANGS),
    "A through another column": (
        "gemm",
        put("metadata = @A_L3L2_0", "metadata = @A_L3L2_1"),
        r"descriptor 0|" + HANGS,
    ),
    "two columns of A exchanged": (
        "gemm",
        both(
            both(
                put("metadata = @A_L3L2_0", "metadata = @X"),
                put("metadata = @A_L3L2_1", "metadata = @A_L3L2_0"),
            ),
            put("metadata = @X", "metadata = @A_L3L2_1"),
        ),
        WRONG_PRODUCT,
    ),
    "two pairs exchanged": (
        "pairs",
        both(
            both(
                put("metadata = @AB_L3L2_0", "metadata = @X"),
                put("metadata = @AB_L3L2_1", "metadata = @AB_L3L2_0"),
            ),
            put("metadata = @X", "metadata = @AB_L3L2_1"),
        ),
        WRONG_PRODUCT,
    ),
    "A in place of B": ("gemm", put("(%B[0, 0, 0, 0]", "(%A[0, 0, 0, 0]"), r"%A is memref"),
    "a descriptor in use": ("gemm", put("{id = 4 :", "{id = 0 :"), r"takes buffer descriptor 0"),
    "a descriptor that is none": ("gemm", put("{id = 4 :", "{id = 16 :"), r"id 16 is none of 16"),
    # --- waits and tokens
    "C not waited for": ("gemm", without("aiex.npu.dma_wait"), r"never waited for"),
    "no C waited for": ("one core", without("aiex.npu.dma_wait"), r"never waited for"),
    "a wait for another": ("gemm", put("symbol = @C_L2L3_0", "symbol = @C_L2L3_1"), r"token"),
    "a wait twice": ("gemm", twice("aiex.npu.dma_wait"), r"none of whose tasks"),
    "a wait for an input": ("gemm", put("symbol = @C_L2L3_0", "symbol = @A_L3L2_0"), r"none of whose tasks"),
    "C without a token": ("gemm", put(", issue_token = true", ""), r"gives a token all the same"),
    "C waited for before its task": (
        "one core",
        exchanged(f"{MEMCPY}%C", "aiex.npu.dma_wait"),
        r"none of whose tasks",
    ),
    "an input's token that stays": (
        "gemm",
        put("metadata = @A_L3L2_0", "metadata = @A_L3L2_0, issue_token = true"),
        r"tokens are never waited for",
    ),
    # --- numbers for cores
    "a step too few": ("gemm", put("dense<3>", "dense<2>"), HANGS + "|" + WRONG_PRODUCT),
    "a step too many": ("gemm", put("dense<3>", "dense<4>"), HANGS),
    "a number to another core": (
        "gemm",
        put("buffer = @steps_0_1", "buffer = @steps_0_0"),
        r"nothing has written",
    ),
    "a number missing": ("gemm", without("aiex.npu.blockwrite"), r"nothing has written"),
    "a number behind its buffer": (
        "gemm",
        put("address = 0", "address = 1"),
        r"index 1 is outside steps_0_0",
    ),
    "a number after A": ("gemm", exchanged("aiex.npu.blockwrite", f"{MEMCPY}%A"), r"a race"),
    "a row too many": (
        "norm",
        lambda t: re.sub(r"dense<\[(\d+), ", lambda m: f"dense<[{int(m[1]) + 1}, ", t, count=1),
        HANGS,
    ),
    "another inverse": (
        "norm",
        lambda t: re.sub(r", (\d{6,})\]>", lambda m: f", {int(m[1]) + 4_000_000}]>", t, count=1),
        WRONG_PRODUCT,
    ),
    # --- fifos and links
    "A in another order": (
        "one core",
        put(
            "<size = 4, stride = 32>, <size = 1, stride = 8>, <size = 4, stride = 8>",
            "<size = 4, stride = 8>, <size = 1, stride = 8>, <size = 4, stride = 32>",
        ),
        WRONG_PRODUCT,
    ),
    "B in no order": (
        "gemm",
        lambda t: re.sub(r"(@B_L2L1_0\(%t0_1) dimensionsToStream \[[^]]*\]", r"\1", t),
        WRONG_PRODUCT,
    ),
    "C in no order": (
        "gemm",
        lambda t: re.sub(r"(@C_L2L3_0\(%t0_1) dimensionsToStream \[[^]]*\]", r"\1", t),
        WRONG_PRODUCT,
    ),
    "an order of half an object": (
        "gemm",
        put(
            "[<size = 1, stride = 128>, <size = 4, stride = 4>",
            "[<size = 1, stride = 128>, <size = 2, stride = 4>",
        ),
        r"moves 64 elements of 128",
    ),
    "an order that visits twice": (
        "gemm",
        put(
            "<size = 8, stride = 16>, <size = 4, stride = 1>]",
            "<size = 8, stride = 12>, <size = 4, stride = 1>]",
        ),
        r"visits elements twice|reaches",
    ),
    "a depth of 0": ("gemm", put("{%t0_1}, 2 : i32", "{%t0_1}, 0 : i32"), r"depth 0"),
    "a depth of 64": ("gemm", put("{%t0_1}, 1 : i32", "{%t0_1}, 64 : i32"), r"the limit is"),
    "objects of another size": ("gemm", put("memref<128xbf16>>", "memref<256xbf16>>"), r"elements"),
    "objects of another type": ("gemm", put("memref<1024xf32>>", "memref<1024xi32>>"), r"differ|i32"),
    "pieces of C exchanged": (
        "gemm",
        put("[@C_L1L2_0_0, @C_L1L2_0_1,", "[@C_L1L2_0_1, @C_L1L2_0_0,"),
        WRONG_PRODUCT,
    ),
    "pieces of B exchanged": (
        "wide",
        put("[@B_L2L1_0_0, @B_L2L1_0_1,", "[@B_L2L1_0_1, @B_L2L1_0_0,"),
        WRONG_PRODUCT,
    ),
    "pieces of the pairs exchanged": (
        "pairs",
        put("[@AB_L2L1_0_0, @AB_L2L1_0_1,", "[@AB_L2L1_0_1, @AB_L2L1_0_0,"),
        WRONG_PRODUCT,
    ),
    "pieces that overlap": ("wide", put("[0, 128, 256, 384]", "[0, 64, 256, 384]"), r"overlaps"),
    "pieces with a gap": ("wide", put("[0, 128, 256, 384]", "[0, 192, 256, 384]"), r"leaves a gap"),
    "a link left out": ("gemm", without("aie.objectfifo.link"), r"0 links take it on"),
    "a link twice": ("gemm", twice("aie.objectfifo.link"), r"2 links take it on"),
    "two producers": ("gemm", twice(f"{FIFO}@C_L1L2_0_0"), r"C_L1L2_0_0 is declared 2 times"),
    "a producer elsewhere": (
        "gemm",
        put("@C_L1L2_0_0(%t0_2,", "@C_L1L2_0_0(%t1_2,"),
        r"produces C_L1L2_0_0, whose producer is core \(1,2\)|channels",
    ),
    "a consumer missing": (
        "gemm",
        put("{%t0_2, %t1_2, %t2_2, %t3_2}", "{%t0_2, %t1_2, %t2_2}"),
        r"does not come there",
    ),
    "a consumer elsewhere": (
        "wide",
        put("{%t0_2}, 2 : i32", "{%t0_3}, 2 : i32"),
        r"does not come there|channels",
    ),
    "a consumer too many": (
        "one core",
        both(
            put("    %t0_2 = aie.tile(0, 2)", "    %t0_2 = aie.tile(0, 2)\n    %t0_3 = aie.tile(0, 3)"),
            put("{%t0_2}, 2 : i32", "{%t0_2, %t0_3}, 2 : i32"),
        ),
        HANGS,
    ),
    "a tile twice": ("gemm", put("aie.tile(1, 2)", "aie.tile(0, 2)"), r"tile \(0,2\) is declared 2 times"),
    "a tile outside": ("gemm", put("aie.tile(3, 5)", "aie.tile(4, 5)"), r"is its column"),
    "a core that is a memtile": ("gemm", put("aie.tile(3, 5)", "aie.tile(3, 1)"), r"declared 2 times"),
    # --- what the cores do
    "a core's endless loop that ends": (
        "gemm",
        put("arith.constant 4294967295", "arith.constant 1000"),
        r"has ended after 1,000 rounds",
    ),
    "a core without a program": (
        "one core",
        lambda t: t[: t.index("    %core_0_2")] + t[t.index("    // DRAM") :],
        r"deadlock",
    ),
    "a stack of 64": (
        "gemm",
        put("stack_size = 3328", "stack_size = 64"),
        r"64 bytes for the stack; 3,328 are the least",
    ),
    "a stack one vector short": (
        "gemm",
        put("stack_size = 3328", "stack_size = 3296"),
        r"3,296 bytes for the stack",
    ),
    "a stack that ends within a vector": (
        "gemm",
        put("stack_size = 3328", "stack_size = 3332"),
        r"3,332 bytes for the stack are no multiple of 32",
    ),
    "no stack": ("gemm", put(", stack_size = 3328 : i32", ""), r"no stack_size"),
    "C not zeroed": ("gemm", without("func.call @zero_f32"), r"which nothing has written"),
    "C zeroed after the first step": (
        "gemm",
        both(
            without("func.call @zero_f32"),
            put(
                "release @A_L2L1_0(Consume, 1)\n",
                "release @A_L2L1_0(Consume, 1)\nfunc.call @zero_f32(%tile0) : (memref<16x16xf32>) -> ()\n",
            ),
        ),
        r"nothing has written",
    ),
    "C zeroed in each step": (
        "wide",
        put(
            "          func.call @matmul_bf16_f32",
            "          func.call @zero_f32(%tile0) : (memref<16x16xf32>) -> ()\n          func.call @matmul_bf16_f32",  # noqa: E501
        ),
        WRONG_PRODUCT,
    ),
    "a product left out": ("gemm", without("func.call @matmul_bf16_f32"), WRONG_PRODUCT),
    "a product twice": ("gemm", twice("func.call @matmul_bf16_f32"), WRONG_PRODUCT),
    "a product of one core left out": (
        "wide",
        without("func.call @matmul_bf16_f32", 7),
        r"nothing has|" + WRONG_PRODUCT,
    ),
    "B's tile in place of another": (
        "gemm",
        put("@matmul_bf16_f32(%tile3, %tile4,", "@matmul_bf16_f32(%tile1, %tile4,"),
        r"after its release",
    ),
    "a loop from 0": ("gemm", put("%kk = %c1 to", "%kk = %c0 to"), HANGS),
    "a loop one short": ("wide", put("%kk = %c0 to", "%kk = %c1 to"), HANGS),
    "a step of K too many": ("wide", put("%steps = arith.constant 3", "%steps = arith.constant 4"), HANGS),
    "a release left out": (
        "gemm",
        without("aie.objectfifo.release @A_L2L1_0"),
        r"acquires 1 of A_L2L1_0 and releases 0",
    ),
    "a release of C left out": (
        "gemm",
        without("aie.objectfifo.release @C_L1L2_0_0"),
        r"acquires 1 of C_L1L2_0_0 and releases 0",
    ),
    "a release twice": ("gemm", twice("aie.objectfifo.release @A_L2L1_0"), r"releases 2"),
    "a release before its use": (
        "gemm",
        exchanged("func.call @matmul_bf16_f32", "aie.objectfifo.release @A_L2L1_0"),
        r"after its release",
    ),
    "a release in place of an acquire": (
        "gemm",
        put("release @C_L1L2_0_0(Produce", "release @C_L1L2_0_0(Consume"),
        r"does not come there|releases",
    ),
    "an acquire of two": (
        "gemm",
        put("@A_L2L1_0(Consume, 1) : memref", "@A_L2L1_0(Consume, 2) : memref"),
        r"takes 1",
    ),
    "an acquire of another fifo": (
        "wide",
        put("acquire @B_L2L1_0_0(", "acquire @B_L2L1_0_1("),
        r"does not come there",
    ),
    "a number read too early": (
        "gemm",
        both(
            without("%steps_i32 = memref.load"),
            put("%tile0 = aie", "%steps_i32 = memref.load %steps_0_0[%c0] : memref<1xi32>\n%tile0 = aie"),
        ),
        r"before it acquired",
    ),
    "a number of another core": (
        "gemm",
        put("memref.load %steps_0_0", "memref.load %steps_0_1"),
        r"loads %steps_0_1, which is in core \(0,3\)",
    ),
    "a loop that the toolchain would unroll": (
        "gemm",
        put("dynamic_objfifo_lowering = true, ", ""),
        r"dynamic_objfifo_lowering",
    ),
    "another function": (
        "one core",
        put("func.call @matmul_bf16_f32", "func.call @matmul_bf16_f16"),
        r"not declared",
    ),
    "functions of another object": (
        "one core",
        put_all("matmul_16x8x16.o", "matmul_16x16x16.o"),
        r"in matmul_16x16x16.o it is",
    ),
    "A and B exchanged": (
        "one core",
        put(
            "(%tile1, %tile2, %tile0) : (memref<16x8xbf16>, memref<8x16xbf16>",
            "(%tile2, %tile1, %tile0) : (memref<8x16xbf16>, memref<16x8xbf16>",
        ),
        r"declared is",
    ),
    "rows of another chunk": (
        "norm",
        put("%parameters_0_0, %chunk_i32)", "%parameters_0_0, %c0_i32)"),
        r"nothing has written|defined|" + WRONG_PRODUCT,
    ),
    "parameters of another core": (
        "norm",
        put(", %parameters_0_0, ", ", %parameters_0_1, "),
        r"which is in core",
    ),
    "rows not centred": ("norm", without("func.call @norm_centre_f32"), r"nothing has written"),
    "rows of the sum left out": ("norm", without("func.call @norm_sum_f32"), r"nothing has written"),
    # --- the device
    "another device": ("gemm", put("aie.device(npu1)", "aie.device(npu2)"), r"the device is npu2"),
    "a device of one column": ("gemm", put("aie.device(npu1)", "aie.device(npu1_1col)"), r"is its column"),
}

# What is only written otherwise: the array does the same.
EQUIVALENT: dict[str, tuple[str, Change, str]] = {
    "A in no order": (
        "gemm",
        lambda t: re.sub(r"(@A_L2L1_0\(%t0_1) dimensionsToStream \[[^]]*\]", r"\1", t),
        "a tile of k = 8 is one micro-tile wide",
    ),
    "the stride of a size of 1": (
        "gemm",
        put("<size = 1, stride = 128>", "<size = 1, stride = 64>"),
        "no address depends on it",
    ),
    "the stride of a size of 1 of the host": (
        "wide",
        put("[1, 3, 16, 8][0,", "[1, 3, 16, 8][8,"),
        "the same",
    ),
    "two tasks of two channels exchanged": (
        "gemm",
        exchanged(f"{MEMCPY}%A[0, 0, 0, 0]", f"{MEMCPY}%B[0, 0, 0, 0]"),
        "channels do not wait for each other",
    ),
    "another descriptor that is free": ("gemm", put("{id = 4 :", "{id = 5 :"), "which one is of no account"),
    "a third buffer": ("gemm", put("{%t0_1}, 2 : i32", "{%t0_1}, 3 : i32"), "the memtile has room for it"),
    "one buffer": ("gemm", put("{%t0_1}, 2 : i32", "{%t0_1}, 1 : i32"), "slower, and right"),
    "a larger stack": ("gemm", put("stack_size = 3328", "stack_size = 4096"), "L1 has room for it"),
    "an endless loop of more rounds": ("gemm", put("4294967295", "9223372036854775807"), "neither ends"),
    "waits in another order": (
        "gemm",
        exchanged("aiex.npu.dma_wait {symbol = @C_L2L3_0}", "aiex.npu.dma_wait {symbol = @C_L2L3_1}"),
        "both have come in the end",
    ),
    "B acquired before A": (
        "gemm",
        exchanged("%tile1 = aie.objectfifo.acquire", "%tile2 = aie.objectfifo.acquire"),
        "both are needed at once",
    ),
    "C zeroed once both have come": ("wide", twice("func.call @zero_f32"), "zeros stay zeros"),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda name: name.replace(" ", "-"))
def test_a_design_with_one_thing_wrong_is_refused(wrong: str) -> None:
    name, change, says = WRONG[wrong]
    right = RIGHT[name]
    text = change(right.text)
    assert text != right.text
    said = verdict(right, text, timeout_seconds=30)
    assert said
    assert re.search(says, said), said


@pytest.mark.parametrize("same", EQUIVALENT, ids=lambda name: name.replace(" ", "-"))
def test_a_design_that_is_only_written_otherwise_is_accepted(same: str) -> None:
    name, change, _ = EQUIVALENT[same]
    text = change(RIGHT[name].text)
    assert text != RIGHT[name].text
    assert verdict(RIGHT[name], text, timeout_seconds=30) == ""
