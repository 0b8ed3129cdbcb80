"""A device that fails ends the work, or the emulator goes on from the window that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import tiny_config, tiny_tensors, tiny_tokenizer, write_checkpoint
from tests.support.contracts import MATMUL_64X64
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.npu import opened_npu
from tests.support.scripted_decoder import ScriptedDecoder, Window
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.dtypes import F32
from whisper_npu.errors import DeviceError, DispatchError, UsageError, WrongResultError
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.xrt.device import XrtDevice
from whisper_npu.report import as_text
from whisper_npu.transcription.fallback import DeviceWarning
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.took import Switch

SECONDS = 0.02  # of a position
N_CTX = 50
WINDOW = N_CTX * SECONDS
FAULTS = {
    Fault.ERROR: "ended with ERROR",
    Fault.ABORT: "ended with ABORT",
    Fault.TIMEOUT: "TIMEOUT",
    Fault.WEDGED: "firmware hangs: reboot",
    Fault.GONE: "the NPU is gone",
    Fault.ZEROS: "cannot be right",
    Fault.GARBAGE: "cannot be right",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(vocab_size=1788, max_source_positions=N_CTX)
    return write_checkpoint(
        tmp_path_factory.mktemp("model") / "hf",
        config,
        tiny_tensors(config),
        tokenizer_json=tiny_tokenizer(multilingual=True),
    )


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


@pytest.fixture
def npu(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    with opened_npu(tmp_path, fake, [MATMUL_64X64], timeout_seconds=0.05) as npu:
        yield npu


def model_on(device: Device, folder: Path, told: list[Switch], on_device_error: str = "emulate") -> Model:
    checkpoint = load_checkpoint(folder, cache_dir=folder.parent / "cache")
    return Model(
        checkpoint,
        device,
        compute_type="float32",
        on_device_error=on_device_error,
        on_switch=told.append,
    )


def mels(model: Model, count: int) -> F32:
    shape = (count, model.encoder.dims.n_mels, 2 * N_CTX)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.value)
@pytest.mark.parametrize("at", [1, 20])
def test_the_window_that_failed_is_encoded_anew(
    npu: Device, fake: FakeXrt, folder: Path, fault: Fault, at: int
) -> None:
    told: list[Switch] = []
    model = model_on(npu, folder, told)
    windows = mels(model, 3)
    with model_on(Emulator(), folder, []) as emulated:
        expected = [emulated.encoder(mel) for mel in windows]
    first = np.asarray(model._whisper.encode(windows[:1]))
    assert np.abs(first[0] - expected[0]).max() < 0.1  # by the NPU, and its numerics
    fake.inject(fault, at=at, lasting=True)
    model._whisper.where = lambda: WINDOW  # as a stream tells
    others = np.asarray(model._whisper.encode(windows[1:]))
    assert all(map(np.array_equal, others, expected[1:]))  # all of them the emulator's: nothing half done
    (switch,) = told
    assert switch is model.switch
    assert (switch.window, switch.seconds) == (2, pytest.approx(WINDOW))
    assert FAULTS[fault] in switch.why
    assert "in the window at 1.0 s" in str(switch)
    assert "emulator" in str(switch)
    encoder, _ = model._whisper.measured()
    assert encoder.windows == 3
    lost = fault in (Fault.TIMEOUT, Fault.WEDGED, Fault.GONE)
    assert lost or fake.alive()["hw_context"] == 0


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.GONE, Fault.ZEROS], ids=lambda fault: fault.value)
def test_by_default_the_work_ends(npu: Device, fake: FakeXrt, folder: Path, fault: Fault) -> None:
    model = model_on(npu, folder, [], "fail")
    fake.inject(fault, at=20)
    with pytest.raises(DeviceError, match=FAULTS[fault]):
        model._whisper.encode(mels(model, 1))
    assert model.switch is None
    fake.heal()
    model._whisper.encode(mels(model, 1))  # and may be done again


def test_a_device_that_fails_while_the_model_is_loaded(npu: Device, fake: FakeXrt, folder: Path) -> None:
    fake.inject(Fault.GARBAGE, lasting=True)
    with pytest.raises(DispatchError, match="answers a known"):
        model_on(npu, folder, [], "fail")
    told: list[Switch] = []
    model = model_on(npu, folder, told)
    assert told[0].window is None
    assert "while the model was loaded" in str(told[0])
    assert (model.ran_on.device, model.ran_on.clock) == ("emulator", "CPU")
    model.encoder(mels(model, 1)[0])


@pytest.mark.parametrize("at", [1, 200])
def test_a_recording_and_its_report(npu: Device, fake: FakeXrt, folder: Path, at: int) -> None:
    told: list[Switch] = []
    model = model_on(npu, folder, told)
    decoder = ScriptedDecoder(model)
    decoder.windows = [Window([(0.0, " Da", 1.0)]) for _ in range(4)]
    model._whisper.model = decoder

    def fail_after_two() -> None:
        if len(decoder.prompts) == 1:
            fake.inject(Fault.ERROR, at=at)

    decoder.on_window = fail_after_two
    audio = np.random.default_rng(0).standard_normal(4 * 16_000).astype(np.float32) / 50
    result = model.transcribe(audio, language="de", temperature=0.0, condition_on_previous_text=False)
    assert len(result.segments) == 4
    if not told:  # the windows that were left had fewer dispatches
        assert at > 100
        assert result.warnings == ()
        return
    report = result.report
    document = report.to_dict()
    assert document["device_switched"] == told[0].to_dict()
    assert told[0].window == 3
    assert result.warnings == (str(told[0]),)
    decoder.windows = [Window([(0.0, " Da", 1.0)])]
    later = model.transcribe(audio[:16_000], language="de", temperature=0.0)
    assert later.warnings == ()  # the switch was not in this one
    assert document["device"]["name"] == "npu, then emulator"  # type: ignore[index]
    assert document["device"]["clock"] == "NPU, then CPU"  # type: ignore[index]
    text = " ".join(as_text(report).split())
    assert "the device failed in the window at 2.0 s" in text
    assert "kernels on the NPU, then CPU" in text


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.TIMEOUT, Fault.GONE], ids=lambda fault: fault.value)
def test_in_batches_it_fails_at_the_same_window_whether_it_works_ahead_or_not(
    folder: Path, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "faster_whisper.vad.get_speech_timestamps",
        lambda audio, options: [{"start": at, "end": at + 16_000} for at in range(0, len(audio), 16_000)],
    )
    audio = np.random.default_rng(0).standard_normal(6 * 16_000).astype(np.float32) / 50
    seen, heard = [], []
    for ahead in (False, True):
        monkeypatch.setattr(XrtDevice, "leaves_cpu_free", ahead)
        fake, told = FakeXrt(), list[Switch]()
        with opened_npu(tmp_path / str(ahead), fake, [MATMUL_64X64], timeout_seconds=0.05) as npu:
            model = model_on(npu, folder, told)
            model._whisper.model = decoder = ScriptedDecoder(model)
            decoder.listens = True
            decoder.windows = [Window([(0.0, " Da", 1.0)])] * 6
            fake.pop_counts()
            model._whisper.encode(mels(model, 1))
            fake.inject(fault, at=3 * fake.pop_counts().dispatches + 5, lasting=True)  # in the fourth window
            result = model.transcribe(audio, language="de", batch_size=2)
            encoder = result.took.encoder
            counts = [(run.name, run.stats.calls, run.stats.dispatches) for run in encoder.runs]
            seen.append((result.segments, told, result.warnings, encoder.windows, sorted(counts)))
            heard.append(decoder.heard)
        assert fake.problems() == []
    assert seen[0] == seen[1]
    assert all(map(np.array_equal, *heard))
    assert (told[0].window, told[0].seconds) == (4, 2.0)  # where its batch begins


def test_nothing_switched_is_null(folder: Path) -> None:
    with model_on(Emulator(), folder, []) as model:
        model._whisper.model = decoder = ScriptedDecoder(model)
        decoder.windows = [Window([(0.0, " Da", 1.0)])]
        result = model.transcribe(np.zeros(16_000, np.float32) + 0.01, language="de")
        assert result.report.to_dict()["device_switched"] is None


def test_a_closed_device_is_not_replaced(npu: Device, folder: Path) -> None:
    told: list[Switch] = []
    model = model_on(npu, folder, told)
    model.close()
    with pytest.raises(DeviceError, match="the device was closed"):
        model._whisper.encode(mels(model, 1))
    assert told == []


def test_without_a_listener_it_is_a_warning(npu: Device, fake: FakeXrt, folder: Path) -> None:
    checkpoint = load_checkpoint(folder, cache_dir=folder.parent / "cache")
    model = Model(checkpoint, npu, compute_type="float32", on_device_error="emulate")
    fake.inject(Fault.GARBAGE, at=5)
    with pytest.warns(DeviceWarning, match="the emulator on this CPU goes on"):
        model._whisper.encode(mels(model, 1))


def test_another_word_is_refused(folder: Path) -> None:
    with Emulator() as device, pytest.raises(UsageError, match="on_device_error is 'retry', must be one of"):
        model_on(device, folder, [], "retry")
    assert issubclass(WrongResultError, DispatchError)


def test_an_output_that_is_not_finite_is_no_text(tmp_path: Path) -> None:
    config = tiny_config(vocab_size=1788, max_source_positions=N_CTX)
    tensors = tiny_tensors(config)
    gain = "model.encoder.layer_norm.weight"
    tensors[gain] = np.full(tensors[gain].shape, 3e38, np.float32)
    folder = write_checkpoint(
        tmp_path / "hf", config, tensors, tokenizer_json=tiny_tokenizer(multilingual=True)
    )
    with model_on(Emulator(), folder, []) as model, pytest.raises(DeviceError, match="output is not finite"):
        model._whisper.encode(mels(model, 1)[0])
