"""What is handed on: the sdist and the wheels carry all of kernels/ as `whisper_npu.kernels`, and run.

In the repository whisper_npu/kernels is a link to kernels/ at the top; sdists and wheels have no links.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_PACKAGE = "whisper_npu/kernels/"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows which files belong"),
]


def python(*arguments: str | Path, cwd: Path, path: Path | None = None) -> str:
    """What a Python of its own prints; `path` is where it finds packages first."""
    environ = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(source: Path, target: str, folder: Path) -> Path:
    """One distribution, by the backend that pip would call too, here without asking an index for it."""
    python("-m", "hatchling", "build", "--target", target, "--directory", folder, cwd=source)
    (distribution,) = folder.iterdir()
    return distribution


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


@pytest.fixture(scope="module")
def kernels() -> set[str]:
    """Every file of kernels/ that git knows, by its name below it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "kernels"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return {name.removeprefix("kernels/") for name in listed.split("\0") if name}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    # As a command: extractall wants a filter in new Pythons and knows none in old ones.
    python("-m", "tarfile", "--extract", sdist, folder, cwd=folder)
    return folder / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel_of_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, "wheel", tmp_path_factory.mktemp("of-checkout"))


@pytest.fixture(scope="module")
def wheel_of_sdist(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(unpacked, "wheel", tmp_path_factory.mktemp("of-sdist"))


def test_the_sdist_has_every_kernel_file_once_and_in_the_package(sdist: Path, kernels: set[str]) -> None:
    with tarfile.open(sdist) as archive:
        members = [name.split("/", 1)[1] for name in archive.getnames()]
    assert len(members) == len(set(members))
    assert {IN_PACKAGE + name for name in kernels} <= set(members)
    assert not [name for name in members if name.startswith("kernels")]


def test_both_wheels_have_every_kernel_file_once_and_in_the_package(
    wheel_of_checkout: Path, wheel_of_sdist: Path, kernels: set[str]
) -> None:
    held = names(wheel_of_checkout)
    assert held == names(wheel_of_sdist)
    assert len(held) == len(set(held))
    belonging = {name for name in kernels if Path(name).name not in ("Makefile", "Containerfile")}
    assert {"matmul/matmul.cc", "__init__.py", "README.md"} <= belonging  # git did list them
    assert {IN_PACKAGE + name for name in belonging} <= set(held)
    # Nothing beside the package: a `kernels` there would be the same modules under a second name.
    assert {name.split("/")[0].split("-")[0] for name in held} == {"whisper_npu"}


def test_both_wheels_have_the_page_of_the_server(wheel_of_checkout: Path, wheel_of_sdist: Path) -> None:
    folder = "whisper_npu/apps/server/page"
    listed = subprocess.run(
        ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    files = {name for name in listed.split("\0") if name}
    assert f"{folder}/index.html" in files
    assert files <= set(names(wheel_of_checkout)) & set(names(wheel_of_sdist))


def test_the_wheel_of_the_sdist_lists_verifies_and_tries_to_build(
    wheel_of_sdist: Path, tmp_path: Path
) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps", "--no-index"]
    python(*pip, "--target", site, wheel_of_sdist, cwd=elsewhere)
    imported = python("-c", "import whisper_npu.kernels as k; print(k.__file__)", cwd=elsewhere, path=site)
    assert Path(imported.strip()) == site / IN_PACKAGE / "__init__.py"
    program = ["-m", "whisper_npu", "kernels"]
    assert "\nmatmul_64x64 " in python(*program, "list", "--all", cwd=elsewhere, path=site)
    verified = python(*program, "verify", "64x64", cwd=elsewhere, path=site)
    assert verified.startswith("matmul_64x64: OK")
    tried = subprocess.run(
        [sys.executable, *program, "build", "64x512"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode != 0
    assert "Peano" in tried.stderr


def test_the_unpacked_sdist_runs_as_a_checkout_does(unpacked: Path) -> None:
    listed = python("-m", "whisper_npu", "kernels", "list", "--all", cwd=unpacked, path=unpacked)
    assert "\nmatmul_64x64 " in listed
