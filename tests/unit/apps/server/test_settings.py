"""Which hosts and origins a server can be told to allow."""

from __future__ import annotations

import pytest

from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.errors import UsageError


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://box.example.com",
        "box.example.com:8000",
        "box/",
        "*box",
        "*.",
        "a,b",
        "box.*",
        "münchen.example",
    ],
)
def test_a_host_that_is_no_name(host: str) -> None:
    with pytest.raises(UsageError, match="allowed_hosts has"):
        ServerSettings(allowed_hosts=("fine.example", host))


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "example.com",
        "https://",
        "https://example.com/",
        "https://example.com/app",
        "https://*.example.com",
    ],
)
def test_an_origin_that_is_none(origin: str) -> None:
    with pytest.raises(UsageError, match="allowed_origins has"):
        ServerSettings(allowed_origins=("https://fine.example", origin))


@pytest.mark.parametrize("name", ["max_queue", "max_live"])
def test_fewer_than_none_are_no_limit(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is -1, must be 0 or more"):
        ServerSettings(**{name: -1})  # type: ignore[arg-type]


def test_hosts_and_origins_that_are_fine() -> None:
    ServerSettings(
        allowed_hosts=("box", "Box.example.com", "*.example.com", "192.168.1.5", "[::1]"),
        allowed_origins=(
            "https://example.com",
            "http://localhost:3000",
            "app://obsidian.md",
            "http://[::1]:80",
            "file://",
        ),
    )


@pytest.mark.parametrize(
    ("field", "name"), [("allowed_hosts", "*"), ("allowed_origins", "*"), ("allowed_origins", "null")]
)
def test_everybody_needs_a_key(field: str, name: str) -> None:
    with pytest.raises(UsageError, match="api_key"):
        ServerSettings(**{field: (name,)})
    ServerSettings(**{field: (name,)}, api_key="secret")


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(ServerSettings(api_key="secret"))
