"""The page Attention: maps of a model trained here, beside the similarity of the chains [Fig. 7]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from markov_icl.interfaces.explorer.pictures.colours import INK
from markov_icl.interfaces.explorer.pictures.drawing import COLOURS, SEQUENCE, SIGNED, new_figure
from markov_icl.interfaces.explorer.trained_models import TrainedModels
from markov_icl.interfaces.explorer.view import Control, Outcome, Picture, Refused, Values, View
from markov_icl.progress import Tell, part

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from markov_icl.analysis.kernel_attention import Contrast
    from markov_icl.models.training import TrainResult
    from markov_icl.tasks.prompts import MarkovTask

__all__ = ["KERNELS", "PAGE"]

_FILE = "attention.safetensors"
_BATCH, _HELD_OUT, _PROMPTS = 64, 1000, 200
_RATES = {"softmax": 0.01, "lsa": 0.01, "gpt2": 0.001}
_GPT2_LAYERS = 3
_MOST_STEPS = 10_000
"""Training steps times context of GPT-2: under a minute, also on a busy core."""

KERNELS = ("1", "2", "4")
"""As in Fig. 7."""

_CONTROLS = (
    Control(
        "model",
        "Model",
        "choice",
        "softmax",
        choices=("softmax", "lsa", "gpt2"),
        help="Softmax or linear attention over prompt columns, or three blocks of GPT-2 (extra hf, as in Fig. 7).",
    ),
    Control("layers", "Layers", "integer", 2, 1, 4, help="Of softmax and lsa; GPT-2 has three."),
    Control("heads", "Heads", "integer", 1, 1, 4, help="Of softmax and lsa, a layer; maps are their mean."),
    Control("length", "Length", "integer", 6, 2, 10, help="States in a chain."),
    Control("context", "Context chains", "integer", 16, 8, 32, 4, help="A multiple of 4."),
    Control("kernels", "Kernels in a prompt", "choice", "4", choices=KERNELS, help="They share the chains equally."),
    Control("order", "Chains", "choice", "side by side", choices=("side by side", "in random order")),
    Control("average", "Maps of", "choice", "200 prompts", choices=("200 prompts", "one prompt")),
    Control("steps", "Training steps", "integer", 300, 20, 1000, 20, help="Of Adam, 64 prompts each."),
    Control("seed", "Seed", "integer", 0, 0, 99),
)


def _numbers(values: Values, *names: str) -> list[int]:
    return [int(str(values[name])) for name in names]


def _shared(values: Values) -> None:
    context, kernels = _numbers(values, "context", "kernels")
    if context % kernels:
        raise Refused("context", f"expected a multiple of {kernels}, so that kernels share it; got {context}")


def _bounded(values: Values) -> None:
    from importlib.util import find_spec

    if values["model"] != "gpt2":
        return
    if find_spec("transformers") is None:
        raise Refused("model", "expected softmax or lsa; got gpt2, which needs pip install 'markov-icl[hf]'")
    context, steps = _numbers(values, "context", "steps")
    if context * steps > _MOST_STEPS:
        raise Refused(
            "steps", f"expected at most {_MOST_STEPS // context} steps of GPT-2 at {context} chains; got {steps}"
        )


def _command(values: Values) -> str:
    kind = str(values["model"])
    size = "--size tiny" if kind == "gpt2" else f"--layers {values['layers']} --heads {values['heads']}"
    task = f"--length {values['length']} --context {values['context']}"
    order = " --shuffled" if values["order"] == "in random order" else ""
    return (
        f"markov-icl train --model {kind} {size} {task} --steps {values['steps']} --batch {_BATCH} "
        f"--rate {_RATES[kind]:g} --held-out {_HELD_OUT} --device cpu --seed {values['seed']} --save {_FILE}\n"
        f"markov-icl attention --model {_FILE} {task} --kernels {values['kernels']}{order} --prompts {_PROMPTS} "
        f"--seed {values['seed']} --plot attention.png"
    )


_KEPT: TrainedModels[TrainResult] = TrainedModels()


def _trained(
    kind: str, layers: int, heads: int, length: int, context: int, steps: int, seed: int, tell: Tell
) -> TrainResult:
    import torch

    from markov_icl.models.checkpoint import build_model
    from markov_icl.models.training import train
    from markov_icl.tasks.prompts import MarkovTask

    task, rate = MarkovTask(length=length, context=context), _RATES[kind]
    config: dict[str, Any] = {"dimension": task.dimension}
    config |= {"size": "tiny", "max_context": context} if kind == "gpt2" else {"depth": layers, "heads": heads}

    def make() -> TrainResult:
        model = build_model(kind, config, seed=seed, dtype=torch.float32)
        recipe: dict[str, Any] = {"steps": steps, "batch": _BATCH, "seed": seed, "rate": rate, "held_out": _HELD_OUT}
        return train(model, task, device="cpu", progress=part(tell, 0.02, 0.92), **recipe)

    return _KEPT.get((kind, layers, heads, length, context, steps, seed), make)


def _compute(values: Values, tell: Tell) -> Outcome:
    from markov_icl.analysis.kernel_attention import kernel_attention

    kind = str(values["model"])
    layers, heads, length, context, kernels, steps, seed = _numbers(
        values, "layers", "heads", "length", "context", "kernels", "steps", "seed"
    )
    if kind == "gpt2":
        layers, heads = _GPT2_LAYERS, 1
    tell(0.0, "loading torch")
    result = _trained(kind, layers, heads, length, context, steps, seed, tell)
    tell(0.93, f"attention on {_PROMPTS} prompts")
    task: MarkovTask = result.task  # type: ignore[assignment]
    shuffled = values["order"] == "in random order"
    found = kernel_attention(result.model, task, kernels, _PROMPTS, seed, shuffled)
    single = values["average"] == "one prompt"
    own = np.eye(context, dtype=bool)
    shown = [np.where(own, np.nan, one[0] if single else one.mean(0)) for one in (found.alike, *found.shares)]
    framed = kernels if values["order"] == "side by side" else 1
    pictures = [_draw_similarity(shown[0], framed)]
    pictures += [_draw_map(k, shown, framed, signed=kind == "lsa") for k in range(1, len(shown))]
    if kernels > 1:
        pictures.append(_draw_contrast(found.contrasts, wide=len(pictures) % 2 == 0))
    return Outcome(
        tuple(pictures), _words(values, result, found.contrasts, kernels), _rows(result, shown, found.contrasts)
    )


def _draw_similarity(values: Float[np.ndarray, "n n"], groups: int) -> Picture:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    figure = _square_map(values, groups, (low, max(high, low + 1e-9)), SEQUENCE)
    alt = f"Similarity of every two of {len(values)} chains, from {low:.2f} to {high:.2f}.{_framed(groups)}"
    return Picture("similarity", alt, figure, "How alike two chains are")


def _draw_map(layer: int, shown: list[Float[np.ndarray, "n n"]], groups: int, signed: bool) -> Picture:
    """One layer's map; all layers on one scale, whose middle is 0 for weights of both signs and else the row's mean."""
    middle = 0.0 if signed else 1.0
    away = np.abs(np.stack(shown[1:]) - middle)
    top = max(float(np.nanquantile(away, 0.99)), 1e-9)
    scale = [list(stop) for stop in SIGNED]
    figure = _square_map(shown[layer], groups, (middle - top, middle + top), scale)
    low, high = float(np.nanmin(shown[layer])), float(np.nanmax(shown[layer]))
    alt = (
        f"How much each of {len(shown[0])} chains takes from each other one in layer {layer}, over its row's mean: "
        f"{low:.2f} to {high:.2f}.{_framed(groups)}"
    )
    return Picture(f"layer-{layer}", alt, figure, f"Attention in layer {layer}, over its row's mean")


def _framed(groups: int) -> str:
    return f" Frames hold the chains of each of {groups} kernels." if groups > 1 else ""


def _square_map(values: Float[np.ndarray, "n n"], groups: int, ends: tuple[float, float], scale: Any) -> go.Figure:
    import plotly.graph_objects as go

    n = len(values)
    figure = new_figure(400)
    chains = list(range(1, n + 1))
    cells = go.Heatmap(
        z=values,
        x=chains,
        y=chains,
        zmin=ends[0],
        zmax=ends[1],
        colorscale=scale,
        colorbar={"thickness": 10, "len": 0.9},
        xgap=0.5,
        ygap=0.5,
        hoverongaps=False,
        hovertemplate="chain %{y} from chain %{x}: %{z:.3f}<extra></extra>",
    )
    figure.add_trace(cells)
    size = n // groups
    for g in range(groups if groups > 1 else 0):
        low, high = 0.5 + g * size, 0.5 + (g + 1) * size
        line = {"color": INK, "width": 2}
        figure.add_shape(type="rect", x0=low, x1=high, y0=low, y1=high, line=line)
    figure.update_layout(margin={"l": 48, "r": 8, "t": 16, "b": 44})
    figure.update_xaxes(title="from chain", showgrid=False, zeroline=False, constrain="domain")
    figure.update_yaxes(title="chain", showgrid=False, zeroline=False, autorange="reversed", constrain="domain")
    every = max(1, n // 4)
    figure.update_xaxes(dtick=every, tick0=every)
    figure.update_yaxes(scaleanchor="x", dtick=every, tick0=every)
    return figure


def _draw_contrast(found: Sequence[Contrast], wide: bool) -> Picture:
    import plotly.graph_objects as go

    layers = [str(k) for k in range(1, len(found) + 1)]
    difference, error = [one.difference for one in found], [one.error for one in found]
    figure = new_figure(320)
    dots = go.Scatter(
        x=layers,
        y=difference,
        mode="markers",
        error_y={"array": error, "color": COLOURS[0], "thickness": 2, "width": 6},
        marker={"color": COLOURS[0], "size": 12},
        hovertemplate="layer %{x}: %{y:.3f}<extra></extra>",
    )
    figure.add_trace(dots)
    figure.add_hline(0, line={"color": INK, "width": 1})
    figure.update_layout(margin={"t": 16})
    figure.update_xaxes(title="layer", type="category", showgrid=False)
    figure.update_yaxes(title="over the row's mean", rangemode="tozero")
    said = "; ".join(f"layer {k}: {d:.3f} ± {e:.3f}" for k, d, e in zip(layers, difference, error, strict=True))
    alt = f"Attention to chains of the same kernel minus that to others: {said}."
    return Picture("contrast", alt, figure, "Attention to chains of the same kernel minus others", wide)


def _words(values: Values, result: TrainResult, found: Sequence[Contrast], kernels: int) -> str:
    kind = {"softmax": "Softmax attention", "lsa": "Linear attention", "gpt2": "GPT-2"}[str(values["model"])]
    final = result.final
    likeness = ", ".join(f"{one.correlation:.2f}" for one in found)
    said = [
        f"**{kind}**, trained here on prompts with one kernel each, {values['steps']} steps: loss {final.loss:.4f} ± "
        f"{final.loss_se:.4f} on {_HELD_OUT:,} held-out prompts."
    ]
    if kernels > 1:
        last = found[-1]
        clear = abs(last.difference) > 3 * last.error
        more = "more" if last.difference > 0 else "less"
        verdict = (
            f"takes **{more}** from chains of the same kernel" if clear else "does **not clearly** tell kernels apart"
        )
        said.append(
            f"Shown {kernels} kernels in a prompt, the last layer {verdict}: {last.difference:+.3f} ± {last.error:.3f} "
            "of what a chain takes from another on average."
        )
    else:
        said.append("With one kernel in a prompt there are no groups to tell apart; choose two or four.")
    said.append(f"Correlation of attention with similarity, by layer: {likeness}.")
    look = {
        "gpt2": "GPT-2 looks back only, and learns positions: in random order, only what the chains tell is left.",
        "softmax": "Every chain looks at all context chains, and nothing tells their order.",
        "lsa": "Every chain looks at all context chains. Weights of linear attention have both signs, and a head's "
        "sign and scale mean nothing by themselves: each head is turned to a positive mean.",
    }[str(values["model"])]
    said.append(
        f"{look} A row is what a chain takes, over the mean of its row; its look at itself is left out. "
        "`markov-icl reproduce fig7` is the paper's figure.\n\n"
        f"*Similarity is exact: 1 minus the share of positions that differ. Contrasts are estimates over {_PROMPTS} "
        "prompts (± one standard error) for one training, and what counts is above three of them; another seed trains "
        "another model. The commands train this very model and draw its maps over all prompts.*"
    )
    return "\n\n".join(said)


def _rows(
    result: TrainResult, shown: list[Float[np.ndarray, "n n"]], found: Sequence[Contrast]
) -> tuple[dict[str, object], ...]:
    final = result.final
    rows: list[dict[str, object]] = [{"what": "held-out loss", "value": final.loss, "error": final.loss_se}]
    for k, one in enumerate(found, 1):
        rows.append({"what": "same kernel minus others", "layer": k, "value": one.difference, "error": one.error})
        rows.append({"what": "correlation with similarity", "layer": k, "value": one.correlation})
    for layer, cells in enumerate(shown):
        named: dict[str, object] = {"what": "attention", "layer": layer} if layer else {"what": "similarity"}
        for i, k in np.ndindex(*cells.shape):
            if np.isfinite(cells[i, k]):
                rows.append({**named, "chain": i + 1, "from chain": k + 1, "value": float(cells[i, k])})
    return tuple(rows)


def _slow(_: Values) -> bool:
    return True


PAGE = View(
    "attention",
    "Attention",
    "Does attention find the chains of the same kernel? Maps of a model trained here, beside similarity (Fig. 7).",
    _CONTROLS,
    _compute,
    _command,
    _slow,
    (_shared, _bounded),
)
