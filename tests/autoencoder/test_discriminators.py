import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rovolad_lib import train
from rovolad_lib.autoencoder.discriminators import (
    GAIN,
    Adversarial,
    MultiPeriod,
    MultiResolution,
    adversarial,
    discriminator_loss,
    generator_loss,
    matching_loss,
)
from rovolad_lib.autoencoder.discriminators import _spectrum as spectrum
from rovolad_lib.speech.spectral import BINS, istft, stft
from rovolad_lib.train import fit


def buzz(seed, samples=3200):
    """A voice-like wave at about -26 dB: a pulse train of random pitch whose level moves, in a little noise."""
    random = torch.Generator().manual_seed(seed)
    t, pitch = torch.arange(samples) / 16000, 90 + 60 * torch.rand(1, generator=random)
    tones = sum(torch.sin(2 * math.pi * k * pitch * t) / k for k in range(1, 25))
    level = 0.6 + 0.4 * torch.sin(2 * math.pi * 3 * t + seed)
    return 0.05 * level * tones + 0.002 * torch.randn(samples, generator=random)


class Equaliser(nn.Module):
    """A generator with one complex gain a bin, which can undo COLOUR exactly."""

    def __init__(self):
        super().__init__()
        self.log, self.phase = nn.Parameter(torch.zeros(BINS)), nn.Parameter(torch.zeros(BINS))

    def forward(self, spectra):
        return istft(spectra * torch.polar((4 * self.log).exp(), 4 * self.phase))


COLOUR = (1.2 * torch.cos(7 * torch.linspace(0, 1, BINS)) - 0.5).exp()


class Buzzes:
    """Batches of buzzes, and of the same coloured; the discriminators count from batch `first` on."""

    def __init__(self, first=0, size=3):
        self.first, self.size = first, size

    def __getitem__(self, i):
        truth = torch.stack([buzz(self.size * i + k) for k in range(self.size)])
        return {"truth": truth, "coloured": stft(truth) * COLOUR, "adversarial": float(i >= self.first)}


def reconstruct(generator, batch):
    made = generator(batch["coloured"])
    log = [torch.log(stft(wave).abs() + 1e-2) for wave in (made, batch["truth"])]
    return {"loss": (log[0] - log[1]).abs().mean(), "wave": made, "truth": batch["truth"], "level": made.abs().mean()}


def players(**options):
    torch.manual_seed(0)
    small = [MultiPeriod((2, 5), width=4), MultiResolution((512, 256), width=8)]
    return Adversarial(Equaliser(), reconstruct, small, **options)


