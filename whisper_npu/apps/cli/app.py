"""The program: its commands, and the only place that turns errors into one line and an exit code.

Exit codes: 0 all done, 1 something failed, 2 the call was wrong, 130 interrupted. Heavy modules are imported
only by the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from typing import Annotated, Any

import typer

from whisper_npu import __version__
from whisper_npu.apps.cli.benchmark import benchmark
from whisper_npu.apps.cli.doctor import doctor
from whisper_npu.apps.cli.kernels import kernels
from whisper_npu.apps.cli.transcribe import transcribe
from whisper_npu.errors import UsageError, WhisperNpuError, error_line

INTERRUPTED = 130  # 128 + SIGINT, as in shells

# Typer's usage errors: the parent of BadParameter, wherever this version of Typer keeps its click.
_TyperUsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="whisper-npu",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Whisper speech recognition with its encoder on the AMD XDNA1 NPU, or on an emulator of it.",
    # openai/whisper spells options with underscores; hyphens work as well.
    context_settings={"token_normalize_func": lambda token: token.replace("-", "_")},
)
app.command()(transcribe)
app.command()(doctor)
app.add_typer(kernels, name="kernels")
app.add_typer(benchmark, name="benchmark")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"whisper-npu {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script."""
    # Starting makes 50,000 objects and no garbage: looking for some takes 50 ms. Whatever must be closed is
    # closed when `run` returns: taking apart what is left takes another 100 ms.
    gc.set_threshold(100_000)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every expected error is one line on stderr."""
    # OpenMP threads that spin while they wait cost the decoder minutes on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code: int = (
            app(args=_with_flags(arguments) or ["--help"], prog_name="whisper-npu", standalone_mode=False)
            or 0
        )
        # A newer Typer turns an interrupt into an exit code, an older one raises Abort.
        return _fail("interrupted", INTERRUPTED) if code == INTERRUPTED else code
    except WhisperNpuError as error:
        return _fail(str(error), error.exit_code)
    except _TyperUsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return UsageError.exit_code
        command = error.ctx.command_path if error.ctx else app.info.name
        return _fail(f"{_described(error)}; see {command} --help", UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would fail again at exit
        if isinstance(error, BrokenPipeError):  # the reader of stdout, for example head, has closed it
            return 1
        return _fail(f"{error.filename or 'standard output'} cannot be used: {error.strerror}", 1)


def _fail(message: str, exit_code: int) -> int:
    print(error_line(message), file=sys.stderr)
    return exit_code


def _described(error: Any) -> str:
    # A newer Typer checks values by pydantic, whose words these are.
    message: str = error.format_message().rstrip(".").replace(": Value error, ", ": ")
    if message.startswith("No such option"):
        message += " (a file whose name begins with a dash: ./-name)"
    return message


def _with_flags(arguments: list[str]) -> list[str]:
    """openai/whisper's `--word_timestamps True` as the flags that Typer knows."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    joined = "\0".join(arguments[:end])
    pattern = r"(?:(?<=\0)|^)--(word[-_]timestamps|vad[-_]filter)[\0=](True|False)(?=\0|$)"
    joined = re.sub(pattern, lambda found: ("--" if found[2] == "True" else "--no_") + found[1], joined)
    return [*(joined.split("\0") if joined else []), *arguments[end:]]
