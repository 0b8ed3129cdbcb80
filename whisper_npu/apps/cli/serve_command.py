"""The work of `whisper-npu serve`: an address, a model on a device, and a server until it is told to end."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from contextlib import closing, suppress
from ipaddress import ip_address

import uvicorn

from whisper_npu.apps.cli.asked import AskedModel
from whisper_npu.apps.cli.terminal import say
from whisper_npu.apps.server.app import create_app
from whisper_npu.apps.server.connection import Connection
from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.apps.server.work import Service
from whisper_npu.checkpoint.resolve import check_name
from whisper_npu.errors import WhisperNpuError, shown
from whisper_npu.npu.open import open_device
from whisper_npu.transcription.compute_type import resolve_compute_type
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model

SECONDS_TO_END = 5  # for answers that are being sent when the server is told to end


class ListenError(WhisperNpuError):
    """An address at which this process cannot listen."""


def serve_model(asked: AskedModel, settings: ServerSettings) -> int:
    """Returns 0 when it has been told to end. Raises WhisperNpuError where it cannot begin.

    What can be wrong is found before the model is loaded; connections are taken once it is.
    """
    check_name(asked.name)
    resolve_compute_type(asked.compute_type)
    with (
        closing(bound(settings.host, settings.port)) as listening,
        open_device(asked.device, asked.fidelity, asked.npu, asked.threads) as device,
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
        )
        _log_to_stderr()
        with suppress(KeyboardInterrupt):  # uvicorn passes the signal on that has ended it
            _Server(model, settings, listening).run(sockets=[listening])
        say("ended")
    return 0


class _Server(uvicorn.Server):
    """uvicorn's, which says where it listens, and ends work when it is told to end."""

    def __init__(self, model: Model, settings: ServerSettings, listening: socket.socket) -> None:
        app = create_app(model, settings)
        self._service: Service = app.state.service
        self._model, self._settings = model, settings
        self._address = listening.getsockname()[:2]
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                http=Connection,
                access_log=False,  # ours says how long it took
                server_header=False,
                proxy_headers=False,  # anybody can send them, and the queue is fair by address
                ws="none",
                timeout_graceful_shutdown=SECONDS_TO_END,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._address
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        is_emulated = self._model.device.clock == "CPU"
        on = "the CPU, which emulates the NPU" if is_emulated else f"the {self._model.device.clock}"
        say(f"listening on {address} ({shown(self._model.checkpoint.name)} on {on}; Ctrl-C ends it)")
        if self._settings.api_key is None and not ip_address(host.partition("%")[0]).is_loopback:
            say(f"WARNING: whoever reaches {address} may use this server; --api_key_file is for a key")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop()
        await super().shutdown(sockets)


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address and does not listen yet. Raises ListenError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(f"--host {shown(host)}: there is no such address or name") from error
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else it is taken for a minute after an end
        made.bind(address)
    except OSError as error:
        made.close()
        raise ListenError(_reason(error, host, port)) from error
    return made


def _reason(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"--port {port} is in use on {shown(host)}; take another, or 0 for a free one"
        case errno.EACCES | errno.EPERM:
            return f"--port {port} may not be used by this user; take one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"--host {shown(host)} is not an address of this machine; 0.0.0.0 is all of them"
    return f"--host {shown(host)} --port {port} cannot be used: {error.strerror}"


def _log_to_stderr() -> None:
    """Requests and failures, each a line with its time; what libraries say only where something is wrong."""
    logging.raiseExceptions = False  # where stderr is closed, the work goes on
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    for name, level in (("whisper_npu", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
