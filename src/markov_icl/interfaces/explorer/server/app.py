"""The explorer as a Dash application: addresses to pages, requests of a page to their answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.pictures.colours import template
from markov_icl.interfaces.explorer.server import page
from markov_icl.interfaces.explorer.server.answers import Answer, Answers
from markov_icl.interfaces.explorer.server.guard import guard
from markov_icl.interfaces.explorer.view import MAX_TEXT, View

if TYPE_CHECKING:
    from dash import Dash

__all__ = ["make_app"]

_SESSION = re.compile(r"[0-9a-f]{8,32}")
_OUTPUTS = (
    ("navigation", "children"),
    ("title", "children"),
    ("summary", "children"),
    ("controls", "children"),
    ("pictures", "children"),
    ("findings", "children"),
    ("answer", "data"),
)
_INPUTS = (("visit", "data"), ("ask", "data"))
_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
<link rel="icon" href="/assets/icon.svg">
{%css%}
<script src="/assets/plotly/plotly-cartesian.min.js" async></script>
</head>
<body>
{%app_entry%}
<noscript><p>The explorer needs JavaScript; nothing is loaded from outside this server.</p></noscript>
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def make_app(views: Sequence[View], answers: Answers, host: str = "127.0.0.1") -> Dash:
    """Return the application; nothing it serves or asks for lies outside its own server.

    Args:
        views: the pages, the first of them shown at ``/``.
        answers: to their requests.
        host: the address the server will be bound to.
    """
    from dash import ALL, ClientsideFunction, Dash, Input, Output

    app = Dash(
        __name__,
        assets_folder=str(Path(__file__).parents[1] / "assets"),
        assets_ignore=r"plotly-cartesian.*",  # named in the page's head, to load beside the rest
        use_pages=False,
        serve_locally=True,
        title="markov-icl",
        update_title="",
        index_string=_INDEX,
        suppress_callback_exceptions=True,
        add_log_handler=False,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = page.shell(views)
    app.clientside_callback(ClientsideFunction("explorer", "start"), Output("visit", "data"), Input("shell", "id"))
    app.clientside_callback(
        ClientsideFunction("explorer", "hear"),
        Output("heard", "data"),
        Input("answer", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "clicked"),
        Output("heard", "modified_timestamp"),
        Input({"type": "picture", "name": ALL}, "clickData"),
        prevent_initial_call=True,
    )
    _add_answers(app, views, answers)
    app.server.add_url_rule("/favicon.ico", "no_icon", lambda: ("", 204))
    guard(app.server, host, app.csp_hashes(), _is_call)
    return app


def _is_call(document: Any) -> bool:
    """Say whether this is the one call that a page makes, as Dash's renderer writes it."""
    match document:
        case {"output": name, "outputs": [*outputs], "inputs": [*inputs], "changedPropIds": [*changed]}:
            wanted = "..".join(("", "...".join(map(".".join, _OUTPUTS)), ""))
            known = all(one in [".".join(place) for place in _INPUTS] for one in changed)
            return name == wanted and known and _places(outputs) == _OUTPUTS and _places(inputs) == _INPUTS
    return False


def _places(parts: Sequence[Any]) -> tuple[tuple[Any, Any], ...]:
    return tuple((part.get("id"), part.get("property")) if isinstance(part, dict) else ("", "") for part in parts)


def _add_answers(app: Dash, views: Sequence[View], answers: Answers) -> None:
    from dash import Input, Output, ctx, no_update, set_props

    outputs, inputs = [Output(*place) for place in _OUTPUTS], [Input(*place) for place in _INPUTS]

    @app.callback(outputs, inputs, prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def respond(visit: Any, ask: Any) -> tuple[Any, ...]:
        asked = ctx.triggered_id == "ask"
        request = _Request.read(ask if asked else visit)
        if request is None:
            return (*[no_update] * 6, {"errors": {"": "expected a request of this page; got another"}})
        view = answers.views.get(request.view)
        if view is None:
            lost = "There is no page of this name; the pages are above."
            return page.navigation(views, ""), "No such page", lost, [], [], [], _told(request, None, Answer())
        texts = request.texts if asked else answers.texts(view, request.query)
        answer = answers.answer(view, texts, request.session, request.cancel)
        told = _told(request, view, answer)
        shown: list[Any] = [no_update, no_update] if asked else [[], []]
        if answer.result is not None:
            shown = [page.pictures(answer.result, request.dark), page.findings(answer.result)]
            if asked and request.pictures == [one["name"] for one in answer.result.pictures]:
                shown[0] = no_update
                for part, change in page.repaint(answer.result, request.dark):
                    set_props(part, change)
        if asked:
            return (*[no_update] * 4, *shown, told)
        head = page.navigation(views, view.name), view.title, view.summary, page.controls(view, texts)
        return (*head, *shown, told)


class _Request:
    """What a page asks, with the bounds that the page itself keeps."""

    view: str
    query: str
    texts: dict[str, str]
    pictures: list[str]
    session: str
    serial: int
    dark: bool
    cancel: bool

    @classmethod
    def read(cls, data: Any) -> _Request | None:
        """Return the request in ``data``, None if it is none."""
        if not isinstance(data, dict):
            return None
        request = cls()
        texts = data.get("texts", {})
        request.view = str(data.get("view", ""))[:40]
        request.query = str(data.get("query", ""))
        request.session = str(data.get("session", ""))
        request.dark = data.get("dark") is True
        request.cancel = data.get("cancel") is True
        names = data.get("pictures")
        request.pictures = [str(name)[:40] for name in names[:20]] if isinstance(names, list) else []
        serial = data.get("serial", 0)
        if not _SESSION.fullmatch(request.session) or not isinstance(serial, int) or not isinstance(texts, dict):
            return None
        request.serial = serial
        request.texts = {str(name)[:40]: str(text)[: MAX_TEXT + 1] for name, text in list(texts.items())[:50]}
        return request


def _told(request: _Request, view: View | None, answer: Answer) -> dict[str, Any]:
    """Return what the page's script needs to know of an answer."""
    told: dict[str, Any] = {
        "serial": request.serial,
        "view": request.view,
        "title": "markov-icl" if view is None else f"{view.title} · markov-icl",
        "query": answer.query,
        "command": answer.command,
        "errors": dict(answer.errors),
        "running": answer.running,
        "template": template(dark=False),
    }
    if answer.result is not None:
        told |= {"rows": answer.result.rows, "words": answer.result.words, "seconds": answer.result.seconds}
    return told
