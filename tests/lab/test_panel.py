"""The studio's panel: what its controls say is what is said, and what goes wrong is told in it."""

from datetime import datetime

import ipywidgets as widgets
import pytest
import torch

from rovolad_lib import convert
from rovolad_lib.convert import SYNTHETIC, Converter
from rovolad_lib.lab import listen, panel, studio
from rovolad_lib.speech import references, robot
from rovolad_lib.speech.audio import load, save, set_level, tags

NOTES = {"prior": "robot", "corpus": "words", "languages": ["en"], "sources": "s", "licence": "l"}


@pytest.fixture
def converter(codec, denoiser):
    return Converter(codec, denoiser(**NOTES))


@pytest.fixture(scope="module")
def voices(encoded):
    return studio.voices(encoded.data, "val_seen", seconds=1.0)


@pytest.fixture
def shown(converter, voices, tmp_path):
    return panel.Panel(converter, voices, tmp_path)


def test_the_button_speaks_shows_and_moves_the_bar(converter, voices, shown):
    moves = []
    shown.bar.observe(lambda change: moves.append(change["new"]), "value")
    assert shown.voice.options == ("a", "b") and "heard en: words" in shown.heard.value and not shown.players.value
    shown.text.value, shown.voice.value, shown.steps.value = "Yes.", "b", 3
    shown.buttons["speak"].click()
    assert moves == [1, 2, 3] and shown.bar.max == 3 and " s of speech in " in shown.remark.value
    wave = converter("Yes.", [wave for _, wave in voices["b"]], steps=3, guidance=1.25)
    clips = {"robot": set_level(converter.robot("Yes.")), "result": wave, "reference": voices["b"][0][1]}
    assert shown.players.value == listen.grid([clips]).data and bytes(shown.picture.value).startswith(b"\x89PNG")
    assert [f"step {k} of 3" in shown.strip.value for k in (1, 2, 3)] == [True] * 3 and shown.strip.value.count("<audio") == 3
    shown.guidance.value = 2.0
    shown.buttons["speak"].click()
    assert shown.players.value != listen.grid([clips]).data


def test_every_control_reaches_the_converter(converter, voices, shown):
    shown.language.value, shown.sampler.value, shown.steps.value, shown.seed.value = "de", "ddim", 3, 7
    shown.rate.value = shown.pitch.value = True
    references = [wave for _, wave in voices["a"]]
    wanted = converter("Ja.", references, "de", 3, 1.25, sampler="ddim", seed=7, rate="reference", pitch="reference")
    assert torch.equal(shown.say("Ja.", "a"), wanted)
    for control, value in ((shown.seed, 8), (shown.steps, 4), (shown.sampler, "heun"), (shown.language, "en")):
        before, control.value = control.value, value
        other = shown.say("Ja.", "a")
        assert other.shape != wanted.shape or not torch.equal(other, wanted), control.description
        control.value = before


def test_a_grid_is_sentences_by_voices(shown):
    shown.text.value, shown.steps.value = "Yes.\n\nNo.", 1
    shown.buttons["grid"].click()
    assert shown.players.value.count("<audio") == 4 and shown.bar.value == 4
    assert "<th>text</th><th>a</th><th>b</th>" in shown.players.value and "<td>No.</td>" in shown.players.value


def test_what_was_said_is_saved_with_its_tag(shown, tmp_path):
    shown.buttons["save"].click()
    assert "nothing has been said yet" in shown.remark.value
    shown.text.value, shown.steps.value = "Yes, no.", 1
    shown.buttons["speak"].click()
    shown.buttons["save"].click()
    path = tmp_path / "a-yes-no.wav"
    assert path.name in shown.remark.value and tags(path)["comment"] == SYNTHETIC
    assert (load(path) - shown.made[2]).abs().max() < 1e-4


def uploaded(path):
    facts = {"type": "audio/wav", "size": 1, "last_modified": datetime.now()}
    return ({"name": path.name, "content": memoryview(path.read_bytes()), **facts},)


def test_a_recording_is_dropped_and_chosen(shown, tmp_path):
    wave = robot.say("One two three four five six.", f0=200.0)
    save(tmp_path / "me.wav", wave)
    shown.upload.set_trait("value", uploaded(tmp_path / "me.wav"))
    assert shown.voice.value == "me.wav" and "me.wav is a voice now" in shown.remark.value
    assert (shown.voices["me.wav"][0] - set_level(wave)).abs().max() < 1e-3
    (tmp_path / "notes.txt").write_text("no sound", encoding="utf-8")
    shown.upload.set_trait("value", uploaded(tmp_path / "notes.txt"))
    assert "notes.txt is no recording" in shown.remark.value and shown.voice.value == "me.wav"


def test_a_shipped_voice_stands_first_and_is_played(codec, converter, voices, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "VOICES", tmp_path / "voices.safetensors")
    wave = robot.say("One two three four five six.", f0=200.0)
    references.ship(convert.VOICES, {"ann": {"wave": wave, "licence": "CC0", "source": "espeak-ng"}}, codec)
    shown = panel.Panel(converter, voices, tmp_path)
    assert shown.voice.options == ("ann", "a", "b")
    shown.text.value, shown.steps.value = "Yes.", 1
    shown.buttons["speak"].click()
    wanted = converter("Yes.", "ann", steps=1, guidance=1.25)
    assert torch.equal(shown.made[2], wanted) and shown.players.value.count("<audio") == 3


def test_another_model_is_loaded_and_says_what_it_heard(converter, voices, denoiser, codec, tmp_path):
    other = denoiser(**NOTES | {"languages": ["pl"], "autoencoder": codec.fingerprint()})
    other.save(tmp_path / "denoiser_pl.safetensors")
    shown = panel.Panel(converter, voices, tmp_path, [tmp_path / "denoiser_pl.safetensors"])
    assert shown.model.options[1][0] == "denoiser_pl"
    shown.model.value = tmp_path / "denoiser_pl.safetensors"
    assert "heard pl" in shown.heard.value and shown.converter is not converter and not shown.remark.value
    shown.model.value = None
    assert "heard en" in shown.heard.value and shown.converter is converter


def test_an_error_is_told_in_the_panel(shown):
    shown.language.value = "xx"
    shown.buttons["speak"].click()
    assert "<b>ValueError</b>" in shown.remark.value and "xx" in shown.remark.value and not shown.players.value
    assert isinstance(shown.view, widgets.VBox)
