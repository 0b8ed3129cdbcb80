"""find_recordings: what becomes of files, folders, patterns and addresses on the command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.sources import EXTENSIONS, Recording, find_recordings
from whisper_npu.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def sources(*given: str, recursive: bool = False) -> list[str]:
    """What is found, none of it with a problem."""
    found = find_recordings(given, recursive=recursive)
    assert [recording.problem for recording in found if recording.problem] == []
    return [recording.source for recording in found]


def problem(*given: str, recursive: bool = False) -> str:
    """The problem of the only recording; it must be one line without controls."""
    (recording,) = find_recordings(given, recursive=recursive)
    assert recording.problem is not None
    assert recording.problem.isprintable()
    return recording.problem


def refusal(*given: str) -> str:
    with pytest.raises(UsageError) as caught:
        find_recordings(given, recursive=False)
    assert str(caught.value).isprintable()
    return str(caught.value)


# Files


def test_files_keep_their_order():
    touch("b.wav", "a.wav")
    assert sources("b.wav", "a.wav") == ["b.wav", "a.wav"]


def test_no_name_no_recording():
    assert find_recordings([], recursive=False) == ()


def test_a_file_is_taken_whatever_its_ending():
    touch("notes", ".hidden")
    assert sources("notes", ".hidden") == ["notes", ".hidden"]


def test_one_file_in_several_spellings_is_taken_once(here):
    touch("talks/a.wav")
    Path("link").symlink_to("talks")
    spellings = [
        "talks/a.wav",
        "./talks/a.wav",
        f"{here}/talks/a.wav",
        "link/a.wav",
        "link/../talks/a.wav",
        "*/a.wav",
    ]
    assert sources(*spellings) == ["talks/a.wav"]


def test_a_link_with_another_name_is_a_recording_of_its_own():
    touch("a.wav")
    Path("b.wav").symlink_to("a.wav")
    assert sources("a.wav", "b.wav") == ["a.wav", "b.wav"]


def test_stdin_is_taken_once():
    assert sources("-") == ["-"]
    assert find_recordings(["-"], recursive=False)[0].name == "standard input"
    assert "only once" in refusal("-", "-")


def test_a_file_called_dash_is_not_stdin():
    touch("-")
    assert sources("-", "./-") == ["-", "./-"]


def test_an_empty_name_is_refused():
    assert "variable" in refusal("a.wav", "")


def test_a_missing_file_leaves_the_others_alone():
    touch("a.wav", "c.wav")
    found = find_recordings(["a.wav", "nothing.mp3", "c.wav"], recursive=False)
    assert [recording.source for recording in found] == ["a.wav", "nothing.mp3", "c.wav"]
    assert [recording.problem for recording in found] == [
        None,
        "nothing.mp3: no such file; check the name and the folder",
        None,
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("talk.wva", "talk.wav"),
        ("Talk.WAV", "talk.wav"),
        ("talk.mp3", "talk.wav"),
        ("talk", "talk.wav"),
        ("interveiw.m4a", "interview.m4a"),
        ("smaples/jfk.wav", "samples/jfk.wav"),
        ("smaples/jfk.wv", "samples/jfk.wav"),
        ("./talk.wva", "./talk.wav"),
    ],
)
def test_a_near_name_is_offered(typed, meant):
    touch("talk.wav", "interview.m4a", "samples/jfk.wav", "b.txt")
    assert problem(typed) == f"{typed}: no such file; did you mean {meant}?"


@pytest.mark.parametrize(
    "typed", ["a.wav", "meeting.wav", "b.wav", "samples/talk.wav", "none/a/b.wav", "true"]
)
def test_a_name_that_is_not_near_is_not_offered(typed):
    touch("talk.wav", "c.wav", "b.txt", "samples/jfk.wav", ".true")
    assert problem(typed) == f"{typed}: no such file; check the name and the folder"


def test_a_name_with_controls_is_shown_escaped():
    touch("\x1b[32mtalk.wav")
    assert problem("\x1b[31mx\n.wav").startswith(r"\x1b[31mx\n.wav: no")
    assert r"did you mean \x1b[32mtalk.wav?" in problem("\x1b[32mtalk.mp3")
    assert Recording("a\nb.wav").name == r"a\nb.wav"


def test_a_null_byte_is_no_obstacle():
    assert "no such file" in problem("a\0b.wav")
    assert "matches" in problem("a\0*.wav")


# Patterns


def test_a_pattern_means_the_files_that_match_numbers_by_value():
    touch("talk10.wav", "talk2.wav", "Talk1.wav", "other.mp3", ".talk3.wav")
    assert sources("*.wav") == ["Talk1.wav", "talk2.wav", "talk10.wav"]
    assert sources("talk?.wav") == ["talk2.wav"]


def test_a_file_whose_name_looks_like_a_pattern_is_meant():
    touch("talk[1].wav", "talk1.wav", "*.mp3", "a.mp3")
    assert sources("talk[1].wav", "*.mp3") == ["talk[1].wav", "*.mp3"]


def test_two_stars_enter_folders_at_any_depth():
    touch("a.wav", "x/b.wav", "x/y/c.wav", "x/y/d.mp3", ".hidden/e.wav", "x/.hidden/f.wav", "[x]/g.wav")
    assert sources("**/*.wav") == ["[x]/g.wav", "a.wav", "x/b.wav", "x/y/c.wav"]
    assert sources("x/**/*.wav") == ["x/b.wav", "x/y/c.wav"]
    assert sources("x/**") == ["x/b.wav", "x/y/c.wav", "x/y/d.mp3"]
    assert sources("**/y/**/c.*") == ["x/y/c.wav"]
    assert sources("./**/c.wav") == ["./x/y/c.wav"]


def test_two_stars_from_the_root_of_an_absolute_path(here):
    touch("x/y/c.wav")
    assert sources(f"{here}/**/*.wav") == [f"{here}/x/y/c.wav"]


def test_a_pattern_without_a_match_says_so():
    touch("talk [1].wav", "x/a.mp3")
    assert (
        problem("*.ogg")
        == "*.ogg: no file has this name or matches this pattern; check the name and the folder"
    )
    assert "did you mean talk [1].wav?" in problem("talk [1].wva")
    assert "matches" in problem("**/*.ogg")


def test_folders_that_match_are_entered_with_recursive_only():
    touch("x/a.wav", "b.wav")
    assert sources("*") == ["b.wav"]
    assert sources("*", recursive=True) == ["b.wav", "x/a.wav"]
    assert "matches" in problem("x*")


def test_a_quoted_tilde_is_the_home(monkeypatch, here):
    monkeypatch.setenv("HOME", str(here))
    touch("talks/a.wav")
    assert sources("~/talks/*.wav") == [f"{here}/talks/a.wav"]
    touch("~")
    assert sources("~") == ["~"]


# Folders


def test_a_folder_without_recursive_names_the_remedy():
    touch("my talks/a.wav")
    assert problem("my talks") == (
        "my talks: is a folder; add --recursive for the recordings in it and below, "
        "or name them, such as 'my talks'/*.wav"
    )


def test_a_folder_holds_what_ends_like_a_recording():
    names = ["a.wav", "B.MP3", "film.mkv", "x/y/c.webm", "x/d10.ts", "x/d9.ts"]
    others = ["notes.txt", "a.srt", "README", "wav", ".d.wav", "._a.wav", ".git/e.wav", "talk.wav.part"]
    touch(*names, *others, "program.ts")
    for name in ("x/d10.ts", "x/d9.ts"):
        Path(name).write_bytes(b"\x47")  # how MPEG begins, and TypeScript does not
    assert sources(".", recursive=True) == [
        "./a.wav",
        "./B.MP3",
        "./film.mkv",
        "./x/d9.ts",
        "./x/d10.ts",
        "./x/y/c.webm",
    ]


def test_every_ending_is_lower_case_and_there_once():
    assert [extension.lower() for extension in EXTENSIONS] == list(dict.fromkeys(EXTENSIONS))


def test_a_hidden_folder_that_is_named_is_entered():
    touch(".cache/a.wav")
    assert sources(".cache", recursive=True) == [".cache/a.wav"]


def test_a_folder_without_recordings_says_what_was_looked_for():
    touch("x/notes.txt")
    assert problem("x", recursive=True).startswith(
        "x: no file in this folder or below it ends in wav, mp3, m4a, mp4, mkv or one of "
    )


@pytest.mark.parametrize("typed", [".", "**/*.wav", "*"])
def test_loops_of_links_end(typed):
    """With two links in one folder to that folder there are more ways than any machine can walk."""
    touch("x/a.wav")
    Path("x/loop").symlink_to("..")
    Path("x/again").symlink_to("..")
    assert [source.removeprefix("./") for source in sources(typed, recursive=True)] == ["x/a.wav"]


def test_links_to_files_are_taken_and_a_linked_folder_that_is_named():
    touch("store/a.wav")
    Path("x").mkdir()
    Path("x/b.wav").symlink_to("../store/a.wav")
    Path("link").symlink_to("store")
    assert sources("x", "link", recursive=True) == ["x/b.wav", "link/a.wav"]


def test_pipes_sockets_and_devices_in_a_folder_are_named_and_not_opened():
    touch("x/a.wav")
    os.mkfifo("x/b.wav")
    Path("x/d.wav").symlink_to("/dev/null")
    os.mkfifo("x/notes.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("x/c.wav")
        found = find_recordings(["x"], recursive=True)
    kinds = {"x/b.wav": "a named pipe", "x/c.wav": "a socket", "x/d.wav": "a device"}
    assert [one.source for one in found] == ["x/a.wav", *kinds]
    assert found[0].problem is None
    for one in found[1:]:
        assert one.problem
        assert one.problem.startswith(f"{one.source}: is {kinds[one.source]}, which is not read")
    assert sources("x/b.wav") == ["x/b.wav"]  # but one that is named is read


def test_a_folder_below_that_cannot_be_read_is_named(monkeypatch):
    touch("x/a.wav", "x/secret/b.wav")
    scandir = os.scandir

    def deny(path: str) -> object:
        if path == "x/secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)  # permission bits do not bind root
    found = find_recordings(["x"], recursive=True)
    assert found == (
        Recording("x/a.wav"),
        Recording(
            "x/secret", "x/secret: this folder cannot be read (Permission denied); check its permissions"
        ),
    )


def test_a_name_that_is_not_utf8_is_found_and_shown():
    raw = os.fsdecode(b"caf\xe9.wav")
    touch(raw)
    (found,) = find_recordings(["*.wav"], recursive=False)
    assert found == Recording(raw)
    assert found.name == r"caf\xe9.wav"


@given(
    st.lists(st.text("aB19.[]* -é\n", min_size=1, max_size=8).map(lambda text: f"f{text}.wav"), unique=True)
)
def test_a_folder_gives_exactly_its_files_and_each_of_them_is_found_by_its_name(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("many")
    for name in names:
        (folder / name).touch()
    if names:
        assert sorted(sources(str(folder), recursive=True)) == sorted(str(folder / name) for name in names)
        assert sources(str(folder), recursive=True) == sources(f"{folder}/*", recursive=False)
    for name in names:
        assert sources(str(folder / name)) == [str(folder / name)]


# Addresses


@pytest.mark.parametrize(
    "address", ["https://example.com/a.mp3", "HTTP://example.com", "ftp://example.com/a.wav"]
)
def test_an_address_is_refused_with_the_two_ways_round(address):
    assert refusal("a.wav", address) == (
        f"{address}: is an address; whisper-npu fetches nothing: download it first "
        f"(curl -LO {address}), or pipe: curl -L {address} | whisper-npu -"
    )


def test_an_address_is_quoted_for_the_shell():
    assert "curl -L 'https://example.com/watch?v=1&t=2' |" in refusal("https://example.com/watch?v=1&t=2")


@pytest.mark.parametrize("address", ["rtsp://camera/1", "s3://bucket/a.wav", "file://elsewhere/a.wav"])
def test_an_address_that_curl_does_not_fetch(address):
    assert refusal(address) == (
        f"{address}: is an address; whisper-npu fetches nothing: download or record it to a file first"
    )


def test_a_file_address_is_the_file(here):
    touch("a b.wav")
    for address in (f"file://{here}/a%20b.wav", f"FILE://localhost{here}/a%20b.wav"):
        assert sources(address) == [f"{here}/a b.wav"]
    assert problem(f"file://{here}/c.wav") == f"{here}/c.wav: no such file; check the name and the folder"


def test_a_file_whose_name_looks_like_an_address_is_meant():
    touch("http://a.wav")  # the folder "http:"
    assert sources("http://a.wav") == ["http://a.wav"]


def test_nothing_heavy_is_imported():
    code = (
        "import sys, whisper_npu.apps.sources; print(*{'numpy', 'av', 'urllib.request'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
