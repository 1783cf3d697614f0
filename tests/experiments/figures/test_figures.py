"""The paper's figures at a size that takes seconds: what is run, what is read off, what is drawn."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from markov_icl.analysis.scoring import bootstrap, first_chains, fresh_prompts, right
from markov_icl.experiments.claims.figures import FIGURE_CLAIMS, NOT_RUN, figure_finding
from markov_icl.experiments.figures import fig04, fig05
from markov_icl.experiments.registry import FIGURES, PAPER_FIGURES, experiment, figure
from markov_icl.experiments.runs.engine import compute, run_all
from markov_icl.experiments.runs.finished import best_finished, finished
from markov_icl.experiments.runs.points import FinishedRun, series
from markov_icl.experiments.runs.store import Store
from markov_icl.features import phi, predict
from markov_icl.interfaces.plots.paper_figures import PLOTS
from markov_icl.models.predictors import Bayes, EmpiricalCounts, Enlarged
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts
from tests.experiments.figures.small_figures import assert_drawn, shrink

TASK = MarkovTask(length=4, context=12)


@pytest.fixture
def small(monkeypatch):
    shrink(monkeypatch)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", [name for name in FIGURES if name != "fig2"])  # that one: test_fig02.py
def test_runs_are_read_and_drawn(name):
    chosen = figure(name)
    if chosen.require is not None:
        pytest.importorskip("pyscipopt", reason="SCIP is not installed (extra global)")
    outcomes = [FinishedRun(spec, compute(spec)) for spec in chosen.specs("quick", 2)]
    finding = chosen.read(outcomes)
    assert finding.verdict
    assert finding.computed
    assert_drawn(PLOTS[name](outcomes))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_figure_has_its_runs(name, scale):
    specs = figure(name).specs(scale, 5)
    assert len(set(specs)) == len(specs)
    assert {spec.experiment for spec in specs} == {name}
    assert {spec.scale for spec in specs} == {scale}
    trained = {}
    for spec in specs:
        if spec.training:
            trained.setdefault((spec.part, str(spec.model)), set()).add(spec.seed)
    assert all(seeds == set(range(5)) for seeds in trained.values())
    assert name in PLOTS
    assert figure(name).seconds > 0


def test_settings_are_the_papers():
    assert (fig04.TASK.length, fig04.TASK.context, fig04.TASK.initial.pmf) == (
        2,
        30,
        (Fraction(7, 10), Fraction(3, 10)),
    )
    lengths = {spec.task.length for spec in figure("fig5").specs("quick", 1)}
    assert lengths == set(range(2, 12))
    fit = figure("fig5").specs("paper", 1)[-1]
    assert (fit.task.context, fit.settings["fitted"], fit.training["rate"], fit.training["steps"]) == (
        100,
        1000,
        0.01,
        1000,
    )
    sizes = {spec.model["size"] for spec in figure("fig6").specs("paper", 1) if spec.model}
    assert sizes == {"tiny", "small", "standard"}
    assert {(s.task.length, s.task.context) for s in figure("fig3").specs("quick", 1)} == {(6, 10)}


def test_least_squares_has_no_better_point_on_its_own_prompts():
    drawn = sample_prompts(TASK, 400, 3)
    X = fig05.least_squares(drawn)
    loss = np.mean((predict(X, drawn.gram, drawn.query) - drawn.target) ** 2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        near = X + 1e-3 * rng.standard_normal(len(X))
        assert np.mean((predict(near, drawn.gram, drawn.query) - drawn.target) ** 2) > loss
    b, A = rng.standard_normal(4), rng.standard_normal((4, 3))
    assert loss < np.mean((predict(phi(b, A), drawn.gram, drawn.query) - drawn.target) ** 2)


def test_own_prompts_flatter():
    own = sample_prompts(MarkovTask(length=9, context=100), 500, 0)
    task = MarkovTask(length=9, context=100)
    X = Enlarged(fig05.least_squares(own))
    flattered, honest = (right(task, X, p).mean() for p in (own, fresh_prompts(task, 2000, 0)))
    assert flattered > 0.9
    assert honest < 0.72  # five standard errors above 0.66 would be 0.71


def test_first_chains_are_the_prompt_with_a_smaller_context():
    drawn = fresh_prompts(TASK, 30, 1)
    few = first_chains(drawn, 5)
    assert few.context.shape == (30, 5, 4)
    assert np.array_equal(few.gram[3], few.context[3].T @ few.context[3] / 5)
    small = replace(TASK, context=5)
    assert np.array_equal(EmpiricalCounts(small).predict(few), Bayes(small).predict(few))


def test_fresh_prompts_are_the_same_and_not_those_of_training():
    assert np.array_equal(fresh_prompts(TASK, 5, 2).context, fresh_prompts(TASK, 5, 2).context)
    assert not np.array_equal(fresh_prompts(TASK, 50, 2).context, sample_prompts(TASK, 50, 2).context)


def test_bootstrap_intervals_are_those_of_a_mean():
    rng = np.random.default_rng(0)
    hits = rng.random(2000) < 0.7
    low, high = bootstrap(hits, 2000, 0)
    half = 1.645 * hits.std() / np.sqrt(len(hits))
    assert abs(low - (hits.mean() - half)) < 0.1 * half
    assert abs(high - (hits.mean() + half)) < 0.1 * half


def test_claims_read_the_store(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert best_finished("fig10") is None
    assert best_finished("fig10", tmp_path / "nowhere") is None
    assert figure_finding("fig4").verdict == NOT_RUN
    place = Store(tmp_path / "markov-icl" / "store")
    run_all(figure("fig10").specs("quick", 5), place)
    assert len(finished("fig10", "quick")) == 1
    assert finished("fig10", "paper") is None
    assert best_finished("fig10", place.folder)[0].spec.scale == "quick"
    assert figure_finding("fig10", best_finished("fig10")).verdict == "holds"
    assert {claim.figure for claim in FIGURE_CLAIMS} == set(PAPER_FIGURES)


@pytest.mark.parametrize(("find", "name"), [(figure, "train"), (figure, "fig9"), (experiment, "fig1")])
def test_unknown_figures_are_named(find, name):
    with pytest.raises(ValueError, match=f"got '{name}'"):
        find(name)


def test_fig_four_tells_a_worse_end(small):
    outcomes = [FinishedRun(spec, compute(spec)) for spec in figure("fig4").specs("quick", 2)]
    best = series(outcomes, "best layer", "population loss").values[0, 0]

    def ending(above):
        return [
            FinishedRun(
                o.spec, tuple(replace(p, value=best + above) if p.measure == "population loss" else p for p in o.points)
            )
            if o.spec.training
            else o
            for o in outcomes
        ]

    assert fig04.read(ending(1e-5)).verdict == "holds"
    assert fig04.read(ending(1e-2)).verdict == "differs"
