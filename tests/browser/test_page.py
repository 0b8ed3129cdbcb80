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
    from playwright.sync_api import Browser, Dialog, Page, Route

FIRST = says((0.0, " the ant and the hat", 4.0), (4.0, " than a thane", 6.0))
SECOND = says((0.0, " at the end", 4.0))
MANY = says(
    *(
        (at, f" {text}", at + 1)
        for at, text in enumerate(
            "one ant,two hats,six men,both hands,no lions,few lamps,old ropes,warm milk,dry figs".split(",")  # noqa: SIM905
        )
    )
)
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
# What a finger would miss.
SMALL_TARGETS = """() => [...document.querySelectorAll("button, select, input, summary")]
  .filter((element) => element.checkVisibility())
  .map((element) => element.closest("label.tick") ?? element)
  .filter((element) => element.getBoundingClientRect().height < 40)
  .map((element) => element.outerHTML)"""
LOSSES = (("text", "is"), ("edits", "are"))
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


def reason(page: Page, name: str) -> str:
    """Why a recording failed."""
    row = page.locator("#recordings li").filter(has_text=name)
    expect(row.locator(".step")).to_have_text("Failed")
    return row.locator(".reason").inner_text()


def answer_next(page: Page, yes: bool) -> list[str]:
    """Answers the next question of the page, which is in the list once it was asked."""
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if yes:
            dialog.accept()
        else:
            dialog.dismiss()

    page.once("dialog", answer)
    return asked


def edit_first(page: Page, text: str) -> None:
    page.locator("#phrases .word").first.dblclick()
    field = page.get_by_role("textbox", name="Text of the phrase")
    field.fill(text)
    field.press("Enter")


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
    assert re.match(r"\d+\.\d s for 10\.0 s of audio, on the CPU \(emulated NPU\)\n", report)
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
    play, pause = (page.get_by_role("button", name=name, exact=True) for name in ("Play", "Pause"))
    page.locator(".spoken").click()
    expect(play).to_be_visible()
    assert seconds(page) > words[at]["end"]
    for shown in (pause, play, pause):
        page.keyboard.press("Space")  # whatever word was clicked
        expect(shown).to_be_visible()


