import importlib.util

import pytest
import torch

from rovolad_lib.autoencoder.crops import Waves
from rovolad_lib.lab import peers
from rovolad_lib.speech.audio import mel_filters


def waves(*lengths):
    return [torch.randn(n, generator=torch.Generator().manual_seed(n)) / 20 for n in lengths]


def seanet():
    pytest.importorskip("encodec", reason="encodec is not installed (extra: peers)")
    torch.manual_seed(0)
    return peers.SEANet(filters=2)


def test_what_is_missing_is_said(capsys):
    assert peers.there("torch") and capsys.readouterr().out == ""
    assert not peers.there("no_such_package")
    assert capsys.readouterr().out == "no_such_package is not installed: pip install 'rovolad[peers]'\n"
    assert peers.there("encodec") == (importlib.util.find_spec("encodec") is not None)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_seanet_is_the_published_size_at_our_rate():
    pytest.importorskip("encodec", reason="encodec is not installed (extra: peers)")
    from encodec.modules import SEANetDecoder, SEANetEncoder

    sizes = {name: tuple(w.shape) for name, w in peers.SEANet().named_parameters()}
    count = sum(torch.Size(shape).numel() for shape in sizes.values())
    assert count == sum(w.numel() for part in (SEANetEncoder(), SEANetDecoder()) for w in part.parameters())
    model = seanet()
    assert model.encoder(torch.randn(2, 1, 3200)).shape == (2, 128, 10)  # 50 Hz
    for samples in (3200, 3333):
        assert model(torch.randn(2, samples)).shape == (2, samples)


def test_the_filters_at_our_own_window_are_our_own():
    assert torch.allclose(peers._filters(321), mel_filters(64), atol=1e-6)
    assert peers._filters(17).shape == (64, 17) and torch.equal(peers._filters(17)[:, [0, 16]], mel_filters(64)[:, [0, 320]])


def test_mel_distance_by_hand():
    wave = waves(4096)[0][None]
    assert peers.mel_distance(wave, wave) == 0
    found = []
    for size in (64, 128, 256, 512, 1024):
        padded = torch.nn.functional.pad(wave[:, None], (size // 2, size // 2), mode="reflect")[0, 0]
        window = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(size) / size)
        power = torch.stack([torch.fft.rfft(part * window).abs() ** 2 for part in padded.unfold(0, size, size // 4)])
        mel = power @ peers._filters(size // 2 + 1).T / window.square().sum()
        found += [(3 * mel).mean(), (torch.log10(4 * mel + 1e-5) - torch.log10(mel + 1e-5)).square().mean()]
    assert torch.isclose(peers.mel_distance(2 * wave, wave), torch.stack(found).mean(), rtol=1e-4)


def test_the_parts_have_their_shares_of_the_slope(monkeypatch):
    class Gain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.made = torch.nn.Parameter(torch.randn(3, 4096, generator=torch.Generator().manual_seed(1)) / 20)

        def forward(self, wave):
            return self.made

    model, batch = Gain(), {"wave": torch.randn(3, 4096) / 20}
    for name, other in (("wave", "mel"), ("mel", "wave")):
        monkeypatch.setattr(peers, "WEIGHTS", {name: 0.7, other: 0.0})
        (slope,) = torch.autograd.grad(peers.seanet_step(model, batch)["loss"], model.parameters())
        assert abs(float(slope.norm(dim=1).mean()) - 0.7) < 1e-4


def test_it_learns_and_reconstructs():
    model = seanet()
    crops = Waves(waves(6000, 7000), batch=2, frames=20)
    before = peers.mel_distance(model(crops[50]["wave"]), crops[50]["wave"])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for i in range(20):
        optimizer.zero_grad()
        peers.seanet_step(model, crops[i])["loss"].backward()
        optimizer.step()
    assert peers.mel_distance(model(crops[50]["wave"]), crops[50]["wave"]) < 0.7 * before
    wave = waves(5000)[0]
    assert torch.allclose(peers.reconstruct(model, wave), peers.reconstruct(model, 0.5 * wave), atol=1e-5)  # at one level
    assert peers.reconstruct(model, wave).shape == (5000,)


def test_encodec_at_24_khz_makes_a_wave():
    pytest.importorskip("encodec", reason="encodec is not installed (extra: peers)")
    call = peers.encodec_24khz()
    assert call(torch.randn(1, 1, 4800) / 20).shape == (1, 1, 4800)
