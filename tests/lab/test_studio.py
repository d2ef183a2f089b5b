import pytest
import torch

from rovolad_lib import convert
from rovolad_lib.convert import SYNTHETIC, Converter
from rovolad_lib.lab import studio
from rovolad_lib.metrics import signal
from rovolad_lib.speech import manifest, references, robot
from rovolad_lib.speech.audio import load, save, set_level, tags


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
    assert list(plain) == ["voice", "text", "robot", "result", "file", "reference"] and plain["file"] == "words-a-one-two.wav"
    assert torch.equal(plain["result"], converter("One, two!", job["references"], steps=1, seed=3))
    robot = set_level(converter.robot("One, two!"))
    assert plain["reference"] is voices["a"][0][1]
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


@pytest.fixture
def shipped(codec, tmp_path, monkeypatch):
    """A shipped voice, ann."""
    monkeypatch.setattr(convert, "VOICES", tmp_path / "voices.safetensors")
    wave = robot.say("One two three four five six.", f0=200.0)
    references.ship(convert.VOICES, {"ann": {"wave": wave, "licence": "CC0", "source": "espeak-ng"}}, codec)


def test_a_shipped_voice_says_a_text_by_its_name(encoded, voices, shipped):
    (job,) = studio.jobs(voices, "Hello.", voice="ann")
    assert (job["voice"], job["references"]) == ("ann", ["ann"])
    assert studio.jobs({}, "Hello.")[0]["references"] == ["ann"]
    with pytest.raises(ValueError, match="voice 'ann'; accepted: a, b$"):
        studio.jobs(voices, "", voice="ann")  # it has no take of its own to say
    assert studio.corpus_of(encoded.data, "ann") is None and studio.corpus_of(encoded.data, "b") == "words"
    with pytest.raises(ValueError, match="voice 'eve' is not in"):
        studio.corpus_of(encoded.data, "eve")


def test_a_reference_is_a_wave_a_file_or_a_shipped_voice(converter, voices, shipped, tmp_path):
    wave = voices["a"][0][1]
    save(tmp_path / "a.wav", wave)
    assert studio.sounding(converter, wave) is wave
    assert (studio.sounding(converter, str(tmp_path / "a.wav")) - wave).abs().max() < 1e-3
    latents = references.latents(convert.VOICES, "ann", converter.autoencoder.fingerprint())
    played, decoded = studio.sounding(converter, "ann"), converter.autoencoder.decode(latents[None])[0]
    assert (played - decoded / decoded.abs().max().clamp(min=1)).abs().max() < 1e-3  # a player takes no more than 1


def test_what_the_model_has_heard_is_said(codec, denoiser):
    notes = {"corpus": "spoken_digits, mine", "languages": ["de", "en"], "sources": "me", "licence": "CC0"}
    said = studio.heard(Converter(codec, denoiser(prior="robot", **notes)))
    assert said.startswith("This model has heard de, en: single digits, mine (me; licence CC0).")


def test_the_last_estimate_of_a_forming_sample_is_the_sample(converter, voices):
    estimates, reference = [], voices["a"][0][1]
    made = converter("Yes.", reference, steps=12, callback=lambda step, reached, state, x0: estimates.append(x0))
    clips = studio.forming(converter, estimates)
    assert list(clips) == [f"step {k} of 12" for k in (1, 3, 4, 6, 7, 9, 10, 12)]
    last = clips["step 12 of 12"]
    assert (last[: len(made) - 2000] - made[: len(made) - 2000]).abs().max() < 0.03 * made.abs().max()  # but for the cut end
    assert (clips["step 1 of 12"] - last).abs().max() > 0.3 * made.abs().max()
