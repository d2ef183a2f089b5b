import math

import numpy
import pandas
import pytest
import torch

from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.metrics import latents as report
from rovolad_lib.metrics import signal
from rovolad_lib.speech import audio, latents, robot
from rovolad_lib.speech.spectral import stft


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_statistics_are_of_what_was_there_before_standardising(codec):
    clips = [torch.tensor([[1.0, -1.0] * 4, [1.0, 1.0, -1.0, -1.0] * 2]).repeat(3, 1), noise(6, 4)]
    found = report.statistics(codec, clips[:1])
    assert found.autocorrelation[0] == pytest.approx(-1)
    assert found.autocorrelation[1] == pytest.approx(1 / 7)  # of seven neighbours four are alike, three are not
    raw = torch.cat([z * codec.deviation + codec.mean for z in clips], dim=1)
    found = report.statistics(codec, clips)
    numpy.testing.assert_allclose(found["mean"], raw.mean(1), rtol=1e-5, atol=1e-6)
    numpy.testing.assert_allclose(found.deviation, raw.std(1), rtol=1e-5)
    apart = report.statistics(codec, [clips[0], clips[0][:, :1]])  # one frame has no neighbour, also not in another clip
    assert apart.autocorrelation[0] < 0 and len(apart) == 6


def test_ranks_count_the_axes_that_hold_the_variance(codec):
    time = torch.arange(800)
    waves = torch.stack([torch.sin(2 * math.pi * k * time / 800) for k in range(1, 7)])  # orthogonal, of one variance
    shares = torch.tensor([0.85, 0.10, 0.045, 0.004, 0.001, 0.0])
    turned, _ = torch.linalg.qr(noise(6, 6))
    standardised = turned @ (shares.sqrt()[:, None] * waves) / codec.deviation
    assert report.ranks(codec, [standardised[:, :300], standardised[:, 300:]]) == {"rank_90": 2, "rank_99": 3}


def test_the_distance_of_a_shifted_corpus_is_the_shift_squared():
    clips = [noise(6, 50, seed=k) for k in range(3)]
    shifted = [z + torch.tensor([3.0, 0, 0, 0, 0, 0])[:, None] for z in clips]
    assert report.distance(clips, shifted)["frechet"] == pytest.approx(9, rel=1e-4)
    assert report.distance(clips, clips)["frechet"] == pytest.approx(0, abs=1e-4)


def test_the_gap_closes_with_the_map_that_made_it():
    mixed, _ = torch.linalg.qr(noise(4, 4))

    def pairs(change, seed):
        said = [noise(4, 300, seed=10 * seed + k) for k in range(3)]
        late = torch.arange(250) + 50  # the person starts where the robot is at its frame 50
        return [(change(z, k)[:, late], z, late) for k, z in enumerate(said)]

    def measured(change):
        return report.gap(pairs(change, 1), pairs(change, 2), l2=1e-6)

    affine = measured(lambda z, k: -2 * z + 5)
    numpy.testing.assert_allclose(affine.correlation, -1, rtol=1e-5)
    numpy.testing.assert_allclose(affine[["affine", "ridge"]], 0, atol=1e-6)
    numpy.testing.assert_allclose(affine.robot, (9 + 25) / 4, rtol=0.2)
    turned = measured(lambda z, k: mixed @ z)
    numpy.testing.assert_allclose(turned.ridge, 0, atol=1e-6)
    numpy.testing.assert_allclose(turned.affine, 1 - turned.correlation**2, atol=0.03)  # what a channel alone cannot tell
    strange = measured(lambda z, k: noise(4, 300, seed=100 + int(1000 * z[0, 0].abs())))
    numpy.testing.assert_allclose(strange.robot, 2, rtol=0.25)
    numpy.testing.assert_allclose(strange[["affine", "ridge"]], 1, rtol=0.05)
    assert list(strange) == ["correlation", "robot", "affine", "ridge"]


def test_noise_on_latents_costs_quality():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    waves = [audio.set_level(robot.say(text)) for text in ("Kids are talking by the door.", "Dogs are sitting by the door.")]
    codec = Autoencoder(24, encoder=None, decoder=None)
    codec.fit_linear(stft(torch.cat(waves)[None, :48000]).abs())
    found = report.robustness(codec, waves, sigmas=(0.0, 2.0), iterations=1)
    clean = [codec.decode(codec.encode(w[None]), iterations=1)[0, : len(w)] for w in waves]
    pandas.testing.assert_frame_equal(found[found.sigma == 0].drop(columns="sigma"), signal.reconstruction(waves, clean))
    means = found.groupby("sigma").mean()
    assert means.log_mel_l1[2.0] > 2 * means.log_mel_l1[0.0] and means.stoi[2.0] < means.stoi[0.0]
    pandas.testing.assert_frame_equal(found, report.robustness(codec, waves, sigmas=(0.0, 2.0), iterations=1))


def test_the_probe_is_a_logistic_regression():
    centres, which = 3 * noise(5, 6), [torch.arange(300) % 5, torch.arange(200) % 3]
    clips = [(centres[labels] + noise(len(labels), 6, seed=k)).T for k, labels in enumerate(which)]
    probe = report.phone_probe(clips, which, 5)
    frames, labels = torch.cat(clips, 1).T, torch.cat(which)
    known = torch.nn.functional.one_hot(labels, 5).float().mean(0)
    torch.testing.assert_close(probe(frames).softmax(1).mean(0), known, rtol=0, atol=1e-3)  # where the gradient is zero
    assert report.phone_accuracy(probe, clips, which) > 0.9
    assert report.phone_accuracy(probe, clips[:1], [(which[0] + 1) % 5]) < 0.1
    assert not any(p.requires_grad for p in probe.parameters())


def test_the_table_is_tidy():
    channels = pandas.DataFrame({"mean": [0.5, 1.5], "deviation": [1.0, 2.0]})
    found = report.table("shared", channels, {"rank_99": 2}, {"frechet": 0.25})
    assert found.values.tolist() == [
        ["shared", "mean", 0, 0.5], ["shared", "mean", 1, 1.5], ["shared", "deviation", 0, 1.0],
        ["shared", "deviation", 1, 2.0], ["shared", "rank_99", pandas.NA, 2.0], ["shared", "frechet", pandas.NA, 0.25],
    ]  # fmt: skip
    assert list(found) == ["autoencoder", "measure", "channel", "value"]


def test_pairs_are_those_of_the_cache(codec, tmp_path):
    rows = []
    for i, (samples, said) in enumerate([(5000, 4000), (1601, 2000)]):
        audio.save(tmp_path / f"person{i}.wav", noise(samples, seed=i) / 20)
        audio.save(tmp_path / f"robot{i}.wav", noise(said, seed=9 + i) / 20)
        numpy.save(tmp_path / f"{i}.npy", (numpy.arange(-(-samples // 160)) * said // samples).astype("int32"))
        rows.append({
            "id": f"u{i}", "path": f"person{i}.wav", "robot_path": f"robot{i}.wav", "align_path": f"{i}.npy", "start": 0.0,
            "end": samples / 16000, "duration": samples / 16000,
        })  # fmt: skip
    rows = pandas.DataFrame(rows)
    held = latents.encode(rows, tmp_path, codec.encode, tmp_path / "l.safetensors", 320)
    for made, kept in zip(report.encode_pairs(rows, tmp_path, codec, codec), held, strict=False):
        for a, b in zip(made[:2], kept[:2], strict=True):
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3)  # float16 in the file
        assert torch.equal(made[2], kept[2])
