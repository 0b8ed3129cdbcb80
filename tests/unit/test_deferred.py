"""Modules whose import waits until somebody uses them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from whisper_npu.deferred import deferred


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A heavy module, and a user of it."""
    (tmp_path / "heavy_of_test.py").write_text("number = 7\n", "utf-8")
    (tmp_path / "user_of_test.py").write_text(
        "import heavy_of_test\ndef read():\n    return heavy_of_test.number\n", "utf-8"
    )
    (tmp_path / "taker_of_test.py").write_text("from heavy_of_test import number\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("heavy_of_test", "user_of_test", "taker_of_test"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_deferred_module_is_imported_when_it_is_used(modules: Path) -> None:
    with deferred("heavy_of_test"):
        user = importlib.import_module("user_of_test")
    assert "heavy_of_test" not in sys.modules
    assert user.read() == 7
    assert importlib.import_module("heavy_of_test") is sys.modules["heavy_of_test"]
    assert sys.modules["heavy_of_test"].number == user.read()


def test_what_is_wanted_at_once_is_there_at_once(modules: Path) -> None:
    with deferred("heavy_of_test"):
        assert importlib.import_module("taker_of_test").number == 7
    assert sys.modules["heavy_of_test"].__file__ == str(modules / "heavy_of_test.py")


def test_what_was_imported_before_stays(modules: Path) -> None:
    heavy = importlib.import_module("heavy_of_test")
    with deferred("heavy_of_test"):
        assert importlib.import_module("user_of_test").heavy_of_test is heavy
    assert sys.modules["heavy_of_test"] is heavy


def test_a_module_that_is_missing_is_named_when_it_is_used(modules: Path) -> None:
    (modules / "heavy_of_test.py").unlink()
    with deferred("heavy_of_test"):
        user = importlib.import_module("user_of_test")
    with pytest.raises(ModuleNotFoundError, match="heavy_of_test"):
        user.read()


def test_transcribing_imports_neither_ffmpeg_nor_asyncio_until_it_needs_them() -> None:
    code = """
import sys
from whisper_npu.transcription import load
print(sorted({"av", "asyncio", "onnxruntime", "transformers"} & set(sys.modules)))
from faster_whisper import audio
print(audio.av.open.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "av.container.core"]
