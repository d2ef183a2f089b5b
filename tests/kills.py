"""Kill a training at random moments, and see that it loses nothing: `python tests/kills.py [COUNT] [SEED]`.

Each time a process is killed after a random share of what the whole run takes, writes of checkpoints included, and started
again, and what it learns is compared bit for bit with the run that nobody killed. The exit status is the number that differ.
"""

import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rovolad_lib.checkpoints import BEFORE, NEWEST
from rovolad_lib.files import MARK
from rovolad_lib.train import fit

STEPS = 200
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class Noise:
    """Batches, a pure function of i."""

    def __getitem__(self, i):
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(i))
        return {"x": x, "y": x.sum(1, keepdim=True)}


class Step:
    """A loss that draws random numbers; it tells when it is first asked for."""

    def __init__(self, begun):
        self.begun = begun

    def __call__(self, model, batch):
        self.begun.set()
        return {"loss": (model(batch["x"]) + 0.1 * torch.randn(16, 1) - batch["y"]).square().mean()}


def train(folder, begun, done):
    """Train in a folder, a checkpoint every row of the log, and write what was learnt beside it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 500), nn.BatchNorm1d(500), nn.Linear(500, 500), nn.Tanh(), nn.Linear(500, 1))
    fit(model, Step(begun), Noise(), folder, steps=STEPS, every=0)
    done.set()
    save_file(model.state_dict(), folder / "learnt.safetensors")


def start(folder):
    """Start a training; return its process, and an event that is set when its steps are done, as the first is taken."""
    context = multiprocessing.get_context(START)
    getattr(context, "set_forkserver_preload", list)(["rovolad_lib.train"])  # imported once; elsewhere by each process
    begun, done = context.Event(), context.Event()
    process = context.Process(target=train, args=(folder, begun, done))
    process.start()
    while process.is_alive() and not begun.wait(0.01):  # a finished run takes no step
        pass
    return process, done


def killed(folder, moment):
    """Kill a training so many seconds after its first step; return whether it was still at work."""
    shutil.rmtree(folder, ignore_errors=True)
    process, done = start(folder)
    late = done.wait(moment)
    process.kill()
    process.join()
    return not late


def learnt(folder):
    """Return {name: weight} of a finished training, and the losses of its log, whole numbers of steps before them."""
    rows = (folder / "log.csv").read_text(encoding="utf-8").splitlines()
    return load_file(folder / "learnt.safetensors"), [row.rsplit(",", 1)[0] for row in rows]  # without the seconds


def main(count, seed=0, said=print):
    """Kill so many trainings; return how many did not learn the same."""
    moments, differ = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        process, done = start(whole)
        began = time.monotonic()
        done.wait()
        took = time.monotonic() - began
        process.join()
        weights, rows = learnt(whole)
        for k in range(count):
            run, moment = Path(folder, str(k)), moments.uniform(0, took)
            while not killed(run, moment):  # it had ended: this moment came too late
                moment /= 2
            inside = " inside a write" if list(run.glob(f".*{MARK}*")) else ""
            kept = [str(torch.load(run / n, weights_only=True)["step"]) for n in (NEWEST, BEFORE) if (run / n).is_file()]
            start(run)[0].join()  # goes on where the killed one was
            again, logged = learnt(run)
            same = logged == rows and all(torch.equal(value, again[name]) for name, value in weights.items())
            differ += not same
            said(f"killed after {moment:.2f} of {took:.2f} s{inside}, kept {' and '.join(kept) or 'nothing'}: "
                 f"{'the same bits' if same else 'OTHER BITS'}")  # fmt: skip
    return differ


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:] or ["20"])))
