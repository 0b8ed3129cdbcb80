"""`whisper-npu kernels ...` on names and folders that were made to break it: one line, and nothing waits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.contracts import MATMUL_64X64
from whisper_npu.apps.cli import run
from whisper_npu.kernels.build import clean
from whisper_npu.kernels.own_toolchain import MARKER, installed
from whisper_npu.kernels.published import INDEX, SUMS
from whisper_npu.npu.artifacts import MANIFEST

NAME = MATMUL_64X64.name
DIGITS = "9" * 5000


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The kernel folder; no tools are installed."""
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setenv("WHISPER_NPU_TOOLCHAIN", str(tmp_path / "toolchain"))
    for variable in ("MLIR_AIE_INSTALL_DIR", "PEANO_INSTALL_DIR", "AIE_XCLBINUTIL", "XILINX_XRT"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "kernels"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr has, which is one line that a terminal can show."""
    line = capsys.readouterr().err
    assert line.endswith("\n")
    line = line[:-1]
    assert line.startswith("whisper-npu: error: ")
    assert line.isprintable()
    assert len(line) < 2_000
    return line


# ----------------------------------------------------------------------------------------------- names

HOSTILE_NAMES = {
    "a tile of 5,000 digits": (f"gemm_{DIGITS}x64x48_1x1x1", "unknown kernel"),
    "a size of 5,000 digits": (f"gemm_96x64x48_{DIGITS}x64x192", "unknown kernel"),
    "a size of 100 digits": (f"gemm_96x64x48_{'9' * 100}x64x192", "unknown kernel"),
    "rows of 4,000 digits": (f"norm_{'9' * 4000}x384", "unknown kernel"),
    "digits that are not ASCII": ("norm_٤٨x384", "unknown kernel"),
    "leading zeros": ("norm_0048x384", "unknown kernel"),
    "a result of 295 GB": ("gemm_96x64x48_384000x64x192000", "C would have 294,912,000,000 bytes"),
    "rows of 73 GB": ("norm_48000000x384", "the array reaches 4,294,967,295 of an operand"),
    "escapes": ("x\x1b[31mred\nnext", r"unknown kernel 'x\x1b[31mred\nnext'"),
    "5,000 characters": ("a" * 5000, "unknown kernel 'aaaa"),
    "nothing": ("", "unknown kernel ''"),
    "a path": ("../../etc/passwd", "unknown kernel '../../etc/passwd'"),
    "half of a surrogate pair": ("gemm_\udcff", r"unknown kernel 'gemm_\udcff'"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("kind", HOSTILE_NAMES, ids=lambda kind: kind.replace(" ", "-"))
def test_a_name_that_is_none(kind: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, says = HOSTILE_NAMES[kind]
    assert run(["kernels", command, name]) == 2
    assert says in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "--target", "x\x1b[31m" + "a" * 5000], r"unknown target 'x\x1b[31maaa"),
        (["verify", "--toolchain", "x\x1b[31m" + "a" * 5000], r"unknown toolchain 'x\x1b[31maaa"),
        (["verify", "--model", "x\x1b[31m" + "a" * 5000], r"no sizes are known for model 'x\x1b[31maaa"),
    ],
    ids=["target", "toolchain", "model"],
)
def test_another_word_that_is_none(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kernels", *arguments]) == 2
    assert says in one_line(capsys)


def test_what_would_take_more_memory_than_machines_have_is_not_executed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """1.2 GB of C, which the array reaches; three operands in float64 as well are more."""
    assert run(["kernels", "verify", "gemm_96x64x48_15360x64x19200"]) == 2
    assert "at most 134,217,728 are executed here" in one_line(capsys)


# --------------------------------------------------------------------------------------------- folders


def nested(path: Path) -> None:
    path.write_text('{"schema": ' * 200_000 + "1" + "}" * 200_000)


def of_digits(path: Path) -> None:
    path.write_text(f'{{"schema": {DIGITS}}}')


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder_instead(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\x1b[31m" * 100)


def a_list(path: Path) -> None:
    path.write_text("[1, 2]")


HOSTILE_FILES = [nested, of_digits, pipe, folder_instead, loop, endless, no_text, a_list]

each_file = pytest.mark.parametrize("make", HOSTILE_FILES, ids=lambda make: make.__name__)


@each_file
def test_pack_refuses_a_kernel_whose_manifest_is_none(
    make: Callable[[Path], None], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / NAME).mkdir(parents=True)
    make(folder / NAME / MANIFEST)
    assert run(["kernels", "pack", str(tmp_path / "set")]) == 1
    one_line(capsys)
    assert not (tmp_path / "set").exists()


@each_file
def test_the_list_goes_on(
    make: Callable[[Path], None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / NAME).mkdir(parents=True)
    make(folder / NAME / MANIFEST)
    assert run(["kernels", "list"]) == 0
    assert "designs for the XDNA1 NPU" in capsys.readouterr().out


@each_file
def test_clean_leaves_what_is_not_ours(make: Callable[[Path], None], folder: Path) -> None:
    (folder / NAME).mkdir(parents=True)
    make(folder / NAME / MANIFEST)
    assert clean(folder) == []
    assert os.path.lexists(folder / NAME / MANIFEST)


@each_file
def test_a_toolchain_whose_marker_is_none_is_not_installed(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "toolchain").mkdir()
    make(tmp_path / "toolchain" / MARKER)
    assert installed(tmp_path / "toolchain") is None


@pytest.mark.parametrize("site_packages", [5, None, ["a"], {"a": 1}])
def test_a_toolchain_whose_marker_has_other_types_is_not_installed(
    site_packages: object, tmp_path: Path
) -> None:
    marker = {
        "schema": "whisper-npu-toolchain",
        "schema_version": 1,
        "toolchain": "G4",
        "packages": [],
        "site_packages": site_packages,
        "proved": True,
    }
    (tmp_path / MARKER).write_text(json.dumps(marker))
    assert installed(tmp_path) is None


@each_file
def test_build_without_tools_beside_a_broken_toolchain(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toolchain").mkdir()
    make(tmp_path / "toolchain" / MARKER)
    assert run(["kernels", "build", NAME]) == 1
    assert "building kernels needs" in one_line(capsys)


@pytest.mark.parametrize("name", [SUMS, INDEX])
@each_file
def test_fetch_from_a_folder_whose_lists_are_none(
    make: Callable[[Path], None],
    name: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    origin = tmp_path / "set"
    origin.mkdir()
    make(origin / name)
    if name == INDEX:
        (origin / SUMS).write_text(f"{'0' * 64}  {INDEX}\n")
    assert run(["kernels", "fetch", "--from", str(origin)]) == 1
    one_line(capsys)
    assert not folder.exists() or not any(folder.iterdir())


@pytest.mark.parametrize(
    "origin",
    ["x\x1b[31m", "a" * 5000, "http://[", "file:///etc/passwd", "http://a:b@c/", "http://c:99999999999/"],
)
def test_fetch_from_no_folder(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "fetch", "--from", origin]) == 2
    one_line(capsys)


@pytest.mark.parametrize("wheels", ["x\x1b[31m", "a" * 300, "/dev/zero"])
def test_setup_from_no_wheels(wheels: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "setup", "--wheels", wheels]) == 2
    one_line(capsys)
