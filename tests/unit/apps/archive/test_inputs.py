"""find_sources: the recordings of folders and manifests, here and in stores."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from whisper_npu.apps.archive.inputs import find_sources
from whisper_npu.apps.archive.sources import MISSING
from whisper_npu.apps.archive.stores import Store, StoreError, joined
from whisper_npu.errors import MissingPackageError, UsageError, WhisperNpuError

from .conftest import NoCredentialsError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def names(what: str) -> list[str]:
    found = find_sources(what)
    assert [source.problem for source in found if source.problem] == []
    return [source.name for source in found]


def refusal(what: str, kind: type[WhisperNpuError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        find_sources(what)
    assert str(caught.value).isprintable()
    return str(caught.value)


# Folders


def test_a_folder_gives_what_is_below_it_in_natural_order(here):
    touch("in/b10.wav", "in/b2.wav", "in/deep/er/a.MP3", "in/notes.txt", "in/.hidden.wav", "in/.git/x.wav")
    Path("in/code.ts").write_text("let a = 1")
    Path("in/film.ts").write_bytes(b"G\0\0")
    Path("elsewhere").mkdir()
    touch("elsewhere/z.wav")
    Path("in/link").symlink_to(here / "elsewhere")
    assert names("in") == ["b2.wav", "b10.wav", "deep/er/a.MP3", "film.ts"]
    assert names("in/") == names(f"file://{here}/in") == names(f"{here}/./in")
    first = find_sources("in")[0]
    assert (first.url, first.stem, first.language) == (f"{here}/in/b2.wav", "b2", None)


def test_what_an_archive_writes_is_no_recording():
    touch("in/a.wav", "in/a.txt", "in/a.srt", "in/archive.json", "in/results.jsonl", "in/done/a~1.json")
    assert names("in") == ["a.wav"]


def test_a_name_may_look_like_a_url_or_a_pattern_or_be_no_utf_8():
    touch("in/a::b.wav", "in/s3:/x.wav", "in/[a]*?.wav", "in/a%20b#c.wav")
    with open(b"in/\xe9.wav", "wb"):
        pass
    assert len(names("in")) == 5
    assert all(os.path.exists(source.url) for source in find_sources("in"))


def test_the_identity_changes_with_the_recording():
    touch("in/a.wav", "in/b.wav")
    before = find_sources("in")
    os.utime("in/a.wav", ns=(1, 1))
    after = find_sources("in")
    assert after[0].identity != before[0].identity
    assert after[1] == before[1]


def test_what_cannot_be_a_recording_fails_and_the_others_go_on():
    touch("in/a.wav")
    os.mkfifo("in/pipe.wav")
    Path("in/lost.wav").symlink_to("nowhere")
    found = {source.name: source for source in find_sources("in")}
    assert found["a.wav"].problem is None
    assert "named pipe" in found["pipe.wav"].problem
    assert "no such file" in found["lost.wav"].problem
    assert found["pipe.wav"].identity == found["lost.wav"].identity == MISSING


def test_one_recording_is_an_archive(here):
    touch("talks/a.wav")
    (only,) = find_sources("talks/a.wav")
    assert (only.name, only.url, only.stem) == ("a.wav", f"{here}/talks/a.wav", "a")


def test_thousands_of_files_are_asked_twice_each_at_most(monkeypatch):
    folder = Path("in")
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number}.wav").touch()
    asked = []
    stat = os.stat

    def counting(path, *args, **kwargs):
        if os.fspath(path).endswith(".wav") if isinstance(path, str | Path) else False:
            asked.append(path)
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", counting)
    found = find_sources("in")
    monkeypatch.undo()
    assert [source.name for source in found[:3]] == ["0.wav", "1.wav", "2.wav"]
    assert len(asked) <= 2 * 2000


def test_nothing_to_transcribe_is_refused():
    Path("empty").mkdir()
    assert "no file in this folder or below it ends in wav" in refusal("empty")
    assert refusal("nowhere").startswith("nowhere: no such file")
    assert "is empty" in refusal("")
    touch("talks.bin")
    Path("talks.bin").write_bytes(b"\0\1")
    assert "neither a folder nor a manifest" in refusal("talks.bin")


# Manifests


def test_a_manifests_rows_are_relative_to_its_folder(here):
    touch("lists/a.wav", "other/b.wav", "c.wav")
    Path("lists/m.csv").write_text(f"path,language\na.wav,de\n../other/b.wav,\n{here}/c.wav,\n")
    found = find_sources("lists/m.csv")
    assert [source.language for source in found] == ["de", None, None]
    assert [source.stem for source in found] == ["a", "other/b", f"{here}/c"[1:]]
    assert [Path(source.url).read_text() for source in found] == ["lists/a.wav", "other/b.wav", "c.wav"]
    assert [source.problem for source in found] == [None, None, None]


def test_an_id_names_a_recording_and_its_files():
    touch("a.wav", "b.wav")
    Path("m.csv").write_text("id,path\nfirst talk,a.wav\nx/../../second,b.wav\n")
    found = find_sources("m.csv")
    assert [(source.name, source.stem) for source in found] == [
        ("first talk", "first talk"),
        ("x/../../second", "x/second"),
    ]


def test_a_recording_that_is_not_there_is_no_bad_row():
    touch("a.wav")
    Path("folder.wav").mkdir()
    Path("m.txt").write_text("a.wav\nlost.wav\nfolder.wav\nmemory://lost/b.wav\n\u0ffff.wav\n")
    good, *bad = find_sources("m.txt")
    assert good.problem is None
    assert [source.identity for source in bad] == [MISSING] * 4
    problems = [source.problem for source in bad]
    assert [text.partition(": ")[2] for text in problems[:3]] == [
        "no such file",
        "is a folder, not a recording",
        "nothing is there",
    ]


def test_bad_rows_are_named_by_their_numbers_all_at_once(here):
    touch("a.wav", "b.wav")
    Path("m.csv").write_text(
        "path,language,id\na.wav,de,\nb.wav,klingon,\n./a.wav,en,\n,,\nlost.wav,,a.wav\nfoo://x/y.wav,,\n"
    )
    told = refusal("m.csv")
    assert told.startswith("m.csv: 4 of 5 rows are bad: line 3: unknown language 'klingon'")
    assert "line 4: ./a.wav is in line 2 already, with another language; remove one of them" in told
    assert "line 6: a.wav is another recording's name in line 2; give each its own id" in told
    assert told.endswith("; and 1 more")


def test_rows_that_say_the_same_are_taken_once_with_a_note(here):
    touch("talks/a.wav", "b.wav")
    Path("link").symlink_to("talks")
    spellings = f"talks/a.wav\n./talks/a.wav\n{here}/talks/a.wav\nlink/a.wav\nfile://{here}/talks/a.wav\n"
    Path("m.txt").write_text(f"{spellings}b.wav\n")
    notes: list[str] = []
    found = find_sources("m.txt", note=notes.append)
    assert [source.name for source in found] == ["talks/a.wav", "b.wav"]
    assert notes == ["m.txt: 4 rows name what another row has named; it is taken once"]


def test_an_empty_manifest_is_refused():
    for name, content in (("m.csv", "path,language\n"), ("m.txt", "\n \n"), ("m.jsonl", ""), ("m", "")):
        Path(name).write_text(content)
        assert refusal(name) == f"{name}: names no recording; write one path in each row"


def test_a_manifest_that_cannot_be_read_is_refused(monkeypatch, memory):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("m.csv")
        assert "m.csv: cannot be read (" in refusal("m.csv")
    monkeypatch.setattr("whisper_npu.apps.archive.inputs.MAX_JSON", 10)
    Path("m.txt").write_text("a.wav\n" * 3)
    memory.pipe_file("/m.txt", b"a.wav\n" * 3)
    assert refusal("m.txt") == "m.txt: cannot be read (it holds more than 10 bytes); split it"
    assert "(it holds more than 10 bytes); split it" in refusal("memory://m.txt", StoreError)


def test_another_program_may_write_the_manifest(here):
    touch("talks/a.wav")
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=["talks/a.wav\n"])
    writer.start()
    (found,) = find_sources("pipe")
    writer.join()
    assert (found.name, found.url, found.problem) == ("talks/a.wav", f"{here}/talks/a.wav", None)
    code = "from whisper_npu.apps.archive.inputs import find_sources; print(*find_sources('-'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input="talks/a.wav", capture_output=True, text=True, check=True)
    assert f"url='{here}/talks/a.wav'" in done.stdout


# Stores


def test_a_folder_in_a_store_is_listed_once(moody):
    fs = moody()
    for number in (10, 2, 1):
        fs.pipe_file(f"/b/in/s/{number}.wav", b"x" * number)
    fs.pipe_file("/b/in/.hidden.wav", b"")
    fs.pipe_file("/b/in/.x/a.wav", b"")
    fs.pipe_file("/b/in/notes.txt", b"")
    fs.pipe_file("/b/in/code.ts", b"let")
    fs.pipe_file("/b/in/film.ts", b"G\0")
    fs.pipe_file("/b/in2/no.wav", b"")
    fs.calls.clear()
    found = find_sources("moody://b/in/")
    assert [source.name for source in found] == ["film.ts", "s/1.wav", "s/2.wav", "s/10.wav"]
    assert found[1].url == "moody://b/in/s/1.wav"
    assert len({source.identity for source in found}) == 4
    assert fs.calls.count("info") <= 4  # one for the folder, some for .ts; none for each recording


def test_a_name_in_a_store_may_look_like_a_chain(memory):
    memory.pipe_file("/b/in/a::b::[c]?#%20.wav", b"1")
    memory.pipe_file("/b/m.txt", b"in/a::b::[c]?#%20.wav\n")
    (listed,) = find_sources("memory://b/in")
    (named,) = find_sources("memory://b/m.txt")
    assert (named.url, named.identity) == (listed.url, listed.identity)
    assert named.problem is None
    store = Store(listed.url)
    assert store.read(store.path, at_most=1) == b"1"


@pytest.mark.parametrize(
    ("folder", "name", "url"),
    [
        ("s3://b", "a.wav", "s3://b/a.wav"),
        ("memory://", "a.wav", "memory://a.wav"),
        ("s3://b/x/", "y/a::b.wav", "s3://b/x/y/a::b.wav"),
        ("s3://b/x::y", "a.wav", "s3://b/x::y/a.wav"),
        ("simplecache::s3://b/x", "a.wav", "simplecache::s3://b/x/a.wav"),
        ("zip://x::s3://b/a.zip", "a.wav", "zip://x/a.wav::s3://b/a.zip"),
    ],
)
def test_a_name_below_a_url_is_one_of_its_own_file_system(folder, name, url):
    assert joined(folder, name) == url


def test_a_store_says_the_same_of_a_recording_by_every_way(memory):
    memory.pipe_file("/b/in/a.wav", b"1")
    memory.pipe_file("/b/m.csv", b"path\nin/a.wav\nin/none.wav\n")
    (listed,) = find_sources("memory://b/in")
    alone, none = find_sources("memory://b/m.csv")
    (single,) = find_sources("memory://b/in/a.wav")
    assert listed.identity == alone.identity == single.identity
    assert listed.url == alone.url == single.url == "memory://b/in/a.wav"
    assert none.problem == "memory://b/in/none.wav: nothing is there"


def test_a_manifest_with_thousands_of_rows_asks_for_folders(moody):
    fs = moody()
    lines = []
    for number in range(300):
        fs.pipe_file(f"/b/{number % 3}/{number}.wav", b"x")
        lines.append(f"moody://b/{number % 3}/{number}.wav")
    fs.pipe_file("/b/lists/m.txt", "\n".join([*lines, "../0/lost.wav"]).encode())
    fs.calls.clear()
    found = find_sources("moody://b/lists/m.txt")
    assert [source.url for source in found[:-1]] == lines
    assert found[-1].url == "moody://b/0/lost.wav"
    assert [source.problem is None for source in found] == [True] * 300 + [False]
    assert len(fs.calls) < 30


@pytest.mark.parametrize("method", ["info", "ls", "open"])
@pytest.mark.parametrize(
    "error", [NoCredentialsError("Unable to locate\ncredentials"), OSError(113, "No route to host")]
)
def test_a_store_that_fails_is_told_in_one_line(moody, method, error):
    moody().pipe_file("/b/in/a.wav", b"1")
    moody().pipe_file("/b/m.csv", b"path\n" + b"".join(b"in/%d.wav\n" % n for n in range(30)))
    moody.fails[method] = error
    what = "moody://b/in" if method == "ls" else "moody://b/m.csv"
    reason = "Unable to locate credentials" if error.args[0] != 113 else "No route to host"
    told = refusal(what, StoreError)
    assert told == (
        f"{what}: cannot be read ({reason}); check the URL, the network, and the credentials of the store"
    )


def test_a_bad_row_of_a_store_is_named(moody):
    fs = moody()
    fs.pipe_file("/b/m.csv", b"path,language\na.wav,en\na.wav,de\n")
    assert refusal("moody://b/m.csv").startswith("moody://b/m.csv: line 3: a.wav is in line 2 already")


def test_what_is_not_in_a_store_is_refused(memory):
    assert refusal("memory://nope/a").startswith("memory://nope/a: nothing is there")
    memory.pipe_file("/b/in/notes.txt", b"")
    assert refusal("memory://b/in").startswith("memory://b/in: nothing below it ends in wav")


def test_a_protocol_that_nobody_knows_or_whose_package_is_missing_says_what_to_do(monkeypatch):
    assert "Protocol not known: foo" in refusal("foo://b/in")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    told = refusal("s3://me:secret@b/in", MissingPackageError)
    assert told == "s3://me@b/in: a package for s3:// is not installed: pip install s3fs"
    touch("a.wav")
    Path("m.txt").write_text("a.wav\ns3://b/a.wav\n")
    assert refusal("m.txt") == (
        "m.txt: line 2: s3://b/a.wav: a package for s3:// is not installed: pip install s3fs"
    )
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    told = refusal("memory://b/in", MissingPackageError)
    assert told == "memory://b/in: needs fsspec, which is missing: pip install 'whisper-npu[ray]'"
    assert names("a.wav") == ["a.wav"]  # a path needs none


def test_a_socket_is_no_recording(here):
    touch("in/a.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("in/s.wav")
        assert [bool(source.problem) for source in find_sources("in")] == [False, True]
