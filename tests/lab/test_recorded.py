"""Voices and texts from the disk: halves that do not overlap, and everything that is left out has a name and a reason."""

import pytest
import torch

from rovolad_lib.lab import recorded
from rovolad_lib.metrics import words
from rovolad_lib.speech import robot
from rovolad_lib.speech.audio import save, set_level

SPEECH = robot.say("The quick brown fox jumps over the lazy dog.")


def test_every_second_recording_is_a_reference(tmp_path, capsys):
    for k in range(5):
        save(tmp_path / f"ann/{k}.wav", SPEECH[: 30000 + 1000 * k])
    for k, name in enumerate(("bob 1", "bob-2", "bob_3")):
        save(tmp_path / f"{name}.wav", SPEECH[: 26000 + 1000 * k])
    found = recorded.voices(tmp_path)
    assert {name: [[len(wave) for wave in half] for half in voice] for name, voice in found.items()} == {
        "ann": [[30000, 32000, 34000], [31000, 33000]], "bob": [[26000, 28000], [27000]],
    } and capsys.readouterr().out == ""  # fmt: skip
    assert (found["ann"].held[0] - set_level(SPEECH[:31000])).abs().max() < 1e-3  # at the house's level


def test_a_half_is_a_minute_at_most(tmp_path):
    for k in range(8):
        save(tmp_path / f"ann/{k}.wav", SPEECH.repeat(20)[: 25 * 16000])
    assert [len(half) for half in recorded.voices(tmp_path)["ann"]] == [3, 3]


def test_what_cannot_be_used_is_named_with_its_reason(tmp_path, capsys):
    for k in range(2):
        save(tmp_path / f"ann/{k}.wav", SPEECH)
        save(tmp_path / f"hum/{k}.wav", torch.sin(torch.arange(32000) / 20) / 3)
    save(tmp_path / "ann/9.wav", torch.zeros(16000))
    (tmp_path / "ann/notes.txt").write_text("not audio", encoding="utf-8")
    save(tmp_path / "eve.wav", SPEECH)
    assert list(recorded.voices(tmp_path)) == ["ann"]
    lines = capsys.readouterr().out.splitlines()
    for line, (name, reason) in zip(sorted(lines), sorted([
        ("ann/9.wav", "silent"), ("ann/notes.txt", "is no recording"), ("recordings of eve", "1 usable; accepted: two or more"),
        ("recordings of hum", "steady as noise or music"),
    ]), strict=True):  # fmt: skip
        assert line.startswith(f"left out: {name}: ") and reason in line, line


def test_a_folder_without_voices_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no voice in .*accepted: a sub-folder a speaker"):
        recorded.voices(tmp_path)
    with pytest.raises(ValueError, match="no folder .*none"):
        recorded.voices(tmp_path / "none")


def test_the_own_texts_are_twenty_of_each_language_and_can_be_recognised():
    said = recorded.texts()
    assert [language for language, _ in said] == ["en"] * 20 + ["de"] * 20 and len(set(said)) == 40
    english = [words.plain(text) for language, text in recorded.texts(language="en")]
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    wave = robot.say("Nobody knows why the clock on the tower stopped at noon.")
    assert words.recognise([wave], english) == ["nobody knows why the clock on the tower stopped at noon"]


def test_a_line_may_name_its_language(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("One.\n\nde\tZwei. \n  Drei.\n", encoding="utf-8")
    assert recorded.texts(path) == [("en", "One."), ("de", "Zwei."), ("en", "Drei.")]
    assert recorded.texts(path, "de") == [("de", "One."), ("de", "Zwei."), ("de", "Drei.")]
    path.write_text("de\tZwei.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="texts.txt: 1 texts, none in en"):
        recorded.texts(path, "en")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="texts.txt is no text file"):
        recorded.texts(path)


def test_neighbours_are_grouped_until_they_last_long_enough():
    waves = [torch.zeros(2 * 16000)] * 7
    assert recorded.groups(waves, 4.0) == [[0, 1], [2, 3], [4, 5, 6]]
    assert recorded.groups(waves[:6], 4.0) == [[0, 1], [2, 3], [4, 5]] and recorded.groups(waves[:1], 4.0) == [[0]]
