"""Separability inside the general class: the placement, both directions, SCIP's verdict against the exact oracle."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.choices import KINDS, PLACEMENTS
from markov_icl.hardness import reduction as module
from markov_icl.hardness.alternation import alternate
from markov_icl.hardness.instances import generate
from markov_icl.hardness.program import Entry
from markov_icl.hardness.reduction import (
    GAP,
    decide,
    example,
    plane_box,
    reduce,
    required_dimension,
)
from markov_icl.hardness.scip import GlobalSolution
from markov_icl.hardness.separability import Instance, Planes, is_proof, separate

sizes = st.tuples(st.sampled_from(sorted(KINDS)), st.integers(3, 5), st.integers(3, 6), st.integers(1, 3))


def instance_number(seed: int) -> Instance:
    """The random instances of the check below: all kinds, 3..6 inner and 3..7 outer points, 1..3 dimensions."""
    return generate(sorted(KINDS)[seed % 4], 3 + seed % 4, 3 + seed % 5, 1 + seed % 3, 4 + seed % 3, seed)


def check_both_ways(seed: int) -> None:
    instance = instance_number(seed)
    oracle, reduction = separate(instance), reduce(instance)
    assert is_proof(instance, oracle)
    decision = decide(reduction, time_limit=60)
    assert decision.status == oracle.status, (seed, decision)
    if oracle.planes is not None:
        b, A = reduction.push_forward(oracle.planes)
        assert reduction.program.violation(b, A) == 0
        assert reduction.program.value(b, A) == 0
    if decision.planes is not None:
        b, A = reduction.push_forward(decision.planes)
        assert reduction.program.feasibility().violation(b, A) == 0
    else:
        assert decision.solution.dual >= 1


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_scip_on_the_reduced_program_equals_the_oracle(first: int) -> None:
    pytest.importorskip("pyscipopt")
    for seed in range(first, first + 20):
        check_both_ways(seed)


@pytest.mark.slow
def test_five_hundred_instances() -> None:
    pytest.importorskip("pyscipopt")
    for seed in range(500):
        check_both_ways(seed)


@settings(max_examples=30)
@given(size=sizes, seed=st.integers(0, 2**20))
def test_constraints_are_those_of_the_bilinear_program(size: tuple[str, int, int, int], seed: int) -> None:
    """At any ``w, g, z`` the forms take the values of Bennett & Mangasarian's inequalities, in fractions."""
    kind, inner, outer, n = size
    instance = generate(kind, inner, outer, n, 5, seed)
    program = reduce(instance).program
    rng = np.random.default_rng(seed)
    w = [[F(int(v), 3) for v in row] for row in rng.integers(-9, 10, (2, n))]
    g = [F(int(v), 2) for v in rng.integers(-9, 10, 2)]
    z = [[F(int(v)) for v in row] for row in rng.integers(0, 10, (2, outer))]
    values = {Entry(outer + 2 * n + p): g[p] for p in (0, 1)}
    values |= {Entry(outer + p * n + axis): w[p][axis] for p in (0, 1) for axis in range(n)}
    values |= {Entry(i, (None, 0)[p]): z[p][i] for p in (0, 1) for i in range(outer)}
    b, A = program.assemble(values, exact=True)
    assert program.value(b, A) == sum(u * v for u, v in zip(*z, strict=True))
    dot = lambda u, x: sum(s * t for s, t in zip(u, x, strict=True))  # noqa: E731
    expected = [-dot(w[p], x) + g[p] + 1 for p in (0, 1) for x in instance.inner]
    expected += [dot(w[p], x) - g[p] + 1 - z[p][i] for p in (0, 1) for i, x in enumerate(instance.outer)]
    assert [c.form.value(b, A) - c.right for c in program.constraints] == expected
    assert {c.sense for c in program.constraints} == {"<="}
    assert program.d == required_dimension(inner, outer, n)


@settings(max_examples=20)
@given(size=sizes, seed=st.integers(0, 2**20))
def test_no_value_lies_between_zero_and_four(size: tuple[str, int, int, int], seed: int) -> None:
    instance = generate(*size, 5, seed)
    values = alternate(reduce(instance).program, 4, seed).values
    assert ((values < 1e-6) | (values > GAP - 1e-6)).all()
    if separate(instance).status == "inseparable":
        assert values.min() > GAP - 1e-6


@settings(max_examples=30)
@given(size=sizes, seed=st.integers(0, 2**20))
def test_points_below_four_give_planes(size: tuple[str, int, int, int], seed: int) -> None:
    instance = generate("separable", *size[1:], 6, seed)
    planes, reduction = separate(instance).planes, reduce(instance)
    assert planes is not None
    b, _ = reduction.push_forward(planes)
    noise = np.random.default_rng(seed).standard_normal(len(b))
    back = reduction.pull_back(b.astype(float) + 1e-7 * noise)
    assert back is not None
    assert reduction.program.violation(*reduction.push_forward(back)) == 0


