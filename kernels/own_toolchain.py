"""The tools that `whisper-npu kernels setup` installs for itself: where they are, and whether they are whole.

A folder with a virtual environment in it. It counts from the moment that a marker is there, which is written
last; another file says that an installation has begun, so that a folder of the user's is never taken for one
that broke off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from whisper_npu.errors import UsageError
from whisper_npu.home import data_folder
from whisper_npu.untrusted import read_object

MARKER, UNFINISHED = "whisper-npu-toolchain.json", "whisper-npu-unfinished"
SCHEMA, SCHEMA_VERSION = "whisper-npu-toolchain", 1


@dataclass(frozen=True)
class Installed:
    """What an environment holds, as its marker says."""

    toolchain: str  # the name of a generation
    packages: tuple[str, ...]  # as pip was asked for them
    site_packages: str  # relative to the folder
    proved: bool  # a kernel was built with them


def toolchain_folder(environ: Mapping[str, str]) -> Path:
    """$WHISPER_NPU_TOOLCHAIN, or whisper-npu/toolchain in the user's data folder. Raises UsageError."""
    return data_folder("toolchain", "WHISPER_NPU_TOOLCHAIN", environ)


def installed(folder: Path) -> Installed | None:
    """What is installed in a folder; None where nothing is, or not all of it."""
    try:
        marker = read_object(folder / MARKER)
        if (marker.pop("schema"), marker.pop("schema_version")) != (SCHEMA, SCHEMA_VERSION):
            return None
        found = Installed(**{**marker, "packages": tuple(marker["packages"])})
        texts = found.toolchain, *found.packages, found.site_packages
        return found if all(isinstance(text, str) for text in texts) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_marker(folder: Path, what: Installed) -> None:
    """From here on it counts as installed."""
    marker = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(what)}
    new = folder / f"{MARKER}.new"
    new.write_text(json.dumps(marker, indent=2) + "\n", "utf-8")
    new.replace(folder / MARKER)


def site_packages(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The folder of the user's own tools, to look for packages in, once they have built a kernel."""
    try:
        folder = toolchain_folder(environ)
    except UsageError:  # who has no home folder has no tools in it
        return ()
    there = installed(folder)
    return (folder / there.site_packages,) if there and there.proved else ()
