"""Installing the toolchain: with a Python whose venv and pip are stand-ins, and once with the real ones."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.contracts import MATMUL_64X64
from tests.support.toolchain import FakePython, lay_out, write_wheels
from whisper_npu.apps.cli import run
from whisper_npu.kernels.own_toolchain import MARKER, UNFINISHED, installed, site_packages, toolchain_folder
from whisper_npu.kernels.setup import SetUp, SetupError, set_up
from whisper_npu.kernels.toolchain import G3, G4, Generation
from whisper_npu.kernels.tools import BuildError, Toolchain


@pytest.fixture
def python(tmp_path: Path) -> FakePython:
    python = FakePython(tmp_path / "fake-python")
    python.offer(G3.pair)
    python.offer(G4.pair)
    return python


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """A PATH with nothing but xclbinutil."""
    xclbinutil = tmp_path / "bin" / "xclbinutil"
    xclbinutil.parent.mkdir()
    xclbinutil.write_text("#!/bin/sh\n")
    xclbinutil.chmod(0o755)
    return {"PATH": str(xclbinutil.parent), "WHISPER_NPU_TOOLCHAIN": str(tmp_path / "tools")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tools"


def make(
    folder: Path, python: FakePython, environ: Mapping[str, str], generation: Generation = G4
) -> tuple[SetUp, list[str]]:
    said: list[str] = []
    done = set_up(
        folder,
        generation,
        MATMUL_64X64,
        python=python.path,
        environ=environ,
        say=said.append,
    )
    return done, said


def found(environ: Mapping[str, str]) -> Toolchain:
    return Toolchain.find({"PATH": environ["PATH"]}, site_packages(environ))


# --- What works ---------------------------------------------------------------------------------------------


def test_an_environment_is_made_and_found(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    assert found(environ).aiecc is None
    done, said = make(folder, python, environ)
    assert done == SetUp(folder, G4, is_new=True, kernel="matmul_64x64")
    assert python.pop_calls() == ["probe", "venv", "pip"]
    assert said == [
        f"installing {G4.pair} into {folder}: some minutes, depending on the network",
        "building matmul_64x64 to try the tools",
    ]
    packages = folder / "lib/python3.12/site-packages"
    assert found(environ).aiecc == packages / "mlir_aie/bin/aiecc"
    assert found(environ).peano == packages / "llvm-aie"
    assert json.loads((folder / MARKER).read_text()) == {
        "schema": "whisper-npu-toolchain",
        "schema_version": 1,
        "toolchain": "G4",
        "packages": [G4.pair.mlir_aie.requirement, G4.pair.llvm_aie.requirement],
        "site_packages": "lib/python3.12/site-packages",
        "proved": True,
    }
    assert not (folder / UNFINISHED).exists()
    assert "tools.previous" not in os.listdir(folder.parent)


def test_what_is_installed_is_only_tried_again(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    make(folder, python, environ)
    python.pop_calls()
    done, said = make(folder, python, environ)
    assert (done.is_new, said, python.pop_calls()) == (False, ["building matmul_64x64 to try the tools"], [])


def test_another_generation_takes_its_place(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    make(folder, python, environ)
    assert make(folder, python, environ, G3)[0].is_new
    there = installed(folder)
    assert there
    assert there.toolchain == "G3"
    assert sorted(os.listdir(folder.parent)) == ["bin", "fake-python", "tools"]


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("ensurepip"), reason="needs venv, which Debian has in python3-venv")
def test_the_real_venv_and_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Wheels from a folder, no network; then `kernels build` finds the tools by itself."""
    write_wheels(tmp_path / "wheels", G4.pair)
    path = os.environ["PATH"]
    xclbinutil = tmp_path / "bin" / "xclbinutil"
    xclbinutil.parent.mkdir()
    xclbinutil.write_text("#!/bin/sh\n")
    xclbinutil.chmod(0o755)
    for name in ("MLIR_AIE_INSTALL_DIR", "PEANO_INSTALL_DIR", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{xclbinutil.parent}{os.pathsep}{path}")
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr("whisper_npu.kernels.setup.FIRST_PYTHON", (3, 10))  # that of the tests
    monkeypatch.setattr("whisper_npu.kernels.setup.GLIBC", (2, 0))
    command = ["kernels", "setup", "--folder", str(folder), "--wheels", str(tmp_path / "wheels")]
    assert run(command) == 0
    out = capsys.readouterr().out
    assert f"{G4.pair} installed in {folder}, and built matmul_64x64.\n" in out
    assert f"export WHISPER_NPU_TOOLCHAIN={folder}\n" in out
    assert "not been run on a chip yet" in out
    monkeypatch.setenv("WHISPER_NPU_TOOLCHAIN", str(folder))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not Path(path, "mlir_aie").exists()])
    assert run(["kernels", "build", "matmul_64x64"]) == 0
    manifest = json.loads((tmp_path / "kernels" / "matmul_64x64" / "manifest.json").read_text())
    assert all(command[0].startswith(f"{folder}/lib/") for command in manifest["commands"])


