"""Forged certificates: each function makes, from a valid certificate, one that claims what is not so.

`FORGERIES`: (header, tensors) -> (header, tensors); most break one rule only. `write` gives the digest that fits.
A false bound: `lower` above an attained loss, or `upper` below every loss, or no number at all.
"""

from fractions import Fraction

import numpy as np

from .build import below, full
from .checker import lift
from .moments import canonical_moments, coordinates, read_task
from .oracle import attained, hard_search
from .write import write

__all__ = ["FORGERIES", "write"]


# What the forger needs to know about the certificate


def _quadratic(header, tensors):
    """Q, q, y2 in canonical coordinates and the square of the unit, in floats."""
    task, blocks, size = header["task"], header["blocks"], header["dimension"]
    if task is None:
        H, h, y2, unit = tensors["H"], tensors["h"], header["y2"], 1
    else:
        read = read_task(task)
        (H, h, y2, _), unit = canonical_moments(read), coordinates(read)[1]
    Q, q = lift(H, h, blocks, size)
    return np.array(Q, float), np.array(q, float), float(y2), float(unit) ** 2


def _claim(header, tensors, lower=None):
    """Point A = 0, upper = E y^2, and a lower bound between the best loss and that (or the given one)."""
    header, tensors = dict(header), {name: x.copy() for name, x in tensors.items()}
    scale = _quadratic(header, tensors)
    top = scale[2] * scale[3]
    tensors["A"][:] = 0
    header["upper"] = float(np.nextafter(top, np.inf)) * (1 + 4e-16)
    header["lower"] = (header["lower"] + 3 * top) / 4 if lower is None else lower
    header["tolerance"] = max(header["tolerance"], 2 * abs(top))
    return header, tensors


def _matrices(header, tensors):
    """M of each leaf, in floats."""
    Q, q, y2, unit = _quadratic(header, tensors)
    m, row, found = header["blocks"] * header["dimension"], 0, []
    for leaf, depth in enumerate(tensors["depths"]):
        matrix = Q + full(tensors["Z"][leaf], header["dimension"], m)
        for cone, sign in tensors["paths"][row : row + depth]:
            matrix = matrix - sign * np.kron(tensors["cones"][cone], tensors["S"][row])
            row += 1
        found.append(matrix)
    return found, q, y2, unit


def _bound(matrix, q, y2):
    return y2 - q @ np.linalg.lstsq(matrix, q, 1e-12)[0]


# Null columns


def _without(header, tensors, column):
    """Declare column(p) null for the rows p whose loss lifts every leaf's bound far enough."""
    matrices, q, y2, unit = _matrices(header, tensors)
    order = np.argsort(-np.abs(q))
    goal = (header["upper"] / unit + y2) / 2
    for count in range(1, len(q)):
        keep = np.setdiff1d(np.arange(len(q)), order[:count])
        bound = min(_bound(matrix[np.ix_(keep, keep)], q[keep], y2) for matrix in matrices)
        if bound > goal:
            break
    columns = [column(p, len(q)) for p in order[:count]]
    return _nulls(*_claim(header, tensors, unit * (bound - 1e-3 * (bound - goal))), columns)


def _nulls(header, tensors, columns):
    """Add the same columns to the null columns of each leaf."""
    leaves, size = len(tensors["depths"]), header["blocks"] * header["dimension"] ** 2
    old, counts = tensors.get("null", np.zeros((size, 0))), tensors.get("null_counts", np.zeros(leaves, np.int64))
    ends, parts = np.cumsum(counts), []
    for end, count in zip(ends, counts, strict=True):
        parts += [old[:, end - count : end], np.array(columns, float).T]
    tensors["null"], tensors["null_counts"] = np.concatenate(parts, 1), counts + len(columns)
    return header, tensors


def _unit(scale):
    return lambda p, size: [scale * (i == p) for i in range(size)]


def null_eigenvectors(header, tensors):
    """The eigenvectors of M with the smallest eigenvalues, as if these were zero."""
    matrices, q, y2, unit = _matrices(header, tensors)
    values, vectors = np.linalg.eigh(matrices[0])
    for count in range(1, len(q)):
        parts = vectors[:, count:].T @ q
        bound = y2 - parts @ (parts / values[count:]) if values[count] > 0 else -np.inf
        if bound > (3 * header["upper"] / unit + y2) / 4:
            break
    return _nulls(*_claim(header, tensors, unit * bound * (1 - 1e-9)), vectors[:, :count].T)


