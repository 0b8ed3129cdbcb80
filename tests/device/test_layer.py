"""Whole layers, each in one dispatch: on the emulator, and by the designs' own text.

The text is executed above the fake pyxrt, or with `--device xrt` above the genuine one and the driver's stub.
What is right, float64 says, and the same op in its parts by other kernels. Products are checked to the bit by
the text: what the emulator computes is what the bytes of the bos become.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.attention import Case
from tests.support.fake_pyxrt.chip import Counts, Span
from tests.support.ops import random_inputs
from tests.support.text_kernels import InText
from tests.support.text_npu import FakeTextNpu, TextNpu, text_npu
from whisper_npu import AttentionNPU
from whisper_npu.attention_npu import attention_ops
from whisper_npu.dtypes import F32, Rounding
from whisper_npu.encoder import ModelDimensions, encoder_ops, encoder_shapes, prepared_encoder
from whisper_npu.errors import PlanError, UnknownKernelError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.threads import Threads
from whisper_npu.kernels.layer.execute import bias_of, headers_of, weight_of, words_of
from whisper_npu.kernels.layer.kernel import OnArray, folded, layer
from whisper_npu.kernels.layer.phases import Gemm
from whisper_npu.kernels.matmul.kernel import matmul_64x64
from whisper_npu.npu.device import Device, Stats, Staying, Value
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.planner import choose
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.xrt.buffer import XrtBuffer
from whisper_npu.ops import Activation, Attention, EncoderLayer, Linear, Matmul, Norm, Op, Stem

LAYER = OnArray(NPU1)


def run(device: Device, op: Op, inputs: tuple[Value, ...]) -> tuple[F32, Stats]:
    y = np.full(op.outputs[0].shape, np.nan, np.float32)
    names = [operand.name for operand in op.operands]
    return y, device.run(op, dict(zip(names, (*inputs, y), strict=True)))


def emulated(op: Op, kernel: str = "layer") -> Device:
    return Emulator(Fidelity.EXACT).prepared([op], kernel)


def check(op: Op, inputs: tuple[F32, ...]) -> F32:
    """Within the contract's tolerance, in one dispatch; returns the error."""
    y, stats = run(emulated(op), op, inputs)
    contract = LAYER.plan(op).contract
    assert (stats.dispatches, stats.calls) == (1, 1)
    assert stats.bytes_to_device == contract.bytes_to_device
    assert stats.bytes_from_device == contract.bytes_from_device
    (exact,), (allowed,) = op.reference(*inputs), contract.tolerance_of(op, *inputs)
    error = np.abs(y - exact)
    assert (error <= allowed).all()
    return error


def encoder_weights(dims: ModelDimensions) -> dict[str, F32]:
    """Random ones that keep the size of what they multiply; norms near 1."""
    rng, weights = np.random.default_rng(0), {}
    for name, shape in encoder_shapes(dims).items():
        values = rng.standard_normal(shape) * (0.1 if len(shape) == 1 else 0.5 * np.prod(shape[1:]) ** -0.5)
        is_norm = name.endswith(("ln.weight", "post.weight"))
        weights[name] = (values + is_norm).astype(np.float32)
    return weights


def mean_square(values: F32) -> float:
    return float(np.square(values, dtype=np.float64).mean())


def check_beside_parts(op: Op, inputs: tuple[F32, ...], times: float) -> None:
    """As near to float64 as its parts by other kernels come, or nearly."""
    error = check(op, inputs)
    by_parts, stats = run(emulated(op, "gemm"), op, inputs)
    assert stats.dispatches > 1
    of_parts = by_parts - op.reference(*inputs)[0]
    assert mean_square(error) <= times**2 * mean_square(of_parts)


