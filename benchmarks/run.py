"""Every benchmark: the fast arm beside the literal arm in one run, medians and ratios, JSON with the environment.

make bench                  # writes benchmarks/results/*.json
.venv/bin/python benchmarks/run.py minimizer --repeat 5
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

import markov_icl as mi
from markov_icl.environment import environment
from markov_icl.experiments import benchmarks
from markov_icl.features import phi, vech_indices
from markov_icl.moments.assembly import start_laws
from markov_icl.moments.conditional import chain_moments, tuple_places
from markov_icl.moments.quadrature import kernel_rule, nodes_per_variable
from markov_icl.recovery.lift import lift

RESULTS = Path(__file__).parent / "results"
Row = dict[str, object]


def seconds(call: Callable[[], object], repeat: int) -> list[float]:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def compare(case: str, fast: Callable[[], object], literal: Callable[[], object] | None, repeat: int) -> Row:
    row: Row = {"case": case, "fast_s": statistics.median(seconds(fast, repeat))}
    if literal is not None:
        row["literal_s"] = statistics.median(seconds(literal, repeat))
        row["ratio"] = row["literal_s"] / row["fast_s"]  # type: ignore[operator]
    return row


def literal_moments(task: mi.MarkovTask) -> np.ndarray:
    """H node by node, each factor dense, as the formula says."""
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


def bench_minimizer(repeat: int) -> list[Row]:
    rows = []
    for length in (5, 7, 11):
        task = mi.MarkovTask(length=length, context=100)
        difference = float(np.abs(mi.compute_moments(task).H - literal_moments(task)).max())
        row = compare(
            f"moments, length {length}", lambda t=task: mi.compute_moments(t), lambda t=task: literal_moments(t), repeat
        )
        rows.append(row | {"largest_difference": difference})
    for length in (11, 16, 21):
        task = mi.MarkovTask(length=length, context=100)
        rows.append(compare(f"minimizer, length {length}", lambda t=task: mi.minimizer(t, "dense"), None, repeat))
    return rows


def bench_rational(repeat: int) -> list[Row]:
    rows = []
    for length, context in ((2, 10), (3, 3), (4, 1)):
        task = mi.MarkovTask(length=length, context=context)
        name = f"exact moments, length {length}, context {context}"
        rows.append(
            compare(name, lambda t=task: mi.rational_moments(t), lambda t=task: mi.enumerate_moments(t), repeat)
        )
    return rows


def bench_recovery(repeat: int) -> list[Row]:
    rng, rows = np.random.default_rng(0), []
    for d in (5, 10, 20, 40, 60):
        X = phi(rng.normal(size=d + 1), rng.normal(size=(d + 1, d)))
        rows.append(compare(f"recover floats, d = {d}", lambda X=X: mi.recover(X), None, repeat))
    return rows


def generic_bound(task: mi.MarkovTask) -> float:
    """The first level as anybody would write it: cvxpy with Clarabel, the tied blocks as equalities."""
    import cvxpy as cp

    lifted = lift(mi.compute_moments(task))
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
    return float(cp.Problem(cp.Maximize(gamma), [*tied, *corner]).solve(solver=cp.CLARABEL))


def bench_certify(repeat: int) -> list[Row]:
    rows = []
    for d in (3, 4):
        task = mi.MarkovTask(length=d + 1, context=100)
        start = time.perf_counter()
        generic = generic_bound(task)  # minutes at d = 4: once is enough
        literal = time.perf_counter() - start
        row = compare(f"certify, d = {d}, beside cvxpy + Clarabel", lambda t=task: mi.certify(t), None, repeat)
        proof = mi.certify(task)
        row |= {"literal_s": literal, "ratio": literal / row["fast_s"], "cvxpy_value_unverified": generic}  # type: ignore[operator]
        rows.append(row | {"lower": proof.lower, "upper": proof.upper})
    for d in (5, 8, 10):
        task = mi.MarkovTask(length=d + 1, context=100)
        row = compare(f"certify, d = {d}", lambda t=task: mi.certify(t), None, 1 if d == 10 else repeat)
        rows.append(row)
    return rows


def bench_startup(repeat: int) -> list[Row]:
    commands = {
        "import markov_icl": ["-c", "import markov_icl"],
        "markov-icl --help": ["-m", "markov_icl", "--help"],
        "optimum --length 11 --context 100": ["-m", "markov_icl", "optimum", "--length", "11", "--context", "100"],
        "optimum --length 21 --context 100": ["-m", "markov_icl", "optimum", "--length", "21", "--context", "100"],
    }
    return [
        compare(name, lambda a=a: subprocess.run([sys.executable, *a], check=True, capture_output=True), None, repeat)
        for name, a in commands.items()
    ]


def from_package(name: str) -> Callable[[int], list[Row]]:
    """A benchmark that `markov-icl bench` runs too."""
    return lambda repeat: [asdict(row) for row in benchmarks.BENCHMARKS[name](repeat=repeat)]


def bench_operator(repeat: int) -> list[Row]:
    """The operator beside Cholesky, the scans beside transfer matrices, and the growth with the length."""
    from markov_icl.landscape.fourth import TransferFourth
    from markov_icl.landscape.operator import chain_operator

    rows, growth = [], []
    mi.minimizer(mi.MarkovTask(length=17), "operator")  # compiles, or reads what was compiled
    for length in (11, 16, 21):
        task = mi.MarkovTask(length=length, context=100)
        form, dense = mi.minimizer(task, "operator"), mi.minimizer(task, "dense")
        row = compare(
            f"minimizer, length {length}, beside Cholesky",
            lambda t=task: mi.minimizer(t, "operator"),
            lambda t=task: mi.minimizer(t, "dense"),
            repeat if length < 20 else 1,
        )
        difference = float(np.abs(form.X - dense.X).max() / np.abs(dense.X).max())
        rows.append(row | {"loss_difference": abs(form.loss - dense.loss), "largest_difference": difference})
    operator = chain_operator(mi.MarkovTask(length=21, context=100), threads=1)
    slow = dataclasses.replace(
        operator, fourth=TransferFourth.of(operator.average, mi.MarkovTask(length=21, context=100))
    )
    slow.apply(operator.h)
    case = "product with H, length 21, scans beside transfer matrices, one thread"
    rows.append(compare(case, lambda: operator.apply(operator.h), lambda: slow.apply(operator.h), repeat))
    for length in (33, 49, 65):
        task = mi.MarkovTask(length=length, context=100)
        form = mi.minimizer(task)
        row = compare(f"minimizer, length {length}", lambda t=task: mi.minimizer(t), None, repeat)
        rows.append(row | {"loss": form.loss, "residual": form.residual, "nodes": form.moments.nodes})
        growth.append((np.log(length - 1), np.log(row["fast_s"])))  # type: ignore[call-overload]
    slope = float(np.polyfit(*zip(*growth, strict=True), 1)[0])
    return [*rows, {"case": "exponent of the seconds in d, lengths 33 to 65", "exponent": slope}]


BENCHMARKS = {
    "minimizer": bench_minimizer,
    "rational": bench_rational,
    "recovery": bench_recovery,
    "certify": bench_certify,
    "operator": bench_operator,
    "startup": bench_startup,
    **{name: from_package(name) for name in benchmarks.BENCHMARKS},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    unknown = [n for n in arguments.names if n not in BENCHMARKS]
    if unknown:
        parser.error(f"expected benchmarks of {', '.join(BENCHMARKS)}; got {unknown[0]}")
    RESULTS.mkdir(exist_ok=True)
    for name in arguments.names or BENCHMARKS:
        rows = BENCHMARKS[name](arguments.repeat)
        result = {"benchmark": name, "repeat": arguments.repeat, "environment": environment(), "rows": rows}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        for row in rows:
            print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()))


if __name__ == "__main__":
    main()
