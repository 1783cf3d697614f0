"""The first level as a generic semidefinite program, solved by Clarabel: a cross-check for small sizes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from markov_icl.features import Array
from markov_icl.recovery.certificate.lift import Lift, packed_shape

__all__ = ["first_level", "setup_seconds"]


def setup_seconds(size: int) -> float:
    """Return what Clarabel takes before it looks at the clock: 0.17 s at order 48, 8.7 at 100, 117 at 180."""
    return 1e-9 * float(size) ** 5


def first_level(lifted: Lift, seconds: float) -> tuple[Array, float]:
    """Return the packed ``Z`` and ``gamma`` of ``max gamma: [[y2 - gamma, -q^T], [-q, Q + Z]] >= 0``.

    Args:
        lifted: the loss.
        seconds: when to stop with the last iterate, which need not be feasible.

    Raises:
        ModuleNotFoundError: without the optional package ``clarabel``.
        ValueError: if the solver fails.
    """
    import clarabel

    # The matrix inequality as "data minus columns times unknowns lies in the cone", in packed upper triangles.
    D, n = lifted.dimension, lifted.size
    shape = packed_shape(lifted.blocks, D)
    data = np.zeros((n + 1, n + 1))
    data[0, 0] = lifted.y2
    data[0, 1:] = data[1:, 0] = -lifted.q
    data[1:, 1:] = lifted.Q
    columns, rows = np.tril_indices(n + 1)
    scale = np.where(rows == columns, 1.0, np.sqrt(2.0))
    constraints = _columns(lifted.blocks, D)
    cost = np.zeros(1 + shape[0] * shape[1])
    cost[0] = -1.0
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.time_limit = seconds - 1.5 * setup_seconds(n)  # its clock starts after the setup; an iteration is a third
    solver = clarabel.DefaultSolver(
        sp.csc_matrix((cost.size, cost.size)),
        cost,
        constraints,
        scale * data[rows, columns],
        [clarabel.PSDTriangleConeT(n + 1)],
        settings,
    )
    solution = solver.solve()
    if str(solution.status) not in ("Solved", "AlmostSolved", "MaxTime"):
        raise ValueError(f"expected a solved program; got {solution.status} from Clarabel")
    x = np.asarray(solution.x)
    return x[1:].reshape(shape), float(x[0])


def _columns(J: int, D: int) -> sp.csc_matrix:
    """Return the constraint matrix on the packed upper triangle, column by column: ``gamma``, then ``Z``."""
    m = J * D
    i, k = np.triu_indices(D, 1)
    s, t = np.triu_indices(m, 1)
    size = 1 + D * m
    count = i.size * s.size
    plus = _triangle(1 + i[:, None] * m + s, 1 + k[:, None] * m + t)
    minus = _triangle(1 + i[:, None] * m + t, 1 + k[:, None] * m + s)
    which = 1 + np.arange(count)
    rows = np.concatenate([[0], plus.ravel(), minus.ravel()])
    columns = np.concatenate([[0], which, which])
    values = np.concatenate([[1.0], np.full(count, -np.sqrt(2.0)), np.full(count, np.sqrt(2.0))])
    return sp.csc_matrix((values, (rows, columns)), shape=(size * (size + 1) // 2, 1 + count))


def _triangle(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the place of ``(row, column)``, ``row <= column``, in the column-by-column upper triangle."""
    return np.asarray(column * (column + 1) // 2 + row)
