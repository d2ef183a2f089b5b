"""One training loop for autoencoder, discriminator stage and denoiser: it shows progress, resumes, and stops on bad numbers."""

import copy
import json
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from torch import distributed, nn
from torch.distributed.nn.functional import all_gather
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from rovolad_lib import checkpoints
from rovolad_lib.diffusion.schedules import check
from rovolad_lib.files import alone, replacing

RECIPE = 1
SMOOTH = 20  # steps averaged in a row of the log
EXPLODED = 100  # times the loss of the first row


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
    with alone(Path(run), "trained") if first else nullcontext():
        return _fit(model, step, batches, Path(run), **options)


def _compiled(network, device):
    """Return the network compiled; ValueError where it cannot be, for torch's folder has a space, where its linker splits it."""
    if device.type == "cpu" and " " in (folder := str(Path(torch.__file__).parent)):
        raise ValueError(f"compile: torch lies in {folder!r}; accepted on a CPU: a path without a space, or compile=False")
    return torch.compile(network)


def _fit(
    model, step, batches, run, *, steps=None, seconds=None, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-2, warmup=0.02,
    ema=0.999, clip=1.0, seed=0, device="cpu", workers=0, every=60.0, plan=None, force=False, keep=(), accumulate=1,
    precision="no", compile=False,
):  # fmt: skip
    """Train a model in place in a folder of its own; see `fit`.

    model: nn.Module; step: step(model, batch) -> {"loss": scalar to minimise, other names: scalars to log}.
    batches: map-style, batches[i] is the i-th batch of an endless sequence, the same whenever it is asked for; one that has
    a method `planned` is told how many training will take before the first of them.
    run: folder of log.csv and the two newest checkpoints, of which a damaged one is passed over, which is said. Running the same
    thing again resumes; a finished run is loaded.
    steps, or seconds: a budget in seconds becomes a number of steps once, by timed steps that are then undone, and stands in
    the file `plan` (None: budget.json in the run), which several runs may share.
    lr: peak of AdamW's rate (warm-up share `warmup`, cosine to 2 %); ema: decay of the average; clip: gradient norm;
    every: seconds between checkpoints; force: start over; keep: numbers of steps after which the averaged weights are kept
    too, as average_<steps>.safetensors in the run, to see how quality grows; accumulate: batches of a step, their gradients
    averaged; precision: "no", or "bf16" for products in bfloat16; compile: whether torch.compile makes the network's code first.
    Step i is seeded with (seed, i), so a resumed run repeats an uninterrupted one. Of several processes each takes its share of
    the items of every batch through the network; draws and losses are of the whole batch, so that the run is that of one.
    Errors: FloatingPointError, naming the last good checkpoint, where a loss or gradient is not finite, or the loss of a row
    of the log is EXPLODED times that of the first; OSError, naming the file, where a checkpoint cannot be written; ValueError
    where torch cannot compile.
    """
    check(precision, "precision", ("no", "bf16"))
    main = PartialState().is_main_process  # of many processes the first writes
    if force and main:
        checkpoints.remove(run)
    accelerator = Accelerator(cpu=str(device) == "cpu")
    learned = [p for p in model.to(accelerator.device).train().parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr, betas, weight_decay=weight_decay, fused=True)
    trained, optimizer = accelerator.prepare(model, optimizer)
    trained = _compiled(trained, accelerator.device) if compile else trained
    trained = Shared(trained) if accelerator.num_processes > 1 else trained
    step = torch.autocast(accelerator.device.type, torch.bfloat16)(step) if precision == "bf16" else step
    if steps is None:
        plan = Path(plan or run / "budget.json")
        steps = _budget(plan, run, trained, optimizer, step, batches, seconds, accelerator, seed, accumulate)
    if hasattr(batches, "planned"):
        batches.planned(steps * accumulate)
    average = copy.deepcopy(model).requires_grad_(False)
    state = checkpoints.restore(run, model, average, optimizer)
    first, log, saved = state["step"], _Log(state["rows"]), 0.0
    loader = DataLoader(batches, batch_size=None, sampler=range(first * accumulate, steps * accumulate), num_workers=workers)
    loaded = (_to(batch, accelerator.device) for batch in loader)
    with tqdm(total=steps, initial=first, desc=run.name, mininterval=2.0, disable=first >= steps or not main) as progress:
        for i in range(first, steps):
            torch.manual_seed(seed * 1_000_003 + i)
            _set_rate(optimizer, lr * _schedule(i, steps, warmup))
            log.add(_update(trained, optimizer, step, list(islice(loaded, accumulate)), accelerator, clip, i, run))
            _follow(average, model, min(ema, (1 + i) / (10 + i)))
            if main and i + 1 in keep:
                checkpoints.keep(run / f"average_{i + 1}.safetensors", average)
            last = i + 1 == steps
            if (i + 1) % SMOOTH == 0 or last:
                row = log.close(i + 1)
                progress.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
                if row["loss"] > EXPLODED * abs(log.rows[0]["loss"]):
                    _stop(f"loss is {row['loss']:.3g} over the steps up to {i + 1}, in the first {log.rows[0]['loss']:.3g}", run)
                if last or row["seconds"] - saved > every:  # only here: a log row is never split by a checkpoint
                    if main:
                        checkpoints.write(run, model, average, optimizer, i + 1, log.rows)
                    saved = row["seconds"]
            progress.update()
    model.load_state_dict(average.state_dict())
    model.eval()
    return Fit(pd.DataFrame(log.rows), steps, log.rows[-1]["seconds"])


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


