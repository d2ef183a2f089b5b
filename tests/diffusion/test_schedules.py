"""The golden values of the papers' schedules, and what every schedule must keep."""

import math

import pytest
import torch

from rovolad_lib.diffusion import schedules
from rovolad_lib.diffusion.priors import Bridge, Gaussian

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
# abar_250, abar_500, abar_750, abar_999 and the last but one beta after rescaling to no terminal signal
RESCALED = {
    "linear": (0.52153334, 0.07602875, 0.00268952, 4.213262e-09),
    "cosine": (0.84700494, 0.49382300, 0.14424888, 2.277811e-06, 0.7579675808),
    "scaled_linear": (0.65418901, 0.24235917, 0.03317148, 1.967888e-07, 0.7511370042),
}


@pytest.mark.parametrize("name", ALPHAS)
def test_discrete_schedules_have_the_published_values(name):
    first, snr, last, middle = ALPHAS[name]
    alphas = schedules.alphas_cumprod(name)
    assert alphas.dtype == torch.float64 and alphas.shape == (1000,)
    assert alphas[0].sqrt().item() == pytest.approx(first, abs=5.1e-9)
    assert (alphas[-1] / (1 - alphas[-1])).item() == pytest.approx(snr, rel=1e-6)
    assert alphas[-1].sqrt().item() == pytest.approx(last, rel=1e-4)
    assert alphas[499].item() == pytest.approx(middle, abs=5.1e-9)


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
    if len(golden) > 4:
        assert betas[-2].item() == pytest.approx(golden[4], abs=5.1e-11)


def test_unknown_schedule_names_those_that_exist():
    with pytest.raises(ValueError, match="'square'.*linear, cosine, scaled_linear"):
        schedules.alphas_cumprod("square")


def test_timesteps_of_the_three_spacings():
    assert schedules.timesteps(10, 1000, "leading").tolist() == list(range(900, -1, -100))
    assert schedules.timesteps(10, 1000, "trailing").tolist() == list(range(999, 98, -100))
    linspace = [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert schedules.timesteps(10, 1000, "linspace").tolist() == linspace
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


def test_grid_names_what_it_accepts():
    with pytest.raises(ValueError, match="uniform, lambda, karras"):
        schedules.grid(4, "log")
    with pytest.raises(ValueError, match="needs prior="):
        schedules.grid(4, "lambda")
    with pytest.raises(ValueError, match="n=0"):
        schedules.grid(0)
    with pytest.raises(ValueError, match="holds no noise"):
        schedules.grid(4, "lambda", Bridge(0.0))
