"""Short-time Fourier transform and Griffin-Lim whose results do not depend on what an item was batched with.

A window is exactly four hops long and frame i is centred on sample (i + 1/2) hop, so a wave of S samples has ceil(S / hop)
frames, overlap-add is four shifted sums, and frames beyond an item's end can be left out exactly.
"""

import math

import torch
import torch.nn.functional as F

HOP = 160  # 10 ms at 16 kHz
WINDOW = 4 * HOP
BINS = WINDOW // 2 + 1
EDGE = (WINDOW - HOP) // 2  # samples of silence in front of the first frame


def stft(wave):
    """Return the complex spectrum of a wave, zeros on either side.

    wave: (..., S) samples. Returns (..., F, 321) complex with F = ceil(S / 160).
    """
    samples = wave.shape[-1]
    frames = math.ceil(samples / HOP)
    if not frames:
        return torch.zeros(*wave.shape[:-1], 0, BINS, dtype=torch.complex64, device=wave.device)
    padded = F.pad(wave, (EDGE, EDGE + frames * HOP - samples))
    window = torch.hann_window(WINDOW, dtype=wave.dtype, device=wave.device)
    return torch.fft.rfft(padded.unfold(-1, WINDOW, HOP) * window)  # (..., F, 321)


def istft(spectrum, mask=None):
    """Return the least-squares wave of a spectrum, `stft`'s inverse.

    spectrum: (N, F, 321) complex; mask: (N, F) bool, True where a frame is real (None: all). Returns (N, F * 160) samples,
    zero beyond each item's last real frame. source: Griffin and Lim 1984, eq. 6.
    """
    window = torch.hann_window(WINDOW, dtype=spectrum.real.dtype, device=spectrum.device)
    real = torch.ones(spectrum.shape[:2], dtype=torch.bool, device=spectrum.device) if mask is None else mask
    weight = real.to(window.dtype).unsqueeze(-1)  # (N, F, 1)
    wave = _overlap_add(torch.fft.irfft(spectrum, n=WINDOW) * window * weight)
    envelope = _overlap_add(window.square() * weight)
    return wave / envelope.clamp(min=1e-8) * weight.expand(-1, -1, HOP).flatten(1)  # (N, F * 160)


def griffin_lim(magnitude, mask=None, iterations=32, momentum=0.99, seed=0):
    """Find a wave whose spectrum has the given magnitude, by fast Griffin-Lim from a fixed random phase.

    magnitude: (N, F, 321); mask: (N, F) bool or None. Returns (N, F * 160) samples. source: Perraudin 2013, algorithm 2.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(magnitude.shape[1:], generator=generator, dtype=torch.float64) * 2 * math.pi
    phase = torch.polar(torch.ones_like(start), start).to(magnitude.device, torch.complex64)  # one for all items
    previous = 0
    for _ in range(iterations):
        rebuilt = stft(istft(magnitude * phase, mask))
        ahead = rebuilt - momentum / (1 + momentum) * previous
        phase = ahead / (ahead.abs() + 1e-9)
        previous = rebuilt
    return istft(magnitude * phase, mask)


def _overlap_add(frames):
    """Sum windows (N, F, 640) that start one hop apart and cut the edges: (N, F * 160)."""
    parts = frames.unflatten(-1, (4, HOP))  # (N, F, 4, 160)
    total = sum(F.pad(parts[:, :, k], (0, 0, k, 3 - k)) for k in range(4))  # (N, F + 3, 160)
    return total.flatten(1)[:, EDGE : EDGE + frames.shape[1] * HOP]
