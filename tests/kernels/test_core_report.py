"""The table of what the cores run: what a manifest says, and "-" for what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from whisper_npu.kernels.core_report import as_markdown
from whisper_npu.npu.targets import NPU1


@pytest.mark.parametrize(
    ("program", "cells"),
    [
        (
            {"program_bytes": 3216, "inner_loop": {"bundles": 1, "vmacs": 1}, "spills": 0},
            ["3,216 of 16,384", "1", "1", "1.00", "0"],
        ),
        (
            {"program_bytes": 96, "inner_loop": {"bundles": 18, "vmacs": 0}, "spills": 2},
            ["96 of 16,384", "18", "0", "0.00", "2"],
        ),
        ({"inner_loop": {"bundles": 0, "vmacs": 3}}, ["-", "0", "3", "-", "-"]),
        ({"inner_loop": {"bundles": "2", "vmacs": 3}, "spills": None}, ["-", "-", "3", "-", "-"]),
        ({"inner_loop": None}, ["-"] * 5),
        ("no object", ["-"] * 5),
    ],
)
def test_a_row_says_what_was_counted(program: Any, cells: list[str]) -> None:
    manifest = {"design": "matmul_64x64", "core_programs": {"a.o": program}}
    (row,) = (line for line in as_markdown([(manifest, NPU1)]).splitlines() if "a.o" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["matmul_64x64", "a.o", *cells]
