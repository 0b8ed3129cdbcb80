"""The command line: a module for each group of commands, `app` with the program itself."""

from whisper_npu.apps.cli.app import main, run

__all__ = ["main", "run"]
