"""The fair queue: one at a time, in turns, whatever arrives, leaves or fails meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_npu.apps.server.queue import FIRST_GUESS, Queue, QueueFullError

CLIENTS = "ABCD"


async def settled() -> None:
    """Every task has gone as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass(eq=False, repr=False)
class Request:
    """One that is made of `queue`; it keeps the device until it is told how to end."""

    queue: Queue
    client: str
    log: list[Request]  # those that had their turn, in order
    fails: bool = False
    end: asyncio.Event = field(default_factory=asyncio.Event)
    positions: list[int] = field(default_factory=list)
    inside: bool = False

    def start(self) -> Request:
        self.task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        async with self.queue.turn(self.client, self.positions.append):
            assert self.queue.busy
            self.inside = True
            self.log.append(self)
            try:
                await self.end.wait()
                if self.fails:
                    raise ZeroDivisionError
            finally:
                self.inside = False


class World:
    """A queue and all requests that were made of it."""

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self.queue = Queue(max_waiting)
        self.requests: list[Request] = []
        self.turns: list[Request] = []

    def arrive(self, client: str, *, fails: bool = False) -> Request:
        request = Request(self.queue, client, self.turns, fails).start()
        self.requests.append(request)
        return request

    @property
    def waiting(self) -> list[Request]:
        return [one for one in self.requests if not one.task.done() and not one.inside]

    def end_the_turn(self) -> None:
        for one in self.requests:
            if one.inside:
                one.end.set()

    def cancel(self, number: int) -> None:
        """One of those that wait or have their turn."""
        there = [one for one in self.requests if not one.task.done()]
        if there:
            there[number % len(there)].task.cancel()

    def check(self) -> None:
        """To be called when all is settled."""
        inside = [one for one in self.requests if one.inside]
        assert len(inside) <= 1
        assert self.queue.busy == bool(inside)
        assert self.queue.waiting == len(self.waiting)
        assert inside or not self.waiting  # nobody waits for a device that is free
        assert len(self.waiting) <= self.max_waiting
        # The positions are 1, 2, 3 ...: no hole, and nobody twice.
        assert sorted(one.positions[-1] for one in self.waiting) == list(range(1, len(self.waiting) + 1))


EVENTS = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from(CLIENTS)),
    st.tuples(st.just("arrive"), st.sampled_from(CLIENTS)),  # twice, so that queues grow
    st.tuples(st.just("arrive and fail"), st.sampled_from(CLIENTS)),
    st.tuples(st.just("end"), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("settle"), st.just(0)),
)


async def play(max_waiting: int, events: list[tuple[str, str | int]]) -> World:
    world = World(max_waiting)
    for event, value in events:
        if event.startswith("arrive"):
            world.arrive(str(value), fails=event != "arrive")
        elif event == "end":
            world.end_the_turn()
        elif event == "cancel":
            world.cancel(int(value))
        elif event == "settle":
            await settled()
            world.check()
    await settled()
    world.check()
    # Nobody comes or leaves any more: the turns come as the positions say.
    expected = sorted(world.waiting, key=lambda one: one.positions[-1])
    already = len(world.turns)
    while any(one.inside for one in world.requests):
        world.end_the_turn()
        await settled()
        world.check()
    assert world.turns[already:] == expected
    return world


@settings(max_examples=200)
@given(st.sampled_from([0, 1, 2, 6, 20]), st.lists(EVENTS, max_size=60))
def test_nobody_is_lost_and_never_two_at_once(max_waiting: int, events: list[tuple[str, str | int]]) -> None:
    world = asyncio.run(play(max_waiting, events))
    assert not world.queue.busy
    assert world.queue.waiting == 0
    for one in world.requests:
        assert one.task.done()
        if one.task.cancelled():
            continue
        error = one.task.exception()
        if isinstance(error, QueueFullError):
            assert one not in world.turns
            assert 0 not in one.positions
            assert error.retry_after_seconds >= 1
        else:
            assert one in world.turns
            assert one.positions[-1] == 0
            assert isinstance(error, ZeroDivisionError) == one.fails
        assert all(a != b for a, b in zip(one.positions, one.positions[1:], strict=False))  # changes only
    for client in CLIENTS:
        had = [one for one in world.turns if one.client == client]
        assert had == sorted(had, key=world.requests.index)  # first come, first served


