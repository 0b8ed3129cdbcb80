"""A scripted decoder that can be held, and knows the times of words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.support.scripted_decoder import ScriptedDecoder, Window
from whisper_npu.transcription.model import Model

PER_SECOND = 50  # positions that the decoder attends to
PROBABILITY = 0.9  # of every token but those of `unsure`
UNSURE = 0.2


class TimedDecoder(ScriptedDecoder):
    """Times the words too: the letters of a phrase share its time evenly.

    It can be held before a window, until `go_on` is set.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.model = model
        self.unsure = ""  # a phrase
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_held = threading.Event()
        self._said: Sequence[tuple[float, str, float]] = ()
        self.on_window = self._begin_window
        self._before_hold = 0  # windows that are decoded before it is held

    def hold(self, *, after: int = 0) -> None:
        self._before_hold = after
        self.is_held.clear()
        self.go_on.clear()

    def release(self) -> None:
        self._before_hold = 0
        self.go_on.set()

    def _begin_window(self) -> None:
        if self._before_hold:
            self._before_hold -= 1
        elif not self.go_on.is_set():
            self.is_held.set()
            assert self.go_on.wait(60), "the test let it wait"
        self._said = self.windows[0].phrases

    def align(
        self,
        encoded: Any,
        start_sequence: list[int],
        text_tokens: list[list[int]],
        num_frames: int,
        *,
        median_filter_width: int,
    ) -> list[SimpleNamespace]:
        (tokens,) = text_tokens
        times: list[int] = []
        probabilities: list[float] = []
        end = 0.0
        for start, text, end in self._said:
            edges = np.linspace(start, end, len(self.tokens(text)) + 1)
            times += [round(PER_SECOND * edge) for edge, _ in pairwise(edges)]
            probabilities += [UNSURE if text == self.unsure else PROBABILITY] * (len(edges) - 1)
        assert len(times) == len(tokens)
        return [
            SimpleNamespace(
                alignments=list(enumerate([*times, round(PER_SECOND * end)])),
                text_token_probs=probabilities,
            )
        ]


def says(*phrases: tuple[float, str, float]) -> Window:
    return Window(phrases)
