"""The general class as data, its global solution, and the classical heuristic."""

from __future__ import annotations

import signal
import sys
import threading
from fractions import Fraction as F

import numpy as np
import pytest

from markov_icl.experiments.claims.hardness import unattained
from markov_icl.hardness import scip
from markov_icl.hardness.alternation import alternate
from markov_icl.hardness.global_nearest import nearest_globally
from markov_icl.hardness.instances import generate
from markov_icl.hardness.program import BilinearProgram, Constraint, Entry, Form
from markov_icl.hardness.reduction import reduce
from markov_icl.hardness.scip import Stop, solve
from markov_icl.hardness.separability import separate
from markov_icl.recovery.search.nearest import nearest

pytest.importorskip("pyscipopt")
ONE = F(1)


def rectangle() -> BilinearProgram:
    """``min -b1 a1`` with ``b1 + 2 <= 4`` (a fixed entry in column 1) and ``a1 <= 3`` (in column 2 of b's fixed 1)."""
    fixed = {Entry(1): ONE, Entry(1, 0): ONE}
    constraints = (
        Constraint("side", Form(0, ((0, 1, ONE), (1, 1, F(2)))), "<=", F(4)),
        Constraint("height", Form(0, ((1, 0, ONE),)), "<=", F(3)),
    )
    return BilinearProgram(1, constraints, Form(0, ((0, 0, -ONE),)), fixed, frozenset({Entry(0), Entry(0, 0)}))


def test_forms_are_what_their_matrices_say() -> None:
    program = reduce(generate("random", 3, 3, 2, 5, 1)).program
    rng = np.random.default_rng(0)
    b, A = rng.standard_normal(program.dimension), rng.standard_normal((program.dimension, program.d))
    for form in program.forms:
        D = form.matrix(program.dimension).astype(float)
        assert form.value(b, A) == pytest.approx(b @ D @ A[:, form.column], abs=1e-12)


def test_expansion_puts_fixed_entries_in() -> None:
    program = reduce(generate("random", 3, 3, 2, 5, 1)).program
    rng = np.random.default_rng(1)
    values = {entry: F(int(v)) for entry, v in zip(program.free, rng.integers(-5, 6, len(program.free)), strict=True)}
    b, A = program.assemble(values, exact=True)
    for form in program.forms:
        parts = program.expand(form)
        total = parts.constant + sum(c * values[e] for e, c in parts.linear.items())
        total += sum(c * values[e] * values[f] for (e, f), c in parts.products.items())
        assert total == form.value(b, A)


def test_violation_counts_constraints_signs_and_fixed_entries() -> None:
    program = rectangle()
    b, A = program.assemble({Entry(0): F(2), Entry(0, 0): F(3)}, exact=True)
    assert program.violation(b, A) == 0
    assert program.value(b, A) == -6
    b[0] = F(5, 2)
    assert program.violation(b, A) == F(1, 2)
    b[0], b[1] = F(0), F(7, 4)
    assert program.violation(b, A) == F(9, 4)  # b2 a1 <= 3; the fixed entry is off by 3/4 only
    b[1], A[0, 0] = ONE, F(-3)
    assert program.violation(b, A) == 3


def test_scip_finds_the_corner() -> None:
    solution = solve(rectangle(), 10.0)
    assert solution.status == "optimal"
    assert solution.primal == pytest.approx(-6, abs=1e-5)
    assert solution.dual == pytest.approx(-6, abs=1e-5)
    assert solution.violation < 1e-5


def test_feasibility_and_the_lemma() -> None:
    program = unattained()
    reached = solve(program, 1e3)
    assert reached.status == "optimal"
    assert 0 < reached.primal <= 1.1e-6  # the infimum of the box, 1e-6; 0 is attained nowhere
    assert solve(program.feasibility(), 1e3).status != "optimal"
    attained = rectangle().feasibility()
    assert solve(attained, 10.0).status == "optimal"
    with pytest.raises(ValueError, match="with an objective"):
        attained.feasibility()


def test_contradiction_without_unknowns_is_infeasible() -> None:
    fixed = {Entry(0): ONE, Entry(0, 0): ONE}
    program = BilinearProgram(1, (Constraint("no", Form(0, ((0, 0, ONE),)), "=", F(2)),), None, fixed)
    assert solve(program, 1.0).status == "infeasible"


