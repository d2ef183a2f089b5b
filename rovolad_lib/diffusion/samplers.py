"""From the prior to clean latents: every sampler is one first-order step, some with a correction added.

All share one shape, `name(denoise, x, times, prior, y=None, noise=None, callback=None, **options) -> x0`:
denoise: (x (N, E, T), t (N,)) -> x0 estimate (N, E, T), always called at the time that x has;
x: (N, E, T) state at times[0], `prior.start(y, noise)` at t = 1; times: (n + 1,) falling, as of `schedules.grid(n)`;
prior: gives x_t = a_t y + b_t x0 + c_t eps; y: (N, E, T) robot latents where the prior leads to them;
noise: None for fresh normal noise, a function `noise(x) -> tensor like x`, or an iterable, one tensor a noisy step;
callback: called as (step, time reached, state, x0 estimate) after each step.
Returns the last x0 estimate where times end at 0 (that step is plain first order, without noise), else the state at
times[-1]. Errors: ValueError. `boot`: a bridge, which holds no noise at t = 1, leaves it by a step that draws some.
"""

import math
from collections import deque
from itertools import pairwise
from typing import NamedTuple

import torch

from rovolad_lib.diffusion.schedules import as_double, check

SAMPLERS = ("ddpm", "ddim", "dpm_solver", "dpm_solver_pp", "bridge_sde", "bridge_ode", "heun")


class _Point(NamedTuple):
    """One time and what the path is there: x = a y + b x0 + c eps and lam = ln(b / c)."""

    t: float
    a: float
    b: float
    c: float
    lam: float


def ddpm(denoise, x, times, prior, y=None, noise=None, callback=None, variance="small", boot=True):
    """Sample ancestrally: each step draws from the exact posterior of the forward process.

    variance: "small" is that posterior's; "large" adds the forward step's own noise instead. Others: see the module.
    source: Ho 2020 (arXiv 2006.11239), eq. 7 and section 3.2.
    """
    check(variance, "variance", ("small", "large"))
    return _walk(denoise, x, times, prior, y, noise, callback, eta=1.0, large=variance == "large", boot=boot)


