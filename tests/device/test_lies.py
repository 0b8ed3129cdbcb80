"""An NPU that lies in the middle of a window: in every product, in every part of it, it is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.contracts import MATMUL_64X64
from tests.support.fake_pyxrt import FakeXrt, Fault, Part
from tests.support.fake_pyxrt.chip import Computes, Planned
from tests.support.npu import opened_npu
from tests.support.stand_in_kernels import Memory, Work, as_elements
from whisper_npu import open_device
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_ops, encoder_shapes
from whisper_npu.errors import UsageError, WrongResultError
from whisper_npu.npu.checksum import PERIOD, Checked
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.ops import EncoderLayer

DIMS = ModelDimensions(8, 70, 128, 2, 1, 128)
LAYER = ("attention.qkv", "attention.scores", "attention.context", "attention.out", "mlp.0", "mlp.2")
PRODUCTS = ("conv1", "conv2", *LAYER)
RNG = np.random.default_rng(0)
WEIGHTS = {
    name: (RNG.standard_normal(shape) / 8).astype(np.float32) for name, shape in encoder_shapes(DIMS).items()
}
MEL = RNG.standard_normal((DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


@pytest.fixture
def npu(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    with opened_npu(tmp_path, fake, [MATMUL_64X64]) as npu:
        yield npu


def encoder_on(device: Device) -> AudioEncoder:
    return AudioEncoder(DIMS, WEIGHTS, device.prepared(encoder_ops(DIMS), MATMUL_64X64))


def places(encoder: AudioEncoder) -> list[tuple[str, int, int]]:
    """Of each product of a window its name, and the numbers of its first and last dispatch."""
    with encoder.device.recording() as recording:
        encoder(MEL)
    last, found = 0, []
    for run in recording.runs:
        first, last = last + 1, last + run.stats.dispatches
        found.append((run.name, first, last))
    return found


def lie(fake: FakeXrt, at: int, by: Computes) -> None:
    """Let the `at`-th dispatch from now compute this."""
    fake._faults.append(Planned(Fault.OTHERWISE, fake._dispatches + at, lasting=False, by=by))


def result(what: Work, data: list[Memory]) -> F32:
    """C as the device writes it."""
    c = as_elements(data[-1], what.arguments[-1].dtype)
    assert c.dtype == np.float32
    return c


def rows_of_its_neighbour(what: Work, data: list[Memory]) -> None:
    what.compute(*data)
    c = result(what, data).reshape(16, 4, 16, 4)
    c[:] = c[::-1].copy()


def half_of_the_sum(what: Work, data: list[Memory]) -> None:
    """A's second half counts as zero."""
    a = as_elements(data[0], what.arguments[0].dtype)
    whole = a.copy()
    a.reshape(-1, 2)[:, 1] = 0
    what.compute(*data)
    a[:] = whole


def nothing(what: Work, data: list[Memory]) -> None:
    """The result of an earlier dispatch stays."""
    result(what, data)[:] = 0.125


@pytest.mark.parametrize("product", range(len(PRODUCTS)), ids=lambda n: f"{n}-{PRODUCTS[n]}")
def test_it_is_seen_in_every_product(npu: Device, fake: FakeXrt, product: int) -> None:
    encoder = encoder_on(npu)
    expected = encoder(MEL)
    found = places(encoder)
    assert [name for name, _, _ in found] == list(PRODUCTS)
    name, first, last = found[product]
    lies = [
        lambda at: fake.inject(Fault.ZEROS, at=at),
        lambda at: fake.inject(Fault.GARBAGE, at=at),
        lambda at: lie(fake, at, rows_of_its_neighbour),
        lambda at: lie(fake, at, half_of_the_sum),
        lambda at: lie(fake, at, nothing),
    ]
    for tell in lies:
        for at in {first, last}:
            tell(at)
            with pytest.raises(WrongResultError) as caught:
                encoder(MEL)
            for part in (MATMUL_64X64.name, name, "row", "column", "nothing of it was used", "doctor"):
                assert part in str(caught.value)
            assert "\n" not in str(caught.value)
            fake.heal()
            npu.load(MATMUL_64X64)  # opened anew, it answers what is known
    assert np.array_equal(encoder(MEL), expected)
    assert fake.alive()["hw_context"] == 1


def test_the_last_row_alone_is_seen(npu: Device, fake: FakeXrt) -> None:
    encoder = encoder_on(npu)
    name, _, last = places(encoder)[2]
    assert name == "attention.qkv"
    rows = 2 * 64 - DIMS.n_audio_ctx  # padding of the last tile
    # Within the tile, micro-tiles of 4x4: the row of micro-tiles with the last row of C.
    at = 64 - rows - 4
    fake.inject(Fault.ZEROS, at=last, part=Part(0, slice(at * 64, (at + 4) * 64)))
    with pytest.raises(WrongResultError, match="row"):
        encoder(MEL)