class Shared(nn.Module):
    """A network of which each of several processes computes its share of the items; what it returns is the whole batch.

    forward takes tensors whose first dimension is the items, and None, and returns such a tensor; no item may depend on
    another. wrapped: the network as accelerate prepared it, which averages the gradients of the processes. Each process takes
    the same loss of the same whole, so what flows back into its share is their number times as much as of one process: the
    average makes it the gradient of one.
    """

    def __init__(self, wrapped):
        super().__init__()
        self.wrapped, self.module = wrapped, wrapped.module

    def forward(self, *inputs, **named):
        """Return what the network makes of all items."""
        rank, count, items = distributed.get_rank(), distributed.get_world_size(), len(inputs[0])
        size = -(-items // count)
        mine = (torch.arange(size) + rank * size) % items  # the last share is filled up, and cut off again
        part = self.wrapped(*(_items(x, mine) for x in inputs), **{k: _items(x, mine) for k, x in named.items()})
        return torch.cat(all_gather(part.contiguous()))[:items]


def _items(value, chosen):
    return value[chosen.to(value.device)] if isinstance(value, torch.Tensor) else value


def _update(model, optimizer, step, batches, accelerator, clip, index, run):
    """Take one optimiser step on the mean loss of some batches and return the detached losses, their means."""
    optimizer.zero_grad(set_to_none=True)
    found = []
    for batch in batches:
        with accelerator.autocast():
            losses = step(model, batch)
        accelerator.backward(losses["loss"] / len(batches))
        found.append({name: value.detach() for name, value in losses.items()})
    norm = accelerator.clip_grad_norm_(model.parameters(), clip)
    losses = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
    if not torch.isfinite(losses["loss"] + norm):  # a finite loss can have a slope that is not
        _stop(f"loss is {float(losses['loss'])}, its gradient {float(norm)} at step {index}", run)
    optimizer.step()
    return losses


def _stop(wrong, run):
    """Raise FloatingPointError for bad numbers, naming what was kept before them."""
    path = run / checkpoints.NEWEST
    kept = f"the last good checkpoint is {path}" if path.exists() else f"there is no checkpoint at {path} yet"
    raise FloatingPointError(f"{wrong}; {kept}")


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


def _budget(plan, run, model, optimizer, step, batches, seconds, accelerator, seed, accumulate):
    """Return the steps that fit into `seconds`: from 8 timed steps, undone afterwards and written down once."""
    if seconds is None:
        raise ValueError("fit needs a budget: steps or seconds")
    if not broadcast_object_list([plan.exists()])[0]:  # all processes take the timed steps, or none
        before = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        for i in range(8):
            if i == 3:  # the first steps also pay for allocation and kernel choice
                started = time.monotonic()
            torch.manual_seed(seed)
            _update(model, optimizer, step, [_to(batches[i], accelerator.device)] * accumulate, accelerator, 1.0, i, run)
        steps = max(1, round(seconds * 5 / (time.monotonic() - started)))
        model.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        if accelerator.is_main_process:
            with replacing(plan) as file:
                file.write_text(json.dumps({"seconds": seconds, "steps": steps}), encoding="utf-8")
        accelerator.wait_for_everyone()
    return json.loads(plan.read_text(encoding="utf-8"))["steps"]


def _to(batch, device):
    """Move the tensors of a batch (a dictionary, possibly with None) to a device."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


if __name__ == "__main__":  # accelerate launch -m rovolad_lib.train
    from rovolad_lib.lab.launch import main

    main()
