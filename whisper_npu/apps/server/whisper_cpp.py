"""whisper.cpp's API: https://github.com/ggml-org/whisper.cpp, examples/server.

`POST /inference` takes its fields, which are turned into those of OpenAI's API, and takes these as well. The
answers have its shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from whisper_npu.apps.server.answers import MEDIA_TYPES, language_of, warned
from whisper_npu.apps.server.answers import answer as openai_answer
from whisper_npu.apps.server.asked import OTHER_NAMES, Asked, asked_for
from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.apps.server.respond import respond
from whisper_npu.apps.server.work import Finished
from whisper_npu.apps.switch import as_switch
from whisper_npu.errors import shown
from whisper_npu.output import as_document
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.transcript import Transcript

# Its names for options that mean the same.
NAMES = OTHER_NAMES | {
    "logprob_thold": "log_prob_threshold",
    "no_speech_thold": "no_speech_threshold",
    "no_context": "condition_on_previous_text",  # and the other way round
    "no_timestamps": "without_timestamps",
    "temperature_inc": "temperature_increment_on_fallback",
    "token_timestamps": "word_timestamps",
    "translate": "task",
    "vad": "vad_filter",
}
# Its options of Silero VAD, which without vad mean nothing; some clients always send all of its defaults.
VAD_DEFAULTS = {
    "vad_max_speech_duration_s": 3.4028235e38,  # the largest float
    "vad_min_silence_duration_ms": 100,
    "vad_min_speech_duration_ms": 250,
    "vad_speech_pad_ms": 30,
    "vad_threshold": 0.5,
}
# Its fields that mean nothing here, with the values that ask for nothing; any other is refused.
HARMLESS: dict[str, tuple[float, ...]] = {
    "audio_ctx": (0,),
    "debug_mode": (0,),
    "detect_language": (0,),
    "diarize": (0,),
    "duration": (0,),
    "entropy_thold": (2.4,),
    "max_context": (-1,),
    "max_len": (0,),
    "no_language_probabilities": (0, 1),
    "offset_n": (0,),
    "offset_t": (0,),
    "split_on_word": (0, 1),
    "suppress_non_speech": (0, 1),  # such tokens are suppressed here in any case; see suppress_tokens
    "suppress_nst": (0, 1),
    "tinydiarize": (0,),
    "vad_samples_overlap": (0.1,),
    "word_thold": (0.01,),
}
INSTEAD = {
    "detect_language": "the language is told by response_format verbose_json; leave it out",
    "diarize": "speakers are not told apart here",
    "duration": "give clip_timestamps, start and end in seconds",
    "entropy_thold": "give compression_ratio_threshold",
    "max_context": "give condition_on_previous_text=false for a context of 0",
    "max_len": "give max_line_width, with response_format srt or vtt",
    "offset_t": "give clip_timestamps, the start in seconds",
    "tinydiarize": "speakers are not told apart here",
}

router = APIRouter()


@router.post("/inference")
async def inference(request: Request) -> Response:
    return await respond(request, asked_as_there, answer)


def asked_as_there(sent: Mapping[str, str]) -> Asked:
    """What whisper.cpp's fields ask for. Raises FieldError."""
    fields: dict[str, str] = {}
    without_vad = not _is_on("vad", sent.get("vad", sent.get("vad_filter", "")))
    for name, text in sent.items():
        if name in HARMLESS:
            _check_harmless(name, text)
        elif name in VAD_DEFAULTS and without_vad and _is_near(text, VAD_DEFAULTS[name]):
            continue
        elif name == "translate":
            fields[name] = "translate" if _is_on(name, text) else "transcribe"
        elif name == "no_context":
            fields[name] = "false" if _is_on(name, text) else "true"
        elif name == "beam_size" and text == "-1":  # its word for a greedy search
            fields[name] = "1"
        elif name == "temperature_inc" and _number(text) == 0:
            fields[name] = "none"
        else:
            fields[name] = text
    timed = not _is_on("no_timestamps", sent.get("no_timestamps", sent.get("without_timestamps", "")))
    timed_words = {"token_timestamps", "word_timestamps"} & set(fields)
    if fields.get("response_format") == "verbose_json" and timed and not timed_words:
        fields["word_timestamps"] = "true"
    return asked_for(fields, names=NAMES)


def answer(finished: Finished, asked: Asked) -> Response:
    """In its shapes: every segment's text ends a line, and words stand within their segments."""
    transcript = finished.done.transcript
    if asked.response_format == "text":
        return Response(_lines(transcript), media_type=MEDIA_TYPES["text"])
    if asked.response_format == "json":
        return JSONResponse({"text": _lines(transcript)} | warned(finished))
    if asked.response_format == "verbose_json":
        return JSONResponse(_verbose(transcript, asked) | warned(finished))
    return openai_answer(finished, asked)


def _lines(transcript: Transcript) -> str:
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def _verbose(transcript: Transcript, asked: Asked) -> dict[str, Any]:
    language, probability = transcript.language, transcript.language_probability
    return {
        "task": asked.options.task,
        "language": language_of(transcript, asked),
        "duration": transcript.duration,
        "text": _lines(transcript),
        "detected_language": name_of(language).lower(),
        "detected_language_probability": probability,
        "language_probabilities": {language: probability},
        "segments": [_segment(one, asked) for one in as_document(transcript)["segments"]],
    }


def _segment(segment: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    names = ["id", "text", "start", "end", "words", "tokens", "temperature", "avg_logprob", "no_speech_prob"]
    if asked.options.without_timestamps:
        names = [name for name in names if name not in ("start", "end")]
    return {name: segment[name] for name in names if name in segment}


def _check_harmless(name: str, text: str) -> None:
    switch = as_switch(text)
    value = _number(text) if switch is None else float(switch)
    if text and value not in HARMLESS[name]:
        instead = INSTEAD.get(name, "it has no meaning here; leave it out")
        raise FieldError(name, f"{name} cannot be honoured here: {instead}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_near(text: str, value: float) -> bool:
    number = _number(text)
    return not text or (number is not None and isclose(number, value, rel_tol=1e-6))


def _is_on(name: str, text: str) -> bool:
    meant = as_switch(text or "false")
    if meant is None:
        raise FieldError(name, f"{name} is '{shown(text[:100])}', must be true or false")
    return meant
