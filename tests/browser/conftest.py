"""A headless Chromium in front of the server's page. Skipped where either is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.timed_decoder import TimedDecoder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


PATIENCE = 30_000  # ms; machines may be slow


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    playwright.expect.set_options(timeout=PATIENCE)
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *root, *flags])
        try:
            yield browser
        finally:
            browser.close()


# Not for the session: while playwright runs, no other test could start an event loop in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedDecoder]:
    pytest.importorskip("uvicorn")
    from tests.browser.timed_decoder import TimedDecoder
    from tests.support.scripted_decoder import small_model

    with small_model(tmp_path_factory.mktemp("small")) as model:
        model._whisper.model = scripted = TimedDecoder(model)
        yield scripted


@pytest.fixture(scope="module")
def address(decoder: TimedDecoder) -> Iterator[str]:
    from tests.support.serving import serving

    with serving(decoder.model) as live:
        yield live.address


@pytest.fixture(autouse=True)
def nothing_said(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves a decoder that has nothing to say."""
    yield
    if "decoder" in request.fixturenames:
        decoder: TimedDecoder = request.getfixturevalue("decoder")
        decoder.windows = []
        decoder.unsure = ""


class Watched:
    """What a page must never do, and what it asks for."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.refusals = 0  # answers with a status of 4xx, which a browser always reports
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: object) -> None:
        text = f"{message.type}: {message.text}"  # type: ignore[attr-defined]
        if "the server responded with a status of 4" in text:
            self.refusals += 1
        else:
            self.problems.append(text)

    def _asked(self, url: str) -> None:
        if urlsplit(url).scheme not in ("blob", "data"):
            self.hosts.add(urlsplit(url).netloc)


@pytest.fixture
def watched(page: Page) -> Watched:
    return page.watched  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, open. Errors on the console are the test's failure, and requests to other servers."""
    with opened(browser, address) as page:
        yield page


@contextmanager
def opened(browser: Browser, address: str, **context: object) -> Iterator[Page]:
    with browser.new_context(**context) as own:  # type: ignore[arg-type]
        page = own.new_page()
        page.set_default_timeout(PATIENCE)
        page.watched = watched = Watched(page)  # type: ignore[attr-defined]
        page.on("filechooser", lambda chooser: None)  # from the start: the first one would not be seen
        page.goto(address)
        page.locator("#about:not(:empty)").wait_for()
        yield page
    assert watched.problems == []
    assert watched.hosts == {urlsplit(address).netloc}


@pytest.fixture(scope="module")
def samples() -> Path:
    return Path(__file__).parents[2] / "samples"
