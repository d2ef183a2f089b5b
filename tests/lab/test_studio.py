import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
import torch
from IPython.display import HTML

from rovolad_lib.convert import SYNTHETIC, Converter
from rovolad_lib.lab import studio
from rovolad_lib.metrics import signal
from rovolad_lib.speech import manifest
from rovolad_lib.speech.audio import load, set_level, tags


@pytest.fixture(scope="module")
def converter(codec, denoiser):
    return Converter(codec, denoiser(prior="robot"))


@pytest.fixture(scope="module")
def voices(encoded):
    return studio.voices(encoded.data, "val_seen", seconds=1.0)


def test_voices_are_recordings_of_a_split_up_to_some_seconds(encoded, voices):
    ids = {name: [row.id for row, _ in held] for name, held in voices.items()}
    assert ids == {"a": ["10", "11", "12"], "b": ["15", "16", "17"]}
    for row, wave in voices["a"]:
        assert torch.equal(wave, set_level(manifest.wave(row, encoded.data.folder)))
    assert {len(held) for held in studio.voices(encoded.data, "val_seen", seconds=0.1).values()} == {2}
    assert studio.voices(encoded.data) == {}  # no test takes here


def test_who_has_no_name_is_no_voice(encoded):
    table = encoded.data.table.assign(speaker=["a"] * 15 + [None] * 5)
    assert list(studio.voices(type(encoded.data)(table, encoded.data.folder, "", False), "val_seen")) == ["a"]


def test_a_voice_s_first_recording_is_said_and_its_other_words_are_heard(voices):
    one, two = studio.held_out(voices)
    assert (one["text"], one["language"], one["voice"]) == ("five", "en", "a") and two["voice"] == "b"
    assert one["own"] is voices["a"][0][1]
    assert [r is w for r, (_, w) in zip(one["references"], voices["a"][1:], strict=True)] == [True, True]
    again = {"a": [voices["a"][0], voices["a"][0], voices["a"][1]], "b": [voices["b"][0]] * 2, "c": voices["b"][:1]}
    (job,) = studio.held_out(again)  # the same words again are no reference, and without one there is no job
    assert job["voice"] == "a" and len(job["references"]) == 1 and job["references"][0] is voices["a"][1][1]


def test_results_are_written_tagged_and_measured_against_the_own_recording(converter, voices, tmp_path):
    job = {"text": "One, two!", "language": "en", "voice": "words-a", "references": [voices["a"][0][1]], "own": None}
    (plain,) = studio.render(converter, [job], tmp_path / "new", steps=1, seed=3)
    assert list(plain) == ["voice", "text", "robot", "result", "file"] and plain["file"] == "words-a-one-two.wav"
    assert torch.equal(plain["result"], converter("One, two!", job["references"], steps=1, seed=3))
    robot = set_level(converter.robot("One, two!"))
    assert torch.equal(plain["robot"], robot)
    path = tmp_path / "new" / plain["file"]
    assert tags(path)["comment"] == SYNTHETIC and (load(path) - plain["result"]).abs().max() < 1e-4
    jobs = [job | {"own": own, "voice": name} for name, own in (("?", plain["result"]), ("ü", robot))]
    best, worst = studio.render(converter, jobs, tmp_path, steps=1, seed=3)
    apart = signal.mel_distance(plain["result"], robot)
    assert best["nearer"] is True and best["distance"] == f"0.00 nat, robot {apart:.2f}"
    assert best["own recording"] is jobs[0]["own"]
    assert worst["nearer"] is False and worst["distance"] == f"{apart:.2f} nat, robot 0.00" and apart > 0.05
    assert sorted(p.name for p in tmp_path.glob("*.wav")) == ["voice-one-two.wav", "ü-one-two.wav"]


def parts(widget, kind):
    """All widgets of a kind inside a widget, in order."""
    found = [widget] if isinstance(widget, kind) else []
    return found + [one for child in getattr(widget, "children", ()) for one in parts(child, kind)]


def test_the_button_speaks_shows_and_moves_the_bar(converter, voices, monkeypatch):
    shown, moves = [], []
    monkeypatch.setattr(studio, "display", shown.append)  # no kernel here that would show it
    panel = studio.panel(converter, voices)
    (text,), (button,), (bar,) = (parts(panel, kind) for kind in (widgets.Textarea, widgets.Button, widgets.IntProgress))
    language, voice = parts(panel, widgets.Dropdown)
    (steps,), (out,) = parts(panel, widgets.IntSlider), parts(panel, widgets.Output)
    assert voice.options == ("a", "b") and "de" in language.options and out.outputs == ()
    bar.observe(lambda change: moves.append(change["new"]), "value")
    text.value, voice.value, steps.value = "Yes.", "b", 3
    button.click()
    assert moves == [1, 2, 3] and bar.max == 3
    players, figure = shown
    assert isinstance(players, HTML) and players.data.count("<audio") == 3
    assert [axis.get_title() for axis in figure.axes] == ["robot", "result", "reference"] and not plt.get_fignums()
    result = converter("Yes.", [wave for _, wave in voices["b"]], steps=3)
    assert studio.listen.grid([{"robot": set_level(converter.robot("Yes.")), "result": result,
                                "reference": voices["b"][0][1]}]).data == players.data  # fmt: skip
    steps.value = 1
    button.click()
    assert moves[3:] == [0, 1] and bar.max == 1 and shown[2].data != players.data


def test_without_a_text_every_voice_or_one_says_its_held_out_take(voices):
    assert [job["voice"] for job in studio.jobs(voices)] == ["a", "b"]
    (one,) = studio.jobs(voices, voice="b")
    assert one["own"] is voices["b"][0][1] and one["text"] == "five"
    assert [r is w for r, (_, w) in zip(one["references"], voices["b"][1:], strict=True)] == [True, True]


def test_a_text_is_said_in_the_first_voice_the_named_one_or_a_reference(voices):
    (first,), (named,) = studio.jobs(voices, "Hello."), studio.jobs(voices, "Hallo.", "de", "b")
    assert (first["text"], first["language"], first["voice"], first["own"]) == ("Hello.", "en", "a", None)
    assert (named["text"], named["language"], named["voice"], named["own"]) == ("Hallo.", "de", "b", None)
    for job in (first, named):
        assert [r is w for r, (_, w) in zip(job["references"], voices[job["voice"]], strict=True)] == [True] * 3
    for found in (voices, {}):
        (one,), (two,) = studio.jobs(found, "Hi.", reference="me.wav"), studio.jobs(found, "Hi.", reference=["a.wav", "b.wav"])
        assert one["references"] == ["me.wav"] and two["references"] == ["a.wav", "b.wav"]
        assert one["voice"] == two["voice"] == "reference" and one["own"] is None
    (both,) = studio.jobs(voices, "Hi.", voice="b", reference="b.wav")
    assert (both["voice"], both["references"]) == ("b", ["b.wav"])


@pytest.mark.parametrize("text", ["", "Hello."])
def test_an_unknown_voice_is_answered_with_those_there_are(voices, text):
    with pytest.raises(ValueError, match="voice 'c'; accepted: a, b"):
        studio.jobs(voices, text, voice="c")
    with pytest.raises(ValueError, match="voice None; accepted: none: no speaker has test takes here"):
        studio.jobs({}, text)
    with pytest.raises(ValueError, match="voice None; accepted: none"):
        studio.jobs({}, "", reference="me.wav")  # a reference has nothing to say
