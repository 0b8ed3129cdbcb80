"""Whom the queue takes for one client."""

from __future__ import annotations

import pytest

from whisper_npu.apps.server.addresses import client_of


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("192.168.1.5", 1234), "192.168.1.5"),
        (("::1", 1), "::"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::"),
        (("2001:db8:1:2:ffff::", 1), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1), "fe80::"),
        (("::ffff:192.168.1.5", 1), "192.168.1.5"),
        (("testclient", 1), "testclient"),
        (None, "local"),
    ],
)
def test_client_of(peer: tuple[str, int] | None, client: str) -> None:
    assert client_of({"client": peer}) == client


def test_a_scope_without_a_client() -> None:
    assert client_of({}) == "local"
