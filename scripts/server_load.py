"""Compares our server with the same server over plain faster-whisper, with 1, 2 and 8 requests in flight.

    python scripts/server_load.py                       # tiny.en, samples/, float32 and int8
    python scripts/server_load.py --model base --compute_type int8 --in_flight 1 8 --json load.json

Both sides are processes of their own that serve `create_app` as `whisper-npu serve` does: same API, queue,
gate and settings, same options, compute type, threads and weights. On one side the model is ours. On the
other it is faster-whisper's own WhisperModel, which makes the log-mel and has CTranslate2 encode and decode.
Both are loaded and warmed up before anything is measured, then they take turns. In a turn one of them gets
--requests requests, so many at a time, each a whole POST /v1/audio/transcriptions; the other waits, and uses
next to no CPU time. The client runs on the same cores.

Everything is MEASURED on this machine, without an NPU unless --device says so. Quote the ratios, which are
medians over pairs of turns: seconds vary with what else the machine does.

Any answer but a transcript ends it. The exit code is 1 if a recording's text is not the same each time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from statistics import median
from time import CLOCK_PROCESS_CPUTIME_ID, clock_gettime, perf_counter, sleep
from typing import TYPE_CHECKING, Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

if TYPE_CHECKING:
    from whisper_npu.transcription.model import Model

SAMPLES = ROOT / "samples"
OURS = "whisper-npu"
PEER = "faster-whisper"
SIDES = (OURS, PEER)
COMPUTE_TYPES = ("float32", "int8")
TIMEOUT_SECONDS = 600.0  # of the client, for one byte
PAUSE_SECONDS = 0.3  # after each turn, so that none of its threads spins any more


@dataclass(frozen=True)
class Recording:
    name: str
    content: bytes
    seconds: float


@dataclass(frozen=True)
class Turn:
    """All requests of one turn. Seconds are MEASURED."""

    seconds: float  # from the first request to the last answer
    cpu_seconds: float  # of the server's process, all threads
    latencies: tuple[float, ...]  # of each request, from its first byte to its answer's last
    audio_seconds: float  # of all recordings

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds


@dataclass
class Side:
    name: str
    server: Served
    ran_on: str = ""  # as the server says
    turns: dict[int, list[Turn]] = field(default_factory=dict)  # by requests in flight
    texts: dict[str, set[str]] = field(default_factory=dict)  # of each recording


def main() -> None:
    arguments = parsed()
    if arguments.side:
        serve(arguments)
        return
    recordings = [recording_of(path) for path in arguments.audio or sorted(SAMPLES.glob("*.wav"))]
    runs = [
        compared(model, compute_type, recordings, arguments)
        for model in arguments.model
        for compute_type in arguments.compute_type
    ]
    if arguments.json:
        from whisper_npu.benchmark.timings import machine

        settings = {
            key: getattr(arguments, key)
            for key in ("device", "kernel", "beam_size", "threads", "requests", "repeats")
        }
        document = {"machine": machine(), "settings": settings, "runs": runs}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if any(run["texts_that_changed"] for run in runs):
        raise SystemExit(1)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, action="append", help="repeatable; default: those of samples/")
    parser.add_argument("--in_flight", type=positive, nargs="+", default=[1, 2, 8], metavar="N")
    parser.add_argument("--requests", type=positive, default=20, help="of each turn; default: 20")
    parser.add_argument("--repeats", type=positive, default=5, help="turns of each kind; default: 5")
    parser.add_argument("--compute_type", action="append", help="repeatable; default: float32 and int8")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    add_server_options(parser)
    arguments = parser.parse_args()
    arguments.model = arguments.model or ["tiny.en"]
    arguments.compute_type = arguments.compute_type or list(COMPUTE_TYPES)
    return arguments


def add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", action="append", help="repeatable; default: tiny.en")
    parser.add_argument("--beam_size", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="emulator")
    parser.add_argument("--kernel", default="auto")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # for the processes that are started


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return number


# A server's process.


def serve(arguments: argparse.Namespace) -> None:
    """Serve until stdin ends; stdout's one line is the port. What libraries print goes to stderr."""
    from whisper_npu.apps.server.app import create_app
    from whisper_npu.apps.server.serving import Server, bound
    from whisper_npu.apps.server.settings import ServerSettings
    from whisper_npu.host.memory import allocate_in_one_arena

    allocate_in_one_arena()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    opened = open_ours if arguments.side == OURS else open_faster_whisper
    with opened(arguments) as model, bound("127.0.0.1", 0) as listening:
        # One client may have half of the places, and all requests come from one.
        settings = ServerSettings(port=0, max_queue=2 * arguments.in_flight[0])
        port = listening.getsockname()[1]
        server = Server(create_app(model, settings), lambda: print(port, file=stdout, flush=True))

        def end_with_stdin() -> None:
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=end_with_stdin, daemon=True).start()
        server.run(sockets=[listening])


