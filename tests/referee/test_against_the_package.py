"""The package before its referee: two checkers that have not seen each other, certificates and forgeries of both."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from markov_icl.recovery.certificate.certificate import Certificate
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.spec import task_from_header
from tests.referee import build, checker, oracle
from tests.referee.forgeries import FORGERIES
from tests.referee.malformed import MALFORMED, RAW
from tests.referee.test_referee import CONE, SMALL, SPLIT, uniform
from tests.referee.write import read, write

TASKS = {name: task for name, task in SMALL.items() if name != "stationary"}
TASKS |= {
    "loose": uniform(3, 50, "99/100"),
    "values 0, 100": uniform(2, 100, "99/100", ("0", "100"), True),
    "regression": {"regression": 1, "context": 3, "covariance": [["2/3"]]},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize("name", TASKS)
def test_the_referee_proves_what_the_package_certifies(name, tmp_path):
    found = certify(task_from_header(TASKS[name]), time_limit=20.0)
    found.save(tmp_path / "a.safetensors")
    lower, upper = checker.check(tmp_path / "a.safetensors")
    assert found.lower <= lower <= upper <= found.upper + 1e-9 * max(1, found.upper)
    assert Fraction(found.upper) >= oracle.attained(TASKS[name], found.b.tolist(), found.A.tolist())
    best = oracle.hard_search(TASKS[name], starts=10)
    assert Fraction(found.lower) <= best.loss


@pytest.mark.parametrize("kind", ["rational", "interval", "float"])
@pytest.mark.parametrize("name", ["plain", "offset and bias", "finite", "correlated"])
def test_the_package_proves_what_the_referee_builds(name, kind, tmp_path):
    header, tensors = build.by_barrier(SMALL[name]) if name == "plain" else build.by_hand(SMALL[name])
    write(tmp_path / "a.safetensors", header | {"y2": None}, tensors)  # a task says it
    loaded = Certificate.load(tmp_path / "a.safetensors")
    lower, upper = checker.check(tmp_path / "a.safetensors")
    found = verify(replace(loaded, lower=loaded.lower - 1e-9, upper=loaded.upper + 1e-10), proof=kind)
    assert Fraction(found.lower) <= lower + Fraction(1, 10**9)
    assert Fraction(found.upper) >= oracle.attained(SMALL[name], loaded.b.tolist(), loaded.A.tolist())
    assert abs(float(upper) - found.upper) < 1e-9


def victims():
    """Valid certificates to forge from: of the package and of the referee, with and without cones and a task."""
    yield "plain", certify(task_from_header(SMALL["plain"]))
    yield "loose", certify(task_from_header(TASKS["loose"]))
    yield "bias", certify(task_from_header(uniform(2, 2, bias=True)))
    yield "scaled", certify(task_from_header(uniform(2, 5, values=("0", "100"))))


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("valid"), {}
    with threadpool_limits(1):
        for name, certificate in victims():
            certificate.save(folder / name)
            found[name] = read(folder / name)
        header, tensors = build.by_barrier(SMALL["plain"], [CONE], SPLIT)
        found["split"] = header | {"y2": None}, tensors
        found["stored"] = build.as_stored(*found["plain"])
    return found


@pytest.mark.parametrize("victim", ["plain", "loose", "bias", "scaled", "split", "stored"])
@pytest.mark.parametrize("name", FORGERIES)
def test_every_forgery_is_refused_in_one_line(name, victim, valid, tmp_path):
    header, tensors = valid[victim]
    try:
        forged = FORGERIES[name](dict(header), {key: value.copy() for key, value in tensors.items()})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        pytest.skip(f"cannot be forged from this one: {error}")
    write(tmp_path / "a.safetensors", *forged)
    refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", MALFORMED)
def test_every_malformed_file_is_refused_in_one_line(name, valid, tmp_path):
    header, tensors = valid["loose"]
    write(tmp_path / "a.safetensors", *MALFORMED[name](dict(header), {k: v.copy() for k, v in tensors.items()}))
    refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", RAW)
def test_every_file_of_wrong_bytes_is_refused_in_one_line(name, valid, tmp_path):
    header, tensors = valid["plain"]
    (tmp_path / "a.safetensors").write_bytes(RAW[name](dict(header), {k: v.copy() for k, v in tensors.items()}))
    refused(tmp_path / "a.safetensors")


def refused(path):
    with pytest.raises(ValueError) as error:
        verify(Certificate.load(path))
    words = str(error.value)
    assert words.startswith("expected")
    assert "\n" not in words
    assert len(words) < 400


def mutated(rng, header, tensors):
    """One random change anywhere: a field of the header, or one number, sign, row or shape of a tensor."""
    header, tensors = dict(header), {name: value.copy() for name, value in tensors.items()}
    if rng.random() < 0.3:
        field = rng.choice([name for name in header if name != "sha256"])
        values = [0, 1, -1, 2.5, 1e308, -1e-300, True, None, "x", [], {}, "1/2", 10**15, header.get("lower"), 1e-9]
        header[field] = values[rng.integers(len(values))]
        if isinstance(header["task"], dict) and header["task"] and rng.random() < 0.5:
            header["task"] = dict(header["task"])
            key = rng.choice(list(header["task"]))
            header["task"][key] = values[rng.integers(len(values))]
        return header, tensors
    name = rng.choice([key for key, value in tensors.items() if value.size])
    value = tensors[name]
    flat = value.reshape(-1)
    at = rng.integers(flat.size)
    if value.dtype.kind == "i":
        flat[at] += rng.integers(-2, 3)
    else:
        change = [lambda v: -v, lambda v: v * 2, lambda v: v * (1 + 2**-30), lambda v: 0 * v, lambda v: v + 1e-6]
        change += [
            lambda v: v * np.nan,
            lambda v: v + np.inf,
            lambda v: v * 1e-310,
            lambda v: v * 1e10,
            lambda v: -0.0 * v,
        ]
        flat[at] = change[rng.integers(len(change))](flat[at])
    if rng.random() < 0.1:
        tensors[name] = value[:-1].copy()
    return header, tensors


def outcome(path):
    try:
        return verify(Certificate.load(path)), ""
    except ValueError as error:
        return None, str(error)


def mutate(valid, count, seed, path):
    """Every mutated file is refused in one line, or what it proves is not above what is attained."""
    rng, refusals = np.random.default_rng(seed), 0
    attained = {name: header["upper"] for name, (header, _) in valid.items()}
    for _ in range(count):
        name = list(valid)[rng.integers(len(valid))]
        header, tensors = mutated(rng, *valid[name])
        write(path, header, tensors)
        found, words = outcome(path)
        if found is None:
            refusals += 1
            assert words.startswith("expected")
            assert "\n" not in words
            assert len(words) < 400
            continue
        assert found.lower <= found.upper
        same = all(np.array_equal(tensors[key], valid[name][1][key]) for key in ("H", "h") if key in tensors)
        if same and all(header[key] == valid[name][0][key] for key in ("task", "y2")):
            assert found.lower <= attained[name] * (1 + 1e-12) + 1e-15
    return refusals


def test_two_hundred_mutated_files(valid, tmp_path):
    assert mutate(valid, 200, 1, tmp_path / "a.safetensors") > 60


@pytest.mark.slow
def test_two_thousand_mutated_files(valid, tmp_path):
    assert mutate(valid, 2000, 2, tmp_path / "a.safetensors") > 600
