"""Players: the samples that were given are the samples that are heard."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch

from rovolad_lib.lab import listen


def decoded(html):
    """Return the (S,) samples of every player in the page."""
    encoded = re.findall(r"data:audio/wav;base64,([^\"]+)", html.data)
    return [soundfile.read(io.BytesIO(base64.b64decode(text))) for text in encoded]


def player(wave):
    return listen.grid([{"voice": wave}])


def test_player_keeps_the_level():
    wave = 0.01 * torch.sin(torch.arange(1600) / 5)
    html = player(wave)
    ((samples, rate),) = decoded(html)
    assert rate == 16000
    assert np.abs(samples - wave.numpy()).max() < 1 / 16000
    assert "<figcaption>peak -40.0 dB · RMS -43.0 dB<" in html.data


def test_full_scale_passes_and_silence_has_words():
    ((samples, _),) = decoded(player(np.array([1.0, -1.0])))
    assert list(samples) == [32767 / 32768, -32767 / 32768]
    assert "peak silent · RMS silent" in player(torch.zeros(100)).data and "peak silent" in player(torch.zeros(0)).data


def test_a_long_wave_is_cut_and_the_caption_says_so():
    html = player(torch.zeros(5 * 16000))
    assert len(decoded(html)[0][0]) == 4 * 16000
    assert "first 4 of 5.0 s" in html.data


@pytest.mark.parametrize("wave", [torch.tensor([0.0, 1.01]), torch.zeros(1, 100), torch.tensor([0.0, float("nan")])])
def test_bad_waves_are_refused(wave):
    with pytest.raises(ValueError, match=r"accepted: \(S,\) within \[-1, 1\]"):
        player(wave)


def test_grid_shows_rows_columns_and_gaps():
    first = {"text": "a < b", "robot": torch.zeros(10)}
    html = listen.grid([first, {"robot": torch.zeros(20), "person": torch.ones(30)}])
    assert [len(samples) for samples, _ in decoded(html)] == [10, 20, 30]
    assert re.findall("<th>(.*?)</th>", html.data) == ["text", "robot", "person"]
    assert "<td>a &lt; b</td>" in html.data and "rows, a page" not in html.data


def test_grid_stops_at_32_clips_and_says_so():
    html = listen.grid([{"a": torch.zeros(10), "b": torch.zeros(10)}] * 20)
    assert len(decoded(html)) == 32
    assert "16 of 20 rows" in html.data


def test_a_page_plays_files_beside_it_and_clips_inside_it(tmp_path):
    row = {"text": "ü", "robot": torch.zeros(10), "result": tmp_path / "a b.wav"}
    path = listen.page(tmp_path / "index.html", [row], "A < B", "made & said")
    text = path.read_text(encoding="utf-8")
    assert re.findall('src="([^":]*)"', text) == ["a%20b.wav"] and text.count("<audio") == 2 and text.count("data:audio/wav") == 1
    assert "<h1>A &lt; B</h1>" in text and "<p>made &amp; said</p>" in text and "<td>ü</td>" in text
    assert re.findall("<th>(.*?)</th>", text) == ["text", "robot", "result"] and text.startswith("<!doctype html>")
