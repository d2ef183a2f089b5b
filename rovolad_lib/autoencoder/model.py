"""The autoencoder: a whitened linear codec of log-mel frames, bent by ConvNeXt residuals on both ends.

Three slots with fixed shapes: features (N, F, B) -> (N, T, stack M), latent (N, T, E), magnitudes (N, F, B), with B bins and
stack = F / T frames in a latent frame: 321 and 2, or 641 and 1. At step 0, and with no residual networks at all, it is the
linear (PCA) codec, so training never starts below that floor.
"""

import hashlib
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from rovolad_lib.autoencoder.features import STACK, Features, contrast, stack, unstack
from rovolad_lib.autoencoder.head import Head
from rovolad_lib.autoencoder.layers import Residual, in_blocks
from rovolad_lib.files import reading, replacing
from rovolad_lib.speech.audio import SAMPLE_RATE
from rovolad_lib.speech.spectral import HOP, griffin_lim_spectrum, istft, stft

SIZES = {  # arguments of Autoencoder
    "tiny": {"encoder": (32, 1), "decoder": (32, 1)},
    "small": {"encoder": (256, 6), "decoder": (384, 8)},
    "fast": {"encoder": (192, 4), "decoder": (256, 6), "frame_hop": STACK * HOP},  # and half the frames
}
PARTS = ("encoder", "decoder", "net")  # networks, each with a file of its own
ITERATIONS = {"gl": 32, "net": 2}  # of Griffin-Lim, where nothing else is asked for
LIMIT = 100  # deviations: no latent of speech is further out
LOUDEST = 8  # log magnitude: a sine of full scale has 5.1
SHIPPED = Path(__file__).resolve().parents[2] / "results" / "models" / "autoencoder"


class Autoencoder(nn.Module):
    """Speech at 16 kHz <-> latents (N, E, T) at 50 Hz, standardised per channel.

    channels: E. encoder, decoder: (width, depth) of the residual networks, or None: the linear codec. frame_hop: samples from
    one frame of the spectrum to the next, 160 or, for half the work, 320. net: (width, depth) of a `Head`, or None: there is
    none; one may also be put into `.net` later. Named sizes are in SIZES.
    Errors: ValueError where frame_hop does not divide a latent frame's 320 samples.
    """

    sample_rate = SAMPLE_RATE
    hop = STACK * HOP

    def __init__(self, channels=64, mels=80, encoder=(256, 6), decoder=(384, 8), frame_hop=HOP, net=None):
        super().__init__()
        if frame_hop < 1 or self.hop % frame_hop:
            raise ValueError(f"frame_hop is {frame_hop}; accepted are the divisors of {self.hop}, such as {HOP}")
        self.config = {"channels": channels, "mels": mels, "encoder": encoder, "decoder": decoder, "frame_hop": frame_hop}
        self.channels = channels
        self.notes = {}  # plain values that travel with the weights: the run, sources, licence
        self.frame_hop, self.stack = frame_hop, self.hop // frame_hop
        self.features = Features(mels, frame_hop)
        inputs, outputs = self.stack * mels, self.stack * (2 * frame_hop + 1)
        self.encoder = Residual(outputs, channels, *encoder) if encoder else None
        self.decoder = Residual(channels, outputs, *decoder) if decoder else None
        self.net = Head(*net, bins=2 * frame_hop + 1) if net else None
        self.register_buffer("centre", torch.zeros(inputs))  # of stacked log-mel
        self.register_buffer("whiten", torch.zeros(inputs, channels))  # principal axes, divided by their deviation
        self.register_buffer("colour", torch.zeros(channels, inputs))
        self.register_buffer("mean", torch.zeros(channels, 1))  # of raw latents over the training speech
        self.register_buffer("deviation", torch.ones(channels, 1))

    # --- magnitudes <-> raw latents, what training sees ---------------------------------------------------------------

    def analyse(self, magnitude, real):
        """Return raw latents (N, T, E) of magnitudes (N, F, B); real: (N, T, 1), ones on frames that count."""
        magnitude = F.pad(magnitude, (0, 0, 0, -magnitude.shape[1] % self.stack))  # silence follows, batched or not
        mel = stack(self.features.mel(magnitude), self.stack)  # (N, T, stack M)
        linear = (mel - self.centre) @ self.whiten
        if self.encoder is None:
            return linear
        return linear + self.encoder(stack(torch.log(magnitude + 1e-2), self.stack) / 2, real)  # about unit variance in

    def synthesise(self, latents, real):
        """Return log magnitudes (N, F, B), F = stack T, of raw latents (N, T, E)."""
        log_magnitude = self.features.from_mel(unstack(latents @ self.colour + self.centre, self.stack))
        if self.decoder is None:
            return log_magnitude
        return log_magnitude + unstack(self.decoder(latents, real), self.stack)

    @torch.no_grad()
    def fit_linear(self, magnitude):
        """Set the linear codec in closed form: the principal axes of stacked log-mel, whitened.

        magnitude: (N, F, B) of training speech, F a multiple of the frames in a latent frame.
        """
        mel = stack(self.features.mel(magnitude), self.stack).flatten(0, 1).double()  # (N T, stack M)
        self.centre.copy_(mel.mean(0))
        values, axes = torch.linalg.eigh(torch.cov(mel.T))
        values, axes = values[-self.channels :].flip(0), axes[:, -self.channels :].flip(1)
        self.whiten.copy_(axes / values.sqrt())
        self.colour.copy_((axes * values.sqrt()).T)

    @torch.no_grad()
    def standardise(self, waves):
        """Measure mean and deviation of each channel over a list of waves (S,), so that latents are standardised."""
        self.mean.zero_(), self.deviation.fill_(1)
        latents = torch.cat([self.encode(wave[None])[0] for wave in waves], dim=1).double()  # (E, frames)
        self.mean.copy_(latents.mean(1, keepdim=True))
        self.deviation.copy_(latents.std(1, keepdim=True))

    # --- waves <-> standardised latents, what everybody else sees -----------------------------------------------------

    @torch.no_grad()
    def encode(self, wave, lengths=None):
        """Return latents of speech.

        wave: (N, S) at 16 kHz; lengths: (N,) samples that count in each item (None: all S). Returns (N, E, T),
        T = ceil(S / 320), standardised per channel, zero beyond an item's own length.
        """
        if wave.dim() != 2:
            raise ValueError(f"encode takes waves (N, S), got shape {tuple(wave.shape)}")
        (count, samples), frames = wave.shape, math.ceil(wave.shape[1] / self.hop)
        lengths = torch.full((count,), samples) if lengths is None else lengths
        wave = F.pad(wave * _real(samples, lengths, wave, 1), (0, frames * self.hop - samples))
        real = _real(frames * self.stack, lengths, wave, self.frame_hop).view(count, frames, self.stack)
        reach = 2 + (self.encoder.reach if self.encoder else 0)  # two frames of the spectrum see each sample on either side
        latents = in_blocks(self._latents, wave.view(count, frames, self.hop), real, reach).mT  # (N, E, T)
        return (latents - self.mean) / self.deviation * real[:, :, 0].unsqueeze(1)

    def _latents(self, wave, real):
        """Return raw latents (N, T, E) of a wave (N, T, hop); real: (N, T, stack), ones on frames that count."""
        magnitude = stft(wave.flatten(1), self.frame_hop).abs() * real.flatten(1).unsqueeze(-1)
        return self.analyse(magnitude, real[:, :, :1])

    @torch.no_grad()
    def decode(self, latents, lengths=None, iterations=None, head=None):
        """Return speech of latents.

        latents: (N, E, T) standardised; lengths: (N,) latent frames that count (None: all T); head: gl | net (None: net where
        there is one); iterations: of Griffin-Lim, before the net (None: 32 for gl, 2 for net).
        Returns (N, 320 T) samples at 16 kHz, zero beyond an item's own length, and finite: latents are taken to be within
        100 deviations, a spectrum to be no louder than anybody can record. Errors: ValueError for another shape, for a head
        that is not there, or where a latent that counts is not finite.
        """
        head = head or ("gl" if self.net is None else "net")
        if head not in ITERATIONS or (head == "net" and self.net is None):
            raise ValueError(f"head {head!r}; accepted: {', '.join(ITERATIONS) if self.net else 'gl, for there is no net'}")
        spectrum, mask = self._spectrum(latents, lengths, ITERATIONS[head] if iterations is None else iterations)
        return self.net(spectrum, mask) if head == "net" else istft(spectrum, mask)

    @torch.no_grad()
    def spectrum(self, latents, lengths=None, iterations=0):
        """Return the complex spectrum (N, F, B) that the heads start from; arguments as for `decode`."""
        return self._spectrum(latents, lengths, iterations)[0]

    def _spectrum(self, latents, lengths, iterations):
        """Return a spectrum (N, F, B) and which of its frames are real (N, F)."""
        if latents.dim() != 3 or latents.shape[1] != self.channels:
            raise ValueError(f"decode takes latents (N, {self.channels}, T), got shape {tuple(latents.shape)}")
        real = _real(latents.shape[2], lengths, latents, 1).unsqueeze(-1)  # (N, T, 1)
        mask = real.bool()[..., 0].repeat_interleave(self.stack, dim=1)
        return griffin_lim_spectrum(self._magnitude(latents, real), mask, iterations), mask

    def _magnitude(self, latents, real):
        """Return magnitudes (N, F, B) of standardised latents (N, E, T), zero where real (N, T, 1) is."""
        latents = latents.mT.masked_fill(real == 0, 0)  # whatever stands behind an end
        if not latents.isfinite().all():
            bad = int((~latents.isfinite()).sum())
            raise ValueError(f"decode takes finite latents; of {latents.numel()} numbers {bad} are nan or infinite")
        raw = (latents.clamp(-LIMIT, LIMIT) * self.deviation.mT + self.mean.mT) * real
        return in_blocks(self._magnitude_of_raw, raw, real, self.decoder.reach if self.decoder else 0)

    def _magnitude_of_raw(self, raw, real):
        """Return magnitudes (N, F, B) of a block of raw latents (N, T, E); real: (N, T, 1)."""
        magnitude = self.synthesise(raw, real).clamp(max=LOUDEST).exp()
        magnitude = magnitude if self.decoder is None else contrast(magnitude)
        return magnitude * real.repeat_interleave(self.stack, dim=1)

    def fingerprint(self):
        """Return 12 hexadecimal digits of the encoder: latents of another encoder mean something else."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if not name.startswith(("decoder.", "net.")):
                digest.update(name.encode() + value.half().cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path):
        """Write `<path>_encoder.safetensors`, `_decoder` and, where there is one, `_net`, configuration in the metadata.

        The networks are float16; the closed-form maps and statistics, in the first two, stay float32: they are small and
        everything is multiplied by them.
        """
        config = self.config | {"net": self.net.config if self.net else None}
        metadata = {"config": json.dumps(config), "notes": json.dumps(self.notes)}
        tensors = {k: v.detach().contiguous().cpu() for k, v in self.state_dict().items()}
        networks = {part: {k: v.half() for k, v in tensors.items() if k.startswith(f"{part}.")} for part in PARTS}
        common = {k: v for k, v in tensors.items() if not k.startswith(tuple(f"{part}." for part in PARTS))}
        for part in PARTS if self.net else PARTS[:2]:
            with replacing(f"{path}_{part}.safetensors") as file:
                save_file(networks[part] | (common if part != "net" else {}), file, metadata)

    @classmethod
    def load(cls, path=None):
        """Return an autoencoder from the files that `save` wrote, in evaluation mode; None: the shipped weights.

        Errors: FileNotFoundError; ValueError where the files are not of one training.
        """
        path = SHIPPED if path is None else path
        if not Path(f"{path}_encoder.safetensors").is_file():
            raise FileNotFoundError(f"no autoencoder at {path}_encoder.safetensors; notebook 01 trains one")
        with reading(f"{path}_encoder.safetensors") as file:
            metadata = file.metadata()
        config, notes = (json.loads(metadata.get(name, "{}")) for name in ("config", "notes"))
        state = {}
        for part in PARTS if config.get("net") else PARTS[:2]:
            with reading(f"{path}_{part}.safetensors") as file:
                if file.metadata() != metadata:
                    raise ValueError(f"{path}_{part}.safetensors is of another training than {path}_encoder.safetensors")
                state |= {name: file.get_tensor(name).float() for name in file.keys()}
        model = cls(**config)
        model.notes = notes
        model.load_state_dict(state)
        return model.eval()


def _real(count, lengths, like, hop):
    """Return (N, count): one where frame i of an item begins before its end in samples, i hop < length."""
    if lengths is None:
        return torch.ones(len(like), count, device=like.device)
    limit = torch.as_tensor(lengths, device=like.device).unsqueeze(1)
    return (torch.arange(count, device=like.device) * hop < limit).to(like.dtype)
