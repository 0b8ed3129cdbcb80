"""Memory, open files and threads of the server after 20 requests of all kinds, and after 200.

    python scripts/server_memory.py                          # tiny.en, the recordings of samples/
    python scripts/server_memory.py --model base --after 20 200 1000 --json memory.json

The server is a process of its own. It gets recordings as wav, flac, ogg, mp3 and m4a, some above 1 MB,
with one answer and as streams of events, some of which the client leaves early; garbage, half a body and
nothing; wrong fields, wrong addresses and wrong hosts. --in_flight of them are under way at a time. Whenever
it has had as many as --after says and is at rest again, its memory is read from /proc: what is resident
(VmRSS), and of that what is no file (RssAnon). So this needs Linux.

Everything is MEASURED on this machine.
"""

from __future__ import annotations

import argparse
import io
import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # the package may not be installed

from server_load import (  # noqa: E402
    OURS,
    SAMPLES,
    Served,
    add_server_options,
    client_of,
    positive,
    server_of,
)

STUDIO = "wav of 48 kHz"  # float32, stereo: above 1 MB, so that the upload goes to a temporary file
FORMATS = ("wav", "flac", "ogg", "mp3", "m4a", STUDIO)
TRANSCRIPTIONS = "/v1/audio/transcriptions"
ESTABLISHED, CLOSE_WAIT = "01", "08"  # states of a connection
REST_SECONDS = 60.0  # at most, until all work has ended


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    rss_mb: float
    anonymous_mb: float  # the part of it that lies in no file
    files: int  # open descriptors
    threads: int


@dataclass(frozen=True)
class Kind:
    """A kind of request. `send` raises AssertionError if the server answers it as it should not."""

    name: str
    send: Callable[[httpx.Client], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, action="append", help="repeatable; default: those of samples/")
    parser.add_argument("--after", type=positive, nargs="+", default=[20, 200], metavar="N")
    parser.add_argument("--in_flight", type=positive, default=4)
    parser.add_argument("--compute_type", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    add_server_options(parser)
    arguments = parser.parse_args()
    (model,) = arguments.model or ["tiny.en"]
    recordings = [encoded_as_all(path) for path in arguments.audio or sorted(SAMPLES.glob("*.wav"))]
    server = server_of(OURS, model, arguments.compute_type, arguments.in_flight, arguments)
    print(f"{'requests':>8}  {'RSS MB':>8}  {'anonymous MB':>12}  {'open files':>10}  {'threads':>7}")
    held = {}
    with server:
        for count, now in held_after(server, recordings, sorted(arguments.after), arguments.in_flight):
            held[count] = now
            numbers = f"{now.rss_mb:>8.1f}  {now.anonymous_mb:>12.1f}  {now.files:>10}  {now.threads:>7}"
            print(f"{count:>8}  {numbers}", flush=True)
    print(f"MEASURED, {model}, {arguments.in_flight} in flight")
    if arguments.json:
        document = {"model": model, "held": {count: asdict(now) for count, now in held.items()}}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def held_after(
    server: Served, recordings: Sequence[dict[str, bytes]], after: Sequence[int], in_flight: int
) -> Iterator[tuple[int, Held]]:
    """What the server holds at rest, each time when it has had so many requests. after: in order.

    recordings: each in all FORMATS.
    """
    kinds = cycle(all_kinds(server, recordings))
    sent = 0
    for count in after:
        with client_of(server) as client, ThreadPoolExecutor(in_flight) as pool:

            def send(kind: Kind, client: httpx.Client = client) -> None:
                try:
                    kind.send(client)
                except AssertionError as error:
                    raise SystemExit(f"{kind.name}: {error}") from error

            list(pool.map(send, islice(kinds, count - sent)))
        sent = count
        wait_for_rest(server)
        yield count, held_by(server.process.pid)


def held_by(pid: int) -> Held:
    """Raises OSError elsewhere than on Linux."""
    process = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text(encoding="utf-8").splitlines()
    )

    def megabytes(name: str) -> float:
        return int(status[name].split()[0]) * 1024 / 1e6

    files = len(list((process / "fd").iterdir()))
    return Held(megabytes("VmRSS"), megabytes("RssAnon"), files, int(status["Threads"]))


def wait_for_rest(server: Served) -> None:
    """Until nothing is worked on, and no connection is open. Raises SystemExit."""
    with client_of(server) as client:

        def is_working() -> bool:
            lines = client.get("/metrics").raise_for_status().text.splitlines()
            gauges = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            names = ("device_busy", "queue_length", "requests_in_flight")
            return sum(float(gauges[f"whisper_npu_{name}"]) for name in names) > 1  # this one is in flight

        wait_while(is_working, "works")
    wait_while(lambda: has_connections(server.port), "has a connection open")


