"""What the denoiser is trained to say, and how its words become an estimate of clean latents."""

import torch

from rovolad_lib.diffusion.guidance import deviation
from rovolad_lib.diffusion.priors import PerItem
from rovolad_lib.diffusion.schedules import check
from rovolad_lib.diffusion.targets import TARGETS, preconditioning, target, x0_from

# of a batch, for the network
INPUTS = ("context", "context_mask", "mask", "robot", "drop", "text", "text_mask", "speaker", "pitch")


class Estimator:
    """The bridge between mathematics and network: x_t in, an estimate of x0 out, the network seeing unit variance.

    "preconditioned": every prior's x_t = a y + b x0 + c eps becomes, less the known (a + b) y, the noisy residual
    u = b r + c eps of r = x0 - y with variance v per channel. The best linear estimate of r is c_skip u with error
    variance c_out^2; the network adds c_out F. source: Karras 2022, table 1, for r in the place of x0. It hears c_in u; or,
    where it is not given the robot (condition off), x_t over its deviation: on a path to the robot its only sight of it.
    The other targets are those of `diffusion.targets`; for them the network always hears x_t over its deviation.

    model: a Denoiser with its mean fitted; prior: of diffusion.priors; kind: (N,) long, which prior each item is under,
    for a network of several; target: "preconditioned" | "x0" | "eps" | "v" | "residual"; normalise: the input's
    deviation, "known" from the path (of the distribution: it depends on t alone, so no padding and no loudness of the
    clip enters) or "item" as in Chen 2023 (arXiv 2301.10972), that of each item's real frames; the state is never
    normalised. mapped: form of `mean.fit`; voice: whether the context's mean is part of y; moments: `mean.moments` as
    `fit` measured them, so that the input has unit variance with a voice in y and without; None: as assumed in `moments`.
    times: of `loss`, of the whole "path", or its "start" alone, where sampling begins: a bridge's one-shot regressor E[x0 | y].
    padding: "seen": in training the network is shown padding as if it were speech, and only the loss passes it over.
    """

    def __init__(self, model, prior, kind=None, target="preconditioned", normalise="known", mapped="ridge", voice=True,
                 moments=None, times="path", padding="hidden"):  # fmt: skip
        check(target, "target", ("preconditioned", *TARGETS))
        check(normalise, "normalise", ("known", "item"))
        check(times, "times", ("path", "start"))
        check(padding, "padding", ("hidden", "seen"))
        self.model, self.prior, self.kind = model, prior, kind
        self.inside = getattr(model, "module", model)  # of several processes' wrapper
        self.target, self.normalise, self.mapped, self.voice, self.measured = target, normalise, mapped, voice, moments
        self.times, self.padding = times, padding

    def mean(self, robot, context=None, context_mask=None, mask=None, drop=None):
        """Return y (N, E, T), the prior's mean: arguments of PriorMean, the context left out where it has no part in y."""
        return self.inside.mean(robot, context if self.voice else None, context_mask, mask, drop)

    def scales(self, t):
        """Return shift = a + b, c_in, c_skip, c_out, each (N, E, 1) or (N, 1, 1), at times t (N,).

        At the very end of a bridge b = c = 0: u is zero there but for rounding, which c_in = 0 keeps from being amplified.
        """
        a, b, c = (k.float().view(-1, 1, 1) for k in self.prior.coefficients(t))
        v = self._spread()
        total = (b.square() * v + c.square()).clamp(min=1e-12)
        return (
            a + b,
            total.rsqrt() * ((b > 0) | (c > 0)),
            b * v / total,
            v.sqrt() * c / total.sqrt() + (c == 0) * (b == 0) * v.sqrt(),
        )

    def moments(self, inputs=None):
        """Return the mean squares of x0 and y and the mean of their product, each a number, (1, E, 1) or (N, E, 1).

        inputs: of Denoiser; where they hold no voice, y is the robot's part alone. Where nothing was measured, x0 has unit
        variance, y is the robot's part, and a fitted y leaves a residual uncorrelated with it, or, where that is the
        larger, has nothing to do with x0; the robot as it is has unit variance.
        """
        v = self._spread()
        if self.measured is not None:
            x0, *pairs = torch.tensor(self.measured, device=v.device)[:, None, :, None]  # (1, E, 1) each
            told = self._told(inputs or {}).view(-1, 1, 1).to(v.device)
            return x0, *(torch.where(told, pairs[k], pairs[k + 2]) for k in (0, 1))
        power = torch.ones_like(v) if self.mapped == "robot" else (1 - v).abs()
        return 1.0, power, ((1 + power - v) / 2).clamp(min=-1)

    def __call__(self, x, t, y, **inputs):
        """Return the estimate of x0, (N, E, T): x (N, E, T), t (N,), y (N, E, T) the prior's mean, inputs of Denoiser."""
        return self._answer(x, t, y, inputs)[1]

    def loss(self, batch):
        """Return {"loss": mean square error of the network's answer, "x0": mean square error of x0}, over real frames.

        batch: of speech.pairs. The answer's target has unit variance. A twentieth of the times is exactly 1, so that the
        first step is trained where it begins.
        """
        x0, mask = batch["x0"], batch["mask"]
        t = torch.rand(len(x0), device=x0.device)
        t = torch.where(torch.rand_like(t) < (0.05 if self.times == "path" else 1.0), 1.0, t.clamp(1e-4, 1))
        x, y, noise, given = self._state(batch, t)
        answer, estimate = self._answer(x, t, y, given)
        if self.target == "preconditioned":
            error = (estimate - x0) / self.scales(t)[3]
        else:
            error = answer - target(self.target, self.prior, x0, y, noise, x, t, self.moments(given))
        return {"loss": _mean_square(error, mask), "x0": _mean_square(estimate - x0, mask)}

    @torch.no_grad()
    def x0_errors(self, batch, log_snrs=(-4.0, -2.0, 0.0, 2.0, 4.0)):
        """Return {ln(b / c): mean square error of x0}: what compares networks of other targets, whose losses do not.

        batch: of speech.pairs; log_snrs: noise levels, looked up on the path of each item's prior.
        """
        found = {}
        for level in log_snrs:
            levels = torch.full((len(batch["x0"]),), level, dtype=torch.float64)
            t = self.prior.time(levels).float().to(batch["x0"].device)
            x, y, _, given = self._state(batch, t)
            found[level] = float(_mean_square(self(x, t, y, **given) - batch["x0"], batch["mask"]))
        return found

    def _state(self, batch, t):
        """Return x_t, y and the noise of a batch at times t, and the network's further inputs."""
        given = {name: batch[name] for name in INPUTS if name in batch}
        if self.padding == "seen":
            given["mask"] = None
        heard = [batch[name] for name in (("whole", "whole_mask") if "whole" in batch else ("context", "context_mask"))]
        y = self.mean(batch["robot"], *heard, given["mask"], batch["drop"])
        a, b, c = (k.float().view(-1, 1, 1) for k in self.prior.coefficients(t))
        noise = torch.randn_like(batch["x0"])
        return a * y + b * batch["x0"] + c * noise, y, noise, given

    def _answer(self, x, t, y, inputs):
        """Return the network's answer and the estimate of x0 that it stands for, both (N, E, T)."""
        told = {"windows": True} | ({} if self.kind is None else {"kind": self.kind})  # a clip may be longer than `frames`
        if self.target != "preconditioned":
            heard = self._normalised(x, t, inputs)
            answer = self.model(heard, t, y, **inputs, **told)
            return answer, x0_from(self.target, self.prior, answer, x, y, t, self.moments(inputs))
        shift, c_in, c_skip, c_out = self.scales(t)
        u = x - shift * y
        heard = self._normalised(u, t, inputs, c_in) if self.inside.config["condition"] else self._normalised(x, t, inputs)
        answer = self.model(heard, t, y, **inputs, **told)
        return answer, y + c_skip * u + c_out * answer

    def _normalised(self, x, t, inputs, c_in=None):
        """Return what the network hears of x or u (N, E, T), of unit variance; c_in: the known factor, None for that of x."""
        if self.normalise == "item":
            spread = deviation(x, inputs.get("mask"))
            return x / torch.where(spread > 0, spread, 1.0) * (1.0 if c_in is None else c_in > 0)
        if c_in is None:
            c_in = preconditioning(self.prior, t.view(-1, 1, 1), *self.moments(inputs))[2].float()
        return c_in * x

    def _told(self, inputs):
        """Return whether a voice is in y, (N,) or (1,) bool."""
        context, heard, drop = (inputs.get(name) for name in ("context", "context_mask", "drop"))
        if context is None or not self.voice:
            return torch.zeros(1, dtype=torch.bool)
        told = torch.ones(len(context), dtype=torch.bool, device=context.device) if heard is None else heard.any(1)
        return told if drop is None else told & ~drop

    def _spread(self):
        return self.inside.mean.residual.view(1, -1, 1).clamp(min=1e-4)


