import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rovolad_lib.denoiser.context import CONTEXTS
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.speech.batches import pad

BACKBONES = ["transformer_te", "transformer_et", "cnn"]
HEARING = CONTEXTS[1:]
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


def near(got, wanted):
    return (got - wanted).abs().max() <= 1e-5 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("context", CONTEXTS)
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
            assert near(got[:, real], wanted)
            assert not got[:, ~real].any()


@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_every_length_from_one_frame_on_is_the_same_alone_and_padded(backbone):
    model, t = denoiser(backbone=backbone), torch.rand(1)
    for length in range(1, 2 * model.stride + 2):
        (clip,), (robot,) = items([length]), items([length])
        alone = model(clip[None], t, robot=robot[None])
        for lead in range(3):
            x, mask = padded([clip], length + 5, lambda room, lead=lead: lead)
            got = model(x, t, robot=padded([robot], length + 5, lambda room, lead=lead: lead)[0], mask=mask)
            assert near(got[..., mask[0]], alone)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", HEARING)
@torch.no_grad()
def test_the_order_of_references_is_irrelevant(backbone, context):
    model, references = denoiser(backbone=backbone, context=context), items([5, 8, 3])
    x, robot, t = *torch.randn(2, 1, 6, 9), torch.rand(1)

    def hear(chosen):
        filled, real = pad(chosen, "post", None, 2)  # whole tokens each
        return model(x, t, robot=robot, context=torch.cat(tuple(filled), 1)[None], context_mask=real.flatten()[None])

    wanted = hear(references)
    assert near(hear(references[::-1]), wanted) and near(hear(references[1:] + references[:1]), wanted)
    assert not near(hear(references[:2]), wanted)


@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_permuting_a_batch_permutes_the_result(backbone):
    model, order = denoiser(backbone=backbone), torch.tensor([2, 0, 3, 1])
    x, robot, voice, t, drop = *torch.randn(3, 4, 6, 9), torch.rand(4), torch.tensor([False, True, False, False])
    straight = model(x, t, robot=robot, context=voice, drop=drop)
    permuted = model(x[order], t[order], robot=robot[order], context=voice[order], drop=drop[order])
    assert torch.allclose(permuted, straight[order], atol=1e-5)
    assert not torch.allclose(straight[0], straight[1])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", HEARING)
@torch.no_grad()
def test_dropping_the_context_is_having_none(backbone, context):
    model = denoiser(backbone=backbone, context=context)
    x, robot, voice, t = *torch.randn(3, 2, 6, 9), torch.rand(2)
    heard = model(x, t, robot=robot, context=voice)
    absent = model(x, t, robot=robot)
    dropped = model(x, t, robot=robot, context=voice, drop=torch.tensor([True, False]))
    empty = model(x, t, robot=robot, context=voice, context_mask=torch.zeros(2, 9, dtype=torch.bool))
    assert torch.allclose(dropped[0], absent[0], atol=1e-5) and torch.allclose(dropped[1], heard[1], atol=1e-5)
    assert torch.allclose(empty, absent, atol=1e-5)
    assert (heard - absent).abs().max() > 1e-2


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", HEARING)
@torch.no_grad()
def test_text_is_heard_where_there_is_some(backbone, context):
    model = denoiser(backbone=backbone, context=context, text=5)
    x, robot, voice, t = *torch.randn(3, 3, 6, 9), torch.rand(3)
    text, mask = torch.randn(3, 5, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]) > 0
    given = dict(x=x, t=t, robot=robot, context=voice)
    heard, without = model(**given, text=text, text_mask=mask), model(**given)
    assert near(heard[2], without[2]) and not near(heard[0], without[0]) and not near(heard[1], without[1])
    assert near(model(**given, text=text.masked_fill(~mask[:, None], 99), text_mask=mask), heard)
    alone = {name: value[1:2] for name, value in given.items()}
    assert near(model(**alone, text=text[1:2, :, :2]), heard[1:2])
    dropped = model(**given, text=text, text_mask=mask, drop=torch.tensor([True, False, False]))
    assert near(dropped[:1], model(x[:1], t[:1], robot=robot[:1])) and near(dropped[1:], heard[1:])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", HEARING)
