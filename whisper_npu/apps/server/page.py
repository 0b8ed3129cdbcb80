"""The page at `/`: files of this package, unchanged but for the list of languages."""

from __future__ import annotations

from html import escape
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Route

from whisper_npu.errors import UsageError
from whisper_npu.transcription.language import NAMES
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_LANGUAGES = "<!-- languages -->"  # in index.html
# Nothing but this server's own files, and what the page itself makes of a recording (blob:).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _address(path: Path) -> str:
    return "/" if path.name == "index.html" else f"/page/{path.name}"


_FILES = {_address(path): path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
PAGE_PATHS = frozenset(_FILES)  # what a browser asks for before it has a key


def add_page(app: FastAPI, model: Model) -> None:
    """Adds the routes PAGE_PATHS. The page offers the languages that the model knows."""
    options = _options(_languages(model))
    for address, path in _FILES.items():
        content = path.read_text(encoding="utf-8").replace(_LANGUAGES, options)
        app.router.routes.append(_route(address, content, _TYPES[path.suffix]))


def _languages(model: Model) -> dict[str, str]:
    """Names by their codes, in order; "" has the language detected, where there is a choice."""
    known = sorted((name, code) for code, name in NAMES.items() if _knows(model, code))
    automatic = {"": "Automatic"} if len(known) > 1 else {}
    return automatic | {code: name for name, code in known}


def _knows(model: Model, code: str) -> bool:
    try:
        model.check(TranscribeOptions(language=code))
    except UsageError:
        return False
    return True


def _route(address: str, content: str, media_type: str) -> Route:
    async def answer(request: object) -> Response:
        headers = {
            "Content-Type": media_type,
            "Content-Security-Policy": _POLICY,
            "Cache-Control": "no-cache",  # another version may answer here tomorrow
        }
        return Response(content, headers=headers)

    return Route(address, answer, methods=["GET", "HEAD"], include_in_schema=False)


def _options(languages: dict[str, str]) -> str:
    return "\n".join(
        f'            <option value="{escape(code)}">{escape(name)}</option>'
        for code, name in languages.items()
    )
