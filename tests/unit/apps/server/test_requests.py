"""Requests of every kind, the worst ones too: a status with OpenAI's error body, and the next one works."""

from __future__ import annotations

import errno
import json
import logging
import re
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
pytest.importorskip("tests.support.serving", reason="the extra server is not installed")

from tests.support.scripted_decoder import Window  # noqa: E402
from tests.support.serving import Live, recording, serving  # noqa: E402
from tests.unit.apps.server.conftest import LONGEST_WAIT, Speaker  # noqa: E402
from whisper_npu.apps.server.log import LogFormatter  # noqa: E402
from whisper_npu.apps.server.settings import ServerSettings  # noqa: E402
from whisper_npu.audio import open_audio  # noqa: E402
from whisper_npu.errors import AudioError, DeviceError, DispatchError, WhisperNpuError  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

FILE = {"file": ("talk.wav", recording())}
HERE = "/v1/audio/transcriptions"


def refused(answer: Any) -> dict[str, Any]:
    """The error of an answer, which is OpenAI's and one line, with nothing of the program's inside."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in error["message"]
    return error


def works(http: Any) -> None:
    answer = http.post(HERE, files=FILE)
    assert (answer.status_code, answer.json()["text"]) == (200, "the an")


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"temperature": "nan"}, "temperature", "temperature is nan, must be a number from 0 to 1"),
        ({"temperature": "warm"}, "temperature", "must be a number"),
        ({"beam_size": "1e3"}, "beam_size", "must be a whole number"),
        ({"beam_size": "0"}, "beam_size", "at least 1|from 1 to"),
        ({"stream": "maybe"}, "stream", "must be true or false"),
        ({"language": "klingon"}, "language", "unknown language"),
        ({"prompt": "an " * 2000}, "prompt", "prompt means initial_prompt: .* tokens long"),
        ({"response_format": "docx"}, "response_format", "must be one of json, text, srt, verbose_json, vtt"),
        ({"response_format": "diarized_json"}, "response_format", "speakers are not told apart"),
        ({"response_format": "srt", "stream": "1"}, "response_format", "cannot be streamed"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "must be verbose_json"),
        ({"max_line_width": "40"}, "max_line_width", "must be srt or vtt"),
        ({"vad_threshold": "0.5001"}, "vad_threshold", "no effect without vad_filter"),
        ({"include[]": "logprobs"}, "include", "not told"),
        ({"chunking_strategy[type]": "server_vad"}, "chunking_strategy", "only auto"),
        ({"known_speaker_names[]": "me"}, "known_speaker_names", "speakers"),
        ({"langauge": "de"}, "langauge", "did you mean language"),
        ({"task": "sing"}, "task", "unknown task"),
        ({"\x1b[31m": "x"}, r"\x1b[31m", "there is no field"),
        ({"language": ["de", "en"]}, "language", "given twice"),
        ({"prompt": "x", "initial_prompt": "y"}, "initial_prompt", "the same option"),
        ({"audio_track": "7"}, "file", "no audio track 7"),
        ({"clip_timestamps": "100,200"}, "clip_timestamps", "lasts 2.00 s"),
        ({"suppress_tokens": "999999"}, "suppress_tokens", "names token 999999"),
        ({"language": "undefined"}, "language", "or auto to have it detected"),
        ({"beam_size": "1_0"}, "beam_size", "must be a whole number"),
        ({"suppress_tokens": "1_0"}, "suppress_tokens", "numbers between commas"),
    ],
)
def test_a_field_that_is_wrong(http: Any, fields: dict[str, Any], param: str | None, message: str) -> None:
    answer = http.post(HERE, files=FILE, data=fields)
    assert answer.status_code == 400
    error = refused(answer)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert re.search(message, error["message"]), error["message"]


def test_a_long_value_is_not_all_told(http: Any) -> None:
    for fields in ({"language": "x" * 60_000}, {"suppress_tokens": "x" * 60_000}, {"x" * 5000: "y"}):
        error = refused(http.post(HERE, files=FILE, data=fields))
        assert len(error["message"]) < 300


def test_lists_in_the_ways_of_openai_s_client(http: Any, speaker: Speaker) -> None:
    """Given several times, with and without []."""
    answer = http.post(
        HERE,
        files=FILE,
        data={
            "clip_timestamps[]": ["0", "1"],
            "suppress_tokens": ["1", "2"],
            "hotwords[]": ["an", "the"],
            "user": "somebody",
        },
        params={"api-version": "2026-01-01"},
    )
    assert answer.status_code == 200, answer.text
    assert " an the" in speaker.text(speaker.prompts[0])


@pytest.mark.parametrize("name", ["../../etc/passwd", "https://example.com/a.wav", "/dev/stdin", "-", "a\0b"])
def test_what_a_client_calls_its_file_means_nothing(http: Any, name: str) -> None:
    answer = http.post(HERE, files={"file": (name, recording())})
    assert answer.json()["text"] == "the an"


def form(*parts: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    """parts: the header of each, and its content."""
    return b"".join(b"--x\r\n%s\r\n\r\n%s\r\n" % (head.encode(), body) for head, body in parts) + end


A_FILE = 'Content-Disposition: form-data; name="file"; filename="a.wav"'
MULTIPART = "multipart/form-data; boundary=x"


A_THOUSAND = [(f'Content-Disposition: form-data; name="f{n}"', b"x") for n in range(1000)]
LONG_ONES = [(f'Content-Disposition: form-data; name="f{n}"', b"x" * 60_000) for n in range(20)]


@pytest.mark.parametrize(
    ("kind", "content", "status", "message"),
    [
        (None, b"", 415, "multipart/form-data"),
        ("application/json", b'{"file": "a.wav"}', 415, "application/json"),
        ("application/x-www-form-urlencoded", b"file=a.wav", 415, "multipart/form-data"),
        ("multipart/form-data", b"--x--", 400, "boundary"),
        (MULTIPART, b"", 400, "cut off"),
        (MULTIPART, form(), 400, "no file"),
        (MULTIPART, b"garbage" * 100, 400, "cannot be read"),
        (MULTIPART, bytes(range(256)) * 100, 400, "cannot be read"),
        (MULTIPART, form((A_FILE, recording()), end=b""), 400, "cut off"),
        (MULTIPART, form((A_FILE, recording()))[:3000], 400, "cut off"),
        (MULTIPART, form((A_FILE, b"")), 400, "empty"),
        (MULTIPART, form((A_FILE, recording()), (A_FILE, recording())), 400, "Too many files"),
        (MULTIPART, form(('Content-Disposition: form-data; name="file"', b"x")), 400, "file is text"),
        (MULTIPART, form((A_FILE.replace("file", "audio", 1), recording())), 400, "the field's name is file"),
        (MULTIPART, form((A_FILE.replace('"file"', '"prompt"'), b"x")), 400, "prompt is one"),
        (MULTIPART, form((A_FILE, b"#EXTM3U\nhttps://example.com/a.mp3")), 400, "is not audio"),
        (MULTIPART, form(("Content-Disposition: form-data", b"x")), 400, "name"),
        (MULTIPART, form((f"{A_FILE}\r\nX: {'x' * 9000}", recording())), 400, "cannot be read"),
        (MULTIPART, form((A_FILE + "\r\nX: x" * 2000, recording())), 400, "cannot be read"),
        (MULTIPART, form((A_FILE, recording()), *A_THOUSAND), 400, "Too many fields"),
        (MULTIPART, form((A_FILE, recording()), *LONG_ONES), 400, "exceed"),
        (f"multipart/form-data; boundary={'x' * 5000}", b"--x", 400, "cannot be read"),
        (
            MULTIPART,
            form(('Content-Disposition: form-data; name="prompt"', b"x" * 2_000_000), (A_FILE, recording())),
            400,
            "exceeded",
        ),
    ],
)
def test_a_body_that_is_wrong(http: Any, kind: str | None, content: bytes, status: int, message: str) -> None:
    answer = http.post(HERE, content=content, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == status, answer.text
    assert message in refused(answer)["message"]


def test_a_name_in_the_other_form_is_one(http: Any) -> None:
    a_file = A_FILE.replace('filename="a.wav"', "filename*=UTF-8''%C3%A4.wav")
    content = form((a_file, recording()))
    assert http.post(HERE, content=content, headers={"Content-Type": MULTIPART}).status_code == 200


def test_a_body_that_is_compressed(http: Any) -> None:
    headers = {"Content-Type": MULTIPART, "Content-Encoding": "gzip"}
    answer = http.post(HERE, content=b"x", headers=headers)
    assert answer.status_code == 415
    assert "gzip" in refused(answer)["message"]


def test_a_body_that_nobody_announced(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        connection.sendall(
            f"POST {HERE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n\r\n".encode()
        )
        assert connection.recv(12) == b"HTTP/1.1 411"


def test_after_all_these_the_next_one_works(http: Any) -> None:
    for content in (b"", b"garbage", form((A_FILE, recording()), end=b""), form((A_FILE, b"no audio"))):
        assert http.post(HERE, content=content, headers={"Content-Type": MULTIPART}).status_code == 400
        works(http)


def test_a_recording_without_samples_is_one(http: Any) -> None:
    """As on the command line."""
    answer = http.post(
        HERE, files={"file": ("a.wav", recording(0))}, data={"response_format": "verbose_json"}
    )
    assert (answer.status_code, answer.json()["segments"], answer.json()["text"]) == (200, [], "")


def test_addresses_and_methods(http: Any) -> None:
    for path in ("/v1/audio/speech", "/docs", "/redoc", "/audio/transcriptions"):
        answer = http.get(path)
        assert answer.status_code == 404, path
        refused(answer)
    assert "did you mean /v1/audio/transcriptions" in http.post("/audio/transcriptions").text
    assert "did you mean /v1/audio/transcriptions" in http.post(f"{HERE}/").text
    assert http.get("/v1/models/").json() == http.get("/v1/models").json()
    for path in ("/v1/models", "/v1/models/whisper-1", "/metrics", "/health", "/"):
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    answer = http.get(HERE)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    refused(answer)
    answer = http.post(f"{HERE}?language=de", files=FILE)
    assert (answer.status_code, refused(answer)["param"]) == (400, "language")


def test_a_body_beyond_the_limit(small: Model, speaker: Speaker) -> None:
    with serving(small, max_upload_mb=0.1) as live, httpx.Client(base_url=live.address) as http:
        answer = http.post(HERE, files=FILE, data={"prompt": "x" * 200_000})
        assert answer.status_code == 413
        refused(answer)
        works(http)


def test_a_defect_of_ours_is_one_line(http: Any, speaker: Speaker, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError("secret")

    on_window, speaker.on_window = speaker.on_window, fail
    with caplog.at_level(logging.ERROR):
        answer = http.post(HERE, files=FILE)
    assert answer.status_code == 500
    error = refused(answer)
    assert (error["type"], error["code"]) == ("server_error", "internal")
    assert "ZeroDivisionError" in error["message"]
    assert "secret" not in error["message"]
    assert "secret" in caplog.text  # the operator sees all of it
    streamed = events(http.post(HERE, files=FILE, data={"stream": "true"}))
    assert streamed[-1]["error"]["code"] == "internal"
    speaker.on_window = on_window
    works(http)


def events(answer: Any) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith(("data: ", ":")) for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_a_stream_for_the_page(http: Any) -> None:
    """Also of a translation, which the page asks for in the same way."""
    for path in (HERE, "/v1/audio/translations"):
        told = events(http.post(path, files=FILE, data={"stream": "true", "response_format": "verbose_json"}))
        assert told[0] == {"type": "transcript.progress", "queue_position": 0}
        assert told[1] == {
            "type": "transcript.progress",
            "seconds_done": 0.0,
            "duration": 2.0,
            "language": "de",
            "language_probability": 0.75,
        }
        first, second = (one for one in told if one["type"] == "transcript.text.delta")
        assert {name: first["segment"][name] for name in ("id", "start", "end", "text", "words")} == {
            "id": 0,
            "start": 0.0,
            "end": 1.0,
            "text": " the",
            "words": None,
        }
        assert second["segment"]["id"] == 1
        done = told[-1]
        assert done["type"] == "transcript.text.done"
        assert (done["language"], done["duration"], done["device"]) == ("de", 2.0, "emulator")
        assert done["dispatches"] > 0
        assert done["real_time_factor"] == done["measured_seconds"] / 2.0


def test_the_last_event_tells_what_was_missing(http: Any) -> None:
    for fmt in ("json", "verbose_json"):
        told = events(
            http.post(
                HERE,
                files={"file": ("a.wav", recording(0))},
                data={"stream": "true", "response_format": fmt},
            )
        )
        assert told[-1]["warnings"] == ["no speech was found: it has no samples"]


def test_a_stream_shows_that_it_lives(
    live: Live, http: Any, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits, and while a window is decoded."""
    monkeypatch.setattr("whisper_npu.apps.server.respond.KEEP_ALIVE_SECONDS", 0.0)
    speaker.hold()
    with (
        sent(live),
        http.stream("POST", HERE, files=FILE, data={"stream": "true"}) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines).startswith(":")
        assert live.service.queue.waiting == 1
        speaker.go_on.set()
        assert next(line for line in lines if line.startswith("data:")) == (
            'data: {"type": "transcript.text.delta", "delta": " the"}'
        )
        assert [json.loads(line[6:])["type"] for line in lines if line.startswith("data:")] == [
            "transcript.text.delta",
            "transcript.text.done",
        ]


