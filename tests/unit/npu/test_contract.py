"""Contracts: found by their names, with the sizes that their names say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest

from tests.support.contracts import CONTRACTS, MATMUL_64X64, MATMUL_64X512, MATMUL_128X512
from tests.support.toy_family import SumsContract
from whisper_npu.dtypes import DType
from whisper_npu.errors import UnknownKernelError
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import gemm as gemm_on
from whisper_npu.kernels.gemm.kernel import gemm_of_batch as gemm_of_batch_on
from whisper_npu.npu.contract import Argument, Contract
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Direction

gemm, gemm_of_batch = partial(gemm_on, NPU1), partial(gemm_of_batch_on, NPU1)
find_contract = partial(registry.find_contract, known=CONTRACTS)


@dataclass(frozen=True)
class OfSizes(SumsContract):
    """What it reads and writes, in bytes."""

    given: tuple[int, ...] = ()
    made: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    __hash__ = Contract.__hash__

    @property
    def arguments(self) -> tuple[Argument, ...]:
        return (
            *(Argument("in", size // 4, DType.F32, Direction.IN) for size in self.given),
            *(Argument("kept", size // 4, DType.F32, Direction.INOUT) for size in self.kept),
            *(Argument("out", size // 4, DType.F32, Direction.OUT) for size in self.made),
        )


@pytest.mark.parametrize(
    ("given", "made"), [((400, 80), (40,)), ((80, 400), (200, 40)), ((8,), (40, 12, 80)), ((40,), (80, 12))]
)
def test_unless_it_says_more_each_argument_has_a_stream_of_its_own(
    given: tuple[int, ...], made: tuple[int, ...]
) -> None:
    contract = OfSizes("sizes", NPU1, 1, 1, given, made)
    assert contract.stream_bytes == (max(given), max(made))
    assert contract.bytes_from_device == sum(made)
    assert (contract.results, contract.tasks) == (len(made), len(given) + len(made))


def test_a_workspace_is_no_result() -> None:
    contract = OfSizes("sizes", NPU1, 1, 1, (400,), (40,), (80,))
    assert (contract.results, contract.bytes_from_device) == (1, 40)
    assert [argument.is_workspace for argument in contract.arguments] == [False, True, False]


def test_a_contract_is_found_with_or_without_its_prefix() -> None:
    assert find_contract("64x512") is find_contract("matmul_64x512")
    assert find_contract("64x512") == MATMUL_64X512


@pytest.mark.parametrize(("name", "near"), [("64x521", "64x512"), ("matmul_128x51", "128x512")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownKernelError, match=f"unknown kernel '{name}': did you mean {near}"):
        find_contract(name)


def test_names_are_unique_and_say_what_a_dispatch_computes() -> None:
    assert len({contract.name for contract in CONTRACTS}) == len(CONTRACTS)
    for contract in (MATMUL_64X64, MATMUL_64X512, MATMUL_128X512):
        assert contract.name == f"matmul_{contract.m}x{contract.n}"
    gemms = [
        gemm(384, 64, 192),
        gemm(384, 64, 192, (64, 64, 48)),
        gemm(384, 64, 192, result_dtype=DType.BF16),
        gemm_of_batch(2, 384, 64, 192),
        gemm_of_batch(3, 384, 64, 192),
    ]
    assert len({contract.name for contract in gemms}) == len(gemms)


@pytest.mark.parametrize(
    "contract",
    [
        *CONTRACTS,
        gemm(384, 64, 192),
        gemm(384, 128, 192, (64, 64, 48)),
        gemm(384, 64, 192, result_dtype=DType.BF16),
        gemm_of_batch(3, 384, 64, 192),
    ],
    ids=lambda contract: contract.name,
)
def test_a_name_says_which_contract_it_is(contract: Contract) -> None:
    assert registry.contract_named(contract.name, NPU1) == contract
    assert registry.contract_named(f"{contract.name}x", NPU1) is None


def test_gemms_of_one_core_tile_and_result_share_an_overlay_and_others_have_their_own() -> None:
    one = gemm(384, 64, 192)
    for same in (gemm(1536, 512, 576), gemm_of_batch(8, 1536, 64, 1536)):
        assert same.overlay == one.overlay == "gemm_96x64x48"
    for other in (gemm(256, 64, 192, (64, 64, 48)), gemm(384, 64, 192, result_dtype=DType.BF16), *CONTRACTS):
        assert other.overlay != one.overlay
    assert len({contract.overlay for contract in CONTRACTS}) == len(CONTRACTS)


def test_a_manifest_says_how_the_matrices_of_a_batch_lie() -> None:
    document = gemm_of_batch(8, 1536, 64, 1536).as_json()
    assert document["batch_layout"] == {"a": "cols", "b": "rows", "c": "cols"}
    assert document["products"] == 8


def test_one_dispatch_moves_the_bytes_of_its_tiles() -> None:
    assert MATMUL_64X512.bytes_to_device == 64 * 64 * 2 + 64 * 512 * 2
    assert MATMUL_64X512.bytes_from_device == 64 * 512 * 4
    assert MATMUL_64X512.macs == 64 * 64 * 512
