"""Texts that ask too much of whoever reads them: depth, digits, sizes, counts, work without end.

`TEXTS` has, for each kind, the text and what the verdict must say. Each is wrong in one respect; for all else
it is a sound design that takes host arrays of `SHAPE`.
"""

from __future__ import annotations

import numpy as np

from tests.support.verifier_designs import NumpyFunctions, broken, one_core, operands, runtime_k, task_of
from whisper_npu.kernels.verifier import check_structure, execute, parse
from whisper_npu.npu.targets import NPU1

SHAPE = 8, 48, 12  # M, K, N of one_core and runtime_k

ROUND = "scf.for %round = %c0 to %forever step %c1 {"


def judge(text: str, timeout_seconds: float = 30) -> None:
    """All that the verifier does with a text. Raises as it does."""
    design = parse(text)
    check_structure(design, NPU1)
    execute(design, list(operands(*SHAPE)), NumpyFunctions(), NPU1, timeout_seconds=timeout_seconds)


def in_core(inserted: str, text: str = "") -> str:
    """One operation more, or several, at the start of the core's program."""
    return broken(text or one_core(), ROUND, f"{inserted}\n      {ROUND}")


def in_round(inserted: str) -> str:
    return broken(one_core(), ROUND, f"{ROUND}\n        {inserted}")


def in_device(inserted: str) -> str:
    return broken(one_core(), "    %t0_0 = aie.tile(0, 0)", f"{inserted}\n    %t0_0 = aie.tile(0, 0)")


def in_sequence(inserted: str, text: str = "") -> str:
    text = text or runtime_k()
    task = task_of(text, "C_L2L3")
    return broken(text, task, f"{inserted}\n{task}")


def nested(depth: int, inner: str = "") -> str:
    """Loops inside each other."""
    opening = "".join(f"scf.for %l{number} = %c0 to %c1 step %c1 {{\n" for number in range(depth))
    return opening + inner + "}\n" * depth


def chained(operation: str, times: int, type_name: str = "index", first: int = 3) -> str:
    lines = [f"%x0 = arith.constant {first} : {type_name}"]
    lines += [f"%x{n + 1} = arith.{operation} %x{n}, %x{n} : {type_name}\n      " for n in range(times)]
    return "\n      ".join(lines)


def among_themselves() -> str:
    """Two cores that pass objects round for ever, whatever the host does."""
    text = in_device("    aie.objectfifo @ROUND(%t0_2, {%t0_3}, 1 : i32) : !aie.objectfifo<memref<8xi32>>")
    ring = text[text.index("    aie.objectfifo @ROUND") :].split("\n")[0]
    text = broken(text, ring, "")
    text = broken(
        text, "    %t0_2 = aie.tile(0, 2)", f"    %t0_2 = aie.tile(0, 2)\n    %t0_3 = aie.tile(0, 3)\n{ring}"
    )
    give = """%g = aie.objectfifo.acquire @ROUND(Produce, 1) : !aie.objectfifosubview<memref<8xi32>>
          aie.objectfifo.release @ROUND(Produce, 1)"""
    take = """%g = aie.objectfifo.acquire @ROUND(Consume, 1) : !aie.objectfifosubview<memref<8xi32>>
          aie.objectfifo.release @ROUND(Consume, 1)"""
    constants = """%c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index"""
    core = f"""
    %core_3 = aie.core(%t0_3) {{
      {constants}
      {ROUND}
          {take}
      }}
      aie.end
    }} {{stack_size = 3328 : i32}}
"""
    text = broken(text, "    aie.runtime_sequence", f"{core}    aie.runtime_sequence")
    endless = f"scf.for %give = %c0 to %forever step %c1 {{\n          {give}\n      }}"
    return broken(text, ROUND, f"{endless}\n      {ROUND}")


NINES = "9" * 5000
A_TASK = task_of(one_core(), "A_L3L2")
ONE_CORE = one_core()
LONG = "x" * 5000

