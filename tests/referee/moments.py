"""Exact moments of small tasks in fractions, straight from the definitions. Standard library only."""

import re
from fractions import Fraction
from functools import cache
from itertools import product
from math import gcd, lcm, prod

_NUMBER = re.compile(r"-?[0-9]{1,400}(/[0-9]{1,400})?")
_FIELDS = {"states", "order", "length", "context", "prior", "initial", "values", "bias"}


def refuse(condition, line):
    """One line instead of a result."""
    if condition:
        raise ValueError(line)


def fraction(text):
    """A fraction from a string such as "-3/4"; nothing else."""
    refuse(not (isinstance(text, str) and _NUMBER.fullmatch(text)), f"expected a fraction; got {str(text)[:40]!r}")
    refuse("/" in text and int(text.split("/")[1]) == 0, "a fraction has denominator 0")
    return Fraction(text)


def whole(value, least, most):
    """A plain integer within limits (true is none)."""
    refuse(type(value) is not int or not least <= value <= most, f"expected {least}..{most}; got {str(value)[:40]}")
    return value


def table(value, *shape):
    """Nested lists of fraction strings of the given shape (None: any length up to 100)."""
    if not shape:
        return fraction(value)
    refuse(not isinstance(value, list) or len(value) > 100, "expected a list")
    refuse(shape[0] is not None and len(value) != shape[0], f"expected {shape[0]} entries; got {len(value)}")
    return [table(entry, *shape[1:]) for entry in value]


def law(weights):
    """A probability vector."""
    refuse(min(weights) < 0 or sum(weights) != 1, "probabilities are negative or do not sum to 1")
    return weights


def read_task(task):
    """The inline task, checked entry by entry; numbers become fractions."""
    refuse(not isinstance(task, dict), "the task is not an object")
    if "regression" in task:
        refuse(set(task) != {"regression", "context", "covariance"}, "fields of the regression task")
        d = whole(task["regression"], 1, 4)
        cov = table(task["covariance"], d, d)
        refuse(any(cov[i][k] != cov[k][i] for i in range(d) for k in range(i)), "covariance not symmetric")
        complement([[*row, Fraction(0)] for row in cov] + [[Fraction(0)] * (d + 1)])
        return {"regression": d, "context": whole(task["context"], 1, 10**18), "covariance": cov}
    refuse(set(task) != _FIELDS, "fields of the task")
    states, order = whole(task["states"], 2, 6), whole(task["order"], 1, 3)
    length = whole(task["length"], order + 1, 8)
    refuse(states**length > 729, "too many chains for this checker")
    refuse(type(task["bias"]) is not bool, "bias is true or false")
    whole(task["context"], 1, 10**18)
    read = dict(task, values=table(task["values"], states))
    rows, prior = states**order, task["prior"]
    if isinstance(prior, dict) and set(prior) == {"dirichlet"}:
        read["alpha"] = table(prior["dirichlet"], rows, states)
        refuse(min(map(min, read["alpha"])) <= 0, "a Dirichlet parameter is not positive")
        read["kernels"] = [(Fraction(1), None)]
    else:
        refuse(not isinstance(prior, dict) or set(prior) != {"finite"}, "prior is neither dirichlet nor finite")
        prior = prior["finite"]
        refuse(not isinstance(prior, dict) or set(prior) != {"kernels", "weights"}, "fields of the finite prior")
        kernels = table(prior["kernels"], None, rows, states)
        weights = law(table(prior["weights"], len(kernels)))
        read["kernels"] = list(zip(weights, [[law(row) for row in kernel] for kernel in kernels], strict=True))
    read["starts"] = _starts(read, task["initial"])
    return read


def _starts(task, initial):
    """How chains begin: ("pmf", law), ("stationary",) or ("correlated", p, g0, g1)."""
    if isinstance(initial, list):
        return "pmf", law(table(initial, task["states"] ** task["order"]))
    if initial == "stationary":
        refuse("alpha" in task, "stationary starts under a Dirichlet prior have no rational moments")
        return ("stationary",)
    refuse(not isinstance(initial, str) or not initial.startswith("correlated:"), "unknown start")
    numbers = [fraction(text) for text in initial[len("correlated:") :].split(",")]
    refuse(len(numbers) != 3 or not all(0 <= g <= 1 for g in numbers), "correlated start: three probabilities")
    refuse(task["states"] != 2 or task["order"] != 1, "correlated starts: two states, order 1")
    return ("correlated", *numbers)


