"""A recording of an archive as sound, wherever it is kept, and why it cannot be transcribed in one line."""

from __future__ import annotations

from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.described import described
from whisper_npu.audio import OPEN_FILE, Sound, name_of, open_audio
from whisper_npu.errors import (
    LONGEST_LINE,
    AudioError,
    MissingPackageError,
    WhisperNpuError,
    one_line,
    shortened,
    shown,
)


def open_source(source: Source, asked: AskedArchive) -> Sound:
    """The whole recording, decoded. The caller closes it.

    Raises AudioError for what is wrong with it, or with the store that it is in, and MissingPackageError
    where a package for that store is not installed.
    """
    path = local_path(source.url)
    if path is not None:
        return _decoded(path, asked)
    import fsspec

    try:
        with fsspec.open(source.url, "rb") as file:
            return _decoded(file, asked)
    except WhisperNpuError:
        raise
    except ImportError as error:
        raise MissingPackageError(f"{shown(source.url)}: {one_line(error)}") from error
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise AudioError("it is not there any more; list the archive again") from error
    except PermissionError as error:
        raise AudioError(f"it may not be read ({one_line(error)}); ask for permission") from error
    except Exception as error:  # every store has its own
        why = one_line(error) or type(error).__name__
        raise AudioError(f"it cannot be read ({why}); check where it comes from") from error


def local_path(url: str) -> str | None:
    """Where it lies on this machine; None for what is elsewhere."""
    if "://" not in url and "::" not in url:
        return url
    from fsspec.implementations.local import LocalFileSystem

    local = tuple(f"{protocol}://" for protocol in LocalFileSystem.protocol)
    return str(LocalFileSystem._strip_protocol(url)) if url.startswith(local) else None


def reason(error: BaseException, source: Source) -> str:
    """What is wrong with a recording, in one line without its name, which the reader knows."""
    text = described(error)
    path = local_path(source.url)
    for name in (OPEN_FILE, *([] if path is None else [name_of(path)])):
        text = text.removeprefix(f"{name}: ")
    return shortened(shown(" ".join(text.splitlines())), LONGEST_LINE)


def _decoded(audio: object, asked: AskedArchive) -> Sound:
    return open_audio(
        audio,  # type: ignore[arg-type]  # fsspec's files have no types
        audio_track=asked.audio_track,
        strict=asked.strict,
        max_seconds=asked.max_seconds,
    )