# kind: (text, what the verdict says)
TEXTS: dict[str, tuple[str, str]] = {
    # depth
    "5,000 nested loops": (in_core(nested(5000)), r"^line \d+: more than 32 bodies inside each other"),
    "33 nested loops": (in_core(nested(33)), r"^line \d+: more than 32 bodies"),
    "5,000 nested ifs": (
        in_core("%i = arith.cmpi eq, %c0, %c0 : index\n" + "scf.if %i {\n" * 5000 + "}\n" * 5000),
        r"^line \d+: more than 32 bodies",
    ),
    "5,000 elses": (
        in_core("%i = arith.cmpi eq, %c0, %c0 : index\n" + "scf.if %i { } else {\n" * 5000 + "}\n" * 5000),
        r"^line \d+: more than 32 bodies",
    ),
    "100,000 open brackets": (broken(ONE_CORE, "[1, 1, 8, 12]", "[" * 100_000), r"^line \d+: expected"),
    "100,000 open braces": ("module {" * 100_000, r"^line 1: expected 'aie.device', found 'module'"),
    "100,000 modules of nothing": ("module {\n" + "{\n" * 100_000, r"^line 2: expected 'aie.device'"),
    "5,000 angle brackets": (broken(ONE_CORE, "memref<8x12xf32>", "memref<" * 5000), r"^line \d+: "),
    # digits
    "4,300 digits": (broken(ONE_CORE, "4294967295", "9" * 4300), r"^line \d+: a number of 4,300 characters"),
    "5,000 digits in a constant": (broken(ONE_CORE, "4294967295", NINES), r"^line \d+: a number of 5,000"),
    "5,000 digits in a size": (
        broken(ONE_CORE, "[1, 3, 8, 16]", f"[1, {NINES}, 8, 16]"),
        r"^line \d+: a num",
    ),
    "5,000 digits in a memref": (
        broken(ONE_CORE, "memref<8x12x", f"memref<{NINES}x"),
        r"^line \d+: a memref of",
    ),
    "5,000 digits in a depth": (broken(ONE_CORE, "2 : i32)", f"{NINES} : i32)"), r"^line \d+: a number of"),
    "5,000 digits in an object's name": (
        broken(ONE_CORE, "matmul.o", f"matmul_{NINES}x8x8.o"),
        r"^line \d+: a string of 5,0\d\d characters",
    ),
    "a million digits": (
        broken(ONE_CORE, "4294967295", "9" * 1_000_000),
        r"^line \d+: a number of 1,000,000",
    ),
    "digits that are not ASCII": (broken(ONE_CORE, "2 : i32)", "٢ : i32)"), r"^line \d+: unexpected '٢'"),
    "65 bits": (broken(ONE_CORE, "4294967295", str(2**63)), r"^line \d+: 9223372036854775808 is no signed"),
    "33 bits of an i32": (in_core("%i = arith.constant 2147483648 : i32"), r"no signed number of 32 bits"),
    "an i32 that the sequence writes": (
        broken(runtime_k(), "(@steps, 0, 3)", "(@steps, 0, 4294967296)"),
        r"^line \d+: 4294967296 is no signed number of 32 bits",
    ),
    "an initial value of 40 bits": (
        broken(
            runtime_k(),
            '{sym_name = "steps"}',
            '{sym_name = "steps", initial_value = dense<[1099511627776]>}',
        ),
        r"^line \d+: 1099511627776 is no signed number of 32 bits",
    ),
    "an index of 70 bits": (
        broken(runtime_k(), "(@steps, 0, 3)", f"(@steps, {2**70}, 3)"),
        r"^line \d+: 1180591620717411303424 is no signed number of 64 bits",
    ),
    # offsets, sizes and strides
    "an offset beyond 64 bits": (
        broken(ONE_CORE, "%A[0, 0, 0, 0]", f"%A[0, 0, 0, {10**30}]"),
        r"^line \d+: 10{30} is",
    ),
    "an offset of 63 bits": (
        broken(ONE_CORE, "%A[0, 0, 0, 0]", f"%A[0, 0, 0, {2**63 - 2}]"),
        r"element \d+ is outside A",
    ),
    "an offset that wraps round": (
        broken(ONE_CORE, "%A[0, 0, 0, 0]", f"%A[0, {2**61}, {2**61}, 0]"),
        r"element \d+ is outside A",
    ),
    "a stride beyond 64 bits": (
        broken(ONE_CORE, "[0, 16, 48, 1]", f"[0, {2**64}, 48, 1]"),
        r"^line \d+: 1844",
    ),
    "a stride of 63 bits of one": (
        broken(ONE_CORE, "[1, 3, 8, 16][0, 16, 48, 1]", f"[1, 3, 8, 16][{2**63 - 1}, 16, 48, 1]"),
        "",  # of a size that is 1, and so of nothing
    ),
    "a stride of an order": (
        broken(ONE_CORE, "<size = 2, stride = 64>", f"<size = 2, stride = {2**62}>"),
        r"A_L2L1: dimensionsToStream.*elements in a step of one object",
    ),
    "a stride of an order of one": (
        broken(
            ONE_CORE,
            "[<size = 2, stride = 64>, <size = 2, stride = 8>, <size = 4, stride = 16>, <size = 8, ",
            f"[<size = 1, stride = {2**63 - 1}>, <size = 8, stride = 16>, <size = 16, ",
        ),
        r"A_L2L1: dimensionsToStream.*9,223,372,036,854,775,807 elements in a step of one object",
    ),
    "a size of an order": (
        broken(ONE_CORE, "<size = 2, stride = 64>", f"<size = {2**40}, stride = 64>"),
        r"A_L2L1: dimensionsToStream.*as a size",
    ),
    "a task of 10^15 elements": (
        broken(ONE_CORE, "[1, 3, 8, 16][0, 16, 48, 1]", "[1000000, 1000000, 8, 128][0, 0, 0, 1]"),
        r"A_L3L2",
    ),
    "a task that never ends": (
        broken(ONE_CORE, "[1, 3, 8, 16][0, 16, 48, 1]", "[64, 64, 64, 128][0, 2, 2, 1]"),
        r"unconsumed.*shim A_L3L2 has \d+ of 33554432 elements left",
    ),
    # memory
    "a memref of 10^12 elements": (
        ONE_CORE.replace("8x12xf32", "1000000x1000000xf32"),
        r"^line \d+: memref<1000000x1000000xf32> is larger than 4,294,967,295 bytes",
    ),
    "a local buffer of 4 GB": (
        in_core("", broken(runtime_k(), "memref<1xi32>", "memref<1000000000xi32>")),
        r"%buffer is memref<1000000000xi32>, not memref<1xi32>",
    ),
    "a local buffer of a core of 4 GB": (
        broken(
            runtime_k(),
            "    %core =",
            '    %big = aie.buffer(%t0_2) {sym_name = "big"} : memref<1000000000xi32>\n    %core =',
        ),
        r"core \(0,2\): 4,000,0\d\d,\d\d\d bytes of buffers and stack in L1, the limit is",
    ),
    "a local buffer of a shim": (
        broken(
            runtime_k(),
            "    %core =",
            '    %big = aie.buffer(%t0_0) {sym_name = "big"} : memref<1000000000xi32>\n    %core =',
        ),
        r"buffer big: shim \(0,0\) has no memory",
    ),
    "a global of a billion words": (
        in_device('    memref.global "private" constant @g : memref<1000000000xi32> = dense<0>'),
        r"^line \d+: @g is memref<1000000000xi32>, at most 65,536 words",
    ),
    "a global of floats": (
        in_device('    memref.global "private" constant @g : memref<4xf32> = dense<0>'),
        r"^line \d+: @g is memref<4xf32>, only rows of i32",
    ),
    "a number for a buffer of floats": (
        in_sequence(
            "aiex.npu.rtp_write(@floats, 0, 3)",
            broken(
                runtime_k(),
                "    %core =",
                '    %floats = aie.buffer(%t0_2) {sym_name = "floats"} : memref<1xf32>\n    %core =',
            ),
        ),
        r"floats is memref<1xf32>, not of i32",
    ),
    "a global of 100,000 words": (
        in_device(
            '    memref.global "private" constant @g : memref<100000xi32> = dense<['
            + ", ".join("0" * 100_000)
            + "]>"
        ),
        r"^line \d+: more than 65,536 in one list",
    ),
    "5,000 writes of a global of 60,000 words": (
        in_sequence(
            "%d = memref.get_global @g : memref<60000xi32>\n"
            + "aiex.npu.blockwrite(%d) {address = 0 : ui32, buffer = @steps} : memref<60000xi32>\n" * 5000,
            broken(
                runtime_k(),
                "    %t0_0 =",
                '    memref.global "private" constant @g : memref<60000xi32> = dense<0>\n    %t0_0 =',
            ),
        ),
        r"^line \d+: the sequence writes more than 65,536 words",
    ),
    "a depth of 10^12": (
        broken(ONE_CORE, "2 : i32)", "1000000000000 : i32)"),
        r"bytes of buffers|is no signed",
    ),
    "a depth of a billion": (
        broken(ONE_CORE, "2 : i32)", "1000000000 : i32)"),
        r"memtile \(0,1\): .* bytes of buffers",
    ),
    "a depth of a core of a billion": (
        broken(ONE_CORE, "{%t0_2}, 2 : i32)", "{%t0_2}, [1 : i32, 1000000000 : i32])"),
        r"core \(0,2\): .* bytes of buffers and stack in L1",
    ),
    "a stack of 2^62": (ONE_CORE.replace("stack_size = 3328", f"stack_size = {2**62}"), r"L1, the limit is"),
    "a stack of -1": (ONE_CORE.replace("stack_size = 3328", "stack_size = -1"), r"-1 bytes for the stack"),
    "60 dimensions": (
        ONE_CORE.replace("memref<8x12xf32>", f"memref<8x12x{'1x' * 60}f32>"),
        r"^line \d+: .* has 62 dimensions, at most 8",
    ),
    "a host array of 8 GB": (
        ONE_CORE.replace("384xbf16", "4294967296xbf16"),
        r"^line \d+: .* is larger than",
    ),
    # counts
    "2 MB of text": (ONE_CORE + "\n" * 2**21, r"^line 1: a text of [\d,]+ characters, at most 1,048,576"),
    "a million words": ("a " * 500_000, r"^line 1: expected 'module', found 'a'"),
    "a million marks": (">" * 1_000_000, r"^line 1: expected 'module', found '>'"),
    "5,000 tiles": (
        in_device("\n".join(f"    %x{n} = aie.tile({n}, 9)" for n in range(5000))),
        r"^line \d+: more than 2,000 operations of the device",
    ),
    "1,500 tiles": (in_device("\n".join(f"    %x{n} = aie.tile({n}, 7)" for n in range(1500))), r"row"),
    "1,500 fifos": (
        broken(
            ONE_CORE,
            "    // A and B",
            "\n".join(
                f"    aie.objectfifo @f{n}(%t0_0, {{%t0_2}}, 1 : i32) : !aie.objectfifo<memref<16xbf16>>"
                for n in range(1500)
            )
            + "\n    // A and B",
        ),
        r"DMA channels",
    ),
    "1,500 links": (
        broken(
            ONE_CORE,
            "    %core_2",
            "    aie.objectfifo.link [@A_L3L2] -> [@A_L2L1]([] [])\n" * 1500 + "    %core_2",
        ),
        r"1501 links take it on",
    ),
    "a link of 10,000 fifos": (
        broken(ONE_CORE, "link [@A_L3L2]", "link [" + "@A_L3L2, " * 10_000 + "@A_L3L2]"),
        r"^line \d+: more than 64 in one list",
    ),
    "a fifo of 10,000 consumers": (
        broken(ONE_CORE, "{%t0_1}, 2", "{" + "%t0_1, " * 10_000 + "%t0_1}, 2"),
        r"^line \d+: more than 64 in one list",
    ),
    "1,500 functions": (
        in_device("\n".join(f"    func.func private @f{n}(i32)" for n in range(1500))),
        "",
    ),
    "2,000 tasks": (
        broken(ONE_CORE, A_TASK, "\n".join(A_TASK.replace("id = 0", f"id = {n + 3}") for n in range(2_000))),
        r"id \d+ is none of 16|may be outstanding",
    ),
    "8,000 numbers written": (
        in_sequence("aiex.npu.rtp_write(@steps, 0, 3)\n" * 8_000),
        "",
    ),
    "an order of 1,000 dimensions": (
        broken(ONE_CORE, "[<size = 2, stride = 64>,", "[" + "<size = 1, stride = 1>, " * 1000),
        r"^line \d+: more than 64 in one list",
    ),
    "1,000 attributes": (
        broken(ONE_CORE, "{id = 1 : i64,", "{" + "id = 1 : i64, " * 1000),
        r"^line \d+: id is given twice",
    ),
    "two cores of one tile": (
        broken(
            ONE_CORE,
            "    aie.runtime_sequence",
            "".join(f"    %more_{n} = aie.core(%t0_2) {{\n aie.end\n }}\n" for n in range(1000))
            + "    aie.runtime_sequence",
        ),
        r"program of core \(0,2\) is declared 1001 times",
    ),
    # work
    "40 chained multiplications": (
        in_core(chained("muli", 40)),
        r"core \(0,2\): %x\d = \d+ is no signed number of 64 bits",
    ),
    "40 chained multiplications of i32": (
        in_core(chained("muli", 40, "i32")),
        r"no signed number of 32 bits",
    ),
    "5,000 chained additions": (in_core(chained("addi", 5000)), r"no signed number of 64 bits"),
    "40 chained subtractions": (
        in_core("%z = arith.constant 0 : index\n" + chained("muli", 40, first=-3)),
        r"no signed number of 64 bits",
    ),
    "a cast that does not fit": (
        in_core(
            "%big = arith.constant 4294967296 : index\n      %small = arith.index_cast %big : index to i32"
        ),
        r"%small = 4294967296 is no signed number of 32 bits",
    ),
    "a comparison without signs": (
        in_core(
            "%m = arith.constant -1 : index\n %i = arith.cmpi ugt, %m, %c1 : index\n"
            "scf.if %i {\n %q = arith.divui %c1, %c0 : index\n }"
        ),
        r"divides by 0",
    ),
    "a comparison with signs": (
        in_core(
            "%m = arith.constant -1 : i32\n %one = arith.constant 1 : i32\n"
            "%i = arith.cmpi sgt, %m, %one : i32\n"
            "scf.if %i {\n %q = arith.divui %c1, %c0 : index\n }"
        ),
        "",
    ),
    "a division by 0": (in_core("%q = arith.divui %c1, %c0 : index"), r"divides by 0"),
    "a loop that never ends, without work": (
        in_round("scf.for %x = %c0 to %forever step %c1 {\n }"),
        r"loop %x runs away, 100001 turns",
    ),
    "loops of 2^63 in each other": (
        in_round(
            "%m = arith.constant 9223372036854775807 : index\n"
            "scf.for %x = %c0 to %m step %c1 {\n scf.for %y = %c0 to %m step %c1 {\n }\n }"
        ),
        r"loop %y runs away",
    ),
    "a round of -2^63 to 2^63": (
        broken(
            broken(ONE_CORE, "%c1 = arith", f"%low = arith.constant {-(2**63)} : index\n      %c1 = arith"),
            ROUND,
            ROUND.replace("%c0", "%low"),
        ).replace("4294967295", str(2**63 - 1)),
        "",
    ),
    "a step of 0": (in_round("scf.for %x = %c0 to %c1 step %c0 {\n }"), r"loop %x has step 0"),
    "30 loops of 1,000 turns": (
        in_round("%m = arith.constant 1000 : index\n" + nested(30).replace("%c1 step", "%m step")),
        r"runs away",
    ),
    "20,000 acquires": (
        in_round(
            "%q = aie.objectfifo.acquire @C_L1L2(Produce, 1) : !aie.objectfifosubview<memref<8x12xf32>>\n"
            "aie.objectfifo.release @C_L1L2(Produce, 1)\n"
        ),
        r"nothing has written|unconsumed|deadlock",
    ),
    "an acquire of 2^62": (ONE_CORE.replace("(Consume, 1)", f"(Consume, {2**62})"), r"which has depth 2"),
    # names and strings
    "a name of 5,000 characters": (
        ONE_CORE.replace("A_L3L2", LONG),
        r"^line \d+: a symbol of 5,001 characters",
    ),
    "a string with an escape": (
        ONE_CORE.replace("matmul.o", "mat\x1b[31m.o"),
        r"^line \d+: a string that cannot be printed",
    ),
    "an escape": (broken(ONE_CORE, "module {", "module \x1b[31m {"), r"^line 1: unexpected '\\x1b'"),
    "a NUL": (broken(ONE_CORE, "module {", "module \0 {"), r"^line 1: unexpected '\\x00'"),
    "a line of a million characters": (
        broken(ONE_CORE, "module {", "module ~ // " + "\x1b[31m" * 100_000),
        r"^line 1: unexpected '~'",
    ),
    "an unclosed string": (broken(ONE_CORE, '"matmul.o"', '"matmul.o'), r"^line \d+: unexpected"),
    "a million unclosed strings": ("module { " + '"' * 999_999, r"^line 1: expected 'aie.device'"),
    "an unclosed memref": (broken(ONE_CORE, "memref<8x12xf32>", "memref<8x12xf32"), r"^line \d+: "),
    "binary": ("\x7fELF\x02\x01\x01" + "\0" * 1000, r"^line 1: unexpected"),
    "half of a surrogate pair": (
        broken(ONE_CORE, "module {", "module \ud800 {"),
        r"^line 1: unexpected '\\ud800'",
    ),
}

