"""`whisper-npu models ...`."""

from __future__ import annotations

from whisper_npu.apps.cli.command import Group

models = Group("models", help="List, download, verify and remove models.")
