"""Paths against closed forms: endpoints, golden midpoints, composition of transitions, several in one batch."""

import math

import pytest
import torch

from rovolad_lib.diffusion.priors import Bridge, Gaussian, Mixed, PerItem
from rovolad_lib.diffusion.schedules import gamma_linear

F64 = torch.float64
BRIDGES = [Bridge(), Bridge(0.5), Bridge(kind="gmax"), Bridge(kind="vp"), Bridge(kind="ve"), Bridge(end="zero")]
PRIORS = [Gaussian(), Gaussian(gamma_linear, 0.3), Mixed(), Mixed(0.5, "diffvc"), *BRIDGES]
TIMES = torch.tensor([0.0, 1e-3, 0.2, 0.5, 0.8, 0.999, 1.0], dtype=F64)


def latents(n=7):
    """Return x0, y and noise, each (n, 3, 50), x0 and y of unit variance and correlation a half."""
    x0, other, noise = torch.randn(3, n, 3, 50, generator=torch.Generator().manual_seed(0), dtype=F64)
    return x0, 0.5 * x0 + 0.75**0.5 * other, noise


@pytest.mark.parametrize("prior", PRIORS)
def test_the_path_starts_clean(prior):
    scale = getattr(prior, "scale", 1.0)
    assert [value.item() for value in prior.coefficients(0.0)] == [0, scale, 0]
    assert prior.log_snr(0.0).item() == float("inf")


@pytest.mark.parametrize("prior", BRIDGES)
def test_a_bridge_ends_exactly_at_its_pin(prior):
    for t in (torch.ones(1, dtype=F64), torch.ones(17, dtype=F64), torch.ones(3)):  # vector and scalar code may differ
        a, b, c = prior.coefficients(t)
        assert a.unique().tolist() == [float(prior.uses_y)]
        assert b.unique().tolist() == [0] and c.unique().tolist() == [0]


def test_the_other_priors_end_at_noise_and_at_the_robot():
    assert [value.item() for value in Gaussian().coefficients(1.0)] == pytest.approx([0, 1e-9**0.5, 1], abs=1e-9)
    assert [value.item() for value in Mixed(0.7).coefficients(1.0)] == [1, 0, 0.7]
    assert [v.item() for v in Mixed(0.7, "diffvc").coefficients(1.0)] == pytest.approx([1, 0, 0.7], abs=4e-5)
    y, z = torch.randn(2, 1, 2, 3)
    assert torch.equal(Gaussian().start(None, z), z)
    assert torch.equal(Mixed(0.7).start(y, z), y + 0.7 * z)
    assert torch.equal(Bridge().start(y, z), y)
    assert torch.equal(Bridge(end="zero").start(None, z), torch.zeros_like(z))


@pytest.mark.parametrize(
    ("prior", "golden"),
    [
        (Bridge(), (0.5, 0.5, 0.5)),
        (Bridge(2.0), (0.5, 0.5, 1.0)),
        (Bridge(kind="gmax"), (0.2501, 0.7499, 2.165569)),
        (Bridge(kind="vp"), (0.021582, 0.285823, 0.957996)),
        (Bridge(kind="ve"), (0.277778, 0.722222, 0.491804)),
        (Bridge(0.0), (0.5, 0.5, 0.0)),
        (Mixed(0.5), (0.25, 0.75, 0.25)),
        (Mixed(1.0, "diffvc"), (1 - 0.5**0.5, 0.5**0.5, 0.5**0.5)),
    ],
)
def test_the_middle_of_the_path(prior, golden):
    assert [value.item() for value in prior.coefficients(0.5)] == pytest.approx(golden, abs=5.1e-7)


