"""A device is a part of the spec: runs of a CPU and of a GPU have different names."""

import pytest
import torch

from markov_icl.experiments.registry import EXPERIMENTS, FIGURES, figure
from markov_icl.experiments.runs.devices import chosen_device, device_of, on_device
from markov_icl.experiments.runs.engine import run_all
from markov_icl.experiments.runs.finished import best_finished, finished
from markov_icl.experiments.runs.spec import code_of, run_key
from markov_icl.experiments.runs.store import Store
from markov_icl.experiments.runs.sweep import grid
from tests.experiments.figures.small_figures import shrink

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@pytest.mark.parametrize("name", FIGURES)
def test_runs_of_two_devices_are_different_runs(name):
    here = figure(name).specs("quick", 2)
    there = on_device(here, "cuda")
    code = code_of(EXPERIMENTS[name])
    trains = [spec for spec in here if "device" in spec.training]
    assert device_of(here) == "cpu"
    assert device_of(there) == ("cuda" if trains else "cpu")
    moved = {run_key(spec, code) for spec in there} - {run_key(spec, code) for spec in here}
    assert len(moved) == len(trains)
    assert bool(trains) == (name in ("fig3", "fig4", "fig5", "fig6", "fig7"))
    assert on_device(there, "cpu") == here


def test_finished_runs_are_those_of_the_device(monkeypatch, tmp_path):
    shrink(monkeypatch)
    place = Store(tmp_path / "store")
    outcomes = run_all(figure("fig4").specs("quick", 5), place, workers=1).outcomes
    code = code_of("figures.fig04")
    assert best_finished("fig4", place.folder) is not None
    assert finished("fig4", "quick", folder=place.folder, device="cuda") is None
    for outcome, spec in zip(outcomes, on_device(figure("fig4").specs("quick", 5), "cuda"), strict=True):
        place.write(spec, code, outcome.points, 1.0)
    there = finished("fig4", "quick", folder=place.folder, device="cuda")
    assert device_of(there) == "cuda"
    assert device_of(best_finished("fig4", place.folder)) == "cpu"


@NO_CUDA
def test_auto_is_settled_before_a_spec_is_made():
    assert chosen_device("auto") == "cpu"
    assert {spec.training["device"] for spec in grid({"training": {"device": "auto"}})} == {"cpu"}
    assert grid({"training": {"steps": 3}}, device="auto") == grid({"training": {"steps": 3}})
    with pytest.raises(ValueError, match="CUDA GPU for device cuda; found none"):
        grid({}, device="cuda")
    with pytest.raises(ValueError, match=r"grid over training\.device"):
        grid({"grid": {"training.device": ["cpu"]}}, device="cpu")
