import pytest
import torch

from rovolad_lib.metrics import words
from rovolad_lib.speech import robot

pytest.importorskip("pocketsphinx")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_the_robot_s_digits_are_heard_and_silence_is_none():
    waves = [robot.say(word, "en") for word in DIGITS]
    heard = words.recognise(waves, DIGITS)
    assert sum(a == b for a, b in zip(heard, DIGITS, strict=True)) >= 8
    assert heard == words.recognise(waves, DIGITS)  # the noise is the same
    assert words.recognise([torch.zeros(8000)], DIGITS)[0] in ("", *DIGITS)


def test_sentences_are_chosen_among():
    said = [words.plain("Kids are talking, by the door."), words.plain("Dogs are sitting - by the  door!")]
    assert said == ["kids are talking by the door", "dogs are sitting by the door"]
    assert words.recognise([robot.say(text, "en") for text in said], said) == said


def test_unknown_words_are_named():
    with pytest.raises(ValueError, match="xqzt: not in the recogniser's dictionary"):
        words.recognise([torch.randn(8000)], ["one", "xqzt"])