def wait_while(condition: Callable[[], bool], words: str) -> None:
    until = monotonic() + REST_SECONDS
    while condition():
        if monotonic() > until:
            raise SystemExit(f"the server still {words} {REST_SECONDS:g} s after all answers")
        sleep(0.05)


def has_connections(port: int) -> bool:
    """Whether this machine has connections at the port of its own that its program has not closed.

    Source: the kernel's Documentation/networking/proc_net_tcp.rst and include/net/tcp_states.h.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] in (ESTABLISHED, CLOSE_WAIT) for row in rows)


# The requests.


def encoded_as_all(path: Path) -> dict[str, bytes]:
    """A recording in all FORMATS."""
    import soundfile

    from whisper_npu.audio import SAMPLE_RATE, load_audio

    samples = load_audio(path)
    encoded = {}
    for fmt in ("wav", "flac", "ogg", "mp3"):
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format=fmt.upper())
        encoded[fmt] = file.getvalue()
    file = io.BytesIO()
    both = samples.repeat(48_000 // SAMPLE_RATE)[:, None].repeat(2, axis=1)
    soundfile.write(file, both, 48_000, format="WAV", subtype="FLOAT")
    return encoded | {"m4a": as_m4a(samples, SAMPLE_RATE), STUDIO: file.getvalue()}


def as_m4a(samples: Any, rate: int) -> bytes:
    """samples: (n_samples,) float32. With FFmpeg's AAC, which only FFmpeg decodes."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for part in (frame, None):
            for packet in stream.encode(part):
                container.mux(packet)
    return file.getvalue()


def all_kinds(server: Served, recordings: Sequence[dict[str, bytes]]) -> list[Kind]:
    """Each kind of request once with every recording."""
    return [kind for encoded in recordings for kind in kinds_of(server, encoded)]


def kinds_of(server: Served, encoded: dict[str, bytes]) -> list[Kind]:
    wav = encoded["wav"]

    def answered(status: int, name: str, content: bytes, **fields: str) -> Callable[[httpx.Client], None]:
        def send(client: httpx.Client) -> None:
            check(client.post(TRANSCRIPTIONS, files={"file": (name, content)}, data=fields), status)

        return send

    def transcribed(fmt: str, **fields: str) -> Kind:
        return Kind(f"{fmt} {fields}", answered(200, f"talk.{fmt}", encoded[fmt], **fields))

    def streamed(client: httpx.Client) -> None:
        with streaming(client, wav) as response:
            events = list(response.iter_lines())
        assert '"transcript.text.done"' in events[-2], events

    def left(client: httpx.Client) -> None:
        """After the first event, with the work still to do."""
        with streaming(client, wav) as response:
            next(response.iter_lines())

    def impatient(client: httpx.Client) -> None:
        with suppress(httpx.ReadTimeout):
            client.post(TRANSCRIPTIONS, files={"file": ("talk.wav", wav)}, timeout=0.02)

    def half(client: httpx.Client) -> None:
        """A body that ends before its length."""
        head = (
            f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {2 * len(wav)}\r\n\r\n"
            '--x\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n\r\n'
        )
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(head.encode() + wav)

    def got(path: str, status: int, **headers: str) -> Kind:
        return Kind(f"GET {path}", lambda client: check(client.get(path, headers=headers), status))

    return [
        transcribed("wav"),
        transcribed("flac", response_format="srt"),
        Kind("streamed", streamed),
        Kind("left early", left),
        transcribed("ogg", response_format="verbose_json"),
        Kind("garbage", answered(400, "talk.wav", wav[200:2000])),
        transcribed("mp3", response_format="text", beam_size="1"),
        Kind("impatient", impatient),
        Kind("half a body", half),
        Kind("a wrong field", answered(400, "talk.wav", wav, bean_size="5")),
        transcribed("m4a", response_format="vtt"),
        transcribed(STUDIO),
        Kind("nothing", lambda client: check(client.post(TRANSCRIPTIONS), 415)),
        Kind(
            "whisper.cpp's",
            lambda client: check(
                client.post("/inference", files={"file": ("talk.flac", encoded["flac"])}), 200
            ),
        ),
        got("/v1/models", 200),
        got("/nowhere", 404),
        got("/health", 421, Host="elsewhere.example"),
    ]


def streaming(client: httpx.Client, wav: bytes) -> Any:
    return client.stream(
        "POST",
        TRANSCRIPTIONS,
        files={"file": ("talk.wav", wav)},
        data={"stream": "true", "response_format": "verbose_json"},
    )


def check(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, f"status {response.status_code}, not {status}: {response.text}"


if __name__ == "__main__":
    main()
