"""200 clients at once, most of them slow, rude or hostile: is each answered as it should be?

    python scripts/server_storm.py                             # tiny.en, 200 clients, 60 s
    python scripts/server_storm.py --clients 40 --seconds 5 --patient no --json storm.json

Starts `whisper-npu serve` with an API key, at most 5 MB for a request, and a folder of its own for temporary
files. The clients have 20 addresses (127.0.0.2 and up), and each sends one request after the other of a kind
drawn at random: good ones; slow ones; ones that go away in the head, in the body, while they wait, while
their recording is decoded and while they read the events; too large ones; broken forms; wrong keys, hosts,
origins, methods and addresses; two requests in one, half-closed connections, several requests at once; what
is no audio, and what is no HTTP. Then 20 requests wait, and the server is told to end.

Printed are, for each kind, how many requests there were and how they ended: statuses; "closed", the server
closed the connection without an answer; "left", the client did. Then p50 and p99 of the latency of accepted
requests, the most memory (VmRSS), open files, threads and temporary files. All are MEASURED on this machine,
on whose cores the clients run too.

The exit code is 1 if any request ended as its kind should not, an error had no OpenAI body, a transcript was
not that of its recording, anything was left behind, or the log has a traceback, the key, or a raw escape.
It needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # the package may not be installed

from server_load import SAMPLES, positive  # noqa: E402
from server_memory import Held, held_by  # noqa: E402

KEY = "the-storm-s-secret-key"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
MAX_UPLOAD_MB = 5
ADDRESSES = 20  # of the clients
LONGEST_WAIT = 120.0  # seconds for an answer: the queue is shorter
MORE_MEMORY_MB = 400.0  # that the storm may take at most, and
KEPT_MEMORY_MB = 60.0  # that may be left of it: what was loaded at the first request, and allocators keep
KEPT_FILES = 8  # that the first requests open for good
ESCAPE = "\x1b[31mEVIL\r\n2026-01-01 00:00:00 forged"
NOT_OURS = {".ses"}  # onnxruntime's, in the folder for temporary files
GONE = (ConnectionError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    content: bytes


class Wrong(Exception):
    """An answer that is not as it should be."""


class Connection:
    """A client's, spoken to by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def half_close(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        """Closes with a TCP reset instead of a farewell."""
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Of the next answer that is no interim one. Raises one of GONE."""
        while True:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            if status >= 200:
                pairs = (line.partition(":") for line in lines[1:] if line)
                return status, {name.lower(): value.strip() for name, _, value in pairs}

    async def pieces(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding") != "chunked":
            yield await self._reader.readexactly(int(headers.get("content-length", "0")))
            return
        while size := int(await self._reader.readline(), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)

    async def answer(self) -> Answer:
        """Raises one of GONE, and Wrong for an error without OpenAI's body."""
        status, headers = await self.head()
        content = b"".join([piece async for piece in self.pieces(headers)])
        if KEY.encode() in content:
            raise Wrong("the key is in an answer")
        if status >= 400:
            check_error(headers, content)
        if status == 429 and not headers.get("retry-after", "").isdigit():
            raise Wrong("429 without Retry-After")
        return Answer(status, headers, content)

    async def is_closed(self) -> bool:
        """Waits for the end, and says whether nothing came before it."""
        try:
            return await self._reader.read() == b""
        except ConnectionError:
            return True


def check_error(headers: dict[str, str], content: bytes) -> None:
    try:
        error = json.loads(content)["error"]
        good = set(error) == {"message", "type", "param", "code"} and "\n" not in error["message"]
    except (ValueError, TypeError, KeyError):
        good = False
    if not good or headers["content-type"] != "application/json":
        raise Wrong(f"an error without OpenAI's body: {content[:200]!r}")


# What a request consists of.


def head(
    path: str = TRANSCRIPTIONS,
    *more: str,
    method: str = "POST",
    host: str = "localhost",
    key: str | None = KEY,
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"Host: {host}"] if host else []
    lines += [f"Authorization: Bearer {key}"] if key is not None else []
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")


