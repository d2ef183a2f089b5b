"""Latents of a robot in, latents of a voice out: a denoiser, its prior and a sampler, on a batch of any lengths."""

import torch

from rovolad_lib.denoiser.objective import Estimator, answerable
from rovolad_lib.diffusion import samplers
from rovolad_lib.diffusion.guidance import guided
from rovolad_lib.diffusion.named import BOTH, PRIORS
from rovolad_lib.diffusion.schedules import as_double, check, grid
from rovolad_lib.speech.batches import pad


class Noise:
    """Normal noise for a batch, the same for an item whatever it is batched with.

    seeds: one for each item; lengths: real frames of each item; first: (N,) their first real frame (None: 0).
    """

    def __init__(self, seeds, lengths, first=None):
        self.generators = [torch.Generator().manual_seed(int(s)) for s in seeds]
        self.lengths, self.first = lengths, first or [0] * len(lengths)

    def __call__(self, x):
        noise = torch.zeros(x.shape)
        for item, g, length, at in zip(noise, self.generators, self.lengths, self.first, strict=True):
            item[:, at : at + length] = torch.randn(x.shape[1], length, generator=g)
        return noise.to(x)


@torch.no_grad()
def sample(model, prior, robots, contexts, *, sampler, steps=4, guidance=1.0, seed=0, mode="post", masked=True, length=None,
           callback=None, spacing="uniform", rescale=0.0, interval=(0.0, 1.0), told=None, whole=None, match=0.0,
           **options):  # fmt: skip
    """Turn robot latents into latents of the voices that the contexts show.

    model: Denoiser; prior: of diffusion.priors; robots: list of (E, T); contexts: list of (E, T2), T2 may be 0 (no voice);
    sampler: name in diffusion.samplers; steps: of the sampler, an evaluation of the network each (but heun and singlestep);
    guidance: 1 is none; seed: item i starts from (seed, i); mode: where the batch is padded; masked: False hides no padding,
    for a network trained so at `length` frames; spacing: of schedules.grid, or the falling times themselves, a tensor;
    rescale, interval: of diffusion.guidance; told: dict of what else tells the network the voice, as its
    `forward` takes it; whole: list of (E, T3), all that is known of the voices, for the prior's mean (None: the contexts);
    match: share of the way by which mean and deviation of the result are brought to those of `whole`, see `matched`;
    options: the sampler's own (order, eta, form, solver, variance, boot ...).
    Returns a list of (E, T). With masks a result does not depend on its batch. Errors: ValueError.
    """
    check(sampler, "sampler", samplers.SAMPLERS)
    frames, objective = [r.shape[1] for r in robots], model.notes.get("objective", {})
    if not robots or len(contexts) != len(robots) or not all(frames):
        raise ValueError(f"{len(robots)} robots of {frames} frames and {len(contexts)} contexts; accepted: one context each, "
                         "and robots of a frame or more")  # fmt: skip
    answerable(prior, **objective)
    times = _times(prior, steps, spacing)
    device, stride = next(model.parameters()).device, model.stride
    length = None if masked else -(-max(length or 0, *frames) // stride) * stride
    robot, real = (k.to(device) for k in pad(robots, mode, length, stride))
    mask = real if masked else None
    context, heard = (k.to(device) for k in pad(contexts, "post", None, model.config["patch"]))
    if not heard.shape[1]:
        context = heard = None
    known = (context, heard) if whole is None else (k.to(device) for k in pad(whole, "post"))
    estimate = Estimator(model, prior, _kind(model, prior, len(robots), device), **objective)
    y, blank = estimate.mean(robot, *known, mask), estimate.mean(robot, mask=mask)
    given, told = {"robot": robot, "mask": mask}, {name: value.to(device) for name, value in (told or {}).items()}

    def denoise(x, t):
        return estimate(x, t, y, context=context, context_mask=heard, **given, **told)

    def denoise_null(x, t):  # without a voice the prior's mean moves too, and the state with it
        a = prior.coefficients(t)[0].to(x).view(-1, 1, 1)
        return estimate(x - a * (y - blank), t, blank, **given)

    first = real.byte().argmax(1).tolist()
    place = (first, frames, whole or contexts, match)

    def shown(step, reached, state, x0):  # as it would be heard if it were the last
        callback(step, reached, state, pad(_finished(x0, *place), mode, x0.shape[2], stride)[0])

    seeds = [seed * 1_000_003 + i for i in range(len(robots))]
    noise = Noise(seeds, frames, first) if masked else Noise(seeds, [robot.shape[2]] * len(robots))
    walk = getattr(samplers, sampler)
    start, both = prior.start(y, noise(y)), guided(denoise, denoise_null, guidance, rescale, mask, interval)
    result = walk(both, start, times, prior, y, noise, shown if callback and match else callback, **options)
    return [item.cpu() for item in _finished(result, *place)]


def _times(prior, steps, spacing):
    """Return the falling times of a walk, by the name of a spacing or as given; ValueError where a prior cannot begin there."""
    times = grid(steps, spacing, prior) if isinstance(spacing, str) else as_double(spacing)
    if times[0] < 1 and prior.coefficients(1.0)[2] == 0:
        raise ValueError(f"times begin at {float(times[0]):.4g}; accepted: 1, for {prior} starts without noise, as x_1 only")
    return times


def _finished(x, first, frames, voices, match):
    """Return each item of a batch without its padding, a list of (E, T), a share `match` of the way to its voice (E, R)."""
    made = [item[:, at : at + length] for item, at, length in zip(x, first, frames, strict=True)]
    return [matched(z, voice.to(z), match) for z, voice in zip(made, voices, strict=True)] if match else made


def matched(latents, reference, share=1.0):
    """Return latents (E, T) with mean and deviation of each channel a share of the way to those of a reference (E, R).

    What is learned by least squares moves less than speech does, and the voice is in how far it moves. The way of a deviation is
    that of its logarithm; fewer than two frames, on either side, have none, and all stays as it is.
    source: Toda 2007 and Silen 2012 (global variance), there the variance alone.
    """
    if min(latents.shape[1], reference.shape[1]) < 2:
        return latents
    (centre, spread), (target, wanted) = ((z.mean(1, keepdim=True), z.std(1, keepdim=True)) for z in (latents, reference))
    return (latents - centre) * (wanted / spread.clamp(min=1e-6)) ** share + torch.lerp(centre, target, share)


def _kind(model, prior, items, device):
    """Return (N,) long, which of its priors a network of several is told, or None for a network of one."""
    if model.config["priors"] == 1:
        return None
    of = [isinstance(prior, PRIORS[name][0]) for name in BOTH]
    if not any(of):
        raise ValueError(f"{prior} is none that a network of both was told of; accepted: {', '.join(BOTH)}")
    return torch.full((items,), of.index(True), device=device)


def padding(model):
    """Return how a denoiser wants its batches padded, as it was trained: options mode, masked and length of `sample`."""
    setting = model.notes["setting"]
    return {"mode": setting["pad"], "masked": setting["mask"] == "on", "length": model.notes.get("length")}