# --- Linear layers ------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    M=st.integers(1, 300),
    K=st.integers(1, 200),
    N=st.integers(1, 600),
    norm=st.booleans(),
    activation=st.sampled_from(list(Activation)),
    residual=st.booleans(),
)
def test_a_linear_layer(M: int, K: int, N: int, norm: bool, activation: Activation, residual: bool) -> None:
    op = Linear(M, 64 * -(-K // 64) if norm else K, N, norm, activation, residual)
    check(op, random_inputs(op, M))


def test_a_norms_weights_near_zero_and_far_from_it() -> None:
    """They are the product's, which is rounded with them in it."""
    op = Linear(40, 128, 70, norm=True)
    x, weight, bias, *others = random_inputs(op)
    weight[::3], bias[::2] = 0, 30
    check(op, (100 * x + 5, weight * np.geomspace(1e-3, 1e3, 128, dtype="f4"), bias, *others))


def test_more_biases_than_a_header_holds() -> None:
    op = Linear(3, 64, 2700)
    inputs = random_inputs(op)
    inputs[2][:] = np.arange(2700)
    check(op, inputs)


def test_a_weight_is_staged_once_for_any_rows_and_biases() -> None:
    op = Linear(70, 100, 330, activation=Activation.GELU, residual=True)
    device = emulated(op)
    _, weight, bias, _ = random_inputs(op)
    staged = device.stage(op, weight)
    assert staged.layout == LAYER.plan(op).weight
    for M, factor in ((70, 1.0), (5, -3.0), (300, 0.5)):
        other = Linear(M, 100, 330, activation=Activation.GELU, residual=True)
        x, _, _, residual = random_inputs(other, M)
        with_array, _ = run(device, other, (x, weight, bias * np.float32(factor), residual))
        with_staged, _ = run(device, other, (x, staged, bias * np.float32(factor), residual))
        assert np.array_equal(with_array, with_staged)


@pytest.mark.parametrize(
    "op",
    [Linear(20, 64, 70), Linear(20, 64, 70, norm=True, residual=True), EncoderLayer(20, 64, 1, 64)],
    ids=str,
)
@pytest.mark.parametrize("kernel", ["layer", "gemm"])
def test_what_is_held_is_laid_out_once(op: Op, kernel: str) -> None:
    device = Emulator(Fidelity.EXACT).prepared([op], kernel)
    given = dict(zip((o.name for o in op.inputs), random_inputs(op), strict=True))
    wanted, _ = run(device, op, tuple(given.values()))
    constants = {name: x for name, x in given.items() if name not in ("x", "residual")}
    held = device.hold(op, constants)
    for o in op.inputs:
        if o.is_weight:
            given[o.name][:] = 0  # what is held stays
    passing = {name: given[name] for name in given.keys() - constants.keys()}
    for _ in range(2):
        y = np.empty(op.outputs[0].shape, np.float32)
        device.run(op, {**passing, **held, "y": y})
        assert np.array_equal(y, wanted)


def test_what_is_held_is_for_one_op_and_whole() -> None:
    op, other = Linear(20, 64, 70, norm=True), Linear(300, 64, 70, norm=True)
    device = emulated(op)
    given = dict(zip((o.name for o in op.inputs), random_inputs(op), strict=True))
    x = given.pop("x")
    assert not device.stages(op)
    with pytest.raises(PlanError, match="give it to hold, with all of the op's constants"):
        device.stage(op, given["weight"])
    with pytest.raises(PlanError, match="all its constants at once: bias, norm_bias is missing"):
        device.hold(op, {name: value for name, value in given.items() if "bias" not in name})
    with pytest.raises(PlanError, match=r"bias of .* has shape \(2,\), must be \(70,\)"):
        device.hold(op, {**given, "bias": np.zeros(2, np.float32)})
    held = device.hold(op, given)
    rows = {"x": np.tile(x, (15, 1)), "y": np.empty((300, 70), np.float32)}
    for wrong, to in ((other, device), (other, Emulator().prepared([op]))):
        with pytest.raises(PlanError, match="held for another op or device"):
            to.run(wrong, rows | held)


@pytest.mark.parametrize(
    "op", [Linear(5, 64, 70), Linear(5, 64, 70, norm=True), EncoderLayer(5, 64, 1, 64)], ids=str
)
def test_a_weight_that_is_staged_for_another_kernel_is_refused(op: Op) -> None:
    auto = Emulator().prepared([op], "gemm")
    given = dict(zip((o.name for o in op.inputs), random_inputs(op), strict=True))
    name, (K, N) = next((o.name, o.shape) for o in op.inputs if o.is_weight)
    given[name] = auto.stage(Matmul(1, K, N), given[name])
    with pytest.raises(PlanError, match=r"stage it on a device|the plan reads"):
        run(emulated(op), op, tuple(given.values()))


# --- Attention ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_ctx", "n_head", "masked"), [(1, 6, False), (31, 4, True), (300, 1, False), (257, 1, True)]
)
def test_attention(n_ctx: int, n_head: int, masked: bool) -> None:
    op = Attention(n_ctx, 64 * n_head, n_head, masked)
    qkv, *mask = random_inputs(op, n_ctx)
    qkv[:, : op.n_state] /= 8  # q over sqrt(d_head)
    check_beside_parts(op, (qkv, *mask), times=1.6)


def test_scores_that_differ_much() -> None:
    """One dominant key, equal keys, scores beyond what a power of two holds: each is right by itself."""
    op = Attention(70, 128, 2)
    (qkv,) = random_inputs(op)
    q, k = qkv[:, :64], qkv[:, 128:192]
    k[:] = 0
    k[11], q[:] = 30 * np.sign(q[0]), np.sign(q[0])  # of the first head: key 11 outweighs all
    qkv[:, 192:256] = qkv[0, 192:256]  # of the second: all keys are equal
    y, _ = run(emulated(op), op, (qkv,))
    v = qkv[:, 256:].astype(np.float64)
    assert np.abs(y[:, :64] - v[11, :64]).max() <= 2.0**-7 * np.abs(v[11]).max()
    assert np.abs(y[:, 64:] - v[:, 64:].mean(axis=0)).max() <= 2.0**-7 * np.abs(v).mean()


def test_what_a_mask_leaves_out_changes_no_bit() -> None:
    op = Attention(100, 64, 1, masked=True)
    qkv, mask = random_inputs(op)
    other = qkv.copy()
    other[mask == 0, 64:] = 1e4
    ys = [run(emulated(op), op, (given, mask))[0] for given in (qkv, other)]
    assert np.array_equal(ys[0], ys[1])


def test_attention_npu_takes_it_by_name() -> None:
    case = Case(n_ctx=100, n_state=128, n_head=2)
    q, k, v, out = case.biases
    device = Emulator(Fidelity.EXACT).prepared(attention_ops(1500, 128, 2), "layer")
    attention = AttentionNPU(
        *case.weights, n_head=2, q_bias=q, k_bias=k, v_bias=v, out_bias=out, device=device
    )
    with attention.device.recording() as recording:
        y = attention(case.x)
    assert [done.plan.contract.overlay for done in recording.runs] == ["layer"] * 3
    assert np.abs(y - case.reference()).max() < 0.06  # as in test_by_text.py


# --- Encoder layers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_ctx", "n_head", "n_mlp"), [(1, 1, 100), (31, 4, 500), (300, 1, 256), (31, 6, 384)], ids=str
)
def test_an_encoder_layer(n_ctx: int, n_head: int, n_mlp: int) -> None:
    op = EncoderLayer(n_ctx, 64 * n_head, n_head, n_mlp)
    inputs = random_inputs(op, n_ctx)
    qkv, bias = inputs[3], inputs[4]
    qkv[:, : op.n_state] /= 8  # q over sqrt(d_head)
    bias[: op.n_state] /= 8
    check_beside_parts(op, inputs, times=1.5)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    op = EncoderLayer(300, 64, 1, 256)
    inputs = random_inputs(op)
    ys = []
    for count in (1, 3):
        with Emulator(Fidelity.EXACT, Threads(count)).prepared([op], "layer") as device:
            ys.append(run(device, op, inputs)[0])
    assert np.array_equal(*ys)


