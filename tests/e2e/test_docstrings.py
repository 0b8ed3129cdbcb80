"""The examples in docstrings of the public names, run as they stand."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest

import whisper_npu
from tests.support.weights import require_weights

ROOT = Path(__file__).parents[2]
PUBLIC = [getattr(whisper_npu, name) for name in whisper_npu.__all__ if name != "__version__"]
EXAMPLES = sorted(
    (
        example
        for public in PUBLIC
        for example in doctest.DocTestFinder(exclude_empty=True).find(
            public, globs={}, module=sys.modules[public.__module__]
        )
        if example.examples
    ),
    key=lambda example: example.name,
)


def test_there_are_examples() -> None:
    names = {example.name for example in EXAMPLES}
    assert {"load_model", "Model.transcribe", "Stream", "Transcription"} <= names


@pytest.mark.weights
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_prints_what_it_says(example: doctest.DocTest, monkeypatch: pytest.MonkeyPatch) -> None:
    require_weights("tiny.en")
    monkeypatch.chdir(ROOT)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
