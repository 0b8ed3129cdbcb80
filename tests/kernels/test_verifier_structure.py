"""What the array would refuse is refused, by name, value and limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.verifier_designs import broken, column, one_core, run, runtime_k
from whisper_npu.kernels.verifier import DesignError, check_structure, parse
from whisper_npu.npu.targets import NPU1

C_FIFO = "aie.objectfifo @C_L1L2(%t0_2, {%t0_1}, 1 : i32)"


def refuse(text: str, *says: str) -> None:
    with pytest.raises(DesignError) as raised:
        check_structure(parse(text), NPU1)
    for part in says:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


# ----------------------------------------------------------------------------------------------- usage


@pytest.mark.parametrize("text", [one_core(), column(), runtime_k()], ids=["one_core", "column", "runtime_k"])
def test_sound_designs(text: str) -> None:
    check_structure(parse(text), NPU1)


def test_usage() -> None:
    usage = check_structure(parse(column(m=64, k=64, n=32)), NPU1)
    assert usage.l1_highest == 2 * 2 * (64 * 64 + 64 * 32) + 4 * 64 * 32 + NPU1.stack_bytes
    assert usage.memtile_highest == 2 * 64 * 64 * 2 + 2 * 64 * 128 * 2 + 64 * 128 * 4
    (memtile,) = usage.memtile_bytes
    # In: A 2, B 2 x 4 pieces, C 4. Out: A 2, B 4 x 2, C 4 pieces.
    assert usage.buffer_descriptors[memtile] == 2 + 8 + 4 + 2 + 8 + 4
    assert usage.locks[memtile] == 2 + 2 * 4 + 2 * 4
    assert usage.channels_in[memtile] == usage.channels_out[memtile] == 6
    assert len(usage.l1_bytes) == 4


def test_l1_full_to_the_last_tile() -> None:
    """64x64x64, double-buffered: one fp32 C fits, two do not (mlir-aie's verdict)."""
    text = one_core(m=64, k=64, n=64)
    assert check_structure(parse(text), NPU1).l1_highest == 52_480
    refuse(broken(text, C_FIFO, C_FIFO.replace("1 : i32", "2 : i32")), "core (0,2)", "68,864 bytes", "64,512")


def test_depth_of_each_end() -> None:
    """Two C buffers in the memtile cost the core nothing."""
    text = one_core(m=64, k=64, n=64)
    text = broken(text, C_FIFO, C_FIFO.replace("1 : i32", "[1 : i32, 2 : i32]"))
    assert check_structure(parse(text), NPU1).l1_highest == 52_480


def test_local_buffers_count() -> None:
    buffer = '%t0_2 = aie.tile(0, 2)\n    %table = aie.buffer(%t0_2) {sym_name = "t"} : memref<4096xf32>'
    refuse(broken(one_core(m=64, k=64, n=64), "%t0_2 = aie.tile(0, 2)", buffer), "68,864 bytes")


def test_memtile_memory() -> None:
    deep = broken(one_core(m=64, k=64, n=64), "@A_L3L2(%t0_0, {%t0_1}, 2", "@A_L3L2(%t0_0, {%t0_1}, 62")
    refuse(deep, "memtile (0,1)", "540,672 bytes", "524,288")


@pytest.mark.parametrize(
    ("stack", "says"),
    [
        ("stack_size = 64 : i32", "64 bytes for the stack"),
        ("stack_size = 0 : i32", "0 bytes for the stack"),
        ("stack_size = 3324 : i32", "3,324 bytes for the stack"),
        ("", "no stack_size for the stack"),
    ],
)
def test_stack_that_is_too_small(stack: str, says: str) -> None:
    text = broken(one_core(), "stack_size = 3328 : i32", stack)
    refuse(text, "core (0,2)", says, "3,328 are the least")


# -------------------------------------------------------------------- channels, descriptors and locks


def extra_fifo(text: str, fifo: str) -> str:
    return broken(text, "    aie.objectfifo @C_L1L2(", f"    {fifo}\n    aie.objectfifo @C_L1L2(")


def test_third_input_channel_of_a_core() -> None:
    bias = "aie.objectfifo @bias(%t0_1, {%t0_2}, 2 : i32) : !aie.objectfifo<memref<16xbf16>>"
    source = "aie.objectfifo @source(%t0_0, {%t0_1}, 2 : i32) : !aie.objectfifo<memref<16xbf16>>"
    link = "aie.objectfifo.link [@source] -> [@bias]([] [])"
    refuse(extra_fifo(one_core(), f"{source}\n{bias}\n{link}"), "core (0,2): 3 DMA channels in", "limit is 2")


def test_seventh_channel_of_a_memtile() -> None:
    text = column()
    spare = "aie.objectfifo @spare(%t0_2, {%t0_1}, 1 : i32) : !aie.objectfifo<memref<16xf32>>"
    onward = "aie.objectfifo @onward(%t0_1, {%t0_3}, 1 : i32) : !aie.objectfifo<memref<16xf32>>"
    link = "aie.objectfifo.link [@spare] -> [@onward]([] [])"
    text = broken(text, "aie.objectfifo @C_L2L3", f"{spare}\n{onward}\n{link}\n    aie.objectfifo @C_L2L3")
    refuse(text, "memtile (0,1): 7 DMA channels in", "limit is 6")


def test_third_channel_of_a_shim() -> None:
    direct = "aie.objectfifo @direct(%t0_0, {%t0_2}, 2 : i32) : !aie.objectfifo<memref<16xbf16>>"
    text = extra_fifo(one_core(), direct)
    refuse(text, "DMA channels", "limit is 2")


def test_buffer_descriptors_of_a_core() -> None:
    """Two for A, two for B, and the depth of C: 16 are there."""
    check_structure(parse(broken(one_core(), C_FIFO, C_FIFO.replace("1 : i32", "[12 : i32, 1 : i32]"))), NPU1)
    text = broken(one_core(), C_FIFO, C_FIFO.replace("1 : i32", "[13 : i32, 1 : i32]"))
    refuse(text, "core (0,2): 17 buffer descriptors", "limit is 16")


def test_buffer_descriptors_of_the_odd_channels() -> None:
    """B comes on channel 1 in four pieces: 4 descriptors for each buffer."""
    refuse(
        broken(column(), "[1 : i32, 2 : i32]", "[1 : i32, 4 : i32]"),
        "memtile (0,1)",
        "buffer descriptors of odd DMA channels",
        "limit is 24",
    )


def test_lock_value() -> None:
    small = replace(NPU1, max_lock_value=7)
    with pytest.raises(DesignError, match=r"B_L3L2.* 8 as a lock's value, the limit is 7"):
        check_structure(parse(column()), small)


def test_locks_of_a_core() -> None:
    """Two for each of its three fifos."""
    few = replace(NPU1, core=replace(NPU1.core, locks=5))
    with pytest.raises(DesignError, match=r"core \(0,2\): 6 locks, the limit is 5"):
        check_structure(parse(one_core()), few)


@pytest.mark.parametrize(
    ("aie_device", "says"),
    [
        ("npu1_4col", "npu1_4col no longer exists, npu1 has all 4 columns"),
        ("npu1_5col", "the device is npu1_5col, npu1 has npu1_1col, npu1_2col, npu1_3col, npu1"),
        ("npu2", "the device is npu2, npu1 has"),
    ],
)
def test_device_of_another_target(aie_device: str, says: str) -> None:
    text = broken(one_core(), "aie.device(npu1_1col)", f"aie.device({aie_device})")
    refuse(text, says)
    with pytest.raises(DesignError, match=says):
        run(text, 8, 48, 12)


def test_tile_outside_the_array() -> None:
    refuse(broken(one_core(), "%t0_2 = aie.tile(0, 2)", "%t0_2 = aie.tile(1, 2)"), "npu1_1col", "column")
    refuse(broken(one_core(), "%t0_2 = aie.tile(0, 2)", "%t0_2 = aie.tile(0, 6)"), "row", "limit is 5")


# ---------------------------------------------------------------------------- orders of a descriptor

A_ORDER = "[<size = 2, stride = 64>, <size = 2, stride = 8>, <size = 4, stride = 16>, <size = 8, stride = 1>]"


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("[<size = 16, stride = 8>, <size = 8, stride = 2>]", "innermost stride 1, it is 2"),
        ("[<size = 2, stride = 63>, <size = 64, stride = 1>]", "126 bytes, which is no multiple of 4"),
        ("[<size = 2, stride = 128>, <size = 64, stride = 1>]", "reaches element 191 of 128"),
        ("[<size = 2, stride = 32>, <size = 64, stride = 1>]", "visits elements twice"),
        ("[<size = 64, stride = 1>]", "moves 64 elements of 128"),
        ("[<size = 0, stride = 1>]", "start at 1"),
        (
            "[<size = 1, stride = 2>, <size = 1, stride = 2>, <size = 1, stride = 2>, "
            "<size = 1, stride = 2>, <size = 128, stride = 1>]",
            "5 dimensions, the limit is 4",
        ),
    ],
)
def test_order_of_a_memtile(order: str, says: str) -> None:
    refuse(broken(one_core(), A_ORDER, order), "fifo A_L2L1", "memtile (0,1)", says)


