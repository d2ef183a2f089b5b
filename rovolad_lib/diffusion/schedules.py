"""How much signal is left at time t, and at which times a sampler stops."""

import math
from functools import partial

import torch

SMALLEST_GAMMA = 1e-9  # the paper's clip: a little signal stays at t = 1, so that nothing is divided by zero


def as_double(t):
    """Return `t` (a number, an array or a tensor of any shape) as a float64 tensor on a device that knows float64."""
    if not isinstance(t, torch.Tensor):
        return torch.as_tensor(t, dtype=torch.float64)
    return (t.cpu() if t.device.type == "mps" else t).double()


def like(value, t):
    """Return the float64 `value` with the type and device of `t`, or as it is where `t` is no floating tensor."""
    return value.to(t) if isinstance(t, torch.Tensor) and t.is_floating_point() else value


def over_items(value, x):
    """Return one value an item, (N,) or (), or what broadcasts already, (N, E, 1), in the type and rank of x (N, E, T)."""
    return value.to(x) if value.dim() == x.dim() else value.to(x).reshape(-1, *[1] * (x.dim() - 1))


def check(value, name, accepted):
    """Raise ValueError, naming what is accepted, where `value` is not among it."""
    if value not in accepted:
        raise ValueError(f"{name} {value!r} is not known; accepted: {', '.join(map(str, accepted))}")


def gamma_linear(t):
    """Return the signal power 1 - t.

    t: time in [0, 1], any shape, 0 is clean. Returns gamma in [1e-9, 1], like t.
    source: Chen 2023 (arXiv 2301.10972), section 2.1.
    """
    return like((1 - as_double(t)).clamp(SMALLEST_GAMMA, 1), t)


def gamma_cosine(t, start=0.0, end=1.0, tau=1.0):
    """Return the signal power of the cosine schedule.

    t: time in [0, 1], any shape, 0 is clean; start, end: the part of the quarter wave that is used; tau: exponent.
    Returns gamma in [1e-9, 1], like t.
    source: Chen 2023 (arXiv 2301.10972), algorithm 1 (whose code defaults to end = 0.5, unlike the paper).
    """

    def wave(u):
        return torch.cos(u * math.pi / 2).clamp_min(0) ** (2 * tau)

    return like(_between(wave, t, start, end), t)


def gamma_sigmoid(t, start=-3.0, end=3.0, tau=1.0):
    """Return the signal power of the sigmoid schedule.

    t: time in [0, 1], any shape, 0 is clean; start, end: the part of the sigmoid that is used; tau: temperature.
    Returns gamma in [1e-9, 1], like t.
    source: Chen 2023 (arXiv 2301.10972), algorithm 1.
    """
    return like(_between(lambda u: torch.sigmoid(u / tau), t, start, end), t)


def gamma_table(t, alphas_cumprod):
    """Return the signal power of a discrete schedule at a continuous time.

    t: time in [0, 1], any shape; alphas_cumprod: (steps,) signal powers. The 0-based timestep k stands at t = (k + 1)
    / steps, where the table's value is returned exactly; t = 0 is clean; linear between the knots. Returns gamma, like
    t.
    """
    table = as_double(alphas_cumprod)
    knots = torch.cat([table.new_ones(1), table])  # (steps + 1,)
    position = as_double(t) * len(table)
    knots = knots.to(position.device)  # and not t to the table, which would wait for a GPU at every evaluation
    nearest = position.round()
    position = torch.where(
        (position - nearest).abs() < 1e-9, nearest, position
    )  # k / steps * steps may miss k by a bit
    low = position.floor().clamp(0, len(table) - 1).long()
    gamma = torch.lerp(knots[low], knots[low + 1], position - low)
    return like(gamma, t)


def _between(curve, t, start, end):
    """Return the curve between start and end, shifted and scaled to fall from 1 to 0, and clipped."""
    first, last = curve(as_double(start)), curve(as_double(end))
    if first == last:
        raise ValueError(f"start={start} and end={end} give the same value; give two different points of the curve")
    return ((last - curve(as_double(t) * (end - start) + start)) / (last - first)).clamp(SMALLEST_GAMMA, 1)


