"""A Ray cluster whose machines are all this one, and commands that work on it, which can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0  # seconds; machines may be slow
_POLL = 0.01
_BYE = 10.0  # seconds that Ray has to end its processes in
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


class Machines:
    """Two at first. Their workers are processes of this machine."""

    def __enter__(self) -> Machines:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("PYTHONPATH", str(ROOT))
        # Of a short name, since Ray makes sockets below it.
        self._folder = TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True)
        os.environ["RAY_TMPDIR"] = self._folder.name
        from ray.cluster_utils import Cluster

        self.cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={
                **_NODE,
                "include_dashboard": False,
                "_system_config": {
                    "health_check_initial_delay_ms": 1000,
                    "health_check_period_ms": 500,
                    "health_check_timeout_ms": 1000,
                    "health_check_failure_threshold": 3,
                },
            },
        )
        self.others = [self.add()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cluster.shutdown()
        self._folder.cleanup()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        return self.cluster.add_node(**_NODE)

    def pull_the_plug(self, node: Any) -> None:
        """A machine is gone, without a word."""
        self.cluster.remove_node(node, allow_graceful=False)

    def close_lid(self, node: Any) -> list[int]:
        """A machine sleeps: all of its processes stand still. Returns them; the first one is Ray's own."""
        raylet = node.all_processes["raylet"][0].process.pid
        processes = [raylet, *(pid for pid in _processes() if _parent(pid) == raylet)]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        return processes

    def behead(self) -> None:
        """The machine that all others know each other by is gone."""
        for kind in ("gcs_server", "raylet"):
            for one in self.cluster.head_node.all_processes[kind]:
                one.process.kill()

    def workers(self) -> list[int]:
        """The processes that transcribe, on all machines."""
        nodes = [self.cluster.head_node, *self.cluster.worker_nodes]
        raylets = {one.process.pid for node in nodes for one in node.all_processes.get("raylet", [])}
        return [
            pid for pid in _processes() if _parent(pid) in raylets and _title(pid).startswith("ray::OnNode")
        ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def ray_start(*arguments: str) -> Iterator[None]:
    """A machine that joins by Ray's own command: it stays until the end."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block", "--num-cpus=1"]
    command += [f"--object-store-memory={_NODE['object_store_memory']}", "--include-dashboard=false"]
    if "--head" not in arguments:
        command.pop()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_BYE)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def has_open(pid: int, file: Path) -> bool:
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(entry.path) == str(file):
                    return True
    return False


@contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """whisper-npu with these arguments, in a process group of its own as a terminal gives it one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "whisper_npu", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # A shell ignores Ctrl-C for its background jobs, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ran(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and stderr of a whole run, which prints nothing on stdout."""
    with running(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
        assert out == ""
        return process.returncode, err


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, "it never came"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"it ended too early: {process.communicate()}")
        time.sleep(_POLL)


def n_done(out: Path) -> int:
    with suppress(OSError):
        return sum(name.endswith(".json") for name in os.listdir(out / "done"))
    return 0


def archive_of(what: Path, out: Path, model: Path | str, *more: str | Path) -> Sequence[str | Path]:
    """The arguments of a run over recordings with a small model, which says little and says it once."""
    once = ("--temperature_increment_on_fallback", "None", "--max_new_tokens", "24", "--beam_size", "1")
    unsure = ("--logprob_threshold", "None", "--no_speech_threshold", "None")
    device = ("--model", model, "--device", "cpu", "--compute_type", "float32", *once, *unsure)
    return ("archive", what, "--out", out, *device, *more)
