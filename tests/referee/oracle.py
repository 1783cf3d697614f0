"""Exact losses in the user's own coordinates, a hard search for the best (b, A), and odd tasks to try both on."""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from random import Random

import numpy as np
from scipy.optimize import minimize

from .checker import lift, loss
from .moments import canonical_moments, complement, coordinates, dimensions, moments, read_task


def exact_moments(task):
    """H, h, E y^2, E y of an inline task, in the user's coordinates."""
    read = read_task(task)
    return moments(read, read.get("values"), read.get("values"))


def attained(task, b, A):
    """The loss at (b, A), exactly; floats are taken as the fractions that they are."""
    H, h, y2, _ = exact_moments(task)
    return loss(H, h, y2, [Fraction(x) for x in b], [[Fraction(x) for x in row] for row in A])


def relaxed(task):
    """f~*, the least value over the enlarged space, in the user's squared units."""
    read = read_task(task)
    H, h, y2, _ = canonical_moments(read)
    return coordinates(read)[1] ** 2 * complement([[*row, x] for row, x in zip(H, h, strict=True)] + [[*h, y2]])


@dataclass(frozen=True)
class Found:
    """A loss that is attained, where, and f~* below it; all fractions, the user's coordinates."""

    loss: Fraction
    b: list
    A: list
    relaxed: Fraction


def hard_search(task, starts=30, seed=0):
    """The least loss found from many starts; the point is polished in floats, its best A and its loss are exact."""
    read = read_task(task)
    H, h, y2, _ = canonical_moments(read)
    blocks, size = dimensions(read)
    floor, root, target = _root(H, h, y2)
    tensor, row_scale = _bilinear(root, blocks, size)
    points = [
        minimize(_projected, b, (tensor, target), "BFGS", True, options={"gtol": 1e-13, "maxiter": 300})
        for b in _starts(read, size, row_scale, starts, seed)
    ]
    lifted = lift(H, h, blocks, size)
    best = None
    for b in _distinct(points):
        value, a = _best_a(*lifted, y2, [Fraction(float(x)) for x in b * row_scale])
        if best is None or value < best[0]:
            best = value, [Fraction(float(x)) for x in b * row_scale], a
    value, b, a = best
    matrix = [[a[j * size + k] for j in range(blocks)] for k in range(size)]
    unit = coordinates(read)[1]
    return Found(unit**2 * value, *_in_user_coordinates(read, b, matrix), unit**2 * floor)


def _root(H, h, y2):
    """f~* exactly, and R, c in floats with f = f~* + |R X - c|^2, each entry right to its last digits."""
    rows = [[*row, x] for row, x in zip(H, h, strict=True)] + [[*h, y2]]
    size, root = len(h), np.zeros((len(h), len(h) + 1))
    for k in range(size):
        pivot = rows[k][k]
        if pivot == 0:
            continue
        for i in range(k, size + 1):
            root[k, i] = float(rows[k][i] / pivot) * sqrt(pivot)
        for i in range(k + 1, size + 1):
            factor = rows[k][i] / pivot
            for j in range(i, size + 1) if factor else ():
                rows[i][j] -= factor * rows[k][j]
    return rows[size][size], root[:, :size], root[:, size]


def _bilinear(root, blocks, size):
    """T with (R X(b, A))_r = sum T[r, i, s] b_i a_s, its b-slices and a-slices brought to like size."""
    wide = size * (size + 1) // 2
    tensor = np.zeros((len(root), size, blocks * size))
    place = {pair: p for p, pair in enumerate((i, k) for i in range(size) for k in range(i, size))}
    for j in range(blocks):
        for (i, k), p in place.items():
            tensor[:, i, j * size + k] += root[:, j * wide + p]
            if i < k:
                tensor[:, k, j * size + i] += root[:, j * wide + p]
    scale = np.ones(size)
    for _ in range(6):
        column, row = np.sqrt((tensor**2).sum((0, 1))), np.sqrt((tensor**2).sum((0, 2)))
        column[column == 0], row[row == 0] = 1, 1
        tensor, scale = tensor / np.sqrt(np.outer(row, column)), scale / np.sqrt(row)
    return tensor, scale / scale.max()


