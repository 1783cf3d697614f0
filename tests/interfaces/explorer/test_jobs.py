"""Slow work: progress, results, one at a time for a session, a bound on all, an end at any moment."""

import time

import pytest

from markov_icl.interfaces.explorer.server.jobs import Failed, Jobs, Running
from markov_icl.interfaces.explorer.server.result import Result
from markov_icl.interfaces.explorer.view import Control, Outcome, Refused, View


def compute(values, report):
    """Sleep for ``n`` tenths of a second, or fail as told."""
    kind = values["kind"]
    if kind == "refused":
        raise Refused("n", "expected another n; got this one")
    if kind == "wrong":
        raise RuntimeError("secret")
    if kind == "dies":
        import os

        os._exit(3)
    for k in range(values["n"]):
        report(k / values["n"], f"part {k}")
        time.sleep(0.1)
    return Outcome((), "done", ({"n": values["n"]},))


KINDS = ("sleep", "refused", "wrong", "dies")
SLEEP = View(
    "sleep",
    "Sleep",
    "",
    (Control("n", "n", "integer", 1, 0, 1000), Control("kind", "kind", "choice", "sleep", choices=KINDS)),
    compute,
    lambda _: "sleep",
    slow=lambda _: True,
)


def views():
    return (SLEEP,)


@pytest.fixture(scope="module")
def jobs():
    made = Jobs(views, most=2)
    yield made
    made.close()


def state(jobs, session, n, kind="sleep"):
    return jobs.state(session, (n, kind), "sleep", {"n": n, "kind": kind})


def finished(jobs, session, n, kind="sleep", seconds=60):
    """Ask until the job has ended; return every answer."""
    answers = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answers.append(state(jobs, session, n, kind))
        if not isinstance(answers[-1], Running):
            return answers
        time.sleep(0.05)
    raise AssertionError("the job did not end")


def test_progress_grows_to_a_result(jobs):
    answers = finished(jobs, "a", 8)
    shares = [one.share for one in answers[:-1]]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert isinstance(answers[-1], Result)
    assert answers[-1].rows == ({"n": 8},)


def test_a_process_is_used_again(jobs):
    finished(jobs, "a", 0)
    process = jobs._idle[-1].process
    finished(jobs, "b", 0)
    assert jobs._idle[-1].process is process
    assert process.is_alive()


def test_another_computation_takes_the_place_of_a_session_s_last(jobs):
    state(jobs, "a", 900)
    process = jobs._jobs["a"].worker.process
    assert finished(jobs, "a", 1)[-1].rows == ({"n": 1},)
    assert not process.is_alive()


def test_stop_ends_the_process(jobs):
    state(jobs, "a", 900)
    process = jobs._jobs["a"].worker.process
    jobs.stop("a")
    assert not process.is_alive()
    jobs.stop("a")
    jobs.stop("never was")


def test_processes_are_bounded(jobs):
    state(jobs, "a", 900)
    state(jobs, "b", 901)
    with pytest.raises(ValueError, match="expected at most 2 long computations"):
        state(jobs, "c", 902)
    jobs.stop("a")
    assert isinstance(state(jobs, "c", 902), Running)
    jobs.stop("b")
    jobs.stop("c")


def test_failures_are_told_without_details(jobs):
    refused = finished(jobs, "a", 1, "refused")[-1]
    assert isinstance(refused, Failed)
    assert str(refused.error) == "expected another n; got this one"
    assert refused.error.control == "n"
    wrong = finished(jobs, "a", 1, "wrong")[-1]
    assert str(wrong.error) == "internal error: RuntimeError (please report it)"
    died = finished(jobs, "a", 1, "dies")[-1]
    assert "its process ended" in str(died.error)
    assert finished(jobs, "a", 0)[-1].words == "done"


def test_a_job_whose_page_is_gone_is_ended(jobs):
    state(jobs, "gone", 900)
    job = jobs._jobs["gone"]
    job.asked -= 1000
    until = time.monotonic() + 10
    while "gone" in jobs._jobs and time.monotonic() < until:
        time.sleep(0.1)
    assert "gone" not in jobs._jobs
    assert not job.worker.process.is_alive()


def test_close_leaves_no_process():
    made = Jobs(views)
    state(made, "a", 900)
    process = made._jobs["a"].worker.process
    made.close()
    assert not process.is_alive()
