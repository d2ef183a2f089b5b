import pytest
import torch

from rovolad_lib.denoiser.layers import Attention, Block, Depthwise, TimeEmbedding, masked_mean, rotary, rotate


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


def test_depthwise_convolution_does_not_see_masked_tokens():
    conv = Depthwise(3, kernel=7, dilation=2)
    x, mask = torch.randn(1, 9, 3), torch.arange(9)[None] < 5
    junk = x.masked_fill(~mask[..., None], torch.nan)
    assert torch.allclose(conv(junk, mask)[:, :5], conv(x[:, :5]), atol=1e-6)


def test_block_is_the_identity_while_its_modulation_and_cross_output_are_zero():
    block = Block(8, 2, Attention(8, 2), ratio=4, cross=True)
    for layer in (block.modulation, block.cross.out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 5, 8)
    context = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(block(x, torch.randn(2, 8), None, rotary(5, 4), context), x)


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
