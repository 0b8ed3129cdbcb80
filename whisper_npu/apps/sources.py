"""From what the user typed to the list of recordings: files, folders, patterns, standard input.

No recording is opened here, and nothing is fetched.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from whisper_npu.errors import UsageError, shown
from whisper_npu.home import expanded
from whisper_npu.untrusted import open_regular

STDIN = "-"

# What is taken from a folder: endings of audio and video that libsndfile or FFmpeg decode by content alone.
# fmt: off
EXTENSIONS: tuple[str, ...] = (
    "wav", "mp3", "m4a", "mp4", "mkv",  # first, since messages name these
    "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "awb", "caf", "dts", "eac3", "flac", "m4b",
    "m4r", "mka", "mp2", "mpc", "mpga", "oga", "ogg", "opus", "rf64", "snd", "spx", "tta", "voc", "w64",
    "wave", "wma", "wv",
    "3g2", "3gp", "asf", "avi", "f4v", "flv", "m2ts", "m4v", "mov", "mpeg", "mpg", "mts", "mxf", "ogv",
    "qt", "ts", "vob", "webm", "wmv",
)
# fmt: on

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file://(?:localhost)?(/.*)", re.IGNORECASE | re.DOTALL)
_ANY_FOLDERS = re.compile(r"(?<![^/])\*\*(?:/|$)")  # the component ** of a pattern
_BY_CURL = ("http", "https", "ftp", "ftps", "sftp")
_NEAR = 0.85  # of difflib's ratio: "talk.wva" is near "talk.wav", but "b.wav" is not near "a.wav"
_MANY_NAMES = 10_000  # in a folder with more of them, looking for the near one would take seconds


@dataclass(frozen=True)
class Recording:
    """One recording to transcribe.

    source: what `load_audio` takes: a path, or "-" for standard input
    problem: why it cannot be transcribed, where that is known before it is opened: one line for the user
    """

    source: str
    problem: str | None = None

    @property
    def name(self) -> str:
        """What people call it, fit to be printed."""
        return "standard input" if self.source == STDIN else shown(self.source)


def find_recordings(given: Sequence[str], *, recursive: bool) -> tuple[Recording, ...]:
    """The recordings that `given` means, in that order; each once, however often and in whatever spelling.

    An entry is, in this order of precedence:

    - "-": standard input
    - whatever exists under exactly this name, even if the name looks like a pattern or an address
    - a file:// address of this machine: the file
    - a pattern such as "talks/*.wav" or "talks/**/*.mp3": the files that match it, hidden ones aside
    - a folder: with `recursive` the files in it and below that end as in `EXTENSIONS`, hidden files and
      folders aside; links to folders are not followed

    What comes from one pattern or folder is sorted, numbers in names by their value: talk2 before talk10.

    A file that is missing, a pattern or folder without recordings, a folder without `recursive` becomes a
    `Recording` with a `problem`, so that the others can go on.

    Raises UsageError for what is wrong with the call itself: an address, standard input twice, an empty name.
    """
    if given.count(STDIN) > 1:
        raise UsageError("- stands for standard input, which can be read only once; name it once")
    found: dict[str, Recording] = {}
    for argument in given:
        for recording in _recordings(argument, recursive=recursive):
            found.setdefault(_identity(recording.source), recording)
    return tuple(found.values())


def _recordings(argument: str, *, recursive: bool) -> list[Recording]:
    if argument == "":
        raise UsageError("the name of a recording is empty; is it a variable of the shell that is not set?")
    if argument == STDIN:
        return [Recording(STDIN)]
    path = path_of(argument)
    if os.path.isdir(path):
        if not recursive:
            return [_folder_refused(path)]
        return sorted(_in_folder(path), key=_by_source) or [_none_in_folder(path)]
    if os.path.lexists(path):
        return [Recording(path)]
    if _ADDRESS.match(path):
        raise UsageError(_address_refused(path))
    if glob.has_magic(path):
        found = sorted(_matching(path, recursive=recursive), key=_by_source)
        return found or [_missing(path, "no file has this name or matches this pattern")]
    return [_missing(path, "no such file")]


def path_of(argument: str) -> str:
    """The path that is meant: by a file:// address, as file managers hand it over, or by a quoted ~."""
    if os.path.lexists(argument):
        return argument
    if file := _FILE_ADDRESS.fullmatch(argument):
        return unquote(file[1], errors="surrogateescape")
    return expanded(argument)


def _identity(source: str) -> str:
    """Equal for two spellings of one name. Links are names of their own, whose transcripts are so too."""
    if source == STDIN:
        return source
    folder, name = os.path.split(source)
    return os.path.join(os.path.realpath(folder), name)


def _address_refused(address: str) -> str:
    quoted = shlex.quote(address)
    if address.partition(":")[0].lower() in _BY_CURL:
        remedy = f"download it first (curl -LO {quoted}), or pipe: curl -L {quoted} | whisper-npu -"
    else:
        remedy = "download or record it to a file first"
    return shown(f"{address}: is an address; whisper-npu fetches nothing: {remedy}")


