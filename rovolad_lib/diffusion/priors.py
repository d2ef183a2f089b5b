"""Ways from clean latents to the prior, x_t = a_t y + b_t x0 + c_t eps."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from rovolad_lib.diffusion.schedules import as_double, check, gamma_cosine, like, over_items


class Prior:
    """What the priors share; each has a `_path`, a `start`, and a `_limit` where x_t - a_t y is no plain diffusion."""

    uses_y = True

    def coefficients(self, t):
        """Return a_t, b_t, c_t, each like t: time in [0, 1] of any shape, 0 clean, 1 the prior; float64 inside."""
        return tuple(like(value, t) for value in self._path(as_double(t)))

    def noise_limit(self, s, t):
        """Return w_max, the deviation of x_t given x_s, x0 and y, like t; s, t: times of one shape, t < s."""
        return like(self._limit(as_double(s), as_double(t)), t)

    def sample(self, x0, y, t, noise):
        """Return x_t, drawn from the forward marginal.

        x0, noise: (N, E, T) latents and standard normal noise; y: (N, E, T) robot latents, or None where the prior has
        no use for them; t: (N,) times. Returns (N, E, T). Errors: ValueError without a y that is needed.
        """
        a, b, c = (over_items(value, x0) for value in self._path(as_double(t)))
        x_t = b * x0 + c * noise
        return x_t + a * self._needed(y) if self.uses_y else x_t

    def log_snr(self, t):
        """Return lambda = ln(b_t / c_t), like t; -inf where no signal is left, inf where no noise is."""
        _, b, c = self._path(as_double(t))
        return like(torch.where(b == 0, -math.inf, b.log() - c.log()), t)

    def time(self, log_snr):
        """Return the time at which ln(b_t / c_t) has the given value: a tensor like log_snr, by bisection."""
        value = as_double(log_snr).exp()
        if self.log_snr(torch.full_like(value, 0.5)).isinf().any():
            raise ValueError(f"{self} holds no noise, so it has no time for a signal-to-noise ratio")
        low, high = torch.zeros_like(value), torch.ones_like(value)
        for _ in range(60):  # float64 has 53 bits
            middle = (low + high) / 2
            cleaner = self._path(middle)[1] > self._path(middle)[2] * value
            low, high = torch.where(cleaner, middle, low), torch.where(cleaner, high, middle)
        return like((low + high) / 2, log_snr)

    def _limit(self, s, t):
        (_, b_s, c_s), (_, b_t, c_t) = self._path(s), self._path(t)  # x - a y is a plain diffusion
        return c_t * (1 - (c_t * b_s / (b_t * c_s)) ** 2).clamp_min(0).sqrt()

    def _needed(self, y):
        if y is None:
            raise ValueError(f"{type(self).__name__} starts from robot latents: give y (N, E, T), not None")
        return y


@dataclass(frozen=True)
class Gaussian(Prior):
    """Noise as the prior: a = 0, b = scale sqrt(gamma), c = sqrt(1 - gamma).

    gamma: signal power as a function of t; scale: input scale b, smaller is noisier. source: Chen 2023 (2301.10972).
    """

    gamma: Callable = gamma_cosine
    scale: float = 1.0
    uses_y = False

    def __post_init__(self):
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale={self.scale}; accepted: above 0")

    def _path(self, t):
        gamma = self.gamma(t)
        return torch.zeros_like(t), self.scale * gamma.sqrt(), (1 - gamma).sqrt()

    def start(self, y, noise):
        """Return x_1 = noise; (N, E, T)."""
        return noise


@dataclass(frozen=True)
class Mixed(Prior):
    """Noise around the robot as the prior.

    noise: deviation of the prior around y. form: "resshift" with a = eta, b = 1 - eta, c = noise sqrt(eta), `eta` a
    function of t from 0 to 1; "diffvc" with a = 1 - sqrt(gamma), b = sqrt(gamma), c = noise sqrt(1 - gamma).
    source: Yue 2023 (ResShift, arXiv 2307.12348), eq. 2; Popov 2022 (DiffVC, arXiv 2109.13821).
    """

    noise: float = 1.0
    form: str = "resshift"
    eta: Callable = torch.square
    gamma: Callable = gamma_cosine

    def __post_init__(self):
        check(self.form, "form", ("resshift", "diffvc"))
        if not self.noise >= 0:
            raise ValueError(f"noise={self.noise}; accepted: 0 or more")

    def _path(self, t):
        if self.form == "resshift":
            eta = self.eta(t)
            return eta, 1 - eta, self.noise * eta.sqrt()
        gamma = self.gamma(t)
        return 1 - gamma.sqrt(), gamma.sqrt(), self.noise * (1 - gamma).sqrt()

    def _limit(self, s, t):
        if self.form == "resshift":
            return self._path(t)[2] * (1 - self.eta(t) / self.eta(s)).clamp_min(0).sqrt()
        return super()._limit(s, t)

    def start(self, y, noise):
        """Return x_1 = y + noise deviation times noise; (N, E, T)."""
        return self._needed(y) + self.noise * noise


# kind: the two constants of the paper; S_t = sigma_t^2 and ln A_t follow from them
_BRIDGES = {"brownian": (1.0, 1.0), "gmax": (0.01, 50.0), "vp": (0.01, 20.0), "ve": (0.4, 2.6)}


@dataclass(frozen=True)
class Bridge(Prior):
    """The robot itself as the prior: a bridge pinned to x0 at t = 0 and to y at t = 1.

    noise: factor on the published sigma_t; for "brownian" it is sigma_1 = sqrt(S_1), to be chosen in units of the
    residual's deviation (0 is the deterministic interpolation). kind: "brownian" (I2SB), "gmax", "vp" (Bridge-TTS) or
    "ve" (sgmse). constants: (beta_0, beta_1), for "ve" (c, k); None takes the published pair. end: "robot", or "zero"
    for the matched control, a bridge to zeros with the same noise.
    source: Liu 2023 (arXiv 2302.05872), eq. 11; Chen 2023 (arXiv 2312.03491), table 1.
    """

    noise: float = 1.0
    kind: str = "brownian"
    constants: tuple | None = None
    end: str = "robot"

    def __post_init__(self):
        check(self.kind, "kind", tuple(_BRIDGES))
        if not self.noise >= 0:
            raise ValueError(f"noise={self.noise}; accepted: 0 or more")
        check(self.end, "end", ("robot", "zero"))
        first, second = self.constants or _BRIDGES[self.kind]
        sound = first > 0 and second > 1 if self.kind == "ve" else min(first, second) >= 0 < first + second
        if not sound or not math.isfinite(first + second):
            wanted = "c above 0 and k above 1" if self.kind == "ve" else "beta_0 and beta_1 from 0, not both 0"
            raise ValueError(f"constants {self.constants} of kind {self.kind!r}; accepted: {wanted}")

    @property
    def uses_y(self):
        """Whether the path leads to y: False for the bridge to zeros."""
        return self.end == "robot"

    def _forward(self, t):
        """Return ln A_t, the scale of the forward process, and its accumulated variance S_t / noise^2."""
        first, second = self.constants or _BRIDGES[self.kind]
        if self.kind == "ve":
            return torch.zeros_like(t), first * torch.expm1(2 * math.log(second) * t) / (2 * math.log(second))
        power = first * t + (second - first) * t**2 / 2
        return (-power / 2, torch.expm1(power)) if self.kind == "vp" else (torch.zeros_like(t), power)

    def _progress(self, t):
        """Return ln A_t, ln A_1, sigma_1 and S_t / S_1, which is exactly 1 at t = 1."""
        log_scale, variance = self._forward(t)
        last_log_scale, last_variance = self._forward(torch.ones_like(t))
        share = torch.where(t == 1, 1.0, variance / last_variance)
        return log_scale, last_log_scale, self.noise * last_variance.sqrt(), share

    def _path(self, t):
        log_scale, last_log_scale, sigma, share = self._progress(t)
        a = (log_scale - last_log_scale).exp() * share if self.uses_y else torch.zeros_like(t)
        scale = log_scale.exp()
        return a, scale * (1 - share), scale * sigma * (share * (1 - share)).sqrt()

    def _limit(self, s, t):
        log_scale, _, sigma, share = self._progress(t)
        return log_scale.exp() * sigma * (share * (1 - share / self._progress(s)[3]).clamp_min(0)).sqrt()

    def start(self, y, noise):
        """Return x_1 = y, or zeros for the bridge to zeros; (N, E, T). The noise gives only the shape."""
        return self._needed(y) if self.uses_y else torch.zeros_like(noise)


@dataclass(frozen=True)
class PerItem(Prior):
    """Several priors in one batch, each item under its own: how one network learns them all, told which.

    priors: tuple of Prior; kind: (N,) long, the prior of each item. Times are (N, ...).
    """

    priors: tuple
    kind: torch.Tensor

    @property
    def uses_y(self):
        """Whether the path of any leads to y."""
        return any(prior.uses_y for prior in self.priors)

    def _path(self, t):
        return tuple(map(self._own, zip(*(prior._path(t) for prior in self.priors), strict=True)))

    def _limit(self, s, t):
        return self._own([prior._limit(s, t) for prior in self.priors])

    def start(self, y, noise):
        """Return x_1, each item's own; (N, E, T)."""
        return self._own([prior.start(y, noise) for prior in self.priors])

    def _own(self, values):
        """Return of the priors' values (N, ...) each item's own."""
        values = torch.stack(list(values))
        return values[self.kind.to(values.device), torch.arange(len(self.kind), device=values.device)]
