"""One model in one process, and all that may come of a task."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archive import (
    RATE,
    WINDOW_SECONDS,
    HearingWorker,
    done_alone,
    model_folder,
    noise,
    recording,
    source,
    work,
)
from whisper_npu.apps.archive import reading
from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.handing import Handing
from whisper_npu.apps.archive.ledger import Ledger
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.storage import Storage, StorageError
from whisper_npu.apps.archive.tasks import Begin, Cut, Done, Failed, Join, PartDone, Task, Transcribe
from whisper_npu.apps.archive.worker import Worker
from whisper_npu.audio import load_audio
from whisper_npu.encoder import AudioEncoder
from whisper_npu.errors import (
    DeviceError,
    DispatchError,
    MissingPackageError,
    UnknownModelError,
    UsageError,
)
from whisper_npu.output import Layout, render
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.transcript import Segment

PART_SECONDS = 3.0
SAMPLES = Path(__file__).parents[4] / "samples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def asked(model: str, tmp_path: Path) -> AskedArchive:
    return AskedArchive(
        out=str(tmp_path / "out"),
        model=model,
        device="emulator",
        compute_type="float32",
        part_minutes=PART_SECONDS / 60,
        formats=("srt", "json"),
    )


@pytest.fixture
def working(asked: AskedArchive) -> Iterator[Callable[..., HearingWorker]]:
    """Opens workers, with other settings than `asked` has, and closes them."""
    opened: list[HearingWorker] = []

    def open_one(**changes: Any) -> HearingWorker:
        opened.append(HearingWorker(replace(asked, **changes)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def with_options(**options: Any) -> dict[str, Any]:
    return {"options": TranscribeOptions(**options)}


def written(asked: AskedArchive, name: str) -> str:
    return (Path(asked.out) / name).read_text("utf-8")


def cut_by(worker: Worker, one: Source) -> Cut:
    outcome = worker.do(Begin(one))
    assert isinstance(outcome, Cut), outcome
    return outcome


def prompts_of(worker: HearingWorker) -> list[str]:
    """What the decoder was given before each window, as text."""
    return [worker.decoder.text(prompt) for prompt in worker.decoder.prompts]


# Short recordings


def test_a_short_recording_is_written_as_transcribe_writes_it(
    working: Callable[..., HearingWorker], asked: AskedArchive, tmp_path: Path
) -> None:
    worker = working(formats=("txt", "srt", "json"))
    one = recording(tmp_path / "a.wav", noise(4.5))
    done = done_alone(worker, one)
    alone = worker.model.transcribe(tmp_path / "a.wav")
    assert len(alone.segments) > 1
    for fmt in ("txt", "srt", "json"):
        assert written(asked, f"a.{fmt}") == render(alone.transcript, fmt)
    line = json.loads(done.line)
    assert line["name"] == "a.wav"
    assert line["files"] == ["a.txt", "a.srt", "a.json"]
    assert line["text"] == alone.text.strip()
    assert (line["language"], line["language_probability"]) == ("de", 0.75)
    assert line["duration"] == done.audio_seconds == 4.5
    assert (line["parts"], line["warnings"], line["model"]) == (1, [], asked.model)
    assert line["dispatches"] == alone.took.encoder.stats.dispatches
    (ran_on,) = line["ran_on"]
    assert (ran_on["device"], ran_on["kernel"]) == ("emulator", alone.ran_on.kernel)
    assert ran_on["host"]
    seconds = line["seconds"]
    assert all(seconds[stage] > 0 for stage in ("audio", "mel", "encoder", "decoder"))
    assert seconds["all"] == pytest.approx(sum(seconds.values()) - seconds["all"])


def test_the_layout_is_that_of_subtitles(
    working: Callable[..., HearingWorker], asked: AskedArchive, tmp_path: Path
) -> None:
    worker = working(formats=("json",), layout=Layout(pretty_json=True))
    done_alone(worker, recording(tmp_path / "a.wav", noise(1)))
    assert "\n  " in written(asked, "a.json")


def test_warnings_are_in_the_line(working: Callable[..., HearingWorker], tmp_path: Path) -> None:
    """What is lost of the recording, and that nobody speaks, each once, of parts too."""
    worker = working()
    short = recording(tmp_path / "short.wav", noise(2))
    cut_short = tmp_path / "cut.wav"
    cut_short.write_bytes((tmp_path / "short.wav").read_bytes()[:-16_000])
    assert json.loads(done_alone(worker, short).line)["warnings"] == []
    (lost,) = json.loads(done_alone(worker, source(cut_short)).line)["warnings"]
    assert "cut short" in lost
    for name, seconds in (("silent.wav", 2), ("long.wav", 9)):
        silent = recording(tmp_path / name, np.zeros(seconds * RATE, np.float32))
        line = json.loads(done_alone(worker, silent).line)
        assert line["warnings"] == ["no speech was found: all of its samples are 0"]
        assert line["text"] == ""
        assert line["parts"] == (1 if seconds == 2 else 3)


# Long recordings


@pytest.mark.parametrize("words", [False, True])
def test_a_long_recording_is_the_text_of_its_parts(
    working: Callable[..., HearingWorker], asked: AskedArchive, tmp_path: Path, words: bool
) -> None:
    worker = working(**with_options(word_timestamps=words) if not words else {})
    samples = noise(10)
    one = recording(tmp_path / "a.wav", samples)
    cut = cut_by(worker, one)
    assert len(cut.parts) == 3
    assert [task.part for task in cut.todo] == list(cut.parts)
    done = done_alone(worker, one)
    expected: list[tuple[str, float, float]] = []
    for part in cut.parts:
        alone = worker.model.transcribe(samples[part.start : part.stop], language="de")
        shift = part.start / RATE
        expected += [(s.text, shift + s.start, shift + s.end) for s in alone.segments]
    document = json.loads(written(asked, "a.json"))
    segments = document["segments"]
    assert [segment["text"] for segment in segments] == [text for text, _, _ in expected]
    times = [(segment["start"], segment["end"]) for segment in segments]
    assert times == [pytest.approx(time) for _, *time in expected]
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    assert [s["seek"] for s in segments] == sorted(s["seek"] for s in segments)
    assert segments[-1]["seek"] >= cut.parts[-1].start // 160
    assert (document["language"], document["language_probability"]) == ("de", 0.75)
    assert document["duration"] == done.audio_seconds == 10
    line = json.loads(done.line)
    assert line["parts"] == 3
    assert len(line["ran_on"]) == 1
    assert not (Path(asked.out) / "parts").exists()


def test_words_of_parts_are_on_the_recordings_clock() -> None:
    from whisper_npu.transcription.transcript import Word

    said = Segment(0, 100, 1.0, 2.0, " a", (1,), -0.1, 0.0, 1.0, 0.0, (Word(1.0, 2.0, " a", 0.5),))
    later = said.moved(2.0)
    assert (later.seek, later.start, later.end) == (300, 3.0, 4.0)
    assert later.words == (Word(3.0, 4.0, " a", 0.5),)
    assert replace(said, words=None).moved(2.0).words is None


def test_a_recording_a_little_longer_than_a_part_is_whole(
    working: Callable[..., HearingWorker], tmp_path: Path
) -> None:
    worker = working()
    assert isinstance(worker.do(Begin(recording(tmp_path / "a.wav", noise(4.5)))), Done)
    assert isinstance(worker.do(Begin(recording(tmp_path / "b.wav", noise(4.6)))), Cut)
    whole = working(part_minutes=inf)
    assert isinstance(whole.do(Begin(recording(tmp_path / "c.wav", noise(9)))), Done)


def test_the_language_of_a_long_recording_is_detected_once(
    working: Callable[..., HearingWorker], tmp_path: Path
) -> None:
    """So that all parts are in one, whatever each alone would have."""
    worker = working()
    cut = cut_by(worker, recording(tmp_path / "a.wav", noise(9)))
    assert {(task.language, task.language_probability) for task in cut.todo} == {("de", 0.75)}
    worker.decoder.detect_language = None
    for task in cut.todo:
        assert isinstance(worker.do(task), PartDone)


def test_the_language_is_that_of_what_is_spoken_first(
    working: Callable[..., HearingWorker], tmp_path: Path
) -> None:
    """Not of the silence before it."""
    worker = working()
    heard: list[np.ndarray] = []
    detect = worker.decoder.detect_language

    def listen(encoded: Any) -> Any:
        heard.append(np.array(encoded))
        return detect(encoded)

    worker.decoder.detect_language = listen
    spoken = load_audio(SAMPLES / "sns-0870.wav")
    silence = np.zeros(33 * RATE, np.float32)  # longer than what is heard for it
    cut_by(worker, recording(tmp_path / "spoken.wav", np.concatenate([silence, spoken])))
    cut_by(worker, recording(tmp_path / "silent.wav", silence))
    worker.model.detect_language(silence)
    assert len(heard) == 3
    assert not np.array_equal(heard[0], heard[1])
    assert np.array_equal(heard[1], heard[2])


@pytest.mark.parametrize(
    ("options", "manifest", "expected", "probability"),
    [
        ({"language": "haw"}, None, "haw", 1.0),
        ({"language": "haw"}, "en", "en", 1.0),
        ({"multilingual": True}, "en", "en", 1.0),
        ({"multilingual": True}, None, None, 1.0),
        ({}, "haw", "haw", 1.0),
    ],
)
def test_a_language_that_is_given_is_not_detected(
    working: Callable[..., HearingWorker],
    tmp_path: Path,
    options: dict[str, Any],
    manifest: str | None,
    expected: str | None,
    probability: float,
) -> None:
    """That of a manifest counts more than the options'."""
    worker = working(**with_options(**options))
    cut = cut_by(worker, recording(tmp_path / "a.wav", noise(9), manifest))
    assert {(t.language, t.language_probability) for t in cut.todo} == {(expected, probability)}
    assert isinstance(worker.do(cut.todo[0]), PartDone)
    assert f"<|{expected or 'de'}|>" in prompts_of(worker)[-1]
    short = json.loads(done_alone(worker, recording(tmp_path / "b.wav", noise(2), manifest)).line)
    assert short["language"] == (expected or "de")


