import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from rovolad_lib.autoencoder import layers
from rovolad_lib.autoencoder.losses import spectral_loss, stage_one
from rovolad_lib.autoencoder.model import SIZES, Autoencoder
from rovolad_lib.speech.spectral import stft

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"encoder": (16, 2), "decoder": (16, 2)}
SAMPLES = [4000, 3201, 1600, 161, 5000, 320]  # 25, 21, 10, 2, 32 and 2 frames of 10 ms: odd numbers too


def speech(samples):
    """Loud noise, coloured anew every 10 ms."""
    random = torch.Generator().manual_seed(samples)
    level = torch.rand(-(-samples // 160), generator=random).repeat_interleave(160)[:samples]
    return level * torch.randn(samples, generator=random).cumsum(0).sin()


def magnitudes(hop=160):
    return stft(torch.stack([speech(16000 + k)[:16000] for k in range(4)]), hop).abs()  # (4, 100, 321)


def shaken(**options):
    """An autoencoder whose residual networks have something to say, standardised."""
    torch.manual_seed(0)
    model = Autoencoder(channels=8, mels=20, **SMALL | options)
    model.fit_linear(magnitudes(model.frame_hop))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 20)
    model.eval().standardise([speech(n) for n in SAMPLES])  # a network in training rounds otherwise
    return model


def test_the_linear_codec_is_the_principal_components():
    model, magnitude = Autoencoder(8, 20, None, None), magnitudes()
    model.fit_linear(magnitude)
    mel = model.features.mel(magnitude).reshape(200, 40).double().numpy()  # two frames of 10 ms side by side
    centre = mel.mean(0)
    left, size, axes = numpy.linalg.svd(mel - centre, full_matrices=False)
    wanted = left[:, :8] * numpy.sqrt(199)  # principal components of unit variance
    latents = model.analyse(magnitude, torch.ones(4, 50, 1)).reshape(200, 8).double().numpy()
    sign = numpy.sign((latents * wanted).sum(0))
    assert numpy.abs(latents - sign * wanted).max() < 2e-3
    assert numpy.abs(numpy.cov(latents.T) - numpy.eye(8)).max() < 1e-3 and numpy.abs(latents.mean(0)).max() < 1e-3
    rebuilt = centre + (left[:, :8] * size[:8]) @ axes[:8]
    mine = torch.from_numpy(latents).float() @ model.colour + model.centre
    assert numpy.abs(mine.numpy() - rebuilt).max() < 1e-3
    said = model.synthesise(torch.from_numpy(latents).float().reshape(4, 50, 8), torch.ones(4, 50, 1))
    expected = model.features.from_mel(torch.from_numpy(rebuilt).float().reshape(4, 100, 20))
    torch.testing.assert_close(said, expected, atol=5e-3, rtol=0)


def test_with_all_channels_nothing_is_lost():
    model, magnitude = Autoencoder(40, 20, None, None), magnitudes()
    model.fit_linear(magnitude)
    real = torch.ones(4, 50, 1)
    said = model.synthesise(model.analyse(magnitude, real), real)
    torch.testing.assert_close(said, model.features.from_mel(model.features.mel(magnitude)), atol=1e-2, rtol=0)


def test_before_training_it_is_the_linear_codec():
    linear, model, wave = Autoencoder(8, 20, None, None), Autoencoder(8, 20, **SMALL), speech(3201)[None]
    linear.fit_linear(magnitudes()), model.fit_linear(magnitudes())
    latents = model.encode(wave)
    assert torch.equal(latents, linear.encode(wave)) and latents.std() > 0.1
    real = torch.ones(1, latents.shape[2], 1)
    assert torch.equal(model.synthesise(latents.mT, real), linear.synthesise(latents.mT, real))  # contrast comes after it


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 480, 4000])
def test_a_latent_frame_is_320_samples(samples):
    model = shaken()
    latents = model.encode(torch.randn(2, samples))
    assert latents.shape == (2, 8, -(-samples // 320)) and latents.isfinite().all()
    assert model.decode(latents, iterations=1).shape == (2, latents.shape[2] * 320)
    assert (model.hop, model.sample_rate, model.channels) == (320, 16000, 8)


@pytest.mark.parametrize("residual", [True, False])
def test_a_batch_of_unequal_lengths_is_encoded_as_one_by_one(residual):
    model = shaken(**{} if residual else {"encoder": None, "decoder": None})
    waves = [speech(n) for n in SAMPLES]
    batch = 3 * torch.randn(len(waves), 5555)  # junk behind the ends
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = wave
    together = model.encode(batch, torch.tensor(SAMPLES))
    for got, wave in zip(together, waves, strict=True):
        wanted = model.encode(wave[None])[0]
        assert (got[:, : wanted.shape[1]] - wanted).abs().max() <= 1e-4 * wanted.abs().max()
        assert not got[:, wanted.shape[1] :].any()


@pytest.mark.parametrize("residual", [True, False])
def test_a_batch_of_unequal_lengths_is_decoded_as_one_by_one(residual):
    model = shaken(**{} if residual else {"encoder": None, "decoder": None})
    items = [model.encode(speech(n)[None])[0] for n in SAMPLES]
    batch = 3 * torch.randn(len(items), 8, 20)
    for row, item in zip(batch, items, strict=True):
        row[:, : item.shape[1]] = item
    together = model.decode(batch, torch.tensor([item.shape[1] for item in items]), iterations=4)
    for got, item in zip(together, items, strict=True):
        wanted = model.decode(item[None], iterations=4)[0]
        assert (got[: len(wanted)] - wanted).abs().max() <= 1e-4 * wanted.abs().max()
        assert not got[len(wanted) :].any()


def test_latents_are_standardised():
    model = shaken()
    latents = torch.cat([model.encode(speech(n)[None])[0] for n in SAMPLES], dim=1)
    torch.testing.assert_close(latents.mean(1), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std(1), torch.ones(8), atol=1e-4, rtol=0)
    model.standardise([speech(n) for n in SAMPLES])  # of the raw latents, so once more changes nothing
    torch.testing.assert_close(model.encode(speech(4000)[None])[0], latents[:, :13], atol=1e-4, rtol=0)


@pytest.mark.parametrize("linear", [False, True])
def test_save_and_load_in_float16(tmp_path, linear):
    model, wave = shaken(**{"encoder": None, "decoder": None} if linear else {}), speech(4000)[None]
    model.save(tmp_path / "deep" / "ae")
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["ae_decoder.safetensors", "ae_encoder.safetensors"]
    again = Autoencoder.load(tmp_path / "deep" / "ae")
    assert not again.training and again.fingerprint() == model.fingerprint()
    latents, half = model.encode(wave), again.encode(wave)
    assert (latents - half).abs().max() < 5e-3 and torch.equal(latents, half) == linear
    again.save(tmp_path / "twice")
    twice = Autoencoder.load(tmp_path / "twice")
    assert torch.equal(twice.encode(wave), half)  # float16 of float16 is the same
    assert torch.equal(twice.decode(half, iterations=1), again.decode(half, iterations=1))


def test_the_fingerprint_is_the_encoder_s():
    model = shaken()
    before = model.fingerprint()
    with torch.no_grad():
        model.decoder.leave.bias += 1
    assert model.fingerprint() == before and len(before) == 12
    with torch.no_grad():
        model.encoder.leave.bias += 1
    assert model.fingerprint() != before


def test_errors_name_what_was_given(tmp_path):
    model = shaken()
    with pytest.raises(FileNotFoundError, match=r"absent_encoder.safetensors"):
        Autoencoder.load(tmp_path / "absent")
    model.save(tmp_path / "half")
    (tmp_path / "half_decoder.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"half_decoder.safetensors"):
        Autoencoder.load(tmp_path / "half")
    for shape in ((100,), (1, 1, 100)):
        with pytest.raises(ValueError, match=rf"\(N, S\).*\({', '.join(map(str, shape))}"):
            model.encode(torch.zeros(shape))
    for shape in ((8, 5), (1, 7, 5)):
        with pytest.raises(ValueError, match=rf"\(N, 8, T\).*\({', '.join(map(str, shape))}"):
            model.decode(torch.zeros(shape))


def test_gradient_reaches_every_parameter():
    model = shaken().train()
    batch = {"magnitude": magnitudes()[:, :20], "sigma": torch.full((4,), 0.1)}
    stage_one(model, batch)["loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("frame_hop", [160, 320])
@pytest.mark.parametrize("residual", [True, False])
def test_blocks_of_time_give_what_the_whole_gives(residual, frame_hop, monkeypatch):
    model = shaken(frame_hop=frame_hop, **{} if residual else {"encoder": None, "decoder": None})
    waves = torch.stack([speech(320 * 40 - 100), speech(320 * 40)[100:]])
    samples, lengths = torch.tensor([12700, 9001]), torch.tensor([40, 29])
    real = (torch.arange(40) < lengths[:, None]).float().unsqueeze(-1)
    latents = model.encode(waves, samples)
    magnitude, made = model._magnitude(latents, real), model.decode(latents, lengths, 2)
    monkeypatch.setattr(layers, "BLOCK", 7)
    assert (model.encode(waves, samples) - latents).abs().max() <= 1e-4 * latents.abs().max()
    assert (model._magnitude(latents, real) - magnitude).abs().max() <= 1e-4 * magnitude.abs().max()
    assert (model.decode(latents, lengths, 2) - made).norm() <= 1e-2 * made.norm()  # peaks may change places by rounding


MEASURE = """
import resource, sys, torch
from rovolad_lib.autoencoder.model import SIZES, Autoencoder

torch.set_num_threads(1)
model = Autoencoder(**SIZES["tiny"]).eval()
latents = torch.randn(1, 64, 6000)
model.decode(latents[:, :, :50], iterations=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.decode(latents, iterations=1)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown / 2 ** (20 if sys.platform == "darwin" else 10))
"""


def test_two_minutes_are_decoded_in_little_memory():
    pytest.importorskip("resource")
    answer = subprocess.run([sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer.stderr
    assert float(answer.stdout) < 300  # MiB; 12,000 spectra of 321 complex numbers are 29


def test_the_all_50_hz_variant_has_one_frame_in_a_latent_frame(tmp_path):
    model, wave = shaken(frame_hop=320), speech(4000)[None]
    assert (model.hop, model.frame_hop, model.stack) == (320, 320, 1)
    latents = model.encode(wave)
    assert latents.shape == (1, 8, 13) and model.decode(latents, iterations=1).shape == (1, 13 * 320)
    magnitude = stft(wave, 320).abs()
    assert magnitude.shape == (1, 13, 641)
    raw = model.analyse(magnitude, torch.ones(1, 13, 1)).mT
    torch.testing.assert_close(latents, (raw - model.mean) / model.deviation, atol=1e-4, rtol=1e-4)
    assert model.synthesise(raw.mT, torch.ones(1, 13, 1)).shape == (1, 13, 641)
    model.save(tmp_path / "ae")
    assert Autoencoder.load(tmp_path / "ae").config["frame_hop"] == 320
    for hop in (200, 0, 640):
        with pytest.raises(ValueError, match=rf"frame_hop is {hop}; .*divisors of 320"):
            Autoencoder(frame_hop=hop)


def test_a_file_that_names_no_hop_has_frames_of_10_ms(tmp_path):
    model = shaken()
    config = {k: v for k, v in model.config.items() if k != "frame_hop"}
    model.config = config
    model.save(tmp_path / "old")
    again = Autoencoder.load(tmp_path / "old")
    assert again.frame_hop == 160 and again.config["frame_hop"] == 160 and again.fingerprint() == model.fingerprint()


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_its_networks_and_any_number_of_channels(size):
    model = Autoencoder(32, **SIZES[size])
    assert (len(model.encoder.blocks), len(model.decoder.blocks)) == (SIZES[size]["encoder"][1], SIZES[size]["decoder"][1])
    assert (model.stack, model.frame_hop) == ((1, 320) if size == "fast" else (2, 160))
    model.fit_linear(stft(speech(32000)[None], model.frame_hop).abs())
    latents = model.encode(speech(3200)[None])
    assert latents.shape == (1, 32, 10) and model.decode(latents, iterations=1).shape == (1, 3200)


@pytest.mark.parametrize("residual", [True, False])
def test_wild_latents_give_a_bounded_wave_and_no_number_gives_an_error(residual):
    model = shaken(**{} if residual else {"encoder": None, "decoder": None})
    tame = model.encode(speech(4000)[None])
    for wild in (1e3, -1e3, 1e30, -1e30):
        made = model.decode(torch.where(tame > 0, wild, tame), iterations=2)
        assert made.isfinite().all() and made.abs().max() < 1e5
    for bad in (float("nan"), float("inf"), -float("inf")):
        latents = tame.clone()
        latents[0, 3, 10:] = bad
        with pytest.raises(ValueError, match=r"finite latents; of 104 numbers 3 are nan or infinite"):
            model.decode(latents)
        made = model.decode(latents, torch.tensor([10]), 1)  # what stands behind an end is not looked at
        assert torch.equal(made, model.decode(tame, torch.tensor([10]), 1)) and made.any()


def trained(steps=12):
    """The losses of a few steps from the linear codec, and the model they leave."""
    torch.manual_seed(0)
    model = Autoencoder(8, 20, (32, 2), (32, 2)).train()
    model.fit_linear(magnitudes())
    optimizer, losses = torch.optim.AdamW(model.parameters(), 3e-3), []
    for _ in range(steps):
        loss = stage_one(model, {"magnitude": magnitudes()[:, :40], "sigma": torch.full((4,), 0.1)})["loss"]
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(loss.item())
    return losses, model


def test_bfloat16_is_for_the_linear_layers_of_a_block_in_training_only(monkeypatch):
    monkeypatch.setattr(layers, "bf16_pays", lambda device: False)
    exact, _ = trained()
    assert exact == trained()[0] and exact[-1] < 0.95 * exact[0]
    monkeypatch.setattr(layers, "bf16_pays", lambda device: True)
    losses, model = trained()
    assert losses != exact and losses == pytest.approx(exact, rel=5e-3)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    seen = {}
    for name, part in model.encoder.named_modules():
        part.register_forward_hook(lambda part, given, made, name=name: seen.update({name: made.dtype}))
    model.analyse(magnitudes(), torch.ones(4, 50, 1))
    low = {name for name, dtype in seen.items() if dtype == torch.bfloat16}
    assert low == {f"blocks.{k}.{part}" for k in range(2) for part in ("up", "down")} and len(seen) > 8
    model.eval()
    latents = model.encode(speech(4000)[None])
    monkeypatch.setattr(layers, "bf16_pays", lambda device: False)
    assert torch.equal(model.encode(speech(4000)[None]), latents)


def test_bfloat16_pays_where_the_processor_has_it():
    has = torch.cpu.get_capabilities()
    assert layers.bf16_pays(torch.device("cpu")) == any(has.get(name) for name in ("avx512_bf16", "amx_bf16"))
    assert not layers.bf16_pays(torch.device("meta"))


def test_losses_by_hand():
    model, magnitude = shaken(), magnitudes()[:1, :2]
    features = model.features
    exact = spectral_loss(features, torch.log(magnitude + 3e-3), magnitude)
    assert exact["log"] == 0 and exact["mel"] < 0.2 and exact["power"] < 0.2
    louder = spectral_loss(features, torch.log(magnitude + 3e-3) + 1, magnitude)
    assert float(louder["log"]) == pytest.approx(1)
    flat, double = torch.full((1, 2, 321), 5.0), torch.full((1, 2, 321), 10.0)
    losses = spectral_loss(features, double.log(), flat)
    assert float(losses["power"]) == pytest.approx(10**0.4 - 5**0.4, rel=1e-5)
    assert float(losses["mel"]) == pytest.approx(0.693, abs=0.005)  # ln 2, less the floor's share
    with torch.no_grad():
        step = stage_one(model, {"magnitude": magnitude, "sigma": torch.zeros(1)})
        pull = model.analyse(magnitude, torch.ones(1, 1, 1)).square().mean()
    whole = step["log"] + 2 * step["mel"] + 3 * step["power"] + 1e-3 * pull
    assert float(step["loss"]) == pytest.approx(float(whole), rel=1e-6)