@pytest.mark.parametrize(("n_ctx", "n_mels", "n_state"), [(1, 2, 64), (31, 80, 70), (130, 128, 384)], ids=str)
def test_a_stem(n_ctx: int, n_mels: int, n_state: int) -> None:
    op = Stem(n_ctx, n_mels, n_state)
    check_beside_parts(op, random_inputs(op, n_ctx), times=1.5)


SMALL = ModelDimensions(
    80, n_audio_ctx=50, n_audio_state=128, n_audio_head=2, n_audio_layer=2, n_audio_mlp=512
)


def test_an_encoder_is_its_layers_and_one_more_dispatch() -> None:
    weights, mel = encoder_weights(SMALL), np.random.default_rng(0).standard_normal((80, 100)).astype("f4")
    features = {}
    for kernel in ("gemm", "layer"):
        encoder = prepared_encoder(SMALL, weights, Emulator(), kernel)
        with encoder.device.recording() as recording:
            features[kernel] = encoder(mel)
        assert {done.plan.contract.overlay == "layer" for done in recording.runs} == {kernel == "layer"}
    assert [done.name for done in recording.runs] == ["stem", "layer", "layer"]
    assert recording.stats.dispatches == 3
    assert np.abs(features["layer"] - features["gemm"]).max() < 0.05