FORM = "Content-Type: multipart/form-data; boundary=x"
A_FILE = 'form-data; name="file"; filename="talk.wav"'
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
EVIL = "Origin: http://evil.example"
CHUNKED = "Transfer-Encoding: chunked"


def part(disposition: str, content: bytes, *more: str) -> bytes:
    lines = [f"Content-Disposition: {disposition}", *more, "", ""]
    return b"--x\r\n" + "\r\n".join(lines).encode("latin-1") + content + b"\r\n"


def form(content: bytes, end: bytes = b"--x--\r\n", **fields: str) -> bytes:
    texts = [part(f'form-data; name="{name}"', text.encode()) for name, text in fields.items()]
    return b"".join([*texts, part(A_FILE, content), end])


def posted(body: bytes, path: str = TRANSCRIPTIONS, *more: str) -> bytes:
    return head(path, FORM, f"Content-Length: {len(body)}", *more) + body


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


# What clients do. Each says how it ended: a status, "closed" or "left".

Outcome = int | str


@dataclass
class Client:
    """One that asks, and what it knows."""

    port: int
    address: str  # its own
    chance: random.Random
    recordings: Sequence[bytes]
    heard: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # texts of each recording
    latencies: list[float] = field(default_factory=list)  # seconds of accepted requests
    pause: float = 0.0  # seconds until it asks again

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(self.address, 0), limit=2**20
        )
        connection = Connection(reader, writer)
        try:
            yield connection
        finally:
            await connection.close()

    async def asked(self, data: bytes) -> Outcome:
        """Sends all of it, whatever comes back meanwhile, and reads one answer."""
        async with self.connected() as connection:
            with suppress(ConnectionError):
                await connection.send(data)
            try:
                return self.noted(await connection.answer()).status
            except GONE:
                return "closed"

    def noted(self, answer: Answer) -> Answer:
        self.pause = min(5.0, float(answer.headers.get("retry-after", 0)))
        return answer

    def recording(self) -> tuple[int, bytes]:
        number = self.chance.randrange(len(self.recordings))
        return number, self.recordings[number]

    async def transcribed(
        self, send: Callable[[Connection, bytes], Awaitable[None]], path: str = TRANSCRIPTIONS, **fields: str
    ) -> Outcome:
        """send: the request, by whatever way."""
        number, content = self.recording()
        start = monotonic()
        async with self.connected() as connection:
            await send(connection, posted(form(content, **fields), path))
            answer = self.noted(await connection.answer())
        if answer.status == 200:
            self.latencies.append(monotonic() - start)
            if path == TRANSCRIPTIONS and not fields:
                self.heard[number].add(json.loads(answer.content)["text"])
        return answer.status

    async def streamed(self, *, leaves_after: int | None = None, silent_for: float = 0.0) -> Outcome:
        """leaves_after: pieces of the answer that it reads; None: all."""
        async with self.connected() as connection:
            start = monotonic()
            _, content = self.recording()
            await connection.send(posted(form(content, stream="true", response_format="verbose_json")))
            await asyncio.sleep(silent_for)
            status, headers = await connection.head()
            said = b""
            count = 0
            async for piece in connection.pieces(headers):
                said += piece
                count += 1
                if count == leaves_after:
                    return "left"
            if status != 200:
                check_error(headers, said)
                return status
        last = json.loads(said.decode().strip().rpartition("data: ")[2])
        if "error" in last:
            return f"event {last['error']['code']}"
        if last["type"] != "transcript.text.done":
            raise Wrong(f"a stream without an end: {last}")
        self.latencies.append(monotonic() - start)
        return status

    async def left(self, data: bytes, after: float, *, reset: bool = False) -> Outcome:
        async with self.connected() as connection:
            with suppress(ConnectionError):
                await connection.send(data)
            await asyncio.sleep(after)
            if reset:
                connection.reset()
        return "left"


async def at_once(connection: Connection, data: bytes) -> None:
    await connection.send(data)


