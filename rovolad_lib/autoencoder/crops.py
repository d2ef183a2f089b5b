"""Training batches of the autoencoder: short crops as magnitudes, at random level and bandwidth."""

import torch

from rovolad_lib.speech.spectral import BINS, HOP, stft


class Crops:
    """An endless sequence of batches, a pure function of (seed, i): {"magnitude": (N, F, 321), "sigma": (N,)}.

    waves: list of (S,) speech at 16 kHz; batch: N; frames: F, 10 ms each; noise: the greatest deviation of the bottleneck
    noise, drawn per item from U(0, noise); narrow: share of items low-passed somewhere from 3.5 to 7 kHz, so that
    telephone-band recordings code as well as wideband ones; gain_db: level changes up to this.
    Errors: ValueError where no wave is long enough for a crop.
    """

    def __init__(self, waves, batch=16, frames=60, seed=0, noise=0.2, narrow=0.3, gain_db=8.0):
        self.samples = frames * HOP
        waves = [w for w in waves if len(w) >= self.samples]
        if not waves:
            raise ValueError(f"no wave has the {self.samples} samples that a crop needs")
        self.speech = torch.cat(waves)
        self.starts = torch.tensor([0] + [len(w) for w in waves]).cumsum(0)  # (waves + 1,)
        self.batch, self.seed, self.noise, self.narrow, self.gain_db = batch, seed, noise, narrow, gain_db

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        room = self.starts.diff() - self.samples + 1  # crops that begin in each wave
        ends = room.cumsum(0)
        pick = (torch.rand(self.batch, generator=random, dtype=torch.float64) * ends[-1]).long()
        wave = torch.searchsorted(ends, pick, right=True)
        first = self.starts[wave] + pick - (ends[wave] - room[wave])
        magnitude = stft(torch.stack([self.speech[f : f + self.samples] for f in first.tolist()])).abs()
        gain = 10 ** (self.gain_db / 20 * (2 * torch.rand(self.batch, 1, 1, generator=random) - 1))
        sigma = self.noise * torch.rand(self.batch, generator=random)
        return {"magnitude": magnitude * gain * self._low_pass(random), "sigma": sigma}

    def _low_pass(self, random):
        """Return gains (N, 1, 321): one, or for some items a slope of random place and width down to nothing."""
        edge = BINS * (3.5 + 3.5 * torch.rand(self.batch, 1, 1, generator=random)) / 8
        width = 1 + 7 * torch.rand(self.batch, 1, 1, generator=random)  # bins of 25 Hz
        wide = torch.rand(self.batch, 1, 1, generator=random) >= self.narrow
        return torch.where(wide, 1.0, torch.sigmoid((edge - torch.arange(BINS)) / width * 4))
