"""README, docs/library.md and samples/: every example in Python, run as a reader would."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.weights import require_weights

ROOT = Path(__file__).parents[2]


@pytest.mark.weights
@pytest.mark.parametrize(
    ("page", "n_said", "written"),
    [
        ("docs/library.md", 4, {"talk.vtt", "talk.srt", "report.json"}),
        ("docs/live.md", 2, set()),
        ("README.md", 0, {"talk.srt"}),
    ],
)
def test_the_page_runs_from_top_to_bottom(page: str, n_said: int, written: set[str], tmp_path: Path) -> None:
    """n_said: the comments behind a print, which say what is printed."""
    require_weights("tiny.en")
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    shutil.copy(ROOT / "README.md", tmp_path)
    program = "\n".join(
        re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("amiable") >= 1
    said = re.findall(r"print\(.*\) +# (.*?)(?:; \.\.\.)?$", program, re.MULTILINE)
    assert len(said) == n_said
    for text in said:
        assert text in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"samples", "README.md", *written}


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
