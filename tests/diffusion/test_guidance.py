"""Guidance: the conditional estimate untouched at scale 1, deviations measured on real frames only."""

import pytest
import torch

from rovolad_lib.diffusion.guidance import deviation, guide, guided


def estimates():
    """Return a conditional and an unconditional estimate, (3, 4, 10), and a mask with 10, 6 and 3 real frames."""
    one, two = torch.randn(2, 3, 4, 10, generator=torch.Generator().manual_seed(0))
    return 1 + 2 * one, two, torch.arange(10) < torch.tensor([10, 6, 3])[:, None]


def test_scale_one_is_the_conditional_bit_for_bit_and_zero_the_unconditional():
    one, two, mask = estimates()
    assert torch.equal(guide(one, two, 1.0), one)
    assert torch.equal(guide(one, two, 1, rescale=0.7, mask=mask), one)
    assert torch.equal(guide(one, torch.full_like(two, float("nan")), 1.0), one)
    assert torch.equal(guide(one, two, 0.0), two)
    assert torch.allclose(guide(one, two, 7.5), 7.5 * one - 6.5 * two, atol=1e-5)


def test_full_rescale_gives_each_item_the_conditional_deviation():
    one, two, _ = estimates()
    result = guide(one, two, 7.5, rescale=1.0)
    assert torch.allclose(result.std((1, 2)), one.std((1, 2)), atol=1e-5)
    plain = guide(one, two, 7.5)
    assert torch.allclose(guide(one, two, 7.5, 0.7), 0.7 * result + 0.3 * plain, atol=1e-5)


def test_the_deviation_is_that_of_the_population_an_item():
    one, _, mask = estimates()
    for item, frames in enumerate((10, 6, 3)):
        expected = one[item, :, :frames].std(correction=0)
        assert torch.allclose(deviation(one, mask)[item].squeeze(), expected, atol=1e-6)


def test_padding_does_not_enter_the_deviation():
    one, two, mask = estimates()
    loud = torch.where(mask[:, None], one, 100.0), torch.where(mask[:, None], two, -50.0)
    quiet = torch.where(mask[:, None], one, 0.0), torch.where(mask[:, None], two, 0.0)
    real = mask[:, None].expand_as(one)
    result = guide(*loud, 3.0, 1.0, mask)
    assert torch.allclose(result[real], guide(*quiet, 3.0, 1.0, mask)[real], atol=1e-6)
    for item, frames in enumerate((10, 6, 3)):
        alone = guide(one[item : item + 1, :, :frames], two[item : item + 1, :, :frames], 3.0, 1.0)
        assert torch.allclose(
            result[item, :, :frames], alone[0], atol=1e-5
        )  # the whole clip, alone and without padding


def test_items_without_deviation_stay_finite():
    flat = torch.full((2, 3, 5), 2.0)
    assert torch.equal(guide(flat, torch.zeros_like(flat), 3.0, 1.0), torch.full_like(flat, 6.0))
    empty = guide(flat, flat, 3.0, 0.5, torch.zeros(2, 5, dtype=torch.bool))
    assert torch.isfinite(empty).all()


def test_the_second_network_is_only_called_where_it_counts():
    one, two, _ = estimates()
    calls = []

    def null(x, t):
        calls.append(t[0].item())
        return two

    x = torch.zeros_like(one)
    assert torch.equal(guided(lambda x, t: one, null, 1.0)(x, torch.ones(3)), one)
    assert calls == []
    both = guided(lambda x, t: one, null, 2.0, interval=(0.25, 0.75))
    assert torch.equal(both(x, torch.full((3,), 1.0)), one)
    assert torch.equal(both(x, torch.full((3,), 0.5)), guide(one, two, 2.0))
    assert torch.equal(both(x, torch.full((3,), 0.125)), one)
    assert calls == [0.5]


def test_errors_name_what_is_accepted():
    one, two, _ = estimates()
    with pytest.raises(ValueError, match="rescale=1.5; accepted: 0 to 1"):
        guide(one, two, 2.0, 1.5)
    with pytest.raises(ValueError, match="interval="):
        guided(None, None, 2.0, interval=(0.5, 0.2))
