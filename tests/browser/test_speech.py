"""Speech, with Whisper's real weights: a file, and what the microphone hears."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import chromium
from tests.support.weights import require_weights

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def speech(samples: Path) -> Path:
    """He might even have been made amiable himself. 3.3 s."""
    return samples / "sns-0930.wav"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from tests.support.serving import serving
    from whisper_npu import load_model

    with load_model(require_weights("tiny.en"), device="emulator") as model, serving(model) as live:
        yield live.address


@pytest.fixture(scope="module")
def browser(speech: Path) -> Iterator[Browser]:
    """A browser whose microphone hears the recording, over and over, and which asks nobody."""
    with chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={speech}",
    ) as opened_browser:
        yield opened_browser


def text(page: Page) -> str:
    page.locator("#report").wait_for()
    return " ".join(page.locator("#phrases .text").all_inner_texts())


def test_a_recording_is_transcribed_and_its_words_are_heard(page: Page, speech: Path) -> None:
    page.locator("#files").set_input_files(speech)
    page.get_by_role("button", name="Transcribe").click()
    assert text(page) == "He might even have been made amiable himself."
    report = page.locator("#report").inner_text()
    assert "Emulated NPU" in report
    assert re.search(r"Dispatches\s+5\b", report)
    assert re.search(r"Model\s+tiny\.en", report)
    word = page.get_by_role("button", name="amiable", exact=True)
    word.click()
    expect(word).to_have_class(re.compile("spoken"))
    at = page.locator("audio").evaluate("audio => audio.currentTime")
    assert 1.2 < at < 3.3


def test_what_the_microphone_hears_is_transcribed(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    # It hears the whole sentence once at least.
    expect(page.locator("#record-clock")).to_have_text("0:07")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#recordings .name")).to_have_text(
        re.compile(r"^recording-\d{4}-\d\d-\d\d-\d{6}\.webm$")
    )
    page.get_by_role("button", name="Transcribe").click()
    assert "amiable himself" in text(page)
    # A recording of the browser's has no length in its header, and can be heard nevertheless.
    expect(page.locator("#clock")).to_have_text(re.compile(r"^0:00 / 0:0[78]$"))
    word = page.get_by_role("button", name=re.compile("amiable")).first
    word.click()
    expect(word).to_have_class(re.compile("spoken"))
