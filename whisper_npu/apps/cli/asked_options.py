"""How to transcribe: what was typed, and beside it those of a person's own defaults that have an effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from whisper_npu.errors import NoEffectError, UsageError
from whisper_npu.output import Layout
from whisper_npu.transcription.keywords import BATCH_SIZE
from whisper_npu.transcription.options import TranscribeOptions, temperatures

_ORIGIN = "; whisper-npu config shows what set it"
# The options of TranscribeOptions that are made of options with other names.
_MADE_OF = {
    "log_prob_threshold": {"logprob_threshold"},
    "batch_size": {"batched", "batch_size"},
}


def transcribe_options(
    given: Mapping[str, Any], typed: frozenset[str], *, word_timestamps: bool
) -> TranscribeOptions:
    """given: by the options' names. typed: those that stand on the command line.

    A default of a config file or variable is for other runs too: where it can have no effect beside what was
    typed it is left out. Raises UsageError for a wrong value, and for what was typed and can have no effect.
    """
    values = _values(given, typed)
    own = {name: value for name, value in values.items() if not _MADE_OF.get(name, {name}) & typed}
    options = TranscribeOptions(
        word_timestamps=word_timestamps,
        **{name: value for name, value in values.items() if name not in own},
    )
    options = _with_own(options, own)
    increment = given["temperature_increment_on_fallback"]
    if options.batch_size is not None and "temperature_increment_on_fallback" not in typed:
        increment = None  # batches are decoded once
    return replace(options, temperature=temperatures(given["temperature"], increment))


def batch_size(given: Mapping[str, Any], typed: frozenset[str]) -> int | None:
    """--batch_size alone turns --batched on; an explicit --batched False does not allow for that."""
    size: int | None = given["batch_size"]
    if "batched" in typed and not given["batched"]:
        if size is not None and "batch_size" in typed:
            raise UsageError(
                f"--batch_size {size} has no effect beside --batched False: leave one of them out"
            )
        return None
    return BATCH_SIZE if size is None and given["batched"] else size


def _values(given: Mapping[str, Any], typed: frozenset[str]) -> dict[str, Any]:
    """By the names of TranscribeOptions, but for temperature and word_timestamps."""
    names = {field.name for field in fields(TranscribeOptions)} & set(given)
    # Silero VAD's options have no None of their own: it stands for their default.
    values = {name: given[name] for name in names if not (name.startswith("vad_") and given[name] is None)}
    del values["temperature"], values["word_timestamps"]
    return values | {
        "log_prob_threshold": given["logprob_threshold"],
        "batch_size": batch_size(given, typed),
    }


def _with_own(options: TranscribeOptions, own: Mapping[str, Any]) -> TranscribeOptions:
    """Takes in those of the defaults that can have an effect. One may need another: until no more can."""
    waiting = {name: value for name, value in own.items() if getattr(options, name) != value}
    while waiting:
        left = {}
        for name, value in waiting.items():
            try:
                options = replace(options, **{name: value})
            except NoEffectError:
                left[name] = value
            except UsageError as error:
                raise UsageError(f"{error}{_ORIGIN}") from error
        if len(left) == len(waiting):
            break
        waiting = left
    return options


def in_options_words(message: str, typed: frozenset[str]) -> str:
    """A message of the library, whose options have no dashes and, two of them, other names."""
    names = {field.name for kind in (TranscribeOptions, Layout) for field in fields(kind)}
    theirs = {"log_prob_threshold": "logprob_threshold", "batch_size": "batched"}
    if "batch_size" in typed:
        del theirs["batch_size"]

    def option(found: re.Match[str]) -> str:
        return f"--{theirs.get(found[0], found[0])}"

    # A name of one word may be just a word, unless the sentence begins with it and says what it is.
    patterns = [rf"(?<![-\w]){name}\b" for name in names if "_" in name]
    patterns += [rf"^{name}\b(?= is | has | have | detects )" for name in names if "_" not in name]
    pattern = re.compile("|".join(sorted(patterns)))
    # What stands in quotes is the user's.
    parts = re.split(r"('[^']*')", message)
    return "".join(part if part.startswith("'") else pattern.sub(option, part) for part in parts)
