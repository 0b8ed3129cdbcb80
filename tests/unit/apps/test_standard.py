"""Standard streams of any kind, a user without a home, and errors that nobody foresaw."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.terminal import lines_shown, print_for_scripts, print_json
from whisper_npu.apps.described import described

ROOT = Path(__file__).parents[3]
NO_HOME = (
    "import pwd\n"
    "def nobody(_): raise KeyError('no such user')\n"
    "pwd.getpwuid = nobody\n"
    "from whisper_npu.__main__ import main; main()\n"
)


def program(*arguments: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The program in a process of its own. shell: redirections."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "whisper_npu", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, capture_output=True, check=False, env=env)


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_replaced(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "ä€ш.toml").write_text('language = "de"\n')
    done = program(
        "config",
        LC_ALL="C",
        PYTHONIOENCODING=encoding,
        WHISPER_NPU_CONFIG=str(tmp_path / "ä€ш.toml"),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "ä€ш.toml".encode(encoding, "replace") in done.stdout


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["config", "nowhere.wav"])
def test_closed_streams_are_no_reason_to_fail(closed: str, command: str) -> None:
    done = program(command, shell=closed)
    assert done.returncode == {"config": 0}.get(command, 2 if ">&-" in closed.replace("2>&-", "") else 1)
    assert b"Traceback" not in done.stderr


def test_a_closed_stderr_is_not_the_next_file_that_is_opened(tmp_path: Path) -> None:
    code = (
        "import os, sys; from whisper_npu.apps.cli.standard import prepare; prepare()\n"
        "with open('transcript', 'w') as file: os.write(2, b'of a library'); file.write('text')\n"
    )
    command = ["sh", "-c", 'exec "$@" 2>&- <&-', "sh", sys.executable, "-c", code]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, cwd=tmp_path, env=env, check=False).returncode == 0
    assert (tmp_path / "transcript").read_text() == "text"


def test_a_report_into_a_closed_stdout_is_refused() -> None:
    done = program("nowhere.wav", "--report", "/dev/stdout", shell=">&-")
    assert done.returncode == 1
    assert b"standard output is closed; name a file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["config"], 0, b"there is no home folder here; WHISPER_NPU_CONFIG may name a file"),
        (["config", "--path"], 2, b"there is no home folder here"),
        (["nowhere.wav", "-o", "~/out"], 2, b"write the path without ~, or set HOME"),
        (
            ["nowhere.wav", "--report", "~/r.json"],
            2,
            b"there is no such home folder here",
        ),
        (["kernels", "build"], 2, b"there is no home folder here; set WHISPER_NPU_KERNELS"),
        (["--version"], 0, b"built\n"),
    ],
)
def test_without_a_home_nothing_is_named_after_it(
    arguments: list[str], code: int, said: bytes, tmp_path: Path
) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CONFIG_HOME")
    }
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME, *arguments],
        capture_output=True,
        cwd=tmp_path,
        check=False,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_config_folder_that_is_closed_to_this_user_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from whisper_npu.apps.cli.settings import read_config

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", closed)
    monkeypatch.setattr(Path, "exists", closed)
    assert read_config(Path("/home/other/.config/whisper-npu/config.toml")) == {}


HOSTILE = "\x1b[31mred\n\u202egnp\x07.wav"


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        [f"./{HOSTILE}/*.wav"],
        ["transcribe", "a.wav", "--model", HOSTILE],
        ["transcribe", "a.wav", "--device", HOSTILE],
        ["transcribe", "a.wav", f"--{HOSTILE}"],
        ["transcribe", "a.wav", "--report", f"/nowhere/{HOSTILE}/x.json"],
        ["transcribe", "a.wav", "--kernels", HOSTILE],
        ["models", "path", HOSTILE],
        ["models", "verify", HOSTILE],
        ["models", "list", "--model_dir", HOSTILE],
        ["kernels", "show", HOSTILE],
        ["kernels", "verify", HOSTILE],
        ["kernels", "fetch", "--from", HOSTILE],
        ["kernels", "pack", HOSTILE],
        ["benchmark", "wer", HOSTILE],
        ["doctor", "--kernels", HOSTILE],
        [HOSTILE.replace(".wav", "")],
    ],
    ids=lambda arguments: " ".join(arguments)[:20].encode("unicode_escape").decode(),
)
def test_no_command_prints_escapes_of_a_name(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(arguments)
    said = capsys.readouterr()
    for character in "\x1b\x07\u202e":
        assert character not in said.out + said.err


def test_the_defaults_of_a_hostile_file_are_shown_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "\x1b[31m.toml"
    file.write_text('model = "\\u001B[31mred"\n')
    monkeypatch.setenv("WHISPER_NPU_CONFIG", str(file))
    assert run(["config", "--all"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert said.count("\\x1b[31m") == 2


def test_scripts_get_the_bytes_of_a_path(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_for_scripts(Path(os.fsdecode(b"/a\xff\x1b")))
    assert capfdbinary.readouterr().out == b"/a\xff\x1b\n"


def test_programs_get_json_that_they_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii", errors="replace") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        print_json({"name": "ä\U0001f600"})
    monkeypatch.undo()
    assert json.loads(path.read_text()) == {"name": "ä\U0001f600"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "the memory is full; close other programs"),
        (MemoryError("Unable to allocate 1.1 MiB"), "the memory is full (Unable to allocate 1.1 MiB)"),
        (ImportError("libx.so: failed to map segment from shared object"), "the memory is full (libx.so"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory is full"),
        (RuntimeError("can't start new thread"), "no more threads can be started; raise the limits"),
        (
            OSError(errno.EMFILE, "Too many open files", "a.wav"),
            "a.wav: Too many open files; raise the limit",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room"),
        (
            ZeroDivisionError("by zero\nat all"),
            "unexpected ZeroDivisionError: by zero at all; please report it",
        ),
        (KeyError(), "unexpected KeyError; please report it"),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_line_with_a_remedy(error: Exception, said: str) -> None:
    assert described(error).startswith(said)
    assert "\n" not in described(error)


def test_lines_stay_lines() -> None:
    assert lines_shown("a\x1b[0m\nb\r") == "a\\x1b[0m\nb\\r"


def test_an_error_of_a_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'x'")

    monkeypatch.setattr("whisper_npu.doctor.diagnose", broken)
    assert run(["doctor"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("whisper-npu: error: unexpected AttributeError: 'NoneType'")


@pytest.mark.parametrize(("left", "fits"), [(338, False), (500, True)])
def test_a_limit_of_memory_under_which_libraries_crash_is_one_line(
    left: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whisper_npu.apps.cli import memory_limit

    limit = memory_limit._address_space() + left * 10**6
    monkeypatch.setattr(memory_limit.resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(memory_limit, "_address_space", lambda: limit - left * 10**6)
    if fits:
        memory_limit.check_limit("tiny.en")
        return
    with pytest.raises(
        memory_limit.MemoryLimitError, match=r"338 MB are left; tiny\.en needs about 4\d\d MB"
    ):
        memory_limit.check_limit("tiny.en")


def test_without_a_limit_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from whisper_npu.apps.cli import memory_limit

    monkeypatch.setattr(
        memory_limit.resource, "getrlimit", lambda _: (memory_limit.resource.RLIM_INFINITY,) * 2
    )
    memory_limit.check_limit("large-v3")
