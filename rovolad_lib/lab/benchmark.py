"""Times that can be trusted: rivals take turns in one run, and what is said of them are ratios with their spread."""

import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

STATUS = Path("/proc/self/status")


def take_turns(calls, rounds=7, warmup=2, device="cpu"):
    """Return the seconds of each call, rivals one after the other, round by round, so that a slow moment meets all.

    calls: dict name -> function without arguments; rounds: rows of the result; warmup: uncounted rounds before.
    device: a GPU is waited for before each look at the clock. Returns a DataFrame (rounds, names) in s.
    """
    rows = []
    for _ in tqdm(range(warmup + rounds), desc=", ".join(calls)[:40], mininterval=2.0):
        watches = {name: Stopwatch(call, device) for name, call in calls.items()}
        for watch in watches.values():
            watch()
        rows.append({name: watch.seconds for name, watch in watches.items()})
    return pd.DataFrame(rows[warmup:])


def spread(values):
    """Return the median and the quartiles of a series as {"median", "low", "high"}."""
    low, median, high = values.quantile([0.25, 0.5, 0.75])
    return {"median": median, "low": low, "high": high}


def flops(call):
    """Return the floating-point operations of matrix products, convolutions and attention in one call, an int.

    source: torch.utils.flop_counter; element-wise work is not counted, so a rate from it is a lower bound.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the fused kernels' are not counted
        call()
    return counter.get_total_flops()


def matrix_product(size=2048, device="cpu"):
    """Return a function that multiplies two (size, size) float32 matrices, and its floating-point operations.

    It is the machine's own limit beside which arithmetic rates are stated.
    """
    a, b = torch.randn(2, size, size, device=device)
    return (lambda: a @ b), 2 * size**3


class Stopwatch:
    """A function that adds up the seconds that are spent inside it, in `seconds`.

    call: any function; device: a GPU is waited for on the way in and out.
    """

    def __init__(self, call, device="cpu"):
        waits = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
        self.call, self.wait, self.seconds = call, waits.get(str(device).split(":")[0], lambda: None), 0.0

    def __call__(self, *args, **kwargs):
        self.wait()
        start = time.perf_counter()
        result = self.call(*args, **kwargs)
        self.wait()
        self.seconds += time.perf_counter() - start
        return result


def training_step(model, step, batch, lr=1e-3):
    """Return a function that takes one optimiser step of a model: forward, backward, AdamW.

    model: nn.Module; step: (model, batch) -> {"loss", ...}, as for `train.fit`; batch: what step takes.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr, fused=True)

    def one():
        optimizer.zero_grad(set_to_none=True)
        step(model, batch)["loss"].backward()
        optimizer.step()

    return one


def peak_memory(call, *arguments):
    """Return the bytes by which a call's peak exceeds its idle process, one that has imported all; None where not Linux.

    call, arguments: what a new process can be handed, such as a model's method and tensors; they count too. The peak is read
    from /proc: that of getrusage begins at what the process had that started this one.
    """
    if not STATUS.exists():
        return None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_above_idle, call, arguments).result()


def _peak_above_idle(call, arguments):
    idle = resident()
    call(*arguments)
    return resident("VmHWM") - idle


def resident(name="VmRSS"):
    """Return this process's resident memory in bytes; name: VmRSS for now, VmHWM for the most it ever was."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"))[1])


def diffusers_walk(denoise, x, times, prior):
    """Sample by diffusers' DPM-Solver++ (2M) along the same times, as its users do: one `step` an evaluation.

    denoise: (x (N, E, T), t (N,)) -> x0 estimate; x: state at times[0]; times: (n + 1,) falling to 0; prior: Gaussian of
    scale 1. Returns the x0 estimate (N, E, T). Errors: ImportError without the extra `peers`.
    """
    from diffusers import DPMSolverMultistepScheduler  # optional, and slow to import

    scheduler = DPMSolverMultistepScheduler(prediction_type="sample", lower_order_final=False)
    scheduler.set_timesteps(len(times) - 1)
    scheduler.sigmas = (-prior.log_snr(times)).exp().float()  # any schedule can be put in its place
    scheduler.timesteps = torch.arange(len(times) - 1)
    scheduler.set_begin_index(0)
    for step, t in zip(scheduler.timesteps, times, strict=False):
        x = scheduler.step(denoise(x, t.to(x).expand(len(x))), step, x).prev_sample
    return x
