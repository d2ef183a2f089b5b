"""Notebook 02's training in several processes, on one machine or many.

`accelerate launch --multi_gpu --num_processes 8 -m rovolad_lib.train -p corpus=mls -p preset=full` takes the parameters of the
notebook, which then finds its run finished. On processors it is `torchrun --nproc_per_node 2 -m rovolad_lib.train -p device=cpu`:
with --cpu, accelerate starts one process, however many are asked for.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from accelerate import PartialState

from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.files import printable
from rovolad_lib.lab import experiment, material, params, runs
from rovolad_lib.lab.data import ready
from rovolad_lib.lab.paths import ROOT
from rovolad_lib.lab.setting import Setting

NOTEBOOK = ROOT / "notebooks" / "02_train_latent_diffusion.ipynb"


def run_of(p, data, autoencoder):
    """Return the folder of the training that a notebook's parameters ask for, however it is heard afterwards."""
    decides = experiment.decides(p, data, autoencoder)
    trains = {name: value for name, value in decides.items() if name not in ("steps", "guidance", "kept")}
    return runs.begin("latent_diffusion", trains, data.fingerprint, experiment.recipe())


def setting_of(p):
    """Return the Setting that a notebook's parameters ask for."""
    return Setting(**{name: value for name, value in p.as_dict().items() if name in Setting.__dataclass_fields__})


def train(p, run=None, **further):
    """Train, or load, the denoiser that the parameters ask for; return (train.Fit, folder of the run).

    run: folder, None: the notebook's own; further: options of train.fit.
    """
    device = params.device(p.device)
    with PartialState(cpu=device == "cpu").main_process_first():  # data and latents are made once
        data, autoencoder = ready(p.data, p.corpora).only(p.corpus), Autoencoder.load()
        encoded = material.under(experiment.encode(data, autoencoder), setting_of(p))
        run = run or run_of(p, data, autoencoder)
    return experiment.fit(encoded, setting_of(p), p.preset, run, p.seed, device, force=p.force, **further)[1], run


def start(p):
    """Train in `p.processes` processes of this machine, where these are two or more; return whether they are.

    Errors: RuntimeError with the first error of a process that failed.
    """
    if p.processes < 2:
        return False
    given = [("-p", f"{name}={value}") for name, value in p.as_dict().items() if value is not None and name != "processes"]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", p.processes, "-m", "rovolad_lib.train"]
    command += [word for pair in given for word in pair]
    threads = str(max(1, (os.cpu_count() or 1) // p.processes))
    here = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])  # this checkout's, from any folder
    environment = {"OMP_NUM_THREADS": threads} | os.environ | {"PYTHONUTF8": "1", "PYTHONPATH": here}
    command = [sys.executable, *map(str, command)]
    ended = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
    if ended.returncode:
        said = re.search(r"^.*[Ee]rror: .+$", ended.stderr, re.M)  # torchrun's own report comes behind it
        raise RuntimeError(f"training failed: {' '.join(command)}\n{said[0] if said else ended.stderr[-2000:]}")
    return True


def main(arguments=None):
    """Run the command line."""
    printable()
    parser = argparse.ArgumentParser("accelerate launch -m rovolad_lib.train", description="train notebook 02's denoiser")
    add = parser.add_argument
    add("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="of notebook 02")
    add("--folder", dest="run", type=Path, help="folder of the run (default: the one that the notebook looks for)")
    add("--train-steps", dest="steps", type=int, help="steps of training (default: the preset's)")
    add("--accumulate", type=int, help="batches of a step (default: 1)")
    add("--precision", choices=("no", "bf16"), help="bf16 for products in bfloat16 (default: no)")
    add("--compile", action="store_true", default=None, help="compile the network first")
    asked = vars(parser.parse_args(arguments))
    pairs, run = [pair.partition("=")[::2] for pair in asked.pop("parameter")], asked.pop("run")
    further = {name: value for name, value in asked.items() if value is not None}
    if further and run is None:
        parser.error(f"--folder is needed with {', '.join(further)}: the notebook's own run is one without")
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    try:
        p = params.read([*cells, "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in pairs)])
    except ValueError as error:
        parser.error(str(error))
    try:
        fitted, run = train(p, run, **further)
    except (OSError, FloatingPointError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if PartialState().is_main_process:
        print(f"{fitted.steps} steps in {fitted.seconds:.1f} s by {PartialState().num_processes} processes; checkpoint in {run}")


if __name__ == "__main__":
    main()
