"""The zero-shot table's arithmetic, on made-up similarities of which the answers are known."""

import math

import pandas
import pytest
import torch

from rovolad_lib.lab import likeness


def cell(voice, maker, group, similarity, judge=0.0, f0=1.0):
    return {"voice": voice, "made_by": maker, "group": group, "similarity": similarity, "right_minus_wrong": similarity - 0.5,
            "judge_similarity": judge, "f0_error": f0}  # fmt: skip


def table(**makers):
    """{maker: {voice: similarities of its groups}} as `cells` gives it."""
    return pandas.DataFrame([cell(voice, maker, group, value) for maker, voices in makers.items()
                             for voice, values in voices.items() for group, value in enumerate(values)])  # fmt: skip


FRAME = table(
    person={"a": [0.9, 0.9], "b": [0.9]}, autoencoder={"a": [0.8, 0.8], "b": [0.9]}, robot={"a": [0.4, 0.6], "b": [0.4, 0.6]},
    diffusion={"a": [0.5, 0.7], "b": [0.95, 0.85]},
)  # fmt: skip


def test_the_way_goes_from_the_robot_to_the_autoencoder():
    rows = likeness.summary(FRAME).set_index(["voice", "made_by"])
    assert rows.way_percent["a", "robot"] == 0 and rows.way_percent["b", "autoencoder"] == pytest.approx(100)
    assert rows.way_percent["a", "diffusion"] == pytest.approx(100 * (0.6 - 0.5) / (0.8 - 0.5))
    assert rows.way_percent["all", "diffusion"] == pytest.approx(100 * (0.75 - 0.5) / (0.85 - 0.5))  # .85: a voice counts once
    assert rows.right_minus_wrong["all", "diffusion"] == pytest.approx(0.25)


def test_intervals_are_over_groups_and_paired_with_the_robot_s():
    rows = likeness.summary(FRAME).set_index(["voice", "made_by"])
    one = rows.loc["a", "diffusion"]
    assert one.low == pytest.approx(0.5) and one.high == pytest.approx(0.7)  # of two groups, and .1 above the robot in both:
    assert one.way_low == pytest.approx(100 * 0.1 / 0.4) and one.way_high == pytest.approx(100 * 0.1 / 0.2)
    assert math.isnan(rows.way_low["a", "person"])


def test_the_error_rate_is_a_half_where_nothing_tells_the_made_from_the_person():
    rows = likeness.summary(FRAME).set_index(["voice", "made_by"])
    assert rows.eer["a", "diffusion"] == 0 and rows.eer["b", "diffusion"] == pytest.approx(0.25)  # one of two passes
    assert rows.eer["b", "person"] == pytest.approx(0.5)


def test_cells_hold_right_and_wrong_similarities():
    wave = torch.sin(torch.arange(16000) * 2 * math.pi * 200 / 16000) / 3
    held = {"a": [wave], "b": [torch.sin(torch.arange(16000) * 2 * math.pi * 100 / 16000) / 3]}
    turned = [lambda waves: torch.stack([_direction(wave) for wave in waves])] * 2
    frame = likeness.cells({("a", "robot"): [wave, held["b"][0]]}, held, turned)
    assert frame.similarity.tolist() == pytest.approx([1.0, 0.0], abs=1e-3)
    assert frame.right_minus_wrong.tolist() == pytest.approx([1.0, -1.0], abs=1e-3)
    assert frame.f0_error.tolist() == pytest.approx([0.0, 12.0], abs=0.1)
    alone = likeness.cells({("a", "robot"): [wave]}, {"a": [wave]}, turned)
    assert alone.right_minus_wrong.isna().all()


def _direction(wave):
    """(2,): one axis for 200 Hz, the other for 100 Hz."""
    spectrum = torch.fft.rfft(wave).abs()  # bins of 1 Hz
    return torch.stack([spectrum[200], spectrum[100]]) / spectrum.max()


def test_agreement_is_the_correlation_of_ranks():
    frame = pandas.DataFrame([cell("a", maker, 0, s, j) for maker, s, j in (("x", 0.1, 5), ("y", 0.2, 90), ("z", 0.9, 91))])
    assert likeness.agreement(frame)["makers"] == pytest.approx(1.0)
    frame.judge_similarity = [91, 90, 5]
    assert likeness.agreement(frame) == {"makers": pytest.approx(-1.0), "voices_and_makers": pytest.approx(-1.0)}
