"""Which machines get workers, how many, and with how many threads. Pure: it knows no Ray."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from whisper_npu.errors import UsageError

NPU = "amd_npu"  # the resource of a machine with an NPU: ray start --resources='{"amd_npu": 1}'
MOST_THREADS = 4  # of a worker, where nobody asks for more


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    id: str
    name: str
    cpus: int  # that Ray may use there
    memory: int  # bytes, that Ray may use there
    has_npu: bool


@dataclass(frozen=True)
class Place:
    """Where one worker is: on which machine, and on which device."""

    node: Node
    number: int  # of the workers on this machine, from 0
    device: str
    threads: int


def places(
    nodes: Sequence[Node],
    device: str,
    *,
    threads: int | None = None,
    n_workers: int | None = None,
    memory: int = 0,
    without: Container[tuple[str, str]] = (),
) -> list[Place]:
    """A worker for every few CPUs of each machine; at most `n_workers`, spread over the machines.

    device: "npu": one worker on each machine with an NPU, and none elsewhere. "auto": others are emulators.
    threads: of each worker; None: four, or as many as a smaller machine has, and fewer where `n_workers`
    would not fit otherwise. memory: bytes that one needs; each machine may have one, however little it has.
    without: ids of nodes, and devices, that cannot work.
    Raises UsageError where no machine has as many CPUs as `threads`, which no waiting would change.
    """
    if device == "npu":
        nodes = [node for node in nodes if node.has_npu]
    most = max((node.cpus for node in nodes), default=0)
    if threads is not None and 0 < most < threads:
        raise UsageError(
            f"--threads {threads}: a worker needs as many CPUs, and no machine has more than {most}; "
            f"give --threads {most}, or less"
        )
    for per_worker in [threads] if threads is not None else range(MOST_THREADS, 0, -1):
        rows = []
        for node in nodes:
            size = per_worker if threads is not None else min(per_worker, node.cpus)
            row = _on(node, device, size, memory)
            rows.append([place for place in row if (node.id, place.device) not in without])
        if n_workers is None or sum(map(len, rows)) >= n_workers:
            break
    deepest = max(map(len, rows), default=0)
    spread = [row[number] for number in range(deepest) for row in rows if number < len(row)]
    return spread[:n_workers]


def _on(node: Node, device: str, threads: int, memory: int) -> list[Place]:
    if threads < 1 or node.cpus < threads:
        return []
    count = node.cpus // threads
    if memory:
        count = max(1, min(count, node.memory // memory))
    if device == "npu":
        count = 1
    devices = [device if node.has_npu and not number else "emulator" for number in range(count)]
    return [Place(node, number, name, threads) for number, name in enumerate(devices)]
