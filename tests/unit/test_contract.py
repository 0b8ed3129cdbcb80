"""Contracts: found by their names, with the sizes that their names say."""

from __future__ import annotations

import pytest

from whisper_npu.errors import UnknownKernelError
from whisper_npu.npu.contract import AUTO_CONTRACTS, CONTRACTS, MATMUL_64X512, find_contract


def test_a_contract_is_found_with_or_without_its_prefix() -> None:
    assert find_contract("64x512") is find_contract("matmul_64x512") is MATMUL_64X512


@pytest.mark.parametrize(("name", "near"), [("64x521", "64x512"), ("matmul_128x51", "128x512")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownKernelError, match=f"unknown kernel '{name}': did you mean {near}"):
        find_contract(name)


def test_names_are_unique_and_say_what_a_dispatch_computes() -> None:
    assert len({contract.name for contract in CONTRACTS}) == len(CONTRACTS)
    for contract in AUTO_CONTRACTS:
        assert contract.name == f"matmul_{contract.m}x{contract.n}"


def test_one_dispatch_moves_the_bytes_of_its_tiles() -> None:
    assert MATMUL_64X512.bytes_to_device == 64 * 64 * 2 + 64 * 512 * 2
    assert MATMUL_64X512.bytes_from_device == 64 * 512 * 4
    assert MATMUL_64X512.macs == 64 * 64 * 512
