"""scripts/compare_peers.py: what it measures, and that its ratios are those of its measurements.

Modules that record how they are called stand for the optional peers: none of those needs to be installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.weights import require_weights

SCRIPT = Path(__file__).parents[2] / "scripts/compare_peers.py"
SECONDS = ("cold", "warm", "cold_cpu", "warm_cpu")


WHISPER = """
import os, sys, time

def load_model(weights, device):
    print("a note of the library")
    if weights == "hangs":
        time.sleep(600)
    if weights == "dies":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    return Model(weights)

class Model:
    def __init__(self, weights):
        self.weights = weights

    def transcribe(self, samples, **options):
        if self.weights == "raises":
            raise OSError("no route to the hub.\\nCheck your connection.")
        return {"text": f" {self.weights}, {len(samples)} samples"}
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_peers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parsed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    def parse(*options: str) -> Namespace:
        monkeypatch.setattr(sys, "argv", ["compare_peers.py", *options])
        arguments = script.parsed()
        assert isinstance(arguments, Namespace)
        return arguments

    return parse


def test_weights_are_a_peers_and_a_models(script: ModuleType, parsed: Any) -> None:
    arguments = parsed("--weights", "pywhispercpp=a=b/ggml-{model}.bin", "--model", "tiny")
    assert script.weights_of("pywhispercpp", arguments) == "a=b/ggml-tiny.bin"
    assert script.weights_of("openai-whisper", arguments) == "tiny"
    assert script.weights_of("transformers", arguments) == "openai/whisper-tiny"
    arguments = parsed("--model", "org/name", "--weights", "openai-whisper=x.pt")
    assert script.weights_of("openai-whisper", arguments) == "x.pt"
    assert script.weights_of("transformers", arguments) == "org/name"


def test_all_optional_peers_take_part_or_those_named(parsed: Any) -> None:
    assert parsed().peers == ["openai-whisper", "transformers", "pywhispercpp"]
    assert parsed("--peers", "pywhispercpp").peers == ["pywhispercpp"]
    assert parsed("--peers").peers == []


def test_both_compute_types_are_compared_or_those_named(parsed: Any) -> None:
    assert parsed().compute_type == ["float32", "int8"]
    only = parsed("--compute_type", "int8")
    assert only.compute_type == ["int8"]
    assert only.peers == []  # these compute in float32


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--weights", "faster-whisper=x"], "'faster-whisper=x' is not PEER=WEIGHTS"),
        (["--weights", "transformers"], "'transformers' is not PEER=WEIGHTS"),
        (["--weights", "transformers="], "'transformers=' is not PEER=WEIGHTS"),
        (["--weights", "transformers=x"], "for one model"),
        (["--peers", "whisperx"], "whisperx"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    options: list[str], reason: str, parsed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*options)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


