"""The work of `whisper-npu serve`: an address, a model on a device, and a server until it is told to end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from contextlib import closing, suppress
from ipaddress import ip_address

from whisper_npu.apps.cli.asked import AskedModel
from whisper_npu.apps.cli.terminal import say
from whisper_npu.apps.server.app import create_app
from whisper_npu.apps.server.log import LogFormatter
from whisper_npu.apps.server.serving import Server, bound
from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.checkpoint.resolve import check_name
from whisper_npu.errors import shown
from whisper_npu.host.memory import allocate_in_one_arena
from whisper_npu.npu.open import open_device
from whisper_npu.transcription.compute_type import resolve_compute_type
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model

GARBAGE = 1000  # objects that are new, after which Python looks for those that only circles hold


def serve_model(asked: AskedModel, settings: ServerSettings) -> int:
    """Returns 0 when it has been told to end. Raises WhisperNpuError where it cannot begin.

    What can be wrong is found before the model is loaded; connections are taken once it is.
    """
    allocate_in_one_arena()
    check_name(asked.name)
    resolve_compute_type(asked.compute_type)
    with (
        closing(bound(settings.host, settings.port)) as listening,
        open_device(asked.device, asked.fidelity, asked.npu, asked.threads, asked.check_results) as device,
    ):
        device.check_kernel(asked.kernel)
        say(f"loading {asked.name}")
        model = load_model(
            asked.name,
            device=device,
            kernel=asked.kernel,
            compute_type=asked.compute_type,
            model_dir=asked.folder,
            local_files_only=asked.local_files_only,
            progress=say,
            on_device_error=asked.on_device_error,
            on_switch=lambda switch: say(str(switch)),
        )
        _look_for_garbage()
        _log_to_stderr()
        server = Server(create_app(model, settings), lambda: _say_where(listening, model, settings))
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(signal.SIGHUP, server.handle_exit)  # as uvicorn does for the other signals
        with suppress(KeyboardInterrupt):  # uvicorn passes the signal on that has ended it
            server.run(sockets=[listening])
        say("ended")
        if server.at_work:  # Python would wait for the thread, and the device must not be closed under it
            sys.stderr.flush()
            os._exit(0)
    return 0


def _look_for_garbage() -> None:
    """From here on again: `main` puts it off, and a server goes on for weeks.

    What is loaded stays, and need not be looked through.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _say_where(listening: socket.socket, model: Model, settings: ServerSettings) -> None:
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    clock = model.device_at_work.clock
    on = "the CPU, which emulates the NPU" if clock == "CPU" else f"the {clock}"
    say(f"listening on {address} ({shown(model.checkpoint.name)} on {on}; Ctrl-C ends it)")
    if settings.api_key is None and not ip_address(host.partition("%")[0]).is_loopback:
        say(f"WARNING: whoever reaches {address} may use this server; --api_key_file is for a key")


def _log_to_stderr() -> None:
    """Requests and failures, each a line with its time; what libraries say only where something is wrong."""
    logging.raiseExceptions = False  # where stderr is closed, the work goes on
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    for name, level in (
        ("whisper_npu", logging.INFO),
        ("uvicorn", logging.ERROR),
        ("asyncio", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
