"""The `net` head: a ConvNeXt network that turns magnitudes and a guess of their phase into a wave, in one pass."""

import torch
from torch import nn

from rovolad_lib.autoencoder.layers import Residual
from rovolad_lib.speech.spectral import BINS, istft, stft


class Head(nn.Module):
    """Magnitudes and a first phase -> complex spectrum -> wave; at step 0 it changes nothing.

    width, depth: of the ConvNeXt network, which works at 100 Hz. It sees the guess projected onto the spectra that a wave can
    have, relative to the guess itself: where the phase contradicts its neighbours, and no absolute angle.
    """

    def __init__(self, width=256, depth=6):
        super().__init__()
        self.config = {"width": width, "depth": depth}
        self.network = Residual(3 * BINS, 3 * BINS, width, depth)

    def forward(self, magnitude, phase, mask=None):
        """Return waves (N, F * 160).

        magnitude: (N, F, 321); phase: (N, F, 321) complex of modulus one; mask: (N, F) bool, frames that count (None: all).
        """
        real = torch.ones(magnitude.shape[:2], device=magnitude.device) if mask is None else mask.to(magnitude)
        real = real.unsqueeze(-1)  # (N, F, 1)
        relative = stft(istft(magnitude * phase, mask)) * phase.conj() / (magnitude + 1e-3)  # one where consistent
        relative = relative / (1 + relative.abs())
        seen = torch.cat([torch.log(magnitude.clamp(min=1e-5)) / 2, relative.real, relative.imag], dim=2)
        gain, cosine, sine = self.network(seen, real).chunk(3, dim=2)
        turn = torch.complex(1 + cosine, sine)
        return istft(magnitude * gain.clamp(max=3).exp() * phase * turn / (turn.abs() + 1e-6), mask)
