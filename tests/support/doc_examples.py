"""The examples of a page of the documentation, to be run."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str, section: str) -> list[str]:
    """The blocks of Python below `## section` of a page in docs/, in order."""
    text = (DOCS / page).read_text("utf-8")
    _, found, rest = text.partition(f"\n## {section}\n")
    assert found, f"{page} has no section {section}"
    return re.findall(r"^```python\n(.*?)^```$", rest.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
