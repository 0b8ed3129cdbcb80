"""A prompt that is carried from window to window, and the text so far behind it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.transcription.prompt import LONGEST_PROMPT, with_prompt

TOKENS = st.lists(st.integers(0, 50_000), max_size=300)


@given(TOKENS.map(lambda tokens: tokens[:LONGEST_PROMPT]), TOKENS, st.booleans())
def test_a_prompt_is_followed_by_the_end_of_the_text_so_far(
    prompt: list[int], said: list[int], first: bool
) -> None:
    """first: whether faster-whisper has the prompt in front of the text, as before the first reset."""
    read = with_prompt(prompt, [*prompt, *said] if first else said)
    assert len(read) <= LONGEST_PROMPT
    assert read[: len(prompt)] == prompt
    rest = read[len(prompt) :]
    if first or said[: len(prompt)] != prompt:  # else the text happens to repeat the prompt
        assert rest == said[len(said) - len(rest) :]
        assert len(rest) == min(len(said), LONGEST_PROMPT - len(prompt))


def test_no_room_is_no_text() -> None:
    """openai/whisper takes all of the text there, and the prompt is lost."""
    prompt = list(range(LONGEST_PROMPT))
    assert with_prompt(prompt, [*prompt, 7, 8]) == prompt
