"""A request's form: one file, and text fields."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.errors import shown

MOST_FIELDS = 200  # the options are fewer
LONGEST_FIELD = 65_536  # bytes of a text field; a prompt of 224 tokens has a few thousand
LONGEST_TEXTS = 1_000_000  # bytes of all text fields together
LONGEST_HEADERS = 8192  # bytes of one part's headers
# What may be given several times, with or without [] behind the name, and what then stands between.
LISTS = {
    "clip_timestamps": ",",
    "hotwords": " ",
    "include": ",",
    "suppress_tokens": ",",
    "timestamp_granularities": ",",
}
IN_ADDRESS = {"api-version"}  # what Azure's clients add to every address


@dataclass(frozen=True)
class Form:
    """file: nameless, and open; whoever has the form closes it. fields: their text."""

    file: BinaryIO
    fields: dict[str, str]

    def close(self) -> None:
        self.file.close()


async def read_form(request: Request) -> Form:
    """The name that a client gives its file is not used, and not looked at.

    Raises FieldError for what is no such form, and ClientDisconnect if the client goes away meanwhile.
    """
    for name in request.query_params:
        if name not in IN_ADDRESS:
            asked = shown(name[:100])
            raise FieldError(asked, f"{asked} stands in the address; options are fields of the form")
    _check_headers(request.headers)
    parser = _Parser(request)
    try:
        sent = await parser.parse()
        return Form(_file(sent), _fields(sent))
    except BaseException as error:
        parser.close()
        if isinstance(error, (MultiPartException, FormParserError)):
            reason = getattr(error, "message", str(error))
            raise FieldError(None, f"the form cannot be read: {reason}") from error
        raise


def _check_headers(headers: Headers) -> None:
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise FieldError(
            None,
            f"the body's type is {shown(kind[:100]) or 'not given'}, must be multipart/form-data, as "
            "curl -F file=@talk.wav sends it",
            status=415,
        )
    coding = headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise FieldError(
            None, f"the body's encoding is {shown(coding[:100])}; send it as it is, without one", status=415
        )
    if "content-length" not in headers and "transfer-encoding" not in headers:
        raise FieldError(
            None, "the request says that it has no body; a body needs the header Content-Length", status=411
        )


class _Parser(MultiPartParser):
    """Refuses a form whose end is missing, and knows its files, to close them whatever happens."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            request.headers,
            self._to_its_end(request),
            max_files=1,
            max_fields=MOST_FIELDS,
            max_part_size=LONGEST_FIELD,
        )
        self._ended = False
        self._files: list[UploadFile] = []
        self._header_bytes = 0  # of the part at hand
        self._text_bytes = 0

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._header_bytes = 0

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        super().on_header_field(data, start, end)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        super().on_header_value(data, start, end)

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > LONGEST_HEADERS:
            raise MultiPartException(f"the headers of a part exceed {LONGEST_HEADERS} bytes")

    def on_headers_finished(self) -> None:
        # A name in RFC 5987's form alone makes a part a file too; the parser knows the plain one only.
        part = self._current_part
        if part.content_disposition is not None and b"filename=" not in part.content_disposition:
            part.content_disposition = part.content_disposition.replace(b"filename*=", b"filename=")
        super().on_headers_finished()
        if part.file is not None:
            self._files.append(part.file)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._text_bytes += end - start
            if self._text_bytes > LONGEST_TEXTS:
                raise MultiPartException(f"its text fields exceed {LONGEST_TEXTS} bytes")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        self._ended = True

    def close(self) -> None:
        for file in self._files:
            with suppress(OSError):  # a full disk does not take what was still to be written
                file.file.close()

    async def _to_its_end(self, request: Request) -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk
        if not self._ended:
            raise FieldError(None, "the form is cut off: its last boundary is missing")


def _file(sent: FormData) -> BinaryIO:
    file = sent.get("file")
    if isinstance(file, str):
        raise FieldError(
            "file", "file is text, must be a file with its content: curl -F file=@talk.wav, with the @"
        )
    if file is None:
        other = next((name for name, value in sent.multi_items() if isinstance(value, UploadFile)), None)
        sent_as = f"; {shown(other[:100])} is one, but the field's name is file" if other else ""
        raise FieldError("file", f"there is no file in the form{sent_as}")
    if file.size == 0:
        raise FieldError("file", "file is empty (0 bytes)", code="invalid_audio")
    return file.file


def _fields(sent: FormData) -> dict[str, str]:
    fields: dict[str, str] = {}
    for sent_name, value in sent.multi_items():
        name = sent_name.removesuffix("[]")
        if isinstance(value, UploadFile):
            if name != "file":
                raise FieldError(name, f"{name} is a file, must be text")
        elif name not in fields:
            fields[name] = value
        elif name in LISTS:
            fields[name] += LISTS[name] + value
        else:
            asked = shown(name[:100])
            raise FieldError(asked, f"{asked} is given twice; leave one of them out")
    return fields
