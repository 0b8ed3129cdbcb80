"""`whisper-npu serve`: its options, and what they mean to the server."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from whisper_npu.apps.cli.command import Command, configurable, group
from whisper_npu.apps.cli.options import (
    CHECK_RESULTS,
    COMPUTE_TYPE,
    DEVICE,
    DEVICE_ERROR,
    KERNELS,
    LOCAL_FILES_ONLY,
    MODEL_DIR,
    THREADS,
    TIMEOUT,
    WHISPER_MODEL,
    fidelity,
    kernel,
)
from whisper_npu.apps.cli.serve_options import SERVER
from whisper_npu.apps.cli.settings import unknown_variables
from whisper_npu.apps.cli.terminal import say
from whisper_npu.apps.cli.transcribe import CONFIGURABLE, checked_defaults
from whisper_npu.apps.server.settings import is_key
from whisper_npu.errors import UsageError, shown
from whisper_npu.extras import require_package

MODEL = group("Model and device", WHISPER_MODEL, MODEL_DIR, LOCAL_FILES_ONLY, DEVICE, THREADS, COMPUTE_TYPE)
_KEY_VARIABLE = "WHISPER_NPU_API_KEY"
ENGINE = group(
    "Kernels, for engineers", kernel(), fidelity("fast"), KERNELS, TIMEOUT, CHECK_RESULTS, DEVICE_ERROR
)


def _serve(**given: Any) -> int:
    """Serve OpenAI's and whisper.cpp's speech APIs, and a page.

    It needs the extra server: pip install 'whisper-npu[server]'. One line for each request goes to stderr.
    Ctrl-C or SIGTERM ends it, with exit code 0; a request that is worked on is given up.
    """
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets"):
        require_package(package, "server", "whisper-npu serve")
    for line in unknown_variables(CONFIGURABLE):
        say(line)
    from whisper_npu.apps.cli.asked import AskedModel
    from whisper_npu.apps.cli.serve_command import serve_model
    from whisper_npu.apps.server.settings import ServerSettings

    settings = ServerSettings(
        host=given["host"],
        port=given["port"],
        api_key=_key(given["api_key"], given["api_key_file"]),
        allowed_hosts=given["allowed_hosts"] or (),
        allowed_origins=given["allowed_origins"] or (),
        max_upload_mb=given["max_upload_mb"],
        max_audio_seconds=given["max_audio_seconds"],
        max_queue=given["max_queue"],
        max_live=given["max_live"],
        request_timeout=given["request_timeout"],
    )
    return serve_model(AskedModel.of(given), settings)


def _key(key: str | None, file: Path | None) -> str | None:
    """Raises UsageError where both are given, the file cannot be read, or what it holds is no key."""
    if key is None and os.environ.get(_KEY_VARIABLE) == "":
        key = ""  # click takes it for a variable that is not set; the server would be open to all
    if file is None:
        return key
    if key is not None:
        raise UsageError("--api_key and --api_key_file (or their variables) both give a key; leave one out")
    try:
        found = file.read_text(encoding="utf-8").strip()
        others = file.stat().st_mode & stat.S_IROTH
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"--api_key_file {shown(file)} cannot be read: {reason}") from error
    if not is_key(found):
        raise UsageError(f"--api_key_file {shown(file)} must hold one word of ASCII letters and digits")
    if others:
        say(f"WARNING: every user of this machine can read {shown(file)}: chmod o= {shown(file)}")
    return found


serve = Command(
    "serve",
    _serve,
    [*configurable(*MODEL), *SERVER, *configurable(*ENGINE)],
    examples=(
        "whisper-npu serve                        # http://127.0.0.1:8000, also a page",
        "whisper-npu serve --model small --port 9000",
        "whisper-npu serve --host 0.0.0.0 --api_key_file key.txt",
    ),
    defaults=checked_defaults,
)