def same(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


# --- judges -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 2, 159, 1000])
def test_waves_of_any_length_are_judged(samples):
    for model, judges, layers in ((MultiPeriod(), 5, 5), (MultiResolution(), 3, 5)):
        logits, features = model(torch.randn(2, samples))
        assert len(logits) == len(features) == judges and all(len(judge) == layers for judge in features)
        assert all(logit.shape[:2] == (2, 1) and logit.isfinite().all() for logit in logits)


def test_the_slim_widths():
    assert [f.shape[1] for f in MultiPeriod()(torch.randn(1, 600))[1][0]] == [16, 32, 64, 128, 128]
    assert [f.shape[1] for f in MultiResolution()(torch.randn(1, 600))[1][0]] == [32] * 5


def test_a_period_s_columns_see_their_own_samples_alone():
    wave = torch.randn(1, 100, requires_grad=True)
    logits, _ = MultiPeriod((7,), width=4)(wave)
    assert logits[0].shape[3] == 7
    (slope,) = torch.autograd.grad(logits[0][..., 3].sum(), wave)
    seen = slope[0].nonzero().flatten()
    assert len(seen) > 10 and (seen % 7 == 3).all()


def test_a_spectrum_by_hand_and_its_scale():
    wave = torch.randn(2, 5000)
    made = spectrum(wave, 256)
    assert made.shape == (2, 2, 79, 129)
    window = numpy.hanning(257)[:256]
    frame = wave[1, 640 - 128 : 640 + 128].double().numpy() * window  # frame 10 is centred on sample 10 * 64
    wanted = numpy.fft.rfft(frame) / numpy.sqrt((window**2).sum())
    assert numpy.abs(made[1, :, 10].double().numpy() - [wanted.real, wanted.imag]).max() < 1e-5
    assert made.square().sum(1).mean() == pytest.approx(1, abs=0.1)


def test_polarity_is_heard_by_both():
    wave = buzz(1)[None] * GAIN
    for model in (MultiPeriod((2,)), MultiResolution((256,))):
        assert not torch.allclose(model(wave)[0][0], model(-wave)[0][0], rtol=0, atol=1e-4)


# --- losses -------------------------------------------------------------------------------------------------------------


def test_losses_by_hand():
    real, generated = [torch.tensor([0.5, 2.0]), torch.tensor([-1.0])], [torch.tensor([-3.0, 0.0]), torch.tensor([3.0])]
    assert discriminator_loss(real, generated).item() == (0.25 + 0.5 + 2 + 4) / 2
    assert generator_loss(generated).item() == (2.5 + 0) / 2
    assert discriminator_loss([torch.zeros(3)], [torch.zeros(3)]).item() == 2  # undecided
    features = [[torch.tensor([1.0, -3.0]), torch.tensor([4.0])], [torch.tensor([2.0])]]
    made = [[torch.tensor([2.0, -1.0]), torch.tensor([4.0])], [torch.tensor([1.0])]]
    assert matching_loss(features, made).item() == pytest.approx((1.5 / 2 + 0 + 0.5) / 3)


def test_nobody_s_loss_reaches_the_other():
    model = players()
    losses, mine = model(Buzzes()[0]), [*model.discriminators.parameters()]
    for name in ("reconstruction", "matching", "fooling"):
        slopes = torch.autograd.grad(losses[name], mine, retain_graph=True, allow_unused=True, materialize_grads=False)
        assert all(slope is None for slope in slopes)
        assert torch.autograd.grad(losses[name], model.generator.log, retain_graph=True)[0].abs().sum() > 0
    theirs = [*model.generator.parameters()]
    slopes = torch.autograd.grad(losses["discriminator"], theirs, retain_graph=True, allow_unused=True)
    assert all(slope is None for slope in slopes)
    assert all(slope.abs().sum() > 0 for slope in torch.autograd.grad(losses["discriminator"], mine))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_step_is_that_of_two_players_who_alternate(share):
    """The same gradients as from two losses, each backward with the other player frozen."""
    batch, weights = {**Buzzes()[0], "adversarial": share}, (3.0, 5.0, 7.0)
    model, other = players(weights=weights), players(weights=weights)
    losses = adversarial(model, batch)
    losses["loss"].backward()
    made = reconstruct(other.generator, batch)
    other.discriminators.requires_grad_(False)
    (logits, features), (_, wanted) = other.discriminators(made["wave"]), other.discriminators(batch["truth"])
    matching = sum(F.l1_loss(g, r) / r.abs().mean() for a, b in zip(wanted, features, strict=True)
                   for r, g in zip(a, b, strict=True)) / 20  # fmt: skip
    fooling = sum((1 - logit).relu().mean() for logit in logits) / 4
    (3 * made["loss"] + share * (5 * matching + 7 * fooling)).backward()
    other.discriminators.requires_grad_(True)
    real, fake = other.discriminators(batch["truth"])[0], other.discriminators(made["wave"].detach())[0]
    hinge = sum((1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake, strict=True)) / 4
    hinge.backward()
    whole = 3 * made["loss"] + share * (5 * matching + 7 * fooling) + hinge
    assert losses["loss"].item() == pytest.approx(whole.item(), rel=1e-5) and "level" in losses
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() <= 1e-4 * theirs.grad.norm() + 1e-6, name  # a hinge's two slopes may cancel


# --- training -----------------------------------------------------------------------------------------------------------


def test_before_their_turn_discriminators_stay(tmp_path):
    model, start = players(), players()
    losses = model(Buzzes(first=9)[0])
    assert losses["loss"].item() == pytest.approx(15 * losses["reconstruction"].item())
    log = fit(model, adversarial, Buzzes(first=9), tmp_path, steps=2).log
    assert same(model.discriminators, start.discriminators) and not same(model.generator, start.generator)
    assert log[["matching", "fooling", "discriminator"]].isna().all(axis=None) and log.loss.notna().all()


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("first", [0, 2, 4])
def test_three_steps_and_three_are_six(tmp_path, monkeypatch, first):
    """The discriminators begin at once, before and after the checkpoint."""
    monkeypatch.setattr(train, "SMOOTH", 3)
    whole, batches, calls = players(), Buzzes(first, size=1), []
    fit(whole, adversarial, batches, tmp_path / "whole", steps=6, every=0)

    def stops(model, batch):
        calls.append(batch)
        if len(calls) == 4:
            raise Interrupted
        return adversarial(model, batch)

    with pytest.raises(Interrupted):
        fit(players(), stops, batches, tmp_path / "run", steps=6, every=0)
    model = players()
    fit(model, stops, batches, tmp_path / "run", steps=6, every=0)
    assert len(calls) == 4 + 3 and same(model, whole)
    for part in ("generator", "discriminators"):
        assert not same(getattr(model, part), getattr(players(), part))

    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["average"]
    alone = Equaliser()  # a checkpoint gives the generator without anything of the discriminators
    alone.load_state_dict({k.removeprefix("generator."): v for k, v in kept.items() if k.startswith("generator.")})
    assert same(alone, whole.generator) and any(k.startswith("discriminators.") for k in kept)


def test_discriminators_alone_teach_a_generator(tmp_path):
    """With no weight on the reconstruction: their hinge falls below that of the undecided, then features come to match."""
    model, seen = players(weights=(0.0, 2.0, 1.0)), []

    def step(model, batch):
        losses = adversarial(model, batch)
        seen.append({name: value.item() for name, value in losses.items()})
        return losses

    fit(model, step, Buzzes(), tmp_path, steps=40, lr=1e-2, betas=(0.8, 0.99), ema=0.9)
    assert seen[0]["discriminator"] == pytest.approx(2, abs=0.05)
    assert min(losses["discriminator"] for losses in seen) < 1.8
    for name in ("matching", "reconstruction"):
        assert sum(losses[name] for losses in seen[-5:]) / 5 < 0.5 * seen[0][name]
