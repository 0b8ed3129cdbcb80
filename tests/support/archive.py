"""An archive's work in one process, without Ray: recordings, and a model that is loaded at once.

    python -m tests.support.archive OUT MODEL PART_SECONDS RECORDING...

does all of it with a decoder that says what depends on the sound, and prints a line after each task.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.handing import Handing
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.tasks import Done, Failed
from whisper_npu.apps.archive.worker import Worker
from whisper_npu.dtypes import F32

RATE = 16_000
WINDOW_SECONDS = 3
WORDS = (" the", " an", " th", " than", " anthe", " a", " ant", " hen")


class HearingDecoder(ScriptedDecoder):
    """Says words that depend on what the encoder has heard, and on nothing else."""

    def generate(self, encoded: Any, prompts: list[list[int]], **options: Any) -> list[SimpleNamespace]:
        self.windows = [said_of(one) for one in np.array(encoded)]
        return super().generate(encoded, prompts, **options)


def said_of(encoded: F32) -> Window:
    """encoded: (n_audio_ctx, n_audio_state)"""
    digest = sha256(encoded.tobytes()).digest()
    first, second = (WORDS[byte % len(WORDS)] for byte in digest[:2])
    return Window([(0.0, first, 1.5), (1.5, second, WINDOW_SECONDS)])


def model_folder(folder: Path, *, multilingual: bool = True) -> str:
    """A small random model of windows of 3 s, which knows English, German and Hawaiian, or English only."""
    small_model(folder, multilingual=multilingual, n_audio_ctx=WINDOW_SECONDS * 50).close()
    return str(folder / "hf")


class HearingWorker(Worker):
    """A worker whose decoder says what depends on the sound; all around it is real."""

    def __init__(self, asked: AskedArchive) -> None:
        super().__init__(asked)
        self.model = self._model
        self.decoder = HearingDecoder(self.model)
        self.model._whisper.model = self.decoder


def noise(seconds: float, seed: int = 0) -> F32:
    """(n_samples,) float32, different everywhere, so that no window is mistaken for another."""
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE), dtype=np.float32) / 10


def recording(path: Path, samples: F32, language: str | None = None) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return source(path, language)


def source(path: Path, language: str | None = None) -> Source:
    return Source(path.name, str(path), "1", path.stem, language)


def work(worker: Worker, sources: Sequence[Source]) -> list[Done | Failed]:
    """All of it, in the order in which a run with one worker hands it out."""
    handing = Handing(sources)
    ended = []
    while (task := handing.next()) is not None:
        if (end := handing.came(task, worker.do(task))) is not None:
            ended.append(end)
    return ended


def done_alone(worker: Worker, one: Source) -> Done:
    (outcome,) = work(worker, [one])
    assert isinstance(outcome, Done), outcome
    return outcome


def main(out: str, model: str, part_seconds: str, *recordings: str) -> None:
    asked = AskedArchive(
        out=out,
        model=model,
        device="emulator",
        compute_type="float32",
        part_minutes=float(part_seconds) / 60,
        formats=("srt", "json"),
        threads=1,
    )
    handing = Handing([source(Path(one)) for one in recordings])
    with HearingWorker(asked) as worker:
        while (task := handing.next()) is not None:
            handing.came(task, worker.do(task))
            print(type(task).__name__, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
