"""What the server says when it refuses: OpenAI's error body, which their clients turn into exceptions."""

from __future__ import annotations


def error_body(
    message: str, type: str, param: str | None = None, code: str | None = None
) -> dict[str, dict[str, str | None]]:
    """The body as JSON's data.

    type: OpenAI's class of errors, such as "invalid_request_error" or "server_error".
    param: the request's field that is wrong. code: a name for programs.
    """
    return {"error": {"message": message, "type": type, "param": param, "code": code}}
