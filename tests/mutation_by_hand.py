"""Removals from the trusted base, one check or one error term each: what a reader would try first.

The first were found alive by the mutation run that the rewrite of the trusted base answers: each let a false bound
through, or went unseen. ``removals`` ends with all checks gone at once.
"""

BOUND, FLOAT, NULL = (f"recovery/certificate/{name}.py" for name in ("exact_bound", "floating_bound", "null_columns"))
VERIFY, ATTAINED, LIFT = (f"recovery/certificate/{name}.py" for name in ("verify", "attained", "lift"))
FILE, HEADER = "recovery/certificate/certificate.py", "recovery/certificate/header.py"
ENCLOSURE, PROBLEM, UNITS, RATIONALS = "moments/enclosure.py", "moments/problem.py", "tasks/units.py", "rationals.py"

CHECKS = [  # each of these let a bound above an attained loss through, or would
    (BOUND, '        ldl([[exact[a][b] for b in keep] for a in keep], [], "S")\n', ""),
    (FLOAT, "if s.any() and not smallest_eigenvalue_bound(s[keep][:, keep], None) >= 0:", "if False:"),
    (FLOAT, "if not smallest > 0:", "if False:"),
    (VERIFY, "not certificate_vanishes(Z, leaf.S, leaf.null)", "False"),
    (VERIFY, "not problem_vanishes(posed, leaf.null)", "False"),
    (VERIFY, "if not (np.array_equal(C, C.T) and np.array_equal(S, S.T)):", "if False:"),
    (VERIFY, "    if not covers([leaf.path for leaf in certificate.leaves]):", "    if False:"),
    (VERIFY, "if any(not 0 <= cone < len(certificate.cones) for cone, _ in leaf.path):", "if False:"),
    (VERIFY, "if not lower >= certificate.lower - slack * size:", "if False:"),
    (VERIFY, "if not upper <= certificate.upper + slack * size:", "if False:"),
    (VERIFY, "if not lower <= upper:", "if False:"),
    (VERIFY, "    if not np.isfinite(bound):", "    if False:"),
    (VERIFY, "    if not np.isfinite(array).all():", "    if False:"),
    (VERIFY, "if array.shape != shape or array.dtype != np.float64:", "if False:"),
    (VERIFY, "if len(leaf.S) != len(leaf.path):", "if False:"),
    (VERIFY, "    if have != want:", "    if False:"),
    (RATIONALS, "if not row[k] > 0:", "if row[k] == 0:"),
    (NULL, "    if rational_matrix(null[~keep]).rank() != k:", "    if False:"),
    (NULL, "        if rational_matrix(stacked[:, ~keep]).rank() != rank:", "        if False:"),
    (FILE, "if _digest(digested, tensors) != header.sha256:", "if False:"),
    (FLOAT, "    if not (diagonal > 0).all():", "    if False:"),
    (ENCLOSURE, "or moments.h[roots == 0].any()", ""),
    (PROBLEM, "if problem.H.transpose() != problem.H:", "if False:"),
]
# Not in the list, since nothing can see them: TINY in _assemble (smaller diagonals overflow the scaling and are
# refused), and the last rounding of a loss in floats (what is charged before has ten more to spare).
TERMS = [
    (BOUND, "range(m) if null is None", "range(m - 1) if null is None"),
    (BOUND, "for b in keep] for a in keep], [], ", "for b in keep[:-1]] for a in keep[:-1]], [], "),
    (VERIFY, "np.array_equal(C, C.T) and np.array_equal(S, S.T)", "np.array_equal(C, C.T) or np.array_equal(S, S.T)"),
    (NULL, "    if not _product_vanishes(Z, null):\n        return False\n", ""),
    (NULL, "    return all(_product_vanishes(s, _factors(null, len(s)).T) for s in S if s.any())", "    return True"),
    (NULL, "_zero(posed.exact.H * merged) and ", ""),
    (NULL, " and _zero(posed.exact.h.transpose() * merged)", ""),
    (NULL, "        return _features_vanish(posed.whole, merged)", "        return True"),
    (NULL, "        return False\n    return _zero(posed", "        return True\n    return _zero(posed"),
    (NULL, "if _product_vanishes(S, row[:, None])]", "]"),
    (NULL, "            possible &= positive[row, state]\n", "            possible &= positive[row, state] | True\n"),
    (VERIFY, "lowest = min(leaf_bound", "lowest = max(leaf_bound"),
    (VERIFY, '    if kind == "float":\n        bound', "    if True:\n        bound"),
    (VERIFY, "lower = rounded_down(Fraction(lowest)", "lower = rounded_up(Fraction(lowest)"),
    (VERIFY, "certificate.verified) else 0.0", "certificate.verified) else 1.0"),
    (BOUND, "value.lower().man_exp()", "value.mid().man_exp()"),
    (BOUND, "float(np.nextafter(nearest, -np.inf))", "float(np.nextafter(nearest, np.inf))"),
    (BOUND, "return nearest if Fraction(nearest) <= exact else", "return nearest if True else"),
    (BOUND, "return -rounded_down(-exact)", "return rounded_down(exact)"),
    (FLOAT, "UNIT = 2.0**-53", "UNIT = 0.0"),
    (FLOAT, "TINY = 2.0**-1000", "TINY = 0.0"),
    (FLOAT, "bound = residual * (1 + gamma(n * n + 10)) + ", "bound = "),
    (FLOAT, "+ gamma(n + 2) * trace", ""),
    (FLOAT, "        bound += float(np.linalg.norm(error)) * (1 + gamma(n * n + 10))\n", "        pass\n"),
    (FLOAT, " - enclosure.relative * float(roots @ roots) * _SLACK", ""),
    (FLOAT, "vague_q = enclosure.relative * enclosure.size * roots * _SLACK", "vague_q = 0 * roots"),
    (FLOAT, "loss = vague + norm**2 / smallest * _SLACK + e * enclosure.size**2 + n * TINY", "loss = 0.0"),
    (FLOAT, "loss = vague + ", "loss = "),
    (FLOAT, " + norm**2 / smallest * _SLACK", ""),
    (FLOAT, " + e * enclosure.size**2", ""),
    (FLOAT, "error @ size + e * float(roots @ size) * roots + vague_q", "error @ size + vague_q"),
    (FLOAT, "vague_r += error @ size + ", "vague_r += "),
    (FLOAT, "e * float(roots @ size) * roots + vague_q", "e * float(roots @ size) * roots"),
    (FLOAT, "float(size @ (vague_r + vague_q))", "float(size @ vague_r)"),
    (FLOAT, "float(size @ (vague_r + vague_q))", "float(size @ vague_q)"),
    (FLOAT, " + float(np.linalg.norm(vague_r)))", ")"),
    (FLOAT, "norm = (float(np.linalg.norm(residual)) + ", "norm = ("),
    (FLOAT, "value = y2 - float(q @ x) - float(x @ residual)", "value = y2 - float(q @ x)"),
    (FLOAT, "size * gamma(2 * len(S) + 3) + (len(S) + 1) * TINY", "0 * size + (len(S) + 1) * TINY"),
    (ATTAINED, "rounding + data + lost", "data + lost"),
    (ATTAINED, "rounding + data + lost", "rounding + lost"),
    (ATTAINED, "rounding + data + lost", "rounding + data"),
    (ATTAINED, "np.nextafter(value + (", "np.nextafter(value - ("),
    (ATTAINED, "return rounded_up(posed.exact.loss(", "return rounded_down(posed.exact.loss("),
    (ENCLOSURE, "_UNIT = 2.0**-53", "_UNIT = 1e-300"),
    (ENCLOSURE, "return Enclosure(2 * _UNIT, roots, size)", "return Enclosure(0.0, roots, size)"),
    (ENCLOSURE, "    count = roundings(task, rule)\n", "    count = 0.001\n"),
    (ENCLOSURE, "(1 - relative) + lost) * _SLACK\n    return", "(1 - relative)) * _SLACK\n    return"),
    (ENCLOSURE, "        H, _, y2 = accumulate(task, rule, absolute=True).dense(task)\n", "        pass\n"),
    (ENCLOSURE, "    H, y2 = absolute_moments(task)", "    H, y2 = regression_moments(task).H, 1.0"),
    (PROBLEM, "proved=not problem.is_estimate", "proved=True"),
    (PROBLEM, "units, problem, whole, proved=False)", "units, problem, whole, proved=True)"),
    (PROBLEM, "replace(enclosure, size=size)", "enclosure"),
    (LIFT, "    Z[columns, :, rows, :] = -half", "    Z[columns, :, rows, :] = half"),
    (LIFT, "    half[:, t, s] = -z", "    half[:, t, s] = z"),
    (HEADER, "not whole_units(found)[1].trivial", "False"),
    (UNITS, "return T.T @ b, T.T @ A @ Tx / self.unit", "return T.T @ b, T.T @ A @ Tx"),
]


def removals(source):
    """Return every removal as a mutant ``(file, line, old, new, {file: text})``, and one with all checks gone."""
    out, together = [], {}
    for name, old, new in CHECKS + TERMS:
        text = (source / name).read_text()
        if text.count(old) != 1:
            raise ValueError(f"expected {old!r} once in {name}; got it {text.count(old)} times")
        out.append((name, text[: text.index(old)].count("\n") + 1, old, new, {name: text.replace(old, new)}))
        if (name, old, new) in CHECKS:
            together[name] = together.get(name, text).replace(old, new)
    return [*out, (VERIFY, 0, "all checks", "none", together)]