@pytest.mark.parametrize("fidelity", Fidelity)
def test_what_stays_on_the_device_is_what_the_host_would_read(fidelity: Fidelity) -> None:
    op = EncoderLayer(31, 64, 1, 100)
    device = Emulator(fidelity).prepared([op, Norm(31, 64)], "layer")
    x, *constants = random_inputs(op)
    held = device.hold(op, dict(zip((o.name for o in op.inputs[1:]), constants, strict=True)))

    def layer_of(x: Value, y: Value) -> Value:
        device.run(op, {"x": x, "y": y} | held)
        return y

    read = layer_of(layer_of(x, np.empty(x.shape, np.float32)), np.empty(x.shape, np.float32))
    first = layer_of(x, device.result(op))
    other = layer_of(-x, device.result(op))  # another window in between
    stays = layer_of(first, device.result(op))
    assert isinstance(stays, Staying)
    assert np.array_equal(stays.array(), read)
    assert np.array_equal(layer_of(first, np.empty(x.shape, np.float32)), read)
    assert not np.array_equal(layer_of(other, np.empty(x.shape, np.float32)), read)
    ones, zeros = np.ones(64, np.float32), np.zeros(64, np.float32)
    normed = [np.empty(x.shape, np.float32) for _ in range(2)]
    for rows, y in zip((stays, read), normed, strict=True):  # the host reads it
        device.run(Norm(31, 64), {"x": rows, "weight": ones, "bias": zeros, "y": y})
    assert np.array_equal(*normed)


def test_memory_for_a_result_is_for_that_op() -> None:
    op, other = EncoderLayer(31, 64, 1, 100), EncoderLayer(31, 64, 1, 200)
    device = Emulator().prepared([op, other], "layer")
    names, inputs = [o.name for o in op.inputs], random_inputs(op)
    with pytest.raises(PlanError, match="y of layer is memory for another op's result"):
        device.run(op, {**dict(zip(names, inputs, strict=True)), "y": device.result(other)})
    assert isinstance(Emulator().prepared([op], "gemm").result(op), np.ndarray)
    unread = device.result(op)
    with pytest.raises(PlanError, match="before anything was written"):
        device.run(op, {**dict(zip(names, (unread, *inputs[1:]), strict=True)), "y": device.result(op)})


@settings(max_examples=12)
@given(
    K=st.integers(1, 70),
    N=st.integers(1, 70),
    dtype=st.sampled_from([np.float32, np.float16]),
    order=st.sampled_from(["C", "F"]),
    exponent=st.integers(-70, 40),
)
def test_a_folded_weight_is_rounded_once(K: int, N: int, dtype: Any, order: Any, exponent: int) -> None:
    """Down to subnormal numbers."""
    rng = np.random.default_rng(K + N)
    weight = np.asarray(rng.standard_normal((K, N)), dtype, order=order)
    norm_weight, norm_bias = np.ldexp(rng.standard_normal((2, K)), exponent).astype(np.float32)
    weight = weight * np.asarray(2.0 ** (exponent if dtype is np.float32 else 0), dtype)
    bias = rng.standard_normal(N).astype(np.float32)
    exact = weight.astype(np.float64)
    found = folded(weight, bias, norm_weight, norm_bias)
    wanted = norm_weight.astype(np.float64)[:, None] * exact, norm_bias.astype(np.float64) @ exact + bias
    for x, y in zip(found, wanted, strict=True):
        assert x.dtype == np.float32
        assert np.array_equal(x, y.astype(np.float32))


