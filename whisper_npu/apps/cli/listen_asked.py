"""From what the parser found of `whisper-npu listen` to what its run takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_npu.apps.cli.asked import AskedModel, without_languages_of_others
from whisper_npu.apps.cli.asked_options import in_options_words, transcribe_options
from whisper_npu.apps.cli.listen_options import NO_FILES
from whisper_npu.apps.sources import Recording, find_recordings, path_of
from whisper_npu.errors import AudioError, UsageError, shown
from whisper_npu.home import at_home
from whisper_npu.live.options import LiveOptions
from whisper_npu.transcription.options import TranscribeOptions

_OF_VOICE = ("vad_threshold", "vad_min_speech_duration_ms")
BY_TRANSCRIBE, NO_REFERENCE = "transcribe", "none"


@dataclass(frozen=True)
class AskedPlaying:
    """A recording that plays the microphone."""

    recording: Recording
    is_fast: bool
    audio_track: int | None
    reference: Path | str  # the file with its text, BY_TRANSCRIBE or NO_REFERENCE


@dataclass(frozen=True)
class AskedListen:
    """Everything that one call of `listen` asks for."""

    model: AskedModel
    options: TranscribeOptions
    live: LiveOptions
    microphone: str | None  # None: the system's default
    playing: AskedPlaying | None  # None: the microphone is a real one
    formats: tuple[str, ...]  # to save; none: nothing is saved
    folder: Path
    timestamps: bool
    json: bool
    quiet: bool


def asked_to_listen(given: Mapping[str, Any], typed: frozenset[str]) -> AskedListen:
    """given: by the options' names. typed: those that stand on the command line.

    Raises UsageError for values that do not go together, AudioError for a recording that is not there.
    """
    _refuse_what_has_no_effect(given, typed)
    formats = _formats(given)
    if str(given["output_dir"]) == "-":
        raise UsageError("--output_dir -: the text is on standard output in any case; name a folder")
    if sys.stdout is None and not formats:
        raise UsageError("standard output is closed, and nothing is saved: add -f txt")
    given = without_languages_of_others(given, typed) | {"batched": False, "batch_size": None}
    if any(given[name] is not None for name in _OF_VOICE):  # these need it
        given, typed = {**given, "vad_filter": True}, typed | {"vad_filter"}
    try:
        options = transcribe_options(given, typed, word_timestamps=bool(given["word_timestamps"]))
        live = LiveOptions(given["pause"], given["longest"], given["partial_every"])
    except UsageError as error:
        raise UsageError(in_options_words(str(error), typed)) from error
    return AskedListen(
        model=AskedModel.of(given),
        options=options,
        live=live,
        microphone=given["microphone"],
        playing=_playing(given),
        formats=formats,
        folder=given["output_dir"] or Path(),
        timestamps=given["timestamps"],
        json=given["json"],
        quiet=given["quiet"],
    )


def _refuse_what_has_no_effect(given: Mapping[str, Any], typed: frozenset[str]) -> None:
    """Only what stands on the command line: a config file is for other runs too."""
    if given["source"] is None:
        for name in ("fast", "audio_track", "reference"):
            if name in typed and given[name]:
                raise UsageError(f"--{name} has no effect on a microphone: add --from FILE")
    elif "microphone" in typed and given["microphone"] is not None:
        raise UsageError("--from plays the microphone, so that --microphone has no effect; leave one out")
    if given["json"] and given["timestamps"] and "timestamps" in typed:
        raise UsageError("--timestamps has no effect with --json, which has the times in any case")


def _formats(given: Mapping[str, Any]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(fmt for several in given["output_format"] for fmt in several or (NO_FILES,)))
    if not chosen:
        return ("txt",)
    if NO_FILES not in chosen:
        return chosen
    if len(chosen) > 1:
        others = ",".join(fmt for fmt in chosen if fmt != NO_FILES)
        raise UsageError(f"--output_format none saves nothing, and {others} would be saved; leave one out")
    return ()


def _playing(given: Mapping[str, Any]) -> AskedPlaying | None:
    if given["source"] is None:
        return None
    path = path_of(given["source"])
    if os.path.isdir(path):
        raise UsageError(f"--from {shown(path)}: is a folder; name one recording in it")
    found = find_recordings([given["source"]], recursive=False)
    if len(found) > 1:
        raise UsageError(f"--from {given['source']} means {len(found)} recordings; name one")
    if found[0].problem is not None:
        raise AudioError(found[0].problem)
    reference = given["reference"]
    return AskedPlaying(
        found[0],
        is_fast=given["fast"],
        audio_track=given["audio_track"],
        reference=reference if reference in (BY_TRANSCRIBE, NO_REFERENCE) else at_home(reference),
    )