def test_order_of_a_core() -> None:
    order = f" dimensionsToStream {A_ORDER.replace('stride = 64', 'stride = 48')}"
    text = broken(one_core(), "@C_L1L2(%t0_2,", f"@C_L1L2(%t0_2{order},")
    refuse(text, "core (0,2)", "4 dimensions, the limit is 3")
    short = "[<size = 96, stride = 1>]"
    check_structure(
        parse(broken(one_core(), "@C_L1L2(%t0_2,", f"@C_L1L2(%t0_2 dimensionsToStream {short},")), NPU1
    )


def test_order_of_a_shim() -> None:
    text = broken(one_core(), "@A_L3L2(%t0_0,", f"@A_L3L2(%t0_0 dimensionsToStream {A_ORDER},")
    refuse(text, "A_L3L2", "the shim takes no dimensionsToStream")


def test_size_of_a_descriptor() -> None:
    """mlir-aie's aie.dma_bd takes 512 and not 513; a core's wrap field takes 255."""
    text = one_core(m=32, k=64, steps=1)
    order = text[text.index("[<size = 8, stride = 256>") : text.index(", {%t0_2}")]
    check_structure(parse(broken(text, order, "[<size = 512, stride = 4>, <size = 4, stride = 1>]")), NPU1)
    longer = broken(text, order, "[<size = 513, stride = 2>, <size = 2, stride = 1>]")
    refuse(longer, "fifo A_L2L1", "513 as a size, the limit is 512")
    c_order = "@C_L1L2(%t0_2 dimensionsToStream [<size = 256, stride = 1>],"
    of_core = broken(one_core(m=16, k=16, n=16), "@C_L1L2(%t0_2,", c_order)
    refuse(of_core, "fifo C_L1L2", "core (0,2)", "256 words", "limit is 255")


