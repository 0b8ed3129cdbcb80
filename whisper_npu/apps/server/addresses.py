"""Who is meant and who asks: the Host and Origin headers, and a client's address."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

# RFC 9110, 7.2: a name or an IPv4 address, or an IPv6 address in brackets; a port may follow.
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>.*)")  # RFC 6454, 6.2
_PORTS = {"http": 80, "https": 443}
NULL = "null"


@dataclass(frozen=True)
class Host:
    """A Host header."""

    name: str  # in lower case, without brackets and the dot at its end
    port: int | None
    is_address: bool

    @classmethod
    def parse(cls, text: str) -> Host | None:
        """None where `text` is no host."""
        found = _HOST.fullmatch(text)
        if found is None:
            return None
        port = int(found["port"]) if found["port"] else None
        name = (found["v6"] or found["name"]).lower().removesuffix(".")
        version = _ip_version(name)
        if (found["v6"] and version != 6) or not name or (port or 0) > 65535:
            return None
        return cls(name, port, is_address=version is not None)


@dataclass(frozen=True)
class Origin:
    """An Origin header: of the page that asks."""

    scheme: str
    name: str  # "" of a scheme without hosts, such as file:// and, in Electron, app://
    port: int | None  # None: the scheme has no default

    @classmethod
    def parse(cls, text: str) -> Origin | None:
        """None where `text` is no origin. "null" is what a browser calls a page that has no other."""
        if text == NULL:
            return cls(NULL, "", None)
        found = _ORIGIN.fullmatch(text)
        if found is None:
            return None
        scheme = found["scheme"].lower()
        if not found["host"]:
            return None if scheme in _PORTS else cls(scheme, "", None)
        host = Host.parse(found["host"])
        if host is None:
            return None
        return cls(scheme, host.name, host.port or _PORTS.get(scheme))

    def is_at(self, host: Host) -> bool:
        """Whether a page of this origin came from that host and port."""
        return (self.name, self.port) == (host.name, host.port or _PORTS.get(self.scheme))


class KnownHosts:
    """The names by which this server may be called.

    An address always is one: a page has it in its Host header only if it came from there. A name is one if
    nobody else can point it here; under any other, a foreign site could reach the server by DNS rebinding and
    be taken for its own page.
    """

    def __init__(self, bound: str, allowed: Iterable[str]) -> None:
        """allowed: names besides the machine's own; `*.example.com` has all below it, `*` has all."""
        machine = socket.gethostname().lower()
        label = machine.split(".")[0]
        names = [name.lower().removesuffix(".") for name in allowed]
        self._names = {"localhost", bound.lower(), machine, label, f"{label}.local", *names}
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._all = "*" in names

    def __contains__(self, host: Host) -> bool:
        return self._all or host.is_address or host.name in self._names or host.name.endswith(self._suffixes)


def client_of(scope: Scope) -> str:
    """Whom the queue takes for one client: a remote address, of IPv6 its /64 (one machine has many in it)."""
    peer = scope.get("client")
    if not peer:
        return "local"  # a Unix socket
    try:
        address = ip_address(peer[0].split("%")[0])
    except ValueError:
        return str(peer[0])
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))


def _ip_version(name: str) -> int | None:
    """None where it is no address."""
    try:
        return ip_address(name).version
    except ValueError:
        return None
