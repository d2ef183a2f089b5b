"""What stage 1 minimises: spectral differences, no phase."""

import torch

from rovolad_lib.autoencoder.features import LOG_FLOOR, STACK


def spectral_loss(features, predicted, magnitude):
    """Return the weighted distances between a predicted log magnitude and a true magnitude.

    features: the autoencoder's Features; predicted: (N, F, 321) natural log; magnitude: (N, F, 321).
    Returns {"log": L1 of log magnitude, "mel": L1 of log mel, "power": L1 of magnitude^0.4} of scalars.
    """
    log = (predicted - torch.log(magnitude + LOG_FLOOR)).abs().mean()
    linear = predicted.clamp(max=8).exp()
    mel = (features.mel(linear) - features.mel(magnitude)).abs().mean()
    power = (linear.pow(0.4) - magnitude.pow(0.4)).abs().mean()
    return {"log": log, "mel": mel, "power": power}


def stage_one(model, batch, penalty=1e-3):
    """Return the losses of one step of training on magnitudes.

    model: an Autoencoder; batch: {"magnitude": (N, F, 321), F even, "sigma": (N,) deviation of the bottleneck noise}.
    The latents get noise so that the decoder forgives errors of that size, and a small pull to zero keeps their scale.
    """
    magnitude = batch["magnitude"]
    real = torch.ones(len(magnitude), magnitude.shape[1] // STACK, 1, device=magnitude.device)
    latents = model.analyse(magnitude, real)
    sigma = batch["sigma"].view(-1, 1, 1)
    predicted = model.synthesise(latents + sigma * torch.randn_like(latents), real)
    losses = spectral_loss(model.features, predicted, magnitude)
    losses["loss"] = losses["log"] + 2 * losses["mel"] + 3 * losses["power"] + penalty * latents.square().mean()
    return losses
