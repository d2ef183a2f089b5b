"""Discriminators of waves and the joint training of a generator with them.

They live in the training run alone: a trained generator is saved, loaded and used without them.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm

GAIN = 20.0  # speech at -26 dB gets unit variance: at its own level the biases of fresh layers drown it


class Convolutions(nn.Module):
    """Weight-normalised 2-d convolutions over an image: (N, C, A, B) -> logits (N, 1, A', B') and each layer's features.

    layers: (channels, kernel, stride) of each, kernel and stride as (A, B). The logits come from a last one of size 3.
    """

    def __init__(self, inputs, layers, last):
        super().__init__()
        sizes = [inputs, *(channels for channels, _, _ in layers)]
        self.layers = nn.ModuleList(_convolution(n, *layer) for n, layer in zip(sizes, layers, strict=False))
        self.last = _convolution(sizes[-1], 1, last, (1, 1))

    def forward(self, image):
        """image: (N, C, A, B). Returns (logits, list of features)."""
        features = []
        for layer in self.layers:
            image = F.leaky_relu(layer(image), 0.1)
            features.append(image)
        return self.last(image), features


class MultiPeriod(nn.Module):
    """Judges of a wave folded at several periods, in samples. source: Kong 2020 (HiFi-GAN), slimmer: 16 to 128 channels."""

    def __init__(self, periods=(2, 3, 5, 7, 11), width=16):
        super().__init__()
        layers = [(width * grow, (5, 1), (3, 1)) for grow in (1, 2, 4, 8)] + [(8 * width, (5, 1), (1, 1))]
        self.periods = periods
        self.judges = nn.ModuleList(Convolutions(1, layers, (3, 1)) for _ in periods)

    def forward(self, wave):
        """wave: (N, S). Returns (logits, features): lists with an entry a period."""
        folded = (F.pad(wave, (0, -wave.shape[1] % period)).view(len(wave), 1, -1, period) for period in self.periods)
        return _verdicts(judge(image) for judge, image in zip(self.judges, folded, strict=True))


class MultiResolution(nn.Module):
    """Judges of complex spectra with several windows, in samples, a quarter of a window apart.

    Real and imaginary part are two channels, so that phase is judged too. source: Kumar 2023 (DAC), here without
    bands and with the first stride over frequency one layer earlier, which halves the cost.
    """

    def __init__(self, windows=(1024, 512, 256), width=32):
        super().__init__()
        layers = [(width, (3, 9), (1, 2))] * 3 + [(width, (3, 3), (1, 1))] * 2
        self.windows = windows
        self.judges = nn.ModuleList(Convolutions(2, layers, (3, 3)) for _ in windows)

    def forward(self, wave):
        """wave: (N, S). Returns (logits, features): lists with an entry a window."""
        return _verdicts(judge(_spectrum(wave, size)) for judge, size in zip(self.judges, self.windows, strict=True))


class Discriminators(nn.ModuleList):
    """Several discriminators of waves that answer as one."""

    def forward(self, wave):
        """wave: (N, S) at about -26 dB. Returns (logits, features): the lists of all, joined."""
        answers = [discriminator(GAIN * wave) for discriminator in self]
        return tuple(sum(lists, []) for lists in zip(*answers, strict=True))


def discriminator_loss(real, generated):
    """Return the hinge loss of logits, lists of tensors, 2 for an undecided judge. source: Defossez 2022 (EnCodec), 3.4."""
    return _mean(F.relu(1 - r).mean() + F.relu(1 + g).mean() for r, g in zip(real, generated, strict=True))


def generator_loss(generated):
    """Return the hinge loss of a generator whose waves got these logits. source: Defossez 2022 (EnCodec), 3.4."""
    return _mean(F.relu(1 - g).mean() for g in generated)


def matching_loss(real, generated):
    """Return the relative L1 distance of features, the mean over layers of all judges.

    real, generated: a list of tensors for each judge. source: Defossez 2022 (EnCodec), section 3.4, l_feat.
    """
    pairs = [pair for r, g in zip(real, generated, strict=True) for pair in zip(r, g, strict=True)]
    return _mean((r - g).abs().mean() / r.abs().mean() for r, g in pairs)


class Adversarial(nn.Module):
    """A generator and its discriminators as one model: one optimiser and one checkpoint hold both.

    reconstruct: reconstruct(generator, batch) -> {"loss": scalar, "wave": (N, S) generated, "truth": (N, S), other scalars}.
    weights: of the reconstruction, of matching features, of fooling the judges. source: DAC's conf/final/16khz.yml, where the
    terms are sums over scales, layers and judges; here the last two are means.
    """

    def __init__(self, generator, reconstruct, discriminators=None, weights=(15.0, 2.0, 1.0)):
        super().__init__()
        self.generator, self.reconstruct, self.weights = generator, reconstruct, weights
        self.discriminators = Discriminators(discriminators or (MultiPeriod(), MultiResolution()))

    def forward(self, batch):
        """Return the losses of one step, see `adversarial`."""
        losses = dict(self.reconstruct(self.generator, batch))
        wave, truth = losses.pop("wave"), losses.pop("truth")
        reconstruction, matching, fooling = self.weights
        losses["reconstruction"] = losses["loss"]
        losses["loss"] = reconstruction * losses["loss"]
        if not batch["adversarial"]:
            return losses | dict.fromkeys(("matching", "fooling", "discriminator"), wave.new_tensor(torch.nan))
        logits, features = self.discriminators(torch.cat([truth, wave.detach()]))
        real, generated = zip(*(logit.chunk(2) for logit in logits), strict=True)
        losses["discriminator"] = discriminator_loss(real, generated)
        fixed = {name: value.detach() for name, value in self.discriminators.named_parameters()}
        logits, made = functional_call(self.discriminators, fixed, (wave,))
        losses["matching"] = matching_loss([[f.detach().chunk(2)[0] for f in judge] for judge in features], made)
        losses["fooling"] = generator_loss(logits)
        wanted = matching * losses["matching"] + fooling * losses["fooling"]
        losses["loss"] = losses["loss"] + batch["adversarial"] * wanted + losses["discriminator"]
        return losses


def adversarial(model, batch):
    """Return the losses of one step in which both players learn, each from its own terms of "loss" alone.

    model: an Adversarial; batch: what its `reconstruct` takes and "adversarial", a float: the share at which the generator
    minds the discriminators. At 0 they are not asked, do not learn and cost nothing, and their losses are nan.
    """
    return model(batch)


def _convolution(inputs, outputs, kernel, stride):
    """Return a weight-normalised convolution that keeps sizes at stride 1."""
    return weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding=[k // 2 for k in kernel]))


def _spectrum(wave, size):
    """Return the spectrum (N, 2, frames, size / 2 + 1) of a wave (N, S); white noise keeps its variance."""
    window = torch.hann_window(size, device=wave.device)
    spectrum = torch.stft(wave, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    return torch.view_as_real(spectrum / window.norm()).permute(0, 3, 2, 1)


def _verdicts(answers):
    """Return (logits, features), two lists, of judges' (logits, features)."""
    return tuple(list(parts) for parts in zip(*answers, strict=True))


def _mean(values):
    return torch.stack(list(values)).mean()
