from fractions import Fraction as F
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln

from markov_icl.tasks.data import dirichlet_multinomial_mle, from_sequences

WEATHER = Path(__file__).parents[2] / "examples" / "seattle_weather.csv"
COLUMNS = {"group": "g", "time": "t", "state": "s"}


def table(rows, **types):
    return pl.DataFrame(rows, schema=["g", "t", "s"], orient="row", **types)


def random_table(groups=40, length=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for g in range(groups):
        p01, p11 = rng.beta(2, 6), rng.beta(5, 2)
        s = 0
        for t in range(length):
            s = int(rng.random() < (p11 if s else p01))
            rows.append((f"g{g:02}", t, s))
    return table(rows)


def test_mle_maximizes_the_likelihood():
    rng = np.random.default_rng(0)
    counts = np.array([rng.multinomial(30, rng.dirichlet([2.0, 0.7, 4.0])) for _ in range(200)]).astype(float)
    fitted, note = dirichlet_multinomial_mle(counts)

    def negative(log_alpha):
        a = np.exp(log_alpha)
        pairs = gammaln(counts + a) - gammaln(a)
        return -(pairs.sum() + (gammaln(a.sum()) - gammaln(counts.sum(1) + a.sum())).sum())

    best = minimize(negative, np.zeros(3), method="BFGS", options={"gtol": 1e-4})
    assert note == ""
    assert negative(np.log(fitted)) <= best.fun + 1e-6
    np.testing.assert_allclose(fitted, np.exp(best.x), rtol=1e-3)
    np.testing.assert_allclose(fitted, [2.0, 0.7, 4.0], rtol=0.35)


def test_mle_says_what_was_out_of_reach():
    assert "never occurs" in dirichlet_multinomial_mle(np.zeros((3, 2)))[1]
    assert "never follow" in dirichlet_multinomial_mle(np.array([[5.0, 0.0], [7.0, 0.0]]))[1]
    assert "capped" in dirichlet_multinomial_mle(np.array([[5.0, 5.0]] * 10))[1]


def test_weather():
    data = from_sequences(WEATHER, "month", "date", "wet", 5)
    assert len(data.training_groups) == 36
    assert len(data.held_out_groups) == 12
    assert not set(data.training_groups) & set(data.held_out_groups)
    assert data.task.context == 4
    assert data.task.values == (0, 1)
    assert sum(data.group_sizes) == len(data.held_out.target)
    wet_after_dry = data.task.prior.alpha[0][1] / sum(data.task.prior.alpha[0])
    wet_after_wet = data.task.prior.alpha[1][1] / sum(data.task.prior.alpha[1])
    assert wet_after_dry < F(1, 2) < wet_after_wet


def test_chains_do_not_overlap_and_order_of_rows_does_not_matter(tmp_path):
    frame = random_table()
    first = from_sequences(frame, **COLUMNS, length=5)
    path = tmp_path / "shuffled.parquet"
    frame.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(path)
    again = from_sequences(path, **COLUMNS, length=5)
    assert first.task == again.task
    np.testing.assert_array_equal(first.held_out.context, again.held_out.context)
    assert first.task.context == 11
    group = np.array([r[2] for r in frame.filter(pl.col("g") == first.held_out_groups[0]).sort("t").rows()])
    np.testing.assert_array_equal(first.held_out.query_states[0], group[:5])
    np.testing.assert_array_equal(first.held_out.query_states[3], group[15:20])


def test_values_order_and_context():
    frame = random_table().with_columns(s=pl.col("s") * 1.5 - 1)
    data = from_sequences(frame, **COLUMNS, length=4, order=2, context=3, bias=True)
    assert data.task.values == (-1, F(1, 2))
    assert (data.task.order, data.task.context, data.task.bias) == (2, 3, True)
    assert data.held_out.context.shape[1:] == (3, 5)


@pytest.mark.parametrize(
    ("frame", "fields", "message"),
    [
        (table([("a", 0, 0)]), {"state": "nope"}, "column 'nope'"),
        (table([("a", i, str(i % 2)) for i in range(9)]), {}, "numeric states"),
        (table([("a", i, float("nan")) for i in range(9)]), {}, "finite states"),
        (table([("a", i, None if i == 3 else i % 2) for i in range(9)]), {}, "a state in every row"),
        (table([(None if i == 3 else "a", i, i % 2) for i in range(9)]), {}, "a value in every row"),
        (table([("a", 0, 0), ("a", 0, 1)]), {}, "twice"),
        (table([("a", i, 0) for i in range(9)]), {}, "distinct states"),
        (table([("a", i, i) for i in range(99)]), {}, "distinct states"),
        (table([("a", i, i % 2) for i in range(9)] + [("b", 0, 1)]), {}, "at least 3 states in each group"),
        (table([(g, i, i % 2) for g in "ab" for i in range(5)]), {}, "at least 2 chains"),
        (table([(g, i, i % 2) for g in "ab" for i in range(9)]), {"context": 7}, "at least 8 chains"),
        (table([("a", i, i % 2) for i in range(9)]), {}, "at least 2 groups"),
        (random_table(), {"length": 1}, "length"),
        (random_table(), {"held_out": 1.0}, "held-out share"),
        (pl.DataFrame({"g": [], "t": [], "s": []}), {}, "table with rows"),
        ("missing.csv", {}, "not a file"),
        (str(Path(__file__)), {}, "ending in .csv"),
    ],
)
def test_bad_tables_are_explained(frame, fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_sequences(frame, **({**COLUMNS, "length": 3} | fields))
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_explained(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="readable table"):
        from_sequences(path, **COLUMNS, length=3)
