"""`whisper-npu models ...`."""

from __future__ import annotations

from pathlib import Path

from whisper_npu.apps.cli.command import Argument, Group, command, configurable, option
from whisper_npu.apps.cli.options import MODEL_NAMES
from whisper_npu.apps.cli.settings import configured
from whisper_npu.apps.cli.values import FOLDER, SWITCH, Size, Text

models = Group(
    "models",
    help="List, download, verify, remove and prune models.\n\n"
    "A name is as for --model: tiny.en, base, or a hub id.",
    examples=(
        "whisper-npu models list --all",
        "whisper-npu models download small",
        "whisper-npu models remove small",
        "whisper-npu models prune --max_size 2G",
    ),
)
(_MODEL_DIR,) = configurable(
    option("--model_dir", type=FOLDER, metavar="DIR", help="Where models are kept; default: the hub's cache.")
)


class _Names(Argument):
    def __init__(self, help: str, *, required: bool) -> None:
        super().__init__(
            "names",
            metavar="NAME..." if required else "[NAME...]",
            many=True,
            required=required,
            help=help,
        )
        self.type = Text(MODEL_NAMES)


@command(
    models,
    "list",
    option("--all", type=SWITCH, default=False, help="Also those that can be downloaded."),
    option("--json", type=SWITCH, default=False, help="Print a JSON document instead."),
    _MODEL_DIR,
    defaults=configured,
)
def models_list(all: bool, json: bool, model_dir: Path | None) -> None:
    """List the models that are here, with sizes and sources."""
    from whisper_npu.apps.cli.model_commands import list_models

    list_models(everything=all, as_json=json, model_dir=model_dir)


@command(models, "download", _Names("Models.", required=True), _MODEL_DIR, defaults=configured)
def models_download(names: tuple[str, ...], model_dir: Path | None) -> int:
    """Bring models here, ready for the first transcription."""
    from whisper_npu.apps.cli.model_commands import download_models

    return download_models(names, model_dir=model_dir)


@command(models, "path", Argument("name", metavar="NAME", help="A model."), _MODEL_DIR, defaults=configured)
def models_path(name: str, model_dir: Path | None) -> None:
    """Print a model's folder, for scripts."""
    from whisper_npu.apps.cli.model_commands import print_path

    print_path(name, model_dir=model_dir)


@command(
    models,
    "verify",
    _Names("Models; default: all that are here.", required=False),
    _MODEL_DIR,
    defaults=configured,
)
def models_verify(names: tuple[str, ...], model_dir: Path | None) -> int:
    """Check that models are as they were published."""
    from whisper_npu.apps.cli.model_commands import verify_models

    return verify_models(names, model_dir=model_dir)


@command(
    models,
    "remove",
    _Names("Models, or others: what belongs to none of them.", required=False),
    option("--all", type=SWITCH, default=False, help="Every model that is here, and the others."),
    option("--dry_run", type=SWITCH, default=False, help="Say what would be removed, and remove nothing."),
    _MODEL_DIR,
    defaults=configured,
)
def models_remove(names: tuple[str, ...], all: bool, dry_run: bool, model_dir: Path | None) -> None:
    """Remove models from the caches, and say how much that frees."""
    from whisper_npu.apps.cli.model_commands import remove_models

    remove_models(names, everything=all, dry_run=dry_run, model_dir=model_dir)


@command(
    models,
    "prune",
    option("--max_size", type=Size(), metavar="SIZE", help="Bytes that may stay, such as 500M or 2G."),
    option("--dry_run", type=SWITCH, default=False, help="Say what would be removed, and remove nothing."),
    defaults=configured,
)
def models_prune(max_size: int | None, dry_run: bool) -> None:
    """Remove from the cache what belongs to no model, and what was not used for longest.

    Downloads stay; models remove takes them. What is removed is made again when it is needed.
    """
    from whisper_npu.apps.cli.model_commands import prune_cache

    prune_cache(max_size=max_size, dry_run=dry_run)
