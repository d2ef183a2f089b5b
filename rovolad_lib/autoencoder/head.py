"""The `net` head: a ConvNeXt network that corrects a guess of the phase, in one pass from spectrum to wave."""

import torch
from torch import nn

from rovolad_lib.autoencoder.layers import Residual
from rovolad_lib.speech.spectral import BINS, istft, stft


class Head(nn.Module):
    """A guessed spectrum -> complex spectrum -> wave; at step 0 it changes nothing.

    width, depth: of the ConvNeXt network, which works at 100 Hz. It sees the guess projected onto the spectra that a wave can
    have, relative to the guess itself: where the phase contradicts its neighbours, and no absolute angle.
    """

    def __init__(self, width=256, depth=6):
        super().__init__()
        self.network = Residual(3 * BINS, 3 * BINS, width, depth)

    def forward(self, spectrum, mask=None):
        """Return waves (N, F * 160).

        spectrum: (N, F, 321) complex, wanted magnitudes with a guessed phase, of `griffin_lim_spectrum`; mask: (N, F) bool,
        frames that count (None: all).
        """
        magnitude = spectrum.abs()
        real = torch.ones_like(magnitude[..., :1]) if mask is None else mask.unsqueeze(-1).to(magnitude)  # (N, F, 1)
        phase = spectrum / (magnitude + 1e-9)
        relative = stft(istft(spectrum, mask)) * phase.conj() / (magnitude + 1e-3)  # one where consistent
        relative = relative / (1 + relative.abs())
        seen = torch.cat([torch.log(magnitude.clamp(min=1e-5)) / 2, relative.real, relative.imag], dim=2)
        gain, cosine, sine = self.network(seen, real).chunk(3, dim=2)
        turn = torch.complex(1 + cosine, sine)
        return istft(spectrum * gain.clamp(max=3).exp() * turn / (turn.abs() + 1e-6), mask)
