"""What a network may be asked to predict, how that leads back to clean latents, and the scales that go with it."""

import torch

from rovolad_lib.diffusion.schedules import as_double, check, like, over_items

TARGETS = ("x0", "eps", "v", "residual")
UNIT = (1.0, 1.0, 0.5)  # variances of x0 and y and their covariance where x0, y and y - x0 have unit variance


def target(kind, prior, x0, y, noise, x_t, t, moments=UNIT):
    """Return what a network is asked to predict; (N, E, T), of unit variance for standardised latents.

    kind: "x0"; "eps", the noise; "v" = (b eps - c x0) / sqrt(b^2 + c^2); "residual" = (x_t - x0) / std_t, with std_t
    of `residual_std`. x0, y, noise, x_t: (N, E, T), y may be None where the prior has no use for it; t: (N,); moments: as
    in `residual_std`.
    Limits: v is -x0 where b = c = 0 (a bridge at t = 1); the residual at t = 0 is its limit, taken at t = 1e-4.
    source: Salimans 2022 (v); Liu 2023 (arXiv 2302.05872) eq. 12 (residual).
    """
    check(kind, "target", TARGETS)
    if kind in ("x0", "eps"):
        return x0 if kind == "x0" else noise
    if kind == "v":
        signal, spread, _ = _rotation(prior, t, x0)
        return signal * noise - spread * x0
    clean = as_double(t) == 0
    inside = torch.where(clean, 1e-4, as_double(t))
    x_t = torch.where(over_items(clean, x0).bool(), prior.sample(x0, y, inside, noise), x_t)
    return (x_t - x0) / _std(prior, inside, x0, moments)


def x0_from(kind, prior, output, x_t, y, t, moments=UNIT):
    """Return the clean latents that a network's output stands for; the inverse of `target`; (N, E, T).

    output, x_t: (N, E, T); y: (N, E, T), or None where the prior has no use for it; t: (N,); moments: as for `target`.
    Limits: "eps" multiplies errors by c / b and says nothing where b = 0 (a bridge at t = 1): y stands in there, or 0 where
    the path does not lead to it; "residual" at t = 0 gives x_t.
    """
    check(kind, "target", TARGETS)
    if kind == "x0":
        return output
    if kind == "residual":
        return x_t - _std(prior, t, x_t, moments) * output
    a, b, c = (over_items(value, x_t) for value in prior.coefficients(as_double(t)))
    noisy = x_t - a * prior._needed(y) if prior.uses_y else x_t  # b x0 + c eps
    if kind == "eps":
        silent = y if prior.uses_y else torch.zeros_like(noisy)
        return torch.where(b == 0, silent, (noisy - c * output) / torch.where(b == 0, 1.0, b))
    signal, spread, length = _rotation(prior, t, x_t)
    return signal * noisy / torch.where(length == 0, 1.0, length) - spread * output


def residual_std(prior, t, var_x0=1.0, var_y=1.0, cov=0.5):
    """Return the deviation of x_t - x0, like t.

    t: any shape; var_x0, var_y, cov: variances of x0 and y and their covariance, numbers or tensors that broadcast with
    t. With the defaults x0, y and y - x0 have unit variance, and for the Brownian bridge with noise 1 this is sigma_t, as
    in I2SB; unlike sigma_t it also fits other noise scales and means.
    """
    a, b, c = prior.coefficients(as_double(t))
    var_x0, var_y, cov = map(as_double, (var_x0, var_y, cov))
    power = a**2 * var_y + (1 - b) ** 2 * var_x0 - 2 * a * (1 - b) * cov + c**2
    return like(power.clamp_min(0).sqrt(), t)


def preconditioning(prior, t, var_x0=1.0, var_y=1.0, cov=0.0):
    """Return c_skip, c_out, c_in, each like t, so that x0 is estimated by c_skip x_t + c_out network(c_in x_t).

    t: any shape; var_x0, var_y, cov: variances of x0 and y and their covariance, numbers or tensors that broadcast with
    t. c_skip x_t is the best linear predictor of x0 from x_t, c_out^2 its error variance; network input and target have
    unit variance. Limits: c_out = 0 at t = 0; c_skip = 0, c_out^2 = var_x0, c_in = 1 where x_t is constant.
    source: Zhou 2023 (DDBM, arXiv 2309.16948); where a = 0 it is Karras 2022 (arXiv 2206.00364), table 1.
    """
    a, b, c = prior.coefficients(as_double(t))
    var_x0, var_y, cov = map(as_double, (var_x0, var_y, cov))
    power = a**2 * var_y + b**2 * var_x0 + 2 * a * b * cov + c**2
    nothing = power <= 0
    power = torch.where(nothing, 1.0, power)
    error = (a**2 * (var_x0 * var_y - cov**2) + var_x0 * c**2) / power
    c_out = torch.where(nothing, var_x0, error).clamp_min(0).sqrt()
    return like((b * var_x0 + a * cov) / power, t), like(c_out, t), like(power.rsqrt(), t)


def _rotation(prior, t, x):
    """Return b/r, c/r and r = sqrt(b^2 + c^2), shaped for x; (0, 1, 0) where r = 0."""
    _, b, c = prior.coefficients(as_double(t))
    length = (b**2 + c**2).sqrt()
    empty, divisor = length == 0, torch.where(length == 0, 1.0, length)
    return tuple(over_items(value, x) for value in (b / divisor, torch.where(empty, 1.0, c / divisor), length))


def _std(prior, t, x, moments):
    """Return `residual_std` shaped for x, (N, 1, 1) or an own one for each channel (N, E, 1)."""
    return residual_std(prior, as_double(t).view(-1, *[1] * (x.dim() - 1)), *moments).to(x)
