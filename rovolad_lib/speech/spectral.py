"""Short-time Fourier transform and Griffin-Lim whose results do not depend on what an item was batched with.

A window is exactly four hops long and frame i is centred on sample (i + 1/2) hop, so a wave of S samples has ceil(S / hop)
frames, overlap-add is four shifted sums, and frames beyond an item's end can be left out exactly. A spectrum has B = 2 hop + 1
bins, so its shape tells the hop. Long recordings are worked on in blocks of frames; the result is that of the whole.
"""

import math

import torch
import torch.nn.functional as F

HOP = 160  # 10 ms at 16 kHz
BINS = 2 * HOP + 1
BLOCK = 2048  # frames worked on at once


def stft(wave, hop=HOP):
    """Return the complex spectrum of a wave, zeros on either side.

    wave: (..., S) samples. Returns (..., F, B) complex with F = ceil(S / hop) and B = 2 hop + 1.
    """
    frames = math.ceil(wave.shape[-1] / hop)
    if not frames:
        return torch.zeros(*wave.shape[:-1], 0, 2 * hop + 1, dtype=torch.complex64, device=wave.device)
    return _spectrum(_surrounded(wave, frames, hop), slice(0, frames), hop)


def istft(spectrum, mask=None):
    """Return the least-squares wave of a spectrum, `stft`'s inverse.

    spectrum: (N, F, B) complex; mask: (N, F) bool, True where a frame is real (None: all). Returns (N, F * hop) samples,
    zero beyond each item's last real frame. source: Griffin and Lim 1984, eq. 6.
    """
    weight, hop = _weight(spectrum, mask), spectrum.shape[2] // 2
    return _wave(lambda block: spectrum[:, block], weight, _envelope(weight, hop), hop)


def griffin_lim(magnitude, mask=None, iterations=32):
    """Find a wave whose spectrum has the given magnitude, by fast Griffin-Lim from the phase of its peaks.

    magnitude: (N, F, B); mask: (N, F) bool or None; iterations: 0 is `peak_phase` alone. Returns (N, F * hop) samples.
    """
    return istft(griffin_lim_spectrum(magnitude, mask, iterations), mask)


@torch.no_grad()
def griffin_lim_spectrum(magnitude, mask=None, iterations=32, momentum=0.99):
    """Return the complex spectrum (N, F, B) whose wave `griffin_lim` returns: the magnitudes with their last phase.

    Arguments as for `griffin_lim`. No gradient passes through it. source: Perraudin 2013, algorithm 2.
    """
    weight, frames, hop = _weight(magnitude, mask), magnitude.shape[1], magnitude.shape[2] // 2
    envelope = _envelope(weight, hop)
    spectrum = peak_phase(magnitude).mul_(magnitude)
    previous = torch.zeros_like(spectrum) if iterations else None
    for _ in range(iterations):
        surrounded = _surrounded(_wave(lambda block: spectrum[:, block], weight, envelope, hop), frames, hop)
        for block in _blocks(frames):
            rebuilt = _spectrum(surrounded, block, hop)
            ahead = rebuilt - momentum / (1 + momentum) * previous[:, block]
            spectrum[:, block] = magnitude[:, block] * (ahead / (ahead.abs() + 1e-9))
            previous[:, block] = rebuilt
    return spectrum


def peak_phase(magnitude):
    """Guess the phase of magnitudes: every spectral peak is a sinusoid that goes on from frame to frame.

    magnitude: (N, F, B). Returns (N, F, B) complex of modulus one. A frame depends on those before it only. The bins nearest
    to a peak follow it, with the alternating sign that a window centred on the frame gives them; a peak takes up the phase
    that the frame before has at its place. source: Beauregard 2015 (single pass spectrogram inversion), here as a parallel
    scan over frames: log2(F) rounds instead of F steps.
    """
    turned, last = torch.empty_like(magnitude, dtype=torch.promote_types(magnitude.dtype, torch.complex64)), None
    for block in _blocks(magnitude.shape[1]):
        phase, last = _follow_peaks(magnitude[:, block], last)
        turned[:, block] = torch.polar(torch.ones_like(phase), phase)
    return turned


