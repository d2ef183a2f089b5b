"""The autoencoder: a whitened linear codec of log-mel frames, bent by ConvNeXt residuals on both ends.

Three slots with fixed shapes: features (N, F, 321) -> (N, T, 160), latent (N, T, E), magnitudes (N, F, 321). At step 0, and
with no residual networks at all, it is the linear (PCA) codec, so training never starts below that floor.
"""

import hashlib
import json
import math
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rovolad_lib.autoencoder.features import STACK, Features, contrast, stack, unstack
from rovolad_lib.files import replacing
from rovolad_lib.speech.audio import SAMPLE_RATE
from rovolad_lib.speech.spectral import BINS, HOP, griffin_lim, stft

SHIPPED = Path(__file__).resolve().parents[2] / "results" / "models" / "autoencoder"


@cache
def bf16_pays(device):
    """Say whether a torch.device multiplies matrices faster in bfloat16: on a CPU without the instructions it is far slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class ConvNeXt(nn.Module):
    """One ConvNeXt block over time on (N, T, C); masked frames never reach a neighbour. source: Liu 2022, figure 4.

    In training its two Linear layers run in bfloat16 where that pays; convolution, norm and sum stay in float32.
    """

    def __init__(self, width, expansion=3):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x, real):
        """x: (N, T, C); real: (N, T, 1) of ones and zeros. Returns (N, T, C)."""
        rows = (x * real).mT.unsqueeze(2)  # (N, C, 1, T), channels last: a 2-d convolution is the faster one there
        mixed = F.conv2d(rows, self.depthwise.weight.unsqueeze(2), self.depthwise.bias, padding=(0, 3), groups=x.shape[2])
        mixed = mixed.squeeze(2).mT  # (N, T, C)
        with torch.autocast(x.device.type, torch.bfloat16, self.training and bf16_pays(x.device)):
            return x + self.down(F.gelu(self.up(self.norm(mixed))))


class Residual(nn.Module):
    """A stack of ConvNeXt blocks whose output starts at zero: (N, T, inputs) -> (N, T, outputs)."""

    def __init__(self, inputs, outputs, width, depth):
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ConvNeXt(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x, real):
        """x: (N, T, inputs); real: (N, T, 1). Returns (N, T, outputs)."""
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, real)
        return self.leave(self.norm(x))


class Autoencoder(nn.Module):
    """Speech at 16 kHz <-> latents (N, E, T) at 50 Hz, standardised per channel.

    channels: E. encoder, decoder: (width, depth) of the residual networks, or None: the linear codec.
    """

    sample_rate = SAMPLE_RATE
    hop = STACK * HOP

    def __init__(self, channels=64, mels=80, encoder=(256, 6), decoder=(384, 8)):
        super().__init__()
        self.config = {"channels": channels, "mels": mels, "encoder": encoder, "decoder": decoder}
        self.channels = channels
        self.notes = {}  # plain values that travel with the weights: the run, sources, licence
        self.features = Features(mels)
        inputs, outputs = STACK * mels, STACK * BINS
        self.encoder = Residual(outputs, channels, *encoder) if encoder else None
        self.decoder = Residual(channels, outputs, *decoder) if decoder else None
        self.register_buffer("centre", torch.zeros(inputs))  # of stacked log-mel
        self.register_buffer("whiten", torch.zeros(inputs, channels))  # principal axes, divided by their deviation
        self.register_buffer("colour", torch.zeros(channels, inputs))
        self.register_buffer("mean", torch.zeros(channels, 1))  # of raw latents over the training speech
        self.register_buffer("deviation", torch.ones(channels, 1))

    # --- magnitudes <-> raw latents, what training sees ---------------------------------------------------------------

    def analyse(self, magnitude, real):
        """Return raw latents (N, T, E) of magnitudes (N, F, 321); real: (N, T, 1), ones on frames that count."""
        magnitude = F.pad(
            magnitude, (0, 0, 0, -magnitude.shape[1] % STACK)
        )  # an odd end is followed by silence, batched or not
        mel = stack(self.features.mel(magnitude))  # (N, T, 160)
        linear = (mel - self.centre) @ self.whiten
        if self.encoder is None:
            return linear
        return linear + self.encoder(stack(torch.log(magnitude + 1e-2)) / 2, real)  # about unit variance in

    def synthesise(self, latents, real):
        """Return log magnitudes (N, F, 321), F = 2 T, of raw latents (N, T, E)."""
        log_magnitude = self.features.from_mel(unstack(latents @ self.colour + self.centre))
        if self.decoder is None:
            return log_magnitude
        return log_magnitude + unstack(self.decoder(latents, real))

    @torch.no_grad()
    def fit_linear(self, magnitude):
        """Set the linear codec in closed form: the principal axes of stacked log-mel, whitened.

        magnitude: (N, F, 321) of training speech, F even.
        """
        mel = stack(self.features.mel(magnitude)).flatten(0, 1).double()  # (N T, 160)
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
        real = _real(wave.shape[1], lengths, wave, 1)
        wave = wave * real
        magnitude = stft(wave).abs() * _real(math.ceil(wave.shape[1] / HOP), lengths, wave, HOP).unsqueeze(-1)
        real = _real(math.ceil(wave.shape[1] / self.hop), lengths, wave, self.hop)  # (N, T)
        latents = self.analyse(magnitude, real.unsqueeze(-1)).mT  # (N, E, T)
        return (latents - self.mean) / self.deviation * real.unsqueeze(1)

    @torch.no_grad()
    def decode(self, latents, lengths=None, iterations=32):
        """Return speech of latents.

        latents: (N, E, T) standardised; lengths: (N,) latent frames that count (None: all T); iterations: of Griffin-Lim.
        Returns (N, 320 T) samples at 16 kHz, zero beyond an item's own length.
        """
        if latents.dim() != 3 or latents.shape[1] != self.channels:
            raise ValueError(f"decode takes latents (N, {self.channels}, T), got shape {tuple(latents.shape)}")
        real = _real(latents.shape[2], lengths, latents, 1)  # (N, T)
        raw = (latents * self.deviation + self.mean).mT * real.unsqueeze(-1)
        magnitude = self.synthesise(raw, real.unsqueeze(-1)).exp()  # (N, 2 T, 321)
        magnitude = magnitude if self.decoder is None else contrast(magnitude)
        frames = real.bool().repeat_interleave(STACK, dim=1)
        return griffin_lim(magnitude * frames.unsqueeze(-1), frames, iterations)

    def fingerprint(self):
        """Return 12 hexadecimal digits of the encoder: latents of another encoder mean something else."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if not name.startswith("decoder."):
                digest.update(name.encode() + value.half().cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path):
        """Write `<path>_encoder.safetensors` and `<path>_decoder.safetensors` in float16, configuration in the metadata.

        The closed-form maps and statistics stay float32: they are small and everything is multiplied by them.
        """
        metadata = {"config": json.dumps(self.config), "notes": json.dumps(self.notes)}
        for part in ("encoder", "decoder"):
            other = "decoder." if part == "encoder" else "encoder."
            tensors = {k: v.contiguous().cpu() for k, v in self.state_dict().items() if not k.startswith(other)}
            half = {k: v.half() if k.startswith(part) else v for k, v in tensors.items()}
            with replacing(f"{path}_{part}.safetensors") as file:
                save_file(half, file, metadata)

    @classmethod
    def load(cls, path=None):
        """Return an autoencoder from the two files `save` wrote, in evaluation mode; None: the shipped weights."""
        path = SHIPPED if path is None else path
        if not Path(f"{path}_encoder.safetensors").is_file():
            raise FileNotFoundError(f"no autoencoder at {path}_encoder.safetensors; notebook 01 trains one")
        state = {}
        for part in ("encoder", "decoder"):
            with safe_open(f"{path}_{part}.safetensors", "pt") as file:
                config, notes = (json.loads(file.metadata().get(k, "{}")) for k in ("config", "notes"))
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
