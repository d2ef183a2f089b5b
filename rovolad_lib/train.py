"""One training loop for autoencoder, discriminator stage and denoiser: it shows progress, resumes, and stops on bad numbers."""

import copy
import json
import math
import os
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator, PartialState
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from rovolad_lib.files import replacing

RECIPE = 1
SMOOTH = 20  # steps averaged in a row of the log
NEWEST, BEFORE = "checkpoint.pt", "checkpoint_before.pt"  # the two that are kept


@dataclass(frozen=True)
class Fit:
    """What a training run left: its log (step, losses, lr, seconds), its steps, and the seconds they took."""

    log: pd.DataFrame
    steps: int
    seconds: float


def fit(model, step, batches, run, **options):
    """Train a model in place, to the moving average of its weights, and return the log, a Fit; `_fit` says what is accepted.

    One process at a time trains in a folder, or several of one `accelerate launch`: the next waits, says so, and then finds the
    finished run.
    """
    first = PartialState(cpu=str(options.get("device", "cpu")) == "cpu").is_main_process
    with _alone(Path(run)) if first else nullcontext():
        return _fit(model, step, batches, Path(run), **options)


def _fit(
    model, step, batches, run, *, steps=None, seconds=None, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-2, warmup=0.02,
    ema=0.999, clip=1.0, seed=0, device="cpu", workers=0, every=60.0, plan=None, force=False, keep=(),
):  # fmt: skip
    """Train a model in place in a folder of its own; see `fit`.

    model: nn.Module; step: step(model, batch) -> {"loss": scalar to minimise, other names: scalars to log}.
    batches: map-style, batches[i] is the i-th batch of an endless sequence, the same whenever it is asked for; one that has
    a method `planned` is told the number of steps before the first of them.
    run: folder of log.csv and the two newest checkpoints, of which a damaged one is passed over, which is said. Running the same
    thing again resumes; a finished run is loaded.
    steps, or seconds: a budget in seconds becomes a number of steps once, by timed steps that are then undone, and stands in
    the file `plan` (None: budget.json in the run), which several runs may share.
    lr: peak of AdamW's rate (warm-up share `warmup`, cosine to 2 %); ema: decay of the average; clip: gradient norm;
    every: seconds between checkpoints; force: start over; keep: numbers of steps after which the averaged weights are kept
    too, as average_<steps>.safetensors in the run, to see how quality grows. Step i is seeded with (seed, i), so a resumed
    run repeats an uninterrupted one.
    Errors: FloatingPointError, naming the last good checkpoint, where a loss or gradient is not finite.
    """
    if force:
        for name in (NEWEST, BEFORE):
            (run / name).unlink(missing_ok=True)
    accelerator = Accelerator(cpu=str(device) == "cpu")
    learned = [p for p in model.to(accelerator.device).train().parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr, betas, weight_decay=weight_decay, fused=True)
    trained, optimizer = accelerator.prepare(model, optimizer)
    if steps is None:
        plan = Path(plan or run / "budget.json")
        steps = _budget(plan, run, trained, optimizer, step, batches, seconds, accelerator, seed)
    if hasattr(batches, "planned"):
        batches.planned(steps)
    average = copy.deepcopy(model).requires_grad_(False)
    state = _restore(run, model, average, optimizer)
    first, log, saved = state["step"], _Log(state["rows"]), 0.0
    loader = DataLoader(batches, batch_size=None, sampler=range(first, steps), num_workers=workers)
    with tqdm(total=steps, initial=first, desc=run.name, mininterval=2.0, disable=first >= steps) as progress:
        for i, batch in zip(range(first, steps), loader, strict=True):
            torch.manual_seed(seed * 1_000_003 + i)
            _set_rate(optimizer, lr * _schedule(i, steps, warmup))
            log.add(_update(trained, optimizer, step, _to(batch, accelerator.device), accelerator, clip, i, run))
            _follow(average, model, min(ema, (1 + i) / (10 + i)))
            if i + 1 in keep:
                _keep(run / f"average_{i + 1}.safetensors", average)
            last = i + 1 == steps
            if (i + 1) % SMOOTH == 0 or last:
                row = log.close(i + 1)
                progress.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
                if last or row["seconds"] - saved > every:  # only here: a log row is never split by a checkpoint
                    _checkpoint(run, model, average, optimizer, i + 1, log.rows)
                    saved = row["seconds"]
            progress.update()
    model.load_state_dict(average.state_dict())
    model.eval()
    return Fit(pd.DataFrame(log.rows), steps, log.rows[-1]["seconds"])