# Folders and patterns


def _folder_refused(folder: str) -> Recording:
    pattern = os.path.join(shlex.quote(folder), "*.wav")
    remedy = f"add --recursive for the recordings in it and below, or name them, such as {pattern}"
    return Recording(folder, shown(f"{folder}: is a folder; {remedy}"))


def _in_folder(folder: str) -> list[Recording]:
    """What is taken from a folder and those below it, and those that cannot be read; unsorted."""
    found: list[Recording] = []

    def unreadable(error: OSError) -> None:
        path = os.fsdecode(error.filename)
        reason = f"this folder cannot be read ({error.strerror}); check its permissions"
        found.append(Recording(path, f"{shown(path)}: {reason}"))

    for top, names in _walk(folder, unreadable):
        paths = [os.path.join(top, name) for name in names if _is_recording(top, name)]
        found += [Recording(path, _no_file(path)) for path in paths]
    return found


def _walk(
    folder: str, unreadable: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its files, without hidden folders. Links to folders are not followed."""
    for top, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield top, names


def _is_recording(folder: str, name: str) -> bool:
    """By its name."""
    extension = os.path.splitext(name)[1].removeprefix(".").lower()
    if extension == "ts" and not _is_transport_stream(os.path.join(folder, name)):
        return False  # a program in TypeScript
    # Hidden is among others "._talk.wav", which macOS writes on foreign disks.
    return extension in EXTENSIONS and not name.startswith(".")


def _no_file(path: str) -> str | None:
    """Why something in a folder is not opened: a pipe, for example, would be waited for."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # a link to nowhere: whoever opens it says so
        return None
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return f"{shown(path)}: is {kind}, which is not read as part of a folder; name it itself, or move it away"


def _is_transport_stream(path: str) -> bool:
    """Whether it begins as MPEG's do. Source: ISO/IEC 13818-1, sync_byte."""
    try:
        with open_regular(path) as file:
            return file.read(1) == b"\x47"
    except OSError:
        return True  # whoever opens it says why it cannot be read


def _none_in_folder(folder: str) -> Recording:
    common = ", ".join(EXTENSIONS[:5])
    looked_for = f"{common} or one of {len(EXTENSIONS) - 5} other endings of audio and video files"
    reason = f"no file in this folder or below it ends in {looked_for}; name the files themselves"
    return Recording(folder, f"{shown(folder)}: {reason}")


def _matching(pattern: str, *, recursive: bool) -> list[Recording]:
    """The files that match; of folders that match what is in them, if `recursive`."""
    found = []
    for path in _expand(pattern):
        if not os.path.isdir(path):
            found.append(Recording(path))
        elif recursive:
            found += _in_folder(path)
    return found


def _expand(pattern: str) -> list[str]:
    """As glob.glob with `recursive`, but without following links from `**`: two loops of links never end."""
    if (stars := _ANY_FOLDERS.search(pattern)) is None:
        return glob.glob(pattern)
    before, after = pattern[: stars.start()], pattern[stars.end() :] or "*"
    found = []
    for start in glob.glob(before) if before else ["."]:
        for folder, _ in _walk(start):
            found += _expand(os.path.join(glob.escape(folder), after))
    return found if before else [path.removeprefix("./") for path in found]


def _by_source(recording: Recording) -> tuple[list[list[str | int]], str]:
    """A key that sorts by folders, then names, numbers in them by their value, whatever the case."""
    return natural_order(recording.source)


def natural_order(path: str) -> tuple[list[list[str | int]], str]:
    """The same for a path, or the name of an object in a store."""
    return [_natural(part) for part in path.split("/")], path


def _natural(name: str) -> list[str | int]:
    pieces: list[str | int] = []
    for text, digits in re.findall("([^0-9]*)([0-9]*)", name.casefold()):
        pieces += [text, int(digits or 0)]  # always in turn, so that text is compared with text
    return pieces


# Names that do not exist


def _missing(path: str, reason: str) -> Recording:
    near = _near(path)
    remedy = f"did you mean {near}?" if near else "check the name and the folder"
    return Recording(path, shown(f"{path}: {reason}; {remedy}"))


def _near(path: str) -> str | None:
    """The existing path that differs from a missing one only by what looks like slips of the hand, if any."""
    folder, name = os.path.split(path.rstrip(os.sep))
    if not name:
        return None
    if folder and not os.path.isdir(folder):
        nearer = _near(folder)
        if nearer is None or not os.path.isdir(nearer):
            return None
        folder = nearer
        if os.path.lexists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    near = _near_name(name, folder)
    return near and os.path.join(folder, near)


def _near_name(name: str, folder: str) -> str | None:
    try:
        names = [other for other in sorted(os.listdir(folder or ".")) if not other.startswith(".")]
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None
    if len(names) > _MANY_NAMES:
        return None
    for other in names:
        if _stem(other) == _stem(name) and _is_recording(folder, other):
            return other
    by_case = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), by_case, n=1, cutoff=_NEAR)
    return by_case[near[0]] if near else None


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()
