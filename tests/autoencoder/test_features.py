import pytest
import torch

from rovolad_lib.autoencoder.features import MEL_FLOOR, Features, contrast, stack, unstack
from rovolad_lib.speech.audio import log_mel
from rovolad_lib.speech.spectral import stft


def test_stacking_joins_neighbours_and_is_undone():
    frames = torch.arange(2 * 5 * 3.0).reshape(2, 5, 3)
    stacked = stack(frames)
    assert stacked.shape == (2, 3, 6)
    assert torch.equal(stacked[1, 1], torch.cat([frames[1, 2], frames[1, 3]]))
    assert torch.equal(stacked[0, 2], torch.cat([frames[0, 4], torch.zeros(3)]))
    assert torch.equal(unstack(stacked)[:, :5], frames)


def test_mel_is_the_house_s_log_mel():
    wave = torch.randn(2, 3000) / 10
    mel = Features().mel(stft(wave).abs())  # (N, F, 80)
    torch.testing.assert_close(mel.mT, log_mel(wave), atol=1e-4, rtol=0)


def test_silence_is_the_floor_and_back():
    features = Features(20)
    quiet = features.mel(torch.zeros(1, 2, 321))
    assert torch.allclose(quiet, torch.tensor(MEL_FLOOR).log().expand(1, 2, 20))
    torch.testing.assert_close(features.from_mel(quiet).exp(), torch.full((1, 2, 321), 3e-3), rtol=1e-3, atol=0)


def test_a_smooth_magnitude_comes_back_from_its_mel():
    features, bins = Features(), torch.arange(321)
    magnitude = 3 + 2 * torch.cos(bins / 321 * torch.pi)[None, None]
    back = features.from_mel(features.mel(magnitude)).exp()
    assert (back / magnitude - 1).abs().median() < 0.01 and (back / magnitude - 1).abs().mean() < 0.05
    again = features.mel(back)
    assert (again - features.mel(magnitude)).abs().median() < 0.01


def test_a_valley_between_bands_never_goes_below_a_tenth_of_the_smooth_guess():
    features = Features()
    mel = torch.zeros(80)
    mel[10] = 5.0
    log_mel = torch.log(mel + MEL_FLOOR)
    guess = 0.1 * (mel @ features.spread)
    magnitude = features.from_mel(log_mel).exp()
    assert (mel @ features.inverse).min() < 0  # what the floor is for
    assert (magnitude >= guess).all() and magnitude.min() >= 3e-3 * (1 - 1e-4)


def rippled(depth=0.5, period=9, bins=321):
    """Magnitudes (1, 1, 321) whose log is a ripple about -1."""
    return (-1 + depth * torch.cos(2 * torch.pi * torch.arange(bins) / period)).exp()[None, None]


def around(x, width=9):
    """The mean over every whole neighbourhood, written out."""
    return x.unfold(-1, width, 1).mean(-1)


@pytest.mark.parametrize("gain", [0.2, 0.7])
def test_contrast_deepens_a_ripple_by_the_gain_and_keeps_the_energy(gain):
    before = rippled()
    after = contrast(before, gain)
    inner = slice(8, -8)  # neighbourhoods that do not reach over the edge
    swing = [x.log() - around(x.log()).mean() for x in (before[..., inner], after[..., inner])]
    torch.testing.assert_close(swing[1], (1 + gain) * swing[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(around(after.square())[..., inner], around(before.square())[..., inner], rtol=1e-4, atol=0)


def test_contrast_under_an_envelope_keeps_the_energy_of_every_neighbourhood():
    before = rippled(0.8, 8) * (1.5 + torch.cos(torch.arange(321) / 40)) + 0.01 * torch.rand(3, 5, 321)
    after = contrast(before)
    change_db = 10 * (around(after.square()) / around(before.square())).log10()
    assert change_db.abs().max() < 0.5 and change_db.abs().mean() < 0.1
    assert (after / before).log().abs().max() > 0.1


def test_contrast_leaves_flat_spectra_and_gain_0_alone():
    flat = torch.tensor([0.3, 2.0])[:, None, None].expand(2, 3, 321)
    torch.testing.assert_close(contrast(flat), flat)
    rough = torch.rand(2, 3, 321) + 1e-3
    torch.testing.assert_close(contrast(rough, gain=0.0), rough)
    assert not contrast(torch.zeros(1, 2, 321)).any()
