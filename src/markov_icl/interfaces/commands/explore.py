"""The command explore: the interactive page, served on this machine."""

from __future__ import annotations

import functools
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

_THREADS = 8
_BACKLOG = 64


def register(app: typer.Typer) -> None:
    """Add the command of this file to the application."""
    app.command(name="explore")(explore)


def explore(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8050,
    host: Annotated[str, typer.Option("--host", help="Address to bind; others than 127.0.0.1 let others in.")] = (
        "127.0.0.1"
    ),
    store: Annotated[Path | None, typer.Option("--store", help="Folder of runs to show.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """An interactive page in your browser, on this machine only: optimum, landscape, layers, hardness and more."""
    _require_extra()
    from markov_icl.interfaces.explorer.pages.views import all_views
    from markov_icl.interfaces.explorer.server.answers import Answers
    from markov_icl.interfaces.explorer.server.app import make_app
    from markov_icl.interfaces.explorer.server.jobs import Jobs

    listening = _bind(host, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    source = functools.partial(all_views, store)
    views = source()
    jobs = Jobs(source)
    try:
        answers = Answers(views, jobs)
        app = make_app(views, answers, host)
        answers.warm()
        _serve(app.server, listening, browser)
    finally:
        jobs.close()


def _require_extra() -> None:
    try:
        import dash  # noqa: F401
        import waitress  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"expected the extra web; got no {error.name} (pip install 'markov-icl[web]')") from None


def _bind(host: str, port: int) -> Any:
    """Return a bound socket; done first, so that a port in use is refused before the slow imports."""
    import socket

    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        if listening is not None:
            listening.close()
        why = error.strerror or str(error)
        raise ValueError(f"expected a free port on this machine; got {host}:{port} ({why}; try --port 0)") from None
    return listening


def _serve(server: Any, listening: Any, browser: bool) -> None:
    import webbrowser

    from waitress import create_server

    from markov_icl.interfaces.explorer.server.guard import MOST_BYTES

    bound = create_server(
        server,
        sockets=[listening],
        threads=_THREADS,
        connection_limit=_BACKLOG,
        channel_timeout=30,
        max_request_body_size=MOST_BYTES,
        max_request_header_size=32_768,
        ident=None,
    )
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    sys.stdout.write(f"explorer: {address}  (Ctrl-C ends it)\n")
    sys.stdout.flush()
    if browser:
        webbrowser.open(address)
    bound.run()
