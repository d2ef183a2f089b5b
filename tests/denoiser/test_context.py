import pytest
import torch

from rovolad_lib.denoiser.context import CONTEXTS, Channel, Tokens, mechanism

NAMES = CONTEXTS[1:]


def tokens():
    torch.manual_seed(0)
    module = Tokens(3, 8, patch=2)
    torch.nn.init.normal_(module.null)
    return module


def test_pooled_context_is_the_mean_over_real_tokens():
    module = tokens()
    context, mask = torch.randn(1, 3, 7), torch.arange(7)[None] < 5  # 3 of 4 tokens are real
    context = context.masked_fill(~mask[:, None], 0)
    made, allowed, pooled = module(1, context, mask)
    assert made.shape == (1, 5, 8)
    assert allowed.tolist() == [[False, True, True, True, False]]
    frames = torch.cat((context[0, :, :6], torch.zeros(3, 0)), dim=1).reshape(3, 3, 2).transpose(0, 1).reshape(3, 6)
    assert torch.allclose(pooled[0], module.pool(module.embed(frames).mean(dim=0)), atol=1e-6)


def test_dropped_empty_and_absent_contexts_are_the_null_token():
    module = tokens()
    context = torch.randn(2, 3, 6)
    for answer in (
        module(2),
        module(2, context, drop=torch.tensor([True, True])),
        module(2, context, torch.zeros(2, 6, dtype=torch.bool)),
    ):
        made, allowed, pooled = answer
        assert torch.equal(made[allowed], module.null.expand(2, 8))
        assert torch.allclose(pooled, module.pool(module.null).expand(2, 8), atol=1e-6)


def test_dropping_one_item_leaves_the_other_alone():
    module = tokens()
    context = torch.randn(2, 3, 6)
    kept, dropped = module(2, context)[2], module(2, context, drop=torch.tensor([True, False]))[2]
    assert torch.equal(kept[1], dropped[1])
    assert not torch.allclose(kept[0], dropped[0])


def made(name, width=8, heads=2, channels=None):
    torch.manual_seed(0)
    return mechanism(name, width, heads, channels).eval()


def attend(query, key, value):
    """Softmax attention of one item by hand, one head: (L, d), (S, d), (S, d) -> (L, d)."""
    return (query @ key.T / query.shape[1] ** 0.5).softmax(dim=1) @ value


@torch.no_grad()
def test_cross_by_hand():
    module, x, heard = made("cross", heads=1), torch.randn(4, 8), torch.randn(6, 8)
    key, value = module.key_value(heard).chunk(2, dim=1)
    wanted = module.out(attend(module.query(x), key, value))
    got = module(x[None], None, heard[None], torch.ones(1, 6, dtype=torch.bool))[0]
    assert torch.allclose(got, wanted, atol=1e-6)


@torch.no_grad()
def test_two_step_by_hand_goes_from_the_latents_to_the_context_and_back():
    module, x, heard = made("two_step", heads=1), torch.randn(4, 8), torch.randn(6, 8)
    key, value = module.gather.key_value(x[:3]).chunk(2, dim=1)  # the fourth token is masked
    gathered = heard + module.gather.out(attend(module.gather.query(heard), key, value))  # (T2, H)
    key, value = module.key_value(gathered).chunk(2, dim=1)
    wanted = module.out(attend(module.query(x), key, value))  # (T, H)
    got = module(x[None], torch.arange(4)[None] < 3, heard[None], torch.ones(1, 6, dtype=torch.bool))[0]
    assert torch.allclose(got, wanted, atol=1e-6)


@torch.no_grad()
def test_channel_by_hand_is_a_matrix_of_the_context_along_the_channels():
    module, x, heard = made("channel", heads=1), torch.randn(4, 8), torch.randn(6, 8)
    allowed = torch.tensor([[True, False, True, True, True, False]])
    seen = heard[allowed[0]]
    matrix = torch.einsum("sc,sd->cd", module.query(seen), module.key(seen)) / 4  # (E, E), of four tokens
    wanted = module.out(torch.einsum("cd,ld->lc", matrix.softmax(dim=1), module.value(x)))
    assert torch.allclose(module(x[None], None, heard[None], allowed)[0], wanted, atol=1e-6)


@torch.no_grad()
def test_channel_by_hand_where_the_tokens_are_the_channels():
    module, x, heard = made("channel", channels=4), torch.randn(4, 8), torch.randn(6, 8)
    query, key = (layer(heard).view(6, 2, 4) for layer in (module.query, module.key))
    matrix = torch.einsum("shc,shd->hcd", query, key) / 6  # (heads, E, E)
    mixed = torch.einsum("hcd,dhf->chf", matrix.softmax(dim=2), module.value(x).view(4, 2, 4))
    got = module(x[None], None, heard[None], torch.ones(1, 6, dtype=torch.bool))[0]
    assert isinstance(module, Channel) and torch.allclose(got, module.out(mixed.flatten(1)), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_may_not_be_attended_to_does_not_matter(name):
    module, x, heard, allowed = made(name), *torch.randn(2, 2, 5, 8), torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]]) > 0
    junk = heard.masked_fill(~allowed[..., None], 99.0)
    assert torch.allclose(module(x, None, junk, allowed), module(x, None, heard, allowed), atol=1e-6)
    one = module(x[:1], None, heard[:1, [0, 1, 3]], torch.ones(1, 3, dtype=torch.bool))
    assert torch.allclose(one, module(x, None, heard, allowed)[:1], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_order_and_repetition_of_the_context_are_irrelevant(name):
    module, x, heard, allowed = made(name), *torch.randn(2, 2, 5, 8), torch.ones(2, 10, dtype=torch.bool)
    wanted = module(x, None, heard, allowed[:, :5])
    assert torch.allclose(module(x, None, heard.flip(1), allowed[:, :5]), wanted, atol=1e-6)
    assert torch.allclose(module(x, None, torch.cat((heard, heard), dim=1), allowed), wanted, atol=1e-6)
    assert not torch.allclose(module(x, None, heard + 1, allowed[:, :5]), wanted, atol=1e-2)