def test_vp_bridge_is_the_one_of_ddbm():
    # a = (SNR_T / SNR_t) (al_t / al_T), b = al_t (1 - SNR_T / SNR_t), c^2 = s_t^2 (1 - SNR_T / SNR_t)
    t = TIMES[1:-1]
    power = 0.01 * t + (20 - 0.01) * t**2 / 2
    alpha, last = (-power / 2).exp(), torch.tensor(-10.005 / 2, dtype=F64).exp()
    ratio = (last**2 / (1 - last**2)) * (1 - alpha**2) / alpha**2
    a, b, c = Bridge(kind="vp").coefficients(t)
    assert torch.allclose(a, ratio * alpha / last, atol=1e-12, rtol=0)
    assert torch.allclose(b, alpha * (1 - ratio), atol=1e-12, rtol=0)
    assert torch.allclose(c**2, (1 - alpha**2) * (1 - ratio), atol=1e-12, rtol=0)


@pytest.mark.parametrize("prior", PRIORS)
def test_transitions_compose(prior):
    """The posterior from s to t and then to u is the posterior from s to u: this pins w_max."""
    s, t, u = (torch.tensor([value], dtype=F64) for value in (0.9, 0.6, 0.25))

    def step(s, t):
        w = prior.noise_limit(s, t)
        return (prior.coefficients(t)[2] ** 2 - w**2).sqrt() / prior.coefficients(s)[2], w

    (k_st, w_st), (k_tu, w_tu), (k_su, w_su) = step(s, t), step(t, u), step(s, u)
    assert (k_st * k_tu).item() == pytest.approx(k_su.item(), abs=1e-12)
    assert (w_tu**2 + k_tu**2 * w_st**2).item() == pytest.approx((w_su**2).item(), abs=1e-12)
    assert 0 < w_su.item() < prior.coefficients(u)[2].item()


def test_noise_limit_is_the_published_posterior():
    s, t = torch.tensor([0.7], dtype=F64), torch.tensor([0.4], dtype=F64)
    (_, b_s, c_s), (_, b_t, c_t) = Gaussian().coefficients(s), Gaussian().coefficients(t)
    small = c_t**2 / c_s**2 * (1 - b_s**2 / b_t**2)  # DDPM
    assert (Gaussian().noise_limit(s, t) ** 2).item() == pytest.approx(small.item(), abs=1e-14)
    gain, variance = 0.16 / 0.49, 0.25 * 0.16 / 0.49 * (0.49 - 0.16)  # ResShift: kappa^2 eta_t (eta_s - eta_t) / eta_s
    w = Mixed(0.5).noise_limit(s, t)
    assert (w**2).item() == pytest.approx(variance, abs=1e-14)
    assert ((Mixed(0.5).coefficients(t)[2] ** 2 - w**2).sqrt() / Mixed(0.5).coefficients(s)[2]).item() == pytest.approx(
        gain
    )
    # I2SB: variance S_t (S_s - S_t) / S_s, weight of x_s S_t / S_s
    assert (Bridge(2.0).noise_limit(s, t) ** 2).item() == pytest.approx(4 * 0.4 * 0.3 / 0.7, abs=1e-14)


