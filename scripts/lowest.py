"""Print the lowest version of every dependency that pyproject.toml allows, as constraints for pip.

    python scripts/lowest.py > lowest.txt; pip install --constraint lowest.txt '.[test]'

Only bounds of the form NAME>=VERSION count; a version that is pinned stays pinned.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOUND = re.compile(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9][0-9.]*)")


def constraints(project: dict[str, list[str] | dict[str, list[str]]], extras: list[str]) -> list[str]:
    """NAME==VERSION for each bound of the project's dependencies and of these extras."""
    required = list(project["dependencies"])
    for extra in extras:
        optional = project["optional-dependencies"]
        assert isinstance(optional, dict)
        required += optional[extra]
    found = [BOUND.match(requirement) for requirement in required]
    return sorted({f"{bound[1]}=={bound[2]}" for bound in found if bound})


if __name__ == "__main__":
    content = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    print("\n".join(constraints(content["project"], sys.argv[1:])))
