"""A live server on 127.0.0.1, and recordings to send it."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the extra server is not installed")
pytest.importorskip("fastapi", reason="the extra server is not installed")

import soundfile  # noqa: E402

from whisper_npu.apps.server.app import create_app  # noqa: E402
from whisper_npu.apps.server.settings import ServerSettings  # noqa: E402
from whisper_npu.apps.server.work import Service  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

SECONDS = 2.0  # that `recording` lasts


@dataclass(frozen=True)
class Live:
    """A server that runs."""

    address: str  # http://127.0.0.1:12345
    service: Service

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def serving(model: Model, **settings: Any) -> Iterator[Live]:
    """A real uvicorn in a thread. settings: as `ServerSettings`."""
    asked = replace(ServerSettings(port=0), **settings)
    app = create_app(model, asked)
    config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5)
    with socket.create_server((asked.host, 0)) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Live(f"http://{asked.host}:{listening.getsockname()[1]}", app.state.service)
        finally:
            server.should_exit = True
            thread.join()


def recording(seconds: float = SECONDS) -> bytes:
    """A WAV file of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * 16_000))
    soundfile.write(file, noise, 16_000, format="WAV")
    return file.getvalue()
