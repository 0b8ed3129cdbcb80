"""From what the parser found to what the library takes: the one place where the two meet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from whisper_npu.apps.cli.asked_options import batch_size, in_options_words, transcribe_options
from whisper_npu.apps.cli.options import npu_options
from whisper_npu.apps.outputs import OutputFiles
from whisper_npu.apps.sources import STDIN
from whisper_npu.errors import UsageError
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.options import NpuOptions
from whisper_npu.output import FORMATS, Layout
from whisper_npu.transcription.options import TranscribeOptions


@dataclass(frozen=True)
class AskedModel:
    """Which model, and on what it runs."""

    name: str
    folder: Path | None  # where models are kept
    local_files_only: bool
    device: str
    fidelity: Fidelity
    npu: NpuOptions
    threads: int | None  # None: one per core
    kernel: str
    compute_type: str  # of the decoder
    check_results: str
    on_device_error: str

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> AskedModel:
        """given: by the options' names; --model_directory is not every command's. Raises UsageError."""
        folder = given.get("model_directory")
        return cls(
            name=given["model"] if folder is None else str(folder.absolute()),
            folder=given["model_dir"],
            local_files_only=given["local_files_only"],
            device=given["device"],
            fidelity=Fidelity(given["fidelity"]),
            npu=npu_options(given["kernels"], given["timeout"]),
            threads=given["threads"] or None,
            kernel=given["kernel"],
            compute_type=given["compute_type"],
            check_results=given["check_results"],
            on_device_error=given["on_device_error"],
        )


@dataclass(frozen=True)
class AskedRecordings:
    audio_track: int | None
    strict: bool  # damage is an error
    max_hours: float  # that a recording may last
    skip_existing: bool
    resume: bool  # go on where an interrupted run was; what is done is skipped


@dataclass(frozen=True)
class AskedPrint:
    """What is printed."""

    text: bool
    timestamps: bool
    colors: bool
    quiet: bool  # nothing but text and errors
    long_report: bool


@dataclass(frozen=True)
class Asked:
    """Everything that one call of `transcribe` asks for."""

    recordings: AskedRecordings
    model: AskedModel
    options: TranscribeOptions
    files: OutputFiles
    layout: Layout
    print: AskedPrint
    report: Path | None
    notes: tuple[str, ...]  # what the user should know of what was asked for


def asked_for(given: Mapping[str, Any], typed: frozenset[str]) -> Asked:
    """given: by the options' names. typed: those that stand on the command line.

    Raises UsageError for values that do not go together.
    """
    given = _without_what_is_overruled(given, typed)
    _refuse_formats_among_recordings(given)
    files = _files(given)
    try:
        layout = Layout(**{field.name: given[field.name] for field in fields(Layout)})
        _refuse_what_has_no_effect(given, typed, files)
        words = _word_timestamps(given, typed, files, layout)
        options = transcribe_options(given, typed, word_timestamps=words)
    except UsageError as error:
        raise UsageError(in_options_words(str(error), typed)) from error
    return Asked(
        recordings=AskedRecordings(
            given["audio_track"],
            given["strict"],
            _max_hours(given["max_hours"]),
            given["skip_existing"],
            given["resume"],
        ),
        model=AskedModel.of(given),
        options=options,
        files=files,
        layout=layout,
        print=AskedPrint(
            text=given["verbose"] is not False,
            timestamps=given["timestamps"] or given["verbose"] is True,
            colors=given["print_colors"],
            quiet=given["quiet"],
            long_report=given["verbose"] is True,
        ),
        report=given["report"],
        notes=("--fp16 True has no effect: the encoder multiplies in bf16",) if given["fp16"] else (),
    )


# What one option on the command line overrules of a config file or a variable, and by which value.
_OVERRULED: Mapping[str, Mapping[str, Any]] = {
    "model": {"model_directory": None},  # typed both, the directory is the model
    "max_words_per_line": {"max_line_width": None, "max_line_count": None},
    "max_line_width": {"max_words_per_line": None},
    "quiet": {"verbose": None},
    "verbose": {"quiet": False},
}
_NEED_WORDS = {
    "max_line_width": None,
    "max_line_count": None,
    "max_words_per_line": None,
    "highlight_words": False,
    "print_colors": False,
    "hallucination_silence_threshold": None,
}


def _without_what_is_overruled(given: Mapping[str, Any], typed: frozenset[str]) -> dict[str, Any]:
    """What stands on the command line counts, even where a default of the user's own is against it."""
    values = dict(given)
    for name in typed & _OVERRULED.keys():
        values |= {other: value for other, value in _OVERRULED[name].items() if other not in typed}
    if "word_timestamps" in typed and given["word_timestamps"] is False:
        values |= {name: value for name, value in _NEED_WORDS.items() if name not in typed}
    values = without_languages_of_others(values, typed)
    if values["max_line_width"] is None and "max_line_count" not in typed:
        values["max_line_count"] = None
    if not _files(values).formats:
        values |= {name: False for name in ("skip_existing", "resume") if name not in typed}
    return values


