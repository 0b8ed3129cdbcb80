"""A server on a small model in a process of its own: prints its port, and ends with its stdin.

    python -m tests.support.served_small FOLDER [LEAKED [KEY_FILE]]

FOLDER: for the model. LEAKED: bytes that every request leaves behind, for tests that look for leaks.
KEY_FILE: with an API key; then the server also logs as `whisper-npu serve` does, and takes 5 MB at most.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.apps.cli.serve_command import _log_to_stderr
from whisper_npu.apps.server.app import create_app
from whisper_npu.apps.server.serving import Server, bound
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


def served(folder: Path, leaked: int, settings: ServerSettings) -> None:
    allocate_in_one_arena()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # to end like `whisper-npu serve`, with status 0
    with (
        small_model(folder, n_audio_ctx=WINDOW_SECONDS * 50) as model,
        closing(bound("127.0.0.1", 0)) as listening,
    ):
        decoder = ScriptedDecoder(model)

        def speak() -> None:
            decoder.windows, decoder.prompts = [SAYS], []

        decoder.on_window = speak
        model._whisper.model = decoder
        app: FastAPI = create_app(model, settings)
        if leaked:
            app.add_middleware(Leaking, leaked=leaked)
        port = listening.getsockname()[1]

        def say_where() -> None:
            print(port, flush=True)
            print(f"listening on http://127.0.0.1:{port} ", file=sys.stderr, flush=True)

        server = Server(app, say_where)

        def end_with_stdin() -> None:
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=end_with_stdin, daemon=True).start()
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def locked(key_file: Path) -> ServerSettings:
    _log_to_stderr()
    return ServerSettings(port=0, api_key=key_file.read_text(encoding="utf-8"), max_upload_mb=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("leaked", type=int, nargs="?", default=0)
    parser.add_argument("key_file", type=Path, nargs="?")
    given = parser.parse_args()
    served(given.folder, given.leaked, locked(given.key_file) if given.key_file else ServerSettings(port=0))
