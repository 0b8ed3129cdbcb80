"""The runtime sequence: tasks on the shim's DMA channels, waits for them, and parameters of cores.

The shim carries one fifo on each of its channels, so a channel goes by its fifo's name. A wait takes one
token of a channel, that of its oldest task that has one: this task and those before it on the channel are
then done. It says nothing of another channel. A result that has come means that its inputs were read, but
only the design's author knows which they were: queues and descriptors are counted by waits alone.

A task that writes to DRAM gives a token whether its text asks for it or not (mlir-aie,
lib/Dialect/AIEX/Transforms/AIEDmaToNpu.cpp), so the text has to say so. A token that nobody takes would
answer the first wait of the next dispatch, before its task is done.

What a task reads must have been written: by the host, or by tasks that were waited for. What a task writes,
no task may still be reading: a core that is done would overwrite what another one has not got yet.

A channel's queue holds a few tasks and drops a further one in silence; whoever waits for it waits for ever
(mlir-aie issue 3734; aie-rt xaie_dma.c, XAIE_DMA_MAX_QUEUE_SIZE).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from whisper_npu.kernels.verifier.design import (
    Design,
    LocalBuffer,
    Memcpy,
    ObjectFifo,
    Tile,
    Wait,
    WriteParameter,
)
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.npu.targets import Target


class Outstanding:
    """The tasks that may still be under way, by what the sequence has waited for."""

    def __init__(self, design: Design) -> None:
        self._fifos = {fifo.name: fifo for fifo in design.fifos}
        self._tasks: dict[str, list[Memcpy]] = {}  # of each channel, oldest first
        self._descriptors: dict[tuple[Tile | None, int], Memcpy] = {}  # in use, by shim

    def issue(self, op: Memcpy) -> None:
        self._tasks.setdefault(op.fifo, []).append(op)
        self._descriptors[self._fifos[op.fifo].shim, op.id] = op

    def wait(self, op: Wait) -> bool:
        """Retire what a token of the channel stands for. False where none will come."""
        tasks = self._tasks.get(op.fifo, [])
        done = next((number for number, task in enumerate(tasks) if task.token), None)
        if done is None:
            return False
        for task in tasks[: done + 1]:
            self._descriptors.pop((self._fifos[op.fifo].shim, task.id), None)
        del tasks[: done + 1]
        return True

    def on(self, fifo: str) -> int:
        """How many, on one channel."""
        return len(self._tasks.get(fifo, []))

    def using(self, op: Memcpy) -> Memcpy | None:
        """The task whose descriptor `op` would take."""
        return self._descriptors.get((self._fifos[op.fifo].shim, op.id))

    def outputs(self) -> dict[str, list[Memcpy]]:
        """Those that bring results, by fifo."""
        return self._of(inputs=False)

    def inputs(self) -> dict[str, list[Memcpy]]:
        """Those that bring operands."""
        return self._of(inputs=True)

    def _of(self, *, inputs: bool) -> dict[str, list[Memcpy]]:
        return {
            name: tasks
            for name, tasks in self._tasks.items()
            if tasks and is_input(self._fifos[name]) is inputs
        }

    def tokens(self) -> dict[str, int]:
        """How many will be given that nobody has taken, by fifo."""
        return {name: count for name, tasks in self._tasks.items() if (count := sum(t.token for t in tasks))}

    def __bool__(self) -> bool:
        return bool(self._descriptors)


def is_input(fifo: ObjectFifo) -> bool:
    """Whether it brings the host's data into the array."""
    return fifo.producer.kind == "shim"


def check_sequence(design: Design) -> None:
    """Raises DesignError, naming the place, for what holds on any array.

    Types and ranges of each task, descriptors in use, one token for each wait, parameters that change only
    while nothing is under way, every output and every token waited for.
    """
    fifos = {fifo.name: fifo for fifo in design.fifos}
    buffers = {buffer.name: buffer for buffer in design.buffers}
    running = Outstanding(design)
    in_the_array = False  # data that no result has shown to be worked off
    for op in design.sequence.ops:
        if isinstance(op, Memcpy):
            _check_task(op, fifos)
            if not is_input(fifos[op.fifo]) and not op.token:
                raise DesignError(
                    f"output {op.fifo}: a task without issue_token = true gives a token all the same"
                )
            _check_descriptor(op, running, fifos)
            if is_input(fifos[op.fifo]):
                _check_written(op, running)
            else:
                _check_read(op, running)
            running.issue(op)
            in_the_array = in_the_array or is_input(fifos[op.fifo])
        elif isinstance(op, Wait):
            if op.fifo not in fifos:
                raise DesignError(f"the sequence waits for {op.fifo}, there is no such fifo")
            if not running.wait(op):
                raise DesignError(f"the sequence waits for {op.fifo}, none of whose tasks will issue a token")
            in_the_array = in_the_array and is_input(fifos[op.fifo])
        else:
            _check_parameter(op, buffers)
            if running or in_the_array:
                raise DesignError(
                    f"parameter {op.buffer} changes while tasks run that its core works on: a race"
                )
    for name, outputs in running.outputs().items():
        elements = sum(task.elements for task in outputs)
        raise DesignError(f"output {name}: {len(outputs)} tasks of {elements} elements are never waited for")
    for name, count in running.tokens().items():
        raise DesignError(
            f"input {name}: {count} tokens are never waited for: the next dispatch's wait would take one"
        )


