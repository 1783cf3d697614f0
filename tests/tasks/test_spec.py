import json
from fractions import Fraction as F

import pytest

from markov_icl.tasks.kernels import DirichletPrior
from markov_icl.tasks.prompts import MarkovTask, RegressionTask
from markov_icl.tasks.spec import TaskSpec, task_from_file, task_to_dict
from tests.cases import NOT_POLYNOMIAL, POLYNOMIAL, REGRESSION

ALL = POLYNOMIAL | NOT_POLYNOMIAL | REGRESSION


@pytest.mark.parametrize("name", ALL)
def test_a_task_survives_its_own_text(name, tmp_path):
    path = tmp_path / "task.json"
    path.write_text(json.dumps(task_to_dict(ALL[name])))
    assert task_from_file(path) == ALL[name]


def test_forms_of_the_shared_options():
    def task(**fields):
        return TaskSpec.read(fields).task()

    assert task() == MarkovTask()
    assert task(prior="beta:1,2,3,4").prior == DirichletPrior(((2, 1), (4, 3)))
    assert task(states=3, prior="dirichlet:1/2").prior.alpha == ((F(1, 2),) * 3,) * 3
    assert task(states=3, prior="dirichlet:1,2,3").prior.alpha == ((1, 2, 3),) * 3
    assert task(initial="bernoulli:3/10").initial.pmf == (F(7, 10), F(3, 10))
    assert task(order=2, length=3, initial="bernoulli:0.5").initial.pmf == (F(1, 4),) * 4
    assert task(values="-1,1").values == (-1, 1)
    assert task(regression=3, context=5) == RegressionTask(3, 5)


def test_yaml_files_and_the_files_they_name(tmp_path):
    (tmp_path / "kernel.yaml").write_text("[[1/2, 1/2], [0.25, 0.75]]")
    (tmp_path / "finite.yaml").write_text("kernels: [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]\nweights: [1/4, 3/4]")
    task = tmp_path / "task.yaml"
    task.write_text("length: 3\nprior: fixed:kernel.yaml\n")
    assert task_from_file(task).prior.kernels == (((F(1, 2), F(1, 2)), (F(1, 4), F(3, 4))),)
    task.write_text("length: 3\nprior: finite:finite.yaml\n")
    assert task_from_file(task).prior.weights == (F(1, 4), F(3, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("length: 3\nlenth: 4", "'lenth'"),
        ("length: three", "length to be a valid integer"),
        ("length: 3.0", "length"),
        ("[1, 2]", "mapping"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("!!python/object/apply:os.system ['true']", "YAML or JSON"),
        ("a: [", "YAML or JSON"),
        ("prior: cauchy:1", "prior to be one of"),
        ("prior: uniform:1", "nothing after"),
        ("prior: 'beta:'", "parameters after"),
        ("prior: beta:1,1", "pair of Beta parameters"),
        ("prior: beta:1,1,1,0", "positive prior"),
        ("prior: {fixed: 3}", "kernel as rows"),
        ("prior: {finite: {kernels: 3}}", "keys kernels and weights"),
        ("prior: fixed:missing.yaml", "readable file"),
        ("states: 3\nprior: beta:1,1,1,1", "2 states with a Beta prior"),
        ("initial: bernoulli:1/2,1/3", "1 numbers after"),
        ("initial: bernoulli:3/2", "nonnegative"),
        ("initial: pmf:1/2,1/3", "sum to 1"),
        ("initial: correlated:1/2", "3 numbers after"),
        ("regression: 2\nlength: 3", "only context and covariance"),
        ("covariance: [[1]]", "only beside regression"),
    ],
)
def test_bad_files_are_explained_in_one_line(text, message, tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        task_from_file(path)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_explained(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(ValueError, match="expected"):
            task_from_file(path)
