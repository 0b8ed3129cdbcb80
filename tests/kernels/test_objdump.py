"""Counting in a disassembly, written here as Peano's llvm-objdump prints one; the bytes mean nothing."""

from __future__ import annotations

import pytest

from whisper_npu.kernels.objdump import CoreProgram, read_objdump
from whisper_npu.npu.artifacts import InnerLoop

NOP = "nopb\t;\t\tnopa\t;\t\tnops\t;\t\tnopx\t;\t\tnopm\t;\t\tnopv\t"
VMAC = "vmac.f\tbml0, bml0, x0, x4, r0"


def hexdump(size: int) -> str:
    return " ".join(["c0"] * size)


def disassembly(*sections: tuple[str, list[str]]) -> str:
    text = "\nmatmul_64x64x32.o:\tfile format elf32-aie\n"
    for name, lines in sections:
        text += f"\nDisassembly of section {name}:\n" + "".join(f"{line}\n" for line in lines)
    return text


def function(name: str, at: int, *lines: str | tuple[int, str]) -> list[str]:
    """Bundles, each with its bytes, one after the other; a text alone is a label or a relocation."""
    printed = ["", f"{at:08x} <{name}>:"]
    for line in lines:
        if isinstance(line, tuple):
            size, slots = line
            printed.append(f"{at:8x}: {hexdump(size)}  \t{slots}")
            at += size
        elif line.startswith("R_"):
            size = int(printed[-1].split(":")[1].count("c0"))
            printed.append(f"\t\t\t{at - size:08x}:  {line}")
        else:
            printed += ["", f"{at:08x} <{line}>:"]
    return printed


def zero_overhead(name: str, at: int, body: list[str], *, number: int = 0) -> list[str]:
    """A function with one loop whose last bundle has a label of its own."""
    start, end = f".LBB{number}_1", f".L_LEnd{number}"
    return function(
        name,
        at,
        (4, "add.nc\tlc, r0, #0x0"),
        (6, "movxm\tls, #0x0"),
        f"R_AIE_42\t{start}",
        (16, "nopa\t;\t\tnopb\t;\t\tnops\t;\t\tmovxm\tle, #0x0;\t\tnopv\t"),
        f"R_AIE_42\t{end}",
        (16, NOP),
        start,
        *[(16, slots) for slots in body[:-1]],
        end,
        (16, body[-1]),
        (4, "ret\tlr"),
        *[(2, "nop\t")] * 5,
    )


UPSTREAM = [  # one vmac in two bundles
    f"vlda\twl0, [p0], #0x20;\t\tvldb\twl4, [p1], #0x20;\t\tnops\t;\t\tnopxm\t;\t\t{VMAC}",
    f"vlda\twh0, [p0], #0x20;\t\t{NOP}",
] * 8


def test_a_zero_overhead_loop_is_counted_from_its_first_bundle_to_its_last() -> None:
    text = disassembly((".text", zero_overhead("matmul_bf16_f32", 0, UPSTREAM)))
    program = read_objdump(text)
    assert program == CoreProgram(4 + 6 + 16 + 16 + 16 * 16 + 4 + 10, InnerLoop(bundles=16, vmacs=8), 0)
    assert program.inner_loop is not None
    assert program.inner_loop.vmacs_per_cycle == 0.5


def test_without_relocations_the_labels_tell_the_loop() -> None:
    """Then an object's instructions name address 0 everywhere: no jump goes there."""
    body = [f"jz\tr0, #0x0;\t\t{VMAC}", *UPSTREAM]
    lines = [line for line in zero_overhead("f", 0, body) if "R_AIE" not in line]
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=17, vmacs=9)
    unlabelled = [line for line in lines if "<.L" not in line]
    program = read_objdump(disassembly((".text", unlabelled)))
    assert program is not None
    assert program.inner_loop is None


def test_a_loop_of_one_bundle_starts_where_it_ends() -> None:
    one = function(
        "f",
        0,
        (6, "movxm\tls, #0x0"),
        "R_AIE_42\t.L_LEnd0",
        (6, "movxm\tle, #0x0"),
        "R_AIE_42\t.L_LEnd0",
        (16, NOP),
        ".L_LEnd0",
        (16, f"{NOP};\t\t{VMAC}"),
        (4, "ret\tlr"),
    )
    program = read_objdump(disassembly((".text", one)))
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=1, vmacs=1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_linked_program_has_addresses_for_labels(order: tuple[int, int]) -> None:
    """`ls` and `le` may be set in either order."""
    ends = "movxm\tls, #0x200", "movxm\tle, #0x208"
    lines = function(
        "core",
        0x1F0,
        *[(6, ends[which]) for which in order],
        (4, "mova\tr0, #0x1"),
        (8, VMAC),
        (8, f"{VMAC};\t\tvst\tamll0, [p2], #0x20"),
        (4, "ret\tlr"),
    )
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=2, vmacs=2)
    assert program.program_bytes == 36


def test_two_loops_one_after_the_other_are_two() -> None:
    lines = function(
        "core",
        0x1F0,
        (6, "movxm\tls, #0x200"),
        (6, "movxm\tle, #0x208"),
        (4, "nop"),
        *[(8, VMAC)] * 2,
        (8, "movxm\tle, #0x230"),
        (8, "movxm\tls, #0x220"),
        *[(8, VMAC)] * 3,
    )
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=3, vmacs=3)