def stationary(kernel, states, order):
    """The law over k-tuples that the kernel keeps, by elimination; refused unless it is the only one."""
    size = states**order
    step = [[Fraction(0)] * size for _ in range(size)]
    for row in range(size):
        for s in range(states):
            step[row][(row * states + s) % size] += kernel[row][s]
    system = [[step[r][c] - (r == c) for r in range(size)] + [Fraction(0)] for c in range(size)]
    system.append([Fraction(1)] * (size + 1))
    for column in range(size):
        pivot = next((r for r in range(column, size + 1) if system[r][column]), None)
        refuse(pivot is None, "a kernel with several stationary laws")
        system[column], system[pivot] = system[pivot], system[column]
        system[column] = [x / system[column][column] for x in system[column]]
        for r in range(size + 1):
            if r != column and system[r][column]:
                system[r] = [x - system[r][column] * y for x, y in zip(system[r], system[column], strict=True)]
    return [system[r][size] for r in range(size)]


def scenarios(task):
    """All (weight, kernel or None, start law of the query, start law of a context chain)."""
    kind, *numbers = task["starts"]
    for weight, kernel in task["kernels"]:
        if kind == "correlated":
            p, g0, g1 = numbers
            yield weight * (1 - p), kernel, [1, 0], [1 - g0, g0]
            yield weight * p, kernel, [0, 1], [1 - g1, g1]
        else:
            start = numbers[0] if numbers else stationary(kernel, task["states"], task["order"])
            yield weight, kernel, start, start