# -------------------------------------------------------------------------------------- shim transfers


def host(text: str, matrix: str, offset: int, sizes: str, strides: str, elements: int) -> str:
    """One core's design with another transfer of that matrix, from a host array of so many elements."""
    fifo = {"A": "A_L3L2", "B": "B_L3L2"}[matrix]
    lines = []
    for line in text.splitlines():
        if f"metadata = @{fifo}" in line:
            tail = line[line.index("{") : line.rindex(":")]
            line = f"dma_memcpy_nd(%{matrix}[0, 0, 0, {offset}][{sizes}][{strides}]) {tail}"
            line = f"aiex.npu.{line}: memref<{elements}xbf16>"
        lines.append(line)
    head = f"%{matrix}: memref<"
    start = (text := "\n".join(lines)).index(head) + len(head)
    return f"{text[:start]}{elements}{text[text.index('xbf16', start) :]}"


def test_misaligned_offset() -> None:
    refuse(host(one_core(), "A", 1, "1, 3, 8, 16", "0, 16, 48, 1", 512), "A_L3L2", "2 bytes", "multiple of 4")


def test_misaligned_stride() -> None:
    refuse(
        host(one_core(), "A", 0, "1, 3, 8, 16", "0, 16, 49, 1", 512), "A_L3L2", "98 bytes", "multiple of 4"
    )


def test_inner_stride_of_bf16() -> None:
    refuse(host(one_core(), "A", 0, "1, 3, 8, 16", "0, 256, 32, 2", 2048), "innermost stride 1, it is 2")


def test_repeat_count() -> None:
    """Whatever the stride: with 0 too it is a field of the descriptor."""
    text = one_core(steps=65)
    for stride in (0, 128):
        check_structure(parse(host(text, "A", 0, "64, 1, 8, 16", f"{stride}, 0, 16, 1", 8320)), NPU1)
        longer = host(text, "A", 0, "65, 1, 8, 16", f"{stride}, 0, 16, 1", 8320)
        refuse(longer, "A_L3L2: 65", "limit is 64")


def test_more_arguments_than_the_firmware_translates() -> None:
    text = one_core()
    first = text[text.index("@sequence(") : text.index(") {", text.index("@sequence("))]
    more = f"{first}, %D: memref<96xf32>, %E: memref<96xf32>"
    check_structure(parse(broken(text, first, more)), NPU1)
    refuse(broken(text, first, f"{more}, %F: memref<96xf32>"), "6 arguments", "the limit is 5")


def test_wrap() -> None:
    """1024 words in a row are too many, unless the whole transfer is one run."""
    text = one_core(steps=16)
    check_structure(parse(host(text, "A", 0, "1, 1, 1, 2048", "0, 0, 0, 1", 9000)), NPU1)
    check_structure(parse(host(text, "A", 0, "1, 1, 2, 2048", "0, 0, 2048, 1", 9000)), NPU1)
    refuse(host(text, "A", 0, "1, 1, 2, 2048", "0, 0, 2050, 1", 9000), "1,024 words", "limit is 1,023")
    refuse(host(text, "A", 0, "1, 1, 1024, 2", "0, 0, 4, 1", 9000), "1,024 words or steps", "limit is 1,023")
    check_structure(parse(host(text, "A", 0, "1, 1024, 1, 2", "0, 4, 0, 1", 9000)), NPU1)


def test_step() -> None:
    words = 2**20
    text = one_core(steps=2)
    check_structure(parse(host(text, "A", 0, "1, 2, 8, 16", f"0, {2 * words}, 16, 1", 5_000_000)), NPU1)
    refuse(host(text, "A", 0, "1, 2, 8, 16", f"0, {2 * words + 2}, 16, 1", 5_000_000), "words in a step")


def test_inner_dimension_that_repeats() -> None:
    refuse(
        host(one_core(), "A", 0, "1, 3, 8, 16", "0, 0, 48, 1", 512), "only the outermost dimension may repeat"
    )


def test_ids_of_tasks() -> None:
    refuse(broken(one_core(), "id = 1 : i64", "id = 16 : i64"), "B_L3L2: id 16", "16 buffer descriptors")