# What only the clock ends.
ENDLESS = {
    "cores that go on among themselves": among_themselves(),
    "a product of a million steps": broken(
        broken(
            broken(ONE_CORE, "[1, 3, 8, 16][0, 16, 48, 1]", "[64, 64, 64, 128][0, 2, 2, 1]"),
            "[1, 3, 16, 12][0, 192, 12, 1]",
            "[64, 64, 64, 192][0, 2, 2, 1]",
        ),
        "%steps = arith.constant 3",
        f"%steps = arith.constant {64**3}",
    ),
    "loops of two turns": in_round(
        "%m = arith.constant 2 : index\n"
        + nested(30, "".join(f"%k{n} = arith.constant {n} : index\n" for n in range(5000))).replace(
            "%c1 step", "%m step"
        )
    ),
}


if __name__ == "__main__":  # in a process of its own, for the test of how much memory they take
    import resource
    import sys

    from whisper_npu.kernels.verifier import DesignError

    judge(one_core())  # whatever is loaded late is loaded
    with open("/proc/self/statm", encoding="ascii") as statm:
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    more = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, taken + more))
    np.ones(more // 16).sum()  # half of it can be had
    for kind, text in {**{kind: text for kind, (text, _) in TEXTS.items()}, **ENDLESS}.items():
        try:
            judge(text, timeout_seconds=0.2)
            print(f"{kind}: accepted")
        except DesignError as error:
            print(f"{kind}: {error}")
