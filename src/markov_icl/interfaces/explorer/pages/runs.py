"""The page Runs: what the store holds, a run's rows as curves and maps, and the figures kept there.

A request names a run or a figure; both are looked up among the names that the store lists, and no path comes from it.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.experiments.registry import EXPERIMENTS, FIGURES
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS, SEQUENCE, heat_map, new_figure
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Values, View
from markov_icl.progress import Tell

if TYPE_CHECKING:
    from markov_icl.experiments.runs.index import Record
    from markov_icl.experiments.runs.points import Point
    from markov_icl.experiments.runs.store import Store

__all__ = ["PAGE", "page_of"]

_NAME = re.compile(r"[0-9a-z][0-9a-z-]{0,39}")
_SHORT = 10
"""Characters of a run's name in links; any that are unique will do."""
_MOST_LINKS, _MOST_PICTURES, _MOST_CURVES, _MOST_ROWS = 60, 6, 12, 2000
_MOST_BYTES = 4_000_000
_ALL = "all"
_EMPTY = "The first one takes seconds: `markov-icl reproduce fig10`, then reload this page."


def page_of(store: Path | None = None) -> View:
    """Return the page of the store in this folder; the usual one if None."""
    names = (_ALL, *EXPERIMENTS)
    first = "First characters of a run, or a figure such as fig10-quick-5; none lists all."
    controls = (
        Control("experiment", "Experiment", "choice", _ALL, choices=names, help="Only its runs are listed."),
        Control("show", "Show", "text", "", help=first),
    )

    def check(values: Values) -> None:
        _chosen(_open(store), str(values["show"]))

    def compute(values: Values, tell: Tell) -> Outcome:
        tell(0.1, "reading the store")
        place = _open(store)
        if place is None:
            return _nothing()
        kind, name = _chosen(place, str(values["show"]))
        if kind == "figure":
            return _show_figure(place, name)
        return _show_run(place, name) if kind == "run" else _show_list(place, str(values["experiment"]))

    return View(
        "runs",
        "Runs",
        "Finished runs and figures of the store on this machine.",
        controls,
        compute,
        _commands(store),
        checks=(check,),
        fresh=True,
    )


def _open(store: Path | None) -> Store | None:
    """Return the store, for writing if that is possible so that its index is kept; None where there is none yet."""
    from markov_icl.experiments.runs.store import Store, default_store

    folder = default_store() if store is None else store
    if not folder.exists():
        return None
    place = Store(folder, read_only=True)
    try:
        return Store(folder)
    except ValueError:
        return place


def _chosen(place: Store | None, text: str) -> tuple[str, str]:
    """Return what a text names, ``run``, ``figure`` or ``list``, and its full name as the store lists it.

    Raises:
        Refused: if it names nothing there, or more than one run.
    """
    if not text:
        return "list", ""
    if not _NAME.fullmatch(text):
        raise Refused("show", f"expected letters a to z, digits and dashes; got {text!r:.40}")
    if place is not None and text in place.figures():
        return "figure", text
    found = [] if place is None else [r.key for r in place.records() if r.key.startswith(text)]
    if len(found) != 1:
        raise Refused(
            "show", f"expected the start of one run's name, or a figure; got {text!r:.40}, which fits {len(found)}"
        )
    return "run", found[0]


def _commands(store: Path | None) -> Callable[[Values], str]:
    where = "" if store is None else f" --store {shlex.quote(str(store))}"

    def command(values: Values) -> str:
        shown, experiment = str(values["show"]), str(values["experiment"])
        figure, _, rest = shown.partition("-")
        scale, _, seeds = rest.partition("-")
        if figure in FIGURES and seeds.isdecimal():
            return f"markov-icl reproduce {figure} --scale {scale} --seeds {seeds}{where}"
        if shown:
            return f"markov-icl runs show {shlex.quote(shown)}{where}"
        return f"markov-icl runs list{'' if experiment == _ALL else f' --experiment {experiment}'}{where}"

    return command


def _nothing() -> Outcome:
    words = (
        "**There are no runs yet.** `markov-icl reproduce fig10` computes one in seconds, `markov-icl reproduce all` "
        "all figures of the paper; they appear here when they are finished."
    )
    return Outcome((), words)


def _show_list(place: Store, experiment: str) -> Outcome:
    from markov_icl.experiments.runs.finished import outdated

    records = [r for r in place.records() if experiment in (_ALL, r.experiment)]
    newest = list(reversed(records))[:_MOST_LINKS]
    why = outdated(records)
    old = f" Among them {why}." if why else ""
    figures = [name for name in place.figures() if experiment == _ALL or name.partition("-")[0] == experiment]
    links = [(f"figure {name}", f"/runs?show={name}") for name in figures]
    links += [(_title(r), f"/runs?show={r.key[:_SHORT]}") for r in newest]
    counts: dict[str, int] = {}
    for record in records:
        counts[record.experiment] = counts.get(record.experiment, 0) + 1
    said = "" if len(counts) < 2 else f" ({', '.join(f'{n} of {name}' for name, n in sorted(counts.items()))})"
    of = "" if experiment == _ALL else f" of {experiment}"
    older = f" Links open the newest {_MOST_LINKS}." if len(records) > _MOST_LINKS else ""
    words = f"**{_counted(len(records), 'finished run')}{of}**{said} and {_counted(len(figures), 'figure')}. " + (
        f"Choose one below, or a mark in the picture.{older}{old}" if records else _EMPTY
    )
    rows: tuple[dict[str, object], ...] = tuple(vars(r) for r in reversed(records))[:_MOST_ROWS]
    pictures = (_draw_list(records),) if records else ()
    return Outcome(pictures, words, rows, tuple(links))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _title(record: Record) -> str:
    return f"{record.key[:_SHORT]} · {record.experiment}, {record.part}, {record.scale}, seed {record.seed}"