def _projected(b, tensor, target):
    """min over A of |R X - c|^2 and its gradient in b."""
    norm = np.linalg.norm(b) or 1.0
    matrix = np.tensordot(tensor, b / norm, (1, 0))
    scale = np.sqrt((matrix**2).sum(0))
    scale[scale < 1e-150] = 1
    a = np.linalg.lstsq(matrix / scale, target, 1e-14)[0] / scale
    rest = matrix @ a - target
    slope = 2 * np.einsum("r,ris,s->i", rest, tensor, a, optimize=False)
    total = float(target @ target) or 1.0
    unit = b / norm
    return float(rest @ rest) / total, (slope - (slope @ unit) * unit) / norm / total


def _starts(task, size, scale, count, seed):
    """Unit vectors, neighbours of products that vanish on binary chains, random directions flat and spread out."""
    rng, unit = np.random.default_rng(seed), np.eye(size)
    one = unit[size - 2] if task.get("bias") else np.zeros(size)
    vanishing = [one - unit[i] for i in range(size)]
    for i in range(size):
        vanishing += [v for k in range(i) for v in (unit[i] - unit[k], unit[i] + unit[k] - one)]
    points = list(unit)
    for turn in range(count - size):
        point = rng.standard_normal(size)
        if turn % 3 == 1:
            point = vanishing[rng.integers(len(vanishing))] / scale + 1e-2 * point
        elif turn % 3 == 2:
            point *= 10 ** rng.uniform(-3, 3, size)
        points.append(point)
    return [point / np.linalg.norm(point) for point in points]


def _distinct(points, keep=4):
    """The best few ends of the search that differ, shortest loss first."""
    found = []
    for point in sorted(points, key=lambda p: p.fun if np.isfinite(p.fun) else np.inf):
        b = point.x / np.linalg.norm(point.x)
        if all(1 - abs(b @ other) > 1e-9 for other in found):
            found.append(b)
        if len(found) == keep:
            break
    return found


def _best_a(Q, q, y2, b):
    """The least loss over A for this b and one A that attains it, in fractions."""
    size = len(b)
    m = len(q) // size
    used = [i for i in range(size) if b[i]]
    half = [[sum(b[i] * Q[i * m + s][r] for i in used) for r in range(len(q))] for s in range(m)]
    matrix = [[sum(b[k] * row[k * m + t] for k in used) for t in range(m)] for row in half]
    right = [sum(b[i] * q[i * m + s] for i in used) for s in range(m)]
    rows, pivots = [[*row, x] for row, x in zip(matrix, right, strict=True)], []
    for k in range(m):
        if rows[k][k] == 0:
            continue
        rows[k] = [x / rows[k][k] for x in rows[k]]
        pivots.append(k)
        for i in range(m):
            factor = rows[i][k]
            if i != k and factor:
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    a = [rows[k][m] if k in pivots else Fraction(0) for k in range(m)]
    return y2 - sum(x * y for x, y in zip(right, a, strict=True)), a


def _in_user_coordinates(task, b, matrix):
    """Undo z = unit (u + rho * bias) and measure the prediction in the user's units."""
    shift, unit, _ = coordinates(task)
    bias = len(b) - 2 if task.get("bias") else None

    def turned(vector):
        out = [v / unit for v in vector]
        if bias is not None:
            out[bias] = vector[bias] - shift * sum(v for i, v in enumerate(out) if i != bias)
        return out

    rows = [turned(row) for row in zip(*[turned(column) for column in zip(*matrix, strict=True)], strict=True)]
    return turned(b), [[x * unit for x in row] for row in rows]


def odd_tasks(count, seed=0):
    """Random inline tasks meant to break floats: offsets, scales, sparse and lopsided priors, absorbing kernels."""
    rng = Random(seed)
    return [_odd(rng) for _ in range(count)]


