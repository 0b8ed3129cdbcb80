"""A recording of any length takes as much memory as a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 44_100
GROWTH = 30  # MB; one copy of the samples by which the recordings differ takes 46, their log-mel 23

PROGRAM = """
import resource, sys
from pathlib import Path
from tests.support.scripted_decoder import SILENT, ScriptedDecoder, small_model
from whisper_npu.transcription.options import TranscribeOptions

class Endless(list):
    def pop(self, place):
        return SILENT

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

folder, short, long, options = sys.argv[1:]
with small_model(Path(folder)) as model:
    scripted = ScriptedDecoder(model)
    scripted.windows = Endless()
    model._whisper.model = scripted
    options = eval(options, {"TranscribeOptions": TranscribeOptions})
    for _ in range(2):
        model.transcribe(short, options)
    before = peak()
    model.transcribe(long, options)
    print(len(scripted.prompts), peak() - before)
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """3 minutes, more than the voice check hears at once, and 15: speech, with pauses, again and again."""
    folder = tmp_path_factory.mktemp("long")
    samples = Path(__file__).parents[3] / "samples"
    speech = [soundfile.read(path, dtype="float32")[0] for path in sorted(samples.glob("*.wav"))]
    minute = np.resize(np.concatenate([part for one in speech for part in (one, one * 0)]), 60 * RATE)
    paths = folder / "short.flac", folder / "long.flac"
    for path, minutes in zip(paths, (3, 15), strict=True):
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(minutes):
                file.write(minute)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", "batch_size=2"])
def test_memory_does_not_depend_on_the_length(
    recordings: tuple[Path, Path], options: str, tmp_path: Path
) -> None:
    short, long = recordings
    given = [str(tmp_path), str(short), str(long), f"TranscribeOptions({options})"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *given],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    n_windows, grown = done.stdout.split()
    assert int(n_windows) > 20
    assert float(grown) < GROWTH, f"{grown} MB"