def test_what_is_heard_stays_in_sight(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [MANY]
    page.set_viewport_size({"width": 800, "height": 300})
    transcribed(page)
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.locator("#phrases li").first.scroll_into_view_if_needed()
    # Fast, but not where the last phrase is heard: a busy machine looks too seldom.
    page.locator("audio").evaluate(
        """audio => {
            audio.playbackRate = 4;
            audio.addEventListener("timeupdate", () => {
                if (audio.currentTime > 6) audio.playbackRate = 1;
            });
        }"""
    )
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
    page.get_by_role("button", name="hat", exact=True).dblclick()
    field = page.get_by_role("textbox", name="Text of the phrase at 0:00")
    expect(field).to_be_focused()
    expect(field).to_have_value("the ant and the hat")
    selected = "field => field.value.slice(field.selectionStart, field.selectionEnd)"
    assert field.evaluate(selected) == "hat"
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


def test_edits_are_undone_one_by_one(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    before = segments(page)
    edit_first(page, "the hen")
    edit_first(page, "the tan hen")
    page.locator("#phrases .word").last.dblclick()
    page.keyboard.type("hat")
    page.keyboard.press("Enter")
    assert phrases(page) == ["the tan hen", "than a hat"]
    page.get_by_role("button", name="Undo the last edit of the phrase at 0:00").click()
    assert phrases(page) == ["the hen", "than a hat"]
    page.keyboard.press("Control+z")
    assert phrases(page) == ["the hen", "than a thane"]
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")  # there is nothing left
    assert segments(page) == before


def test_what_was_typed_is_not_given_up_without_asking(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    page.locator("#phrases li").first.hover()
    page.get_by_role("button", name="Edit the phrase at 0:00").click()
    page.keyboard.type(" too")
    asked = answer_next(page, yes=False)
    page.keyboard.press("Escape")
    page.keyboard.type("!")
    expect(page.get_by_role("textbox").last).to_have_value("the ant and the hat too!")
    asked += answer_next(page, yes=True)
    page.keyboard.press("Escape")
    expect(page.locator("#phrases .text")).to_have_text(["the ant and the hat", "than a thane"])
    assert asked == ["Discard what you typed?"]


def test_a_phrase_without_text_is_left_out_of_what_is_saved(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    edit_first(page, "")
    assert saved(page, "SRT")[1] == "1\n00:00:04,000 --> 00:00:06,000\nthan a thane\n\n"


def test_unlikely_words_are_marked(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    decoder.unsure = " than a thane"
    transcribed(page)
    expect(page.locator("#phrases .unsure")).to_have_text(["than", "a", "thane"])
    expect(page.get_by_text("less than 50 % sure")).to_be_visible()
    expect(page.locator("#phrases .unsure").first).to_have_attribute("title", "20 % sure")


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
        expect(page.locator("#recordings .step")).to_have_text("Waiting, 1 ahead of you")
        held.go_on.set()
        expect(page.locator("#phrases .text")).to_have_text(["at the end"])
        assert status.result() == 200


def test_a_recording_that_is_too_large_is_one_line(browser: Browser, decoder: TimedDecoder) -> None:
    with serving(decoder.model, max_upload_mb=0.5) as live, opened(browser, live.address) as page:
        choose(page, LONG)
        start(page)
        assert "larger than the 0.5 MB" in reason(page, "lecture.wav")


def test_nothing_is_lost_without_asking(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST, SECOND]
    transcribed(page)
    remove = page.get_by_role("button", name="Remove talk.final.wav")
    asked = [answer_next(page, yes=False)]
    remove.click()
    saved(page, "SRT")
    edit_first(page, "the hat")
    asked += [answer_next(page, yes=False)]
    remove.click()
    asked += [answer_next(page, yes=False)]
    start(page)
    assert phrases(page)[0] == "the hat"
    asked += [answer_next(page, yes=False)]
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)  # a person closes the tab, and stays
    saved(page, "SRT")
    remove.click()
    expect(page.locator("#result")).to_be_hidden()
    text, edits = (f"The {what} of talk.final.wav {be} not saved. Discard?" for what, be in LOSSES)
    assert asked == [[text], [edits], [edits], [""]]


def test_another_run_leaves_the_text_until_it_has_its_own(page: Page, held: TimedDecoder) -> None:
    held.windows = [FIRST, says((28.0, " the ant", 30.0)), SECOND]
    held.go_on.set()
    transcribed(page, LONG)
    old = phrases(page)
    expect(page.get_by_label("Language")).to_be_hidden()  # the options make room for the text
    held.hold()
    start(page)
    assert held.is_held.wait(30)
    page.locator("#phrases .word").first.dblclick()
    expect(page.get_by_role("textbox", name="Text of the phrase")).to_have_count(0)  # it will be replaced
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#recordings .step")).to_have_text("Cancelled")
    held.go_on.set()
    assert phrases(page) == old
    assert saved(page, "SRT")[0] == "lecture.srt"
    held.windows = [SECOND, SECOND, SECOND]
    page.get_by_role("button", name="Try again: lecture.wav").click()
    expect(page.locator("#phrases .text").first).to_have_text("at the end")


def test_what_failed_says_why_and_is_tried_again(page: Page, watched: Watched, decoder: TimedDecoder) -> None:
    def fail() -> None:
        decoder.on_window = decode
        raise RuntimeError("the decoder broke")

    decode = decoder.on_window
    decoder.on_window = fail
    decoder.windows = [SECOND]
    try:
        choose(page, BROKEN, SHORT, {**SHORT, "name": "other.wav"})
        start(page)
        expect(page.locator("#recordings .step")).to_have_text(["Failed", "Failed", "Done"])
    finally:
        decoder.on_window = decode
    assert "not audio" in reason(page, "broken.wav")
    assert reason(page, "talk.final.wav").count("\n") == 0
    assert watched.refusals == 1
    expect(page.get_by_role("status")).to_have_text("other.wav: done")
    assert phrases(page) == ["at the end"]
    decoder.windows = [FIRST]
    page.get_by_role("button", name="Try again: talk.final.wav").click()
    expect(page.locator("#recordings .step")).to_have_text(["Failed", "Done", "Done"])
    assert phrases(page) == ["the ant and the hat", "than a thane"]


def test_a_busy_server_is_asked_again(page: Page, watched: Watched, decoder: TimedDecoder) -> None:
    answers = iter(["1", "60"])

    def busy(route: Route) -> None:
        after = next(answers, None)
        if after is None:
            route.continue_()
        else:
            route.fulfill(status=429, headers={"Retry-After": after}, json={"error": {"message": "full"}})

    page.route("**/v1/audio/transcriptions", busy)
    choose(page, SHORT, {**SHORT, "name": "other.wav"})
    start(page)
    step = page.locator("#recordings .step").first
    expect(step).to_have_text("Server is busy, trying again in 1 s")
    expect(step).to_have_text(re.compile(r"Server is busy, trying again in (60|59) s"))
    page.get_by_role("button", name="Cancel").click()
    expect(step).to_have_text("Cancelled")
    decoder.windows = [FIRST]
    page.get_by_role("button", name="Try again: talk.final.wav").click()
    expect(step).to_have_text("Done")
    assert watched.refusals == 2


def test_a_server_that_is_gone_is_said_to_be_gone(browser: Browser, decoder: TimedDecoder) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        with serving(decoder.model) as live:
            page.goto(live.address)
            page.locator("#about:not(:empty)").wait_for()
        choose(page, SHORT)
        start(page)
        assert "cannot be reached" in reason(page, SHORT["name"])


def test_a_key_is_asked_for_and_kept_with_the_tab(browser: Browser, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST, SECOND]
    with serving(decoder.model, api_key="open-sesame") as live, opened(browser, live.address) as page:
        choose(page, SHORT)
        start(page)
        key = page.get_by_label("This server asks for an API key")
        expect(key).to_be_focused()
        for wrong, said in (("schlüssel", "without spaces or umlauts"), ("open-barley", "Wrong key")):
            key.fill(wrong)
            key.press("Enter")
            expect(key).to_have_accessible_description(re.compile(said))
            expect(key).to_be_focused()
        key.fill(" open-sesame ")
        key.press("Enter")
        assert page.evaluate("() => document.activeElement !== document.body")
        expect(page.locator("#recordings .step")).to_have_text("Done")
        expect(key).to_be_hidden()
        kept = "() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
        assert page.evaluate(kept) == [["open-sesame"], [], ""]
        page.reload()
        transcribed(page)
        assert phrases(page) == ["at the end"]


def test_several_recordings_one_after_the_other(page: Page, held: TimedDecoder) -> None:
    held.windows = [FIRST, SECOND]
    choose(page, SHORT, {**SHORT, "name": "other.wav"})
    page.get_by_role("button", name="Transcribe 2 recordings").click()
    assert held.is_held.wait(30)
    expect(page).to_have_title("Working - whisper-npu")
    choose(page, {**SHORT, "name": "late.wav"})
    expect(page.get_by_role("status")).to_have_text("late.wav added")
    held.go_on.set()
    expect(page.locator("#recordings .step")).to_have_text(["Done", "Done", re.compile("kB")])
    expect(page).to_have_title("Done - whisper-npu")
    expect(page.get_by_role("button", name="Transcribe", exact=True)).to_be_enabled()  # it waits for that
    expect(page.locator("#phrases .text")).to_have_text(["at the end"])
    page.get_by_role("button", name="talk.final.wav", exact=True).click()
    assert phrases(page) == ["the ant and the hat", "than a thane"]
    page.get_by_role("button", name="Remove late.wav").click()
    expect(page.get_by_role("button", name="Transcribe the chosen one again")).to_be_visible()
    answer_next(page, yes=True)
    page.get_by_role("button", name="Remove talk.final.wav").click()
    assert phrases(page) == ["at the end"]
    assert saved(page, "SRT")[0] == "other.srt"


def test_options_reach_the_decoder(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    decoder.prompts.clear()
    expect(page.get_by_label("Names and terms to expect")).to_be_hidden()
    page.get_by_text("More options").click()
    page.get_by_label("Names and terms to expect").fill("Dashwood")
    page.get_by_label("Earlier context").fill("Chapter one")
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
    expect(page.get_by_text("No speech found.")).to_be_visible()
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
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_focused()
    press("Tab")
    press("Tab")
    expect(page.get_by_role("slider", name="Position")).to_be_focused()
    press("ArrowRight")
    assert seconds(page) == 5
    press("PageUp")
    press("ArrowLeft")
    assert 4.9 < seconds(page) < 5.1  # from the end, at 10
    press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    press("Space")
    press("Home")
    for name in ("Speed", "Copy all", "SRT", "VTT", "TXT", "JSON", "Play from 0:00"):
        press("Tab")
        focused = "() => [document.activeElement.ariaLabel, document.activeElement.textContent]"
        assert name in page.evaluate(focused)
    press("ArrowRight")
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
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()  # where the phrase ends
    assert 6 <= seconds(page) < 7
    press("Enter")
    assert phrases(page)[1] == "than a thane too"
    expect(page.get_by_role("button", name="than", exact=True)).to_be_focused()
    press("Escape")  # once too often
    assert phrases(page)[1] == "than a thane too"
    page.get_by_role("button", name="SRT").focus()
    with page.expect_download() as download:
        press("Enter")
    assert "than a thane too" in Path(download.value.path()).read_text()


def test_text_is_selected_with_the_mouse_and_copied(
    browser: Browser, address: str, decoder: TimedDecoder
) -> None:
    decoder.windows = [FIRST]
    with opened(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
        transcribed(page)
        boxes = [page.get_by_role("button", name=name, exact=True).bounding_box() for name in ("ant", "a")]
        assert boxes[0]
        assert boxes[1]
        page.mouse.move(boxes[0]["x"], boxes[0]["y"] + 10)
        page.mouse.down()
        page.mouse.move(boxes[1]["x"] + boxes[1]["width"], boxes[1]["y"] + 10, steps=4)
        page.mouse.up()
        page.keyboard.press("Control+c")
        assert page.evaluate("() => navigator.clipboard.readText()") == "ant and the hat\nthan a"
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()  # it was no click
        page.get_by_role("button", name="Copy all").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("() => navigator.clipboard.readText()") == "the ant and the hat\nthan a thane\n"


def test_nothing_moves_away_from_under_an_edit(page: Page, held: TimedDecoder) -> None:
    held.windows = [MANY, SECOND]
    held.hold(after=1)
    page.set_viewport_size({"width": 800, "height": 400})
    choose(page, LONG)
    start(page)
    page.locator("#phrases .word").last.dblclick()
    page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight)")
    field = page.get_by_role("textbox", name="Text of the phrase")
    at = field.bounding_box()
    held.go_on.set()
    expect(page.locator("#recordings .step")).to_have_text("Done")
    expect(page.locator("#phrases li")).to_have_count(10)
    assert field.bounding_box() == at
    expect(field).to_be_focused()


def test_whoever_reads_the_last_line_sees_the_next_one(page: Page, held: TimedDecoder) -> None:
    held.windows = [MANY, SECOND, SECOND]
    held.hold(after=1)
    page.set_viewport_size({"width": 800, "height": 400})
    choose(page, {**LONG, "buffer": recording(70)})
    start(page)
    expect(page.locator("#phrases li")).to_have_count(9)
    assert held.is_held.wait(30)
    page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight)")
    held.go_on.set()
    held.hold()  # before the last window
    expect(page.locator("#phrases li")).to_have_count(10)
    below = "() => document.documentElement.scrollHeight - scrollY - innerHeight"
    assert page.evaluate(below) < 1


def answer_with(page: Page, segments: list[dict[str, object]], language: str) -> None:
    """In the place of the server, at once."""
    events: list[dict[str, object]] = [
        {"type": "transcript.progress", "seconds_done": 0, "duration": 10, "language": language},
        *({"type": "transcript.text.delta", "delta": "", "segment": segment} for segment in segments),
        {"type": "transcript.text.done", "text": "", "language": language},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    page.route("**/v1/audio/transcriptions", lambda route: route.fulfill(body=body))


def segment(start: float, *words: str) -> dict[str, object]:
    times = [{"start": start, "end": start + 1, "word": word, "probability": 1} for word in words]
    return {"start": start, "end": start + 1, "text": "".join(words), "words": times}


def test_arrows_go_where_they_point_from_right_to_left_too(page: Page) -> None:
    answer_with(page, [segment(0, " שלום", " עולם")], language="he")
    transcribed(page)
    page.get_by_role("button", name="Play from 0:00").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="שלום")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="עולם")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="שלום")).to_be_focused()
    assert "Language\tHebrew" in page.locator("#details").inner_text().replace("\n", "\t")


def test_a_long_answer_is_drawn_in_a_few_steps(page: Page) -> None:
    """3000 phrases in one piece."""
    answer_with(page, [segment(0, " the ant")] * 3000, language="en")
    page.evaluate(
        """() => {
          window.drawn = 0;
          const list = document.querySelector("#phrases");
          new MutationObserver(() => drawn++).observe(list, { childList: true });
        }"""
    )
    transcribed(page)
    expect(page.locator("#phrases li")).to_have_count(3000)
    assert page.evaluate("() => drawn") < 300


def test_a_microphone_that_goes_away_leaves_what_it_heard(page: Page, decoder: TimedDecoder) -> None:
    decoder.windows = [FIRST]
    transcribed(page)
    page.locator("#phrases .word").first.click()
    page.evaluate(
        """() => {
          const { stream } = new AudioContext().createMediaStreamDestination();
          window.track = stream.getTracks()[0];
          navigator.mediaDevices.getUserMedia = async () => stream;
        }"""
    )
    page.get_by_role("button", name="Record").click()
    button = page.get_by_role("button", name="Stop recording", exact=True)
    expect(button).to_be_focused()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()  # it would be heard
    expect(page.get_by_role("status")).to_have_text("Recording")
    expect(page).to_have_title("Recording - whisper-npu")
    expect(page.locator("#record-clock")).to_have_text("0:01")
    page.locator("#phrases .word").first.dblclick()
    page.keyboard.type("an")
    page.evaluate("() => { track.stop(); track.dispatchEvent(new Event('ended')); }")
    assert "microphone is gone" in problem(page)
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_visible()
    recorded = page.locator("#recordings .name").last
    expect(recorded).to_have_text(re.compile(r"^recording-.*\.webm$"))
    asked = answer_next(page, yes=False)
    page.get_by_role("button", name="Remove recording").click()
    assert "The recording of recording-" in asked[0]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save recording").click()
    assert download.value.suggested_filename == recorded.inner_text()
    assert Path(download.value.path()).stat().st_size > 100
    page.get_by_role("button", name="Remove recording").click()
    expect(recorded).to_have_text("talk.final.wav")
    assert phrases(page) == ["an ant and the hat", "than a thane"]  # what was being typed then


def test_a_microphone_that_is_not_there_is_one_line(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    assert re.search("microphone.*choose a file", problem(page))
    expect(page.get_by_role("button", name="Record")).to_be_focused()


def test_a_browser_that_does_not_record_says_why(page: Page) -> None:
    for name, said in (("NotAllowedError", "not allowed"), ("NotFoundError", "no microphone")):
        page.evaluate(
            """name => {
              navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", name));
            }""",
            name,
        )
        page.get_by_role("button", name="Record").click()
        expect(page.get_by_role("alert")).to_have_text(re.compile(f"{said}.*choose a file"))


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
        expect(page.locator(".failed .reason")).to_be_visible()
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
        expect(page.locator(".failed .reason")).to_be_visible()
        page.get_by_text("Keyboard").click()
        check()
        if width < 500:
            assert page.evaluate(SMALL_TARGETS) == []
        page.get_by_role("button", name="Edit the phrase").first.click()
        check()


def test_what_is_chosen_and_heard_is_seen_with_the_colours_of_the_system(
    browser: Browser, address: str, decoder: TimedDecoder
) -> None:
    decoder.windows = [FIRST, SECOND]

    def style(of: str, name: str) -> str:
        value: str = page.locator(of).first.evaluate("(e, name) => getComputedStyle(e)[name]", name)
        return value

    with opened(browser, address, forced_colors="active") as page:
        transcribed(page, SHORT, {**SHORT, "name": "other.wav"})
        page.locator(".word").first.click()
        page.locator(".spoken").wait_for()
        ground = style("body", "backgroundColor")
        assert style(".spoken", "backgroundColor") not in (
            ground,
            style(".word:not(.spoken)", "backgroundColor"),
        )
        assert style(".dot", "backgroundColor") != ground
        assert style("li.chosen", "borderInlineStartColor") != ground
        assert style("li:not(.chosen)", "borderInlineStartColor") == ground
        assert style("#position", "appearance") == "auto"
        assert style("progress", "backgroundColor") != ground


def test_without_scripts_there_is_one_sentence(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        expect(page.locator("noscript p")).to_be_visible()
        expect(page.locator("main")).to_be_hidden()


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
