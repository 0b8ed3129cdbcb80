"""The folders of a user, with and without a home folder."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whisper_npu.checkpoint.places import Places
from whisper_npu.errors import CacheError, UsageError
from whisper_npu.home import at_home, cache_folder, expanded, user_folder
from whisper_npu.kernels.own_toolchain import site_packages, toolchain_folder
from whisper_npu.npu.artifacts import kernel_folder
from whisper_npu.npu.options import NpuOptions


@pytest.mark.parametrize("own", ["", "relative", "./relative", "~/data"])
def test_a_relative_path_in_a_variable_of_the_specification_is_ignored(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    environ = {"XDG_DATA_HOME": own, "XDG_CONFIG_HOME": "/etc/anna"}
    assert user_folder("XDG_DATA_HOME", "~/.local/share", environ) == Path("/home/anna/.local/share")
    assert user_folder("XDG_CONFIG_HOME", "~/.config", environ) == Path("/etc/anna")
    assert kernel_folder(environ) == Path("/home/anna/.local/share/whisper-npu/kernels")


def test_an_empty_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    known = pwd.getpwuid(os.getuid()).pw_dir
    monkeypatch.setenv("HOME", "")
    assert expanded("~/a") == f"{known}/a"

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert expanded("~/a") == "~/a"


def test_only_a_name_that_begins_with_a_home_needs_one(nobody: Path) -> None:
    assert at_home("a/~") == Path("a/~")
    with pytest.raises(UsageError, match=r"--report ~/r.json: there is no such home folder here"):
        at_home("~/r.json", "--report")


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernel_folder({}),
        lambda: kernel_folder({"WHISPER_NPU_KERNELS": "~/kernels"}),
        lambda: toolchain_folder({}),
        lambda: NpuOptions.of("~/kernels", 1.0),
        lambda: Places.of(model_dir=Path("~/models")),
    ],
)
def test_what_lies_in_a_home_that_is_not_known_is_one_line(nobody: Path, call: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="home folder here"):
        call()
    assert site_packages({}) == ()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without HOME and without an entry among the users. Returns the folder that would be theirs."""
    for name in ("HOME", "WHISPER_NPU_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"whisper-npu-{os.getuid()}"


def test_who_has_no_home_gets_a_folder_that_nobody_else_can_open(nobody: Path) -> None:
    for _ in range(2):
        assert cache_folder(None) == nobody
        assert stat.S_IMODE(nobody.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "plant",
    [
        lambda folder: folder.mkdir(mode=0o777) or folder.chmod(0o777),
        lambda folder: folder.symlink_to(folder.parent),
        lambda folder: folder.symlink_to("/nowhere"),
        lambda folder: folder.write_text(""),
        lambda folder: os.mkfifo(folder),
    ],
)
def test_a_folder_that_somebody_else_may_have_put_there_is_not_used(
    nobody: Path, plant: Callable[[Path], Any]
) -> None:
    plant(nobody)
    with pytest.raises(CacheError, match="WHISPER_NPU_CACHE"):
        cache_folder(None)


@pytest.mark.parametrize("chosen", [Path("~/cache"), Path("~nobody-of-this-name/cache")])
def test_a_chosen_folder_in_an_unknown_home_is_one_line(nobody: Path, chosen: Path) -> None:
    with pytest.raises(CacheError, match=r"no such home folder here; .* set WHISPER_NPU_CACHE"):
        cache_folder(chosen)
