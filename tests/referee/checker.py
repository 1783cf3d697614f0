"""A second checker of certificates, version 3: it believes nothing that it has not shown in fractions itself.

`check(path)` returns the (lower, upper) that it proved, or raises ValueError with one line. Standard library only.
"""

import json
import struct
from fractions import Fraction
from itertools import combinations, product
from math import inf, isfinite, prod

from .moments import canonical_moments, complement, coordinates, dimensions, read_task, refuse, upper, whole

_HEADER = {
    *("version", "task", "y2", "lower", "upper", "tolerance", "seconds", "status", "verified", "moment_error"),
    *("nodes", "blocks", "dimension", "sha256"),
}
_LIMIT = 1 << 26  # bytes
_TENSORS = {"b": 1, "A": 2, "cones": 3, "Z": 3, "S": 3, "paths": 2, "depths": 1, "null": 2, "null_counts": 1}
_WHOLE = {"paths", "depths", "null_counts"}


class Tensor:
    """Shape and flat numbers; floats become fractions when they are asked for."""

    def __init__(self, shape, flat):
        self.shape, self.flat = shape, flat

    def rows(self, place=()):
        """The matrix, vector or number at the leading index `place`."""
        width = prod(self.shape[len(place) :])
        start = 0
        for p, size in zip(place, self.shape, strict=False):
            refuse(not 0 <= p < size, "an index points outside its tensor")
            start = start * size + p
        part, inner = self.flat[start * width : (start + 1) * width], self.shape[len(place) :]
        if len(inner) < 2:
            return part
        return [part[i * inner[1] : (i + 1) * inner[1]] for i in range(inner[0])]


def read_file(path):
    """Header and tensors of a safetensors file, every length checked before anything is believed."""
    with open(path, "rb") as file:
        data = file.read(_LIMIT + 1)
    refuse(len(data) > _LIMIT or len(data) < 8, "the file is too long or too short")
    size = struct.unpack("<Q", data[:8])[0]
    refuse(size > min(len(data) - 8, 1 << 20), "the header is longer than the file, or than 1 MiB")
    entries = _json(data[8 : 8 + size])
    meta = entries.pop("__metadata__", None)
    refuse(not isinstance(meta, dict) or list(meta) != ["certificate"], "metadata is not one certificate")
    body, tensors, place = data[8 + size :], {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: _offsets(item[1])):
        start, end = _offsets(entry)
        shape, kind = entry["shape"], {"F64": "d", "I64": "q"}.get(entry["dtype"])
        refuse(kind is None or not isinstance(shape, list) or len(shape) > 3, f"dtype or shape of {name[:20]!r}")
        count = prod(whole(s, 0, 1 << 23) for s in shape)
        refuse(start != place or end != start + 8 * count or end > len(body), "offsets do not fit the shapes")
        numbers = struct.unpack(f"<{count}{kind}", body[start:end])
        refuse(not all(map(isfinite, numbers)), f"{name[:20]!r} holds a number that is not finite")
        tensors[name], place = (kind, Tensor(shape, numbers)), end
    refuse(place != len(body), "bytes after the last tensor")
    header = _json(meta["certificate"])
    return header, tensors


def _offsets(entry):
    refuse(not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}, "a tensor's entry")
    offsets = entry["data_offsets"]
    refuse(not isinstance(offsets, list) or len(offsets) != 2, "a tensor's offsets")
    return [whole(offset, 0, _LIMIT) for offset in offsets]


def _json(text):
    """A JSON object without repeated keys and without NaN."""

    def pairs(items):
        refuse(len({k for k, _ in items}) != len(items), "a key is given twice")
        return dict(items)

    def constant(name):
        raise ValueError(f"{name} is not a number")

    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (RecursionError, UnicodeDecodeError, TypeError) as error:
        raise ValueError("the header is not JSON") from error
    refuse(not isinstance(found, dict), "the header is not a JSON object")
    return found


def number(value, least=-inf):
    """A finite JSON number as a fraction."""
    refuse(type(value) not in (int, float) or not least <= value < inf or value == -inf, "a header number")
    return Fraction(value)


def check(path):
    """(lower, upper) proved for the file at `path`, in the user's squared units."""
    header, tensors = read_file(path)
    refuse(set(header) != _HEADER, "fields of the header")
    refuse(type(header["version"]) is not int or header["version"] != 3, "expected version 3")
    refuse(header["status"] not in ("certified", "bound"), "an estimate proves nothing")
    refuse(header["verified"] not in ("rational", "interval", "float", None), "unknown kind of proof")
    lower, stated_upper = number(header["lower"]), number(header["upper"])
    refuse(lower > stated_upper, "lower is above upper")
    number(header["tolerance"], 0)
    blocks, size, unit, shift, H, h, y2 = _problem(header, tensors)
    tensors = _shaped(tensors, blocks, size)
    attained = loss(H, h, y2, *_canonical(tensors, header, blocks, size, unit, shift)) * unit**2
    check_upper(attained, stated_upper)
    if header["task"] is not None and lower <= 0:
        return Fraction(0), attained
    proved = prove(tensors, blocks, size, H, h, y2) * unit**2
    proved = max(proved, Fraction(0)) if header["task"] is not None else proved
    check_lower(proved, lower)
    return proved, attained


