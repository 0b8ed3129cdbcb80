"""Transcripts as txt, srt, vtt, tsv, json and lrc, and the files that they go to."""

from whisper_npu.output.files import (
    check_file,
    check_writable,
    is_stdout,
    is_stream,
    output_path,
    partial_path,
    write_atomically,
    write_bytes_atomically,
)
from whisper_npu.output.formats import FORMATS, as_document, as_json, render
from whisper_npu.output.layout import Layout

__all__ = [
    "FORMATS",
    "Layout",
    "as_document",
    "as_json",
    "check_file",
    "check_writable",
    "is_stdout",
    "is_stream",
    "output_path",
    "partial_path",
    "render",
    "write_atomically",
    "write_bytes_atomically",
]
