"""Where a recording comes from: a path, standard input or an open file becomes a nameless, seekable file."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from io import BufferedRandom, BufferedReader, BytesIO, FileIO
from math import inf
from threading import Event
from time import monotonic, sleep
from typing import Any, BinaryIO

import numpy.typing as npt

from whisper_npu.audio.copying import PIECE, copied
from whisper_npu.audio.damage import check_cancelled
from whisper_npu.errors import AudioError, shown
from whisper_npu.home import expanded

# What `load_audio` takes. Of an array-like, such as a PyTorch tensor, the type is not known here.
AudioSource = str | os.PathLike[str] | BinaryIO | bytes | npt.NDArray[Any]

OPEN_FILE = "the open file"  # what messages call a source without a name
_WRITER_SECONDS = 10.0  # that a pipe waits for somebody to write into it


def name_of(source: object) -> str:
    """What messages call a source, which may be an array too."""
    if hasattr(source, "__array__"):
        return "the array"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the bytes"
    if not isinstance(source, (str, os.PathLike)):
        return OPEN_FILE
    return "standard input" if source == "-" else shown(os.fsdecode(source)) or "''"


def fetch(name: str, source: object, max_seconds: float = inf, cancelled: Event | None = None) -> BinaryIO:
    """The source's content as a nameless file in which decoders can seek.

    A file on disk is opened once more, so that an open one stays where it is. All else is copied, piece by
    piece, into a temporary file, no more than `max_seconds` need (see `copied`), unless `cancelled` is set;
    what can seek is then put back to where it was.
    """
    if source == "-":
        return _from_open_file(name, _standard_input(), max_seconds, cancelled)
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return _open(path if os.path.lexists(path) else expanded(path), name, max_seconds, cancelled)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return copied(name, BytesIO(bytes(source)).read, cancelled=cancelled)
    if hasattr(source, "read"):
        return _from_open_file(name, source, max_seconds, cancelled)
    raise AudioError(f"cannot load audio from {type(source).__name__}; {_remedy(source)}")


def _remedy(source: object) -> str:
    if isinstance(source, Mapping) and {"array", "sampling_rate"} <= source.keys():
        return 'give audio["array"], sampling_rate=audio["sampling_rate"]'
    if isinstance(source, (list, tuple)):
        if source and isinstance(source[0], (str, os.PathLike)):
            return "give one recording at a time"
        return "give np.asarray(samples, np.float32)"
    return "give a path, an array, a binary file, bytes, or '-'"


def only_once(source: object) -> bool:
    """Whether what is read of a source is gone: standard input, a pipe, a device."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    return source == "-" or (
        os.path.exists(source) and not os.path.isfile(source) and not os.path.isdir(source)
    )


def _standard_input() -> Any:
    """It as a binary file."""
    remedy = "send audio into it: whisper-npu ... - < talk.wav"
    stdin: Any = sys.stdin  # None if the process has none, and any object that a program puts there
    if stdin is None or getattr(stdin, "closed", False):
        raise AudioError(f"standard input is closed; {remedy}")
    if stdin.isatty():
        raise AudioError(f"standard input is a terminal; {remedy}")
    if not hasattr(stdin, "buffer"):
        raise AudioError(f"standard input is a {type(stdin).__name__}, which gives text only; {remedy}")
    return stdin.buffer


def _from_open_file(name: str, file: Any, max_seconds: float, cancelled: Event | None) -> BinaryIO:
    """What it holds from its position on."""
    plain = _without_wrapper(file)
    position = _position(plain)
    if position == 0:
        opened = _opened_again(name, plain)
        if opened is not None:
            return opened
    copy = copied(name, partial(_read, name, file), max_seconds, cancelled=cancelled)
    if position is not None:
        plain.seek(position)
    return copy


def _without_wrapper(file: Any) -> Any:
    """What holds the content of a temporary file of Python's, which may be memory."""
    if isinstance(file, tempfile.SpooledTemporaryFile):
        return file._file
    return file.file if isinstance(file, tempfile._TemporaryFileWrapper) else file


def _position(file: Any) -> int | None:
    """None for what cannot seek, or is closed."""
    try:
        return int(file.tell()) if file.seekable() else None
    except (AttributeError, OSError, ValueError):
        return None


def _opened_again(name: str, file: Any) -> BinaryIO | None:
    """A file on disk with a position of its own; None for all else.

    Only what Python's own types read is what is on the disk: the descriptor of a gzip file, for one, leads to
    what is compressed.
    """
    raw = file.raw if type(file) in (BufferedReader, BufferedRandom) else file
    if type(raw) is not FileIO:
        return None
    _read(name, file, 0)  # may it be read?
    try:
        file.flush()  # what was written into it just before
        if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            return _open_unnamed(f"/proc/self/fd/{raw.fileno()}")
    except OSError:  # no Linux, or it may be read, but not opened again
        pass
    return None


def _read(name: str, file: Any, size: int) -> bytes:
    try:
        content = file.read(size)
    except UnicodeDecodeError as error:
        raise AudioError(f"{name} gives str, not bytes; open it with mode 'rb'") from error
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check where it comes from") from error
    if not isinstance(content, bytes):
        raise AudioError(f"{name} gives {type(content).__name__}, not bytes; open it with mode 'rb'")
    return content


def _open(path: str, name: str, max_seconds: float, cancelled: Event | None) -> BinaryIO:
    try:
        is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
        file = _open_unnamed(path, os.O_NONBLOCK if is_pipe else 0)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:  # decoders seek, which a pipe such as <(command) cannot
            if file.isatty():
                raise AudioError(f"{name}: is a terminal; name an audio file")
            first = _first_of_a_pipe(name, file, cancelled) if is_pipe else b""
            return copied(name, partial(_read, name, file), max_seconds, first, cancelled)
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the name and the folder") from error
    except IsADirectoryError as error:
        within = os.path.join(name, "a.wav")
        raise AudioError(f"{name}: is a folder; name an audio file in it, such as {within}") from error
    except PermissionError as error:
        raise AudioError(f"{name}: may not be read; ask its owner for permission: chmod +r FILE") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check the name and the disk") from error


def _first_of_a_pipe(name: str, file: BinaryIO, cancelled: Event | None) -> bytes:
    """What is in a pipe that was opened without waiting; nothing if another process has it open, too.

    To open it would wait for that process for ever.
    """
    end = monotonic() + _WRITER_SECONDS
    while (found := file.read(PIECE)) == b"":  # None if there is a writer that has written nothing so far
        check_cancelled(name, cancelled)
        if monotonic() > end:
            raise AudioError(
                f"{name}: is a pipe into which nothing was written for {_WRITER_SECONDS:g} s; "
                "start what writes into it"
            )
        sleep(0.05)
    os.set_blocking(file.fileno(), True)
    return found or b""


def _open_unnamed(path: str, more_flags: int = 0) -> BinaryIO:
    """Open a file without its name, or FFmpeg would take any text in "a.g722" or "a.flac" for sound."""
    return open("recording", "rb", opener=lambda _, flags: os.open(path, flags | more_flags))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
