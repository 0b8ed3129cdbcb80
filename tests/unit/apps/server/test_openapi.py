"""The OpenAPI document: every whole answer is as it says, and it names what there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
pytest.importorskip("tests.support.serving", reason="the extra server is not installed")

from tests.support.serving import recording  # noqa: E402
from whisper_npu.apps.server.app import ENDPOINTS  # noqa: E402
from whisper_npu.apps.server.asked import FORMATS, KNOWN  # noqa: E402
from whisper_npu.apps.server.live import PATH as LIVE  # noqa: E402
from whisper_npu.apps.server.openapi_document import document  # noqa: E402
from whisper_npu.apps.server.whisper_cpp import NAMES  # noqa: E402

FILE = {"file": ("talk.wav", recording())}
POSTED = ("/v1/audio/transcriptions", "/v1/audio/translations", "/inference")


@pytest.fixture
def described(http: Any) -> Any:
    answer = http.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def check(described: Any, answer: Any, path: str, method: str) -> None:
    """One answer against its response's media types, headers and schema."""
    response = described["paths"][path][method]["responses"][str(answer.status_code)]
    for name, header in response["headers"].items():
        needed = described["components"]["headers"].get(name, header)
        assert name in answer.headers or not needed.get("required")
    schema = response["content"][answer.headers["content-type"]]["schema"]
    content = answer.json() if "json" in answer.headers["content-type"] else answer.text
    jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(content)


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize(("fmt", "words"), [*((fmt, "false") for fmt in FORMATS), ("verbose_json", "true")])
def test_every_format_is_described(http: Any, described: Any, path: str, fmt: str, words: str) -> None:
    answer = http.post(path, files=FILE, data={"response_format": fmt, "word_timestamps": words})
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.text
    assert "X-Whisper-NPU-Warnings" not in answer.headers
    if fmt == "verbose_json":
        assert ("words" in answer.text) == (words == "true")
    check(described, answer, path, "post")


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("fmt", ["json", "verbose_json", "srt"])
def test_a_warning_is_told_and_described(http: Any, described: Any, path: str, fmt: str) -> None:
    """Of a recording in which nothing is."""
    answer = http.post(path, files={"file": ("a.wav", recording(0))}, data={"response_format": fmt})
    assert answer.status_code == 200
    assert answer.headers["X-Whisper-NPU-Warnings"] == "no speech was found: it has no samples"
    if fmt != "srt":
        assert answer.json()["warnings"] == ["no speech was found: it has no samples"]
    check(described, answer, path, "post")


def test_a_refusal_is_described(http: Any, described: Any) -> None:
    for data, status in (({"bean_size": "5"}, 400), ({"model": "other"}, 404)):
        answer = http.post(POSTED[0], files=FILE, data=data)
        assert answer.status_code == status
        check(described, answer, POSTED[0], "post")


def test_what_can_be_got_is_described(http: Any, described: Any) -> None:
    for path in ("/health", "/metrics", "/v1/models", "/openapi.json"):
        check(described, http.get(path), path, "get")
    check(described, http.get("/v1/models/whisper-1"), "/v1/models/{name}", "get")


def test_it_names_every_address_and_field() -> None:
    paths = document(has_key=False)["paths"]
    assert {path.replace("{name}", "{id}") for path in paths} == {*ENDPOINTS} - {"/", LIVE}
    for path in POSTED:
        content = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]
        assert {"file", *KNOWN} <= set(content["schema"]["properties"])
    assert set(NAMES) <= set(content["schema"]["properties"])


def test_it_asks_for_a_key_only_where_one_is_needed() -> None:
    assert "security" not in document(has_key=False)
    locked = document(has_key=True)
    assert locked["security"] == [{"key": []}]
    assert locked["paths"]["/health"]["get"]["security"] == []
    assert "secret" not in json.dumps(locked)
