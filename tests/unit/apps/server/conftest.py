"""A live server on a small model, whose decoder says what a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.transcription.model import Model

if TYPE_CHECKING:
    from tests.support.serving import Live

SAYS = Window([(0.0, " the", 1.0), (1.0, " an", 2.0)])
LONGEST_WAIT = 30  # seconds, for what happens at once


class Speaker(ScriptedDecoder):
    """Says SAYS where a test has not written down anything else.

    It can be held before a window, until it is let go or its work is cancelled.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._served = model
        self.go_on, self.is_held = Event(), Event()
        self.go_on.set()
        self.on_window = self._hold

    def _hold(self) -> None:
        self.windows = self.windows or [SAYS]
        self.is_held.set()
        end = monotonic() + LONGEST_WAIT
        while not self.go_on.wait(0.01):
            self._served._whisper.go_on()  # raises CancelledError once the work is to end
            assert monotonic() < end

    def align(
        self, encoded: Any, start: Any, texts: list[list[int]], frames: Any, **options: Any
    ) -> list[SimpleNamespace]:
        """Each token takes 0.02 s."""
        return [
            SimpleNamespace(
                alignments=[(token, token) for token in range(len(tokens) + 1)],
                text_token_probs=[0.5] * len(tokens),
            )
            for tokens in texts
        ]

    def hold(self) -> None:
        self.is_held.clear()
        self.go_on.clear()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with small_model(tmp_path_factory.mktemp("served")) as model:
        yield model


@pytest.fixture
def speaker(small: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaker]:
    scripted = Speaker(small)
    monkeypatch.setattr(small._whisper, "model", scripted)
    yield scripted
    scripted.go_on.set()


@pytest.fixture(scope="session")
def long_lived(small: Model) -> Iterator[Live]:
    pytest.importorskip("uvicorn", reason="the extra server is not installed")
    from tests.support.serving import serving

    with serving(small) as live:
        yield live


@pytest.fixture
def live(long_lived: Live, speaker: Speaker) -> Live:
    """The server of all tests, with the decoder of one."""
    return long_lived


@pytest.fixture
def http(live: Live) -> Iterator[Any]:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=live.address, timeout=LONGEST_WAIT) as client:
        yield client
