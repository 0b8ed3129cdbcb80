"""Where a recording comes from: a path, standard input or an open file becomes a nameless, seekable file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy.typing as npt

from whisper_npu.errors import AudioError, shown

# What `load_audio` takes. Of an array-like, such as a PyTorch tensor, the type is not known here.
AudioSource = str | os.PathLike[str] | BinaryIO | bytes | npt.NDArray[Any]


def name_of(source: object) -> str:
    """What messages call a source, which may be an array too."""
    if hasattr(source, "__array__"):
        return "the array"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the bytes"
    if not isinstance(source, (str, os.PathLike)):
        return "the open file"
    return "standard input" if source == "-" else shown(os.fsdecode(source)) or "''"


def fetch(name: str, source: object) -> BinaryIO:
    """The source's content as a nameless file in which decoders can seek."""
    content: BinaryIO | bytes
    if source == "-":
        content = _read(name, _standard_input())
    elif isinstance(source, (str, os.PathLike)):
        content = _open(os.fsdecode(source), name)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    elif hasattr(source, "read"):
        content = _read(name, source)
    else:
        raise AudioError(f"cannot load audio from {type(source).__name__}; {_remedy(source)}")
    return _temporary_file(name, content) if isinstance(content, bytes) else content


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


def _read(name: str, file: Any) -> bytes:
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check where it comes from") from error
    if not isinstance(content, bytes):
        raise AudioError(f"{name} gives {type(content).__name__}, not bytes; open it with mode 'rb'")
    return content


def _open(path: str, name: str) -> BinaryIO | bytes:
    try:
        file = _open_unnamed(path)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:
            return file.read()  # decoders seek, which a pipe such as <(command) cannot
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the name and the folder") from error
    except IsADirectoryError as error:
        raise AudioError(f"{name}: is a folder; name the audio files in it, such as {name}/*.wav") from error
    except PermissionError as error:
        raise AudioError(f"{name}: may not be read; ask its owner for permission: chmod +r FILE") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check the name and the disk") from error


def _open_unnamed(path: str) -> BinaryIO:
    """Open a file without its name, or FFmpeg would take any text in "a.g722" or "a.flac" for sound."""
    return open("recording", "rb", opener=lambda _, flags: os.open(path, flags))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _temporary_file(name: str, content: bytes) -> BinaryIO:
    """`content` in a file that disappears when it is closed."""
    try:
        with ExitStack() as closing:
            file = closing.enter_context(TemporaryFile())
            file.write(content)
            file.flush()  # libsndfile opens it a second time
            closing.pop_all()
    except OSError as error:
        raise AudioError(
            f"{name}: its {len(content)} bytes cannot be kept in a temporary file ({error}); "
            "set TMPDIR to a folder with more space"
        ) from error
    return file