@settings(max_examples=12)
@given(
    n_head=st.integers(1, 5),
    n_mlp=st.integers(1, 300),
    dtype=st.sampled_from([np.float32, np.float16]),
    order=st.sampled_from(["C", "F"]),
)
def test_constants_are_laid_out_as_plain_formulas_say(
    n_head: int, n_mlp: int, dtype: Any, order: Any
) -> None:
    """To the bit: in float64, rounded once to fp32, and then as any weight and bias is."""
    op = EncoderLayer(5, 64 * n_head, n_head, n_mlp)
    inputs = zip(op.inputs, random_inputs(op, n_mlp), strict=True)
    constants = {o.name: np.asarray(x, dtype, order=order) for o, x in inputs if o.name != "x"}
    exact = {name: x.astype(np.float64) for name, x in constants.items()}
    heads = np.arange(op.n_state).reshape(n_head, 64)
    k_and_v = np.stack([heads + op.n_state, heads + 2 * op.n_state], axis=1)
    q_k_v = np.concatenate([heads.reshape(-1), k_and_v.reshape(-1)])
    scales = np.where(np.arange(3 * op.n_state) < op.n_state, np.float32(np.log2(np.e)), np.float32(1))

    def layer_of(name: str, norm: str = "") -> tuple[F32, F32]:
        weight, bias = exact[f"{name}_weight"], exact[f"{name}_bias"]
        if norm:
            bias = exact[f"{norm}_bias"] @ weight + bias
            weight = exact[f"{norm}_weight"][:, None] * weight
        return weight.astype(np.float32), bias.astype(np.float32)

    of_qkv = [(x * scales)[..., q_k_v] for x in layer_of("qkv", "attn_ln")]
    wanted = [of_qkv, layer_of("out"), layer_of("mlp0", "mlp_ln"), layer_of("mlp2")]
    plan = LAYER.plan(op)
    held = {name: words_of(x.astype(np.float32), are_bf16=True) for name, x in plan.held(constants).items()}
    gemms = [phase for phase in plan.kernel.phases if isinstance(phase, Gemm)]
    for phase, (weight, bias) in zip(gemms, wanted, strict=True):
        found = weight_of(phase, held["WEIGHTS"], NPU1)
        K, N = weight.shape
        assert np.array_equal(found[:K, :N], on_grid(weight, Rounding.NEAREST_EVEN))
        assert not found[K:].any()
        assert not found[:, N:].any()
        high = on_grid(bias, Rounding.NEAREST_EVEN)
        stored = bias_of(phase, headers_of(phase, held["HEADERS"], NPU1))
        assert np.array_equal(stored[:N], high + on_grid(bias - high, Rounding.NEAREST_EVEN))


# --- By the designs' own text -------------------------------------------------------------------------------


@pytest.fixture
def npu(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextNpu]:
    with text_npu(request.config)(tmp_path, monkeypatch) as npu:
        yield npu
        assert npu.problems() == []


@pytest.mark.parametrize(
    "op",
    [
        Linear(70, 100, 130),
        Linear(70, 100, 130, activation=Activation.GELU),
        Linear(70, 128, 130, norm=True, residual=True),
        Attention(70, 128, 2, masked=True),
        EncoderLayer(31, 64, 1, 100),
        Stem(20, 6, 70),
    ],
    ids=str,
)
def test_the_text_gives_the_bits_of_the_emulator(npu: TextNpu, op: Op) -> None:
    """And again, with what the first dispatch left in its workspace. Memory that nobody wrote is NaN."""
    device = npu.open(layer(op, NPU1)).prepared([op], "layer")
    for seed in range(2):
        inputs = random_inputs(op, seed)
        assert np.array_equal(run(device, op, inputs)[0], run(emulated(op), op, inputs)[0])
    assert npu.dispatches() == 3  # with the known answer


