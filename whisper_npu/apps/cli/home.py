"""The user's home folder, which a container or a service may not have."""

from __future__ import annotations

import os
from pathlib import Path

from whisper_npu.errors import UsageError, shown


def expanded(path: Path, option: str) -> Path:
    """With the home folder in the place of ~. Raises UsageError where there is none. option: its name."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(
            f"{option} {shown(path)}: there is no home folder here; write the path without ~, or set HOME"
        ) from None


def has_home() -> bool:
    """Whether ~ means a folder: by $HOME, or by the system's list of users."""
    return os.path.isabs(os.path.expanduser("~"))
