"""A certificate's file is a schema: what it says beyond that is refused in one line, and no other file is opened."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from markov_icl.recovery.certificate.certificate import Certificate, _digest
from markov_icl.recovery.certificate.header import Header, read_header
from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.prompts import MarkovTask
from tests.recovery.certificate.examples import BIAS, LOOSE, biased, plain, posed, tree


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tree().save(tmp_path / "a.certificate")
    return tmp_path / "a.certificate"


def parts(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["certificate"]), tensors


def write(path: Path, header: dict, tensors: dict[str, np.ndarray], sealed: bool = True) -> None:
    """A file whose digest is right, whatever it says."""
    header = {name: value for name, value in header.items() if name != "sha256"} if sealed else header
    if sealed:
        header["sha256"] = _digest(header, tensors)
    save_file(tensors, path, metadata={"certificate": json.dumps(header, sort_keys=True)})


@pytest.mark.parametrize("make", [plain, tree, biased])
def test_file_round_trip(tmp_path: Path, make) -> None:
    found = make()
    found.save(tmp_path / "a.certificate")
    loaded = Certificate.load(tmp_path / "a.certificate")
    assert [one.name for one in tmp_path.iterdir()] == ["a.certificate"]
    for name in ("lower", "upper", "status", "verified", "nodes", "seconds", "tolerance", "task", "moment_error"):
        assert getattr(loaded, name) == getattr(found, name)
    for one, other in zip(loaded.leaves, found.leaves, strict=True):
        assert one.path == other.path
        assert np.array_equal(one.Z, other.Z)
        assert all(np.array_equal(s, t) for s, t in zip(one.S, other.S, strict=True))
        assert (one.null is None) == (other.null is None)
        assert one.null is None or np.array_equal(one.null, other.null)
    assert verify(loaded).lower == found.lower


def test_leaves_with_and_without_null_directions_travel_together(tmp_path: Path) -> None:
    leaf = biased().leaves[0]
    paths = (((0, 1), (1, 1)), ((0, 1), (1, -1)), ((0, -1),))
    S = np.zeros((biased().blocks * biased().dimension,) * 2)
    nulls = (leaf.null[:, :2], None, leaf.null[:, 1:])
    leaves = tuple(
        replace(leaf, path=path, S=(S,) * len(path), null=null) for path, null in zip(paths, nulls, strict=True)
    )
    made = replace(biased(), leaves=leaves, cones=np.stack([np.eye(biased().dimension)] * 2))
    made.save(tmp_path / "a.certificate")
    for one, null in zip(Certificate.load(tmp_path / "a.certificate").leaves, nulls, strict=True):
        assert (one.null is None) if null is None else np.array_equal(one.null, null)
    assert np.array_equal(made.null, np.hstack([nulls[0], nulls[2]]))
    assert plain().null is None


def test_a_quadratic_travels_too(tmp_path: Path) -> None:
    found = certify(posed(LOOSE).moments)
    found.save(tmp_path / "a.certificate")
    loaded = Certificate.load(tmp_path / "a.certificate")
    assert loaded.task is None
    assert np.array_equal(loaded.moments.H, found.moments.H)
    assert 0 <= verify(loaded).lower - found.lower < 1e-11


def test_every_altered_byte_is_refused(path: Path) -> None:
    good = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(good), 200):
        spoiled = bytearray(good)
        spoiled[at] ^= 1 << (at % 8)
        path.write_bytes(bytes(spoiled))
        with pytest.raises(ValueError, match="expected") as error:
            Certificate.load(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300


@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, -1])
def test_truncated_file_is_refused(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="expected a certificate file"):
        Certificate.load(path)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    for name in ("none", ".", "/dev/zero", "/dev/null"):
        with pytest.raises(FileNotFoundError, match="expected a certificate file"):
            Certificate.load(tmp_path / name)


HEADERS = {
    "version 2.0": ({"version": 2.0}, "version"),
    "version 3.0": ({"version": 3.0}, "version"),
    "version true": ({"version": True}, "version"),
    "version 4": ({"version": 4}, "version"),
    "version 1": ({"version": 1}, "version"),
    "version in words": ({"version": "3"}, "version"),
    "lower in words": ({"lower": "0.1"}, "lower"),
    "lower true": ({"lower": True}, "lower"),
    "lower nothing": ({"lower": None}, "lower"),
    "upper a list": ({"upper": [1.0]}, "upper"),
    "tolerance 0": ({"tolerance": 0.0}, "tolerance"),
    "tolerance negative": ({"tolerance": -1e-6}, "tolerance"),
    "seconds negative": ({"seconds": -1.0}, "seconds"),
    "status": ({"status": "proved"}, "status"),
    "verified": ({"verified": "magic"}, "verified"),
    "moment error": ({"moment_error": -1e-13}, "moment_error"),
    "moment error of 1": ({"moment_error": 1.0}, "moment_error"),
    "nodes 0": ({"nodes": 0}, "nodes"),
    "blocks 0": ({"blocks": 0}, "blocks"),
    "dimension 1": ({"dimension": 1}, "dimension"),
    "dimension large": ({"dimension": 10**12}, "dimension"),
    "digits": ({"nodes": 10**30}, "digits"),
    "another field": ({"data_error": 0.0}, "only the fields"),
    "task a list": ({"task": []}, "task"),
    "task empty": ({"task": {"states": "two"}}, "states"),
    "a prior in a file": ({"task": {"prior": {"fixed": "/dev/zero"}}}, "inline"),
    "a prior in a file, in words": ({"task": {"prior": "finite:/dev/zero"}}, "inline"),
    "task of other fields": ({"task": {"path": "/etc/passwd"}}, "task fields"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_none(path: Path, name: str) -> None:
    header, tensors = parts(path)
    changes, words = HEADERS[name]
    write(path, header | changes, tensors)
    with pytest.raises(ValueError, match=words) as error:
        Certificate.load(path)
    assert str(error.value).startswith("expected")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("field", sorted(Header.model_fields))
def test_every_field_is_needed(path: Path, field: str) -> None:
    header, tensors = parts(path)
    del header[field]
    write(path, header, tensors, sealed=field != "sha256")
    with pytest.raises(ValueError, match=f"expected {field} in the header"):
        Certificate.load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "fields; got list"),
        ("{", "in JSON"),
        ("[" * 100_000, "nested too deep|in JSON"),
        ('{"lower": NaN}', "finite numbers"),
        ('{"lower": Infinity}', "finite numbers"),
        ('{"lower": -Infinity}', "finite numbers"),
        ('{"nodes": ' + "9" * 30 + "}", "at most 18 digits"),
        ('{"nodes": ' + "9" * 19 + "}", "at most 18 digits"),
        ('{"nodes": ' + "9" * 18 + "}", "in the header; got none"),
        ('{"x": "' + "a" * 1_000_001 + '"}', "at most 1,000,000 characters"),
    ],
)
def test_text_that_is_no_header(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_header(text)


def test_a_digest_in_other_letters_is_refused(path: Path) -> None:
    header, tensors = parts(path)
    for digest in ("0" * 64, "0" * 63, header["sha256"].upper(), 7):
        write(path, header | {"sha256": digest}, tensors, sealed=False)
        with pytest.raises(ValueError, match="expected"):
            Certificate.load(path)


TENSORS = {
    "Z missing": (lambda t: t.pop("Z"), "a tensor Z"),
    "paths missing": (lambda t: t.pop("paths"), "a tensor paths"),
    "one more": (lambda t: t.update(extra=t["b"]), "only the tensors"),
    "b longer": (lambda t: t.update(b=np.append(t["b"], 1.0)), "b of shape"),
    "b in a column": (lambda t: t.update(b=t["b"][:, None]), "b of shape"),
    "b single": (lambda t: t.update(b=t["b"].astype(np.float32)), "b of shape"),
    "A nan": (lambda t: t.update(A=t["A"] * np.nan), "finite numbers in A"),
    "Z inf": (lambda t: t.update(Z=t["Z"] + np.inf), "finite numbers in Z"),
    "cones shape": (lambda t: t.update(cones=t["cones"][:, :-1]), "cones of shape"),
    "paths floats": (lambda t: t.update(paths=t["paths"].astype(float)), "paths of shape"),
    "depths negative": (lambda t: t.update(depths=-t["depths"]), "one depth"),
    "depths fewer": (lambda t: t.update(depths=t["depths"][:-1]), "one depth"),
    "depths too deep": (lambda t: t.update(depths=t["depths"] + 1), "steps and S"),
    "S fewer": (lambda t: t.update(S=t["S"][:-1]), "steps and S"),
    "paths fewer": (lambda t: t.update(paths=t["paths"][:-1]), "steps and S"),
    "null of no leaf": (lambda t: t.update(null=np.zeros((18, 1))), "null_counts"),
    "null counts": (
        lambda t: t.update(null=np.zeros((18, 1)), null_counts=np.zeros(len(t["depths"]), dtype=np.int64)),
        "null counts",
    ),
    "null counts negative": (
        lambda t: t.update(null=np.zeros((18, 0)), null_counts=np.array([1, -1] + [0] * (len(t["depths"]) - 2))),
        "null counts",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit(path: Path, name: str) -> None:
    header, tensors = parts(path)
    spoil, words = TENSORS[name]
    spoil(tensors)
    write(path, header, {key: np.ascontiguousarray(value) for key, value in tensors.items()})
    with pytest.raises(ValueError, match=words) as error:
        Certificate.load(path)
    assert len(str(error.value)) < 300


def test_a_stored_quadratic_has_to_be_symmetric(tmp_path: Path) -> None:
    path = tmp_path / "a.certificate"
    certify(posed(LOOSE).moments).save(path)
    header, tensors = parts(path)
    H = tensors["H"].copy()
    H[0, 1] += 1e-9
    write(path, header, tensors | {"H": H})
    with pytest.raises(ValueError, match="symmetric H"):
        Certificate.load(path)
    write(path, header, {name: value for name, value in tensors.items() if name != "h"})
    with pytest.raises(ValueError, match="a tensor h"):
        Certificate.load(path)
    write(path, header | {"y2": None}, tensors)
    with pytest.raises(ValueError, match="only the tensors"):
        Certificate.load(path)


def old_header(header: dict) -> dict:
    kept = {name: value for name, value in header.items() if name not in ("moment_error", "sha256")}
    return kept | {"version": 2, "method": None}


def test_older_files_open_where_they_prove_what_they_say(path: Path) -> None:
    header, tensors = parts(path)
    write(path, old_header(header), tensors)
    loaded = Certificate.load(path)
    assert verify(loaded).lower == tree().lower
    write(path, old_header(header) | {"lower": header["lower"] + 1e-6}, tensors)
    with pytest.raises(ValueError, match="proved only"):
        verify(Certificate.load(path))


def test_ends_of_older_files_count_for_a_little_less(path: Path) -> None:
    """No rounding was counted then: ends that are too good by 1e-10 of themselves are taken to be that much weaker."""
    header, tensors = parts(path)
    for share, good in ((5e-11, True), (2e-10, False)):
        for name, sign in (("lower", 1), ("upper", -1)):
            write(path, old_header(header) | {name: header[name] * (1 + sign * share)}, tensors)
            if good:
                assert verify(Certificate.load(path)).lower == tree().lower
            else:
                with pytest.raises(ValueError, match=r"proved only|at most the stated"):
                    verify(Certificate.load(path))
    for broken in ({"lower": None}, {"upper": "1"}, {"method": 1, "moment_error": None}):
        write(path, old_header(header) | broken, tensors)
        with pytest.raises(ValueError, match="expected"):
            Certificate.load(path)


def test_older_files_in_other_coordinates_say_so(tmp_path: Path) -> None:
    path = tmp_path / "a.certificate"
    for task in (
        MarkovTask(length=2, context=10, values=(0, 2)),
        MarkovTask(length=2, context=10, values=(1, 2), bias=True),
    ):
        certify(task, time_limit=2.0).save(path)
        header, tensors = parts(path)
        write(path, old_header(header), tensors)
        with pytest.raises(ValueError, match="certify again"):
            Certificate.load(path)


def test_tasks_that_would_take_long_are_refused_by_their_size_first(path: Path) -> None:
    header, tensors = parts(path)
    for change in ({"length": 4000}, {"states": 40_000}, {"order": 2, "length": 9}):
        task = {name: value for name, value in header["task"].items() if name not in ("prior", "initial", "values")}
        write(path, header | {"task": task | change}, tensors)
        with pytest.raises(ValueError, match=r"certificate with \(J, D\)|another task|positive definite|expected"):
            verify(Certificate.load(path))


def test_null_directions_of_another_leaf_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.certificate"
    biased().save(path)
    header, tensors = parts(path)
    tensors["null"] = tensors["null"][:, ::-1].copy()
    tensors["null"][:, 0] = 0
    write(path, header, tensors)
    with pytest.raises(ValueError, match="null directions"):
        verify(Certificate.load(path), posed(BIAS))