def shown(value):
    """A fraction for a message; it may be beyond all doubles."""
    return repr(float(value)) if abs(value) < Fraction(2) ** 1000 else f"about 2^{int(abs(value)).bit_length()}"


def check_upper(attained, stated):
    """The file's own point must reach what the file says."""
    refuse(attained > stated, f"upper is {shown(stated)}, but (b, A) attains only {shown(attained)}")


def check_lower(proved, stated):
    """The leaves must prove what the file says."""
    refuse(stated > proved, f"lower is {shown(stated)}, but the leaves prove {shown(proved)}")


def _problem(header, tensors):
    """Blocks, dimension, unit, shift and the exact quadratic in canonical coordinates."""
    blocks, size = whole(header["blocks"], 1, 40), whole(header["dimension"], 1, 40)
    refuse(blocks * size**2 > 200, "too large for this checker")
    if header["task"] is not None:
        task = read_task(header["task"])
        refuse(dimensions(task) != (blocks, size), "blocks and dimension are not the task's")
        shift, unit, _ = coordinates(task)
        return blocks, size, unit, shift / unit, *canonical_moments(task)[:3]
    wide = blocks * size * (size + 1) // 2
    H, h = _take(tensors, "H", "d", [wide, wide]).rows(), _take(tensors, "h", "d", [wide]).rows()
    H, h = [list(map(Fraction, row)) for row in H], list(map(Fraction, h))
    refuse(any(H[i][k] != H[k][i] for i, k in combinations(range(wide), 2)), "H is not symmetric")
    return blocks, size, Fraction(1), Fraction(0), H, h, number(header["y2"])


def _take(tensors, name, kind, shape):
    refuse(name not in tensors, f"tensor {name!r} is missing")
    found, tensor = tensors.pop(name)
    fits = len(tensor.shape) == len(shape) and all(s in (None, t) for s, t in zip(shape, tensor.shape, strict=True))
    refuse(found != kind or not fits, f"tensor {name!r}: expected {shape}; got {tensor.shape}")
    return tensor


