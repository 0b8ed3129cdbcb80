"""Stores of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem


class NoCredentialsError(Exception):
    """As those of botocore: of no class that we know."""


class Moody(MemoryFileSystem):
    """In memory, not known to write whole objects. Fails where `fails` says so, and counts its calls."""

    protocol = "moody"
    store: dict[str, Any] = {}  # noqa: RUF012 - of its own, as the base class has one
    pseudo_dirs = [""]  # noqa: RUF012
    fails: dict[str, Exception] = {}  # noqa: RUF012 - by method
    calls: list[str] = []  # noqa: RUF012

    find = AbstractFileSystem.find  # goes from folder to folder by `ls`

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("moody://", "memory://"))

    def _met(self, method: str) -> None:
        self.calls.append(method)
        if method in self.fails:
            raise self.fails[method]

    def info(self, path, **kwargs):
        self._met("info")
        return super().info(path, **kwargs)

    def ls(self, path, detail=True, **kwargs):
        self._met("ls")
        return super().ls(path, detail, **kwargs)

    def _open(self, path, *args, **kwargs):
        self._met("open")
        return super()._open(path, *args, **kwargs)

    def pipe_file(self, path, value, **kwargs):
        if "half" in self.fails:
            super().pipe_file(path, value[: len(value) // 2], **kwargs)
            raise self.fails["half"]
        self._met("pipe_file")
        super().pipe_file(path, value, **kwargs)

    def rm_file(self, path):
        self._met("rm_file")
        super().rm_file(path)


fsspec.register_implementation("moody", Moody, clobber=True)


@pytest.fixture
def moody() -> Iterator[type[Moody]]:
    Moody.store.clear()
    Moody.pseudo_dirs[:] = [""]
    Moody.fails.clear()
    Moody.calls.clear()
    yield Moody
    Moody.fails.clear()


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """What memory:// means, empty."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
