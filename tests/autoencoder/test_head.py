import math

import pytest
import torch

from rovolad_lib.autoencoder import layers
from rovolad_lib.autoencoder.crops import Waves
from rovolad_lib.autoencoder.head import Head
from rovolad_lib.autoencoder.losses import StageTwo, multiscale_mel
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.speech.spectral import griffin_lim_spectrum, istft, stft


def speech(samples, seed=0):
    """A buzz whose pitch wanders, coloured anew all the time."""
    random = torch.Generator().manual_seed(seed)
    pitch = 100 + 40 * torch.rand(-(-samples // 800), generator=random).repeat_interleave(800)[:samples]
    phase = 2 * math.pi * (pitch / 16000).cumsum(0)
    buzz = sum(torch.sin(k * phase) / k for k in range(1, 20))
    return 0.05 * buzz + 0.002 * torch.randn(samples, generator=random)


def spectra(count=2, frames=30):
    return griffin_lim_spectrum(stft(torch.stack([speech(160 * frames, k) for k in range(count)])).abs(), iterations=0)


def shaken():
    torch.manual_seed(0)
    head = Head(16, 2)
    torch.nn.init.normal_(head.network.leave.weight, std=0.05)
    return head.eval()


def codec(net=None):
    torch.manual_seed(0)
    model = Autoencoder(8, 20, (16, 1), (16, 1), net=net)
    model.fit_linear(stft(torch.stack([speech(16000, k) for k in range(4)])).abs())
    model.standardise([speech(8000, k) for k in range(3)])
    return model.eval()


def test_a_fresh_head_changes_nothing():
    guess = spectra()
    torch.testing.assert_close(Head(16, 2)(guess), istft(guess), atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_a_wave_turned_over_stays_turned_over():
    head, guess = shaken(), spectra()
    assert (head(guess) - istft(guess)).abs().max() > 1e-3
    torch.testing.assert_close(head(-guess), -head(guess))


@torch.no_grad()
def test_an_item_does_not_know_its_batch():
    head, guess, lengths = shaken(), spectra(frames=30), (30, 17)
    mask = torch.arange(30) < torch.tensor(lengths)[:, None]
    together = head(guess * mask[..., None], mask)
    for k, length in enumerate(lengths):
        alone = head(guess[k : k + 1, :length])[0]
        torch.testing.assert_close(together[k, : 160 * length], alone, atol=1e-6, rtol=1e-4)
        assert not together[k, 160 * length :].any()


@torch.no_grad()
def test_blocks_of_time_give_what_the_whole_gives(monkeypatch):
    head, guess = shaken(), spectra(frames=60)
    whole = head(guess)
    monkeypatch.setattr(layers, "BLOCK", 7)
    torch.testing.assert_close(head(guess), whole, atol=1e-6, rtol=1e-4)


def test_multiscale_mel_is_the_ratio_of_levels():
    wave = 20 * speech(8000)[None]  # far above the floor
    noise = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    assert multiscale_mel(wave, wave) == 0
    assert multiscale_mel(2 * noise, noise) == pytest.approx(math.log(2), rel=1e-2)
    assert multiscale_mel(noise, 2 * noise) == multiscale_mel(2 * noise, noise)


def test_stage_two_teaches_the_head_alone():
    model, head = codec(), Head(16, 1)
    batches = Waves([speech(16000, k) for k in range(3)], batch=4, frames=30)
    step, before = StageTwo(model), {k: v.clone() for k, v in model.state_dict().items()}
    optimizer, losses = torch.optim.AdamW(head.parameters(), 3e-3), []
    torch.manual_seed(0)
    for i in range(30):
        found = step(head, batches[i % 3])
        assert set(found) == {"mel", "log", "power", "loss"}
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        losses.append(found["loss"].item())
    assert sum(losses[-6:]) < 0.95 * sum(losses[:6])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_stage_two_hears_as_many_iterations_as_it_is_told():
    model, heard = codec(), []
    batch = Waves([speech(16000)], batch=2, frames=20)[0]

    def head(spectrum):
        heard.append(spectrum)
        return istft(spectrum)

    for iterations in (0, 2):
        batch["sigma"] = torch.zeros(2)
        StageTwo(model, (iterations,)).reconstruct(head, batch)
        assert torch.equal(heard[-1], model.spectrum(model.encode(batch["wave"]), iterations=iterations))
    assert not torch.allclose(*heard)


def test_the_head_travels_in_a_file_of_its_own(tmp_path):
    model = codec(net=(16, 1))
    torch.nn.init.normal_(model.net.network.leave.weight, std=0.05)
    model.save(tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a_{part}.safetensors" for part in ("decoder", "encoder", "net")]
    again = Autoencoder.load(tmp_path / "a")
    wave = speech(8000)[None]
    latents = again.encode(wave)
    by_net, by_gl = again.decode(latents), again.decode(latents, head="gl")
    assert torch.equal(by_net, again.decode(latents, head="net", iterations=2)) and not torch.allclose(by_net, by_gl)
    torch.testing.assert_close(by_net, model.decode(model.encode(wave)), atol=5e-3, rtol=0)  # float16
    assert again.fingerprint() == codec().fingerprint()  # latents do not depend on it
    again.net = None
    again.save(tmp_path / "a")
    assert Autoencoder.load(tmp_path / "a").net is None


@pytest.mark.parametrize("head", ["net", "vocoder"])
def test_a_head_that_is_not_there_is_an_error(head):
    with pytest.raises(ValueError, match=f"head '{head}'; accepted: gl, for there is no net"):
        codec().decode(torch.zeros(1, 8, 4), head=head)


def test_files_of_two_trainings_do_not_mix(tmp_path):
    for name, run in (("a", 1), ("b", 2)):
        model = codec()
        model.notes = {"run": run}
        model.save(tmp_path / name)
    (tmp_path / "b_decoder.safetensors").replace(tmp_path / "a_decoder.safetensors")
    with pytest.raises(ValueError, match="a_decoder.safetensors is of another training"):
        Autoencoder.load(tmp_path / "a")
