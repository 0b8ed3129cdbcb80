"""Stores that fsspec opens: an object store, another machine's disk. And what a path has in common with them.

A place is what the user types: a path of this machine, or a URL such as s3://bucket/folder. A path is never
handed to fsspec, so that any name that a file may have works.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from whisper_npu.apps.sources import path_of
from whisper_npu.errors import MissingPackageError, UsageError, WhisperNpuError, one_line, shown

_URL = re.compile(r"[a-z][a-z0-9+._-]+(?:://|::)", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*@")  # user:password@
# What to install for a protocol, where fsspec alone does not speak it. Source: fsspec's registry.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "adl": "adlfs",
    "oci": "ocifs",
    "oss": "ossfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
    "webdav": "webdav4",
    "hdfs": "pyarrow",
    "hf": "huggingface_hub",
}
_FULL = re.compile(r"storage ?full|no space left|quota ?exceeded|insufficient ?storage", re.IGNORECASE)


class StoreError(WhisperNpuError):
    """A store from which recordings or their list cannot be read."""


@dataclass(frozen=True)
class Found:
    """What a store says of one file."""

    path: str  # as its file system names it
    size: int
    identity: str  # another one where the content has changed


class Store:
    """One file system of fsspec, and where in it the user's URL points.

    Raises UsageError for a protocol that fsspec does not know, MissingPackageError for one whose package is
    missing. What methods raise is the store's own: see `why`.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = url
        self.protocol = url.split("://", 1)[0].split("::")[0].lower()
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingPackageError(
                f"{without_secrets(url)}: needs fsspec, which is missing: pip install 'whisper-npu[ray]'"
            ) from error
        try:
            chain, rest = _chain_and_rest(url)
            self.fs, path = url_to_fs(chain, **dict(options or {}))
            path += rest
        except ImportError as error:
            package = _PACKAGES.get(self.protocol)
            remedy = f"pip install {package}" if package else one_line(error)
            raise MissingPackageError(
                f"{without_secrets(url)}: a package for {self.protocol}:// is not installed: {remedy}"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{without_secrets(url)}: cannot be used ({one_line(error)}); write a path, or a URL such as "
                "s3://bucket/folder, gs://bucket/folder, az://container/folder"
            ) from error
        except Exception as error:  # of a store's own class: wrong options, no credentials
            raise StoreError(f"{without_secrets(url)}: cannot be opened ({why(error)})") from error
        self.path = path.rstrip("/")

    def below(self, name: str) -> str:
        """The file system's path of a name relative to the URL."""
        return f"{self.path}/{name}" if name else self.path

    def files(self, folder: str = "") -> dict[str, Found]:
        """All files below a folder, by their name relative to it; an object store has no missing folders."""
        from fsspec import AbstractFileSystem

        top = self.below(folder)
        self.fs.invalidate_cache()
        # Stores with a listing of their own tell what fails. The others leave out what cannot be listed.
        walks = type(self.fs).find is AbstractFileSystem.find and not self.fs.async_impl
        try:
            listed = self.fs.find(top, detail=True, **({"on_error": "raise"} if walks else {}))
        except FileNotFoundError:
            return {}
        root = self.fs._strip_protocol(top).rstrip("/") + "/"
        return {
            path[len(root) :]: found(path, info)
            for path, info in listed.items()
            if path.startswith(root) and info.get("type", "file") == "file"
        }

    def read(self, path: str, at_most: int) -> bytes:
        """Raises OSError where the file holds more than `at_most` bytes."""
        with self.fs.open(path, "rb") as file:
            content: bytes = file.read(at_most + 1)
        if len(content) > at_most:
            raise OSError(errno.EFBIG, f"it holds more than {at_most:,} bytes")
        return content


def _chain_and_rest(url: str) -> tuple[str, str]:
    """What fsspec takes for a chain of file systems, and what of a name it would take for one: a::b.wav."""
    if "::" not in url:
        return url, ""
    from fsspec import available_protocols

    links = url.split("::")
    n_links = len(links)
    while n_links > 1 and "://" not in links[n_links - 1] and links[n_links - 1] not in available_protocols():
        n_links -= 1
    return "::".join(links[:n_links]), "".join(f"::{link}" for link in links[n_links:])


def found(path: str, info: Mapping[str, Any]) -> Found:
    """info: as fsspec's `info` and `ls` give it."""
    size = int(info.get("size") or 0)
    return Found(path, size, f"{size}-{_state(info)}")


_HASHES = ("etag", "md5hash", "content_md5", "md5", "checksum", "content-md5")
_TIMES = (
    "lastmodified",
    "last_modified",
    "last-modified",
    "mtime",
    "modified",
    "modify",
    "updated",
    "created",
)


def _state(info: Mapping[str, Any]) -> str:
    """What tells two states of a file apart: a digest if the store has one, else a time."""
    by_name = {str(key).lower(): value for key, value in info.items()}
    for name in (*_HASHES, *_TIMES):
        if value := by_name.get(name):
            return _stamp(value)
    return ""


def _stamp(value: object) -> str:
    """The same whether a store gives a time as `info` or as `ls` does."""
    if isinstance(value, datetime):
        value = value.timestamp()
    return f"{value:.6f}" if isinstance(value, float) else str(value).strip('"')


def is_url(place: str) -> bool:
    """Whether fsspec is to open it. file:// is a path of this machine."""
    return bool(_URL.match(place)) and not place.lower().startswith("file://")


def local_path(place: str) -> str:
    """The absolute path that is meant, by a file:// address or with ~. It may cross to another process."""
    return os.path.abspath(path_of(place))


def joined(url: str, name: str) -> str:
    """The URL of a name below that of a folder, with a chain such as simplecache::s3://bucket too."""
    chain, rest = _chain_and_rest(url)
    links = [url] if rest else chain.split("::")
    index = next((i for i, link in enumerate(links) if "://" in link), len(links) - 1)
    folder = links[index]
    links[index] = f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"
    return "::".join(links)


def folder_of(url: str) -> str:
    """The URL of the folder that something is in. Nothing is above the host or the bucket."""
    folder = url.rpartition("/")[0]
    return url if folder.endswith((":/", ":")) else folder


def without_secrets(place: str) -> str:
    """As it may be printed: a password in a URL is left out."""
    return shown(_PASSWORD.sub(r"\1@", place))


def is_full(error: BaseException) -> bool:
    """Whether a store or disk has no room left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return _FULL.search(str(error)) is not None


def why(error: BaseException) -> str:
    """An error of any class as part of one line."""
    if isinstance(error, OSError) and error.strerror:
        text = " ".join(str(error.strerror).split())
    else:
        text = one_line(error)
    return without_secrets(text or type(error).__name__)