@torch.no_grad()
def test_context_and_text_are_heard_by_the_mechanism_and_not_only_as_their_means(backbone, context):
    model = denoiser(backbone=backbone, context=context, text=5)
    for source in (model.context, model.text):
        torch.nn.init.zeros_(source.pool.weight)
    x, robot, t = *torch.randn(2, 1, 6, 9), torch.rand(1)
    without = model(x, t, robot=robot)
    assert not near(model(x, t, robot=robot, context=torch.randn(1, 6, 5)), without)
    assert not near(model(x, t, robot=robot, text=torch.randn(1, 5, 4)), without)


@torch.no_grad()
def test_a_known_speaker_is_heard_and_an_unknown_or_dropped_one_is_none():
    model = denoiser(context="none", speakers=3)
    x, robot, t = *torch.randn(2, 1, 6, 9).expand(2, 3, 6, 9), torch.full((3,), 0.5)
    nobody, got = model(x, t, robot=robot), model(x, t, robot=robot, speaker=torch.tensor([2, -1, 1]))
    assert near(got[1], nobody[1]) and not near(got[0], nobody[0]) and not near(got[0], got[2])
    drop = torch.tensor([True, False, False])
    assert near(model(x, t, robot=robot, speaker=torch.tensor([2, -1, 1]), drop=drop)[0], nobody[0])


@torch.no_grad()
def test_a_told_pitch_is_heard_and_an_unknown_or_dropped_one_is_none():
    model = denoiser(context="none", pitch=True)
    x, robot, t = *torch.randn(2, 1, 6, 9).expand(2, 4, 6, 9), torch.full((4,), 0.5)
    pitch = torch.tensor([110.0, 0.0, 220.0, 440.0])
    nobody, got = model(x, t, robot=robot), model(x, t, robot=robot, pitch=pitch)
    assert near(got[1], nobody[1]) and not any(near(got[i], got[j]) for i, j in ((0, 1), (0, 2), (2, 3)))
    drop = torch.tensor([True, False, False, False])
    dropped = model(x, t, robot=robot, pitch=pitch, drop=drop)
    assert near(dropped[0], nobody[0]) and near(dropped[2], got[2])
    first = model.pitch[0]
    torch.nn.init.zeros_(first.bias)
    told = model.pitch(torch.tensor([[-1.0], [1.0]]))  # octaves
    first.weight.neg_()
    assert near(model.pitch(torch.tensor([[1.0], [-1.0]])), told)  # the hearing is of the logarithm
    fresh = Denoiser(channels=6, width=16, depth=1, heads=2, pitch=True).pitch
    assert not fresh(torch.ones(1, 1)).any() and fresh[0].weight.any()


@torch.no_grad()
def test_a_network_of_several_priors_is_told_which():
    model = denoiser(priors=2)
    x, robot, t = *torch.randn(2, 1, 6, 9).expand(2, 2, 6, 9), torch.full((2,), 0.5)
    first, second = model(x, t, robot=robot, kind=torch.tensor([0, 1]))
    assert not near(first, second)
    torch.nn.init.zeros_(model.kind.weight)
    first, second = model(x, t, robot=robot, kind=torch.tensor([0, 1]))
    assert torch.equal(first, second)
    assert not Denoiser(channels=6, width=16, depth=1, heads=2, priors=2, speakers=3).kind.weight.any()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", CONTEXTS)
@torch.no_grad()
def test_an_item_without_real_frames_is_zero_and_harms_nobody(backbone, context):
    model = denoiser(backbone=backbone, context=context)
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


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", CONTEXTS)
@torch.no_grad()
def test_an_untrained_denoiser_answers_zero_and_its_layers_add_nothing(backbone, context):
    model = Denoiser(channels=6, width=16, depth=2, heads=2, backbone=backbone, context=context, frames=24)
    x, voice = torch.randn(2, 6, 9), torch.randn(2, 6, 4)
    assert not model(x, torch.rand(2), x, context=voice).any()
    torch.nn.init.normal_(model.backbone.head.out.weight)
    assert torch.allclose(model(x, torch.rand(2), x, context=voice), model(x, torch.zeros(2), x), atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", CONTEXTS)
def test_gradient_reaches_every_parameter(backbone, context):
    model = denoiser(backbone=backbone, context=context, depth=5, speakers=2, priors=2, text=0 if context == "none" else 5)
    x, robot, voice = torch.randn(3, 2, 6, 9)
    given = dict(robot=robot, context=voice, drop=torch.tensor([True, False]), speaker=torch.tensor([0, 1]))
    text = None if context == "none" else torch.randn(2, 5, 3)
    estimate = model(x, torch.rand(2), text=text, kind=torch.tensor([0, 1]), **given)
    (estimate - x).square().mean().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_few_steps_lower_the_loss(backbone, context):
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=2, heads=2, patch=2, backbone=backbone, context=context, frames=24)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    robot, voice = torch.randn(2, 8, 6, 10)
    target, t = robot.roll(1, dims=1) + 0.1 * torch.randn_like(robot), torch.rand(8)
    losses = []
    for _ in range(30):
        estimate = model(target + torch.randn_like(target), t, robot=robot, context=voice)
        loss = (estimate - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("context", HEARING)
def test_what_only_the_context_or_the_text_knows_is_learned(context):
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=2, heads=2, patch=2, context=context, text=5)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, voice, text = torch.randn(16, 6, 8), torch.randn(16, 6, 1), torch.randn(16, 5, 1)
    target = (voice + text.sum(dim=1, keepdim=True)).expand(16, 6, 8)
    given = dict(robot=x, context=voice.expand(16, 6, 6), text=text)
    losses = []
    for _ in range(60):
        losses.append((model(x, torch.ones(16), **given) - target).square().mean())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.2 * losses[0]
    assert (model(x, torch.ones(16), robot=x) - target).square().mean() > 2 * losses[-1]


