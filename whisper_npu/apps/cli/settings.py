"""Defaults of a person's own: a config file, and environment variables.

What is given on the command line counts first, then WHISPER_NPU_... variables, then the config file, then the
program's own defaults.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whisper_npu.apps.cli.command import Option
from whisper_npu.errors import UsageError, one_line, quoted, shortened
from whisper_npu.home import at_home, user_folder
from whisper_npu.near import did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# They are read elsewhere, and are no options of `transcribe`.
_OTHER_VARIABLES = {
    f"WHISPER_NPU_{name}" for name in ("CACHE", "CONFIG", "KERNELS", "KERNELS_FROM", "TOOLCHAIN", "TRACEBACK")
}
PRECEDENCE = "the command line, then environment variables, then the config file, then the program's defaults"


def config_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """$WHISPER_NPU_CONFIG, or whisper-npu/config.toml in the user's config folder; None without a home."""
    if own := environ.get("WHISPER_NPU_CONFIG"):
        return at_home(own, "WHISPER_NPU_CONFIG")
    folder = user_folder("XDG_CONFIG_HOME", "~/.config", environ)
    return folder and folder / "whisper-npu/config.toml"


def read_config(path: Path | None) -> dict[str, Any]:
    """What the file sets, by the options' names with underscores; nothing if there is no such file.

    Nor in a home folder that is closed to this user, as of the one who called sudo. Raises UsageError for a
    file that cannot be read, or is no TOML.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if os.environ.get("WHISPER_NPU_CONFIG"):
            raise UsageError(
                f"WHISPER_NPU_CONFIG={path}: there is no such file; make it, or unset it"
            ) from None
        return {}
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError) and not _may_be_there(path):
            return {}
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UsageError(f"config file {path} cannot be read ({reason}): correct it, or move it") from error
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UsageError(
            f"config file {path} is no TOML: {one_line(error)}; whisper-npu config --example shows one"
        ) from error
    config = {name.replace("-", "_"): value for name, value in found.items()}
    if len(config) < len(found):
        twice = next(name for name in found if name.replace("-", "_") != name)
        raise UsageError(f"config file {path}: {twice} is set twice, with - and with _; leave one out")
    return config


def _may_be_there(path: Path) -> bool:
    """Whether this user sees a file there, or has named it."""
    if os.environ.get("WHISPER_NPU_CONFIG"):
        return True
    try:
        return path.exists()
    except PermissionError:
        return False


def checked_names(config: Mapping[str, Any], known: Sequence[Option], path: Path | None) -> None:
    """Raises UsageError for a name that is no option's."""
    names = [option.long_name.removeprefix("--") for option in known if option.configurable]
    for name in config:
        if name not in names:
            hint = did_you_mean(name, names)
            raise UsageError(
                f"config file {path}: there is no option {quoted(name)}; "
                + (hint or "whisper-npu config --all lists them")
            )


def unknown_variables(options: Sequence[Option], environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for every WHISPER_NPU_... variable that is none: mistyped ones would do nothing unseen."""
    known = {str(option.envvar) for option in options if option.envvar} | _OTHER_VARIABLES
    lines = []
    for name in sorted(environ):
        if name.startswith("WHISPER_NPU_") and name not in known:
            hint = did_you_mean(name, known)
            lines.append(f"{shortened(name)} means nothing to this program{hint and f'; {hint}'}")
    return lines


def configured(options: Sequence[Option]) -> dict[str, Any]:
    """What the user's config file says of these options."""
    return defaults_for(options, read_config(config_file()))


def defaults_for(options: Sequence[Option], config: Mapping[str, Any]) -> dict[str, Any]:
    """The file's values by the parameters' names, as click wants its defaults."""
    found: dict[str, Any] = {}
    for option in options:
        name = option.long_name.removeprefix("--")
        if name in config and option.configurable:
            value = config[name]
            found[str(option.name)] = [value] if option.multiple and not isinstance(value, list) else value
    return found
