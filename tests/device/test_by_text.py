"""From the public API to the result by the designs' own text.

Here what the host writes into bos meets what a design does with them; elsewhere each is held to the contract.
Small problems: a dispatch is executed object by object.

Above the fake, or with `--device xrt` above the genuine pyxrt and the stub of the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.attention import Case
from tests.support.contracts import MATMUL_64X64, MATMUL_64X512, MATMUL_128X512
from tests.support.ops import random_inputs
from tests.support.text_kernels import InText
from tests.support.text_npu import TextNpu, text_npu
from whisper_npu import AttentionNPU
from whisper_npu.attention_npu import attention_ops
from whisper_npu.errors import DeviceError, DispatchError
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, Gemm, gemm, padded_gemm
from whisper_npu.kernels.matmul.kernel import in_bf16, matmul_64x64_batch, matmul_64x512_k
from whisper_npu.kernels.norm.kernel import NormOnRows, norm
from whisper_npu.npu import layout
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device, Recording, Run
from whisper_npu.npu.planner import Choice, choose, smallest
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.xrt import buffer
from whisper_npu.ops import Attention, Batched, EncoderLayer, Linear, Matmul, Norm, Op

PAIRS = matmul_64x64_batch(NPU1, 16)
LONG_K = matmul_64x512_k(NPU1, 512)
SINGLE = gemm(NPU1, 384, 128, 192)
OF_SCORES = padded_gemm(NPU1, Matmul(380, 60, 380, 2, Batched.SCORES))
OF_CONTEXT = padded_gemm(NPU1, Matmul(380, 380, 60, 2, Batched.CONTEXT))
ROWS = norm(NPU1, 32, 256)
TURNED = (16, 64, 128)  # a core tile for which context comes as V^T P^T

# No size is a multiple of a tile: every operand is padded, and no two sizes can be swapped unnoticed.
LINEAR = Linear(70, 100, 530)


@pytest.fixture
def npu(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextNpu]:
    """An NPU that runs texts, and has none yet. Nothing may go wrong on it but what the test says."""
    with text_npu(request.config)(tmp_path, monkeypatch) as npu:
        yield npu
        assert npu.problems() == []


def run(device: Device, op: Op, choice: Choice | Contract, seed: int = 0) -> tuple[bool, Recording]:
    """Whether each result is within the op's tolerance of float64, and what was executed."""
    prepared = device.prepared([op], choice)
    inputs = random_inputs(op, seed)
    results = [np.full(operand.shape, np.nan, np.float32) for operand in op.outputs]
    names = [operand.name for operand in (*op.inputs, *op.outputs)]
    with prepared.recording() as recording:
        prepared.run(op, dict(zip(names, (*inputs, *results), strict=True)))
    expected, bounds = op.reference(*inputs), op.tolerance(recording.runs[0].plan.contract.numerics, *inputs)
    near = [np.abs(y - exact) <= bound for y, exact, bound in zip(results, expected, bounds, strict=True)]
    return all(map(np.all, near)), recording


def executed(device: Device, op: Op, choice: Choice | Contract, seed: int = 0) -> tuple[Run, ...]:
    """What was executed for an op, whose results are right."""
    is_right, recording = run(device, op, choice, seed)
    assert is_right
    return tuple(recording.runs)


# --- Each family --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "contract",
    [MATMUL_64X64, MATMUL_64X512, MATMUL_128X512, in_bf16(MATMUL_64X512), LONG_K],
    ids=lambda contract: contract.name,
)
def test_a_product_in_tiles(npu: TextNpu, contract: Contract) -> None:
    (done,) = executed(npu.open(contract), LINEAR, contract)
    assert npu.dispatches() == done.stats.dispatches + 1  # the known answer


def test_a_product_in_pairs(npu: TextNpu) -> None:
    (done,) = executed(npu.open(PAIRS), LINEAR, PAIRS)
    assert done.stats.dispatches == 3  # 2 x 2 x 9 tile products, 16 of them in a dispatch


