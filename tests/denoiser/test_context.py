import torch

from rovolad_lib.denoiser.context import Cross


def cross():
    torch.manual_seed(0)
    module = Cross(3, 8, patch=2)
    torch.nn.init.normal_(module.null)
    return module


def test_pooled_context_is_the_mean_over_real_tokens():
    module = cross()
    context, mask = torch.randn(1, 3, 7), torch.arange(7)[None] < 5  # 3 of 4 tokens are real
    context = context.masked_fill(~mask[:, None], 0)
    tokens, allowed, pooled = module(1, context, mask)
    assert tokens.shape == (1, 5, 8)
    assert allowed.tolist() == [[False, True, True, True, False]]
    frames = torch.cat((context[0, :, :6], torch.zeros(3, 0)), dim=1).reshape(3, 3, 2).transpose(0, 1).reshape(3, 6)
    assert torch.allclose(pooled[0], module.pool(module.embed(frames).mean(dim=0)), atol=1e-6)


def test_dropped_empty_and_absent_contexts_are_the_null_token():
    module = cross()
    context = torch.randn(2, 3, 6)
    for answer in (
        module(2),
        module(2, context, drop=torch.tensor([True, True])),
        module(2, context, torch.zeros(2, 6, dtype=torch.bool)),
    ):
        tokens, allowed, pooled = answer
        assert torch.equal(tokens[allowed], module.null.expand(2, 8))
        assert torch.allclose(pooled, module.pool(module.null).expand(2, 8), atol=1e-6)


def test_dropping_one_item_leaves_the_other_alone():
    module = cross()
    context = torch.randn(2, 3, 6)
    kept, dropped = module(2, context)[2], module(2, context, drop=torch.tensor([True, False]))[2]
    assert torch.equal(kept[1], dropped[1])
    assert not torch.allclose(kept[0], dropped[0])