def _follow_peaks(magnitude, last):
    """Return the phase (N, F, B) of a block and what the next one needs: its last advance and phase, (N, 1, B) each."""
    bins = magnitude.shape[2]
    k = torch.arange(bins, device=magnitude.device)
    below, above = F.pad(magnitude, (1, 1))[..., :bins], F.pad(magnitude, (1, 1))[..., 2:]
    peak = (magnitude > below) & (magnitude >= above)
    left = torch.where(peak, k, -2 * bins).cummax(2).values
    right = torch.where(peak, k, 3 * bins).flip(2).cummin(2).values.flip(2)
    near = torch.where(k - left <= right - k, left, right).clamp(0, bins - 1)  # (N, F, B) the peak that a bin follows
    offset = torch.where(peak, 0.5 * (below - above) / (below - 2 * magnitude + above - 1e-9), 0.0).clamp(-0.5, 0.5)
    own = 2 * math.pi / 4 * (near + offset.gather(2, near)).double()  # radians from frame to frame
    advance = (own + torch.cat([own[:, :1] if last is None else last[0], own[:, :-1]], 1)) / 2
    phase, origin, step = advance.gather(2, near) + math.pi * (k - near), near, 1
    while step < magnitude.shape[1]:  # phase: what is added since the frame that `origin` points into
        phase, origin = (
            torch.cat([phase[:, :step], phase[:, step:] + phase[:, :-step].gather(2, origin[:, step:])], 1),
            torch.cat([origin[:, :step], origin[:, :-step].gather(2, origin[:, step:])], 1),
        )
        step *= 2
    if last is not None:
        phase = phase + last[1].expand_as(phase).gather(2, origin)
    phase = torch.remainder(phase, 2 * math.pi)
    return phase.to(magnitude.dtype), (own[:, -1:], phase[:, -1:])


def _blocks(frames):
    """Return slices of at most BLOCK frames each, in order."""
    return [slice(at, min(at + BLOCK, frames)) for at in range(0, frames, BLOCK)]


def _window(hop, like):
    return torch.hann_window(4 * hop, dtype=like.real.dtype, device=like.device)


def _surrounded(wave, frames, hop):
    """Return a wave (..., S) with the silence before and behind it that its frames reach into: (..., (F + 3) hop)."""
    return F.pad(wave, (3 * hop // 2, 3 * hop // 2 + frames * hop - wave.shape[-1]))


def _spectrum(surrounded, block, hop):
    """Return the spectra (..., f, B) of a slice of frames."""
    part = surrounded[..., block.start * hop : (block.stop + 3) * hop]
    return torch.fft.rfft(part.unfold(-1, 4 * hop, hop) * _window(hop, part))


def _weight(frames, mask):
    """Return (N, F, 1): one where a frame is real."""
    real = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device) if mask is None else mask
    return real.to(frames.real.dtype).unsqueeze(-1)


def _envelope(weight, hop):
    """Return the sum (N, F * hop) of squared windows of the real frames."""
    square = _window(hop, weight).square()
    return _overlap_add(lambda block: square * weight[:, block], weight, hop).clamp(min=1e-8)


def _wave(spectrum, weight, envelope, hop):
    """Return the wave (N, F * hop) of spectrum(block) -> (N, f, B), a slice of frames at a time."""
    window = _window(hop, weight)

    def windowed(block):
        return torch.fft.irfft(spectrum(block), n=4 * hop) * window * weight[:, block]

    return _overlap_add(windowed, weight, hop) / envelope * weight.expand(-1, -1, hop).flatten(1)  # (N, F * hop)


def _overlap_add(windows, weight, hop):
    """Sum windows(block) -> (N, f, 4 hop), each starting one hop behind the one before, and cut the edges: (N, F * hop).

    weight: (N, F, 1). The last block comes first: so the four terms of a sample are added in one order, however blocks fall.
    """
    count, frames = weight.shape[:2]
    total = weight.new_zeros(count, frames + 3, hop)
    for block in reversed(_blocks(frames)):
        parts = windows(block).unflatten(-1, (4, hop))  # (N, f, 4, hop)
        for k in range(4):
            total[:, block.start + k : block.stop + k].add_(parts[:, :, k])
    return total.flatten(1)[:, 3 * hop // 2 : 3 * hop // 2 + frames * hop]
