"""The golden values of the papers' schedules, and what every schedule must keep."""

import math

import pytest
import torch

from rovolad_lib.diffusion import schedules
from rovolad_lib.diffusion.priors import Bridge, Gaussian, Mixed

TIMES = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
GAMMAS = [
    ("linear", {}, [0.9, 0.75, 0.5, 0.25, 0.1]),
    ("sigmoid", {}, [0.9605072173, 0.8508535479, 0.5, 0.1491464521, 0.0394927827]),
    ("sigmoid", {"tau": 0.9}, [0.9672176367, 0.8663702876, 0.5, 0.1336297124, 0.0327823633]),
    ("sigmoid", {"start": 0, "tau": 0.3}, [0.5378408807, 0.1516393325, 0.0132961133, 0.0010148537, 0.0001560076]),
    ("sigmoid", {"start": 0, "tau": 0.5}, [0.7072396153, 0.3616944695, 0.0903533195, 0.0171132683, 0.0040674144]),
    ("sigmoid", {"start": 0, "tau": 0.7}, [0.7830438339, 0.4965935948, 0.1879509243, 0.0515081111, 0.0146255299]),
    ("cosine", {}, [0.9755282581, 0.8535533906, 0.5, 0.1464466094, 0.0244717419]),
    ("cosine", {"start": 0.2}, [0.9051457199, 0.7236067978, 0.3819660113, 0.1055728090, 0.0173668014]),
    ("cosine", {"start": 0.2, "tau": 2}, [0.8192887743, 0.5236067978, 0.1458980338, 0.0111456180, 0.0003016058]),
    ("cosine", {"start": 0.2, "tau": 3}, [0.7415757275, 0.3788854382, 0.0557280900, 0.0011766742, 0.0000052379]),
    ("cosine", {"tau": 2}, [0.9516553824, 0.7285533906, 0.25, 0.0214466094, 0.0005988661]),
    ("cosine", {"end": 0.5}, [0.9876883406, 0.9238795325, 0.7071067812, 0.3826834324, 0.1564344650]),
]


@pytest.mark.parametrize(("name", "options", "golden"), GAMMAS)
def test_gamma_has_the_papers_values_and_ends(name, options, golden):
    gamma = getattr(schedules, f"gamma_{name}")
    assert gamma(TIMES, **options).tolist() == pytest.approx(golden, abs=5.1e-11)
    assert gamma(0.0, **options).item() == 1
    assert gamma(1.0, **options).item() == 1e-9
    assert gamma(TIMES.float(), **options).dtype == torch.float32


def test_a_curve_without_extent_is_refused():
    with pytest.raises(ValueError, match="start=0.5 and end=0.5"):
        schedules.gamma_cosine(0.5, start=0.5, end=0.5)


# sqrt(abar_1), SNR(T), sqrt(abar_T), abar_500
ALPHAS = {
    "linear": (0.99995000, 4.035993e-05, 0.006353, 0.07858724),
    "cosine": (0.99997936, 2.428767e-09, 4.928220e-05, 0.49384359),
    "scaled_linear": (0.99957491, 4.681917e-03, 0.06826491, 0.27766965),
}
# abar_250, abar_500, abar_750, abar_999 and the last betas but one after rescaling to no terminal signal
RESCALED = {
    "linear": (0.52153334, 0.07602875, 0.00268952, 4.213262e-09),
    "cosine": (0.84700494, 0.49382300, 0.14424888, 2.277811e-06, 0.5602759171, 0.7579675808),
    "scaled_linear": (0.65418901, 0.24235917, 0.03317148, 1.967888e-07, 0.5575754652, 0.7511370042),
}
LAST_LOG_SNR = {"linear": -5.0588, "cosine": -9.9179, "scaled_linear": -2.6820}


@pytest.mark.parametrize("name", ALPHAS)
def test_discrete_schedules_have_the_published_values(name):
    first, snr, last, middle = ALPHAS[name]
    alphas = schedules.alphas_cumprod(name)
    assert alphas.dtype == torch.float64 and alphas.shape == (1000,)
    assert alphas[0].sqrt().item() == pytest.approx(first, abs=5.1e-9)
    assert (alphas[-1] / (1 - alphas[-1])).item() == pytest.approx(snr, rel=1e-6)
    assert alphas[-1].sqrt().item() == pytest.approx(last, rel=1e-4)
    assert alphas[499].item() == pytest.approx(middle, abs=5.1e-9)
    named = schedules.gamma(name if name == "scaled_linear" else f"ddpm_{name}")
    assert Gaussian(named).log_snr(1.0).item() == pytest.approx(LAST_LOG_SNR[name], abs=5.1e-5)


