"""Lists of recordings: what csv, tsv, JSON lines and plain lists say, row by row. No recording is looked for.

A table's first line names its columns, in any order and among others:

- path, or audio, file, file_name, audio_filepath, url: where the recording is
- language (or lang), optional: a code or a name
- id, optional: what the recording is called in the results, and its files

A plain list has one path in each line.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_npu.apps.sources import EXTENSIONS
from whisper_npu.errors import UsageError, one_line, quoted, shown
from whisper_npu.transcription.language import check_language
from whisper_npu.untrusted import json_object

PATHS = ("path", "audio", "file", "file_name", "audio_filepath", "url")  # the first one that a table has
_LANGUAGES = ("language", "lang")
_ID = "id"
_KNOWN = (*PATHS, *_LANGUAGES, _ID)
_KINDS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_LISTS = (".txt", ".list")  # of paths, unless the first line says something else
_LONGEST_PATH = 4096  # bytes
_SHOWN = 3  # bad rows in a message


@dataclass(frozen=True)
class Row:
    """One recording of a manifest."""

    line: int  # where it begins in the file, from 1
    path: str  # as it stands there
    language: str | None = None  # a code
    id: str | None = None


@dataclass(frozen=True)
class BadRow:
    line: int
    reason: str  # and the remedy


def is_manifest(name: str) -> bool:
    """By its ending."""
    return _ending(name) in (*_KINDS, *_LISTS)


def read_rows(content: bytes, name: str) -> tuple[list[Row], list[BadRow]]:
    """The rows of a manifest, and those that are none.

    name: of the file; where its ending says nothing, the content does. In UTF-8, or UTF-16 with its mark.

    Raises UsageError for a file that is no manifest, and for a table without a column of recordings, or with
    two columns of one name.
    """
    text = _decoded(content, name)
    kind = _KINDS.get(_ending(name)) or _kind(text, name)
    good: list[Row] = []
    bad: list[BadRow] = []
    for row in _rows(text, kind, name):
        (good if isinstance(row, Row) else bad).append(row)  # type: ignore[arg-type]
    return good, bad


def refuse(name: str, n_rows: int, bad: Sequence[BadRow]) -> UsageError:
    """The error for a manifest with bad rows."""
    first = sorted(bad, key=lambda row: row.line)
    told = "; ".join(f"line {row.line}: {row.reason}" for row in first[:_SHOWN])
    if len(bad) == 1:
        return UsageError(f"{name}: {told}")
    more = f"; and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    return UsageError(f"{name}: {len(bad):,} of {n_rows:,} rows are bad: {told}{more}")


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _decoded(content: bytes, name: str) -> str:
    """Bytes that are no UTF-8 are kept as Python keeps them in the names of files."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}: is no UTF-16 ({one_line(error)}); save it as UTF-8") from error
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")


def _kind(text: str, name: str) -> str:
    """What a file is whose ending does not say it, by its first line."""
    first = text.lstrip().partition("\n")[0]
    if any(character < " " and character not in "\t\r\n\f\v" for character in text[:4096]):
        raise UsageError(
            f"{name}: is neither a folder nor a manifest; name a folder, or a .csv, .tsv, .jsonl or .txt "
            "file with a path in each row"
        )
    if first.startswith("{"):
        return "jsonl"
    if first.startswith("["):
        raise UsageError(f"{name}: is a JSON array; write one object in each line: jq -c '.[]' {name}")
    for kind, separator in (("tsv", "\t"), ("csv", ";"), ("csv", ",")):
        if set(_names(first.split(separator))) & set(PATHS):
            return kind
    return "list"


def _rows(text: str, kind: str, name: str) -> Iterator[Row | BadRow]:
    if kind == "jsonl":
        return _json_rows(text)
    if kind == "list":
        return _list_rows(text)
    return _table_rows(text, kind, name)


def _list_rows(text: str) -> Iterator[Row | BadRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _row(number, {"path": line.strip()})


def _json_rows(text: str) -> Iterator[Row | BadRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _row(number, json_object(line.strip().encode("utf-8", "surrogateescape")))
            except ValueError as error:
                yield BadRow(number, f"is no JSON object ({one_line(error)})")


def _table_rows(text: str, kind: str, name: str) -> Iterator[Row | BadRow]:
    lines = text.split("\n")
    header = next((line for line in lines if line.strip()), "")
    delimiter = "\t" if kind == "tsv" else ";" if ";" in header and "," not in header else ","
    records = _records(text, delimiter)
    columns: list[str] | None = None
    for number, fields in records:
        if isinstance(fields, BadRow):
            yield fields
        elif not any(field.strip() for field in fields):
            continue
        elif columns is None:
            columns = _names(fields)
            if (twice := next((one for one in _KNOWN if columns.count(one) > 1), None)) is not None:
                raise UsageError(f"{name}: line {number} names the column {quoted(twice)} twice; rename one")
            if not set(columns) & set(PATHS):
                is_path = os.path.splitext(fields[0].strip())[1][1:].lower() in EXTENSIONS
                if len(fields) > 1 or not is_path:
                    raise UsageError(
                        f"{name}: line {number} names no column 'path' (nor {', '.join(PATHS[1:])}), but "
                        f"{quoted(', '.join(columns))}; write the columns' names into the first line"
                    )
                columns = ["path"]  # a list without a header
                yield _fields_row(number, columns, fields)
        else:
            yield _fields_row(number, columns, fields)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    """With the line in which each begins: a quoted field may have several."""
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, BadRow(number, f"its quotes do not match ({one_line(error)})")


def _fields_row(number: int, columns: Sequence[str], fields: Sequence[str]) -> Row | BadRow:
    if len(fields) > len(columns):
        return BadRow(
            number,
            f"has {len(fields)} fields, the first line {len(columns)}; quote one that holds the separator",
        )
    return _row(number, {name: field.strip() for name, field in zip(columns, fields, strict=False)})


def _names(fields: Sequence[str]) -> list[str]:
    return [field.strip().strip('"').lower() for field in fields]


def _row(number: int, members: Mapping[str, Any]) -> Row | BadRow:
    """members: by column; a field that is empty is not there."""
    given = {str(name).lower(): value for name, value in members.items() if value not in (None, "")}
    column = next((name for name in PATHS if name in given), None)
    if column is None:
        return BadRow(number, "names no recording; fill in its path, or remove the row")
    path = given[column]
    if not isinstance(path, str):
        return BadRow(number, f"{column} is {quoted(path)}, must be text")
    if reason := _not_a_path(path):
        return BadRow(number, reason)
    language = next((given[name] for name in _LANGUAGES if name in given), None)
    try:
        code = check_language(language)
    except UsageError as error:
        return BadRow(number, str(error).rstrip("."))
    name = given.get(_ID)
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str | None) or (name is not None and _not_a_path(name)):
        return BadRow(number, f"id is {quoted(name)}, must be text or a whole number")
    return Row(number, path, code, name)


def _not_a_path(path: str) -> str | None:
    if "\0" in path or len(path.encode("utf-8", "surrogatepass")) > _LONGEST_PATH:
        return f"{quoted(path)} cannot be the name of a file; correct it"
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        if not os.path.lexists(path):
            return f"'{shown(path)[:100]}' is no UTF-8; save the manifest as UTF-8"
    return None