def groups(task, kernel, start, length):
    """{transition counts: [(weight, chain)]}; under one fixed kernel all chains are in one group."""
    states, order, found = task["states"], task["order"], {}
    for chain in product(range(states), repeat=length):
        counts, weight = [0] * states ** (order + 1), Fraction(start[_index(chain[:order], states)])
        for t in range(order, length):
            place = _index(chain[t - order : t + 1], states)
            if kernel is None:
                counts[place] += 1
            else:
                weight *= kernel[place // states][place % states]
        if weight:
            found.setdefault(tuple(counts), []).append((weight, chain))
    return found


def _index(digits, base):
    number = 0
    for digit in digits:
        number = number * base + digit
    return number


def pooled(alpha):
    """The function counts -> E of the product of P[r][s]^counts over independent Dirichlet rows."""

    @cache
    def row(r, counts):
        a = alpha[r]
        top = prod((a[s] + i for s, c in enumerate(counts) for i in range(c)), start=Fraction(1))
        return top / prod((sum(a) + i for i in range(sum(counts))), start=Fraction(1))

    @cache
    def value(counts):
        width = len(counts) // len(alpha)
        return prod((row(r, counts[r * width : (r + 1) * width]) for r in range(len(alpha))), start=Fraction(1))

    return value


def _add(*counts):
    return tuple(map(sum, zip(*counts, strict=True)))


def upper(n):
    """Pairs i <= k, row-major."""
    return [(i, k) for i in range(n) for k in range(i, n)]


def dimensions(task):
    """(J, D)."""
    if "regression" in task:
        return task["regression"], task["regression"] + 1
    d = task["length"] + task["bias"]
    return d - 1, d


def moments(task, embed, target):
    """H, h, E y^2, E y of a read task when state s enters as embed[s] and is to be predicted as target[s]."""
    if "regression" in task:
        return regression_moments(task)
    blocks, size = dimensions(task)
    wide, n = size * (size + 1) // 2, task["context"]
    H = [[Fraction(0)] * (blocks * wide) for _ in range(blocks * wide)]
    h, y2, y1 = [Fraction(0)] * (blocks * wide), Fraction(0), Fraction(0)
    average = pooled(task["alpha"]) if "alpha" in task else lambda _: Fraction(1)
    for chance, kernel, query_start, context_start in scenarios(task):
        contexts = _context_sums(task, groups(task, kernel, context_start, task["length"]), embed)
        for counts, members in groups(task, kernel, query_start, task["length"]).items():
            y2 += chance * average(counts) * sum(w * target[c[-1]] ** 2 for w, c in members)
            y1 += chance * average(counts) * sum(w * target[c[-1]] for w, c in members)
            mean = _combine([(average(_add(counts, c)), g) for c, (g, _) in contexts.items()], wide)
            for weight, chain in members:
                for j, x in enumerate(_inputs(task, chain[:-1], embed)):
                    factor = chance * weight * target[chain[-1]] * x
                    for p in range(wide) if factor else ():
                        h[j * wide + p] += factor * mean[p]
        for counts, members in groups(task, kernel, query_start, task["length"] - 1).items():
            gram = _second(counts, contexts, average, wide, n)
            xx = [[Fraction(0)] * blocks for _ in range(blocks)]
            for weight, chain in members:
                x = _inputs(task, chain, embed)
                for i, k in product(range(blocks), repeat=2):
                    xx[i][k] += chance * weight * x[i] * x[k]
            for i, k, p, r in product(range(blocks), range(blocks), range(wide), range(wide)):
                if xx[i][k] and gram[p][r]:
                    H[i * wide + p][k * wide + r] += xx[i][k] * gram[p][r]
    return H, h, y2, y1


def _inputs(task, chain, embed):
    return [embed[s] for s in chain] + [1] * task["bias"]


def _context_sums(task, members, embed):
    """{counts: (sum of weight vech(z z^T), sum of weight vech vech^T)}."""
    sums = {}
    for counts, chains in members.items():
        vectors = []
        for weight, chain in chains:
            z = [*_inputs(task, chain[:-1], embed), embed[chain[-1]]]
            vectors.append((weight, [z[i] * z[k] for i, k in upper(len(z))]))
        wide = range(len(vectors[0][1]))
        first = [sum(w * v[p] for w, v in vectors) for p in wide]
        sums[counts] = first, [[sum(w * v[p] * v[r] for w, v in vectors) for r in wide] for p in wide]
    return sums


def _combine(terms, wide):
    return [sum(w * v[p] for w, v in terms) for p in range(wide)]


def _second(counts, contexts, average, wide, n):
    """E[g g^T; query counts] = T4 / n + (1 - 1/n) sum over two distinct context chains."""
    total = [[Fraction(0)] * wide for _ in range(wide)]
    for c, (first, second) in contexts.items():
        one = average(_add(counts, c)) / n
        if n > 1:
            other = _combine([(average(_add(counts, c, e)), g) for e, (g, _) in contexts.items()], wide)
            other = [x * (1 - Fraction(1, n)) for x in other]
        else:
            other = [0] * wide
        for p, r in product(range(wide), repeat=2):
            total[p][r] += one * second[p][r] + first[p] * other[r]
    return total


def regression_moments(task):
    """The same for x ~ N(0, C), w ~ N(0, I), y = w.x: Isserlis given w, then Gaussian moments of w."""
    d, n, cov = task["regression"], task["context"], task["covariance"]
    one = (0,) * d
    unit = [tuple(int(i == k) for i in range(d)) for k in range(d)]
    sigma = [[{one: cov[i][k]} for k in range(d)] + [{unit[k]: cov[i][k] for k in range(d)}] for i in range(d)]
    square = {}
    for i, k in product(range(d), repeat=2):
        place = _add(unit[i], unit[k])
        square[place] = square.get(place, 0) + cov[i][k]
    sigma.append([sigma[i][d] for i in range(d)] + [square])

    def mean(*factors):
        total = Fraction(0)
        for terms in product(*(f.items() for f in factors)):
            powers = _add(*(t[0] for t in terms))
            if not any(p % 2 for p in powers):
                total += prod((t[1] for t in terms), start=Fraction(1)) * prod(prod(range(1, p, 2)) for p in powers)
        return total

    pairs = upper(d + 1)
    gram = [
        [
            mean(sigma[i][k], sigma[p][r])
            + (mean(sigma[i][p], sigma[k][r]) + mean(sigma[i][r], sigma[k][p])) * Fraction(1, n)
            for p, r in pairs
        ]
        for i, k in pairs
    ]
    H = [[cov[i][k] * g for k in range(d) for g in row] for i in range(d) for row in gram]
    h = [mean(sigma[j][d], sigma[i][k]) for j in range(d) for i, k in pairs]
    return H, h, mean(sigma[d][d]), Fraction(0)


def coordinates(task):
    """shift, unit and the integers k_s with value = shift + unit k_s."""
    if "regression" in task:
        return Fraction(0), Fraction(1), None
    values = task["values"]
    shift = min(values) if task["bias"] else Fraction(0)
    rest = [v - shift for v in values]
    scale = lcm(*(v.denominator for v in rest))
    unit = Fraction(gcd(*(int(v * scale) for v in rest)), scale) or Fraction(1)
    return shift, unit, [v / unit for v in rest]


def canonical_moments(task):
    """H, h, E y^2, E y with integer states; the target keeps its offset, in units."""
    shift, unit, k = coordinates(task)
    return moments(task, k, k and [shift / unit + x for x in k])


def complement(matrix):
    """The last diagonal entry after elimination of all others; refused unless their block is semidefinite.

    Integers only (Bareiss). A zero pivot needs a zero row: then the last column lies in the range of the block.
    """
    scale = lcm(*(x.denominator for row in matrix for x in row))
    refuse(scale.bit_length() > 6000, "numbers too long for this checker")
    rows = [[x.numerator * (scale // x.denominator) for x in row] for row in matrix]
    previous, size = 1, len(rows)
    for k in range(size - 1):
        head = rows[k]
        pivot = head[k]
        refuse(pivot < 0, "not positive semidefinite: a negative pivot")
        if pivot == 0:
            refuse(any(head[k + 1 :]), "not positive semidefinite, or not in the range: a zero pivot")
            continue
        for i in range(k + 1, size):
            row, factor = rows[i], head[i]
            for j in range(i, size):
                row[j] = (pivot * row[j] - factor * head[j]) // previous
        previous = pivot
    return Fraction(rows[-1][-1], previous * scale)
