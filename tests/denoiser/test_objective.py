import pytest
import torch
from torch import nn

from rovolad_lib.denoiser.mean import PriorMean
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising, Estimator
from rovolad_lib.diffusion.priors import Bridge, Gaussian

PRIORS = [Gaussian(), Bridge(), Bridge(noise=0.3), Bridge(end="zero")]
RESIDUAL = torch.tensor([0.2, 1.0, 3.0])  # mean square of x0 - y, per channel


class Knows(nn.Module):
    """A network that is told its answer and keeps what it was given."""

    def __init__(self, answer=None):
        super().__init__()
        self.mean, self.answer, self.config = PriorMean(3), answer, {"condition": True}
        self.mean.residual.copy_(RESIDUAL)

    def forward(self, x, t, y, **inputs):
        self.heard = x
        return torch.zeros_like(x) if self.answer is None else self.answer


def drawn(items=5, frames=7):
    """y, a residual of the stated variance, and noise."""
    torch.manual_seed(0)
    y, noise = torch.randn(2, items, 3, frames)
    return y, RESIDUAL.sqrt()[:, None] * torch.randn(items, 3, frames), noise


def state(prior, y, residual, noise, t):
    a, b, c = (k.view(-1, 1, 1) for k in prior.coefficients(t))
    return a * y + b * (y + residual) + c * noise, (a, b, c)


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_the_best_answer_gives_x0_back(prior):
    y, residual, noise = drawn()
    t = torch.tensor([1.0, 0.9, 0.5, 0.1, 1e-3])
    x, (a, b, c) = state(prior, y, residual, noise, t)
    estimate = Estimator(Knows(), prior)
    shift, c_in, c_skip, c_out = estimate.scales(t)
    v, u = RESIDUAL.view(1, 3, 1), b * residual + c * noise
    torch.testing.assert_close(shift, a + b)
    noisy = (b**2 * v + c**2 > 0).expand_as(c_in)
    torch.testing.assert_close(c_in[noisy], (b**2 * v + c**2).rsqrt()[noisy])
    torch.testing.assert_close(c_skip[noisy], (b * v / (b**2 * v + c**2))[noisy])
    torch.testing.assert_close(
        c_out[noisy], (v - b**2 * v**2 / (b**2 * v + c**2)).clamp(min=0).sqrt()[noisy], rtol=2e-3, atol=1e-4
    )
    estimate.model.answer = (residual - c_skip * u) / c_out
    torch.testing.assert_close(estimate(x, t, y), y + residual, rtol=1e-4, atol=2e-4)


def test_at_the_end_of_a_bridge_the_estimate_is_y_and_the_network():
    y, residual, noise = drawn()
    t = torch.ones(5)
    for prior in (Bridge(), Bridge(noise=0.3)):
        estimate = Estimator(Knows(noise), prior)
        x = prior.start(y, noise)
        torch.testing.assert_close(estimate(x, t, y), y + RESIDUAL.sqrt()[:, None] * noise)
        assert not estimate.model.heard.any()
        estimate(x + 1e-6, t, y)  # as rounding leaves it where guidance moves the state to another mean
        assert not estimate.model.heard.any()
    gaussian = Estimator(Knows(noise), Gaussian())(noise, t, y)
    torch.testing.assert_close(gaussian, y + RESIDUAL.sqrt()[:, None] * noise, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("prior", PRIORS, ids=str)
@pytest.mark.parametrize("time", [0.02, 0.3, 0.8, 0.999])
def test_what_the_network_hears_and_shall_say_has_unit_variance(prior, time):
    y, residual, noise = drawn(40, 1000)
    t = torch.full((40,), time)
    x, (a, b, c) = state(prior, y, residual, noise, t)
    estimate = Estimator(Knows(), prior)
    estimate(x, t, y)
    _, _, c_skip, c_out = estimate.scales(t)
    answer = (residual - c_skip * (b * residual + c * noise)) / c_out
    for values in (estimate.model.heard, answer):
        torch.testing.assert_close(values.var((0, 2)), torch.ones(3), atol=0.03, rtol=0)
    both = estimate.model.heard * answer
    assert both.mean((0, 2)).abs().max() < 0.03  # all that is linear has been taken out


def batch(items, frames, masked=True):
    y, residual, _ = drawn(items, frames)
    mask = torch.ones(items, frames, dtype=torch.bool)
    mask[: items // 2, frames // 2 :] = False
    context = torch.randn(items, 3, 4)
    return {"x0": y + residual, "robot": torch.randn(items, 3, frames), "mask": mask if masked else None, "context": context,
            "context_mask": torch.ones(items, 4, dtype=torch.bool), "drop": torch.arange(items) % 3 == 0}  # fmt: skip


def denoiser():
    torch.manual_seed(0)
    model = Denoiser(channels=3, width=16, depth=1, heads=2, patch=2)
    with torch.no_grad():
        for value in (*model.parameters(), model.mean.weight):
            value.add_(torch.randn_like(value) / 5)
    model.mean.residual.copy_(RESIDUAL)
    return model


@pytest.mark.parametrize("prior", PRIORS[:2], ids=str)
@torch.no_grad()
def test_masked_frames_do_not_count(prior):
    model, given = denoiser(), batch(8, 9)
    torch.manual_seed(5)
    clean = Denoising(prior)(model, given)
    junk = given | {
        "x0": given["x0"] + 100 * ~given["mask"][:, None],
        "robot": given["robot"] - 50 * ~given["mask"][:, None],
    }
    torch.manual_seed(5)
    for name, value in Denoising(prior)(model, junk).items():
        torch.testing.assert_close(value, clean[name], rtol=1e-5, atol=0)
    torch.manual_seed(5)
    assert Denoising(prior)(model, given | {"mask": None})["loss"] != clean["loss"]
    torch.manual_seed(5)
    every = given | {"mask": torch.ones(8, 9, dtype=torch.bool)}
    all_real = Denoising(prior)(model, every)["loss"]
    torch.manual_seed(5)
    torch.testing.assert_close(Denoising(prior)(model, given | {"mask": None})["loss"], all_real, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prior", PRIORS, ids=str)
@torch.no_grad()
def test_a_silent_network_has_a_loss_of_one_times_of_exactly_one_included(prior):
    model = Knows()
    residual = RESIDUAL.sqrt()[:, None] * torch.randn(600, 3, 40, generator=torch.Generator().manual_seed(1))
    given = batch(600, 40, masked=False) | {
        "x0": residual,
        "drop": torch.ones(600, dtype=torch.bool),
    }  # y = 0: no voice, no weights
    times = []
    plain = prior.coefficients

    class Noted(type(prior)):
        def coefficients(self, t):
            times.append(t)
            return plain(t)

    losses = Estimator(model, Noted(**vars(prior))).loss(given)
    assert abs(float(losses["loss"]) - 1) < 0.05 and losses["x0"].isfinite()
    share = float((times[0] == 1).double().mean())
    assert 0.02 < share < 0.09 and float(times[0].min()) >= 1e-4 - 1e-9