def without_languages_of_others(given: Mapping[str, Any], typed: frozenset[str]) -> dict[str, Any]:
    """With an English-only model on the command line, a language of a config file is for other models."""
    if "model" not in typed or not str(given["model"]).lower().endswith(".en"):
        return dict(given)
    english_only = {"language": None, "multilingual": False, "task": "transcribe"}
    return {**given, **{name: value for name, value in english_only.items() if name not in typed}}


def _max_hours(hours: float) -> float:
    if hours <= 0:
        raise UsageError(f"--max_hours {hours:g}: give hours, more than 0; inf: no limit")
    return hours


def _files(given: Mapping[str, Any]) -> OutputFiles:
    formats = tuple(dict.fromkeys(fmt for chosen in given["output_format"] for fmt in chosen or ()))
    if not formats and given["output_dir"] is not None:
        formats = FORMATS
    return OutputFiles(formats, given["output_dir"] or Path())


def _word_timestamps(
    given: Mapping[str, Any], typed: frozenset[str], files: OutputFiles, layout: Layout
) -> bool:
    """Whether words are timed: if asked for, or if something else needs it."""
    needed_by = [
        name
        for name, is_needed in {
            "subtitles of limited or highlighted words": layout.needs_words and _has_subtitles(files),
            "--print_colors": given["print_colors"],
            "--hallucination_silence_threshold": given["hallucination_silence_threshold"] is not None,
        }.items()
        if is_needed
    ]
    if needed_by and given["word_timestamps"] is False and "word_timestamps" in typed:
        raise UsageError(
            f"--word_timestamps False: times of words are needed for {needed_by[0]}; leave one of them out"
        )
    return bool(given["word_timestamps"] or needed_by)


def _has_subtitles(files: OutputFiles) -> bool:
    return not {"srt", "vtt"}.isdisjoint(files.formats)


def _refuse_what_has_no_effect(given: Mapping[str, Any], typed: frozenset[str], files: OutputFiles) -> None:
    """Only what stands on the command line: a config file is for other runs too."""
    if not given["vad_filter"] and batch_size(given, typed) is None:
        for name in sorted(typed - {"vad_filter"}):
            if name.startswith("vad_"):
                raise UsageError(f"--{name} has no effect without --vad_filter: add it")
    if {"quiet", "verbose"} <= typed and given["quiet"] and given["verbose"]:
        raise UsageError("--quiet leaves out what --verbose asks for; leave one of the two out")
    if given["resume"] and not files.formats:
        raise UsageError(
            "--resume goes on from what lies beside the files of a run: add -f srt, or -o FOLDER"
        )
    if given["resume"] and STDIN in given["audio"]:
        raise UsageError("--resume: standard input cannot be read again; name a file, or leave --resume out")
    if str(given["output_dir"]) == "-":
        raise UsageError("--output_dir -: the text is on standard output in any case; name a folder")
    for field in fields(Layout):
        if field.name in typed and given[field.name]:
            if field.name == "pretty_json":
                if "json" not in files.formats:
                    raise UsageError("--pretty_json has no effect without json files: add -f json")
            elif not _has_subtitles(files):
                raise UsageError(f"--{field.name} has no effect without subtitles: add -f srt, or vtt")
    if "verbose" in typed and given["verbose"] is False and not files.formats and given["report"] is None:
        raise UsageError("--verbose False prints no text, and no file is written: add -f srt, or -o FOLDER")


def _refuse_formats_among_recordings(given: Mapping[str, Any]) -> None:
    """`-f srt vtt` for `-f srt,vtt`: otherwise vtt would be a recording that is not there."""
    chosen = [fmt for several in given["output_format"] for fmt in several or ()]
    for name in given["audio"]:
        if chosen and name.lower() in FORMATS and not os.path.lexists(name):
            formats = ",".join((*chosen, name.lower()))
            raise UsageError(f"{name} is a format, and no file has this name; did you mean -f {formats}?")
