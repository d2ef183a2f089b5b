"""Pieces of long texts and recordings: nothing is lost, and what was cut comes back."""

import re

import pytest
import torch

from rovolad_lib.speech import longform, robot
from rovolad_lib.speech.audio import save, set_level

TEXT = (
    'She came. "Really?" he asked! It was 3.5 miles, or more; nobody knew: '
    + "far and wide, " * 12
    + "nothing.\nEnd "
    + "x" * 200
)


def wave(samples, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) / 20


@pytest.mark.parametrize("longest", [20, 60, 150])
def test_phrases_lose_nothing_and_are_as_few_as_go(longest):
    parts = longform.phrases(TEXT, longest)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", TEXT)
    assert all(0 < len(part) <= longest for part in parts)
    assert longform.phrases("  One. Two.  ") == ["One. Two."]


def test_sentences_are_cut_before_clauses_and_clauses_before_words():
    assert longform.phrases("One two. Three four! Five, six.", 20) == ["One two. Three four!", "Five, six."]
    assert longform.phrases("One two, three four, five six", 18) == ["One two,", "three four,", "five six"]
    assert longform.phrases("One two three four", 9) == ["One two", "three", "four"]
    assert longform.phrases("今日は晴れ。明日は雨。", 7) == ["今日は晴れ。", "明日は雨。"]


def test_the_robot_says_every_phrase_and_pauses_as_long_as_in_one():
    text = "We went home, slowly and late, in the dark of a November evening. " * 3
    parts = longform.phrases(text)
    waves, alone = list(longform.said(text, "en", 200, 150.0)), [robot.say(part, "en", 200, f0=150.0) for part in parts]
    assert len(parts) == 2 and torch.equal(waves[-1], alone[-1])
    assert len(waves[0]) == len(alone[0]) + 4000 and torch.equal(waves[0][:-4000], alone[0])
    whole, pieces = robot.say(text, "en", 200, f0=150.0), torch.cat(list(longform.joined(waves)))
    assert abs(len(whole) - len(pieces)) < 0.1 * 16000


@pytest.mark.parametrize("kind", ["wave", "file"])
def test_a_recording_cut_in_stretches_comes_back_whole(tmp_path, kind):
    sound = wave(50000)
    for start in (13000, 30000):
        sound[start : start + 1600] *= 0.01
    if kind == "file":
        save(tmp_path / "long.wav", sound)
    parts = list(longform.stretches(tmp_path / "long.wav" if kind == "file" else sound, window_s=1.0))
    assert 13000 <= len(parts[0]) - 800 <= 13800 and max(map(len, parts)) <= 16000
    back = torch.cat(list(longform.joined(parts)))
    assert back.shape == sound.shape and (back - sound).abs().max() < (1e-6 if kind == "wave" else 1e-4)


def test_one_wave_goes_through_joining_bit_for_bit():
    for samples in (100, 5000):
        assert torch.equal(torch.cat(list(longform.joined([wave(samples)]))), wave(samples))


def test_a_join_holds_back_only_what_is_faded():
    asked = []
    pieces = longform.joined(asked.append(k) or torch.full((2000,), float(k)) for k in (1, 3))
    assert len(next(pieces)) == 1200 and asked == [1]
    rest = torch.cat(list(pieces))
    assert (
        len(rest) == 2000 and (rest[:800].diff() > 0).all() and abs(rest[399:401].mean() - 2) < 1e-3 and (rest[800:] == 3).all()
    )


def test_levels():
    assert longform.level_db(set_level(wave(8000), -30.0)) == pytest.approx(-30, abs=1e-3)
    assert longform.level_db(torch.zeros(10)) == float("-inf") and longform.gain_to(torch.zeros(10)) is None
    assert longform.level_db(longform.gain_to(wave(8000), -35.0) * wave(8000)) == pytest.approx(-35, abs=1e-3)
    assert longform.gain_to(wave(10), None) == 1.0 and longform.amplified(wave(8000), 100.0).abs().max() == 1


def test_syllables_are_counted_and_a_faster_speaker_is_heard_as_one():
    text, spoken = "Every morning a bird sings in the garden.", torch.zeros(32000)
    for start in range(1600, 30000, 4000):  # eight bursts
        spoken[start : start + 2400] = wave(2400) * torch.hann_window(2400)
    active = float(longform.active_frames(spoken).sum()) / 100
    assert longform.syllable_rate(spoken) == pytest.approx(8 / active, rel=1e-6) and longform.syllable_rate(torch.zeros(9)) == 0
    rates = [longform.rate_like(robot.say(text, rate=rate), text) for rate in (120, 175, 220)]
    assert rates[0] < rates[1] < rates[2] and rates[1] == round(1.25 * 175) and longform.rate_like(torch.zeros(9), text) == 175
