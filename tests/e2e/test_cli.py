"""`whisper-npu transcribe` on real speech: what a user types and sees."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import ctranslate2
import jsonschema
import numpy as np
import pytest
import soundfile

from tests.e2e.conftest import SAMPLES
from tests.support.sensors import Constant
from tests.support.weights import require_weights
from whisper_npu.apps.cli import run
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.errors import OutputError
from whisper_npu.output import write_atomically

pytestmark = [pytest.mark.weights, pytest.mark.slow]

AMIABLE = str(SAMPLES / "sns-0930.wav")
YOUNG_MAN = str(SAMPLES / "sns-0880.wav")
SCHEMA = Path(__file__).parents[2] / "docs/report.schema.json"


def validate(report: object) -> None:
    """Against the published schema, and with no field that it does not describe."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.validate(report, schema)
    closed = json.loads(
        json.dumps(schema).replace('"type": "object",', '"type": "object", "additionalProperties": false,')
    )
    jsonschema.validate(report, closed)


@pytest.fixture(autouse=True)
def tiny_en_is_installed() -> str:
    return require_weights("tiny.en")


def transcribe(*arguments: str) -> int:
    return run(["transcribe", "--model", "tiny.en", *arguments])


def test_the_text_is_on_stdout_and_the_ending_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(AMIABLE) == 0
    captured = capsys.readouterr()
    assert captured.out == "He might even have been made amiable himself.\n"
    start, work, baseline = captured.err.splitlines()
    assert start == f"whisper-npu: transcribing {AMIABLE} (3.3 s)"
    assert "tiny.en on the CPU (emulated NPU)" in work
    assert "MEASURED" in baseline
    assert "163.7 s" in baseline


def test_quiet_leaves_stderr_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(AMIABLE, "--quiet", "--kernel", "64x512") == 0
    captured = capsys.readouterr()
    assert "amiable" in captured.out
    assert captured.err == ""


def test_the_report_counts_what_was_dispatched(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert transcribe(AMIABLE, YOUNG_MAN, "--kernel", "64x64", "--report", str(path)) == 0
    report = json.loads(path.read_text(encoding="utf-8"))
    validate(report)
    encoder = report["encoder"]
    assert encoder["windows"] == 2
    assert encoder["dispatches"] == encoder["dispatches_64x64"] == 2 * 72_840
    assert encoder["dispatches"] == sum(o["dispatches"] for o in encoder["operations"])
    assert report["kernel"]["name"] == "matmul_64x64"
    assert report["device"]["name"] == "emulator"
    modelled = report["modelled_npu_seconds"]
    by_baseline, by_target = (modelled[name]["seconds"] for name in ("baseline-2025", "xdna1"))
    assert list(by_baseline.values()) == pytest.approx([2 * 72_840 * 163.7 / 3008] * 3)
    assert 0 < by_target["optimistic"] < by_target["cautious"] < by_baseline["optimistic"]
    measured = report["measured_seconds"]
    stages = ("load", "audio", "mel", "encoder", "decode", "other")
    assert measured["total"] == pytest.approx(sum(measured[stage] for stage in stages))
    parts = ("encoder_pack", "encoder_kernel", "encoder_host")
    assert measured["encoder"] == pytest.approx(sum(measured[part] for part in parts))
    assert all(measured[stage] >= 0 for stage in (*stages, *parts))
    assert report["baseline"]["total_over_baseline"] == pytest.approx(measured["total"] / 163.7)
    assert [f["error"] for f in report["files"]] == [None, None]


def test_the_report_has_the_energy_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_npu.energy.sensors.open_sensor", Constant)
    path = tmp_path / "report.json"
    assert transcribe(AMIABLE, "--quiet", "--report", str(path)) == 0
    report = json.loads(path.read_text(encoding="utf-8"))
    validate(report)
    energy, seconds = report["measured_energy"], report["measured_seconds"]
    assert list(energy["stages"]) == ["load", "audio", "mel", "encoder", "decode", "other"]
    for used in (energy, *energy["stages"].values()):
        assert used["package_measured_j"] == pytest.approx(10 * used["seconds"])
        assert used["cores_measured_j"] == pytest.approx(6 * used["seconds"])
    for stage in ("load", "audio", "mel", "encoder"):  # a stage's clock runs between two readings
        assert energy["stages"][stage]["seconds"] >= seconds[stage]
    assert sum(used["seconds"] for used in energy["stages"].values()) == pytest.approx(energy["seconds"])
    assert energy["seconds"] <= seconds["total"]
    per_minute = 60 * energy["package_measured_j"] / report["audio_seconds"]
    assert energy["package_measured_j_per_audio_minute"] == pytest.approx(per_minute)


@pytest.mark.parametrize("compute_type", ["auto", "float32", "int8"])
def test_the_decoder_computes_in_what_is_asked_for(compute_type: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert transcribe(AMIABLE, "--compute_type", compute_type, "--report", str(path)) == 0
    report = json.loads(path.read_text(encoding="utf-8"))
    validate(report)
    assert "amiable" in report["files"][0]["text"]
    effective = ctranslate2.models.Whisper(
        str(load_checkpoint("tiny.en").decoder_folder), device="cpu", compute_type=compute_type
    ).compute_type
    assert report["decoder"]["compute_type"] == effective


def test_all_formats_are_written_and_stdout_still_has_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sns-0930.srt").write_text("old")
    options = ("--output-format", "all", "--output-dir", str(tmp_path), "--word_timestamps", "True")
    assert transcribe(AMIABLE, *options) == 0
    captured = capsys.readouterr()
    assert "amiable" in captured.out
    assert f" in {tmp_path}{os.sep}" in captured.err
    assert {p.name for p in tmp_path.iterdir()} == {
        f"sns-0930.{e}" for e in ("txt", "srt", "vtt", "tsv", "json", "lrc")
    }
    assert (tmp_path / "sns-0930.srt").read_text(encoding="utf-8").startswith("1\n00:00:0")
    words = json.loads((tmp_path / "sns-0930.json").read_text(encoding="utf-8"))["segments"][0]["words"]
    assert any("amiable" in word["word"] for word in words)


def test_a_format_without_a_folder_goes_to_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert transcribe(AMIABLE, "--output_format", "vtt") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["sns-0930.vtt"]


def test_stdin_is_read_for_a_dash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(AMIABLE).read_bytes())))
    assert transcribe("-") == 0
    assert "amiable" in capsys.readouterr().out


