"""The command line: one module per group of commands, and `app` with the program itself."""

from whisper_npu.apps.cli import clock  # noqa: F401 # first of all: it notes when the program started
from whisper_npu.apps.cli.app import main, run

__all__ = ["main", "run"]
