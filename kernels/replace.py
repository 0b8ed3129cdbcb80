"""Folders that take the place of others, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def replace_all(names: Sequence[str], new: Path, folder: Path, old: Path) -> None:
    """Move what has these names from `new` into `folder`, and what was there to `old`; all back on a failure.

    The three are folders of one file system. Raises OSError where something cannot be moved.
    """
    try:
        for name in names:
            if (folder / name).exists():
                (folder / name).rename(old / name)
            (new / name).rename(folder / name)
    except BaseException:
        for name in names:
            if not (new / name).exists():
                (folder / name).rename(new / name)
            if (old / name).exists():
                (old / name).rename(folder / name)
        raise
