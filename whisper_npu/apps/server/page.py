"""The page at `/`: files of this package, unchanged but for the list of languages."""

from __future__ import annotations

from html import escape
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Route

from whisper_npu.transcription.language import NAMES

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


def add_page(app: FastAPI, *, multilingual: bool = True) -> None:
    """Adds the routes PAGE_PATHS. multilingual: whether the model knows more than English."""
    languages = {"": "Automatic", **NAMES} if multilingual else {"en": NAMES["en"]}
    for address, path in _FILES.items():
        content = path.read_text(encoding="utf-8").replace(_LANGUAGES, _options(languages))
        app.router.routes.append(_route(address, content, _TYPES[path.suffix]))


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
    by_name = sorted(languages.items(), key=lambda one: (one[0] != "", one[1]))
    return "\n".join(
        f'            <option value="{escape(code)}">{escape(name)}</option>' for code, name in by_name
    )
