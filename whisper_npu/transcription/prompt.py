"""What a decoder reads before it decodes a window, in tokens: whether it fits, and what is carried along."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_npu.errors import UsageError
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.options import TranscribeOptions

POSITIONS = 448  # of the decoder, for prompt and text
LONGEST_PROMPT = POSITIONS // 2 - 1  # tokens of each of: hotwords, the text before, prefix
LEAST_NEW_TOKENS = 100  # that must remain for a window's text; 30 s of speech are about as many
TIMESTAMPS = 1501  # 0.00 to 30.00 s in steps of 0.02


def check_tokens(whisper: faster_whisper.WhisperModel, options: TranscribeOptions) -> None:
    """Raises UsageError for texts that are too long for the prompt, and for tokens that do not exist.

    faster-whisper would cut off the texts, or fail in the middle of a recording.
    """
    tokenizer = _tokenizer(whisper, options)
    count = vocabulary_size(whisper)
    for token in options.suppress_tokens:
        if token >= count:
            raise UsageError(
                f"suppress_tokens names token {token}, but the model's are 0 to {count - 1}: leave it out",
                option="suppress_tokens",
            )
    lengths = {name: _length(tokenizer, getattr(options, name)) for name in _TEXTS}
    for name, length in lengths.items():
        if length > LONGEST_PROMPT:
            raise UsageError(
                f"{name} is {length} tokens long, the model reads at most {LONGEST_PROMPT}: shorten it",
                option=name,
            )
    hotwords, initial, prefix = lengths.values()
    first = initial + prefix + bool(prefix)  # with the timestamp before it
    later = LONGEST_PROMPT if options.condition_on_previous_text and options.batch_size is None else initial
    marks = 1 + len(tokenizer.sot_sequence) + options.without_timestamps
    left = POSITIONS - (marks + hotwords + max(first, later))
    needed = options.max_new_tokens or LEAST_NEW_TOKENS
    if left < needed:
        texts = {name: f"{name} ({length} tokens)" for name, length in lengths.items() if length}
        raise UsageError(
            f"the prompt leaves {max(0, left)} of the decoder's {POSITIONS} positions for a window's text, "
            f"which needs {needed}: " + _remedy([*texts.values()], options),
            option=next(iter(texts), "max_new_tokens"),
        )


def vocabulary_size(whisper: faster_whisper.WhisperModel) -> int:
    """How many tokens there are. A tokenizer need not name the timestamps."""
    begin: int = _tokenizer(whisper, TranscribeOptions()).timestamp_begin
    named: int = whisper.hf_tokenizer.get_vocab_size()
    return max(begin + TIMESTAMPS, named)


def _remedy(given: Sequence[str], options: TranscribeOptions) -> str:
    ways = [f"shorten {' or '.join(given)}"] if given else []
    ways += ["lower max_new_tokens"] if options.max_new_tokens else []
    if options.condition_on_previous_text and options.batch_size is None:
        ways.append("switch off condition_on_previous_text")
    return ", or ".join(ways)


_TEXTS = ("hotwords", "initial_prompt", "prefix")


def prompt_tokens(whisper: faster_whisper.WhisperModel, options: TranscribeOptions) -> list[int]:
    """The initial prompt in tokens, as faster-whisper has it before the first window."""
    return _encoded(_tokenizer(whisper, options), options.initial_prompt)


def with_prompt(prompt: Sequence[int], previous: Sequence[int]) -> list[int]:
    """`prompt`, and of the tokens of the text so far as many of the last as fit behind it.

    previous: may begin with `prompt` itself, as before the first reset of the prompt.
    Source: carry_initial_prompt in openai/whisper's transcribe.py.
    """
    n = len(prompt)
    rest = previous[n:] if list(previous[:n]) == list(prompt) else previous
    return [*prompt, *rest[max(0, len(rest) - (LONGEST_PROMPT - n)) :]]


def _tokenizer(
    whisper: faster_whisper.WhisperModel, options: TranscribeOptions
) -> faster_whisper.tokenizer.Tokenizer:
    return faster_whisper.tokenizer.Tokenizer(
        whisper.hf_tokenizer, whisper.model.is_multilingual, options.task, options.language or "en"
    )


def _length(tokenizer: faster_whisper.tokenizer.Tokenizer, text: str | None) -> int:
    return len(_encoded(tokenizer, text))


def _encoded(tokenizer: faster_whisper.tokenizer.Tokenizer, text: str | None) -> list[int]:
    tokens: list[int] = [] if text is None else tokenizer.encode(" " + text.strip())
    return tokens
