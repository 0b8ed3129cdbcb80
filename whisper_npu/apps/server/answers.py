"""A transcript as OpenAI's API answers it, in each response_format and as events of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse, Response

from whisper_npu.apps.server.asked import SUBTITLES, Asked
from whisper_npu.apps.server.work import Finished, Happening, Progress, Waiting
from whisper_npu.npu.device import Device
from whisper_npu.output import as_document, render
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.transcript import Segment, Transcript

MEDIA_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
_SEGMENT = (  # OpenAI's fields, in its order
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
)


def answer(finished: Finished, asked: Asked) -> Response:
    """The whole transcript, in the format that was asked for."""
    transcript, fmt = finished.done.transcript, asked.response_format
    if fmt in SUBTITLES:
        return Response(render(transcript, fmt, asked.layout), media_type=MEDIA_TYPES[fmt])
    if fmt == "text":
        return Response(text_of(transcript) + "\n", media_type=MEDIA_TYPES[fmt])
    if fmt == "json":
        return JSONResponse({"text": text_of(transcript), "usage": usage(transcript)} | warned(finished))
    return JSONResponse(verbose(transcript, asked) | warned(finished))


def text_of(transcript: Transcript) -> str:
    return transcript.text.strip()


def usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": transcript.duration}


def warned(finished: Finished) -> dict[str, Any]:
    """What was missing of the recording, if anything was; a field that OpenAI's answers do not have."""
    return {"warnings": list(finished.done.warnings)} if finished.done.warnings else {}


def verbose(transcript: Transcript, asked: Asked) -> dict[str, Any]:
    """OpenAI's verbose_json: words and segments beside each other, and only those that were asked for."""
    segments = as_document(transcript)["segments"]
    answered: dict[str, Any] = {
        "task": asked.options.task,
        "language": language_of(transcript, asked),
        "duration": transcript.duration,
        "text": text_of(transcript),
    }
    if "segment" in asked.granularities:
        answered["segments"] = [{name: segment[name] for name in _SEGMENT} for segment in segments]
    if "word" in asked.granularities:
        words = [word for segment in segments for word in segment.get("words", ())]
        answered["words"] = [
            {"word": word["word"].strip(), "start": word["start"], "end": word["end"]} for word in words
        ]
    return answered | {"usage": usage(transcript)}


def language_of(transcript: Transcript, asked: Asked) -> str:
    """As OpenAI names it: "english", and for a translation the language of the text."""
    return "english" if asked.options.task == "translate" else name_of(transcript.language).lower()


# Server-sent events.

KEEP_ALIVE = b": still here\n\n"


def event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"


def told(happening: Happening, asked: Asked, device: Device) -> dict[str, Any] | None:
    """The event for what happened; None where it is none. verbose_json has more of them, and more in each."""
    verbose = asked.response_format == "verbose_json"
    match happening:
        case Segment():
            return _delta(happening, verbose=verbose)
        case Finished():
            return _done(happening, device, verbose=verbose)
        case Waiting() if verbose:
            return {"type": "transcript.progress", "queue_position": happening.position}
        case Progress() if verbose:
            return {
                "type": "transcript.progress",
                "seconds_done": happening.seconds_done,
                "duration": happening.duration,
                "language": happening.language,
                "language_probability": happening.language_probability,
            }
    return None


def _delta(segment: Segment, *, verbose: bool) -> dict[str, Any]:
    delta: dict[str, Any] = {"type": "transcript.text.delta", "delta": segment.text}
    if verbose:
        ends = [segment.end, *(word.end for word in segment.words or ())]
        alone = Transcript((segment,), language="", language_probability=0.0, duration=max(ends))
        (told,) = as_document(alone)["segments"]
        delta["segment"] = {"words": None} | told
    return delta


def _done(finished: Finished, device: Device, *, verbose: bool) -> dict[str, Any]:
    transcript = finished.done.transcript
    done: dict[str, Any] = {
        "type": "transcript.text.done",
        "text": text_of(transcript),
        "usage": usage(transcript),
    } | warned(finished)
    if verbose:
        done |= {
            "language": transcript.language,
            "duration": transcript.duration,
            "device": device.name,
            "device_description": device.description,
            "dispatches": finished.dispatches,
            "real_time_factor": finished.seconds / transcript.duration if transcript.duration else None,
            "measured_seconds": finished.seconds,
        }
    return done
