"""`whisper-npu archive`: its options, and what they mean to a run."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from whisper_npu.apps.cli.command import Argument, Command, Option, configurable, group, option
from whisper_npu.apps.cli.settings import unknown_variables
from whisper_npu.apps.cli.terminal import say
from whisper_npu.apps.cli.transcribe import (
    CONFIGURABLE,
    DECODING,
    ENGINE,
    INPUT,
    MODEL,
    OUTPUT,
    SPEECH,
    SUBTITLES,
    VAD,
    checked_defaults,
)
from whisper_npu.apps.cli.values import SWITCH, TEXT, TEXT_OR_NONE, Number

FOUND = Argument(
    "what",
    metavar="WHAT",
    type=TEXT,
    help="A folder of recordings, a manifest (csv, tsv, jsonl, or txt with one path in each line), or the "
    "URL of either, such as s3://bucket/talks.",
)


def _of(options: tuple[Option, ...], *names: str) -> list[Option]:
    """Those of the options of `transcribe` that have these names."""
    return [one for one in options if one.name in names]


RESULTS = group(
    "Results",
    option(
        "--out",
        "-o",
        type=TEXT_OR_NONE,
        metavar="FOLDER",
        help="Where results land, and from where the same command goes on: a folder, or a URL.",
    ),
    option("--quiet", "-q", type=SWITCH, default=False, help="Print only failures."),
)
WORKERS = group(
    "Workers",
    option(
        "--workers",
        type=Number(int, 1, or_none=True),
        metavar="N",
        help="At most so many processes. Default: as many as the machines have CPUs for.",
    ),
    option(
        "--threads",
        type=Number(int, 0, or_none=True),
        default=0,
        metavar="N",
        help="CPU threads of each worker; 0: up to four.",
    ),
    option(
        "--address",
        type=TEXT_OR_NONE,
        metavar="HOST:PORT",
        help="The Ray cluster to work on; local: none, Ray is started here for this run. Default: "
        "$RAY_ADDRESS, or a cluster that runs on this machine, or local.",
    ),
    option(
        "--part_minutes",
        type=Number(float),
        default=10.0,
        metavar="MINUTES",
        help="Longer recordings are cut at silence into parts of about this length; inf: none is.",
    ),
)
_RECORDINGS = ("audio_track", "strict", "max_hours", "clip_timestamps")
_SHARED = configurable(
    *(one for one in MODEL if one.name != "threads"),
    *_of(INPUT, *_RECORDINGS),
    *group("Results", *_of(OUTPUT, "output_format", "pretty_json")),
    *SUBTITLES,
    *SPEECH,
    *DECODING,
    *VAD,
    *ENGINE,
)


def _archive(**given: Any) -> int:
    """Transcribe thousands of recordings, on one machine or many.

    It needs the extra ray: pip install 'whisper-npu[ray]'. What is done stays done: started again, the same
    command does only what is missing. Progress, failures and a summary go to stderr.
    """
    source = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in given if source(name) is ParameterSource.COMMANDLINE)
    for line in unknown_variables(CONFIGURABLE):
        say(line)
    from whisper_npu.apps.cli.archive_command import archive_what

    return archive_what(given, typed)


archive = Command(
    "archive",
    _archive,
    [FOUND, *RESULTS, *WORKERS, *_SHARED],
    examples=(
        "whisper-npu archive talks/ --out texts/",
        "whisper-npu archive talks.csv --out texts/ -f srt --model small --workers 2",
        "whisper-npu archive s3://bucket/talks --out s3://bucket/texts --address 10.0.0.1:6379",
    ),
    defaults=checked_defaults,
)
