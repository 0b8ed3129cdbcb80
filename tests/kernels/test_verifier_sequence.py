"""Tasks of the shim: queues, descriptors and parameters are judged by waits, each for its own channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.verifier_designs import (
    a_step_by_step,
    broken,
    one_core,
    run,
    runtime_k,
    task_of,
    waited_for,
    with_token,
)
from whisper_npu.kernels.verifier import DesignError, check_structure, parse
from whisper_npu.npu.targets import NPU1

WAIT_A, WAIT_C = "aiex.npu.dma_wait {symbol = @A_L3L2}", "aiex.npu.dma_wait {symbol = @C_L2L3}"


def refuse(text: str, *says: str) -> None:
    """Both by what is checked beforehand and by who executes the text."""
    for judge in (lambda: check_structure(parse(text), NPU1), lambda: run(text, 8, 48, 12)):
        with pytest.raises(DesignError) as raised:
            judge()
        for part in says:
            assert part in str(raised.value)
        assert "\n" not in str(raised.value)


def tasks_of_a(text: str) -> list[str]:
    return [line for line in text.splitlines() if "metadata = @A_L3L2" in line]


def sequence_again(text: str, times: int, *, waits: str = "") -> str:
    """The design's sequence with its tasks so many times, as one dispatch; `waits` after each."""
    start, end = text.index("      aiex.npu.dma_memcpy_nd(%C"), text.index("\n    }\n  }\n}")
    return text[:start] + "\n".join([text[start:end] + waits] * times) + text[end:]


# ------------------------------------------------------------------------------------------- the queue


@pytest.mark.parametrize("steps", [1, 4])
def test_as_many_tasks_as_the_queue_holds(steps: int) -> None:
    text = a_step_by_step(steps)
    check_structure(parse(text), NPU1)
    assert run(text, 8, 16 * steps, 12)[1] < 1e-4


@pytest.mark.parametrize("steps", [5, 8])
def test_a_task_more_than_the_queue_holds(steps: int) -> None:
    refuse(a_step_by_step(steps), "shim (0,0): 5 tasks of A_L3L2", "the limit is 4")


def test_a_wait_on_the_channel_makes_room() -> None:
    """The token of the second task stands for the first as well."""
    text = a_step_by_step(6)
    second, fifth = tasks_of_a(text)[1], tasks_of_a(text)[4]
    text = broken(text, second, with_token(second))
    sixth = tasks_of_a(text)[5]
    refuse(broken(text, sixth, f"{sixth}\n{WAIT_A}"), "5 tasks of A_L3L2")
    text = broken(text, fifth, f"{WAIT_A}\n{fifth}")
    check_structure(parse(text), NPU1)
    assert run(text, 8, 96, 12)[1] < 1e-4
    last = tasks_of_a(text)[5]
    refuse(broken(text, last, f"{last}\n{broken(last, 'id = 8', 'id = 9')}"), "5 tasks of A_L3L2")


def test_a_wait_on_another_channel_makes_none() -> None:
    """That C has come means that A was read, five times over: but nobody waited for A."""
    text = one_core()
    for fifo in ("A_L3L2", "B_L3L2"):
        task = task_of(text, fifo)
        text = broken(text, task, waited_for(task) if fifo == "B_L3L2" else task)
    four = sequence_again(text, 4)
    five = sequence_again(text, 5)
    for number, again in ((4, four), (5, five)):
        numbered = again
        for descriptor in range(3, 3 + number - 1):
            at = numbered.rindex("{id = 0 : i64, metadata = @A_L3L2}")
            numbered = numbered[:at] + numbered[at:].replace("id = 0", f"id = {descriptor}", 1)
        if number == 4:
            check_structure(parse(numbered), NPU1)
            assert run(numbered, 8, 48, 12)[1] < 1e-4
        else:
            refuse(numbered, "shim (0,0): 5 tasks of A_L3L2", "the limit is 4")


@given(st.lists(st.sampled_from(["push", "push with token", "wait"]), min_size=1, max_size=14))
def test_the_queue_is_counted_like_tokens_are(plan: list[str]) -> None:
    """Against a queue of numbers: a wait takes the oldest token and what is before it."""
    template = one_core()
    task = broken(task_of(template, "A_L3L2"), "[1, 3, 8, 16][0, 16, 48, 1]", "[1, 1, 8, 16][0, 0, 48, 1]")
    lines, queue, verdict, free = [], [], "", set(range(3, 16))
    for what in plan:
        if what == "wait":
            lines.append(WAIT_A)
            tokens = [place for place, (_, token) in enumerate(queue) if token]
            if not tokens:
                verdict = "none of whose tasks will issue a token"
                break
            free |= {descriptor for descriptor, _ in queue[: tokens[0] + 1]}
            queue = queue[tokens[0] + 1 :]
            continue
        descriptor = min(free)
        free.remove(descriptor)
        queue.append((descriptor, "token" in what))
        numbered = broken(task, "id = 0", f"id = {descriptor}")
        lines.append(with_token(numbered) if "token" in what else numbered)
        if len(queue) > NPU1.shim_queue:
            verdict = f"{len(queue)} tasks of A_L3L2 may be outstanding"
            break
    lines += [WAIT_A for _, token in queue if token]
    text = broken(template, task_of(template, "A_L3L2"), "\n".join(lines))
    try:
        check_structure(parse(text), NPU1)
        outcome = ""
    except DesignError as error:
        outcome = str(error)
    assert verdict in outcome
    assert bool(verdict) == bool(outcome)


