"""Gets a published set of kernels from a folder or a web server, and installs all of it or nothing.

Nothing that a server sends is trusted: names, sizes and redirects are limited, every file is compared with
the set's SHA256SUMS, and every kernel with what this version of the program would build
(kernels/published.py). That the list itself comes from whom it should, only its signature can say.
"""

from __future__ import annotations

import os
import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from whisper_npu import __version__
from whisper_npu.errors import UsageError, WhisperNpuError, quoted
from whisper_npu.home import expanded
from whisper_npu.kernels.published import (
    INDEX,
    MAX_LIST_BYTES,
    SIGNATURE,
    SUMS,
    DamagedSetError,
    PublishedKernel,
    check_kernel,
    read_index,
    read_sums,
)
from whisper_npu.kernels.replace import replace_all
from whisper_npu.kernels.signature import SignatureError, verify
from whisper_npu.owned import owned_folder
from whisper_npu.untrusted import read_regular

TIMEOUT_SECONDS = 30.0
_FILE_TIMEOUTS = 10  # a file may take this many timeouts: a server that sends a byte now and then is away
_REDIRECTS = 5


class UnreachableError(WhisperNpuError):
    """A server that is away, too slow, or answers with an error or a redirect that is not followed."""


class InstallError(WhisperNpuError):
    """The kernel folder cannot be written."""


class MissingFileError(DamagedSetError):
    """A set lacks a file."""


@dataclass(frozen=True)
class FetchedKernel:
    """One kernel of the set, in the kernel folder."""

    name: str
    folder: Path
    is_new: bool  # False: it was there already, the same byte for byte

    @property
    def outcome(self) -> str:
        return "fetched" if self.is_new else "up to date"


# --- Where a set is -----------------------------------------------------------------------------------------


class Origin(Protocol):
    """Where a set is."""

    def __str__(self) -> str: ...

    def read(self, name: str, limit: int) -> bytes:
        """A file of the set.

        Raises MissingFileError; DamagedSetError for one of more bytes than `limit`, or half of one;
        UnreachableError.
        """


def origin_of(text: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Origin:
    """A folder, or the address of one on a web server.

    Raises UsageError for a folder that is not there, and for any other kind of address.
    """

    def refuse(reason: str) -> UsageError:
        return UsageError(f"--from {quoted(_without_secrets(text))}: {reason}")

    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text):
        folder = Path(expanded(text))
        if not text.strip() or not os.path.isdir(folder):  # a name that is too long is none, too
            raise refuse("there is no such folder, and an address begins with http:// or https://")
        return SetFolder(folder)
    try:
        address = urlsplit(text)
        host = address.hostname
    except ValueError:  # a bracket without its other one
        host = None
    if not host or address.scheme not in ("http", "https") or re.search(r"[\s\x00-\x1f]", text):
        raise refuse("give a folder, or http://... or https://...")
    if "@" in address.netloc:
        raise refuse("give an address without a user's name and password; none is sent")
    if "?" in text or "#" in text:
        raise refuse("give an address without ? and #, names of files are put behind it")
    try:
        if address.port == 0:
            raise ValueError
    except ValueError:
        raise refuse("the port behind the : must be a number from 1 to 65535") from None
    return SetServer(text.rstrip("/"), timeout_seconds)


def _without_secrets(address: str) -> str:
    """An address to print: without what may be a name, a password, or a token in it."""
    head, separator, rest = address.partition("://")
    scheme, rest = (head + separator, rest) if separator else ("", address)
    login, at, rest = rest.rpartition("@")
    if at and not scheme and ":" not in login:  # a folder's name
        return address
    place = re.split("[?#]", rest, maxsplit=1) if scheme else [rest]
    return scheme + ("...@" if at else "") + place[0] + ("?..." if len(place) > 1 else "")