def test_an_empty_field_is_not_given(http: Any) -> None:
    answer = http.post(
        HERE,
        files=FILE,
        data={
            "model": "",
            "language": "",
            "prompt": "",
            "temperature": "",
            "stream": "",
            "chunking_strategy": "auto",
            "vad_filter": "False",
            "beam_size": "1",
            "condition_on_previous_text": "off",
            "compression_ratio_threshold": "none",
            "suppress_tokens": "",
        },
    )
    assert answer.status_code == 200


# Clients that go away.


@contextmanager
def sent(live: Live, *, stream: bool = False, content: bytes | None = None) -> Iterator[socket.socket]:
    """A request whose answer nobody has read yet."""
    fields = [('Content-Disposition: form-data; name="stream"', b"true")] if stream else []
    content = form((A_FILE, content or recording()), *fields)
    head = f"POST {HERE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n"
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield connection


def wait_until(happened: Any) -> None:
    never = Event()
    for _ in range(100 * LONGEST_WAIT):
        if happened():
            return
        never.wait(0.01)
    pytest.fail("it did not happen")


@pytest.mark.parametrize("stream", [False, True])
def test_the_work_of_a_client_that_goes_away_ends(
    live: Live, http: Any, speaker: Speaker, stream: bool
) -> None:
    speaker.windows = [Window([(0.0, " the", 30.0)]) for _ in range(3)]
    speaker.hold()
    queue = live.service.queue
    with sent(live, stream=stream):
        assert speaker.is_held.wait(LONGEST_WAIT)
        with sent(live, stream=stream):
            wait_until(lambda: queue.waiting == 1)
        wait_until(lambda: queue.waiting == 0)  # the one that waited has left
        assert queue.busy
    wait_until(lambda: not queue.busy)
    assert speaker.prompts == []  # nothing was decoded
    speaker.windows = []
    speaker.go_on.set()
    works(http)


