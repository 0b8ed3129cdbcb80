"""docs/library.md and samples/: every example, run as a reader would."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.weights import require_weights

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/library.md"


@pytest.mark.weights
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    require_weights("tiny.en")
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    shutil.copy(ROOT / "README.md", tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 8
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # What the page says in comments behind a print is what is printed.
    said = re.findall(r"print\(.*\) +# (.*?)(?:; \.\.\.)?$", "\n".join(blocks), re.MULTILINE)
    assert len(said) == 4
    for text in said:
        assert text in done.stdout
    assert (tmp_path / "talk.vtt").read_text(encoding="utf-8").startswith("WEBVTT")
    assert (tmp_path / "report.json").is_file()


def test_attention_in_a_model_of_ones_own() -> None:
    sample = ROOT / "samples/attention_in_your_model.py"
    done = subprocess.run([sys.executable, sample], capture_output=True, text=True, check=True)
    assert re.match(r"\(700, 384\) by [1-9]\d* dispatches on .+\n$", done.stdout)


USER = """
from pathlib import Path
from whisper_npu import Segment, Transcription, load_model

def texts(path: Path) -> list[str]:
    with load_model("tiny.en", device="emulator") as model:
        result: Transcription = model.transcribe(path, language="en", beam_size=1)
        segments: tuple[Segment, ...] = result.segments
        with model.stream(path, temperature=[0.0, 0.5]) as stream:
            for segment in stream:
                reveal_type(segment.words)
        result.save("a.srt", max_line_width=42)
        {wrong}
        return [segment.text for segment in segments]
"""


@pytest.mark.slow
def test_a_users_type_checker_knows_the_package(tmp_path: Path) -> None:
    """mypy must be told nothing about the package, and must find what is wrong."""

    def checked(wrong: str) -> str:
        (tmp_path / "user.py").write_text(USER.format(wrong=wrong), encoding="utf-8")
        mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}/cache"]
        return subprocess.run(
            [*mypy, "user.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        ).stdout

    right = checked("pass")
    assert 'Revealed type is "tuple[whisper_npu.transcription.transcript.Word, ...] | None"' in right
    assert "Success" in right
    assert 'Unexpected keyword argument "beam_sise"' in checked("model.transcribe(path, beam_sise=1)")