# --- What is told before ------------------------------------------------------------------------------------


def test_a_missing_xclbinutil_is_told_before(
    python: FakePython, environ: Mapping[str, str], folder: Path, tmp_path: Path
) -> None:
    python.fail("pip")
    said: list[str] = []
    with pytest.raises(SetupError):
        set_up(
            folder,
            G4,
            MATMUL_64X64,
            python=python.path,
            environ={"PATH": str(tmp_path)},
            say=said.append,
        )
    assert said[0].startswith("xclbinutil is not on PATH: ")
    assert "libxrt-utils" in said[0]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ('["cpython", [3, 10], "glibc", "2.39"]', r"is cpython 3\.10, and the wheels .* --python"),
        ('["cpython", [3, 15], "glibc", "2.39"]', r"is cpython 3\.15, and the wheels .* --python"),
        ('["pypy", [3, 12], "glibc", "2.39"]', r"is pypy 3\.12, and the wheels .* --python"),
        ('["cpython", [3, 12], "glibc", "2.31"]', r"has glibc 2\.31, and .* 2\.35 or later: .*Containerfile"),
        ('["cpython", [3, 12], "", ""]', "has another C library, and .* or whisper-npu kernels fetch"),
    ],
)
def test_a_python_without_wheels_is_refused_first(
    python: FakePython, environ: Mapping[str, str], folder: Path, answer: str, what: str
) -> None:
    python.answer(answer)
    with pytest.raises(SetupError, match=what):
        make(folder, python, environ)
    assert python.pop_calls() == ["probe"]
    assert not folder.exists()