def test_worked_example() -> None:
    """Example C.13: ``m' = k' = n' = 2`` needs ``d = 8``."""
    reduction = reduce(example())
    program = reduction.program
    assert program.d == required_dimension(2, 2, 2) == 8
    assert [len(s) for s in (example().inner, example().outer)] == [2, 2]
    assert len(program.constraints) == 8
    assert program.objective is not None
    D1 = program.objective.matrix(9)
    assert np.array_equal(D1, np.diag([F(1), F(1)] + [F(0)] * 7))
    columns = [c.form.column for c in program.constraints]
    assert columns == [1, 2, 1, 2, 3, 4, 0, 0]
    last = program.constraints[-1].form.matrix(9)
    assert list(last[4:6, 8]) == list(example().outer[1])
    assert (last[7, 8], last[8, 8], last[8, 1]) == (-1, 1, -1)


@pytest.mark.parametrize(
    ("m", "k", "n", "d"), [(1, 1, 1, 5), (2, 2, 2, 8), (9, 3, 1, 13), (3, 5, 4, 15), (40, 2, 2, 43)]
)
def test_required_dimension(m: int, k: int, n: int, d: int) -> None:
    assert required_dimension(m, k, n) == d
    assert reduce(generate("random", m, k, n, 5, 0)).program.d == d


@settings(max_examples=20)
@given(size=sizes, seed=st.integers(0, 2**20))
def test_printed_placement_has_value_zero_whatever_the_points(size: tuple[str, int, int, int], seed: int) -> None:
    instance = generate(*size, 5, seed)
    n = instance.dimension
    flat = Planes(((F(0),) * n, (F(0),) * n), (F(-1), F(-1)), ((), ()))
    values = {}
    for placement in PLACEMENTS:
        reduction = reduce(instance, placement)
        b, A = reduction.push_forward(flat)
        assert reduction.program.violation(b, A) == 0
        values[placement] = reduction.program.value(b, A)
    assert values == {"working": 4 * len(instance.outer), "printed": 0}


@settings(max_examples=20)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([F(1), F(1, 10), F(7, 3)]), shift=st.integers(-50, 50))
def test_box_holds_planes_if_there_are_any(seed: int, scale: F, shift: int) -> None:
    from scipy.optimize import linprog

    grid = generate("separable", 4, 4, 2, 6, seed)
    moved = [tuple(tuple(scale * v + shift for v in x) for x in points) for points in (grid.inner, grid.outer)]
    instance = Instance(*moved)
    planes, (normal, offset) = separate(instance).planes, plane_box(instance)
    assert planes is not None
    inner, outer = np.array(instance.inner, dtype=float), np.array(instance.outer, dtype=float)
    for side in planes.beyond:
        chosen = outer[list(side)]
        ones = np.r_[np.ones(len(inner)), -np.ones(len(chosen))]
        table = np.column_stack([np.vstack([-inner, chosen]), ones])
        bounds = [(-v, v) for v in (*normal, offset)]
        assert linprog(np.zeros(3), A_ub=table, b_ub=-np.ones(len(table)), bounds=bounds).status == 0


def test_hairline_margins_are_never_called_inseparable() -> None:
    pytest.importorskip("pyscipopt")
    third = ((F(0), F(0)), (F(1), F(1, 3)))
    for gap in (F(1, 10**4), F(1, 10**8), F(1, 10**12)):
        apart = Instance(third, ((F(1, 2), F(1, 6) + gap), (F(1, 2), F(1, 6) - gap)))
        assert decide(reduce(apart), 10).status in ("separable", "undecided")
    touching = Instance((*third, (F(1, 10**12), F(0))), ((F(1, 2), F(1, 6)),))
    decision = decide(reduce(touching), 10)
    assert decision.status == "undecided"
    assert "margins below" in decision.reason


def test_time_limit_gives_bounds_not_a_verdict() -> None:
    pytest.importorskip("pyscipopt")
    decision = decide(reduce(generate("inseparable", 4, 5, 2, 6, 0)), time_limit=0.0)
    assert decision.status == "undecided"
    assert decision.solution.dual <= 0
    assert "a limit was reached" in decision.reason


def test_false_zero_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    reduction = reduce(generate("inseparable", 4, 4, 2, 5, 0))
    b, A = reduction.program.assemble(dict.fromkeys(reduction.program.free, 0.0))
    claimed = GlobalSolution("optimal", 0.0, 0.0, b, A, 0.0, 1, 0.0)
    monkeypatch.setattr(module, "solve", lambda *_: claimed)
    assert decide(reduction).status == "undecided"
    for status in ("infeasible", "failed"):
        broken = GlobalSolution(status, float("inf"), float("inf"), None, None, float("nan"), 1, 0.0)
        monkeypatch.setattr(module, "solve", lambda *_, broken=broken: broken)
        assert decide(reduction).status == "undecided"


def test_unknown_placement_is_refused() -> None:
    with pytest.raises(ValueError, match="placement working or printed"):
        reduce(example(), "other")  # type: ignore[arg-type]
