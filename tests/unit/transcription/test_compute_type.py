"""The decoder's compute types: CTranslate2's names, those of this CPU, and one chosen for it."""

from __future__ import annotations

import ctranslate2
import pytest

from whisper_npu.errors import UsageError
from whisper_npu.transcription.compute_type import computes_in_int8, resolve_compute_type


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> set[str]:
    """A CPU that computes in what the test names."""
    supported: set[str] = set(request.param)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda device: supported)
    return supported


@pytest.mark.parametrize("cpu", [("float32", "int8", "int8_float32", "int16")], indirect=True)
def test_auto_takes_int8_where_the_cpu_has_it(cpu: set[str]) -> None:
    assert resolve_compute_type("auto") == "int8_float32"
    assert {name for name in cpu if computes_in_int8(resolve_compute_type(name))} == {"int8", "int8_float32"}


@pytest.mark.parametrize("cpu", [("float32",)], indirect=True)
def test_auto_takes_float32_where_it_has_not(cpu: set[str]) -> None:
    assert resolve_compute_type("auto") == "float32"
    assert not computes_in_int8("float32")


@pytest.mark.parametrize("cpu", [("float32", "int16")], indirect=True)
@pytest.mark.parametrize("name", ["int8", "float16", "fast", ""])
def test_what_the_cpu_does_not_compute_in_is_refused_with_what_it_does(cpu: set[str], name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' .*: auto, float32, int16$"):
        resolve_compute_type(name)


def test_every_name_of_this_cpu_is_taken_as_it_is() -> None:
    for name in ctranslate2.get_supported_compute_types("cpu"):
        assert resolve_compute_type(name) == name
