"""Folders with built kernels, by somebody who means harm: each is loaded as it was built, or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import stand_in_kernels
from tests.support.contracts import SMALL
from tests.support.fake_pyxrt import FakeXrt
from tests.support.hostile import NO_FILES, NO_OBJECTS, changed_json
from tests.support.npu import opened_npu
from whisper_npu.errors import KernelManifestError, KernelNotBuiltError, WhisperNpuError
from whisper_npu.npu import artifacts
from whisper_npu.npu.artifacts import as_compiled, built, find_kernel, searched_folders

XCLBIN, INSTS = f"{SMALL.name}.xclbin", f"{SMALL.name}.insts.bin"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return stand_in_kernels.write_kernel(tmp_path, SMALL, stand_in_kernels.xclbin(SMALL))


def refused(place: Path) -> str:
    with pytest.raises(KernelManifestError) as caught:
        find_kernel(SMALL, [place.parent])
    assert len(str(caught.value)) < 1_000
    return str(caught.value)


def test_the_bytes_whose_hash_was_compared_are_those_that_are_loaded(place: Path) -> None:
    found = find_kernel(SMALL, [place.parent])
    assert found.configuration == (place / XCLBIN).read_bytes()
    assert found.instructions == (place / INSTS).read_bytes()


@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_a_manifest_that_is_no_object_is_refused(place: Path, content: bytes) -> None:
    (place / "manifest.json").write_bytes(content)
    assert "manifest.json" in refused(place)
    as_compiled(SMALL.target, [place.parent])  # which looks at it too


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize("name", ["manifest.json", XCLBIN, INSTS])
def test_what_is_no_file_is_refused_at_once(place: Path, name: str, make: Callable[[Path], None]) -> None:
    (place / name).unlink()
    make(place / name)
    with pytest.raises((KernelManifestError, KernelNotBuiltError)):
        find_kernel(SMALL, [place.parent])
    built([place.parent], SMALL.target)


def test_a_file_beyond_all_bounds_is_not_read(place: Path) -> None:
    os.truncate(place / XCLBIN, 1 << 40)
    assert f"{XCLBIN} cannot be read (it holds more than" in refused(place)


@pytest.mark.parametrize("name", [XCLBIN, INSTS])
def test_a_changed_byte_is_refused(place: Path, name: str) -> None:
    content = bytearray((place / name).read_bytes())
    content[-1] ^= 1
    (place / name).write_bytes(content)
    assert f"{name} is not the file that was built (its sha256 is another)" in refused(place)


def test_an_xclbin_that_is_exchanged_after_it_was_checked_does_not_reach_the_npu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_kernel

    def and_exchanged(*given: Any) -> artifacts.Artifact:
        artifact = found(*given)
        artifact.xclbin.write_bytes(b"another one")
        return artifact

    fake = FakeXrt()
    with opened_npu(tmp_path, fake, [SMALL]) as npu:
        monkeypatch.setattr("whisper_npu.npu.xrt.device.find_kernel", and_exchanged)
        npu.load(SMALL)  # it computes a known answer
    assert (tmp_path / "kernels" / SMALL.name / XCLBIN).read_bytes() == b"another one"
    assert fake.problems() == []


@pytest.mark.fuzz
@given(data=st.data())
def test_any_change_of_a_manifest(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "changed-manifests"
    if not folder.exists():
        stand_in_kernels.write_kernel(folder, SMALL, stand_in_kernels.xclbin(SMALL))
        (folder / SMALL.name / "manifest.json").rename(folder / "sound.json")
    manifest = json.loads((folder / "sound.json").read_text())
    (folder / SMALL.name / "manifest.json").write_bytes(data.draw(changed_json(manifest)))
    as_compiled(SMALL.target, [folder])
    with suppress(WhisperNpuError):
        find_kernel(SMALL, [folder])


@pytest.mark.parametrize("environ", [{}, {"WHISPER_NPU_KERNELS": "~/kernels"}, {"XDG_DATA_HOME": "~/data"}])
def test_who_has_no_home_has_no_kernels_of_their_own(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert built(searched_folders([Path("~/mine")], environ), SMALL.target) == ()
