"""Stages a model's weights on a device, from what an earlier start laid out where that was kept.

Reading, rounding and laying out an encoder's weights costs a start as much time as encoding some seconds of
audio. Where the result lies in the host's memory it is kept in the cache, and later starts map the files. A
device that copies weights into memory of its own keeps nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu import cache
from whisper_npu.errors import CacheError, one_line
from whisper_npu.npu.device import Buffer, Device
from whisper_npu.ops import Linear
from whisper_npu.untrusted import read_object

_DIGESTS = "digests.json"  # name of each weight of the entry, and the digest of its file
_VERSION = 2  # of an entry's files: increase it whenever they would be read or checked in another way
_PAGE = 4096  # bytes that are lost or misplaced together

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
    """Weights on the device, by name: those that it reads each by itself (`Device.stages`).

    kept_in: None to stage them anew. They are kept where the device reads all so.
    """
    forms = {name: device.kept_form(weight.layer) for name, weight in weights.items()}
    known = {name: form for name, form in forms.items() if form is not None}
    if kept_in is None or len(known) < len(forms):
        return _anew(weights, device)
    key = f"staged-{cache.content_key(f'{_VERSION} {kept_in.identity}', known.items())}"
    if (folder := cache.find(kept_in.cache, key)) is not None:
        try:
            kept = _mapped(folder, weights)
        except OSError as error:  # of the system, such as too many open files: what is kept may be sound
            kept_in.progress(f"the encoder's weights are laid out anew: {one_line(error)}")
            return _anew(weights, device)
        if kept is not None:
            cache.mark_used(folder)
            return {name: device.stage_kept(weights[name].layer, array) for name, array in kept.items()}
        cache.discard(kept_in.cache, key)
    staged = _anew(weights, device)

    def keep(folder: Path) -> None:
        kept_in.progress("keeping the encoder's weights as this CPU multiplies them, once")
        for name, buffer in staged.items():
            np.save(_file(folder, name), device.kept(buffer))
        digests = {name: _digest(_file(folder, name)) for name in staged}
        (folder / _DIGESTS).write_text(json.dumps(digests), "utf-8")

    try:
        about = cache.About(STAGED, kept_in.made_from, identity=kept_in.identity)
        cache.find_or_build(kept_in.cache, key, keep, about)
    except CacheError as error:
        kept_in.progress(f"the encoder's weights are laid out again at every start: {error}")
    return staged


def damaged(folder: Path, expected: Iterable[str] = ()) -> list[str]:
    """The files of an entry of the kind STAGED that are not as they were kept.

    expected: names of weights that it has to hold. Raises OSError where a file is there and cannot be read.
    """
    try:
        digests = read_object(folder / _DIGESTS)
    except (FileNotFoundError, ValueError):
        return [_DIGESTS]
    names = dict.fromkeys([*digests, *expected])
    return [f"{name}.npy" for name in names if not _holds(_file(folder, name), digests.get(name))]


def _anew(weights: Mapping[str, Weight], device: Device) -> dict[str, Buffer]:
    return {
        name: device.stage(weight.layer, weight.make())
        for name, weight in weights.items()
        if device.stages(weight.layer)
    }


def _mapped(folder: Path, names: Iterable[str]) -> dict[str, NDArray[Any]] | None:
    """What an entry holds; None where it is not what was kept. Raises OSError as `damaged` does."""
    if damaged(folder, names):
        return None
    return {name: np.asarray(np.load(_file(folder, name), mmap_mode="r")) for name in names}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _holds(file: Path, digest: object) -> bool:
    try:
        return _digest(file) == digest
    except (FileNotFoundError, ValueError):  # NumPy maps no empty file
        return False


def _digest(file: Path) -> str:
    """Of all bytes and their order, nearly as fast as memory is read: 40 MB in 26 files in 12 ms (MEASURED).

    It stands for the sum of every page and of every word's place in the pages. Pages that a crash left empty
    or that came in another order, for example, change it.
    """
    content = np.asarray(np.memmap(file, np.uint8, "r"))
    whole = len(content) // _PAGE * _PAGE
    pages = content[:whole].view(np.uint64).reshape(-1, _PAGE // 8)
    digest = sha256(pages.sum(axis=1, dtype=np.uint64))
    digest.update(pages.sum(axis=0, dtype=np.uint64))
    digest.update(content[whole:].tobytes())
    return digest.hexdigest()
