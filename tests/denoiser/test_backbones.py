import pytest
import torch

from rovolad_lib.denoiser.backbones import BACKBONES, patches, unpatch
from rovolad_lib.denoiser.model import Denoiser


def parameters(**options):
    return sum(parameter.numel() for parameter in Denoiser(**options).parameters())


def test_patches_by_hand():
    x = torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])
    tokens, mask = patches(x, torch.tensor([[True, True, True]]), 2)
    assert tokens.tolist() == [[[1, 2, 4, 5], [3, 0, 6, 0]]]
    assert mask.tolist() == [[True, True]]
    assert patches(x, torch.tensor([[True, True, False]]), 2)[1].tolist() == [[True, False]]


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 6, 7])
def test_unpatch_reverses_patches(patch, length):
    x = torch.randn(2, 5, length)
    tokens, mask = patches(x, None, patch)
    assert tokens.shape == (2, -(-length // patch), 5 * patch) and mask is None
    assert torch.equal(unpatch(tokens, 5, length), x)


@pytest.mark.parametrize("context", ["none", "cross"])
@pytest.mark.parametrize("frames", [50, 200])
def test_backbones_have_equally_many_parameters(context, frames):
    counts = [parameters(backbone=name, context=context, patch=2, frames=frames) for name in BACKBONES]
    assert max(counts) / min(counts) < 1.05


def test_parameters_of_a_small_transformer_by_hand():
    block = 4 * 64 + 4 * 8 + 8 * 64 + 5 * 8 + 6 * 64 + 6 * 8  # attention, MLP, modulation at H = 8
    ends = (6 * 8 + 8) + (2 * 64 + 16) + (8 * 3 + 3)  # input of 2E channels, final modulation, output
    time = 256 * 8 + 8 + 64 + 8
    assert parameters(channels=3, width=8, depth=2, heads=2, context="none") == 2 * block + ends + time


def test_transformer_et_refuses_clips_longer_than_it_was_built_for():
    model = Denoiser(channels=4, width=8, depth=1, heads=2, backbone="transformer_et", context="none", frames=10)
    x = torch.randn(1, 4, 11)
    assert model(x[..., :10], torch.ones(1), x[..., :10]).shape == (1, 4, 10)
    with pytest.raises(ValueError, match="at most 10 frames, got 11"):
        model(x, torch.ones(1), x)


def test_cnn_hears_its_neighbourhood_and_the_transformer_the_whole_clip():
    torch.manual_seed(0)
    for name, reach in (("cnn", 3), ("transformer_te", 99)):
        model = Denoiser(channels=4, width=8, depth=1, heads=2, backbone=name, context="none", condition=False)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) / 4)
        x = torch.randn(1, 4, 100, requires_grad=True)
        model(x, torch.ones(1))[..., 0].sum().backward()
        assert x.grad[0].abs().sum(dim=0).nonzero().max() == reach  # one layer, kernel 7: three frames to each side