@pytest.mark.parametrize("prior", PRIORS)
def test_sample_is_the_path_and_time_inverts_log_snr(prior):
    x0, y, noise = latents()
    a, b, c = (value[:, None, None] for value in prior.coefficients(TIMES))
    expected = b * x0 + c * noise + a * y
    assert torch.allclose(prior.sample(x0, y, TIMES, noise), expected, atol=1e-13, rtol=0)
    assert prior.sample(x0.float(), y.float(), TIMES.float(), noise.float()).dtype == torch.float32
    inside = TIMES[2:-1]
    assert torch.allclose(prior.time(prior.log_snr(inside)), inside, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", ["brownian", "gmax", "vp", "ve"])
def test_a_bridge_is_the_forward_process_pinned_to_the_robot(kind):
    """Mean and variance of the Doob-transformed SDE, stepped by Euler-Maruyama from x0 = 0.7 towards y = -0.4."""
    low, high = {"brownian": (1.0, 1.0), "gmax": (0.01, 50.0), "vp": (0.01, 20.0), "ve": (0.4, 2.6)}[kind]

    def forward(t):  # f, A, S and dS/dt
        power = low * t + (high - low) * t**2 / 2
        if kind == "vp":
            rate = low + t * (high - low)
            return -rate / 2, math.exp(-power / 2), math.expm1(power), rate * math.exp(power)
        if kind == "ve":
            return 0.0, 1.0, low * math.expm1(2 * math.log(high) * t) / (2 * math.log(high)), low * high ** (2 * t)
        return 0.0, 1.0, power, low + t * (high - low)

    _, last, end, _ = forward(1.0)
    mean, variance, steps = 0.7, 0.0, 20000
    for i in range(steps // 2):  # to t = 1/2
        f, scale, power, rate = forward((i + 0.5) / steps)
        pull = rate / (end - power)
        kept = 1 + (f - pull) / steps
        mean = kept * mean + pull * scale / last * -0.4 / steps
        variance = kept**2 * variance + scale**2 * rate / steps
    a, b, c = (value.item() for value in Bridge(kind=kind).coefficients(0.5))
    assert mean == pytest.approx(a * -0.4 + b * 0.7, rel=1e-3)
    assert variance == pytest.approx(c**2, rel=1e-3)


def test_every_item_is_under_its_own_prior():
    x0, y, noise = latents(4)
    priors, kind = (Gaussian(), Bridge(0.5), Mixed()), torch.tensor([1, 0, 2, 1])
    together, t, s = PerItem(priors, kind), torch.tensor([0.3, 0.6, 1.0, 1.0]), torch.tensor([0.5, 0.7, 1.0, 1.0])
    x_t, start = together.sample(x0, y, t, noise), together.start(y, noise)
    wide = together.coefficients(t.view(-1, 1, 1))
    assert together.uses_y and not PerItem((Gaussian(), Bridge(end="zero")), kind).uses_y
    for item, prior in enumerate([priors[k] for k in kind.tolist()]):
        own = slice(item, item + 1)
        assert torch.equal(x_t[own], prior.sample(x0[own], y[own], t[own], noise[own]))
        assert torch.equal(start[own], prior.start(y[own], noise[own]))
        assert together.noise_limit(s, t)[item] == prior.noise_limit(s[own], t[own])
        assert [value[item].item() for value in wide] == [value.item() for value in prior.coefficients(t[own])]


def test_the_time_of_a_signal_to_noise_ratio_is_each_item_s_own():
    priors, kind = (Gaussian(), Bridge(0.5), Mixed()), torch.tensor([1, 0, 2, 1])
    levels = torch.tensor([-2.0, 0.0, 1.0, 3.0], dtype=F64)
    found = PerItem(priors, kind).time(levels)
    assert found.tolist() == [priors[k].time(levels[i]).item() for i, k in enumerate(kind.tolist())]
    with pytest.raises(ValueError, match="holds no noise"):
        PerItem((Gaussian(), Bridge(0.0)), kind % 2).time(levels)


def test_errors_name_what_is_accepted():
    x = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="'linear'.*brownian, gmax, vp, ve"):
        Bridge(kind="linear")
    with pytest.raises(ValueError, match="'vp'.*resshift, diffvc"):
        Mixed(form="vp")
    with pytest.raises(ValueError, match="noise=-1"):
        Bridge(-1)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"scale={scale}; accepted: above 0"):
            Gaussian(scale=scale)
    for constants in ((0.4, 1.0), (0.0, 2.6), (0.4, 0.5)):
        with pytest.raises(ValueError, match="kind 've'; accepted: c above 0 and k above 1"):
            Bridge(kind="ve", constants=constants)
    for constants in ((-1.0, 0.5), (0.0, 0.0), (1.0, -0.5), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="kind 'gmax'; accepted: beta_0 and beta_1 from 0, not both 0"):
            Bridge(kind="gmax", constants=constants)
    for prior in (Bridge(kind="gmax", constants=(0.0, 2.0)), Bridge(kind="ve", constants=(0.1, 3.0))):
        assert all(value.isfinite().all() for value in prior.coefficients(TIMES))
    with pytest.raises(ValueError, match="Bridge starts from robot latents"):
        Bridge().sample(x, None, torch.ones(1), x)
