import torch

from rovolad_lib.autoencoder.codec import decode_latents, encode_waves
from rovolad_lib.convert import Converter
from rovolad_lib.lab import baselines
from rovolad_lib.metrics.pitch import median_f0
from rovolad_lib.sampling import matched
from rovolad_lib.speech import robot


def test_each_frame_becomes_the_mean_of_those_most_like_it():
    reference = torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    made = baselines.neighbours(torch.tensor([[5.0, 0.0], [0.1, 3.0]]), reference, 2)
    assert torch.equal(made[:, 0], torch.tensor([1.5, 0.0])) and torch.allclose(made[1, 1], torch.tensor(0.5))
    assert torch.allclose(baselines.neighbours(torch.ones(2, 1), reference, 9)[:, 0], reference.mean(1))


def test_the_nearest_voice_is_that_of_the_most_similar_embeddings():
    others = {"a": torch.tensor([[1.0, 0.0]]), "b": torch.tensor([[0.0, 1.0], [0.1, 1.0]])}
    assert baselines.nearest(torch.tensor([[0.2, 2.0]]), others) == "b"
    assert baselines.nearest(torch.tensor([[2.0, 0.2]]), others) == "a"


def test_the_ways_of_speaking(codec, denoiser):
    converter = Converter(codec, denoiser(prior="robot"))
    heard, texts = [robot.say(f"One two {x}.", f0=200.0) for x in ("three", "ten")], [("en", "Five, six."), ("de", "Ja, gut.")]
    made = baselines.spoken(converter, heard, texts, steps=2, seed=3)
    assert list(made) == ["classical", "kNN", "prior's mean", "one shot", "diffusion"] and {
        len(waves) for waves in made.values()
    } == {2}
    assert torch.equal(made["diffusion"][1], converter("Ja, gut.", heard, "de", steps=2, seed=3))
    assert torch.equal(made["one shot"][0], converter("Five, six.", heard, steps=1, seed=3))
    target = torch.cat(encode_waves(codec, heard), dim=1)
    said = [robot.say(text, language, f0=median_f0(torch.cat(heard))) for language, text in texts]  # at the voice's pitch
    high = encode_waves(codec, said)
    moved = matched(torch.cat(high, dim=1), target).split([z.shape[1] for z in high], dim=1)  # all texts alike
    for wave, wanted in zip(made["classical"], decode_latents(codec, moved), strict=True):
        assert torch.equal(wave, wanted)
    assert not torch.equal(made["classical"][0], made["kNN"][0])
    plain = encode_waves(codec, [robot.say(text, language) for language, text in texts])
    means = [converter.denoiser.mean(z[None], converter.voice(heard)[None])[0].detach() for z in plain]
    for wave, wanted in zip(made["prior's mean"], decode_latents(codec, means), strict=True):
        assert torch.equal(wave, wanted)
    high = [converter.denoiser.mean(z[None], converter.voice(heard)[None])[0].detach() for z in encode_waves(codec, said)]
    made = baselines.spoken(converter, heard, texts, steps=2, seed=3, pitch="reference")
    for wave, wanted in zip(made["prior's mean"], decode_latents(codec, high), strict=True):
        assert torch.equal(wave, wanted)
