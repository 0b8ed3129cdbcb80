"""Which task is handed out next, whatever became of those before."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.archive.handing import MOST_DEATHS, Handing
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
    Transcribe,
)


def source(name: str) -> Source:
    return Source(name, f"/in/{name}.wav", "1", name)


def cut(of: Source, n_parts: int, n_stored: int = 0) -> Cut:
    parts = tuple(Part(100 * number, 100 * number + 100) for number in range(n_parts))
    return Cut(of, parts, tuple(Transcribe(of, part, "en") for part in parts[n_stored:]))


def outcome_of(task: Task, n_parts: int, n_stored: int) -> Outcome:
    match task:
        case Begin() if n_parts:
            return cut(task.source, n_parts, min(n_stored, n_parts))
        case Transcribe(part=part):
            return PartDone(task.source, part)
    return Done(task.source, 1.0, "{}")


@given(data=st.data())
def test_every_recording_ends_once_whatever_happens_to_its_workers(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
    sources = {source(f"r{number}"): length for number, length in enumerate(lengths)}
    handing = Handing(list(sources))
    n_workers = data.draw(st.integers(1, 4))
    last = st.none() | st.sampled_from(list(sources))
    in_hand: list[Task] = []
    ended: Counter[Source] = Counter()
    joined: dict[Source, set[Part]] = {one: set() for one in sources}
    deaths: Counter[Task] = Counter()
    while not handing.is_done:
        while len(in_hand) < n_workers and (task := handing.next(data.draw(last))) is not None:
            assert task not in in_hand  # nobody else has it
            in_hand.append(task)
        task = in_hand.pop(data.draw(st.integers(0, len(in_hand) - 1)))  # something is always in hand
        what = data.draw(st.sampled_from(["does", "does", "does", "dies", "fails"]))
        end: Done | Failed | None = None
        if what == "dies":
            deaths[task] += 1
            end = handing.died(task, "its process ended")
            if end is not None:
                assert deaths[task] == MOST_DEATHS
        elif what == "fails":
            end = handing.came(task, Failed(task.source, "is not audio"))
        else:
            if isinstance(task, Transcribe):
                joined[task.source].add(task.part)
            end = handing.came(task, outcome_of(task, *sources[task.source]))
        if end is not None:
            ended[end.source] += 1
        if isinstance(end, Done) and sources[end.source][0]:  # every part was there before it was joined
            n_parts, n_stored = sources[end.source]
            assert len(joined[end.source]) == n_parts - min(n_stored, n_parts)
    assert ended == Counter(list(sources))
    assert handing.next() is None or all(one.source in ended for one in in_hand)


def test_a_worker_that_dies_gives_its_task_to_the_next_one() -> None:
    first, second = source("first"), source("second")
    handing = Handing([first, second])
    task = handing.next()
    assert task == Begin(first)
    assert handing.died(task, "its process ended") is None
    assert handing.next() == Begin(first)


def test_a_recording_that_ends_its_workers_is_given_up_and_the_others_go_on() -> None:
    poison, sound = source("poison"), source("sound")
    handing = Handing([poison, sound])
    for _ in range(MOST_DEATHS - 1):
        task = handing.next()
        assert task == Begin(poison)
        assert handing.died(task, "its process ended") is None
    task = handing.next()
    assert task is not None
    end = handing.died(task, "its process ended")
    assert end == Failed(poison, "it ended its worker 3 times; the last time: its process ended")
    assert handing.next() == Begin(sound)


def test_short_recordings_pass_a_long_one_which_its_worker_goes_on_with() -> None:
    long, *short = (source(name) for name in ("long", "a", "b", "c"))
    handing = Handing([long, *short])
    begin = handing.next()
    assert begin == Begin(long)
    handing.came(begin, cut(long, 6))
    assert isinstance(handing.next(has_read=long), Transcribe)
    assert [handing.next(one) for one in (None, *short[:2])] == [Begin(one) for one in short]
    assert isinstance(handing.next(has_read=long), Transcribe)


def test_where_all_is_begun_everybody_helps_with_what_has_most_parts_left() -> None:
    long, longer = source("long"), source("longer")
    handing = Handing([long, longer])
    for one, n_parts in ((long, 2), (longer, 4)):
        begin = handing.next()
        assert begin == Begin(one)
        handing.came(begin, cut(one, n_parts))
    helped = [handing.next() for _ in range(6)]
    assert all(isinstance(task, Transcribe) for task in helped)
    assert [task.source.name for task in helped[:2] if task] == ["longer", "longer"]
    assert Counter(task.source.name for task in helped if task) == {"long": 2, "longer": 4}
    assert handing.next() is None


def test_a_part_that_fails_takes_the_other_parts_of_its_recording_along() -> None:
    long, other = source("long"), source("other")
    handing = Handing([long, other])
    begin = handing.next()
    assert begin is not None
    handing.came(begin, cut(long, 4))
    part, following, third = handing.next(has_read=long), handing.next(), handing.next()
    assert isinstance(part, Transcribe)
    assert following == Begin(other)
    assert isinstance(third, Transcribe)
    failed = Failed(long, "is gone")
    assert handing.came(part, failed) == failed
    assert handing.came(third, PartDone(long, third.part)) is None
    assert handing.died(third, "its process ended") is None
    assert handing.next() is None
    assert handing.n_left == 1


@pytest.mark.parametrize("n_parts", [1, 3])
def test_where_all_parts_were_stored_before_only_their_joining_is_left(n_parts: int) -> None:
    long = source("long")
    handing = Handing([long])
    begin = handing.next()
    assert begin is not None
    found = cut(long, n_parts, n_parts)
    handing.came(begin, found)
    assert handing.next() == Join(long, found.parts)
