"""The fundamental frequency of a voice."""

import math

import torch
from torch.nn import functional

from rovolad_lib.speech import audio
from rovolad_lib.speech.spectral import HOP

LOWEST_HZ, HIGHEST_HZ = 60, 500
WINDOW = 640  # 40 ms
VOICED = 0.5  # normalised autocorrelation above which a frame is voiced
SHORTER = 0.03  # what a period must gain by doubling, or half the pitch would win as often
SILENCE = 1e-4  # energy over the loudest frame's


def f0(wave):
    """Return the fundamental frequency of a wave in each 10 ms frame.

    wave: (S,) at 16 kHz. Returns (F,) in Hz, 60 to 500, F = ceil(S / 160), 0 where the frame is not voiced: the peak of
    the normalised autocorrelation of 40 ms, refined by a parabola, then a median over five frames.
    source: Talkin 1995 (normalised cross-correlation), without its path search.
    """
    shortest, longest = audio.SAMPLE_RATE // HIGHEST_HZ, audio.SAMPLE_RATE // LOWEST_HZ  # samples
    count, span, lags = -(-len(wave) // HOP), WINDOW + longest + 1, longest + 2
    padded = functional.pad(wave.float(), ((span - HOP) // 2, span + count * HOP - len(wave)))
    frames = padded.unfold(0, span, HOP)[:count]
    frames = frames - frames.mean(1, keepdim=True)  # (F, span)
    spectrum = torch.fft.rfft(frames, 2 * span)
    cross = torch.fft.irfft(torch.fft.rfft(frames[:, :WINDOW], 2 * span).conj() * spectrum)[:, :lags]
    total = functional.pad(frames.square().cumsum(1), (1, 0))
    energy = total[:, WINDOW : WINDOW + lags] - total[:, :lags]
    score = cross / (energy[:, :1] * energy).clamp(min=1e-12).sqrt()  # (F, lags)
    doublings = torch.log2(torch.arange(shortest, longest + 1) / shortest)
    best = (score[:, shortest : longest + 1] - SHORTER * doublings).argmax(1, keepdim=True) + shortest
    before, peak, after = (score.gather(1, best + step)[:, 0] for step in (-1, 0, 1))
    shift = (0.5 * (before - after) / (before - 2 * peak + after).clamp(max=-1e-6)).clamp(-0.5, 0.5)
    voiced = (peak > VOICED) & (energy[:, 0] > SILENCE * energy[:, 0].max())
    hz = torch.where(voiced, audio.SAMPLE_RATE / (best[:, 0] + shift), 0.0)
    return functional.pad(hz, (2, 2)).unfold(0, 5, 1).median(1).values


def median_f0(wave):
    """Return the median fundamental frequency of a wave's voiced frames in Hz, 0.0 where there are none; (S,) at 16 kHz."""
    hz = f0(wave)
    return float(hz[hz > 0].median()) if (hz > 0).any() else 0.0


def semitones(hz, reference):
    """Return how many semitones lie between two frequencies, without sign; nan where one is 0."""
    return abs(12 * math.log2(hz / reference)) if hz > 0 and reference > 0 else math.nan