def null_beside_large(header, tensors):
    """True null columns made huge, an invented one small beside them."""
    forged, changed = _without(header, tensors, _unit(1e-9))
    old = tensors.get("null", np.zeros((len(changed["null"]), 0))).shape[1]
    changed["null"][:, :old] *= 2.0**60
    return forged, changed


def null_perturbed(header, tensors):
    """A column that is null but for 1e-300 in one place, beside the column itself."""
    old = tensors.get("null", np.zeros((header["blocks"] * header["dimension"] ** 2, 0)))
    base = old[:, 0] if old.shape[1] else np.zeros(len(old))
    return _without(header, tensors, lambda p, size: base + np.array(_unit(1e-300)(p, size)))


def null_miscounted(header, tensors):
    """Counts that add up only because one is negative, or not at all."""
    header, tensors = _without(header, tensors, _unit(1.0))
    tensors["null_counts"][0] -= 1
    return header, tensors


# Cones that do not cover, multipliers that are not semidefinite


def _raised(header, tensors, cones, paths, s_scales):
    """Leaves along `paths`; cones are multiples of I, S_l = s_scale t I, with t so large that bounds come near y2."""
    matrices, q, y2, unit = _matrices(header, tensors)
    size, m = header["dimension"], header["blocks"] * header["dimension"]
    t = max(10 * float(q @ q) / (y2 - header["upper"] / unit), 4 * np.abs(np.linalg.eigvalsh(matrices[0])).max())
    lower = y2 - 1.01 * float(q @ q) / t
    header, tensors = _claim(header, tensors, unit * (lower - 1e-6 * abs(lower)))
    Q = _quadratic(header, tensors)[0]
    steps = [step for path in paths for step in path]
    tensors |= {
        "cones": np.array([c * np.eye(size) for c in cones], float),
        "Z": np.zeros((len(paths), *tensors["Z"].shape[1:])),
        "S": np.array([s * (t + np.trace(Q)) * np.eye(m) for s in s_scales], float).reshape(-1, m, m),
        "paths": np.array(steps, np.int64).reshape(-1, 2),
        "depths": np.array([len(path) for path in paths], np.int64),
    }
    tensors.pop("null", None)
    tensors.pop("null_counts", None)
    header["nodes"] = 2 * len(paths) - 1
    return header, tensors


def _tree(cones, paths, s_scales):
    return lambda header, tensors: _raised(header, tensors, cones, paths, s_scales)


def no_leaves(header, tensors):
    """An empty tree: the least of no bounds."""
    header, tensors = _raised(header, tensors, [-1], [[(0, 1)]], [1])
    return header, tensors | {name: tensors[name][:0] for name in ("Z", "S", "paths", "depths")}


def asymmetric_cone(header, tensors):
    """A cone whose lower triangle is another matrix than its form."""
    header, tensors = _raised(header, tensors, [-1, 1], [[(0, 1)], [(0, -1)]], [1, 1])
    size = header["dimension"]
    tensors["cones"][0] += np.triu(np.ones((size, size)), 1) * 4
    return header, tensors


def asymmetric_s(header, tensors):
    """A multiplier that is semidefinite in its lower triangle only."""
    header, tensors = _raised(header, tensors, [1], [[(0, 1)], [(0, -1)]], [1e-9, 1])
    m = tensors["S"].shape[1]
    tensors["S"][0] -= np.triu(np.ones((m, m)), 1) * tensors["S"][1][0, 0]
    return header, tensors


def s_negative_in_last(header, tensors):
    """Semidefinite but for the last row."""
    header, tensors = _raised(header, tensors, [1], [[(0, 1)], [(0, -1)]], [0, 1])
    tensors["S"][0, -1, -1] = -tensors["S"][1, -1, -1]
    return header, tensors


def depth_500(header, tensors):
    """One leaf below 500 steps."""
    return _raised(header, tensors, [-1], [[(0, 1)] * 500], [1] + [0] * 499)


# Z and the moments


