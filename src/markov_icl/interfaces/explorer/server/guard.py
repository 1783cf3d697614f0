"""What the server refuses before any page sees it, and what it tells the browser to refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask, Request

__all__ = ["MOST_BYTES", "guard"]

MOST_BYTES = 64_000
"""Of a request's body; a page asks with a few hundred."""
_MOST_ADDRESS = 16_000
_METHODS = ("GET", "HEAD", "POST")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def guard(server: Flask, host: str, scripts: Sequence[str], is_call: Callable[[Any], bool]) -> None:
    """Bound every request and put security headers on every answer.

    Args:
        server: the Flask application.
        host: the address it is bound to. On a loopback address other names in the Host header are refused, so that
            no foreign page can reach the server through a name that it points there (DNS rebinding).
        scripts: hashes of the inline scripts that may run.
        is_call: says whether a body, as plain data, is one that a page sends.
    """
    from flask import Response, request
    from werkzeug.exceptions import HTTPException

    server.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    server.config["MAX_FORM_MEMORY_SIZE"] = MOST_BYTES
    policy = _policy(scripts)
    names = {*_LOOPBACK, host} if host in _LOOPBACK else None

    def refuse(code: int, why: str) -> Response:
        return Response(why + "\n", code, mimetype="text/plain")

    @server.before_request
    def check() -> Response | None:
        if request.method not in _METHODS:
            return refuse(405, f"expected {', '.join(_METHODS)}")
        if names is not None and _name(request.host) not in names:
            return refuse(403, f"expected a request to {host}")
        origin = request.headers.get("Origin")
        if request.method == "POST" and origin not in (None, f"{request.scheme}://{request.host}"):
            return refuse(403, "expected a request from this page")
        if len(request.full_path) > _MOST_ADDRESS:
            return refuse(414, f"expected an address of at most {_MOST_ADDRESS} characters")
        if request.method == "POST":
            if request.content_length is None:
                return refuse(411, "expected a body with its length")
            if request.content_length > MOST_BYTES:
                return refuse(413, f"expected a body of at most {MOST_BYTES} bytes")
            if not is_call(_document(request)):
                return refuse(400, "expected a request of this page, as JSON")
        return None

    @server.after_request
    def headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    @server.errorhandler(Exception)
    def failed(error: Exception) -> Any:
        if isinstance(error, HTTPException):
            return refuse(error.code or 500, error.name)
        server.logger.error("%s: %s", type(error).__name__, " ".join(str(error).split())[:200])
        return refuse(500, "internal error")


def _document(request: Request) -> Any:
    """Return the body as plain data, None if it is no JSON."""
    try:
        return request.get_json(silent=True)
    except RecursionError:
        return None


def _name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _policy(scripts: Sequence[str]) -> str:
    """Return the Content-Security-Policy: this server alone; plotly writes styles into the page, pictures are blobs."""
    return "; ".join(
        (
            "default-src 'self'",
            " ".join(("script-src 'self'", *scripts)),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