def test_a_device_that_goes_on_lying_is_refused_by_its_known_product(npu: Device, fake: FakeXrt) -> None:
    encoder = encoder_on(npu)
    encoder(MEL)
    fake.inject(Fault.GARBAGE, at=9, lasting=True)
    with pytest.raises(WrongResultError):
        encoder(MEL)
    with pytest.raises(Exception, match="answers a known"):
        encoder(MEL)


@pytest.fixture
def npu_in_turn(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    with opened_npu(tmp_path, fake, [MATMUL_64X64], checked=Checked.ONE) as npu:
        yield npu


def in_turn(npu: Device, before: int) -> None:
    """So many products go unchecked, then one is checked."""
    npu.turns.before_next = before


@pytest.mark.parametrize("product", range(len(PRODUCTS)), ids=lambda n: f"{n}-{PRODUCTS[n]}")
def test_in_turn_it_is_seen_at_once_where_the_turn_is_and_nowhere_else(
    npu_in_turn: Device, fake: FakeXrt, product: int
) -> None:
    encoder = encoder_on(npu_in_turn)
    name, first, last = places(encoder)[product]
    for at in {first, last}:
        in_turn(npu_in_turn, product)
        fake.inject(Fault.ZEROS, at=at)
        with pytest.raises(WrongResultError, match=name):
            encoder(MEL)
        fake.heal()
        npu_in_turn.load(MATMUL_64X64)
    in_turn(npu_in_turn, (product + 1) % len(PRODUCTS))
    fake.inject(Fault.ZEROS, at=first)
    encoder(MEL)  # the product that is checked is right, of what it was given


@pytest.mark.parametrize("start", [0, 13])
@pytest.mark.parametrize("product", range(len(PRODUCTS)), ids=lambda n: f"{n}-{PRODUCTS[n]}")
def test_in_turn_a_product_that_is_always_wrong_is_seen_within_a_period_of_windows(
    npu_in_turn: Device, fake: FakeXrt, product: int, start: int
) -> None:
    encoder = encoder_on(npu_in_turn)
    name, first, _ = places(encoder)[product]
    in_turn(npu_in_turn, start)

    def windows() -> None:
        for _ in range(PERIOD):
            fake.heal()
            fake.inject(Fault.ZEROS, at=first)
            encoder(MEL)

    with pytest.raises(WrongResultError, match=name):
        windows()


@pytest.mark.parametrize("product", range(len(PRODUCTS)), ids=lambda n: f"{n}-{PRODUCTS[n]}")
def test_it_can_be_turned_off(fake: FakeXrt, tmp_path: Path, product: int) -> None:
    with opened_npu(tmp_path, fake, [MATMUL_64X64], checked=Checked.NOTHING) as npu:
        encoder = encoder_on(npu)
        expected = encoder(MEL)
        _, first, _ = places(encoder)[product]
        fake.inject(Fault.ZEROS, at=first)
        assert not np.array_equal(encoder(MEL), expected)


@pytest.mark.parametrize("fidelity", Fidelity)
@pytest.mark.parametrize("checked", [Checked.ONE, Checked.ALL])
def test_the_emulator_can_be_checked_and_passes(fidelity: Fidelity, checked: Checked) -> None:
    with Emulator(fidelity) as plain, Emulator(fidelity, checked=checked) as device:
        expected = encoder_on(plain)(MEL)
        encoder = encoder_on(device)
        for _ in range(2):
            np.testing.assert_allclose(encoder(MEL), expected, atol=0.05)


def test_what_is_asked_for() -> None:
    for asked, checked in {
        "auto": Checked.NOTHING,
        "one": Checked.ONE,
        "all": Checked.ALL,
        "off": Checked.NOTHING,
    }.items():
        with open_device("emulator", check_results=asked) as device:
            assert isinstance(device, Emulator)
            assert device.turns.checked is checked
    with pytest.raises(UsageError, match=r"check_results is 'yes', must be one of auto, off, one, all"):
        open_device("emulator", check_results="yes")


def test_what_is_made_whole_is_not_taken_where_all_is_to_be_checked() -> None:
    op = EncoderLayer(31, 64, 1, 64)
    with Emulator(checked=Checked.ALL) as device:
        assert device.prepared([op]).plan(op) is None
        with pytest.raises(UsageError, match="kernel layer makes no single products"):
            device.prepared([op], "layer")
