import pytest
import torch

from rovolad_lib.autoencoder.crops import Crops, Waves
from rovolad_lib.speech.spectral import stft

STILL = {"pitch": 0.0, "narrow": 0.0, "gain_db": 0.0, "tilt_db": 0.0}


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
    two.planned(3)  # the plan raises the noise and leaves the rest alone
    assert torch.equal(first["magnitude"], two[7]["magnitude"])
    torch.testing.assert_close(two[7]["sigma"], 3 * first["sigma"])


def test_crops_lie_in_one_wave_and_reach_every_place():
    speech = waves(642, 640, 641, 100)  # crops of 640 samples: 3 + 1 + 2 places; the last is too short
    places = torch.stack([stft(w[k : k + 640]).abs() for w in speech[:3] for k in range(len(w) - 639)])
    crops = Crops(speech, batch=50, frames=4, **STILL)
    found = torch.cat([(crops[i]["magnitude"][:, None] - places).abs().amax((2, 3)) for i in range(6)])  # (300, 6)
    assert (found.amin(1) < 1e-6).all()
    counts = torch.bincount(found.argmin(1), minlength=6)
    assert counts.min() > 25  # 50 are expected, six deviations are 39


def test_the_level_moves_evenly_within_its_bounds():
    crops = Crops(waves(320), batch=100, frames=2, **STILL | {"gain_db": 8.0})
    moved = torch.cat([crops[i]["magnitude"] for i in range(5)])
    plain = Crops(waves(320), batch=1, frames=2, **STILL)[0]["magnitude"][:1]  # only one crop fits
    gain = moved / plain
    assert (gain - gain[:, :1, :1]).abs().max() < 1e-4  # one number an item
    level = 20 * gain[:, 0, 0].log10()
    assert level.abs().max() <= 8.001 and level.min() < -7 and level.max() > 7
    assert abs(float(level.mean())) < 0.8 and abs(float(level.std()) - 16 / 12**0.5) < 0.4


def test_the_low_pass_takes_the_top_of_some_items_only():
    crops = Crops(waves(320), batch=200, frames=2, **STILL | {"narrow": 0.3})
    plain = Crops(waves(320), batch=1, frames=2, **STILL)[0]["magnitude"]
    gain = torch.cat([crops[i]["magnitude"] for i in range(3)])[:, 0] / plain[:, 0]  # (600, 321)
    narrow = gain[:, -1] < 0.5
    assert abs(float(narrow.float().mean()) - 0.3) < 0.06
    assert torch.allclose(gain[~narrow], torch.ones(321))
    edge = (gain[narrow] > 0.5).sum(1) * 25  # Hz
    assert 3400 <= int(edge.min()) < 3700 and 6800 < int(edge.max()) <= 7100
    assert (gain[narrow].diff() <= 1e-6).all() and gain[narrow][:, :120].min() > 0.95


def test_the_colour_is_smooth_and_within_its_bounds():
    crops = Crops(waves(320), batch=300, frames=2, **STILL | {"tilt_db": 4.0})
    plain = Crops(waves(320), batch=1, frames=2, **STILL)[0]["magnitude"]
    gain_db = 20 * (crops[0]["magnitude"] / plain).log10()  # (300, 2, 321)
    assert (gain_db[:, 0] - gain_db[:, 1]).abs().max() < 1e-3  # one colour an item
    assert gain_db.abs().max() <= 4.001 and gain_db.abs().amax((1, 2)).max() > 2.5
    assert gain_db[:, 0, 20:].diff().abs().max() < 0.5  # from bin to bin: the finest wave swings once and a half
    assert gain_db[:, 0].std(0)[[0, -1]].min() > 0.7 and gain_db[:, 0].mean(0).abs().max() < 0.3


def test_an_item_read_faster_has_its_spectrum_moved_by_the_ratio():
    tone = torch.sin(2 * torch.pi * 72 * torch.arange(9000) / 640)  # in bin 72
    still, moved = (
        Crops([tone], batch=60, frames=8, **STILL | {"pitch": p})[0]["magnitude"][:, 4].argmax(1) for p in (0.0, 1.0)
    )
    assert set(still.tolist()) == {72}
    assert set(moved[moved != 72].tolist()) == {64, 65, 80, 81}  # 72 times 8/9, 9/10, 10/9, 9/8
    assert (moved == 72).sum() <= 3  # those too near to the end
    some = Crops([tone], batch=400, frames=4, **STILL | {"pitch": 0.3})[0]["magnitude"]
    assert abs(float((some[:, 2].argmax(1) != 72).float().mean()) - 0.3) < 0.08


def test_no_crop_reads_over_the_end_of_its_wave():
    t = torch.arange(730) / 640  # room for a crop of 640 samples, and just for one read 10/9 or 9/8 as fast
    low, high = torch.sin(2 * torch.pi * 40 * t), torch.sin(2 * torch.pi * 200 * t)
    magnitude = Crops([low, high, low], batch=500, frames=4, seed=3, **STILL | {"pitch": 1.0})[0]["magnitude"]
    energy = torch.stack([magnitude[:, 1, :100].square().sum(1), magnitude[:, 2, 100:].square().sum(1)], 1)
    assert (energy.amin(1) < 1e-3 * energy.amax(1)).all() and 0.2 < float((energy[:, 1] > energy[:, 0]).float().mean()) < 0.47
    moved = magnitude[:, 2].argmax(1)
    assert {36, 44, 45} < set(moved.tolist()) and {40, 200} < set(moved.tolist())  # those without room stay as they are


def test_the_noise_is_greater_in_the_last_third_of_what_is_planned():
    crops = Crops(waves(320), batch=500, frames=2, noise=(0.1, 0.3))
    assert Crops(waves(320), batch=500, frames=2, noise=(0.1, 0.3))[10**6]["sigma"].max() <= 0.1  # nothing planned
    crops.planned(30)
    for i, most in ((0, 0.1), (19, 0.1), (20, 0.3), (29, 0.3)):
        sigma = crops[i]["sigma"]
        assert sigma.min() >= 0 and 0.95 * most < sigma.max() <= most and abs(float(sigma.mean()) - most / 2) < 0.1 * most


def test_speech_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="9600 samples"):
        Crops(waves(9599), frames=60)
    assert Crops(waves(9600), frames=60, batch=2)[0]["magnitude"].shape == (2, 60, 321)


def test_waves_are_the_crops_before_colour_and_bandwidth():
    options = dict(batch=5, frames=4, seed=3, pitch=0.5)
    magnitude = Crops(waves(3000, 5000), narrow=0.0, tilt_db=0.0, **options)[2]["magnitude"]
    crops = Waves(waves(3000, 5000), **options)
    crops.planned(20)
    assert crops[2]["wave"].shape == (5, 640) and crops[2]["sigma"].shape == (5,)
    assert torch.allclose(stft(crops[2]["wave"]).abs(), magnitude, atol=1e-5)
    assert torch.equal(crops[2]["wave"], Waves(waves(3000, 5000), **options)[2]["wave"])
    assert [crops[i]["adversarial"] for i in (0, 1, 2, 3)] == [0.0, 0.0, 1.0, 1.0]
