"""Where this machine's C++ compiler is."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping

COMPILERS = ("c++", "g++", "clang++")  # looked for on PATH, after $CXX


def find_cxx(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The compiler's command: $CXX, which may carry options, or the first that PATH has; or None."""
    try:
        chosen = shlex.split(environ.get("CXX", ""))
    except ValueError:  # a quote that is never closed
        return None
    for command in [chosen] if chosen else [[name] for name in COMPILERS]:
        if found := shutil.which(command[0], path=environ.get("PATH")):
            return (found, *command[1:])
    return None
