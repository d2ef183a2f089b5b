"""Classifier-free guidance: past the unconditional estimate, towards and beyond the conditional one."""

import torch


def guide(conditional, unconditional, scale, rescale=0.0, mask=None):
    """Return unconditional + scale (conditional - unconditional), optionally with the conditional estimate's deviation.

    conditional, unconditional: (N, E, T) estimates of the same kind; scale: 1 returns `conditional` itself, bit for
    bit, and 0 the unconditional estimate; rescale: phi in [0, 1], the share of the result whose deviation, an item, is
    set to that of `conditional`; mask: (N, T) bool, True where frames are real, only these are measured. Returns (N,
    E, T). Errors: ValueError.
    source: Ho 2022 (arXiv 2207.12598); Lin 2023 (arXiv 2305.08891), eq. 15 and 16.
    """
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale={rescale}; accepted: 0 to 1")
    if scale == 1:
        return conditional
    result = unconditional + scale * (conditional - unconditional)
    if rescale == 0:
        return result
    wanted, present = deviation(conditional, mask), deviation(result, mask)
    # an item without any deviation has nothing to rescale
    factor = torch.where(present > 0, wanted / torch.where(present > 0, present, 1.0), 1.0)
    return result * (rescale * factor + (1 - rescale))


def guided(denoise, denoise_null, scale, rescale=0.0, mask=None, interval=(0.0, 1.0)):
    """Return a denoiser that guides `denoise` away from `denoise_null`, for use in a sampler.

    denoise, denoise_null: functions (x (N, E, T), t (N,)) -> x0 estimate with and without the condition; scale,
    rescale, mask: as in `guide`; interval: times (low, high) between which guidance acts, elsewhere the conditional
    estimate is returned. At scale 1 and outside the interval `denoise_null` is not called.
    source: Kynkaanniemi 2024 (arXiv 2404.07724) for the interval.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise ValueError(f"interval={interval}; accepted: two times 0 <= low <= high <= 1")
    if scale == 1:
        return denoise
    always = (low, high) == (0, 1)  # spares a look at t, which on a GPU would wait for the device

    def both(x, t):
        conditional = denoise(x, t)
        if not always and not low <= float(t.flatten()[0]) <= high:
            return conditional
        return guide(conditional, denoise_null(x, t), scale, rescale, mask)

    return both


def deviation(x, mask=None):
    """Return the standard deviation of each item's real values, of the population; (N, E, T) -> (N, 1, 1).

    mask: (N, T) bool, True where frames are real, or None; 0 for an item without any.
    """
    weight = torch.ones_like(x) if mask is None else mask[:, None, :].to(x).expand_as(x)
    dims = tuple(range(1, x.dim()))
    count = weight.sum(dims, keepdim=True).clamp_min(1)
    mean = (x * weight).sum(dims, keepdim=True) / count
    return (((x - mean) * weight).square().sum(dims, keepdim=True) / count).sqrt()
