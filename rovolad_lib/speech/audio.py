"""Waves on disk and in memory, level and mel spectrum; the only module that imports torchaudio or soundfile."""

import io
import math
from collections import namedtuple
from functools import lru_cache
from pathlib import Path

import soundfile
import torch
import torchaudio.functional

from rovolad_lib.files import replacing
from rovolad_lib.speech.spectral import BINS, HOP, griffin_lim, stft  # noqa: F401 - read from here too

SAMPLE_RATE = 16000
MEL_FLOOR = 1e-2
TAGS = ("title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
ROUNDING_S = 0.1


# what a file's header says: sample_rate in Hz, frames (samples per channel), channels, duration in seconds
AudioInfo = namedtuple("AudioInfo", "sample_rate frames channels duration")


def _existing(path):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no audio file at {path}")
    return path


def info(path):
    """Read the header of an audio file.

    path: flac, wav, ogg or opus. Opus reports the rate it decodes at (8, 12, 16, 24 or 48 kHz), not always the
        recording's.
    returns: AudioInfo.
    errors: FileNotFoundError; soundfile.LibsndfileError where the file is no audio.
    """
    header = soundfile.info(str(_existing(path)))
    return AudioInfo(header.samplerate, header.frames, header.channels, header.frames / header.samplerate)


def load(path, sample_rate=SAMPLE_RATE, start=None, end=None):
    """Read a file, or a part of it, as one channel at the rate asked for.

    path: flac, wav, ogg or opus; several channels are averaged.
    sample_rate: Hz of the result.
    start, end: seconds; an end up to 0.1 s behind the file's is taken as the file's (labels are rounded).
    returns: (S,) float32.
    errors: FileNotFoundError; ValueError where start and end do not lie in the file; soundfile.LibsndfileError.
    """
    with soundfile.SoundFile(str(_existing(path))) as file:
        rate, frames = file.samplerate, file.frames
        first = round((start or 0) * rate)
        last = frames if end is None else round(end * rate)
        if not 0 <= first <= last <= frames + ROUNDING_S * rate or first > frames:
            inside = f"0 <= start <= end <= {frames / rate:.3f} s"
            raise ValueError(f"{path}: asked for {start} to {end} s; accepted are {inside}")
        file.seek(first)
        samples = file.read(min(last, frames) - first, dtype="float32", always_2d=True)  # (S, channels)
    return resample(torch.from_numpy(samples).mean(1), rate, sample_rate)


def save(path, wave, sample_rate=SAMPLE_RATE, tags=None):
    """Write a wave as 16-bit FLAC or WAV, whole or not at all.

    path: a name that ends in .flac or .wav.
    wave: (S,) samples; what lies beyond -1 or 1 is clipped.
    sample_rate: Hz.
    tags: texts for the file's metadata by name, such as {"comment": "synthetic speech"}; names in TAGS.
    errors: ValueError for another suffix, an unknown tag, a wave of another shape, or samples that are not finite.
    """
    path, wave = Path(path), torch.as_tensor(wave).detach().cpu().float()
    if path.suffix.lower() not in (".flac", ".wav"):
        raise ValueError(f"cannot write {path.name}: accepted suffixes are .flac and .wav")
    if wave.ndim != 1 or not torch.isfinite(wave).all():
        bad = int((~torch.isfinite(wave)).sum())
        raise ValueError(f"cannot write {path.name}: accepted is (S,) finite, not {tuple(wave.shape)}, {bad} not finite")
    if unknown := sorted(set(tags or {}) - set(TAGS)):
        raise ValueError(f"unknown tags {unknown}; accepted are {', '.join(TAGS)}")
    encoded = io.BytesIO()  # a full disk is Python's to report: libsndfile does not always
    with soundfile.SoundFile(encoded, "w", sample_rate, 1, "PCM_16", format=path.suffix[1:].upper()) as file:
        for name, text in (tags or {}).items():
            setattr(file, name, text)  # libsndfile takes them only before the samples
        file.write(wave.clamp(-1, 1).numpy())
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def tags(path):
    """Return the texts in a file's metadata, {name: text}, for the names in TAGS that it carries."""
    with soundfile.SoundFile(str(_existing(path))) as file:
        return {name: text for name, text in file.copy_metadata().items() if name in TAGS and text}


def resample(wave, rate, to=SAMPLE_RATE):
    """Change the sample rate by windowed-sinc interpolation.

    wave: (..., S) samples at `rate` Hz. returns: (..., ceil(S * to / rate)) samples at `to` Hz.
    """
    if rate == to or not wave.shape[-1]:
        return wave
    return torchaudio.functional.resample(wave, rate, to)


def set_level(wave, level_db=-26.0):
    """Scale a wave so that its active speech has the level asked for.

    wave: (S,) samples.
    level_db: RMS in dB of full scale over the 20 ms frames that lie within 40 dB of the loudest.
    returns: (S,); silence stays silence, and the gain stops where a sample would pass -1 or 1.
    """
    peak = wave.abs().max() if len(wave) else torch.tensor(0.0)
    if peak == 0:
        return wave
    padded = torch.nn.functional.pad(wave.double(), (0, -len(wave) % 320)).reshape(-1, 320)
    counts = torch.full((len(padded),), 320.0, dtype=torch.float64, device=wave.device)
    counts[-1] -= -len(wave) % 320
    energies = padded.square().sum(1)
    active = energies / counts >= 1e-4 * (energies / counts).max()
    power = energies[active].sum() / counts[active].sum()
    return wave * min(10 ** (level_db / 20) / math.sqrt(power), 1 / float(peak))


@lru_cache
def mel_filters(n_mels=80, bins=BINS):
    """Return the triangular filters (n_mels, bins) on Slaney's mel scale from 0 to 8 kHz, of height 1."""
    top = SAMPLE_RATE / 2
    filters = torchaudio.functional.melscale_fbanks(bins, 0.0, top, n_mels, SAMPLE_RATE, mel_scale="slaney")
    return filters.T.contiguous()  # (n_mels, bins)


def log_mel(wave, n_mels=80):
    """Return the natural logarithm of the mel magnitudes plus a floor of 0.01.

    wave: (..., S) samples at 16 kHz. returns: (..., n_mels, F), F = ceil(S / 160).
    """
    return torch.log(mel_filters(n_mels).to(wave.device) @ stft(wave).abs().mT + MEL_FLOOR)
