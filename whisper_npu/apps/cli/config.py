"""`whisper-npu config`: which defaults hold here, and where they come from."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from whisper_npu.apps.cli.command import Command, Option, option, value_text
from whisper_npu.apps.cli.listen import listen
from whisper_npu.apps.cli.listen_options import LISTEN
from whisper_npu.apps.cli.serve import serve
from whisper_npu.apps.cli.serve_options import SERVER
from whisper_npu.apps.cli.settings import PRECEDENCE, config_file, unknown_variables
from whisper_npu.apps.cli.terminal import print_for_scripts, print_lines
from whisper_npu.apps.cli.transcribe import CONFIGURABLE, transcribe
from whisper_npu.apps.cli.values import SWITCH
from whisper_npu.errors import UsageError, shown
from whisper_npu.screen import WIDTH

SECRET = "(not shown)"
_NO_HOME = "there is no home folder here; WHISPER_NPU_CONFIG may name a file"


def _config(all: bool, path: bool, example: bool) -> None:
    """Show which defaults are set here, and by what.

    A default is set by a line in the config file, such as model = "small", or by an environment variable,
    such as WHISPER_NPU_MODEL.
    """
    if path:
        print_for_scripts(_file())
        return
    if example:
        print_lines("\n".join(_example()))
        return
    print_lines("\n".join(_shown(everything=all)))
    _check()


config = Command(
    "config",
    _config,
    [
        option("--all", type=SWITCH, default=False, help="Every option that can be set, with its default."),
        option("--path", type=SWITCH, default=False, help="Print only where the config file is."),
        option("--example", type=SWITCH, default=False, help="Print a config file of all defaults."),
    ],
)


def _file() -> Path:
    file = config_file()
    if file is None:
        raise UsageError(_NO_HOME)
    return file


def _shown(*, everything: bool) -> Iterator[str]:
    file = config_file()
    if file is None:
        yield f"config file: none; {_NO_HOME}"
    else:
        yield f"config file: {file}{'' if os.path.exists(file) else ' (there is none)'}"
    yield from textwrap.wrap(f"What counts, in this order: {PRECEDENCE}.", WIDTH)
    yield from unknown_variables(CONFIGURABLE)
    rows = [_row(one, ctx) for ctx, options in _parsed() for one in options if one.configurable]
    shown = [row for row in rows if everything or row[2]]
    yield ""
    if not shown:
        yield "Nothing is set; whisper-npu config --all lists what can be."
    width = max((len(name) for name, _, _ in shown), default=0)
    for name, value, source in shown:
        yield f"{name:<{width}}  {value or '-'}{source and f'  ({source})'}"


def _check() -> None:
    """Whether `transcribe` would take these defaults. Raises UsageError."""
    from whisper_npu.apps.cli.asked import asked_for

    try:
        asked_for(_parsed()[0][0].params, frozenset())
    except UsageError as error:
        raise UsageError(f"transcribe would refuse these defaults: {error}") from error


def _parsed() -> list[tuple[click.Context, Sequence[Option]]]:
    """Commands without a command line, only their defaults, and which of their options no earlier one has."""
    root = click.get_current_context().find_root()
    return [
        (transcribe.make_context("transcribe", ["-"], parent=root), transcribe.options),
        (serve.make_context("serve", [], parent=root), SERVER),
        (listen.make_context("listen", [], parent=root), LISTEN),
    ]


def _row(one: Option, ctx: click.Context) -> tuple[str, str, str]:
    """Name, value, and what set it; empty for the program's own default."""
    source = ctx.get_parameter_source(str(one.name))
    said = ""
    if source is ParameterSource.ENVIRONMENT:
        said = str(one.envvar)
    elif source is ParameterSource.DEFAULT_MAP:
        said = "config file"
    name, value = one.long_name.removeprefix("--"), ctx.params[str(one.name)]
    return name, SECRET if value and name == "api_key" else shown(value_text(value)), said


def _example() -> Iterator[str]:
    yield f"# {config_file() or _NO_HOME}"
    yield from textwrap.wrap(
        f"What counts, in this order: {PRECEDENCE}.", WIDTH, initial_indent="# ", subsequent_indent="# "
    )
    yield "# A line counts once its # is removed. These have a default, which is shown:"
    settable = [one for one in CONFIGURABLE if one.configurable]
    yield from _lines([one for one in settable if one.default is not None])
    yield ""
    yield "# These have none, and are examples:"
    yield from _lines([one for one in settable if one.default is None and one.example])


def _lines(options: Sequence[Option]) -> Iterator[str]:
    group = ""
    for one in options:
        if one.group != group:
            group = one.group
            yield f"\n## {group}"
        yield f"# {one.long_name.removeprefix('--')} = {one.example or _toml(one.default)}"


def _toml(default: Any) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, (int, float)):
        return f"{default:g}"
    if isinstance(default, tuple):
        return f"[{', '.join(f'{value:g}' for value in default)}]"
    return '"' + str(default).replace("\\", "\\\\").replace('"', '\\"') + '"'
