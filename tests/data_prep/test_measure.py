"""What combining costs: every figure is measured, and the costs of the full corpora follow from them."""

import pytest

from data_prep import measure
from rovolad_lib.speech import audio, robot


@pytest.fixture
def voices(tmp_path):
    for i in range(6):
        path = tmp_path / f"corpora/voices/ann/u{i}.wav"
        audio.save(path, robot.say(f"This is number {i}.", pitch=60, pitch_range=60))
        path.with_suffix(".txt").write_text(f"This is number {i}.", encoding="utf-8")
    return tmp_path / "corpora"


def test_making_leaves_the_files_whose_size_is_counted(voices, tmp_path):
    found, rate = measure.reading(voices)
    items = measure.draw(found, 4)
    assert len(found) == 6 and rate > 100 and len(items) == 4 and items == measure.draw(found, 4)
    seconds, took = measure.making(items, tmp_path / "data", 1)
    assert seconds == pytest.approx(sum(audio.info(item.path).duration for item in items)) and took > 0
    sizes = measure.disk(tmp_path / "data", seconds)
    for name, pattern in {"person": "audio_stylized*/*/*.flac", "robot": "audio_robot*/*/*.flac", "map": "**/*.npy"}.items():
        files = list((tmp_path / "data").glob(pattern))
        assert len(files) == 4
        assert sizes[name] == pytest.approx(sum(path.stat().st_size for path in files) / 1e6 / (seconds / 3600))


def test_costs_follow_from_rate_and_disk():
    rows = {name: rest for name, *rest in measure.costs(20.0, {"person": 60.0, "robot": 40.0, "map": 1.5})}
    assert rows["VCTK"] == [44, 2.2, pytest.approx(44 * 0.1015)]
    assert rows["GigaSpeech XL"] == [10_000, 500.0, pytest.approx(415.0)]  # pointed into, not copied
    assert set(rows) == set(measure.FULL)


def test_the_command_prints_tables(voices, capsys):
    measure.main(["--corpora", str(voices), "--utterances", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["| measured | value |", "| --- | --- |"]
    assert "| corpus | hours | core-hours | GB |" in lines and lines[-1].startswith("| GigaSpeech XL | 10,000 |")
    assert all(line.count("|") == lines[0].count("|") for line in lines[: lines.index("")])
