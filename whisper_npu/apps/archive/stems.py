"""How the files of recordings are called in the output folder: talks/monday.wav gives talks/monday.txt.

Whatever a manifest says, a stem lies below the output folder, is no hidden file and none of the archive's
own, has no names that are too long, and differs from all others even where case does not count.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from hashlib import sha256

from whisper_npu.output import FORMATS

# The archive's own, in the output folder.
SETTINGS, RESULTS, DONE, PARTS = "archive.json", "results.jsonl", "done", "parts"

_OWN_STEMS = {os.path.splitext(name)[0] for name in (SETTINGS, RESULTS)}
_OWN_FOLDERS = {DONE, PARTS}
_LONGEST_NAME = 200  # bytes of the 255 that file systems allow: an ending, a digest must fit
_LONGEST = 700  # bytes of the 1,024 that object stores allow
_ENDS_AS_OURS = re.compile(rf"\.({'|'.join((*FORMATS, 'jsonl'))})", re.IGNORECASE)
_URL = re.compile(r"(?:[a-z0-9+._-]+::)*[a-z][a-z0-9+.-]+://(?:[^/@]*@)?", re.IGNORECASE)
# Controls, and halves of surrogate pairs: bytes that are not UTF-8, which no object store takes.
_NOT_IN_NAMES = {"Cc", "Cs", "Zl", "Zp"}


def stems(names: Sequence[str]) -> list[str]:
    """The stem of each name, all different; it depends on the set of names only, not on their order.

    names: all different. A stem has no ending but where another recording of the folder would have the same:
    talk.wav and talk.mp3 give "talk.wav" and "talk.mp3".
    """
    level = dict.fromkeys(names, 0)
    current = {name: _candidate(name, 0) for name in names}
    while True:
        by_key = defaultdict(list)
        for name, stem in current.items():
            by_key[stem_key(stem)].append(name)
        clashing = [group for key, group in by_key.items() if len(group) > 1 or key in _OWN_STEMS]
        if not clashing:
            return [current[name] for name in names]
        for group in clashing:
            least = min(level[name] for name in group)
            for name in group:
                if level[name] == least:
                    level[name] += 1
                    current[name] = _candidate(name, level[name])


def stem_apart(name: str) -> str:
    """A stem that no other name gets."""
    return _candidate(name, 2)


def stem_key(stem: str) -> str:
    """Equal for two stems that could be one file: on some file systems neither case nor form counts."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


def record_key(name: str) -> str:
    """What the files that are kept of a recording are called: readable, short, another for each name."""
    last = os.path.splitext(_parts(name)[-1])[0]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", last).strip("._")[:40] or "recording"
    return f"{readable}~{_digest(name, 20)}"


def is_below(name: str) -> bool:
    """Whether a name relative to the output folder stays in it."""
    return not ("\0" in name or {"", ".", ".."} & set(name.split("/")))


def is_own(name: str) -> bool:
    """Whether it is one of the archive's own files."""
    return name in (SETTINGS, RESULTS) or name.split("/")[0] in _OWN_FOLDERS


def _candidate(name: str, level: int) -> str:
    """level: 0 without an ending, 1 with it, 2 and more with a digest of the name."""
    *folders, last = _parts(name)
    plain = os.path.splitext(last)[0] if level == 0 else last
    tail = f"~{_digest(name, 8 * (level - 1))}" if level > 1 else ""
    parts = [_folder(folder, is_top=index == 0) for index, folder in enumerate(folders)]
    stem = "/".join([*parts, _fitting(_written(plain)) + tail])
    if len(stem.encode()) > _LONGEST:
        stem = f"{_fitting(_written(plain))}~{_digest(name, 16)}"
    return stem


def _parts(name: str) -> list[str]:
    """Folders and file of a name, without what leads out of a folder or to its top."""
    if found := _URL.match(name):
        name = re.split(r"[?#]", name[found.end() :], maxsplit=1)[0] if _is_web(name) else name[found.end() :]
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return parts or ["recording"]


def _is_web(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _folder(name: str, *, is_top: bool) -> str:
    """A folder must not have the name of a file of ours: a.txt/b.wav beside a.wav."""
    written = _fitting(_written(name))
    ends = _ENDS_AS_OURS.fullmatch(os.path.splitext(written)[1])
    return f"{written}_" if ends or (is_top and stem_key(written) in _OWN_FOLDERS) else written


def _written(name: str) -> str:
    """Of characters that every file system and store takes, and not hidden."""
    text = "".join(
        _in_digits(character) if unicodedata.category(character) in _NOT_IN_NAMES else character
        for character in name
    )
    return f"_{text[1:]}" if text.startswith(".") else text


def _in_digits(character: str) -> str:
    """%0A for a line's end; %E9 for a byte that is no UTF-8, as Python keeps it in a name (PEP 383)."""
    is_byte = "\udc80" <= character <= "\udcff"
    content = bytes([ord(character) - 0xDC00]) if is_byte else character.encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in content)


def _fitting(name: str) -> str:
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    tail = f"~{_digest(name, 8)}"
    cut = name.encode()[: _LONGEST_NAME - len(tail)].decode("utf-8", "ignore")
    return cut + tail


def _digest(name: str, digits: int) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def taken_by(files: Collection[str]) -> set[str]:
    """The keys of the stems that have these files."""
    return {stem_key(os.path.splitext(name)[0]) for name in files}
