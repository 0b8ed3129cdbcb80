"""The page's routes, without a browser; tests/browser has one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
httpx = pytest.importorskip("httpx")

from tests.support.scripted_decoder import small_model  # noqa: E402
from tests.support.serving import Live, serving  # noqa: E402
from whisper_npu.apps.server.page import PAGE_PATHS  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

FOLDER = Path(__file__).parents[4] / "whisper_npu/apps/server/page"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.fixture(scope="module")
def live(small: Model) -> Iterator[Live]:
    with serving(small, api_key="open-sesame") as live:
        yield live


def test_every_file_is_served_and_needs_no_key(live: Live) -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert {"/" if name == "index.html" else f"/page/{name}" for name in names} == PAGE_PATHS
    for path in PAGE_PATHS:
        answer = httpx.get(live.address + path)
        name = path.rpartition("/")[2] or "index.html"
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].split(";")[0] == TYPES[name.rpartition(".")[2]]
        assert answer.headers["Cache-Control"] == "no-cache"
        if name != "index.html":
            assert answer.content == (FOLDER / name).read_bytes()
        assert httpx.head(live.address + path).headers["Content-Length"] == str(len(answer.content))


def test_nothing_but_this_server_may_be_asked(live: Live) -> None:
    policy = httpx.get(live.address).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("media-src") == "blob:"
    assert set(rules.values()) == {"'self'", "'none'"}
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"


def test_the_files_name_no_other_place_and_hold_no_inline_code() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        code = re.sub(r"^// .*|(?<= )// .*|/\*.*?\*/", "", text, flags=re.MULTILINE | re.DOTALL)
        assert "://" not in code
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=", page)


@pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/../page.py", "/page/%2e%2e/page.py"])
def test_nothing_else_is_served(live: Live, path: str) -> None:
    answer = httpx.get(live.address + path, headers={"Authorization": "Bearer open-sesame"})
    assert answer.status_code == 404


def test_the_languages_are_those_of_the_model(live: Live, tmp_path: Path) -> None:
    option = re.compile(r'<option value="(\w*)">([^<]+)</option>')
    known = [("", "Automatic"), ("en", "English"), ("de", "German"), ("haw", "Hawaiian")]
    assert option.findall(httpx.get(live.address).text)[:5] == [*known, ("transcribe", "Transcribe")]
    with small_model(tmp_path, multilingual=False) as model, serving(model) as english:
        found = option.findall(httpx.get(english.address).text)
        assert found[:2] == [("en", "English"), ("transcribe", "Transcribe")]
