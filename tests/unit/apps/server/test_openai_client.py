"""OpenAI's API, as its own Python client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest

from tests.support.scripted_decoder import Window
from tests.unit.apps.server.conftest import Speaker

openai = pytest.importorskip("openai", reason="the openai client is not installed")
serving_module = pytest.importorskip("tests.support.serving", reason="the extra server is not installed")

from tests.support.serving import Live, recording, serving  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

FILE = ("talk.wav", recording())
TEXT = "the an"


Connect = Callable[..., Any]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Clients of servers, closed in the end."""
    with ExitStack() as opened:

        def connected(live: Live, api_key: str = "any") -> Any:
            client = openai.OpenAI(base_url=f"{live.address}/v1", api_key=api_key, max_retries=0)
            return opened.enter_context(client)

        yield connected


@pytest.fixture
def client(live: Live, connect: Connect) -> Any:
    return connect(live)


@pytest.fixture
def transcriptions(client: Any) -> Any:
    return client.audio.transcriptions


def test_json(transcriptions: Any) -> None:
    done = transcriptions.create(file=FILE, model="whisper-1")
    assert (done.text, done.usage.type, done.usage.seconds) == (TEXT, "duration", 2.0)


def test_text_and_subtitles(transcriptions: Any) -> None:
    def asked(fmt: str) -> Any:
        return transcriptions.create(file=FILE, model="whisper-1", response_format=fmt)

    assert asked("text") == "the an\n"
    assert asked("srt") == (
        "1\n00:00:00,000 --> 00:00:01,000\nthe\n\n2\n00:00:01,000 --> 00:00:02,000\nan\n\n"
    )
    assert asked("vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nthe\n\n")


def test_verbose_json(transcriptions: Any) -> None:
    done = transcriptions.create(file=FILE, model="whisper-1", response_format="verbose_json")
    assert (done.task, done.language, done.duration, done.text) == ("transcribe", "german", 2.0, TEXT)
    assert [(s.id, s.seek, s.start, s.end, s.text) for s in done.segments] == [
        (0, 0, 0.0, 1.0, " the"),
        (1, 0, 1.0, 2.0, " an"),
    ]
    type(done).model_validate(done.model_dump())  # every field is there, with the client's own type
    assert done.words is None


@pytest.mark.parametrize("language", ["de", "German"])
def test_what_is_asked_for_reaches_the_decoder(transcriptions: Any, speaker: Speaker, language: str) -> None:
    transcriptions.create(
        file=FILE,
        model="whisper-1",
        language=language,
        prompt="the the",
        temperature=0.4,
        extra_body={"hotwords": "an"},
    )
    prompt = speaker.text(speaker.prompts[0])
    assert "<|de|><|transcribe|>" in prompt
    assert prompt.index(" an") < prompt.index(" the the")


def test_translations(client: Any, speaker: Speaker) -> None:
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)  # by OpenAI, in some versions of its client
        done = client.audio.translations.create(file=FILE, model="whisper-1", response_format="verbose_json")
    assert (done.task, done.language, done.text) == ("translate", "english", TEXT)
    assert "<|translate|>" in speaker.text(speaker.prompts[0])


def test_the_headers_say_what_ran(live: Live, transcriptions: Any) -> None:
    raw = transcriptions.with_raw_response.create(file=FILE, model="whisper-1")
    assert raw.headers["X-Whisper-NPU-Device"] == "emulator"
    assert raw.headers["X-Whisper-NPU-Device-Description"] == live.service.model.device.description
    assert int(raw.headers["X-Whisper-NPU-Dispatches"]) > 0


