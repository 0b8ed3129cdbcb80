"""Hostile recordings one by one, to look at.

python -m tests.fuzz                          what comes of each, where it is not what is expected
python -m tests.fuzz --seed 3 flac            the same of those whose name holds "flac"
python -m tests.fuzz --write FOLDER flac      write them instead
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.fuzz.readers import outcomes, write
from tests.fuzz.recordings import hostile_recordings, problem


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Read hostile recordings.")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--all", action="store_true", help="say of each what came of it")
    given = parser.parse_args()
    chosen = [one for one in hostile_recordings(given.seed) if given.name in one.name]
    if given.write is not None:
        given.write.mkdir(parents=True, exist_ok=True)
        for recording in chosen:
            print(write(recording, given.write))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes(chosen, Path(folder))
    for recording, outcome in sorted(found, key=lambda pair: pair[0].name):
        wrong = problem(recording, outcome)
        if wrong or given.all:
            print(f"{recording.name}: {wrong or outcome}")
    took = sum(outcome.took for _, outcome in found)
    slow = sorted(found, key=lambda pair: -pair[1].took)[:20]
    print(f"{len(found)} recordings, {took:.1f} s; slowest:", {r.name: round(o.took, 2) for r, o in slow})
    large = sorted(found, key=lambda pair: -pair[1].grown)[:1]
    print("grown by", {r.name: f"{o.grown / 2**20:.0f} MB" for r, o in large})


if __name__ == "__main__":
    main()
