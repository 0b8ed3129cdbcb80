"""A live server on 127.0.0.1, and recordings to send it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra server is not installed")
for package in ("fastapi", "prometheus_client", "python_multipart", "websockets"):
    pytest.importorskip(package, reason="the extra server is not installed")

import soundfile  # noqa: E402

from whisper_npu.apps.server.app import create_app  # noqa: E402
from whisper_npu.apps.server.live import LivePatience  # noqa: E402
from whisper_npu.apps.server.serving import Server, bound  # noqa: E402
from whisper_npu.apps.server.settings import ServerSettings  # noqa: E402
from whisper_npu.apps.server.work import Service  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

SECONDS = 2.0  # that `recording` lasts


@dataclass(frozen=True)
class Live:
    """A server that runs."""

    address: str  # http://127.0.0.1:12345
    service: Service
    stop: Callable[[], None]  # tells it to end, and does not wait for that

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def serving(model: Model, *, patience: LivePatience | None = None, **settings: Any) -> Iterator[Live]:
    """A real uvicorn in a thread, on a free port. settings: as `ServerSettings`."""
    asked = ServerSettings(port=0, **settings)
    app = create_app(model, asked)
    app.state.live_patience = patience or LivePatience()
    started = threading.Event()
    server = Server(app, started.set)

    def stop() -> None:
        server.should_exit = True

    with closing(bound(asked.host, asked.port)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert started.wait(30)
            yield Live(f"http://{asked.host}:{listening.getsockname()[1]}", app.state.service, stop)
        finally:
            stop()
            thread.join()


def recording(seconds: float = SECONDS) -> bytes:
    """A WAV file of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * 16_000))
    soundfile.write(file, noise, 16_000, format="WAV")
    return file.getvalue()
