"""The spectral features between which the autoencoder's two ends work."""

import torch
import torch.nn.functional as F
from torch import nn

from rovolad_lib.speech.audio import SAMPLE_RATE, mel_filters
from rovolad_lib.speech.spectral import HOP

STACK = 2  # frames of 10 ms in a latent frame: 50 Hz
MEL_FLOOR = 1e-2  # soft floor: quieter detail is not worth latent capacity
LOG_FLOOR = 3e-3  # of the magnitudes that the decoder predicts


class Features(nn.Module):
    """Log-mel frames of magnitudes and the way back.

    mels: number of mel bands M; hop: of the magnitudes' frames, which have B = 2 hop + 1 bins.
    """

    def __init__(self, mels=80, hop=HOP):
        super().__init__()
        filters = mel_filters(mels, 2 * hop + 1).T  # (B, M)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("inverse", torch.linalg.pinv(filters), persistent=False)
        spread = filters / filters.sum(0, keepdim=True)  # each band's level handed to the bins it covers
        self.register_buffer("spread", spread.T / spread.sum(1).clamp(min=1e-9), persistent=False)

    def mel(self, magnitude):
        """Return log mel (..., M) of a magnitude (..., B)."""
        return torch.log(magnitude @ self.filters + MEL_FLOOR)

    def from_mel(self, log_mel):
        """Return the log magnitude (..., B) that a log mel (..., M) suggests.

        The pseudo-inverse can go below zero where a spectral valley is narrower than a band; a tenth of the smooth
        interpolation is the least that is believed there.
        """
        mel = (log_mel.clamp(max=12).exp() - MEL_FLOOR).clamp(min=0)
        magnitude = torch.maximum(mel @ self.inverse, 0.1 * (mel @ self.spread))
        return torch.log(magnitude + LOG_FLOOR)


def contrast(magnitude, gain=0.2, reach_hz=100):
    """Deepen the fine structure of magnitudes (N, F, B), the energy of every neighbourhood kept.

    A decoder trained on absolute differences says the median, which fills the valleys between harmonics. gain: share by
    which log magnitudes move away from their mean over the bins up to `reach_hz` away. Measured on the development speakers
    it raises PESQ and STOI and leaves the log-mel where it was.
    """
    width = 2 * round(reach_hz / (SAMPLE_RATE / 2) * (magnitude.shape[-1] - 1)) + 1  # 9 bins of 25 Hz
    log = magnitude.clamp(min=1e-5).log()
    deepened = (log + gain * (log - _neighbourhood(log, width))).exp()
    energy, changed = _neighbourhood(magnitude.square(), width), _neighbourhood(deepened.square(), width)
    return deepened * (energy / changed.clamp(min=1e-12)).sqrt()


def _neighbourhood(x, width):
    """Return the mean over `width` bins around each bin of (N, F, B), edges repeated."""
    return F.avg_pool1d(F.pad(x, (width // 2, width // 2), mode="replicate"), width, 1)


def stack(frames, count=STACK):
    """Join `count` neighbouring frames: (N, F, B) -> (N, ceil(F / count), count B); the last ones are joined with zeros."""
    n, f, b = frames.shape
    t = -(-f // count)
    return F.pad(frames, (0, 0, 0, t * count - f)).reshape(n, t, count * b)


def unstack(frames, count=STACK):
    """Undo `stack`: (N, T, count B) -> (N, count T, B)."""
    n, t, b = frames.shape
    return frames.reshape(n, t * count, b // count)