def test_limits_return_bounds() -> None:
    reduction = reduce(generate("inseparable", 5, 6, 3, 6, 1))
    nothing = solve(reduction.program, reduction.box, time_limit=0.0)
    assert (nothing.status, nothing.dual, nothing.primal) == ("limit", -np.inf, np.inf)
    some = solve(reduction.program, reduction.box, time_limit=0.5)
    assert some.status in ("limit", "optimal")
    assert some.dual <= some.primal + 1e-3
    early = solve(reduction.program, reduction.box, stop=Stop(1.0, 3.0))
    assert early.status == "enough"
    assert early.dual >= 1
    assert solve(reduction.program, reduction.box, memory=1e-3).status in ("limit", "optimal")


@pytest.mark.parametrize("seed", [2, 5])
def test_values_in_too_large_a_box_give_no_planes(seed: int) -> None:
    """With numbers of 1e9 allowed SCIP calls 5.33 and 3.999 optimal where the minima are 15.33 and 6.96."""
    reduction = reduce(generate("random", 4, 4, 2, 5, seed))
    assert separate(reduction.instance).status == "inseparable"
    boxed = solve(reduction.program, reduction.box, time_limit=20)
    found = alternate(reduction.program, 20, seed).values.min()
    assert boxed.status == "optimal"
    assert 4 <= boxed.primal + 1e-3 <= found + 2e-3
    loose = solve(reduction.program, 1e9, time_limit=20)
    assert loose.b is not None
    assert reduction.pull_back(loose.b) is None


def test_broken_linear_programs_leave_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scip, "run_scip", lambda _: "failed")
    solution = solve(rectangle(), 10.0)
    assert (solution.status, solution.dual) == ("failed", -np.inf)


def test_interrupt_keeps_the_bounds(capfd: pytest.CaptureFixture[str]) -> None:
    reduction = reduce(generate("inseparable", 6, 8, 4, 6, 0))
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(1.0, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    solution = solve(reduction.program, reduction.box, time_limit=30)
    timer.join()
    assert solution.status == "limit"
    assert solution.seconds < 10
    assert solution.dual <= solution.primal
    assert signal.getsignal(signal.SIGINT) is before
    assert capfd.readouterr() == ("", "")


def test_scip_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    reduction = reduce(generate("inseparable", 4, 5, 3, 6, 2))
    solve(reduction.program, reduction.box, time_limit=5)
    assert capfd.readouterr() == ("", "")


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    with pytest.raises(ValueError, match=r"pip install 'markov-icl\[global\]'"):
        solve(rectangle(), 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box": 0.0}, "positive box"),
        ({"box": np.inf}, "positive box"),
        ({"box": 1.0, "time_limit": -1.0}, "time limit >= 0"),
        ({"box": 1.0, "memory": 0.0}, "positive memory"),
    ],
)
def test_bad_limits_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(rectangle(), **options)


def test_malformed_programs_are_refused() -> None:
    with pytest.raises(ValueError, match="d >= 1"):
        BilinearProgram(0, ())
    with pytest.raises(ValueError, match="expected entries of b"):
        BilinearProgram(1, (), Form(1, ((0, 0, ONE),)))
    with pytest.raises(ValueError, match="no negative value"):
        BilinearProgram(1, (), None, {Entry(0): -ONE}, frozenset({Entry(0)}))


@pytest.mark.parametrize("d", [1, 2])
def test_nearest_recovery_by_scip_equals_the_local_search(d: int) -> None:
    for seed in range(2):
        X = np.random.default_rng(seed).standard_normal(d * (d + 1) * (d + 2) // 2)
        found, local = nearest_globally(X, time_limit=20), nearest(X, starts=16)
        assert found.status == "optimal"
        assert found.primal == pytest.approx(local.loss, abs=1e-5)
        assert found.dual <= local.loss + 1e-6
    limited = nearest_globally(np.random.default_rng(0).standard_normal(30), time_limit=0.0)
    assert (limited.status, limited.dual) == ("limit", 0.0)


def test_alternation_gives_feasible_points_and_often_fails() -> None:
    """All four instances are separable, so the minimum is 0; starts that end higher are the heuristic's failures."""
    reached = []
    for seed in (6, 30, 39, 42):
        instance = generate("random", 4, 5, 2, 5, seed)
        assert separate(instance).status == "separable"
        program = reduce(instance).program
        found = alternate(program, 10, seed)
        assert found.b is not None
        assert found.A is not None
        assert program.violation(found.b, found.A) < 1e-6
        assert program.value(found.b, found.A) == pytest.approx(found.values.min(), abs=1e-6)
        reached.append(found.reached(0.0))
    assert 0 < sum(reached) < 40


def test_alternation_wants_linear_constraints() -> None:
    with pytest.raises(ValueError, match="products of free entries nowhere else"):
        alternate(unattained())
    with pytest.raises(ValueError, match="starts >= 1"):
        alternate(rectangle(), 0)
