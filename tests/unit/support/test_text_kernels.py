"""A design's text as files, and back: what the fake and the stub execute is what the generator printed."""

from __future__ import annotations

import pytest

from tests.support import text_kernels
from tests.support.contracts import MATMUL_64X512, SMALL_NORM
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import gemm
from whisper_npu.kernels.matmul.kernel import matmul_64x64_batch
from whisper_npu.kernels.verifier import parse
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Direction

CONTRACTS = MATMUL_64X512, matmul_64x64_batch(NPU1, 16), gemm(NPU1, 384, 128, 192), SMALL_NORM
by_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)


@by_contract
def test_files_hold_the_design(contract: Contract) -> None:
    text = registry.design(contract)
    array, instructions = text_kernels.files(text)
    assert len(array) % text_kernels.PAGE == len(instructions) % text_kernels.WORD == 0
    assert text_kernels.is_text(array)
    assert text_kernels.read(array, instructions).design == parse(text)
    assert text_kernels.read(array + bytes(100), instructions).design == parse(text)  # a longer bo


@by_contract
def test_a_text_has_the_arguments_that_its_contract_has(contract: Contract) -> None:
    found = text_kernels.read(*text_kernels.files(registry.design(contract))).arguments
    assert [(argument.elements, argument.dtype, argument.direction) for argument in found] == [
        (argument.elements, argument.dtype, argument.direction) for argument in contract.arguments
    ]
    assert found[-1].direction is Direction.OUT


def test_sizes_of_one_overlay_differ_in_their_instructions_alone() -> None:
    (array, one), (same, other) = (
        text_kernels.files(registry.design(gemm(NPU1, 384, k, 192))) for k in (64, 128)
    )
    assert array == same
    assert one != other


def test_other_bytes_are_no_text() -> None:
    array, instructions = text_kernels.files(registry.design(MATMUL_64X512))
    for damaged in (b"", bytes(64), instructions[1:]):
        with pytest.raises(ValueError, match="no text of a design"):
            text_kernels.read(array, damaged)
    with pytest.raises(ValueError, match="line"):
        text_kernels.read(array, instructions[: len(instructions) // 2])


def test_a_sequence_that_names_what_the_array_has_not_is_none_of_its() -> None:
    array, _ = text_kernels.files(registry.design(SMALL_NORM))
    _, instructions = text_kernels.files(registry.design(MATMUL_64X512))
    with pytest.raises(ValueError, match=r"_L\dL\d"):
        text_kernels.read(array, instructions)
