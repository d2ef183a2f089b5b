import pytest
import torch

from rovolad_lib.autoencoder.crops import Crops
from rovolad_lib.speech.spectral import stft


def waves(*lengths):
    return [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in lengths]


def test_a_batch_is_a_pure_function_of_seed_and_index():
    speech = waves(3000, 5000)
    one, two = Crops(speech, batch=3, frames=4, seed=5), Crops(speech, batch=3, frames=4, seed=5)
    first, _, again = one[7], one[3], two[7]
    assert all(torch.equal(first[k], again[k]) for k in ("magnitude", "sigma"))
    assert first["magnitude"].shape == (3, 4, 321) and first["sigma"].shape == (3,)
    assert not torch.equal(first["magnitude"], one[8]["magnitude"])
    assert not torch.equal(first["magnitude"], Crops(speech, batch=3, frames=4, seed=6)[7]["magnitude"])


def test_crops_lie_in_one_wave_and_reach_every_place():
    speech = waves(642, 640, 641, 100)  # crops of 640 samples: 3 + 1 + 2 places; the last is too short
    places = torch.stack([stft(w[k : k + 640]).abs() for w in speech[:3] for k in range(len(w) - 639)])
    crops = Crops(speech, batch=50, frames=4, narrow=0.0, gain_db=0.0)
    found = torch.cat([(crops[i]["magnitude"][:, None] - places).abs().amax((2, 3)) for i in range(6)])  # (300, 6)
    assert (found.amin(1) < 1e-6).all()
    counts = torch.bincount(found.argmin(1), minlength=6)
    assert counts.min() > 25  # 50 are expected, six deviations are 39


def test_the_level_moves_evenly_within_its_bounds():
    still = dict(batch=100, frames=2, narrow=0.0)
    moved = torch.cat([Crops(waves(320), gain_db=8.0, **still)[i]["magnitude"] for i in range(5)])
    plain = Crops(waves(320), gain_db=0.0, **still)[0]["magnitude"][:1]  # only one crop fits
    gain = moved / plain
    assert (gain - gain[:, :1, :1]).abs().max() < 1e-4  # one number an item
    level = 20 * gain[:, 0, 0].log10()
    assert level.abs().max() <= 8.001 and level.min() < -7 and level.max() > 7
    assert abs(float(level.mean())) < 0.8 and abs(float(level.std()) - 16 / 12**0.5) < 0.4


def test_the_low_pass_takes_the_top_of_some_items_only():
    crops = Crops(waves(320), batch=200, frames=2, narrow=0.3, gain_db=0.0)
    plain = Crops(waves(320), batch=1, frames=2, narrow=0.0, gain_db=0.0)[0]["magnitude"]
    gain = torch.cat([crops[i]["magnitude"] for i in range(3)])[:, 0] / plain[:, 0]  # (600, 321)
    narrow = gain[:, -1] < 0.5
    assert abs(float(narrow.float().mean()) - 0.3) < 0.06
    assert torch.allclose(gain[~narrow], torch.ones(321))
    edge = (gain[narrow] > 0.5).sum(1) * 25  # Hz
    assert 3400 <= int(edge.min()) < 3700 and 6800 < int(edge.max()) <= 7100
    assert (gain[narrow].diff() <= 1e-6).all() and gain[narrow][:, :120].min() > 0.95


def test_the_noise_is_drawn_from_nothing_to_the_greatest():
    sigma = Crops(waves(320), batch=500, frames=2, noise=0.2)[0]["sigma"]
    assert sigma.min() >= 0 and 0.19 < sigma.max() <= 0.2 and abs(float(sigma.mean()) - 0.1) < 0.01


def test_speech_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="9600 samples"):
        Crops(waves(9599), frames=60)
    assert Crops(waves(9600), frames=60, batch=2)[0]["magnitude"].shape == (2, 60, 321)
