"""Commands and options as this program spells them, on top of click.

Other Whisper programs use argparse, and people's fingers know it: underscores or hyphens, a long option by
its first letters if no other begins with them, switches as `--word_timestamps`, `--word_timestamps True` or
`--no_word_timestamps`. `Command` turns all of these into the one spelling that click knows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

import click

from whisper_npu.apps.cli.values import NO_VALUE, ParamType, Switch
from whisper_npu.apps.switch import as_switch
from whisper_npu.errors import UsageError, quoted
from whisper_npu.near import did_you_mean, near_names
from whisper_npu.screen import WIDTH

HELP_NAMES = ["-h", "--help"]
_EXAMPLES = "Examples"

F = TypeVar("F", bound=Callable[..., Any])


class Option(click.Option):
    """An option that stands in a group of the help."""

    group: str = "Options"
    configurable: bool = False  # whether a config file may set it
    example: str = ""  # a value for the example of a config file, as TOML, where there is no default

    @property
    def is_switch(self) -> bool:
        return isinstance(self.type, Switch)

    @property
    def long_name(self) -> str:
        return next(name for name in self.opts if name.startswith("--"))

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        names = ", ".join(sorted(self.opts, key=len))
        value = "" if self.is_switch or self.is_flag else f" {self.make_metavar(ctx)}"
        repeated = " May be repeated." if self.multiple else ""
        return f"{names}{value}", f"{self.help}{repeated}{self._shown_default()}"

    def _shown_default(self) -> str:
        text = self.default_text
        return f" [{text}]" if text else ""

    @property
    def default_text(self) -> str:
        """The default as the help shows it; empty where there is none, and for a switch that is off."""
        if self.is_switch:
            return "on" if self.default is True else ""
        return "" if self.multiple else value_text(self.default)


def value_text(value: Any) -> str:
    """An option's value as people write it; empty for None."""
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return ",".join(value_text(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_page(message: str, command: str) -> str:
    """An error message, and which page helps."""
    return f"{message}{'' if message.endswith('?') else ';'} see {command} --help"


def option(
    *names: str,
    type: ParamType,
    help: str,
    default: Any = None,
    metavar: str | None = None,
    multiple: bool = False,
    example: str = "",
) -> Option:
    """names: as in click, the parameter's own name first if it is not that of the longest option.

    example: of a value, as TOML, for an option without a default.
    """
    made = Option(
        names,
        type=type,
        help=help,
        default=default,
        metavar=metavar,
        multiple=multiple,
    )
    made.example = example
    return made


def group(title: str, *options: Option) -> tuple[Option, ...]:
    """Copies of the options that stand below this title in the help."""
    copies = [copy(one) for one in options]
    for one in copies:
        one.group = title
    return tuple(copies)


def configurable(*options: Option) -> tuple[Option, ...]:
    """Copies that a config file may set, and an environment variable: WHISPER_NPU_ and the option's name.

    --kernels has no such variable: WHISPER_NPU_KERNELS means something else.
    """
    copies = [copy(one) for one in options]
    for one in copies:
        one.configurable = True
        if one.long_name != "--kernels":
            one.envvar = f"WHISPER_NPU_{one.long_name.removeprefix('--').upper()}"
    return tuple(copies)


Defaults = Callable[[Sequence[Option]], dict[str, Any]]


class Command(click.Command):
    """A command whose help has groups and examples.

    refused: options of other programs that this one does not have, with the reason.
    harmless: values of these with which they ask for nothing, so that they are taken.
    defaults: what a config file says of these options, read when the command line is parsed.
    """

    def __init__(
        self,
        name: str,
        callback: Callable[..., Any],
        params: Sequence[click.Parameter],
        *,
        examples: Sequence[str] = (),
        refused: Mapping[str, str] | None = None,
        harmless: Mapping[str, tuple[str, ...]] | None = None,
        defaults: Defaults | None = None,
    ) -> None:
        super().__init__(
            name,
            callback=callback,
            params=list(params),
            help=callback.__doc__,
            context_settings={"help_option_names": HELP_NAMES, "max_content_width": WIDTH},
        )
        self.examples, self.refused, self.defaults = tuple(examples), refused or {}, defaults
        self.harmless = harmless or {}

    @property
    def options(self) -> list[Option]:
        return [param for param in self.params if isinstance(param, Option)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            args = _Spelling(self, ctx).of(args)
            if self.defaults is not None:
                ctx.default_map = self.defaults(self.options)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Adds to a wrong value that the library finds which page helps, unless the message says it."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if "whisper-npu " in str(error):
                raise
            raise type(error)(with_page(str(error), ctx.command_path)) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _format_examples(self.examples, formatter)
        if arguments := [p for p in self.params if isinstance(p, Argument)]:
            with formatter.section("Arguments"):
                formatter.write_dl([(p.make_metavar(ctx), p.about) for p in arguments])
        groups: dict[str, list[tuple[str, str]]] = {}
        for one in self.options:
            if not one.hidden and (record := one.get_help_record(ctx)):
                groups.setdefault(one.group, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=28)
        if any(one.is_switch for one in self.options):
            formatter.write_paragraph()
            formatter.write_text(
                "Options without a value are switches: --x or --x True, --x False or --no_x. Names may have "
                "hyphens in place of underscores. -h, --help: this page."
            )


class Argument(click.Argument):
    """An argument with a line in the help."""

    def __init__(
        self,
        name: str,
        *,
        help: str,
        metavar: str,
        many: bool = False,
        required: bool = True,
        type: ParamType | None = None,
    ) -> None:
        super().__init__([name], metavar=metavar, nargs=-1 if many else 1, required=required, type=type)
        self.about = help  # click would print its own `help` in a section of its own

    def make_metavar(self, ctx: click.Context) -> str:
        return self.metavar or self.name.upper()


class Group(click.Group):
    """Commands below one name, listed with their summaries."""

    def __init__(self, name: str, *, help: str, examples: Sequence[str] = ()) -> None:
        super().__init__(
            name,
            help=help,
            no_args_is_help=True,
            context_settings={"help_option_names": HELP_NAMES, "max_content_width": WIDTH},
        )
        self.examples = tuple(examples)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of their declaration, not of the alphabet

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            hint = did_you_mean(args[0], self.commands)
            raise click.UsageError(f"no such command {quoted(args[0])}{hint and f'; {hint}'}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _format_examples(self.examples, formatter)
        self.format_commands(ctx, formatter)
        super(click.Group, self).format_options(ctx, formatter)


def command(
    parent: click.Group,
    name: str,
    *params: click.Parameter,
    defaults: Defaults | None = None,
) -> Callable[[F], F]:
    """Make a function a command of a group. Its docstring is the help, and the first sentence the summary."""

    def declared(callback: F) -> F:
        parent.add_command(Command(name, callback, params, defaults=defaults))
        return callback

    return declared


def _format_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section(_EXAMPLES):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def may_be_recording(word: str) -> bool:
    """Whether a word looks like a file, a folder, a glob, an address, or stdin."""
    return word in ("", "-") or os.path.lexists(word) or bool(set(word) & set("./\\*?[~:"))


def _underscored(token: str) -> str:
    """The name of a long option, with underscores and without a value; any other token without its value."""
    name = token.partition("=")[0]
    return "--" + name[2:].replace("-", "_") if name.startswith("--") else name


class _Spelling:
    """One command line in the spelling that click knows: --name=value for every long option."""

    def __init__(self, command: Command, ctx: click.Context) -> None:
        self._command, self._ctx = command, ctx
        self._named = {name: option for option in command.options for name in option.opts}
        self._help = set(HELP_NAMES)

    def of(self, arguments: Sequence[str]) -> list[str]:
        spelled: list[str] = []
        rest = list(arguments)
        while rest:
            token = rest.pop(0)
            if token == "--":
                return [*spelled, token, *rest]
            if token.startswith("--"):
                spelled += self._long(token, rest)
            elif token in self._named and not self._named[token].is_switch:
                spelled += [token, *self._value(token, rest)]
            elif token in self._named:
                spelled += self._switch(self._named[token], "", rest, meaning=True)
            else:
                spelled.append(self._known(token))
        return spelled

    def _long(self, token: str, rest: list[str]) -> list[str]:
        given, equals, value = token.partition("=")
        name = _underscored(token)
        if name in self._help:
            return [name]
        harmless = self._command.harmless.get(name, ())
        if equals and value in harmless:
            return []
        if not equals and rest and rest[0] in harmless:
            del rest[0]
            return []
        meaning = True
        if (option := self._find(name)) is None and name.startswith("--no_"):
            option, meaning = self._find("--" + name[5:]), False
            if option is not None and not option.is_switch:
                option = None
        if option is None:
            raise self._unknown(given)
        if option.is_switch:
            return self._switch(option, equals + value, rest, meaning=meaning)
        return [option.long_name + "=" + (value if equals else self._value(given, rest)[0])]

    def _switch(self, option: Option, joined: str, rest: list[str], *, meaning: bool) -> list[str]:
        """joined: "=True" and so on, or empty, and then the next argument may be the value."""
        value = joined[1:] or "True"
        if not joined and rest and (as_switch(rest[0]) is not None or rest[0] == NO_VALUE):
            value = rest.pop(0)
        elif not joined and rest and near_names(rest[0], ("True", "False")) and not may_be_recording(rest[0]):
            value = rest.pop(0)  # mistyped
        if not meaning:
            if as_switch(value) is None:
                raise click.BadParameter(f"{quoted(value)} is neither True nor False", self._ctx, option)
            value = str(not as_switch(value))
        return [f"{option.long_name}={value}"]

    def _value(self, given: str, rest: list[str]) -> list[str]:
        if not rest or self._is_option(rest[0]):
            raise click.UsageError(f"{given} needs a value", self._ctx)
        return [rest.pop(0)]

    def _is_option(self, token: str) -> bool:
        return _underscored(token) in self._named

    def _find(self, name: str) -> Option | None:
        """By its name, or by the first letters of it; None if there is no such option."""
        if name in self._named:
            return self._named[name]
        if (reason := self._command.refused.get(name)) is not None:
            raise click.UsageError(f"{name}: {reason}", self._ctx)
        begun = {option.long_name for long, option in self._named.items() if long.startswith(name)}
        if len(begun) > 1:
            raise click.UsageError(f"{name} may be {' or '.join(sorted(begun))}: write it out", self._ctx)
        return self._named[begun.pop()] if begun and len(name) > len("--x") else None

    def _known(self, token: str) -> str:
        """A recording, or a short option with its value behind it, such as -fsrt."""
        if (reason := self._command.refused.get(token)) is not None:
            raise click.UsageError(f"{token}: {reason}", self._ctx)
        if token.startswith("-") and len(token) > 2 and self._is_option("-" + token):
            raise self._unknown(token)  # -language: not -l anguage
        short = self._named.get(token[:2])
        if short is not None and short.is_switch:
            raise click.UsageError(
                f"no such option {token}; write short options apart: {token[:2]} ...", self._ctx
            )
        if not token.startswith("-") or token == "-" or token in self._help or token[:2] in self._named:
            return token
        raise self._unknown(token)

    def _unknown(self, given: str) -> click.UsageError:
        hint = did_you_mean(_underscored("--" + given.lstrip("-")), self._named)
        if not hint and os.path.lexists(given):
            hint = f"for the file of this name write ./{given}"
        return click.UsageError(f"no such option {given}{hint and f'; {hint}'}", self._ctx)
