"""Every sampler at every number of steps, of one network."""

import pandas
import pytest

from rovolad_lib.convert import priors_of
from rovolad_lib.diffusion import samplers
from rovolad_lib.lab import experiment, runs, walks
from rovolad_lib.lab.params import Parameters


def test_all_walks_of_a_network_are_scored(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    p = Parameters(preset="smoke", seed=0, force=False, steps=1)
    record, _ = experiment.experiment("sampler", encoded, {"prior": "robot"}, p, tmp_path, "cpu", walks.Walked((1, 4)))
    wanted = {f"{name}, {n}, {s}" for name in walks.WALKS["robot"] for n, s in
              ((1, "uniform"), (4, "uniform"), (4, "lambda"), (4, "trailing"))}  # fmt: skip
    assert set(record["walks"]) == wanted
    assert record["walks"]["bridge_sde, 1, uniform"] == pytest.approx(
        record["walks"]["bridge_ode, 1, uniform"]
    )  # one step is one
    points = walks.points(pandas.json_normalize([record]), "mel_distance")
    assert len(points) == len(wanted)
    heun = points[points["sampler"] == "heun"]
    assert heun["evaluations"].tolist() == [{1: 1, 4: 7}[n] for n in heun["steps"]]


def test_every_walk_is_a_sampler_of_a_prior():
    assert {given["sampler"] for named in walks.WALKS.values() for given in named.values()} == set(samplers.SAMPLERS)
    assert [len(priors_of(prior)) for prior in walks.WALKS] == [1, 1, 1]


def table():
    rows = [("a", 1, 5.0), ("a", 4, 2.0), ("b", 4, 3.0), ("heun", 4, 1.0)]
    return pandas.DataFrame([
        {"run": run, "prior": "robot", "sampler": s, "steps": n, "spacing": "lambda" if s == "a" and n == 4 else "uniform",
         "evaluations": walks.evaluations(s, n), "frechet": f + run / 10}
        for s, n, f in rows for run in (0, 1)
    ])  # fmt: skip


def test_the_best_walk_within_a_number_of_evaluations():
    (line,) = walks.best(table(), "frechet")
    assert line.startswith("robot, best within so many evaluations: 1: a 5.05 (5.00 to 5.10); 2: a 5.05 (5.00 to 5.10); ")
    assert "4: a lambda 2.05 (2.00 to 2.10); 8: heun 1.05 (1.00 to 1.10)" in line  # heun's four steps are seven evaluations
    assert walks.winner(table(), "frechet") == "robot heun 1.05 at 7"


def test_the_third_order_corrected_and_published():
    points = pandas.DataFrame([
        {"sampler": s, "steps": n, "spacing": "uniform", "frechet": f}
        for s, n, f in (("dpm_solver_pp 3", 4, 2.0), ("dpm_solver_pp 3", 8, 1.0), ("dpm_solver_pp 3 published", 4, 3.0),
                        ("dpm_solver_pp 3 published", 8, 1.5), ("ddim", 4, 9.0))
    ])  # fmt: skip
    assert walks.third_order(points, "frechet") == "order 3, corrected and published: 4: 2.00 and 3.00; 8: 1.00 and 1.50"


def test_schedules_and_scales_that_were_trained_are_ranked():
    rows = [("gaussian", s, c, k, f) for s, c, f in ((None, None, 2.0), ("sigmoid", 0.5, 1.0)) for k in range(2)]
    names = [f"parameters.{name}" for name in ("prior", "schedule", "scale", "seed")]
    frame = pandas.DataFrame(rows, columns=[*names, "metrics.frechet"])
    (line,) = walks.trained(frame, "frechet")
    assert line.startswith("gaussian, schedule and scale: sigmoid 0.5 1.00, cosine 1 2.00; cosine 1 / sigmoid 0.5 2.00 (")
    assert walks.trained(frame[:2], "frechet") == []
