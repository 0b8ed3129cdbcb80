"""What lies where in the output folder of an archive, and what is done already.

    archive.json            the settings with which it was begun
    talks/monday.txt ...    the transcripts
    done/NAME~DIGEST.json   one line of JSON for each recording that is done: the commit. It comes last
    parts/NAME~DIGEST/      the finished parts of a long recording that is not done yet
    results.jsonl           the lines of done/, and those that failed

A recording is done when its record is there. All else can be made again, whenever a process is killed.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

from whisper_npu import __version__
from whisper_npu.apps.archive.sources import MISSING, Source
from whisper_npu.apps.archive.stems import (
    DONE,
    PARTS,
    RESULTS,
    SETTINGS,
    is_below,
    is_own,
    record_key,
    stem_apart,
    stem_key,
    taken_by,
)
from whisper_npu.apps.archive.storage import Storage
from whisper_npu.apps.archive.tasks import Failed, Part
from whisper_npu.apps.json_line import json_line
from whisper_npu.errors import OutputError, UsageError, quoted, shown
from whisper_npu.output import FORMATS
from whisper_npu.untrusted import json_object

FORMAT = "whisper-npu/archive 1"


@dataclass(frozen=True)
class Opened:
    """What is left to do of what was given."""

    todo: tuple[Source, ...]  # not done, or changed since; their stems leave alone what others have
    n_done: int


@dataclass(frozen=True)
class _Record:
    """What done/NAME.json says."""

    name: str
    identity: str
    files: tuple[str, ...]
    line: str


class Ledger:
    """The output folder's books. All methods raise StorageError where the storage fails.

    The driver calls `open`, `landed`, `close`; workers, in any process, all others.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sources: dict[str, Source] = {}
        self._landed: set[str] = set()
        self._unlock: Callable[[], object] = lambda: None

    # The driver's

    def open(
        self, settings: Mapping[str, Any], sources: Sequence[Source], protected: Sequence[str]
    ) -> Opened:
        """What is not done of the sources. On a disk of this machine nobody else can open it until `close`.

        settings: what texts and files depend on, in terms of JSON
        protected: paths or URLs that must not be overwritten, beside the sources: the manifest, or the folder

        Raises UsageError where something was done with other settings, or something would be overwritten;
        OutputError where another run is writing there. results.jsonl then holds what is done, each once.
        """
        places = [*(source.url for source in sources), *protected]
        self._check_kept((), places)
        self._begin(settings)
        try:
            return self._opened(sources, places)
        except BaseException:
            self.release()
            raise

    def _opened(self, sources: Sequence[Source], places: Sequence[str]) -> Opened:
        self._sources = {source.name: source for source in sources}
        self._landed = set()
        names = self._storage.names()
        self._storage.clear_left_behind(names)
        done: set[str] = set()
        owners: dict[str, str] = {}
        lines = self._lines(names, done, owners)
        if self._storage.folder is not None:
            self._storage.write_lines(RESULTS, lines)
        else:
            for _ in lines:  # each is read; where a file cannot grow, nobody follows it
                pass
        todo = [_apart(source, owners) for source in sources if source.name not in done]
        self._check_kept(todo, places)
        self._remove_parts(names, but={record_key(source.name) for source in todo})
        return Opened(tuple(todo), len(sources) - len(todo))

    def landed(self, line: str) -> None:
        """Append what `store` returned to results.jsonl, for those who follow it; each recording once.

        Does nothing in an object store, where a file cannot grow: there it comes with `close`.
        """
        name = str(json_object(line.encode()).get("name"))
        if name not in self._landed:
            self._storage.append(RESULTS, f"{line}\n")
            self._landed.add(name)

    def close(self, failed: Sequence[Failed]) -> None:
        """Write results.jsonl anew: what is done, in the order of the sources; then what failed, and why."""

        def lines() -> Iterator[str]:
            done: set[str] = set()
            yield from self._lines(self._storage.names(), done, {})
            for one in failed:
                if one.source.name not in done:
                    yield json_line({"name": one.source.name, "error": one.reason})

        try:
            self._storage.write_lines(RESULTS, lines())
        finally:
            self.release()

    def release(self) -> None:
        """Let others open it, after an error too. The end of the process does as much."""
        self._unlock()

    # The workers'

    def committed(self, source: Source) -> str | None:
        """The line of a recording that is done: a task that was given out twice has nothing left to do."""
        record = self._record(record_key(source.name))
        if record is None or (record.name, record.identity) != (source.name, source.identity):
            return None
        return record.line if all(map(self._storage.exists, record.files)) else None

    def store(self, source: Source, files: Mapping[str, str], line: Mapping[str, Any]) -> str:
        """Write a recording's files, then its record. Returns the line of results.jsonl.

        files: contents by names below the output folder: the source's stem and an ending
        line: what is told of the recording; name, identity and files come first

        Interrupted before the end, the recording is not done. Its parts go afterwards.
        """
        assert all(_is_transcript(name) for name in files)
        key = record_key(source.name)
        before = self._record(key)
        for name, text in files.items():
            self._storage.write(name, text)
        if before is not None:  # under another stem
            kept = {stem_key(name) for name in files}
            for name in before.files:
                if stem_key(name) not in kept:
                    self._storage.remove(name)
        head = {"name": source.name, "identity": source.identity, "files": list(files)}
        written = json_line(head | {name: value for name, value in line.items() if name not in head})
        self._storage.write(_record_file(key), f"{written}\n")
        folder = f"{PARTS}/{key}"
        for name in self._storage.names(folder):
            self._storage.remove(f"{folder}/{name}")
        return written

    def store_part(self, source: Source, part: Part, document: Mapping[str, Any]) -> None:
        """What was made of one part of a long recording. It is kept until the recording is done."""
        head = {"version": __version__, "identity": source.identity, "start": part.start, "stop": part.stop}
        self._storage.write(_part_file(source, part), json_line(head | {"document": document}))

    def read_part(self, source: Source, part: Part) -> dict[str, Any] | None:
        """What `store_part` was given: None where there is none, or a damaged one, or one of another state of
        the recording or another version of whisper-npu. Who takes it trusts none of it.
        """
        found = _object(self._storage.read(_part_file(source, part)))
        said = [found.get(name) for name in ("version", "identity", "start", "stop")]
        document = found.get("document")
        is_ours = said == [__version__, source.identity, part.start, part.stop]
        return document if is_ours and isinstance(document, dict) else None

    # Settings

    def _begin(self, settings: Mapping[str, Any]) -> None:
        # The id tells this folder from another one that another machine has at the same path.
        wanted = {"format": FORMAT, "version": __version__, "id": token_hex(8), "settings": dict(settings)}
        content = json.dumps(wanted, ensure_ascii=False, indent=2, allow_nan=False)
        is_new = self._storage.create(SETTINGS, f"{content}\n")
        self._lock()
        try:
            difference = None if is_new else self._difference(json.loads(content)["settings"])
            if difference is None:
                return
            if self._storage.names(DONE) or self._storage.names(PARTS):
                name, old, new = difference
                raise UsageError(
                    f"{self._storage}: was begun with {shown(name)} {quoted(old)}, not {quoted(new)}; ask "
                    "for the same, or choose another --out"
                )
            self._storage.write(SETTINGS, f"{content}\n")
        except BaseException:
            self.release()
            raise
        self.release()  # the lock is that of the file which is replaced
        self._lock()

    def _lock(self) -> None:
        try:
            held = self._storage.lock(SETTINGS)
        except BlockingIOError as error:
            raise OutputError(
                f"{self._storage}: another run of whisper-npu archive is writing there; wait until it has "
                "ended, or choose another --out"
            ) from error
        if held is not None:
            self._unlock = weakref.finalize(self, os.close, held)

    def _difference(self, wanted: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
        """As `_difference` says, from the settings with which the folder was begun."""
        found = _object(self._storage.read(SETTINGS))
        if found.get("format") != FORMAT or not isinstance(found.get("settings"), dict):
            of = found.get("version")
            version = f" (whisper-npu {shown(of)[:20]})" if isinstance(of, str) else ""
            raise UsageError(
                f"{self._storage}/{SETTINGS}: is damaged, or of another version{version}, so that nothing "
                "can be added to what lies there; choose another --out"
            )
        return _difference(found["settings"], wanted)

    # Records

    def _lines(self, names: Sequence[str], done: set[str], owners: dict[str, str]) -> Iterator[str]:
        """Of all that is done.

        names: of all files
        done: gets the names of these recordings
        owners: gets the name of each recording that has files, also of an earlier state, by its stem's key
        """
        there = {stem_key(name) for name in names}
        for record in self._records(names):
            owners.update(dict.fromkeys(taken_by(record.files), record.name))
            if self._is_current(record, there):
                done.add(record.name)
                yield record.line

    def _records(self, names: Sequence[str]) -> Iterator[_Record]:
        """The undamaged ones: first those of the sources, in their order, then of other recordings."""
        there = {name for name in names if name.startswith(f"{DONE}/") and name.endswith(".json")}
        first = [file for file in map(_record_file, map(record_key, self._sources)) if file in there]
        files = [*first, *sorted(there.difference(first))]
        for file, text in zip(files, self._storage.read_all(files), strict=True):
            if (record := _as_record(text)) is not None and _record_file(record_key(record.name)) == file:
                yield record

    def _record(self, key: str) -> _Record | None:
        return _as_record(self._storage.read(_record_file(key)))

    def _is_current(self, record: _Record, there: Set[str]) -> bool:
        """Whether it is of the state in which its recording is, and its files are there.

        A recording that is no longer there has not changed. there: the keys of all files
        """
        source = self._sources.get(record.name)
        if source is not None and source.identity not in (record.identity, MISSING):
            return False
        return all(stem_key(name) in there or self._storage.exists(name) for name in record.files)

    def _check_kept(self, todo: Sequence[Source], places: Sequence[str]) -> None:
        """Raises UsageError where transcripts of `todo`, or a file of ours, could overwrite one of these."""
        stems = {stem_key(source.stem) for source in todo}
        for place in places:
            name = self._storage.name_of(place)
            if name is None:
                continue
            stem, ending = os.path.splitext(name)
            is_ours = is_own(name) and ending in (".json", ".jsonl")
            if is_ours or (ending[1:].lower() in FORMATS and stem_key(stem) in stems):
                raise UsageError(
                    f"{shown(place)}: is read for this archive and could be overwritten; choose another --out"
                )

    def _remove_parts(self, names: Sequence[str], but: Set[str]) -> None:
        """Those of recordings that are done: a process was killed before it could."""
        for name in names:
            if name.startswith(f"{PARTS}/") and name.split("/")[1] not in but:
                self._storage.remove(name)


def _apart(source: Source, owners: Mapping[str, str]) -> Source:
    """With another stem where its own belongs to a recording that is done.

    owners: by the key of a stem, the name of the recording that has it
    """
    if owners.get(stem_key(source.stem), source.name) == source.name:
        return source
    return replace(source, stem=stem_apart(source.name))


def _record_file(key: str) -> str:
    return f"{DONE}/{key}.json"


def _part_file(source: Source, part: Part) -> str:
    return f"{PARTS}/{record_key(source.name)}/{part.start}-{part.stop}.json"


def _as_record(text: str | None) -> _Record | None:
    """None for what is damaged, or names files that are no transcripts below the output folder."""
    found = _object(text)
    name, identity, files = (found.get(member) for member in ("name", "identity", "files"))
    if not (isinstance(name, str) and isinstance(identity, str) and isinstance(files, list)):
        return None
    if not all(isinstance(file, str) and _is_transcript(file) for file in files):
        return None
    assert text is not None
    line = text.rstrip("\n")
    return None if "\n" in line else _Record(name, identity, tuple(files), line)


def _is_transcript(file: str) -> bool:
    return is_below(file) and not is_own(file) and os.path.splitext(file)[1][1:] in FORMATS


def _object(text: str | None) -> dict[str, Any]:
    """The JSON object in a text; an empty one where there is none."""
    try:
        return json_object((text or "").encode("utf-8"))
    except ValueError:
        return {}


def _difference(old: Any, new: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first setting in which they differ: its name, with dots, and both values; None is no value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for member in [*new, *(member for member in old if member not in new)]:
            found = _difference(old.get(member), new.get(member), f"{name}.{member}" if name else str(member))
            if found is not None:
                return found
        return None
    return None if old == new else (name, old, new)
