"""Journals: what is read of one, and what of one that is damaged, hostile or of another work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whisper_npu.apps.cli.journal import Begun, Journal, JournalError, identity, journal_path, read_journal
from whisper_npu.transcription.resume import ResumePoint
from whisper_npu.transcription.transcript import Segment, Word

BEGUN = Begun({"bytes": 1}, {"weights": "w"}, {"beam_size": 5})
WORD = Word(0.0, 1.5, " the", 0.9)


def segment(number: int) -> Segment:
    return Segment(number, 3000 * number, 0.0, 2.0, " the \ud83d\u20ac", (1, 2), -0.1, 0.0, 1.0, 0.0, (WORD,))


def point(n_segments: int) -> ResumePoint:
    return ResumePoint(n_segments, 3000 * n_segments, 30.0 * n_segments, (5, 6), 1.5, "en", 0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two windows."""
    found = tmp_path / "talk.partial.jsonl"
    journal = Journal(found, BEGUN)
    for number in range(2):
        journal.append([segment(number)], point(number + 1))
    journal.close()
    return found


def test_what_was_written_is_read(path: Path) -> None:
    kept = read_journal(path, BEGUN)
    assert kept is not None
    assert kept.segments == (segment(0), segment(1))
    assert kept.point == point(2)
    assert kept.n_bytes == path.stat().st_size
    assert os.listdir(path.parent) == [path.name]


def test_nothing_is_made_before_the_first_window(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "talk.partial.jsonl", BEGUN)
    journal.close()
    assert os.listdir(tmp_path) == []
    assert read_journal(journal.path, BEGUN) is None


@pytest.mark.parametrize("n_bytes", [1, 20, 150])
def test_an_incomplete_last_line_is_left_out_and_written_over(n_bytes: int, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-n_bytes])
    kept = read_journal(path, BEGUN)
    assert kept is not None
    assert kept.point == point(1)
    journal = Journal(path, BEGUN)
    journal.go_on_from(kept)
    assert journal.is_there
    journal.append([segment(1)], point(2))
    journal.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"recording": {"bytes": 2}}, "the recording is another one"),
        ({"recording": None}, "the recording is another one"),
        ({"model": {"weights": "v"}}, "another model"),
        ({"options": {"beam_size": 1}}, "other options"),
        ({"version": "0.0.1"}, "began it"),
    ],
)
def test_a_journal_of_another_work_is_refused(changed: dict[str, Any], why: str, path: Path) -> None:
    with pytest.raises(JournalError, match=why):
        read_journal(path, replace(BEGUN, **changed))


def changed_line(number: int, change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        lines = [json.loads(line) for line in content.splitlines()]
        change(lines[number])
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    return changed


def in_segment(**values: object) -> Callable[[bytes], bytes]:
    return changed_line(1, lambda line: line["segments"][0].update(values))


def in_point(**values: object) -> Callable[[bytes], bytes]:
    return changed_line(2, lambda line: line["point"].update(values))


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda content: b"[" * 200_000 + b"\n" + content, id="deep"),
        pytest.param(lambda content: content + b'{"a":' * 200_000 + b"\n", id="deep line"),
        pytest.param(lambda content: content + b"9" * 5000 + b"\n", id="digits"),
        pytest.param(lambda content: content + b" " * (17 << 20), id="long line"),
        pytest.param(lambda content: content.replace(b"\n", b"\n\n", 1), id="empty line"),
        pytest.param(lambda content: content.replace(b"the", b"\xff\xfe", 1), id="no text"),
        pytest.param(lambda _: b"null\n", id="no object"),
        pytest.param(lambda content: content.replace(b"journal 1", b"journal 9"), id="later format"),
        pytest.param(changed_line(0, lambda line: line.pop("begun")), id="no begin"),
        pytest.param(changed_line(0, lambda line: line["begun"].update(more=1)), id="more"),
        pytest.param(changed_line(1, lambda line: line.pop("segments")), id="no segments"),
        pytest.param(changed_line(1, lambda line: line["segments"].clear()), id="missing segment"),
        pytest.param(changed_line(1, lambda line: line.update(point=[])), id="point"),
        pytest.param(in_point(n_segments=7), id="count"),
        pytest.param(in_point(tokens=None), id="no tokens"),
        pytest.param(in_point(tokens=["a"]), id="tokens"),
        pytest.param(in_point(seconds=float("nan")), id="NaN seconds"),
        pytest.param(in_point(surprise=1), id="surprise"),
        pytest.param(in_segment(text=None), id="text"),
        pytest.param(in_segment(tokens=[1.5]), id="token"),
        pytest.param(in_segment(tokens={"a": 1}), id="token object"),
        pytest.param(in_segment(start="0"), id="start"),
        pytest.param(in_segment(start=True), id="bool"),
        pytest.param(in_segment(end=float("inf")), id="infinity"),
        pytest.param(in_segment(end=10**400), id="huge"),
        pytest.param(in_segment(id=5), id="order"),
        pytest.param(in_segment(words=[{}]), id="word"),
        pytest.param(in_segment(more=1), id="more in a segment"),
    ],
)
def test_a_damaged_journal_is_one_line(damaged: Callable[[bytes], bytes], path: Path) -> None:
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(JournalError) as caught:
        read_journal(path, BEGUN)
    message = str(caught.value)
    assert message.startswith("its journal is ")
    assert len(message) < 300
    assert "\n" not in message


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(JournalError, match="its journal"):
            read_journal(tmp_path / name, BEGUN)