def _check_task(op: Memcpy, fifos: Mapping[str, ObjectFifo]) -> None:
    fifo = fifos.get(op.fifo)
    if fifo is None:
        raise DesignError(f"the sequence moves {op.argument} through {op.fifo}, there is no such fifo")
    place = f"shim {op.fifo}"
    if fifo.shim is None:
        raise DesignError(f"{place}: the fifo has no end at a shim")
    if op.memref.dtype != fifo.memref.dtype:
        raise DesignError(f"{place}: {op.argument} is {op.memref}, the fifo's objects are {fifo.memref}")
    if op.elements % fifo.memref.elements:
        # The rest of an object never comes, and its reader hangs without an error: mlir-aie issue 3672.
        raise DesignError(
            f"{place}: {op.elements} elements are no multiple of an object's {fifo.memref.elements}"
        )
    if (last := _last(op)) >= op.memref.elements:
        raise DesignError(f"{place}: element {last} is outside {op.argument}, which has {op.memref.elements}")


def _check_descriptor(op: Memcpy, running: Outstanding, fifos: Mapping[str, ObjectFifo]) -> None:
    task = running.using(op)
    if task is not None:
        raise DesignError(
            f"{fifos[op.fifo].shim}: a task of {op.fifo} takes buffer descriptor {op.id}, which a task of "
            f"{task.fifo} may still use: no wait on {task.fifo} has shown that it is done"
        )


def _check_written(op: Memcpy, running: Outstanding) -> None:
    for name, task in _touched(op, running.outputs()):
        raise DesignError(
            f"shim {op.fifo} reads of {task.argument} what a task of {name} may not have written yet: wait "
            f"for {name} first"
        )


def _check_read(op: Memcpy, running: Outstanding) -> None:
    for name, task in _touched(op, running.inputs()):
        raise DesignError(
            f"shim {op.fifo} writes to {task.argument} over what a task of {name} may not have read yet: "
            f"wait for {name} first"
        )


def _touched(op: Memcpy, others: Mapping[str, Sequence[Memcpy]]) -> Iterator[tuple[str, Memcpy]]:
    """Of what lies between the first and the last element of a task, all counts as its."""
    for name, tasks in others.items():
        for task in tasks:
            overlap = max(op.offset, task.offset) <= min(_last(op), _last(task))
            if task.argument == op.argument and overlap:
                yield name, task


def _last(op: Memcpy) -> int:
    """The highest element that it touches."""
    return op.offset + sum((size - 1) * stride for size, stride in zip(op.sizes, op.strides, strict=True))


def _check_parameter(op: WriteParameter, buffers: Mapping[str, LocalBuffer]) -> None:
    buffer = buffers.get(op.buffer)
    if buffer is None:
        raise DesignError(f"the sequence writes a parameter: there is no buffer {op.buffer}")
    if buffer.memref.dtype != "i32":
        raise DesignError(f"the sequence writes a parameter: {op.buffer} is {buffer.memref}, not of i32")
    if not 0 <= op.index < buffer.memref.elements:
        raise DesignError(f"the sequence writes a parameter: index {op.index} is outside {op.buffer}")


def check_queues(design: Design, target: Target) -> None:
    """No task is pushed onto a channel whose queue could be full.

    For a design that `check_sequence` takes. Raises DesignError, naming channel, count and limit.
    """
    running = Outstanding(design)
    for op in design.sequence.ops:
        if isinstance(op, Memcpy):
            running.issue(op)
            if running.on(op.fifo) > target.shim_queue:
                raise DesignError(
                    f"{design.fifo(op.fifo).shim}: {running.on(op.fifo)} tasks of {op.fifo} may be "
                    f"outstanding, the limit is {target.shim_queue}: the channel's queue drops a further one "
                    "in silence; wait for an earlier one"
                )
        elif isinstance(op, Wait):
            running.wait(op)
