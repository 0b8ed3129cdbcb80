"""Right designs, what becomes of them when lines, words and numbers change, and the verdict on that."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from whisper_npu.kernels.gemm.kernel import gemm, gemm_of_batch
from whisper_npu.kernels.matmul.kernel import MatmulContract, in_bf16
from whisper_npu.kernels.norm.kernel import norm
from whisper_npu.kernels.registry import design
from whisper_npu.kernels.verifier import DesignError, parse
from whisper_npu.kernels.verifier.core_functions import CoreFunctionError
from whisper_npu.kernels.verify import WrongResultError, numpy_functions, verify
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import NPU1


@dataclass(frozen=True)
class Right:
    """A contract, and the text of its design."""

    contract: Contract
    text: str


def _right(contract: Contract) -> Right:
    return Right(contract, design(contract))


ONE = MatmulContract("matmul_small", NPU1, 16, 8, 16, core_count=1, core_tile=(16, 8, 16))
# One of each path through the generators, as small as its family makes them.
RIGHT = {
    "one core": _right(ONE),
    "one core, bf16": _right(in_bf16(ONE)),
    "wide": _right(replace(ONE, n=16 * 16, k=24, core_count=16, block=(16, 16 * 16))),
    "pairs": _right(replace(ONE, products=32, core_count=16)),
    "gemm": _right(gemm(NPU1, 128, 24, 64, (16, 8, 16))),
    "gemm of a batch": _right(gemm_of_batch(NPU1, 2, 64, 8, 128, (16, 8, 16))),
    "norm": _right(norm(NPU1, 48, 256)),
}

# Numbers at which types, fields and this program's own limits end.
EXTREMES = [-1, 0, 1, 2, 3, 7, 63, 64, 65, 1023, 1024, 4095, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1]
EXTREMES += [2**32, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400]

_NUMBER = re.compile(r"(?<![\w.@%])-?\d+\b")
_WORD = re.compile(r"[%@!]?[\w.$]+|->|[^\s\w]")


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """The text with one to four things changed.

    Mostly lines and numbers: what is left is then read to its end, and often executed.
    """
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 2, 4]))):
        kind = draw(st.sampled_from([*["line"] * 4, *["number"] * 4, "word", "characters"]))
        if kind == "line":
            text = _moved_about(draw, text, [match.span() for match in re.finditer(r"[^\n]*\n", text)])
        elif kind == "word":
            text = _moved_about(draw, text, [match.span() for match in _WORD.finditer(text)])
        elif kind == "number":
            text = _other_number(draw, text)
        else:
            start = draw(st.integers(0, len(text)))
            text = text[:start] + draw(st.text(max_size=3)) + text[start + draw(st.integers(0, 20)) :]
    return text


def _moved_about(draw: st.DrawFn, text: str, spans: list[tuple[int, int]]) -> str:
    """One piece of a text is left out, doubled, or takes another's place."""
    if len(spans) < 2:
        return text
    one, other = sorted((draw(st.integers(0, len(spans) - 1)), draw(st.integers(0, len(spans) - 1))))
    (a, b), (c, d) = spans[one], spans[other]
    how = draw(st.sampled_from(["leave out", "double", "swap", "instead"]))
    if how == "leave out":
        return text[:a] + text[b:]
    if how == "double":
        return text[:b] + " " + text[a:b] + text[b:]
    if how == "instead" or one == other:
        return text[:a] + text[c:d] + text[b:]
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def _other_number(draw: st.DrawFn, text: str) -> str:
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return text
    at = draw(st.sampled_from(numbers))
    value = int(at.group()[:30])
    near = [value + 1, value - 1, 2 * value, value // 2, -value, value + 16]
    new = draw(st.sampled_from([*near, *EXTREMES]))
    return f"{text[: at.start()]}{new}{text[at.end() :]}"


WORDS = sorted({word for one in RIGHT.values() for word in _WORD.findall(one.text)})


@st.composite
def nonsense(draw: st.DrawFn) -> str:
    """The language's words in any order, in a device or without one; never a whole design."""
    words = draw(st.lists(st.sampled_from([*WORDS, "\n"]), max_size=60))
    opening = draw(st.sampled_from(["", "module {", "module {\n  aie.device(npu1) {\n"]))
    return f"{opening} {' '.join(words)}"


def verdict(right: Right, text: str, timeout_seconds: float = 1) -> str:
    """What is wrong with a text, for this contract; "" where nothing is found. Any other error is a fault."""
    try:
        functions = numpy_functions(right.contract, parse(text))
        verify(right.contract, text, functions, timeout_seconds=timeout_seconds)
    except (DesignError, WrongResultError, CoreFunctionError) as error:
        return str(error)
    return ""
