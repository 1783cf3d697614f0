"""Every figure with as little work as its reading needs."""

from markov_icl.experiments.figures import fig02, fig03, fig04, fig05, fig06, fig07
from markov_icl.experiments.figures import gap as gap_figure
from markov_icl.experiments.figures import hardness as hardness_figure
from markov_icl.experiments.figures import heads as heads_figure
from markov_icl.experiments.figures import map as map_figure
from markov_icl.experiments.figures import minima as minima_figure


def assert_drawn(figure):
    """Every panel has data, a name for what its axes show, and, with several lines, a legend in the figure."""
    figure.canvas.draw()
    panels = [axis for axis in figure.axes if axis.get_visible() and axis.axison and axis.get_label() != "<colorbar>"]
    assert panels
    for axis in panels:
        assert axis.has_data()
        assert axis.get_xlabel() or axis.get_ylabel() or axis.get_title()
    named = [line for axis in panels for line in axis.lines if not line.get_label().startswith("_")]
    assert len(named) < 2 or figure.legends or any(axis.get_legend() for axis in panels)


def shrink(monkeypatch):
    """Make the quick scale one of seconds; only this process sees it."""
    monkeypatch.setitem(fig02.SCALES, "quick", fig02.Scale(3, 20, 0.01, 60, 2))
    monkeypatch.setitem(fig03._SCALES, "quick", {"steps": 3, "batch": 20})
    monkeypatch.setattr(fig03, "_FRESH", 50)
    monkeypatch.setattr(fig03, "_CEILING", 200)
    few = {"steps": 20, "batch": 20, "prompts": 40, "rate": 0.01, "held_out": 30, "evaluate_every": 10}
    monkeypatch.setitem(fig04._SCALES, "quick", few)
    monkeypatch.setattr(fig04, "_BAYES_PROMPTS", 200)
    monkeypatch.setitem(fig05._SCALES, "quick", {"steps": 3, "fresh": 100, "exact": 300})
    monkeypatch.setattr(fig05, "_LENGTHS", range(2, 4))
    monkeypatch.setattr(fig05, "_FITTED", 60)
    training = {"rate": 1e-3, "steps": 3, "curriculum": {"start": 2, "by": 1, "every": 1}}
    scale = {"sizes": ["tiny"], "context": 5, "training": training, "contexts": [1, 5]}
    monkeypatch.setitem(fig06._SCALES, "quick", scale)
    monkeypatch.setitem(fig06._TEST, "prompts", 30)
    monkeypatch.setitem(fig06._TEST, "bootstraps", 20)
    monkeypatch.setitem(fig07._SCALES, "quick", {"context": 8, "steps": 3, "rate": 1e-3, "prompts": 10})
    monkeypatch.setitem(map_figure._SCALES, "quick", {"starts": 4, "contexts": 8})
    monkeypatch.setitem(gap_figure._SCALES, "quick", {"lengths": [2, 3], "contexts": [1, 10, 100]})
    monkeypatch.setitem(heads_figure._SCALES, "quick", {"lengths": [2, 3], "contexts": [1, 100], "starts": 4})
    monkeypatch.setitem(minima_figure._SCALES, "quick", {"tasks": [(3, 10)], "starts": 30})
    sizes = {hardness_figure.EXACT: [2, 4], hardness_figure.NEAREST: [1, 2], hardness_figure.GENERAL: [1], "nodes": 40}
    monkeypatch.setitem(hardness_figure._SCALES, "quick", sizes)
