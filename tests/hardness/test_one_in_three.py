"""Monotone 1-in-3-SAT inside Problem C.10."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markov_icl.hardness.one_in_three import (
    Formula,
    assignment,
    encode,
    pull_back,
    push_forward,
    random_formula,
    satisfy,
)


@settings(max_examples=60)
@given(variables=st.integers(3, 7), clauses=st.integers(0, 6), seed=st.integers(0, 2**20))
def test_backtracking_equals_all_assignments(variables: int, clauses: int, seed: int) -> None:
    formula = random_formula(variables, min(clauses, variables * (variables - 1) * (variables - 2) // 6), seed)
    every = [truth for truth in product([False, True], repeat=variables) if formula.holds(truth)]
    found = assignment(formula)
    assert (found is None) == (not every)
    if found is not None:
        assert formula.holds(found)


@settings(max_examples=40)
@given(variables=st.integers(3, 7), seed=st.integers(0, 2**20))
def test_assignments_are_feasible_points_and_others_are_not(variables: int, seed: int) -> None:
    formula = random_formula(variables, 1 + seed % variables if variables > 3 else 1, seed)
    program = encode(formula)
    assert program.d == variables
    assert program.objective is None
    assert not program.fixed
    assert not program.nonnegative
    assert {form.column for form in program.forms} == {0}
    for truth in product([False, True], repeat=variables):
        b, A = push_forward(formula, truth)
        scaled = (F(3, 2) * b, A / F(3, 2))
        assert (program.violation(*scaled) == 0) == formula.holds(truth)
        assert (pull_back(formula, *scaled) is not None) == formula.holds(truth)


def test_whole_constraints_force_zero_or_one() -> None:
    program = encode(Formula(3, ((0, 1, 2),)))
    for x in (F(1, 2), F(-1), F(2)):
        b = np.array([F(1), x, F(1) - x, F(0)], dtype=object)
        assert program.violation(b, np.tile(b[:, None], (1, 3))) != 0


def test_scip_equals_backtracking() -> None:
    pytest.importorskip("pyscipopt")
    statuses = set()
    for seed in range(24):
        formula = random_formula(4 + seed % 3, 4 if seed % 3 == 0 else 6, seed)
        result = satisfy(formula, time_limit=60)
        assert result.status == ("unsatisfiable" if assignment(formula) is None else "satisfiable")
        assert result.truth is None or formula.holds(result.truth)
        statuses.add(result.status)
    assert statuses == {"satisfiable", "unsatisfiable"}
    assert satisfy(random_formula(12, 10, 0), time_limit=0.0).status in ("undecided", "satisfiable")


@pytest.mark.parametrize("clause", [(0, 1), (0, 1, 1), (0, 1, 9)])
def test_malformed_clauses_are_refused(clause: tuple) -> None:
    with pytest.raises(ValueError, match="three different variables below 5"):
        Formula(5, (clause,))
    with pytest.raises(ValueError, match="at most 1 clauses"):
        random_formula(3, 2)