def test_a_client_that_goes_away_between_two_events_is_noticed(
    live: Live, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read all that was said, so no reset tells of it."""
    monkeypatch.setattr("whisper_npu.apps.server.respond.KEEP_ALIVE_SECONDS", 1000)
    speaker.hold()
    with sent(live, stream=True) as connection:
        assert speaker.is_held.wait(LONGEST_WAIT)
        assert connection.recv(65536).endswith(b"\r\n\r\n")
    wait_until(lambda: not live.service.queue.busy)
    assert speaker.prompts == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_shuts_down_its_side_gets_the_whole_answer(
    live: Live, speaker: Speaker, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whisper_npu.apps.server.respond.PROBE_SECONDS", 0.0)
    speaker.hold()
    with sent(live, stream=stream) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert speaker.is_held.wait(LONGEST_WAIT)
        said = connection.recv(65536)
        wanted = b": still here" if stream else b"100 Continue"
        while wanted not in said:
            said += connection.recv(65536)
        speaker.go_on.set()
        while part := connection.recv(65536):
            said += part
    assert (b"transcript.text.done" in said) if stream else said.endswith(b'"seconds":2.0}}')


def test_half_a_body(live: Live, http: Any) -> None:
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        connection.sendall(
            f"POST {HERE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n"
            "Content-Length: 10000\r\n\r\n--x\r\n".encode()
        )
    works(http)


def test_work_beyond_the_limit_ends(small: Model, speaker: Speaker) -> None:
    with serving(small, request_timeout=0.2) as live, httpx.Client(base_url=live.address, timeout=30) as http:
        speaker.hold()
        answer = http.post(HERE, files=FILE)
        assert (answer.status_code, refused(answer)["code"]) == (503, "time_limit")
        assert answer.headers["x-should-retry"] == "false"
        streamed = events(http.post(HERE, files=FILE, data={"stream": "true"}))
        assert [one["error"]["code"] for one in streamed] == ["time_limit"]
        wait_until(lambda: not live.service.queue.busy)
        assert speaker.prompts == []


def test_a_client_hears_of_the_time_limit_while_a_call_cannot_be_interrupted(
    small: Model, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is the next one's when the call has come back."""
    come_back = Event()

    def call(*given: Any, **more: Any) -> Any:
        assert come_back.wait(LONGEST_WAIT)
        return open_audio(*given, **more)

    monkeypatch.setattr("whisper_npu.apps.server.work.open_audio", call)
    with serving(small, request_timeout=0.2) as live, httpx.Client(base_url=live.address, timeout=30) as http:
        try:
            answer = http.post(HERE, files=FILE)
            assert (answer.status_code, refused(answer)["code"]) == (503, "time_limit")
            assert live.service.queue.busy
        finally:
            come_back.set()
        wait_until(lambda: not live.service.queue.busy)
        monkeypatch.setattr("whisper_npu.apps.server.work.open_audio", open_audio)
        live.service.settings = ServerSettings()
        works(http)


def test_a_full_queue_is_told_before_the_recording_is_sent(small: Model, speaker: Speaker) -> None:
    with serving(small, max_queue=0) as live:
        speaker.hold()
        with sent(live), socket.create_connection(("127.0.0.1", live.port)) as another:
            assert speaker.is_held.wait(LONGEST_WAIT)
            head = f"POST {HERE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n"
            another.sendall(f"{head}Content-Length: 10000\r\n\r\n".encode())
            answer = another.recv(65536)
            assert answer.startswith(b"HTTP/1.1 429")
            assert b"retry-after: " in answer.lower()
        speaker.go_on.set()
        wait_until(lambda: not live.service.queue.busy)


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (DeviceError("the device is on fire"), 503, "device_failed", "on fire"),
        (DispatchError("a dispatch timed out"), 503, "device_failed", "timed out"),
        (WhisperNpuError("it cannot be"), 500, "failed", "it cannot be"),
        (MemoryError(), 503, "out_of_memory", "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "storage_full", "no space left"),
        (OSError(errno.EIO, "secret"), 500, "internal", "OSError"),
        (KeyError("secret"), 500, "internal", "KeyError"),
        (SystemExit("secret"), 500, "internal", "RuntimeError"),
    ],
)
def test_whatever_fails_the_device_is_free_for_the_next_one(
    live: Live,
    http: Any,
    speaker: Speaker,
    stream: str,
    error: BaseException,
    status: int,
    code: str,
    message: str,
) -> None:
    def fail() -> None:
        raise error

    on_window, speaker.on_window = speaker.on_window, fail
    answer = http.post(HERE, files=FILE, data={"stream": stream})
    if stream == "true":
        told = events(answer)[-1]["error"]
    else:
        told = refused(answer)
        assert answer.status_code == status
        assert answer.headers["x-should-retry"] == "false"
    assert (told["type"], told["code"]) == ("server_error", code)
    assert message in told["message"]
    assert "secret" not in told["message"]
    speaker.on_window = on_window
    works(http)
    assert not live.service.queue.busy


