import math

import pytest
import torch

from rovolad_lib.speech import spectral
from rovolad_lib.speech.spectral import griffin_lim, istft, peak_phase, stft


def voice(samples, pitch=120.0):
    """A gliding buzz in a little noise."""
    t = torch.arange(samples) / 16000
    phase = 2 * torch.pi * pitch * (t + 0.1 * t**2)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return sum(torch.sin(k * phase) / k for k in range(1, 20)) / 10 + noise / 1000


@pytest.mark.parametrize("hop", [160, 320])
@pytest.mark.parametrize("samples", [1, 159, 160, 161, 1000, 3200])
def test_the_inverse_gives_the_wave_back(samples, hop):
    wave = torch.randn(2, samples)
    spectrum = stft(wave, hop)
    assert spectrum.shape == (2, -(-samples // hop), 2 * hop + 1)
    back = istft(spectrum)
    torch.testing.assert_close(back[:, :samples], wave, atol=1e-5, rtol=0)
    assert back[:, samples:].abs().max() < 1e-5 if back.shape[1] > samples else True


def test_a_frame_is_centred_on_the_middle_of_its_hop():
    wave = torch.zeros(1600)
    wave[160 * 4 + 80] = 1
    spectrum = stft(wave)
    torch.testing.assert_close(
        spectrum[4].real, (-1.0) ** torch.arange(321), atol=1e-5, rtol=0
    )  # half a window's delay
    assert spectrum.imag[4].abs().max() < 1e-5
    torch.testing.assert_close(
        spectrum.abs()[[3, 5]], torch.full((2, 321), 0.5), atol=1e-5, rtol=0
    )  # Hann, half way up
    assert spectrum[[0, 1, 2, 6, 7, 8, 9]].abs().max() < 1e-5


def test_masked_frames_do_not_reach_the_wave():
    wave = voice(1600)
    spectrum, mask = torch.randn(2, 14, 321, dtype=torch.complex64), torch.arange(14) < torch.tensor([[10], [14]])
    spectrum[0, :10] = stft(wave)
    back = istft(spectrum, mask)
    torch.testing.assert_close(back[0, :1600], wave, atol=1e-5, rtol=0)
    assert not back[0, 1600:].any() and back[1, 1600:].any()


def test_griffin_lim_in_a_batch_is_griffin_lim_one_by_one():
    waves = [voice(s, p) for s, p in ((3200, 100), (1600, 180), (4000, 140), (160, 200))]
    alone = [griffin_lim(stft(w).abs()[None])[0] for w in waves]
    frames = torch.tensor([len(w) // 160 for w in waves])
    mask = torch.arange(int(frames.max())) < frames[:, None]
    magnitude = torch.rand(4, int(frames.max()), 321)  # junk behind the ends
    for row, wave in zip(magnitude, waves, strict=True):
        row[: len(wave) // 160] = stft(wave).abs()
    together = griffin_lim(magnitude, mask)
    for got, wanted in zip(together, alone, strict=True):
        assert torch.equal(got[: len(wanted)], wanted)
        assert not got[len(wanted) :].any()


def test_griffin_lim_draws_the_magnitude_nearer_with_every_round():
    magnitude = stft(voice(8000)).abs()[None]

    def left(iterations):
        found = stft(griffin_lim(magnitude, iterations=iterations)).abs()
        return float((found - magnitude).norm() / magnitude.norm())

    at = [left(n) for n in (0, 1, 4, 16, 32)]
    assert at == sorted(at, reverse=True) and at[0] < 0.1 and at[-1] < 0.5 * at[0]


def test_griffin_lim_is_the_same_every_time():
    magnitude = stft(voice(1600)).abs()[None]
    assert torch.equal(griffin_lim(magnitude), griffin_lim(magnitude))


def followed(frame):
    """Return for every bin of one frame the peak that it follows and that peak's frequency in bins, by plain loops."""
    m = [0.0, *frame.tolist(), 0.0]
    peaks = [k for k in range(len(frame)) if m[k] < m[k + 1] >= m[k + 2]]
    where = {k: k + min(max(0.5 * (m[k] - m[k + 2]) / (m[k] - 2 * m[k + 1] + m[k + 2]), -0.5), 0.5) for k in peaks}
    near = [min(peaks, key=lambda p: (abs(k - p), p)) for k in range(len(frame))]
    return near, [where[p] for p in near]


def phase_by_steps(magnitude):
    """`peak_phase` of one item (F, B) as the paper's loop over frames."""
    bins = magnitude.shape[1]
    last, before, rows = [0.0] * bins, None, []
    for frame in magnitude:
        near, frequency = followed(frame)
        before = before or frequency
        mean = [(frequency[k] + before[k]) / 2 for k in range(bins)]
        last = [last[p] + 2 * math.pi / 4 * mean[p] + math.pi * (k - p) for k, p in enumerate(near)]
        before = frequency
        rows.append(last)
    return torch.polar(torch.ones(len(rows), bins), torch.tensor(rows, dtype=torch.float64).remainder(2 * math.pi).float())


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 21])
def test_the_peak_phase_is_that_of_a_loop_over_frames(frames):
    noise = torch.rand(2, frames, 321, generator=torch.Generator().manual_seed(frames)) + 0.1
    noise[0, frames // 2 :] = stft(voice(160 * frames)).abs()[frames // 2 :]
    got = peak_phase(noise)
    for one, magnitude in zip(got, noise, strict=True):
        torch.testing.assert_close(one, phase_by_steps(magnitude), atol=1e-3, rtol=0)


def test_the_peak_phase_of_a_frame_depends_on_those_before_it_only():
    magnitude = stft(voice(4000)).abs()[None]
    changed = torch.cat([magnitude[:, :12], torch.rand(1, 30, 321)], 1)
    whole, cut = peak_phase(magnitude), peak_phase(changed)
    torch.testing.assert_close(cut[:, :12], whole[:, :12], atol=1e-5, rtol=0)
    assert (cut[:, 12] - whole[:, 12]).abs().max() > 0.1


@pytest.mark.parametrize("block", [1, 3, 16])
@pytest.mark.parametrize("hop", [160, 320])
def test_blocks_of_frames_give_what_the_whole_gives(block, hop, monkeypatch):
    waves = torch.stack([voice(160 * 42, p) for p in (110, 190)])
    spectrum = stft(waves, hop)
    frames = spectrum.shape[1]
    magnitude, mask = spectrum.abs(), torch.arange(frames) < torch.tensor([[frames], [frames - 5]])

    def made():
        return istft(spectrum, mask), peak_phase(magnitude), griffin_lim(magnitude, mask, iterations=8)

    whole = made()
    monkeypatch.setattr(spectral, "BLOCK", block)
    inverse, phase, found = made()
    assert torch.equal(inverse, whole[0])
    torch.testing.assert_close(phase, whole[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(found, whole[2], atol=1e-4, rtol=0)


def test_a_gradient_goes_through_the_inverse_in_blocks_too(monkeypatch):
    spectrum, mask = stft(voice(1600)[None]), torch.arange(10)[None] < 8
    slopes = []
    for block in (3, 2048):
        monkeypatch.setattr(spectral, "BLOCK", block)
        leaf = spectrum.clone().requires_grad_()
        istft(leaf, mask).square().sum().backward()
        slopes.append(leaf.grad)
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-5)
    assert slopes[0].abs()[:, :8].max() > 0 and not slopes[0][:, 8:].any()


def test_no_frames_are_no_wave():
    assert stft(torch.zeros(2, 0), 320).shape == (2, 0, 641)
    assert griffin_lim(torch.zeros(2, 0, 641), iterations=2).shape == (2, 0)


def test_silence_has_a_peak_phase_and_stays_silent():
    magnitude = torch.cat([torch.zeros(1, 3, 321), stft(voice(1600)).abs()[None], torch.zeros(1, 3, 321)], 1)
    assert peak_phase(magnitude).isfinite().all()
    assert not griffin_lim(torch.zeros(1, 5, 321), iterations=2).any()


def test_steady_tones_are_found_in_one_pass():
    t = torch.arange(16000) / 16000
    wave = sum(a * torch.sin(2 * torch.pi * f * t + p) for f, a, p in ((437.0, 1, 0), (1203.0, 0.5, 1), (3011.0, 0.3, 2)))
    magnitude = stft(wave).abs()[None]
    found = stft(griffin_lim(magnitude, iterations=0)).abs()
    inner = slice(4, -4)  # a tone that begins has no steady phase
    left = (found - magnitude)[:, inner].norm() / magnitude[:, inner].norm()
    random = torch.polar(torch.ones(magnitude.shape), 2 * torch.pi * torch.rand(magnitude.shape))
    without = (stft(istft(magnitude * random)).abs() - magnitude)[:, inner].norm() / magnitude[:, inner].norm()
    assert left < 0.02 and without > 0.3
