"""scripts/pictures.py: the terminal's picture. tests/browser sees the page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.weights import require_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts/pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_this_machine(picture: str) -> list[str]:
    addresses = re.findall(r"\w+://[^\s\"'<]+", picture)
    known = ("http://www.w3.org/2000/svg", "https://www.textualize.io")  # the format, and who drew it
    places = [place for place in (str(ROOT), str(Path.home()), "/tmp") if place in picture]
    return [address for address in addresses if address not in known] + places


@pytest.mark.weights
@pytest.mark.slow
def test_the_terminal_shows_a_run_and_nothing_of_this_machine(script: ModuleType) -> None:
    require_weights("tiny.en")
    picture = script.terminal_svg()
    shown = re.sub(r"<[^>]*>", "", picture).replace("&#160;", " ")
    assert "whisper-npu samples/sns-0930.wav --model tiny.en -f srt" in shown
    assert "He might even have been made amiable himself." in shown
    assert "emulated NPU" in shown
    assert "00:00:00,000 --&gt; 00:00:0" in shown
    assert "@font-face" not in picture
    assert of_this_machine(picture) == []


def test_the_picture_in_the_repository_holds_nothing_of_a_machine() -> None:
    assert of_this_machine((ROOT / "docs/terminal.svg").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("written", "stays"),
    [
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("10 %\r20 %\r\x1b[Kdone\r\n", "done"),
        ("a\r\nbar\x1b[1A\r\x1b[2Kb\r\n\x1b[2K", "b"),
        ("\x1b[1mbold\x1b[0m\x1b[?25l", "\x1b[1mbold\x1b[0m"),
    ],
)
def test_what_is_overwritten_is_gone(script: ModuleType, written: str, stays: str) -> None:
    assert script.settled(written) == stays
