"""Our own figures: the numbers their rows must hold."""

import numpy as np
import pytest

from markov_icl.analysis.realizability import realizability_map
from markov_icl.experiments.figures import gap as gap_figure
from markov_icl.experiments.figures import hardness as hardness_figure
from markov_icl.experiments.figures import map as map_figure
from markov_icl.experiments.figures import minima as minima_figure
from markov_icl.experiments.registry import figure
from markov_icl.experiments.runs.engine import compute
from markov_icl.experiments.runs.points import FinishedRun, Point, parquet, series
from markov_icl.experiments.runs.spec import Spec
from markov_icl.tasks.prompts import MarkovTask
from tests.experiments.figures.small_figures import shrink


@pytest.fixture
def runs(monkeypatch):
    shrink(monkeypatch)
    return lambda name, seeds=2: [FinishedRun(spec, compute(spec)) for spec in figure(name).specs("quick", seeds)]


def test_the_map_comes_back_from_its_rows(runs):
    outcomes = runs("map")
    found = map_figure.assemble(outcomes)
    true = realizability_map(["1/4", "1/2", "3/4"], range(1, 9))
    np.testing.assert_array_equal(found.realizable, true.realizable)
    np.testing.assert_array_equal(found.discriminant.astype(float), true.discriminant.astype(float))
    np.testing.assert_array_equal(found.b, true.b)
    np.testing.assert_array_equal(found.A, true.A)
    assert found.formula_error == true.formula_error
    assert "from n = 6 on at p = 0.5" in figure("map").read(outcomes).verdict


def test_the_gap_is_certified_at_known_values(runs):
    outcomes = runs("gap")
    gap = gap_figure.assemble(outcomes)
    assert (gap.lengths, gap.contexts) == ((2, 3), (1, 10, 100))
    known = [[0.4111289240, np.nan, 0.3364292773], [0.3406091582, 0.2546047767, 0.2347244554]]
    there = np.isfinite(known)
    np.testing.assert_allclose(gap.upper[there], np.array(known)[there], atol=1e-9)
    assert gap.certified.all()
    finding = figure("gap").read(outcomes)
    assert finding.verdict == "certified at 6 of 6 points; positive at every context from length 3 on"


def test_heads_needed_are_proved(runs):
    outcomes = runs("heads")
    needed = {
        name: [series(outcomes, name, f"heads needed, at {which}").values[0, 0] for which in ("least", "most")]
        for name in ("length 2, n = 1", "length 2, n = 100", "length 3, n = 1", "length 3, n = 100")
    }
    assert list(needed.values()) == [[2, 2], [1, 1], [3, 3], [2, 2]]
    losses = series(outcomes, "length 3, n = 1", "loss").values[0]
    floor = series(outcomes, "length 3, n = 1", "enlarged optimum").values[0, 0]
    assert losses[0] == pytest.approx(0.3406091582, abs=1e-9)
    assert (np.diff(losses) <= 0).all()
    assert losses[-1] == pytest.approx(floor, abs=1e-12)


def test_shares_of_both_minima(runs):
    """Theory, section 5: at length 3, n = 10 descent ends at 0.2546048 or at 0.2551128, mostly there."""
    outcomes = runs("minima")
    one = minima_figure.basins(outcomes)["length 3, n = 10"]
    np.testing.assert_allclose(one.losses, [0.2546047767, 0.2551127991], atol=1e-9)
    np.testing.assert_allclose(one.shares.sum(1), 1.0)
    assert one.global_share == pytest.approx(one.shares[:, 0])
    assert abs(one.shares[:, 0].mean() - 0.36) < 5 * np.sqrt(0.36 * 0.64 / 60)
    assert "in 1 of 1 tasks" in figure("minima").read(outcomes).verdict


def test_minima_of_different_seeds_are_matched_by_loss():
    task = MarkovTask(length=3)

    def search(seed, pairs):
        points = [
            Point("a", measure, float(k), value)
            for k, pair in enumerate(pairs, start=1)
            for measure, value in zip(("loss", "share"), pair, strict=True)
        ]
        return FinishedRun(Spec("minima", "a", task, seed=seed), tuple(points))

    proof = FinishedRun(
        Spec("minima", "certificate, a", task),
        (Point("a", "lower bound", 0.0, 0.1), Point("a", "loss attained", 0.0, 0.1 + 1e-7)),
    )
    outcomes = [proof, search(0, [(0.1, 0.5), (0.2, 0.5)]), search(1, [(0.1 + 1e-11, 0.25), (0.15, 0.25), (0.2, 0.5)])]
    one = minima_figure.basins(outcomes)["a"]
    np.testing.assert_allclose(one.losses, [0.1, 0.15, 0.2])
    np.testing.assert_allclose(one.shares, [[0.5, 0, 0.5], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(one.global_share, [0.5, 0.25])


def test_branching_is_counted_the_same_each_time(runs):
    pytest.importorskip("pyscipopt", reason="SCIP is not installed (extra global)")
    first, second = runs("hardness", 1), runs("hardness", 1)
    assert [parquet(o.points) for o in first] == [parquet(o.points) for o in second]
    nodes, solved = (series(first, hardness_figure.NEAREST, m) for m in ("nodes", "solved"))
    assert nodes.x.tolist() == [1, 2]
    assert solved.values[0].tolist() == [1, 0]  # d = 2 needs 63 nodes, the limit here is 40
    assert nodes.values[0, 0] < nodes.values[0, 1] <= 40
    assert series(first, hardness_figure.EXACT, "nodes").values.max() == 0
    assert series(first, hardness_figure.EXACT, "solved").values.min() == 1
