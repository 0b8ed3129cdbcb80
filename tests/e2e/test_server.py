"""The server with real weights: every answer says what is spoken, and docs/server.md tells the truth."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import re
import wave
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytestmark = pytest.mark.weights
openai = pytest.importorskip("openai", reason="the openai client is not installed")
pytest.importorskip("tests.support.serving", reason="the extra server is not installed")

from tests.e2e.conftest import SAMPLES  # noqa: E402
from tests.support.curl import curl  # noqa: E402
from tests.support.serving import serving  # noqa: E402
from tests.support.weights import require_weights  # noqa: E402
from whisper_npu import load_model  # noqa: E402

if TYPE_CHECKING:
    from tests.support.serving import Live

ROOT = SAMPLES.parent
PAGE = (ROOT / "docs/server.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|bash|text|ini)\n(.*?)```\n", PAGE, re.DOTALL)
# The documentation's examples have the other formats.
HEARD = {"text": "sns-0920.wav", "stream": "sns-0890.wav"}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with load_model(require_weights("tiny.en"), device="emulator") as model, serving(model) as server:
        yield server


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower().replace("mr.", "mister"))


@pytest.fixture(scope="module")
def spoken() -> dict[str, list[str]]:
    lines = (SAMPLES / "expected.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {path: words(text) for path, _, text in (line.partition("\t") for line in lines)}


@pytest.mark.parametrize("fmt", HEARD)
def test_what_is_spoken(live: Live, spoken: dict[str, list[str]], fmt: str) -> None:
    name = HEARD[fmt]
    asked: dict[str, Any] = {"stream": True} if fmt == "stream" else {"response_format": fmt}
    with openai.OpenAI(base_url=f"{live.address}/v1", api_key="none", max_retries=0) as client:
        done = client.audio.transcriptions.create(file=SAMPLES / name, model="tiny.en", **asked)
        if fmt == "stream":
            text = "".join(event.delta for event in done if event.type == "transcript.text.delta")
        else:
            text = done
    assert words(text) == spoken[name]


def test_what_is_spoken_live(live: Live, spoken: dict[str, list[str]]) -> None:
    """As fast as it goes, with a second of silence behind each sample."""
    client = pytest.importorskip("websockets.sync.client")
    names = ["sns-0930.wav", "sns-0920.wav", "sns-0870.wav"]
    with client.connect(f"{live.address.replace('http', 'ws')}/v1/listen") as websocket:
        websocket.send(json.dumps({"type": "start", "partial_every": 0}))
        for name in names:
            with wave.open(str(SAMPLES / name)) as file:
                sound = file.readframes(file.getnframes()) + bytes(32_000)
            for at in range(0, len(sound), 20_000):
                websocket.send(sound[at : at + 20_000])
        websocket.send(json.dumps({"type": "end"}))
        ready, *lines, done = (json.loads(message) for message in websocket)
    assert (ready["type"], done["type"]) == ("ready", "done")
    assert {line["type"] for line in lines} == {"final"}
    assert words(" ".join(line["text"] for line in lines)) == [
        word for name in names for word in spoken[name]
    ]
    times = [time for line in lines for time in (line["start"], line["end"])]
    assert times == sorted(times)


def test_words_have_times_within_the_recording(live: Live) -> None:
    with openai.OpenAI(base_url=f"{live.address}/v1", api_key="none") as client:
        done = client.audio.transcriptions.create(
            file=SAMPLES / "sns-0930.wav",
            model="tiny.en",
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
    assert done.segments is None
    assert [word.word for word in done.words] == done.text.split()
    starts = [word.start for word in done.words]
    assert starts == sorted(starts)
    assert all(0 <= word.start < word.end <= done.duration for word in done.words)


def test_the_examples_of_the_documentation(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of Python or of curl, and what the block behind it shows."""
    monkeypatch.chdir(ROOT)
    check = doctest.OutputChecker()
    names: dict[str, Any] = {}
    checked = 0
    try:
        for (kind, code), (_, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
            here = code.replace("127.0.0.1:8000", live.address.removeprefix("http://"))
            if kind == "python":
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(compile(here, "docs/server.md", "exec"), names)
                said = printed.getvalue()
            elif kind == "bash" and here.startswith("curl"):
                said = curl(here, ROOT)
            else:
                continue
            if kind == "python" and "print" not in code:
                continue
            flags = doctest.ELLIPSIS
            assert check.check_output(expected.rstrip("\n"), said.rstrip("\n"), flags), (code, said)
            checked += 1
    finally:
        names["client"].close()
    assert checked == 10
