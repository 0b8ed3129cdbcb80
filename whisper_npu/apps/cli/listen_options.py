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

# What `transcribe` has for whole recordings, and what to do instead; live/options.py says it of Python's.
REFUSED = {
    f"--{name}": f"it is for recordings, not for live speech: {why}"
    for name, why in {
        "clip_timestamps": "there is no recording to take parts of: leave it out",
        "prefix": "it would begin every utterance: give --initial_prompt",
        "batched": "one utterance comes after the other: leave it out",
        "batch_size": "one utterance comes after the other: leave it out",
        "vad_filter": "the voice check is always on: leave it out, or set --vad_threshold",
        "vad_max_speech_duration_s": "--longest says where speech is cut: give that",
        "vad_min_silence_duration_ms": "--pause says with how much silence an utterance ends: give that",
        "vad_speech_pad_ms": "utterances keep what silence there is around them: leave it out",
        "carry_initial_prompt": "--initial_prompt is read before every utterance in any case: leave it out",
        "condition_on_previous_text": "utterances are transcribed one by one: leave it out",
        "prompt_reset_on_temperature": "utterances are transcribed one by one: leave it out",
        "hallucination_silence_threshold": "silence is not transcribed: leave it out",
        "chunk_length": "--longest says where speech is cut: give that",
        "recursive": "one recording plays the microphone: name it by --from",
    }.items()
}

LISTEN = (*MICROPHONE, *LINES)
