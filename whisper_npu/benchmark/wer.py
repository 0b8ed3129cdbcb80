"""Word error rate of a transcript, as the Whisper paper counts it (arXiv 2212.04356, section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.checkpoint.files import read_json
from whisper_npu.without_torch import no_torch_notice


@dataclass(frozen=True)
class WordErrorRate:
    """Substituted, deleted and inserted words, divided by the words of the reference."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        return self.errors / self.words

    def __add__(self, other: WordErrorRate) -> WordErrorRate:
        return WordErrorRate(self.errors + other.errors, self.words + other.words)

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % ({self.errors} of {self.words} words)"


class EnglishNormalizer:
    """OpenAI's normaliser of English text, which makes "Mr. 5%" and "mister five percent" equal.

    spelling: a checkpoint's normalizer.json, which maps British to American spelling; None for no map, so
    that "colour" and "color" count as different words. `description` says which of them it is.
    """

    def __init__(self, spelling: Path | None) -> None:
        with no_torch_notice():  # takes 1.5 s, without torch
            from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

        mapping = read_json(spelling) if spelling else {}
        self._normalize = EnglishTextNormalizer(mapping)
        found = (
            "the checkpoint's spelling map" if spelling else "an empty spelling map, the checkpoint has none"
        )
        self.description = f"EnglishTextNormalizer with {found}"

    def __call__(self, text: str) -> str:
        normalized: str = self._normalize(text)
        return normalized


def word_error_rate(
    references: Sequence[str], hypotheses: Sequence[str], normalize: EnglishNormalizer
) -> WordErrorRate:
    """The rate over all texts together; each pair is normalised and aligned by itself.

    Needs the extra `wer`, which brings jiwer.
    """
    import jiwer

    aligned = jiwer.process_words([normalize(t) for t in references], [normalize(t) for t in hypotheses])
    errors = aligned.substitutions + aligned.deletions + aligned.insertions
    return WordErrorRate(errors, aligned.hits + aligned.substitutions + aligned.deletions)
