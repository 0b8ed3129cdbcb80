"""`whisper-npu listen`: its options, and what they mean to the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from whisper_npu.apps.cli.command import Command, Option, configurable, group, option
from whisper_npu.apps.cli.listen_options import LINES, MICROPHONE, NO_FILES, REFUSED
from whisper_npu.apps.cli.serve import ENGINE, MODEL
from whisper_npu.apps.cli.settings import unknown_variables
from whisper_npu.apps.cli.terminal import say
from whisper_npu.apps.cli.transcribe import CONFIGURABLE, DECODING, FORMATS, SPEECH, VAD, checked_defaults
from whisper_npu.apps.cli.values import FOLDER_OR_NONE, SWITCH, TEXT, TEXT_OR_NONE, Number, Words

SOUND = (
    *MICROPHONE,
    *group(
        "Microphone",
        option(
            "--list_microphones",
            type=SWITCH,
            default=False,
            help="Print the names and numbers of all, and end.",
        ),
        option(
            "source",
            "--from",
            type=TEXT_OR_NONE,
            metavar="FILE",
            help="A recording plays the microphone, at the pace of speech; -: standard input.",
        ),
        option("--fast", type=SWITCH, default=False, help="With --from: as fast as this machine can."),
        option(
            "--audio_track",
            type=Number(int, 1),
            metavar="N",
            help="With --from: which audio track of a video; default: the one it marks so, or 1.",
        ),
        option(
            "--reference",
            type=TEXT,
            default="transcribe",
            metavar="FILE",
            help="With --from: count the word error rate against the text in this file; transcribe: against "
            "what transcribe says of the recording; none: do not count.",
        ),
    ),
)

OUTPUT = group(
    "Output",
    option(
        "--output_format",
        "-f",
        type=Words((*FORMATS, "all", NO_FILES), all_of=FORMATS),
        multiple=True,
        metavar="LIST",
        help=f"Files to save: {', '.join(FORMATS)} or all, or several: txt,srt; none: nothing is saved. "
        "Default: txt.",
    ),
    option(
        "--output_dir",
        "-o",
        type=FOLDER_OR_NONE,
        metavar="DIR",
        help="Folder for the files. Default: the current folder.",
    ),
    option("--timestamps", type=SWITCH, default=False, help="Print the times of each line before it."),
    option(
        "--json",
        type=SWITCH,
        default=False,
        help="Print each line as a JSON object in a line of its own, partial ones too, for other programs.",
    ),
    option("--quiet", "-q", type=SWITCH, default=False, help="Print only final lines and what goes wrong."),
)


def _of_lines(options: Sequence[Option]) -> tuple[Option, ...]:
    """Those of `transcribe` that have a meaning for what was said between two pauses."""
    return tuple(one for one in options if one.long_name not in REFUSED)


def _listen(**given: Any) -> int:
    """Write down what is said into a microphone, while it is said.

    Final lines go to stdout; on a terminal the line that is being spoken stands below them. Ctrl-C or SIGTERM
    ends it: the rest is finished, the transcript saved, the exit code 0. A second Ctrl-C ends at once. It
    needs the extra live: pip install 'whisper-npu[live]', and PortAudio; neither with --from.
    """
    source = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in given if source(name) is ParameterSource.COMMANDLINE)
    if not given["quiet"]:
        for line in unknown_variables(CONFIGURABLE):
            say(line)
    if given["list_microphones"]:
        from whisper_npu.apps.cli.listen_microphones import print_microphones

        return print_microphones()
    from whisper_npu.apps.cli.listen_asked import asked_to_listen
    from whisper_npu.apps.cli.listen_command import LiveRun

    return LiveRun(asked_to_listen(given, typed)).execute()


listen = Command(
    "listen",
    _listen,
    [
        *configurable(*MODEL),
        *SOUND,
        *LINES,
        *OUTPUT,
        *configurable(*_of_lines(SPEECH), *_of_lines(DECODING), *_of_lines(VAD), *ENGINE),
    ],
    examples=(
        "whisper-npu listen --model tiny.en       # speak; Ctrl-C saves what was said",
        "whisper-npu listen --list_microphones",
        "whisper-npu listen --from talk.mp3 --fast -f txt,srt",
    ),
    refused=REFUSED,
    defaults=checked_defaults,
)