def ddim(denoise, x, times, prior, y=None, noise=None, callback=None, eta=0.0, boot=True):
    """Sample by the generic first-order step with the share eta, in [0, 1], of the posterior's noise.

    eta: 0 is deterministic (and DPM-Solver of order 1), 1 is `ddpm`. Others: see the module.
    source: Song 2021 (DDIM), eq. 12 and 16; Zheng 2024 (DBIM, arXiv 2405.15885) for bridges.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta}; accepted: 0 to 1")
    return _walk(denoise, x, times, prior, y, noise, callback, eta=eta, boot=boot)


def bridge_sde(denoise, x, times, prior, y=None, noise=None, callback=None):
    """Sample a bridge by its posterior, the first-order exact step of its reverse SDE: `ddim` with eta = 1.

    source: Liu 2023 (I2SB, arXiv 2302.05872), algorithm 2; Chen 2023 (arXiv 2312.03491).
    """
    return _walk(denoise, x, times, prior, y, noise, callback, eta=1.0)


def bridge_ode(denoise, x, times, prior, y=None, noise=None, callback=None, boot=True):
    """Sample a bridge by its probability-flow ODE: `ddim` with eta = 0.

    boot: the first step draws noise; without it nothing is random and the conditional mean comes back, not a sample.
    source: Chen 2023 (arXiv 2312.03491); Zheng 2024 (DBIM, arXiv 2405.15885) for the first step.
    """
    return _walk(denoise, x, times, prior, y, noise, callback, boot=boot)


def dpm_solver(denoise, x, times, prior, y=None, noise=None, callback=None, eta=0.0, boot=True, **options):
    """Sample by DPM-Solver, which extrapolates the noise estimate; options of `dpm_solver_pp`, but eta is 0.

    Where b is small it multiplies errors: "singlestep" of order 3 leaves 2e-3 in float32 at 4 steps of gamma_linear.
    source: Lu 2022 (arXiv 2206.00927), algorithms 1 and 2, and its public code for the multistep form.
    """
    if eta:
        raise ValueError(f"eta={eta} with dpm_solver; accepted: 0, or dpm_solver_pp with order=1")
    correct = _solver("eps", prior, y, times, **options)
    return _walk(denoise, x, times, prior, y, noise, callback, correct=correct, boot=boot)


def dpm_solver_pp(denoise, x, times, prior, y=None, noise=None, callback=None, eta=0.0, boot=True, **options):
    """Sample by DPM-Solver++, which extrapolates the x0 estimate; with a bridge and solver="heun" second-order DBIM.

    order: 1, 2 (the default) or 3, lower at the start of "multistep"; form: "multistep" (one evaluation a step) or
    "singlestep" (`order` evaluations a step, inside it); solver: "midpoint" or "heun", how order 2 weighs the slope;
    published: order 3 multistep as in the public implementations, whose second difference lacks a factor 2 and which
    therefore is of order 2 only, though often no worse at few steps; lower_order_final: fewer than 10 steps end in
    order 2, 1; eta: as in `ddim`, order 1 only. Others: see the module.
    source: Lu 2022 (arXiv 2211.01095), algorithms 1 and 2, and its public code.
    """
    correct = _solver("x0", prior, y, times, **options)
    if eta and correct is not None:
        raise ValueError(f"eta={eta} with order {options.get('order', 2)}; accepted: eta above 0 with order=1 only")
    return _walk(denoise, x, times, prior, y, noise, callback, eta=eta, correct=correct, boot=boot)


def heun(denoise, x, times, prior, y=None, noise=None, callback=None, boot=True):
    """Sample by predictor and corrector: a first-order step, then one with the slope seen at its end; two evaluations.

    In the exponential form, linear in lambda: the paper's trapezoid in c/b fails where a step leaves almost pure noise.
    source: Karras 2022 (arXiv 2206.00364), algorithm 1, without churn.
    """

    def correct(predict, step, s, t, x, x0, following):
        _, phi2, _ = _weights("x0", s, t)
        return following + phi2 * (predict(following, t) - x0)

    return _walk(denoise, x, times, prior, y, noise, callback, correct=correct, boot=boot)


def _walk(denoise, x, times, prior, y, noise, callback, eta=0.0, large=False, correct=None, boot=True):
    """Walk down the times by the generic first-order step (reference: x_t = a y + b D + sqrt(c^2 - w^2) eps + w z)."""
    if prior.uses_y and y is None:
        raise ValueError(f"{type(prior).__name__} needs the robot latents: give y {tuple(x.shape)}, not None")
    points, draw = _points(prior, times), _source(noise)

    def predict(x, point):
        kind = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
        return denoise(x, torch.full((len(x),), point.t, dtype=kind, device=x.device))

    times = as_double(times).cpu()
    limits = prior.noise_limit(times[:-1], times[1:]).tolist()
    for step, (s, t) in enumerate(pairwise(points)):
        x0 = predict(x, s)
        if t.t == 0:
            following = x0
        else:
            w = t.c if s.c == 0 and boot else eta * limits[step]  # a bridge at t = 1 holds no noise to carry on
            following = _hop(x, x0, y, s, t, w)
            if w > 0:
                spread = w * s.c / t.c if large and s.c > 0 else w
                following = following + spread * draw(following)
            if correct is not None and math.isfinite(s.lam):
                following = correct(predict, step, s, t, x, x0, following)
        if callback is not None:
            callback(step, t.t, following, x0)
        x = following
    return x


def _hop(x, x0, y, s, t, w=0.0):
    """Return the mean of x at t given x at s, an x0 estimate and y, before noise of deviation w is added."""
    kept = math.sqrt(max(t.c**2 - w**2, 0.0)) / s.c if s.c > 0 else 0.0
    moved = kept * x + (t.b - kept * s.b) * x0
    towards = t.a - kept * s.a
    return moved if towards == 0 else moved + towards * y


def _solver(space, prior, y, times, order=2, form="multistep", solver="midpoint", published=False, lower_order_final=True):
    """Check the options and return what lifts a first-order step to the order, or None for order 1."""
    check(order, "order", (1, 2, 3))
    check(form, "form", ("multistep", "singlestep"))
    check(solver, "solver", ("midpoint", "heun"))
    if order == 1:
        return None
    if form == "singlestep":
        return _singlestep(space, prior, y, times, order, solver)
    end = len(times) - 1 if lower_order_final and len(times) <= 10 else math.inf
    return _multistep(space, y, order, solver, 1 if published else 2, end)


def _multistep(space, y, order, solver, factor, end):
    """Return the correction that takes the slope of the estimate from the steps before."""
    history = deque(maxlen=3)  # (lam, estimate), the newest first

    def correct(predict, step, s, t, x, x0, following):
        estimate = x0 if space == "x0" else (x - s.b * x0 - (s.a * y if s.a else 0)) / s.c  # or the noise that x0 implies
        history.appendleft((s.lam, estimate))
        usable = min(order, len(history), end - step)
        if usable == 1:
            return following
        phi1, phi2, phi3 = _weights(space, s, t)
        (lam0, now), (lam1, before) = history[0], history[1]
        h = t.lam - lam0
        r0 = (lam0 - lam1) / h
        slope = (now - before) / r0
        if usable == 2:
            return following + (phi1 / 2 if solver == "midpoint" else phi2) * slope
        lam2, oldest = history[2]
        r1 = (lam1 - lam2) / h
        bend = (slope - (before - oldest) / r1) / (r0 + r1)
        # the second derivative of the parabola through three points is 2 bend; the public implementations use bend
        return following + phi2 * (slope + r0 * bend) + phi3 * factor * bend

    return correct


def _singlestep(space, prior, y, times, order, solver):
    """Return the correction that takes the slope of the estimate from evaluations inside the step."""
    shares = (0.5,) if order == 2 else (1 / 3, 2 / 3)
    lam = prior.log_snr(as_double(times).cpu())
    inner = [_points(prior, prior.time(lam[:-1] + share * lam.diff()), ordered=False) for share in shares]

    def correct(predict, step, s, t, x, x0, following):
        phi1, phi2, _ = _weights(space, s, t)
        first = change(inner[0][step], predict(_hop(x, x0, y, s, inner[0][step]), inner[0][step]), x0)
        if order == 2:
            return following + (phi1 / 2 if solver == "midpoint" else phi2) * first / shares[0]
        point = inner[1][step]
        moved = _weights(space, s, point)[1] * (shares[1] / shares[0]) * first
        second = change(point, predict(_hop(x, x0, y, s, point) + moved, point), x0, moved)
        return following + phi2 * second / shares[1]

    def change(point, estimate, x0, moved=0.0):  # of noise by way of x0: as a difference it cancels where b is small
        return estimate - x0 if space == "x0" else (point.b * (x0 - estimate) + moved) / point.c

    return correct


def _weights(space, s, t):
    """Return b h phi_k(-h) for x0 or -c h phi_k(h) for noise: weights of value, slope, curvature; k = 1, 2, 3."""
    h, weight = (s.lam - t.lam, t.b) if space == "x0" else (t.lam - s.lam, t.c)
    first = math.expm1(h)
    second = first / h - 1
    return -weight * first, -weight * second, -weight * (second / h - 0.5)


def _points(prior, times, ordered=True):
    """Return the path at each time as Python numbers: float64, and no device is asked again inside the loop."""
    times = as_double(times).cpu()
    falling = times.dim() == 1 and len(times) > 1 and bool((times.diff() < 0).all())
    if ordered and not (falling and times[0] <= 1 and times[-1] >= 0):
        raise ValueError(f"times {times.tolist()}; accepted: two or more, falling, from at most 1 to at least 0")
    columns = torch.stack([times, *prior.coefficients(times), prior.log_snr(times)], dim=1)
    return [_Point(*row) for row in columns.tolist()]


def _source(noise):
    """Return a function of x that gives the next noise."""
    if noise is None:
        return torch.randn_like
    if callable(noise):
        return noise
    tensors = iter(noise)

    def draw(x):
        z = next(tensors, None)
        if z is None:
            raise ValueError("noise ran out; give one tensor for each noisy step, a function, or None")
        if z.shape != x.shape:
            raise ValueError(f"noise {tuple(z.shape)}; accepted: the shape of x, {tuple(x.shape)}")
        return z.to(x)

    return draw