# --------------------------------------------------------------------------------------- descriptors


def test_descriptor_of_another_channel() -> None:
    refuse(broken(one_core(), "id = 1 : i64", "id = 0 : i64"), "descriptor 0", "A_L3L2", "B_L3L2")


def test_descriptor_of_a_task_that_nobody_waited_for() -> None:
    """Though C has come, and with it all that A and B brought."""
    twice = sequence_again(one_core(), 2)
    refuse(twice, "a task of A_L3L2 takes buffer descriptor 0, which a task of A_L3L2 may still use")
    text = one_core()
    for fifo in ("A_L3L2", "B_L3L2"):
        task = task_of(text, fifo)
        text = broken(text, task, with_token(task))
    waits = "".join(f"\n      aiex.npu.dma_wait {{symbol = @{fifo}}}" for fifo in ("A_L3L2", "B_L3L2"))
    text = sequence_again(text, 2, waits=waits)
    check_structure(parse(text), NPU1)
    assert run(text, 8, 48, 12)[1] < 1e-4


def test_descriptor_that_a_wait_gave_back() -> None:
    text = a_step_by_step(3, (3, 4, 3))
    refuse(text, "descriptor 3", "A_L3L2")
    first = tasks_of_a(text)[0]
    waited = broken(text, first, waited_for(first))
    check_structure(parse(waited), NPU1)
    assert run(waited, 8, 48, 12)[1] < 1e-4


# ------------------------------------------------------------------------------------------- objects


def test_transfer_of_half_an_object() -> None:
    refuse(broken(one_core(), "[1, 3, 8, 16]", "[1, 3, 8, 12]"), "A_L3L2", "288 elements", "128")


# ---------------------------------------------------------------------------------------- parameters

WRITE = "aiex.npu.rtp_write(@steps, 0, 3)"
RACE = ("steps changes while tasks run", "race")


def write_after(text: str, line: str) -> str:
    return broken(broken(text, WRITE, ""), line, f"{line}\n      {WRITE}")


def test_parameter_that_changes_before_the_result_has_come() -> None:
    refuse(write_after(runtime_k(), task_of(runtime_k(), "B_L3L2")), *RACE)


@pytest.mark.parametrize("fifo", ["A_L3L2", "B_L3L2"])
def test_parameter_that_changes_after_an_input_and_before_any_output(fifo: str) -> None:
    """The input has begun, no output has: nothing that is waited for tells how far the core is."""
    text = runtime_k()
    output = task_of(text, "C_L2L3")
    task = task_of(text, fifo)
    text = broken(broken(text, f"{output}\n", ""), WAIT_C, f"{output}\n      {WAIT_C}")
    refuse(write_after(text, task), *RACE)


def test_parameter_that_changes_when_its_input_has_left_the_host() -> None:
    """A wait for A says that A is in the array, not that its core is done with it."""
    text = runtime_k()
    output, a, b = (task_of(text, fifo) for fifo in ("C_L2L3", "A_L3L2", "B_L3L2"))
    text = broken(broken(text, f"{output}\n", ""), WAIT_C, f"{output}\n      {WAIT_C}")
    text = broken(broken(text, a, waited_for(a)), b, waited_for(b))
    last = waited_for(b).splitlines()[-1].strip()
    refuse(write_after(text, last), *RACE)


def test_parameter_that_changes_between_two_products() -> None:
    """Once the result and both inputs are waited for."""
    text = runtime_k()
    for fifo in ("A_L3L2", "B_L3L2"):
        task = task_of(text, fifo)
        text = broken(text, task, with_token(task))
    again = text[text.index("      aiex.npu.dma_memcpy_nd(%C") : text.index("\n    }\n  }\n}")]
    waits = f"{WAIT_A}\n      aiex.npu.dma_wait {{symbol = @B_L3L2}}"
    text = broken(text, WAIT_C, f"{WAIT_C}\n{waits}\n      {WRITE}\n{again}\n{waits}")
    check_structure(parse(text), NPU1)
    assert run(text, 8, 48, 12)[1] < 1e-4
    refuse(broken(text, waits, WAIT_A), *RACE)


def test_parameter_that_changes_while_a_core_holds_an_object() -> None:
    """Every task is done and every output waited for, but the core works on: found when it is executed."""
    text = runtime_k(steps=4)
    for fifo in ("A_L3L2", "B_L3L2"):
        task = task_of(text, fifo)
        text = broken(text, task, with_token(task))
    waits = f"{WAIT_A}\n      aiex.npu.dma_wait {{symbol = @B_L3L2}}"
    begun = [
        broken(task_of(text, "A_L3L2"), "[1, 4, 8, 16]", "[1, 1, 8, 16]").replace("id = 0", "id = 3"),
        broken(task_of(text, "B_L3L2"), "[1, 4, 16, 12]", "[1, 1, 16, 12]").replace("id = 1", "id = 4"),
    ]
    write = "aiex.npu.rtp_write(@steps, 0, 4)"
    text = broken(text, WAIT_C, "\n".join([*begun, WAIT_C, waits, waits, f"      {write}"]))
    check_structure(parse(text), NPU1)
    with pytest.raises(DesignError, match=r"steps changes while tasks run.*in the middle of its round"):
        run(text, 8, 64, 12)
