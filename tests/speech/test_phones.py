import pytest
import torch

from rovolad_lib.speech import audio, robot
from rovolad_lib.speech.phones import PAUSE, labels, phones, rate_of

SENTENCE = "Kids are talking, one. Two by the door."


@pytest.mark.parametrize(
    ("text", "language", "rate", "named"),
    [(SENTENCE, "en", 140, "k ɪ d z ɑːɹ t ɔː k ɪ ŋ"), ("Der Lappen liegt.", "de", None, "d ɛ ɾ l a p ə n l iː k t")],
)
def test_phones_fill_the_wave_and_sound_as_named(text, language, rate, named):
    wave, found = robot.say(text, language, rate), phones(text, language, rate)
    names = [name for name, _, _ in found if name != PAUSE]
    assert names[: len(named.split())] == named.split()
    assert found[0] == (PAUSE, 0.0, found[1][1]) and found[-1][0] == PAUSE
    assert found[-1][2] == pytest.approx(len(wave) / 16000, abs=1e-3)
    assert all(start < end == after for (_, start, end), (_, after, _) in zip(found, found[1:], strict=False))
    loud = {
        kind: [wave[round(s * 16000) : round(e * 16000)].square().mean().sqrt() for n, s, e in found if n in kind.split()]
        for kind in ("ɪ ɑːɹ ɔː ɛ a iː ʌ uː", "k t p")
    } | {PAUSE: [wave[round(s * 16000) : round(e * 16000)].square().mean().sqrt() for n, s, e in found if n == PAUSE]}
    pauses, (vowels, plosives) = loud.pop(PAUSE), loud.values()
    assert min(vowels) > 2 * max(plosives) and max(pauses) < 0.005 < min(plosives)


def test_marks_leave_the_samples_alone():
    wave = robot.say(SENTENCE)
    assert robot.marks("phonemes", SENTENCE) == robot.marks("phonemes", SENTENCE)
    assert torch.equal(robot.say(SENTENCE), wave)
    (_, first), *_ = robot.marks("words", SENTENCE)
    assert first == robot.EDGE_S
    with pytest.raises(ValueError, match="kind 'letters'; accepted are words, phonemes"):
        robot.marks("letters", SENTENCE)


def test_labels_are_of_the_middle_of_a_frame():
    spoken = [(PAUSE, 0.0, 0.05), ("a", 0.05, 0.09), ("b", 0.09, 0.13), (PAUSE, 0.13, 0.15)]
    middles = [0.01, 0.03, 0.05, 0.07, 0.09, 0.11, 0.13, 0.15, 0.17]  # a phone begins with its start; the last goes on
    assert len(middles) == 9
    assert labels(spoken, 9, ["", "a", "b"]).tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 0]
    assert labels(spoken, 3, ["b", "a", ""], hop=640).tolist() == [2, 1, 0]  # at .02, .06 and .10 s
    with pytest.raises(ValueError, match=r"phones \['b'\] are not among the names; accepted: '', 'a'"):
        labels(spoken, 9, ["", "a"])


@pytest.mark.parametrize("rate", [163, 175, 260])
def test_the_rate_of_a_kept_robot_is_found(tmp_path, rate):
    wave = robot.say(SENTENCE, "en", rate)
    audio.save(tmp_path / "robot.flac", wave)
    kept = audio.load(tmp_path / "robot.flac")
    assert rate_of(kept, SENTENCE) == rate
    cut = rate_of(kept[:16000], SENTENCE)
    assert cut == (rate if rate in (175, 260) else None)
    assert rate_of(wave.flip(0), SENTENCE) is None
