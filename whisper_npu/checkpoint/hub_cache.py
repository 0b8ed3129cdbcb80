"""What was downloaded from the Hugging Face hub: how large, whole or not, and how to remove it.

The layout: models--ORG--NAME with the files under blobs/, each named by its hash, and links to them under
snapshots/COMMIT. Source: huggingface_hub's guide "Understand caching".
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from whisper_npu.cache import size_of
from whisper_npu.checkpoint import hub
from whisper_npu.checkpoint.ctranslate2_folder import is_ctranslate2
from whisper_npu.checkpoint.files import chunks, read_json, sha256
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.errors import CacheError, CheckpointError, one_line
from whisper_npu.untrusted import open_regular

_PREFIX = "models--"
_SHA256, _GIT_SHA1 = 64, 40  # hex digits: large files are named by one, small ones by the other


@dataclass(frozen=True)
class Download:
    """A repository of the hub with a Whisper model."""

    repository: str
    folder: Path  # of the repository
    snapshot: Path | None  # the checkpoint's folder; None if files are missing
    size: int  # bytes


def downloads(cache: Path) -> tuple[Download, ...]:
    """The Whisper models among the repositories in a hub cache. Uses no network."""
    try:
        folders = sorted(
            path for path in cache.iterdir() if path.name.startswith(_PREFIX) and os.path.isdir(path)
        )
    except OSError:
        return ()
    found = []
    for folder in folders:
        repository = folder.name.removeprefix(_PREFIX).replace("--", "/")
        snapshot = hub.find(repository, cache)
        if repository in HUB_IDS.values() or (snapshot is not None and _is_whisper(snapshot)):
            found.append(Download(repository, folder, snapshot, size_of(folder)))
    return tuple(found)


def damage(snapshot: Path) -> tuple[list[str], bool]:
    """The files whose content does not fit the name of their blob, and whether all files could be compared.

    A file that is no link into blobs/, as on a file system without links, has no hash to compare with.
    """
    damaged, compared = [], True
    for file in sorted(path for path in snapshot.rglob("*") if not os.path.isdir(path)):
        expected = os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        if len(expected) == _SHA256:
            actual = sha256(file)
        elif len(expected) == _GIT_SHA1:
            actual = _git_sha1(file)
        else:
            compared = False
            continue
        if actual != expected:
            damaged.append(file.name)
    return damaged, compared


def remove(download: Download) -> int:
    """Remove a repository with all its revisions. Returns the bytes that were freed. Raises CacheError."""
    from huggingface_hub import scan_cache_dir

    found = scan_cache_dir(download.folder.parent)
    for repository in found.repos:
        if repository.repo_path.resolve() == download.folder.resolve():
            # Of this repository alone: a renamed one has the same commits under its other name.
            alone = replace(found, repos=frozenset([repository]))
            revisions = [revision.commit_hash for revision in repository.revisions]
            alone.delete_revisions(*revisions).execute()
    try:
        # What an interrupted download left is no repository to the library.
        if os.path.exists(download.folder):
            shutil.rmtree(download.folder)
    except OSError as error:
        raise CacheError(
            f"download {download.folder} cannot be removed ({error.strerror or one_line(error)}); remove it "
            "as the user that it belongs to"
        ) from error
    return download.size


def _is_whisper(snapshot: Path) -> bool:
    if is_ctranslate2(snapshot):
        with suppress(OSError), open_regular(snapshot / "model.bin") as file:
            return b"WhisperSpec" in file.read(64)
    with suppress(CheckpointError):
        return read_json(snapshot / "config.json").get("model_type") == "whisper"
    return False


def _git_sha1(file: Path) -> str:
    """As git names a file's content: the sha1 over its length and its bytes."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    for chunk in chunks(file):
        digest.update(chunk)
    return digest.hexdigest()
