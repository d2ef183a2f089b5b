"""Every sampler at every number of steps, of one network."""

import pandas
import pytest

from rovolad_lib.diffusion import samplers
from rovolad_lib.diffusion.named import priors_of
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
    assert len(points) == len(wanted) and set(points["path"]) == {"its own"}
    heun = points[points["sampler"] == "heun"]
    assert heun["evaluations"].tolist() == [{1: 1, 4: 7}[n] for n in heun["steps"]]


def test_every_walk_is_a_sampler_of_a_prior():
    assert {given["sampler"] for named in walks.WALKS.values() for given in named.values()} == set(samplers.SAMPLERS)
    assert [len(priors_of(prior)) for prior in walks.WALKS] == [1, 1, 1]


def table():
    rows = [("a", 1, 5.0), ("a", 4, 2.0), ("b", 4, 3.0), ("heun", 4, 1.0)]
    return pandas.DataFrame([
        {"run": run, "prior": "robot", "path": "its own", "sampler": s, "steps": n,
         "spacing": "lambda" if s == "a" and n == 4 else "uniform",
         "evaluations": walks.evaluations(s, n), "frechet": f + run / 10}
        for s, n, f in rows for run in (0, 1)
    ])  # fmt: skip


def test_the_best_walk_within_a_number_of_evaluations():
    found = walks.bests(table(), "frechet")
    assert found["within"].tolist() == list(walks.measure.STEPS) and found["evaluations"].tolist() == [1, 1, 4, 7, 7, 7]
    (line,) = walks.best(found, "frechet")
    # two seeds .1 apart: Student's 12.706 times .05
    assert line.startswith("robot, best within so many evaluations: 1: a 5.05 (4.41 to 5.69); 2: a 5.05 (4.41 to 5.69); ")
    assert "4: a lambda 2.05 (1.41 to 2.69); 8: heun 1.05 (0.41 to 1.69)" in line  # heun's four steps are seven evaluations
    assert walks.winner(found, "frechet") == "robot heun 1.05 at 7"


def test_a_walk_of_fewer_runs_wins_nothing_and_a_path_is_named():
    points = table().assign(prior="gaussian", path="sigmoid@0.5")
    lucky = points.iloc[:1].assign(path="cosine@1", frechet=0.1)
    found = walks.bests(pandas.concat([points, lucky]), "frechet")
    assert set(found["path"]) == {"sigmoid@0.5"} and walks.winner(found, "frechet") == "gaussian heun sigmoid@0.5 1.05 at 7"
    alone = walks.best(walks.bests(lucky, "frechet"), "frechet")
    assert alone[0].startswith("gaussian, best within so many evaluations: 1: a cosine@1 0.10 (one seed); ")


def test_a_network_of_another_schedule_is_walked_by_the_main_samplers(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    p = Parameters(preset="smoke", seed=0, force=False, steps=1)
    chosen = {"prior": "gaussian", "schedule": "sigmoid", "scale": 0.5}
    record, _ = experiment.experiment("sampler", encoded, chosen, p, tmp_path, "cpu", walks.Walked((1, 4)))
    assert set(record["walks"]) == {f"{name}, {n}, uniform" for name in walks.MAIN for n in (1, 4)}
    assert set(walks.points(pandas.json_normalize([record]), "mel_distance")["path"]) == {"sigmoid@0.5"}


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
    assert line.startswith("gaussian, schedule and scale: sigmoid@0.5 1.00, cosine@1 2.00; cosine@1 / sigmoid@0.5 2.00 (")
    assert walks.trained(frame[:2], "frechet") == []
