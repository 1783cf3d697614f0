"""What a forger found who had read the code: files and quadratics that crashed, took long, or proved too much."""

import json
import time
from fractions import Fraction as F

import numpy as np
import pytest

from markov_icl.moments.problem import pose
from markov_icl.moments.system import Moments
from markov_icl.recovery.certificate.attained import attained
from markov_icl.recovery.certificate.certificate import Certificate
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask, RegressionTask, StationaryStart
from markov_icl.tasks.spec import task_from_header
from tests.recovery.certificate.examples import PLAIN, plain, posed
from tests.recovery.certificate.test_file import parts, write

LONG = {
    "a wide regression": {"regression": 20_000, "context": 3},
    "a long covariance": {"regression": 1, "context": 3, "covariance": [["1e400"]]},
    "a beta prior of a number": {"prior": {"beta": 5}},
    "values beyond doubles": {"values": ["1", "1e400"]},
    "a stationary law of many rows": {
        "order": 12,
        "length": 13,
        "initial": "stationary",
        "prior": {"finite": {"kernels": [[["1/2", "1/2"]] * 4096], "weights": ["1"]}},
    },
}


@pytest.mark.parametrize("name", LONG)
def test_tasks_that_crashed_or_took_minutes_are_refused_at_once(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="expected") as error:
        task_from_header(LONG[name])
    assert time.monotonic() - began < 5
    assert "\n" not in str(error.value)


def test_a_chain_that_would_fill_memory_is_refused_before() -> None:
    for length in (35, 200):
        with pytest.raises(ValueError, match=r"within 8 GB|at most"):
            pose(MarkovTask(length=length))


def test_fractions_of_many_digits_are_left_to_floats() -> None:
    short = {"prior": {"dirichlet": [["1/7", "1"], ["1", "3/7"]]}, "length": 3}
    assert pose(task_from_header(short)).given is not None
    rows = [[f"{10**300 + 3**k}/{10**300 + 7**k}", "1"] for k in range(16)]
    long = {"prior": {"dirichlet": rows}, "order": 4, "length": 5}
    assert pose(task_from_header(long)).given is None


def test_huge_parameters_have_no_finite_loss() -> None:
    for exactly in (True, False):
        with pytest.raises(ValueError, match="expected"):
            attained(posed(PLAIN), plain().b, plain().A * 1e200, exactly=exactly)


def test_an_asymmetric_quadratic_is_refused_rather_than_rounded() -> None:
    H = np.eye(3)
    H[0, 1], H[1, 0] = 1 - 2.0**-53, 1 - 2.0**-52
    with pytest.raises(ValueError, match="symmetric H"):
        certify(Moments(H, np.array([1.0, -1.0, 0.0]), 2.0**54, 1, 2, "given"))


def test_an_estimate_has_no_floor_at_zero(tmp_path) -> None:
    """Its stored quadratic may be anything: without leaves nothing is proved of it."""
    task = MarkovTask(length=2, context=10, initial=StationaryStart())
    path = tmp_path / "a.certificate"
    certify(task).save(path)
    header, tensors = parts(path)
    keys = {
        "Z": tensors["Z"][:0],
        "S": tensors["S"][:0],
        "paths": tensors["paths"][:0],
        "depths": tensors["depths"][:0],
    }
    write(path, header | {"lower": -1.0}, tensors | keys)
    with pytest.raises(ValueError, match="at least one leaf"):
        verify(Certificate.load(path))


def test_without_leaves_a_task_is_bounded_by_zero_and_no_more(tmp_path) -> None:
    path = tmp_path / "a.certificate"
    plain().save(path)
    header, tensors = parts(path)
    bare = tensors | {name: tensors[name][:0] for name in ("Z", "S", "paths", "depths")}
    write(path, header | {"lower": 0.0}, bare)
    assert verify(Certificate.load(path)).lower == 0
    assert verify(Certificate.load(path)).status == "bound"
    write(path, header, bare)
    with pytest.raises(ValueError, match="proved only"):
        verify(Certificate.load(path))


def test_types_of_tensors_that_numpy_does_not_know(tmp_path) -> None:
    path = tmp_path / "a.certificate"
    plain().save(path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + size])
    entries["b"] |= {"dtype": "F8_E4M3", "shape": [24]}
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    with pytest.raises(ValueError, match="expected a certificate file"):
        Certificate.load(path)


def test_covariances_of_both_signs_and_sizes() -> None:
    found = certify(RegressionTask(2, 5, ((F(2), F(-1)), (F(-1), F(3)))), time_limit=5.0)
    assert found.status == "certified"
    with pytest.raises(ValueError, match="1e-30 to 1e30"):
        RegressionTask(1, 5, ((F(1, 10**31),),))
