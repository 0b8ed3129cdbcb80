"""Changes the program in one place at a time, and asks whether a test notices.

    python scripts/mutants.py                            # all, one after the other
    python scripts/mutants.py --only verifier --jobs 2   # those whose file or lines have this in them
    python scripts/mutants.py --resume mutants.jsonl     # keeps results there, and goes on from there
    python scripts/mutants.py --list                     # what would be tried; runs nothing

scripts/mutants.toml says which tests belong to which files, and how many mutations each file gets. It also
holds those written by hand: a file, the text, what it becomes. The others are made by the operators below; a
hash of the seed and of the changed line picks them, so that a pick stays the same while other lines change.

Each mutation runs in a copy of the tree, against the tests of its file until the first fails.
What takes three times as long as the tests do without it, and a minute, is caught as a hang. Those that no
test could notice are listed with the reason, and count neither as caught nor as survived. Exit code 1: fewer
than 95 % of the others were caught. mutmut and cosmic-ray mutate every line and run for days; neither takes
mutations that are written down.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from time import monotonic
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
ENOUGH = 0.95  # of the mutations that a test could notice
CAUGHT, SURVIVED, EQUIVALENT = "caught", "survived", "equivalent"
MEMORY_BYTES = 8 << 30  # of one run of the tests: a mutation may ask for any amount
RUN_TESTS = (
    f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES},) * 2); "
    "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
)


@dataclass(frozen=True)
class Mutation:
    """A text of a file, and what stands there instead."""

    file: str  # from the root of the repository
    line: int
    before: str  # the changed lines
    after: str
    parts: tuple[bytes, bytes, bytes]  # of the file: what stays, what is changed into, what stays
    equivalent: str = ""  # why no test can notice it

    @property
    def source(self) -> bytes:
        """The whole file, mutated."""
        return b"".join(self.parts)

    @property
    def key(self) -> str:
        return f"{self.file}: {self.before} -> {self.after}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n    - {self.before}\n    + {self.after}"


@dataclass(frozen=True)
class Outcome:
    """What the tests said."""

    key: str
    package: str
    outcome: str  # "caught", "survived" or "equivalent"
    seconds: float = 0.0  # MEASURED
    by: str = ""  # the test that failed, or the reason why none can


@dataclass(frozen=True)
class Part:
    """Files that are tested alike."""

    package: str  # what the summary calls it
    files: list[str]  # patterns of pathlib
    tests: list[str]  # what pytest is given first
    wider: list[str]  # and where those notice nothing
    lines_per_mutation: int = 200  # of a file; it gets one at least

    def paths(self) -> list[Path]:
        return sorted({path for pattern in self.files for path in ROOT.glob(pattern)})


class Table:
    """scripts/mutants.toml."""

    def __init__(self, path: Path) -> None:
        read = tomllib.loads(path.read_text("utf-8"))
        self.by_hand: list[dict[str, str]] = read["mutation"]
        self.equivalent = {
            f"{given['file']}: {given['before']} -> {given['after']}": given["why"]
            for given in read.get("equivalent", [])
        }
        self.parts = [Part(**part) for part in read["part"]]

    @cached_property
    def part_of(self) -> dict[str, Part]:
        """By file; of several the first that names it."""
        found: dict[str, Part] = {}
        for part in self.parts:
            for path in part.paths():
                found.setdefault(path.relative_to(ROOT).as_posix(), part)
        return found

    def mutations(self, seed: int) -> list[Mutation]:
        """Raises ValueError where one that is written by hand does not apply exactly once."""
        found = [written(given) for given in self.by_hand]
        for file, part in self.part_of.items():
            source = (ROOT / file).read_bytes()
            possible = {mutation.key: mutation for mutation in generated(file, source)}
            picked = sorted(possible, key=lambda key: sha256(f"{seed} {key}".encode()).digest())
            wanted = max(1, source.count(b"\n") // part.lines_per_mutation)
            found += [
                Mutation(**vars(possible[key]) | {"equivalent": self.equivalent.get(key, "")})
                for key in picked[:wanted]
            ]
        return found


# ------------------------------------------------------------------------------------------- what is changed


def written(given: dict[str, str]) -> Mutation:
    """A mutation of the table. Raises ValueError where its text is not in the file, or not once only."""
    text = (ROOT / given["file"]).read_text("utf-8")
    count = text.count(given["was"])
    if count != 1:
        raise ValueError(f"{given['file']} has this text {count} times, not once:\n{given['was']}")
    start = len(text[: text.index(given["was"])].encode())
    new = given["becomes"].encode()
    return at(given["file"], text.encode(), start, start + len(given["was"].encode()), new, given)


def at(file: str, old: bytes, start: int, end: int, text: bytes, given: dict[str, str]) -> Mutation:
    """The bytes from start to end of a file replaced by others."""
    first, last = old.rfind(b"\n", 0, start) + 1, old.find(b"\n", end)
    before, after = old[first:last], old[first:start] + text + old[end:last]
    was, becomes = (" ".join(lines.decode().split()) for lines in (before, after))
    line = old.count(b"\n", 0, start) + 1
    return Mutation(file, line, was, becomes, (old[:start], text, old[end:]), given.get("equivalent", ""))


COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
}
TEXT_ONLY = ("__str__", "__repr__", "__hash__")  # any hash is right


def generated(file: str, source: bytes) -> Iterator[Mutation]:
    """Every change that an operator makes of a file."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, text in places(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        yield at(file, source, start, end, text.encode(), {})


