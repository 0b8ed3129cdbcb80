"""What is said of live speech at its end: how late the text came, how fast the work was, how right it is."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from math import log10
from pathlib import Path

from whisper_npu.apps.cli.listen_asked import BY_TRANSCRIBE, NO_REFERENCE
from whisper_npu.audio import Sound
from whisper_npu.errors import UsageError, shown
from whisper_npu.live.latency import Latencies
from whisper_npu.live.microphone import Microphone
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

_NO_RATE = "no word error rate"


def latency_line(latencies: Latencies) -> str:
    if latencies.median is None:
        return "no line of text, so no latency"
    median, late = f"median {latencies.median:.2f} s", f"95th percentile {latencies.percentile_95:.2f} s"
    return f"end of speech to final text: {median}, {late} (MEASURED)"


def pace_line(heard_seconds: float, took_seconds: float) -> str:
    return f"{heard_seconds / took_seconds:.1f} times as fast as spoken (MEASURED)"


def silence_line(microphone: Microphone) -> str:
    """Of a microphone into which nobody spoke, for all that was heard."""
    if not microphone.peak:
        return f"no sound at all has come from {microphone.name}: is it muted, or another one meant?"
    decibels = 20 * log10(microphone.peak)
    return f"no speech was heard: the loudest sample of {microphone.name} is at {decibels:.0f} dB"


def read_reference(reference: Path | str) -> str | None:
    """The text of a file; None where the reference is none. Raises UsageError for one that cannot be read."""
    if reference in (BY_TRANSCRIBE, NO_REFERENCE):
        return None
    try:
        return Path(reference).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(
            f"--reference {shown(str(reference))} cannot be read ({reason}): give a text file, transcribe or "
            "none"
        ) from error


def word_errors_line(
    *,
    said: str,
    language: str,
    reference: str | None,
    model: Model,
    sound: Sound,
    options: TranscribeOptions,
    say: Callable[[str], None],
) -> str:
    """The word error rate, or why there is none. The caller may interrupt it.

    said: the final text. language: its code; empty where nothing was heard. reference: what the text should
    be; None: what `transcribe` says of the sound, by the same model and options, which takes a while.
    """
    language = language or options.language or ("" if model.is_multilingual else "en")
    if language not in ("en", "") and options.task != "translate":
        return f"{_NO_RATE}: words are counted in English only, and this is {name_of(language)}"
    missing = [package for package in ("jiwer", "transformers") if find_spec(package) is None]
    if missing:
        return f"{_NO_RATE}: it needs {' and '.join(missing)}: pip install 'whisper-npu[wer]'"
    against = "the reference"
    if reference is None:
        say(f"transcribing {sound.name} to count the word errors; Ctrl-C skips it")
        done = model.transcribe(sound, options)
        if done.language != "en" and options.task != "translate":
            return f"{_NO_RATE}: words are counted in English only, and this is {name_of(done.language)}"
        reference, against = done.text, "what transcribe says"
    from whisper_npu.benchmark.wer import EnglishNormalizer, word_error_rate

    normalize = EnglishNormalizer(model.checkpoint.normalizer)
    if not normalize(reference).strip():
        return f"{_NO_RATE}: there is not one word in {against}"
    return f"word error rate against {against}: {word_error_rate([reference], [said], normalize)}"