class Denoising:
    """step(model, batch) for `train.fit`: the losses of a Denoiser under a prior, or under one of several, drawn per item.

    priors: of diffusion.priors, in the order in which the network counts them; objective: options of Estimator. Over several
    processes each batch holds all that the network was built for, text and speaker too. Errors: see `answerable`.
    """

    def __init__(self, *priors, **objective):
        self.priors, self.objective = priors, objective
        answerable(*priors, **objective)

    def __call__(self, model, batch):
        if len(self.priors) == 1:
            return Estimator(model, self.priors[0], **self.objective).loss(batch)
        kind = torch.randint(len(self.priors), (len(batch["x0"]),), device=batch["x0"].device)
        return Estimator(model, PerItem(self.priors, kind), kind, **self.objective).loss(batch)


def answerable(*priors, target="preconditioned", **objective):
    """Raise ValueError where a target says nothing of x0 on the path of one of the priors.

    "preconditioned" without noise: x_t and y give x0 away and nothing is left to say. "eps" where noise drowns the signal at
    t = 1: an estimate of x0 multiplies its errors by c / b. priors: of diffusion.priors; target: as of Estimator, whose other
    options are not looked at.
    """
    for prior, name in ((prior, type(prior).__name__) for prior in priors):
        if target == "preconditioned" and prior.coefficients(0.5)[2] == 0:
            raise ValueError(f"{name}(noise=0) holds no noise; with it the target must be one of {', '.join(TARGETS)}")
        _, b, c = prior.coefficients(1.0)
        if target == "eps" and b < 1e-3 * c:
            raise ValueError(f"target 'eps' with b / c = {float(b / c):.1e} at t = 1 of {name}; accepted: 1e-3 or more, as of a "
                             "gaussian of schedule scaled_linear or ddpm_linear, or a bridge")  # fmt: skip


def _mean_square(error, mask):
    """Return the mean square over real frames: error (N, E, T), mask (N, T) bool or None."""
    if mask is None:
        return error.square().sum() / error.numel()
    return (error.square() * mask[:, None]).sum() / (error.shape[1] * mask.sum())
