"""Ledger: each recording is done once, whatever is killed when, and nothing is taken for done that is not."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_npu.apps.archive.inputs import find_sources
from whisper_npu.apps.archive.ledger import Ledger
from whisper_npu.apps.archive.sources import MISSING, Source
from whisper_npu.apps.archive.stems import record_key, stems
from whisper_npu.apps.archive.storage import Storage, TargetFullError
from whisper_npu.apps.archive.tasks import Failed, Part
from whisper_npu.errors import OutputError, UsageError

SETTINGS = {"model": "tiny.en", "formats": ["txt", "srt"], "options": {"beam_size": 5, "language": None}}


@pytest.fixture(params=["local", "memory", "moody"])
def storage(request, tmp_path, memory, moody) -> Storage:
    urls = {"local": str(tmp_path / "out"), "memory": "memory://out/x", "moody": "moody://out/x"}
    return Storage(urls[request.param])


@pytest.fixture
def folder(tmp_path) -> Storage:
    return Storage(str(tmp_path / "out"))


def sources(*names: str, state: str = "1") -> tuple[Source, ...]:
    return tuple(
        Source(name, f"/in/{name}", state, stem) for name, stem in zip(names, stems(names), strict=True)
    )


def files_of(source: Source, text: str = "") -> dict[str, str]:
    return {f"{source.stem}.{fmt}": f"{fmt} of {source.name} {text}\n" for fmt in ("txt", "srt")}


def store(storage: Storage, source: Source, text: str = "") -> str:
    """As a worker does, in a ledger of its own."""
    return Ledger(storage).store(source, files_of(source, text), {"text": source.name + text})


def run(
    storage: Storage, given: Sequence[Source], broken: Mapping[str, str] | None = None, text: str = ""
) -> list[str]:
    """A whole run; the names of what it did."""
    ledger = Ledger(storage)
    opened = ledger.open(SETTINGS, given, ())
    failed = [Failed(one, (broken or {})[one.name]) for one in opened.todo if one.name in (broken or {})]
    good = [one for one in opened.todo if one.name not in (broken or {})]
    for source in good:
        ledger.landed(store(storage, source, text))
    ledger.close(failed)
    return [source.name for source in good]


def results(storage: Storage) -> list[dict[str, object]]:
    return [json.loads(line) for line in (storage.read("results.jsonl") or "").splitlines()]


def done_names(storage: Storage) -> list[object]:
    return [line["name"] for line in results(storage) if "error" not in line]


# Once, and no more


def test_a_run_does_all_and_the_next_one_nothing(storage):
    given = sources("b.wav", "talks/a.wav", "é\udce9.wav")
    assert run(storage, given) == ["b.wav", "talks/a.wav", "é\udce9.wav"]
    for source in given:
        for name, text in files_of(source).items():
            assert storage.read(name) == text.replace("\udce9", "?")
    assert [line["name"] for line in results(storage)] == [source.name for source in given]
    assert [line["text"] for line in results(storage)] == [source.name for source in given]
    assert results(storage)[1]["files"] == ["talks/a.txt", "talks/a.srt"]
    before = storage.names(), storage.read("results.jsonl")
    assert run(storage, given) == []
    assert (storage.names(), storage.read("results.jsonl")) == before


def test_what_failed_is_told_and_tried_again(storage):
    given = sources("a.wav", "b.wav", "c.wav")
    assert run(storage, given, {"b.wav": "it is no audio"}) == ["a.wav", "c.wav"]
    assert results(storage)[2] == {"name": "b.wav", "error": "it is no audio"}
    assert run(storage, given) == ["b.wav"]
    assert done_names(storage) == ["a.wav", "b.wav", "c.wav"]


def test_what_is_new_or_has_changed_is_done(storage):
    a, b = sources("a.wav", "b.wav")
    run(storage, [a, b])
    (changed,) = sources("a.wav", state="2")
    (new,) = sources("c.wav")
    assert run(storage, [changed, b, new], text=" again") == ["a.wav", "c.wav"]
    assert [line["text"] for line in results(storage)] == ["a.wav again", "b.wav", "c.wav again"]
    assert len(storage.names("done")) == 3


def test_a_changed_recording_that_fails_has_no_old_line(storage):
    a, b = sources("a.wav", "b.wav")
    run(storage, [a, b])
    assert run(storage, [*sources("a.wav", state="2"), b], {"a.wav": "broken"}) == []
    assert results(storage)[1:] == [{"name": "a.wav", "error": "broken"}]
    assert done_names(storage) == ["b.wav"]


def test_what_is_no_longer_there_stays_done(storage):
    a, b = sources("a.wav", "b.wav")
    run(storage, [a, b])
    assert run(storage, [*sources("a.wav", state=MISSING)]) == []
    assert done_names(storage) == ["a.wav", "b.wav"]


def test_a_file_that_somebody_removed_is_made_again(storage):
    given = sources("a.wav", "b.wav")
    run(storage, given)
    storage.remove("a.srt")
    assert run(storage, given) == ["a.wav"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        '{"name":"a.wav"}',
        '{"name":"a.wav","identity":1,"files":[]}',
        '{"name":"b.wav","identity":"1","files":[]}',  # another one's
        '{"name":"a.wav","identity":"1","files":["../a.txt"]}',
        '{"name":"a.wav","identity":"1","files":["/etc/a.txt"]}',
        '{"name":"a.wav","identity":"1","files":["archive.json"]}',
        '{"name":"a.wav","identity":"1","files":["a.wav"]}',
        '{"name":"a.wav","identity":"1","files":"a.txt"}',
        '{"name":"a.wav",\n"identity":"1","files":[]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_record_is_not_done(storage, content):
    given = sources("a.wav", "b.wav")
    run(storage, given)
    storage.write(f"done/{record_key('a.wav')}.json", content)
    storage.write("a.wav", "an input")
    assert run(storage, given) == ["a.wav"]
    assert storage.read("a.wav") == "an input"
    assert done_names(storage) == ["a.wav", "b.wav"]


def test_strangers_files_do_no_harm(storage):
    given = sources("a.wav")
    for name in ("done/x.json", "done/deep/y.json", "done/README", "parts/z", "a.txt.bak", "x/y.txt"):
        storage.write(name, "{}")
    run(storage, given)
    record = f"done/{record_key('a.wav')}"
    storage.write(f"{record} (copy).json", storage.read(f"{record}.json") or "")
    assert run(storage, given) == []
    assert done_names(storage) == ["a.wav"]
    assert storage.read("x/y.txt") == "{}"


def test_a_task_that_was_given_out_twice_finds_its_line(storage):
    (a,) = sources("a.wav")
    assert Ledger(storage).committed(a) is None
    line = store(storage, a)
    assert Ledger(storage).committed(a) == line
    assert Ledger(storage).committed(*sources("a.wav", state="2")) is None
    storage.remove("a.txt")
    assert Ledger(storage).committed(a) is None


# Names


def test_a_newcomer_leaves_the_files_of_others_alone(storage):
    first = sources("talk.wav", "talk.wav.ogg")
    run(storage, first)
    assert storage.exists("talk.txt")
    assert storage.exists("talk.wav.txt")
    both = sources("talk.wav", "talk.mp3", "talk.wav.ogg")
    assert {source.stem for source in both} == {"talk.wav", "talk.mp3", "talk.wav.ogg"}
    assert run(storage, both) == ["talk.mp3"]
    assert "of talk.wav " in (storage.read("talk.txt") or "")
    assert "of talk.wav.ogg " in (storage.read("talk.wav.txt") or "")
    # A changed one gets a name of its own, too, and takes its old files away.
    changed = (*sources("talk.wav", "talk.mp3", "talk.wav.ogg", state="2")[:1], *both[1:])
    assert run(storage, changed) == ["talk.wav"]
    assert "of talk.wav.ogg " in (storage.read("talk.wav.txt") or "")
    (line,) = (line for line in results(storage) if line["name"] == "talk.wav")
    assert all(storage.exists(name) for name in line["files"])
    assert not storage.exists("talk.txt")
    texts = [name for name in storage.names() if name.endswith(".txt")]
    assert len(texts) == 3


def test_another_case_is_another_recording(folder):
    run(folder, sources("Talk.wav"))
    run(folder, sources("talk.wav"))
    texts = [name for name in folder.names() if name.endswith(".txt")]
    assert len({name.casefold() for name in texts}) == 2


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["a.wav", "a.mp3", "A.wav", "a.wav.ogg", "a/a.wav", "a.txt/a.wav", "archive.wav"]
            ),
            unique=True,
            min_size=1,
        ),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_recordings_come_and_change_and_each_keeps_its_own(rounds, data):
    storage = Storage(f"memory://{uuid4()}/out")
    state: dict[str, str] = {}
    for number, names in enumerate(rounds):
        for name in names:
            if name not in state or data.draw(st.booleans()):
                state[name] = f"{number}"
        given = [
            Source(name, f"/in/{name}", state[name], stem)
            for name, stem in zip(names, stems(names), strict=True)
        ]
        run(storage, given)
        assert sorted(done_names(storage)) == sorted(state)
        owned = [name for line in results(storage) for name in line["files"]]
        assert len({name.casefold() for name in owned}) == len(owned) == 2 * len(state)
        for line in results(storage):
            for name in line["files"]:
                assert f"of {line['name']} " in (storage.read(name) or "")
        written = [name for name in storage.names() if name.endswith((".txt", ".srt"))]
        assert sorted(written) == sorted(owned)


# Settings


def refusal(storage: Storage, settings: Mapping[str, object], given: Sequence[Source] = ()) -> str:
    with pytest.raises(UsageError) as caught:
        Ledger(storage).open(settings, given, ())
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_other_settings_are_refused_by_the_first_that_differs(storage):
    run(storage, sources("a.wav"))
    assert refusal(storage, SETTINGS | {"model": "base"}) == (
        f"{storage}: was begun with model 'tiny.en', not 'base'; ask for the same, or choose another --out"
    )
    other = SETTINGS | {"options": {"beam_size": 1, "language": "de"}}
    assert "was begun with options.beam_size 5, not 1;" in refusal(storage, other)
    assert "was begun with formats ['txt', 'srt'], not ['txt'];" in refusal(
        storage, SETTINGS | {"formats": ("txt",)}
    )
    assert "was begun with strict None, not True;" in refusal(storage, SETTINGS | {"strict": True})
    assert run(storage, sources("a.wav")) == []


def test_where_nothing_was_done_other_settings_are_as_good(storage):
    run(storage, sources("a.wav"), broken={"a.wav": "is not audio"})
    other = SETTINGS | {"model": "base"}
    ledger = Ledger(storage)
    assert len(ledger.open(other, sources("a.wav"), ()).todo) == 1
    if storage.folder is not None:  # the lock holds for the new settings
        with pytest.raises(OutputError, match="another run"):
            Ledger(storage).open(other, (), ())
    ledger.close(())
    store(storage, *sources("a.wav"))
    assert "was begun with model 'base', not 'tiny.en'" in refusal(storage, SETTINGS)


def test_parts_of_other_settings_count_too(storage):
    ledger = Ledger(storage)
    (a,) = ledger.open(SETTINGS, sources("a.wav"), ()).todo
    ledger.store_part(a, PART, {})
    ledger.close(())
    assert "was begun with model 'tiny.en', not 'base'" in refusal(storage, SETTINGS | {"model": "base"})


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format":"whisper-npu/archive 0","version":"0.1","settings":{}}', '{"name":"mine"}'],
)
def test_another_version_or_a_damaged_file_is_refused(storage, content):
    storage.write("archive.json", content)
    told = refusal(storage, SETTINGS)
    assert "archive.json: is damaged, or of another version" in told
    assert "choose another --out" in told
    assert storage.read("archive.json") == content


def test_each_folder_has_an_id_of_its_own_that_stays(tmp_path):
    one, two = (Storage(f"{tmp_path}/{name}") for name in ("one", "two"))
    for storage in (one, two):
        run(storage, sources("a.wav"))
    before = one.read("archive.json")
    assert before != two.read("archive.json")
    run(one, sources("a.wav", "b.wav"))
    assert one.read("archive.json") == before


def test_two_drivers_at_once_are_refused(folder):
    given = sources("a.wav", "b.wav")
    first = Ledger(folder)
    opened = first.open(SETTINGS, given, ())
    code = textwrap.dedent(
        """
        import json, sys
        from whisper_npu.apps.archive.ledger import Ledger
        from whisper_npu.apps.archive.storage import Storage
        try:
            Ledger(Storage(sys.argv[1])).open(json.loads(sys.argv[2]), (), ())
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    command = [sys.executable, "-c", code, folder.url, json.dumps(SETTINGS)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == (
        f"OutputError {folder}: another run of whisper-npu archive is writing there; wait until it has "
        "ended, or choose another --out\n"
    )
    first.landed(store(folder, opened.todo[0]))
    first.close(())
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    assert done_names(folder) == ["a.wav"]


def test_a_ledger_that_failed_or_is_forgotten_lets_others_in(folder):
    given = [Source("a.wav", f"{folder.url}/a.txt", "1", "a")]
    refusal(folder, SETTINGS, given)
    Ledger(folder).open(SETTINGS, (), ())
    assert Ledger(folder).open(SETTINGS, (), ()).n_done == 0


# What must not be overwritten


def test_a_recording_or_a_manifest_is_never_overwritten(folder):
    out = Path(folder.url)
    out.mkdir()
    (out / "a.wav").write_bytes(b"1")
    (out / "m.txt").write_text("a.wav\nb.txt\n")
    (out / "b.txt").write_bytes(b"1")
    given = find_sources(f"{out}/m.txt")
    assert "b.txt: is read for this archive and could be overwritten" in refusal(folder, SETTINGS, given)
    (a, _) = given
    with pytest.raises(UsageError, match=r"a\.txt: is read"):
        Ledger(folder).open(SETTINGS, [a], protected=[f"{out}/a.txt"])
    with pytest.raises(UsageError, match=r"archive\.json: is read"):
        Ledger(Storage(f"{out}/new")).open(SETTINGS, [a], protected=[f"{out}/new/archive.json"])
    assert Ledger(folder).open(SETTINGS, [a], protected=[f"{out}/m.txt"]).todo == (a,)


def test_an_archive_may_lie_beside_its_recordings(tmp_path):
    (tmp_path / "done").mkdir()
    for name in ("a.wav", "done/b.wav", "archive.wav"):
        (tmp_path / name).write_bytes(b"1")
    storage = Storage(str(tmp_path))
    assert len(run(storage, find_sources(str(tmp_path)))) == 3
    assert run(storage, find_sources(str(tmp_path))) == []
    assert (tmp_path / "a.txt").exists()
    assert (tmp_path / "done_" / "b.txt").exists()


# Parts

PART, OTHER = Part(0, 960_000), Part(960_000, 1_000_000)


def test_parts_are_kept_until_the_recording_is_done(storage):
    (a,) = sources("talks/a.wav")
    ledger = Ledger(storage)
    assert ledger.read_part(a, PART) is None
    ledger.store_part(a, PART, {"segments": [{"text": "é", "start": 0.5}]})
    ledger.store_part(a, OTHER, {})
    assert ledger.read_part(a, PART) == {"segments": [{"text": "é", "start": 0.5}]}
    assert ledger.read_part(a, OTHER) == {}
    assert ledger.read_part(*sources("talks/a.wav", state="2"), PART) is None
    assert Ledger(storage).open(SETTINGS, [a], ()).todo == (a,)
    assert ledger.read_part(a, OTHER) == {}
    store(storage, a)
    assert storage.names("parts") == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"document":{}}'])
