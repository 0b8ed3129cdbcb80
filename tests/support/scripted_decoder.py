"""A small model whose decoder says what a test has written down; all around it is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.support.checkpoints import tiny_config, tiny_tensors, tiny_tokenizer, write_checkpoint
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.dtypes import F32
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.transcription.model import Model

STEP = 0.02  # seconds from one timestamp to the next


@dataclass(frozen=True)
class Window:
    """What is said in one window: phrases with their start and end in it, in seconds."""

    phrases: Sequence[tuple[float, str, float]] = ()
    no_speech_prob: float = 0.0
    log_prob: float = -0.1  # mean over the tokens


SILENT = Window(no_speech_prob=0.95, log_prob=-2.0)


class ScriptedDecoder:
    """In the place of ctranslate2.models.Whisper."""

    device = "cpu"
    compute_type = "float32"
    n_mels = 128

    def __init__(self, model: Model) -> None:
        self._tokenizer = model._whisper.hf_tokenizer
        self._begin = self._tokenizer.token_to_id("<|notimestamps|>") + 1
        self.is_multilingual = model._whisper.model.is_multilingual
        self.windows: list[Window] = []
        self.prompts: list[list[int]] = []  # one for each window
        self.on_window: Callable[[], None] = lambda: None  # called before a window is decoded
        self.listens = False  # whether `heard` is filled
        self.heard: list[F32] = []  # the audio features of each window, (n_audio_ctx, n_audio_state)

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        return [[("<|de|>", 0.75), ("<|en|>", 0.25)]] * encoded.shape[0]

    def generate(
        self, encoded: Any, prompts: list[list[int]], *, length_penalty: float, **options: Any
    ) -> list[SimpleNamespace]:
        done = []
        if self.listens:
            self.heard.extend(np.array(encoded))
        for prompt in prompts:
            self.on_window()
            self.prompts.append(prompt)
            window = self.windows.pop(0)
            tokens = [token for phrase in window.phrases for token in self._tokens(*phrase)]
            score = window.log_prob * (len(tokens) + 1) / max(1, len(tokens)) ** length_penalty
            done.append(
                SimpleNamespace(sequences_ids=[tokens], scores=[score], no_speech_prob=window.no_speech_prob)
            )
        return done

    def tokens(self, text: str) -> list[int]:
        encoded: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return encoded

    def text(self, tokens: Sequence[int]) -> str:
        """Special tokens included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def _tokens(self, start: float, text: str, end: float) -> list[int]:
        return [self._begin + round(start / STEP), *self.tokens(text), self._begin + round(end / STEP)]


def small_model(
    folder: Path,
    *,
    multilingual: bool = True,
    n_audio_ctx: int = 1500,
    device: Device | None = None,
    on_device_error: str = "fail",
) -> Model:
    """A random model that knows English, German and Hawaiian, or English only.

    n_audio_ctx: positions of a window, 0.02 s each; with fewer a window is encoded sooner. device: None for
    an emulator.
    """
    config = tiny_config(vocab_size=1788 if multilingual else 1787, max_source_positions=n_audio_ctx)
    written = write_checkpoint(
        folder / "hf", config, tiny_tensors(config), tokenizer_json=tiny_tokenizer(multilingual=multilingual)
    )
    checkpoint = load_checkpoint(written, cache_dir=folder / "cache")
    return Model(checkpoint, device or Emulator(), compute_type="float32", on_device_error=on_device_error)