def _odd(rng):
    """One odd task; J D^2 is at most 48."""
    while True:
        states, order, bias = rng.choice([2, 2, 2, 3]), rng.choice([1, 1, 1, 2]), rng.random() < 0.4
        length = rng.choice([2, 3, 3, 4] if states == 2 else [2, 3])
        size = length + bias
        if length > order and (size - 1) * size**2 <= 48:
            break
    prior, weights = _odd_prior(rng, states, states**order)
    task = {"states": states, "order": order, "length": length, "context": rng.choice([1, 2, 7, 10, 100, 10**6])}
    start = _odd_start(rng, states**order)
    if states == 2 and order == 1 and rng.random() < 0.2:
        start = "correlated:" + ",".join(str(_chance(rng)) for _ in range(3))
    elif (
        weights
        and rng.random() < 0.5
        and all(Fraction(x) > 0 for k in prior["finite"]["kernels"] for r in k for x in r)
    ):
        start = "stationary"
    return task | {"prior": prior, "initial": start, "values": _odd_values(rng, states), "bias": bias}


def _chance(rng):
    """A probability, often at or next to an end."""
    tiny = Fraction(1, 10 ** rng.choice([2, 4, 6]))
    ugly = Fraction(rng.randrange(1, 9973), 9973)
    return rng.choice([Fraction(0), Fraction(1), tiny, 1 - tiny, Fraction(1, 2), ugly, ugly])


def _odd_start(rng, size):
    """A law over the first tuples: even, ugly, nearly or wholly at one end."""
    kind = rng.choice(["even", "ugly", "tiny", "one"])
    if kind == "one":
        return [str(int(i == size - 1)) for i in range(size)]
    tiny = Fraction(1, 10**6) if kind == "tiny" else Fraction(1)
    weights = [Fraction(1) if kind == "even" else Fraction(rng.randrange(1, 997), 991) for _ in range(size)]
    keep = rng.randrange(size)
    weights = [w if i == keep else w * tiny for i, w in enumerate(weights)]
    return [str(w / sum(weights)) for w in weights]


def _odd_prior(rng, states, rows):
    """(prior, whether it is finite)."""
    small, large = Fraction(1, 10**6), Fraction(10**6)
    if rng.random() < 0.3:
        kernels = [[_odd_row(rng, states) for _ in range(rows)] for _ in range(rng.choice([1, 2, 3]))]
        weights = [Fraction(rng.randrange(1, 100)) for _ in kernels]
        return {"finite": {"kernels": kernels, "weights": [str(w / sum(weights)) for w in weights]}}, True
    pools = [[Fraction(1)], [Fraction(1, 1000)], [Fraction(1), large], [small, Fraction(1)], [large, Fraction(1, 1000)]]
    pools += [[Fraction(2, 7), Fraction(355, 113), Fraction(1)]]
    pool = rng.choice(pools)
    return {"dirichlet": [[str(rng.choice(pool)) for _ in range(states)] for _ in range(rows)]}, False


def _odd_row(rng, states):
    """A row of a kernel: ugly, nearly absorbing, or certain."""
    kind, keep = rng.choice(["ugly", "near", "near", "certain"]), rng.randrange(states)
    tiny = {"ugly": Fraction(1), "near": Fraction(1, 10 ** rng.choice([3, 6])), "certain": Fraction(0)}[kind]
    row = [Fraction(rng.randrange(1, 97)) * (1 if s == keep else tiny) for s in range(states)]
    return [str(x / sum(row)) for x in row]


def _odd_values(rng, states):
    """State values: 0..S-1, (0, c), (c, c+1), (-c, 1), ugly fractions; scales 1e-6 to 1e6."""
    c = rng.choice([Fraction(1, 10**6), Fraction(1, 300), Fraction(22, 7), Fraction(100), Fraction(10**6)])
    values = {
        "plain": [Fraction(s) for s in range(states)],
        "scaled": [c * s for s in range(states)],
        "offset": [c + s for s in range(states)],
        "mixed": [-c, Fraction(1), Fraction(0)][:states],
        "ugly": [Fraction(rng.randrange(-999, 999), rng.choice([7, 97, 991])) for _ in range(states)],
    }[rng.choice(["plain", "scaled", "offset", "mixed", "ugly"])]
    return [str(v) for v in values]
