"""Real sequences to a task: an empirical prior over kernels, and held-out prompts to test on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from markov_icl.tasks.kernels import DirichletPrior, as_fraction
from markov_icl.tasks.prompts import IndependentStart, MarkovTask
from markov_icl.tasks.sampling import Prompts, columns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SequenceData", "dirichlet_multinomial_mle", "from_sequences"]

_MAX_STATES = 50
_MAX_CONCENTRATION = 1e4
_MIN_ALPHA = 1e-3


@dataclass(frozen=True, eq=False)
class SequenceData:
    """A task fitted to real sequences.

    Attributes:
        task: Markov task with the empirical Dirichlet prior and initial law of the training groups.
        held_out: prompts from groups that the fit never saw; every chain is the query once.
        training_groups: names, in order.
        held_out_groups: names, in order.
        group_sizes: number of prompts from each held-out group; they stand together, in this order.
        training_mean: mean label of the training chains.
        notes: what the fit had to decide for itself, for instance a row that never occurred.
    """

    task: MarkovTask
    held_out: Prompts
    training_groups: tuple[str, ...]
    held_out_groups: tuple[str, ...]
    group_sizes: tuple[int, ...]
    training_mean: float
    notes: tuple[str, ...]


def from_sequences(
    table: object,
    group: str,
    time: str,
    state: str,
    length: int,
    order: int = 1,
    context: int | None = None,
    bias: bool = False,
    held_out: float = 0.25,
    seed: int = 0,
) -> SequenceData:
    """Turn sequences that share a kernel within a group into a Markov task and held-out prompts.

    Each group's states, sorted by ``time``, are cut into non-overlapping chains of ``length``. The prior
    is the maximum-likelihood Dirichlet of the groups' transition counts, row by row.

    Args:
        table: a polars DataFrame, or the path of a CSV or Parquet file.
        group: name of the column whose equal values share a kernel.
        time: name of the column that orders a group's states.
        state: name of the numeric state column.
        length: states in a chain, above ``order``.
        order: memory of the chain.
        context: chains beside the query in a prompt; None takes as many as the smallest group allows.
        bias: append a constant to every column.
        held_out: share of the groups kept for testing, in (0, 1).
        seed: of the split and of the order of context chains.

    Raises:
        ValueError: for a missing column, a state that is not a number, a group too short, and the like.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"expected a held-out share between 0 and 1; got {held_out}")
    MarkovTask(2, order, length, 1 if context is None else context)
    groups, values = _grouped_states(table, group, time, state)
    chains = {name: _chains(name, states, length) for name, states in groups.items()}
    n = _context(chains, context)
    rng = np.random.default_rng(seed)
    train, test = _split(list(groups), held_out, rng)
    alpha, notes = _fit_prior([groups[g] for g in train], len(values), order)
    training = np.concatenate([chains[g] for g in train])
    initial, more = _initial_law(training, len(values), order)
    task = MarkovTask(len(values), order, length, n, DirichletPrior(alpha), initial, values, bias)
    prompts = _prompts(task, [chains[g] for g in test], rng)
    return SequenceData(
        task,
        prompts,
        tuple(train),
        tuple(test),
        tuple(len(chains[g]) for g in test),
        float(np.mean([float(values[s]) for s in training[:, -1]])),
        (*notes, *more),
    )


def _grouped_states(
    table: object, group: str, time: str, state: str
) -> tuple[dict[str, NDArray[np.int64]], tuple[Fraction, ...]]:
    """Return state indices by group in time order, and the numeric value of each state."""
    import polars as pl

    frame = table if isinstance(table, pl.DataFrame) else _read(table)
    for name in (group, time, state):
        if name not in frame.columns:
            raise ValueError(f"expected a column {name!r}; got {', '.join(frame.columns)[:120]}")
    if frame.height == 0:
        raise ValueError("expected a table with rows; got an empty one")
    _require_states(frame[state], state)
    for name in (group, time):
        if frame[name].null_count():
            raise ValueError(f"expected a value in every row of column {name!r}; got an empty one")
    if frame.select(group, time).is_duplicated().any():
        raise ValueError(f"expected different {time!r} within each {group!r}; got the same one twice")
    numbers = np.asarray(frame[state].cast(pl.Float64).to_numpy())
    distinct, index = np.unique(numbers, return_inverse=True)
    if not 2 <= len(distinct) <= _MAX_STATES:
        raise ValueError(f"expected 2 to {_MAX_STATES} distinct states in {state!r}; got {len(distinct)}")
    ordered = frame.select(group, time).with_columns(index=pl.Series(index)).sort(group, time)
    grouped = {
        str(key[0]): part["index"].to_numpy().astype(np.int64)
        for key, part in ordered.group_by(group, maintain_order=True)
    }
    return grouped, tuple(as_fraction(float(v)) for v in distinct)


def _read(table: object) -> pl.DataFrame:
    import polars as pl

    path = Path(str(table))
    if not path.is_file():
        raise ValueError(f"expected a CSV or Parquet file; got {path}, which is not a file")
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"expected a file ending in .csv or .parquet; got {path.name}")
    try:
        return pl.read_csv(path) if path.suffix.lower() == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"expected a readable table in {path}; got {reason}") from None


