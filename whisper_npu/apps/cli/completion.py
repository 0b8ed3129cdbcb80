"""`whisper-npu completion`: what a shell needs to complete commands, options and values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from whisper_npu.apps.cli.command import Argument, Command
from whisper_npu.apps.cli.values import Choice

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_WHISPER_NPU_COMPLETE"  # by which click's scripts ask the program


class _Shell(Argument):
    def __init__(self) -> None:
        super().__init__("shell", help=f"One of {', '.join(SHELLS)}.", metavar="SHELL")
        self.type = Choice(SHELLS)


@click.pass_context
def _completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash, add this line to ~/.bashrc: eval "$(whisper-npu completion bash)". For zsh, to ~/.zshrc: eval
    "$(whisper-npu completion zsh)". For fish, once: whisper-npu completion fish >
    ~/.config/fish/completions/whisper-npu.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(ctx.find_root().command, {}, "whisper-npu", VARIABLE)
    print(kind.source_template % made.source_vars())


completion = Command("completion", _completion, [_Shell()])
