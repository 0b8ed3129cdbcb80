"""Packages that only some commands need: asked for before the work, and named with the way to get them."""

from __future__ import annotations

from importlib.util import find_spec

from whisper_npu.errors import MissingPackageError


def require_package(package: str, extra: str, purpose: str) -> None:
    """Raises MissingPackageError where `package`, which the extra brings, is not installed."""
    if find_spec(package) is None:
        raise MissingPackageError(
            f"{purpose} needs {package}, which is not installed: pip install 'whisper-npu[{extra}]'"
        )
