"""From what the user typed to the recordings of an archive: a folder, a manifest, or the URL of either.

No recording is opened here. A folder or bucket is listed once, however many recordings it has.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from whisper_npu.apps.archive.manifest import BadRow, Row, is_manifest, read_rows, refuse
from whisper_npu.apps.archive.sources import MISSING, Source
from whisper_npu.apps.archive.stems import stems
from whisper_npu.apps.archive.stores import (
    Store,
    StoreError,
    folder_of,
    found,
    is_url,
    joined,
    local_path,
    why,
    without_secrets,
)
from whisper_npu.apps.sources import EXTENSIONS, STDIN, find_recordings, natural_order, path_of
from whisper_npu.errors import MissingPackageError, UsageError, shown
from whisper_npu.untrusted import MAX_JSON, read_regular

_AT_A_TIME = 16  # requests to a store
_WORTH_LISTING = 20  # recordings in one folder of a store: listing it costs less than asking for each


@dataclass(frozen=True)
class _Place:
    """Where one recording is, and what is known of it."""

    name: str
    url: str
    identity: str = MISSING
    problem: str | None = None
    language: str | None = None


def find_sources(
    what: str,
    options: Mapping[str, Any] | None = None,
    *,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[Source, ...]:
    """The recordings of a folder, in natural order, or of a manifest, in its order.

    what: a path or URL of a folder, of a manifest, or of one recording; "-": a manifest on standard input
    options: for fsspec, such as endpoint_url; a path needs none
    note: gets lines on what was decided, such as rows that were there twice

    A recording that is not there, or cannot be looked at, has a `problem`: it fails, and the others go on.

    Raises UsageError for a manifest with bad rows, by their numbers, for one that is empty, for a folder
    without recordings, for what does not exist; MissingPackageError and StoreError for a store that cannot be
    opened or read.
    """
    if not what:
        raise UsageError("the name of the archive is empty; is it a variable of the shell that is not set?")
    if is_url(what):
        return _named(_in_store(what, options or {}, note))
    return _named(_here("/dev/stdin" if what == STDIN else path_of(what), options or {}, note))


def _named(places: Sequence[_Place]) -> tuple[Source, ...]:
    return tuple(
        Source(place.name, place.url, place.identity, stem, place.language, place.problem)
        for place, stem in zip(places, stems([place.name for place in places]), strict=True)
    )


# On this machine


def _here(what: str, options: Mapping[str, Any], note: Callable[[str], None]) -> list[_Place]:
    if os.path.isdir(what):
        return _in_folder(what)
    if not os.path.lexists(what):
        raise UsageError(
            find_recordings([what], recursive=False)[0].problem or f"{shown(what)}: no such file"
        )
    if _is_recording(what):
        return [_local_place(os.path.basename(what), os.path.abspath(what))]
    try:
        is_pipe = stat.S_ISFIFO(os.stat(what).st_mode)
        content = _piped(what) if is_pipe else read_regular(what, MAX_JSON)
    except OSError as error:
        remedy = "split it" if error.errno == errno.EFBIG else "check its permissions"
        raise UsageError(f"{shown(what)}: cannot be read ({why(error)}); {remedy}") from error
    base = os.getcwd() if is_pipe else os.path.dirname(os.path.abspath(what))
    return _from_manifest(what, base, content, options, note)


def _piped(path: str) -> bytes:
    """What another program writes: archive <(find talks -name '*.wav')."""
    with open(path, "rb") as file:
        content = file.read(MAX_JSON + 1)
    if len(content) > MAX_JSON:
        raise OSError(errno.EFBIG, f"it holds more than {MAX_JSON:,} bytes")
    return content


def _in_folder(folder: str) -> list[_Place]:
    top = os.path.abspath(folder)
    recordings = find_recordings([top], recursive=True)
    if len(recordings) == 1 and recordings[0].source == top:
        raise UsageError(recordings[0].problem or "")
    return [_local_place(os.path.relpath(one.source, top), one.source, one.problem) for one in recordings]


def _local_place(name: str, path: str, problem: str | None = None, language: str | None = None) -> _Place:
    """path: absolute, so that it means the same in another process."""
    if problem is not None:
        return _Place(name, path, problem=problem, language=language)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return _Place(name, path, problem=f"{shown(path)}: no such file", language=language)
    except (OSError, ValueError) as error:  # ValueError: a null byte, half a surrogate pair
        return _Place(name, path, problem=f"{shown(path)}: cannot be read ({why(error)})", language=language)
    if stat.S_ISDIR(status.st_mode):
        return _Place(name, path, problem=f"{shown(path)}: is a folder, not a recording", language=language)
    return _Place(name, path, f"{status.st_size}-{status.st_mtime_ns}", None, language)


def _is_recording(name: str) -> bool:
    return os.path.splitext(name)[1][1:].lower() in EXTENSIONS


# In a store


def _in_store(url: str, options: Mapping[str, Any], note: Callable[[str], None]) -> list[_Place]:
    store = Store(url, options)
    shown_url = without_secrets(url)
    try:
        info = store.fs.info(store.path)
        if info.get("type") == "directory":
            return _below(store)
        if _is_recording(store.path) and not is_manifest(store.path):
            return [_Place(os.path.basename(store.path), url, found(store.path, info).identity)]
        content = store.read(store.path, MAX_JSON)
    except FileNotFoundError as error:
        raise UsageError(f"{shown_url}: nothing is there ({why(error)}); check the URL") from error
    except UsageError:
        raise
    except Exception as error:
        raise _unreadable(shown_url, error) from error
    return _from_manifest(url, folder_of(url), content, options, note)


def _below(store: Store) -> list[_Place]:
    names = {
        name: entry
        for name, entry in store.files().items()
        if _is_recording(name)
        and not any(part.startswith(".") for part in name.split("/"))
        and not (name.lower().endswith(".ts") and _is_program(store, entry.path))
    }
    if not names:
        common = ", ".join(EXTENSIONS[:5])
        raise UsageError(
            f"{without_secrets(store.url)}: nothing below it ends in {common} or another ending of audio and "
            "video files; check the URL, or name a manifest"
        )
    return [
        _Place(name, joined(store.url, name), names[name].identity)
        for name in sorted(names, key=natural_order)
    ]


def _is_program(store: Store, path: str) -> bool:
    """Whether a .ts file is one of TypeScript: MPEG's begin with G. Source: ISO/IEC 13818-1, sync_byte."""
    return bool(store.fs.cat_file(path, start=0, end=1) != b"G")


