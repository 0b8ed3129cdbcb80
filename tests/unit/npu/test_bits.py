"""The same bits with any number of threads, whatever cuts the work into blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.contracts import SMALL_F32
from tests.support.scripted_decoder import small_model
from whisper_npu import AttentionNPU
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_shapes
from whisper_npu.host import elementwise
from whisper_npu.host.gemm import HostGemm, OperandForm, blas, fastest
from whisper_npu.host.threads import Threads
from whisper_npu.npu.emulator import blocks
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.host_ops import run_on_host
from whisper_npu.ops import Activation, Attention, Epilogue, Linear, Matmul, Norm, Op, Softmax

COUNTS = (2, 3, 4, 5, 8)
GemmOf = Callable[[OperandForm], HostGemm]
sizes = st.integers(1, 700)
products = st.builds(Matmul, sizes, sizes, sizes, st.sampled_from([1, 1, 3]))
linears = st.builds(Linear, sizes, sizes, sizes, st.booleans(), st.sampled_from(Activation), st.booleans())
heads = st.integers(1, 4)
attentions = st.builds(
    lambda n_ctx, n_head, d_head: Attention(n_ctx, n_head * d_head, n_head), sizes, heads, st.integers(1, 80)
)


@contextmanager
def compiled_loops(*, there: bool) -> Iterator[None]:
    """Without them NumPy does what lies between the products."""
    with pytest.MonkeyPatch.context() as patch:
        if not there:
            patch.setattr(elementwise, "compiled", lambda: None)
        yield


def inputs(op: Op, *, turned: bool) -> dict[str, F32]:
    """turned: matrices lie in columns."""
    rng = np.random.default_rng(0)
    given = {operand.name: rng.standard_normal(operand.shape).astype(np.float32) for operand in op.inputs}
    return {name: np.asfortranarray(x) for name, x in given.items()} if turned else given


def run(op: Op, values: dict[str, F32], threads: int, fidelity: Fidelity, gemm_of: GemmOf) -> list[F32]:
    results = {operand.name: np.full(operand.shape, np.nan, np.float32) for operand in op.outputs}
    with Emulator(fidelity, Threads(threads), gemm_of=gemm_of) as device:
        device.run(op, values | results)
    return list(results.values())


@settings(max_examples=25)
@given(
    op=st.one_of(products, linears, attentions),
    gemm_of=st.sampled_from([blas, fastest]),
    turned=st.booleans(),
    there=st.booleans(),
)
@example(Matmul(432, 185, 37), blas, False, True)  # cut evenly, these differ
@example(Matmul(78, 51, 340), blas, False, True)
@example(Linear(9, 75, 8, norm=True), blas, False, False)
@example(Linear(369, 460, 47, residual=True), blas, False, True)
@example(Linear(1305, 402, 3, activation=Activation.GELU), blas, False, True)
@example(Matmul(1, 600, 1500), blas, False, True)
@example(Matmul(65, 269, 482), blas, False, False)  # with AVX2, cut columns differ
def test_an_op(op: Op, gemm_of: GemmOf, turned: bool, there: bool) -> None:
    values = inputs(op, turned=turned)
    with compiled_loops(there=there):
        alone = run(op, values, 1, Fidelity.FAST, gemm_of)
        for threads in COUNTS:
            several = run(op, values, threads, Fidelity.FAST, gemm_of)
            assert all(map(np.array_equal, alone, several))


@settings(max_examples=10)
@given(op=st.one_of(products, linears, attentions))
def test_an_op_dispatch_by_dispatch(op: Op) -> None:
    op = Matmul(40, 50, 60) if op.macs > 10**6 else op
    values = inputs(op, turned=False)
    alone = run(op, values, 1, Fidelity.EXACT, blas)
    for threads in (2, 5):
        assert all(map(np.array_equal, alone, run(op, values, threads, Fidelity.EXACT, blas)))


def test_fp32_operands_dispatch_by_dispatch() -> None:
    """BLAS multiplies them, and its bits depend on how many rows it is given."""
    contract = replace(SMALL_F32, m=432, k=185, n=37)
    op = Matmul(432, 185, 37)
    values = inputs(op, turned=False)

    def multiplied(threads: int) -> F32:
        c = np.full((op.M, op.N), np.nan, np.float32)
        with Emulator(Fidelity.EXACT, Threads(threads)) as device:
            device.prepared([op], contract).run(op, values | {"c": c})
        return c

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MACS_TO_SHARE", 1)
        alone = multiplied(1)
        assert all(np.array_equal(alone, multiplied(threads)) for threads in COUNTS)


@settings(max_examples=25)
@given(
    op=st.one_of(
        st.builds(Norm, st.integers(1, 900), st.integers(1, 900), st.booleans()),
        st.builds(Softmax, st.sampled_from([1, 2]), st.integers(1, 700), st.integers(1, 700)),
        st.builds(Epilogue, st.integers(1, 900), st.integers(1, 900), st.sampled_from(Activation)),
    ),
    turned=st.booleans(),
    there=st.booleans(),
)
@example(Norm(9, 5000), True, False)
@example(Softmax(1, 701, 700), True, False)
def test_what_the_host_does(op: Op, turned: bool, there: bool) -> None:
    given = inputs(op, turned=turned)

    def done(threads: int) -> dict[str, F32]:
        values = {name: x.copy("K") for name, x in given.items()}
        run_on_host(op, values, Threads(threads))
        return values

    with compiled_loops(there=there):
        alone = done(1)
        for threads in COUNTS:
            several = done(threads)
            assert all(np.array_equal(alone[name], several[name]) for name in alone)


@pytest.mark.parametrize("gemm_of", [blas, fastest], ids=lambda f: f.__name__)
def test_an_encoder_and_a_layer_of_attention(gemm_of: GemmOf) -> None:
    dims = ModelDimensions(20, 300, 96, 3, 2, 384)
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal(s).astype("f4") / 8 for n, s in encoder_shapes(dims).items()}
    mel = rng.standard_normal((dims.n_mels, 2 * dims.n_audio_ctx)).astype(np.float32)
    q, k, v, out = (weights[f"blocks.0.attn.{name}.weight"] for name in ("query", "key", "value", "out"))
    x = rng.standard_normal((777, dims.n_audio_state)).astype(np.float32)

    def encoded(threads: int) -> tuple[F32, F32]:
        with Emulator(threads=Threads(threads), gemm_of=gemm_of) as device:
            attention = AttentionNPU(q, k, v, out, n_head=dims.n_audio_head, device=device)
            return AudioEncoder(dims, weights, device)(mel), attention(x)

    alone = encoded(1)
    for threads in range(2, 9):
        assert all(map(np.array_equal, alone, encoded(threads)))


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_windows_in_a_batch_are_those_alone(tmp_path: Path, batch_size: int) -> None:
    with small_model(tmp_path, n_audio_ctx=50) as model:
        dims = model.encoder.dims
        rng = np.random.default_rng(0)
        mels = rng.standard_normal((batch_size, dims.n_mels, 2 * dims.n_audio_ctx)).astype(np.float32)
        together = np.asarray(model._whisper.encode(mels))
        assert all(np.array_equal(model.encoder(mel), one) for mel, one in zip(mels, together, strict=True))
