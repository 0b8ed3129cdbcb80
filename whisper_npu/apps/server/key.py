"""The API key: what clients must know, compared without telling how much of it is right."""

from __future__ import annotations

import hashlib
import hmac

from whisper_npu.apps.server.refusals import Refusal


class ApiKey:
    """The server's."""

    def __init__(self, key: str) -> None:
        self._digest = _digest(key)

    def is_it(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given), self._digest)


def wrong_key(*, is_given: bool, how: str) -> Refusal:
    """how: to send it, as a clause."""
    message = "a wrong API key" if is_given else "an API key is needed"
    return Refusal(
        401,
        f"{message}: {how} with the server's key",
        "key",
        code="invalid_api_key",
        headers={"WWW-Authenticate": 'Bearer realm="whisper-npu"'},
    )


def _digest(key: str) -> bytes:
    """Of the same length for every key, so that comparing takes the same time."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
