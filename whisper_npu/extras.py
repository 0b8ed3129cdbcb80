"""Packages that only some commands need, checked before the work begins."""

from __future__ import annotations

from importlib.util import find_spec

from whisper_npu.errors import MissingPackageError


def require_package(package: str, extra: str, purpose: str) -> None:
    """Raises MissingPackageError, with the command that installs it, where `package` is missing.

    extra: the extra of whisper-npu that brings the package.
    """
    if find_spec(package) is None:
        raise MissingPackageError(
            f"{purpose} needs {package}, which is not installed: pip install 'whisper-npu[{extra}]'"
        )