def open_ours(arguments: argparse.Namespace) -> Model:
    from whisper_npu import load_model

    return load_model(
        arguments.model[0],
        device=arguments.device,
        kernel=arguments.kernel,
        compute_type=arguments.compute_type[0],
        threads=arguments.threads,
    )


def open_faster_whisper(arguments: argparse.Namespace) -> Model:
    """faster-whisper as it is, in the place of our model."""
    from faster_whisper import WhisperModel

    from whisper_npu.checkpoint import load_checkpoint
    from whisper_npu.host.threads import Threads
    from whisper_npu.npu.emulator.device import Emulator
    from whisper_npu.transcription.loop import run_loop
    from whisper_npu.transcription.model import Model
    from whisper_npu.transcription.took import RunOn

    class NoDevice(Emulator):
        """Runs nothing; the server asks what it is."""

        name = PEER
        description = "plain faster-whisper: CTranslate2's encoder and decoder on this CPU"

    class Plain(Model):
        """Decodes by faster-whisper's own WhisperModel; how it is asked and what it answers are Model's."""

        def __init__(self) -> None:
            self.checkpoint = load_checkpoint(arguments.model[0])
            self.device = NoDevice(threads=Threads(arguments.threads))
            self._one_at_a_time = threading.Lock()
            self._at_work = None
            self._fallback = None
            self._whisper = WhisperModel(
                str(self.checkpoint.decoder_folder),  # all of it, the encoder too
                device="cpu",
                compute_type=arguments.compute_type[0],
                cpu_threads=arguments.threads,
            )

        @property
        def ran_on(self) -> RunOn:
            return RunOn.of(self.device, self.checkpoint.name, "none")

        def _decode(self, opened: Any, options: Any, decoded: Any, after: Any) -> Generator[Any, None, None]:
            with self._alone(), opened() as sound:
                decoded.hears(sound, after)
                found, info = run_loop(self._whisper, sound.samples(0, sound.n_samples), options)
                decoded.language = info.language
                decoded.language_probability = float(info.language_probability)
                yield None
                for segment in found:
                    decoded.go_on()
                    decoded.add(segment)
                    yield decoded.segments[-1]
                decoded.finish(sound)

    return Plain()


