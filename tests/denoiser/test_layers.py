import pytest
import torch

from rovolad_lib.denoiser.context import Cross
from rovolad_lib.denoiser.layers import (
    Attention,
    Block,
    ConvNeXt,
    TimeEmbedding,
    masked_mean,
    patches,
    rotary,
    rotate,
    unpatch,
)  # fmt: skip


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


def test_rotary_products_depend_on_the_distance_alone():
    torch.manual_seed(0)
    query, key = torch.randn(8), torch.randn(8)
    queries, keys = rotate(query.expand(10, 8), rotary(10, 8)), rotate(key.expand(10, 8), rotary(10, 8))
    products = queries @ keys.T
    for distance in range(-9, 10):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    assert torch.equal(queries[0], query)
    assert not torch.allclose(products[0, 1], products[0, 5])


def test_rotary_angles_by_hand():
    cos, sin = rotary(3, 4)
    angles = torch.tensor([[0, 0], [1, 0.01], [2, 0.02]])
    assert torch.allclose(cos, angles.cos()) and torch.allclose(sin, angles.sin())


def test_attention_is_a_softmax_over_the_allowed_tokens():
    torch.manual_seed(0)
    attention = Attention(6, 2)
    x, source = torch.randn(2, 3, 6), torch.randn(2, 5, 6)
    mask = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], dtype=torch.bool)
    got = attention(x, mask, source=source)
    for item in range(2):
        seen = source[item, mask[item]]  # (S', 6)
        query = attention.query(x[item]).view(3, 2, 3)
        key, value = (part.reshape(-1, 2, 3) for part in attention.key_value(seen).chunk(2, dim=-1))
        weights = (torch.einsum("lhd,shd->hls", query, key) / 3**0.5).softmax(dim=-1)
        wanted = attention.out(torch.einsum("hls,shd->lhd", weights, value).reshape(3, 6))
        assert torch.allclose(got[item], wanted, atol=1e-6)


def test_attention_to_nothing_is_the_output_bias_and_its_gradient_is_finite():
    attention = Attention(4, 2)
    x = torch.randn(2, 3, 4, requires_grad=True)
    got = attention(x, torch.tensor([[False] * 3, [True] * 3]), rotary(3, 2))
    assert torch.equal(got[0], attention.out.bias.expand(3, 4))
    got.sum().backward()
    assert x.grad.isfinite().all() and x.grad[1].abs().sum() > 0


def test_convnext_by_hand():
    torch.manual_seed(0)
    block = ConvNeXt(3, hidden=5, kernel=3)
    x, condition = torch.randn(1, 4, 3), torch.randn(1, 3)
    shift, scale, gate = block.modulation(condition).chunk(3, dim=1)
    wide = torch.nn.functional.pad(x, (0, 0, 1, 1))
    weight, bias = block.conv.weight[:, 0], block.conv.bias  # (H, 3), (H,)
    mixed = torch.stack([(wide[0, i : i + 3].T * weight).sum(dim=1) + bias for i in range(4)])
    normed = (mixed - mixed.mean(1, keepdim=True)) / (mixed.var(1, keepdim=True, correction=0) + 1e-6).sqrt()
    wanted = x[0] + gate * block.mlp(normed * (1 + scale) + shift)
    assert torch.allclose(block(x, condition, torch.ones(1, 4, dtype=torch.bool))[0], wanted, atol=1e-6)


def test_convnext_does_not_see_masked_tokens():
    torch.manual_seed(0)
    block, condition = ConvNeXt(4, hidden=6), torch.randn(1, 4)
    x, mask = torch.randn(1, 9, 4), torch.arange(9)[None] < 5
    junk = x.masked_fill(~mask[..., None], torch.nan)
    alone = block(x[:, :5], condition, mask[:, :5])
    assert torch.allclose(block(junk, condition, mask)[:, :5], alone, atol=1e-6)


@pytest.mark.parametrize("kind", [Block, ConvNeXt])
def test_a_block_is_the_identity_while_its_modulation_and_its_mechanism_are_zero(kind):
    block = Block(8, 2, Cross(8, 2)) if kind is Block else ConvNeXt(8, 16, Cross(8, 2))
    for layer in (block.modulation, block.cross.out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
    context = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(block(x, torch.randn(2, 8), mask, context=context), x)


def test_time_embedding_sees_thousandths():
    embedding = TimeEmbedding(4, size=4)
    embedding.mlp = torch.nn.Sequential(torch.nn.Identity())
    embedding.mlp[0].weight = torch.zeros(1)
    wanted = torch.tensor([[1.0, 1, 0, 0], [0.5403023, 0.9999500, 0.8414710, 0.0099998]])
    assert torch.allclose(embedding(torch.tensor([0, 0.001])), wanted, atol=1e-5)


@pytest.mark.parametrize("mask, wanted", [(None, 2.5), ([1, 1, 0, 0], 1.5), ([0, 0, 0, 1], 4.0), ([0] * 4, 0.0)])
def test_masked_mean(mask, wanted):
    mask = None if mask is None else torch.tensor([mask], dtype=torch.bool)
    assert masked_mean(torch.tensor([[[1.0, 2, 3, 4]]]), mask).item() == wanted
