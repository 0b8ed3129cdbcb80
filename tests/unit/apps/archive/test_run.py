"""A run from its recordings to results.jsonl, with workers in this process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

import whisper_npu
from tests.unit.apps.archive.fake_ray import FakeRay, RayActorError, Ref
from whisper_npu.apps.archive import crew, on_node, run
from whisper_npu.apps.archive.asked import AskedArchive, Wanted
from whisper_npu.apps.archive.cluster import ClusterError
from whisper_npu.apps.archive.ledger import Ledger
from whisper_npu.apps.archive.run import run_archive
from whisper_npu.apps.archive.storage import Storage
from whisper_npu.apps.archive.summary import Summary
from whisper_npu.apps.archive.tasks import Done, Failed, Outcome, Task
from whisper_npu.errors import CheckpointError, DeviceError, OutputError, UsageError


class StandIn:
    """A worker that stores a text at once, unless a test has something else in mind."""

    on_start: ClassVar[Any] = staticmethod(lambda asked: None)
    on_task: ClassVar[Any] = staticmethod(lambda task: None)
    tried: ClassVar[Counter[str]] = Counter()

    def __init__(self, asked: AskedArchive) -> None:
        self.on_start(asked)
        self.ledger = Ledger(Storage(asked.out))

    def do(self, task: Task) -> Outcome:
        self.tried[task.source.name] += 1
        if (outcome := self.on_task(task)) is not None:
            return outcome  # type: ignore[no-any-return]
        source = task.source
        files = {f"{source.stem}.txt": f"{source.name}\n"}
        line = {"name": source.name, "identity": source.identity, "text": source.name}
        return Done(source, 60.0, self.ledger.store(source, files, line))

    def close(self) -> None:
        pass


class Heard:
    """News, for a test to look at."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failures: list[Failed] = []

    def found(self, n_todo: int, n_before: int) -> None: ...
    def say(self, step: str) -> None: ...
    def crew(self, ran_on: Mapping[str, int], n_asked: int) -> None: ...
    def part(self, audio_seconds: float) -> None: ...
    def done(self, done: Done) -> None: ...

    def note(self, line: str) -> None:
        self.notes.append(line)

    def failed(self, failed: Failed) -> None:
        self.failures.append(failed)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay({"desk": 4, "lap": 4})

    @contextmanager
    def cluster(*_: object) -> Iterator[FakeRay]:
        yield fake

    monkeypatch.setattr(crew, "cluster", cluster)
    monkeypatch.setattr(crew, "_LOOK", 0.001)
    monkeypatch.setattr(run, "find_cluster", lambda asked, note: asked or "127.0.0.1:1")
    monkeypatch.setattr(crew, "unreachable", lambda host, port: None)
    monkeypatch.setattr(run, "require_ray", lambda: None)
    monkeypatch.setattr(on_node, "Worker", StandIn)
    monkeypatch.setattr(on_node, "runs_on", lambda worker: "the CPU")
    for name in ("on_start", "on_task"):
        monkeypatch.setattr(StandIn, name, staticmethod(lambda _: None))
    monkeypatch.setattr(StandIn, "tried", Counter())
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(6):
        (tmp_path / "in" / f"r{number}.wav").write_bytes(bytes(number + 1))
    return tmp_path


def go(folder: Path, news: Heard | None = None, **wanted: Any) -> Summary:
    asked = AskedArchive(out=str(folder / "out"), formats=("txt",), model="tiny.en", device="emulator")
    return run_archive(str(folder / "in"), asked, Wanted(**wanted), news or Heard())


