"""The spectral features between which the autoencoder's two ends work."""

import torch
import torch.nn.functional as F
from torch import nn

from rovolad_lib.speech.audio import mel_filters

STACK = 2  # 10 ms frames in a latent frame: 50 Hz
MEL_FLOOR = 1e-2  # soft floor: quieter detail is not worth latent capacity
LOG_FLOOR = 3e-3  # of the magnitudes that the decoder predicts


class Features(nn.Module):
    """Stacked log-mel and log-magnitude frames and the way back to magnitudes.

    mels: number of mel bands M.
    """

    def __init__(self, mels=80):
        super().__init__()
        filters = mel_filters(mels).T  # (321, M)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("inverse", torch.linalg.pinv(filters), persistent=False)
        spread = filters / filters.sum(0, keepdim=True)  # each band's level handed to the bins it covers
        self.register_buffer("spread", spread.T / spread.sum(1).clamp(min=1e-9), persistent=False)

    def mel(self, magnitude):
        """Return log mel (..., M) of a magnitude (..., 321)."""
        return torch.log(magnitude @ self.filters + MEL_FLOOR)

    def from_mel(self, log_mel):
        """Return the log magnitude (..., 321) that a log mel (..., M) suggests.

        The pseudo-inverse can go below zero where a spectral valley is narrower than a band; a tenth of the smooth
        interpolation is the least that is believed there.
        """
        mel = (log_mel.clamp(max=12).exp() - MEL_FLOOR).clamp(min=0)
        magnitude = torch.maximum(mel @ self.inverse, 0.1 * (mel @ self.spread))
        return torch.log(magnitude + LOG_FLOOR)


def contrast(magnitude, gain=0.2, width=9):
    """Deepen the fine structure of magnitudes (N, F, 321), the energy of every neighbourhood kept.

    A decoder trained on absolute differences says the median, which fills the valleys between harmonics. gain: share by
    which log magnitudes move away from their mean over `width` bins of 25 Hz. Measured on the development speakers it
    raises PESQ and STOI and leaves the log-mel where it was.
    """
    log = magnitude.clamp(min=1e-5).log()
    deepened = (log + gain * (log - _neighbourhood(log, width))).exp()
    energy, changed = _neighbourhood(magnitude.square(), width), _neighbourhood(deepened.square(), width)
    return deepened * (energy / changed.clamp(min=1e-12)).sqrt()


def _neighbourhood(x, width):
    """Return the mean over `width` bins around each bin of (N, F, B), edges repeated."""
    return F.avg_pool1d(F.pad(x, (width // 2, width // 2), mode="replicate"), width, 1)


def stack(frames):
    """Join neighbouring 10 ms frames: (N, F, B) -> (N, ceil(F / 2), 2 B); an odd last frame is joined with zeros."""
    n, f, b = frames.shape
    return F.pad(frames, (0, 0, 0, -f % STACK)).reshape(n, -1, STACK * b)


def unstack(frames):
    """Undo `stack`: (N, T, 2 B) -> (N, 2 T, B)."""
    n, t, b = frames.shape
    return frames.reshape(n, t * STACK, b // STACK)
