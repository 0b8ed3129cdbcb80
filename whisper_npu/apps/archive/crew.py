"""The workers of an archive, which are Ray's actors.

Ray starts processes, waits for free CPUs, carries tasks and outcomes, and watches processes and machines.
What is decided here is how many workers a machine gets (places.py), so that one that cannot work is left out,
and which task is next (handing.py): each worker has one in hand, so that a death repeats no more than that.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic, sleep
from types import ModuleType
from typing import Any

from whisper_npu import __version__
from whisper_npu.apps.archive.asked import AskedArchive, Wanted
from whisper_npu.apps.archive.cluster import LOCAL, ClusterError, as_raised, cluster, unreachable
from whisper_npu.apps.archive.handing import MOST_DEATHS, Handing
from whisper_npu.apps.archive.news import News
from whisper_npu.apps.archive.places import NPU, Node, Place, places
from whisper_npu.apps.archive.shared import Shared
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.tasks import Cut, Done, Failed, PartDone, Task
from whisper_npu.audio import SAMPLE_RATE
from whisper_npu.errors import OutputError, WhisperNpuError, one_line

PATIENCE = 300.0  # seconds without any worker, loading ones counted, before a run ends
_WARNING = 15.0  # seconds without one, before a line says what is waited for
_LOOK = 2.0  # seconds between two looks at which machines there are
_TRIES = 3  # a network may fail for a moment
_RAY_ENDED = "Ray has ended on this machine. What is done is kept; the same command goes on"
_TIDY = 5.0  # seconds that workers have to close their devices
_MOMENT = 1.0  # seconds that work in hand has to end in when a run is stopped


def work(
    asked: AskedArchive, handing: Handing, wanted: Wanted, address: str, shared: Shared, news: News
) -> Generator[Done, None, None]:
    """Do all that `handing` has, and yield each recording that is done; failures are told to `news`.

    address: of `find_cluster`

    Raises OutputError where the output folder cannot be written, ClusterError and what a worker raised that
    concerns all recordings. However it ends, what was started here is ended.
    """
    with as_raised(), cluster(address, asked.device, news) as ray:
        crew = Crew(ray, asked, handing, wanted, shared, news, is_local=address == LOCAL)
        try:
            yield from crew.work()
        except KeyboardInterrupt:
            yield from crew.finish_in_hand()
            raise
        finally:
            crew.dismiss()


@dataclass
class Member:
    """A worker, as the driver sees it."""

    actor: Any
    place: Place
    step: str  # placing, loading, idle, working
    ref: Any = None  # of what it does now
    task: Task | None = None
    has_read: Source | None = None
    ran_on: str = ""


class Crew:
    """All workers of a run."""

    def __init__(
        self,
        ray: ModuleType,
        asked: AskedArchive,
        handing: Handing,
        wanted: Wanted,
        shared: Shared,
        news: News,
        *,
        is_local: bool,
    ) -> None:
        self._ray, self._asked, self._handing, self._wanted = ray, asked, handing, wanted
        self._shared, self._news, self._is_local = shared, news, is_local
        self._members: dict[tuple[str, int], Member] = {}  # by the node's id and the worker's number there
        self._problems: dict[tuple[str, str], Exception] = {}  # of a node's id and device: no workers there
        self._deaths: Counter[tuple[str, str]] = Counter()  # before a worker was ready
        self._names: dict[str, str] = {}  # of nodes, by id
        self._looked = 0.0
        self._n_silent = 0  # times in a row that the head did not answer
        self._alive = monotonic()  # when there was a worker
        self._warned = False
        self._actor_class = ray.remote(_on_node())

    def work(self) -> Iterator[Done]:
        while not self._handing.is_done:
            self._hire()
            self._hand_out()
            busy = {member.ref: member for member in self._members.values() if member.ref is not None}
            self._wait_for_workers()
            for ref in self._ready(list(busy), _LOOK) if busy else ():
                if (done := self._came(busy[ref])) is not None:
                    yield done

    def dismiss(self) -> None:
        """End all workers: those that are idle close their devices."""
        idle = [member for member in self._members.values() if member.step == "idle"]
        with suppress(Exception):  # what is in hand is lost in any case
            closing = [member.actor.close.remote() for member in idle]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_TIDY)
        for member in self._members.values():
            with suppress(Exception):
                self._ray.kill(member.actor)

    def finish_in_hand(self) -> Iterator[Done]:
        """What is done within a moment, of what is in hand."""
        until = monotonic() + _MOMENT
        while (left := until - monotonic()) > 0:
            working = [member for member in self._members.values() if member.step == "working"]
            # The interrupt may have come before Ray was asked.
            busy = {member.ref: member for member in working if member.ref is not None}
            if not busy:
                return
            for ref in self._ready(list(busy), left):
                if (done := self._came(busy[ref])) is not None:
                    yield done

    def _ready(self, refs: list[Any], seconds: float) -> list[Any]:
        """Those that have come, as soon as there is one; none after so many seconds."""
        if not self._ray.wait(refs, timeout=seconds)[0]:
            return []
        ready: list[Any] = self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]
        return ready

    def _hire(self) -> None:
        """Ask Ray for workers where there should be some and are none."""
        if monotonic() - self._looked < _LOOK:
            return
        if self._is_head_silent():
            return
        nodes = [_node(one) for one in self._ray.nodes() if one["Alive"]]
        if self._is_local and not nodes:
            raise ClusterError(_RAY_ENDED)
        self._names |= {node.id: node.name for node in nodes}
        wanted = self._wanted
        fit = places(
            nodes,
            self._asked.device,
            threads=wanted.threads,
            n_workers=wanted.n_workers,
            memory=wanted.memory,
            without=self._problems,
        )
        if not fit and not self._members and self._problems:
            raise self._all_failed()
        for place in fit:
            if wanted.n_workers is not None and len(self._members) >= wanted.n_workers:
                break
            if (place.node.id, place.number) not in self._members:
                self._members[place.node.id, place.number] = self._hired(place)
        self._looked = monotonic()
        self._tell_crew()

    def _is_head_silent(self) -> bool:
        """Raises ClusterError where the cluster's head has not answered several times, with a moment between.

        Ray itself would wait for it for a minute, and then end this process.
        """
        host, _, port = self._ray.get_runtime_context().gcs_address.rpartition(":")
        problem = unreachable(host, int(port))
        self._n_silent = 0 if problem is None else self._n_silent + 1
        self._looked = monotonic()
        if self._n_silent and self._is_local:
            raise ClusterError(_RAY_ENDED)
        if self._n_silent >= _TRIES:
            raise ClusterError(
                f"the head of the Ray cluster, {host}:{port}, is gone ({problem}). What is done is kept; the "
                "same command goes on, once there is a cluster again, or with --address local"
            )
        return problem is not None

    def _hired(self, place: Place) -> Member:
        on = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        actor = self._actor_class.options(
            num_cpus=place.threads,
            num_gpus=0,
            resources={} if place.device == "emulator" else {NPU: 1},
            max_restarts=0,  # another one is hired, and what was in hand is handed out again
            max_task_retries=0,
            scheduling_strategy=on(place.node.id, soft=False),
        ).remote()
        variables = {name: value for name, value in os.environ.items() if name.startswith("FSSPEC_")}
        variables |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(place.threads)}
        return Member(actor, place, "placing", actor.hello.remote(__version__, variables))

    def _hand_out(self) -> None:
        for member in self._members.values():
            if member.step == "idle":
                if (task := self._handing.next(member.has_read)) is None:
                    return
                member.step, member.task, member.has_read = "working", task, task.source
                member.ref = member.actor.do.remote(task)

    def _came(self, member: Member) -> Done | None:
        """What a worker has done. Raises OutputError."""
        exceptions = self._ray.exceptions
        try:
            value = self._ray.get(member.ref)
        except exceptions.RayTaskError as error:
            self._raised(member, error.cause)
            return None
        except exceptions.RayError as error:
            self._died(member, _why(error))
            return None
        member.ref = None
        if member.step == "placing":
            self._placed(member, value)
        elif member.step == "loading":
            member.step, member.ran_on = "idle", value
            self._tell_crew()
        else:
            task, member.task, member.step = member.task, None, "idle"
            assert task is not None
            return self._ended(task, value)
        return None

    def _placed(self, member: Member, problem: str) -> None:
        if problem:
            self._leave(member, ClusterError(problem))
            return
        asked = replace(self._asked, device=member.place.device, threads=member.place.threads)
        member.step = "loading"
        member.ref = member.actor.open.remote(pickle.dumps((asked, self._shared)))

    def _ended(self, task: Task, outcome: Cut | PartDone | Done | Failed) -> Done | None:
        if isinstance(outcome, PartDone):
            self._news.part((outcome.part.stop - outcome.part.start) / SAMPLE_RATE)
        end = self._handing.came(task, outcome)
        if isinstance(end, Failed):
            self._news.failed(end)
        return end if isinstance(end, Done) else None

    def _raised(self, member: Member, error: Exception) -> None:
        """What a worker raised concerns all recordings, or what it is on, or is a defect of this program."""
        if isinstance(error, OutputError):
            raise error
        if member.task is None or isinstance(error, WhisperNpuError):
            self._give_back(member, one_line(error))
            self._leave(member, error)
        else:
            self._give_back(member, f"{type(error).__name__}: {one_line(error)}")
            self._forget(member)  # whatever state it is in

    def _died(self, member: Member, reason: str) -> None:
        place = member.place
        is_ready = member.step in ("idle", "working")
        self._give_back(member, reason)
        self._forget(member)
        where = self._names.get(place.node.id, place.node.name)
        if is_ready:
            self._news.note(f"a worker on {where} is lost ({reason}): what it had in hand is done again")
            return
        self._deaths[place.node.id, place.device] += 1
        if self._deaths[place.node.id, place.device] >= MOST_DEATHS:
            self._problem(place, ClusterError(f"workers end before they are ready; the last time: {reason}"))

    def _give_back(self, member: Member, reason: str) -> None:
        task, member.task = member.task, None
        if task is not None and (end := self._handing.died(task, reason)) is not None:
            self._news.failed(end)

    def _leave(self, member: Member, error: Exception) -> None:
        """No more workers on this device of this machine."""
        self._forget(member)
        self._problem(member.place, error)

    def _problem(self, place: Place, error: Exception) -> None:
        told = {(key[0], str(known)) for key, known in self._problems.items()}
        self._problems[place.node.id, place.device] = error
        if len(self._names) > 1 and (place.node.id, str(error)) not in told:  # of one, the error itself tells
            self._news.note(f"{place.node.name} does not work on this archive: {one_line(error)}")

    def _forget(self, member: Member) -> None:
        with suppress(Exception):
            self._ray.kill(member.actor)
        del self._members[member.place.node.id, member.place.number]
        self._looked = 0.0  # it may be replaced at once
        self._tell_crew()

    def _all_failed(self) -> Exception:
        """The error of the only machine as it is; of several, the first one's with its name."""
        (node, _), error = next(iter(self._problems.items()))
        if not isinstance(error, WhisperNpuError):
            return ClusterError(f"a worker cannot start: {type(error).__name__}: {one_line(error)}")
        if len({node for node, _ in self._problems}) == 1:
            return error
        return ClusterError(f"no machine of the cluster can work; {self._names[node]}: {one_line(error)}")

    def _wait_for_workers(self) -> None:
        """Raises ClusterError where no worker has been there for long."""
        if any(member.step != "placing" for member in self._members.values()):
            self._alive, self._warned = monotonic(), False
            return
        waited = monotonic() - self._alive
        what = "free CPUs" if self._members else f"machine with {self._lacking()}"
        if waited > PATIENCE:
            raise ClusterError(
                f"there has been no worker for {PATIENCE:.0f} s, for the cluster had no {what}. What is done "
                "is kept; the same command goes on"
            )
        if waited > _WARNING and not self._warned:
            self._warned = True
            self._news.note(f"waiting up to {PATIENCE:.0f} s for {'' if self._members else 'a '}{what}")
        if not self._members:
            sleep(_LOOK)

    def _lacking(self) -> str:
        if self._asked.device == "npu":
            return "an NPU, started with ray start --resources='{\"amd_npu\": 1}'"
        return "CPUs"

    def _tell_crew(self) -> None:
        ready = [member for member in self._members.values() if member.step in ("idle", "working")]
        self._news.crew(Counter(member.ran_on for member in ready), len(self._members))


