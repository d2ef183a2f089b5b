import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rovolad_lib.denoiser.model import Denoiser

BACKBONES = ["transformer_te", "transformer_et", "cnn"]
LENGTHS, CONTEXT_LENGTHS = [7, 12, 5, 1], [9, 4, 11, 3]


def denoiser(**options):
    """A small denoiser whose zero-initialised parts have been shaken awake."""
    torch.manual_seed(0)
    model = Denoiser(**dict(channels=6, width=16, depth=2, heads=2, patch=2, frames=24) | options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)
    return model.eval()


def items(lengths):
    return [torch.randn(6, length) for length in lengths]


def padded(clips, length, lead):
    """Clips in a batch full of loud junk; lead(room) says how much of the room goes in front."""
    batch, mask = 50 * torch.randn(len(clips), 6, length), torch.zeros(len(clips), length, dtype=torch.bool)
    for clip, row, real in zip(clips, batch, mask, strict=True):
        start = lead(length - clip.shape[1])
        row[:, start : start + clip.shape[1]] = clip
        real[start : start + clip.shape[1]] = True
    return batch, mask


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("context", ["none", "cross"])
@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_a_batch_of_unequal_lengths_equals_one_by_one(backbone, context, patch):
    model = denoiser(backbone=backbone, context=context, patch=patch)
    clips, robots, voices, t = items(LENGTHS), items(LENGTHS), items(CONTEXT_LENGTHS), torch.rand(4)
    alone = [
        model(clip[None], t[i : i + 1], robot=robot[None], context=voice[None])[0]
        for i, (clip, robot, voice) in enumerate(zip(clips, robots, voices, strict=True))
    ]
    for lead in (lambda room: 0, lambda room: room, lambda room: room // 2):
        x, mask = padded(clips, 19, lead)
        voice, voice_mask = padded(voices, 15, lead)
        together = model(x, t, robot=padded(robots, 19, lead)[0], context=voice, context_mask=voice_mask, mask=mask)
        for got, wanted, real in zip(together, alone, mask, strict=True):
            assert (got[:, real] - wanted).abs().max() <= 1e-4 * wanted.abs().max()
            assert not got[:, ~real].any()


@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_permuting_a_batch_permutes_the_result(backbone):
    model, order = denoiser(backbone=backbone), torch.tensor([2, 0, 3, 1])
    x, robot, voice, t, drop = *torch.randn(3, 4, 6, 9), torch.rand(4), torch.tensor([False, True, False, False])
    straight = model(x, t, robot=robot, context=voice, drop=drop)
    permuted = model(x[order], t[order], robot=robot[order], context=voice[order], drop=drop[order])
    assert torch.allclose(permuted, straight[order], atol=1e-5)
    assert not torch.allclose(straight[0], straight[1])


@torch.no_grad()
def test_dropping_the_context_is_having_none():
    model = denoiser()
    x, robot, voice, t = *torch.randn(3, 2, 6, 9), torch.rand(2)
    heard = model(x, t, robot=robot, context=voice)
    absent = model(x, t, robot=robot)
    dropped = model(x, t, robot=robot, context=voice, drop=torch.tensor([True, False]))
    empty = model(x, t, robot=robot, context=voice, context_mask=torch.zeros(2, 9, dtype=torch.bool))
    assert torch.allclose(dropped[0], absent[0], atol=1e-5) and torch.allclose(dropped[1], heard[1], atol=1e-5)
    assert torch.allclose(empty, absent, atol=1e-5)
    assert (heard - absent).abs().max() > 1e-2


@torch.no_grad()
def test_an_item_without_real_frames_is_zero_and_harms_nobody():
    model = denoiser()
    x, mask = torch.randn(2, 6, 8), torch.tensor([[True] * 8, [False] * 8])
    got = model(x, torch.rand(2), x, mask=mask)
    assert got.isfinite().all() and not got[1].any() and got[0].any()


@torch.no_grad()
def test_the_condition_is_the_robot_or_else_the_prior_mean():
    model = denoiser()
    x, y, robot, t = *torch.randn(3, 2, 6, 9), torch.rand(2)
    assert torch.equal(model(x, t, y=y, robot=robot), model(x, t, robot=robot))
    assert torch.equal(model(x, t, y), model(x, t, robot=y))
    assert not torch.allclose(model(x, t, y), model(x, t, robot=robot))
    blind = denoiser(condition=False)
    assert torch.equal(blind(x, t), blind(x, t, y, robot=robot))


@torch.no_grad()
def test_an_untrained_denoiser_answers_zero():
    for backbone in BACKBONES:
        model = Denoiser(channels=6, width=16, depth=2, heads=2, backbone=backbone, frames=24)
        assert not model(torch.randn(2, 6, 9), torch.rand(2), torch.randn(2, 6, 9)).any()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", ["none", "cross"])
def test_gradient_reaches_every_parameter(backbone, context):
    model = denoiser(backbone=backbone, context=context)
    x, robot, voice = torch.randn(3, 2, 6, 9)
    estimate = model(x, torch.rand(2), robot=robot, context=voice, drop=torch.tensor([True, False]))
    (estimate - x).square().mean().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=2, heads=2, patch=2)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    robot = torch.randn(8, 6, 10)
    target, t = robot.roll(1, dims=1) + 0.1 * torch.randn_like(robot), torch.rand(8)
    losses = []
    for _ in range(20):
        loss = (model(target + torch.randn_like(target), t, robot=robot) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@torch.no_grad()
def test_save_and_load_keep_configuration_mean_and_notes(tmp_path):
    model = denoiser(backbone="cnn", patch=1)
    model.mean.fit(items([20, 30]), items([20, 30]))
    model.notes = {"prior": "bridge", "sigma": 1.0}
    model.save(tmp_path / "new" / "denoiser.safetensors")
    loaded = Denoiser.load(tmp_path / "new" / "denoiser.safetensors")
    assert loaded.config == model.config and loaded.notes == model.notes and not loaded.training
    assert all(value.dtype == torch.float16 for value in load_file(tmp_path / "new" / "denoiser.safetensors").values())
    x, robot, t = *torch.randn(2, 2, 6, 9), torch.rand(2)
    wanted = model(x, t, robot=robot)
    assert (loaded(x, t, robot=robot) - wanted).abs().max() < 0.02 * wanted.abs().max()
    assert torch.allclose(loaded.mean(robot), model.mean(robot), atol=1e-2) and model.mean(robot).any()


def test_loading_says_what_does_not_fit(tmp_path):
    path = tmp_path / "denoiser.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="holds 'no named model', a 'Denoiser' is accepted"):
        Denoiser.load(path)
    model = denoiser()
    state = model.state_dict() | {"mean.residual": torch.zeros(7)}
    save_file(state, path, metadata={"model": "Denoiser", "config": json.dumps(model.config), "notes": "{}"})
    with pytest.raises(ValueError, match=r"1 tensors, first mean.residual: the file has \(7,\), accepted is \(6,\)"):
        Denoiser.load(path)


def test_saving_refuses_what_float16_cannot_hold(tmp_path):
    model = denoiser()
    with torch.no_grad():
        model.context.null[0] = 1e6
    with pytest.raises(ValueError, match="not finite in float16: context.null"):
        model.save(tmp_path / "denoiser.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options, message", [
    (dict(backbone="unet"), "backbone must be one of transformer_te, transformer_et, cnn, got 'unet'"),
    (dict(context="channel"), "context must be one of none, cross, got 'channel'"),
    (dict(width=18, heads=2), "multiple of 2 . heads"),
])
def test_a_wrong_choice_names_the_accepted_ones(options, message):
    with pytest.raises(ValueError, match=message):
        Denoiser(**options)


@pytest.mark.parametrize("change, message", [
    (dict(x=torch.zeros(2, 5, 9)), r"x must be \(N, 6, T\), got \(2, 5, 9\)"),
    (dict(robot=None), "condition=True: give robot latents"),
    (dict(robot=torch.zeros(2, 6, 8)), r"condition must be \(2, 6, 9\)"),
    (dict(t=torch.zeros(1)), r"t must be \(2,\)"),
    (dict(mask=torch.ones(2, 8, dtype=torch.bool)), r"mask must be \(2, 9\)"),
    (dict(context=torch.zeros(2, 6, 0)), "T2 > 0"),
    (dict(context=torch.zeros(2, 6, 4), context_mask=torch.ones(2, 5) > 0), r"context_mask must be \(2, 4\)"),
    (dict(text=torch.zeros(2, 3)), "text must be None"),
])
def test_inputs_that_do_not_fit_are_named(change, message):
    given = dict(x=torch.zeros(2, 6, 9), t=torch.zeros(2), robot=torch.zeros(2, 6, 9)) | change
    with pytest.raises(ValueError, match=message):
        denoiser()(**given)