class Served:
    """A server in a process of its own. A context manager."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """command: of a process that prints its port and ends with its stdin."""
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
        )
        assert self.process.stdout
        port = self.process.stdout.readline()
        if not port:
            self.process.communicate()
            raise SystemExit(f"{name} ended with status {self.process.returncode}")
        self.port = int(port)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def cpu_seconds(self) -> float:
        # How Linux numbers the clock of another process (clock_getcpuclockid).
        return clock_gettime(~self.process.pid << 3 | CLOCK_PROCESS_CPUTIME_ID)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def server_of(
    side: str, model: str, compute_type: str, in_flight: int, arguments: argparse.Namespace
) -> Served:
    """in_flight: how many requests it must be able to hold."""
    threads = str(arguments.threads)
    options = {
        "side": side,
        "model": model,
        "compute_type": compute_type,
        "threads": threads,
        "device": arguments.device,
        "kernel": arguments.kernel,
        "in_flight": str(in_flight),
    }
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    # Threads that spin while they wait would slow the other side; the same for both.
    environment = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    environment |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    return Served(side, command, environment)


# The client.


def recording_of(path: Path) -> Recording:
    from whisper_npu.audio import SAMPLE_RATE, load_audio

    return Recording(path.name, path.read_bytes(), len(load_audio(path)) / SAMPLE_RATE)


def compared(
    model: str, compute_type: str, recordings: Sequence[Recording], arguments: argparse.Namespace
) -> dict[str, Any]:
    from whisper_npu.benchmark.timings import machine_line
    from whisper_npu.markdown import as_table

    most = max(arguments.in_flight)
    with ExitStack() as stack:
        sides = [
            Side(name, stack.enter_context(server_of(name, model, compute_type, most, arguments)))
            for name in SIDES
        ]
        for side in sides:
            side.ran_on = asked_what_runs(side.server)
        take_turns(sides, recordings, arguments)
    seconds = sum(one.seconds for one in recordings)
    print(
        f"\n{model} {compute_type}, {len(recordings)} recordings ({seconds:.1f} s), "
        f"kernel {arguments.kernel}, beam {arguments.beam_size}, {arguments.threads} threads; "
        f"{arguments.repeats} turns of {arguments.requests} requests each; MEASURED on {machine_line()}\n"
    )
    for side in sides:
        print(f"{side.name}: {side.ran_on}")
    print()
    print(as_table([cells(n, sides, side) for n in arguments.in_flight for side in sides], left=("side",)))
    equal = sum(sides[0].texts[one.name] == sides[1].texts[one.name] for one in recordings)
    print(f"texts equal between the sides: {equal} of {len(recordings)}")
    changed = [f"{side.name}: {name}" for side in sides for name, said in side.texts.items() if len(said) > 1]
    print(f"texts that changed from one time to the next: {', '.join(changed) or 'none'}", flush=True)
    return {
        "model": model,
        "compute_type": compute_type,
        "ran_on": {side.name: side.ran_on for side in sides},
        "recordings": {one.name: one.seconds for one in recordings},
        "sides": {
            side.name: {str(n): [asdict(turn) for turn in turns] for n, turns in side.turns.items()}
            for side in sides
        },
        "ours_over_theirs": {str(n): ratios(n, sides) for n in arguments.in_flight},
        "texts_equal": equal,
        "texts_that_changed": changed,
    }


def take_turns(sides: Sequence[Side], recordings: Sequence[Recording], arguments: argparse.Namespace) -> None:
    """The first turn of each kind warms up, and is dropped."""
    for repeat in range(arguments.repeats + 1):
        for in_flight in arguments.in_flight:
            for side in sides if repeat % 2 else sides[::-1]:
                done = take_turn(side, in_flight, recordings, arguments)
                side.turns.setdefault(in_flight, [])
                if repeat:
                    side.turns[in_flight].append(done)
                sleep(PAUSE_SECONDS)


def take_turn(
    side: Side, in_flight: int, recordings: Sequence[Recording], arguments: argparse.Namespace
) -> Turn:
    """Send all requests, so many at a time, and wait for the last answer."""
    sent = [recordings[n % len(recordings)] for n in range(arguments.requests)]

    def send(recording: Recording) -> float:
        start = perf_counter()
        text = transcribed(client, recording, arguments.beam_size)
        seconds = perf_counter() - start
        side.texts.setdefault(recording.name, set()).add(text)
        return seconds

    with client_of(side.server) as client, ThreadPoolExecutor(in_flight) as pool:
        start, cpu = perf_counter(), side.server.cpu_seconds
        latencies = tuple(pool.map(send, sent))
        seconds, cpu_seconds = perf_counter() - start, side.server.cpu_seconds - cpu
    return Turn(seconds, cpu_seconds, latencies, sum(one.seconds for one in sent))


def asked_what_runs(server: Served) -> str:
    with client_of(server) as client:
        return str(client.get("/health").raise_for_status().json()["device_description"])


def client_of(server: Served) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=TIMEOUT_SECONDS)


def transcribed(client: httpx.Client, recording: Recording, beam_size: int) -> str:
    """Raises SystemExit for any status but 200, and for none."""
    try:
        response = client.post(
            "/v1/audio/transcriptions",
            files={"file": (recording.name, recording.content)},
            data={"language": "en", "beam_size": str(beam_size)},
        )
    except httpx.HTTPError as error:
        raise SystemExit(f"{recording.name}: {type(error).__name__}: {error}") from error
    if response.status_code != 200:
        raise SystemExit(f"{recording.name}: status {response.status_code}: {response.text}")
    return str(response.json()["text"])


# What it says.


def cells(in_flight: int, sides: Sequence[Side], side: Side) -> dict[str, str]:
    turns = side.turns[in_flight]
    latencies = [seconds for turn in turns for seconds in turn.latencies]
    theirs = ratios(in_flight, sides) if side.name == OURS else {}
    over = {key: f"{value:.2f}" for key, value in theirs.items()}
    return {
        "in flight": str(in_flight),
        "side": side.name,
        "requests/s": f"{median(turn.rate for turn in turns):.2f}",
        "audio s/s": f"{median(turn.audio_seconds / turn.seconds for turn in turns):.1f}",
        "latency s": f"{median(latencies):.3f}",
        "95 %": f"{percentile_95(latencies):.3f}",
        "CPU s": f"{median(turn.cpu_seconds / len(turn.latencies) for turn in turns):.3f}",
        "ours/its requests/s": over.get("rate", ""),
        "latency": over.get("latency", ""),
        "latency 95 %": over.get("latency_95", ""),
        "CPU": over.get("cpu", ""),
    }


def ratios(in_flight: int, sides: Sequence[Side]) -> dict[str, float]:
    """Ours divided by theirs, as medians over pairs of the same turn."""
    ours, theirs = (side.turns[in_flight] for side in sides)
    pairs = list(zip(ours, theirs, strict=True))
    measures: dict[str, Callable[[Turn], float]] = {
        "rate": lambda turn: turn.rate,
        "latency": lambda turn: median(turn.latencies),
        "latency_95": lambda turn: percentile_95(turn.latencies),
        "cpu": lambda turn: turn.cpu_seconds,
    }
    return {key: median(of(a) / of(b) for a, b in pairs) for key, of in measures.items()}


def percentile_95(values: Sequence[float]) -> float:
    """The smallest value that at most one in twenty exceeds."""
    return sorted(values)[ceil(0.95 * len(values)) - 1]


if __name__ == "__main__":
    main()