def _draw_list(records: Sequence[Record]) -> Picture:
    import plotly.graph_objects as go

    names = list(dict.fromkeys(r.experiment for r in records))
    figure = new_figure(150 + 44 * len(names))
    for colour, symbol, scale in ((COLOURS[0], "circle", "quick"), (COLOURS[1], "diamond", "paper")):
        some = [r for r in records if r.scale == scale]
        if not some:
            continue
        dots = go.Scatter(
            x=[r.finished[:19] for r in some],
            y=[r.experiment for r in some],
            text=[f"{_title(r)}<br>{r.seconds:.1f} s" for r in some],
            customdata=[f"/runs?show={r.key[:_SHORT]}" for r in some],
            mode="markers",
            name=scale,
            marker={"size": 12, "opacity": 0.75, "color": colour, "symbol": symbol},
            hovertemplate="%{text}<extra></extra>",
        )
        figure.add_trace(dots)
    figure.update_xaxes(title="finished, UTC", type="date")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1])
    figure.update_layout(showlegend=True, hovermode="closest", margin={"l": 64})
    days = f"{records[0].finished[:10]} to {records[-1].finished[:10]}"
    alt = f"{len(records)} finished runs by experiment and time, {days}."
    return Picture("runs", alt, figure, "Finished runs")


def _show_run(place: Store, key: str) -> Outcome:
    details, outcome = place.details(key), place.read(key)
    spec, times = details["spec"], details["times"]
    settings = {name: spec[name] for name in ("task", "model", "training", "settings") if spec[name]}
    said = "\n".join(f"* {name}: {_code(_plain(value))}" for name, value in settings.items())
    versions = {name: details["environment"].get(name) for name in ("markov-icl", "numpy", "torch", "python")}
    pictures = _draw_points(outcome.points)
    words = (
        f"**Run {_code(key)}**: {spec['experiment']}, {_code(spec['part'])}, {spec['scale']}, seed {spec['seed']}; "
        f"{times['seconds']:.1f} s, finished {times['finished'][:19].replace('T', ' ')} UTC.\n\n{said}\n"
        f"* with: {_code(_plain(versions))}\n\n"
        f"*The checksums of its files are right. Errors are one standard error over prompts, where a number has one.*"
        f"{_left_out(outcome.points, pictures)}"
    )
    return Outcome(pictures, words, _point_rows(outcome.points), (("All runs", "/runs"),))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return json.dumps(value) if isinstance(value, list | bool) else str(value)


def _code(text: str) -> str:
    return f"`{text.replace('`', ' ')[:300]}`"


def _left_out(points: Sequence[Point], pictures: Sequence[Picture]) -> str:
    panels = len(_lines(points)) + len(_maps(points))
    said = f" The first {len(pictures)} of {panels} pictures." if panels > len(pictures) else ""
    return said + _more_rows(points)


def _more_rows(points: Sequence[Point]) -> str:
    if len(points) <= _MOST_ROWS:
        return ""
    return f" The first {_MOST_ROWS:,} of {len(points):,} rows; `markov-icl runs export` writes all."


def _point_rows(points: Sequence[Point]) -> tuple[dict[str, object], ...]:
    return tuple(vars(point) for point in points[:_MOST_ROWS])


def _lines(points: Sequence[Point]) -> dict[str, dict[str, list[Point]]]:
    """Return the rows that have one coordinate, by measure and curve."""
    found: dict[str, dict[str, list[Point]]] = {}
    for point in points:
        if point.y is None:
            found.setdefault(point.measure, {}).setdefault(point.curve, []).append(point)
    return found


