"""Timings of the exact side: moments, minimizers, recovery, certificates, start-up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from markov_icl.experiments.benchmarks.timing import Benchmark, compare, seconds_of
from markov_icl.features import phi, vech_indices
from markov_icl.landscape.minimizer import minimizer as solve
from markov_icl.landscape.operator.fourth import TransferFourth
from markov_icl.landscape.operator.operator import chain_operator
from markov_icl.moments.assembly import start_laws
from markov_icl.moments.compute import compute_moments, rational_moments
from markov_icl.moments.conditional import chain_moments, tuple_places
from markov_icl.moments.enumeration import enumerate_moments
from markov_icl.moments.quadrature import kernel_rule, nodes_per_variable
from markov_icl.recovery.certificate.lift import lift
from markov_icl.recovery.factor import recover
from markov_icl.recovery.solver.certify import certify as prove
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.threads import one_blas_thread

__all__ = ["certify", "long_chains", "minimizer", "rational", "recovery", "startup"]


def _task(length: int, context: int = 100) -> MarkovTask:
    return MarkovTask(length=length, context=context)


def minimizer(repeat: int = 3) -> list[Benchmark]:
    """Moments beside the formula node by node; the dense minimizer."""
    rows = []
    for length in (5, 7, 11):
        task = _task(length)
        difference = float(np.abs(compute_moments(task).H - _literal_moments(task)).max())
        case, note = f"moments, length {length}", f"largest difference {difference:.1e}"
        rows.append(
            compare(case, partial(compute_moments, task), partial(_literal_moments, task), repeat, note, length)
        )
    for length in (11, 16, 21):
        rows.append(compare(f"dense minimizer, length {length}", partial(solve, _task(length), "dense"), None, repeat))
        rows[-1] = replace(rows[-1], length=length)
    return rows


def _literal_moments(task: MarkovTask) -> NDArray[np.float64]:
    """Return H node by node, each factor dense, as the formula says."""
    rule = kernel_rule(task.prior, nodes_per_variable(task))
    kernels, weights = rule.chunk(0, rule.size)
    values, times = np.array(task.values, dtype=float), np.array(task.times)
    rows, columns = vech_indices(task.dimension)
    left, right = np.meshgrid(np.arange(len(rows)), np.arange(len(rows)), indexing="ij")
    quad = np.stack([times[rows[left]], times[columns[left]], times[rows[right]], times[columns[right]]], axis=-1)
    place = tuple_places(quad, task.length)
    pair = tuple_places(np.stack([0 * rows, 0 * rows, times[rows], times[columns]], axis=-1), task.length)
    J, n = task.blocks, task.context
    H = np.zeros((J * len(rows), J * len(rows)))
    for _, _, law in start_laws(task, kernels, 0, exact=False):
        for k in range(rule.size):
            table = chain_moments(kernels[k : k + 1], law, values, task.length, 4)[:, 0]
            mu = table[pair]
            gram = np.zeros((task.dimension, task.dimension))
            gram[rows, columns] = gram[columns, rows] = mu
            H += weights[k] * np.kron(gram[:J, :J], table[place] / n + (1 - 1 / n) * np.outer(mu, mu))
    return H


def rational(repeat: int = 3) -> list[Benchmark]:
    """Moments in fractions: exact quadrature beside the sum over every prompt."""
    return [
        compare(
            f"exact moments, length {length}, context {context}",
            partial(rational_moments, _task(length, context)),
            partial(enumerate_moments, _task(length, context)),
            repeat,
        )
        for length, context in ((2, 10), (3, 3), (4, 1))
    ]


def recovery(repeat: int = 3) -> list[Benchmark]:
    """Recovery of planted parameters from floats."""
    rng, rows = np.random.default_rng(0), []
    for d in (5, 10, 20, 40, 60):
        X = phi(rng.normal(size=d + 1), rng.normal(size=(d + 1, d)))
        rows.append(compare(f"recover floats, d = {d}", partial(recover, X), None, repeat, length=d + 1))
    return rows


def _generic_bound(task: MarkovTask) -> float:
    """Return the first level as anybody would write it: cvxpy with Clarabel, the tied blocks as equalities."""
    import cvxpy as cp

    lifted = lift(compute_moments(task))
    D, N = lifted.dimension, lifted.size
    m = N // D
    gamma, block = cp.Variable(), cp.Variable((N + 1, N + 1), PSD=True)
    M = block[1:, 1:]
    tied = [
        M[i * m : (i + 1) * m, k * m : (k + 1) * m] + M[k * m : (k + 1) * m, i * m : (i + 1) * m]
        == lifted.Q[i * m : (i + 1) * m, k * m : (k + 1) * m] + lifted.Q[k * m : (k + 1) * m, i * m : (i + 1) * m]
        for i in range(D)
        for k in range(i, D)
    ]
    corner = [block[0, 0] == lifted.y2 - gamma, block[0, 1:] == -lifted.q]
    return float(cp.Problem(cp.Maximize(gamma), [*tied, *corner]).solve(solver=cp.CLARABEL))  # type: ignore[no-untyped-call]


def certify(repeat: int = 3) -> list[Benchmark]:
    """Certificates beside generic modelling (cvxpy and Clarabel), which takes minutes at d = 4: once is enough."""
    rows = []
    for d in (3, 4):
        generic: list[float] = []
        literal = seconds_of(lambda d=d, kept=generic: kept.append(_generic_bound(_task(d + 1))), 1)  # type: ignore[misc]
        proof = prove(_task(d + 1))
        fast = seconds_of(partial(prove, _task(d + 1)), repeat)
        note = f"proved {proof.lower:.9f} .. {proof.upper:.9f}; cvxpy says {generic[0]:.9f}, unverified"
        case = f"certify, d = {d}, beside cvxpy + Clarabel"
        rows.append(Benchmark(case, fast, literal, literal / fast, "seconds", note, d + 1))
    for d in (5, 8, 10):
        case = f"certify, d = {d}"
        rows.append(compare(case, partial(prove, _task(d + 1)), None, 1 if d == 10 else repeat, length=d + 1))
    return rows


def long_chains(repeat: int = 3) -> list[Benchmark]:
    """The operator beside Cholesky, scans beside transfer matrices, and the growth with the length.

    Both arms have one BLAS thread: several fight each other on a busy machine.
    """
    solve(_task(17), "operator")  # compiles, or reads what was compiled
    rows = []
    with one_blas_thread():
        for length in (11, 16, 21):
            fast, slow = (partial(solve, _task(length), method) for method in ("operator", "dense"))
            difference = abs(fast().loss - slow().loss)
            case = f"minimizer, length {length}, beside Cholesky"
            turns = repeat if length < 20 else 1
            rows.append(compare(case, fast, slow, turns, f"losses differ by {difference:.0e}", length))
    operator = chain_operator(_task(21), threads=1)
    slow_operator = replace(operator, fourth=TransferFourth.of(operator.average, _task(21)))
    case = "product with H, length 21, scans beside transfer matrices, one thread"
    rows.append(compare(case, partial(operator.apply, operator.h), partial(slow_operator.apply, operator.h), repeat))
    grown = []
    for length in (33, 49, 65):
        form = solve(_task(length))
        note = f"f~* = {form.loss:.12f}, residual {form.residual:.0e}"
        grown.append(compare(f"minimizer, length {length}", partial(solve, _task(length)), None, repeat, note, length))
    d = np.log([row.length - 1 for row in grown if row.length])
    exponent = float(np.polyfit(d, np.log([row.fast for row in grown]), 1)[0])
    grown[-1] = replace(grown[-1], note=f"{grown[-1].note}; seconds grow like d^{exponent:.1f} from length 33 on")
    return rows + grown


def startup(repeat: int = 3) -> list[Benchmark]:
    """Whole commands, the interpreter's start included."""
    commands = {
        "import markov_icl": ["-c", "import markov_icl"],
        "markov-icl --help": ["-m", "markov_icl", "--help"],
        "optimum --length 11 --context 100": ["-m", "markov_icl", "optimum", "--length", "11", "--context", "100"],
        "optimum --length 21 --context 100": ["-m", "markov_icl", "optimum", "--length", "21", "--context", "100"],
        "optimum --length 33 --context 100": ["-m", "markov_icl", "optimum", "--length", "33", "--context", "100"],
    }
    start: Callable[[list[str]], object] = lambda a: subprocess.run(  # noqa: E731
        [sys.executable, *a], check=True, capture_output=True
    )
    return [compare(name, partial(start, arguments), None, repeat) for name, arguments in commands.items()]
