"""Files of other programs' formats, which hold Whisper models but are not read."""

from __future__ import annotations

import re
from pathlib import PurePath

from whisper_npu.checkpoint.names import HUB_IDS

_PYTORCH = (".pt", ".pth")
_GGML = (".bin", ".ggml", ".gguf")
# Files of formats that are read; their folder is what the user has to name.
_OURS = re.compile(r"(model|pytorch_model.*)\.bin")


def refusal(path: str) -> str | None:
    """Why a file, there or not, is not read and what to do instead; None if its name is no such file's."""
    file = PurePath(path)
    suffix = file.suffix.lower()
    if suffix in _PYTORCH:
        kind = "openai/whisper's format (PyTorch)"
    elif suffix in _GGML and not _OURS.fullmatch(file.name):
        kind = "whisper.cpp's format (ggml)"
    else:
        return None
    name = _model_of(file.stem)
    same = f"use the name {name} for that model, or " if name else "use "
    return (
        f"model {path!r} is in {kind}, which is not read; {same}a folder in Hugging Face's or CTranslate2's "
        "format, or a hub id (org/name)"
    )


def _model_of(stem: str) -> str | None:
    """base.en for ggml-base.en-q5_1."""
    short = re.sub(r"-q\d.*$", "", stem.lower().removeprefix("ggml-").removeprefix("whisper-"))
    return short if short in HUB_IDS else None
