"""Certificates made without the package: by hand (Z = 0), or by a small dense barrier method."""

from fractions import Fraction
from itertools import combinations
from math import gcd, lcm

import numpy as np

from .checker import Tensor, lift, loss, prove
from .moments import canonical_moments, coordinates, dimensions, read_task
from .oracle import attained, hard_search


def below(value):
    """A double at or below a fraction."""
    found = float(value)
    return found if Fraction(found) <= value else float(np.nextafter(found, -np.inf))


def assemble(task, leaves, cones=(), point=None):
    """Header and tensors; each leaf is (path, packed Z, list of S, null columns); bounds are proved here first."""
    read = read_task(task)
    blocks, size = dimensions(read)
    m, pairs = blocks * size, size * (size - 1) // 2
    b, A = point or _floats(hard_search(task))
    tensors = {
        "b": np.array(b, float),
        "A": np.array(A, float).reshape(size, blocks),
        "cones": np.array(cones, float).reshape(-1, size, size),
        "Z": np.array([leaf[1] for leaf in leaves], float).reshape(len(leaves), pairs, m * (m - 1) // 2),
        "S": np.array([s for leaf in leaves for s in leaf[2]], float).reshape(-1, m, m),
        "paths": np.array([step for leaf in leaves for step in leaf[0]], np.int64).reshape(-1, 2),
        "depths": np.array([len(leaf[0]) for leaf in leaves], np.int64),
    }
    if any(leaf[3] for leaf in leaves):
        tensors["null"] = np.array([v for leaf in leaves for v in leaf[3]], float).T.reshape(size * m, -1)
        tensors["null_counts"] = np.array([len(leaf[3]) for leaf in leaves], np.int64)
    H, h, y2, _ = canonical_moments(read)
    unit = coordinates(read)[1]
    lower = below(unit**2 * prove(plain(tensors), blocks, size, H, h, y2))
    upper = -below(-attained(task, tensors["b"], tensors["A"]))
    return header(task, lower, upper, blocks, size, len(leaves), float(unit**2 * y2)), tensors


def header(task, lower, upper, blocks, size, leaves, y2=None):
    """A header of version 3."""
    tolerance = max(2 * (upper - lower), 1e-9)
    claims = {"task": task, "y2": y2, "lower": lower, "upper": upper, "tolerance": tolerance, "seconds": 0.1}
    rest = {"status": "certified", "verified": "rational", "moment_error": None, "nodes": 2 * leaves - 1}
    return {"version": 3} | claims | rest | {"blocks": blocks, "dimension": size, "sha256": ""}


def plain(tensors):
    """Arrays as the checker's own tensors."""
    return {name: Tensor(list(x.shape), [t.item() for t in x.ravel()]) for name, x in tensors.items()}


def _floats(found):
    """A point in doubles; b is brought to length 1 first."""
    norm = float(max(map(abs, found.b))) or 1.0
    return [float(x / Fraction(norm)) for x in found.b], [[float(x * Fraction(norm)) for x in row] for row in found.A]


def by_hand(task, cones=(), paths=((),)):
    """Z = 0 and S = 0: Q itself is semidefinite, its kernel is listed, and the bound is f~*."""
    read = read_task(task)
    blocks, size = dimensions(read)
    m = blocks * size
    Q, _ = lift(*canonical_moments(read)[:2], blocks, size)
    zero, columns = np.zeros((size * (size - 1) // 2, m * (m - 1) // 2)), kernel(Q)
    return assemble(task, [(list(path), zero, [np.zeros((m, m))] * len(path), columns) for path in paths], cones)


def as_stored(head, tensors):
    """The same proof for the quadratic in doubles; for tasks whose values are 0, 1, ... and without a bias."""
    H, h, y2, _ = canonical_moments(read_task(head["task"]))
    H, h, y2 = [[float(x) for x in row] for row in H], [float(x) for x in h], float(y2)
    exact = [[Fraction(x) for x in row] for row in H], [Fraction(x) for x in h], Fraction(y2)
    lower = below(prove(plain(tensors), head["blocks"], head["dimension"], *exact))
    point = [Fraction(x) for x in tensors["b"]], [[Fraction(x) for x in row] for row in tensors["A"]]
    claims = {"task": None, "y2": y2, "lower": lower, "upper": -below(-loss(*exact, *point))}
    return head | claims, tensors | {"H": np.array(H), "h": np.array(h)}


def kernel(matrix):
    """Integer columns that span the kernel."""
    rows, pivots, size = [list(row) for row in matrix], [], len(matrix)
    for column in range(size):
        pivot = next((r for r in range(len(pivots), len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        top = len(pivots)
        rows[top], rows[pivot] = rows[pivot], rows[top]
        rows[top] = [x / rows[top][column] for x in rows[top]]
        for r in range(len(rows)):
            if r != top and rows[r][column]:
                rows[r] = [x - rows[r][column] * y for x, y in zip(rows[r], rows[top], strict=True)]
        pivots.append(column)
    found = []
    for free in set(range(size)) - set(pivots):
        vector = [Fraction(int(i == free)) for i in range(size)]
        for r, column in enumerate(pivots):
            vector[column] = -rows[r][free]
        scale = lcm(*(x.denominator for x in vector))
        whole = [int(x * scale) for x in vector]
        found.append([x // gcd(*whole) for x in whole])
    return found


def by_barrier(task, cones=(), paths=((),), gap=1e-9):
    """A first-level certificate, or one leaf for each path ((cone, sign), ...); H must be regular."""
    read = read_task(task)
    blocks, size = dimensions(read)
    H, h, y2, _ = canonical_moments(read)
    Q, q = (np.array(x, float) for x in lift(H, h, blocks, size))
    leaves = []
    for path in paths:
        sides = [sign * np.array(cones[c], float) for c, sign in path]
        leaves.append((list(path), *_leaf(Q, q, float(y2), sides, size, gap), []))
    return assemble(task, leaves, cones)


def _leaf(Q, q, y2, sides, size, gap):
    """Packed Z and one S for each cone that nearly maximise the leaf's bound."""
    m, order = len(q) // size, len(q)
    symmetric = [np.eye(m)[[i]].T @ np.eye(m)[[k]] for i in range(m) for k in range(i, m)]
    symmetric = [(x + x.T) / 2 for x in symmetric]
    z_count, s_count = size * (size - 1) // 2 * m * (m - 1) // 2, len(symmetric)
    steps = np.zeros((z_count + len(sides) * s_count, order + 1, order + 1))
    for p in range(z_count):
        unit = np.zeros(z_count)
        unit[p] = 1
        steps[p, :order, :order] = full(unit, size, m)
    for c, side in enumerate(sides):
        for p, s in enumerate(symmetric):
            steps[z_count + c * s_count + p, :order, :order] = -np.kron(side, s)
    cone_steps = [np.zeros((len(steps), m, m)) for _ in sides]
    for c, block in enumerate(cone_steps):
        block[z_count + c * s_count : z_count + (c + 1) * s_count] = symmetric
    x = np.zeros(len(steps))
    for c in range(len(sides)):
        x[z_count + c * s_count :][:s_count] = [np.trace(s) for s in symmetric]
    scale = np.trace(Q) / order
    x *= scale * 0.01
    x = _centred(Q, x, steps[:, :order, :order], cone_steps, scale)
    bordered = np.block([[Q, q[:, None]], [q[None], np.array([[y2]])]])
    x = _maximised(bordered, x, steps, cone_steps, gap * y2)
    z = x[:z_count].reshape(size * (size - 1) // 2, m * (m - 1) // 2)
    return z, [np.tensordot(x, block, 1) for block in cone_steps]


def full(packed, size, m):
    """The matrix Z of packed entries, in floats."""
    packed = np.asarray(packed, float).reshape(size * (size - 1) // 2, m * (m - 1) // 2)
    matrix = np.zeros((size, m, size, m))
    for (i, k), row in zip(combinations(range(size), 2), packed, strict=True):
        s, t = np.triu_indices(m, 1)
        for first, second, sign in ((i, k, 1), (k, i, -1)):
            matrix[first, s, second, t] += sign * row
            matrix[second, t, first, s] += sign * row
    return matrix.reshape(size * m, size * m)


def _newton(x, blocks, weight, extra):
    """One damped Newton step for max extra.x + weight * sum of log det; blocks are (start, steps)."""
    slope, curve = extra.copy(), np.zeros((len(x), len(x)))
    for start, steps in blocks:
        inverse = np.linalg.inv(start + np.tensordot(x, steps, 1))
        moved = np.einsum("ij,pjk->pik", inverse, steps, optimize=True)
        slope += weight * np.trace(moved, axis1=1, axis2=2)
        flat = moved.reshape(len(x), -1)
        curve += weight * flat @ moved.transpose(0, 2, 1).reshape(len(x), -1).T
    step = np.linalg.solve(curve + 1e-14 * np.trace(curve) / len(x) * np.eye(len(x)), slope)
    decrement = float(slope @ step) / weight
    size = 1 / (1 + np.sqrt(max(decrement, 0))) if decrement > 0.1 else 1.0
    while not all(_positive(start + np.tensordot(x + size * step, steps, 1)) for start, steps in blocks):
        size /= 2
        if size < 1e-12:
            return x, 0.0
    return x + size * step, decrement


def _positive(matrix):
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _centred(Q, x, steps, cone_steps, scale):
    """Move until Q + Z - sum C (x) S is positive definite: raise t in M - t I."""
    x = np.append(x, np.linalg.eigvalsh(Q + np.tensordot(x, steps, 1))[0] - scale)
    blocks = [(Q, np.concatenate([steps, -np.eye(len(Q))[None]]))]
    blocks += [(np.zeros(b.shape[1:]), np.concatenate([b, np.zeros((1, *b.shape[1:]))])) for b in cone_steps]
    extra = np.zeros(len(x))
    extra[-1] = 1
    weight = scale
    for _ in range(200):
        x, decrement = _newton(x, blocks, weight, extra)
        if x[-1] > 0:
            return x[:-1]
        weight *= 0.3 if decrement < 1 else 1
    raise ValueError("no strictly feasible Z was found")


def _maximised(bordered, x, steps, cone_steps, gap):
    """Raise the bound: the last variable is gamma in the corner y2 - gamma."""
    order = len(bordered) - 1
    M = bordered[:order, :order] + np.tensordot(x, steps[:, :order, :order], 1)
    q, y2 = bordered[order, :order], bordered[order, order]
    bound = y2 - q @ np.linalg.solve(M, q)
    x = np.append(x, bound - y2)
    corner = np.zeros((1, order + 1, order + 1))
    corner[0, order, order] = -1
    blocks = [(bordered, np.concatenate([steps, corner]))]
    blocks += [(np.zeros(b.shape[1:]), np.concatenate([b, np.zeros((1, *b.shape[1:]))])) for b in cone_steps]
    extra = np.zeros(len(x))
    extra[-1] = 1
    weight = 0.1 * y2
    total = sum(len(start) for start, _ in blocks)
    for _ in range(300):
        x, decrement = _newton(x, blocks, weight, extra)
        if decrement < 1:
            if weight * total < gap:
                break
            weight *= 0.3
    return x[:-1]
