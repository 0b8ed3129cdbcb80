"""What a core's program is, counted in the disassembly that Peano's llvm-objdump prints.

A line is one bundle, of up to six instructions that issue together, between semicolons:

     2c0: c0 03 00 88 03 00 ... vlda wl0, [p0], #0x20; nops ; vmac.f bml0, bml0, x0, x4, r0

A core issues a bundle per cycle while nothing stalls it (measured: github.com/jdominick05/ignite-xdna,
docs/SILICON.md, 1.2). Its zero-overhead loops have no jump: the registers `ls` and `le` hold the addresses of
the first and of the last bundle, `lc` the count. Other loops end in a conditional jump, behind which the
bundles of its delay slots still issue. Sources: github.com/Xilinx/llvm-aie, pull requests 46 and 311 and its
tests of llvm-objdump; mlir-aie, programming_guide, section-4d.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from whisper_npu.npu.artifacts import InnerLoop

OBJDUMP_OPTIONS = "--disassemble", "--reloc", "--disassemble-zeroes"
LOOP_END = ".L_LEnd"
DELAY_SLOTS = 5  # bundles behind a jump that still issue

_SECTION = re.compile(r"Disassembly of section (\S+):")
_LABEL = re.compile(r"([0-9a-f]+) <(.+)>:")
_BUNDLE = re.compile(r"\s*([0-9a-f]+):\s+((?:[0-9a-f]{2}\s)+)\s*(.*)")
_RELOCATION = re.compile(r"\s+([0-9a-f]+):\s+R_AIE\S*\s+([^\s+]+)(?:\+0x([0-9a-f]+))?\s*")
_LOOP_END = re.compile(r"movxm\s+(ls|le)\s*,\s*#(?:0x)?([0-9a-f]+)")
_JUMP_BACK = re.compile(r"jn?z\s+\w+\s*,\s*#(?:0x)?([0-9a-f]+)")
_MULTIPLY = re.compile(r"v(?:neg|add|sub)*(?:mac|msc|mul)(?:\.f)?\s")
_SPILL = re.compile(r"vst\S*\s.*\[sp\b")


@dataclass(frozen=True)
class CoreProgram:
    """One object that cores link."""

    program_bytes: int
    inner_loop: InnerLoop | None  # the innermost loop that multiplies most; None where none does
    spills: int  # vector registers that it stores to the stack, anywhere

    def as_json(self) -> dict[str, object]:
        loop = self.inner_loop
        return {
            "program_bytes": self.program_bytes,
            "inner_loop": None if loop is None else {"bundles": loop.bundles, "vmacs": loop.vmacs},
            "spills": self.spills,
        }

    def __str__(self) -> str:
        loop = self.inner_loop
        if loop is None:
            inner = "no loop that multiplies"
        else:
            rate = f"{loop.vmacs_per_cycle:.2f} per cycle"
            inner = f"inner loop of {loop.bundles} bundles with {loop.vmacs} vmacs, {rate}"
        return f"{self.program_bytes:,} bytes of program, {inner}, {self.spills} spills"


@dataclass(frozen=True)
class _Bundle:
    address: int
    size: int
    slots: tuple[str, ...]
    function: str


@dataclass
class _Section:
    bundles: list[_Bundle] = field(default_factory=list)
    targets: dict[int, tuple[str, int]] = field(default_factory=dict)  # address -> label and offset


def read_objdump(text: str, called: Collection[str] = ()) -> CoreProgram | None:
    """The program in what llvm-objdump prints with OBJDUMP_OPTIONS.

    called: functions whose loops count, where one of them multiplies; otherwise all functions do. None where
    the text holds no bundle.
    """
    sections, labels = _read(text)
    bundles = [bundle for section in sections.values() for bundle in section.bundles]
    if not bundles:
        return None
    loops = [loop for name in sections for loop in _innermost(sections[name], name, labels)]
    multiplying = [loop for loop in loops if _vmacs(loop)]
    of_called = [loop for loop in multiplying if loop[0].function in called]
    # Of loops that multiply alike the longest.
    inner = max(of_called or multiplying, key=lambda loop: (_vmacs(loop), len(loop)), default=None)
    return CoreProgram(
        program_bytes=sum(_size(section) for section in sections.values()),
        inner_loop=None if inner is None else InnerLoop(len(inner), _vmacs(inner)),
        spills=sum(bool(_SPILL.match(slot)) for bundle in bundles for slot in bundle.slots),
    )


def _read(text: str) -> tuple[dict[str, _Section], dict[str, tuple[str, int]]]:
    """The sections by name; each label's section and address."""
    sections: dict[str, _Section] = {}
    labels: dict[str, tuple[str, int]] = {}
    name = function = ""
    for line in text.splitlines():
        if found := _SECTION.fullmatch(line):
            name = found[1]
            sections.setdefault(name, _Section())
        elif found := _LABEL.fullmatch(line):
            labels[found[2]] = name, int(found[1], 16)
            if not found[2].startswith(".L"):
                function = found[2]
        elif (found := _RELOCATION.fullmatch(line)) and name in sections:
            sections[name].targets[int(found[1], 16)] = found[2], int(found[3] or "0", 16)
        elif (found := _BUNDLE.fullmatch(line)) and name in sections:
            slots = tuple(slot.strip() + " " for slot in found[3].split(";"))
            size = len(found[2].split())
            sections[name].bundles.append(_Bundle(int(found[1], 16), size, slots, function))
    return sections, labels


