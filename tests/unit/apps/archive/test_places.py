"""How many workers each machine gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.archive.places import MOST_THREADS, Node, places
from whisper_npu.errors import UsageError

GB = 10**9


def node(name: str, cpus: int, *, memory: int = 64 * GB, has_npu: bool = False) -> Node:
    return Node(f"id-{name}", name, cpus, memory, has_npu)


nodes = st.lists(
    st.builds(
        Node,
        st.uuids().map(str),
        st.text("abc", min_size=1),
        st.integers(0, 40),
        st.integers(0, 64 * GB),
        st.booleans(),
    ),
    max_size=6,
)


@given(nodes, st.sampled_from(["auto", "npu", "emulator"]), st.none() | st.integers(1, 50))
def test_no_machine_is_asked_for_more_than_it_has(
    found: list[Node], device: str, n_workers: int | None
) -> None:
    chosen = places(found, device, n_workers=n_workers, memory=2 * GB)
    assert n_workers is None or len(chosen) <= n_workers
    for one in found:
        here = [place for place in chosen if place.node is one]
        assert sum(place.threads for place in here) <= one.cpus
        assert len(here) <= max(1, one.memory // (2 * GB))
        assert len({place.number for place in here}) == len(here)
        on_npu = [place for place in here if place.device != "emulator"]
        assert len(on_npu) <= (1 if one.has_npu and device != "emulator" else 0)


@given(nodes)
def test_every_machine_with_cpus_works(found: list[Node]) -> None:
    chosen = places(found, "emulator", memory=2 * GB)
    assert {place.node.id for place in chosen} == {one.id for one in found if one.cpus}


def test_a_small_machine_has_one_worker_and_a_large_one_several() -> None:
    chosen = places([node("small", 2), node("large", 16)], "emulator")
    assert [(place.node.name, place.threads) for place in chosen] == [
        ("small", 2),
        ("large", MOST_THREADS),
        ("large", MOST_THREADS),
        ("large", MOST_THREADS),
        ("large", MOST_THREADS),
    ]


def test_workers_that_are_asked_for_get_fewer_threads_where_they_would_not_fit() -> None:
    assert [place.threads for place in places([node("one", 2)], "emulator", n_workers=2)] == [1, 1]


def test_a_machine_with_an_npu_opens_it_once() -> None:
    chosen = places([node("npu", 8, has_npu=True), node("other", 4)], "auto")
    assert sorted((place.node.name, place.device) for place in chosen) == [
        ("npu", "auto"),
        ("npu", "emulator"),
        ("other", "emulator"),
    ]
    assert [place.node.name for place in places([node("npu", 8, has_npu=True), node("other", 4)], "npu")] == [
        "npu"
    ]


def test_a_machine_that_cannot_work_does_not_keep_others_from_it() -> None:
    nodes = [node("first", 4), node("second", 4)]
    chosen = places(nodes, "emulator", n_workers=1, without={("id-first", "emulator")})
    assert [place.node.name for place in chosen] == ["second"]


def test_more_threads_than_any_machine_has_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"^--threads 8: .* no machine has more than 4; give --threads 4"):
        places([node("a", 4), node("b", 2)], "emulator", threads=8)


def test_a_machine_with_fewer_cpus_than_a_worker_has_threads_is_left_out() -> None:
    chosen = places([node("a", 4), node("b", 2)], "emulator", threads=4)
    assert [place.node.name for place in chosen] == ["a"]