def places(node: ast.AST) -> Iterator[tuple[Any, str]]:
    """Each place that is worth a change, and what stands there instead; what people read is left alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield from changes(node)
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr)):
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: an invariant, as an assert is
        return
    if isinstance(node, ast.FunctionDef) and node.name in TEXT_ONLY:
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from places(child)


def changes(node: Any) -> Iterator[tuple[Any, str]]:
    """What the operators make of one node."""
    match node:
        case ast.Compare(ops=[one]) if type(one) in COMPARED:
            yield node, changed(node, ops=[COMPARED[type(one)]()])
        case ast.BoolOp():
            yield node, changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.BinOp() if type(node.op) in COMPUTED and not is_text(node):
            yield node, changed(node, op=COMPUTED[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node, f"({ast.unparse(node.operand)})"
        case ast.UnaryOp(ast.USub(), ast.BinOp(ast.UnaryOp(ast.USub(), size), ast.FloorDiv()) as quotient):
            yield node, changed(quotient, left=size)  # rounded down, not up
        case ast.Constant(value=bool() as flag):
            yield node, str(not flag)
        case ast.Constant(value=int() as number):
            yield node, str(number + 1)
        case ast.Constant(value=float() as number):
            yield node, str(2 * number or 1.0)
        case ast.Slice():
            if node.lower is not None:
                yield node.lower, f"({ast.unparse(node.lower)}) + 1"
            if node.upper is not None:
                yield node.upper, f"({ast.unparse(node.upper)}) - 1"
        case ast.Call(args=[ast.Name() as first, ast.Name() as second, *others], func=function):
            if ast.unparse(function) not in ("isinstance", "min", "max"):
                yield node, changed(node, args=[second, first, *others])
        case ast.If(test=ast.Name() | ast.Call() | ast.Attribute()):
            yield node.test, f"not ({ast.unparse(node.test)})"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield node, "pass"


def changed(node: ast.AST, **fields: Any) -> str:
    new: ast.AST = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return f"({ast.unparse(new)})"


def is_text(node: ast.BinOp) -> bool:
    """Strings that are put together, or types: X | None."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.JoinedStr):
            return True
        if isinstance(inner, ast.Constant) and isinstance(inner.value, (str, type(None))):
            return True
    return False


# ------------------------------------------------------------------------------------------ what tests say


