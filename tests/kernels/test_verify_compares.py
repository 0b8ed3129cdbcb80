"""Every element of every dispatch is compared, the first and the last too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from numpy.typing import NDArray

from tests.support.contracts import MATMUL_64X64
from whisper_npu.kernels.registry import design
from whisper_npu.kernels.verifier import Functions, parse
from whisper_npu.kernels.verify import WrongResultError, numpy_functions, verify


class Spoiled:
    """Functions of which a product adds one to one element of C, in the order in which a core holds them."""

    def __init__(self, right: Functions, element: int) -> None:
        self._right, self._element = right, element

    def reads(self, name: str) -> tuple[bool, ...]:
        return self._right.reads(name)

    def macs(self, name: str) -> int:
        return self._right.macs(name)

    def prepare(self, name: str, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        call = self._right.prepare(name, arguments)

        def and_spoil() -> None:
            call()
            if name.startswith("matmul"):
                arguments[-1].reshape(-1)[self._element] += 1

        return and_spoil


@pytest.mark.parametrize(("element", "place"), [(0, "0,0"), (-1, "63,63")])
def test_one_element_that_is_wrong_is_named(element: int, place: str) -> None:
    text = design(MATMUL_64X64)
    functions = numpy_functions(MATMUL_64X64, parse(text))
    assert verify(MATMUL_64X64, text, functions).tolerance_used <= 1
    message = rf"matmul_64x64: C\[{place}\] is .*; 1 of 4,096 elements are out of tolerance"
    with pytest.raises(WrongResultError, match=message):
        verify(MATMUL_64X64, text, Spoiled(functions, element))
