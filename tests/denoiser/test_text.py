import pandas
import pytest
import torch
from safetensors.torch import load_file, save_file

from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.text import MINILM, TextEncoder, describe

VOICE = {"gender": "female", "age": "23", "accent": "Scottish", "style": "angry strong", "language": "en"}


@pytest.mark.parametrize("row, sentence", [
    (VOICE, "A female voice, 23 years old, Scottish accent, angry strong, speaking English."),
    ({"gender": "male", "language": "de", "age": None}, "A male voice, speaking German."),
    ({"age": "elderly", "style": float("nan"), "text": "never said"}, "A voice, elderly."),
    ({"language": "cy"}, "A voice, speaking cy."),
    ({"gender": None, "accent": " ", "style": ""}, ""),
    (pandas.Series({"gender": "female", "style": pandas.NA, "age": None}), "A female voice."),
])
def test_a_description_says_what_is_known(row, sentence):
    assert describe(row) == sentence


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with the text half of a tiny CLIP that knows nothing, and a tokenizer that spells."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,."]
    names = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    transformers.CLIPTokenizer({name: i for i, name in enumerate(names)}, []).save_pretrained(folder)
    ends = dict(bos_token_id=len(names) - 2, eos_token_id=len(names) - 1, pad_token_id=len(names) - 1)
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=24, **ends,
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(folder)
    return folder


def test_clip_gives_one_latent_a_token(clip):
    encode = TextEncoder(clip)
    assert encode.width == 16
    latents, mask = encode(["a male voice", "x" * 50, ""])
    assert latents.shape == (3, 16, 24) and mask.sum(dim=1).tolist() == [12, 24, 0]  # letters and two ends; cut; none
    assert not latents.mT[~mask].any()
    with torch.no_grad():
        words = encode.tokenizer(["a male voice"], return_tensors="pt")
        wanted = encode.model(**words).last_hidden_state[0].T
    assert torch.allclose(latents[0, :, :12], wanted)
    alone, seen = encode(["a male voice"])
    assert torch.equal(alone[0], latents[0, :, :12]) and seen.all()
    assert encode(["", ""])[0].shape == (2, 16, 1) and not encode(["", ""])[1].any()


def test_the_text_half_of_a_whole_clip_is_taken_quietly(clip, tmp_path, capfd):
    transformers = pytest.importorskip("transformers")
    half = transformers.CLIPTextModel.from_pretrained(clip)
    seeing = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    )
    config = transformers.CLIPConfig(text_config=half.config.to_dict(), vision_config=seeing.to_dict(), projection_dim=8)
    whole = transformers.CLIPModel(config)
    whole.text_model.load_state_dict(half.state_dict())
    whole.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(clip).save_pretrained(tmp_path)
    capfd.readouterr()
    encode = TextEncoder(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert type(encode.model).__name__ == "CLIPTextModel"
    assert torch.equal(encode(["a male voice"])[0], TextEncoder(clip)(["a male voice"])[0])


def test_latents_are_kept_on_disk_by_encoder_and_text(clip, tmp_path):
    encode = TextEncoder(clip, cache=tmp_path)
    first, _ = encode(["one", "two", "one"])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2 and all(path.suffix == ".safetensors" and len(path.stem) == 64 for path in files)
    for path in files:
        save_file({"latents": 2 * load_file(path)["latents"]}, path)
    again, _ = encode(["one", "two", "one"])
    assert torch.equal(again, 2 * first)  # read, not made
    other = TextEncoder(clip, cache=tmp_path)
    assert other.fingerprint == encode.fingerprint
    other.model.final_layer_norm.bias.data += 1
    other.fingerprint = other._hash()
    assert torch.allclose(other(["one"])[0], first[:1] + 1, atol=1e-5) and len(list(tmp_path.iterdir())) == 3


def test_an_encoder_that_is_not_there_or_not_safe_or_not_whole_is_an_error(clip, tmp_path):
    with pytest.raises(FileNotFoundError, match="accepted are clip, minilm, a folder, a name on the hub"):
        TextEncoder(tmp_path / "nowhere")
    for path in clip.iterdir():
        if path.suffix == ".json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(clip / "model.safetensors")
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        TextEncoder(tmp_path)
    del state["final_layer_norm.bias" if "final_layer_norm.bias" in state else "text_model.final_layer_norm.bias"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 weights, first .*final_layer_norm.bias"):
        TextEncoder(tmp_path)


def test_minilm_works_from_its_package_and_knows_what_words_mean():
    pytest.importorskip("transformers")
    pytest.importorskip(MINILM)
    encode = TextEncoder("minilm")
    latents, mask = encode(["An angry voice.", "A furious voice.", "A calm voice, speaking Polish."])
    assert latents.shape[:2] == (3, 384) and encode.longest == 512
    means = torch.stack([one[:, real].mean(dim=1) for one, real in zip(latents, mask, strict=True)])
    near, far = torch.cosine_similarity(means[:1], means[1:])
    assert near > far + 0.1
    mean = encode(["This is an example sentence"])[0][0].mean(dim=1)
    known = [0.0676, 0.0635, 0.0487, 0.0793]  # what sentence-transformers makes of it: the mean, of unit length
    assert (mean / mean.norm())[:4].tolist() == pytest.approx(known, abs=2e-4)


def test_a_denoiser_hears_an_encoders_words(clip):
    encode = TextEncoder(clip)
    text, mask = encode([describe(VOICE), ""])
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=1, heads=2, text=encode.width)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)
        x = torch.randn(2, 6, 9)
        heard, without = (model(x, torch.ones(2), x, **given) for given in ({"text": text, "text_mask": mask}, {}))
    assert not torch.allclose(heard[0], without[0], atol=1e-3) and torch.allclose(heard[1], without[1], atol=1e-5)
