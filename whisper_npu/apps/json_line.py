"""A JSON object in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def json_line(content: Mapping[str, Any]) -> str:
    """One line without its end, for readers too that end one at Unicode's separators. UTF-8 can write it.

    Raises ValueError for a float that is no number, which JSON has not.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    is_plain = len(text.splitlines()) == 1 and not any(
        "\ud800" <= character <= "\udfff" for character in text
    )
    return text if is_plain else json.dumps(content, allow_nan=False)