def _unreadable(url: str, error: Exception) -> StoreError:
    is_large = isinstance(error, OSError) and error.errno == errno.EFBIG
    remedy = "split it" if is_large else "check the URL, the network, and the credentials of the store"
    return StoreError(f"{url}: cannot be read ({why(error)}); {remedy}")


# Manifests


def _from_manifest(
    what: str, base: str, content: bytes, options: Mapping[str, Any], note: Callable[[str], None]
) -> list[_Place]:
    """what: the manifest's path or URL. base: that of the folder to which its rows are relative."""
    shown_what = without_secrets(what)
    rows, bad = read_rows(content, shown_what)
    if not rows and not bad:
        raise UsageError(f"{shown_what}: names no recording; write one path in each row")
    n_rows = len(rows) + len(bad)
    once, n_twice, more = _once([(row, _meant(row.path, base)) for row in rows])
    bad = [*bad, *more]
    places = _looked_at(once, options, bad)
    if bad:
        raise refuse(shown_what, n_rows, bad)
    if n_twice:
        rows_name = "row names" if n_twice == 1 else "rows name"
        note(f"{shown_what}: {n_twice:,} {rows_name} what another row has named; it is taken once")
    return places


def _meant(path: str, base: str) -> str:
    """The absolute path or URL of a row. base: the manifest's folder."""
    if is_url(path):
        return path
    if path.lower().startswith("file://") or path.startswith("~"):
        return local_path(path)
    if os.path.isabs(path) or not is_url(base):
        return os.path.join(base, path)
    while path.startswith(("./", "../")):
        if path.startswith("../"):
            base = folder_of(base)
        path = path.partition("/")[2].lstrip("/")
    return joined(base, path)