def test_an_upload_for_which_no_space_is_left(http: Any, tmp_path: Path) -> None:
    """The system itself refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_100_000, before[1]))
    try:
        answer = http.post(HERE, files={"file": ("talk.wav", recording(40))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (answer.status_code, refused(answer)["code"]) == (507, "storage_full")
    works(http)


def test_a_copy_for_which_no_space_is_left(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault of the recording, though an AudioError tells of it."""

    def call(*given: Any, **more: Any) -> Any:
        raise AudioError("cannot be kept") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("whisper_npu.apps.server.work.open_audio", call)
    answer = http.post(HERE, files=FILE)
    assert (answer.status_code, refused(answer)["code"]) == (507, "storage_full")


def test_the_key_is_in_no_answer_and_no_log(
    small: Model, speaker: Speaker, caplog: pytest.LogCaptureFixture
) -> None:
    key = "a-very-secret-key"
    right, wrong = {"Authorization": f"Bearer {key}"}, {"Authorization": f"Bearer {key}x"}
    with (
        caplog.at_level(logging.DEBUG),
        serving(small, api_key=key) as live,
        httpx.Client(base_url=live.address, timeout=LONGEST_WAIT) as http,
    ):
        paths = ("/", "/health", "/metrics", "/openapi.json", "/v1/models", "/nowhere")
        answers = [http.get(path, headers=headers) for path in paths for headers in (right, wrong, {})]
        answers += [
            http.post(HERE, files=FILE, headers=right),
            http.post(HERE, files=FILE, headers=right, data={"api_key": "x"}),
            http.post(HERE, files=FILE, headers=wrong),
        ]
        on_window, speaker.on_window = speaker.on_window, lambda: 1 // 0  # type: ignore[assignment]
        answers.append(http.post(HERE, files=FILE, headers=right))
        speaker.on_window = on_window
        assert [answer.status_code for answer in answers[-4:]] == [200, 400, 401, 500]
        assert not any(key in answer.text or key in str(answer.headers) for answer in answers)
        assert key not in repr(live.service.settings)
    assert "ZeroDivisionError" in caplog.text
    assert key not in "".join(record.getMessage() + (record.exc_text or "") for record in our(caplog.records))


