"""A request's form: one file, and text fields that are each given once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.errors import shown

MOST_FIELDS = 200  # the options are fewer
LONGEST_FIELD = 65_536  # bytes of a text field; a prompt of 224 tokens has a few thousand
LISTS = ("timestamp_granularities", "include")  # may be given several times, with or without [] behind them


@dataclass(frozen=True)
class Form:
    """file: nameless, and open; whoever has the form closes it. fields: their text; of a list with commas."""

    file: BinaryIO
    fields: dict[str, str]

    def close(self) -> None:
        self.file.close()


async def read_form(request: Request) -> Form:
    """The name that a client gives its file is not used, and not looked at.

    Raises FieldError for what is no such form, and ClientDisconnect if the client goes away meanwhile.
    """
    if request.query_params:
        name = shown(next(iter(request.query_params))[:100])
        raise FieldError(name, f"{name} stands in the address; options are fields of the form")
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise FieldError(
            None,
            f"the body's type is {shown(kind[:100]) or 'not given'}, must be multipart/form-data, as "
            "curl -F file=@talk.wav sends it",
            status=415,
        )
    try:
        sent = await _Parser(request).parse()
    except MultiPartException as error:
        raise FieldError(None, f"the form cannot be read: {error.message}") from error
    try:
        return Form(_file(sent), _fields(sent))
    except BaseException:
        await sent.close()
        raise


class _Parser(MultiPartParser):
    """Refuses a form whose end is missing, and then closes its files, as for any other error."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            request.headers,
            self._to_its_end(request),
            max_files=1,
            max_fields=MOST_FIELDS,
            max_part_size=LONGEST_FIELD,
        )
        self._ended = False

    def on_end(self) -> None:
        self._ended = True

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
        sent_as = f"; {other} is one, but the field's name is file" if other else ""
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
            fields[name] += f",{value}"
        else:
            raise FieldError(name, f"{name} is given twice; leave one of them out")
    return fields
