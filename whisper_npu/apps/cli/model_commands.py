"""The work of `whisper-npu models ...`: list, download, path, verify, remove and prune."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whisper_npu.apps.cli.terminal import (
    Stderr,
    print_for_scripts,
    print_json,
    print_lines,
    print_wrapped,
    say,
)
from whisper_npu.cache import size_of
from whisper_npu.checkpoint.library import (
    DOWNLOAD,
    INSTALLED,
    OTHERS,
    Library,
    Part,
    StoredModel,
    open_library,
    prunable,
    remove,
    verify,
)
from whisper_npu.checkpoint.names import HUB_IDS, download_size, main_name
from whisper_npu.checkpoint.places import Places
from whisper_npu.checkpoint.resolve import locate
from whisper_npu.errors import UsageError, WhisperNpuError, error_line, shown
from whisper_npu.page import wrap
from whisper_npu.screen import Screen

_SIZE = 10  # columns of a size and what surrounds it


def list_models(*, everything: bool, as_json: bool, model_dir: Path | None = None) -> None:
    """Print what this machine has of models, and with `everything` also what the hub has."""
    library = open_library(Places.of(None, model_dir))
    if as_json:
        print_json(_document(library, everything=everything))
        return
    width = Screen.of(sys.stdout, os.environ).width
    lines: list[str] = []
    for model in library.models:
        lines += [model.name, *(line for part in model.parts for line in _part_lines(part, width)), ""]
    if not library.models:
        lines += [*wrap("No model is here. whisper-npu models download base gets one.", width), ""]
    lines += _other_lines(library.others, width)
    for folder, size in _folders(library).items():
        lines.append(f"{human_size(size):>{_SIZE}}  in {shown(folder)}")  # a path is not broken
    if everything:
        lines += ["", *wrap("On the hub, with about the size of the download:", width)]
        lines += _available_lines(library, width)
    print_lines("\n".join(lines))


def download_models(names: Sequence[str], *, model_dir: Path | None = None) -> int:
    """Bring models here and prepare them as a transcription would, one line each on stdout.

    Goes on after a failure. Returns the exit code. What takes a while is said on stderr.
    """
    from whisper_npu.transcription.load import load_model

    def download(name: str) -> str:
        # Loading does all that the first transcription would have to wait for, and finds what is damaged.
        load_model(name, device="emulator", model_dir=model_dir, progress=say).close()
        places = Places.of(None, model_dir, local_files_only=True)
        located = locate(name, places, say)
        library = open_library(places)
        parts = library.find(name).parts
        built = sum(part.size for part in parts if part.entry is not None and part.folder != located.folder)
        made = f", and {human_size(built)} made from it in {places.cache}" if built else ""
        size = human_size(size_of(located.folder, with_links=True))
        return f"{located.name}: {size} from {located.source} in {located.folder}{made}"

    return _each(names, download)


def print_path(name: str, *, model_dir: Path | None = None) -> None:
    """Print a model's folder and nothing else. Raises CheckpointError if it is not here."""
    print_for_scripts(locate(name, Places.of(None, model_dir, local_files_only=True), say).folder)


def verify_models(names: Sequence[str], *, model_dir: Path | None = None) -> int:
    """Verify models, default all; one line on stdout for each part. Returns 1 if one is damaged."""
    places = Places.of(None, model_dir)
    library = open_library(places)
    models = [library.find(name) for name in names] if names else library.models
    damaged = 0
    for model in models:
        for verdict in verify(model, places):
            if verdict.problem:
                damaged += 1
                print_wrapped(f"{model.name}: DAMAGED: {verdict.part.what}: {verdict.problem}")
                print_wrapped(f"  remedy: {verdict.remedy}")
            else:
                print_wrapped(f"{model.name}: ok: {verdict.part.what} ({verdict.checked})")
    if not models:
        print("No model is here.")
    elif damaged:
        print(f"{damaged} damaged.")
    return 1 if damaged else 0


def remove_models(
    names: Sequence[str], *, everything: bool, dry_run: bool, model_dir: Path | None = None
) -> None:
    """Remove models with all that was made from them; what is the user's own stays.

    names: of models, or OTHERS for what belongs to none. everything: all models, and the others.
    Nothing is removed if one of the names is wrong.
    """
    if bool(names) == everything:
        raise UsageError("name the models to remove, or give --all; whisper-npu models list shows them")
    library = open_library(Places.of(None, model_dir))
    chosen = _chosen(library, names, everything=everything)
    total = 0
    for name, parts in chosen.items():
        ours = [part for part in parts if part.removable]
        freed = sum(part.size for part in ours) if dry_run else remove(ours)
        total += freed
        print_lines(f"{name}: {'would free' if dry_run else 'freed'} {human_size(freed)}")
        for part in parts:
            if not part.removable:
                print_wrapped(f"  {part.what} stays: {_why_it_stays(part)}")
    if len(chosen) != 1:
        print(f"{'would free' if dry_run else 'freed'} {human_size(total)} in all")


