import importlib.util
import math

import numpy
import pytest
import torch

from rovolad_lib.metrics import signal


def speech(pitch_hz=lambda time: 120 + 30 * torch.sin(5 * time), seconds=1.2):
    """A gliding pulse train with moving loudness: voiced, harmonic, at a known pitch."""
    time = torch.arange(int(16000 * seconds)) / 16000
    pitch = pitch_hz(time)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / 16000
    wave = sum(
        torch.cos(k * phase) * torch.exp(-((k * pitch - 900 - 500 * torch.sin(9 * time)) ** 2) / 8e5) / k
        for k in range(1, 30)
    )
    return 0.1 * wave * (1.2 + torch.sin(7 * time))


def brute(d):
    """The recursion of symmetric warping, cell by cell."""
    total = numpy.full((d.shape[0] + 1, d.shape[1] + 1), numpy.inf)
    total[0, 0] = 0
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            total[i + 1, j + 1] = min(total[i, j] + 2 * d[i, j], total[i, j + 1] + d[i, j], total[i + 1, j] + d[i, j])
    return total[-1, -1] / sum(d.shape)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 4), (20, 31)])
def test_warping_is_the_recursion_and_its_path_costs_what_it_says(shape):
    d = numpy.random.default_rng(0).random(shape)
    mean, path = signal.warp(d)
    assert mean == pytest.approx(brute(d))
    assert path[0].tolist() == [0, 0] and path[-1].tolist() == [shape[0] - 1, shape[1] - 1]
    steps = path.diff(dim=0)
    assert ((steps >= 0) & (steps <= 1)).all() and (steps.sum(1) >= 1).all()
    weight = torch.cat([torch.tensor([2]), steps.sum(1)])
    assert float((weight * torch.tensor(d[path[:, 0], path[:, 1]])).sum()) / sum(shape) == pytest.approx(mean)


