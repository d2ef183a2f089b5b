"""What training minimises: spectral differences, of magnitudes in stage 1 and of waves in stage 2."""

import math
from functools import lru_cache

import torch

from rovolad_lib.autoencoder.features import LOG_FLOOR, MEL_FLOOR
from rovolad_lib.speech.audio import mel_filters
from rovolad_lib.speech.spectral import stft

SCALES = (2048, 1024, 512, 256, 128)  # windows of the multi-scale mel in samples


def spectral_loss(features, predicted, magnitude):
    """Return the weighted distances between a predicted log magnitude and a true magnitude.

    features: the autoencoder's Features; predicted: (N, F, B) natural log; magnitude: (N, F, B).
    Returns {"log": L1 of log magnitude, "mel": L1 of log mel, "power": L1 of magnitude^0.4} of scalars.
    """
    log = (predicted - torch.log(magnitude + LOG_FLOOR)).abs().mean()
    linear = predicted.clamp(max=8).exp()
    mel = (features.mel(linear) - features.mel(magnitude)).abs().mean()
    power = (linear.pow(0.4) - magnitude.pow(0.4)).abs().mean()
    return {"log": log, "mel": mel, "power": power}


def stage_one(model, batch, penalty=1e-3):
    """Return the losses of one step of training on magnitudes.

    model: an Autoencoder; batch: {"magnitude": (N, F, B), whole latent frames, "sigma": (N,) deviation of the bottleneck noise}.
    The latents get noise so that the decoder forgives errors of that size, and a small pull to zero keeps their scale.
    """
    magnitude = batch["magnitude"]
    real = torch.ones(len(magnitude), magnitude.shape[1] // model.stack, 1, device=magnitude.device)
    latents = model.analyse(magnitude, real)
    sigma = batch["sigma"].view(-1, 1, 1)
    predicted = model.synthesise(latents + sigma * torch.randn_like(latents), real)
    losses = spectral_loss(model.features, predicted, magnitude)
    losses["loss"] = losses["log"] + 2 * losses["mel"] + 3 * losses["power"] + penalty * latents.square().mean()
    return losses


class StageTwo:
    """The losses of one step of training the `net` head: step(head, batch) -> {"loss", "mel", "log", "power"}.

    model: the Autoencoder whose latents and magnitudes the head hears and which stays as it is; iterations: numbers of
    Griffin-Lim iterations before the head, that take turns.
    """

    def __init__(self, model, iterations=(0, 2)):
        self.model, self.iterations = model.eval(), iterations
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("net."))

    def __call__(self, head, batch):
        made = self.reconstruct(head, batch)
        return {name: value for name, value in made.items() if name not in ("wave", "truth")}

    def reconstruct(self, head, batch):
        """Return the losses beside "wave" and "truth" (N, S); batch: {"wave": (N, S), "sigma": (N,)}, S whole latent frames."""
        truth, turn = batch["wave"], int(torch.randint(len(self.iterations), ()))
        with torch.no_grad():
            latents = self.model.encode(truth)
            latents = latents + batch["sigma"].view(-1, 1, 1) * torch.randn_like(latents)
            guess = self.model.spectrum(latents, iterations=self.iterations[turn])
        wave = head(guess)
        found, wanted = (stft(x, self.model.frame_hop).abs() for x in (wave, truth))
        losses = {
            "mel": multiscale_mel(wave, truth),
            "log": (torch.log(found + LOG_FLOOR) - torch.log(wanted + LOG_FLOOR)).abs().mean(),
            "power": ((found + 1e-6).pow(0.4) - (wanted + 1e-6).pow(0.4)).abs().mean(),
        }
        losses["loss"] = len(SCALES) * losses["mel"] + losses["log"] + 3 * losses["power"]
        return losses | {"wave": wave, "truth": truth}


def multiscale_mel(made, truth):
    """Return the mean L1 of log mels over windows of 128 to 2048 samples, quarter hops, up to 80 bands; waves (N, S)."""
    distances = []
    for window in SCALES:
        a, b = (_log_mel(wave, window) for wave in (made, truth))
        distances.append((a - b).abs().mean())
    return sum(distances) / len(SCALES)


def _log_mel(wave, window):
    """Return (N, F, M) log mel magnitudes with a floor, scaled so that a bin of noise has the same level in every window."""
    shape, filters = _shape_and_filters(window, wave.device)
    spectrum = torch.stft(wave, window, window // 4, window=shape, pad_mode="constant", return_complex=True).abs().mT
    return torch.log(spectrum @ filters * math.sqrt(640 / window) + MEL_FLOOR)


@lru_cache
def _shape_and_filters(window, device):
    """Return the Hann window (W,) and mel filters (W / 2 + 1, M) on a device."""
    filters = mel_filters(min(80, window // 8), window // 2 + 1).T
    return torch.hann_window(window, device=device), filters.to(device)
