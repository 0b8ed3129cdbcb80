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


@pytest.mark.parametrize("cpu", [("float32", "int8", "int8_float32")], indirect=True)
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("int16", "float32"),
        ("int8_float16", "int8_float32"),
        ("int8_bfloat16", "int8_float32"),
    ],
)
def test_what_the_cpu_does_not_compute_in_is_refused_with_the_nearest(
    cpu: set[str], name: str, nearest: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_compute_type(name)
    assert f"'{name}' needs other hardware: the decoder runs on the CPU" in str(caught.value)
    assert f"the nearest is {nearest}; choose from auto, default, float32, int8" in str(caught.value)


@pytest.mark.parametrize("cpu", [("float32", "int16")], indirect=True)
@pytest.mark.parametrize("name", ["int8", "int8_float32"])
def test_a_cpu_without_int8_computes_in_float32(cpu: set[str], name: str) -> None:
    with pytest.raises(UsageError, match=r"the nearest is float32; choose .* float32, int16$"):
        resolve_compute_type(name)


@pytest.mark.parametrize("cpu", [("float32", "int16")], indirect=True)
@pytest.mark.parametrize("name", ["fast", "", "FLOAT32"])
def test_what_is_no_type_is_refused_with_what_is(cpu: set[str], name: str) -> None:
    message = f"unknown compute type '{name}'; choose from auto, default, float32, int16$"
    with pytest.raises(UsageError, match=message):
        resolve_compute_type(name)


def test_the_default_leaves_the_weights_as_they_are() -> None:
    assert resolve_compute_type("default") == "default"
    assert not computes_in_int8("default")


def test_every_name_of_this_cpu_is_taken_as_it_is() -> None:
    for name in ctranslate2.get_supported_compute_types("cpu"):
        assert resolve_compute_type(name) == name
