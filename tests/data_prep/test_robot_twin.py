"""What one utterance cannot help is quarantined; what would meet every utterance stops the run."""

import pandas
import pytest
import torch

from data_prep import robot_twin
from data_prep.corpora import Utterance
from rovolad_lib.files import sha256
from rovolad_lib.speech import audio, manifest, robot
from rovolad_lib.speech.align import align

SENTENCE = "The lazy dog sleeps in the warm sun, and the quick fox jumps over it."


@pytest.fixture
def job(tmp_path):
    """job(text): an utterance of a second of noise that is said to say a text."""

    def made(text):
        audio.save(tmp_path / "one.wav", torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 20)
        given = {"corpus": "c", "id": "one", "speaker": "s", "text": text, "language": "en", "path": tmp_path / "one.wav"}
        return robot_twin.job(Utterance(**given), tmp_path / "data")

    return made


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """An espeak library that does not load; the next worker is a sound one again."""
    (tmp_path / "libespeak-ng.so").write_bytes(b"this is no library")
    robot.close()
    with monkeypatch.context() as patch:
        patch.setattr(robot.espeakng_loader, "get_library_path", lambda: str(tmp_path / "libespeak-ng.so"))
        yield
    robot.close()


def test_a_text_without_a_sound_is_the_utterance_s_fault(job):
    with pytest.raises(ValueError, match="the robot makes no sound of"):
        robot_twin.make(job("..."))
    assert set(robot_twin.make(job("One."))) == {"duration", "verdict", "robot_method"}


def test_a_broken_espeak_stops_the_run(job, broken):
    with pytest.raises(RuntimeError, match="espeak-ng failed"):
        robot_twin.make(job("One."))


def test_a_folder_that_cannot_be_written_stops_the_run(job, tmp_path):
    made = job("One.")
    (tmp_path / "data").write_text("a file in its place", encoding="utf-8")
    with pytest.raises(OSError):
        robot_twin.make(made)


@pytest.fixture
def said(tmp_path):
    """said(text, seconds=None, rates=()): make an utterance of SENTENCE that is said to say a text: result, row, folder."""

    def made(text, seconds=None, rates=()):
        wave = robot.say(SENTENCE, rate=160, voice="en-us+f3", pitch=60, pitch_range=60)
        audio.save(tmp_path / "one.wav", wave[: round(seconds * 16000)] if seconds else wave)
        given = {"corpus": "c", "id": "one", "speaker": "s", "text": text, "language": "en", "path": tmp_path / "one.wav"}
        job = robot_twin.job(Utterance(**given), tmp_path / "data", rates=rates)
        result = robot_twin.make(job)
        row = {"id": "one", "robot_path": job.robot_path, "align_path": job.align_path, **result}
        return result, pandas.Series(row), tmp_path / "data"

    return made


def test_its_own_words_are_espeak_s_and_other_words_the_recording_flattened(said):
    result, row, data = said(SENTENCE)
    assert result["verdict"] == "good" and result["robot_method"] == "espeak"
    rate = robot_twin.rate_of(audio.load(data.parent / "one.wav"), SENTENCE, "en")
    assert (manifest.robot_wave(row, data) - robot.say(SENTENCE, "en", rate)).abs().max() < 1e-4  # 16 bits
    for text in ("My mother wants nine hundred yellow umbrellas for our garden party tomorrow.", None):
        result, row, data = said(text)
        assert result["robot_method"] == "flatten" and result["verdict"].startswith("poor: " if text else "good")
        wave = audio.load(data.parent / "one.wav")
        assert (manifest.robot_wave(row, data) - robot.flatten(wave)).abs().max() < 1e-4
        assert manifest.frame_map(row, data).tolist() == list(range(-(-len(wave) // 160)))


def test_a_recording_that_stops_early_has_a_robot_that_does(said):
    result, row, data = said(SENTENCE, seconds=2.0)
    assert result["verdict"].startswith("trimmed: the recording ends at") and result["robot_method"] == "espeak"
    spoken, frames = manifest.robot_wave(row, data), manifest.frame_map(row, data)
    assert len(frames) == 200 and len(spoken) == 160 * (frames[-1] + 1)


def test_further_rates_are_made_beside_the_first_and_the_same_every_time(said):
    _, row, data = said(SENTENCE, rates=(0.8, 1.25))
    files = sorted(data.glob("audio_robot_speaker/c-s/*"))
    stems = ["one", "one@0.8", "one@1.25"]
    assert [path.name for path in files] == sorted(stem + suffix for stem in stems for suffix in (".flac", ".npy"))
    lengths = {rate: len(manifest.robot_wave(row, data, rate)) for rate in (0.8, 1, 1.25)}
    assert lengths[0.8] / lengths[1] == pytest.approx(1.25, rel=0.1)
    assert lengths[1] / lengths[1.25] == pytest.approx(1.25, rel=0.1)
    for rate, length in lengths.items():
        frames = manifest.frame_map(row, data, rate)
        assert len(frames) == len(manifest.frame_map(row, data)) and 0.9 < frames[-1] / (length / 160) < 1
    before = [sha256(path) for path in files]
    said(SENTENCE, rates=(0.8, 1.25))
    assert [sha256(path) for path in files] == before


def test_a_recording_that_stops_long_before_its_text_is_found_at_espeak_s_own_rate(said):
    text = f"{SENTENCE} My mother wants nine hundred yellow umbrellas for our garden party tomorrow, and two green hats."
    wave = robot.say(SENTENCE, rate=115, voice="en-us+f3", pitch=60, pitch_range=60)
    assert robot_twin.rate_of(wave, text, "en") == robot_twin.FASTEST
    assert align(wave, robot.say(text, "en", robot_twin.FASTEST)).verdict.startswith("poor")
    rate, spoken, found = robot_twin.twin(wave, text, "en")
    assert rate == robot.DEFAULT_RATE
    assert torch.equal(spoken, robot.say(text, "en", robot.DEFAULT_RATE)) and found.verdict.startswith("trimmed")


def test_a_further_rate_stays_within_what_espeak_can(said):
    _, row, data = said(SENTENCE, rates=(0.25, 4.0))
    for rate, limit in ((0.25, 80), (4.0, 450)):
        assert len(manifest.robot_wave(row, data, rate)) == len(robot.say(SENTENCE, "en", limit))
