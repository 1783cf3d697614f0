"""p-values of sampled chains and kernels under the task's law, for samplers of any make.

A sampler passes if none is below its share of one false alarm in a million.
"""

import numpy as np
from scipy import stats

from markov_icl.tasks.kernels import FinitePrior, exact_stationary, stationary
from markov_icl.tasks.prompts import CorrelatedStart, IndependentStart

FALSE_ALARM = 1e-6 / 200  # that one test may raise: there are fewer than 200


def check_p_values(p_values):
    assert p_values
    assert min(p_values) > FALSE_ALARM / len(p_values), sorted(p_values)[:5]


def rows_before(states, symbols, order):
    """Row of the kernel that each transition follows, `[P, C, L - order]`, and the states that came, the same shape."""
    states = states.astype(np.int64)
    moves = states.shape[2] - order
    row = np.zeros((*states.shape[:2], moves), dtype=np.int64)
    for lag in range(order):
        row = row * symbols + states[:, :, lag : lag + moves]
    return row, states[:, :, order:]


def calibrated(probability, happened):
    """Chi-square p-value of events given their probabilities, in up to 12 groups of like probability."""
    probability, happened = probability.reshape(-1), happened.reshape(-1)
    assert not happened[probability == 0].any()
    assert happened[probability == 1].all()
    by = np.argsort(probability, kind="stable")
    p, x = probability[by], happened[by]
    variance = np.cumsum(p * (1 - p))
    groups = min(12, int(variance[-1] / 25))
    if groups == 0:
        return 1.0
    ends = np.searchsorted(variance, variance[-1] * np.arange(1, groups) / groups)
    excess = np.array([part.sum() for part in np.split(x - p, ends)])
    spread = np.array([part.sum() for part in np.split(p * (1 - p), ends)])
    return stats.chi2.sf((excess**2 / spread).sum(), groups)


def transition_p_values(task, states, kernels):
    """Given the kernels, the next state of every transition, state by state; and no lane and no time stands out."""
    row, after = rows_before(states, task.states, task.order)
    p = kernels[np.arange(len(kernels))[:, None, None], row]
    found = [calibrated(p[..., s], after == s) for s in range(task.states)]
    for s in range(task.states):
        variance = (p[..., s] * (1 - p[..., s])).sum(0)
        if variance.min() > 25:
            z = ((after == s) - p[..., s]).sum(0) / np.sqrt(variance)
            found += [stats.chi2.sf((z**2).sum(), z.size), stats.chi2.cdf((z**2).sum(), z.size)]
    return found


def start_p_values(task, states, kernels):
    first = np.zeros(states.shape[:2], dtype=np.int64)
    for t in range(task.order):
        first = first * task.states + states[:, :, t].astype(np.int64)
    match task.initial:
        case IndependentStart(pmf):
            law = np.broadcast_to(np.array(pmf, dtype=float), (*first.shape, task.rows))
        case CorrelatedStart(p, g):
            one = np.array(g, dtype=float)[first[:, -1]][:, None].repeat(first.shape[1], axis=1)
            one[:, -1] = float(p)
            law = np.stack([1 - one, one], axis=2)
        case _ if isinstance(task.prior, FinitePrior):
            table = np.array(task.prior.kernels, dtype=float)
            which = np.abs(kernels[:, None] - table).sum((2, 3)).argmin(1)
            laws = np.array([exact_stationary(k) for k in task.prior.kernels], dtype=float)
            law = np.broadcast_to(laws[which][:, None], (*first.shape, task.rows))
        case _:
            law = np.broadcast_to(stationary(kernels)[:, None], (*first.shape, task.rows))
    return [calibrated(law[..., r], first == r) for r in range(task.rows)]


def beta_uniform(value, rest, a, b, rng):
    """Uniform numbers if ``value = 1 - rest`` is Beta(a, b) rounded: a float stands for an interval."""
    half = 2.0**-54
    below = [stats.beta.cdf(np.maximum(value + h, 0), a, b) for h in (-half, half)]
    above = [1 - stats.beta.cdf(np.maximum(rest - h, 0), b, a) for h in (-half, half)]
    low, high = (np.where(value < 0.5, x, y) for x, y in zip(below, above, strict=True))
    return low + (high - low) * rng.random(len(value))


def prior_p_values(task, kernels):
    """Marginal Beta laws of all entries, and no correlation between rows; or the counts of finitely many kernels."""
    np.testing.assert_allclose(kernels.sum(2), 1, rtol=1e-12)
    if isinstance(task.prior, FinitePrior):
        table = np.array(task.prior.kernels, dtype=float)
        distance = np.abs(kernels[:, None] - table).sum((2, 3))
        assert distance.min(1).max() == 0
        weights = np.array(task.prior.weights, dtype=float)
        counts = np.bincount(distance.argmin(1), minlength=len(table))
        return [stats.chisquare(counts, weights * len(kernels)).pvalue] if len(table) > 1 else [1.0]
    found, scores, rng = [], [], np.random.default_rng(0)
    for r, alpha in enumerate(np.array(task.prior.alpha, dtype=float)):
        for s, a in enumerate(alpha):
            uniform = beta_uniform(
                kernels[:, r, s], np.delete(kernels[:, r], s, axis=1).sum(1), a, alpha.sum() - a, rng
            )
            found.append(stats.kstest(uniform, "uniform").pvalue)
            if s == 0:
                scores.append(uniform)
    for r in range(len(scores) - 1):
        found.append(stats.spearmanr(scores[r], scores[r + 1]).pvalue)
    return found


def residuals(task, states, kernels):
    """Standardized `1(state is the last one) - probability` of all transitions; zero where that is too predictable."""
    row, after = rows_before(states, task.states, task.order)
    p = kernels[np.arange(len(kernels))[:, None, None], row, task.states - 1]
    usual = (p > 0.05) & (p < 0.95)
    return np.where(usual, ((after == task.states - 1) - p) / np.sqrt(np.where(usual, p * (1 - p), 1)), 0)


def uncorrelated(left, right):
    """p-values of `sum left * right` along the prompts, one for each of the other places."""
    z = (left * right).sum(0) / np.sqrt((left**2 * right**2).sum(0))
    return [*(2 * stats.norm.sf(np.abs(z))).reshape(-1), stats.chi2.sf((z**2).sum(), z.size)]
