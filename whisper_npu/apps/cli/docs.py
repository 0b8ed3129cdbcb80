"""The part of docs/cli.md that lists every command and option, written from the commands themselves.

python -m whisper_npu.apps.cli.docs docs/cli.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from whisper_npu.apps.cli.app import app
from whisper_npu.apps.cli.command import Argument, Command, Option

HEAD = "| option | value | default | meaning |\n|---|---|---|---|\n"
MARKER = "<!-- What follows is written by: python -m whisper_npu.apps.cli.docs docs/cli.md -->\n"


def command_reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    return "".join(_command(path, command) for path, command in commands(app, "whisper-npu"))


def commands(group: click.Group, path: str) -> Iterator[tuple[str, Command]]:
    """The full name of every command, and the command."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            assert isinstance(command, Command)
            yield f"{path} {name}", command


def _command(path: str, command: Command) -> str:
    arguments = [param for param in command.params if isinstance(param, Argument)]
    usage = " ".join([path, *(str(argument.metavar) for argument in arguments)])
    lines = [f"\n### {usage}\n\n{' '.join((command.help or '').split())}\n"]
    if arguments:
        lines.append("\n" + "".join(f"- `{argument.metavar}`: {argument.about}\n" for argument in arguments))
    groups = dict.fromkeys(one.group for one in command.options)
    for title in groups:
        heading = f"\n{title}:\n\n" if len(groups) > 1 else "\n"
        rows = "".join(_row(one) for one in command.options if one.group == title)
        lines.append(heading + HEAD + rows)
    return "".join(lines)


def _row(one: Option) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(one.opts, key=len))
    value = "" if one.is_switch else f"`{one.metavar}`"
    default = f"`{one.default_text}`" if one.default_text else "off" if one.default is False else ""
    meaning = f"{one.help}{' May be repeated.' if one.multiple else ''}"
    cells = [names, value, default, meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def rewritten(page: str) -> str:
    """The page with its reference as the code has it now. Raises ValueError where the marker is missing."""
    return page[: page.index(MARKER)] + MARKER + command_reference()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(rewritten(target.read_text(encoding="utf-8")), encoding="utf-8")
