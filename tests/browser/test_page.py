"""What people do on the page, in a real browser in front of the real server; only the decoder is scripted."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser.conftest import Watched, opened
from tests.browser.timed_decoder import TimedDecoder, says
from tests.support.scripted_decoder import Window, small_model
from tests.support.serving import recording, serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST = says((0.0, " the ant and the hat", 4.0), (4.0, " than a thane", 6.0))
SECOND = says((0.0, " at the end", 4.0))
SHORT = {"name": "talk.final.wav", "mimeType": "audio/wav", "buffer": recording(10)}
LONG = {"name": "lecture.wav", "mimeType": "audio/wav", "buffer": recording(40)}
BROKEN = {"name": "broken.wav", "mimeType": "audio/wav", "buffer": b"no audio at all" * 100}

# The contrast of every text that is seen, at least (WCAG 2, 1.4.3), and what it is of.
LEAST_CONTRAST = """() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data;
  };
  const light = (colour) => {
    const part = (byte) => {
      const value = byte / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * part(colour[0]) + 0.7152 * part(colour[1]) + 0.0722 * part(colour[2]);
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = rgba(getComputedStyle(element).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba("white");
  };
  let least = [99, ""];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const seen = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!own || !seen || element.disabled) continue;
    const pair = [light(rgba(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < least[0]) least = [contrast, element.outerHTML.slice(0, 100)];
  }
  return least;
}"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
ROLES_WITH_NAMES = {
    "button", "checkbox", "combobox", "list", "progressbar", "region", "slider", "textbox",
}  # fmt: skip


def choose(page: Page, *files: dict[str, object]) -> None:
    page.locator("#files").set_input_files(list(files))  # type: ignore[arg-type]


def start(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Transcribe")).click()


def transcribed(page: Page, *files: dict[str, object]) -> None:
    choose(page, *(files or (SHORT,)))
    start(page)
    expect(page.locator("#recordings .step")).to_have_text(["Done"] * len(files or (SHORT,)))


def phrases(page: Page) -> list[str]:
    return page.locator("#phrases .text").all_inner_texts()


def saved(page: Page, name: str) -> tuple[str, str]:
    """The name and the content of what a button downloads."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def problem(page: Page) -> str:
    page.get_by_role("alert").wait_for()
    return page.get_by_role("alert").inner_text()


def seconds(page: Page) -> float:
    at: float = page.locator("audio").evaluate("audio => audio.currentTime")
    return at


@pytest.fixture
def held(decoder: TimedDecoder) -> Iterator[TimedDecoder]:
    """A decoder that waits before every window until `go_on` is set."""
    decoder.hold()
    yield decoder
    decoder.go_on.set()


def test_what_is_dropped_is_transcribed(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    dropped = page.evaluate_handle(
        """([name, content]) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          transfer.items.add(new File([bytes], name, { type: "audio/wav" }));
          return transfer;
        }""",
        [SHORT["name"], base64.b64encode(recording(10)).decode()],
    )
    page.dispatch_event("footer", "dragenter", {"dataTransfer": dropped})
    expect(page.locator("#veil")).to_be_visible()
    page.dispatch_event("footer", "drop", {"dataTransfer": dropped})
    expect(page.locator("#veil")).to_be_hidden()
    start(page)
    expect(page.locator("#phrases .text")).to_have_text(["the ant and the hat", "than a thane"])


def test_text_and_progress_appear_while_the_rest_is_decoded(page: Page, held: TimedDecoder) -> None:
    held.windows = [says((28.0, " the ant", 30.0)), SECOND]
    held.hold(after=1)
    choose(page, LONG)
    start(page)
    expect(page.locator("#phrases .text")).to_have_text(["the ant"])
    expect(page.locator("#recordings .step")).to_have_text("0:30 of 0:40")
    bar = page.get_by_role("progressbar", name="Progress of lecture.wav")
    assert bar.evaluate("bar => [bar.value, bar.max]") == [30, 40]
    expect(page.get_by_role("status")).to_have_text("0:30 of 0:40 transcribed")
    expect(page.get_by_role("button", name="Copy all")).to_be_hidden()
    held.go_on.set()
    expect(page.locator("#phrases .text")).to_have_text(["the ant", "at the end"])
    expect(page.locator("#phrases .time")).to_have_text(["0:28", "0:30"])
    expect(bar).to_be_hidden()


def test_what_ran_is_told(page: Page, address: str, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    report = page.locator("#report").inner_text()
    device = decoder.model.device
    assert device.name == "emulator"
    assert re.search(rf"Device\s+Emulated NPU {re.escape(device.description)}", report)
    assert re.search(r"Real-time factor\s+\d+\.\d\d MEASURED: \d+\.\d s for 10\.0 s of audio", report)
    assert re.search(r"Language\s+German 75 % sure", report)
    decoder.windows = [FIRST]
    answer = httpx.post(
        f"{address}/v1/audio/transcriptions", files={"file": recording(10)}, data={"language": "de"}
    )
    dispatches = answer.headers["X-Whisper-NPU-Dispatches"]
    assert re.search(rf"Dispatches\s+{dispatches}\b", report.replace(",", ""))


def test_a_word_that_is_clicked_is_heard(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    words = [word for phrase in segments(page) for word in phrase["words"]]
    at = [word["word"] for word in words].index(" hat")
    hat = page.get_by_role("button", name="hat", exact=True)
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    hat.click()
    expect(hat).to_have_class(re.compile("spoken"))
    assert words[at]["start"] <= seconds(page) < words[at]["end"]
    expect(page.get_by_role("button", name="than", exact=True)).to_have_class(
        re.compile("spoken")
    )  # it goes on
    page.locator(".spoken").click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert seconds(page) > words[at]["end"]


def test_what_is_heard_stays_in_sight(page: Page, decoder: TimedDecoder) -> None:
    texts = " one ant, two hats, six men, both hands, no lions, few lamps, old ropes, warm milk, dry figs"
    phrases = enumerate(texts.split(","))
    decoder.windows = [says(*((at, text, at + 1) for at, text in phrases))]
    page.set_viewport_size({"width": 800, "height": 300})
    transcribed(page)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.locator("#phrases li").first.scroll_into_view_if_needed()
    page.locator("audio").evaluate("audio => { audio.playbackRate = 4; }")
    page.locator(".word").first.click()
    page.locator("#phrases li:last-child .spoken").wait_for()
    expect(page.locator("#phrases li").last).to_be_in_viewport()


def segments(page: Page) -> list[dict[str, object]]:
    _, content = saved(page, "JSON")
    document: dict[str, list[dict[str, object]]] = json.loads(content)
    return document["segments"]


def test_a_correction_is_in_what_is_saved_and_words_keep_their_times(
    page: Page, decoder: TimedDecoder
) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    before, _ = segments(page)
    page.get_by_role("button", name="ant", exact=True).dblclick()
    field = page.get_by_role("textbox", name="Text of the phrase at 0:00")
    expect(field).to_be_focused()
    expect(field).to_have_value("the ant and the hat")
    field.fill("the <ant> --> and the bat")
    field.press("Enter")
    assert phrases(page)[0] == "the <ant> --> and the bat"

    assert saved(page, "TXT") == ("talk.final.txt", "the <ant> --> and the bat\nthan a thane\n")
    name, srt = saved(page, "SRT")
    assert name == "talk.final.srt"
    assert srt == (
        "1\n00:00:00,000 --> 00:00:04,000\nthe <ant> -> and the bat\n\n"
        "2\n00:00:04,000 --> 00:00:06,000\nthan a thane\n\n"
    )
    _, vtt = saved(page, "VTT")
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:04.000\nthe &lt;ant&gt; --&gt; and the bat\n\n")

    after, _ = segments(page)
    assert after["text"] == " the <ant> --> and the bat"
    was, now = before["words"], after["words"]
    assert isinstance(was, list)
    assert isinstance(now, list)
    assert [word["word"] for word in now] == [" the", " <ant>", " -->", " and", " the", " bat"]
    assert [now[place] for place in (0, 3, 4)] == [was[place] for place in (0, 2, 3)]
    assert (now[1]["start"], now[2]["end"]) == (was[1]["start"], was[1]["end"])
    assert now[5] == {**was[4], "word": " bat", "probability": None}

    page.get_by_role("button", name="Undo the correction of the phrase at 0:00").click()
    assert segments(page)[0] == before


def test_a_correction_can_be_given_up(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    page.locator("#phrases li").first.hover()
    page.get_by_role("button", name="Correct the phrase at 0:00").click()
    page.keyboard.type("nonsense")
    page.keyboard.press("Escape")
    assert phrases(page) == ["the ant and the hat", "than a thane"]


def test_a_phrase_without_text_is_left_out_of_what_is_saved(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    page.locator("#phrases li").first.hover()
    page.get_by_role("button", name="Correct the phrase at 0:00").click()
    page.get_by_role("textbox").last.fill("")
    page.keyboard.press("Enter")
    assert saved(page, "SRT")[1] == "1\n00:00:04,000 --> 00:00:06,000\nthan a thane\n\n"


def test_unlikely_words_are_marked(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    decoder.unsure = " than a thane"
    transcribed(page)
    expect(page.locator(".unsure")).to_have_text(["than", "a", "thane"])
    expect(page.locator(".unsure").first).to_have_attribute("title", "20 % sure")


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_cancelling_ends_the_work_and_the_next_one_works(page: Page, held: TimedDecoder, how: str) -> None:
    held.windows = [FIRST]
    choose(page, SHORT)
    start(page)
    assert held.is_held.wait(30)
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#recordings .step")).to_have_text("Cancelled")
    expect(page.get_by_role("alert")).to_be_hidden()
    held.go_on.set()
    expect(page.get_by_role("button", name="Transcribe again")).to_be_focused()
    held.windows = [SECOND, SECOND]  # the first is said to nobody, if the server had begun to decode
    page.keyboard.press("Enter")
    expect(page.locator("#recordings .step")).to_have_text("Done")
    assert phrases(page) == ["at the end"]


def test_what_was_decoded_before_a_cancel_is_saved_as_a_part(page: Page, held: TimedDecoder) -> None:
    held.windows = [says((28.0, " the ant", 30.0)), SECOND]
    held.hold(after=1)
    choose(page, LONG)
    start(page)
    expect(page.locator("#phrases .text")).to_have_text(["the ant"])
    assert held.is_held.wait(30)
    page.keyboard.press("Escape")
    expect(page.locator("#recordings .step")).to_have_text("Cancelled after 0:30 of 0:40")
    held.go_on.set()
    assert saved(page, "SRT") == (
        "lecture.partial.srt",
        "1\n00:00:28,000 --> 00:00:30,000\nthe ant\n\n",
    )


def test_the_place_in_the_queue_is_shown(page: Page, address: str, held: TimedDecoder) -> None:
    held.windows = [FIRST, SECOND]

    def ask() -> int:
        url = f"{address}/v1/audio/transcriptions"
        return httpx.post(url, files={"file": recording(10)}, timeout=60).status_code

    with ThreadPoolExecutor(1) as other:
        status = other.submit(ask)
        assert held.is_held.wait(30)
        choose(page, SHORT)
        start(page)
        expect(page.locator("#recordings .step")).to_have_text("Waiting, 1 before it")
        held.go_on.set()
        expect(page.locator("#phrases .text")).to_have_text(["at the end"])
        assert status.result() == 200


def test_a_recording_that_is_too_large_is_one_line(browser: Browser, decoder: TimedDecoder) -> None:
    with serving(decoder.model, max_upload_mb=0.5) as live, opened(browser, live.address) as page:
        choose(page, LONG)
        start(page)
        assert "larger than the 0.5 MB" in problem(page)


def test_corrections_are_not_given_up_without_asking(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    page.get_by_role("button", name="ant", exact=True).dblclick()
    page.get_by_role("textbox", name="Text of the phrase").fill("the hat")
    page.keyboard.press("Enter")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Remove talk.final.wav").click()
    assert phrases(page)[0] == "the hat"
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    start(page)
    assert phrases(page)[0] == "the hat"
    saved(page, "SRT")
    page.get_by_role("button", name="Remove talk.final.wav").click()
    expect(page.locator("#result")).to_be_hidden()
    assert len(asked) == 2


def test_a_refused_recording_is_one_line_and_the_next_one_works(
    page: Page, watched: Watched, decoder: TimedDecoder
) -> None:
    decoder.windows = [FIRST]
    choose(page, BROKEN)
    start(page)
    assert "not audio" in problem(page)
    assert watched.refusals == 1
    transcribed_after = {**SHORT, "name": "good.wav"}
    choose(page, transcribed_after)
    start(page)
    expect(page.locator("#recordings .step")).to_have_text(["Failed", "Done"])
    expect(page.get_by_role("alert")).to_be_hidden()
    assert phrases(page) == ["the ant and the hat", "than a thane"]


def test_a_device_that_fails_midway_is_one_line(page: Page, decoder: TimedDecoder) -> None:
    def fail() -> None:
        raise RuntimeError("the decoder broke")

    decoder.windows = [FIRST]
    decode, decoder.on_window = decoder.on_window, fail
    try:
        choose(page, SHORT)
        start(page)
        assert problem(page).count("\n") == 0
    finally:
        decoder.on_window = decode
    start(page)
    expect(page.locator("#recordings .step")).to_have_text("Done")


def test_a_server_that_is_gone_is_said_to_be_gone(browser: Browser, decoder: TimedDecoder) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        with serving(decoder.model) as live:
            page.goto(live.address)
            page.locator("#about:not(:empty)").wait_for()
        choose(page, SHORT)
        start(page)
        assert "cannot be reached" in problem(page)


def test_a_key_is_asked_for_and_kept_with_the_tab(browser: Browser, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST, SECOND]
    with serving(decoder.model, api_key="open-sesame") as live, opened(browser, live.address) as page:
        choose(page, SHORT)
        start(page)
        key = page.get_by_label("This server asks for an API key")
        expect(key).to_be_focused()
        key.fill("open-barley")
        key.press("Enter")
        assert "does not take this key" in problem(page)
        key.fill("open-sesame")
        key.press("Enter")
        expect(page.locator("#recordings .step")).to_have_text("Done")
        expect(key).to_be_hidden()
        kept = "() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
        assert page.evaluate(kept) == [["open-sesame"], [], ""]
        page.reload()
        transcribed(page)
        assert phrases(page) == ["at the end"]


def test_several_recordings_one_after_the_other(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST, SECOND]
    choose(page, SHORT, {**SHORT, "name": "other.wav"})
    page.get_by_role("button", name="Transcribe 2 recordings").click()
    expect(page.locator("#recordings .step")).to_have_text(["Done", "Done"])
    assert phrases(page) == ["at the end"]
    page.get_by_role("button", name="talk.final.wav", exact=True).click()
    assert phrases(page) == ["the ant and the hat", "than a thane"]
    page.get_by_role("button", name="Remove talk.final.wav").click()
    assert phrases(page) == ["at the end"]
    assert saved(page, "SRT")[0] == "other.srt"


def test_options_reach_the_decoder(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    decoder.prompts.clear()
    expect(page.get_by_label("Names and terms to expect")).to_be_hidden()
    page.get_by_text("More options").click()
    page.get_by_label("Names and terms to expect").fill("Dashwood")
    page.get_by_label("What was said before").fill("Chapter one")
    page.get_by_label("Language").select_option("Hawaiian")
    page.get_by_label("Task").select_option("Translate into English")
    transcribed(page)
    prompt = decoder.text(decoder.prompts[-1])
    assert "Dashwood" in prompt
    assert "Chapter one" in prompt
    assert "<|haw|><|translate|>" in prompt


def test_silence_is_said_to_be_silent(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [Window()]
    transcribed(page)
    expect(page.get_by_text("Nobody speaks in this recording.")).to_be_visible()
    expect(page.get_by_role("button", name="SRT")).to_be_hidden()


def test_all_of_it_by_keyboard(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        press("Enter")
    chooser.value.set_files([SHORT])  # type: ignore[list-item]
    expect(page.get_by_role("button", name="Transcribe")).to_be_focused()
    press("Enter")
    expect(page.get_by_role("button", name="Transcribe again")).to_be_focused()
    expect(page.locator("#player")).to_be_visible()
    for name in ("More options", "Play", "Position", "Play from 0:00", "the"):
        press("Tab")
        focused = "() => [document.activeElement.ariaLabel, document.activeElement.textContent]"
        assert name in page.evaluate(focused)
    press("ArrowRight")
    expect(page.get_by_role("button", name="ant", exact=True)).to_be_focused()
    press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    press("ArrowDown")
    expect(page.get_by_role("button", name="than", exact=True)).to_be_focused()
    press("e")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    press("End")
    page.keyboard.type(" too")  # its space does not play
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    press("Control+Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    press("Control+Enter")
    press("Enter")
    assert phrases(page)[1] == "than a thane too"
    expect(page.get_by_role("button", name="than", exact=True)).to_be_focused()
    for _ in range(4):
        press("Tab")  # Correct, Undo, Copy all
    expect(page.get_by_role("button", name="SRT")).to_be_focused()
    with page.expect_download() as download:
        press("Enter")
    assert "than a thane too" in Path(download.value.path()).read_text()


def test_space_plays_and_pauses_outside_of_controls(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.locator("#about").click()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_everything_is_copied(browser: Browser, address: str, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    with opened(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
        transcribed(page)
        page.get_by_role("button", name="Copy all").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("() => navigator.clipboard.readText()") == "the ant and the hat\nthan a thane\n"


def test_a_microphone_that_is_not_there_is_one_line(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    assert re.search("microphone.*choose a file", problem(page))
    expect(page.get_by_role("button", name="Record")).to_be_enabled()


@pytest.mark.parametrize(
    ("name", "said"), [("NotAllowedError", "not allowed"), ("NotFoundError", "no microphone")]
)
def test_a_browser_that_does_not_record_says_why(page: Page, name: str, said: str) -> None:
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }",
        name,
    )
    page.get_by_role("button", name="Record").click()
    assert re.search(f"{said}.*choose a file", problem(page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_every_state(
    browser: Browser, address: str, held: TimedDecoder, scheme: str
) -> None:
    grounds = {"light": range(200, 256), "dark": range(56)}
    held.windows = [FIRST]
    held.unsure = " than a thane"
    with opened(browser, address, color_scheme=scheme) as page:

        def check() -> None:
            contrast, of = page.evaluate(LEAST_CONTRAST)
            assert contrast >= 4.5, of

        ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert {int(part) for part in re.findall(r"\d+", ground)[:3]} <= {*grounds[scheme]}
        check()
        choose(page, {**SHORT, "name": "other.wav"}, BROKEN)
        start(page)
        assert held.is_held.wait(30)
        check()
        held.go_on.set()
        page.get_by_role("alert").wait_for()
        page.locator(".word").first.click()
        page.locator(".spoken").wait_for()
        page.locator("#phrases li").first.hover()
        page.get_by_text("Keyboard").click()
        check()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(
    browser: Browser, address: str, held: TimedDecoder, width: int
) -> None:
    held.windows = [says((0.0, " " + "thanthehatantendahenneth" * 2, 6.0), (6.0, " the hat", 8.0))]
    phone = {"viewport": {"width": width, "height": 740}, "is_mobile": width < 500, "has_touch": width < 500}
    with opened(browser, address, **phone) as page:

        def check() -> None:
            whole, seen = page.evaluate(WIDTHS)
            assert whole == seen == width

        check()
        choose(page, {**SHORT, "name": 20 * "a-long-name-" + ".wav"}, BROKEN)
        page.get_by_text("More options").click()
        start(page)
        assert held.is_held.wait(30)
        check()
        held.go_on.set()
        page.get_by_role("alert").wait_for()
        page.get_by_text("Keyboard").click()
        check()
        page.get_by_role("button", name="Correct the phrase").first.click()
        check()


def test_every_control_has_a_name(page: Page, held: TimedDecoder) -> None:
    held.windows = [FIRST]
    client = page.context.new_cdp_session(page)

    def check() -> None:
        nodes = client.send("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in nodes if not node["ignored"]]
        nameless = [
            node["role"]["value"]
            for node in shown
            if node["role"]["value"] in ROLES_WITH_NAMES and not node.get("name", {}).get("value")
        ]
        assert nameless == []
        assert any(node["role"]["value"] == "button" for node in shown)

    check()
    choose(page, SHORT, {**SHORT, "name": "other.wav"})
    page.get_by_text("More options").click()
    start(page)
    assert held.is_held.wait(30)
    check()
    held.go_on.set()
    held.windows += [SECOND]
    expect(page.locator("#recordings .step")).to_have_text(["Done", "Done"])
    page.get_by_role("button", name="end", exact=True).dblclick()
    check()


def test_nothing_moves_for_those_who_want_no_motion(browser: Browser, address: str) -> None:
    with opened(browser, address, reduced_motion="reduce") as page:
        moving = """() => [...document.querySelectorAll("*")].filter((element) =>
          ["", "::-webkit-progress-value"].some((part) => {
            const style = getComputedStyle(element, part);
            return parseFloat(style.transitionDuration) > 0 || style.animationName !== "none";
          })).length"""
        assert page.evaluate(moving) == 0


def test_an_english_model_offers_english_only(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        small_model(tmp_path_factory.mktemp("english"), multilingual=False) as model,
        serving(model) as live,
        opened(browser, live.address) as page,
    ):
        expect(page.get_by_label("Language").locator("option")).to_have_text(["English"])
        expect(page.get_by_label("Task")).to_be_disabled()
