"""The page as components: its shell, the controls of a view, a result. Texts go in, nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markov_icl.interfaces.explorer.pictures.colours import themed
from markov_icl.interfaces.explorer.server.markdown import components
from markov_icl.interfaces.explorer.view import Control, View

if TYPE_CHECKING:
    from markov_icl.interfaces.explorer.server.result import Result

__all__ = ["controls", "findings", "navigation", "pictures", "repaint", "shell"]

_MOST_ROWS = 200
"""Rows of the numbers shown on the page; the exports have all."""
_GRAPH = {"displayModeBar": False, "responsive": True, "doubleClick": "reset"}


def shell(views: Sequence[View]) -> Any:
    """Return what every page shares; everything inside is filled in by the answers."""
    from dash import dcc, html

    work = [
        html.P("", id="work-words", className="work-words", role="status"),
        html.Progress(id="work-share", value="0", max="1", **{"aria-labelledby": "work-words"}),
        _button("Cancel", "cancel"),
    ]
    return html.Div(
        [
            html.A("Skip to the picture", href="#results", className="skip"),
            html.Header(
                [
                    html.A("markov-icl", href=f"/{views[0].name}", className="brand"),
                    html.Nav(navigation(views, ""), id="navigation", **{"aria-label": "Pages"}),
                ]
            ),
            html.Main(
                [
                    html.Div([html.H1("", id="title", tabIndex="-1"), html.P("", id="summary")], className="headline"),
                    html.Div(
                        [
                            html.Section(
                                [
                                    html.Div(id="controls"),
                                    html.P("", id="error-", className="error", **{"aria-live": "polite"}),
                                ],
                                className="controls",
                                **{"aria-label": "Controls"},
                            ),
                            html.Section(
                                [
                                    html.Div(work, id="work", className="work", hidden=True),
                                    html.Div(
                                        [html.Div(id="pictures", className="pictures"), html.Div(id="findings")],
                                        id="outcome",
                                    ),
                                    _share(),
                                ],
                                id="results",
                                tabIndex="-1",
                                **{"aria-label": "Results"},
                            ),
                        ],
                        className="desk",
                    ),
                ],
                id="main",
            ),
            dcc.Store(id="visit"),
            dcc.Store(id="ask"),
            dcc.Store(id="answer"),
            dcc.Store(id="heard"),
        ],
        id="shell",
    )


def _share() -> Any:
    from dash import html

    return html.Div(
        [
            html.H2("The same from the command line"),
            html.Div([html.Pre("", id="command", tabIndex="0"), _button("Copy", "copy-command")], className="command"),
            html.Div([_button("Copy link to this page", "copy-link"), html.Span("", id="said", role="status")]),
        ],
        className="share",
    )


def navigation(views: Sequence[View], current: str) -> list[Any]:
    """Return a link to every page, the current one marked."""
    from dash import html

    marks = [{"aria-current": "page"} if view.name == current else {} for view in views]
    return [html.A(view.title, href=f"/{view.name}", **mark) for view, mark in zip(views, marks, strict=True)]


def controls(view: View, texts: Mapping[str, str]) -> list[Any]:
    """Return the view's controls, each with its label, its help and its place for an error."""
    from dash import html

    return [
        html.Div(
            [
                html.Label(control.label, htmlFor=f"box-{control.name}"),
                *_inputs(control, texts[control.name]),
                html.P("", id=f"error-{control.name}", className="error", **{"aria-live": "polite"}),
                *([html.P(control.help, id=f"help-{control.name}", className="help")] if control.help else []),
            ],
            className=f"control {control.kind}",
            id=f"control-{control.name}",
            **{"data-control": control.name},
        )
        for control in view.controls
    ]


