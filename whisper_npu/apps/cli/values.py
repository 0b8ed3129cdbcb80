"""What the values of options may be: words, numbers, switches, lists. The messages are this program's own.

Each type also says how a shell completes it. To click's BadParameter `app` adds where the value came from: an
option, an environment variable or the config file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from whisper_npu.apps.switch import as_switch
from whisper_npu.errors import UsageError, quoted, shortened
from whisper_npu.home import at_home
from whisper_npu.near import did_you_mean

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic in new versions of click only

NO_VALUE = "None"  # as other Whisper programs spell it


class Switch(ParamType):
    """True or False in the spellings that people use, in any case."""

    name = "switch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool | None:
        if isinstance(value, bool):
            return value
        if value == NO_VALUE and isinstance(param, click.Option) and param.default is None:
            return None
        meant = as_switch(str(value))
        if meant is None:
            raise click.BadParameter(f"{quoted(value)} is neither True nor False", ctx, param)
        return meant


class Number(ParamType):
    """A number within limits, both included; `None` where that is allowed."""

    name = "number"

    def __init__(
        self,
        kind: type[int] | type[float],
        low: float = -math.inf,
        high: float = math.inf,
        *,
        or_none: bool = False,
    ) -> None:
        self.kind, self.low, self.high, self.or_none = kind, low, high, or_none

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float | None:
        if self.or_none and value == NO_VALUE:
            return None
        try:
            # A config file has numbers of its own, and True is one of Python's.
            if isinstance(value, bool) or (self.kind is int and isinstance(value, float)):
                raise ValueError
            number = self.kind(value)
        except (TypeError, ValueError):
            raise click.BadParameter(
                f"{quoted(value)} must be a {self._words}{self._limits}", ctx, param
            ) from None
        if not self.low <= number <= self.high:  # NaN is within no limits
            raise click.BadParameter(
                f"{shortened(str(value))} must be a {self._words}{self._limits}", ctx, param
            )
        return number

    @property
    def _words(self) -> str:
        return "whole number" if self.kind is int else "number"

    @property
    def _limits(self) -> str:
        if self.low > -math.inf and self.high < math.inf:
            return f" from {self.low:g} to {self.high:g}"
        if self.low > -math.inf:
            return f", {self.low:g} or more"
        return f", {self.high:g} or less" if self.high < math.inf else ""


class Choice(ParamType):
    """One of several words, in any case.

    also: other words for them. refused: words that other programs take, and why this one does not.
    """

    name = "choice"

    def __init__(
        self,
        words: Sequence[str],
        also: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        self.words, self.also, self.refused = tuple(words), also or {}, refused or {}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = str(value)
        known = {name.lower(): name for name in self.words} | dict(self.also)
        if (found := known.get(word.lower())) is not None:
            return found
        if (reason := self.refused.get(word.lower().partition(":")[0])) is not None:  # cuda:0
            raise click.BadParameter(f"{shortened(word)}: {reason}", ctx, param)
        hint = did_you_mean(word, known)
        raise click.BadParameter(
            f"{quoted(word)} is none of {', '.join(self.words)}{hint and f'; {hint}'}", ctx, param
        )

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete.lower())]


class Words(Choice):
    """Several of several words: separated by commas, a list in a config file, or the option given again.

    all_of: what the word `all` stands for.
    """

    name = "words"

    def __init__(self, words: Sequence[str], all_of: Sequence[str]) -> None:
        super().__init__(words)
        self.all_of = tuple(all_of)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + word) for word in self.words if word.startswith(last.lower())]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == NO_VALUE:
            return ()
        given = value if isinstance(value, (list, tuple)) else str(value).split(",")
        found = [super(Words, self).convert(str(word).strip(), param, ctx) for word in given]
        names = [name for word in found for name in (self.all_of if word == "all" else (word,))]
        return tuple(dict.fromkeys(names))


class Text(ParamType):
    """Any text. completed: what a shell offers, or a function that says it."""

    name = "text"

    def __init__(
        self, completed: Sequence[str] | Callable[[], Iterable[str]] = (), *, or_none: bool = False
    ) -> None:
        self.completed, self.or_none = completed, or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | None:
        if self.or_none and value == NO_VALUE:
            return None
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise click.BadParameter(f"{quoted(value)} is no text", ctx, param)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        words = self.completed() if callable(self.completed) else self.completed
        found = [CompletionItem(word) for word in words if word.lower().startswith(incomplete.lower())]
        return found or [CompletionItem(incomplete, type="file")]


class Texts(ParamType):
    """Words separated by commas, or a list in a config file."""

    name = "texts"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if value == NO_VALUE:
            return ()
        given = value if isinstance(value, (list, tuple)) else str(value).split(",")
        if not all(isinstance(one, str) for one in given):
            raise click.BadParameter(f"{quoted(value)} is no list of words", ctx, param)
        return tuple(one.strip() for one in given if one.strip())


class Size(ParamType):
    """Bytes, as a number with or without k, M, G or T, which stand for powers of a thousand."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value is None:
            return None
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([kKMGT]?)i?B?", str(value))
        if found is None:
            raise click.BadParameter(f"{quoted(value)} must be a size such as 500M or 2G", ctx, param)
        return int(float(found[1]) * 1000 ** " kMGT".index(found[2].replace("K", "k") or " "))


class Numbers(ParamType):
    """Numbers separated by commas, or a list in a config file."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | float, ...]:
        if value == NO_VALUE:
            return ()
        given = value if isinstance(value, (list, tuple)) else str(value).split(",")
        try:
            return tuple(self.kind(number) for number in given if str(number).strip())
        except (TypeError, ValueError):
            words = "whole numbers" if self.kind is int else "numbers"
            raise click.BadParameter(
                f"{quoted(value)} is no list of {words} such as 1,2,3", ctx, param
            ) from None


class File(ParamType):
    """A path, ~ resolved. only: "file" or "dir", what a shell offers."""

    name = "path"

    def __init__(self, only: str = "file", *, or_none: bool = False) -> None:
        self.only, self.or_none = only, or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | None:
        if self.or_none and value == NO_VALUE:
            return None
        if not isinstance(value, (str, Path)) or str(value) == "":
            raise click.BadParameter(f"{quoted(value)} names no file or folder", ctx, param)
        try:
            return at_home(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type=self.only)]


SWITCH = Switch()
TEXT, TEXT_OR_NONE = Text(), Text(or_none=True)
FILE, FILE_OR_NONE = File(), File(or_none=True)
FOLDER, FOLDER_OR_NONE = File("dir"), File("dir", or_none=True)
