"""Sets of stand-in kernels, and a web server that serves one, with whatever can go wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import stand_in_kernels
from whisper_npu.kernels.build import DesignSource
from whisper_npu.npu.artifacts import MANIFEST
from whisper_npu.npu.contract import Contract

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]  # of a server; gets the file that was asked for


def write_kernel(folder: Path, contract: Contract) -> Path:
    """A stand-in kernel whose manifest says that it was built from this program's sources."""
    place = stand_in_kernels.write_kernel(folder, contract, stand_in_kernels.xclbin(contract))
    change_manifest(place, **DesignSource.of(contract).promises())
    return place


def change_manifest(place: Path, **changes: Any) -> None:
    manifest = json.loads((place / MANIFEST).read_text("utf-8"))
    (place / MANIFEST).write_text(json.dumps({**manifest, **changes}), "utf-8")


def change(kernels: Path, name: str, content: bytes, *, resum: bool = True) -> None:
    """Another content of a file of a set; with resum, SHA256SUMS lists it as if it were meant."""
    before = sha256((kernels / name).read_bytes()).hexdigest()
    (kernels / name).write_bytes(content)
    if resum:
        sums = (kernels / "SHA256SUMS").read_text("utf-8")
        (kernels / "SHA256SUMS").write_text(sums.replace(before, sha256(content).hexdigest()), "utf-8")


@contextmanager
def served(folder: Path, faults: dict[str, Answer] | None = None) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of a folder, and the names that it was asked for, in order.

    faults: who answers in its place for which file.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            asked.append(name)
            path = folder / name
            content = path.read_bytes() if path.is_file() else b""
            if faults and name in faults:
                faults[name](self, content)
            elif path.is_file():
                send(self, content)
            else:
                self.send_error(404)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/kernels", asked
        finally:
            server.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, content: bytes, announced: int | None = None) -> None:
    """A file; announced: the bytes that the server promises."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if announced is None else announced))
    handler.end_headers()
    handler.wfile.write(content)


def redirect(to: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer
