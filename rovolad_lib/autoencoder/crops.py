"""Training batches of the autoencoder: short crops of speech as magnitudes, at random pitch, level, colour and bandwidth."""

import math

import torch

from rovolad_lib.speech.audio import resample
from rovolad_lib.speech.spectral import HOP, stft

PITCH = ((10, 9), (9, 8), (8, 9), (9, 10))  # samples read for samples made: formants and pitch move by the ratio


class Crops:
    """An endless sequence of batches, a pure function of (seed, i): {"magnitude": (N, F, B), "sigma": (N,)}.

    waves: list of (S,) speech at 16 kHz; batch: N; frames: F, of `hop` samples each, B = 2 hop + 1; pitch: share of items read
    faster or slower; narrow: share of items low-passed somewhere from 3.5 to 7 kHz, so that telephone-band recordings code as
    well as wideband ones; gain_db, tilt_db: levels and smooth colourings change up to this. Polarity is no part of a magnitude.
    noise: the greatest deviation of the bottleneck noise, drawn per item from U(0, noise), before the last third of the
    training that `planned` tells of, and in it.
    Errors: ValueError where no wave is long enough for a crop.
    """

    def __init__(self, waves, batch=16, frames=60, seed=0, noise=(0.1, 0.3), pitch=0.3, narrow=0.3, gain_db=8.0, tilt_db=4.0,
                 hop=HOP):  # fmt: skip
        self.hop, self.bins, self.samples = hop, 2 * hop + 1, frames * hop
        waves = [w for w in waves if len(w) >= self.samples]
        if not waves:
            raise ValueError(f"no wave has the {self.samples} samples that a crop needs")
        self.speech = torch.cat(waves)
        self.starts = torch.tensor([0] + [len(w) for w in waves]).cumsum(0)  # (waves + 1,)
        self.batch, self.seed, self.noise, self.pitch = batch, seed, noise, pitch
        self.narrow, self.gain_db, self.tilt_db = narrow, gain_db, tilt_db
        self.late = math.inf

    def planned(self, steps):
        """Hear how many batches training will take: from two thirds of them on the noise is the greater one."""
        self.late = steps * 2 // 3

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        magnitude = stft(torch.stack([self._crop(random) for _ in range(self.batch)]), self.hop).abs()
        gain, sigma = self._gain(random).unsqueeze(-1), self._sigma(random, i)
        return {"magnitude": magnitude * gain * self._tilt(random) * self._low_pass(random), "sigma": sigma}

    def _gain(self, random):
        return 10 ** (self.gain_db / 20 * (2 * torch.rand(self.batch, 1, generator=random) - 1))

    def _sigma(self, random, i):
        return self.noise[i >= self.late] * torch.rand(self.batch, generator=random)

    def _crop(self, random):
        """Return a crop (S,) from anywhere, each position as likely as any other."""
        room = self.starts.diff() - self.samples + 1  # crops that begin in each wave
        ends = room.cumsum(0)
        pick = int(torch.rand(1, generator=random, dtype=torch.float64) * ends[-1])
        wave = int(torch.searchsorted(ends, pick, right=True))
        first, last = int(self.starts[wave] + pick - (ends[wave] - room[wave])), int(self.starts[wave + 1])
        read, made = PITCH[int(torch.randint(len(PITCH), (1,), generator=random))]
        taken = -(-self.samples * read // made)
        if torch.rand(1, generator=random) >= self.pitch or first + taken > last:
            return self.speech[first : first + self.samples]
        return resample(self.speech[first : first + taken], read, made)[: self.samples]

    def _tilt(self, random):
        """Return gains (N, 1, B): three slow waves over frequency, of random size."""
        size = self.tilt_db / 20 / 3 * (2 * torch.rand(self.batch, 1, 3, generator=random) - 1)
        waves = torch.cos(math.pi * torch.arange(1, 4)[:, None] * torch.linspace(0, 1, self.bins).sqrt())  # (3, B)
        return 10 ** (size @ waves)

    def _low_pass(self, random):
        """Return gains (N, 1, B): one, or for some items a slope of random place and width down to nothing."""
        edge = self.bins * (3.5 + 3.5 * torch.rand(self.batch, 1, 1, generator=random)) / 8
        width = (1 + 7 * torch.rand(self.batch, 1, 1, generator=random)) * self.hop / HOP  # bins: 25 to 200 Hz
        wide = torch.rand(self.batch, 1, 1, generator=random) >= self.narrow
        return torch.where(wide, 1.0, torch.sigmoid((edge - torch.arange(self.bins)) / width * 4))


class Waves(Crops):
    """As Crops, but waves for stage 2, of random pitch and level alone: {"wave": (N, S), "sigma": (N,), "adversarial": 0 or 1}.

    adversarial: whether discriminators count already; they do after a tenth of the training that `planned` tells of.
    """

    def __init__(self, waves, batch=16, frames=60, seed=0, noise=(0.2, 0.2), **options):
        super().__init__(waves, batch, frames, seed, noise, **options)
        self.warm = 0

    def planned(self, steps):
        """Hear how many batches training will take."""
        super().planned(steps)
        self.warm = steps // 10

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        wave = torch.stack([self._crop(random) for _ in range(self.batch)]) * self._gain(random)
        return {"wave": wave, "sigma": self._sigma(random, i), "adversarial": float(i >= self.warm)}