def names(folder: Path) -> list[str]:
    lines = (folder / "out" / "results.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["name"] for line in lines]


ALL = [f"r{number}.wav" for number in range(6)]


@pytest.mark.parametrize("manifest", ["r0.txt", "r0.srt/../r0.txt", "results.jsonl", "link.txt"])
def test_a_manifest_is_never_overwritten(ray: FakeRay, folder: Path, manifest: str) -> None:
    (folder / "in" / "r0.txt").write_text("r0.wav\n")
    (folder / "in" / "r0.srt").mkdir()
    (folder / "in" / "link.txt").symlink_to("r0.txt")
    (folder / "in" / "results.jsonl").write_text('{"path": "r0.wav"}\n')
    asked = AskedArchive(out=str(folder / "in"), formats=("txt",), model="tiny.en", device="emulator")
    with pytest.raises(UsageError, match="is read for this archive and could be overwritten"):
        run_archive(str(folder / "in" / manifest), asked, Wanted(), Heard())
    assert (folder / "in" / "r0.txt").read_text() == "r0.wav\n"
    assert not list((folder / "in").glob("done/*"))


def test_a_manifest_beside_its_results_is_fine_where_no_transcript_has_its_name(
    ray: FakeRay, folder: Path
) -> None:
    (folder / "in" / "talks.txt").write_text("r0.wav\nr1.wav\n")
    asked = AskedArchive(out=str(folder / "in"), formats=("txt",), model="tiny.en", device="emulator")
    assert run_archive(str(folder / "in" / "talks.txt"), asked, Wanted(), Heard()).n_done == 2


def test_every_recording_is_done_once(ray: FakeRay, folder: Path) -> None:
    summary = go(folder)
    assert (summary.n_done, summary.n_before, summary.failed, summary.n_left) == (6, 0, (), 0)
    assert summary.stopped_by is None
    assert summary.audio_seconds == 360
    assert summary.ran_on == {"the CPU": 2}
    assert names(folder) == ALL
    assert set(StandIn.tried.values()) == {1}
    again = go(folder)
    assert (again.n_done, again.n_before) == (0, 6)
    assert set(StandIn.tried.values()) == {1}


def test_workers_that_are_not_needed_are_not_hired(ray: FakeRay, folder: Path) -> None:
    go(folder, n_workers=1)
    assert len(ray.actors) == 1


def test_every_actor_asks_for_its_cpus_and_is_never_restarted_behind_our_back(
    ray: FakeRay, folder: Path
) -> None:
    go(folder, threads=2)
    assert len(ray.actors) == 4
    for actor in ray.actors:
        assert actor.options["num_cpus"] == 2
        assert (actor.options["max_restarts"], actor.options["max_task_retries"]) == (0, 0)
        assert actor.is_dead  # at the end


def test_what_fails_is_told_with_its_reason_and_the_others_go_on(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(task: Task) -> Outcome | None:
        return Failed(task.source, "is not audio") if task.source.name == "r2.wav" else None

    monkeypatch.setattr(StandIn, "on_task", staticmethod(bad))
    news = Heard()
    summary = go(folder, news)
    assert [(one.source.name, one.reason) for one in summary.failed] == [("r2.wav", "is not audio")]
    assert news.failures == list(summary.failed)
    assert summary.n_done == 5
    lines = [json.loads(line) for line in (folder / "out" / "results.jsonl").read_text().splitlines()]
    assert lines[-1]["name"] == "r2.wav"
    assert "is not audio" in lines[-1]["error"]


def test_a_worker_that_dies_costs_what_it_had_in_hand(ray: FakeRay, folder: Path) -> None:
    deaths = []

    def dies(ref: Ref) -> None:
        if ref.method == "do" and ref.arguments[0].source.name == "r1.wav" and not deaths:
            deaths.append(ref)
            ref.actor.is_dead = True
            raise RayActorError("The actor is dead because its worker process has died.")

    ray.on_get = dies
    news = Heard()
    summary = go(folder, news)
    assert (summary.n_done, len(deaths), len(ray.actors)) == (6, 1, 3)
    assert "is lost (its process ended): what it had in hand is done again" in news.notes[0]


def test_a_machine_that_leaves_and_one_that_joins(ray: FakeRay, folder: Path) -> None:
    def changes(ref: Ref) -> None:
        if ref.method == "do" and ref.arguments[0].source.name == "r2.wav" and "lap" in ray.machines:
            del ray.machines["lap"]
            ray.machines["new"] = 4

    ray.on_get = changes
    summary = go(folder)
    assert summary.n_done == 6
    assert {actor.node for actor in ray.actors} == {"desk", "lap", "new"}


def test_a_recording_over_which_a_defect_of_ours_raises_fails_after_three_tries(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(task: Task) -> None:
        if task.source.name == "r0.wav":
            raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(StandIn, "on_task", staticmethod(raises))
    summary = go(folder)
    (failed,) = summary.failed
    assert failed.reason == "it ended its worker 3 times; the last time: ZeroDivisionError: division by zero"
    assert (summary.n_done, StandIn.tried["r0.wav"]) == (5, 3)


def test_a_full_target_ends_the_run_and_the_same_call_goes_on(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(task: Task) -> None:
        if sum(StandIn.tried.values()) > 3:
            raise OutputError("out cannot be written (No space left on device)")

    monkeypatch.setattr(StandIn, "on_task", staticmethod(full))
    summary = go(folder)
    assert isinstance(summary.stopped_by, OutputError)
    assert "No space left on device" in str(summary.stopped_by)
    assert (summary.n_done, summary.n_left, summary.failed) == (3, 3, ())
    assert len(names(folder)) == 3
    monkeypatch.setattr(StandIn, "on_task", staticmethod(lambda _: None))
    again = go(folder)
    assert (again.n_done, again.n_before) == (3, 3)
    assert names(folder) == ALL


@pytest.mark.parametrize(
    "error", [CheckpointError("small is not there"), DeviceError("the NPU is gone"), ImportError("av")]
)
def test_a_machine_that_cannot_load_the_model_is_named_and_the_others_work(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ray.machines["lap"] = 3  # so that its worker has other threads

    def lacks(asked: AskedArchive) -> None:
        if asked.threads == 3:
            raise error

    monkeypatch.setattr(StandIn, "on_start", staticmethod(lacks))
    news = Heard()
    summary = go(folder, news)
    assert (summary.n_done, summary.stopped_by) == (6, None)
    assert news.notes == [f"lap does not work on this archive: {error}"]
    assert len(ray.actors) == 2  # it is not tried again


def test_where_no_machine_can_work_one_error_says_why(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(asked: AskedArchive) -> None:
        raise CheckpointError("small is not there")

    monkeypatch.setattr(StandIn, "on_start", staticmethod(lacks))
    summary = go(folder)
    assert isinstance(summary.stopped_by, ClusterError)
    assert "no machine of the cluster can work; desk: small is not there" in str(summary.stopped_by)
    assert summary.n_left == 6
    ray.machines = {"desk": 4}
    summary = go(folder)
    assert isinstance(summary.stopped_by, CheckpointError)
    assert str(summary.stopped_by) == "small is not there"


def test_a_machine_with_another_version_does_not_work(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(ref: Ref) -> None:
        version = "0.0.1" if ref.method == "hello" and ref.actor.node == "lap" else whisper_npu_version
        monkeypatch.setattr(whisper_npu, "__version__", version)

    whisper_npu_version = whisper_npu.__version__
    ray.on_get = old
    news = Heard()
    assert go(folder, news).n_done == 6
    assert news.notes == [
        f"lap does not work on this archive: it has whisper-npu 0.0.1, and this program is "
        f"{whisper_npu_version}: install the same"
    ]


def test_a_device_that_is_lost_costs_its_worker_and_no_recording(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(task: Task) -> None:
        if StandIn.tried == Counter({"r0.wav": 1}):
            raise DeviceError("the NPU is gone: reload its driver")

    monkeypatch.setattr(StandIn, "on_task", staticmethod(lost))
    news = Heard()
    summary = go(folder, news)
    assert (summary.n_done, len(ray.actors)) == (6, 2)
    assert news.notes == ["desk does not work on this archive: the NPU is gone: reload its driver"]


def test_an_interrupt_waits_a_moment_for_what_is_in_hand_and_keeps_it(ray: FakeRay, folder: Path) -> None:
    waits = []

    def interrupts() -> None:
        waits.append(1)
        if len(waits) == 8:  # two workers said hello, opened, and have done something
            raise KeyboardInterrupt

    ray.on_wait = interrupts
    summary = go(folder)
    assert isinstance(summary.stopped_by, KeyboardInterrupt)
    assert 0 < summary.n_left < 6
    assert summary.n_done + summary.n_left == 6
    assert len(names(folder)) == summary.n_done
    assert sum(StandIn.tried.values()) == summary.n_done  # what was in hand is done, and nothing after it
    assert all(actor.is_dead for actor in ray.actors)


def test_an_interrupt_in_the_midst_of_handing_out_keeps_what_is_done(ray: FakeRay, folder: Path) -> None:
    calls = []

    def interrupts(method: str) -> None:
        calls.append(method)
        if calls.count("do") == 4:
            raise KeyboardInterrupt

    ray.on_call = interrupts
    summary = go(folder)
    assert isinstance(summary.stopped_by, KeyboardInterrupt)
    assert len(names(folder)) == summary.n_done == 3


def test_a_defect_of_ours_in_the_driver_keeps_what_is_done(ray: FakeRay, folder: Path) -> None:
    def fails(method: str) -> None:
        if sum(StandIn.tried.values()) == 2:
            raise ZeroDivisionError

    ray.on_call = fails
    summary = go(folder)
    assert isinstance(summary.stopped_by, ZeroDivisionError)
    assert len(names(folder)) == 2


def test_where_no_machine_comes_the_run_ends_and_says_how_to_go_on(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "PATIENCE", 0.05)
    monkeypatch.setattr(crew, "_WARNING", 0.0)
    ray.machines = {"head": 0}
    news = Heard()
    summary = go(folder, news)
    assert isinstance(summary.stopped_by, ClusterError)
    assert "no machine with CPUs" in str(summary.stopped_by)
    assert "the same command goes on" in str(summary.stopped_by)
    assert news.notes == ["waiting up to 0 s for a machine with CPUs"]


def test_a_head_that_is_gone_ends_the_run(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "unreachable", lambda host, port: "Connection refused")
    summary = go(folder)
    assert isinstance(summary.stopped_by, ClusterError)
    assert "the head of the Ray cluster, 127.0.0.1:1, is gone" in str(summary.stopped_by)
    assert summary.n_left == 6


def test_a_ray_of_this_run_alone_that_has_ended_ends_it_at_once(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(task: Task) -> None:
        ray.machines = {}

    monkeypatch.setattr(StandIn, "on_task", staticmethod(ends))
    summary = go(folder, address="local")
    assert isinstance(summary.stopped_by, ClusterError)
    assert str(summary.stopped_by).startswith("Ray has ended on this machine")


def test_a_recording_that_is_not_there_is_named_once(ray: FakeRay, folder: Path) -> None:
    (folder / "in" / "m.txt").write_text(f"{folder}/in/no.wav\nnone.wav\nr0.wav\n")
    asked = AskedArchive(out=str(folder / "out"), formats=("txt",), model="tiny.en", device="emulator")
    summary = run_archive(str(folder / "in" / "m.txt"), asked, Wanted(), Heard())
    assert [one.reason for one in summary.failed] == ["no such file", "no such file"]


def test_a_head_that_is_silent_for_a_moment_ends_nothing(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["Connection refused", "Connection refused"])
    monkeypatch.setattr(crew, "unreachable", lambda host, port: next(answers, None))
    assert go(folder).n_done == 6


def test_where_one_worker_is_wanted_and_the_first_machine_cannot_work_another_does(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.machines["lap"] = 3

    def lacks(asked: AskedArchive) -> None:
        if asked.threads == 4:
            raise CheckpointError("small is not there")

    monkeypatch.setattr(StandIn, "on_start", staticmethod(lacks))
    assert go(folder, n_workers=1).n_done == 6


def test_a_worker_that_sees_another_output_folder_does_not_begin(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without the shared folder results would land where nobody looks for them."""

    def elsewhere(ref: Ref) -> None:
        if ref.method == "open":
            (folder / "out" / "archive.json").unlink(missing_ok=True)

    ray.on_get = elsewhere
    summary = go(folder)
    assert "is another folder there, or none" in str(summary.stopped_by)
    assert StandIn.tried == Counter()


def test_a_worker_that_does_not_see_the_recordings_does_not_begin(
    ray: FakeRay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would call every one of them missing."""

    def elsewhere(ref: Ref) -> None:
        if ref.method == "open":
            (folder / "in" / "r0.wav").unlink(missing_ok=True)

    ray.on_get = elsewhere
    summary = go(folder)
    assert "r0.wav is not there: share the recordings" in str(summary.stopped_by)
    assert summary.n_left == 6