@pytest.mark.parametrize("name", RESCALED)
def test_rescaling_removes_the_terminal_signal_and_keeps_the_first_step(name):
    before = schedules.alphas_cumprod(name)
    after = schedules.rescale_zero_terminal_snr(before)
    assert after[-1].item() == 0
    assert after[0].item() == pytest.approx(before[0].item(), abs=1e-15)
    golden = RESCALED[name]
    assert [after[k - 1].item() for k in (250, 500, 750)] == pytest.approx(golden[:3], abs=5.1e-9)
    assert after[998].item() == pytest.approx(golden[3], rel=1e-6)
    betas = 1 - after[1:] / after[:-1]
    assert betas[-1].item() == 1
    assert betas[-3:-1].tolist()[: len(golden) - 4] == pytest.approx(golden[4:], abs=5.1e-11)
    named = schedules.gamma(name if name == "scaled_linear" else f"ddpm_{name}", zero_terminal_snr=True)
    assert named(1.0).item() == 0 and named(0.5).item() == pytest.approx(golden[1], abs=5.1e-9)


def test_unknown_schedule_names_those_that_exist():
    with pytest.raises(ValueError, match="'square'.*linear, cosine, scaled_linear"):
        schedules.alphas_cumprod("square")


def test_timesteps_of_the_three_spacings():
    assert schedules.timesteps(10, 1000, "leading").tolist() == list(range(900, -1, -100))
    assert schedules.timesteps(10, 1000, "trailing").tolist() == list(range(999, 98, -100))
    linspace = [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert schedules.timesteps(10, 1000, "linspace").tolist() == linspace
    one_more = schedules.timesteps(11, 1000, "leading"), schedules.timesteps(11, 1000, "linspace")  # DPM-Solver's own
    assert one_more[0].tolist()[:-1] == [900, 810, 720, 630, 540, 450, 360, 270, 180, 90]
    assert one_more[1].tolist()[:-1] == [999, 899, 799, 699, 599, 500, 400, 300, 200, 100]
    thirteen = schedules.timesteps(13, 1000, "trailing")
    assert len(thirteen) == 13 and thirteen[:2].tolist() == [999, 922]
    assert schedules.timesteps(1, 1000, "trailing").tolist() == [999]
    with pytest.raises(ValueError, match="leading, linspace, trailing"):
        schedules.timesteps(10, 1000, "even")
    with pytest.raises(ValueError, match="n=11 timesteps of total=10"):
        schedules.timesteps(11, 10, "leading")


@pytest.mark.parametrize("name", ALPHAS)
def test_table_agrees_with_the_discrete_schedule_at_its_knots(name):
    alphas = schedules.alphas_cumprod(name)
    steps = schedules.timesteps(50, 1000, "trailing")
    assert torch.equal(schedules.gamma_table((steps.double() + 1) / 1000, alphas), alphas[steps])
    single = schedules.gamma_table((steps.float() + 1) / 1000, alphas)
    assert torch.allclose(single.double(), alphas[steps], rtol=1e-4, atol=1e-7)
    assert schedules.gamma_table(0.0, alphas).item() == 1


def test_a_table_goes_to_the_times_and_not_they_to_it():
    gamma = schedules.gamma_table(torch.rand(5, device="meta"), schedules.alphas_cumprod("linear"))
    assert gamma.device.type == "meta" and gamma.shape == (5,) and gamma.dtype == torch.float32


def test_continuous_and_discrete_forms_agree():
    knots = torch.arange(1, 1000, dtype=torch.float64) / 1000
    # iDDPM's table is the cosine curve from s / (1 + s) on, but for the clip of its last beta
    cosine = schedules.gamma("cosine", start=0.008 / 1.008)
    assert torch.allclose(cosine(knots), schedules.gamma("ddpm_cosine")(knots), atol=1e-12, rtol=0)
    # DDPM's is the variance-preserving SDE as the steps grow finer, betas scaled with them
    vp = (-(0.1 * knots + (20 - 0.1) * knots**2 / 2)).exp()
    assert (schedules.gamma("ddpm_linear")(knots) - vp).abs().max() < 2e-3


def test_a_named_schedule_is_its_function():
    assert torch.equal(schedules.gamma("sigmoid", tau=0.9)(TIMES), schedules.gamma_sigmoid(TIMES, tau=0.9))
    assert torch.equal(schedules.gamma("linear")(TIMES), schedules.gamma_linear(TIMES))
    table = schedules.alphas_cumprod("scaled_linear", 50)
    assert torch.equal(schedules.gamma("scaled_linear", steps=50)(TIMES), schedules.gamma_table(TIMES, table))
    with pytest.raises(ValueError, match="'squared'.*linear, cosine, sigmoid, ddpm_linear, ddpm_cosine, scaled_linear"):
        schedules.gamma("squared")
    with pytest.raises(ValueError, match="takes no tau"):
        schedules.gamma("ddpm_cosine", tau=2)
    with pytest.raises(ValueError, match="ends without signal already"):
        schedules.gamma("cosine", zero_terminal_snr=True)


def test_input_scale_is_another_schedule():
    t = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    golden = {
        0.7: [0.5951417, 0.3288591, 0.1404011],
        0.5: [0.4285714, 0.2, 0.0769231],
        0.3: [0.2125984, 0.0825688, 0.0291262],
        0.1: [0.0291262, 0.0099010, 0.0033223],
    }
    std = {0.7: 0.8631338, 0.5: 0.7905694, 0.3: 0.7382412, 0.1: 0.7106335}
    for scale, expected in golden.items():
        _, b, c = Gaussian(schedules.gamma_linear, scale).coefficients(t)
        power = b**2 + c**2
        assert (b**2 / power).tolist() == pytest.approx(expected, abs=5.1e-8)
        assert power[1].sqrt().item() == pytest.approx(std[scale], abs=5.1e-8)


@pytest.mark.parametrize("prior", [Gaussian(), Bridge(), Bridge(kind="gmax")])
def test_grids_fall_from_one_to_zero_and_follow_their_spacing(prior):
    for spacing in ("uniform", "lambda", "karras"):
        times = schedules.grid(10, spacing, prior)
        assert times.shape == (11,) and times[0] == 1 and times[-1] == 0
        assert (times.diff() < 0).all()
    steps = prior.log_snr(schedules.grid(10, "lambda", prior)[1:-1]).diff()
    assert steps.tolist() == pytest.approx([10.2 / 9] * 8, abs=1e-6)
    root = (-prior.log_snr(schedules.grid(10, "karras", prior)[1:-1]) / 7).exp().diff()
    assert root.tolist() == pytest.approx([(math.exp(-5.1 / 7) - math.exp(5.1 / 7)) / 9] * 8, abs=1e-6)


@pytest.mark.parametrize("spacing", schedules.SCHEDULES)
@pytest.mark.parametrize("prior", [Gaussian(), Gaussian(scale=0.5), Mixed(), Bridge(kind="vp")])
def test_a_grid_follows_another_schedule(prior, spacing):
    times = schedules.grid(8, spacing, prior)
    assert times.shape == (9,) and times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()
    wanted = Gaussian(schedules.gamma(spacing)).log_snr(torch.linspace(1, 0, 9, dtype=torch.float64))
    assert torch.allclose(prior.log_snr(times)[1:-1], wanted[1:-1], atol=1e-6)
    if prior == Gaussian() and spacing == "cosine":
        assert torch.allclose(times, schedules.grid(8), atol=1e-9)


def test_a_grid_of_timesteps_ends_clean():
    assert schedules.grid(4, "trailing").tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert schedules.grid(4, "leading").tolist() == pytest.approx([0.751, 0.501, 0.251, 0.001, 0])
    assert schedules.grid(4, "linspace").tolist() == pytest.approx([1, 0.667, 0.334, 0.001, 0])


def test_grid_names_what_it_accepts():
    with pytest.raises(ValueError, match="leaves the signal-to-noise ratios of Gaussian"):
        schedules.grid(50, "cosine", Gaussian(schedules.gamma("scaled_linear")))
    with pytest.raises(ValueError, match="uniform, lambda, karras, leading, linspace, trailing, linear, cosine"):
        schedules.grid(4, "log")
    with pytest.raises(ValueError, match="needs prior="):
        schedules.grid(4, "lambda")
    with pytest.raises(ValueError, match="n=0"):
        schedules.grid(0)
    with pytest.raises(ValueError, match="holds no noise"):
        schedules.grid(4, "lambda", Bridge(0.0))
