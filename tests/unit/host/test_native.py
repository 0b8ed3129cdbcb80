"""C++ compiled at the first use, kept, and done without."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from whisper_npu.dtypes import Rounding
from whisper_npu.host import gemm as host_gemm
from whisper_npu.host import native, rows
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.cxx import COMPILERS, find_cxx
from whisper_npu.host.elementwise import softmax
from whisper_npu.host.rows import compiled

needs_compiler = pytest.mark.skipif(find_cxx(os.environ) is None, reason="no C++ compiler")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing loaded yet."""
    monkeypatch.setenv("WHISPER_NPU_CACHE", str(tmp_path / "cache"))
    native._built.cache_clear()
    yield tmp_path / "cache"
    native._built.cache_clear()


@needs_compiler
def test_it_is_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: compiled(), range(8)))
    assert found[0] is not None
    assert all(loops.library is found[0].library for loops in found)
    (entry,) = fresh.iterdir()
    made = (entry / native.LIBRARY).stat().st_mtime_ns
    native._built.cache_clear()  # as the next process would
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert compiled() is not None
    assert (entry / native.LIBRARY).stat().st_mtime_ns == made


@needs_compiler
def test_another_cpu_compiles_its_own(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder may serve several machines."""
    for flags in (["fma"], ["fma", "avx2"], ["fma"]):
        native._built.cache_clear()
        monkeypatch.setattr(native, "cpu_flags", lambda flags=flags: flags)
        assert compiled() is not None
    assert len(list(fresh.iterdir())) == 2


@needs_compiler
def test_several_are_compiled_meanwhile(fresh: Path) -> None:
    sources = [rows.SOURCE, host_gemm.SOURCE] if host_gemm.cpu_has_dot() else [rows.SOURCE]
    native.build_meanwhile(*sources)
    assert all(native.library(source) is not None for source in sources)  # waits, and compiles none again
    assert len(list(fresh.iterdir())) == len(sources)


def compiler_that(tmp_path: Path, does: str) -> str:
    script = tmp_path / "c++"
    script.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.parametrize(
    "does",
    [None, "exit 1", "exit 0", 'for last; do :; done; echo "no library" > "$last"', "kill -9 $$"],
    ids=["absent", "fails", "writes nothing", "writes nonsense", "is killed"],
)
@pytest.mark.usefixtures("fresh")
def test_without_a_compiler_that_works_numpy_does_it(
    does: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler_that(tmp_path, does) if does else "/nowhere/c++")
    assert compiled() is None
    scores = np.array([[0, np.log(3)]], np.float32)
    assert np.allclose(softmax(scores, -1), [[0.25, 0.75]])
    assert on_grid(np.array([1 + 2.0**-8], np.float32), Rounding.NEAREST_EVEN).tolist() == [1]
    monkeypatch.delenv("CXX")
    native._built.cache_clear()
    assert (compiled() is None) == (find_cxx(os.environ) is None)  # the failure is not remembered


@needs_compiler
def test_a_cache_that_cannot_be_written(fresh: Path) -> None:
    fresh.write_text("a file where the folder should be", encoding="utf-8")
    assert compiled() is None


def test_the_compiler_is_the_one_of_the_environment() -> None:
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    path = os.environ["PATH"]
    assert find_cxx({"PATH": path}) == (None if found is None else (found,))
    assert find_cxx({"PATH": path, "CXX": "sh -c"}) == (shutil.which("sh"), "-c")
    assert find_cxx({"PATH": path, "CXX": "/nowhere/c++"}) is None
    assert find_cxx({"PATH": path, "CXX": '"sh'}) is None
