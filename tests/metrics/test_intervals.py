import math

import pytest
import torch

from rovolad_lib.metrics import intervals


def test_a_ratio_is_of_paired_seeds_with_student_s_interval():
    b = torch.tensor([1.0, 20.0, 300.0])  # what a seed does to both cancels
    mean, low, high = intervals.ratio(b * torch.tensor([0.1, 0.2, 0.3]).exp(), b)
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert mean == pytest.approx(math.exp(0.2), rel=1e-5)
    assert (math.log(low), math.log(high)) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-4)
    assert intervals.ratio([3.0], [2.0]) == (pytest.approx(1.5), 0.0, math.inf)
    with pytest.raises(ValueError, match="12 seeds; accepted: 1 to 11"):
        intervals.ratio(torch.ones(12), torch.ones(12))


def test_an_interval_of_a_mean_over_seeds_is_student_s():
    half = 4.302653 / math.sqrt(3)
    assert intervals.of_mean([1.0, 2.0, 3.0]) == (pytest.approx(2 - half, abs=1e-3), pytest.approx(2 + half, abs=1e-3))
    assert all(math.isnan(bound) for bound in intervals.of_mean([1.0]))


def test_verdicts():
    given = [(0.9, 1.1), (1.01, 1.2), (1.01, 1.3), (2.0, 3.0), (0.5, 0.9), (0.7, 1.3), (0.0, math.inf)]
    said = ["no", "no", "yes", "yes", "reverse", "undecided", "undecided"]
    assert [intervals.verdict(*pair) for pair in given] == said


def test_an_interval_of_a_mean_has_the_width_that_theory_gives():
    scores = torch.randn(400, generator=torch.Generator().manual_seed(0)).double() + 3
    low, high = intervals.interval([*scores.tolist(), math.nan])
    assert low < scores.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * float(scores.std()) / 20, rel=0.1)
    assert all(math.isnan(end) for end in intervals.interval([math.nan]))


@pytest.mark.parametrize(
    ("hits", "total", "wanted"), [(0, 10, (0.0, 0.2775)), (5, 10, (0.2366, 0.7634)), (81, 263, (0.2553, 0.3662))]
)
def test_wilson_intervals_are_the_published_ones(hits, total, wanted):
    assert intervals.wilson(hits, total) == pytest.approx(wanted, abs=2e-4)  # the last: Newcombe 1998, table I
    assert intervals.wilson(total - hits, total) == pytest.approx((1 - wanted[1], 1 - wanted[0]), abs=2e-4)
    assert intervals.wilson(0, 0) == (0.0, 1.0)
