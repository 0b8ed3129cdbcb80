"""Subtitles and json beside whisper-ctranslate2's and openai/whisper's, whose outputs are stored.

tests/goldens/peer_cues.json holds them; its `made_by` says which versions wrote them. To make it anew see
scripts/compare_cues.py.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.weights import require_weights

ROOT = Path(__file__).parents[2]
GOLDENS = json.loads((ROOT / "tests/goldens/peer_cues.json").read_text(encoding="utf-8"))
RECORDINGS: dict[str, Any] = GOLDENS["recordings"]
COMMAND = "whisper-ctranslate2"
WRITERS = "openai/whisper's writers"
CASES = (
    "plain",
    "word-timed",
    "width",
    "width and lines",
    "words",
    "highlighted",
    "highlighted, width and lines",
)
TOLERANCE = 0.05  # seconds by which a word may begin or end earlier or later with this project's encoder


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_cues", ROOT / "scripts/compare_cues.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def stored(script: ModuleType, recording: str, side: str, case: str) -> Any:
    golden = RECORDINGS[recording]
    return script.cut(script.read_cues(golden["srt"][side][case]), golden["duration"])


def test_the_goldens_are_of_every_sample_and_case(script: ModuleType) -> None:
    assert {path.name for path in SAMPLES.glob("*.wav")} | {script.JOINED} == set(RECORDINGS)
    assert [case.name for case in script.CASES] == list(CASES)
    for golden in RECORDINGS.values():
        assert {side: tuple(files) for side, files in golden["srt"].items()} == {
            COMMAND: CASES,
            WRITERS: CASES,
        }


@pytest.mark.parametrize("side", [COMMAND, WRITERS])
@pytest.mark.parametrize("number", range(len(CASES)), ids=CASES)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_peers_own_words_give_the_peers_cues(
    script: ModuleType, recording: str, number: int, side: str
) -> None:
    case, golden = script.CASES[number], RECORDINGS[recording]
    document = golden["documents"]["word-timed" if case.words else "plain"]
    transcript = script.as_transcript(document, golden["duration"])
    cues = stored(script, recording, side, case.name)
    assert cues
    for fmt in ("srt", "vtt"):
        assert script.our_cues(transcript, fmt, case) == cues


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_peers_json_is_written_as_it_was_read(script: ModuleType, recording: str) -> None:
    golden = RECORDINGS[recording]
    for document in golden["documents"].values():
        ours = script.our_document(script.as_transcript(document, golden["duration"]))
        without_none = script.document_of_openai(document)
        assert script.different_fields(ours, without_none, 0.011) == ""  # cut at the end of sns-0880


def test_a_difference_is_found_and_described(script: ModuleType) -> None:
    cues = stored(script, script.JOINED, COMMAND, "width and lines")
    assert script.first_difference(cues, cues, 0) == ""
    later = [cues[0], cues[1]._replace(end=cues[1].end + 20), *cues[2:]]
    assert script.first_difference(later, cues, 0).startswith("cue 2: ours Cue(start=")
    assert script.first_difference(later, cues, 0.02) == ""
    assert "cue 1" in script.first_difference([cues[0]._replace(text="No."), *cues[1:]], cues, 9)
    assert script.first_difference(cues[1:], cues, 1e9).startswith("cue 1")
    assert script.first_difference(cues[:-1], cues, 0) == f"{len(cues) - 1} cues, its {len(cues)}"


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        ({"text": "a", "segments": [{"end": 1.0, "tokens": [1, 2]}]}, ""),
        ({"text": "a", "segments": [{"end": 1.04, "tokens": [1, 2]}], "duration": 1}, ""),
        ({"text": "b", "segments": []}, "text: ours 'b', its 'a'"),
        ({"text": "a", "segments": []}, "segments: 0, its 1"),
        ({"text": "a", "segments": [{"tokens": [1, 2]}]}, "segments.0.end is missing"),
        ({"text": "a", "segments": [{"end": 1.2, "tokens": [1, 2]}]}, "segments.0.end: ours 1.2, its 1.0"),
        ({"text": "a", "segments": [{"end": 1.0, "tokens": [1, 3]}]}, "segments.0.tokens.1: ours 3, its 2"),
    ],
)
def test_a_field_that_differs_is_named(script: ModuleType, ours: Any, reason: str) -> None:
    theirs = {"text": "a", "segments": [{"id": 1, "end": 1.0, "tokens": [1, 2]}]}
    assert script.different_fields(ours, theirs, 0.05) == reason


def test_clocks_with_and_without_hours_are_read(script: ModuleType) -> None:
    assert script.milliseconds("01:02.003") == script.milliseconds("00:01:02,003") == 62_003
    assert script.milliseconds("100:00:00.000") == 360_000_000
    content = "WEBVTT\n\n00:01.000 --> 00:02.000\na &lt; b\nc\n\n"
    assert script.read_cues(content) == [script.Cue(1000, 2000, "a < b\nc")]
    assert script.read_cues("WEBVTT\n\n") == script.read_cues("") == []


@pytest.mark.weights
@pytest.mark.slow
def test_the_samples_give_the_peers_cues_and_fields(script: ModuleType, tmp_path: Path) -> None:
    recordings = {
        False: SAMPLES / "sns-0930.wav",
        True: script.joined_samples(tmp_path / script.JOINED),  # every sample, several segments
    }
    wanted = [(recording, words) for words, recording in recordings.items()]
    transcripts = script.transcribed(require_weights("tiny.en"), wanted, "float32", "en")
    for case in script.CASES:
        recording = recordings[case.words]
        ours = script.our_cues(transcripts[str(recording), case.words], "srt", case)
        for side in (COMMAND, WRITERS):
            theirs = stored(script, recording.name, side, case.name)
            assert script.first_difference(ours, theirs, TOLERANCE) == "", case.name
    for words, recording in recordings.items():
        document = script.our_document(transcripts[str(recording), words])
        documents = RECORDINGS[recording.name]["documents"]
        its = script.document_of_openai(documents["word-timed" if words else "plain"])
        assert script.different_fields(document, its, TOLERANCE) == "", recording.name