@torch.no_grad()
def test_save_and_load_keep_configuration_mean_and_notes(tmp_path):
    model = denoiser(backbone="cnn", patch=1, context="two_step", text=5, speakers=3, priors=2)
    model.mean.fit(items([20, 30]), items([20, 30]))
    model.notes = {"prior": "bridge", "sigma": 1.0}
    model.save(tmp_path / "new" / "denoiser.safetensors")
    loaded = Denoiser.load(tmp_path / "new" / "denoiser.safetensors")
    assert loaded.config == model.config and loaded.notes == model.notes and not loaded.training
    assert all(value.dtype == torch.float16 for value in load_file(tmp_path / "new" / "denoiser.safetensors").values())
    x, robot, t = *torch.randn(2, 2, 6, 9), torch.rand(2)
    given = dict(text=torch.randn(2, 5, 3), speaker=torch.tensor([0, -1]), kind=torch.tensor([0, 1]))
    wanted = model(x, t, robot=robot, **given)
    assert (loaded(x, t, robot=robot, **given) - wanted).abs().max() < 0.02 * wanted.abs().max()
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
    (dict(context="film"), "context must be one of none, two_step, channel, cross, got 'film'"),
    (dict(context="none", text=5), "text 5 enters by the context's mechanism: context must not be none"),
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
    (dict(text=torch.zeros(2, 5, 3)), "built without text=D: text must be None"),
    (dict(speaker=torch.zeros(2).long()), "built without speakers=K: speaker must be None"),
    (dict(pitch=torch.zeros(2)), "built without pitch=True: pitch must be None"),
    (dict(kind=torch.zeros(2).long()), "priors=1: kind must be None"),
])
def test_inputs_that_do_not_fit_are_named(change, message):
    given = dict(x=torch.zeros(2, 6, 9), t=torch.zeros(2), robot=torch.zeros(2, 6, 9)) | change
    with pytest.raises(ValueError, match=message):
        denoiser()(**given)


@pytest.mark.parametrize("change, message", [
    (dict(text=torch.zeros(2, 3)), r"text must be \(2, 5, L\) with L > 0, got \(2, 3\)"),
    (dict(text=torch.zeros(2, 4, 3)), r"text must be \(2, 5, L\) with L > 0, got \(2, 4, 3\)"),
    (dict(text=torch.zeros(2, 5, 3), text_mask=torch.ones(2, 4) > 0), r"text_mask must be \(2, 3\)"),
    (dict(speaker=torch.zeros(3).long()), r"speaker must be \(2,\)"),
    (dict(pitch=torch.zeros(2, 1)), r"pitch must be \(2,\)"),
    (dict(kind=torch.zeros(3).long()), r"kind must be \(2,\)"),
    (dict(kind=None), r"priors=2: kind must be \(N,\) long"),
])
def test_further_inputs_that_do_not_fit_are_named(change, message):
    given = dict(x=torch.zeros(2, 6, 9), t=torch.zeros(2), robot=torch.zeros(2, 6, 9), kind=torch.zeros(2).long()) | change
    with pytest.raises(ValueError, match=message):
        denoiser(text=5, speakers=3, priors=2, pitch=True)(**given)