def alphas_cumprod(name, steps=1000):
    """Return the signal powers of a discrete schedule.

    name: "linear" (DDPM, betas 1e-4 to 0.02), "cosine" (iDDPM, s = 0.008, betas <= 0.999) or "scaled_linear" (latent
    diffusion, betas 0.00085 to 0.012 linear in the root); steps: its length. Returns (steps,) float64, falling.
    Errors: ValueError.
    source: Ho 2020, Nichol 2021 eq. 17, Rombach 2022.
    """
    check(name, "schedule", ("linear", "cosine", "scaled_linear"))
    if name == "linear":
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)
    elif name == "scaled_linear":
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2
    else:
        signal = torch.cos((torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - signal[1:] / signal[:-1]).clamp(max=0.999)
    return (1 - betas).cumprod(0)


def rescale_zero_terminal_snr(alphas_cumprod):
    """Return the schedule shifted and scaled so that its last step holds no signal and its first is unchanged.

    alphas_cumprod: (steps,) signal powers. Returns (steps,) float64.
    source: Lin 2023 (arXiv 2305.08891), algorithm 1.
    """
    root = as_double(alphas_cumprod).sqrt()
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2


def gamma(name, zero_terminal_snr=False, steps=1000, **options):
    """Return the signal power of a named schedule as a function of t.

    name: "linear", "cosine" or "sigmoid", of which `options` are start, end and tau; "ddpm_linear", "ddpm_cosine" or
    "scaled_linear", read from the table of `alphas_cumprod(steps)`; zero_terminal_snr: that table rescaled so that no
    signal is left at its end. Returns a function t -> gamma, as priors take it. Errors: ValueError.
    """
    check(name, "schedule", SCHEDULES)
    if name in CURVES:
        if zero_terminal_snr:
            raise ValueError(f"schedule {name!r} ends without signal already; zero_terminal_snr is for tables of betas")
        return partial(CURVES[name], **options)
    if options:
        raise ValueError(f"schedule {name!r} takes no {', '.join(options)}; accepted: zero_terminal_snr, steps")
    table = alphas_cumprod(name.removeprefix("ddpm_"), steps)
    return partial(gamma_table, alphas_cumprod=rescale_zero_terminal_snr(table) if zero_terminal_snr else table)


CURVES = {"linear": gamma_linear, "cosine": gamma_cosine, "sigmoid": gamma_sigmoid}
SCHEDULES = (*CURVES, "ddpm_linear", "ddpm_cosine", "scaled_linear")


def timesteps(n, total=1000, spacing="trailing"):
    """Return n timesteps of a discrete schedule, the noisiest first.

    n: how many; total: the schedule's length; spacing: "leading", "linspace" or "trailing".
    Returns (n,) int64, 0-based, falling; (timesteps + 1) / total are times for `gamma_table`. Errors: ValueError.
    The DPM-Solvers of diffusers take for leading and linspace the first n of n + 1.
    source: Lin 2023 (arXiv 2305.08891), table 2 (there 1-based).
    """
    check(spacing, "spacing", DISCRETE)
    if not 1 <= n <= total:
        raise ValueError(f"n={n} timesteps of total={total}; accepted: 1 to {total}")
    index = torch.arange(n, dtype=torch.float64)
    if spacing == "leading":
        steps = index * (total // n)
    elif spacing == "linspace":
        steps = torch.linspace(0, total - 1, n, dtype=torch.float64).round()
    else:
        steps = (total - index.flip(0) * (total / n)).round() - 1
    return steps.long().flip(0)


def grid(n, spacing="uniform", prior=None, limits=(-5.1, 5.1), rho=7.0):
    """Return the n + 1 times, from 1 down to 0, of an n-step sampler.

    spacing: "uniform" in time; "lambda" uniform in log(b/c); "karras" uniform in (c/b)^(1/rho); a name of `SCHEDULES`,
    whose signal-to-noise ratio at even times is followed on the path of `prior`, so that one network samples under
    other schedules than its own. These need `prior`; the former two place n times between `limits` of log(b/c). The
    first is moved to 1, and 0 follows. "leading", "linspace" or "trailing": the timesteps of 1000 and then 0, of which
    leading begins below 1, where a sampler takes for noise what still holds signal (Lin 2023, section 3.3).
    Returns (n + 1,) float64. Errors: ValueError. source: Lu 2022 (arXiv 2206.00927); Karras 2022 (arXiv 2206.00364),
    eq. 5.
    """
    check(spacing, "spacing", SPACINGS)
    if n < 1:
        raise ValueError(f"n={n} steps; accepted: 1 or more")
    if spacing == "uniform":
        return torch.linspace(1, 0, n + 1, dtype=torch.float64)
    if spacing in DISCRETE:
        return torch.cat([(timesteps(n, 1000, spacing).double() + 1) / 1000, torch.zeros(1, dtype=torch.float64)])
    if prior is None:
        raise ValueError(f"spacing {spacing!r} needs prior=, whose signal-to-noise ratio it follows")
    times = torch.cat([prior.time(_log_snr(n, spacing, *limits, rho)), torch.zeros(1, dtype=torch.float64)])
    times[0] = 1
    if not (times.diff() < 0).all():
        raise ValueError(f"spacing {spacing!r} with n={n} leaves the signal-to-noise ratios of {prior}: {times.tolist()}")
    return times


DISCRETE = ("leading", "linspace", "trailing")
SPACINGS = ("uniform", "lambda", "karras", *DISCRETE, *SCHEDULES)


def _log_snr(n, spacing, low, high, rho):
    """Return n values of log(b/c), rising."""
    if spacing == "lambda":
        return torch.linspace(low, high, n, dtype=torch.float64)
    if spacing == "karras":
        ends = math.exp(-low / rho), math.exp(-high / rho)
        return -rho * torch.linspace(*ends, n, dtype=torch.float64).log()
    power = gamma(spacing)(torch.linspace(1, 0, n + 1, dtype=torch.float64)[:-1])
    return (power / (1 - power)).log() / 2
