"""The options of `whisper-npu serve` that other commands do not have.

A config file is for all commands, so that others have to know these too.
"""

from __future__ import annotations

from whisper_npu.apps.cli.command import configurable, group, option
from whisper_npu.apps.cli.values import FILE_OR_NONE, TEXT, TEXT_OR_NONE, Number, Texts
from whisper_npu.apps.server.settings import ServerSettings

_DEFAULTS = ServerSettings()

ADDRESS = configurable(
    *group(
        "Address",
        option(
            "--host",
            type=TEXT,
            default=_DEFAULTS.host,
            metavar="ADDRESS",
            help="Where to listen: 127.0.0.1 is for this machine only, 0.0.0.0 for the whole network.",
        ),
        option(
            "--port", type=Number(int, 0, 65535), default=_DEFAULTS.port, metavar="N", help="0: a free one."
        ),
    )
)

ACCESS = configurable(
    *group(
        "Who may use it",
        option(
            "--api_key",
            type=TEXT_OR_NONE,
            metavar="KEY",
            help="What clients must send as their API key. Others on this machine can read it on a command "
            "line: better set WHISPER_NPU_API_KEY, or give --api_key_file.",
        ),
        option(
            "--api_key_file",
            type=FILE_OR_NONE,
            example='"/etc/whisper-npu/key"',
            metavar="FILE",
            help="A file whose only line is the API key.",
        ),
        option(
            "--allowed_hosts",
            type=Texts(),
            metavar="LIST",
            example='["speech.example.com"]',
            help="Names by which clients may call this machine, besides its own: a,b; *.example.com; "
            "* for all.",
        ),
        option(
            "--allowed_origins",
            type=Texts(),
            metavar="LIST",
            example='["https://example.com"]',
            help="Web pages of other sites that may use the server: https://example.com, ...; * for all.",
        ),
    )
)

LIMITS = configurable(
    *group(
        "Limits",
        option(
            "--max_upload_mb",
            type=Number(float),
            default=_DEFAULTS.max_upload_mb,
            metavar="MB",
            help="Size of one request.",
        ),
        option(
            "--max_audio_seconds",
            type=Number(float),
            default=_DEFAULTS.max_audio_seconds,
            metavar="SECONDS",
            help="Length of one recording.",
        ),
        option(
            "--max_queue",
            type=Number(int, 0),
            default=_DEFAULTS.max_queue,
            metavar="N",
            help="Requests that wait while another one is worked on; more are refused.",
        ),
        option(
            "--max_live",
            type=Number(int, 0),
            default=_DEFAULTS.max_live,
            metavar="N",
            help="Live sessions at a time (/v1/listen); 0: none.",
        ),
        option(
            "--request_timeout",
            type=Number(float),
            default=_DEFAULTS.request_timeout,
            metavar="SECONDS",
            help="Work on one request, its wait not counted.",
        ),
    )
)

SERVER = (*ADDRESS, *ACCESS, *LIMITS)