def test_a_recording_that_fails_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is no audio")
    report = tmp_path / "report.json"
    assert transcribe(str(text), AMIABLE, str(tmp_path / "no.wav"), "--report", str(report)) == 1
    captured = capsys.readouterr()
    assert captured.out == f"==> {AMIABLE} <==\nHe might even have been made amiable himself.\n"
    assert captured.err.splitlines()[-1].startswith("2 of 3 failed: ")
    errors = [line for line in captured.err.splitlines() if line.startswith("whisper-npu: error:")]
    assert len(errors) == 2
    assert "text.wav" in errors[0]
    assert "no.wav" in errors[1]
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    assert [bool(f["error"]) for f in files] == [True, False, True]


def test_silence_and_very_short_audio_succeed_without_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seconds in (("silence", 5.0), ("short", 0.05), ("nothing", 0.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(int(16_000 * seconds)), 16_000)
    files = [str(path) for path in sorted(tmp_path.glob("*.wav"))]
    assert transcribe(*files, "--output_format", "all", "--output_dir", str(tmp_path)) == 0
    captured = capsys.readouterr()
    assert captured.out == "\n".join(f"==> {file} <==\n" for file in files)
    for file in files:
        assert f"whisper-npu: {file}: no speech was found: " in captured.err
    written = [line for line in captured.err.splitlines() if line.startswith("wrote ")]
    assert len(written) == 3
    assert all(str(tmp_path) in line for line in written)
    assert (tmp_path / "silence.txt").read_text() == ""


def test_a_language_the_model_does_not_know_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(AMIABLE, YOUNG_MAN, "--language", "French", "--quiet") == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert "tiny.en does not know French (fr)" in captured.err


def test_a_report_is_written_even_where_every_recording_failed(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("an older report")
    assert transcribe(str(tmp_path / "no.wav"), "--report", str(path), "--quiet") == 1
    report = json.loads(path.read_text(encoding="utf-8"))
    validate(report)
    assert report["encoder"]["dispatches"] == 0
    assert "no.wav" in report["files"][0]["error"]


def test_a_transcript_that_cannot_be_written_is_still_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, text: str) -> None:
        if path.suffix == ".srt":
            raise OutputError(f"{path}: cannot be written (no space left)")
        write_atomically(path, text)

    monkeypatch.setattr("whisper_npu.apps.outputs.write_atomically", full)
    options = ("--output_format", "srt", "--output_dir", str(tmp_path), "--report", str(tmp_path / "r.json"))
    assert transcribe(AMIABLE, *options) == 1
    assert "no space left" in capsys.readouterr().err
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    validate(report)
    assert "no space left" in report["files"][0]["error"]
    assert "amiable" in report["files"][0]["text"]
    assert report["encoder"]["windows"] == 1


def test_names_with_brackets_survive_a_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "a["
    folder.mkdir()
    shutil.copy(AMIABLE, folder / "b].wav")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "whisper_npu", "transcribe", "--model", "tiny.en", "a[/b].wav"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # Linux's end of file of a terminal
                break
        assert process.stdout is not None
        text = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, seen
    assert text == b"He might even have been made amiable himself.\n"
    assert b"a[/b].wav" in seen


def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "whisper_npu", "transcribe", "--model", "tiny.en", "--quiet", AMIABLE],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "whisper-npu: error: standard output cannot be used: No space left on device\n"


