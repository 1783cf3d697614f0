"""Mutants of the trusted base, and which of them no test sees. Not a test: `python tests/mutation.py --by-hand`.

The package and its tests are copied to a temporary folder; one mutant at a time is written there and the tests about
the trusted base run against it until one fails. Two kinds: one removal of a check or an error term each, by hand
(`tests/mutation_by_hand.py`), and random ones (`--count 160 --seed 1`), spread over the files by their lines.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
for heavy in ("beartype", "clarabel", "flint", "numpy", "pydantic", "safetensors.numpy"):
    importlib.import_module(heavy)
for heavy in ("scipy.linalg", "scipy.optimize", "scipy.sparse.linalg", "threadpoolctl"):
    importlib.import_module(heavy)

import pytest  # noqa: E402

ROOT = Path(__file__).parents[1]
SOURCE = "src/markov_icl/"
TRUSTED = [f"recovery/certificate/{p.name}" for p in sorted((ROOT / SOURCE / "recovery/certificate").glob("[a-z]*.py"))]
UNITS = "tasks/units.py"
TRUSTED += ["moments/beta_rule.py", "moments/enclosure.py", "moments/problem.py", UNITS, "rationals.py"]
FOLDER = "tests/recovery/certificate/"
TESTS = [FOLDER + f"test_{name}.py" for name in ("floating_bound", "null_columns", "verify", "file")]
TESTS += ["tests/moments/test_enclosure.py", "tests/moments/test_beta_rule.py"]
TESTS += ["tests/tasks/test_units.py", "tests/referee/test_against_the_package.py"]
FEWER = "not forgery or loose"
"""Of six victims of every forgery one, for time."""
SECONDS = 90
"""A mutant that takes longer than this does not end: killed."""

COMPARED = {ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.Lt]}
COMPARED |= {ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.In: [ast.NotIn], ast.NotIn: [ast.In]}
COMPARED |= {ast.Is: [ast.IsNot], ast.IsNot: [ast.Is]}
COMPUTED = {ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Add, ast.Div], ast.Div: [ast.Mult]}
COMPUTED |= {ast.FloorDiv: [ast.Mult], ast.Pow: [ast.Mult], ast.MatMult: [], ast.BitOr: [], ast.BitAnd: [ast.BitOr]}
CALLED = {"min": "max", "max": "min", "all": "any", "any": "all", "triu_indices": "tril_indices", "lower": "upper"}
DROPPED = {"abs", "sqrt", "round", "maximum"}


def changed(node):
    """Yield what an expression or a statement may become."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            for other in COMPARED.get(type(op), []):
                new = copy.deepcopy(node)
                new.ops[at] = other()
                yield new
    elif isinstance(node, ast.BinOp):
        yield from (ast.BinOp(node.left, other(), node.right) for other in COMPUTED.get(type(node.op), []))
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for at in range(len(node.values)):  # one of the conditions is not looked at
            yield ast.BoolOp(node.op, [value for i, value in enumerate(node.values) if i != at])
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        values = (
            [node.value + 1, node.value - 1]
            if type(node.value) is int
            else [2 * node.value or 1.0, 0.0][: 1 + bool(node.value)]
        )
        yield from (ast.Constant(value) for value in values)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in CALLED:
            new = copy.deepcopy(node)
            setattr(new.func, "attr" if isinstance(new.func, ast.Attribute) else "id", CALLED[name])
            yield new
        if name in DROPPED and node.args:
            yield node.args[0]
    elif isinstance(node, ast.Raise | ast.AugAssign | ast.Expr | ast.Continue | ast.For | ast.While):
        yield ast.Pass()
        if isinstance(node, ast.AugAssign):
            others = COMPUTED.get(type(node.op), [])
            yield from (ast.AugAssign(node.target, other(), node.value) for other in others)
    elif isinstance(node, ast.If):
        yield ast.Pass()
        yield ast.If(ast.Constant(True), node.body, node.orelse)
    elif isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.Constant(None))
        if isinstance(node.value, ast.BinOp | ast.Name | ast.Compare):
            yield ast.Return(ast.UnaryOp(ast.Not() if isinstance(node.value, ast.Compare) else ast.USub(), node.value))


