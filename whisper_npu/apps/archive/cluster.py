"""The Ray cluster that an archive is transcribed on: one that is there, or one for this run alone."""

from __future__ import annotations

import io
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from whisper_npu.apps.archive.news import News
from whisper_npu.apps.archive.places import NPU
from whisper_npu.errors import MissingPackageError, UsageError, WhisperNpuError, one_line, quoted, shown
from whisper_npu.extras import require_package
from whisper_npu.owned import temporary_folder

LOCAL = "local"  # instead of an address: Ray is started on this machine, for this run
_HERE = "127.0.0.1"
_ANSWER = 10.0  # seconds that a cluster has to answer in
_OBJECT_STORE = 80 * 2**20  # bytes; Ray's least is 75 MB, and tasks and outcomes are small
_LONGEST_FOLDER = 40  # characters: Ray puts sockets below it, whose names may have 107
# Ray tries for a quarter of an hour otherwise, and Ctrl-C would wait for that too.
_IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "2", "RAY_py_gcs_connect_timeout_s": "5"}


class ClusterError(WhisperNpuError):
    """Ray cannot be started, a cluster does not answer, or none of its machines can work."""


def require_ray() -> None:
    """Raises MissingPackageError where the extra is not installed."""
    for package in ("ray", "fsspec"):
        require_package(package, "ray", "whisper-npu archive")


def find_cluster(asked: str | None, note: Callable[[str], None]) -> str:
    """The address of the cluster to work on, HOST:PORT, which answers; or LOCAL.

    asked: an address, LOCAL, or "auto" for a cluster of this machine. None: as $RAY_ADDRESS says; where that
    is not set, a cluster of this machine if one answers. note: gets a line where one does not.

    Raises UsageError for what is no address, ClusterError where a cluster that was asked for does not answer.
    """
    name = "--address" if asked is not None else "RAY_ADDRESS"
    wanted = asked if asked is not None else os.environ.get("RAY_ADDRESS") or None
    if wanted is None:
        return _found_unasked(note)
    if wanted == LOCAL:
        return LOCAL
    address = _running_here() if wanted == "auto" else wanted
    if address is None:
        raise ClusterError("no Ray cluster runs on this machine: ray start --head, or give --address local")
    if (parsed := _parsed(address)) is None:
        raise UsageError(f"{name} {quoted(address)}: give HOST:PORT, as ray start --head prints it, or local")
    if (problem := unreachable(*parsed)) is not None:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({problem}): start one (ray start --head "
            f"--port={parsed[1]}), or give --address local"
        )
    return address


def _found_unasked(note: Callable[[str], None]) -> str:
    """What a machine has left that was switched off must not keep anybody from work."""
    if (address := _running_here()) is None:
        return LOCAL
    parsed = _parsed(address)
    problem = "which is no address" if parsed is None else unreachable(*parsed)
    if problem is None:
        return address
    note(
        f"a Ray cluster of this machine, {shown(address[:80])}, does not answer ({problem}); Ray is started "
        "for this run alone"
    )
    return LOCAL


def _running_here() -> str | None:
    """The address that `ray start` leaves on this machine, until `ray stop`.

    Source: ray 2.60, ray/_common/utils.py, get_default_system_temp_dir and get_ray_address_file.
    """
    folder = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _parsed(address: str) -> tuple[str, int] | None:
    host, colon, port = address.rpartition(":")
    is_port = port.isdecimal() and port.isascii() and 0 < int(port) < 2**16
    return (host, int(port)) if host and colon and is_port and "/" not in host else None


def unreachable(host: str, port: int) -> str | None:
    """Why; None where somebody listens there."""
    try:
        socket.create_connection((host.strip("[]"), port), timeout=_ANSWER).close()
    except (OSError, UnicodeError) as error:
        return one_line(error)
    return None


@contextmanager
def cluster(address: str, device: str, news: News) -> Iterator[ModuleType]:
    """Ray, connected to a cluster, or started on this machine until the end. It prints nothing.

    Raises ClusterError; MissingPackageError where Ray is there but broken.
    """
    with ExitStack() as stack:
        stack.enter_context(_variables(_quiet() | (_token() if address == LOCAL else _IMPATIENT)))
        try:
            import ray
            import ray.util.scheduling_strategies
        except Exception as error:
            raise MissingPackageError(
                f"ray is installed, but cannot be imported ({one_line(error)}): install it anew, "
                "pip install --force-reinstall ray"
            ) from error
        options: dict[str, Any] = {
            "address": address,
            "log_to_driver": False,
            "logging_level": logging.CRITICAL,
        }
        if address == LOCAL:
            news.say("starting Ray")
            # Ray opens its own folder to all users; the one around it is this user's alone.
            folder = stack.enter_context(temporary_folder()) / "ray"
            options |= {
                "_node_ip_address": _HERE,
                "_temp_dir": str(folder) if len(str(folder)) <= _LONGEST_FOLDER else None,
                "include_dashboard": False,
                "num_cpus": len(os.sched_getaffinity(0)),
                "num_gpus": 0,
                "object_store_memory": _OBJECT_STORE,
                # The first worker opens what --device names, and says what that is.
                "resources": {} if device == "emulator" else {NPU: 1},
            }
        else:
            news.say(f"joining the Ray cluster {address}")
        # Ray tells of dead workers on stdout, whatever its log's level; here they are told by `news`.
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.callback(ray.shutdown)
        try:
            with _nothing_on_stderr(), _handler_kept():
                ray.init(**options)
        except Exception as error:
            raise ClusterError(_refusal(error, address)) from error
        yield ray


def _quiet() -> dict[str, str]:
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or it warns that this will change
    }


def _token() -> dict[str, str]:
    """Ray obeys whoever knows it. Without one of this run's own it would write one into the home folder."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while; those that are set already stay as they are."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    """Ray's C++ part writes there before it has a log."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _handler_kept() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM in the place of this program's."""
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if _is_main():
            signal.signal(signal.SIGTERM, kept)


@contextmanager
def as_raised() -> Iterator[None]:
    """Ray, while it waits, makes a plain KeyboardInterrupt of what a signal's handler raises. Undo that."""
    raised: list[KeyboardInterrupt] = []
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            before[number](number, frame)
        except KeyboardInterrupt as interrupt:
            raised.append(interrupt)
            raise

    for number in map(int, (signal.SIGTERM, signal.SIGHUP)):
        handler = signal.getsignal(number)
        if callable(handler) and _is_main():
            before[number] = handler
            signal.signal(number, handle)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise (raised[0] if raised else interrupt) from None
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) == handle:  # it may have been put back to what the system does
                signal.signal(number, handler)


def _is_main() -> bool:
    """Whether this thread may have handlers of signals."""
    return threading.current_thread() is threading.main_thread()


def _refusal(error: Exception, address: str) -> str:
    reason = one_line(error)
    if address == LOCAL:
        return f"Ray cannot be started on this machine: {reason}"
    if "ersion mismatch" in reason:
        return f"the Ray cluster {address} has another version of Ray or Python than this program: {reason}"
    return (
        f"the Ray cluster {address} cannot be joined: {reason}; start its part of this machine (ray start "
        f"--address={address}), set RAY_AUTH_MODE as there, or give --address local"
    )
