import math

import pytest
import torch

from rovolad_lib.files import sha256
from rovolad_lib.metrics import judges

FORMANTS = {"ah": (700, 1200), "ee": (300, 2300), "oo": (320, 800)}


def vowel(name, seed):
    """A pulse train through two resonances, of random pitch, length and level."""
    generator = torch.Generator().manual_seed(seed)
    pitch, length, level = (
        torch.rand(3, generator=generator) * torch.tensor([100.0, 4000.0, 0.2]) + torch.tensor([90.0, 4000.0, 0.05])
    ).tolist()
    time = torch.arange(int(length)) / 16000
    wave = torch.zeros(len(time))
    for k in range(1, int(4000 / pitch)):
        gain = sum(1 / (1 + ((k * pitch - formant) / 100) ** 2) for formant in FORMANTS[name])
        wave += gain * torch.cos(2 * math.pi * k * pitch * time + k * k)
    return level * wave / wave.abs().max() * torch.hann_window(len(time)).sqrt()


def takes(first, count):
    labels = [name for name in FORMANTS for _ in range(count)]
    return [vowel(name, first + i) for i, name in enumerate(labels)], labels


@pytest.fixture(scope="module")
def judge():
    return judges.train(*takes(0, 12), seed=3, steps=40, batch=16)


def test_a_judge_learns_what_it_is_shown(judge):
    waves, labels = takes(1000, 10)
    assert judge.accuracy(waves, labels) >= 0.9
    verdict = judge.predict(waves)
    assert verdict.probabilities.shape == (30, 3) and verdict.features.shape == (30, 32)
    assert torch.allclose(verdict.probabilities.sum(1), torch.ones(30))
    assert verdict.labels == [judge.classes[i] for i in verdict.probabilities.argmax(1)]


def test_level_padding_and_company_do_not_matter(judge):
    waves, _ = takes(2000, 2)
    together = judge.predict(waves).features
    for wave, expected in zip(waves, together, strict=True):
        changed = torch.cat([torch.zeros(160 * 32), 0.3 * wave, torch.zeros(5000)])
        assert torch.allclose(judge.predict([changed]).features[0], expected, atol=2e-3)


def test_the_same_seed_gives_the_same_judge_and_leaves_the_global_generator_alone():
    waves, labels = takes(0, 4)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first, second = (judges.train(waves, labels, seed=5, steps=3, batch=8) for _ in range(2))
    assert torch.equal(torch.rand(2), expected)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_a_saved_judge_comes_back_frozen_with_its_hash(judge, tmp_path):
    waves, labels = takes(3000, 2)
    judge.save(
        tmp_path / "vowel.safetensors", question="vowel", accuracy=judge.accuracy(waves, labels), clips=len(waves)
    )
    loaded = judges.Judge.load(tmp_path / "vowel.safetensors")
    assert loaded.sha256 == sha256(tmp_path / "vowel.safetensors")
    assert loaded.classes == ["ah", "ee", "oo"] and loaded.report["clips"] == 6
    assert loaded.measured_by.startswith(f"judge of vowel {loaded.sha256[:8]}")
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(loaded.predict(waves).features, judge.predict(waves).features)


def test_a_stretch_of_each_clip_is_heard_and_is_enough_for_vowels():
    waves, labels = takes(0, 12)
    assert judges.train(waves, labels, steps=25, batch=16, longest_s=0.15).accuracy(waves, labels) > 0.8


def test_augmentation_keeps_shapes_and_never_empties_a_mask():
    torch.manual_seed(0)
    mask = torch.arange(40)[None] < torch.tensor([40, 12, 9, 25])[:, None]
    for _ in range(50):
        mel, heard = judges.augment(torch.randn(4, 80, 40), mask)
        assert mel.shape[:2] == (4, 80) and heard.shape == (4, mel.shape[-1]) and mel.isfinite().all()
        assert heard[:, ::2].any(1).all()


def test_errors_name_what_is_accepted(judge, tmp_path):
    with pytest.raises(ValueError, match="two distinct"):
        judges.Judge(["one", "one"])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        judge.accuracy([torch.ones(800)], ["ah", "oo"])
    with pytest.raises(ValueError, match=r"accepted: \(S,\)"):
        judge.predict([torch.zeros(1, 800)])
    with pytest.raises(ValueError, match="none"):
        judge.predict([])
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no judge"):
        judges.Judge.load(tmp_path / "other.safetensors")