def test_what_no_product_fills_of_the_last_dispatch_of_pairs_is_zeros(
    npu: TextNpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of an earlier product is left there."""
    pairs: list[NDArray[np.uint8]] = []
    compute = InText.compute

    def watched(self: InText, *memories: NDArray[np.uint8]) -> None:
        pairs.extend(memories[0].reshape(PAIRS.batch, -1).copy())
        compute(self, *memories)

    monkeypatch.setattr(InText, "compute", watched)
    device = npu.open(PAIRS)
    device.load(PAIRS)
    for op, products in ((LINEAR, 36), (Linear(70, 60, 200), 8), (LINEAR, 36)):
        pairs.clear()
        executed(device, op, PAIRS)
        filled = [bool(pair.any()) for pair in pairs]
        assert filled == [number < products for number in range(-(-products // PAIRS.batch) * PAIRS.batch)]


def test_a_product_of_whole_matrices(npu: TextNpu) -> None:
    kernel = Gemm(NPU1, GEMM_TILE)
    op = Linear(400, 100, 200)  # two rounds down, two across
    (done,) = executed(npu.open(kernel.plan(op.product).contract), op, Choice((kernel,)))
    assert done.stats.dispatches == 1


@pytest.mark.parametrize("tile", [GEMM_TILE, TURNED], ids=["upright", "turned"])
def test_attention_of_all_heads(npu: TextNpu, tile: tuple[int, int, int]) -> None:
    kernel, op = Gemm(NPU1, tile), Attention(100, 96, 3)
    plans = [kernel.plan(op.scores), kernel.plan(op.context)]
    assert {plan.transposed for plan in plans} == {tile == TURNED}
    runs = executed(npu.open(*(plan.contract for plan in plans)), op, Choice((kernel,)))
    assert [done.stats.dispatches for done in runs] == [1, 1]


def test_attention_npu(npu: TextNpu) -> None:
    """With the kernels that are built, and no word about which to take."""
    case = Case(n_ctx=100, n_state=96, n_head=3)
    contracts = choose(attention_ops(100, 96, 3), [Gemm(NPU1, GEMM_TILE)]).contracts
    q, k, v, out = case.biases
    attention = AttentionNPU(
        *case.weights, n_head=3, q_bias=q, k_bias=k, v_bias=v, out_bias=out, device=npu.open(*contracts)
    )
    with attention.device.recording() as recording:
        y = attention(case.x)
    # Three bf16 roundings deep, each 2^-8 of values around 1.
    assert np.abs(y - case.reference()).max() < 0.06
    assert [done.plan.contract for done in recording.runs] == list(contracts)
    assert [done.stats.dispatches for done in recording.runs] == [1, 1, 1, 1]


def test_rows_are_normalised(npu: TextNpu) -> None:
    kernel, op = NormOnRows(NPU1), Norm(37, 256, residual=True)
    plan = kernel.plan(op)
    choice = Choice((Gemm(NPU1, GEMM_TILE),), plans={op: plan})
    (done,) = executed(npu.open(plan.contract), op, choice)
    assert (done.plan, done.stats.dispatches) == (plan, 1)


def test_a_layer(npu: TextNpu) -> None:
    """Two overlays take turns; what one kernel writes, another reads."""
    layer = EncoderLayer(n_ctx=100, n_state=128, n_head=2, n_mlp=200)
    gemms, norms = Gemm(NPU1, GEMM_TILE), NormOnRows(NPU1)
    products = [gemms.plan(op).contract for op in smallest([layer]) if isinstance(op, Matmul)]
    choice = Choice((gemms,), plans={layer.norm: norms.plan(layer.norm)})
    done = executed(npu.open(*products, norms.plan(layer.norm).contract), layer, choice)
    assert [run.stats.dispatches for run in done] == [1] * 7


# --- Where the two do not meet ------------------------------------------------------------------------------


def changed(text: str, pattern: str, replacement: str) -> str:
    """With the first place that the pattern finds replaced."""
    result, found = re.subn(pattern, replacement, text, count=1)
    assert found == 1, pattern
    assert result != text
    return result


@pytest.mark.parametrize(
    ("contract", "argument"),
    [
        *((MATMUL_64X512, argument) for argument in "BC"),
        *((PAIRS, argument) for argument in ("AB", "C")),
        *((SINGLE, argument) for argument in "ABC"),
        *((OF_SCORES, argument) for argument in "ABC"),
        *((OF_CONTEXT, argument) for argument in "ABC"),
        *((ROWS, argument) for argument in ("X", "RESIDUAL", "SUM", "Y")),
    ],
    ids=lambda given: given if isinstance(given, str) else given.name,
)
def test_a_design_that_moves_other_bytes_is_refused(npu: TextNpu, contract: Contract, argument: str) -> None:
    """One task begins where the first one of this argument does. No contract says where a task begins."""
    text = changed(registry.design(contract), rf"(%{argument}\[0, 0, 0, )[1-9]\d*\]", r"\g<1>0]")
    device = npu.open({contract: text})
    with pytest.raises(DispatchError, match="another result"):
        device.load(contract)


def with_exchanged_strides(contract: Contract, argument: str) -> str:
    return changed(
        registry.design(contract), rf"(%{argument}\[.*?\]\[.*?\]\[\d+, \d+), (\d+), 1\]", r"\1, 1, \2]"
    )


def test_a_design_that_exchanges_rows_and_columns_of_its_result_is_refused(npu: TextNpu) -> None:
    device = npu.open({MATMUL_64X64: with_exchanged_strides(MATMUL_64X64, "C")})
    with pytest.raises(DispatchError, match="another result"):
        device.load(MATMUL_64X64)


@pytest.mark.parametrize(
    ("contract", "argument"),
    [(MATMUL_64X64, "A"), (MATMUL_64X64, "B"), (MATMUL_64X512, "A"), (SINGLE, "B")],
    ids=lambda given: given if isinstance(given, str) else given.name,
)
def test_the_array_cannot_exchange_rows_and_columns_of_bf16(
    npu: TextNpu, contract: Contract, argument: str
) -> None:
    device = npu.open({contract: with_exchanged_strides(contract, argument)})
    with pytest.raises(DispatchError, match="ERROR"):
        device.load(contract)
    assert "bf16 needs the innermost stride 1" in npu.only_problem()


def test_instructions_of_another_size_on_the_same_array_are_refused(npu: TextNpu) -> None:
    smaller = gemm(NPU1, 384, 64, 192)
    assert smaller.overlay == SINGLE.overlay
    device = npu.open({SINGLE: registry.design(smaller)})
    with pytest.raises(DispatchError, match="another result"):
        device.load(SINGLE)


def test_instructions_of_another_array_hang(npu: TextNpu) -> None:
    """Its cores take eight steps, the sequence brings one."""
    device = npu.open({MATMUL_64X512: (registry.design(LONG_K), registry.design(MATMUL_64X512))})
    with pytest.raises(DispatchError, match="ERROR"):
        device.load(MATMUL_64X512)
    assert "deadlock" in npu.only_problem()


def test_instructions_that_take_more_than_a_bo_holds_are_seen(npu: TextNpu) -> None:
    device = npu.open({MATMUL_64X512: registry.design(LONG_K)})
    with pytest.raises(DeviceError):
        device.load(MATMUL_64X512)
    assert "8192 bytes of 65536" in npu.only_problem()


@pytest.mark.parametrize("contract", [MATMUL_64X64, SINGLE], ids=lambda contract: contract.name)
def test_arguments_in_another_order_are_refused(npu: TextNpu, contract: Contract) -> None:
    text = changed(registry.design(contract), r"(%A: memref<\w+>), (%B: memref<\w+>)", r"\2, \1")
    device = npu.open({contract: text})
    with pytest.raises(DeviceError):
        device.load(contract)
    if contract is SINGLE:
        assert "bytes of" in npu.only_problem()


def unpadded(tiles: Any, matrix: Any, layout: object) -> None:
    """Rows one after the other, as long as they are."""
    tiles.reshape(-1)[: matrix.size] = matrix.ravel()


@pytest.mark.parametrize("contract", [MATMUL_64X512, SINGLE], ids=lambda contract: contract.name)
def test_a_host_that_does_not_pad_is_seen(
    npu: TextNpu, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "fill", unpadded)
    device = npu.open(contract)
    is_right, _ = run(device, Linear(50, 60, 150), contract)
    assert not is_right


def test_a_host_that_makes_no_micro_tiles_is_seen(npu: TextNpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "micro_tiles", lambda tiles, height, width: tiles)
    device = npu.open(PAIRS)
    with pytest.raises(DispatchError, match="another result"):
        device.load(PAIRS)
