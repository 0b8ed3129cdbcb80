"""Whole-matrix kernels on every device: any shape, any heads, padded as it comes, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.attention import Case
from tests.support.products import Multiply
from whisper_npu import AttentionNPU
from whisper_npu.attention_npu import attention_ops
from whisper_npu.dtypes import F32
from whisper_npu.errors import PlanError, UnknownKernelError
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, Gemm, gemm, gemm_of_batch
from whisper_npu.kernels.matmul.kernel import MatmulPlan, TiledMatmul
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Along
from whisper_npu.npu.planner import Choice, choose
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Attention, Matmul

# Unequal everywhere, so that no two sizes can be swapped unnoticed.
TILES = [(16, 24, 32), (32, 8, 16), (16, 64, 48)]
sizes = st.tuples(st.integers(1, 5), st.integers(1, 150), st.integers(1, 70), st.integers(1, 300))


def operands(heads: int, M: int, K: int, N: int, seed: int) -> tuple[F32, F32]:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((heads, M, K)) * 10.0 ** rng.integers(-3, 3, (heads, M, K))
    b = rng.standard_normal((heads, K, N))
    a, b = a.astype(np.float32), b.astype(np.float32)
    return (a[0], b[0]) if heads == 1 else (a, b)


@given(size=sizes, tile=st.sampled_from(TILES), seed=st.integers(0, 2**32 - 1))
def test_any_heads_of_any_size_are_one_dispatch_and_within_tolerance(
    device: Device, size: tuple[int, int, int, int], tile: tuple[int, int, int], seed: int
) -> None:
    heads, M, K, N = size
    multiply = Multiply(device, Choice((Gemm(NPU1, tile),)))
    a, b = operands(heads, M, K, N, seed)
    c = multiply(a, b, "test")
    (done,) = multiply.take_runs()
    assert done.stats.dispatches == 1
    contract = done.plan.contract
    assert done.stats.bytes_to_device == contract.bytes_to_device
    for head in range(heads):
        one = (a, b, c) if heads == 1 else (a[head], b[head], c[head])
        true = one[0].astype(np.float64) @ one[1].astype(np.float64)
        assert (np.abs(one[2] - true) <= contract.tolerance(one[0], one[1])).all()


@given(size=sizes, tile=st.sampled_from(TILES), seed=st.integers(0, 2**32 - 1))
def test_integers_come_out_exact_and_alike_on_both_fidelities(
    size: tuple[int, int, int, int], tile: tuple[int, int, int], seed: int
) -> None:
    heads, M, K, N = size
    rng = np.random.default_rng(seed)
    a = rng.integers(-8, 9, (heads, M, K)).astype(np.float32)
    b = rng.integers(-8, 9, (heads, K, N)).astype(np.float32)
    for fidelity in Fidelity:
        multiply = Multiply(Emulator(fidelity), Choice((Gemm(NPU1, tile),)))
        assert np.array_equal(multiply(a, b, "test"), a @ b)


@settings(max_examples=20)
@given(K=st.integers(1, 300), N=st.integers(1, 300), tile=st.sampled_from(TILES))
def test_a_staged_weight_serves_any_number_of_rows(
    device: Device, K: int, N: int, tile: tuple[int, int, int]
) -> None:
    multiply = Multiply(device, Choice((Gemm(NPU1, tile), TiledMatmul(gemm(NPU1, 64, 8, 64, (16, 8, 16))))))
    rng = np.random.default_rng(K * N)
    b = rng.integers(-8, 9, (K, N)).astype(np.float32)
    weight = multiply.stage(b)
    for M in (1, 63, 64, 65, 200):
        a = rng.integers(-8, 9, (M, K)).astype(np.float32)
        assert np.array_equal(multiply(a, weight, "test"), a @ b)


def test_a_weight_staged_for_another_kernel_is_refused(device: Device) -> None:
    a, b = operands(1, 10, 20, 30, seed=0)
    weight = Multiply(device, Choice((Gemm(NPU1, (16, 24, 32)),))).stage(b)
    with pytest.raises(PlanError, match="B lies as"):
        Multiply(device, Choice((Gemm(NPU1, (16, 64, 48)),)))(a, weight, "test")


def test_heads_lie_side_by_side_where_the_output_projection_reads_them(device: Device) -> None:
    contract = gemm_of_batch(NPU1, 3, 64, 24, 128, (16, 24, 32))
    multiply = Multiply(device, contract)
    a, b = operands(3, 50, 20, 100, seed=1)
    multiply(a, b, "context")
    (done,) = multiply.take_runs()
    assert done.plan.c.along is Along.COLS
    assert done.stats.dispatches == 1


@settings(max_examples=15)
@given(
    n_ctx=st.integers(1, 150),
    n_head=st.integers(1, 5),
    d_head=st.integers(1, 40),
    tile=st.sampled_from(TILES),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_attention_of_any_size_is_close_to_float64(
    device: Device, n_ctx: int, n_head: int, d_head: int, tile: tuple[int, int, int], masked: bool, seed: int
) -> None:
    case = Case(n_ctx, n_head * d_head, n_head, seed)
    mask = np.random.default_rng(seed).random(n_ctx) < 0.5 if masked else None
    if mask is not None:
        mask[seed % n_ctx] = True
    case.biases = [np.zeros_like(bias) for bias in case.biases]
    attention = AttentionNPU(
        *case.weights, n_head=n_head, device=device.prepared((), Choice((Gemm(NPU1, tile),)))
    )
    with attention.device.recording() as recording:
        y = attention(case.x, mask)
    assert np.abs(y - case.reference(mask)).max() < 0.06
    assert [run.stats.dispatches for run in recording.runs] == [1, 1, 1, 1]


@pytest.mark.parametrize("n_ctx", [1500, 77])
def test_attention_by_gemm_takes_one_dispatch_per_product(device: Device, n_ctx: int) -> None:
    """At the size that was chosen for, and at one that was not."""
    case = Case(n_ctx, 512, 8)
    for contract in choose(attention_ops(n_ctx, 512, 8), [Gemm(NPU1, GEMM_TILE)]).contracts:
        device.load(contract)  # an NPU has the gemms that are built for a size, and no others
    case.biases = [np.zeros_like(bias) for bias in case.biases]
    attention = AttentionNPU(
        *case.weights, n_head=8, device=device.prepared(attention_ops(1500, 512, 8), "gemm")
    )
    with attention.device.recording() as recording:
        y = attention(case.x)
    assert np.abs(y - case.reference()).max() < 0.06
    done = {run.name: run.stats.dispatches for run in recording.runs}
    assert done == dict.fromkeys(
        ("attention.qkv", "attention.scores", "attention.context", "attention.out"), 1
    )


@pytest.mark.parametrize(("tile", "turned"), [((16, 64, 128), True), ((128, 64, 16), False)])
def test_the_orientation_with_fewer_idle_cores_is_taken(
    device: Device, tile: tuple[int, int, int], turned: bool
) -> None:
    case = Case(300, 128, 2)
    case.biases = [np.zeros_like(bias) for bias in case.biases]
    attention = AttentionNPU(*case.weights, n_head=2, device=device.prepared((), Choice((Gemm(NPU1, tile),))))
    with attention.device.recording() as recording:
        assert np.abs(attention(case.x) - case.reference()).max() < 0.06
    plans = {run.name: run.plan for run in recording.runs}
    for name in ("attention.scores", "attention.context"):
        plan = plans[name]
        assert isinstance(plan, MatmulPlan)
        assert plan.transposed == turned


def test_names_of_gemms_and_of_one_core_tile() -> None:
    ops = [Matmul(1500, 512, 512)]
    assert Emulator().chosen(ops, "gemm").name.startswith("gemm_")
    assert Emulator().chosen(ops, "gemm_64x64x64").name == "gemm_64x64x64"
    with pytest.raises(UnknownKernelError, match=r"did you mean gemm_64x64x64 or .*\? .* auto, gemm, "):
        Emulator().prepared(ops, "gemm_64x64x65")


class WithoutGemm(Emulator):
    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(kernel for kernel in super().kernels() if not isinstance(kernel, Gemm))


def test_a_device_without_gemms_says_how_to_get_one_and_auto_takes_another() -> None:
    ops = [Matmul(1500, 512, 512)]
    with pytest.raises(UnknownKernelError, match="kernels build --model"):
        WithoutGemm().prepared(ops, "gemm")
    assert WithoutGemm().chosen(ops).name == "matmul_64x512_k512"


class Loading(Emulator):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def load(self, contract: Contract) -> None:
        self.loaded.append(contract.name)


def test_a_kernel_is_loaded_once_and_only_if_an_op_takes_it() -> None:
    device = Loading()
    prepared = device.prepared([Attention(100, 64, 2)], "gemm_64x64x64")
    assert prepared.choice is not None
    chosen = [contract.name for contract in prepared.choice.contracts]
    assert device.loaded == chosen
    prepared.chosen([Matmul(500, 500, 500)])  # asking is not running
    assert device.loaded == chosen
    multiply = Multiply(device, prepared.choice)
    for _ in range(2):
        multiply(np.ones((300, 20), np.float32), np.ones((20, 30), np.float32))
    assert device.loaded == [*chosen, *chosen, "gemm_64x64x64_512x64x256"]
