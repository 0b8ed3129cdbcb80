"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from whisper_npu.apps.server.addresses import NULL, Host, Origin
from whisper_npu.errors import UsageError, quoted

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ServerSettings:
    """Where it listens, who may use it, and how much. Names and defaults are those of `whisper-npu serve`.

    Raises UsageError for a value out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: a free one
    api_key: str | None = field(default=None, repr=False)  # None: nobody needs one
    allowed_hosts: tuple[str, ...] = ()  # names for the Host header besides this machine's own
    allowed_origins: tuple[str, ...] = ()  # of other web pages that may use the server
    max_upload_mb: float = 200.0  # of one request's body, in millions of bytes
    max_audio_seconds: float = 4 * 3600.0  # of one recording
    max_queue: int = 16  # requests that wait while another one is worked on
    max_live: int = 4  # sessions of those who speak live, at a time
    request_timeout: float = 600.0  # seconds of work for one request, its wait not counted

    def __post_init__(self) -> None:
        if not self.host:
            raise UsageError(
                "host is empty, must be an address or a name; 127.0.0.1 is for this machine only"
            )
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port is {self.port}, must be from 0 to 65535; 0 takes a free one")
        if self.api_key is not None and not is_key(self.api_key):
            raise UsageError("api_key must be one word of ASCII letters, digits and marks")
        for name in ("max_upload_mb", "max_audio_seconds", "request_timeout"):
            value = getattr(self, name)
            if not isfinite(value) or value <= 0:
                raise UsageError(f"{name} is {value:g}, must be above 0")
        for name in ("max_queue", "max_live"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}, must be 0 or more")
        for name in self.allowed_hosts:
            if name != "*" and not _is_host_name(name.removeprefix("*.")):
                raise UsageError(
                    f"allowed_hosts has {quoted(name)}, must be a name without scheme and port, such as "
                    "box.example.com, or *.example.com for all below it"
                )
        for origin in self.allowed_origins:
            if origin != "*" and Origin.parse(origin) is None:
                raise UsageError(
                    f"allowed_origins has {quoted(origin)}, must be a page's scheme, name and port without a "
                    "path, such as https://example.com or app://obsidian.md; null is for pages without one"
                )
        everybody = {"*", NULL} & {*self.allowed_hosts, *self.allowed_origins}  # any page can be null
        if everybody and self.api_key is None:
            raise UsageError(
                f"'{min(everybody)}' without an api_key lets every web page use the server from the browser "
                "of whoever opens it: name the hosts and origins, or set an api_key"
            )

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * MEGABYTE)


def _is_host_name(text: str) -> bool:
    host = Host.parse(text)
    return host is not None and host.port is None


def is_key(key: str) -> bool:
    """Whether an HTTP header can carry it."""
    return bool(key) and all("!" <= character <= "~" for character in key)