def _node(described: Mapping[str, Any]) -> Node:
    resources = described["Resources"]
    name = described["NodeManagerHostname"] or described["NodeManagerAddress"]
    return Node(
        described["NodeID"],
        name,
        int(resources.get("CPU", 0)),
        int(resources.get("memory", 0)),
        resources.get(NPU, 0) >= 1,
    )


def _why(error: Exception) -> str:
    """Ray's page of text in a few words."""
    text, kind = str(error), type(error).__name__
    if kind == "OutOfMemoryError" or "OUT_OF_MEMORY" in text:
        return "its machine had too little memory"
    if kind == "ActorUnavailableError":
        return "it cannot be reached"
    return "its machine left the cluster" if "node has died" in text else "its process ended"


def _on_node() -> type:
    """The class of the actors. Within a function, so that it travels by value: Ray can then make one where
    whisper_npu is missing, and it says so."""

    class OnNode:
        def hello(self, version: str, variables: dict[str, str]) -> str:
            """What keeps this machine from working; empty: nothing."""
            import os

            os.environ.update(variables)  # before what reads them is imported
            try:
                from whisper_npu import __version__
            except ImportError as error:
                return f"whisper-npu cannot be imported there ({error}): install version {version}"
            if __version__ != version:
                return f"it has whisper-npu {__version__}, and this program is {version}: install the same"
            return ""

        def open(self, pickled: bytes) -> str:
            """Load the model. Returns what it runs on."""
            import pickle

            from whisper_npu.apps.archive.on_node import opened, runs_on

            self.worker = opened(*pickle.loads(pickled))
            return runs_on(self.worker)

        def do(self, task: Any) -> Any:
            return self.worker.do(task)

        def close(self) -> None:
            self.worker.close()

    return OnNode
