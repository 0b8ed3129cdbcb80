"""What goes wrong with dispatches of whole layers: in a window of several, in their workspace, in a trial.

The designs' own text is executed, above the fake pyxrt or with `--device xrt` above the genuine one; wrong
answers are the fake's. tests/xrt/test_genuine.py has what takes a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.encoders import small_encoder
from tests.support.fake_pyxrt import Fault
from tests.support.fake_pyxrt.chip import Computes, Span
from tests.support.ops import random_inputs
from tests.support.stand_in_kernels import Memory, Work
from tests.support.text_kernels import InText
from tests.support.text_npu import FakeTextNpu, TextNpu, text_npu
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder
from whisper_npu.errors import DeviceError, DispatchError, NoAnswerError
from whisper_npu.kernels.layer.dispatch import LayerOp
from whisper_npu.kernels.layer.kernel import LayerContract, layer
from whisper_npu.kernels.layer.planes import laid_out, taken_apart
from whisper_npu.kernels.verifier import DesignError
from whisper_npu.npu.checksum import PERIOD
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Activation, Attention, EncoderLayer, Linear, Op, Stem

ENCODER = small_encoder()
LAYER = ENCODER.ops[-1]
CONTRACTS = ENCODER.contracts
DISPATCHES = len(ENCODER.ops)  # of a window
AT = DISPATCHES - 1  # of them the first layer's
FILLED = 3 + 2 + 2 + 4  # objects of WEIGHTS with anything in them: qkv, out, mlp0, mlp2
NAN = 0xFF  # each byte of it, in bf16 and in fp32


@pytest.fixture
def npu(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextNpu]:
    with text_npu(request.config)(tmp_path, monkeypatch) as npu:
        yield npu
        assert npu.problems() == []


@pytest.fixture
def fake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeTextNpu]:
    if text_npu(request.config) is not FakeTextNpu:
        pytest.skip("of the fake pyxrt: it runs without --device xrt")
    with FakeTextNpu(tmp_path, monkeypatch) as npu:
        yield npu
        assert npu.problems() == []


@pytest.fixture(scope="module")
def features() -> F32:
    """Of a window, by the emulator."""
    with Emulator(Fidelity.EXACT) as device:
        return ENCODER.on(device)(ENCODER.mel)


# --- In the middle of a window ------------------------------------------------------------------------------


Window = tuple[TextNpu, AudioEncoder, int]


@pytest.fixture(scope="module")
def window(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """An encoder whose kernels have passed their trials; and how many contexts are others'."""
    kind, folder = text_npu(request.config), tmp_path_factory.mktemp("npu")
    with pytest.MonkeyPatch.context() as patch, kind(folder, patch) as npu:
        before = npu.contexts()
        encoder = ENCODER.on(npu.open(*CONTRACTS))
        assert npu.contexts() - before == 1  # one overlay for all its kernels
        yield npu, encoder, before
        assert npu.problems() == []


def test_a_window_has_the_bits_of_the_emulator(window: Window, features: F32) -> None:
    npu, encoder, _ = window
    before = npu.dispatches()
    assert np.array_equal(encoder(ENCODER.mel), features)
    assert npu.dispatches() - before == DISPATCHES


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("TIMEOUT", NoAnswerError, "--timeout"),
        ("ERROR", DispatchError, "whisper-npu doctor"),
    ],
)
def test_a_dispatch_that_fails_is_named_and_the_next_window_is_right(
    window: Window, features: F32, state: str, kind: type[DispatchError], said: str
) -> None:
    npu, encoder, other_contexts = window
    dispatches = npu.dispatches()
    npu.fail(state, AT)
    with pytest.raises(DispatchError) as caught:
        encoder(ENCODER.mel)
    assert type(caught.value) is kind
    for part in (f"{layer(LAYER, NPU1).name}: dispatch 1 of 1", f"ended with {state}", said):
        assert part in str(caught.value)
    assert npu.contexts() == other_contexts
    assert npu.dispatches() - dispatches == AT  # none behind it
    assert np.array_equal(encoder(ENCODER.mel), features)


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.GONE, Fault.DIES])
def test_a_device_that_hangs_or_dies_within_a_window(fake: FakeTextNpu, features: F32, fault: Fault) -> None:
    """What hangs is left to the driver, and a new context opened."""
    encoder = ENCODER.on(fake.open(*CONTRACTS, timeout_seconds=0.05))
    dispatches = fake.dispatches()
    fake.fake.inject(fault, at=AT)
    with pytest.raises(
        DeviceError, match="TIMEOUT" if fault is Fault.TIMEOUT else "the NPU is gone"
    ) as caught:
        encoder(ENCODER.mel)
    assert isinstance(caught.value, NoAnswerError) == (fault is Fault.TIMEOUT)
    assert str(caught.value).startswith(layer(LAYER, NPU1).name)
    assert fake.dispatches() - dispatches <= AT
    if fault is not Fault.TIMEOUT:
        with pytest.raises(DeviceError, match="the NPU is gone"):
            encoder(ENCODER.mel)
    if fault is not Fault.DIES:  # then nothing is under way, as the fake sees it
        fake.fake.heal()
        assert np.array_equal(encoder(ENCODER.mel), features)


