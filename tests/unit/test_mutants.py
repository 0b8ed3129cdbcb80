"""scripts/mutants.py: its table fits the source, and what it says of a program whose tests are known."""

from __future__ import annotations

import ast
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

SOURCE = """
def least(values, most=10):
    found = min(values)
    if found < most and len(values) > 1:
        values.sort()
    return found
"""
TEST = """
from least import least

def test_least():
    assert least([3, 2]) == 2
"""
TABLE = """
[[part]]
package = "least"
files = ["least.py"]
tests = ["test_least.py"]
wider = []

[[mutation]]
file = "least.py"
was = "min(values)"
becomes = "max(values)"

[[mutation]]
file = "least.py"
was = "values.sort()"
becomes = "pass"

[[mutation]]
file = "least.py"
was = "most=10"
becomes = "most=11"
equivalent = "nobody asks"
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("mutants", ROOT / "scripts/mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutants", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in a repository of one module and one test."""
    for name, text in (("least.py", SOURCE), ("test_least.py", TEST), ("mutants.toml", TABLE)):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "TABLE", tmp_path / "mutants.toml")
    return script


def test_every_mutation_applies_to_the_source_and_leaves_a_program(script: ModuleType) -> None:
    """Where this fails, a text that scripts/mutants.toml names has moved or changed: correct it there."""
    table = script.Table(script.TABLE)
    mutations = table.mutations(seed=0)  # raises ValueError where a text is not there exactly once
    for mutation in mutations:
        ast.parse(mutation.source)
        assert mutation.before != mutation.after
    assert len({mutation.key for mutation in mutations[: len(table.by_hand)]}) == len(table.by_hand)
    assert len(mutations) >= 120


def test_every_part_names_files_and_tests_that_there_are(script: ModuleType) -> None:
    table = script.Table(script.TABLE)
    for part in table.parts:
        for pattern in part.files:
            assert list(ROOT.glob(pattern)), pattern
        for test in (*part.tests, *part.wider):
            assert test.startswith("--") or (ROOT / test).exists()
    assert {given["file"] for given in table.by_hand} <= table.part_of.keys()


def test_operators_change_what_is_computed_and_not_what_people_read(script: ModuleType) -> None:
    made = {mutation.after for mutation in script.generated("least.py", SOURCE.encode())}
    assert made == {
        "if (found < most or len(values) > 1):",
        "if (found <= most) and len(values) > 1:",
        "if found < most and (len(values) >= 1):",
        "if found < most and len(values) > 2:",
        "pass",
    }
    for text in ('raise ValueError(f"{1 + 1} is not {a < b}")', "assert a < b", "x: int | None"):
        assert {one.after for one in script.generated("a.py", text.encode())} <= {"pass"}


def test_a_text_that_is_not_there_once_is_an_error(small: ModuleType) -> None:
    with pytest.raises(ValueError, match="has this text 2 times, not once"):
        small.written({"file": "least.py", "was": "found <", "becomes": ""} | {"was": "values)"})


def test_what_is_caught_survives_or_cannot_be_noticed(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["mutants", "--only", "alues", "--json", str(found)])
    assert small.main() == 1
    by_hand = json.loads(found.read_text())[:2]
    assert [(one["outcome"], one["by"]) for one in by_hand] == [
        ("caught", "test_least.py::test_least"),
        ("survived", ""),
    ]
    said = capsys.readouterr().out
    assert "survived: least.py: values.sort() -> pass" in said
    assert (tmp_path / "least.py").read_text() == SOURCE
