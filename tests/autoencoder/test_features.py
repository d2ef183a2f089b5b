import torch

from rovolad_lib.autoencoder.features import MEL_FLOOR, Features, stack, unstack
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
