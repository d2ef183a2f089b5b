"""What the study of priors says is what its records say."""

import json
import math
import re

import numpy
import pandas
import pytest

from rovolad_lib.lab import answers, measure, rivals
from rovolad_lib.lab.paths import RESULTS
from rovolad_lib.lab.variants import HEADLINES

T = 4.302653  # Student's 97.5 % point at 2 degrees of freedom


def row(variant, seed, frechet, curve=None, budget=1.0, **metrics):
    """A record as a row; curve: {steps: Fréchet distance}, else the same at all steps."""
    named = {"variant": variant, "seed": seed, "budget": budget, "steps": 4, "corpus": "digits"}
    made = {f"parameters.{k}": v for k, v in named.items()} | {"metrics.frechet": frechet, "steps": int(100 * budget)}
    made |= {f"curve.{n}.frechet": (curve or {}).get(n, frechet) for n in measure.STEPS}
    return made | {f"metrics.{k}": v for k, v in metrics.items()}


def test_every_cause_is_two_runs_and_says_what_its_interval_says():
    values = {"first_rates": 8.0, "first_aligned": 2.0, "robot_none": 2.0, "robot": 2.1, "first": 4.0}
    frame = pandas.DataFrame([row(v, s, f * (1 + 0.01 * s)) for v, f in values.items() for s in range(3)])
    table = rivals.causes(frame)
    pairs = {(r["with"], r["without"]): (r["cause"], r["verdict"]) for r in table.to_dict("records")}
    assert pairs == {
        ("first_rates", "first_aligned"): ("no alignment", "yes"), ("robot_none", "robot"): ("no alignment", "no"),
        ("first", "first_rates"): ("a leak: one rate", "reverse"),
    }  # fmt: skip
    assert rivals.verdicts(table) == [
        "no alignment: first_rates / first_aligned 4.00 (4.00 to 4.00), a cause; robot_none / robot 0.95 (0.95 to 0.95), not one",
        "a leak: one rate: first / first_rates 0.50 (0.50 to 0.50), not one, the other way round",
    ]
    assert rivals.verdicts(rivals.causes(frame[:1])) == []


def test_fewest_steps_are_counted_seed_by_seed_against_the_gaussians_fifty():
    slow = {1: 9.0, 2: 8.0, 4: 5.0, 8: 4.0, 16: 3.0, 50: 2.0}
    rows = [row("gaussian", s, 5.0, slow) for s in range(3)]
    rows += [row("robot", s, 5.0, {**slow, 2: 2.0 if s else 2.1, 4: 1.0}) for s in range(3)]
    rows += [row("first", s, 9.0, dict.fromkeys(measure.STEPS, 9.0)) for s in range(3)]
    frame = pandas.DataFrame(rows)
    assert rivals.reached(frame) == {"gaussian": "50", "robot": "2 to 4", "first": "never"}
    assert rivals.best_steps(frame, "robot") == 4 and rivals.best_steps(frame, "gaussian") == 50
    assert rivals.reached(frame[frame["parameters.variant"] != "gaussian"]) == {}


def test_updates_are_those_of_the_shortest_whole_training_that_is_as_good_as_the_gaussian():
    scores = {"gaussian": (9.0, 6.0, 4.0), "robot": (6.0, 3.9, 3.0), "first": (9.0, 8.0, 7.0), "control": (None, None, 4.0)}
    every = pandas.DataFrame([
        row(v, s, f, budget=b) for v, three in scores.items() for s in range(2)
        for b, f in zip((0.25, 0.5, 1.0), three, strict=True) if f
    ])  # fmt: skip
    assert rivals.updates(every) == {"gaussian": "100", "robot": "50", "first": "never"}  # a control of one length says nothing


def test_the_answer_speaks_of_what_was_run_alone():
    frame = pandas.DataFrame([row("robot", s, 2.0, follows_swap=0.9, sharpness=0.8) for s in range(2)])
    title, lines = rivals.of_priors(frame, frame, pandas.DataFrame())
    assert title == "digits, frechet at 4 steps: robot 2.00"
    assert lines == ["words follow a swapped robot: robot 0.90", "sharpness: robot 0.80"]


def committed(study):
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted((RESULTS / "records" / study).glob("*.json"))]


@pytest.mark.parametrize("corpus", sorted({r["parameters"]["corpus"] for r in committed("ablation_prior")}))
def test_every_ratio_of_the_report_comes_from_the_committed_records(corpus):
    one = {"parameters": {"corpus": corpus, "preset": "small"}, "data": {"demo": False}}
    held, _ = answers.of_corpus("ablation_prior", RESULTS, one)
    frame, every = (measure.runs(held, 4, False, budget) for budget in (1.0, None))
    _, lines = rivals.of_priors(frame, every, pandas.DataFrame())
    wanted = set(frame["run_id"]) | set(every[every["parameters.budget"] != 1]["run_id"])
    runs = {
        (r["parameters"].get("budget", 1.0), r["parameters"]["variant"], r["parameters"]["seed"]): r
        for r in committed("ablation_prior") if r["run_id"] in wanted
    }  # fmt: skip
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    found = [
        (line, *pair) for line in lines if not re.match("both|the robot's", line)
        for pair in re.findall(r"(\w+) / (\w+) ([\d.]+) \(([\d.]+) to ([\d.]+)\)", line)
    ]  # fmt: skip
    for line, one, two, *figures in found:
        told, at_50 = re.match("at ([0-9.]+) times", line), re.search("50 steps|sampled in 50", line)
        budget = float(told[1]) if told else 1.0
        own = {k[1:]: r for k, r in runs.items() if k[0] == budget and k[1] in (one, two)}
        scores = {k: r["curve"]["50"] if at_50 else r["metrics"] for k, r in own.items()}
        seeds = [s for v, s in scores if v == one and (two, s) in scores]
        logs = numpy.log([scores[one, s]["frechet"] / scores[two, s]["frechet"] for s in seeds])
        half = {2: 12.7062, 3: T}[len(seeds)] * logs.std(ddof=1) / math.sqrt(len(seeds))
        expected = numpy.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
        assert numpy.array(figures, float) == pytest.approx(expected, abs=0.0051, rel=1e-4), (line, one, two)
        assert line in page
    assert found or len({v for _, v, _ in runs} & set(HEADLINES)) < 2