def _maps(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """Return the rows that have two coordinates, by curve and measure."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        if point.y is not None:
            found.setdefault((point.curve, point.measure), []).append(point)
    return found


def _draw_points(points: Sequence[Point]) -> tuple[Picture, ...]:
    drawn = [_draw_lines(k, measure, curves) for k, (measure, curves) in enumerate(_lines(points).items(), 1)]
    room = max(_MOST_PICTURES - len(drawn), 0)
    for k, ((curve, measure), cells) in enumerate(list(_maps(points).items())[:room], 1):
        drawn.append(_draw_cells(k, f"{curve}: {measure}", cells))
    return tuple(drawn[:_MOST_PICTURES])


def _draw_lines(number: int, measure: str, curves: dict[str, list[Point]]) -> Picture:
    import plotly.graph_objects as go

    figure = new_figure(340)
    shown = list(curves.items())[:_MOST_CURVES]
    for k, (name, points) in enumerate(shown):
        ordered = sorted(points, key=lambda p: p.x)
        errors = [p.error for p in ordered]
        colour = COLOURS[k % len(COLOURS)]
        bars = {"array": [e or 0.0 for e in errors], "color": colour, "thickness": 1.2, "width": 3}
        line = go.Scatter(
            x=[p.x for p in ordered],
            y=[p.value for p in ordered],
            error_y=bars if any(errors) else None,
            mode="lines+markers" if len(ordered) <= 60 else "lines",
            name=_brief(name),
            line={"color": colour, "width": 2, "dash": ("solid", "dash")[k // len(COLOURS) % 2]},
            marker={"size": 7},
        )
        figure.add_trace(line)
    figure.update_layout(showlegend=True, margin={"t": 64})
    figure.update_yaxes(title=_brief(measure))
    values = [p.value for _, points in shown for p in points if np.isfinite(p.value)]
    span = f"from {min(values):.4g} to {max(values):.4g}" if values else "no finite number"
    alt = f"{measure} of {', '.join(name for name, _ in shown)}: {span}."
    return Picture(f"curves-{number}", alt, figure, _capital(measure))


def _brief(text: str) -> str:
    """Shorten a name for a legend; plotly reads tags, so none may begin."""
    return (text if len(text) <= 40 else text[:39] + "…").replace("<", "‹")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:80]


def _draw_cells(number: int, title: str, cells: Sequence[Point]) -> Picture:
    x, y = (sorted({getattr(p, axis) for p in cells}) for axis in ("x", "y"))
    places = {axis: {v: i for i, v in enumerate(values)} for axis, values in (("x", x), ("y", y))}
    table = np.full((len(x), len(y)), np.nan)
    for p in cells:
        assert p.y is not None
        table[places["x"][p.x], places["y"][p.y]] = p.value
    figure = new_figure(400)
    signed = bool(np.nanmin(table) < 0)
    trace = heat_map(table, y, x, signed=signed, bar={"thickness": 10, "len": 0.9})
    if not signed:  # a few cells, such as a chain's look at itself, would hide all others
        low, high = np.nanquantile(table, (0.0, 0.98))
        trace.update(colorscale=SEQUENCE, zmin=float(low), zmax=float(max(high, low + 1e-12)))
    figure.add_trace(trace)
    figure.update_layout(margin={"t": 16})
    figure.update_xaxes(showgrid=False, zeroline=False, constrain="domain")
    figure.update_yaxes(showgrid=False, zeroline=False, autorange="reversed", scaleanchor="x", constrain="domain")
    alt = f"{title}: {len(x)} by {len(y)} cells from {np.nanmin(table):.4g} to {np.nanmax(table):.4g}."
    return Picture(f"map-{number}", alt, figure, _capital(title))


def _show_figure(place: Store, name: str) -> Outcome:
    from markov_icl.experiments.runs.points import points_of

    files = place.read_figure(name)
    try:
        finding = json.loads(files["finding.json"])
        verdict, computed, tolerance = (str(finding[k]) for k in ("verdict", "computed", "tolerance"))
        runs = [str(key) for key in finding["runs"]]
        points = points_of(files["rows.parquet"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected a whole figure {name}; got one that is damaged ({error!r:.80})") from None
    known = {r.key: r for r in place.records()}
    links = [("All runs", "/runs"), *((_title(known[k]), f"/runs?show={k[:_SHORT]}") for k in runs if k in known)]
    words = (
        f"**{_code(name)}: {_escaped(verdict)}.**\n\n{_escaped(computed)}\n\n"
        f"*Tolerance: {_escaped(tolerance)}. From {_counted(len(runs), 'run')}, linked below. The picture "
        f"is the one the store keeps, for a white ground.*{_more_rows(points)}"
    )
    return Outcome(_picture(name, verdict, files), words, _point_rows(points), tuple(links[:_MOST_LINKS]))


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", text)


def _picture(name: str, verdict: str, files: dict[str, bytes]) -> tuple[Picture, ...]:
    """Return the kept picture as an image on empty axes of its proportions; none if it is too large or no PNG."""
    data = files.get("figure.png", b"")
    if data[:8] != b"\x89PNG\r\n\x1a\n" or not 24 <= len(data) <= _MOST_BYTES:
        return ()
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    figure = new_figure(520)
    image = {
        "source": f"data:image/png;base64,{base64.b64encode(data).decode()}",
        "x": 0,
        "y": 0,
        "sizex": width,
        "sizey": height,
        "xref": "x",
        "yref": "y",
        "layer": "below",
    }
    figure.add_layout_image(image)
    figure.update_xaxes(visible=False, range=[0, width], constrain="domain")
    figure.update_yaxes(visible=False, range=[height, 0], scaleanchor="x", constrain="domain")
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, dragmode="pan")
    return (Picture("figure", f"{name}, as the store keeps it: {verdict}", figure, name),)


PAGE = page_of()
"""Of the usual store."""