def test_the_innermost_loop_counts_and_not_what_is_around_it() -> None:
    """The outer loop ends in a jump back; its delay slots belong to it."""
    inner = zero_overhead("matmul_bf16_f32", 0, UPSTREAM)
    body = inner[: -len(["ret"]) - 5]
    at = int(body[-1].split(":")[0], 16) + 16
    outer = function("ignored", at, (8, f"jnz\tr1, #0x0;\t\t{VMAC}"), "R_AIE_1\t.text+0x4", *[(8, VMAC)] * 5)
    text = disassembly((".text", [*body, *outer[2:]]))
    program = read_objdump(text)
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=16, vmacs=8)


@pytest.mark.parametrize(("jump", "vmacs"), [("jnz\tr1, #0x8", 8), ("jz\tr1, #0x8", 8), ("j\t#0x8", None)])
def test_a_loop_with_a_jump_ends_behind_its_delay_slots(jump: str, vmacs: int | None) -> None:
    lines = function("f", 0, (8, NOP), *[(8, VMAC)] * 3, (8, f"{jump};\t\tnop"), *[(8, VMAC)] * 5, (8, VMAC))
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.inner_loop == (None if vmacs is None else InnerLoop(bundles=9, vmacs=vmacs))


@pytest.mark.parametrize("at", [0, 0x8, 0x1F8])
def test_a_jump_back_goes_where_its_relocation_says(at: int) -> None:
    """Behind the 16th byte too: the object's instruction has 0 there."""
    lines = function(
        "f",
        at,
        (8, NOP),
        ".LBB0_1",
        *[(8, VMAC)] * 3,
        (8, "jnz\tr1, #0x0"),
        "R_AIE_1\t.LBB0_1",
        *[(8, NOP)] * 6,
    )
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=9, vmacs=3)


def test_a_jump_forward_is_no_loop() -> None:
    lines = function("f", 0, (8, "jz\tr1, #0x18"), *[(8, VMAC)] * 6)
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.inner_loop is None


def test_the_functions_that_a_design_calls_are_looked_at_first() -> None:
    slow, fast = UPSTREAM, [f"{NOP};\t\t{VMAC}"] * 8
    one = zero_overhead("matmul_bf16_f32", 0, slow)
    two = zero_overhead("matmul_bf16_bf16", 0x400, fast, number=1)
    text = disassembly((".text", [*one, *two]))
    loops = {
        called: read_objdump(text, called).inner_loop  # type: ignore[union-attr]
        for called in [(), ("matmul_bf16_f32", "zero_f32"), ("matmul_bf16_bf16",), ("zero_f32",)]
    }
    # Where no function called multiplies in a loop of its own, another does it for it: the longest is told.
    assert [loop.bundles for loop in loops.values() if loop] == [16, 16, 8, 16]


def test_functions_in_sections_of_their_own_are_part_of_the_program() -> None:
    text = disassembly(
        (".text", function("matmul_bf16_f32", 0, (8, "jl\t#0x0"), *[(2, "nop\t")] * 5)),
        (".text._Z8multiply", zero_overhead("_Z8multiply", 0, UPSTREAM)),
    )
    program = read_objdump(text, ["matmul_bf16_f32"])
    assert program == CoreProgram(18 + 312, InnerLoop(bundles=16, vmacs=8), 0)


@pytest.mark.parametrize(
    "instruction",
    ["vmac.f\tbml0, bml0, x0, x4, r0", "vmul.f\tbml0, x0, x4, r0", "vnegmac.f\tbmh1, bmh1, x1, x2, r0",
     "vmsc.f\tbml0, bml0, x0, x4, r0", "vmac\tcm0, cm0, x0, x4, r0"],
)  # fmt: skip
def test_what_multiplies(instruction: str) -> None:
    program = read_objdump(disassembly((".text", zero_overhead("f", 0, [f"nopa\t;\t\t{instruction}", NOP]))))
    assert program is not None
    assert program.inner_loop == InnerLoop(bundles=2, vmacs=1)


@pytest.mark.parametrize("instruction", ["vadd.f\tbml0, bml0, bml1, r0", "vmov\tx0, x1", "mul\tr0, r1, r2"])
def test_what_does_not_multiply(instruction: str) -> None:
    program = read_objdump(disassembly((".text", zero_overhead("f", 0, [instruction, NOP]))))
    assert program is not None
    assert program.inner_loop is None
    assert "no loop that multiplies" in str(program)


def test_spills_are_vectors_stored_to_the_stack() -> None:
    lines = function(
        "f",
        0,
        (10, "paddb\t[sp], #0x40;\t\tst\tlr, [sp, #-0x4]"),  # a saved register is none
        (8, "vst\tamll0, [sp, #-0x40];\t\tvlda\twl0, [p0], #0x20"),
        (8, "nopa\t;\t\tvst\twl2, [sp, #-0x20]"),
        (4, "vst\twl2, [p2], #0x20"),
        (4, "vlda\twl2, [sp, #-0x20]"),
    )
    program = read_objdump(disassembly((".text", lines)))
    assert program is not None
    assert program.spills == 2


@pytest.mark.parametrize("text", ["", "error: not an object file", disassembly((".text", []))])
def test_a_text_without_bundles_is_no_program(text: str) -> None:
    assert read_objdump(text) is None
