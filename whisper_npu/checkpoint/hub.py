"""Checkpoints on the Hugging Face hub: the hub's local cache first, then a download."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from whisper_npu.checkpoint.convert import SMALL_FILES
from whisper_npu.checkpoint.ctranslate2_folder import is_ctranslate2, missing_companions
from whisper_npu.checkpoint.huggingface_folder import ADAPTER_FILES, INDEX, MERGE, SINGLE, weight_files
from whisper_npu.errors import CheckpointError, one_line
from whisper_npu.home import cache_folder

_TIMEOUT = 10.0  # seconds for the hub to answer; huggingface_hub has no limit of its own

# What faster-whisper downloads of a CTranslate2 checkpoint.
_CTRANSLATE2 = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
_SINGLE = [*SMALL_FILES, SINGLE]
_SHARDED = [*SMALL_FILES, INDEX, "model-*.safetensors"]


def find(repository: str, cache: Path | None = None) -> Path | None:
    """A repository's folder in the hub's local cache, if it is a complete checkpoint. Uses no network.

    cache: another folder of the same layout; None for huggingface_hub's own.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    cache = own_cache(cache)
    for patterns in (_CTRANSLATE2, _SINGLE, _SHARDED):
        try:
            found = snapshot_download(
                repository, allow_patterns=patterns, cache_dir=cache, local_files_only=True
            )
        except (LocalEntryNotFoundError, HFValidationError):
            continue
        if is_whole(Path(found)):
            return Path(found)
    return None


def download(repository: str, progress: Callable[[str], None], cache: Path | None = None) -> Path:
    """Download a repository's checkpoint, if possible in CTranslate2's format, with progress bars on stderr.

    cache: as for `find`.

    Raises CheckpointError with only the reason if the hub cannot be reached, does not know the repository,
    or has no readable checkpoint in it.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    cache = own_cache(cache)
    try:
        listed = HfApi().model_info(repository, timeout=_TIMEOUT).siblings or []
        patterns = _patterns({file.rfilename for file in listed})
        progress(f"downloading {repository}")
        found = Path(
            snapshot_download(repository, allow_patterns=patterns, cache_dir=cache, etag_timeout=_TIMEOUT)
        )
        _clear_interrupted(found.parents[1])
        return found
    except CheckpointError:
        raise
    except HFValidationError as error:
        raise CheckpointError(f"{repository} is not a hub id ({one_line(error)})") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError("the hub knows no such repository, or it is private") from error
    except OSError as error:
        if error.filename is None:  # requests' errors are OSErrors, too
            raise _unreachable(error) from error
        raise CheckpointError(
            f"{error.filename} cannot be written ({error.strerror}): name another folder by --model_dir, "
            "or by HF_HOME"
        ) from error
    except Exception as error:  # requests', httpx's or the system's, by version of huggingface_hub
        raise _unreachable(error) from error


def _clear_interrupted(home: Path) -> None:
    """Remove what downloads that were killed left of a repository's files.

    home: the repository in the hub's cache. Who downloads a file holds the lock of its name in .locks.
    """
    locks = home.parent / ".locks" / home.name
    for part in home.glob("blobs/*.incomplete"):
        with suppress(OSError), (locks / f"{part.name.partition('.')[0]}.lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if somebody downloads it
            part.unlink()


def own_cache(cache: Path | None) -> Path | None:
    """For who has no home folder, a place that is not a folder named ~, as huggingface_hub would make."""
    from huggingface_hub import constants

    if cache is None and str(constants.HF_HUB_CACHE).startswith("~"):
        return cache_folder(None) / "hub"
    return cache


def _unreachable(error: Exception) -> CheckpointError:
    reason = one_line(error).partition(" For more information")[0]
    return CheckpointError(f"the hub could not be reached ({type(error).__name__}: {reason})")


def _patterns(files: set[str]) -> list[str]:
    if "model.bin" in files:
        return _CTRANSLATE2
    if SINGLE in files:
        return _SINGLE
    if INDEX in files:
        return _SHARDED
    if files & set(ADAPTER_FILES):
        raise CheckpointError(f"the repository holds an adapter (PEFT) only: {MERGE}")
    raise CheckpointError(f"the repository holds none of model.bin, {SINGLE} and {INDEX}")


def is_whole(folder: Path) -> bool:
    """Whether the folder holds a checkpoint, and no file is missing, as after an interrupted download."""
    if is_ctranslate2(folder):
        return not missing_companions(folder)
    try:
        weights = weight_files(folder)
    except CheckpointError:
        return False
    return bool(weights) and all(os.path.isfile(path) for path in [folder / "config.json", *weights])