def _scaled(name, factor):
    def forge(header, tensors):
        forged, changed = _claim(header, tensors)
        if not np.any(changed[name]):
            changed[name] += np.random.default_rng(0).standard_normal(changed[name].shape)
        changed[name] *= factor
        if changed[name].size:
            matrices, q, y2, unit = _matrices(forged, changed)
            reached = unit * min(_bound(matrix, q, y2) for matrix in matrices) * (1 - 1e-9)
            if header["upper"] < reached < forged["upper"]:
                forged["lower"] = reached
        changed.pop("null", None)
        changed.pop("null_counts", None)
        return forged, changed

    return forge


def _with(name, place, value):
    """One entry of one tensor replaced, and a false lower bound."""

    def forge(header, tensors):
        header, tensors = _claim(header, tensors)
        if tensors[name].size:
            tensors[name].flat[place] = value
        return header, tensors

    return forge


def _stored(header, H, h, y2, lower, upper):
    """A certificate of a stored quadratic with Z = 0, one leaf and the point 0."""
    blocks, size = header["blocks"], header["dimension"]
    m, wide = blocks * size, blocks * size * (size + 1) // 2
    header = header | {"task": None, "y2": y2, "lower": lower, "upper": upper, "tolerance": 1.0}
    return header, {
        "H": H * np.eye(wide),
        "h": np.full(wide, float(h)),
        "b": np.zeros(size),
        "A": np.zeros((size, blocks)),
        "cones": np.zeros((0, size, size)),
        "Z": np.zeros((1, size * (size - 1) // 2, m * (m - 1) // 2)),
        "S": np.zeros((0, m, m)),
        "paths": np.zeros((0, 2), np.int64),
        "depths": np.zeros(1, np.int64),
    }


def stored_out_of_range(header, tensors):
    """H = 0 and h != 0: a loss without lower bound, but the pseudo-inverse says y2."""
    return _stored(header, 0.0, 1.0, 1.0, 1.0, 1.0)


def stored_null_not_orthogonal(header, tensors):
    """The same with all unit vectors declared null: M v = 0 holds, q.v = 0 does not."""
    header, tensors = _stored(header, 0.0, 1.0, 1.0, 1.0, 1.0)
    return _nulls(header, tensors, np.eye(header["blocks"] * header["dimension"] ** 2))


def stored_negative(header, tensors):
    """H = -1e-300 I: indefinite below every rounding."""
    return _stored(header, -1e-300, 0.0, 1.0, 1.0, 1.0)


def stored_overflow(header, tensors):
    """q^T M^-1 q overflows in floats; the true bound is about -1e310."""
    return _stored(header, 1.0, 1e155, 1.0, -2e180, 1.0)


def stored_zero_bound(header, tensors):
    """A stored quadratic below zero whose lower bound is said to be 0, as for a task."""
    return _stored(header, 1.0, 4.0, 1.0, 0.0, 1.0)


def beside_task(header, tensors):
    """A task, and beside it the stored moments of a constant loss."""
    if header["task"] is None:
        return _claim(header, tensors)
    forged, changed = _stored(header, 1.0, 0.0, 1.0, 1.0, 1.0)
    return forged | {"task": header["task"], "y2": 1.0}, changed


# Another task under the same proof


def _retasked(change):
    """Change the task; upper is attained there, lower is the old one or, if that is still true, a false one."""

    def forge(header, tensors):
        header, tensors = dict(header), {name: x.copy() for name, x in tensors.items()}
        task = header["task"] and change(dict(header["task"]))
        if not header["task"] or task == header["task"]:
            return _claim(header, tensors)
        header["task"] = task
        tensors["A"] = tensors["A"] if "regression" in task else tensors["A"] * 0
        header["upper"] = -below(-attained(task, tensors["b"], tensors["A"]))
        best = float(hard_search(task, 12).loss)
        if header["lower"] <= best:
            header["lower"] = (best + header["upper"]) / 2
        header["y2"] = _quadratic(header, tensors)[2] * _quadratic(header, tensors)[3]
        header["tolerance"] = max(header["tolerance"], 2 * (header["upper"] - header["lower"]))
        return header, tensors

    return forge


def _longer_context(task):
    return task | {"context": task["context"] * 1000}


def _smaller_values(task):
    return task | {"values": [str(Fraction(v) * Fraction(9, 10)) for v in task["values"]]} if "values" in task else task


def _sparser(task):
    if "dirichlet" not in task.get("prior", {}):
        return task
    rows = [[str(Fraction(a) / 100) for a in row] for row in task["prior"]["dirichlet"]]
    return task | {"prior": {"dirichlet": rows}}


# The header


def _header(**changes):
    """Entries of the header replaced, beside a false lower bound."""

    def forge(header, tensors):
        header, tensors = _claim(header, tensors)
        return header | changes, tensors

    return forge


def _task(**changes):
    """Entries of the task replaced, beside a false lower bound."""

    def forge(header, tensors):
        header, tensors = _claim(header, tensors)
        return header | {"task": (header["task"] or {}) | changes}, tensors

    return forge


def upper_overflows(header, tensors):
    """A point whose loss is not a number in floats, an upper bound below every loss."""
    header, tensors = dict(header), {name: x.copy() for name, x in tensors.items()}
    tensors["b"], tensors["A"] = np.full_like(tensors["b"], 1e200), np.full_like(tensors["A"], -1e200)
    return header | {"upper": header["lower"] / 2, "lower": header["lower"] / 4}, tensors


def upper_nan_point(header, tensors):
    """The same with b = nan."""
    header, tensors = upper_overflows(header, tensors)
    return header, tensors | {"b": np.full_like(tensors["b"], np.nan)}


def upper_huge_b_tiny_a(header, tensors):
    """b times 2^1000 and A so small that no digits are left; upper as before."""
    b = tensors["b"] * (2.0**1000 / np.abs(tensors["b"]).max())
    a = tensors["A"] * (np.abs(tensors["b"]).max() * 2.0**-500)
    return dict(header), tensors | {"b": b, "A": a * 2.0**-573}


def one_step_above(header, tensors):
    """lower is the first double above the attained loss; upper is a second one."""
    header = dict(header)
    header["lower"] = float(np.nextafter(header["upper"], np.inf))
    header["upper"] = float(np.nextafter(header["lower"], np.inf))
    return header, tensors


def cones_nan(header, tensors):
    """A cone of nan: every comparison with it is false."""
    header, tensors = _raised(header, tensors, [1], [[(0, 1)], [(0, -1)]], [1, 1])
    return header, tensors | {"cones": tensors["cones"] * np.nan}


FORGERIES = {
    "null_unit_vectors": lambda h, t: _without(h, t, _unit(1.0)),
    "null_tiny": lambda h, t: _without(h, t, _unit(1e-30)),
    "null_denormal": lambda h, t: _without(h, t, _unit(5e-324)),
    "null_nan": lambda h, t: _without(h, t, lambda _, size: [np.nan] * size),
    "null_eigenvectors": null_eigenvectors,
    "null_beside_large": null_beside_large,
    "null_perturbed": null_perturbed,
    "null_miscounted": null_miscounted,
    "only_child": _tree([-1], [[(0, 1)]], [1]),
    "child_of_a_child_missing": _tree([-1], [[(0, 1)], [(0, -1), (0, 1)]], [1, 0, 1]),
    "different_cones": _tree([-1, 1], [[(0, 1)], [(1, -1)]], [1, 1]),
    "sign_two": _tree([-1], [[(0, 1)], [(0, 2)]], [1, 1]),
    "sign_zero": _tree([-1], [[(0, 1)], [(0, 0), (0, 1)]], [1, 0, 1]),
    "sign_wraps": _tree([1], [[(0, 2**32 - 1)], [(0, -1)]], [-1, 1]),
    "duplicated_leaf": _tree([-1], [[(0, 1)], [(0, 1)]], [1, 1]),
    "leaf_above_leaf": _tree([-1], [[(0, 1)], [(0, 1), (0, 1)], [(0, 1), (0, -1)]], [1, 1, 0, 2, 0]),
    "cone_index_negative": _tree([-1], [[(0, 1)], [(-1, 1)]], [1, 1]),
    "cone_index_outside": _tree([-1], [[(7, 1)], [(7, -1)]], [1, 1]),
    "no_leaves": no_leaves,
    "depth_500": depth_500,
    "asymmetric_cone": asymmetric_cone,
    "asymmetric_s": asymmetric_s,
    "s_negative": _tree([1], [[(0, 1)], [(0, -1)]], [-1, 1]),
    "s_negative_below_rounding": _tree([2.0**60], [[(0, 1)], [(0, -1)]], [-(2.0**-60), 2.0**-60]),
    "s_negative_tiny": _tree([2.0**1000], [[(0, 1)], [(0, -1)]], [-(2.0**-1000), 2.0**-1000]),
    "s_negative_in_last": s_negative_in_last,
    "s_scaled": _scaled("S", 1.5),
    "s_minus_zero": lambda h, t: (lambda h, t: (h, t | {"S": t["S"] * -0.0}))(*_claim(h, t)),
    "z_scaled": _scaled("Z", 1e6),
    "z_scaled_slightly": _scaled("Z", 1.01),
    "z_nan": _with("Z", 0, np.nan),
    "z_infinite": _with("Z", 0, np.inf),
    "z_denormal": _with("Z", 0, 5e-324),
    "cones_nan": cones_nan,
    "stored_out_of_range": stored_out_of_range,
    "stored_null_not_orthogonal": stored_null_not_orthogonal,
    "stored_negative": stored_negative,
    "stored_overflow": stored_overflow,
    "stored_zero_bound": stored_zero_bound,
    "stored_beside_task": beside_task,
    "task_longer_context": _retasked(_longer_context),
    "task_smaller_values": _retasked(_smaller_values),
    "task_sparser_prior": _retasked(_sparser),
    "task_order_two": _task(order=2),
    "task_bias_one": _task(bias=1),
    "task_file_prior": _task(prior={"fixed": "/dev/zero"}),
    "task_exponent": _task(values=["0", "1e999999999"]),
    "task_zero_denominator": _task(values=["0", "1/0"]),
    "task_negative_start": _task(initial=["3/2", "-1/2"]),
    "task_start_sums_to_two": _task(initial=["1", "1"]),
    "task_negative_dirichlet": _task(prior={"dirichlet": [["-1/2", "1"], ["1", "1"]]}),
    "task_negative_weights": _task(
        prior={"finite": {"kernels": [[["1", "0"], ["1", "0"]], [["0", "1"], ["0", "1"]]], "weights": ["2", "-1"]}}
    ),
    "task_two_stationary_laws": _task(
        prior={"finite": {"kernels": [[["1", "0"], ["0", "1"]]], "weights": ["1"]}}, initial="stationary"
    ),
    "task_estimated_as_certified": _task(
        prior={"dirichlet": [["1/100", "1/100"], ["1/100", "1/100"]]}, initial="stationary"
    ),
    "task_huge_length": _task(length=10**9),
    "lower_raised": _header(),
    "lower_nan": _header(lower=float("nan")),
    "lower_infinite": _header(lower=float("inf"), upper=float("inf")),
    "lower_text": _header(lower="0"),
    "lower_true": _header(lower=True, upper=2.0),
    "lower_null": _header(lower=None),
    "upper_infinite": _header(lower=1e300, upper=float("inf")),
    "upper_nan": _header(upper=float("nan")),
    "y2_nan": _header(y2=float("nan"), lower=float("nan")),
    "y2_infinite": _header(y2=float("inf")),
    "y2_large": _header(y2=1e6),
    "tolerance_nan": _header(tolerance=float("nan")),
    "tolerance_infinite": _header(tolerance=float("inf")),
    "verified_float": _header(verified="float"),
    "verified_interval": _header(verified="interval"),
    "verified_null": _header(verified=None),
    "status_bound": _header(status="bound"),
    "moment_error_huge": _header(moment_error=1e300),
    "moment_error_negative": _header(moment_error=-1.0),
    "moment_error_nan": _header(moment_error=float("nan"), verified="float"),
    "upper_overflows": upper_overflows,
    "upper_nan_point": upper_nan_point,
    "upper_huge_b_tiny_a": upper_huge_b_tiny_a,
    "lower_above_upper": lambda h, t: (h | {"lower": 2 * abs(h["upper"]) + 1}, t),
    "one_step_above": one_step_above,
}
