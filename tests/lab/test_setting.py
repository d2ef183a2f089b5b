from dataclasses import asdict

import pytest

from rovolad_lib.diffusion.named import priors_of
from rovolad_lib.lab.params import Parameters
from rovolad_lib.lab.setting import Setting, named_runs
from rovolad_lib.lab.variants import CAUSES, HEADLINES, VARIANTS

PLAIN = dict(
    variant="given", prior="robot", condition="on", align="dtw", ae="shared", pad="post", mask="on", schedule="cosine",
    sampler="ddpm", scale=1.0, steps=4, budget=1.0, preset="small", seed=0,
)  # fmt: skip


def asked(**given):
    return named_runs(Parameters(**PLAIN | given))


def setting(name):
    return asdict(Setting(**{k: v for k, v in VARIANTS[name].items() if k != "steps"}))


def test_every_variant_is_a_run_of_its_own():
    found = asked(variant="all")
    assert [run["variant"] for run in found] == list(VARIANTS) and set(HEADLINES) <= set(VARIANTS)
    assert len({tuple(setting(name).items()) for name in VARIANTS}) == len(VARIANTS)
    assert {run["variant"]: run["steps"] for run in found}["one_shot"] == 1 and found[0]["steps"] == 4


@pytest.mark.parametrize(
    ("cause", "field"),
    [
        ("no alignment", "align"), ("a leak: no noise", "noise"), ("a leak: one rate", "robots"), ("two spaces", "ae"),
        ("the robot is a poor mean", "mapped"), ("robot not given", "condition"),
    ],
)  # fmt: skip
def test_a_cause_is_isolated_by_one_field(cause, field):
    for one, two in CAUSES[cause]:
        differ = [name for name, value in setting(one).items() if setting(two)[name] != value]
        assert differ == [field], (one, two)


def test_the_control_differs_from_the_bridge_in_where_it_ends():
    one, two = setting("robot"), setting("control")
    assert [name for name in one if one[name] != two[name]] == ["end"]
    assert {name for pairs in CAUSES.values() for pair in pairs for name in pair} <= set(VARIANTS)


def test_parameters_are_called_by_the_variant_that_they_are():
    assert [run["variant"] for run in asked(prior="all")] == ["gaussian", "robot", "mixed", "both"]
    (alone,) = asked(prior="gaussian", condition="off")
    assert alone["variant"] == "gaussian_alone" and (alone["mapped"], alone["voice"]) == ("none", "off")
    assert alone["schedule"] is None and alone["scale"] is None  # as the prior has them
    assert asked(prior="robot", align="none") == asked(variant="robot_none", prior="all")
    searched = asked(prior="gaussian", schedule=["linear"][0], scale=0.5)[0]
    assert searched["variant"] == "gaussian, schedule linear, scale 0.5" and searched["schedule"] == "linear"
    longer = asked(variant="first", budget=8.0, pad="pre", steps="all")
    assert {run["variant"] for run in longer} == {"first, pad pre"} and {run["budget"] for run in longer} == {8.0}
    assert [run["steps"] for run in longer] == [1, 2, 4, 8, 16, 32]
    assert asked(mask="off", pad="pre")[0]["variant"] == "pad pre, mask off"


def test_a_schedule_is_rescaled_to_end_without_signal():
    prior = priors_of(Setting(prior="gaussian", schedule="scaled_linear_zero").named(1.0))[0]
    plain = priors_of(Setting(prior="gaussian", schedule="scaled_linear").named(1.0))[0]
    assert prior.coefficients(1.0)[1] == 0 < plain.coefficients(1.0)[1]
    assert float(prior.coefficients(0.5)[1]) == pytest.approx(float(plain.coefficients(0.5)[1]), rel=0.1)


def test_what_does_not_go_together_is_said():
    with pytest.raises(ValueError, match="schedule has no meaning under prior 'robot'"):
        asked(schedule="linear")
    with pytest.raises(ValueError, match="robots 'one' have no alignment by DTW; accepted: align linear, none"):
        Setting(robots="one")
    with pytest.raises(ValueError, match="shortest=129; accepted: 0 to 128"):
        Setting(shortest=129)