def test_a_damaged_part_is_none(storage, content):
    (a,) = sources("a.wav")
    ledger = Ledger(storage)
    ledger.store_part(a, PART, {"x": 1})
    (name,) = storage.names("parts")
    storage.write(f"parts/{name}", content)
    assert ledger.read_part(a, PART) is None


def test_a_part_of_another_version_is_none(storage, monkeypatch):
    (a,) = sources("a.wav")
    Ledger(storage).store_part(a, PART, {"x": 1})
    monkeypatch.setattr("whisper_npu.apps.archive.ledger.__version__", "0.0")
    assert Ledger(storage).read_part(a, PART) is None


# Killed


class Killed(BaseException):
    """No handler of errors sees it."""


class Mortal(Storage):
    """Dies at its nth change."""

    left = 0

    def _met(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def write(self, name, text):
        self._met()
        super().write(name, text)

    def write_lines(self, name, lines):
        self._met()
        super().write_lines(name, lines)

    def append(self, name, text):
        self._met()
        return super().append(name, text)

    def remove(self, name):
        self._met()
        super().remove(name)


@pytest.mark.parametrize("place", ["local", "memory://out/x", "moody://out/x"])
def test_killed_between_any_two_changes_nothing_is_lost_or_twice(place, tmp_path, memory, moody):
    for survived in range(40):
        url = f"{place if '://' in place else tmp_path / place}/{survived}"
        storage = Storage(url)
        run(storage, sources("a.wav", "b.wav"))
        Ledger(storage).store_part(*sources("c.wav"), PART, {"x": 1})
        given = (*sources("a.wav", state="2"), *sources("b.wav", "c.wav", "d.wav"))
        mortal = Mortal(url)
        mortal.left = survived
        ledger = Ledger(mortal)
        try:
            opened = ledger.open(SETTINGS, given, ())
            for source in opened.todo:
                ledger.landed(Ledger(mortal).store(source, files_of(source, "new"), {"text": "new"}))
            ledger.close(())
            is_alive = True
        except Killed:
            is_alive = False
        ledger.release()
        for record in storage.names("done"):  # what is told to be done is whole
            line = json.loads(storage.read(f"done/{record}") or "")
            is_current = (line["name"], line["identity"]) != ("a.wav", "1")
            assert not is_current or all(storage.exists(name) for name in line["files"])
        names = [line["name"] for line in results(storage)]
        assert len(set(names)) == len(names)
        run(storage, given, text="new")
        assert done_names(storage) == ["a.wav", "b.wav", "c.wav", "d.wav"]
        assert [line["identity"] for line in results(storage)] == ["2", "1", "1", "1"]
        assert storage.names("parts") == []
        assert len(storage.names()) == 4 + 8 + 2
        if is_alive:
            assert survived > 10
            break
    else:
        pytest.fail("it needs more changes than anybody thought")


def test_killed_at_any_call_of_the_system_nothing_is_half(tmp_path):
    """SIGKILL before and after each call that changes the disk, in a process of its own."""
    code = """
        import json, os, signal, sys
        from whisper_npu.apps.archive.ledger import Ledger
        from whisper_npu.apps.archive.sources import Source
        from whisper_npu.apps.archive.storage import Storage
        from whisper_npu.apps.archive.tasks import Part

        a = Source("a.wav", "/in/a.wav", "1", "deep/a")
        files = {"deep/a.txt": "text\\n", "deep/a.srt": "cues\\n"}
        calls = ["mkdir", "fsync", "replace", "unlink", "rmdir", "open"]
        kept = {name: getattr(os, name) for name in calls}

        def mortal(name, counter):
            def call(*args, **kwargs):
                for do in (lambda: None, lambda: kept[name](*args, **kwargs)):
                    counter[0] -= 1
                    if counter[0] < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    result = do()
                return result
            return call

        n_killed = 0
        for left in range(400):
            storage = Storage(f"{sys.argv[1]}/{left}")
            Ledger(storage).store_part(a, Part(0, 5), {"x": 1})
            child = os.fork()
            if child == 0:
                counter = [left]
                for name in calls:
                    setattr(os, name, mortal(name, counter))
                Ledger(storage).store(a, files, {"text": "text"})
                os._exit(0)
            _, status = os.waitpid(child, 0)
            for name, text in files.items():
                assert storage.read(name) in (None, text), (left, name)
            is_done = Ledger(storage).committed(a) is not None
            assert is_done or os.WIFSIGNALED(status), left
            assert not is_done or all(map(storage.read, files)), left
            ledger = Ledger(storage)
            opened = ledger.open({}, [a], ())
            assert len(opened.todo) == 1 - is_done, left
            for source in opened.todo:
                assert ledger.read_part(a, Part(0, 5)) == {"x": 1}, left
                ledger.landed(ledger.store(source, files, {"text": "text"}))
            ledger.close(())
            lines = storage.read("results.jsonl").splitlines()
            assert [json.loads(line)["name"] for line in lines] == ["a.wav"], left
            names = storage.names()
            assert len(names) == 5 and not any(name.endswith(".tmp") for name in names), (left, names)
            n_killed += os.WIFSIGNALED(status)
            if not os.WIFSIGNALED(status):
                break
        print(n_killed)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert 20 < int(done.stdout) < 400


def test_a_torn_line_is_healed(folder):
    given = sources("a.wav", "b.wav", "c.wav")
    ledger = Ledger(folder)
    for source in ledger.open(SETTINGS, given, ()).todo[:2]:
        line = store(folder, source)
        ledger.landed(line)
        ledger.landed(line)  # given out twice
    ledger.release()
    assert done_names(folder) == ["a.wav", "b.wav"]
    with open(f"{folder.url}/results.jsonl", "a") as file:
        file.write('{"name": "c.w')
    ledger = Ledger(folder)
    (c,) = ledger.open(SETTINGS, given, ()).todo
    assert done_names(folder) == ["a.wav", "b.wav"]
    ledger.landed(store(folder, c))
    assert done_names(folder) == ["a.wav", "b.wav", "c.wav"]


def test_a_full_disk_loses_nothing(folder, monkeypatch):
    given = sources("a.wav", "b.wav")
    ledger = Ledger(folder)
    a, b = ledger.open(SETTINGS, given, ()).todo
    ledger.landed(store(folder, a))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetFullError):
        store(folder, b)
    with pytest.raises(OutputError):
        ledger.close(())
    monkeypatch.undo()
    assert done_names(folder) == ["a.wav"]
    assert sorted(folder.names()) == sorted(
        ["archive.json", "results.jsonl", "a.txt", "a.srt", f"done/{record_key('a.wav')}.json"]
    )
    assert run(folder, given) == ["b.wav"]


def test_lines_are_lines_for_every_reader(storage):
    (a,) = sources("a\u2028b.wav")
    Ledger(storage).store(a, {}, {"text": "one\u2029two\x85three\n", "name": "nobody"})
    ledger = Ledger(storage)
    assert ledger.open(SETTINGS, [a], ()).todo == ()
    ledger.close(())
    (line,) = (storage.read("results.jsonl") or "").splitlines()
    assert json.loads(line) == {
        "name": "a\u2028b.wav",
        "identity": "1",
        "files": [],
        "text": "one\u2029two\x85three\n",
    }
