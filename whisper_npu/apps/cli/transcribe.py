"""`whisper-npu transcribe`: its options, by group, and what they mean to the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from whisper_npu.apps.cli.clock import START
from whisper_npu.apps.cli.command import Argument, Command, Option, configurable, group, option
from whisper_npu.apps.cli.listen_options import LISTEN
from whisper_npu.apps.cli.options import (
    CHECK_RESULTS,
    COMPUTE_TYPE,
    DEVICE,
    DEVICE_ERROR,
    KERNELS,
    LOCAL_FILES_ONLY,
    MODEL_DIR,
    THREADS,
    TIMEOUT,
    WHISPER_MODEL,
    fidelity,
    kernel,
)
from whisper_npu.apps.cli.progress import Progress, awaited
from whisper_npu.apps.cli.refused import HARMLESS, REFUSED, WHISPER_CPP
from whisper_npu.apps.cli.serve_options import SERVER
from whisper_npu.apps.cli.settings import (
    checked_names,
    config_file,
    defaults_for,
    read_config,
    unknown_variables,
)
from whisper_npu.apps.cli.values import (
    FILE_OR_NONE,
    FOLDER_OR_NONE,
    SWITCH,
    TEXT,
    TEXT_OR_NONE,
    Choice,
    Number,
    Numbers,
    Text,
    Words,
)
from whisper_npu.apps.sources import find_recordings

FORMATS = ("txt", "srt", "vtt", "tsv", "json", "lrc")  # without importing the writers; a test compares


def _languages() -> list[str]:
    from whisper_npu.transcription.language import NAMES

    return ["auto", *NAMES, *NAMES.values()]


AUDIO = Argument(
    "audio",
    metavar="AUDIO...",
    many=True,
    type=TEXT,
    help="Recordings: files of any audio or video format, quoted globs, folders (--recursive), - for stdin.",
)

MODEL = group(
    "Model and device",
    WHISPER_MODEL,
    option(
        "--model_directory",
        type=FOLDER_OR_NONE,
        metavar="DIR",
        help="A folder that is the model, as --model DIR; whisper-ctranslate2's name for it.",
    ),
    MODEL_DIR,
    LOCAL_FILES_ONLY,
    DEVICE,
    THREADS,
    COMPUTE_TYPE,
    option(
        "--fp16",
        type=SWITCH,
        help="Taken for the sake of old scripts: the encoder multiplies in bf16 in any case.",
    ),
    option("--batched", type=SWITCH, default=False, help="Decode several windows at once, cut at pauses."),
    option(
        "--batch_size",
        type=Number(int, or_none=True),
        example="8",
        metavar="N",
        help="How many windows at once; turns --batched on. Default: 8 with --batched.",
    ),
)

INPUT = group(
    "Recordings",
    option("--recursive", type=SWITCH, default=False, help="Take the recordings in folders, and below them."),
    option(
        "--audio_track",
        type=Number(int, 1),
        example="1",
        metavar="N",
        help="Which audio track of a video; default: the one it marks so, or 1.",
    ),
    option(
        "--strict",
        type=SWITCH,
        default=False,
        help="Refuse a recording of which something is damaged or missing, in place of a warning.",
    ),
    option(
        "--max_hours",
        type=Number(float, 0),
        default=24.0,
        metavar="H",
        help="A longer recording is refused; inf: no limit.",
    ),
    option(
        "--clip_timestamps",
        type=Numbers(float),
        default=(0,),
        metavar="LIST",
        help="start,end,start,end,... in seconds: only these parts.",
    ),
)

OUTPUT = group(
    "Output",
    option(
        "--output_dir",
        "-o",
        type=FOLDER_OR_NONE,
        example='"transcripts"',
        metavar="DIR",
        help="Folder for the files; alone it means -f all. Default with -f: the current folder.",
    ),
    option(
        "--output_format",
        "-f",
        type=Words((*FORMATS, "all"), all_of=FORMATS),
        multiple=True,
        example='["srt", "vtt"]',
        metavar="LIST",
        help=f"Write a file per recording: {', '.join(FORMATS)} or all, or several: srt,vtt.",
    ),
    option("--skip_existing", type=SWITCH, default=False, help="Skip recordings whose files are there."),
    option(
        "--resume",
        type=SWITCH,
        default=False,
        help="Go on where a run that was interrupted was; skip recordings whose files are there.",
    ),
    option("--pretty_json", "-p", type=SWITCH, default=False, help="Indent json files."),
    option("--timestamps", type=SWITCH, default=False, help="Print the times of each line before it."),
    option("--print_colors", type=SWITCH, default=False, help="On a terminal: colour text by confidence."),
    option(
        "--verbose",
        "-v",
        type=SWITCH,
        help="True: print times and, at the end, the long report. False: print no text.",
    ),
    option("--quiet", "-q", type=SWITCH, default=False, help="Print only the text, no progress, no summary."),
    option(
        "--report",
        type=FILE_OR_NONE,
        example='"report.json"',
        metavar="FILE.json",
        help="Write the report as JSON, with every figure; -: stdout, after the text.",
    ),
)

SUBTITLES = group(
    "Subtitles (each turns --word_timestamps on)",
    option(
        "--max_line_width",
        type=Number(int, or_none=True),
        example="42",
        metavar="N",
        help="Characters in a line of srt and vtt.",
    ),
    option(
        "--max_line_count",
        type=Number(int, or_none=True),
        example="2",
        metavar="N",
        help="Lines in a cue; with --max_line_width.",
    ),
    option(
        "--max_words_per_line",
        type=Number(int, or_none=True),
        example="4",
        metavar="N",
        help="Words in a cue; not with --max_line_width.",
    ),
    option("--highlight_words", type=SWITCH, default=False, help="Underline each word as it is spoken."),
)

SPEECH = group(
    "Language and text",
    option(
        "--task",
        type=Choice(("transcribe", "translate")),
        default="transcribe",
        metavar="TASK",
        help="transcribe, or translate: into English.",
    ),
    option(
        "--language",
        "-l",
        type=Text(_languages, or_none=True),
        example='"de"',
        metavar="NAME",
        help="Code or English name: de, German, de-DE. Default: auto, detected.",
    ),
    option("--multilingual", type=SWITCH, default=False, help="Detect the language of every window."),
    option(
        "--initial_prompt",
        type=TEXT_OR_NONE,
        example='"A talk on NPUs."',
        metavar="TEXT",
        help="Text that comes before the first window, as context.",
    ),
    option(
        "--carry_initial_prompt",
        type=SWITCH,
        default=False,
        help="--initial_prompt before every window.",
    ),
    option(
        "--condition_on_previous_text",
        type=SWITCH,
        default=True,
        help="Decode each window with the text before it; off against repetitions.",
    ),
    option(
        "--prompt_reset_on_temperature",
        type=Number(float),
        default=0.5,
        metavar="T",
        help="Forget the text before a window that was decoded at a higher temperature.",
    ),
    option("--prefix", type=TEXT_OR_NONE, metavar="TEXT", help="Text with which the first window begins."),
    option(
        "--hotwords",
        type=TEXT_OR_NONE,
        example='"XDNA MLIR-AIE"',
        metavar="TEXT",
        help="Names and words to expect.",
    ),
    option(
        "--word_timestamps",
        type=SWITCH,
        help="Time every word: written to json, and times of srt and vtt are finer.",
    ),
    option(
        "--prepend_punctuations",
        type=TEXT,
        default="\"'\u201c\u00bf([{-",
        metavar="TEXT",
        help="Marks that belong to the next word.",
    ),
    option(
        "--append_punctuations",
        type=TEXT,
        default="\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a\u201d)]}\u3001",
        metavar="TEXT",
        help="Marks that belong to the word before.",
    ),
)

DECODING = group(
    "Decoding",
    option(
        "--beam_size",
        type=Number(int, or_none=True),
        default=5,
        metavar="N",
        help="Width of the beam search at temperature 0; None: 1.",
    ),
    option(
        "--best_of",
        type=Number(int, or_none=True),
        default=5,
        metavar="N",
        help="Samples at temperatures above 0; None: 1.",
    ),
    option(
        "--patience",
        type=Number(float, or_none=True),
        example="1",
        metavar="X",
        help="How many more candidates than beams the search may look at, as a factor [1]",
    ),
    option(
        "--length_penalty",
        type=Number(float, or_none=True),
        example="1",
        metavar="X",
        help="Exponent of the length by which a beam's score is divided [1]",
    ),
    option(
        "--repetition_penalty",
        type=Number(float),
        default=1.0,
        metavar="X",
        help="Above 1: against words said before.",
    ),
    option(
        "--no_repeat_ngram_size",
        type=Number(int),
        default=0,
        metavar="N",
        help="No group of N tokens comes twice; 0: off.",
    ),
    option(
        "--temperature",
        type=Number(float),
        default=0.0,
        metavar="T",
        help="Temperature to decode at first; higher ones follow if decoding fails.",
    ),
    option(
        "--temperature_increment_on_fallback",
        type=Number(float, or_none=True),
        default=0.2,
        metavar="T",
        help="Steps from --temperature up to 1; None: only --temperature.",
    ),
    option(
        "--compression_ratio_threshold",
        type=Number(float, or_none=True),
        default=2.4,
        metavar="X",
        help="Decoding failed if the text repeats itself more than this.",
    ),
    option(
        "--logprob_threshold",
        type=Number(float, or_none=True),
        default=-1.0,
        metavar="X",
        help="Decoding failed if the mean log probability is lower.",
    ),
    option(
        "--no_speech_threshold",
        type=Number(float, or_none=True),
        default=0.6,
        metavar="P",
        help="Probability of no speech above which a window that failed is silence.",
    ),
    option(
        "--hallucination_silence_threshold",
        type=Number(float, or_none=True),
        example="2",
        metavar="SECONDS",
        help="Skip longer silence where text seems invented; turns --word_timestamps on.",
    ),
    option(
        "--suppress_tokens",
        type=Numbers(int),
        default=(-1,),
        metavar="LIST",
        help="Ids of tokens never to decode; -1: most special characters.",
    ),
    option("--suppress_blank", type=SWITCH, default=True, help="Never begin a window with a blank."),
    option(
        "--max_new_tokens",
        type=Number(int, or_none=True),
        example="200",
        metavar="N",
        help="Most tokens that one window may have; default: no limit but the model's.",
    ),
    option(
        "--chunk_length",
        type=Number(int, or_none=True),
        example="30",
        metavar="SECONDS",
        help="Length of a window; default: the model's, 30.",
    ),
)

VAD = group(
    "Voice activity (Silero VAD)",
    option("--vad_filter", type=SWITCH, default=False, help="Skip parts without speech."),
    option(
        "--vad_threshold",
        type=Number(float, or_none=True),
        example="0.5",
        metavar="P",
        help="Speech is what is at least this probable [0.5]",
    ),
    option(
        "--vad_min_speech_duration_ms",
        type=Number(int, or_none=True),
        example="0",
        metavar="MS",
        help="Shorter speech is dropped [0]",
    ),
    option(
        "--vad_max_speech_duration_s",
        type=Number(float, or_none=True),
        example="30",
        metavar="S",
        help="Longer speech is cut at a pause [no limit]",
    ),
    option(
        "--vad_min_silence_duration_ms",
        type=Number(int, or_none=True),
        example="2000",
        metavar="MS",
        help="Shorter pauses are kept [2000]",
    ),
    option(
        "--vad_speech_pad_ms",
        type=Number(int, or_none=True),
        example="400",
        metavar="MS",
        help="Kept around speech [400]",
    ),
)

ENGINE = group(
    "Kernels, for engineers",
    kernel(),
    fidelity("fast"),
    KERNELS,
    TIMEOUT,
    CHECK_RESULTS,
    DEVICE_ERROR,
)


def _transcribe(**given: Any) -> int:
    """Transcribe recordings; their text goes to stdout.

    Progress, what was written and a summary go to stderr.
    """
    source = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in given if source(name) is ParameterSource.COMMANDLINE)
    recordings = find_recordings(given["audio"], recursive=given["recursive"])
    with Progress(awaited(recordings), quiet=given["quiet"]) as progress:
        for line in unknown_variables(CONFIGURABLE):
            progress.note(f"whisper-npu: {line}")
        # These take a second: somebody looks at the terminal already.
        from whisper_npu.apps.cli.asked import asked_for
        from whisper_npu.apps.cli.session import Session

        return Session(asked_for(given, typed), recordings, progress, START).execute()


def checked_defaults(options: Sequence[Option]) -> dict[str, Any]:
    """What the config file says of these options. Raises UsageError for a name that no command knows."""
    path = config_file()
    config = read_config(path)
    checked_names(config, CONFIGURABLE, path)
    return defaults_for(options, config)


transcribe = Command(
    "transcribe",
    _transcribe,
    [AUDIO, *configurable(*MODEL, *INPUT, *OUTPUT, *SUBTITLES, *SPEECH, *DECODING, *VAD, *ENGINE)],
    examples=(
        "whisper-npu talk.mp3",
        "whisper-npu talk.mp3 -f srt,vtt --max_line_width 40 --max_line_count 2",
        "whisper-npu --recursive lectures/ -o text/ --skip_existing",
    ),
    refused=REFUSED | WHISPER_CPP,
    harmless=HARMLESS,
    defaults=checked_defaults,
)
CONFIGURABLE = (*transcribe.options, *SERVER, *LISTEN)  # what a config file and variables may set
