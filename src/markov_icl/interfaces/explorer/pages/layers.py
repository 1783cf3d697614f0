"""The page Layers: a prompt that passes through restricted layers, and what each of them descends [Theorem 4.1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from markov_icl.interfaces.explorer.pictures.colours import INK, text_on
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS, FAINT, cell_text, heat_map, largest, new_figure
from markov_icl.interfaces.explorer.trained_models import TrainedModels
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Values, View
from markov_icl.progress import Tell, part

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from markov_icl.depth.descent import Trajectory
    from markov_icl.depth.profile import Profile
    from markov_icl.models.lsa import LinearSelfAttention
    from markov_icl.tasks.prompts import MarkovTask
    from markov_icl.tasks.sampling import Prompts

__all__ = ["PAGE"]

_BATCH, _PROMPTS, _FRONTS = 128, 500, 4
_SHOWN = 5
"""A stream of its own: the prompt in the picture is none of those trained or scored on."""

_NUMBERED, _READABLE = 20, 7
"""Chains, and layers, up to which cells have their numbers: more would not fit on a phone."""

_DARK, _LIGHT = "#141c24", "#fdfdfd"
_SHADES = {
    2: [[0, FAINT], [1, "#1f5a96"]],
    3: [[0, FAINT], [0.5, "#8db8de"], [1, "#1f5a96"]],
    4: [[0, FAINT], [1 / 3, "#a9cbe8"], [2 / 3, "#6fa3d2"], [1, "#17456f"]],
}
_INKS = {2: (INK, _LIGHT), 3: (INK, _DARK, _LIGHT), 4: (INK, _DARK, _DARK, _LIGHT)}
"""The states' shades of blue and the colours of the numbers on them, by how many states there are."""

_CONTROLS = (
    Control("states", "States", "integer", 2, 2, 4, help="Numeric values 0, 1, ..."),
    Control("length", "Length", "integer", 4, 2, 7, help="States in a chain; the query shows one fewer."),
    Control("context", "Context chains", "integer", 20, 1, 60, help="The paper's n."),
    Control("depth", "Layers", "integer", 4, 1, 10),
    Control("steps", "Training steps", "integer", 300, 50, 1000, 50, help="Of Adam, 128 fresh prompts each."),
    Control("seed", "Seed", "integer", 0, 0, 99, help="Of the training, and of the prompts it is scored on."),
    Control("prompt", "Prompt", "integer", 1, 1, 999, help="Which fresh prompt is pictured."),
)


_TRAINING = ("states", "length", "context", "depth", "steps", "seed")
"""Controls that decide the layers; the others only choose what to look at."""


def _command(values: Values) -> str:
    given = " ".join(f"--{name} {values[name]}" for name in _TRAINING)
    return f"markov-icl layers {given} --batch {_BATCH} --prompts {_PROMPTS} --fronts {_FRONTS}"


def _task(states: int, length: int, context: int) -> MarkovTask:
    from markov_icl.tasks.prompts import MarkovTask
    from markov_icl.tasks.spec import TaskSpec

    task = TaskSpec.read({"states": states, "length": length, "context": context}).task()
    assert isinstance(task, MarkovTask)
    return task


_KEPT: TrainedModels[LinearSelfAttention] = TrainedModels()


def _layers(task: MarkovTask, depth: int, steps: int, seed: int, tell: Tell) -> LinearSelfAttention:
    from markov_icl.depth.restricted import best_restricted

    def make() -> LinearSelfAttention:
        told = part(tell, 0.02, 0.62)
        return best_restricted(task, depth, steps=steps, batch=_BATCH, seed=seed, progress=told).model

    return _KEPT.get((task, depth, steps, seed), make)