async def slowly(connection: Connection, data: bytes) -> None:
    """In 20 pieces, over 2 seconds."""
    size = max(1, len(data) // 20)
    for start in range(0, len(data), size):
        with suppress(ConnectionError):
            await connection.send(data[start : start + size])
        await asyncio.sleep(0.1)


async def then_half_closed(connection: Connection, data: bytes) -> None:
    await connection.send(data)
    connection.half_close()


async def after_continue(connection: Connection, data: bytes) -> None:
    at = data.index(b"\r\n\r\n")
    await connection.send(data[:at] + b"\r\nExpect: 100-continue" + data[at : at + 4])
    await asyncio.sleep(0.1)
    with suppress(ConnectionError):
        await connection.send(data[at + 4 :])


async def pipelined(client: Client) -> Outcome:
    async with client.connected() as connection:
        paths = ("/health", "/v1/models", "/nowhere", "/metrics")
        await connection.send(b"".join(head(path, method="GET") for path in paths))
        statuses = [(await connection.answer()).status for _ in paths]
    if statuses != [200, 200, 404, 200]:
        raise Wrong(f"pipelined requests were answered {statuses}")
    return 200


async def smuggled(client: Client, *framing: str) -> Outcome:
    """A second request in the body of the first, for a proxy that frames them by the other header."""
    second = head("/v1/models", method="GET")
    async with client.connected() as connection:
        await connection.send(head("/v1/models", *framing, method="POST") + b"0\r\n\r\n" + second)
        answer = await connection.answer()
        if not await connection.is_closed():
            raise Wrong("a smuggled request was answered")
    return answer.status


async def endless(client: Client) -> Outcome:
    """Chunks until the server says no."""
    async with client.connected() as connection:

        async def sending() -> None:
            with suppress(ConnectionError):
                await connection.send(head(TRANSCRIPTIONS, FORM, CHUNKED) + chunk(part(A_FILE, b"")))
                while True:
                    await connection.send(chunk(b"x" * 100_000))

        task = asyncio.create_task(sending())
        try:
            return client.noted(await connection.answer()).status
        except GONE:
            return "closed"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def waited_out(client: Client, data: bytes) -> Outcome:
    """Says so much, and waits."""
    async with client.connected() as connection:
        await connection.send(data)
        try:
            return (await connection.answer()).status
        except GONE:
            return "closed"


async def rested(client: Client) -> Outcome:
    """A connection that is kept open after an answer."""
    async with client.connected() as connection:
        await connection.send(head("/health", method="GET"))
        await connection.answer()
        return "closed" if await connection.is_closed() else "spoken to"


@dataclass(frozen=True)
class Kind:
    name: str
    do: Callable[[Client], Awaitable[Outcome]]
    may: tuple[Outcome, ...]  # how it may end
    weight: int = 1
    is_patient: bool = False  # the server is to give it up, after 30 s


def kinds(wav: bytes) -> list[Kind]:
    """wav: a recording."""
    good = form(wav)
    half = posted(good)[: -len(good) // 2]
    full = (429,)
    streams = (200, "event queue_full", *full)
    left = ("left",)

    def asks(name: str, data: bytes, *may: Outcome, weight: int = 1) -> Kind:
        return Kind(name, lambda client: client.asked(data), may, weight)

    def sends(name: str, body: bytes, *may: Outcome) -> Kind:
        return asks(name, posted(body), *may, *full)

    def leaves(name: str, data: bytes, longest: float, *, reset: bool = False) -> Kind:
        def go(client: Client) -> Awaitable[Outcome]:
            return client.left(data, client.chance.uniform(0, longest), reset=reset)

        return Kind(name, go, left)

    def transcribes(name: str, send: Callable[..., Any], path: str = TRANSCRIPTIONS, **fields: str) -> Kind:
        return Kind(name, lambda client: client.transcribed(send, path, **fields), (200, *full), 4)

    def text(disposition: str, content: bytes = b"x") -> bytes:
        return part(disposition, content) + good

    many = b"".join(part(f'form-data; name="f{n}"', b"x") for n in range(1000))
    claims = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0LIST\xf0\xff\xff\xff"
    flac = b"fLaC\x80\0\0\x22" + b"\x10\0\x10\0" + bytes(6) + b"\x03\xe8\x02\xff\xff\xff\xff\xff" + bytes(16)
    audio = (200, 400, 413)
    return [
        transcribes("good, JSON", at_once),
        transcribes("good, srt", at_once, response_format="srt"),
        transcribes("good, verbose", at_once, response_format="verbose_json"),
        transcribes("good, whisper.cpp's", at_once, "/inference"),
        transcribes("good, slow upload", slowly),
        transcribes("good, half-closed", then_half_closed),
        transcribes("good, waits for 100", after_continue),
        Kind("good, events", lambda client: client.streamed(), streams, 4),
        Kind("events, read late", lambda client: client.streamed(silent_for=2), streams),
        asks("GET /health", head("/health", method="GET", key=None), 200, weight=2),
        asks("GET /v1/models", head("/v1/models", method="GET"), 200),
        asks("GET /", head("/", method="GET", key=None), 200),
        Kind("pipelined", pipelined, (200,)),
        Kind("kept open", rested, ("closed",)),
        # Those that go away.
        leaves("leaves in the head", head()[:40], 0.2),
        leaves("leaves in the body", half, 0.5),
        leaves("leaves in the body, reset", half, 0.5, reset=True),
        leaves("leaves while it waits", posted(good), 0.3),
        leaves("leaves while decoded, reset", posted(good), 3.0, reset=True),
        Kind("leaves in the events", lambda client: client.streamed(leaves_after=2), (*left, *streams)),
        # Slow ones.
        Kind("nothing said", lambda client: waited_out(client, b""), ("closed",), is_patient=True),
        Kind("half a head", lambda client: waited_out(client, head()[:60]), ("closed",), is_patient=True),
        Kind("half a body", lambda client: waited_out(client, half), (408, *full), is_patient=True),
        # Too large.
        asks("too large, announced", head(TRANSCRIPTIONS, FORM, "Content-Length: 300000000"), 413),
        asks("too large, sent", posted(form(b"x" * (MAX_UPLOAD_MB * 1_000_000))), 413),
        Kind("without end", endless, (413, *full)),
        asks("length too short", head(TRANSCRIPTIONS, FORM, "Content-Length: 500") + good, 400, *full),
        asks("length below 0", head(TRANSCRIPTIONS, FORM, "Content-Length: -5"), 400),
        asks("two lengths", head(TRANSCRIPTIONS, FORM, "Content-Length: 5", "Content-Length: 6"), 400),
        asks("no length", head(TRANSCRIPTIONS, FORM), 411),
        asks("a bad chunk", head(TRANSCRIPTIONS, FORM, CHUNKED) + b"zz\r\n", 400, *full),
        # Broken forms.
        asks("no boundary", posted(good).replace(b"; boundary=x", b"", 1), 400, *full),
        asks("JSON", posted(b"{}").replace(b"multipart/form-data", b"application/json"), 415, *full),
        sends("a part's head of 4 MB", part(A_FILE, wav, f"X: {'x' * 4_000_000}"), 400),
        sends("1000 part's heads", part(A_FILE, wav, *(f"X-{n}: x" for n in range(1000))), 400),
        sends("1000 fields", many + good, 400),
        sends("a field of 1 MB", text('form-data; name="prompt"', b"x" * 1_000_000), 400),
        sends("a name with escapes", text(f'form-data; name="{ESCAPE[:8]}"'), 400),
        sends("no name", text("form-data"), 400),
        sends("a path as the file's name", good.replace(b"talk.wav", b"../../../etc/passwd\0"), 200, 400),
        sends("two files", part(A_FILE, wav) + good, 400),
        sends("cut off", good[: len(good) // 2], 400),
        sends("a wrong field", form(wav, beam_size="-1e999"), 400),
        # Wrong callers.
        asks("a wrong key", posted(good).replace(KEY.encode(), b"wrong"), 401),
        asks("no key", head("/metrics", method="GET", key=None), 401),
        asks("a key in the address", head(f"/v1/models?key={KEY}", method="GET", key=None), 401),
        asks("another host", head("/health", method="GET", host="evil.example"), 421),
        asks("no host", head("/health", method="GET", host=""), 400),
        asks("two hosts", head("/health", "Host: evil.example", method="GET"), 400),
        asks("another origin", head("/v1/models", "Origin: http://evil.example", method="GET"), 403),
        asks("another method", head(method="GET"), 405),
        asks("an unknown method", head("/health", method="BREW"), 405),
        asks("CONNECT", head("evil.example:443", method="CONNECT"), 404),
        asks("an unknown address", head("/../../etc/passwd", method="GET"), 404),
        asks("an address with escapes", head("/%1b%5b31mEVIL%0d%0aforged", method="GET"), 404),
        asks("a header with escapes", head("/health", f"X: {ESCAPE[:8]}", method="GET"), 200, 400),
        asks("half an upgrade", head("/v1/listen", *UPGRADE[:2], method="GET"), 400),
        asks("an upgrade of what is none", head("/health", *UPGRADE, method="GET"), 404),
        asks("an upgrade from another site", head("/v1/listen", *UPGRADE, EVIL, method="GET"), 403),
        # Two requests in one.
        Kind("length and chunks", lambda client: smuggled(client, CHUNKED, "Content-Length: 5"), (400,)),
        Kind("chunks, misspelt", lambda client: smuggled(client, "Transfer-Encoding : chunked"), (400,)),
        Kind("chunks, twice", lambda client: smuggled(client, CHUNKED, CHUNKED), (400,)),
        Kind("chunks, folded", lambda client: smuggled(client, "Transfer-Encoding:\r\n chunked, x"), (400,)),
        # No HTTP.
        asks("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n", 400),
        asks("garbage", bytes(range(256)) * 8, 400),
        asks("a head of 100 kB", head("/health", f"X: {'x' * 100_000}", method="GET"), 200, 400),
        # No audio.
        sends("no audio", form(bytes(range(256)) * 40), 400),
        sends("a playlist", form(b"#EXTM3U\nhttp://127.0.0.1:1/secret.wav\n"), 400),
        sends("a wav that claims 4 GB", form(claims), *audio),
        sends("a flac that claims 2^36 samples", form(flac), *audio),
        sends("an empty file", form(b""), 400),
    ]  # fmt: skip


@dataclass
class Result:
    """What became of one kind."""

    ended: Counter[Outcome] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def rage(
    port: int, recordings: Sequence[bytes], clients: int, seconds: float, *, patient: bool, seed: int
) -> tuple[dict[str, Result], list[Client]]:
    """All clients, so long. patient: also the kinds that the server is to give up."""
    results: dict[str, Result] = defaultdict(Result)
    drawn = [kind for kind in kinds(recordings[0]) if patient or not kind.is_patient]
    weights = [kind.weight for kind in drawn]
    until = monotonic() + seconds

    async def behave(client: Client, first: Kind) -> None:
        kind = first  # so that each kind is there, if there are enough clients
        while monotonic() < until:
            client.pause = 0.0
            await one(client, kind, results[kind.name])
            pause = client.pause + client.chance.uniform(0, 0.3)
            await asyncio.sleep(min(pause, max(0.0, until - monotonic())))
            (kind,) = client.chance.choices(drawn, weights)

    asking = [
        Client(port, f"127.0.0.{2 + n % ADDRESSES}", random.Random(seed + n), recordings)
        for n in range(clients)
    ]
    await asyncio.gather(*(behave(client, drawn[n % len(drawn)]) for n, client in enumerate(asking)))
    return results, asking


async def one(client: Client, kind: Kind, result: Result) -> None:
    try:
        outcome = await asyncio.wait_for(kind.do(client), LONGEST_WAIT)
    except asyncio.TimeoutError:
        outcome = "no answer"
    except GONE as error:
        outcome = f"closed ({type(error).__name__})"
    except Wrong as error:
        outcome = "wrong"
        result.wrong.append(str(error))
    result.ended[outcome] += 1
    if outcome not in kind.may and outcome != "wrong":
        result.wrong.append(f"ended with {outcome}")


# The server.


class Server:
    """A server in a process of its own. A context manager."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        """folder: an empty one, for its log, its key and its temporary files.

        command: {key} stands for the file with the key. Says `listening on http://127.0.0.1:PORT` on stderr.
        """
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_text(KEY, encoding="utf-8")
        self._log = folder / "log"
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self._log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [word.format(key=key) for word in command],
                stdin=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"TMPDIR": str(self.temporary), "PYTHONPATH": paths},
            )
        self.port = 0

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Server:
        until = monotonic() + LONGEST_WAIT
        while not (found := re.search(r"listening on http://127\.0\.0\.1:(\d+) ", self.log())):
            if self.process.poll() is not None or monotonic() > until:
                self.process.kill()
                raise SystemExit(f"the server did not start: {self.log()}")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
        self.port = int(found[1])
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


async def sampled(pid: int, into: list[float]) -> None:
    """Memory in MB, again and again."""
    while True:
        into.append(held_by(pid).rss_mb)
        await asyncio.sleep(0.1)


async def metrics(client: Client) -> dict[str, float]:
    async with client.connected() as connection:
        await connection.send(head("/metrics", method="GET"))
        lines = (await connection.answer()).content.decode().splitlines()
    return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[:1] != "#")}


async def at_rest(client: Client) -> bool:
    """Whether the server comes to rest: nothing in flight, and no connection kept."""
    for _ in range(300):
        told = await metrics(client)
        names = ("requests_in_flight", "queue_length", "device_busy")
        if sum(told[f"whisper_npu_{name}"] for name in names) == 1:  # this request
            return True
        await asyncio.sleep(0.1)
    return False


async def ended(server: Server, client: Client, waiting: int) -> Result:
    """SIGTERM while so many requests wait."""
    result = Result()
    body = posted(form(client.recordings[0]))
    asking = [
        asyncio.create_task(Client(**vars(client) | {"address": f"127.0.0.{2 + n}"}).asked(body))
        for n in range(waiting)
    ]
    await asyncio.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    for outcome in await asyncio.gather(*asking, return_exceptions=True):
        name = outcome if isinstance(outcome, (int, str)) else type(outcome).__name__
        result.ended[name] += 1
        if name not in (200, 429, 503):
            result.wrong.append(f"a request that waited at the end: {name}")
    try:
        code = await asyncio.to_thread(server.process.wait, 15)
    except subprocess.TimeoutExpired:
        code = None
    if code != 0:
        result.wrong.append(f"the server ended with {code}, not 0")
    return result


@dataclass(frozen=True)
class Report:
    results: dict[str, Result]
    seconds: float
    latencies: list[float]  # seconds, in order
    before: Held
    most_mb: float
    after: Held
    wrong: list[str]  # of the whole


async def storm(server: Server, recordings: Sequence[bytes], arguments: argparse.Namespace) -> Report:
    probe = Client(server.port, "127.0.0.1", random.Random(0), recordings)
    expected = [json.loads((await whole(probe, one)).content)["text"] for one in recordings]
    before = held_by(server.process.pid)
    memory: list[float] = []
    sampling = asyncio.create_task(sampled(server.process.pid, memory))
    start = monotonic()
    results, clients = await rage(
        server.port,
        recordings,
        arguments.clients,
        arguments.seconds,
        patient=arguments.patient == "yes",
        seed=arguments.seed,
    )
    seconds = monotonic() - start
    sampling.cancel()
    wrong = [] if await at_rest(probe) else ["work is left 30 s after the storm"]
    after = held_by(server.process.pid)
    if (await whole(probe, recordings[0])).status != 200:
        wrong.append("the next request was not answered")
    heard = {(number, text) for client in clients for number, texts in client.heard.items() for text in texts}
    wrong += [f"recording {number} gave {text!r}" for number, text in heard if text != expected[number]]
    results["waits when the server ends"] = await ended(server, probe, 20)
    wrong += left_behind(server, before, after, max(memory))
    latencies = sorted(latency for client in clients for latency in client.latencies)
    if not latencies:
        wrong.append("no request was accepted")
    return Report(dict(results), seconds, latencies, before, max(memory), after, wrong)


async def whole(client: Client, content: bytes) -> Answer:
    async with client.connected() as connection:
        await connection.send(posted(form(content)))
        return await connection.answer()


def left_behind(server: Server, before: Held, after: Held, most_mb: float) -> list[str]:
    wrong = []
    if most_mb > before.rss_mb + MORE_MEMORY_MB:
        wrong.append(f"{most_mb:.0f} MB of memory, {before.rss_mb:.0f} MB before")
    if after.rss_mb > before.rss_mb + KEPT_MEMORY_MB:
        wrong.append(f"{after.rss_mb:.0f} MB of memory are kept, {before.rss_mb:.0f} MB before")
    if after.files > before.files + KEPT_FILES:
        wrong.append(f"{after.files} files are open, {before.files} before")
    if files := [file for file in server.temporary.rglob("*") if file.name not in NOT_OURS]:
        wrong.append(f"temporary files: {files}")
    log = server.log()
    wrong += [
        f"the log has {name}"
        for name, found in (
            ("a traceback", "Traceback" in log),
            ("the key", KEY in log),
            ("a raw escape", "\x1b" in log or "\r" in log),
            ("a forged line", bool(re.search(r"^forged|forged$", log, re.MULTILINE))),
        )
        if found
    ]
    return wrong


def percentile(ordered: Sequence[float], percent: int) -> float:
    """What `percent` in a hundred do not exceed."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


# The program.


def main() -> None:
    arguments = parsed()
    recordings = [path.read_bytes() for path in arguments.audio or sorted(SAMPLES.glob("*.wav"))]
    command = [sys.executable, "-m", "whisper_npu", "serve", "--model", arguments.model, "--port", "0"]
    command += ["--api_key_file", "{key}", "--max_upload_mb", str(MAX_UPLOAD_MB), *arguments.options]
    with tempfile.TemporaryDirectory() as name, Server(Path(name), command) as server:
        report = asyncio.run(storm(server, recordings, arguments))
        log = server.log()
    say(report, arguments)
    if arguments.log:
        arguments.log.write_text(log, encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(report, arguments), indent=2) + "\n", encoding="utf-8")
    if any(result.wrong for result in report.results.values()) or report.wrong:
        raise SystemExit(1)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny.en", help="a name or folder; default: tiny.en")
    parser.add_argument("--audio", type=Path, action="append", help="repeatable; default: those of samples/")
    parser.add_argument("--clients", type=positive, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--patient", choices=("yes", "no"), default="yes", help="no: without clients that wait for 30 s"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where the server's log is kept")
    parser.add_argument("options", nargs="*", help="of whisper-npu serve, after --")
    return parser.parse_args()


def say(report: Report, arguments: argparse.Namespace) -> None:
    total = sum(result.ended.total() for result in report.results.values())
    print(f"{arguments.model}, {arguments.clients} clients, {report.seconds:.0f} s, {total} requests\n")
    for name, result in report.results.items():
        how = ", ".join(f"{outcome} x{count}" for outcome, count in sorted(result.ended.items(), key=str))
        print(f"{name:32} {result.ended.total():>6}  {how}")
        for why, count in Counter(result.wrong).items():
            print(f"    WRONG x{count}: {why}")
    print()
    if report.latencies:
        p50, p99 = (percentile(report.latencies, percent) for percent in (50, 99))
        print(f"accepted: {len(report.latencies)} transcripts, p50 {p50:.2f} s, p99 {p99:.2f} s")
    before, after = report.before, report.after
    print(f"memory: {before.rss_mb:.0f} MB before, {report.most_mb:.0f} at most, {after.rss_mb:.0f} after")
    print(f"open files: {before.files} before, {after.files} after")
    print(f"threads: {before.threads} before, {after.threads} after")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}; all MEASURED")
    for why in report.wrong:
        print(f"WRONG: {why}")


def as_json(report: Report, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": arguments.model,
        "clients": arguments.clients,
        "seconds": report.seconds,
        "latencies": report.latencies,
        "kinds": {
            name: {"ended": {str(how): count for how, count in result.ended.items()}, "wrong": result.wrong}
            for name, result in report.results.items()
        },
        "before": asdict(report.before),
        "most_mb": report.most_mb,
        "after": asdict(report.after),
        "wrong": report.wrong,
    }


if __name__ == "__main__":
    main()