def test_a_link_in_its_place_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "other"
    target.write_text("mine")
    link = tmp_path / "talk.partial.jsonl"
    link.symlink_to(target)
    journal = Journal(link, BEGUN)
    journal.append([segment(0)], point(1))
    journal.remove()
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["other"]


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = path.read_bytes()
    kept = read_journal(path, BEGUN)
    journal = Journal(path, BEGUN)
    journal.go_on_from(kept)
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) - 40])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append([segment(2)], point(3))
    journal.close()
    assert path.read_bytes() == whole


def test_a_recording_is_known_by_its_content(tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(bytes(5 << 20))
    known, times = identity(str(recording)), (recording.stat().st_atime_ns, recording.stat().st_mtime_ns)
    assert identity(str(recording)) == known
    for place in (0, (5 << 19), (5 << 20) - 1):
        with recording.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        os.utime(recording, ns=times)
        assert identity(str(recording)) != known
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        identity(str(tmp_path / "pipe"))


def test_two_runs_do_not_write_one_journal(path: Path) -> None:
    kept = read_journal(path, BEGUN)
    first = Journal(path, BEGUN)
    first.go_on_from(kept)
    with pytest.raises(JournalError, match="another run of whisper-npu is writing its journal"):
        Journal(path, BEGUN)
    first.append([segment(2)], point(3))
    with pytest.raises(JournalError, match="another run"):
        Journal(path, BEGUN)
    first.close()
    second = Journal(path, BEGUN)
    path.unlink()
    third = Journal(path, BEGUN)
    third.append([segment(0)], point(1))
    second.remove()  # it is another one's
    assert path.exists()
    third.remove()
    assert os.listdir(path.parent) == []


def test_two_runs_that_find_no_journal_do_not_write_one(tmp_path: Path) -> None:
    path = tmp_path / "talk.partial.jsonl"
    first, second = Journal(path, BEGUN), Journal(path, BEGUN)
    first.append([segment(0)], point(1))
    with pytest.raises(OSError, match="another run of whisper-npu is writing its journal"):
        second.append([segment(0)], point(1))
    second.remove()
    assert os.listdir(tmp_path) == [path.name]
    first.append([segment(1)], point(2))
    first.close()
    kept = read_journal(path, BEGUN)
    assert kept is not None
    assert len(kept.segments) == 2


def test_it_lies_beside_the_outputs() -> None:
    assert journal_path(Path("out/talk.final.srt")) == Path("out/talk.final.partial.jsonl")
    long = [journal_path(Path(f"{'a' * 249}{end}.json")) for end in "bc"]
    assert long[0] != long[1]
    assert all(len(path.name) <= 255 for path in long)