def _compute(values: Values, tell: Tell) -> Outcome:
    from markov_icl.depth.descent import descend
    from markov_icl.depth.profile import profile
    from markov_icl.models.bayes import posterior_mean
    from markov_icl.tasks.sampling import sample_prompts

    states, length, context, depth, steps, seed = (int(str(values[name])) for name in _TRAINING)
    number = int(str(values["prompt"]))
    task = _task(states, length, context)
    tell(0.0, "loading torch")
    model = _layers(task, depth, steps, seed, tell)
    tell(0.7, f"following {_PROMPTS} prompts through the layers")
    result = profile(model, task, _PROMPTS, _FRONTS, seed=seed, progress=part(tell, 0.7, 0.98))
    shown = sample_prompts(task, 1, np.random.default_rng([seed, _SHOWN, number]))
    path = descend(model, shown.gram)
    bayes = float(posterior_mean(task, shown)[0])
    pictures = (
        _draw_prompt(task, shown, path),
        _draw_prediction(shown, path, bayes),
        _draw_weights(path),
        _draw_shares(result),
        _draw_losses(result),
    )
    return Outcome(pictures, _words(shown, path, bayes, result), _rows(path, shown, result))


def _names(size: int) -> list[str]:
    return [f"R{group}<sub>{k}</sub>" for group in (1, 2) for k in range(1, size + 1)]