def nodes(tree):
    """Yield every expression and statement that runs: no annotation, import, message or docstring."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Global):
            continue
        if isinstance(node, ast.keyword) and node.arg == "strict":  # lengths that are equal anyway
            continue
        if isinstance(node, ast.expr | ast.stmt):
            yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "exc", "cause", "type_params"):
                continue
            waiting += [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, ast.AST)]


def mutants(text):
    """Return every mutant of a file as ``(line, old, new, text)``, in the order of the file."""
    lines = text.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:k])) for k in range(len(lines) + 1)]
    found = []
    for node in nodes(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        for new in changed(node):
            words = ast.unparse(ast.fix_missing_locations(new))
            if isinstance(new, ast.stmt):
                words = words.replace("\n", "\n" + " " * node.col_offset)
            elif not isinstance(new, ast.Constant | ast.Call):
                words = f"({words})"
            whole = text.encode()
            found.append(
                (node.lineno, whole[begin:end].decode(), words, (whole[:begin] + words.encode() + whole[end:]))
            )
    return sorted(((a, b, c, d.decode()) for a, b, c, d in found), key=lambda mutant: mutant[0])


def drawn(count, seed):
    """Return ``count`` mutants ``(file, line, old, new, {file: text})``, as many of a file as its lines ask for."""
    texts = {name: (ROOT / SOURCE / name).read_text() for name in TRUSTED}
    total, out = sum(text.count("\n") for text in texts.values()), []
    for name, text in texts.items():
        found = mutants(text)
        share = min(len(found), max(3, round(count * text.count("\n") / total)))
        chosen = sorted(random.Random(f"{seed} {name}").sample(found, share), key=lambda mutant: mutant[0])
        out += [(name, line, old, new, {name: words}) for line, old, new, words in chosen]
    return out


def ordered(name):
    """Return the tests, those about a file before all others."""
    stem = {"problem": "enclosure", "certificate": "file", "header": "file"}
    stem |= {"lift": "floating_bound", "attained": "floating_bound", "exact_bound": "verify"}
    own = stem.get(Path(name).stem, Path(name).stem)
    seeing = [
        test for test in TESTS if not (name.startswith("recovery/") and test.startswith(("tests/mom", "tests/tas")))
    ]
    return sorted(seeing, key=lambda test: Path(test).stem != f"test_{own}")


def failing(folder, name, compiled=True):
    """Return the first test that fails for what is in a folder; None if all pass. ``compiled``: take, make no .pyc."""
    words = folder / "words"
    child = os.fork()  # what the package imports is imported already, the package is not
    if child == 0:
        code = 1
        try:
            with words.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.chdir(folder)
            sys.dont_write_bytecode = compiled
            sys.path.insert(0, str(folder / "src"))
            tests = [test for test in ordered(name) if (folder / test).exists()]
            code = int(pytest.main(["-qx", "-p", "no:cacheprovider", "-m", "not slow", "-k", FEWER, "--tb=no", *tests]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    began, status = time.monotonic(), None
    while status is None and time.monotonic() - began < SECONDS:
        time.sleep(0.02)
        ended, found = os.waitpid(child, os.WNOHANG)
        status = found if ended else None
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "no end"
    if status == 0:
        return None
    named = [line for line in words.read_text().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return (named or [f"does not import ({status})"])[0].split("::")[-1].split(" - ")[0]


def survivors(chosen, log):
    """Try mutants ``(file, line, old, new, {file: text})``; say of each what killed it; return those that live."""
    tried, alive, first = Counter(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        if failing(folder, UNITS, compiled=False) is not None:
            raise ValueError("expected tests that pass without any mutant; got one that fails")
        for name, line, old, new, texts in chosen:
            good = {other: (folder / SOURCE / other).read_text() for other in texts}
            for other, text in texts.items():
                (folder / SOURCE / other).write_text(text)
            began = time.monotonic()
            killer = failing(folder, name)
            took = time.monotonic() - began
            for other, text in good.items():
                (folder / SOURCE / other).write_text(text)
            tried[name] += 1
            if killer is None:
                alive.append((name, line, old, new))
            print(
                f"{killer or 'ALIVE'} | {name}:{line} | {old!r:.90} -> {new!r:.90} | {took:.0f} s", file=log, flush=True
            )
    left = Counter(name for name, *_ in alive)
    for name, count in tried.items():
        print(f"{name}: {count} tried, {count - left[name]} killed, {left[name]} alive", file=log)
    print(f"{len(chosen)} tried, {len(alive)} alive, {time.monotonic() - first:.0f} s", file=log, flush=True)
    return alive


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by-hand", action="store_true", help="the removals listed in tests/mutation_by_hand.py")
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants whose file:line, old or new text has this in it")
    options = parser.parse_args()
    if options.by_hand:
        from mutation_by_hand import removals

        chosen = removals(ROOT / SOURCE)
    else:
        chosen = drawn(options.count, options.seed)
    chosen = [one for one in chosen if options.only in f"{one[0]}:{one[1]} {one[2]} {one[3]}"]
    return bool(survivors(chosen, sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
