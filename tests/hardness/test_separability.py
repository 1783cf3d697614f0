"""The exact oracle: planes and obstructions are proofs, generators plant what they say."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from markov_icl.choices import KINDS
from markov_icl.hardness.instances import generate
from markov_icl.hardness.separability import Instance, Obstruction, Verdict, is_proof, planes_along, separate


def by_definition(instance: Instance) -> bool:
    """Every assignment of outer points to planes, a linear program of Bennett & Mangasarian's for each plane."""
    inner, outer = np.array(instance.inner, dtype=float), np.array(instance.outer, dtype=float)

    def cut_off(rows: np.ndarray) -> bool:
        ones = np.ones((len(inner) + len(rows), 1))
        ones[len(inner) :] *= -1
        table = np.hstack([np.vstack([-inner, rows]), ones])
        n = table.shape[1]
        return linprog(np.zeros(n), A_ub=table, b_ub=-np.ones(len(table)), bounds=[(None, None)] * n).status == 0

    masks = product([False, True], repeat=len(outer))
    return any(cut_off(outer[np.array(m)]) and cut_off(outer[~np.array(m)]) for m in masks)


@settings(max_examples=30)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    inner=st.integers(3, 5),
    outer=st.integers(3, 5),
    dimension=st.integers(1, 3),
    seed=st.integers(0, 2**20),
)
def test_verdict_is_proved_and_equals_the_definition(
    kind: str, inner: int, outer: int, dimension: int, seed: int
) -> None:
    instance = generate(kind, inner, outer, dimension, 5, seed)
    verdict = separate(instance)
    assert verdict.status != "undecided"
    assert is_proof(instance, verdict)
    assert (verdict.status == "separable") == by_definition(instance)
    if kind in ("separable", "inseparable"):
        assert verdict.status == kind


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_generated_points_lie_on_the_grid(kind: str) -> None:
    for seed in range(20):
        instance = generate(kind, 4, 5, 2, 4, seed)
        assert (len(instance.inner), len(instance.outer), instance.dimension) == (4, 5, 2)
        assert all(v.denominator == 1 and abs(v) <= 4 for p in (*instance.inner, *instance.outer) for v in p)
        assert generate(kind, 4, 5, 2, 4, seed) == instance


def test_degenerate_instances_come_in_both_sorts() -> None:
    statuses = {separate(generate("degenerate", 3, 4, 2, 5, seed)).status for seed in range(60)}
    assert statuses == {"separable", "inseparable"}


def test_touching_hulls_are_inseparable_in_fractions() -> None:
    third = Instance(((0, 0), (1, F(1, 3))), ((F(1, 2), F(1, 6)),))
    verdict = separate(third)
    assert verdict.status == "inseparable"
    assert verdict.obstructions == (Obstruction({0: F(1)}, {0: F(1, 2), 1: F(1, 2)}),)


def test_a_hair_apart_is_separable_or_undecided() -> None:
    apart = Instance(((0, 0), (1, F(1, 3))), ((F(1, 2), F(1, 6) + F(1, 10**12)),))
    verdict = separate(apart)
    assert verdict.status in ("separable", "undecided")
    far = Instance(((0, 0), (1, F(1, 3))), ((F(1, 2), F(1, 6) + F(1, 10**5)),))
    assert separate(far).status == "separable"


def test_more_than_two_planes_would_be_needed() -> None:
    triangle = Instance(((0, 0),), ((3, 0), (-2, 3), (-2, -3)))
    assert separate(triangle).status == "separable"
    blocked = Instance(((-2, 0), (F(1, 2), F(3, 2)), (F(1, 2), F(-3, 2))), triangle.outer)
    verdict = separate(blocked)
    assert verdict.status == "inseparable"
    assert sorted(sorted(one.outer) for one in verdict.obstructions) == [[0, 1], [0, 2], [1, 2]]


def test_false_proofs_are_refused() -> None:
    instance = generate("inseparable", 4, 4, 2, 5, 0)
    verdict = separate(instance)
    assert not is_proof(instance, Verdict("inseparable", None, verdict.obstructions[:-1], 0, 0.0, ""))
    wrong = Obstruction({0: F(1)}, {0: F(1)})
    assert not is_proof(instance, Verdict("inseparable", None, (*verdict.obstructions, wrong), 0, 0.0, ""))
    assert not is_proof(instance, Verdict("separable", None, (), 0, 0.0, ""))
    assert planes_along(instance, ((F(1), F(0)), (F(0), F(1))), ((0, 1), (2, 3))) is None


def test_time_limit_gives_no_verdict() -> None:
    verdict = separate(generate("random", 5, 6, 2, 5, 0), time_limit=0.0)
    assert (verdict.status, verdict.reason) == ("undecided", "time limit reached")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (((), ((0,),)), "at least one inner and one outer"),
        ((((0, 0),), ((0,),)), "all of one dimension"),
        ((((0,),), (("x",),)), "each coordinate of outer"),
        ((((0,),), ((float("nan"),),)), "each coordinate of outer"),
    ],
)
def test_malformed_points_are_refused(points: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Instance(*points)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "odd"}, "expected kind separable"),
        ({"kind": "inseparable", "outer": 2}, "at least 3"),
        ({"kind": "random", "spread": 1}, "spread >= 2"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(**options)
    with pytest.raises(ValueError, match="at most 20 outer points"):
        separate(Instance(((0,),), tuple((i,) for i in range(1, 22))))
