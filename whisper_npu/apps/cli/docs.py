"""The part of docs/cli.md that lists every command and option, written from the Typer app.

python -m whisper_npu.apps.cli.docs docs/cli.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from enum import Enum
from inspect import signature
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from whisper_npu.apps.cli.app import app

HEAD = "| option | value | default | meaning |\n|---|---|---|---|\n"
MARKER = "<!-- What follows is written by: python -m whisper_npu.apps.cli.docs docs/cli.md -->\n"


def command_reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    return "".join(_command(path, callback) for path, callback in commands(app, "whisper-npu"))


def commands(group: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The full name and the function of every command."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{path} {command.name or command.callback.__name__}", command.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{path} {inner.name}")


def _command(path: str, callback: Callable[..., Any]) -> str:
    hints = get_type_hints(callback, include_extras=True)
    arguments, options = [], []
    for parameter in signature(callback).parameters.values():
        kind, info = get_args(hints[parameter.name])[:2]
        if isinstance(info, ArgumentInfo):
            arguments.append((info.metavar or parameter.name.upper(), info.help))
        else:
            assert isinstance(info, OptionInfo)
            options.append(_option(info, kind, parameter.default))
    usage = " ".join([path, *(name for name, _ in arguments)])
    summary = " ".join((callback.__doc__ or "").split())
    listed = "".join(f"- `{name}`: {text}\n" for name, text in arguments)
    table = HEAD + "".join(options) if options else ""
    return "\n".join(filter(None, [f"\n### {usage}\n", f"{summary}\n", listed, table]))


def _option(info: OptionInfo, kind: Any, default: Any) -> str:
    """One row of the table. kind: the parameter's type, such as `list[Path] | None`."""
    inner = [arg for arg in get_args(kind) if arg is not NoneType]
    if inner and get_origin(kind) is not list:  # Optional[...]
        kind = inner[0]
    repeatable = get_origin(kind) is list
    if repeatable:
        kind = get_args(kind)[0]
    # Inside Annotated, Typer keeps the first name as the default.
    declared = [info.default, *(info.param_decls or ())]
    names = "/".join(name for name in declared if isinstance(name, str)).split("/")
    meaning = f"{info.help}{' May be repeated.' if repeatable else ''}"
    cells = [", ".join(f"`{name}`" for name in names), _value(info, kind), _default(default), meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _value(info: OptionInfo, kind: Any) -> str:
    if kind is bool:
        return ""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{choice.value}`" for choice in kind)
    names = {int: "whole number", float: "number", str: "text", Path: "path"}
    return f"`{info.metavar}`" if info.metavar else names[kind]


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def rewritten(page: str) -> str:
    """The page with its reference as the code has it now. Raises ValueError where the marker is missing."""
    return page[: page.index(MARKER)] + MARKER + command_reference()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(rewritten(target.read_text(encoding="utf-8")), encoding="utf-8")
