"""docs/silicon.md beside the code: every claim about the chip, with the value that the code has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from pkgutil import resolve_name

import pytest

from whisper_npu.npu.targets import NPU1

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "silicon.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
NUMBERS = [row for row in ROWS if row[0].startswith("`NPU1.")]
CONSTANTS = [row for row in ROWS if row[0].startswith("`whisper_npu.") and row[1].startswith("`")]
CLAIMS = [row for row in ROWS if row[0].startswith("`whisper_npu.") and row not in CONSTANTS]
ABOUT_THE_CHIP = (
    "kernels/**/*",
    "whisper_npu/npu/**/*",
    "whisper_npu/host/vmac*",
    "whisper_npu/benchmark/published.py",
)


def leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Every number of a target, as Python writes its place."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f'{path}["{key}"]', inner
    else:
        yield path, value


def as_page_has_it(value: object) -> str:
    """Floats to four digits, r,s,t without spaces; the page may part digits by commas."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def test_every_row_is_understood() -> None:
    assert len(NUMBERS) + len(CONSTANTS) + len(CLAIMS) == len(ROWS)
    assert len(CONSTANTS) > 5
    assert len(CLAIMS) > 10


def test_each_number_of_the_target_has_one_row_with_its_value() -> None:
    on_page = [(row[0].strip("`"), row[1].strip("`").replace(",", "")) for row in NUMBERS]
    in_code = [(path, as_page_has_it(value).replace(",", "")) for path, value in leaves(NPU1, "NPU1")]
    assert sorted(on_page) == sorted(in_code)


@pytest.mark.parametrize("row", CONSTANTS, ids=lambda row: row[0])
def test_a_kernels_number_is_the_codes(row: list[str]) -> None:
    value = resolve_name(row[0].strip("`"))
    assert row[1].strip("`") == (f"{value:.3g}" if isinstance(value, float) else str(value))


def test_every_repository_that_the_code_cites_is_a_source() -> None:
    cited = {
        found
        for pattern in ABOUT_THE_CHIP
        for path in ROOT.glob(pattern)
        if path.suffix in (".py", ".cc", ".hpp")
        for found in re.findall(r"github\.com/([\w-]+/[\w-]+)", path.read_text(encoding="utf-8"))
    }
    assert len(cited) > 8
    assert not [name for name in cited if f"https://github.com/{name}" not in PAGE]


def test_each_row_names_a_source() -> None:
    assert not [row[0] for row in (*NUMBERS, *CONSTANTS) if not row[3]]
    assert not [row[0] for row in CLAIMS if not row[2]]


@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row[0])
def test_what_a_claim_names_is_there(row: list[str]) -> None:
    """A module, or something in one; and the test that holds it."""
    in_code, _, _, held_by = (cell.strip("`") for cell in row)
    resolve_name(in_code)  # raises where there is none
    file, _, test = held_by.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")
