import pytest
import torch

from rovolad_lib.metrics import speaker


def test_equal_error_rate_of_known_scores():
    assert speaker.eer([0.8, 0.9], [0.1, 0.2, 0.3]) == 0
    assert speaker.eer([0.1, 0.2], [0.8, 0.9]) == 1
    assert speaker.eer([0.2, 0.6, 0.7, 0.8], [0.1, 0.3, 0.4, 0.65]) == pytest.approx(0.25)
    ramp = torch.linspace(0, 1, 1001)
    assert speaker.eer(ramp, ramp) == pytest.approx(0.5, abs=2e-3)
    assert speaker.eer(torch.tensor([0.5]), torch.tensor([0.4])) == 0
    with pytest.raises(ValueError, match="at least one of each"):
        speaker.eer([], [0.1])


def test_similarity_is_the_cosine():
    a, b = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 0.0]])
    assert torch.allclose(speaker.similarity(a, b), torch.tensor([[1.0], [0.5**0.5]]))


def test_short_clips_are_joined_and_nothing_is_lost():
    waves = [torch.full((16000,), 0.01 * (i + 1)) for i in range(12)]
    joined = speaker.join(waves)
    assert [round(len(wave) / 17600) for wave in joined] == [5, 7]  # the rest of two joins the last
    assert len(speaker.join(waves[:3])) == 1 and len(speaker.join(waves[:3])[0]) == 3 * 17600
    assert speaker.join([]) == []


def test_embeddings_have_length_one_and_do_not_depend_on_level():
    pytest.importorskip("resemblyzer")
    time = torch.arange(32000) / 16000
    low, high = (sum(torch.cos(2 * torch.pi * k * hz * time) / k for k in range(1, 20)) * 0.05 for hz in (100, 230))
    found = speaker.embed([low, 0.3 * low, high])
    assert found.shape == (3, 256) and torch.allclose(found.norm(dim=1), torch.ones(3), atol=1e-4)
    table = speaker.similarity(found, found)
    assert table[0, 1] > 0.999 > table[0, 2]
    with pytest.raises(ValueError, match="silence"):
        speaker.embed([torch.zeros(16000)])