def test_by_text_only_mel_and_features_go_through_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a window's first dispatch and its last the host submits, and does nothing else."""
    dims = ModelDimensions(
        6, n_audio_ctx=20, n_audio_state=64, n_audio_head=1, n_audio_layer=3, n_audio_mlp=64
    )
    ops, weights = encoder_ops(dims), encoder_weights(dims)
    choice = choose(ops, [LAYER])
    assert choice.name == "layer"
    npu = FakeTextNpu(tmp_path, monkeypatch)  # which counts
    encoder = prepared_encoder(dims, weights, npu.open(*choice.contracts))
    emulated = prepared_encoder(dims, weights, Emulator(Fidelity.EXACT), "layer")
    first, last = choice.plans[ops[0]].inputs[0], choice.plans[ops[1]].outputs[0]
    for seed in range(3):
        mel = np.random.default_rng(seed).standard_normal((6, 40)).astype("f4")
        npu.fake.counts = Counts()
        features = encoder(mel)
        counts = npu.fake.counts
        assert np.array_equal(features, emulated(mel))
        assert counts.dispatches == dims.n_audio_layer + 1
    assert (counts.syncs_to_device, counts.bytes_to_device) == (1, first.nbytes)
    assert (counts.syncs_from_device, counts.bytes_from_device) == (1, last.nbytes)
    assert (counts.bos, counts.runs) == (0, 0)  # nothing is made anew
    assert npu.problems() == []
    encoder.device.close()


def test_by_text_a_weight_is_staged_once(npu: TextNpu) -> None:
    op = Linear(70, 100, 130, residual=True)
    device = npu.open(layer(op, NPU1)).prepared([op], "layer")
    x, weight, bias, residual = random_inputs(op)
    staged = device.stage(op, weight)
    for rows in (x, -x):
        wanted, _ = run(emulated(op), op, (rows, weight, bias, residual))
        assert np.array_equal(run(device, op, (rows, staged, bias, residual))[0], wanted)


def test_a_workspace_is_the_arrays_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero before the first dispatch; then what a dispatch left is there, and no byte of it is the host's."""
    op, kept = EncoderLayer(31, 64, 1, 100), []
    contract = layer(op, NPU1)
    arguments = {argument.name: argument for argument in contract.arguments}
    place, compute = list(arguments).index("WORK"), InText.compute

    def watched(self: InText, *memories: NDArray[np.uint8]) -> None:
        kept.append(memories[place].copy())
        compute(self, *memories)
        kept.append(memories[place].copy())

    monkeypatch.setattr(InText, "compute", watched)
    monkeypatch.setattr(Span, "poison", lambda self: None)  # it takes all that is written for a result
    with FakeTextNpu(tmp_path, monkeypatch) as npu:
        device = npu.open(contract).prepared([op], "layer")
        assert not kept[0].any()
        npu.fake.pop_counts()
        for seed in range(2):
            run(device, op, random_inputs(op, seed))
            counts = npu.fake.pop_counts()
            read = sum(argument.nbytes for argument in contract.arguments[:place])
            assert (counts.bytes_to_device, counts.bytes_from_device) == (read, arguments["Y"].nbytes)
        assert npu.problems() == []
    assert all(np.array_equal(left, found) for left, found in zip(kept[1::2], kept[2::2], strict=False))


def test_by_text_what_is_held_is_written_once(npu: TextNpu, monkeypatch: pytest.MonkeyPatch) -> None:
    op = EncoderLayer(31, 64, 1, 100)
    device = npu.open(layer(op, NPU1)).prepared([op], "layer")
    given = dict(zip((o.name for o in op.inputs), random_inputs(op), strict=True))
    wanted, _ = run(emulated(op), op, tuple(given.values()))
    x, y = given.pop("x"), np.empty((31, 64), np.float32)
    written: list[str] = []
    write = XrtBuffer.write

    def told(buffer: XrtBuffer, matrix: F32) -> None:
        written.append(buffer.layout.operand)
        write(buffer, matrix)

    monkeypatch.setattr(XrtBuffer, "write", told)
    held = device.hold(op, given)
    assert written == ["HEADERS", "WEIGHTS"]
    for _ in range(2):
        device.run(op, {"x": x, "y": y} | held)
        assert np.array_equal(y, wanted)
    assert written == ["HEADERS", "WEIGHTS", "X", "X"]


def test_a_device_without_such_kernels_says_so(npu: TextNpu) -> None:
    device = npu.open(matmul_64x64(NPU1))
    with pytest.raises(UnknownKernelError, match="no layer kernel: build those that you need"):
        device.prepared([], "layer")