@dataclass(frozen=True)
class SetFolder:
    """A set in a folder of this machine."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def read(self, name: str, limit: int) -> bytes:
        path = self.folder / name
        if not path.is_file():
            raise MissingFileError(f"{self.folder} has no file {name}: it is no whole set of kernels")
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise UnreachableError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) > limit:
            raise _too_large(str(path), limit)
        return content


@dataclass(frozen=True)
class SetServer:
    """A set behind an address: of a release on GitHub, https://.../releases/download/TAG."""

    address: str
    timeout_seconds: float

    def __str__(self) -> str:
        return self.address

    def read(self, name: str, limit: int) -> bytes:
        address = f"{self.address}/{name}"
        try:
            request = urllib.request.Request(address, headers={"User-Agent": f"whisper-npu/{__version__}"})
            with _opener().open(request, timeout=self.timeout_seconds) as response:
                return self._content(response, address, limit)
        except HTTPError as error:
            with error:
                raise _answered(address, error) from error
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            silent = isinstance(reason, TimeoutError)
            why = f"no answer within {self.timeout_seconds:g} s" if silent else str(reason) or repr(reason)
            raise UnreachableError(
                f"{address} cannot be fetched: {why}; try again, or --from another server or a folder"
            ) from error

    def _content(self, response: HTTPResponse, address: str, limit: int) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(address, limit)
        content, last_moment = bytearray(), time.monotonic() + _FILE_TIMEOUTS * self.timeout_seconds
        while chunk := response.read1(1 << 16):
            content += chunk
            if len(content) > limit:
                raise _too_large(address, limit)
            if time.monotonic() > last_moment:
                raise UnreachableError(
                    f"{address} cannot be fetched: only {len(content):,} bytes came within "
                    f"{_FILE_TIMEOUTS * self.timeout_seconds:g} s; try again, or with a larger --timeout"
                )
        if announced.isdecimal() and len(content) < int(announced):
            raise DamagedSetError(
                f"{address} broke off after {len(content):,} of {int(announced):,} bytes: try again"
            )
        return bytes(content)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, never from https to http, and to no address with a user's name."""

    max_redirections = _REDIRECTS

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:
            raise HTTPError(
                req.full_url, code, f"it redirects to no address ({error})", headers, fp
            ) from error
        except HTTPError as error:
            if not str(error.reason).startswith(self.inf_msg):
                raise
            reason = f"it redirects in a circle, or more than {_REDIRECTS} times"
            raise HTTPError(req.full_url, code, reason, headers, fp) from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        to = urlsplit(newurl)
        if to.scheme not in allowed or "@" in to.netloc:
            reason = f"it redirects to {_without_secrets(newurl)}, which is not followed"
            raise HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """urllib's own also reads file:, ftp: and data:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _answered(address: str, error: HTTPError) -> WhisperNpuError:
    reason = " ".join(str(error.reason).split())
    if error.code in (404, 410):
        return MissingFileError(f"{address} is not there ({error.code} {reason}): is this a set's address?")
    if 300 <= error.code < 400:
        return UnreachableError(f"{address} cannot be fetched: {reason}; is this a set's address?")
    return UnreachableError(f"{address} cannot be fetched: the server answers {error.code} {reason}")


def _too_large(called: str, limit: int) -> DamagedSetError:
    return DamagedSetError(f"{called} has more than the {limit:,} bytes that it may have")


# --- Fetching -----------------------------------------------------------------------------------------------


def fetch(
    origin: Origin,
    folder: Path,
    *,
    trusted: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> list[FetchedKernel]:
    """Install a set into a kernel folder: all of its kernels, or none. Other kernels there stay.

    trusted: public keys, one of which must have signed the set; none: no signature is checked.
    say: is told what will take a while, in one line.
    A kernel that is there already byte for byte is not fetched again, but checked like the others.

    Raises SignatureError, DamagedSetError, ForeignKernelError, KernelManifestError, UnreachableError, or
    InstallError; the kernel folder then holds what it held before.
    """
    listed = origin.read(SUMS, MAX_LIST_BYTES)
    if trusted:
        try:
            signature = origin.read(SIGNATURE, MAX_LIST_BYTES)
        except MissingFileError as error:
            raise SignatureError(
                f"the set {origin} is not signed (it has no {SIGNATURE}), and --signer asks for a signature: "
                "ask who published it for a signed one"
            ) from error
        verify(listed, signature, trusted)
    sums = read_sums(listed, str(origin))
    kernels = read_index(_checked(origin, INDEX, MAX_LIST_BYTES, sums), str(origin))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with owned_folder(folder) as scratch:
            new, old = scratch / "new", scratch / "old"
            new.mkdir()
            old.mkdir()
            missing = [kernel.name for kernel in kernels if not _is_there(kernel, folder, sums)]
            size = sum(sum(kernel.sizes.values()) for kernel in kernels if kernel.name in missing)
            say(f"fetching {len(missing)} of {len(kernels)} kernels, {size / 1e6:.1f} MB, from {origin}")
            for kernel in kernels:
                if kernel.name in missing:
                    _get(origin, kernel, new / kernel.name, sums)
                check_kernel(
                    kernel.name, (new if kernel.name in missing else folder) / kernel.name, str(origin)
                )
            replace_all(missing, new, folder, old)
    except OSError as error:
        raise InstallError(
            f"kernel folder {folder} cannot be written ({error.strerror or error}), and is as it was; "
            "set WHISPER_NPU_KERNELS to a writable folder with room"
        ) from error
    return [FetchedKernel(kernel.name, folder / kernel.name, kernel.name in missing) for kernel in kernels]


def _checked(origin: Origin, name: str, limit: int, sums: dict[str, str]) -> bytes:
    expected = sums.get(name)
    if expected is None:
        raise DamagedSetError(f"{SUMS} of {origin} does not list {name}")
    content = origin.read(name, limit)
    found = sha256(content).hexdigest()
    if found != expected:
        raise DamagedSetError(
            f"{name} of {origin} has sha256 {found[:12]}..., its {SUMS} says {expected[:12]}...: "
            "half a file, or another one; fetch again, or ask who published it"
        )
    return content


def _get(origin: Origin, kernel: PublishedKernel, place: Path, sums: dict[str, str]) -> None:
    place.mkdir()
    for published, installed, size in kernel.files:
        content = _checked(origin, published, size, sums)
        if len(content) != size:
            raise DamagedSetError(
                f"{published} of {origin} has {len(content):,} bytes, its {INDEX} says {size:,}"
            )
        (place / installed).write_bytes(content)


def _is_there(kernel: PublishedKernel, folder: Path, sums: dict[str, str]) -> bool:
    try:
        return all(
            sha256(read_regular(folder / kernel.name / installed, size)).hexdigest() == sums.get(published)
            for published, installed, size in kernel.files
        )
    except OSError:
        return False