class Recorder:
    """Any class or function of a peer: keeps what it is called with, answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *positional: Any, **named: Any) -> Any:
        self.calls.append((positional, named))
        return self.answer


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    return made


def arguments_for(peer: str) -> Namespace:
    return Namespace(model=["base"], weights={peer: "there/{model}"}, beam_size=3, threads=2)


CLIP = str(SAMPLES / "sns-0880.wav")
CLIP_SAMPLES = 47_840
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def test_openai_whisper_is_called_with_the_settings_of_the_others(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribe = Recorder({"text": " said"})
    load = Recorder(SimpleNamespace(transcribe=transcribe))
    monkeypatch.setitem(sys.modules, "whisper", module("whisper", load_model=load))
    assert script.open_openai_whisper("", arguments_for("openai-whisper"))(CLIP) == " said"
    assert load.calls == [(("there/base",), {"device": "cpu"})]
    (((samples,), options),) = transcribe.calls
    assert (samples.shape, samples.dtype) == ((CLIP_SAMPLES,), np.float32)
    assert options == {
        "language": "en",
        "beam_size": 3,
        "temperature": TEMPERATURES,
        "best_of": 5,
        "fp16": False,
    }


@pytest.mark.parametrize("multilingual", [True, False])
def test_transformers_is_called_with_the_settings_of_the_others(
    multilingual: bool, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise = Recorder({"text": " said"})
    to_float32 = Recorder(None)
    settings = SimpleNamespace(is_multilingual=multilingual)
    vars(recognise)["model"] = SimpleNamespace(float=to_float32, generation_config=settings)
    pipeline = Recorder(recognise)
    monkeypatch.setitem(sys.modules, "transformers", module("transformers", pipeline=pipeline))
    assert script.open_transformers("", arguments_for("transformers"))(CLIP) == " said"
    assert pipeline.calls == [
        (("automatic-speech-recognition",), {"model": "there/base", "device": "cpu"}),
    ]
    assert len(to_float32.calls) == 1
    (((samples,), options),) = recognise.calls
    assert (samples.shape, samples.dtype) == ((CLIP_SAMPLES,), np.float32)
    assert options["return_timestamps"] is True
    generating = options["generate_kwargs"]
    assert generating["num_beams"] == 3
    assert generating["temperature"] == TEMPERATURES
    # It refuses a language for a model that knows English only.
    assert (generating.get("language"), generating.get("task")) == (
        ("en", "transcribe") if multilingual else (None, None)
    )


def test_pywhispercpp_is_called_with_the_settings_of_the_others(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = [SimpleNamespace(text="It strips"), SimpleNamespace(text="every segment.")]
    transcribe = Recorder(segments)
    model = Recorder(SimpleNamespace(transcribe=transcribe))
    monkeypatch.setitem(sys.modules, "pywhispercpp", module("pywhispercpp"))
    monkeypatch.setitem(sys.modules, "pywhispercpp.model", module("pywhispercpp.model", Model=model))
    opened = script.open_pywhispercpp("", arguments_for("pywhispercpp"))
    assert opened(CLIP) == "It strips every segment."
    (((weights,), options),) = model.calls
    assert weights == "there/base"
    assert options["params_sampling_strategy"] == 1
    assert options["beam_search"]["beam_size"] == 3
    assert (options["n_threads"], options["language"]) == (2, "en")
    (((samples,), _),) = transcribe.calls
    assert (samples.shape, samples.dtype) == ((CLIP_SAMPLES,), np.float32)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ("raises", "OSError: no route to the hub. Check your connection"),
        ("dies", "ended with code 3: out of luck"),
        ("hangs", "not done after 2 s (--timeout)"),
    ],
)
def test_why_a_peer_was_not_measured_is_one_line(
    weights: str,
    reason: str,
    script: ModuleType,
    parsed: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(script.SideError) as raised:
        measured_by_a_process(weights, script, parsed, tmp_path, monkeypatch)
    assert str(raised.value) == reason


def test_what_a_peer_prints_is_not_taken_for_its_measurement(
    script: ModuleType, parsed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = measured_by_a_process("{model}.pt", script, parsed, tmp_path, monkeypatch)
    assert done.text == f" tiny.pt, {CLIP_SAMPLES} samples"
    assert done.cold > 0
    assert done.peak_mb > 0


def measured_by_a_process(
    weights: str, script: ModuleType, parsed: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    (folder / "whisper.py").write_text(WHISPER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    seconds = "2" if weights == "hangs" else "60"
    arguments = parsed(
        "--model", "tiny", "--weights", f"openai-whisper={weights}", "--timeout", seconds, "--threads", "1"
    )
    clip = script.Clip(Path(CLIP), 3.0, None)
    return script.measure(script.Side("openai-whisper", ""), "tiny", str(folder), clip, arguments)


def test_a_side_that_fails_in_a_later_turn_has_no_measurements(script: ModuleType) -> None:
    sound, failing = script.Side("sound", ""), script.Side("failing", "")
    turns = []

    def measure_one(side: Any) -> Any:
        turns.append(side)
        if side == failing and turns.count(failing) == 3:
            raise script.SideError("why")
        return script.Measured(1, 1, 1, 1, 1, "text")

    measured, failed = script.in_turns([sound, failing], 4, measure_one)
    assert failed == {failing: "why"}
    assert {side: len(done) for side, done in measured.items()} == {sound: 4, failing: 0}
    assert turns.count(failing) == 3


def test_a_side_is_divided_by_ours_of_its_compute_type_turn_by_turn(script: ModuleType) -> None:
    measured = {
        script.Side("whisper-npu", "float32"): of_seconds(script, 3, 20, 5),
        script.Side("faster-whisper", "float32"): of_seconds(script, 1, 10, 5),
        script.Side("whisper-npu", "int8"): of_seconds(script, 8, 8, 8),
        script.Side("faster-whisper", "int8"): of_seconds(script, 2, 2, 1),
        script.Side("openai-whisper", ""): of_seconds(script, 30, 50, 5),
        script.Side("transformers", ""): [],
    }
    found = {str(side): script.ratios(side, measured) for side in measured}
    assert found["whisper-npu float32"] == found["whisper-npu int8"] == found["transformers"] == {}
    of_all = dict.fromkeys((*SECONDS, "peak_mb"))
    assert found["faster-whisper float32"] == dict.fromkeys(of_all, 2)
    assert found["faster-whisper int8"] == dict.fromkeys(of_all, 4)
    assert found["openai-whisper"] == dict.fromkeys(of_all, 0.4)  # which computes in float32


def of_seconds(script: ModuleType, *turns: float) -> list[Any]:
    return [script.Measured(turn, turn, turn, turn, turn, "text") for turn in turns]


@pytest.mark.weights
@pytest.mark.slow
def test_every_side_is_measured_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("jiwer")
    written = tmp_path / "peers.json"
    options = ["--model", require_weights("tiny.en"), "--audio", str(SAMPLES / "sns-0930.wav")]
    options += ["--repeats", "1", "--threads", "1", "--beam_size", "1", "--json", str(written)]
    options += ["--compute_type", "float32", "--peers"]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    assert "MEASURED" in done.stdout
    assert "not installed: none" in done.stdout
    (run,) = json.loads(written.read_text(encoding="utf-8"))["runs"]
    ours, theirs = (run["sides"][f"{name} float32"] for name in ("whisper-npu", "faster-whisper"))
    assert len(ours) == len(theirs) == 1
    for measured in (*ours, *theirs):
        assert "made amiable himself" in measured["text"]
        assert all(measured[key] > 0 for key in (*SECONDS, "peak_mb"))
    ratios = run["ours_over_theirs"]["faster-whisper float32"]
    for key in (*SECONDS, "peak_mb"):
        pairs = zip(ours, theirs, strict=True)
        assert ratios[key] == pytest.approx(median(a[key] / b[key] for a, b in pairs))
    assert run["word_error_rates"]["whisper-npu float32"].startswith("0.0 %")


@pytest.mark.weights
@pytest.mark.slow
def test_a_side_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    written = tmp_path / "peers.json"
    options = ["--model", require_weights("tiny.en"), "--audio", str(SAMPLES / "sns-0880.wav")]
    options += [
        "--kernel",
        "no_such_kernel",
        "--compute_type",
        "int8",
        "--repeats",
        "1",
        "--json",
        str(written),
    ]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    (run,) = json.loads(written.read_text(encoding="utf-8"))["runs"]
    assert set(run["failed"]) == {"whisper-npu int8"}
    assert "whisper-npu int8 failed: " in done.stdout
    assert len(run["sides"]["faster-whisper int8"]) == 1
    assert not run["sides"]["whisper-npu int8"]


@pytest.mark.weights
@pytest.mark.slow
def test_the_command_takes_part_as_on_a_cpu_without_avx512(tmp_path: Path) -> None:
    written = tmp_path / "peers.json"
    options = ["--model", require_weights("tiny.en"), "--audio", str(SAMPLES / "sns-0930.wav")]
    options += ["--repeats", "1", "--threads", "1", "--json", str(written)]
    options += ["--compute_type", "int8", "--beam_size", "1", "--command", "--without_avx512"]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    assert "by the command, without AVX-512" in done.stdout
    document = json.loads(written.read_text(encoding="utf-8"))
    assert document["settings"]["command"]
    assert document["settings"]["without_avx512"]
    (run,) = document["runs"]
    assert set(run["sides"]) == {"whisper-npu int8", "faster-whisper int8"}
    for (measured,) in run["sides"].values():
        assert "made amiable himself" in measured["text"]
