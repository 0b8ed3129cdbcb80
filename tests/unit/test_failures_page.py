"""docs/failures.md beside the tests: each row names one that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
    for line in (ROOT / "docs" / "failures.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| what happens"))
]


def test_the_page_has_rows_of_four_cells() -> None:
    assert len(ROWS) > 40
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []


@pytest.mark.parametrize("named", sorted({row[-1] for row in ROWS}))
def test_the_named_test_exists(named: str) -> None:
    for one in re.findall(r"`([^`]+)`", named):
        path, _, function = one.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in functions, one
    assert "::test_" in named