def test_wheels_that_are_not_there_are_refused_first(
    python: FakePython, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["kernels", "setup", "--folder", str(folder), "--python", str(python.path), "--wheels"]
    (tmp_path / "empty").mkdir()
    write_wheels(tmp_path / "half", G4.pair)
    next((tmp_path / "half").glob("llvm_aie-*")).unlink()
    lacks = {"nope": "is no folder", "empty": "has no wheel of mlir_aie", "half": "has no wheel of llvm-aie"}
    for name, said in lacks.items():
        assert run([*command, f"{tmp_path}/{name}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--wheels {tmp_path}/{name} {said}: name the folder with {G4.pair}" in line
    assert python.pop_calls() == []
    assert not folder.exists()


def test_a_python_that_is_not_there(environ: Mapping[str, str], folder: Path) -> None:
    with pytest.raises(SetupError, match=r"asking /nowhere/python .* cannot be run \(No such file"):
        set_up(folder, G4, MATMUL_64X64, python=Path("/nowhere/python"), environ=environ)


def test_a_folder_of_the_users_is_not_touched(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    folder.mkdir()
    (folder / "notes").write_text("mine")
    with pytest.raises(
        SetupError, match="tools is not empty, and holds no tools of whisper-npu: name another"
    ):
        make(folder, python, environ)
    assert os.listdir(folder) == ["notes"]
    with pytest.raises(SetupError, match="notes is not empty"):
        make(folder / "notes", python, environ)


def test_a_folder_that_cannot_be_made(python: FakePython, environ: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    with pytest.raises(SetupError, match=r"file/tools cannot be written \(Not a directory\): name another"):
        set_up(
            tmp_path / "file" / "tools",
            G4,
            MATMUL_64X64,
            python=python.path,
            environ=environ,
            say=said.append,
        )
    assert said == []  # nothing takes minutes


# --- What fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["venv", "pip"])
def test_a_step_that_fails_leaves_nothing(
    python: FakePython, environ: Mapping[str, str], folder: Path, step: str
) -> None:
    python.fail(step)
    with pytest.raises(SetupError) as error:
        make(folder, python, environ)
    first, *output = str(error.value).splitlines()
    assert re.match(r"(making the environment|installing mlir_aie==1\.4\.5) .* failed with status 1", first)
    assert (output[0].strip(), output[-1].strip()) == (f"line 34 of {step}", f"line 39 of {step}")
    assert not folder.exists()
    python.repair(step)
    assert make(folder, python, environ)[0].is_new


def retries(path: str, error: str) -> str:
    """What pip prints of a server that does not answer."""
    return "".join(
        f"WARNING: Retrying (Retry(total={left}, connect=None, read=None, redirect=None, status=None)) after "
        f"connection broken by '{error}': {path}\n"
        for left in range(4, -1, -1)
    )


OF_MLIR_AIE = "/Xilinx/mlir-aie/releases/expanded_assets/v1.4.5"
NO_NAME = "Failed to establish a new connection: [Errno -2] Name or service not known"


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        (OF_MLIR_AIE, f"NewConnectionError('<pip.HTTPSConnection object at 0x7f>: {NO_NAME}')", NO_NAME),
        (OF_MLIR_AIE, f'NewConnectionError("HTTPSConnection: {NO_NAME}")', f"HTTPSConnection: {NO_NAME}"),
        ("/simple/numpy/", f"NewConnectionError('<pip.HTTPSConnection object at 0x7f>: {NO_NAME}')", NO_NAME),
    ],
)
def test_without_network_the_server_is_named_in_one_line(
    python: FakePython, environ: Mapping[str, str], folder: Path, path: str, error: str, said: str
) -> None:
    python.fail("pip", f"{retries(path, error)}ERROR: No matching distribution found for mlir_aie==1.4.5\n")
    with pytest.raises(SetupError) as raised:
        make(folder, python, environ)
    server = "github.com" if path == OF_MLIR_AIE else "pip's package index"
    assert str(raised.value) == f"{server} cannot be reached: {said}; without network: --wheels DIR"
    assert not folder.exists()


def test_a_server_that_answers_in_the_end_is_not_the_cause(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    first_tries = "".join(retries(OF_MLIR_AIE, "ReadTimeoutError('x')").splitlines(keepends=True)[:-1])
    python.fail("pip", f"{first_tries}ERROR: No space left on device\n")
    with pytest.raises(SetupError, match=r"(?s)failed with status 1.*No space left on device"):
        make(folder, python, environ)


def test_a_step_that_fails_leaves_the_older_tools(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    make(folder, python, environ, G3)
    python.fail("pip")
    with pytest.raises(SetupError):
        make(folder, python, environ, G4)
    assert found(environ).aiecc == folder / "lib/python3.12/site-packages/mlir_aie/bin/aiecc"
    there = installed(folder)
    assert there
    assert there.toolchain == "G3"


def test_what_broke_off_is_made_anew(python: FakePython, environ: Mapping[str, str], folder: Path) -> None:
    """As a kill leaves it: begun, without a marker."""
    make(folder, python, environ)
    (folder / MARKER).unlink()
    (folder / UNFINISHED).touch()
    (folder / "half").write_text("")
    assert found(environ).aiecc is None
    assert make(folder, python, environ)[0].is_new
    assert not (folder / "half").exists()


def test_older_tools_come_back_after_a_kill(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    make(folder, python, environ, G3)
    folder.rename(folder.with_name("tools.previous"))
    folder.mkdir()
    (folder / UNFINISHED).touch()
    python.pop_calls()
    assert not make(folder, python, environ, G3)[0].is_new
    assert python.pop_calls() == []


def test_tools_that_cannot_build_stay_and_do_not_count(
    python: FakePython, environ: Mapping[str, str], folder: Path
) -> None:
    python.offer(G4.pair, fails=True)
    with pytest.raises(BuildError, match="the stand-in fails"):
        make(folder, python, environ)
    assert found(environ).aiecc is None
    lay_out(folder / "lib/python3.12/site-packages", G4.pair)  # say, what they lacked is installed by now
    python.pop_calls()
    assert not make(folder, python, environ)[0].is_new
    assert python.pop_calls() == []
    assert found(environ).aiecc


@pytest.mark.parametrize("marker", ["", "[]", "{", '{"schema": "other", "schema_version": 1}'])
def test_a_marker_that_is_none(folder: Path, marker: str) -> None:
    folder.mkdir()
    (folder / MARKER).write_text(marker)
    assert installed(folder) is None
    assert site_packages({"WHISPER_NPU_TOOLCHAIN": str(folder)}) == ()


def test_where_the_tools_are() -> None:
    assert toolchain_folder({"WHISPER_NPU_TOOLCHAIN": "/t", "XDG_DATA_HOME": "/d"}) == Path("/t")
    assert toolchain_folder({"XDG_DATA_HOME": "/d"}) == Path("/d/whisper-npu/toolchain")
    assert toolchain_folder({}) == Path.home() / ".local/share/whisper-npu/toolchain"


def test_a_python_is_named_as_in_a_shell(
    python: FakePython,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(python.root))
    python.answer('["cpython", [3, 9], "glibc", "2.39"]')
    for name in ("python", str(python.path), f"{python.root}/../fake-python/python"):
        assert run(["kernels", "setup", "--folder", str(folder), "--python", name]) == 1
        assert "python is cpython 3.9, and the wheels" in capsys.readouterr().err
    assert run(["kernels", "setup", "--folder", str(folder), "--python", "python9"]) == 1
    assert "python9 cannot be run (No such file" in capsys.readouterr().err


def test_an_unknown_generation_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "setup", "--toolchain", "G9"]) == 2
    assert "unknown toolchain 'G9': there are G1" in capsys.readouterr().err
