"""Longer utterances than those of training, word by word."""

import pandas
import torch

from rovolad_lib.lab import experiment, lengths
from rovolad_lib.metrics import judges
from rovolad_lib.speech import robot
from rovolad_lib.speech.audio import SAMPLE_RATE


def test_takes_of_one_speaker_are_joined_and_the_rest_is_left():
    table = pandas.DataFrame({"speaker": ["a", "b", "a", "a", "b", "a", "a"]})
    assert lengths.joined(table, [0, 1, 2, 3, 4, 5], 2) == [[0, 2], [3, 5], [1, 4]]
    assert lengths.joined(table, range(7), 3) == [[0, 2, 3]] and lengths.joined(table, [0, 1], 2) == []


def test_speech_is_cut_where_the_robots_words_begin():
    wave = robot.say("one two three")
    pieces = lengths.cut(wave, "one two three", "en")
    starts = [round(s * SAMPLE_RATE) for _, s in robot.marks("words", "one two three")]
    assert len(pieces) == 3 and torch.equal(torch.cat(pieces), wave)
    assert len(pieces[0]) == starts[1] and len(pieces[1]) == starts[2] - starts[1]
    high = [round(s * SAMPLE_RATE) for _, s in robot.marks("words", "one two three", f0=300.0)]
    assert len(lengths.cut(wave, "one two three", "en", 300.0)[0]) == high[1] != starts[1]


def test_every_word_of_a_long_utterance_is_judged(encoded, tmp_path):
    model, _ = experiment.fit(encoded, experiment.Setting(), "smoke", tmp_path / "run")
    judge = judges.Judge(["a", "b"]).eval()
    found = lengths.longer(encoded, model, list(range(10, 20)), {"speaker": judge, "text": None}, steps=1)
    assert list(found) == ["1", "2", "4"]  # nobody has eight takes
    assert all(set(scores) == {"speaker_accuracy"} and 0 <= scores["speaker_accuracy"] <= 1 for scores in found.values())
    assert lengths.longer(encoded, model, [10, 11], {"text": None}) == {}