class Tree:
    """A copy of the repository, in which one mutation at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", ".hypothesis")
        shutil.copytree(ROOT, folder, symlinks=True, ignore=ignored)

    def run(self, tests: Sequence[str], seconds: float | None, *, keeps_bytecode: bool = False) -> str | None:
        """Run tests until one fails. Returns its name, or what else went wrong; None where all pass."""
        environ = os.environ | {"PYTHONPATH": str(self.root)}
        if not keeps_bytecode:
            environ["PYTHONDONTWRITEBYTECODE"] = "1"
        options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=no"]
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_TESTS, *options, *tests],
            cwd=self.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"no end after {seconds:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode == 0:
            return None
        failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0].split(" ")[1] if failed else f"exit code {process.returncode}"

    def mutated(self, mutation: Mutation, tests: Sequence[str], seconds: float) -> str | None:
        """What `run` says while the mutation is in place."""
        path = self.root / mutation.file
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        before = path.read_bytes()
        try:
            path.write_bytes(mutation.source)
            os.utime(path, ns=(times[0], times[1] + 10**10))  # bytecode that is kept tells them apart by this
            return self.run(tests, seconds)
        finally:
            path.write_bytes(before)
            os.utime(path, ns=times)


class Trial:
    """Tries mutations, each against the tests of its file."""

    def __init__(self, table: Table, folder: Path, jobs: int) -> None:
        self._table = table
        self._trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(jobs):
            self._trees.put(Tree(folder / str(number)))
        self._seconds: dict[str, float] = {}  # that these tests take without a mutation
        self._one_at_a_time = Lock()

    def of(self, mutation: Mutation) -> Outcome:
        """Raises RuntimeError where a test fails without the mutation."""
        part = self._table.part_of[mutation.file]
        if mutation.equivalent:
            return Outcome(mutation.key, part.package, EQUIVALENT, by=mutation.equivalent)
        seconds, by = 0.0, None
        for tests in filter(None, (part.tests, part.wider)):
            allowed = 60 + 3 * self._usual(tests)
            tree, start = self._trees.get(), monotonic()
            try:
                by = tree.mutated(mutation, tests, allowed)
            finally:
                self._trees.put(tree)
            seconds += monotonic() - start
            if by is not None:
                break
        outcome = SURVIVED if by is None else CAUGHT
        return Outcome(mutation.key, part.package, outcome, round(seconds, 1), by or "")

    def _usual(self, tests: list[str]) -> float:
        name = " ".join(tests)
        with self._one_at_a_time:
            if name not in self._seconds:
                tree, start = self._trees.get(), monotonic()
                try:
                    failed = tree.run(tests, None, keeps_bytecode=True)
                finally:
                    self._trees.put(tree)
                if failed is not None:
                    raise RuntimeError(f"without any mutation there fails {failed}")
                self._seconds[name] = monotonic() - start
            return self._seconds[name]


# ---------------------------------------------------------------------------------------------------- report


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="a part of the file's name or of the changed lines")
    parser.add_argument("--jobs", type=int, default=1, help="mutations at a time; each takes a core")
    parser.add_argument("--seed", type=int, default=0, help="another one picks other generated mutations")
    parser.add_argument("--resume", type=Path, help="a file of results: what it has as caught is kept")
    parser.add_argument("--json", type=Path, help="where all results go, as one document")
    parser.add_argument("--list", action="store_true", help="print the mutations and end")
    arguments = parser.parse_args()
    table = Table(TABLE)
    mutations = [one for one in table.mutations(arguments.seed) if arguments.only in one.key]
    if arguments.list:
        print(*mutations, f"{len(mutations)} mutations", sep="\n")
        return 0
    known = earlier(arguments.resume)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        trial = Trial(table, Path(folder), arguments.jobs)
        waiting = [one for one in mutations if one.key not in known]
        trying = {pool.submit(trial.of, mutation): mutation for mutation in waiting}
        try:
            for done in as_completed(trying):
                mutation, outcome = trying[done], done.result()
                known[mutation.key] = outcome
                print(f"{outcome.outcome} {outcome.seconds:.1f} s {mutation}\n    {outcome.by}", flush=True)
                if arguments.resume:
                    with arguments.resume.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(outcome)) + "\n")
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C what is being tried comes to its end
    outcomes = [known[mutation.key] for mutation in mutations]
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1), "utf-8")
    return report(outcomes)


def earlier(path: Path | None) -> dict[str, Outcome]:
    if path is None or not path.exists():
        return {}
    read = [Outcome(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return {outcome.key: outcome for outcome in read if outcome.outcome == CAUGHT}


def report(outcomes: Sequence[Outcome]) -> int:
    """Prints the rate of each package. Returns the exit code."""
    count = Counter((outcome.package, outcome.outcome) for outcome in outcomes)
    total = Counter(outcome.outcome for outcome in outcomes)
    count.update({("all", outcome): number for outcome, number in total.items()})
    for package in [*dict.fromkeys(outcome.package for outcome in outcomes), "all"]:
        caught, survived, equivalent = (count[package, kind] for kind in (CAUGHT, SURVIVED, EQUIVALENT))
        rate = caught / max(1, caught + survived)
        print(f"{package:16} {caught:4} caught {survived:4} survived {equivalent:4} equivalent {rate:7.1%}")
    for outcome in outcomes:
        if outcome.outcome == SURVIVED:
            print(f"survived: {outcome.key}")
    return 0 if total[CAUGHT] >= ENOUGH * (total[CAUGHT] + total[SURVIVED]) else 1


if __name__ == "__main__":
    sys.exit(main())
