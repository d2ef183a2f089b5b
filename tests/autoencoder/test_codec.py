import pytest
import torch

from rovolad_lib.autoencoder.codec import decode_latents, encode_waves, recode
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.speech.audio import set_level

SAMPLES = [4000, 1700, 6400, 161, 3200]
EDGE = 640 + 160  # the last two windows of Griffin-Lim may differ


@pytest.fixture(scope="module", params=["linear", "bent"])
def model(request, codec):
    """The linear codec, and one whose residual networks say something."""
    if request.param == "linear":
        return codec
    torch.manual_seed(0)
    bent = Autoencoder(6, 20, (16, 1), (16, 1))
    bent.load_state_dict(codec.state_dict(), strict=False)
    for part in (bent.encoder, bent.decoder):
        torch.nn.init.normal_(part.leave.weight, std=0.1)
    return bent.eval()


@pytest.fixture(scope="module")
def waves():
    return [torch.randn(n, generator=torch.Generator().manual_seed(n)) / (5 + k) for k, n in enumerate(SAMPLES)]


def same(got, wanted):
    return got.shape == wanted.shape and torch.allclose(got, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("batch", [2, 32])
def test_a_list_of_waves_is_one_by_one(model, waves, batch):
    coded = encode_waves(model, waves, batch)
    assert [tuple(z.shape) for z in coded] == [(6, -(-n // 320)) for n in SAMPLES]
    for got, wave in zip(coded, waves, strict=True):
        assert same(got, model.encode(set_level(wave)[None])[0])
        assert same(encode_waves(model, [0.1 * wave])[0], got)  # at one level, however loud it was


@pytest.mark.parametrize("batch", [2, 32])
def test_a_list_of_latents_is_one_by_one_and_keeps_its_order(model, waves, batch):
    coded = encode_waves(model, waves)
    made = decode_latents(model, coded, batch, iterations=3)
    assert [len(w) for w in made] == [320 * -(-n // 320) for n in SAMPLES]
    for got, latent in zip(made, coded, strict=True):
        wanted = model.decode(latent[None], iterations=3)[0]
        wanted /= wanted.abs().max().clamp(min=1)
        kept = max(0, len(wanted) - EDGE)
        assert wanted.abs().max() > 0.01 and got.isfinite().all() and got.abs().max() > 0.01
        assert not kept or same(got[:kept], wanted[:kept])


def test_what_is_too_loud_is_scaled_not_clipped(codec):
    latent = codec.encode(2 * torch.randn(1, 3200, generator=torch.Generator().manual_seed(0)))[0]
    loud = codec.decode(latent[None], iterations=3)[0]
    made = decode_latents(codec, [latent], iterations=3)[0]
    assert loud.abs().max() > 1 and same(made, loud / loud.abs().max())


def test_speech_is_decoded_as_the_model_has_it_unless_asked_otherwise(codec, waves):
    coded = encode_waves(codec, waves[:2])
    once, more = (decode_latents(codec, coded, head="gl", iterations=n) for n in (32, 16))
    assert all(torch.equal(a, b) for a, b in zip(decode_latents(codec, coded), once, strict=True))
    for got, a, b in zip(recode(codec, waves[:2]), once, more, strict=True):
        assert torch.equal(got, a[: len(got)]) and not torch.equal(got, b[: len(got)])


def test_recoding_keeps_lengths_and_an_empty_list_is_one(model, waves):
    made = recode(model, waves, iterations=3)
    assert [len(w) for w in made] == SAMPLES
    wanted = decode_latents(model, encode_waves(model, waves), iterations=3)
    assert all(torch.equal(a, b[: len(a)]) for a, b in zip(made, wanted, strict=True))
    assert recode(model, []) == []
