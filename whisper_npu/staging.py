"""Puts a model's constants on a device, from what an earlier start laid out where that was kept.

Reading, rounding and laying out an encoder's weights costs a start as much time as encoding some seconds of
audio. Where the result lies in the host's memory it is kept in the cache, and later starts map the files. A
device that copies weights into memory of its own keeps nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu import cache
from whisper_npu.errors import CacheError, one_line
from whisper_npu.npu.device import Device, Value
from whisper_npu.ops import Op
from whisper_npu.untrusted import read_object

_DIGESTS = "digests.json"  # name of each array of the entry, and the digest of its file
_VERSION = 2  # of an entry's files: increase it whenever they would be read or checked in another way
_PAGE = 4096  # bytes that are lost or misplaced together

STAGED = "encoder as this CPU multiplies it"  # the kind of cache entry


@dataclass(frozen=True, eq=False)
class Constants(Mapping[str, Value]):
    """What stays the same from run to run of an op, by its operands' names: made when it is asked for."""

    op: Op
    makers: Mapping[str, Callable[[], NDArray[Any]]]  # of float32, float16 or bfloat16, any strides

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.makers[name]()

    def __contains__(self, name: object) -> bool:  # that of Mapping asks for the value
        return name in self.makers

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


Held = dict[str, dict[str, Value]]  # by the ops' names, what `Device.hold` gives for each


@dataclass(frozen=True)
class KeptIn:
    """Where staged weights are kept, and whose they are."""

    cache: Path
    identity: str  # of the values, before any device rounds them: others have another text
    progress: Callable[[str], None]  # is told when something is kept, or cannot be
    made_from: str = ""  # the checkpoint's folder, for those who list and remove entries


def hold(steps: Mapping[str, Constants], device: Device, kept_in: KeptIn | None) -> Held:
    """Constants of ops on the device. steps: by names, which what is kept gets.

    kept_in: None to lay them out anew. What the device lets keep (`Device.kept_forms`) is kept there.
    """
    if kept_in is None:
        return _anew(steps, device)
    forms = {step: device.kept_forms(constants.op) for step, constants in steps.items()}
    files = {_file_of(step, name): form for step, some in forms.items() for name, form in some.items()}
    if not files:
        return _anew(steps, device)
    key = f"staged-{cache.content_key(f'{_VERSION} {kept_in.identity}', files.items())}"
    if (folder := cache.find(kept_in.cache, key)) is not None:
        try:
            kept = _mapped(folder, files)
        except OSError as error:  # of the system, such as too many open files: what is kept may be sound
            kept_in.progress(f"the encoder's weights are laid out anew: {one_line(error)}")
            return _anew(steps, device)
        if kept is not None:
            cache.mark_used(folder)
            of_steps = {
                step: {name: kept[_file_of(step, name)] for name in some} for step, some in forms.items()
            }
            return {step: device.hold(of.op, of, of_steps[step]) for step, of in steps.items()}
        cache.discard(kept_in.cache, key)
    held = _anew(steps, device)

    def keep(folder: Path) -> None:
        kept_in.progress("keeping the encoder's weights as this CPU multiplies them, once")
        for step in steps:
            for name, array in device.kept(held[step]).items():
                np.save(_file(folder, _file_of(step, name)), array)
        digests = {name: _digest(_file(folder, name)) for name in files}
        (folder / _DIGESTS).write_text(json.dumps(digests), "utf-8")

    try:
        about = cache.About(STAGED, kept_in.made_from, identity=kept_in.identity)
        cache.find_or_build(kept_in.cache, key, keep, about)
    except CacheError as error:
        kept_in.progress(f"the encoder's weights are laid out again at every start: {error}")
    return held


def damaged(folder: Path, expected: Iterable[str] = ()) -> list[str]:
    """The files of an entry of the kind STAGED that are not as they were kept.

    expected: names of arrays that it has to hold. Raises OSError where a file is there and cannot be read.
    """
    try:
        digests = read_object(folder / _DIGESTS)
    except (FileNotFoundError, ValueError):
        return [_DIGESTS]
    names = dict.fromkeys([*digests, *expected])
    return [f"{name}.npy" for name in names if not _holds(_file(folder, name), digests.get(name))]


def _anew(steps: Mapping[str, Constants], device: Device) -> Held:
    return {step: device.hold(constants.op, constants) for step, constants in steps.items()}


def _mapped(folder: Path, names: Iterable[str]) -> dict[str, NDArray[Any]] | None:
    """What an entry holds; None where it is not what was kept. Raises OSError as `damaged` does."""
    if damaged(folder, names):
        return None
    return {name: np.asarray(np.load(_file(folder, name), mmap_mode="r")) for name in names}


def _file_of(step: str, name: str) -> str:
    """What an array of a step is called in an entry."""
    return f"{step}.{name}"


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