def test_a_stream(transcriptions: Any) -> None:
    events = list(transcriptions.create(file=FILE, model="whisper-1", stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert [event.delta for event in events[:-1]] == [" the", " an"]
    assert (events[-1].text, events[-1].usage.seconds) == (TEXT, 2.0)


def test_a_stream_tells_of_a_segment_when_it_is_decoded(transcriptions: Any, speaker: Speaker) -> None:
    speaker.windows = [Window([(0.0, " the", 30.0)]), Window([(0.0, " an", 4.0)])]
    events = transcriptions.create(file=("a.wav", recording(34)), model="whisper-1", stream=True)
    on_window = speaker.on_window

    def hold_the_second() -> None:
        if len(speaker.windows) == 1:
            speaker.hold()
        on_window()

    speaker.on_window = hold_the_second
    assert next(events).delta == " the"
    assert len(speaker.prompts) == 1
    speaker.go_on.set()
    speaker.on_window = on_window
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]


def test_asynchronously(live: Live, speaker: Speaker) -> None:
    async def asked() -> tuple[list[str], str]:
        async with openai.AsyncOpenAI(base_url=f"{live.address}/v1", api_key="any", max_retries=0) as client:
            whole = client.audio.transcriptions.create(file=FILE, model="whisper-1")
            stream = await client.audio.transcriptions.create(file=FILE, model="whisper-1", stream=True)
            return [event.type async for event in stream], (await whole).text

    types, text = asyncio.run(asked())
    assert types == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert text == TEXT


def test_models(live: Live, client: Any) -> None:
    models = client.models
    name = live.service.model.checkpoint.name
    assert "whisper-1" in [model.id for model in models.list()]
    assert models.retrieve("whisper-1").owned_by == "whisper-npu"
    with pytest.raises(openai.NotFoundError, match=r"gpt-4o-transcribe.* is not served here"):
        models.retrieve("gpt-4o-transcribe")
    assert models.list().data[0].id == name.rpartition("/")[2]


def test_errors_are_the_client_s_own(transcriptions: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="did you mean beam_size") as caught:
        transcriptions.create(file=FILE, model="whisper-1", extra_body={"beam_sise": 3})
    assert (caught.value.param, caught.value.type) == ("beam_sise", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="temperature is 3") as caught:
        transcriptions.create(file=FILE, model="whisper-1", temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="is not audio"):
        transcriptions.create(file=("talk.wav", b"no sound" * 100), model="whisper-1")
    with pytest.raises(openai.BadRequestError, match="is not audio"):
        transcriptions.create(file=("talk.wav", b"no sound" * 100), model="whisper-1", stream=True)
    with pytest.raises(openai.NotFoundError, match="is not served here") as missing:
        transcriptions.create(file=FILE, model="gpt-4o-transcribe")
    assert missing.value.code == "model_not_found"
    assert transcriptions.create(file=FILE, model="whisper-1").text == TEXT


def test_a_key(small: Model, speaker: Speaker, connect: Connect) -> None:
    with serving(small, api_key="secret") as live:
        with pytest.raises(openai.AuthenticationError):
            connect(live).audio.transcriptions.create(file=FILE, model="whisper-1")
        right = connect(live, api_key="secret")
        assert right.audio.transcriptions.create(file=FILE, model="whisper-1").text == TEXT


def test_a_full_queue(small: Model, speaker: Speaker, connect: Connect) -> None:
    with serving(small, max_queue=0) as live:
        transcriptions = connect(live).audio.transcriptions
        speaker.hold()
        stream = transcriptions.create(
            file=FILE, model="whisper-1", stream=True, response_format="verbose_json"
        )
        assert speaker.is_held.wait(30)
        for streamed in (False, True):
            with pytest.raises(openai.RateLimitError, match="none may wait") as caught:
                transcriptions.create(file=FILE, model="whisper-1", stream=streamed)
            assert int(caught.value.response.headers["Retry-After"]) >= 1
        speaker.go_on.set()
        assert list(stream)[-1].text == TEXT
        assert transcriptions.create(file=FILE, model="whisper-1").text == TEXT


def test_a_recording_that_is_too_long(small: Model, speaker: Speaker, connect: Connect) -> None:
    """By its header, which may say about how long it is, and by its samples."""
    with serving(small, max_audio_seconds=1) as live:
        for seconds in (10, 1.01):
            file = ("talk.wav", recording(seconds))
            with pytest.raises(openai.APIStatusError, match="lasts longer than 1 s") as caught:
                connect(live).audio.transcriptions.create(file=file, model="whisper-1")
            assert caught.value.status_code == 413
        assert speaker.prompts == []
