"""Others' autoencoders, for figures to stand beside."""

import importlib.util
import warnings
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from rovolad_lib.speech.audio import mel_filters, set_level

# as EnCodec's authors train it: audiocraft's configuration of the solver `compression`, read at commit bf70522
SCALES = range(6, 11)  # windows of 2^6 to 2^10 samples, a quarter of it between them
WEIGHTS = {"wave": 0.1, "mel": 2.0}  # shares of the slope at the output
RATES = {"lr": 3e-4, "betas": (0.5, 0.9), "weight_decay": 0.0, "ema": 0.99}


def there(package):
    """Say whether an optional package of the extra `peers` is installed, and print a line where it is not."""
    found = importlib.util.find_spec(package) is not None
    if not found:
        print(f"{package} is not installed: pip install 'rovolad[peers]'")
    return found


class SEANet(nn.Module):
    """EnCodec's encoder and decoder at 16 kHz with nothing between them: a wave (N, S) to a wave (N, S).

    128 channels at 50 Hz, weights random. There is no quantiser and, as in our own autoencoder, no causality: both favour it.
    filters: width of the first layer. Errors: ImportError without the extra `peers`.
    source: Défossez 2022, section 3.1, by the layers of the authors' package.
    """

    def __init__(self, filters=32):
        super().__init__()
        from encodec.modules import SEANetDecoder, SEANetEncoder  # optional

        self.encoder = SEANetEncoder(n_filters=filters, ratios=[8, 5, 4, 2], norm="none")
        self.decoder = SEANetDecoder(n_filters=filters, ratios=[8, 5, 4, 2], norm="none")
        for part in list(self.modules()):
            if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
                weight_norm(part)  # the package's own is the deprecated one, which cannot be copied

    def forward(self, wave):
        """wave: (N, S) at 16 kHz. Returns (N, S)."""
        return self.decoder(self.encoder(wave.unsqueeze(1))).squeeze(1)[:, : wave.shape[1]]


def seanet_step(model, batch):
    """Return the losses of one step of EnCodec's training, without discriminators: on a CPU ours is trained with none either.

    model: a SEANet; batch: {"wave": (N, S)}. "loss" is the L1 of the wave and the multi-scale mel distance, each over the
    norm of its slope at the output, so that WEIGHTS are shares of that slope.
    source: Défossez 2022, section 3.4, with its balancer (here without a running mean); weights as in audiocraft.
    """
    wave = batch["wave"]
    made = model(wave)
    losses = {"wave": F.l1_loss(made, wave), "mel": mel_distance(made, wave)}
    slopes = {name: torch.autograd.grad(loss, made, retain_graph=True)[0] for name, loss in losses.items()}
    parts = [WEIGHTS[name] * losses[name] / slopes[name].norm(dim=1).mean().clamp(min=1e-12) for name in losses]
    return losses | {"loss": sum(parts)}


def mel_distance(made, wave):
    """Return the distance of two waves (N, S) in 64 mel bands at five scales, a scalar.

    The mean over the scales, and over both: the mean L1 of the power, the mean square of its decimal logarithm.
    source: audiocraft's loss `msspec` with its published options; Défossez 2022, section 3.4, weighs the scales otherwise.
    """
    total = 0.0
    for size in (2**i for i in SCALES):
        a, b = _mel_power(made, size), _mel_power(wave, size)
        logs = (a + 1e-5).log10() - (b + 1e-5).log10()
        total = total + (a - b).abs().mean() + logs.square().mean()
    return total / (2 * len(SCALES))


def _mel_power(wave, size):
    """Return (N, 64, F) of a wave (N, S) by windows of `size` samples and of unit energy."""
    window = torch.hann_window(size, device=wave.device)
    spectrum = torch.stft(wave, size, size // 4, window=window / window.norm(), return_complex=True)
    return _filters(size // 2 + 1).to(wave.device) @ torch.view_as_real(spectrum).square().sum(-1)


@lru_cache
def _filters(bins):
    """Return our mel filters, read off at another number of frequencies: (64, bins)."""
    return F.interpolate(mel_filters(64)[None], bins, mode="linear", align_corners=True)[0]


@torch.inference_mode()
def reconstruct(model, wave):
    """Return what a SEANet makes of a wave (S,), first set to the house's level: (S,)."""
    return model(set_level(wave)[None])[0]


def encodec_24khz():
    """Return EnCodec's 24 kHz model at 6 kbps, encoder to decoder, as a function (1, 1, S) -> (1, 1, S).

    Weights are random and nothing is downloaded: the speed is the same. Errors: ImportError without the extra `peers`.
    """
    from encodec import EncodecModel  # optional

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)
        model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(6.0)
    return torch.inference_mode()(model)
