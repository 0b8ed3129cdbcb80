"""Starts that are killed: at each rename and fsync, and at random moments. Run as a program, in one process.

    python -m tests.support.killed_starts CHECKPOINT FOLDER RANDOM_MOMENTS [EVERY]

It forks a child for each start, which is far faster than to run Python anew. For each killed start it makes a
cache in FOLDER, starts again, and prints one line of JSON: where it was killed, what the next start left in
the cache besides entries, and a digest of all entries. EVERY: of the renames and fsyncs, every so many.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from whisper_npu import load_model


def start(checkpoint: Path, cache: Path) -> None:
    """All that a first start keeps: the conversion, the decoder alone, the staged encoder."""
    load_model(checkpoint, device="emulator", threads=1, compute_type="float32", cache_dir=cache).close()


def killed_at(count: int) -> None:
    """From here on, this process is killed before its rename or fsync of this number."""
    left = count

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    for name in ("rename", "replace", "fsync", "rmdir"):
        setattr(os, name, before(getattr(os, name)))


def in_child(work: Callable[[], None], seconds: float | None = None) -> bool:
    """Whether the child came to its end; it is killed after so many seconds."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == 0


def entries(cache: Path) -> str:
    """A digest of all that entries hold; their names depend on when they were made."""
    found = []
    for folder in cache.iterdir():
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        found.append([(file.name, sha256(file.read_bytes()).hexdigest()) for file in files])
    return sha256(repr(sorted(found)).encode()).hexdigest()


def start_again(checkpoint: Path, cache: Path, where: str) -> None:
    assert in_child(lambda: start(checkpoint, cache))
    left = [path.name for path in cache.iterdir() if path.name.startswith(".")]
    print(json.dumps({"where": where, "left": left, "entries": entries(cache)}), flush=True)
    shutil.rmtree(cache)


def main(checkpoint: Path, folder: Path, moments: int, every: int = 1) -> None:
    cache = folder / "cache"
    began = time.monotonic()
    start_again(checkpoint, cache, "nowhere")
    took = time.monotonic() - began
    for count in range(0, 10_000, every):

        def until_killed(count: int = count) -> None:
            killed_at(count)
            start(checkpoint, cache)

        came_to_its_end = in_child(until_killed)
        start_again(checkpoint, cache, f"call {count}")
        if came_to_its_end:
            break
    moment = random.Random(0)
    for _ in range(moments):
        seconds = moment.uniform(0, took)
        in_child(lambda: start(checkpoint, cache), seconds)
        cache.mkdir(exist_ok=True)
        start_again(checkpoint, cache, f"{seconds:.3f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
