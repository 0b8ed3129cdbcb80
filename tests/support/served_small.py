"""A server on a small model in a process of its own: prints its port, and ends with its stdin.

    python -m tests.support.served_small FOLDER [LEAKED]

FOLDER: for the model. LEAKED: bytes that every request leaves behind, for tests that look for leaks.
"""

from __future__ import annotations

import random
import sys
import threading
from contextlib import closing
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.apps.server.app import create_app
from whisper_npu.apps.server.listening import Server, bound
from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.host.memory import allocate_in_one_arena

WINDOW_SECONDS = 3
SAYS = Window([(0.0, " the", 1.5), (1.5, " an", WINDOW_SECONDS)])


class Leaking:
    """ASGI middleware that keeps something of every request."""

    def __init__(self, app: ASGIApp, leaked: int) -> None:
        self._app, self._leaked = app, leaked
        self._kept: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._kept.append(random.randbytes(self._leaked))  # zeros would take no memory
        await self._app(scope, receive, send)


def served(folder: Path, leaked: int) -> None:
    allocate_in_one_arena()
    with (
        small_model(folder, n_audio_ctx=WINDOW_SECONDS * 50) as model,
        closing(bound("127.0.0.1", 0)) as listening,
    ):
        decoder = ScriptedDecoder(model)

        def speak() -> None:
            decoder.windows, decoder.prompts = [SAYS], []

        decoder.on_window = speak
        model._whisper.model = decoder
        app: FastAPI = create_app(model, ServerSettings(port=0))
        if leaked:
            app.add_middleware(Leaking, leaked=leaked)
        server = Server(app, lambda: print(listening.getsockname()[1], flush=True))

        def end_with_stdin() -> None:
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=end_with_stdin, daemon=True).start()
        server.run(sockets=[listening])


if __name__ == "__main__":
    served(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
