"""Contracts: found by their names, with the sizes that their names say."""

from __future__ import annotations

import pytest

from whisper_npu.errors import UnknownKernelError
from whisper_npu.npu.contract import (
    CONTRACTS,
    HEADS_OF_CONTEXT,
    HEADS_OF_CONTEXT_TRANSPOSED,
    HEADS_OF_SCORES,
    MATMUL_64X64,
    MATMUL_64X512,
    MATMUL_128X512,
    DType,
    contract_as_json,
    find_contract,
    gemm,
    gemm_of_heads,
)


def test_a_contract_is_found_with_or_without_its_prefix() -> None:
    assert find_contract("64x512") is find_contract("matmul_64x512") is MATMUL_64X512


@pytest.mark.parametrize(("name", "near"), [("64x521", "64x512"), ("matmul_128x51", "128x512")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownKernelError, match=f"unknown kernel '{name}': did you mean {near}"):
        find_contract(name)


def test_names_are_unique_and_say_what_a_dispatch_computes() -> None:
    assert len({contract.name for contract in CONTRACTS}) == len(CONTRACTS)
    for contract in (MATMUL_64X64, MATMUL_64X512, MATMUL_128X512):
        assert contract.name == f"matmul_{contract.m}x{contract.n}"
    lying = (HEADS_OF_SCORES, HEADS_OF_CONTEXT, HEADS_OF_CONTEXT_TRANSPOSED)
    gemms = [
        gemm(384, 64, 192),
        gemm(384, 64, 192, (64, 64, 48)),
        gemm(384, 64, 192, result_dtype=DType.BF16),
        *(gemm_of_heads(2, 384, 64, 192, heads) for heads in lying),
        gemm_of_heads(3, 384, 64, 192, HEADS_OF_SCORES),
    ]
    assert len({contract.name for contract in gemms}) == len(gemms)


def test_gemms_of_one_core_tile_and_result_share_an_overlay_and_others_have_their_own() -> None:
    one = gemm(384, 64, 192)
    for same in (gemm(1536, 512, 576), gemm_of_heads(8, 1536, 64, 1536, HEADS_OF_SCORES)):
        assert same.overlay == one.overlay == "gemm_96x64x48"
    for other in (gemm(256, 64, 192, (64, 64, 48)), gemm(384, 64, 192, result_dtype=DType.BF16), *CONTRACTS):
        assert other.overlay != one.overlay
    assert len({contract.overlay for contract in CONTRACTS}) == len(CONTRACTS)


def test_a_manifest_says_how_heads_lie() -> None:
    document = contract_as_json(gemm_of_heads(8, 1536, 64, 1536, HEADS_OF_SCORES))
    assert document["heads_along"] == {"a": "cols", "b": "rows", "c": "rows"}
    assert document["batch"] == 8


def test_one_dispatch_moves_the_bytes_of_its_tiles() -> None:
    assert MATMUL_64X512.bytes_to_device == 64 * 64 * 2 + 64 * 512 * 2
    assert MATMUL_64X512.bytes_from_device == 64 * 512 * 4
    assert MATMUL_64X512.macs == 64 * 64 * 512
