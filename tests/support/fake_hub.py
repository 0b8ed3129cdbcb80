"""A Hugging Face hub of one repository, on this machine, that counts what is fetched from it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.support.hub_cache import COMMIT, LARGE


class FakeHub:
    """address: for HF_ENDPOINT. fetched: how often each file's content was sent from its start."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.fetched: Counter[str] = Counter()
        self.go_on = Event()  # cleared: the middle of a large file is not passed
        self.go_on.set()
        self.in_the_middle = Event()


@contextmanager
def fake_hub(repository: str, folder: Path) -> Iterator[FakeHub]:
    """Serve the files of a folder as a repository."""
    files = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}
    listed = {"id": repository, "modelId": repository, "sha": COMMIT}
    listed["siblings"] = [{"rfilename": name} for name in files]  # type: ignore[assignment]
    tree = [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for name, content in files.items()
    ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith(f"/api/models/{repository}"):
                what = tree if "/tree/" in path else listed
                self._send(json.dumps(what).encode(), {"Content-Type": "application/json"}, body=body)
            elif path == f"/{repository}/resolve/{COMMIT}/{name}" and name in files:
                content = files[name]
                digest = hashlib.sha256 if name.endswith(LARGE) else hashlib.sha1
                headers = {"ETag": f'"{digest(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
                start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
                if body and start == 0:
                    hub.fetched[name] += 1
                self._send(content[start:], headers, body=body, large=name.endswith(LARGE), start=start)
            else:
                self.send_error(404)

        def _send(
            self,
            content: bytes,
            headers: dict[str, str],
            *,
            body: bool,
            large: bool = False,
            start: int = 0,
        ) -> None:
            self.send_response(206 if start else 200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                middle = len(content) // 2
                self.wfile.write(content[:middle])
                self.wfile.flush()
                if large and not hub.go_on.is_set():
                    hub.in_the_middle.set()
                    hub.go_on.wait(60)
                self.wfile.write(content[middle:])

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the other side was killed
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