def test_every_kind_of_bad_audio_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech, rate = soundfile.read(AMIABLE)
    bad = {name: tmp_path / name for name in ("folder", "empty.wav", "text.wav", "nan.wav", "cut.flac")}
    bad["folder"].mkdir()
    bad["empty.wav"].touch()
    bad["text.wav"].write_text("this is no audio")
    soundfile.write(bad["nan.wav"], np.where(np.arange(len(speech)) == 99, np.nan, speech), rate, "FLOAT")
    soundfile.write(bad["cut.flac"], speech, rate)
    bad["cut.flac"].write_bytes(bad["cut.flac"].read_bytes()[:-9000])
    bad["missing.wav"] = tmp_path / "missing.wav"
    assert transcribe(*map(str, bad.values()), "--quiet", "--strict") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == len(bad)
    for line, path in zip(lines, bad.values(), strict=True):
        assert line.startswith(f"whisper-npu: error: {path}: ")


def test_a_model_folder_without_weights_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", AMIABLE, "--model", str(tmp_path), "--quiet"]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert "holds no checkpoint" in captured.err


def test_base_needs_less_than_1200_megabytes() -> None:
    # VmHWM, since getrusage's maximum begins with what the process held that started this one.
    code = (
        "import sys; from whisper_npu.apps.cli import run; code = run(sys.argv[1:]); "
        "status = open('/proc/self/status').read(); "
        "print(status.partition('VmHWM:')[2].split()[0], file=sys.stderr); sys.exit(code)"
    )
    arguments = ["transcribe", AMIABLE, "--quiet", "--model", require_weights("base")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert int(done.stderr) * 1024 < 1.2e9


def test_an_unknown_kernel_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(AMIABLE, "--kernel", "64x521", "--quiet") == 2
    assert "did you mean 64x512" in capsys.readouterr().err


def test_a_folder_as_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my whisper"
    shutil.copytree(load_checkpoint("tiny.en").decoder_folder, folder)
    assert run(["transcribe", AMIABLE, "--model", str(folder)]) == 0
    assert "amiable" in capsys.readouterr().out
    data = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(data[: len(data) // 2])
    assert run(["transcribe", AMIABLE, "--model", str(folder), "--quiet"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_interrupted_it_exits_130_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    options = ["--model", "tiny.en", "--kernel", "64x64", "--fidelity", "exact"]  # slow enough to interrupt
    options += ["--output_format", "all", "--output_dir", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "whisper_npu", "transcribe", AMIABLE, *options],
        stderr=subprocess.PIPE,
        text=True,
        # A shell ignores Ctrl-C for its background jobs, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        while "transcribing" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == "whisper-npu: error: interrupted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_what_was_decoded_is_kept_under_a_name_that_says_so(
    number: int, code: int, said: str, tmp_path: Path
) -> None:
    samples = np.concatenate([soundfile.read(path)[0] for path in sorted(SAMPLES.glob("*.wav"))] * 12)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    command = [sys.executable, "-m", "whisper_npu", str(tmp_path / "long.wav"), "--model", "tiny.en"]
    with subprocess.Popen(
        [*command, "-f", "srt,json", "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline().strip()
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == code
    assert rest.splitlines()[-1] == f"whisper-npu: error: {said}"
    left = {path.name for path in (tmp_path / "out").iterdir()} - {"long.partial.jsonl"}  # after a window
    assert left == {"long.partial.json", "long.partial.srt"}
    kept = json.loads((tmp_path / "out/long.partial.json").read_text(encoding="utf-8"))
    assert first in kept["text"]
    assert kept["duration"] < len(samples) / 16_000


def test_python_dash_m_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "whisper_npu", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("whisper-npu ")
