"""A recording of any length takes as much memory as a short one, and none once it is transcribed."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import soundfile

from tests.support.live_speech import sentence
from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.audio import InMemory, Sound
from whisper_npu.errors import CancelledError
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

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


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with small_model(tmp_path_factory.mktemp("small")) as model:
        model._whisper.model = decoder = ScriptedDecoder(model)
        decoder.windows = [Window([(0.0, " the", 1.0)])] * 100
        yield model


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(),
        TranscribeOptions(vad_filter=True),
        TranscribeOptions(batch_size=2),
    ],
    ids=["plain", "voice check", "batches"],
)
@pytest.mark.parametrize("how", ["whole", "one segment", "cancelled", "cancelled in the middle"])
def test_nothing_waits_for_garbage_collection(
    small: Model, options: TranscribeOptions, how: str, no_collection: None
) -> None:
    """Else a server, or somebody who listens, keeps a megabyte for each line that was said."""
    said = sentence(1)
    sound = Sound("quiet beside loud", InMemory(np.concatenate([said, 0 * said, said / 300])))
    kept = weakref.ref(sound.kept_in)
    cancelled = Event()
    if how == "cancelled":
        cancelled.set()
    with suppress(CancelledError), small.stream(sound, options, cancelled=cancelled) as stream:
        for _ in stream:
            if how == "cancelled in the middle":
                cancelled.set()
            if how == "one segment":
                break
    del sound
    assert kept() is None