def _size(section: _Section) -> int:
    if not section.bundles:
        return 0
    first, last = section.bundles[0], section.bundles[-1]
    return last.address + last.size - first.address


def _innermost(section: _Section, name: str, labels: dict[str, tuple[str, int]]) -> list[list[_Bundle]]:
    ranges = sorted(set(_loops(section, name, labels)))

    def holds_another(first: int, last: int) -> bool:
        return any(first <= start and end <= last and (start, end) != (first, last) for start, end in ranges)

    return [section.bundles[first : last + 1] for first, last in ranges if not holds_another(first, last)]


def _loops(section: _Section, name: str, labels: dict[str, tuple[str, int]]) -> Iterator[tuple[int, int]]:
    """Numbers of the first and of the last bundle of each loop."""
    number_at = {bundle.address: number for number, bundle in enumerate(section.bundles)}
    yield from _loops_by_label(number_at, name, labels)
    start: int | None = None
    end: int | None = None  # set in either order; a pair of two loops holds the later one
    for number, bundle in enumerate(section.bundles):
        for slot in bundle.slots:
            if found := _LOOP_END.match(slot):
                place = number_at.get(_target(section, name, bundle, int(found[2], 16), labels))
                start, end = (place, end) if found[1] == "ls" else (start, place)
                if start is not None and end is not None and start <= end:
                    yield start, end
            elif found := _JUMP_BACK.match(slot):
                place = number_at.get(_target(section, name, bundle, int(found[1], 16), labels))
                if place is not None and place <= number:
                    yield place, min(number + DELAY_SLOTS, len(section.bundles) - 1)


def _loops_by_label(
    number_at: Mapping[int, int], name: str, labels: Mapping[str, tuple[str, int]]
) -> Iterator[tuple[int, int]]:
    """Zero-overhead loops as Peano labels them: from a block's label to the last bundle, .L_LEnd0."""
    here = {
        label: number_at[at] for label, (where, at) in labels.items() if where == name and at in number_at
    }
    starts = [number for label, number in here.items() if not label.startswith(LOOP_END)]
    for label, last in here.items():
        before = [start for start in starts if start <= last]
        if label.startswith(LOOP_END) and before:
            yield max(before), last


def _target(
    section: _Section, name: str, bundle: _Bundle, written: int, labels: dict[str, tuple[str, int]]
) -> int:
    """The address that an instruction names: by its relocation, or as it stands in a linked program.

    -1 where it is in another section, or where neither says it: an object has 0 there.
    """
    places = range(bundle.address, bundle.address + bundle.size)
    label, offset = next((section.targets[at] for at in places if at in section.targets), ("", 0))
    if not label:
        return written or -1
    if label == name:
        return offset
    where, address = labels.get(label, ("", 0))
    return address + offset if where == name else -1


def _vmacs(loop: list[_Bundle]) -> int:
    return sum(bool(_MULTIPLY.match(slot)) for bundle in loop for slot in bundle.slots)
