"""The command, on two espeak voices and the shipped weights; and its answers to what it cannot use."""

from types import SimpleNamespace

import numpy
import pytest
import torch

from rovolad_lib.lab import recorded, records, trials
from rovolad_lib.speech import robot
from rovolad_lib.speech.audio import SAMPLE_RATE, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("voices")
    for name, f0 in (("low", 90.0), ("high", 200.0)):
        for k, text in enumerate(("The weather is fine today, is it not?", "I have no time at all for this.")):
            save(path / f"{name}_{k}.wav", robot.say(text, f0=f0))
    return path


class Robot:
    """A converter that changes nothing, of a network that learned with plain robots."""

    denoiser = SimpleNamespace(notes={"setting": {}})

    def __call__(self, source, reference, **options):
        return robot.say(source) if isinstance(source, str) else source


def test_the_robot_s_own_digits_are_heard_as_they_are_and_another_s_are_not(folder):
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    voices = recorded.voices(folder)
    found = trials.digits(Robot(), voices, strings=4)
    assert found["low"] == found["high"] == found["robot"] > 0.7

    class Shuffled(Robot):
        def __call__(self, source, reference, **options):
            return robot.say(" ".join(trials.DIGITS[trials.DIGITS.index(word) - 1] for word in source.split()))

    assert trials.digits(Shuffled(), voices, strings=4)["low"] < 0.4


def test_a_recording_that_is_left_as_it_is_stays_its_speaker_s(folder):
    pytest.importorskip("resemblyzer", reason="resemblyzer is not installed")
    voices = recorded.voices(folder)
    found = trials.recordings(Robot(), voices)
    assert found["nearer"] == 0 and found["source"] > found["target"] and found["accepts"] == 1
    with pytest.raises(ValueError, match="1 voice; accepted: two or more"):
        trials.recordings(Robot(), {"low": voices["low"]})


def test_a_jump_is_seen_where_level_and_pitch_change_and_nowhere_else():
    low, high = (torch.cat([robot.say("We are all here", f0=f0)] * 3) for f0 in (100.0, 200.0))
    assert trials._jump(torch.cat([low, low / 10]), len(low))[0] == pytest.approx(20, abs=1)
    assert trials._jump(torch.cat([low, high]), len(low))[1] == pytest.approx(12, abs=1)
    level, semitones = trials._jump(low, len(low) // 3)
    assert level < 2 and semitones < 1
    assert numpy.isnan(trials._jump(torch.zeros(4 * SAMPLE_RATE), 2 * SAMPLE_RATE)).all()


def test_one_command_tries_all(folder, tmp_path, capsys):
    for module in ("resemblyzer", "pocketsphinx"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    arguments = ["--voices", folder, "--steps", "1", "--seconds", "90", "--strings", "5", "--results", tmp_path]
    assert trials.main([str(word) for word in arguments]) == 0
    said = capsys.readouterr().out
    (record,) = records.load("trials", tmp_path).to_dict("records")
    assert f"{record['run_id']}.json" in said and "first_audio_s" in said
    assert 80 < record["metrics.long.seconds"] < 160 and 0 < record["metrics.long.first_audio_s"] < 60
    assert record["metrics.digits.robot"] > 0.7 and 0 <= record["metrics.recordings.nearer"] <= 1
    assert numpy.isfinite([record[f"metrics.long.{k}"] for k in ("memory_mb", "f0_jump.joins", "level_jump_db.inside")]).all()


def test_what_cannot_be_tried_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        trials.main(["--voices", str(tmp_path)])
    assert stopped.value.code == 2 and "no voice in" in capsys.readouterr().err.splitlines()[-1]
