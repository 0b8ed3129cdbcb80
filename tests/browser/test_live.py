"""What the page hears live, from a microphone that plays a file; only the decoder is scripted, but once."""

from __future__ import annotations

import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import chromium, opened
from tests.browser.test_page import LEAST_CONTRAST, SMALL_TARGETS, WIDTHS, problem, saved
from tests.browser.timed_decoder import TimedDecoder, says
from tests.support.serving import serving
from tests.support.weights import require_weights
from whisper_npu import load_model

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SAID = says((0.0, " the ant and the hat", 2.0))
MANY = 60  # windows, partial ones included: more than any test needs
LENGTH_OF_SECOND = 16_000


@pytest.fixture(scope="module")
def heard(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence of 3.3 s, a pause, and then nothing for as long as a test may take."""
    path = tmp_path_factory.mktemp("heard") / "heard.wav"
    with wave.open(str(samples / "sns-0930.wav")) as speech, wave.open(str(path), "wb") as file:
        file.setparams(speech.getparams())
        file.writeframes(speech.readframes(speech.getnframes()) + bytes(2 * 60 * LENGTH_OF_SECOND))
    return path


@pytest.fixture(scope="module")
def browser(heard: Path) -> Iterator[Browser]:
    """A browser whose microphone hears the file once, from its beginning, whenever it is opened."""
    with chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}%noloop",
    ) as opened_browser:
        yield opened_browser


@pytest.fixture
def speaking(decoder: TimedDecoder) -> Iterator[TimedDecoder]:
    decoder.windows = [SAID] * MANY
    yield decoder
    decoder.release()  # whoever holds it must not hold the next test


def listen(page: Page) -> None:
    page.get_by_role("button", name="Listen live").click()
    expect(page.get_by_role("button", name=re.compile("Stop listening"))).to_be_focused()


def stop(page: Page) -> None:
    page.get_by_role("button", name=re.compile("Stop listening")).click()


def texts(page: Page) -> list[str]:
    return page.locator("#phrases .text").all_inner_texts()


def test_words_appear_while_they_are_spoken(page: Page, speaking: TimedDecoder) -> None:
    page.evaluate(
        """() => {
          window.read = [];  // by a screen reader
          const status = document.querySelector("[role=status]");
          new MutationObserver(() => read.push(status.textContent)).observe(status, { childList: true });
        }"""
    )
    listen(page)
    expect(page).to_have_title("Listening - whisper-npu")
    expect(page.get_by_role("button", name="Record")).to_be_disabled()
    expect(page.locator("#recordings .step")).to_have_text(re.compile(r"Listening 0:0\d"))
    partial = page.locator("#partial")
    expect(partial).to_have_text("the ant and the hat")
    assert partial.evaluate("element => !element.closest('[aria-live], [role=status], [role=alert]')")
    assert texts(page) == []
    expect(page.locator("#phrases .text")).to_have_text("the ant and the hat")
    expect(partial).to_be_hidden()
    stop(page)
    expect(page.locator("#recordings .step")).to_have_text("Done")
    expect(page.get_by_role("button", name="Listen live")).to_be_visible()
    assert page.evaluate("read").count("the ant and the hat") == 1
    assert "Emulated NPU" in page.locator("#report").inner_text()
    name, subtitles = saved(page, "SRT")
    assert re.fullmatch(r"live-\d{4}-\d\d-\d\d-\d{6}\.srt", name)
    assert re.fullmatch(r"1\n00:00:00,\d{3} --> 00:00:02,\d{3}\nthe ant and the hat\n\n", subtitles)
    assert saved(page, "TXT")[1] == "the ant and the hat\n"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save recording").click()
    with wave.open(str(download.value.path())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        seconds = file.getnframes() / file.getframerate()
    assert 3 < seconds < 30
    expect(page.locator("#clock")).to_have_text(f"0:00 / 0:{int(seconds):02}")
    word = page.get_by_role("button", name="ant", exact=True)  # each has its time
    word.click()
    expect(word).to_have_class(re.compile("spoken"))


def test_who_says_nothing_more_gets_the_last_line_at_the_end(page: Page, speaking: TimedDecoder) -> None:
    listen(page)
    expect(page.locator("#partial")).to_have_text("the ant and the hat")  # in the middle of the sentence
    page.keyboard.press("Enter")
    expect(page.locator("#recordings .step")).to_have_text("Done")
    assert texts(page) == ["the ant and the hat"]


def test_a_double_click_is_one_and_a_later_one_does_not_wait(page: Page, speaking: TimedDecoder) -> None:
    button = page.locator("#live")
    speaking.hold(after=1)
    page.get_by_role("button", name="Listen live").dblclick()
    expect(page.locator("#partial")).to_have_text("the ant and the hat")
    button.dblclick()
    expect(button).to_have_text(re.compile("Finish now"))
    speaking.go_on.set()
    expect(page.locator("#recordings .step")).to_have_text("Done")
    assert texts(page) == ["the ant and the hat"]
    page.wait_for_timeout(600)  # not a double click
    listen(page)
    expect(page.locator("#phrases .text")).to_have_text("the ant and the hat")
    speaking.hold()
    page.wait_for_timeout(600)  # not a double click
    stop(page)
    page.wait_for_timeout(600)
    if button.inner_text().startswith("Finish now"):
        button.click()
    step = page.locator("#recordings li").nth(1).locator(".step")
    expect(step).to_have_text(re.compile(r"Done|Finished before the end of 0:0\d"))
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_live_text_stays_in_view_while_a_recording_is_added_and_transcribed(
    page: Page, speaking: TimedDecoder, samples: Path
) -> None:
    listen(page)
    expect(page.locator("#phrases .text")).to_have_text("the ant and the hat")
    page.locator("#files").set_input_files(samples / "sns-0930.wav")
    page.get_by_role("button", name="Transcribe", exact=True).click()
    rows = page.locator("#recordings li")
    expect(rows.nth(1).locator(".step")).to_have_text("Done")
    expect(rows.nth(0).locator(".name")).to_have_attribute("aria-current", "true")
    assert texts(page) == ["the ant and the hat"]
    page.wait_for_timeout(600)  # not a double click
    stop(page)
    expect(rows.nth(0).locator(".step")).to_have_text("Done")


def test_what_was_said_stays_where_the_connection_is_lost(page: Page, speaking: TimedDecoder) -> None:
    page.evaluate(
        """() => {
          window.WebSocket = class extends WebSocket {
            constructor(address) {
              super(address);
              window.socket = this;
            }
          };
        }"""
    )
    listen(page)
    expect(page.locator("#phrases .text")).to_have_text("the ant and the hat")
    page.evaluate("socket.close()")
    assert problem(page) == "The connection to the server was lost"
    expect(page.locator("#recordings .step")).to_have_text(re.compile(r"Failed after 0:0\d"))
    expect(page.locator("#recordings .reason")).to_have_text("The connection to the server was lost")
    assert texts(page) == ["the ant and the hat"]
    assert saved(page, "TXT")[0].endswith(".partial.txt")
    listen(page)  # another one
    expect(page.locator("#recordings li")).to_have_count(2)


def test_the_end_of_the_server_and_a_full_one_are_one_line(browser: Browser, speaking: TimedDecoder) -> None:
    with serving(speaking.model) as live, opened(browser, live.address) as page:
        listen(page)
        expect(page.locator("#recordings .step")).to_have_text(re.compile("Listening 0:0[1-9]"))
        live.stop()
        assert "the server is being stopped" in problem(page)
        expect(page.get_by_role("button", name="Listen live")).to_be_visible()
    with serving(speaking.model, max_live=0) as live, opened(browser, live.address) as page:
        page.get_by_role("button", name="Listen live").click()
        assert "takes no live sessions" in problem(page)
        expect(page.locator("#recordings li")).to_have_count(0)


def test_without_the_microphone_it_says_why(page: Page) -> None:
    for name, said in (("NotAllowedError", "not allowed"), ("NotFoundError", "no microphone")):
        page.evaluate(
            """name => {
              navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", name));
            }""",
            name,
        )
        page.get_by_role("button", name="Listen live").click()
        expect(page.get_by_role("alert")).to_have_text(re.compile(f"{said}.*choose a file"))
    page.evaluate("delete window.AudioWorkletNode")  # as on an address without TLS
    page.get_by_role("button", name="Listen live").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile("only on https and on localhost"))
    expect(page.get_by_role("button", name="Record")).to_be_enabled()


def test_the_key_is_asked_for(browser: Browser, speaking: TimedDecoder) -> None:
    with serving(speaking.model, api_key="open-sesame") as live, opened(browser, live.address) as page:
        page.get_by_role("button", name="Listen live").click()
        key = page.get_by_label("This server asks for an API key")
        key.fill("open-barley")
        key.press("Enter")
        expect(key).to_have_accessible_description(re.compile("Wrong key"))
        key.fill("open-sesame")
        key.press("Enter")
        expect(page.get_by_role("button", name=re.compile("Stop listening"))).to_be_visible()
        expect(page.locator("#partial")).to_be_visible()
        stop(page)
        expect(page.locator("#recordings .step")).to_have_text("Done")


def test_it_fits_on_a_phone(browser: Browser, address: str, speaking: TimedDecoder) -> None:
    phone = {"viewport": {"width": 320, "height": 640}, "is_mobile": True, "has_touch": True}
    with opened(browser, address, **phone) as page:
        page.get_by_role("button", name="Listen live").tap()
        expect(page.locator("#partial")).to_be_visible()
        assert page.evaluate(WIDTHS) == [320, 320]
        assert page.evaluate(SMALL_TARGETS) == []
        contrast, of = page.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, of


def test_a_browser_with_a_microphone_of_another_rate(page: Page, speaking: TimedDecoder) -> None:
    """As Firefox: a context at another rate than the microphone's takes no sound from it."""
    page.evaluate(
        """() => {
          const { createMediaStreamSource: made } = AudioContext.prototype;
          AudioContext.prototype.createMediaStreamSource = function (stream) {
            if (this.sampleRate === 16000) throw new DOMException("", "NotSupportedError");
            window.rate = this.sampleRate;
            return made.call(this, stream);
          };
        }"""
    )
    listen(page)
    expect(page.locator("#phrases .text")).to_have_text("the ant and the hat")  # the voice was heard
    assert page.evaluate("rate") > 16_000
    stop(page)
    expect(page.locator("#recordings .step")).to_have_text("Done")


@pytest.mark.parametrize(("rate", "tone"), [(48_000, 1000.0), (44_100, 3000.0), (48_000, 11_000.0)])
def test_another_rate_keeps_what_can_be_kept_and_no_more(page: Page, rate: int, tone: float) -> None:
    """A tone below 8 kHz comes out as it went in, in whatever pieces; one above does not come out."""
    error, left = page.evaluate(
        """async ([rate, tone]) => {
          const { Resampler } = await import("/page/resample.js");
          const resampler = new Resampler(rate, 16000);
          const out = [];
          for (let at = 0; at < rate; at += 128) {
            const wave = (_, i) => Math.sin((2 * Math.PI * tone * (at + i)) / rate);
            out.push(...resampler.push(Float32Array.from({ length: 128 }, wave)));
          }
          const ideal = (i) => Math.sin((2 * Math.PI * tone * i) / 16000);
          const inner = out.map((value, i) => [value, ideal(i)]).slice(200, -200);
          return [
            Math.max(...inner.map(([value, ideal]) => Math.abs(value - ideal))),
            Math.max(...inner.map(([value]) => Math.abs(value))),
          ];
        }""",
        [rate, tone],
    )
    if tone < 8000:
        assert error < 0.02
    else:
        assert left < 0.02


@pytest.mark.weights
@pytest.mark.slow
def test_what_is_said_is_what_appears(browser: Browser) -> None:
    with (
        load_model(require_weights("tiny.en"), device="emulator") as model,
        serving(model) as live,
        opened(browser, live.address) as page,
    ):
        listen(page)
        expect(page.locator("#phrases .text")).to_have_text("He might even have been made amiable himself.")
        stop(page)
        expect(page.locator("#recordings .step")).to_have_text("Done")
        assert texts(page) == ["He might even have been made amiable himself."]
