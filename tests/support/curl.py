"""The few options of curl that the documentation uses."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import httpx


def curl(command: str, folder: Path) -> str:
    """What it prints. folder: where it is typed. Raises ValueError for an option that is not known."""
    name, *words = shlex.split(command.replace("\\\n", " "))
    if name != "curl":
        raise ValueError(f"{name} is not curl")
    url, parts, headers = "", [], {}
    while words:
        word = words.pop(0)
        if word in ("-N", "-s"):
            continue
        if word == "-F":
            field, _, value = words.pop(0).partition("=")
            parts.append((field, _part(value, folder)))
        elif word == "-H":
            header, _, value = words.pop(0).partition(":")
            headers[header] = value.strip()
        elif word.startswith("-"):
            raise ValueError(f"this curl does not know {word}")
        else:
            url = word
    method = "POST" if parts else "GET"
    return httpx.request(method, url, files=parts or None, headers=headers, timeout=60).text


def _part(value: str, folder: Path) -> Any:
    if value.startswith("@"):
        path = folder / value[1:]
        return path.name, path.read_bytes()
    return None, value