def _once(rows: Sequence[tuple[Row, str]]) -> tuple[list[tuple[Row, str]], int, list[BadRow]]:
    """Each recording once, the number of rows that say what another one said, and those that contradict one.

    rows: with the path or URL that is meant
    """
    folders: dict[str, str] = {}

    def key(url: str) -> str:
        if is_url(url):
            return url
        folder, name = os.path.split(url)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)

    first: dict[str, Row] = {}
    names: dict[str, Row] = {}
    once: list[tuple[Row, str]] = []
    n_twice, bad = 0, []
    for row, url in rows:
        other = first.setdefault(key(url), row)
        if other is row:
            other = names.setdefault(_name(row), row)
            if other is row:
                once.append((row, url))
            else:
                reason = f"{shown(_name(row))} is another recording's name in line {other.line}"
                bad.append(BadRow(row.line, f"{reason}; give each its own id"))
        elif (row.language, row.id) == (other.language, other.id):
            n_twice += 1
        else:
            what = "language" if row.language != other.language else "id"
            reason = f"{shown(row.path)} is in line {other.line} already, with another {what}"
            bad.append(BadRow(row.line, f"{reason}; remove one of them"))
    return once, n_twice, bad


def _name(row: Row) -> str:
    if row.id is not None:
        return row.id
    if is_url(row.path):
        return row.path
    return os.path.normpath(row.path)


def _looked_at(
    rows: Sequence[tuple[Row, str]], options: Mapping[str, Any], bad: list[BadRow]
) -> list[_Place]:
    """What is known of each. Rows in stores that cannot be opened here are added to `bad`."""
    remote: dict[str, Store] = {}
    refused: dict[str, str] = {}  # by protocol
    for row, url in rows:
        if not is_url(url):
            continue
        protocol = url.split("://")[0]
        try:
            if protocol not in refused:
                remote[url] = Store(url, options)
        except (UsageError, MissingPackageError) as error:
            refused[protocol] = str(error)
        if protocol in refused:
            bad.append(BadRow(row.line, refused[protocol]))
    known = {} if bad else _identities(remote)
    places = []
    for row, url in rows:
        if is_url(url):
            identity, problem = known.get(url, (MISSING, None))
            places.append(_Place(_name(row), url, identity, problem, row.language))
        else:
            places.append(_local_place(_name(row), url, language=row.language))
    return places


def _identities(stores: Mapping[str, Store]) -> dict[str, tuple[str, str | None]]:
    """The identity of what each URL means, or why there is none."""
    folders: dict[tuple[int, str], list[str]] = defaultdict(list)
    for url, store in stores.items():
        folders[id(store.fs), store.path.rpartition("/")[0]].append(url)

    def listed(urls: Sequence[str]) -> dict[str, Any]:
        """All of one folder, by path, if that costs less; else nothing."""
        store = stores[urls[0]]
        if len(urls) < _WORTH_LISTING or store.protocol in ("http", "https"):
            return {}
        try:
            return {info["name"]: info for info in store.fs.ls(store.path.rpartition("/")[0], detail=True)}
        except FileNotFoundError:
            return {}

    def looked_at(url: str, info: Mapping[str, Any] | None) -> tuple[str, str | None]:
        store = stores[url]
        try:
            info = info or store.fs.info(store.path)
        except FileNotFoundError:
            return MISSING, f"{without_secrets(url)}: nothing is there"
        except PermissionError as error:
            return MISSING, f"{without_secrets(url)}: cannot be read ({why(error)})"
        if info.get("type") == "directory":
            return MISSING, f"{without_secrets(url)}: is a folder, not a recording"
        return found(store.path, info).identity, None

    infos: dict[str, Any] = {}
    try:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for part in pool.map(listed, folders.values()):
                infos.update(part)
            states = pool.map(lambda url: looked_at(url, infos.get(stores[url].path)), stores)
            return dict(zip(stores, states, strict=True))
    except Exception as error:  # not of one recording: no network, no credentials
        raise _unreadable(without_secrets(next(iter(stores))), error) from error
