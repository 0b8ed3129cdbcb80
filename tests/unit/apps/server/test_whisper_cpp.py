"""whisper.cpp's `POST /inference`: its answers in its shapes."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tests.support.serving", reason="the extra server is not installed")

from tests.support.serving import recording
from tests.unit.apps.server.conftest import Speaker

FILE = {"file": ("talk.wav", recording())}


def asked(http: Any, **fields: str) -> Any:
    answer = http.post("/inference", files=FILE, data=fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Whisper-NPU-Device"] == "emulator"
    return answer


def test_json_and_text(http: Any) -> None:
    assert asked(http, temperature="0.0", temperature_inc="0.2").json() == {"text": " the\n an\n"}
    assert asked(http, response_format="json").json() == {"text": " the\n an\n"}
    text = asked(http, response_format="text")
    assert text.text == " the\n an\n"
    assert text.headers["content-type"] == "text/plain; charset=utf-8"  # not html, which a page would render


def test_subtitles(http: Any) -> None:
    srt = asked(http, response_format="srt")
    assert srt.text.startswith("1\n00:00:00,000 --> 00:00:01,000\n")
    assert srt.headers["content-type"] == "application/x-subrip; charset=utf-8"
    vtt = asked(http, response_format="vtt")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n")
    assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"


def test_verbose_json(http: Any, speaker: Speaker) -> None:
    body = asked(http, response_format="verbose_json", token_timestamps="false", translate="true").json()
    assert "<|translate|>" in speaker.text(speaker.prompts[0])
    assert {name: body[name] for name in ("task", "language", "duration", "text")} == {
        "task": "translate",
        "language": "english",
        "duration": 2.0,
        "text": " the\n an\n",
    }
    assert body["detected_language"] == "german"
    assert body["language_probabilities"] == {"de": 0.75}
    first = body["segments"][0]
    assert (first["id"], first["text"], first["start"], first["end"]) == (0, " the", 0.0, 1.0)
    assert set(first) == {
        "id",
        "text",
        "start",
        "end",
        "tokens",
        "temperature",
        "avg_logprob",
        "no_speech_prob",
    }


def test_an_error_has_the_same_body_as_everywhere(http: Any) -> None:
    answer = http.post("/inference", data={"language": "de"}, files={"audio": b"x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
