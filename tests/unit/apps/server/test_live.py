"""The WebSocket that listens, through a real server: what is said over it, and what ends it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn", reason="the extra server is not installed")
client = pytest.importorskip("websockets.sync.client", reason="the extra server is not installed")
httpx = pytest.importorskip("httpx")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from tests.support.serving import Live, recording, serving  # noqa: E402
from tests.unit.apps.server.conftest import LONGEST_WAIT, Speaker  # noqa: E402
from whisper_npu.apps.server.app import create_app  # noqa: E402
from whisper_npu.apps.server.live import LivePatience  # noqa: E402
from whisper_npu.apps.server.live_messages import LONGEST_MESSAGE  # noqa: E402
from whisper_npu.apps.server.settings import ServerSettings  # noqa: E402
from whisper_npu.apps.server.work import Service  # noqa: E402
from whisper_npu.errors import DeviceError  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

SAMPLES = Path(__file__).parents[4] / "samples"
BYTES_PER_SECOND = 32_000
QUIET = bytes(BYTES_PER_SECOND)  # a second, which ends an utterance
NO_PARTIALS = {"partial_every": 0}
KEY = "open-sesame"


def speech() -> bytes:
    """A sentence of 3.3 s."""
    with wave.open(str(SAMPLES / "sns-0930.wav")) as file:
        return file.readframes(file.getnframes())


SENTENCE = speech() + QUIET


@contextmanager
def connected(live: Live, **headers: Any) -> Iterator[ClientConnection]:
    address = f"{live.address.replace('http', 'ws')}/v1/listen"
    with client.connect(address, close_timeout=1, max_size=None, **headers) as websocket:
        yield websocket


def say(websocket: ClientConnection, kind: str, **fields: Any) -> None:
    websocket.send(json.dumps({"type": kind, **fields}))


def heard(websocket: ClientConnection) -> dict[str, Any]:
    """The next message."""
    message: dict[str, Any] = json.loads(websocket.recv(LONGEST_WAIT))
    return message


def rest(websocket: ClientConnection) -> list[dict[str, Any]]:
    """All messages until it is closed."""
    messages = []
    try:
        while True:
            messages.append(heard(websocket))
    except ConnectionClosed:
        return messages


@contextmanager
def listening(live: Live, **start: Any) -> Iterator[ClientConnection]:
    """A session that has begun."""
    with connected(live) as websocket:
        say(websocket, "start", **start)
        assert heard(websocket)["type"] == "ready"
        yield websocket


def finals(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == "final"]


def ended(websocket: ClientConnection, close: int) -> dict[str, Any]:
    """Checks how it was closed, after which error."""
    *_, error = rest(websocket)
    assert websocket.protocol.close_code == close, error
    assert error["type"] == "error"
    assert error["message"]
    assert "\n" not in error["message"]
    assert set(error) == {"type", "message", "code", "param"}
    return error


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def metric(live: Live, series: str) -> float:
    lines = httpx.get(f"{live.address}/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{series} ")), 0.0)


# What is said.


def test_two_sentences_are_two_final_lines(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    before = metric(live, 'whisper_npu_requests_total{endpoint="/v1/listen",status="101"}')
    with caplog.at_level(logging.INFO, "whisper_npu"), connected(live) as websocket:
        say(websocket, "start", language="en", partial_every=0)
        ready = heard(websocket)
        assert (ready["type"], ready["sample_rate"], ready["device"]) == ("ready", 16_000, "emulator")
        assert "no NPU" in ready["device_description"]
        websocket.send(SENTENCE + SENTENCE)
        say(websocket, "end")
        *lines, done = rest(websocket)
        assert websocket.protocol.close_code == 1000
    assert [(line["type"], line["id"], line["text"], line["language"]) for line in lines] == [
        ("final", 0, "the an", "en"),
        ("final", 1, "the an", "en"),
    ]
    first, second = lines
    length = len(SENTENCE) / BYTES_PER_SECOND
    assert 0 <= first["start"] < 0.5 < 2.5 < first["end"] < length < second["start"] < second["end"]
    segments = [segment for line in lines for segment in line["segments"]]
    assert [segment["text"] for segment in segments] == [" the", " an"] * 2
    assert [segment["id"] for segment in segments] == [0, 1, 2, 3]
    assert segments[2]["start"] > length - 1
    assert done["type"] == "done"
    assert done["duration"] == pytest.approx(2 * length, abs=0.001)
    assert done["dispatches"] > 0
    assert done["measured_seconds"] > 0
    until(lambda: metric(live, "whisper_npu_live_sessions") == 0)
    assert metric(live, 'whisper_npu_requests_total{endpoint="/v1/listen",status="101"}') == before + 1
    (logged,) = [line for line in caplog.messages if "listen" in line]
    assert "WEBSOCKET /v1/listen 1000" in logged
    assert "8.6 s of audio" in logged


def test_partial_lines_come_before_their_final_one_and_never_after(live: Live, speaker: Speaker) -> None:
    with listening(live, language="en", partial_every=0.5) as websocket:
        for at in range(0, len(SENTENCE), 3200):
            websocket.send(SENTENCE[at : at + 3200])
            time.sleep(0.01)  # so that some partial one is worked on before all is said
        say(websocket, "end")
        *lines, _ = rest(websocket)
    kinds = [line["type"] for line in lines]
    assert kinds[-1] == "final"
    assert set(kinds[:-1]) == {"partial"}
    assert {line["id"] for line in lines} == {0}
    assert "segments" not in lines[0]


def test_start_may_be_left_out(live: Live) -> None:
    with connected(live) as websocket:
        websocket.send(SENTENCE)
        say(websocket, "end")
        messages = rest(websocket)
    assert [messages[0]["type"], messages[-1]["type"]] == ["ready", "done"]
    assert [line["language"] for line in finals(messages)] == ["de"]  # which the decoder hears


def test_who_says_nothing_gets_no_line(live: Live) -> None:
    with listening(live) as websocket:
        websocket.send(QUIET)
        say(websocket, "end")
        assert [message["type"] for message in rest(websocket)] == ["done"]
    with connected(live) as websocket:
        say(websocket, "end")
        ready, done = rest(websocket)
        assert (ready["type"], done["type"], done["duration"]) == ("ready", "done", 0)
        assert websocket.protocol.close_code == 1000


def test_the_options_reach_the_decoder(live: Live, speaker: Speaker) -> None:
    with listening(
        live, language="haw", hotwords="hat", initial_prompt="the ant", **NO_PARTIALS
    ) as websocket:
        websocket.send(SENTENCE)
        say(websocket, "end")
        (line,) = finals(rest(websocket))
    assert line["language"] == "haw"
    (prompt,) = speaker.prompts
    assert "hat" in speaker.text(prompt)
    assert "the ant" in speaker.text(prompt)
    assert "<|haw|>" in speaker.text(prompt)


def test_no_cut_between_messages_changes_a_line(live: Live) -> None:
    sound = SENTENCE + SENTENCE

    def lines(sizes: list[int]) -> list[dict[str, Any]]:
        """sizes: of the messages, in samples, over and over; the last one has the rest."""
        with listening(live, language="en", **NO_PARTIALS) as websocket:
            at = 0
            for size in [size for _ in range(100) for size in sizes][:1000]:
                websocket.send(sound[at : at + 2 * size])
                at += 2 * size
            websocket.send(sound[at:])
            say(websocket, "end")
            return finals(rest(websocket))

    expected = lines([len(sound)])
    assert [line["text"] for line in expected] == ["the an", "the an"]

    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.integers(0, 40_000), min_size=1, max_size=30))
    def check(sizes: list[int]) -> None:
        assert lines(sizes) == expected

    check()


# What is refused.

REFUSED = [
    ("no json", 1007, "JSON", None),
    ("[" * 10_000, 1007, "JSON", None),
    ('{"type": "start", "pause": NaN}', 1007, "NaN", None),
    ("[]", 1007, "object", "type"),
    ("{}", 1003, "start, end", "type"),
    ('{"type": "close"}', 1003, "start, end", "type"),
    ('{"type": ["start"]}', 1003, "start, end", "type"),
    ('{"type": "end", "now": true}', 1007, "no field 'now'", "now"),
    ('{"type": "start", "langauge": "en"}', 1007, "did you mean language?", "langauge"),
    ('{"type": "start", "\\u001b[31m": 1}', 1007, r"\x1b", r"\x1b[31m"),
    ('{"type": "start", "language": "xx"}', 1007, "xx", "language"),
    ('{"type": "start", "language": 7}', 1007, "7", "language"),
    ('{"type": "start", "task": "sing"}', 1007, "sing", "task"),
    ('{"type": "start", "beam_size": "many"}', 1007, "many", "beam_size"),
    ('{"type": "start", "pause": 60}', 1007, "0.1 to 10", "pause"),
    ('{"type": "start", "pause": "long"}', 1007, "number of seconds", "pause"),
    ('{"type": "start", "partial_every": true}', 1007, "number of seconds", "partial_every"),
    ('{"type": "start", "longest": 1e999}', 1007, "longest", "longest"),
    ('{"type": "start", "clip_timestamps": "0,1"}', 1007, "clip_timestamps", "clip_timestamps"),
    ('{"type": "start", "api_key": 5}', 1007, "must be text", "api_key"),
    ('{"type": "start", "model": "gpt-4o-transcribe"}', 1007, "not served", "model"),
    ('{"type": "start", "hotwords": "' + "x" * 70_000 + '"}', 1009, "65536", None),
    (b"\0", 1007, "whole samples", None),
]


@pytest.mark.parametrize(("message", "close", "word", "param"), REFUSED)
def test_a_wrong_message_ends_it_with_one_line(
    live: Live, message: str | bytes, close: int, word: str, param: str | None
) -> None:
    with connected(live) as websocket:
        websocket.send(message)
        error = ended(websocket, close)
    assert word in error["message"]
    assert error["param"] == param


def test_start_comes_first_and_end_last(live: Live) -> None:
    with listening(live) as websocket:
        say(websocket, "start")
        assert "first" in ended(websocket, 1003)["message"]


def test_nothing_comes_after_end(live: Live, speaker: Speaker) -> None:
    speaker.hold()
    with listening(live, **NO_PARTIALS) as websocket:
        websocket.send(SENTENCE)
        say(websocket, "end")
        assert speaker.is_held.wait(LONGEST_WAIT)
        websocket.send(QUIET)
        assert "after end" in ended(websocket, 1003)["message"]
    until(lambda: not live.service.queue.busy)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\xff" + (3 * LONGEST_MESSAGE).to_bytes(8, "big") + bytes(4 + 3 * LONGEST_MESSAGE), 1009),
        (b"\x81\x81" + bytes(4) + b"\xff", 1007),  # text that is no UTF-8
        (b"\xf2\x80" + bytes(4), 1002),  # bits that mean nothing
    ],
)
def test_what_is_no_message_ends_it(
    live: Live, frame: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with listening(live) as websocket:
            with suppress(ConnectionError):
                websocket.socket.sendall(frame)
            assert rest(websocket) == []
            assert websocket.protocol.close_rcvd is not None
            assert websocket.protocol.close_rcvd.code == code
        until(lambda: metric(live, "whisper_npu_live_sessions") == 0)
        until(lambda: f"WEBSOCKET /v1/listen {code}" in caplog.text)
    assert "Traceback" not in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_start_says_is_taken_or_refused(data: st.DataObject) -> None:
    from whisper_npu.apps.server.live_messages import _LIVE, _OPTIONS, _OWN, read_text
    from whisper_npu.errors import UsageError

    name = data.draw(st.sampled_from(sorted(_LIVE | _OPTIONS | _OWN)))
    with suppress(UsageError):  # and no other error
        read_text(json.dumps({"type": "start", name: data.draw(json_values)}))


# Who may.


@pytest.fixture(scope="module")
def locked(small: Model) -> Iterator[Live]:
    with serving(small, api_key=KEY, patience=LivePatience(start=0.3)) as server:
        yield server


def test_the_key_may_come_in_the_header_or_in_start(locked: Live, speaker: Speaker) -> None:
    for headers, start in (
        ({"additional_headers": {"Authorization": f"Bearer {KEY}"}}, {}),
        ({}, {"api_key": KEY}),
    ):
        with connected(locked, **headers) as websocket:
            say(websocket, "start", **start)
            assert heard(websocket)["type"] == "ready"


def test_a_wrong_key_in_the_header_is_refused_before_it_is_accepted(locked: Live) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connected(locked, additional_headers={"Authorization": "Bearer wrong"}),
    ):
        pass
    response = caught.value.response
    assert response.status_code == 401
    assert json.loads(response.body)["error"]["code"] == "invalid_api_key"
    assert response.headers["X-Whisper-NPU-Device"] == "emulator"


@pytest.mark.parametrize(
    "first", ['{"type": "start", "beam_size": 0}', '{"type": "start", "api_key": "wr\\u00f6ng"}', QUIET]
)
def test_without_the_key_nothing_is_heard(locked: Live, first: str | bytes) -> None:
    with connected(locked) as websocket:
        websocket.send(first)
        error = ended(websocket, 1008)
    assert error["code"] == "invalid_api_key"
    assert KEY not in error["message"]


def test_who_does_not_say_the_key_is_not_waited_for(locked: Live) -> None:
    with connected(locked) as websocket:
        assert "no message came for 0.3 s" in ended(websocket, 1008)["message"]


def test_a_page_of_another_site_is_refused_by_the_server(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        with pytest.raises(InvalidStatus) as caught, connected(live, origin="http://evil.example"):
            pass
        assert caught.value.response.status_code == 403
        with connected(live, origin=live.address) as websocket:
            say(websocket, "start")
            assert heard(websocket)["type"] == "ready"
    assert caplog.text == ""


# How much.


def test_as_many_sessions_as_allowed(small: Model, speaker: Speaker) -> None:
    with serving(small, max_live=1) as server:
        with listening(server), connected(server) as second:
            say(second, "start")
            error = ended(second, 1013)
            assert error["code"] == "too_many_sessions"
            assert "max_live" in error["message"]
        until(lambda: metric(server, "whisper_npu_live_sessions") == 0)
        assert metric(server, 'whisper_npu_errors_total{kind="busy"}') == 1
        with listening(server):
            pass
    with serving(small, max_live=0) as server, connected(server) as websocket:
        say(websocket, "start")
        assert "takes no live sessions" in ended(websocket, 1013)["message"]


def test_a_session_is_no_longer_than_a_recording_may_be(small: Model, speaker: Speaker) -> None:
    with serving(small, max_audio_seconds=4.0) as server, listening(server, **NO_PARTIALS) as websocket:
        for _ in range(4):
            websocket.send(SENTENCE)  # of which not even two are heard
        *lines, error = rest(websocket)  # among them no done
        assert websocket.protocol.close_code == 1008
    assert lines
    assert all(line["type"] == "final" and line["end"] < 6 for line in lines)
    assert "4 s at most" in error["message"]


def test_a_client_that_falls_silent_is_given_up(small: Model, speaker: Speaker) -> None:
    with serving(small, patience=LivePatience(silence=0.3)) as server, listening(server) as websocket:
        websocket.send(QUIET)
        assert "no sound came for 0.3 s" in ended(websocket, 1008)["message"]


def test_silence_is_none_while_there_is_something_to_tell(small: Model, speaker: Speaker) -> None:
    speaker.hold()
    patience = LivePatience(silence=1)
    with serving(small, patience=patience) as server, listening(server, **NO_PARTIALS) as websocket:
        websocket.send(SENTENCE)
        assert speaker.is_held.wait(LONGEST_WAIT)
        time.sleep(1.5)
        speaker.go_on.set()
        final, error = rest(websocket)
    assert final["type"] == "final"
    assert "no sound came" in error["message"]


def test_pings_are_answered_while_the_device_is_behind(small: Model, speaker: Speaker) -> None:
    """Else a client that sends faster than the work goes on would be cut off by its own keepalive."""
    sentences = 20
    speaker.hold()
    patience = LivePatience(behind=5)
    with serving(small, patience=patience) as server, listening(server, **NO_PARTIALS) as websocket:
        for _ in range(sentences):
            websocket.send(SENTENCE)
        assert speaker.is_held.wait(LONGEST_WAIT)
        assert websocket.ping().wait(LONGEST_WAIT)
        assert not speaker.go_on.is_set()
        speaker.go_on.set()
        say(websocket, "end")
        assert [line["text"] for line in finals(rest(websocket))] == ["the an"] * sentences


def test_sound_waits_at_the_client_when_too_much_is_read(small: Model, speaker: Speaker) -> None:
    sentences = 12
    speaker.hold()

    async def story() -> None:
        app = create_app(small, ServerSettings())
        app.state.live_patience = LivePatience(behind=5, ahead=5)
        service: Service = app.state.service
        start = json.dumps({"type": "start", "language": "en", **NO_PARTIALS})
        left = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": start},
            *[{"type": "websocket.receive", "bytes": SENTENCE}] * sentences,
            {"type": "websocket.receive", "text": json.dumps({"type": "end"})},
        ]
        told: list[str] = []

        async def receive() -> Any:
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "websocket.send":
                told.append(json.loads(message["text"])["type"])

        scope = {"type": "websocket", "path": "/v1/listen", "headers": [(b"host", b"localhost")]}
        task = asyncio.create_task(app(scope, receive, send))
        still, before = 0, None  # for how many looks nothing was taken, and nothing listened to
        while still < 20:
            await asyncio.sleep(0.01)
            only_device = speaker.is_held.is_set() and len(service._calls) == 1
            still = still + 1 if only_device and before == len(left) else 0
            before = len(left)
        assert len(left) > sentences / 3
        speaker.go_on.set()
        await asyncio.wait_for(task, LONGEST_WAIT)
        assert told == ["ready", *["final"] * sentences, "done"]
        await service.close()

    asyncio.run(story())


# Sharing the device.


def test_sessions_and_requests_take_turns(live: Live, speaker: Speaker) -> None:
    speaker.hold()
    with (
        listening(live, language="en", **NO_PARTIALS) as first,
        listening(live, language="en", **NO_PARTIALS) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        first.send(SENTENCE)
        assert speaker.is_held.wait(LONGEST_WAIT)
        second.send(SENTENCE)
        until(lambda: live.service.queue.waiting == 1)
        request = pool.submit(
            httpx.post,
            f"{live.address}/v1/audio/transcriptions",
            files={"file": recording()},
            data={"language": "en"},
            timeout=LONGEST_WAIT,
        )
        until(lambda: live.service.queue.waiting == 2)
        speaker.go_on.set()
        for websocket in (first, second):
            say(websocket, "end")
            assert [line["text"] for line in finals(rest(websocket))] == ["the an"]
        assert request.result().json()["text"] == "the an"
    assert not live.service.queue.busy


def test_a_final_line_has_a_place_where_no_request_may_wait(small: Model, speaker: Speaker) -> None:
    speaker.hold()
    with (
        serving(small, max_queue=0) as server,
        listening(server, language="en", **NO_PARTIALS) as first,
        listening(server, language="en", **NO_PARTIALS) as second,
    ):
        for websocket in (first, second):
            websocket.send(SENTENCE)
            say(websocket, "end")
        until(lambda: server.service.queue.waiting == 1)
        speaker.go_on.set()
        for websocket in (first, second):
            assert [line["text"] for line in finals(rest(websocket))] == ["the an"]


def test_a_partial_line_gives_way_to_a_request(live: Live, speaker: Speaker) -> None:
    speaker.hold()
    with listening(live, language="en", partial_every=0.5) as websocket:
        websocket.send(speech()[: 2 * BYTES_PER_SECOND])
        assert speaker.is_held.wait(LONGEST_WAIT)  # in a partial line, for nothing has ended
        speaker.is_held.clear()
        with ThreadPoolExecutor(1) as pool:
            request = pool.submit(
                httpx.post,
                f"{live.address}/v1/audio/transcriptions",
                files={"file": recording()},
                data={"language": "en"},
                timeout=LONGEST_WAIT,
            )
            assert speaker.is_held.wait(LONGEST_WAIT)  # nobody let the partial one go on
            speaker.go_on.set()
            assert request.result().json()["text"] == "the an"
        websocket.send(QUIET)
        say(websocket, "end")
        messages = rest(websocket)
    assert [line["text"] for line in finals(messages)] == ["the an"]
    assert messages[-1]["type"] == "done"


@pytest.mark.parametrize("piece", [len(SENTENCE), 64])
def test_the_work_for_a_client_that_vanishes_ends(live: Live, speaker: Speaker, piece: int) -> None:
    """Also that on what it had sent and nobody had listened to."""
    gone = metric(live, 'whisper_npu_errors_total{kind="client_gone"}')
    speaker.hold()
    with listening(live, **NO_PARTIALS) as websocket:
        websocket.send(SENTENCE * 4)
        for at in range(0, len(SENTENCE), piece):
            websocket.send(SENTENCE[at : at + piece])
        assert speaker.is_held.wait(LONGEST_WAIT)
        websocket.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: not live.service.queue.busy)  # nobody let it go on
    until(lambda: metric(live, "whisper_npu_live_sessions") == 0)
    assert metric(live, 'whisper_npu_errors_total{kind="client_gone"}') == gone + 1


def test_who_asks_without_an_upgrade_is_told_that_it_is_a_websocket(live: Live) -> None:
    for answer in (httpx.get(f"{live.address}/v1/listen"), httpx.post(f"{live.address}/v1/listen")):
        assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
        assert "ws://" in answer.json()["error"]["message"]


def test_the_end_of_the_server_is_told(small: Model, speaker: Speaker) -> None:
    speaker.hold()
    with serving(small) as server, listening(server, **NO_PARTIALS) as websocket, connected(server) as other:
        websocket.send(SENTENCE)
        assert speaker.is_held.wait(LONGEST_WAIT)
        server.stop()
        for one in (websocket, other):
            assert ended(one, 1012)["code"] == "stopping"


def test_a_device_that_fails_once_loses_nothing(live: Live, speaker: Speaker) -> None:
    def fail() -> None:
        speaker.on_window = speaker._hold
        raise DeviceError("the NPU does not answer")

    speaker.on_window = fail
    with listening(live, **NO_PARTIALS) as websocket:
        websocket.send(SENTENCE)
        say(websocket, "end")
        assert [line["text"] for line in finals(rest(websocket))] == ["the an"]


def test_a_device_that_fails_ends_it_with_one_line(live: Live, speaker: Speaker) -> None:
    def fail() -> None:
        raise ZeroDivisionError("secret detail")

    speaker.on_window = fail
    with listening(live, **NO_PARTIALS) as websocket:
        websocket.send(SENTENCE)
        error = ended(websocket, 1011)
    assert "secret" not in error["message"]
    until(lambda: not live.service.queue.busy)