def _inputs(control: Control, text: str) -> list[Any]:
    from dash import dcc, html

    box = f"box-{control.name}"
    if control.kind == "choice":
        options = [html.Option(one, value=one, selected=one == text) for one in control.choices]
        return [html.Div(html.Select(options, id=box, key=f"{box}-{text}"), className="picker")]
    if control.kind in ("text", "points"):
        extra = [_button("Clear points", "clear", control.name)] if control.kind == "points" else []
        figure = {"data-figure": control.figure} if control.figure else {}
        entry = dcc.Input(id=box, type="text", value=text, className="entry", autoComplete="off", spellCheck="false")
        return [html.Div([entry, *extra], className="line", **figure)]
    finite = math.isfinite(control.low) and math.isfinite(control.high)
    slider = dcc.Input(
        id=f"slide-{control.name}",
        type="range",
        min=control.low,
        max=control.high,
        step=control.step,
        value=text,
        className="slide",
    )
    number = dcc.Input(
        id=box, type="text", inputMode="decimal", value=text, className="entry number", autoComplete="off"
    )
    return [html.Div([*([slider] if finite else []), number], className="line")]


def pictures(result: Result, dark: bool) -> list[Any]:
    """Return every picture with its title and its exports."""
    from dash import dcc, html

    return [
        html.Figure(
            [
                html.Figcaption(
                    [
                        html.H2(one["title"], id=_part("title", one)),
                        html.Div(
                            [_button("PNG", "picture-png", one["name"]), _button("SVG", "picture-svg", one["name"])]
                        ),
                    ],
                    className="head",
                ),
                html.Div(
                    dcc.Graph(id=_part("picture", one), figure=themed(one["figure"], dark), config=_GRAPH),
                    id=_part("graph", one),
                    role="img",
                    className="graph",
                    style=_room(one),
                    **{"aria-label": one["alt"]},
                ),
            ],
            className="wide" if one["wide"] else "",
            **{"data-picture": one["name"]},
        )
        for one in result.pictures
    ]


def _room(one: dict[str, Any]) -> dict[str, str]:
    """Return the style that keeps a picture's height: plotly forgets it when the window is resized."""
    return {"minHeight": f"{one['figure'].get('layout', {}).get('height', 300)}px"}


def repaint(result: Result, dark: bool) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Return what changes in the pictures of :func:`pictures` when another result has the same names."""
    changes: list[tuple[dict[str, str], dict[str, Any]]] = []
    for one in result.pictures:
        changes.append((_part("picture", one), {"figure": themed(one["figure"], dark)}))
        changes.append((_part("graph", one), {"aria-label": one["alt"], "style": _room(one)}))
        changes.append((_part("title", one), {"children": one["title"]}))
    return changes


def _part(kind: str, one: Mapping[str, Any]) -> dict[str, str]:
    return {"type": kind, "name": one["name"]}


def findings(result: Result) -> list[Any]:
    """Return words, links and numbers."""
    from dash import html

    links = [html.Li(html.A(text, href=address)) for text, address in result.links]
    return [
        html.Div(components(result.words), className="words", id="words"),
        *([html.Nav(html.Ul(links), className="links", **{"aria-label": "Open"})] if links else []),
        *([_numbers(result.rows)] if result.rows else []),
    ]


def _numbers(rows: Sequence[Mapping[str, Any]]) -> Any:
    from dash import html

    names = list(dict.fromkeys(name for row in rows for name in row))
    body = [html.Tr([html.Td(_cell(row.get(name))) for name in names]) for row in rows[:_MOST_ROWS]]
    more = [html.P(f"{len(rows) - _MOST_ROWS} more rows in the exports.")] if len(rows) > _MOST_ROWS else []
    table = html.Table([html.Thead(html.Tr([html.Th(name, scope="col") for name in names])), html.Tbody(body)])
    head = [html.H2("Numbers"), html.Div([_button("CSV", "numbers-csv"), _button("JSON", "numbers-json")])]
    return html.Div(
        [
            html.Div(head, className="head"),
            html.Div(table, className="scroll", tabIndex="0", role="region", **{"aria-label": "Numbers"}),
            *more,
        ],
        className="numbers",
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.8g}"
    return str(value)


def _button(text: str, action: str, name: str = "") -> Any:
    from dash import html

    label = {"aria-label": f"{text} of {name}"} if name and action.startswith("picture") else {}
    return html.Button(text, type="button", **{"data-action": action, "data-name": name, **label})
