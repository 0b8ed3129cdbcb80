"""The options of `whisper-npu listen` that other commands do not have and a config file may set.

A config file is for all commands, so that others have to know these too.
"""

from __future__ import annotations

from whisper_npu.apps.cli.command import configurable, group, option
from whisper_npu.apps.cli.values import TEXT_OR_NONE, Number

NO_FILES = "none"  # as an output format

MICROPHONE = configurable(
    *group(
        "Microphone",
        option(
            "--microphone",
            type=TEXT_OR_NONE,
            metavar="NAME|N",
            example='"USB"',
            help="Which one: a part of its name, or its number. Default: the system's.",
        ),
    )
)

# Their limits and defaults are those of LiveOptions, written out because --help must not import live/; a test
# compares them.
LINES = configurable(
    *group(
        "Lines",
        option(
            "--pause",
            type=Number(float, 0.1, 10.0),
            default=0.5,
            metavar="SECONDS",
            help="Silence with which what was said becomes a final line.",
        ),
        option(
            "--longest",
            type=Number(float, 5.0, 28.0),
            default=20.0,
            metavar="SECONDS",
            help="Speech without a pause is cut after this, where it is quietest.",
        ),
        option(
            "--partial_every",
            type=Number(float, 0.0, 60.0),
            default=1.0,
            metavar="SECONDS",
            help="How often the line that is being spoken is written anew; 0: only final lines.",
        ),
    )
)

LISTEN = (*MICROPHONE, *LINES)