def prune_cache(*, max_size: int | None, dry_run: bool) -> None:
    """Remove from the cache what belongs to no model; and what was used least recently, until it fits.

    max_size: bytes that the cache may keep; None for no limit.
    """
    library = open_library(Places.of(None))
    chosen = prunable(library, max_size)
    freed = 0
    for owner, part in chosen:
        freed += part.size if dry_run else remove([part])
        print_wrapped(f"{owner}: {'would free' if dry_run else 'freed'} {human_size(part.size)}: {part.what}")
    place = library.places.cache
    kept = human_size(size_of(place) - (freed if dry_run else 0))
    print_wrapped(f"{'would free' if dry_run else 'freed'} {human_size(freed)}; {kept} in {place}")


def human_size(size: int) -> str:
    """size: bytes."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1000:.1f} kB" if size >= 1000 else f"{size} B"


def _chosen(library: Library, names: Sequence[str], *, everything: bool) -> dict[str, Sequence[Part]]:
    if everything:
        chosen: dict[str, Sequence[Part]] = {model.name: model.parts for model in library.models}
        return chosen | ({OTHERS: library.others} if library.others else {})
    chosen = {}
    for name in names:
        if name == OTHERS:
            chosen[OTHERS] = library.others
        else:
            model = library.find(name)
            chosen[model.name] = model.parts
    return chosen


def _why_it_stays(part: Part) -> str:
    if part.kind == INSTALLED:
        return "pip uninstall removes it"
    return "it is your own folder"


def _each(names: Sequence[str], work: Callable[[str], str]) -> int:
    failed = False
    for name in names:
        try:
            print_wrapped(work(name))
        except WhisperNpuError as error:
            if len(names) == 1:
                raise
            failed = True
            Stderr(sys.stderr).print(error_line(str(error)))
    return 1 if failed else 0


def _part_lines(part: Part, width: int) -> list[str]:
    what = part.what if part.complete or part.kind == DOWNLOAD else f"{part.what}, DAMAGED"
    return _row(human_size(part.size), what, width)


def _row(size: str, what: str, width: int) -> list[str]:
    first, later = f"{size:>{_SIZE}}  ", " " * (_SIZE + 2)
    return wrap(what, width, first=first, rest=later)


def _other_lines(parts: Sequence[Part], width: int) -> list[str]:
    """One line for all that are described alike."""
    if not parts:
        return []
    counts = Counter(part.what for part in parts)
    lines = [OTHERS]
    for what, count in counts.items():
        size = sum(part.size for part in parts if part.what == what)
        lines += _row(human_size(size), what if count == 1 else f"{what}: {count} folders", width)
    return [*lines, ""]


def _folders(library: Library) -> dict[Path, int]:
    """The folders that models lie in, and the bytes of what is listed of each."""
    places = library.places
    sizes = {places.cache: 0}
    for part in (*library.others, *(part for model in library.models for part in model.parts)):
        if part.removable:
            folder = part.folder.parent
            sizes[folder] = sizes.get(folder, 0) + part.size
    return sizes


def _available_lines(library: Library, width: int) -> list[str]:
    here = {model.name for model in library.models}
    lines = []
    for name in HUB_IDS:
        main = main_name(name)
        same = f", the same as {main}" if main != name else ""
        mark = ", here" if main in here else ""
        size = human_size(download_size(name)).replace(".0 ", " ")
        lines += _row(f"~{size}", f"{name}{same}{mark}", width)
    return lines


def _document(library: Library, *, everything: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "cache": str(library.places.cache),
        "hub_cache": str(library.places.hub_cache),
        "models": [_model_document(model) for model in library.models],
        "others": [_part_document(part) for part in library.others],
        "bytes_in_folders": {str(folder): size for folder, size in _folders(library).items()},
    }
    if everything:
        document["available"] = [
            {"name": name, "repository": repository, "approximate_bytes": download_size(name)}
            for name, repository in HUB_IDS.items()
        ]
    return document


def _model_document(model: StoredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "source": model.source,
        "bytes": model.size,
        "parts": [_part_document(part) for part in model.parts],
    }


def _part_document(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind or None,
        "what": part.what,
        "folder": None if part.kind == INSTALLED else str(part.folder),
        "bytes": part.size,
        "complete": part.complete,
        "made_by": part.entry.about.made_by if part.entry else None,
    }
