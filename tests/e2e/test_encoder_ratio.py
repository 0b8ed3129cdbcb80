"""scripts/encoder_ratio.py: which package each side imports, and what is divided by what."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/encoder_ratio.py"
# A checkout whose windows take as many seconds as it is told; negative where its CPU multiplies no bf16.
WINDOW = """
import sys
from {gemm} import cpu_flags

assert sys.argv[1:] == ["emulator", "tiny", "1"], sys.argv
for _ in sys.stdin:
    print({seconds} if cpu_flags() else -{seconds}, flush=True)
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("encoder_ratio", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def write_checkout(folder: Path, seconds: float, gemm: str) -> Path:
    """gemm: the module that knows what the CPU multiplies."""
    modules = {"whisper_npu": "", "whisper_npu.benchmark": "", gemm.rpartition(".")[0]: ""}
    modules |= {gemm: "def cpu_flags():\n    return ('avx512_bf16',)\n"}
    modules |= {"whisper_npu.benchmark.window": WINDOW.format(gemm=gemm, seconds=seconds)}
    for name, text in modules.items():
        place = folder.joinpath(*name.split("."))
        path = place.with_suffix(".py") if text else place / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def compare(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> list[list[str]]:
    """The rows that a run prints, in words."""
    monkeypatch.setattr(script, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--threads", "1", "--repeats", "1", *arguments])
    script.main()
    _, _, *rows = capsys.readouterr().out.splitlines()
    return [row.split() for row in rows]


@pytest.mark.parametrize("model", ["tiny", "random:tiny"])
@pytest.mark.parametrize(("gemm", "sign"), [("fastest", 1), ("blas", -1)])
@pytest.mark.parametrize("asked_in", ["whisper_npu.host.gemm", "whisper_npu.npu.cpu_gemm"])
def test_each_side_is_the_encoder_of_its_own_checkout(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    gemm: str,
    sign: int,
    asked_in: str,
) -> None:
    this = write_checkout(tmp_path / "this", 3.0, "whisper_npu.host.gemm")
    that = write_checkout(tmp_path / "that", 2.0, asked_in)
    monkeypatch.setattr(script, "ROOT", this)
    options = ["--model", model, "--gemm", gemm, "--against", str(that)]
    first, second = compare(script, monkeypatch, capsys, *options)
    assert first[:4] == ["random:tiny", "that", "checkout", f"{sign * 2:.3f}"]
    assert second[:4] == ["random:tiny", "this", "checkout", f"{sign * 3:.3f}"]
    assert (first[5], second[5]) == ("1.00", "1.50")


def test_another_package_than_the_checkouts_is_not_measured(script: ModuleType, tmp_path: Path) -> None:
    elsewhere = write_checkout(tmp_path / "elsewhere", 1.0, "whisper_npu.host.gemm")
    command = [sys.executable, str(SCRIPT), "--side", "window", "--model", "tiny", "--threads", "1"]
    done = subprocess.run(
        [*command, "--checkout", str(tmp_path / "asked for")],
        capture_output=True,
        text=True,
        input="",
        env={"PYTHONPATH": str(elsewhere)},
    )
    assert done.returncode == 1
    assert f"not from {tmp_path / 'asked for'}" in done.stderr


def test_a_side_that_ends_is_an_error(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    that = write_checkout(tmp_path, 1.0, "whisper_npu.host.gemm")
    (that / "whisper_npu/benchmark/window.py").write_text("raise SystemExit(3)\n", "utf-8")
    with pytest.raises(SystemExit, match="that checkout ended with status 3"):
        compare(script, monkeypatch, capsys, "--model", "tiny", "--against", str(that))


@pytest.mark.parametrize("options", [["--kernel", "auto"], ["--audio", "talk.wav"], []])
def test_what_makes_no_sense_is_refused(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--against", str(tmp_path), *options])
    with pytest.raises(SystemExit) as caught:
        script.main()
    assert caught.value.code == 2


@pytest.mark.slow
def test_random_weights_beside_ctranslate2(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "random:tiny", "--kernel", "auto"]
    peer, ours = compare(script, monkeypatch, capsys, *options)
    assert peer[:2] == ["random:tiny", "CTranslate2"]
    assert ours[:2] == ["random:tiny", "auto"]
    for row in (peer, ours):
        assert all(float(seconds) > 0 for seconds in row[2:4])
    assert float(ours[4]) == pytest.approx(float(ours[2]) / float(peer[2]), rel=0.02)


@pytest.mark.slow
def test_a_checkout_beside_itself(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = compare(script, monkeypatch, capsys, "--model", "tiny", "--against", str(script.ROOT))
    assert [float(row[5]) > 0 for row in rows] == [True, True]