def test_what_parts_begin_with(working: Callable[..., HearingWorker], tmp_path: Path) -> None:
    """A prefix is how the recording begins; the prompt is what every part is to know."""
    worker = working(**with_options(prefix=" hen", initial_prompt=" than", language="en"))
    one = recording(tmp_path / "a.wav", noise(6))
    cut = cut_by(worker, one)
    prompts = []
    for task in cut.todo:
        n_before = len(prompts_of(worker))
        worker.do(task)
        prompts.append(prompts_of(worker)[n_before])
    assert [prompt.count(" hen") for prompt in prompts] == [1, 0]
    assert [prompt.count(" than") for prompt in prompts] == [1, 1]


def test_clips_are_taken_from_the_whole_recording(
    working: Callable[..., HearingWorker], tmp_path: Path
) -> None:
    worker = working(**with_options(clip_timestamps=(1, 2)))
    line = json.loads(done_alone(worker, recording(tmp_path / "a.wav", noise(9))).line)
    assert line["parts"] == 1
    failed = worker.do(Begin(recording(tmp_path / "b.wav", noise(1))))
    assert isinstance(failed, Failed)
    assert "a clip from 1 s, but the recording lasts 1.00 s" in failed.reason


def test_a_recording_is_read_once_for_parts_in_a_row(
    working: Callable[..., HearingWorker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_read = []
    open_audio = reading.open_audio
    monkeypatch.setattr(reading, "open_audio", lambda *a, **k: n_read.append(1) or open_audio(*a, **k))
    worker, other = working(), working()
    one = recording(tmp_path / "a.wav", noise(9))
    cut = cut_by(worker, one)
    for task in cut.todo[:2]:
        worker.do(task)
    assert len(n_read) == 1
    assert isinstance(other.do(cut.todo[2]), PartDone)
    assert len(n_read) == 2
    assert isinstance(other.do(Join(one, cut.parts)), Done)
    assert len(n_read) == 2  # what is stored is enough
    assert isinstance(worker.do(Begin(recording(tmp_path / "b.wav", noise(1)))), Done)
    assert worker._opened is None


# What was done before


def test_parts_that_are_there_are_not_done_again(
    working: Callable[..., HearingWorker], tmp_path: Path, asked: AskedArchive
) -> None:
    worker = working()
    one = recording(tmp_path / "a.wav", noise(9))
    cut = cut_by(worker, one)
    worker.do(cut.todo[1])
    again = cut_by(working(), one)
    assert again.parts == cut.parts
    assert [task.part for task in again.todo] == [cut.parts[0], cut.parts[2]]
    outcome = worker.do(cut.todo[1])  # given out twice
    assert outcome == PartDone(one, cut.parts[1])
    in_english = working(**with_options(language="en"))
    assert len(cut_by(in_english, one).todo) == 3
    changed = replace(one, identity="2")
    assert len(cut_by(worker, changed).todo) == 3


def damaged(document: dict[str, Any], change: str) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    segment = document["segments"][0]
    if change == "a time that is text":
        segment["start"] = "0"
    elif change == "no tokens":
        del segment["tokens"]
    elif change == "words that are none":
        segment["words"] = [1]
    elif change == "a duration that is no number":
        document["recording"]["duration"] = None
    elif change == "a stage that nobody knows":
        document["took"]["coffee"] = 1.0
    elif change == "nothing":
        return {}
    return document


@pytest.mark.parametrize(
    "change",
    [
        "a time that is text",
        "no tokens",
        "words that are none",
        "a duration that is no number",
        "a stage that nobody knows",
        "nothing",
    ],
)
def test_a_part_that_is_damaged_or_gone_is_done_again(
    working: Callable[..., HearingWorker], tmp_path: Path, asked: AskedArchive, change: str
) -> None:
    worker = working()
    one = recording(tmp_path / "a.wav", noise(9))
    expected = done_alone(working(out=str(tmp_path / "expected")), one).line
    cut = cut_by(worker, one)
    for task in cut.todo:
        worker.do(task)
    ledger = Ledger(Storage(asked.out))
    document = ledger.read_part(one, cut.parts[1])
    assert document is not None
    ledger.store_part(one, cut.parts[1], damaged(document, change))
    outcome = worker.do(Join(one, cut.parts))
    assert isinstance(outcome, Cut)
    assert outcome.todo == (Transcribe(one, cut.parts[1], "de", 0.75),)
    assert isinstance(worker.do(outcome.todo[0]), PartDone)
    done = worker.do(Join(one, outcome.parts))
    assert isinstance(done, Done)
    assert told(done.line) == told(expected)


def test_a_recording_whose_parts_are_all_gone_begins_anew(
    working: Callable[..., HearingWorker], tmp_path: Path
) -> None:
    worker = working()
    one = recording(tmp_path / "a.wav", noise(9))
    cut = cut_by(worker, one)
    assert worker.do(Join(one, cut.parts)) == cut


def test_what_is_done_is_not_done_again(
    working: Callable[..., HearingWorker], tmp_path: Path, asked: AskedArchive
) -> None:
    worker = working()
    one = recording(tmp_path / "a.wav", noise(2))
    done = done_alone(worker, one)
    assert worker.do(Begin(one)) == done
    (Path(asked.out) / "a.srt").unlink()
    assert told(done_alone(worker, one).line) == told(done.line)
    assert (Path(asked.out) / "a.srt").exists()


def told(line: str) -> dict[str, Any]:
    """What does not differ from run to run."""
    return {name: value for name, value in json.loads(line).items() if name != "seconds"}


# Recordings that fail


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
        (lambda path: path.write_bytes(b"no sound\n" * 999), "is not audio"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
    ids=["missing", "empty", "text", "folder"],
)
def test_what_is_wrong_with_one_recording_fails_alone(
    working: Callable[..., HearingWorker], tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "bad.wav"
    make(path)
    worker = working()
    failed = worker.do(Begin(source(path)))
    assert isinstance(failed, Failed)
    assert failed.reason.startswith(reason)
    assert isinstance(worker.do(Begin(recording(tmp_path / "good.wav", noise(1)))), Done)


def test_what_the_options_refuse(working: Callable[..., HearingWorker], tmp_path: Path) -> None:
    one = recording(tmp_path / "a.wav", noise(2))
    too_long = working(max_seconds=1.0).do(Begin(one))
    assert isinstance(too_long, Failed)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-16_000])
    strict = working(strict=True).do(Begin(source(tmp_path / "cut.wav")))
    assert isinstance(strict, Failed)
    assert "(strict)" in strict.reason
    unknown = working().do(Begin(replace(one, language="ja")))
    assert isinstance(unknown, Failed)
    assert "does not know Japanese" in unknown.reason
    known = working().do(Begin(replace(one, problem="talk.wav: is a named pipe")))
    assert known == Failed(replace(one, problem="talk.wav: is a named pipe"), "talk.wav: is a named pipe")


def test_a_recording_that_becomes_shorter_meanwhile(
    working: Callable[..., HearingWorker], tmp_path: Path
) -> None:
    one = recording(tmp_path / "a.wav", noise(9))
    cut = cut_by(working(), one)
    recording(tmp_path / "a.wav", noise(4))
    worker = working()
    failed = worker.do(cut.todo[2])
    assert isinstance(failed, Failed)
    assert "shorter" in failed.reason
    assert isinstance(worker.do(cut.todo[0]), PartDone)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("two\nlines"), ValueError("\x1b[2J")])
