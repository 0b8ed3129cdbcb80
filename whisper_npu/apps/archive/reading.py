"""A recording of an archive as sound, wherever it is kept, and why it cannot be transcribed in one line."""

from __future__ import annotations

from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.stores import Store, is_url, local_path, why
from whisper_npu.apps.described import described
from whisper_npu.audio import OPEN_FILE, AudioSource, Sound, name_of, open_audio
from whisper_npu.errors import LONGEST_LINE, AudioError, WhisperNpuError, shortened, shown


def open_source(source: Source, asked: AskedArchive) -> Sound:
    """The whole recording, decoded. The caller closes it.

    Raises AudioError for what is wrong with it, StoreError or UsageError for the store that it is in, and
    MissingPackageError where a package for that store is not installed.
    """
    if source.problem is not None:
        raise AudioError(source.problem)
    if not is_url(source.url):
        return _decoded(local_path(source.url), asked)
    store = Store(source.url)
    try:
        with store.fs.open(store.path, "rb") as file:
            return _decoded(file, asked)
    except (WhisperNpuError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise AudioError("it is not there; check the name, and what has become of it") from error
    except PermissionError as error:
        raise AudioError(f"it may not be read ({why(error)}); ask its owner for permission") from error
    except Exception as error:  # every store has its own
        raise AudioError(f"it cannot be read ({why(error)}); check where it comes from") from error


def reason(error: BaseException, source: Source) -> str:
    """What is wrong with a recording, in one line without its name, which the reader knows."""
    text = described(error)
    for name in (OPEN_FILE, name_of(source.url), name_of(local_path(source.url)), shown(source.name)):
        text = text.removeprefix(f"{name}: ")
    return shortened(shown(" ".join(text.splitlines())), LONGEST_LINE)


def _decoded(audio: AudioSource, asked: AskedArchive) -> Sound:
    return open_audio(
        audio, audio_track=asked.audio_track, strict=asked.strict, max_seconds=asked.max_seconds
    )
