import pytest

from rovolad_lib.metrics import UNITS, describe


def test_every_score_says_what_it_is():
    for name, unit in UNITS.items():
        described = describe(name)
        assert described["unit"] and described["model"].startswith(unit.model)
        assert described["better"] in ("higher", "lower", "1", "none")


def test_a_judge_signs_its_own_scores():
    assert describe("text_accuracy", judge="judge of digit 0123abcd, .996 on real takes")["model"].startswith(
        "judge of digit 0123abcd"
    )


def test_an_unknown_score_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'wer'; accepted: pesq_wb, stoi"):
        describe("wer")


def test_words_are_scored_by_a_judge_s_text_accuracy_alone():
    assert "text_accuracy" in UNITS
    with pytest.raises(ValueError, match="'word_accuracy'; accepted: "):
        describe("word_accuracy")
