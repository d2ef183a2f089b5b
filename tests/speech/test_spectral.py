import pytest
import torch

from rovolad_lib.speech.spectral import griffin_lim, istft, stft


def voice(samples, pitch=120.0):
    """A gliding buzz in a little noise."""
    t = torch.arange(samples) / 16000
    phase = 2 * torch.pi * pitch * (t + 0.1 * t**2)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return sum(torch.sin(k * phase) / k for k in range(1, 20)) / 10 + noise / 1000


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 1000, 3200])
def test_the_inverse_gives_the_wave_back(samples):
    wave = torch.randn(2, samples)
    spectrum = stft(wave)
    assert spectrum.shape == (2, -(-samples // 160), 321)
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
    assert at == sorted(at, reverse=True) and at[-1] < 0.25 * at[0]


def test_griffin_lim_is_the_same_every_time():
    magnitude = stft(voice(1600)).abs()[None]
    assert torch.equal(griffin_lim(magnitude), griffin_lim(magnitude))
    assert not torch.equal(griffin_lim(magnitude), griffin_lim(magnitude, seed=1))
