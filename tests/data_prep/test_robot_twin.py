"""What one utterance cannot help is quarantined; what would meet every utterance stops the run."""

import pytest
import torch

from data_prep import robot_twin
from data_prep.corpora import Utterance
from rovolad_lib.speech import audio, robot


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
    assert robot_twin.make(job("...")).startswith("ValueError: the robot makes no sound of")
    assert set(robot_twin.make(job("One."))) == {"duration", "verdict"}


def test_a_broken_espeak_stops_the_run(job, broken):
    with pytest.raises(RuntimeError, match="espeak-ng failed"):
        robot_twin.make(job("One."))


def test_a_folder_that_cannot_be_written_stops_the_run(job, tmp_path):
    made = job("One.")
    (tmp_path / "data").write_text("a file in its place", encoding="utf-8")
    with pytest.raises(OSError):
        robot_twin.make(made)
