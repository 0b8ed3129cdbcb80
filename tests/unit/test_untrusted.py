"""Reading what somebody else wrote: no wait, no crash, no more memory than the file may take."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import NO_FILES, NO_OBJECTS
from whisper_npu.untrusted import json_object, json_value, open_regular, read_object, read_regular


@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_what_is_no_object_is_a_value_error_of_one_line(content: bytes) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is json's or ours
        json_object(content)
    assert len(str(caught.value)) < 300


def test_objects_are_read_with_a_mark_before_them_and_without_numbers_that_json_lacks() -> None:
    assert json_object("\ufeff{}".encode()) == {}
    assert json_object(b'{"a": NaN, "b": [-Infinity, 1e999], "c": 1e3}') == {
        "a": None,
        "b": [None, None],
        "c": 1e3,
    }
    assert json_object(b'{"a": ' + b"9" * 300 + b"}") == {"a": int("9" * 300)}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_what_python_writes_is_read(value: object) -> None:
    assert json_value(json.dumps(value).encode()) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_a_value_error(content: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(json_object(content), dict)


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "file")
    with pytest.raises(OSError):  # noqa: PT011  # each has a number of its own
        read_object(tmp_path / "file")


@pytest.mark.parametrize("name", ["absent", "a\0b", "x" * 5000])
def test_a_name_that_cannot_be_opened_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        open_regular(f"{tmp_path}/{name}")


def test_no_more_is_read_than_a_file_may_hold(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        read_regular(tmp_path / "file", 1_000)
    (tmp_path / "link").symlink_to(tmp_path / "small")
    (tmp_path / "small").write_bytes(b"x" * 1_000)
    assert read_regular(tmp_path / "link", 1_000) == b"x" * 1_000
