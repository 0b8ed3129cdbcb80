"""The place of an error that nobody foresaw, for whoever asks for it."""

from __future__ import annotations

import os
import sys
import traceback

from whisper_npu.apps.cli.terminal import Stderr, lines_shown
from whisper_npu.apps.described import TRACEBACK


def print_traceback(error: BaseException) -> None:
    """On stderr, where the user has asked for it by a variable."""
    if os.environ.get(TRACEBACK):
        Stderr(sys.stderr).write(lines_shown("".join(traceback.format_exception(error))))
