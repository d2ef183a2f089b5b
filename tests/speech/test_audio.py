import math

import numpy
import pytest
import soundfile
import torch

from rovolad_lib.speech import audio, spectral


def sine(hertz, seconds=1.0, rate=16000, level=0.1):
    return level * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_what_was_saved_is_loaded_with_its_tags(tmp_path, suffix):
    path = tmp_path / f"ä b{suffix}"
    audio.save(path, sine(440), tags={"comment": "synthetic speech, für alle", "artist": "demo"})
    assert audio.info(path) == audio.AudioInfo(16000, 16000, 1, 1.0)
    assert (audio.load(path) - sine(440)).abs().max() <= 1 / 32768
    assert audio.tags(path) == {"comment": "synthetic speech, für alle", "artist": "demo"}


def test_load_mixes_resamples_and_cuts(tmp_path):
    path = tmp_path / "stereo.wav"
    left, right = sine(300, 2, 48000), sine(700, 2, 48000)
    soundfile.write(path, torch.stack([left, right], 1).numpy(), 48000, "FLOAT")
    wave = audio.load(path)
    assert wave.shape == (32000,) and wave.dtype == torch.float32
    expected = (sine(300, 2) + sine(700, 2)) / 2
    assert (wave - expected)[200:-200].abs().max() < 1e-4
    part = audio.load(path, start=0.5, end=1.25)
    assert part.shape == (12000,)
    assert (part - wave[8000:20000])[200:-200].abs().max() < 1e-4
    assert audio.load(path, start=1.9, end=2.05).shape == (1600,)  # labels are rounded


def test_load_opus_cut_equals_the_whole(tmp_path):
    path = tmp_path / "long.opus"
    soundfile.write(path, (sine(200, 6) + sine(900, 6)).numpy(), 16000, format="OGG", subtype="OPUS")
    assert audio.info(path).sample_rate == 16000
    whole = audio.load(path)
    assert torch.equal(audio.load(path, start=2.5, end=4.0), whole[40000:64000])


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no audio file at .*gone.flac"):
        audio.load(tmp_path / "gone.flac")
    path = tmp_path / "a.wav"
    audio.save(path, sine(440))
    for start, end in [(-1, None), (0.5, 0.2), (0, 1.2), (1.05, None)]:
        with pytest.raises(ValueError, match="accepted are 0 <= start <= end <= 1.000 s"):
            audio.load(path, start=start, end=end)
    (tmp_path / "text.flac").write_text("no audio", encoding="utf-8")
    with pytest.raises(soundfile.LibsndfileError):
        audio.load(tmp_path / "text.flac")


def test_save_refuses_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.flac"
    audio.save(path, sine(440))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="1 not finite"):
        audio.save(path, torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        audio.save(path, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="colour.*accepted are title"):
        audio.save(path, sine(440), tags={"colour": "red"})
    with pytest.raises(ValueError, match="accepted suffixes are .flac and .wav"):
        audio.save(tmp_path / "a.mp3", sine(440))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_resample_length_and_identity():
    assert audio.resample(sine(440), 16000, 16000).shape == (16000,)
    assert audio.resample(torch.zeros(3, 1001), 22050, 16000).shape == (3, math.ceil(1001 * 16000 / 22050))
    assert audio.resample(torch.zeros(0), 8000, 16000).shape == (0,)


def rms_db(wave):
    return 20 * math.log10(wave.square().mean().sqrt())


def test_set_level_counts_active_frames_only():
    speech = torch.cat([torch.zeros(8000), sine(440, level=0.003), torch.zeros(8100)])
    assert rms_db(audio.set_level(speech)[8000:24000]) == pytest.approx(-26, abs=0.05)
    assert rms_db(audio.set_level(sine(440, 1.001), -20)) == pytest.approx(-20, abs=0.05)


def test_set_level_never_clips_and_leaves_silence():
    spike = torch.zeros(320)
    spike[7] = 0.5
    assert audio.set_level(spike, -3).abs().max() == 1
    assert torch.equal(audio.set_level(torch.zeros(500)), torch.zeros(500))
    assert audio.set_level(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 16000])
def test_log_mel_has_a_frame_each_10_ms(samples):
    mel = audio.log_mel(torch.zeros(2, samples), n_mels=64)
    assert mel.shape == (2, 64, math.ceil(samples / 160))
    assert torch.allclose(mel, torch.tensor(math.log(0.01)))


def test_log_mel_by_hand():
    wave = torch.randn(1600, generator=torch.Generator().manual_seed(0)) * 0.1
    frame = 4
    window = 0.5 - 0.5 * numpy.cos(2 * numpy.pi * numpy.arange(640) / 640)
    middle = 160 * frame + 80
    magnitude = numpy.abs(numpy.fft.rfft(wave[middle - 320 : middle + 320].numpy() * window))
    expected = numpy.log(audio.mel_filters().numpy() @ magnitude + 0.01)
    assert numpy.abs(audio.log_mel(wave)[:, frame].numpy() - expected).max() < 1e-3


@pytest.mark.parametrize("n_mels", [80, 100])
def test_every_mel_band_hears_something(n_mels):
    filters = audio.mel_filters(n_mels)
    assert filters.shape == (n_mels, 321) and filters.max(1).values.min() > 0.3
    loudest = audio.log_mel(sine(1000), n_mels)[:, 50].argmax()
    assert filters[loudest, 40] == filters[:, 40].max()  # bin 40 of 321 is 1,000 Hz


def test_phases_come_from_the_spectral_module():
    assert audio.griffin_lim is spectral.griffin_lim