# --- Its workspace ------------------------------------------------------------------------------------------


def on_each_dispatch_of_layers(
    patch: pytest.MonkeyPatch, then: Callable[[int, NDArray[np.uint8]], None]
) -> None:
    """Called with its number, from 0, and its workspace, before it is executed."""
    place = [argument.is_workspace for argument in layer(LAYER, NPU1).arguments].index(True)
    compute, numbers = InText.compute, count()

    def watched(self: InText, *memories: NDArray[np.uint8]) -> None:
        if self.design.sequence.arguments[place][0] == "WORK":
            then(next(numbers), memories[place])
        compute(self, *memories)

    patch.setattr(InText, "compute", watched)


def run(device: Device, op: Op, inputs: tuple[F32, ...]) -> F32:
    y = np.full(op.outputs[0].shape, np.nan, np.float32)
    device.run(op, dict(zip((operand.name for operand in op.operands), (*inputs, y), strict=True)))
    return y


def test_what_lies_in_a_workspace_changes_no_bit(npu: TextNpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros, what another dispatch left there, or NaN: no phase reads what none before it has written."""
    kept: list[int] = []

    def spoil(number: int, work: NDArray[np.uint8]) -> None:
        kept.append(int(work.any()))
        if number > 1:
            work[:] = NAN

    on_each_dispatch_of_layers(monkeypatch, spoil)
    device, inputs = npu.open(layer(LAYER, NPU1)).prepared([LAYER], "layer"), random_inputs(LAYER)
    wanted = run(Emulator(Fidelity.EXACT).prepared([LAYER], "layer"), LAYER, inputs)
    for _ in range(2):
        assert np.array_equal(run(device, LAYER, inputs), wanted)
    assert len(kept) == 3


def test_after_a_failure_a_workspace_is_zeroed_again(npu: TextNpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatch that ends in an error has left NaN there."""
    found: list[bool] = []

    def breaks_off(number: int, work: NDArray[np.uint8]) -> None:
        found.append(bool(work.any()))
        if number == 1:  # behind the trial
            work[:] = NAN
            raise DesignError("it breaks off")

    on_each_dispatch_of_layers(monkeypatch, breaks_off)
    monkeypatch.setattr(Span, "poison", lambda self: None)  # the fake takes all that is written for a result
    device, inputs = npu.open(layer(LAYER, NPU1)).prepared([LAYER], "layer"), random_inputs(LAYER)
    with pytest.raises(DispatchError, match="ended with ERROR"):
        run(device, LAYER, inputs)
    assert npu.only_problem() == "it breaks off"
    wanted = run(Emulator(Fidelity.EXACT).prepared([LAYER], "layer"), LAYER, inputs)
    for _ in range(2):
        assert np.array_equal(run(device, LAYER, inputs), wanted)
    assert found == [False, True, False, True]  # zero in the trial and after the failure


# --- Wrong answers ------------------------------------------------------------------------------------------


Elements = NDArray[np.generic]
Spoils = Callable[[Elements], None]


def in_weights(contract: LayerContract, spoil: Spoils) -> Computes:
    """A dispatch that finds other objects in WEIGHTS. (objects, bytes)"""

    def compute(what: Work, data: list[Memory]) -> None:
        memory = data[[argument.name for argument in contract.arguments].index("WEIGHTS")]
        given = memory.copy()
        spoil(memory.reshape(contract.laid.objects, -1))
        assert not np.array_equal(memory, given)
        what.compute(*data)
        memory[:] = given

    return compute


def in_results(contract: LayerContract, spoil: Spoils) -> Computes:
    """A dispatch whose results are right but for this. (rows, cols), a stream's in fp32, or bits of bf16"""
    shape = contract.op.outputs[0].shape
    (written,), stream = contract.written, contract.laid.y_stream

    def compute(what: Work, data: list[Memory]) -> None:
        what.compute(*data)
        if stream is None:
            spoil(data[-1].view(np.uint16).reshape(written.tile_rows, -1)[: shape[0]])
            return
        memory = data[-1].view(ml_dtypes.bfloat16)[: stream.elements]
        y = taken_apart(memory, stream, (shape[0], shape[1]))
        spoil(y)
        memory[:] = laid_out(y, stream)

    return compute


def stale(weights: Elements) -> None:
    """What another kernel had there."""
    weights[:] = weights[::-1].copy()


def never_synced(weights: Elements) -> None:
    weights[:] = 0


def two_swapped(weights: Elements) -> None:
    weights[[0, 1]] = weights[[1, 0]]


def last_missing(weights: Elements) -> None:
    filled = np.flatnonzero(weights.any(axis=1))  # the others are padding
    weights[filled[-1]] = 0


def each_missing(number: int) -> Spoils:
    """Of those that hold weights."""

    def spoil(weights: Elements) -> None:
        weights[np.flatnonzero(weights.any(axis=1))[number]] = 0

    return spoil


def a_column_of_its_neighbour(y: Elements) -> None:
    y[:, 1] = y[:, 0]


def last_rows_missing(y: Elements) -> None:
    y[-4:] = 0


def last_rows_of_those_before(y: Elements) -> None:
    y[-4:] = y[-8:-4]


OF_WEIGHTS = (stale, never_synced, two_swapped, last_missing)
OF_RESULTS = (a_column_of_its_neighbour, last_rows_missing, last_rows_of_those_before)


def check_refused(fake: FakeTextNpu, op: LayerOp, *faults: Callable[[LayerContract], Computes]) -> None:
    contract = layer(op, NPU1)
    device = fake.open(contract)
    for fault in faults:
        fake.fake.compute_by(fault(contract))
        with pytest.raises(DispatchError, match="with another result; wrong are"):
            device.load(contract)
        assert fake.contexts() == 0
        fake.fake.heal()
    device.load(contract)


@pytest.mark.parametrize(
    "op",
    [
        Linear(70, 100, 130, activation=Activation.GELU),
        Linear(70, 128, 130, norm=True, residual=True),
        Attention(70, 128, 2, masked=True),
        EncoderLayer(31, 64, 1, 100),
    ],
    ids=str,
)
def test_a_kernel_that_answers_wrong_is_refused(fake: FakeTextNpu, op: LayerOp) -> None:
    of_weights = () if isinstance(op, Attention) else OF_WEIGHTS
    faults = [partial(in_weights, spoil=spoil) for spoil in of_weights]
    check_refused(fake, op, *faults, *(partial(in_results, spoil=spoil) for spoil in OF_RESULTS))


def test_a_weight_that_is_missing_in_a_layer_is_seen(fake: FakeTextNpu) -> None:
    """Of each product: what x is, and what the other products add, hides none."""
    faults = [partial(in_weights, spoil=each_missing(number)) for number in range(0, FILLED, 3)]
    check_refused(fake, EncoderLayer(31, 64, 1, 100), *faults)


def test_a_stem_that_answers_wrong_is_refused(fake: FakeTextNpu) -> None:
    """Headers lie in front of its weights: those are left as they are."""
    op = Stem(20, 6, 70)
    headers = layer(op, NPU1).phases[0].b

    def missing(which: int) -> Spoils:
        return lambda weights: each_missing(which)(weights[headers:])

    faults = [partial(in_weights, spoil=missing(which)) for which in (0, 1, 5, -1)]
    check_refused(fake, op, *faults, *(partial(in_results, spoil=spoil) for spoil in OF_RESULTS))


def test_in_turn_a_kernel_that_is_always_wrong_is_seen_by_its_known_answer(fake: FakeTextNpu) -> None:
    """No checksum goes through a layer, so it computes that again."""
    op = Linear(20, 64, 70, activation=Activation.GELU)
    device = fake.open(layer(op, NPU1), check_results="one").prepared([op], "layer")
    x, *constants = random_inputs(op)
    names = [operand.name for operand in op.inputs[1:]]
    held = device.hold(op, dict(zip(names, constants, strict=True)))
    y = np.empty((20, 70), np.float32)

    def turns() -> None:
        for _ in range(PERIOD):
            device.run(op, {"x": x, "y": y} | held)

    before = fake.dispatches()
    turns()
    assert fake.dispatches() - before == PERIOD + 1
    fake.fake.inject(Fault.ZEROS, lasting=True)
    with pytest.raises(DispatchError, match=r"answers a known .* with zeros"):
        turns()
    fake.fake.heal()
    turns()
    assert y.any()
