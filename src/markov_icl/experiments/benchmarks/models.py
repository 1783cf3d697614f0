"""Timings of the sampled side: samplers, training steps, population training."""

from __future__ import annotations

import statistics
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from markov_icl.experiments.benchmarks.timing import Benchmark, rates, turns
from markov_icl.moments.system import Moments
from markov_icl.tasks.prompts import MarkovTask

__all__ = ["population", "sampling", "train_step"]

_STEPS = 50


def sampling(repeat: int = 5, threads: int | None = None) -> list[Benchmark]:
    """Chains beside a plain NumPy sampler, Gram matrices beside whole prompts: 84,000 chains of 11 states."""
    from markov_icl.tasks.sampling import sample_chains, sample_grams, sample_prompts

    rows, rng = [], np.random.default_rng(0)
    cases = {
        "binary chains": MarkovTask(length=11, context=20),
        "three states": MarkovTask(states=3, length=11, context=20),
        "order 2": MarkovTask(order=2, length=11, context=20),
    }
    for name, task in cases.items():
        states = 4000 * (task.context + 1) * task.length
        seconds = turns(
            (
                partial(sample_chains, task, 4000, 0, threads=threads),
                partial(_numpy_chains, task, 4000, rng),
            ),
            repeat,
        )
        rows.append(rates(f"{name}, 84,000 of length 11", states, "states/s", *seconds))
    task = MarkovTask(length=6, context=20)
    seconds = turns(
        (lambda: sample_grams(task, 4000, 0, threads=threads), lambda: sample_prompts(task, 4000, 0).gram), repeat
    )
    rows.append(rates("Gram matrices beside whole prompts, length 6, context 20", 4000, "prompts/s", *seconds))
    return rows


def _numpy_chains(task: MarkovTask, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return chains ``[P, n + 1, L]`` as anybody would sample them: one vectorized inversion a time step."""
    from markov_icl.tasks.kernels import sample_kernels

    limits = np.cumsum(sample_kernels(task.prior, count, rng), axis=2)[:, :, :-1]
    chains = np.empty((count, task.context + 1, task.length), dtype=np.int64)
    chains[:, :, : task.order] = rng.integers(task.states, size=(count, task.context + 1, task.order))
    prompt = np.arange(count)[:, None]
    for t in range(task.order, task.length):
        row = np.zeros(chains.shape[:2], dtype=np.int64)
        for lag in range(task.order, 0, -1):
            row = row * task.states + chains[:, :, t - lag]
        chains[:, :, t] = (rng.random((*row.shape, 1)) >= limits[prompt, row]).sum(2)
    return chains


def train_step(repeat: int = 5, threads: int | None = 1) -> list[Benchmark]:
    """A training step (sample, forward, backward, AdamW) beside token space: d = 5, n = 20, 4,000 prompts, float32."""
    import torch

    task, before = MarkovTask(length=6, context=20), torch.get_num_threads()
    torch.set_num_threads(threads or before)
    rows = []
    try:
        for depth in (1, 3):
            fast = partial(_train, task, depth)
            literal = _TokenTraining(task, depth)
            seconds = turns((fast, partial(literal.steps, 5)), repeat)
            name = f"dense, {depth} layer{'s' if depth > 1 else ''}, {torch.get_num_threads()} thread(s)"
            rows.append(rates(name, 4000, "prompts/s", seconds[0] / _STEPS, seconds[1] / 5))
    finally:
        torch.set_num_threads(before)
    return rows


def _train(task: MarkovTask, depth: int) -> None:
    from markov_icl.models.lsa import LinearSelfAttention
    from markov_icl.models.training import train

    train(LinearSelfAttention(6, depth), task, "adamw", _STEPS, 4000, device="cpu", rate=1e-3, held_out=2)


class _TokenTraining:
    """The same steps as anybody would write them: whole prompts from NumPy, layers in token space."""

    def __init__(self, task: MarkovTask, depth: int) -> None:
        import torch

        from markov_icl.models.lsa import LinearSelfAttention

        self.task, self.model = task, LinearSelfAttention(task.dimension, depth)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.rng = np.random.default_rng(0)

    def steps(self, count: int) -> None:
        import torch

        from markov_icl.tasks.sampling import columns

        for _ in range(count):
            z = columns(self.task, _numpy_chains(self.task, 4000, self.rng)).astype(np.float32)
            target = torch.from_numpy(z[:, -1, -1].copy())
            z[:, -1, -1] = 0
            loss = ((self.model(torch.from_numpy(z).transpose(1, 2)) - target) ** 2).mean()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()


def population(repeat: int = 5, threads: int | None = None) -> list[Benchmark]:
    """Training on the exact population loss at d = 5, beside four starts of torch's L-BFGS with autograd."""
    from threadpoolctl import threadpool_limits

    from markov_icl.models.population import train_population
    from markov_icl.moments.compute import compute_moments
    from markov_icl.recovery.search.fit import best

    rows = []
    with threadpool_limits(threads):
        for context in (20, 100):
            task = MarkovTask(length=6, context=context)
            moments = compute_moments(task)
            floor = best(moments, starts=128).loss
            results = [train_population(task) for _ in range(repeat + 1)]
            fast = statistics.median(result.seconds for result in results[1:])
            began = time.perf_counter()  # the literal arm takes many seconds: once is enough
            literal_loss = _autograd(moments)
            literal = time.perf_counter() - began
            note = f"above the best local loss: {results[0].loss - floor:.1e}, literally {literal_loss - floor:.1e}"
            rows.append(Benchmark(f"d = 5, n = {context}", fast, literal, literal / fast, "seconds", note))
    return rows


def _autograd(moments: Moments, starts: int = 4) -> float:
    rng = np.random.default_rng(0)
    return min(_torch_lbfgs(moments, rng) for _ in range(starts))


def _torch_lbfgs(moments: Moments, rng: np.random.Generator) -> float:
    """Return where torch.optim.LBFGS ends from one random start, through the formula of ``phi``."""
    import torch

    from markov_icl.features import vech_indices

    H, h = torch.from_numpy(moments.H), torch.from_numpy(moments.h)
    rows, columns = (torch.from_numpy(i) for i in vech_indices(moments.dimension))
    weight = torch.where(rows == columns, 0.5, 1.0).double()[:, None]
    b = torch.tensor(0.3 * rng.standard_normal(moments.dimension), requires_grad=True)
    A = torch.tensor(0.3 * rng.standard_normal((moments.dimension, moments.blocks)), requires_grad=True)
    limits = {"max_iter": 2000, "history_size": 30, "tolerance_grad": 1e-11, "tolerance_change": 0.0}
    optimizer = torch.optim.LBFGS([b, A], line_search_fn="strong_wolfe", **limits)  # type: ignore[arg-type]

    def loss() -> torch.Tensor:
        X = (weight * (b[rows, None] * A[columns] + b[columns, None] * A[rows])).T.reshape(-1)
        return moments.y2 - 2 * h @ X + X @ (H @ X)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(loss().detach())
