"""Targets and their inverse, unit variance, preconditioning: against second moments written out."""

import pytest
import torch

from rovolad_lib.diffusion.priors import Bridge, Gaussian, Mixed
from rovolad_lib.diffusion.schedules import alphas_cumprod, gamma_linear, gamma_table, rescale_zero_terminal_snr
from rovolad_lib.diffusion.targets import preconditioning, residual_std, target, x0_from

F64 = torch.float64
BRIDGES = [Bridge(), Bridge(0.5), Bridge(kind="gmax"), Bridge(kind="vp"), Bridge(kind="ve"), Bridge(end="zero")]
PRIORS = [Gaussian(), Gaussian(gamma_linear, 0.3), Mixed(), Mixed(0.5, "diffvc"), *BRIDGES]
TIMES = torch.tensor([0.0, 1e-3, 0.2, 0.5, 0.8, 0.999, 1.0], dtype=F64)


def latents(n=7):
    """Return x0, y and noise, each (n, 3, 50), x0 and y of unit variance and correlation a half."""
    x0, other, noise = torch.randn(3, n, 3, 50, generator=torch.Generator().manual_seed(0), dtype=F64)
    return x0, 0.5 * x0 + 0.75**0.5 * other, noise


@pytest.mark.parametrize("kind", ["x0", "eps", "v", "residual"])
@pytest.mark.parametrize("prior", [*PRIORS, Bridge(0.0)])
def test_targets_lead_back_to_the_clean_latents(prior, kind):
    x0, y, noise = latents()
    x_t = prior.sample(x0, y, TIMES, noise)
    wanted = target(kind, prior, x0, y, noise, x_t, TIMES)
    back = x0_from(kind, prior, wanted, x_t, y, TIMES)
    assert torch.isfinite(wanted).all() and torch.isfinite(back).all()
    silent = (prior.coefficients(TIMES)[1] == 0)[:, None, None] & torch.tensor(kind == "eps")
    scaled = getattr(prior, "scale", 1.0) != 1 and kind == "residual"  # at t = 0 the state is scale x0
    if not scaled:
        stands_in = y if prior.uses_y else torch.zeros_like(y)
        assert torch.allclose(back, torch.where(silent, stands_in, x0), atol=1e-7, rtol=0)


@pytest.mark.parametrize("prior", [Gaussian(), Mixed(1.0), Bridge(), Bridge(0.5), Bridge(kind="gmax")])
@pytest.mark.parametrize("kind", ["x0", "eps", "v", "residual"])
def test_targets_have_unit_variance(prior, kind):
    t = torch.tensor([0.0, 0.05, 0.5, 1.0], dtype=F64).repeat_interleave(200)
    x0, y, noise = latents(n=len(t))
    wanted = target(kind, prior, x0, y, noise, prior.sample(x0, y, t, noise), t)
    power = wanted.reshape(4, -1).var(1)  # 30,000 values each: a standard error of 0.008
    assert power.tolist() == pytest.approx([1] * 4, abs=0.035)


@pytest.mark.parametrize("prior", [Mixed(), Bridge(), Bridge(0.5)])
def test_the_residual_has_unit_variance_for_other_means_too(prior):
    """A mean that leaves a residual of 0.2 and of 3.0 of the latents' variance, an own one for each channel."""
    t = torch.tensor([0.05, 0.5, 1.0], dtype=F64).repeat_interleave(200)
    x0, noise, other = torch.randn(3, len(t), 2, 100, generator=torch.Generator().manual_seed(1), dtype=F64)
    share = torch.tensor([0.8, -0.5], dtype=F64).view(1, 2, 1)  # of x0 in y, whose own variance is 1
    y = share * x0 + (1 - share**2).sqrt() * other
    moments, x_t = (1.0, 1.0, share), prior.sample(x0, y, t, noise)
    wanted = target("residual", prior, x0, y, noise, x_t, t, moments)
    assert torch.allclose(wanted.unflatten(0, (3, 200)).var((1, 3)), torch.ones(3, 2, dtype=F64), atol=0.04)
    assert torch.allclose(x0_from("residual", prior, wanted, x_t, y, t, moments), x0, atol=1e-10)


def test_v_without_signal_is_minus_the_clean_latents_and_the_residual_is_that_of_i2sb():
    x0, y, noise = latents()
    prior = Gaussian(lambda t: gamma_table(t, rescale_zero_terminal_snr(alphas_cumprod("linear"))))
    one = torch.ones(len(x0), dtype=F64)
    x_1 = prior.sample(x0, None, one, noise)
    assert torch.equal(x_1, noise)
    assert torch.equal(target("v", prior, x0, None, noise, x_1, one), -x0)
    assert torch.allclose(residual_std(Bridge(), TIMES), TIMES.sqrt(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("prior", PRIORS)
def test_preconditioning_is_the_best_linear_predictor(prior):
    var_x0, var_y, cov = 1.3, 0.8, 0.6
    a, b, c = prior.coefficients(TIMES)
    c_skip, c_out, c_in = preconditioning(prior, TIMES, var_x0, var_y, cov)
    # second moments of (x0, y, eps), and of x_t and x0 - c_skip x_t as combinations of the three
    moments = torch.tensor([[var_x0, cov, 0], [cov, var_y, 0], [0, 0, 1]], dtype=F64)
    x_t = torch.stack([b, a, c], dim=1)
    error = torch.tensor([1.0, 0, 0], dtype=F64) - c_skip[:, None] * x_t

    def dot(u, v):
        return torch.einsum("ni,ij,nj->n", u, moments, v)

    assert torch.allclose(dot(error, x_t), torch.zeros_like(a), atol=1e-12)  # nothing linear is left in the error
    assert torch.allclose(dot(error, error), c_out**2, atol=1e-12)
    alive = dot(x_t, x_t) > 0
    assert torch.allclose((c_in**2 * dot(x_t, x_t))[alive], torch.ones_like(a)[alive], atol=1e-12)
    assert c_out[0] == 0 and torch.isfinite(c_in).all()
    assert preconditioning(prior, TIMES.float(), var_x0, var_y, cov)[0].dtype == torch.float32


def test_preconditioning_is_that_of_edm_where_there_is_no_robot():
    _, b, c = Gaussian().coefficients(TIMES[1:])
    sigma = c / b
    c_skip, c_out, c_in = preconditioning(Gaussian(), TIMES[1:], var_x0=0.25)
    assert torch.allclose(c_skip * b, 0.25 / (sigma**2 + 0.25), atol=1e-10)  # x_t = b (x0 + sigma eps)
    assert torch.allclose(c_out, sigma * 0.5 / (sigma**2 + 0.25).sqrt(), atol=1e-10)
    assert torch.allclose(c_in * b, (sigma**2 + 0.25).rsqrt(), atol=1e-10)


def test_an_unknown_target_names_those_that_exist():
    x = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="'flow'.*x0, eps, v, residual"):
        target("flow", Gaussian(), x, None, x, x, torch.ones(1))
