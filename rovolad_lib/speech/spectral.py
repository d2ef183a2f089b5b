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


def griffin_lim(magnitude, mask=None, iterations=32, momentum=0.99):
    """Find a wave whose spectrum has the given magnitude, by fast Griffin-Lim from the phase of its peaks.

    magnitude: (N, F, 321); mask: (N, F) bool or None; iterations: 0 is `peak_phase` alone. Returns (N, F * 160) samples.
    source: Perraudin 2013, algorithm 2.
    """
    phase = peak_phase(magnitude)
    previous = 0
    for _ in range(iterations):
        rebuilt = stft(istft(magnitude * phase, mask))
        ahead = rebuilt - momentum / (1 + momentum) * previous
        phase = ahead / (ahead.abs() + 1e-9)
        previous = rebuilt
    return istft(magnitude * phase, mask)


def peak_phase(magnitude):
    """Guess the phase of magnitudes: every spectral peak is a sinusoid that goes on from frame to frame.

    magnitude: (N, F, B). Returns (N, F, B) complex of modulus one. A frame depends on those before it only. The bins nearest
    to a peak follow it, with the alternating sign that a window centred on the frame gives them; a peak takes up the phase
    that the frame before has at its place. source: Beauregard 2015 (single pass spectrogram inversion), here as a parallel
    scan over frames: log2(F) rounds instead of F steps.
    """
    bins = magnitude.shape[2]
    k = torch.arange(bins, device=magnitude.device)
    below, above = F.pad(magnitude, (1, 1))[..., :bins], F.pad(magnitude, (1, 1))[..., 2:]
    peak = (magnitude > below) & (magnitude >= above)
    left = torch.where(peak, k, -2 * bins).cummax(2).values
    right = torch.where(peak, k, 3 * bins).flip(2).cummin(2).values.flip(2)
    near = torch.where(k - left <= right - k, left, right).clamp(0, bins - 1)  # (N, F, B) the peak that a bin follows
    offset = torch.where(peak, 0.5 * (below - above) / (below - 2 * magnitude + above - 1e-9), 0.0).clamp(-0.5, 0.5)
    advance = 2 * math.pi * HOP / WINDOW * (near + offset.gather(2, near)).double()  # radians from frame to frame
    advance = (advance + torch.cat([advance[:, :1], advance[:, :-1]], 1)) / 2
    phase, origin, step = advance.gather(2, near) + math.pi * (k - near), near, 1
    while step < magnitude.shape[1]:  # phase: what is added since the frame that `origin` points into
        phase, origin = (
            torch.cat([phase[:, :step], phase[:, step:] + phase[:, :-step].gather(2, origin[:, step:])], 1),
            torch.cat([origin[:, :step], origin[:, :-step].gather(2, origin[:, step:])], 1),
        )
        step *= 2
    phase = torch.remainder(phase, 2 * math.pi).to(magnitude.dtype)
    return torch.polar(torch.ones_like(phase), phase)


def _overlap_add(frames):
    """Sum windows (N, F, 640) that start one hop apart and cut the edges: (N, F * 160)."""
    parts = frames.unflatten(-1, (4, HOP))  # (N, F, 4, 160)
    total = sum(F.pad(parts[:, :, k], (0, 0, k, 3 - k)) for k in range(4))  # (N, F + 3, 160)
    return total.flatten(1)[:, EDGE : EDGE + frames.shape[1] * HOP]
