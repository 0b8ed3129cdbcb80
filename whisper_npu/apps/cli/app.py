"""The program: its commands, and the only place that turns errors into one line and an exit code.

Exit codes: 0 all done, 1 something failed, 2 the call was wrong, 130 interrupted, 143 or 129 terminated.
Heavy modules are imported only by the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from whisper_npu.apps.cli.archive import archive
from whisper_npu.apps.cli.benchmark import benchmark
from whisper_npu.apps.cli.command import HELP_NAMES, Group, Option, may_be_recording, with_page
from whisper_npu.apps.cli.completion import completion
from whisper_npu.apps.cli.config import config
from whisper_npu.apps.cli.doctor import doctor
from whisper_npu.apps.cli.kernels import kernels
from whisper_npu.apps.cli.listen import listen
from whisper_npu.apps.cli.models import models
from whisper_npu.apps.cli.serve import serve
from whisper_npu.apps.cli.settings import config_file
from whisper_npu.apps.cli.standard import prepare
from whisper_npu.apps.cli.terminal import Stderr, StdoutLostError, give_up
from whisper_npu.apps.cli.transcribe import transcribe
from whisper_npu.apps.cli.unexpected import print_traceback
from whisper_npu.apps.cli.version import print_version
from whisper_npu.apps.described import described
from whisper_npu.errors import UsageError, WhisperNpuError, error_line, quoted
from whisper_npu.near import did_you_mean

INTERRUPTED = 130  # 128 + SIGINT, as in shells
_STDOUT_FAILS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
VERSION_NAMES = ["-V", "--version"]


class Terminated(KeyboardInterrupt):
    """The system, a supervisor, or a terminal that was closed asked this process to end."""

    def __init__(self, exit_code: int = 128 + signal.SIGTERM) -> None:
        super().__init__()
        self.exit_code = exit_code


class Stopped(Exception):
    """A command that ended by an interrupt."""

    def __init__(self, by: KeyboardInterrupt) -> None:
        super().__init__()
        self.by = by


class Program(Group):
    """The commands; what looks like a recording, or an option of `transcribe`, means `transcribe`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        if args and args[0].startswith("-") and args[0] not in (*HELP_NAMES, *VERSION_NAMES):
            args = ["transcribe", *args]
        return super().parse_args(ctx, args)

    def _all_names(self) -> list[str]:
        """What may be typed after the program's name, its commands' commands included."""
        groups = [one for one in self.commands.values() if isinstance(one, click.Group)]
        below = [f"{one.name} {name}" for one in groups for name in one.commands]
        return [*self.commands, *VERSION_NAMES, *below]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands; and what may follow `transcribe`, which may be left out."""
        found = super().shell_complete(ctx, incomplete)
        with click.Context(transcribe, parent=ctx, info_name="transcribe", resilient_parsing=True) as inner:
            return [*found, *transcribe.shell_complete(inner, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:  # click would print an empty line
            raise Stopped(interrupt) from interrupt

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in self.commands:
            if not may_be_recording(word) and not ctx.resilient_parsing:
                hint = did_you_mean(word, self._all_names())
                raise click.UsageError(
                    f"{quoted(word)} is neither a command nor a file{hint and f'; {hint}'}", ctx
                )
            args = ["transcribe", *args]
        return super().resolve_command(ctx, args)


app = Program(
    "whisper-npu",
    help="Whisper speech recognition with its encoder on the AMD XDNA1 NPU, or on the CPU.",
    examples=(
        "whisper-npu talk.mp3                     # text on the screen",
        "whisper-npu film.mkv -f srt              # film.srt beside you",
        "whisper-npu doctor                       # does it work here, and on the NPU?",
    ),
)
app.params.append(
    click.Option(
        ["-V", "--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=print_version,
        help="Print the version, the device and the kernels.",
    )
)
for command in (
    transcribe,
    listen,
    archive,
    serve,
    models,
    doctor,
    config,
    completion,
    kernels,
    benchmark,
):
    app.add_command(command)


def main() -> None:
    """The console script."""
    # Starting makes 50,000 objects and no garbage: looking for some takes 50 ms. Whatever must be closed is
    # closed when `run` returns: taking apart what is left takes another 100 ms.
    gc.set_threshold(100_000)
    prepare()
    for number in (signal.SIGTERM, signal.SIGHUP):  # what was decoded is kept, as after Ctrl-C
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _terminate)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def _terminate(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # whoever asks again means at once
    raise Terminated(128 + number)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every expected error is one line on stderr."""
    # OpenMP threads that spin while they wait cost the decoder minutes on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return app.main(arguments or ["--help"], prog_name="whisper-npu", standalone_mode=False) or 0
    except WhisperNpuError as error:
        return _fail(str(error), error.exit_code)
    except click.UsageError as error:
        return _wrong(error)
    except Stopped as stopped:
        return _interrupted(stopped.by)
    except click.Abort as abort:  # before a command was called
        return _interrupted(abort.__cause__ or abort.__context__)
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except StdoutLostError as lost:
        return _without_stdout(lost.reason)
    except OSError as error:
        if error.filename is None and error.errno in _STDOUT_FAILS:  # print() says no more
            return _without_stdout(error)
        return _unforeseen(error)
    except Exception as error:
        return _unforeseen(error)


def _interrupted(by: BaseException | None) -> int:
    if isinstance(by, Terminated):
        return _fail("terminated", by.exit_code)
    return _fail("interrupted", INTERRUPTED)


def _without_stdout(error: OSError) -> int:
    give_up(sys.stdout)
    if isinstance(error, BrokenPipeError):  # the reader of stdout, for example head, has closed it
        return 1
    return _fail(f"standard output cannot be used: {error.strerror}", 1)


def _unforeseen(error: Exception) -> int:
    print_traceback(error)
    return _fail(described(error), 1)


def _fail(message: str, exit_code: int) -> int:
    Stderr(sys.stderr).print(error_line(message))
    return exit_code


def _wrong(error: click.UsageError) -> int:
    """A call that cannot be parsed. A group without a command shows its help instead."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        Stderr(sys.stderr).print(error.format_message())
        return UsageError.exit_code
    command = error.ctx.command_path if error.ctx else "whisper-npu"
    return _fail(with_page(_described(error), command), UsageError.exit_code)


def _described(error: click.UsageError) -> str:
    """click's error in words of this program."""
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{error.param.make_metavar(error.ctx or click.Context(app))} is missing"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{_origin(error.param, error.ctx)}: {error.message.rstrip('.')}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name} needs a value"
    if error.message.startswith("Got unexpected extra argument"):
        return f"too many arguments: {error.message.partition('(')[2].rpartition(')')[0]}"
    return error.message.rstrip(".")


def _origin(param: click.Parameter, ctx: click.Context | None) -> str:
    """Where a value stands that is wrong."""
    if not isinstance(param, Option):
        return str(param.metavar or param.name)
    source = ctx.get_parameter_source(str(param.name)) if ctx else None
    if source is ParameterSource.ENVIRONMENT:
        return str(param.envvar)
    if source is ParameterSource.DEFAULT_MAP:
        return f"config file {config_file()}, {param.long_name.removeprefix('--')}"
    return param.long_name
