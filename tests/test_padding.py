"""Padding: in front, behind or around, hidden or heard, to the longest item or to a fixed length, and who sees what of it."""

import itertools

import pytest
import torch

from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising, Estimator
from rovolad_lib.diffusion.guidance import guide
from rovolad_lib.diffusion.named import prior_of
from rovolad_lib.sampling import sample
from rovolad_lib.speech.batches import PADS, pad

LENGTHS = (9, 6, 4, 1)
MODES = list(itertools.product(PADS, (None, 16)))  # to the longest item, here 10 by the network's stride, or to 16 frames


def clips(lengths, seed):
    return [torch.randn(6, n, generator=torch.Generator().manual_seed(seed + n)) for n in lengths]


def together(parts, mode, length, junk=0.0):
    """Items in one tensor with junk around them, and their mask."""
    x, mask = pad(parts, mode, length, 2)
    return torch.where(mask[:, None], x, junk), mask


def network(**options):
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=2, heads=2, patch=2, frames=24, **options)
    with torch.no_grad():
        for value in (*model.parameters(), model.mean.weight, model.mean.centre):
            value.add_(torch.randn_like(value) / 5)
        model.mean.residual.copy_(torch.rand(6) + 0.3)
    return model.eval()


@pytest.mark.parametrize(("mode", "length"), MODES)
@pytest.mark.parametrize("objective", [{}, {"target": "v"}, {"target": "x0", "normalise": "item"}])
@torch.no_grad()
def test_hidden_padding_is_seen_by_nobody(mode, length, objective):
    """The prior's mean, the normalised input, the network, the estimate and the guided one: as for each item alone."""
    model, t = network(), torch.tensor([0.2, 0.5, 0.9, 1.0])
    prior, _ = prior_of("robot")
    estimate = Estimator(model, prior, **objective)
    x, robot, voice = clips(LENGTHS, 0), clips(LENGTHS, 100), clips((5, 7, 3, 2), 200)

    def answers(x, robot, voice, mask, heard, t):
        y = estimate.mean(robot, voice, heard, mask)
        one = estimate(x, t, y, robot=robot, context=voice, context_mask=heard, mask=mask)
        two = estimate(x, t, y, robot=robot, mask=mask)
        return y, one, guide(one, two, 2.0, 0.7, mask)

    wide, mask = together(x, mode, length, 50.0)
    context, heard = together(voice, mode, None, -50.0)
    batch = answers(wide, together(robot, mode, length, -70.0)[0], context, mask, heard, t)
    for k in range(4):
        alone = answers(x[k][None], robot[k][None], voice[k][None], None, None, t[k : k + 1])
        for got, wanted in zip(batch, alone, strict=True):
            assert (got[k][:, mask[k]] - wanted[0]).abs().max() <= 1e-5 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("objective", [{}, {"target": "residual"}, {"target": "x0", "normalise": "item"}])
@torch.no_grad()
def test_hidden_padding_does_not_enter_the_loss(objective, monkeypatch):
    """A frame counts as every other does, whatever lies around it and however much of it."""
    model, step = network(), Denoising(prior_of("robot")[0], **objective)
    found = []
    for mode, length in MODES:
        x0, mask = together(clips(LENGTHS, 0), mode, length, 9.0)
        robot, noise = (together(clips(LENGTHS, seed), mode, length, -9.0)[0] for seed in (100, 300))
        monkeypatch.setattr(torch, "randn_like", lambda like, noise=noise: noise)  # a frame's own, wherever it lies
        torch.manual_seed(1)
        found.append(step(model, {"x0": x0, "robot": robot, "mask": mask, **voices()}))
    for other in found[1:]:
        for name, value in other.items():
            torch.testing.assert_close(value, found[0][name], rtol=1e-5, atol=1e-6)


def voices():
    """The context of a batch of four, of which the second is dropped."""
    context = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(7))
    return {"context": context, "context_mask": torch.ones(4, 2) > 0, "drop": torch.arange(4) == 1}


@pytest.mark.parametrize("objective", [{}, {"target": "v"}, {"normalise": "item"}])
@torch.no_grad()
def test_heard_padding_is_speech_to_everybody(objective):
    """Without a mask a padded frame counts in the loss, moves what the network says, and the item's own deviation."""
    model, prior = network(), prior_of("robot")[0]
    step = Denoising(prior, **objective)
    x0, robot = clips(LENGTHS, 0), clips(LENGTHS, 100)
    found = {}
    for mode, length in MODES:
        (wide, mask), (other, _) = together(x0, mode, length), together(robot, mode, length)
        given = {"x0": wide, "robot": other, **voices()}
        for hidden in (mask, torch.ones_like(mask), None):
            torch.manual_seed(1)
            kind = "none" if hidden is None else "all" if hidden.all() else "real"
            found[mode, length, kind] = float(step(model, given | {"mask": hidden})["loss"])
    for mode, length in MODES:
        assert found[mode, length, "none"] == pytest.approx(found[mode, length, "all"], rel=1e-4)  # every frame is real
        assert found[mode, length, "none"] != pytest.approx(found[mode, length, "real"], rel=1e-2)
    assert len({round(found[key], 5) for key in found if key[2] == "none"}) == len(MODES)  # place and length are heard


@pytest.mark.parametrize("backbone", ["transformer_te", "transformer_et", "cnn"])
@torch.no_grad()
def test_sampling_sees_padding_only_without_masks(backbone):
    model, (prior, sampler) = network(backbone=backbone), prior_of("robot")
    robots, voices = clips(LENGTHS, 100), clips((5, 7, 3, 2), 200)
    options = {"sampler": sampler, "steps": 2, "guidance": 2.0, "rescale": 0.7, "seed": 3}
    hidden = [sample(model, prior, robots, voices, mode=mode, **options) for mode in PADS]
    for other in hidden[1:]:
        for a, b in zip(hidden[0], other, strict=True):
            assert (a - b).abs().max() <= 1e-5 * a.abs().max().clamp(min=1)
    for k in range(4):  # an item's noise follows from its place: each in turn is the first
        turned = sample(model, prior, robots[k:] + robots[:k], voices[k:] + voices[:k], mode="even", **options)[0]
        alone = sample(model, prior, robots[k : k + 1], voices[k : k + 1], mode="pre", **options)[0]
        assert (alone - turned).abs().max() <= 1e-5 * alone.abs().max().clamp(min=1)
    heard = [sample(model, prior, robots, voices, mode=m, masked=False, length=n, **options) for m in PADS for n in (24, 48)]
    for one, two in itertools.combinations(heard, 2):
        assert all(a.shape == b.shape for a, b in zip(one, two, strict=True)) and not torch.allclose(one[1], two[1], atol=1e-2)
