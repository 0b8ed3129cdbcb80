"""Stages a model's weights on a device, from what an earlier start laid out where that was kept.

Reading, rounding and laying out an encoder's weights costs a start as much time as encoding some seconds of
audio. Where the result lies in the host's memory it is kept in the cache, and later starts map the files. A
device that copies weights into memory of its own keeps nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu import cache
from whisper_npu.errors import CacheError
from whisper_npu.npu.device import Buffer, Device
from whisper_npu.ops import Linear

_SUMS = "sums.json"  # name of each file of the entry, and the sum of its bytes as 64-bit words

STAGED = "encoder as this CPU multiplies it"  # the kind of cache entry


@dataclass(frozen=True)
class Weight:
    """A layer's weight that is made only where it has to be."""

    layer: Linear
    make: Callable[[], NDArray[Any]]  # (K, N) float32, float16 or bfloat16, any strides


@dataclass(frozen=True)
class KeptIn:
    """Where staged weights are kept, and whose they are."""

    cache: Path
    identity: str  # of the values, before any device rounds them: others have another text
    progress: Callable[[str], None]  # is told when something is kept, or cannot be
    made_from: str = ""  # the checkpoint's folder, for those who list and remove entries


def stage(weights: Mapping[str, Weight], device: Device, kept_in: KeptIn | None) -> dict[str, Buffer]:
    """Every weight on the device, by name. kept_in: None to stage them anew."""
    forms = {name: device.kept_form(weight.layer) for name, weight in weights.items()}
    known = {name: form for name, form in forms.items() if form is not None}
    if kept_in is None or len(known) < len(forms):
        return _anew(weights, device)
    key = f"staged-{cache.content_key(kept_in.identity, known.items())}"
    if (folder := cache.find(kept_in.cache, key)) is not None:
        if (kept := _mapped(folder, weights)) is not None:
            return {name: device.stage_kept(weights[name].layer, array) for name, array in kept.items()}
        cache.discard(kept_in.cache, key)
    staged = _anew(weights, device)

    def keep(folder: Path) -> None:
        kept_in.progress("keeping the encoder's weights as this CPU multiplies them, once")
        for name, buffer in staged.items():
            np.save(_file(folder, name), device.kept(buffer))
        sums = {name: _sum(_file(folder, name)) for name in staged}
        (folder / _SUMS).write_text(json.dumps(sums), "utf-8")

    try:
        about = cache.About(STAGED, kept_in.made_from)
        cache.find_or_build(kept_in.cache, key, keep, about)
    except CacheError as error:
        kept_in.progress(f"the encoder's weights are laid out again at every start: {error}")
    return staged


def _anew(weights: Mapping[str, Weight], device: Device) -> dict[str, Buffer]:
    return {name: device.stage(weight.layer, weight.make()) for name, weight in weights.items()}


def _mapped(folder: Path, names: Mapping[str, Weight]) -> dict[str, NDArray[Any]] | None:
    """What an entry holds; None where it is not what was kept."""
    try:
        sums = json.loads((folder / _SUMS).read_text("utf-8"))
        if any(_sum(_file(folder, name)) != sums[name] for name in names):
            return None
        return {name: np.asarray(np.load(_file(folder, name), mmap_mode="r")) for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _sum(file: Path) -> int:
    """Of all bytes, as fast as memory is read. Pages that a crash left empty, for example, change it."""
    content = np.memmap(file, np.uint8, "r")
    whole = len(content) // 8 * 8
    words = np.asarray(content[:whole]).view(np.uint64)
    return int(words.sum(dtype=np.uint64)) + int(content[whole:].sum(dtype=np.uint64))