def our(records: list[logging.LogRecord]) -> list[logging.LogRecord]:
    """Without those of the client, which is in this process too."""
    return [
        record for record in records if record.name.partition(".")[0] in ("whisper_npu", "uvicorn", "asyncio")
    ]


def test_a_server_that_is_stopped_says_so(small: Model, speaker: Speaker) -> None:
    answers: list[Any] = []
    with serving(small) as live:
        speaker.hold()
        asking = Thread(
            target=lambda: answers.append(httpx.post(live.address + HERE, files=FILE, timeout=30))
        )
        asking.start()
        assert speaker.is_held.wait(LONGEST_WAIT)
        live.stop()
    asking.join()
    assert (answers[0].status_code, refused(answers[0])["code"]) == (503, "stopping")


@pytest.mark.parametrize("stream", ["false", "true"])
def test_those_who_wait_hear_of_the_end_before_a_call_that_cannot_be_interrupted_comes_back(
    small: Model, speaker: Speaker, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one who is sending, and the one whose recording is being looked into."""
    monkeypatch.setattr("whisper_npu.apps.server.work.PATIENCE_AT_END", 0.01)
    begun, come_back = Event(), Event()

    def call(*given: Any, **more: Any) -> Any:
        begun.set()
        assert come_back.wait(LONGEST_WAIT)
        return open_audio(*given, **more)

    monkeypatch.setattr("whisper_npu.apps.server.work.open_audio", call)
    answers: list[Any] = []

    def ask() -> None:
        fields = {"stream": stream, "response_format": "verbose_json"}
        answers.append(httpx.post(live.address + HERE, files=FILE, data=fields, timeout=LONGEST_WAIT))

    try:
        with serving(small) as live, socket.create_connection(("127.0.0.1", live.port)) as sending:
            asking = [Thread(target=ask) for _ in range(2)]
            for one in asking:
                one.start()
            assert begun.wait(LONGEST_WAIT)
            head = f"POST {HERE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n"
            sending.sendall(f"{head}Content-Length: 10000\r\n\r\n--x\r\n".encode())
            wait_until(lambda: "whisper_npu_requests_in_flight 3.0" in metrics_of(live))
            wait_until(lambda: live.service.queue.waiting == 1)
            live.stop()
            for one in asking:
                one.join()
            assert sending.recv(12) == b"HTTP/1.1 503"
        assert live.service.at_work  # it has not come back
        assert 'errors_total{kind="stopping"} 3.0' in metrics_of(live)
    finally:
        come_back.set()
    for answer in answers:
        error = events(answer)[-1]["error"] if answer.status_code == 200 else refused(answer)
        assert error["code"] == "stopping"
    wait_until(lambda: not live.service.at_work)


def metrics_of(live: Live) -> str:
    return live.service.metrics.text(live.service.queue).decode()


def count(live: Live, series: str) -> float:
    lines = metrics_of(live).splitlines()
    return float(next(line for line in lines if line.startswith(f"whisper_npu_{series} ")).split()[-1])


def test_every_request_that_is_refused_is_counted_once(small: Model, speaker: Speaker) -> None:
    with serving(small) as live, httpx.Client(base_url=live.address, timeout=LONGEST_WAIT) as http:
        answers = [
            http.get("/nothing"),
            http.get(HERE),
            http.get("/v1/models/other"),
            http.post(HERE, files=FILE, data={"model": "other"}),
            http.post(HERE, files=FILE, data={"beam_size": "0"}),
        ]
        assert [answer.status_code for answer in answers] == [404, 405, 404, 404, 400]
        assert all(answer.headers["X-Whisper-NPU-Device"] == "emulator" for answer in answers)
        wait_until(lambda: count(live, 'errors_total{kind="request"}') == 5)  # counted once it is sent
        wait_until(lambda: count(live, 'requests_total{endpoint="/v1/models/{id}",status="404"}') == 1)
        http.post(HERE, files={"file": ("a", b"no audio")})
        wait_until(lambda: count(live, 'errors_total{kind="audio"}') == 1)
        with socket.create_connection(("127.0.0.1", live.port)) as connection:
            head = f"POST {HERE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n"
            connection.sendall(f"{head}Content-Length: 10000\r\n\r\n--x\r\n".encode())
            wait_until(lambda: count(live, "requests_in_flight") == 1)
        wait_until(lambda: count(live, 'errors_total{kind="client_gone"}') == 1)
        assert count(live, "dispatches_total") == 0


def test_work_that_fails_when_its_client_has_gone(
    live: Live, http: Any, speaker: Speaker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, and the operator hears of it."""
    begun, fail = Event(), Event()

    def on_window() -> None:
        begun.set()
        assert fail.wait(LONGEST_WAIT)
        raise DeviceError("the device is on fire")

    on_window_before, speaker.on_window = speaker.on_window, on_window
    kinds = ('errors_total{kind="client_gone"}', 'errors_total{kind="device"}')
    gone, failed = (count(live, kind) for kind in kinds)
    dispatches = count(live, "dispatches_total")
    with caplog.at_level(logging.ERROR):
        with sent(live):
            assert begun.wait(LONGEST_WAIT)
        wait_until(lambda: count(live, kinds[0]) == gone + 1)
        fail.set()
        wait_until(lambda: count(live, kinds[1]) == failed + 1)
    wait_until(lambda: "the device is on fire" in caplog.text)
    wait_until(lambda: count(live, "dispatches_total") > dispatches)
    speaker.on_window = on_window_before
    works(http)


# What else there is.


def test_health_and_metrics_answer_while_the_device_works(live: Live, http: Any, speaker: Speaker) -> None:
    speaker.hold()
    with sent(live), sent(live):
        assert speaker.is_held.wait(LONGEST_WAIT)
        wait_until(lambda: live.service.queue.waiting == 1)
        health = http.get("/health").json()
        assert health == {
            "status": "ok",
            "model": health["model"],
            "device": "emulator",
            "device_description": live.service.model.device.description,
            "queue": 1,
        }
        metrics = http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "whisper_npu_device_busy 1.0" in metrics.text
        assert "whisper_npu_queue_length 1.0" in metrics.text
        speaker.go_on.set()
        wait_until(lambda: not live.service.queue.busy)


def test_a_line_for_each_request(http: Any, caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name.endswith("server.log")]

    with caplog.at_level(logging.INFO, "whisper_npu.apps.server.log"):
        http.post(HERE, files=FILE, data={"prompt": "a secret prompt"})
        wait_until(lambda: len(lines()) == 1)
        http.get("/a%0a%1b[31mb")
        wait_until(lambda: len(lines()) == 2)
    first, second = lines()
    assert re.fullmatch(r"POST /v1/audio/transcriptions 200 \d+\.\d{3} s, 2\.0 s of audio", first)
    assert second.startswith(r"GET /a\n\x1b[31mb 404 ")
    assert "secret" not in caplog.text
    assert " the" not in first


def test_nothing_in_the_log_passes_for_another_line_or_moves_the_cursor() -> None:
    try:
        raise ValueError("\x1b[31mred\n2026-01-31 12:00:00 GET / 200")
    except ValueError:
        record = logging.LogRecord(
            "whisper_npu", logging.ERROR, "", 0, "%s", ("a\rb\x9b\u202ec\nforged",), sys.exc_info()
        )
    lines = LogFormatter().format(record).split("\n")
    assert lines[0].endswith(r"a")
    assert all(line.startswith("  ") for line in lines[1:])
    assert not any(character in line for line in lines for character in "\x1b\r\x9b\u202e")


def test_nothing_has_a_name_on_the_disk(
    live: Live, http: Any, speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload of more than 1 MB goes to a temporary file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    speaker.hold()
    with sent(live, content=recording(40)):
        assert speaker.is_held.wait(LONGEST_WAIT)
        assert any(str(tmp_path) in path for path in open_files())
        assert list(tmp_path.iterdir()) == []
        speaker.go_on.set()
    works(http)
    assert list(tmp_path.iterdir()) == []


def open_files() -> list[str]:
    """Those of this process; one that was removed keeps its folder in Linux' list."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(link.readlink()))
    return found