@contextmanager
def _alone(run):
    """Hold a training's folder; who comes second waits, and says for whom. A process that dies lets go of it."""
    run.mkdir(parents=True, exist_ok=True)
    owner = run / "owner.json"
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
        print(f"{run} is being trained by {who}: waiting until that is done")
        lock.acquire()
    try:
        with replacing(owner) as file:
            file.write_text(json.dumps({"process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


class _Log:
    """The rows of log.csv: losses averaged over up to SMOOTH steps, and the seconds of training since its first step."""

    def __init__(self, rows):
        self.rows, self.sums, self.count = rows, {}, 0
        self.began = time.monotonic() - (rows[-1]["seconds"] if rows else 0.0)

    def add(self, losses):
        """Take in the losses of one step."""
        self.sums = {name: self.sums.get(name, 0.0) + float(value) for name, value in losses.items()}
        self.count += 1

    def close(self, step):
        """End a row at the number of steps taken and return it."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.rows.append({"step": step, **means, "seconds": time.monotonic() - self.began})
        self.sums, self.count = {}, 0
        return self.rows[-1]


def _update(model, optimizer, step, batch, accelerator, clip, index, run):
    """Take one optimiser step and return the detached losses."""
    losses = step(model, batch)
    optimizer.zero_grad(set_to_none=True)
    accelerator.backward(losses["loss"])
    norm = accelerator.clip_grad_norm_(model.parameters(), clip)
    losses = {name: value.detach() for name, value in losses.items()}
    if not torch.isfinite(losses["loss"] + norm):  # a finite loss can have a slope that is not
        path = run / NEWEST
        kept = f"the last good checkpoint is {path}" if path.exists() else f"there is no checkpoint at {path} yet"
        raise FloatingPointError(f"loss is {float(losses['loss'])}, its gradient {float(norm)} at step {index}; {kept}")
    optimizer.step()
    return losses


def _schedule(i, steps, warmup):
    """Return the share of the peak rate at step i: linear warm-up, then half a cosine to 2 %."""
    ramp = max(1, round(warmup * steps))
    if i < ramp:
        return (i + 1) / ramp
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (i - ramp) / max(1, steps - ramp)))


def _set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def _follow(average, model, decay):
    """Move the average's weights towards the model's; buffers are copied."""
    mine, theirs = list(average.parameters()), list(model.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for a, b in zip(average.buffers(), model.buffers(), strict=True):
        a.copy_(b)


def _budget(plan, run, model, optimizer, step, batches, seconds, accelerator, seed):
    """Return the steps that fit into `seconds`: from 8 timed steps, undone afterwards and written down once."""
    if seconds is None:
        raise ValueError("fit needs a budget: steps or seconds")
    if not plan.exists():
        before = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        for i in range(8):
            if i == 3:  # the first steps also pay for allocation and kernel choice
                started = time.monotonic()
            torch.manual_seed(seed)
            _update(model, optimizer, step, _to(batches[i], accelerator.device), accelerator, 1.0, i, run)
        steps = max(1, round(seconds * 5 / (time.monotonic() - started)))
        model.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        with replacing(plan) as file:
            file.write_text(json.dumps({"seconds": seconds, "steps": steps}), encoding="utf-8")
    return json.loads(plan.read_text(encoding="utf-8"))["steps"]


def _checkpoint(run, model, average, optimizer, step, rows):
    """Write everything a resumed run needs, and the log, each whole or not at all; of many processes the first writes."""
    if not PartialState().is_main_process:
        return
    state = {
        "model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
        "step": step, "rows": rows,
    }  # fmt: skip
    with replacing(run / NEWEST) as file:
        torch.save(state, file)
        if (run / NEWEST).exists():
            os.replace(run / NEWEST, run / BEFORE)
    with replacing(run / "log.csv") as file:
        pd.DataFrame(rows).to_csv(file, index=False)


def _keep(path, average):
    """Write the averaged weights as they stand, whole or not at all; of many processes the first writes."""
    if PartialState().is_main_process:
        with replacing(path) as file:
            save_file({name: value.contiguous() for name, value in average.state_dict().items()}, file)


def _restore(run, model, average, optimizer):
    """Load the newest of the run's checkpoints that is whole, or begin where there is none; nothing is unpickled."""
    state, damaged = None, []
    for path in (run / NEWEST, run / BEFORE):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
        except Exception:  # cut off, or not a checkpoint: of such bytes the reader raises whatever comes
            damaged.append(path)
        if state:
            break
    if damaged and state is None:
        raise ValueError(f"{damaged[0]} is damaged, and there is no other: delete it to start over")
    if damaged:
        print(f"{damaged[0]} is damaged: the run goes on from {path.name}, step {state['step']}")
    if state is None:
        return {"step": 0, "rows": []}
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state


def _to(batch, device):
    """Move the tensors of a batch (a dictionary, possibly with None) to a device."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