def test_an_error_that_nobody_foresaw_is_one_line(
    working: Callable[..., HearingWorker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    worker = working()

    def fail(*_: object, **__: object) -> None:
        raise error

    one = recording(tmp_path / "a.wav", noise(1))
    with monkeypatch.context() as patched:
        patched.setattr(worker.model, "transcribe", fail)
        failed = worker.do(Begin(one))
    assert isinstance(failed, Failed)
    assert failed.reason.isprintable()
    assert ("the memory is full" in failed.reason) == isinstance(error, MemoryError)
    assert isinstance(worker.do(Begin(one)), Done)


# Stores


def test_a_store_is_as_good_as_a_path(
    working: Callable[..., HearingWorker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = recording(tmp_path / "a.wav", noise(9))
    there = replace(here, url="memory://sounds/a.wav", identity="2")
    with fsspec.open("memory://sounds/a.wav", "wb") as file:
        file.write((tmp_path / "a.wav").read_bytes())
    expected = told(done_alone(working(out=str(tmp_path / "local")), here).line)
    worker = working(out="memory://out")
    assert told(done_alone(worker, there).line) == expected | {"identity": "2"}
    storage = Storage("memory://out")
    assert storage.read("a.srt") == (tmp_path / "local" / "a.srt").read_text()
    missing = worker.do(Begin(replace(there, url="memory://sounds/b.wav", name="b.wav")))
    assert isinstance(missing, Failed)
    assert missing.reason.startswith("it is not there")
    unknown = worker.do(Begin(replace(there, url="nowhere://b.wav", name="c.wav")))
    assert isinstance(unknown, Failed)

    class DeniedError(Exception):
        """Of a store's own class."""

    def deny(*_: object, **__: object) -> None:
        raise DeniedError("403 Forbidden")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.open", deny)
    denied = working(out=str(tmp_path / "local")).do(Begin(replace(there, name="d.wav")))
    assert isinstance(denied, Failed)
    assert denied.reason == "it cannot be read (403 Forbidden); check where it comes from"


def test_a_store_whose_package_is_missing_concerns_all(
    working: Callable[..., HearingWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(MissingPackageError, match="pip install s3fs"):
        working().do(Begin(Source("a", "s3://bucket/a.wav", "1", "a")))


def test_a_folder_that_cannot_be_written_concerns_all(
    working: Callable[..., HearingWorker], tmp_path: Path, asked: AskedArchive
) -> None:
    worker = working()
    Path(asked.out).write_text("a file in the folder's place")
    for seconds in (1, 9):
        one = recording(tmp_path / f"{seconds}.wav", noise(seconds))
        with pytest.raises(StorageError):
            work(worker, [one])


# Devices and models


@pytest.fixture
def encoder_fails(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of the windows to come, which ones fail; those behind do not."""
    fails: list[bool] = []
    encode = AudioEncoder.__call__

    def call(self: AudioEncoder, mel: Any) -> Any:
        if fails and fails.pop(0):
            raise DispatchError("a dispatch timed out")
        return encode(self, mel)

    monkeypatch.setattr(AudioEncoder, "__call__", call)
    return fails


def test_a_device_that_fails_once_is_asked_again(
    working: Callable[..., HearingWorker], tmp_path: Path, encoder_fails: list[bool]
) -> None:
    worker, one = working(), recording(tmp_path / "a.wav", noise(4))
    expected = told(done_alone(working(out=str(tmp_path / "expected")), one).line)
    encoder_fails += [False, True]
    assert told(done_alone(worker, one).line) == expected


def test_a_device_that_is_lost_stops_the_worker(
    working: Callable[..., HearingWorker], tmp_path: Path, encoder_fails: list[bool]
) -> None:
    worker, one = working(), recording(tmp_path / "a.wav", noise(1))
    encoder_fails += [True] * 3
    with pytest.raises(DeviceError, match="timed out"):
        worker.do(Begin(one))
    assert isinstance(worker.do(Begin(one)), Done)  # nothing is broken by that


def test_a_recording_at_which_a_device_fails_is_not_given_to_all_others(
    working: Callable[..., HearingWorker], tmp_path: Path, encoder_fails: list[bool]
) -> None:
    worker = working()
    encoder_fails += [True, True, False]
    failed = worker.do(Begin(recording(tmp_path / "a.wav", noise(1))))
    assert isinstance(failed, Failed)
    assert failed.reason.startswith("the device failed twice, in this recording alone: a dispatch timed out")
    assert encoder_fails == []


def test_a_closed_worker_has_no_device(working: Callable[..., HearingWorker], tmp_path: Path) -> None:
    worker = working()
    worker.close()
    with pytest.raises(DeviceError, match="closed"):
        worker.do(Begin(recording(tmp_path / "a.wav", noise(1))))


def test_a_worker_without_a_model(asked: AskedArchive) -> None:
    with pytest.raises(UnknownModelError):
        Worker(replace(asked, model="tiny.enn"))
    with pytest.raises(UsageError, match="does not know Japanese"):
        Worker(replace(asked, options=TranscribeOptions(language="ja")))


# Whatever happens in between


@pytest.fixture(scope="module")
def several(
    model: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AskedArchive, list[Source], dict[str, Any]]:
    """Recordings, and what one worker makes of them in order."""
    folder = tmp_path_factory.mktemp("in order")
    sources = [
        recording(folder / "long.wav", noise(8, seed=1)),
        recording(folder / "short.wav", noise(1, seed=2)),
        recording(folder / "middle.wav", noise(5, seed=3), language="en"),
        source(folder / "missing.wav"),
    ]
    asked = AskedArchive(
        out=str(folder / "out"),
        model=model,
        device="emulator",
        compute_type="float32",
        part_minutes=PART_SECONDS / 60,
        formats=("srt",),
    )
    with HearingWorker(asked) as worker:
        work(worker, sources)
    expected = contents(folder / "out")
    assert len(expected) == 6
    return asked, sources, expected


@settings(max_examples=3)
@given(st.data())
def test_whatever_the_order_and_whoever_is_lost_the_result_is_the_same(
    several: tuple[AskedArchive, list[Source], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    """Tasks in any order, some done twice, some by workers that end before they tell."""
    asked, sources, expected = several
    folder = tmp_path_factory.mktemp("any order")
    asked = replace(asked, out=str(folder / "out"))
    handing, ledger = Handing(sources), Ledger(Storage(asked.out))
    ledger.open(asked.settings(), sources, ())
    worker = HearingWorker(asked)
    left = 2  # workers that may be lost
    in_hand: list[Task] = []
    ended: list[Done | Failed] = []
    while not handing.is_done:
        while len(in_hand) < 3 and (task := handing.next()) is not None:
            in_hand.append(task)
        task = in_hand.pop(data.draw(st.integers(0, len(in_hand) - 1), label="task"))
        what = data.draw(st.sampled_from(["told", "told", "told", "twice", "lost"]), label="what")
        outcome = worker.do(task)
        if what == "lost" and left:
            left -= 1
            worker.close()
            worker = HearingWorker(asked)
            assert handing.died(task, "its process ended") is None
            continue
        if what == "twice" and not isinstance(outcome, Failed):
            again = worker.do(task)
            if isinstance(outcome, Cut):  # the second time less is left, or nothing
                again = replace(again, todo=outcome.todo)
            assert again == outcome or isinstance(task, Join)
        if (end := handing.came(task, outcome)) is not None:
            ended.append(end)
    worker.close()
    assert sorted(one.source.name for one in ended) == sorted(one.name for one in sources)
    ledger.close([one for one in ended if isinstance(one, Failed)])
    assert contents(folder / "out") == expected
    lines = (folder / "out" / "results.jsonl").read_text("utf-8").splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == sorted(one.name for one in sources)


def contents(out: Path) -> dict[str, Any]:
    """Transcripts as they are, and records without seconds."""
    found: dict[str, Any] = {}
    for path in out.rglob("*"):
        if path.suffix == ".srt":
            found[path.name] = path.read_text("utf-8")
        elif path.parent.name == "done":
            found[path.name] = told(path.read_text("utf-8"))
    return found


# What is asked for


def test_what_is_asked_for_crosses_between_processes(asked: AskedArchive) -> None:
    full = replace(asked, **with_options(temperature=0, language="German"))
    assert pickle.loads(pickle.dumps(full)) == full
    assert len({full, pickle.loads(pickle.dumps(full))}) == 1


def test_settings_are_all_that_decides_the_text(asked: AskedArchive) -> None:
    found = json.loads(json.dumps(asked.settings(), allow_nan=False))
    assert found == asked.settings()
    same = replace(
        asked,
        out="elsewhere",
        threads=1,
        max_seconds=1.0,
        model_dir="/models",
        local_files_only=True,
        timeout=1.0,
        check_results="all",
        on_device_error="emulate",
    )
    assert same.settings() == found
    assert (
        replace(asked, formats=("txt", "srt")).settings() == replace(asked, formats=("srt", "txt")).settings()
    )
    for change in (
        {"model": "base"},
        {"device": "npu"},
        {"kernel": "64x64"},
        {"compute_type": "int8"},
        {"formats": ("txt",)},
        {"part_minutes": inf},
        {"audio_track": 2},
        {"strict": True},
        {"layout": Layout(pretty_json=True)},
        with_options(beam_size=1),
    ):
        other = replace(asked, **change).settings()
        assert len({name for name in other if other[name] != found[name]}) == 1, change
    assert replace(asked, device="CPU").settings() == found


def test_paths_mean_the_same_in_every_process(
    asked: AskedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my", "base", "kernels"):
        (tmp_path / name).mkdir()
    found = replace(asked, out="out", model="my", model_dir="models", kernels=("kernels",))
    paths = (found.out, found.model, found.model_dir, *found.kernels)
    assert paths == tuple(str(tmp_path / name) for name in ("out", "my", "models", "kernels"))
    assert replace(asked, model="base").model == "base"  # as for `load_model`, whatever lies here
    assert replace(asked, model="./base").model == str(tmp_path / "base")
    assert replace(asked, out="memory://out").out == "memory://out"


def test_values_that_cannot_be_meant(asked: AskedArchive) -> None:
    for minutes in (0, -1, 0.01, float("nan")):
        with pytest.raises(UsageError, match="part_minutes is"):
            replace(asked, part_minutes=minutes)
    with pytest.raises(UsageError, match="unknown output format"):
        replace(asked, formats=("doc",))
    with pytest.raises(UsageError, match="word_timestamps"):
        replace(asked, layout=Layout(max_line_width=20))
    with pytest.raises(UsageError, match="unknown device"):
        replace(asked, device="tpu")
    assert WINDOW_SECONDS <= PART_SECONDS
