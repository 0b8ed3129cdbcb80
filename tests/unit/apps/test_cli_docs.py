"""docs/cli.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from whisper_npu.apps.cli.app import app
from whisper_npu.apps.cli.docs import command_reference, commands, rewritten
from whisper_npu.checkpoint.names import HUB_IDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/cli.md").read_text(encoding="utf-8")


def test_the_page_lists_every_option_as_the_code_declares_it() -> None:
    assert rewritten(PAGE) == PAGE, "python -m whisper_npu.apps.cli.docs docs/cli.md"


def test_every_command_is_found() -> None:
    names = {name for name, _ in commands(app, "whisper-npu")}
    assert {"whisper-npu transcribe", "whisper-npu kernels build", "whisper-npu benchmark wer"} <= names


def test_options_with_their_values_and_defaults() -> None:
    reference = command_reference()
    assert "| `--task` | `TASK` | `transcribe` | " in reference
    assert "| `--batched` |  | off | " in reference
    assert "| `--threads` | `N` | `0` | " in reference


def test_the_page_names_every_model() -> None:
    assert [name for name in HUB_IDS if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_environment_variable() -> None:
    read = re.compile(r"environ(?:\.get|\.setdefault)?[(\[]\"(\w+)\"")
    files = [*(ROOT / "whisper_npu").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    variables = {name for path in files for name in read.findall(path.read_text(encoding="utf-8"))}
    assert {"CXX", "WHISPER_NPU_CACHE"} <= variables
    assert [name for name in sorted(variables) if f"`{name}`" not in PAGE] == []
