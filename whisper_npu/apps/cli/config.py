"""`whisper-npu config`: which defaults hold here, and where they come from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import click
from click.core import ParameterSource

from whisper_npu.apps.cli.command import Command, Option, option
from whisper_npu.apps.cli.settings import PRECEDENCE, config_file
from whisper_npu.apps.cli.transcribe import transcribe
from whisper_npu.apps.cli.values import SWITCH
from whisper_npu.screen import WIDTH


def _config(all: bool, path: bool, example: bool) -> None:
    """Show which defaults are set here, and by what.

    A default is set by a line in the config file, such as model = "small", or by an environment variable,
    such as WHISPER_NPU_MODEL.
    """
    if path:
        print(config_file())
        return
    if example:
        print("\n".join(_example()))
        return
    print("\n".join(_shown(everything=all)))


config = Command(
    "config",
    _config,
    [
        option("--all", type=SWITCH, default=False, help="Every option that can be set, with its default."),
        option("--path", type=SWITCH, default=False, help="Print only where the config file is."),
        option("--example", type=SWITCH, default=False, help="Print a config file of all defaults."),
    ],
)


def _shown(*, everything: bool) -> Iterator[str]:
    file = config_file()
    yield f"config file: {file}{'' if file.exists() else ' (there is none)'}"
    yield from textwrap.wrap(f"What counts, in this order: {PRECEDENCE}.", WIDTH)
    rows = [_row(one, ctx) for ctx in [_parsed()] for one in transcribe.options if one.configurable]
    shown = [row for row in rows if everything or row[2] != "default"]
    if not shown:
        yield ""
        yield "Nothing is set; whisper-npu config --all lists what can be."
        return
    yield ""
    width = max(len(name) for name, _, _ in shown)
    for name, value, source in shown:
        yield f"{name:<{width}}  {value or '-'}{'' if source == 'default' else f'  ({source})'}"


def _parsed() -> click.Context:
    """transcribe without a command line: only its defaults, wherever they come from."""
    required = [param for param in transcribe.params if param.required]
    assert len(required) == 1
    return transcribe.make_context("transcribe", ["-"], parent=click.Context(click.Command("whisper-npu")))


def _row(one: Option, ctx: click.Context) -> tuple[str, str, str]:
    value = ctx.params[str(one.name)]
    sources = {
        ParameterSource.ENVIRONMENT: str(one.envvar),
        ParameterSource.DEFAULT_MAP: "config file",
    }
    source = ctx.get_parameter_source(str(one.name))
    return one.long_name.removeprefix("--"), _text(value), sources.get(source, "default")  # type: ignore[arg-type]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(_text(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _example() -> Iterator[str]:
    yield f"# {config_file()}"
    yield f"# What counts, in this order: {PRECEDENCE}."
    group = ""
    for one in transcribe.options:
        if not one.configurable:
            continue
        if one.group != group:
            group = one.group
            yield f"\n# {group}"
        yield f"# {one.long_name.removeprefix('--')} = {_toml(one)}"


def _toml(one: Option) -> str:
    """Its default as TOML; a text of the kind that it takes where it has none."""
    default = one.default
    if isinstance(default, bool) or one.is_switch:
        return "true" if default else "false"
    if isinstance(default, (int, float)):
        return f"{default:g}"
    if isinstance(default, tuple):
        return f"[{', '.join(f'{value:g}' for value in default)}]"
    text = str(default if default is not None else one.metavar)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
