"""Bad recordings get a clear message, odd ones a right result; shipped voices are what was written."""

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from rovolad_lib.speech import references, robot

TIME = torch.arange(48000) / 16000
CHORD = sum(torch.sin(2 * torch.pi * f * TIME) for f in (220, 277, 330)) / 6
NOISE = torch.randn(48000, generator=torch.Generator().manual_seed(0)) / 20
SPEECH = robot.say("How are you today, my dear old friend?")
BAD = {
    "silence": (torch.zeros(48000), "3.00 s of silence; accepted: speech"),
    "short": (SPEECH[3200:6400], "0.20 s of sound; accepted: 1 s of speech or more"),
    "chord": (CHORD, "as steady as noise or music, its level moves by 2.1 dB; accepted: speech"),
    "noise": (NOISE, "as steady as noise or music, its level moves by 0.5 dB"),
    "nan": (SPEECH.clone().index_fill(0, torch.tensor([5]), torch.nan), "1 samples not finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_shows_no_voice_is_refused_by_name(tmp_path, name):
    sound, said = BAD[name]
    soundfile.write(tmp_path / f"{name}.wav", sound.numpy(), 16000, "FLOAT")
    with pytest.raises(ValueError, match=f"{name}.wav: .*{said}"):
        references.read(tmp_path / f"{name}.wav")
    with pytest.raises(ValueError, match=said):
        references.check(sound)


def test_a_text_file_is_no_recording(tmp_path):
    for name in ("a.txt", "b.wav"):
        (tmp_path / name).write_text("hello", encoding="utf-8")
        with pytest.raises(ValueError, match=f"{name} is no recording: .*accepted: flac, wav, ogg, opus"):
            references.read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none.wav"):
        references.read(tmp_path / "none.wav")


def test_odd_recordings_are_read_and_what_was_made_of_them_is_said(tmp_path):
    soundfile.write(tmp_path / "good.wav", SPEECH.numpy(), 16000)
    wave, remarks = references.read(tmp_path / "good.wav")
    assert remarks == [] and (wave - SPEECH).abs().max() < 1e-4
    soundfile.write(tmp_path / "low.wav", SPEECH[::2].numpy(), 8000)
    wave, remarks = references.read(tmp_path / "low.wav")
    assert len(wave) == len(SPEECH[::2]) * 2 and remarks == ["low.wav: 8000 Hz, so of the voice only what lies below 4 kHz"]
    soundfile.write(tmp_path / "two.wav", torch.stack([SPEECH, 0 * SPEECH], 1).numpy(), 16000)
    wave, remarks = references.read(tmp_path / "two.wav")
    assert (wave - SPEECH / 2).abs().max() < 1e-4 and remarks == ["two.wav: the mean of 2 channels"]
    soundfile.write(tmp_path / "long.wav", SPEECH.repeat(40).numpy(), 16000)
    wave, (remark,) = references.read(tmp_path / "long.wav")
    assert len(wave) == 60 * 16000 and remark == f"long.wav: the first 60 of {len(SPEECH) * 40 / 16000:.0f} s"


def test_shipped_voices_are_latents_of_three_seconds_with_their_licence(codec, tmp_path):
    path, long = tmp_path / "voices.safetensors", SPEECH.repeat(3)
    facts = {"licence": "CC0", "source": "espeak-ng"}
    references.ship(path, {"ann": {"wave": long, **facts}, "bob": {"wave": SPEECH, **facts}}, codec)
    known = references.shipped(path)
    assert [(k, v["licence"], v["source"]) for k, v in known.items()] == [(n, "CC0", "espeak-ng") for n in ("ann", "bob")]
    found = references.latents(path, "ann", codec.fingerprint())
    assert found.shape == (6, 150) and found.dtype == torch.float32 and references.shipped(tmp_path / "none") == {}
    assert torch.equal(found, codec.encode(references.set_level(long)[None])[0, :, :150].half().float())
    with pytest.raises(ValueError, match="no shipped voice 'eve'; accepted: ann, bob"):
        references.latents(path, "eve", codec.fingerprint())
    with pytest.raises(ValueError, match=f"latents of autoencoder {codec.fingerprint()}, got other"):
        references.latents(path, "ann", "other")
    with pytest.raises(ValueError, match="'eve' has licence None and source 'x'; both are needed"):
        references.ship(path, {"eve": {"wave": SPEECH, "source": "x"}}, codec)
    with references.reading(path) as file:
        metadata = file.metadata()
    save_file(load_file(path) | {"bob": torch.zeros(6, 9).half()}, path, metadata)
    with pytest.raises(ValueError, match="'bob' of voices.safetensors is damaged"):
        references.latents(path, "bob", codec.fingerprint())