def _shaped(tensors, blocks, size):
    """All tensors with their shapes checked; nothing may be left over."""
    m = blocks * size
    leaves = len(tensors["depths"][1].flat) if "depths" in tensors else 0
    shapes = {"b": [size], "A": [size, blocks], "cones": [None, size, size], "S": [None, m, m], "paths": [None, 2]}
    shapes |= {"Z": [leaves, size * (size - 1) // 2, m * (m - 1) // 2], "depths": [leaves]}
    if "null" in tensors or "null_counts" in tensors:
        shapes |= {"null": [size * m, None], "null_counts": [leaves]}
    found = {name: _take(tensors, name, "q" if name in _WHOLE else "d", shape) for name, shape in shapes.items()}
    refuse(bool(tensors), f"unknown tensors: {', '.join(sorted(tensors))[:60]}")
    return found


def _canonical(tensors, header, blocks, size, unit, rho):
    """(b, A) with b^T G A x measured in units: z = unit (u + rho * bias), so rows and columns are combined."""
    b, a = list(map(Fraction, tensors["b"].rows())), [list(map(Fraction, row)) for row in tensors["A"].rows()]
    if header["task"] is None or "regression" in header["task"]:
        return b, a
    bias = size - 2 if header["task"]["bias"] else None

    def turned(vector):
        out = [v * unit for v in vector]
        if bias is not None:
            out[bias] = vector[bias] + unit * rho * sum(v for i, v in enumerate(vector) if i != bias)
        return out

    columns = [turned(column) for column in zip(*[turned(row) for row in a], strict=True)]
    return turned(b), [[x / unit for x in row] for row in zip(*columns, strict=True)]


def loss(H, h, y2, b, a):
    """f(b, A) from the definition of X."""
    size, blocks = len(b), len(a[0])
    x = []
    for j, (i, k) in product(range(blocks), upper(size)):
        x.append(b[i] * a[k][j] + b[k] * a[i][j] if i < k else b[i] * a[i][j])
    inner = sum(xi * sum(g * xk for g, xk in zip(row, x, strict=True)) for xi, row in zip(x, H, strict=True))
    return y2 - 2 * sum(p * q for p, q in zip(h, x, strict=True)) + inner


def paths_of(tensors):
    """Each leaf's steps as (row of S, cone, sign)."""
    depths, steps = tensors["depths"].rows(), len(tensors["paths"].flat) // 2
    refuse(not depths or min(depths) < 0 or sum(depths) != steps, "depths do not add up to the paths")
    refuse(len(tensors["S"].flat) != steps * prod(tensors["S"].shape[1:]), "as many S as steps are needed")
    row, leaves = iter(range(steps)), []
    for depth in depths:
        leaves.append([(p, *tensors["paths"].rows((p,))) for p in (next(row) for _ in range(depth))])
    return leaves


def fractions(tensor, index):
    """The matrix at a leading index, in fractions."""
    return [list(map(Fraction, row)) for row in tensor.rows((index,))]


def check_cover(leaves):
    """Every inner node has exactly the two children (cone, 1) and (cone, -1)."""
    waiting = [(leaves, 0)]
    while waiting:
        below, depth = waiting.pop()
        if len(below) == 1 and len(below[0]) == depth:
            continue
        refuse(any(len(leaf) == depth for leaf in below), "a leaf is given twice or lies above another")
        refuse(len({leaf[depth][1] for leaf in below}) != 1, "siblings have different cones")
        sides = [[leaf for leaf in below if leaf[depth][2] == sign] for sign in (1, -1)]
        refuse(not all(sides) or sum(map(len, sides)) != len(below), "a child is missing, or a sign is not 1 or -1")
        waiting += [(side, depth + 1) for side in sides]


def check_symmetric(matrix, name):
    """Equal to its transpose, number by number."""
    refuse(any(matrix[i][k] != matrix[k][i] for i, k in combinations(range(len(matrix)), 2)), f"{name} not symmetric")


def check_semidefinite(matrix):
    """Semidefinite, by elimination in integers."""
    try:
        complement([[*row, Fraction(0)] for row in matrix] + [[Fraction(0)] * (len(matrix) + 1)])
    except ValueError as error:
        raise ValueError(f"S: {error}") from error


def check_null(matrix, q, columns):
    """M v = 0 and q.v = 0 for each stated column, exactly."""
    for v in columns:
        refuse(
            any(sum(x * y for x, y in zip(row, v, strict=True) if y) for row in [*matrix, q]),
            "a null column is not null",
        )


def prove(tensors, blocks, size, H, h, y2):
    """The least bound over all leaves, in canonical units."""
    leaves = paths_of(tensors)
    check_cover(leaves)
    cones = [
        [list(map(Fraction, row)) for row in tensors["cones"].rows((c,))] for c in range(tensors["cones"].shape[0])
    ]
    for cone in cones:
        check_symmetric(cone, "a cone is")
    counts = tensors["null_counts"].rows() if "null" in tensors else [0] * len(leaves)
    width = tensors["null"].shape[1] if "null" in tensors else 0
    refuse(min(counts) < 0 or sum(counts) != width, "null_counts do not add up")
    columns = [list(map(Fraction, c)) for c in zip(*tensors["null"].rows(), strict=True)] if width else []
    bounds = []
    for number_, leaf in enumerate(leaves):
        matrix, q = lift(H, h, blocks, size)
        add_packed(matrix, tensors["Z"].rows((number_,)), size)
        for row, cone, sign in leaf:
            refuse(not 0 <= cone < len(cones), "a path names a cone that is not there")
            s = fractions(tensors["S"], row)
            check_symmetric(s, "S is")
            check_semidefinite(s)
            subtract_product(matrix, cones[cone], s, sign)
        start = sum(counts[:number_])
        check_null(matrix, q, columns[start : start + counts[number_]])
        bounds.append(complement([[*row, x] for row, x in zip(matrix, q, strict=True)] + [[*q, y2]]))
    return min(bounds)


def lift(H, h, blocks, size):
    """Q and q in product coordinates: position i m + j D + k stands for feature (j, {i, k})."""
    pairs = {pair: p for p, pair in enumerate(upper(size))}
    wide = len(pairs)
    place = [j * wide + pairs[min(i, k), max(i, k)] for i, j, k in product(range(size), range(blocks), range(size))]
    return [[H[p][r] for r in place] for p in place], [h[p] for p in place]


def add_packed(matrix, packed, size):
    """Add Z: antisymmetric in the two b-indices and in the two a-indices, hence symmetric."""
    m = len(matrix) // size
    for (i, k), row in zip(combinations(range(size), 2), packed, strict=True):
        for (s, t), entry in zip(combinations(range(m), 2), row, strict=True):
            z = Fraction(entry)
            for p, r, sign in ((i * m + s, k * m + t, 1), (k * m + s, i * m + t, -1)):
                matrix[p][r] += sign * z
                matrix[r][p] += sign * z


def subtract_product(matrix, cone, s, sign):
    """Subtract sign * C (x) S."""
    m = len(s)
    for i, k in product(range(len(cone)), repeat=2):
        for p, r in product(range(m), repeat=2) if cone[i][k] else ():
            matrix[i * m + p][k * m + r] -= sign * cone[i][k] * s[p][r]
