"""Which Ray cluster a run works on, and what signals do while Ray waits."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_npu.apps.archive.cluster import ClusterError, as_raised, cluster, find_cluster
from whisper_npu.errors import MissingPackageError, UsageError


@pytest.fixture(autouse=True)
def _no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def started(folder: Path, address: str) -> None:
    """As `ray start` does."""
    (folder / "ray").mkdir()
    (folder / "ray" / "ray_current_cluster").write_text(address)


def found(asked: str | None = None) -> tuple[str, list[str]]:
    notes: list[str] = []
    return find_cluster(asked, notes.append), notes


def test_where_there_is_none_ray_is_started_here() -> None:
    assert found() == ("local", [])


def test_one_that_runs_on_this_machine_is_joined_unasked(tmp_path: Path, listening: str) -> None:
    started(tmp_path, listening)
    assert found() == (listening, [])
    assert found("auto") == (listening, [])
    assert found("local") == ("local", [])


def test_ray_has_its_files_where_the_system_has_temporary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: str
) -> None:
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    started(tmp_path, listening)
    assert found() == (listening, [])


@pytest.mark.parametrize("left", ["", "nonsense", "127.0.0.1:99999", "127.0.0.1:²"])
def test_what_a_dead_cluster_has_left_keeps_nobody_from_work(tmp_path: Path, left: str, silent: str) -> None:
    started(tmp_path, left or silent)
    address, (note,) = found()
    assert address == "local"
    assert f"a Ray cluster of this machine, {left or silent}, does not answer" in note
    assert note.endswith("Ray is started for this run alone")
    assert note.isprintable()


def test_one_that_was_asked_for_must_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent: str
) -> None:
    with pytest.raises(ClusterError, match=rf"no Ray cluster answers at {silent} .* or give --address local"):
        found(silent)
    with pytest.raises(ClusterError, match="no Ray cluster runs on this machine"):
        found("auto")
    monkeypatch.setenv("RAY_ADDRESS", silent)
    with pytest.raises(ClusterError, match="no Ray cluster answers"):
        found()
    assert found("local") == ("local", [])


def test_a_variable_names_one(monkeypatch: pytest.MonkeyPatch, listening: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", listening)
    assert found() == (listening, [])
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert found() == ("local", [])
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert found() == ("local", [])


@pytest.mark.parametrize(
    "address", ["", "nonsense", "ray://head:10001", "head:", ":6379", "head:0", "h:70000"]
)
def test_what_is_no_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^--address .*: give HOST:PORT, as ray start --head prints it"):
        found(address)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UsageError, match=r"^RAY_ADDRESS "):
            found()


def test_a_broken_ray_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    broken = cluster("local", "emulator", None)  # type: ignore[arg-type]
    with pytest.raises(MissingPackageError, match="ray is installed, but cannot be imported"):
        broken.__enter__()


class Asked(KeyboardInterrupt):
    """What a handler raises."""


def waits_as_ray_does(number: signal.Signals) -> None:
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_keeps_its_class_though_ray_makes_another_of_it(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(number: int, frame: object) -> None:
        raise Asked

    before = signal.signal(number, raises)
    try:
        with pytest.raises(Asked), as_raised():
            waits_as_ray_does(number)
        assert signal.getsignal(number) is raises
        with pytest.raises(KeyboardInterrupt) as plain, as_raised():
            raise KeyboardInterrupt
        assert plain.type is KeyboardInterrupt
    finally:
        signal.signal(number, before)