@settings(max_examples=100)
@given(st.lists(EVENTS, max_size=60))
def test_while_a_client_waits_every_other_one_gets_at_most_one_turn(
    events: list[tuple[str, str | int]],
) -> None:
    async def run() -> None:
        world = World(100)
        since: dict[str, Counter[str]] = {}  # of each client that waits: the turns of the others since then
        seen = 0
        for event, value in [*events, *[("end", 0)] * len(events)]:
            if event.startswith("arrive"):
                world.arrive(str(value), fails=event != "arrive")
            elif event == "end":
                world.end_the_turn()
            elif event == "cancel":
                world.cancel(int(value))
            await settled()
            for turn in world.turns[seen:]:
                since.pop(turn.client, None)
                for turns in since.values():
                    turns[turn.client] += 1
                    assert turns[turn.client] <= 1
            seen = len(world.turns)
            waiting = {one.client for one in world.waiting}
            since = {client: since.get(client, Counter()) for client in waiting}
        assert not world.queue.busy
        await asyncio.gather(*(one.task for one in world.requests), return_exceptions=True)

    asyncio.run(run())


def check(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def test_a_newcomer_comes_before_the_rest_of_a_batch() -> None:
    async def story() -> None:
        world = World(10)
        batch = [world.arrive("A") for _ in range(4)]
        await settled()
        late = world.arrive("B")
        await settled()
        assert late.positions == [1]
        assert [one.positions[-1] for one in batch] == [0, 2, 3, 4]  # told that they moved
        world.end_the_turn()
        await settled()
        assert world.turns == [batch[0], late]

    check(story)


def test_one_client_has_all_places_until_another_one_comes() -> None:
    async def story() -> None:
        world = World(4)
        batch = [world.arrive("A") for _ in range(5)]
        await settled()
        one_more = world.arrive("A")
        await settled()
        assert isinstance(one_more.task.exception(), QueueFullError)
        others = [world.arrive(client) for client in "BBCDE"]
        await settled()
        assert world.queue.waiting == 4
        assert [one.task.done() for one in batch] == [False] * 2 + [True] * 3  # the newest have left
        for one in batch[2:]:
            assert "went to another client" in str(one.task.exception())
        assert [one.task.done() for one in others] == [False, True, False, False, True]
        assert "went to another client" in str(others[1].task.exception())  # to C
        assert "no client has more places" in str(others[4].task.exception())
        while world.queue.busy:
            world.end_the_turn()
            await settled()
        assert [one.client for one in world.turns] == ["A", "B", "C", "D", "A"]

    check(story)


def test_a_queue_without_places_serves_one_and_refuses_the_others() -> None:
    async def story() -> None:
        world = World(0)
        first, second = world.arrive("A"), world.arrive("B")
        await settled()
        assert first.inside
        assert isinstance(second.task.exception(), QueueFullError)
        world.end_the_turn()
        await settled()
        third = world.arrive("B")
        await settled()
        assert third.inside
        third.end.set()
        await third.task

    check(story)


def test_those_that_leave_while_they_wait_leave_no_hole() -> None:
    async def story() -> None:
        world = World(10)
        first, second, third, fourth, fifth = (world.arrive(client) for client in "ABCDB")
        await settled()
        assert [one.positions[-1] for one in world.requests] == [0, 1, 2, 3, 4]
        second.task.cancel()
        third.task.cancel()
        await settled()
        assert world.queue.waiting == 2
        assert fourth.positions[-1] + fifth.positions[-1] == 3
        for _ in range(3):
            world.end_the_turn()
            await settled()
        assert set(world.turns) == {first, fourth, fifth}
        assert not world.queue.busy

    check(story)


def test_one_that_leaves_in_the_moment_when_its_turn_comes_hands_it_on() -> None:
    async def story() -> None:
        world = World(4)
        first, second, third = (world.arrive(client) for client in "ABC")
        await settled()
        first.end.set()
        while not first.task.done():
            await asyncio.sleep(0)
        assert not second.inside  # it is the second's turn, which does not know it yet
        second.task.cancel()
        await settled()
        assert second not in world.turns
        assert third.inside
        third.end.set()
        await third.task

    check(story)


def test_a_listener_that_fails_harms_its_own_request_only() -> None:
    async def story() -> None:
        world = World(4)
        first = world.arrive("A")
        await settled()

        def fail(position: int) -> None:
            if position == 0:
                raise OSError("the client is gone")

        async def listen() -> None:
            async with world.queue.turn("B", fail):
                pytest.fail("it has its turn")

        broken = asyncio.create_task(listen())
        await settled()
        last = world.arrive("C")
        await settled()
        first.end.set()
        await settled()
        assert isinstance(broken.exception(), OSError)
        assert last.inside
        last.end.set()
        await last.task

    check(story)


def test_retry_after_follows_how_long_turns_take() -> None:
    now = 0.0

    async def story() -> None:
        nonlocal now
        queue = Queue(2, clock=lambda: now)

        async def refused() -> int:
            with pytest.raises(QueueFullError) as caught:
                async with queue.turn("B"):
                    pass
            return caught.value.retry_after_seconds

        async def work(seconds: float) -> None:
            nonlocal now
            async with queue.turn("A"):
                now += seconds

        none = Queue(0, clock=lambda: now)
        async with none.turn("A"):
            with pytest.raises(QueueFullError) as caught:
                async with none.turn("B"):
                    pass
        assert caught.value.retry_after_seconds == FIRST_GUESS  # nothing is known yet

        for _ in range(40):
            await work(100)
        async with queue.turn("A"):
            others = [asyncio.create_task(queue.turn(client).__aenter__()) for client in "CB"]
            await settled()
            assert await refused() == 100  # all places are taken: until this turn ends
            now += 60
            assert await refused() == 40
            now += 500
            assert await refused() == 1  # late already
            for other in others:
                other.cancel()
            await settled()

    check(story)


@settings(max_examples=100)
@given(st.lists(EVENTS, max_size=60))
def test_a_client_is_refused_only_where_no_other_one_has_more(events: list[tuple[str, str | int]]) -> None:
    async def run() -> None:
        world = World(4)
        for event, value in [*events, *[("end", 0)] * len(events)]:
            if event.startswith("arrive"):
                before = Counter(one.client for one in world.waiting)
                came = world.arrive(str(value))
                await settled()
                error = came.task.exception() if came.task.done() else None
                if isinstance(error, QueueFullError):
                    assert max(before.values()) <= before[came.client] + 1
            elif event == "end":
                world.end_the_turn()
            elif event == "cancel":
                world.cancel(int(value))
            await settled()
            world.check()
        await asyncio.gather(*(one.task for one in world.requests), return_exceptions=True)

    asyncio.run(run())


def test_the_wait_is_told_when_the_turn_begins() -> None:
    now = 0.0
    waits: list[float] = []

    async def story() -> None:
        nonlocal now
        queue = Queue(2, waits.append, clock=lambda: now)

        async def one() -> None:
            async with queue.turn("B"):
                pass

        async with queue.turn("A"):
            second = asyncio.create_task(one())
            await settled()
            now += 7
        await second

    check(story)
    assert waits == [0, 7]


def test_a_promised_turn_has_a_place_in_a_full_queue_and_takes_nobodys() -> None:
    async def story() -> None:
        queue = Queue(1)
        order: list[str] = []

        async def take(client: str, *, is_promised: bool) -> None:
            async with queue.turn(client, is_promised=is_promised):
                order.append(client)
                await settled()

        async with queue.turn("A"):
            assert not queue.wanted.is_set()
            waits = [
                asyncio.create_task(take(client, is_promised=is_promised))
                for client, is_promised in (("B", False), ("C", True), ("D", True))
            ]
            await settled()
            assert queue.wanted.is_set()
            assert queue.waiting == 3
            assert queue.full_for("E") is not None
            with pytest.raises(QueueFullError):
                await take("E", is_promised=False)
        await asyncio.gather(*waits)
        assert order == ["B", "C", "D"]
        assert not queue.wanted.is_set()

    asyncio.run(story())


def test_a_promised_turn_does_not_lose_its_place_to_another_client() -> None:
    async def story() -> None:
        queue = Queue(2)
        order: list[str] = []

        async def take(name: str, *, is_promised: bool = False) -> None:
            try:
                async with queue.turn(name[0], is_promised=is_promised):
                    order.append(name)
            except QueueFullError:
                order.append(f"{name} refused")

        async with queue.turn("A"):
            waits = [asyncio.create_task(take("B1")), asyncio.create_task(take("B2"))]
            await settled()
            waits += [asyncio.create_task(take("B3", is_promised=True)), asyncio.create_task(take("C1"))]
            await settled()
            assert order == ["B2 refused"]
        await asyncio.gather(*waits)
        assert sorted(order[1:]) == ["B1", "B3", "C1"]

    asyncio.run(story())
