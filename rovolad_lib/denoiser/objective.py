"""What the denoiser is trained to say, and how its words become an estimate of clean latents."""

import torch


class Estimator:
    """The bridge between mathematics and network: x_t in, an estimate of x0 out, the network seeing unit variance.

    Every prior's x_t = a y + b x0 + c eps becomes, less the known (a + b) y, the noisy residual u = b r + c eps of
    r = x0 - y with variance v per channel. The best linear estimate of r is c_skip u with error variance c_out^2; the
    network is fed c_in u and adds c_out F. source: Karras 2022, table 1, for r in the place of x0.

    model: a Denoiser with its mean fitted; prior: of diffusion.priors.
    """

    def __init__(self, model, prior):
        self.model, self.prior = model, prior

    def scales(self, t):
        """Return shift = a + b, c_in, c_skip, c_out, each (N, E, 1) or (N, 1, 1), at times t (N,).

        At the very end of a bridge b = c = 0: u is zero there but for rounding, which c_in = 0 keeps from being amplified.
        """
        a, b, c = (k.float().view(-1, 1, 1) for k in self.prior.coefficients(t))
        v = self.model.mean.residual.view(1, -1, 1).clamp(min=1e-4)
        total = (b.square() * v + c.square()).clamp(min=1e-12)
        return (
            a + b,
            total.rsqrt() * ((b > 0) | (c > 0)),
            b * v / total,
            v.sqrt() * c / total.sqrt() + (c == 0) * (b == 0) * v.sqrt(),
        )

    def __call__(self, x, t, y, **inputs):
        """Return the estimate of x0, (N, E, T): x (N, E, T), t (N,), y (N, E, T) the prior's mean, inputs of Denoiser."""
        shift, c_in, c_skip, c_out = self.scales(t)
        u = x - shift * y
        return y + c_skip * u + c_out * self.model(c_in * u, t, y, **inputs)

    def loss(self, batch):
        """Return {"loss": mean square of (r_hat - r) / c_out over real frames, "x0": mean square error of x0}.

        batch: of speech.pairs. A twentieth of the times is exactly 1, so that the first step is trained where it begins.
        """
        x0, mask, drop = batch["x0"], batch["mask"], batch["drop"]
        y = self.model.mean(batch["robot"], batch["context"], batch["context_mask"], mask, drop)
        t = torch.rand(len(x0), device=x0.device)
        t = torch.where(torch.rand_like(t) < 0.05, 1.0, t.clamp(1e-4, 1))
        a, b, c = (k.float().view(-1, 1, 1) for k in self.prior.coefficients(t))
        x = a * y + b * x0 + c * torch.randn_like(x0)
        given = {k: batch[k] for k in ("context", "context_mask", "mask", "robot", "drop")}
        error = self(x, t, y, **given) - x0
        c_out = self.scales(t)[3]
        count = x0.shape[1] * (mask.sum() if mask is not None else x0.shape[0] * x0.shape[2])
        weight = 1.0 if mask is None else mask[:, None]
        return {
            "loss": ((error / c_out).square() * weight).sum() / count,
            "x0": (error.square() * weight).sum() / count,
        }


class Denoising:
    """step(model, batch) for `train.fit`: the losses of a Denoiser under a prior."""

    def __init__(self, prior):
        self.prior = prior

    def __call__(self, model, batch):
        return Estimator(model, self.prior).loss(batch)
