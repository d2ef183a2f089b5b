"""The `net` head: a ConvNeXt network that corrects a guess of the phase, in one pass from spectrum to wave."""

import torch
from torch import nn

from rovolad_lib.autoencoder.layers import Residual, in_blocks
from rovolad_lib.speech.spectral import BINS, istft, stft


class Head(nn.Module):
    """A guessed spectrum -> complex spectrum -> wave; at step 0 it changes nothing.

    width, depth: of the ConvNeXt network, which works frame by frame of the spectrum; bins: B. It sees the guess projected onto
    the spectra that a wave can have, relative to the guess itself: where the phase contradicts its neighbours, and no absolute
    angle.
    """

    def __init__(self, width=256, depth=6, bins=BINS):
        super().__init__()
        self.config = (width, depth)
        self.network = Residual(3 * bins, 3 * bins, width, depth)

    def forward(self, spectrum, mask=None):
        """Return waves (N, F * hop).

        spectrum: (N, F, B) complex, magnitudes with a guessed phase, as of `griffin_lim_spectrum`; mask: (N, F) bool, frames
        that count (None: all).
        """
        real = torch.ones_like(spectrum.real[..., :1]) if mask is None else mask.unsqueeze(-1).to(spectrum.real)  # (N, F, 1)
        return istft(in_blocks(self._corrected, spectrum, real, self.network.reach + 6), mask)

    def _corrected(self, spectrum, real):
        """Return the spectrum (N, F, B) of a block of frames; real: (N, F, 1)."""
        magnitude, mask, hop = spectrum.abs(), real[..., 0].bool(), spectrum.shape[2] // 2
        phase = spectrum / (magnitude + 1e-9)
        relative = stft(istft(spectrum, mask), hop) * phase.conj() / (magnitude + 1e-3)  # one where consistent
        relative = relative / (1 + relative.abs())
        seen = torch.cat([torch.log(magnitude.clamp(min=1e-5)) / 2, relative.real, relative.imag], dim=2)
        gain, cosine, sine = self.network(seen, real).chunk(3, dim=2)
        turn = torch.complex(1 + cosine, sine)
        return spectrum * gain.clamp(max=3).exp() * turn / (turn.abs() + 1e-6)
