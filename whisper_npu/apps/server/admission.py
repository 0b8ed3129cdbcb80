"""Who may ask at all: the Host header (DNS rebinding), the origin (pages of other sites), the API key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from whisper_npu.apps.server.addresses import Host, KnownHosts, Origin
from whisper_npu.apps.server.key import ApiKey, wrong_key
from whisper_npu.apps.server.refusals import Refusal
from whisper_npu.errors import shown

if TYPE_CHECKING:
    from whisper_npu.apps.server.settings import ServerSettings


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A request's head, and who asks."""

    method: str
    path: str
    scheme: str
    headers: Headers
    is_of_page: bool
    client: str
    is_websocket: bool = False

    @property
    def is_preflight(self) -> bool:
        return self.method == "OPTIONS" and "access-control-request-method" in self.headers


class Admission:
    """By the server's settings. Each check returns the refusal, or None."""

    def __init__(self, settings: ServerSettings) -> None:
        self._hosts = KnownHosts(settings.host, settings.allowed_hosts)
        self._every_origin = "*" in settings.allowed_origins
        self._origins = {Origin.parse(text) for text in settings.allowed_origins} - {None}
        self._key = None if settings.api_key is None else ApiKey(settings.api_key)

    @property
    def needs_key(self) -> bool:
        return self._key is not None

    def wrong_host(self, asking: Asking) -> Refusal | None:
        given = asking.headers.getlist("host")
        host = Host.parse(given[0]) if len(given) == 1 else None
        if host is None:
            return Refusal(
                400, "the request must have one Host header, with a name or address", "host", code="bad_host"
            )
        if host in self._hosts:
            return None
        return Refusal(
            421,
            f"this server does not answer to the name {_quoted(host.name)}; if it is its name, start it with "
            f"--allowed_hosts {_quoted(host.name)}",
            "host",
            code="host_not_allowed",
        )

    def is_guest(self, asking: Asking) -> bool:
        """Whether a page of another site asks that may."""
        given = asking.headers.getlist("origin")
        if len(given) != 1:
            return False
        origin = Origin.parse(given[0])
        return origin is not None and (self._every_origin or origin in self._origins)

    def wrong_origin(self, asking: Asking) -> Refusal | None:
        given = asking.headers.getlist("origin")
        site = asking.headers.get("sec-fetch-site")
        if self.is_guest(asking) or (
            site in (None, "same-origin", "none") and self._is_own(asking, given, site)
        ):
            return None
        is_link = asking.headers.get("sec-fetch-mode") == "navigate" and asking.method in ("GET", "HEAD")
        if is_link and asking.is_of_page and not given:
            return None  # it gives the other site nothing, and asks for nothing
        origin = Origin.parse(given[0]) if len(given) == 1 else None
        name = _quoted(given[0]) if origin else "another site"
        to_allow = name if origin else "and the page's origin, such as https://example.com"
        return Refusal(
            403,
            f"a web page of {name} may not use this server; to let it, start the server with "
            f"--allowed_origins {to_allow}",
            "origin",
            code="origin_not_allowed",
        )

    def _is_own(self, asking: Asking, given: list[str], site: str | None) -> bool:
        if not given:
            return True
        origin = Origin.parse(given[0]) if len(given) == 1 else None
        host = Host.parse(asking.headers["host"])
        if origin is None or host is None or not origin.is_at(host):
            return False
        # Behind a proxy with TLS the schemes differ; then the browser, which knows both, must say so. Of a
        # WebSocket not every browser does, but a page at https has this very name from that proxy.
        is_behind_proxy = asking.is_websocket and origin.scheme == "https"
        return origin.scheme == asking.scheme or site == "same-origin" or is_behind_proxy

    def wrong_key(self, asking: Asking) -> Refusal | None:
        is_open = asking.is_of_page or asking.path == "/health" or asking.is_preflight
        if self._key is None or is_open:
            return None
        given = asking.headers.getlist("authorization")
        scheme, _, key = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
        if self._key.is_it(key.strip()) and scheme.lower() == "bearer":
            return None
        return wrong_key(is_given=bool(key), how="send the header `Authorization: Bearer KEY`")


def _quoted(text: str) -> str:
    return shown(text if len(text) <= 100 else text[:97] + "...")