def _draw_prompt(task: MarkovTask, shown: Prompts, path: Trajectory) -> Picture:
    """The columns of ``Z``: states above, which no layer changes, and the label row after every layer below."""
    layers, n = len(path.w), shown.context.shape[1]
    inputs = np.concatenate([shown.context[0, :, :-1], shown.query]).T
    labels = np.concatenate([path.residuals(shown.context)[:, 0], -path.predictions(shown.query)], axis=1)
    chains = [*map(str, range(1, n + 1)), "query"]
    figure = new_figure(
        120 + 26 * (len(inputs) + layers),
        2,
        1,
        shared_xaxes=True,
        row_heights=[len(inputs), layers],
        vertical_spacing=0.12,
        subplot_titles=("states, which no layer changes", "label row after every layer"),
    )
    times = [f"x<sub>{t}</sub>" for t in range(1, len(inputs) + 1)]
    states = heat_map(inputs, chains, times, hover="chain %{x}, %{y} = %{z}<extra></extra>")
    states.update(zmin=0, zmax=task.states - 1, colorscale=_SHADES[task.states])
    steps = ["input", *(f"layer {k}" for k in range(1, layers))]
    hover, bar = "chain %{x}, %{y}: %{z:.4f}<extra></extra>", {"thickness": 10, "len": 0.55, "y": 0.28}
    figure.add_trace(states, 1, 1)
    figure.add_trace(heat_map(labels, chains, steps, signed=True, hover=hover, bar=bar), 2, 1)
    if n <= _NUMBERED:
        figure.add_trace(cell_text(inputs, chains, times, ".0f", lambda v: _INKS[task.states][int(v)]), 1, 1)
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    every = max(1, -(-n // 8))
    ticks = [*chains[every - 1 : n - every : every], "query"]
    figure.update_xaxes(type="category", showgrid=False, tickangle=0, tickvals=ticks)
    figure.add_vline(n - 0.5, line={"color": INK, "width": 2})
    figure.update_layout(margin={"t": 28, "b": 28})
    alt = (
        f"A prompt of {n} chains and the query as columns of coloured cells. Below, the label row after each of "
        f"{layers - 1} layers: labels become residuals, and the query's entry goes from 0 to minus the prediction."
    )
    return Picture("prompt", alt, figure, "The prompt, and what the layers make of it", wide=True)


def _draw_prediction(shown: Prompts, path: Trajectory, bayes: float) -> Picture:
    import plotly.graph_objects as go

    guesses = path.predictions(shown.query)[:, 0]
    figure = new_figure(320)
    layers = np.arange(len(guesses))
    figure.add_trace(
        go.Scatter(
            x=layers,
            y=guesses,
            mode="lines+markers",
            name="prediction",
            line={"color": COLOURS[0], "width": 2.5},
            marker={"size": 8},
            hovertemplate="after %{x} layers: %{y:.4f}<extra></extra>",
        )
    )
    for name, value, dash, colour in (
        ("what came", float(shown.target[0]), "solid", COLOURS[1]),
        ("Bayes", bayes, "dash", COLOURS[2]),
    ):
        figure.add_trace(_level(layers, value, name, dash, colour))
    figure.update_xaxes(title="layers", dtick=1 if len(layers) <= 12 else 2)
    figure.update_yaxes(title="prediction of the query's next state")
    alt = (
        f"The prediction of the pictured prompt after each layer, from 0 to {guesses[-1]:.3f}; "
        f"Bayes would say {bayes:.3f}, and {float(shown.target[0]):g} came."
    )
    return Picture("prediction", alt, figure, "Prediction after each layer")


def _level(x: Float[np.ndarray, " L1"], value: float, name: str, dash: str, colour: str) -> go.Scatter:
    import plotly.graph_objects as go

    line = {"color": colour, "dash": dash, "width": 1.6}
    ends = [float(x[0]), float(x[-1])]
    return go.Scatter(
        x=ends,
        y=[value, value],
        mode="lines",
        name=name,
        line=line,
        hovertemplate=f"{name}: {value:.4f}<extra></extra>",
    )


def _draw_weights(path: Trajectory) -> Picture:
    w = path.w[:, 0].T
    names = [f"w<sub>{j}</sub>" for j in range(1, len(w) + 1)]
    hover = "%{y} after %{x} layers: %{z:.4f}<extra></extra>"
    figure = _signed_table(w, list(range(w.shape[1])), names, hover, "layers")
    last = ", ".join(f"{v:.3f}" for v in w[:, -1])
    alt = f"The regression weights of the pictured prompt after each layer, last: {last}."
    return Picture("weights", alt, figure, "The weights w that the label row carries")


def _signed_table(
    values: Float[np.ndarray, "rows layers"], x: list[int], names: list[str], hover: str, title: str
) -> go.Figure:
    figure = new_figure(max(110 + 26 * len(values), 320))
    figure.add_trace(heat_map(values, x, names, signed=True, hover=hover, bar={"thickness": 10}))
    if len(x) <= _READABLE:
        top = largest(values)
        figure.add_trace(cell_text(values, x, names, ".2f", lambda v: text_on(v / top)))
    figure.update_layout(margin={"t": 16})
    figure.update_xaxes(title=title, dtick=1, showgrid=False, zeroline=False, range=[x[0] - 0.5, x[-1] + 0.5])
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


def _draw_shares(result: Profile) -> Picture:
    shares = np.array([row.shares for row in result.layers[1:]])
    size = shares.shape[-1]
    flat = shares.reshape(len(shares), -1).T
    hover = "%{y} in layer %{x}: %{z:.3f} of the step<extra></extra>"
    figure = _signed_table(flat, list(range(1, len(shares) + 1)), _names(size), hover, "layer")
    figure.add_hline(size - 0.5, line={"color": INK, "width": 2})
    most = "; ".join(f"layer {k}: {_largest(one)}" for k, one in enumerate(shares, 1))
    alt = f"How much of each layer's step each objective contributes. Largest: {most}."
    return Picture("moved", alt, figure, f"Which objective moved, over {result.prompts:,} prompts")


def _largest(shares: Float[np.ndarray, "2 D"]) -> str:
    group, k = np.unravel_index(int(np.argmax(shares)), shares.shape)
    return f"R{group + 1}_{k + 1} ({shares[group, k]:.0%})"


def _draw_losses(result: Profile) -> Picture:
    import plotly.graph_objects as go

    loss, error = (np.array([getattr(row, k) for row in result.layers]) for k in ("loss", "loss_se"))
    layers = np.arange(len(loss))
    figure = new_figure(320)
    figure.add_trace(
        go.Scatter(
            x=layers,
            y=loss,
            error_y={"array": error, "color": COLOURS[0], "thickness": 1.2, "width": 4},
            mode="lines+markers",
            name="loss",
            line={"color": COLOURS[0], "width": 2.5},
            marker={"size": 8},
            hovertemplate="after %{x} layers: %{y:.4f}<extra></extra>",
        )
    )
    if result.bayes is not None:
        figure.add_trace(_level(layers, result.bayes.loss, "Bayes", "dash", COLOURS[2]))
    figure.update_xaxes(title="layers", dtick=1)
    figure.update_yaxes(title="mean squared error", rangemode="tozero")
    alt = f"Loss over {result.prompts:,} prompts after each layer, from {loss[0]:.3f} to {loss[-1]:.3f}" + (
        "." if result.bayes is None else f"; Bayes reaches {result.bayes.loss:.3f}."
    )
    return Picture("loss", alt, figure, f"Loss after each layer, over {result.prompts:,} prompts")


def _words(shown: Prompts, path: Trajectory, bayes: float, result: Profile) -> str:
    from markov_icl.depth.objectives import decompose

    here = [decompose(path.step(layer)).shares for layer in range(1, len(path.w))]
    size = path.gram.shape[-1]
    guess, target = float(path.predictions(shown.query)[-1, 0]), float(shown.target[0])
    last = result.layers[-1]
    over = ", ".join(f"{k}: {_largest(row.shares)}" for k, row in enumerate(result.layers[1:], 1))
    own = ", ".join(f"{k}: {_largest(one)}" for k, one in enumerate(here, 1))
    ceiling = "" if result.bayes is None else f"; Bayes reaches {result.bayes.loss:.4f} on the same prompts"
    same = result.equivalence
    return (
        f"**The pictured prompt.** After {len(here)} layers the prediction is **{guess:.4f}**; Bayes says {bayes:.4f}, "
        f"and {target:g} came. A restricted layer changes nothing but the label row: under a context chain it becomes "
        "the residual `y - w·x`, under the query `-w·x`. So the layers walk a weight vector `w`, from 0.\n\n"
        f"**All {result.prompts:,} prompts.** Loss {last.loss:.4f} ± {last.loss_se:.4f} after the last layer"
        f"{ceiling}.\n\n"
        f"**Which objective moved.** Each step is a sum over {2 * size} objectives, with shares that add up to 1; a "
        f"negative one pulls back. `R1_{size}` is half the squared error on the context, the others are forms in "
        f"products of states; `R2` moves the last weight alone. Largest by layer, all prompts: {over}. "
        f"This prompt: {own}.\n\n"
        "*Predictions, weights and shares of a prompt are exact up to rounding for these layers; "
        f"token by token and as descent they differ by {same.max_abs:.0e} at most, in label rows up to "
        f"{same.largest:.2g}. The loss is an estimate (± one standard error). The layers come from a "
        "local search, so they are not the best ones.*"
    )


def _rows(path: Trajectory, shown: Prompts, result: Profile) -> tuple[dict[str, object], ...]:
    guesses = path.predictions(shown.query)[:, 0]
    rows = []
    for row, guess, w in zip(result.layers, guesses, path.w[:, 0], strict=True):
        found: dict[str, object] = {"layer": row.layer, "prediction": float(guess)}
        found |= {f"w_{j}": float(v) for j, v in enumerate(w, 1)}
        found |= {"loss": row.loss, "loss_se": row.loss_se, "accuracy": row.accuracy}
        for name, numbers in (("R1", row.first), ("R2", row.second)):
            found |= {f"{name}_{k}": float(v) for k, v in enumerate(numbers, 1)}
        if row.layer:
            for name, numbers in (("R1", row.shares[0]), ("R2", row.shares[1])):
                found |= {f"{name}_{k}_share": float(v) for k, v in enumerate(numbers, 1)}
        rows.append(found)
    return tuple(rows)


def _slow(_: Values) -> bool:
    return True


PAGE = View(
    "layers",
    "Layers",
    "A prompt passes through trained layers; each is a step of descent on several objectives (Theorem 4.1).",
    _CONTROLS,
    _compute,
    _command,
    _slow,
)