def _require_states(column: pl.Series, name: str) -> None:
    if column.null_count():
        raise ValueError(f"expected a state in every row of {name!r}; got {column.null_count()} empty ones")
    if not (column.dtype.is_numeric() or str(column.dtype) == "Boolean"):
        raise ValueError(f"expected numeric states in {name!r}; got {str(column[0])!r:.40} ({column.dtype})")
    if column.dtype.is_float() and not column.is_finite().all():
        raise ValueError(f"expected finite states in {name!r}; got nan or infinity")


def _chains(name: str, states: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    if len(states) < length:
        raise ValueError(f"expected at least {length} states in each group; got {len(states)} in {name!r}")
    count = len(states) // length
    return states[: count * length].reshape(count, length)


def _context(chains: dict[str, NDArray[np.int64]], context: int | None) -> int:
    name = min(chains, key=lambda g: len(chains[g]))
    most = len(chains[name]) - 1
    if most < 1 or (context is not None and context > most):
        wanted = 2 if context is None else context + 1
        raise ValueError(f"expected at least {wanted} chains in each group; got {most + 1} in {name!r}")
    return most if context is None else context


def _split(names: list[str], share: float, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    if len(names) < 2:
        raise ValueError(f"expected at least 2 groups, one to fit and one to test; got {len(names)}")
    count = min(max(1, round(share * len(names))), len(names) - 1)
    test = set(rng.permutation(len(names))[:count].tolist())
    return [g for i, g in enumerate(names) if i not in test], [g for i, g in enumerate(names) if i in test]


def _fit_prior(
    sequences: list[NDArray[np.int64]], states: int, order: int
) -> tuple[tuple[tuple[Fraction, ...], ...], list[str]]:
    """Fit ``alpha`` ``[R, S]``, rounded to six digits."""
    counts = np.zeros((len(sequences), states**order, states))
    for g, sequence in enumerate(sequences):
        row = np.zeros(max(len(sequence) - order, 0), dtype=np.int64)
        for lag in range(order):
            row = row * states + sequence[lag : len(sequence) - order + lag]
        np.add.at(counts[g], (row, sequence[order:]), 1)
    alpha, notes = [], []
    for r in range(states**order):
        fitted, note = dirichlet_multinomial_mle(counts[:, r])
        alpha.append(tuple(as_fraction(float(f"{a:.6g}")) for a in fitted))
        if note:
            notes.append(f"row {r + 1}: {note}")
    return tuple(alpha), notes


def dirichlet_multinomial_mle(
    counts: Float[np.ndarray, "groups S"], tolerance: float = 1e-9, iterations: int = 20_000
) -> tuple[Float[np.ndarray, "S"], str]:
    """Maximize the Dirichlet-multinomial likelihood of groups' counts; also say what was out of reach.

    ``alpha_s <- alpha_s sum_g (psi(n_gs + alpha_s) - psi(alpha_s)) / sum_g (psi(n_g + alpha_.) - psi(alpha_.))``.
    Source: Minka (2000), Estimating a Dirichlet distribution, Eq. 55.
    """
    from scipy.special import digamma

    counts = counts[counts.sum(1) > 0]
    states = counts.shape[1]
    if len(counts) == 0:
        return np.ones(states), "never occurs, so its prior is uniform"
    share, total = counts.sum(0) / counts.sum(), counts.sum(1)
    seen = share > 0
    excess = (counts * (counts - 1))[:, seen] @ (1 / share[seen]) - total * (total - 1)
    if excess.sum() <= 0 and seen.sum() > 1:  # the likelihood still rises as the concentration goes to infinity
        capped = np.maximum(_MAX_CONCENTRATION * share, _MIN_ALPHA)
        return capped, "groups differ no more than chance, so its concentration is capped"
    alpha = np.maximum(counts.sum(0) / counts.sum() * states, _MIN_ALPHA)
    for _ in range(iterations):
        top = (digamma(counts + alpha) - digamma(alpha)).sum(0)
        bottom = (digamma(counts.sum(1) + alpha.sum()) - digamma(alpha.sum())).sum()
        updated = np.maximum(alpha * top / bottom, _MIN_ALPHA)
        if updated.sum() > _MAX_CONCENTRATION:
            return updated, "groups differ no more than chance, so its concentration is capped"
        if np.abs(updated - alpha).max() <= tolerance * alpha.max():
            break
        alpha = updated
    floored = alpha <= _MIN_ALPHA
    note = f"next states {np.flatnonzero(floored) + 1} never follow it" if floored.any() else ""
    return alpha, note


def _initial_law(chains: Int[np.ndarray, "chains L"], states: int, order: int) -> tuple[IndependentStart, list[str]]:
    row = np.zeros(len(chains), dtype=np.int64)
    for lag in range(order):
        row = row * states + chains[:, lag]
    counts = np.bincount(row, minlength=states**order)
    missing = int((counts == 0).sum())
    notes = [f"{missing} first states never occur"] if missing else []
    return IndependentStart(tuple(Fraction(int(c), len(chains)) for c in counts)), notes


def _prompts(task: MarkovTask, groups: list[NDArray[np.int64]], rng: np.random.Generator) -> Prompts:
    contexts, queries = [], []
    for chains in groups:
        for q in range(len(chains)):
            others = np.delete(np.arange(len(chains)), q)
            contexts.append(chains[np.sort(rng.permutation(others)[: task.context])])
            queries.append(chains[q])
    smallest = np.min_scalar_type(task.states - 1)
    context_states, query_states = np.stack(contexts).astype(smallest), np.stack(queries).astype(smallest)
    z, query = columns(task, context_states), columns(task, query_states)
    return Prompts(z, query[:, :-1], query[:, -1], context_states, query_states)
