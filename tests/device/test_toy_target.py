"""A generation that no chip has: planned for and executed by what its Target says, and by nothing else.

Its designs and the verifier: tests/kernels/test_designs.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.device.test_ops import operands_of_layer, run
from tests.support.products import Multiply
from tests.support.stand_in_kernels import write_kernel, xclbin
from tests.support.toy_target import TOY
from whisper_npu.errors import KernelManifestError
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import gemm, gemm_tiles
from whisper_npu.kernels.matmul.kernel import matmul_64x64, matmul_64x64_batch
from whisper_npu.npu.artifacts import built, find_kernel
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.planner import choose, products
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import EncoderLayer

LAYER = EncoderLayer(n_ctx=100, n_state=48, n_head=2, n_mlp=72)


@pytest.fixture(params=Fidelity, ids=lambda fidelity: fidelity.value)
def toy(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with Emulator(request.param, target=TOY) as emulator:
        yield emulator


def test_core_tiles_are_those_that_its_own_memory_holds() -> None:
    assert set(gemm_tiles(TOY)) < set(gemm_tiles(NPU1))
    for tile in gemm_tiles(TOY):
        assert gemm(TOY, 0, 0, 0, tile).l1_bytes <= TOY.core.memory_bytes


def test_a_gemm_is_padded_to_its_own_rounds() -> None:
    choice = choose([LAYER], registry.kernels(TOY))
    assert f"MODELLED ({TOY.profile.name})" in choice.reason
    for plan in choice.plans.values():
        contract = plan.contract
        assert contract.target is TOY
        assert contract.cores in (1, TOY.cores)
        assert plan.run_list == TOY.run_list


def test_a_layer_is_what_it_is_on_every_target(toy: Emulator) -> None:
    operands = operands_of_layer(LAYER, np.random.default_rng(0))
    given = [operands[operand.name] for operand in LAYER.inputs]
    prepared = toy.prepared([LAYER])
    results, recording = run(prepared, LAYER, operands)
    contract = recording.runs[0].plan.contract
    (reference,), (bound,) = LAYER.reference(*given), LAYER.tolerance(contract.numerics, *given)
    assert (np.abs(results["y"] - reference) <= bound).all()
    assert [run.name for run in recording.runs] == [product.name for product in products([LAYER])]
    assert {run.plan.contract.target for run in recording.runs} == {TOY}


@pytest.mark.parametrize("kernel", registry.contracts(TOY), ids=lambda contract: contract.name)
def test_its_kernels_of_fixed_sizes_multiply_integers_exactly(toy: Emulator, kernel: object) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(-1, 2, (70, 60)), rng.integers(-1, 2, (60, 90))
    multiply = Multiply(toy, kernel)  # type: ignore[arg-type]
    c = multiply(a.astype(np.float32), b.astype(np.float32))
    assert np.array_equal(c, a @ b)
    (done,) = multiply.take_runs()
    assert done.stats.dispatches == done.plan.dispatches
    assert done.stats.submissions == -(-done.plan.dispatches // TOY.run_list)


def test_pairs_are_packed_in_its_own_micro_tiles() -> None:
    kernel = matmul_64x64_batch(TOY, 12)
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((12, 64, 64)), rng.standard_normal((12, 64, 64))
    places = {}
    for target in (TOY, NPU1):
        place = np.empty((12, 2 * 64 * 64))
        matmul_64x64_batch(target, 12).gather(place, a, b)
        places[target.name] = place
    r, s, _ = TOY.micro_tile
    assert np.array_equal(places["toy"][0, : r * s], a[0, :r, :s].ravel())
    assert not np.array_equal(places["toy"], places["npu1"])
    assert kernel.core_count == TOY.cores


def test_a_kernel_of_another_target_is_refused(tmp_path: Path) -> None:
    write_kernel(tmp_path, matmul_64x64(TOY), xclbin(matmul_64x64(TOY)))
    assert built([tmp_path], TOY) == (matmul_64x64(TOY),)
    assert find_kernel(matmul_64x64(TOY), [tmp_path]).contract.target is TOY
    with pytest.raises(KernelManifestError, match="built for toy, not for npu1"):
        find_kernel(matmul_64x64(NPU1), [tmp_path])
