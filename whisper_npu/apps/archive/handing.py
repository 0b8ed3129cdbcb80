"""Which task of an archive is handed out next, and how each recording ends.

Pure: it knows no worker, no Ray and no clock. Whoever asks `next` for a task says later, with `came` or
`died`, what became of it. Whatever comes in whatever order, each recording ends once: done or
failed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.tasks import (
    Begin,
    Cut,
    Done,
    Failed,
    Join,
    Outcome,
    Part,
    PartDone,
    Task,
)

MOST_DEATHS = 3  # of workers over one task, before its recording is given up


class Handing:
    """sources: what is to be transcribed, in this order.

    A worker that has read a long recording goes on with its parts, which others would have to read anew; the
    others take what is not begun. Where that is all, they help with the recording that has most parts left.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._again: deque[Task] = deque()  # given back by workers that died
        self._joins: deque[Task] = deque()
        self._parts: dict[Source, deque[Task]] = {}  # of long recordings
        self._begins: deque[Task] = deque(Begin(source) for source in sources)
        self._cut: dict[Source, tuple[Part, ...]] = {}  # all parts of a long recording
        self._missing: dict[Source, set[Part]] = {}  # those that are not there yet
        self._left = set(sources)  # recordings without an end
        self._deaths: Counter[Task] = Counter()

    @property
    def is_done(self) -> bool:
        """Whether every recording has its end."""
        return not self._left

    @property
    def n_left(self) -> int:
        """Recordings without an end."""
        return len(self._left)

    def next(self, has_read: Source | None = None) -> Task | None:
        """What is handed out next; None where all that is left is in somebody's hands.

        has_read: the recording that the worker had last.
        """
        for waiting in (
            self._again,
            self._joins,
            self._parts.get(has_read) if has_read else None,
            self._begins,
        ):
            if waiting:
                return waiting.popleft()
        most = max(self._parts.values(), key=len, default=None)
        return most.popleft() if most else None

    def came(self, task: Task, outcome: Outcome) -> Done | Failed | None:
        """A worker did this task. Returns the end of its recording, if this is it."""
        source = task.source
        if source not in self._left:  # it failed while this part was in hand
            return None
        match outcome:
            case Done() | Failed():
                self._end(source)
                return outcome
            case Cut(parts=parts, todo=todo):
                self._cut[source] = parts
                self._missing[source] = {one.part for one in todo}
                self._parts[source] = deque(todo)
            case PartDone(part=part):
                self._missing[source].discard(part)
        if not self._missing[source]:
            del self._missing[source]
            self._joins.append(Join(source, self._cut[source]))
        return None

    def died(self, task: Task, reason: str) -> Failed | None:
        """A worker died over this task: another one gets it, and before others.

        Returns the end of its recording where that was once too often. reason: one line.
        """
        source = task.source
        if source not in self._left:
            return None
        self._deaths[task] += 1
        if self._deaths[task] < MOST_DEATHS:
            self._again.appendleft(task)
            return None
        self._end(source)
        return Failed(source, f"it ended its worker {MOST_DEATHS} times; the last time: {reason}")

    def _end(self, source: Source) -> None:
        self._left.discard(source)
        self._cut.pop(source, None)
        self._missing.pop(source, None)
        self._parts.pop(source, None)
        self._again = deque(task for task in self._again if task.source != source)
