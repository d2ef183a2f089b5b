import itertools

import pytest
import torch

from rovolad_lib.denoiser.backbones import BACKBONES
from rovolad_lib.denoiser.context import CONTEXTS, Channel
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.lab.presets import DENOISER


def parameters(**options):
    with torch.device("meta"):  # counted, not made
        return sum(parameter.numel() for parameter in Denoiser(**options).parameters())


@pytest.mark.parametrize("preset", ["small", "full"])
@pytest.mark.parametrize("patch, condition, text", list(itertools.product([1, 2], [True, False], [0, 384, 512])))
def test_variants_have_equally_many_parameters(preset, patch, condition, text):
    size = DENOISER[preset]["model"] | {"patch": patch, "condition": condition, "text": text}
    counts = {
        (context, name): parameters(backbone=name, context=context, **size)
        for context, name in itertools.product(CONTEXTS, BACKBONES)
        if not (text and context == "none")
    }
    hearing = [count for (context, _), count in counts.items() if context != "none"]  # all mechanisms, all backbones
    deaf = [count for (context, _), count in counts.items() if context == "none"]
    assert len(hearing) == 9 and max(hearing) < 1.05 * min(hearing)
    assert not deaf or max(deaf) < 1.05 * min(deaf)


def test_parameters_of_a_small_transformer_by_hand():
    block = 4 * 64 + 4 * 8 + 8 * 64 + 5 * 8 + 6 * 64 + 6 * 8  # attention, MLP, modulation at H = 8
    ends = (6 * 8 + 8) + (2 * 64 + 16) + (8 * 3 + 3)  # input of 2E channels, final modulation, output
    time = 256 * 8 + 8 + 64 + 8
    assert parameters(channels=3, width=8, depth=2, heads=2, context="none") == 2 * block + ends + time


@pytest.mark.parametrize("backbone, stride", [("transformer_te", 2), ("transformer_et", 1), ("cnn", 8)])
def test_the_stride_is_what_a_length_is_best_a_multiple_of(backbone, stride):
    assert Denoiser(channels=4, width=8, depth=1, heads=2, backbone=backbone, patch=2).stride == stride


def awake(**options):
    """A denoiser of four channels without context whose zero-initialised parts have been shaken awake."""
    torch.manual_seed(0)
    model = Denoiser(**dict(channels=4, width=8, depth=2, heads=2, context="none", frames=24, condition=False) | options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    return model.eval()


def test_cnn_hears_its_neighbourhood_and_the_transformer_the_whole_clip():
    for name, length, reach in (("cnn", 100, 15), ("cnn", 13, 12), ("transformer_te", 100, 99)):
        model = awake(backbone=name, depth=1)  # in the cnn a kernel of 7 tokens of four frames: three tokens on
        x = torch.randn(1, 4, length, requires_grad=True)
        model(x, torch.ones(1))[..., 0].sum().backward()
        assert x.grad[0].abs().sum(dim=0).nonzero().max() == reach


@pytest.mark.parametrize("depth, lengths", [(1, [6]), (5, [24, 12, 6, 12, 24]), (6, [24, 12, 6, 6, 12, 24])])
@torch.no_grad()
def test_cnn_is_halved_twice_and_back(depth, lengths):
    model, seen = awake(backbone="cnn", depth=depth), []
    for module in model.modules():
        if type(module).__name__ == "ConvNeXt":
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    model(torch.randn(1, 4, 24), torch.ones(1))
    assert seen == lengths


@torch.no_grad()
def test_cnn_begins_with_nothing_from_below_its_skips():
    model, x = Denoiser(channels=4, width=8, depth=6, heads=2, backbone="cnn", condition=False), torch.randn(1, 4, 24)
    torch.nn.init.normal_(model.backbone.head.out.weight)
    changed = x.clone()
    changed[..., 5] += 1
    differs = (model(changed, torch.ones(1)) - model(x, torch.ones(1))).abs().sum(dim=1)[0]
    assert differs.nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("backbone, channels", [("transformer_te", None), ("cnn", None), ("transformer_et", 4)])
def test_the_channels_that_the_context_mixes_are_tokens_in_transformer_et_alone(backbone, channels):
    model = awake(backbone=backbone, context="channel", depth=6)
    mechanisms = [module for module in model.modules() if isinstance(module, Channel)]
    assert [module.channels for module in mechanisms] == 6 * [channels]


@torch.no_grad()
def test_transformer_et_refuses_clips_longer_than_it_was_built_for():
    model, x = awake(backbone="transformer_et", frames=10), torch.randn(1, 4, 11)
    assert model(x[..., :10], torch.ones(1)).shape == (1, 4, 10)
    with pytest.raises(ValueError, match="at most 10 frames, got 11; windows=True takes longer clips"):
        model(x, torch.ones(1))


@torch.no_grad()
def test_windows_are_cross_faded_estimates_of_a_quarter_overlap():
    model, x, t = awake(backbone="transformer_et", frames=8), torch.randn(1, 4, 19), torch.ones(1)
    one, two, three = (model(x[..., start : start + 8], t) for start in (0, 6, 12))
    fade = torch.tensor([1 / 3, 2 / 3])
    wanted = torch.cat((
        one[..., :6], one[..., 6:] * (1 - fade) + two[..., :2] * fade,
        two[..., 2:6], two[..., 6:] * (1 - fade) + three[..., :2] * fade, three[..., 2:],
    ), dim=2)  # fmt: skip
    assert torch.allclose(model(x, t, windows=True), wanted, atol=1e-6)


@pytest.mark.parametrize("lengths", [(19, 40, 8, 3), (14, 15, 20, 21)])
@torch.no_grad()
def test_windows_do_not_depend_on_the_batch(lengths):
    model, t = awake(backbone="transformer_et", frames=8, context="cross"), torch.rand(4)
    clips, voice = [torch.randn(4, length) for length in lengths], torch.randn(4, 4, 5)
    x, mask = 50 * torch.randn(4, 4, 44), torch.zeros(4, 44, dtype=torch.bool)
    for row, real, clip in zip(x, mask, clips, strict=True):
        row[:, 3 : 3 + clip.shape[1]], real[3 : 3 + clip.shape[1]] = clip, True
    together = model(x, t, context=voice, mask=mask, windows=True)
    for i, clip in enumerate(clips):
        alone = model(clip[None], t[i : i + 1], context=voice[i : i + 1], windows=True)[0]
        assert (together[i][:, mask[i]] - alone).abs().max() <= 1e-5 * alone.abs().max().clamp(min=1)


@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_windows_change_nothing_where_a_clip_fits(backbone):
    model, x, t = awake(backbone=backbone), torch.randn(2, 4, 24), torch.rand(2)
    assert torch.equal(model(x, t, windows=True), model(x, t))