def test_distances_ignore_level_and_silence_and_grow_with_difference():
    wave = speech()
    moved = torch.cat([torch.zeros(4800), 0.2 * wave, torch.zeros(3200)])
    slow = torch.nn.functional.interpolate(wave.view(1, 1, -1), len(wave) * 5 // 4, mode="linear")[0, 0]
    for distance in (signal.mel_distance, signal.mcd):
        assert distance(wave, wave) == pytest.approx(0, abs=1e-6)
        assert distance(wave, moved) < 0.1 * distance(wave, slow)
        assert distance(wave, slow) < distance(
            wave, 0.1 * torch.randn(len(wave), generator=torch.Generator().manual_seed(0))
        )


def test_a_cepstral_ripple_has_the_distortion_of_its_root_mean_square():
    bands = torch.arange(80) + 0.5
    ripple = 0.5 * torch.cos(3 * math.pi / 80 * bands)[:, None]  # 0.5 nat of amplitude
    coefficients = signal.cepstra(ripple + 7)
    assert torch.allclose(coefficients[:, 0], 0.5 * torch.nn.functional.one_hot(torch.tensor(2), 13).float(), atol=1e-5)
    decibel = 10 / math.log(10) * math.sqrt(2) * float(coefficients.norm())
    assert decibel == pytest.approx(20 / math.log(10) * float(ripple.square().mean().sqrt()), rel=1e-4)


def test_log_mel_l1_of_a_gain_is_its_logarithm_where_the_floor_is_far():
    wave = 20 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert signal.log_mel_l1(wave, 2 * wave) == pytest.approx(math.log(2), abs=2e-3)
    assert signal.log_mel_l1(wave, torch.cat([wave, torch.zeros(100)])) == 0
    with pytest.raises(ValueError, match="10 ms"):
        signal.log_mel_l1(wave, wave[:-161])


@pytest.mark.parametrize("hz", [75.0, 120.0, 210.0, 390.0])
def test_f0_of_a_steady_tone(hz):
    found = signal.f0(speech(lambda time: torch.full_like(time, hz)))
    assert len(found) == 120
    assert (found[5:-5] > 0).all() and (found[5:-5] / hz - 1).abs().max() < 0.02


def test_f0_follows_a_glide_and_noise_is_not_voiced():
    wave = speech(lambda time: 100 + 80 * time)
    truth = 100 + 80 * (torch.arange(120) + 0.5) / 100
    assert (signal.f0(wave)[5:-5] / truth[5:-5] - 1).abs().max() < 0.05
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert (signal.f0(noise) > 0).float().mean() < 0.05
    assert (signal.f0(torch.zeros(1600)) == 0).all()


def test_log_f0_tells_the_same_tune_from_another():
    rising, falling = speech(lambda time: 100 + 80 * time), speech(lambda time: 196 - 80 * time)
    higher = speech(lambda time: 150 + 120 * time)
    assert signal.log_f0(rising, rising) == (pytest.approx(1, abs=1e-4), 0)
    assert signal.log_f0(rising, higher)[0] > 0.9
    assert signal.log_f0(rising, falling)[0] < 0
    noise = 0.1 * torch.randn(len(rising), generator=torch.Generator().manual_seed(0))
    against_noise = signal.log_f0(rising, noise)
    assert math.isnan(against_noise[0]) and against_noise[1] > 0.8


def test_gradient_energy_of_a_slope_and_of_a_blur():
    slope = 0.5 * torch.arange(80.0)[:, None] - 0.25 * torch.arange(30.0)
    assert signal.gradient_energy(slope) == pytest.approx(0.5**2 + 0.25**2)
    rough = torch.randn(80, 30, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(rough[None], 3, 1, 1)[0]
    assert signal.gradient_energy(rough) == pytest.approx(
        4, rel=0.05
    )  # each step is the difference of two unit variances
    assert signal.gradient_energy(blurred) < 0.2 * signal.gradient_energy(rough)


def test_sharpness_is_generated_over_real():
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    flutter = noise * (torch.arange(8000) // 800 % 2 + 0.1)
    assert signal.sharpness([noise, noise], [0.5 * noise]) == pytest.approx(1, rel=1e-2)
    assert signal.sharpness([flutter], [noise]) > 1.1 > 0.9 > signal.sharpness([noise], [flutter])


def test_nearest_finds_a_copy_and_copying_is_a_ratio():
    pool = [speech(lambda time, hz=hz: hz + 30 * torch.sin(hz * time)) for hz in (90.0, 130.0, 180.0)]
    other = speech(lambda time: 150 + 20 * torch.cos(11 * time))
    found = signal.nearest([0.5 * pool[1], other], pool)
    assert found.shape == (2,) and found[0] < 0.02 < found[1]
    assert signal.copying([0.5 * pool[1]], [other], pool) == pytest.approx(float(found[0] / found[1]), rel=1e-3)


def test_silence_is_an_error():
    with pytest.raises(ValueError, match="silent"):
        signal.mel_distance(torch.zeros(1600), speech())


def test_pesq_is_best_for_the_reference_itself():
    pytest.importorskip("pesq")
    wave = speech()
    noisy = wave + 0.01 * torch.randn(len(wave), generator=torch.Generator().manual_seed(0))
    assert signal.pesq_wb(wave, wave) == pytest.approx(4.644, abs=0.01)
    assert signal.pesq_wb(wave, noisy) < 4
    with pytest.raises(ValueError, match="accepted: at least"):
        signal.pesq_wb(wave[:1600], wave[:1600])


def test_stoi_is_best_for_the_reference_itself():
    pytest.importorskip("pystoi")
    wave = speech()
    noisy = wave + 0.1 * torch.randn(len(wave), generator=torch.Generator().manual_seed(0))
    assert signal.stoi(wave, wave) == pytest.approx(1, abs=1e-6)
    assert signal.stoi(wave, noisy) < 0.95
    with pytest.raises(ValueError, match="0.4 s"):
        signal.stoi(wave[:4000], wave[:4000])


@pytest.mark.parametrize(("package", "score"), [("pesq", signal.pesq_wb), ("pystoi", signal.stoi)])
def test_a_missing_extra_is_named(package, score):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ImportError, match=r"rovolad\[metrics\]"):
        score(speech(), speech())


def test_spread_is_the_mean_over_pairs_within_groups():
    a, b, c = (speech(lambda time, hz=hz: hz + 0 * time, 0.4) for hz in (110, 160, 220))
    pairs = [signal.mel_distance(x, y) for x, y in ((a, b), (a, c), (b, c))]
    assert signal.spread([[a, b, c]]) == pytest.approx(sum(pairs) / 3)
    assert signal.spread([[a, b], [b, c], [c]]) == pytest.approx((pairs[0] + pairs[2]) / 2)
    assert signal.spread([[a, a]]) == pytest.approx(0, abs=1e-6)
