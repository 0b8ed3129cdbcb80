"""From a model's name, folder or hub id to encoder weights and a folder for the decoder.

resolve.py finds the model, ctranslate2_folder.py and huggingface_folder.py read its encoder, convert.py
prepares its decoder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from whisper_npu.cache import content_key
from whisper_npu.checkpoint import convert, ctranslate2_folder, huggingface_folder
from whisper_npu.checkpoint.arrays import check_finite
from whisper_npu.checkpoint.files import identity
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.checkpoint.places import Places
from whisper_npu.checkpoint.resolve import locate, no_weights
from whisper_npu.encoder import ModelDimensions
from whisper_npu.home import cache_folder

__all__ = ["Checkpoint", "known_models", "load_checkpoint", "models_here"]


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper model: its encoder as arrays, its decoder as a folder."""

    name: str  # a known name, or the hub id or folder that the user asked for
    source: str  # where it was found, in words
    dims: ModelDimensions
    encoder: Mapping[str, NDArray[Any]]  # encoder_shapes(dims): float16, float32 or bfloat16, all finite
    encoder_identity: str  # another text as soon as a file that `encoder` is read from changes
    decoder_folder: Path  # faster_whisper.WhisperModel opens it without a hub
    normalizer: Path | None  # the checkpoint's normalizer.json


def known_models() -> tuple[str, ...]:
    """The names that load_checkpoint accepts besides folders and hub ids."""
    return tuple(HUB_IDS)


def models_here(cache_dir: Path | None = None) -> tuple[str, ...]:
    """The names of models whose weights are installed, or in a cache: load_checkpoint needs no network."""
    from whisper_npu.checkpoint import hub, packages

    cache = cache_folder(cache_dir)
    return tuple(
        name
        for name, repository in HUB_IDS.items()
        if packages.find(name, cache) or packages.is_installed(name) or hub.find(repository)
    )


def load_checkpoint(
    model: str | Path,
    *,
    cache_dir: Path | None = None,
    model_dir: Path | None = None,
    local_files_only: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Load a Whisper checkpoint.

    `model` is one of known_models(), in any case, a local folder in CTranslate2's or Hugging Face's format
    (of both, CTranslate2's is used, which needs no conversion), or a hub id "org/name". A name is looked for
    in the local caches, then in an installed weights package, then on the hub; a Path is always a folder.

    `cache_dir` is for what is built: decoders of Hugging Face folders, and copies of weights packages.
    Default: $WHISPER_NPU_CACHE, or whisper-npu in the user's cache folder. `model_dir` is a folder of models:
    it is searched first, for model_dir/base, model_dir/faster-whisper-base and the layout of the hub's cache,
    and downloads go there. Default: the hub's own cache. With `local_files_only` nothing is downloaded.
    `progress` is called with one line before every long step.

    Raises UnknownModelError if `model` names nothing, and CheckpointError if what it names is absent, damaged
    or not a Whisper, or if the cache cannot be written. A model.bin's arrays are read when they are asked
    for; then CheckpointError is raised for values that are not finite.
    """
    report = progress if progress is not None else _silent
    places = Places.of(cache_dir, model_dir, local_files_only=local_files_only)
    found = locate(model, places, report)
    if ctranslate2_folder.is_ctranslate2(found.folder):
        encoder: Mapping[str, NDArray[Any]]
        dims, encoder = ctranslate2_folder.read_encoder(found.folder)
        ctranslate2_folder.check_companions(found.folder, dims)
        decoder_folder, files = found.folder, [found.folder / ctranslate2_folder.MODEL]
    elif files := huggingface_folder.weight_files(found.folder):
        files.append(found.folder / huggingface_folder.CONFIG)
        dims, encoder = huggingface_folder.read_encoder(found.folder)
        for name, array in encoder.items():
            check_finite(found.folder, name, array)
        decoder_folder = convert.ctranslate2_folder(found.folder, places.cache, report)
    else:
        raise no_weights(found.folder)
    normalizer = decoder_folder / "normalizer.json"
    return Checkpoint(
        name=found.name,
        source=found.source,
        dims=dims,
        encoder=encoder,
        encoder_identity=content_key("encoder", [(file.name, identity(file)) for file in files]),
        decoder_folder=decoder_folder,
        normalizer=normalizer if os.path.isfile(normalizer) else None,
    )


def _silent(_line: str) -> None:
    pass
