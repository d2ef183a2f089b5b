"""A notebook over a grid of parameters, one papermill run for each point of it: here one after another, or on a Dask cluster.

`python -m rovolad_lib.lab.sweep notebooks/03_ablation_padding.ipynb -p pad=all -p seed=0,1,2` leaves the executed notebooks in
runs/sweep/03_ablation_padding and skips those that are finished. A Dask cluster's workers need the same folder and environment.
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import nbformat
from tqdm import tqdm

from rovolad_lib.files import printable, replacing
from rovolad_lib.lab import params, paths
from rovolad_lib.lab.data import Data
from rovolad_lib.lab.experiment import recipe
from rovolad_lib.lab.paths import RUNS
from rovolad_lib.lab.records import NO_EFFECT
from rovolad_lib.speech import manifest


class Job(NamedTuple):
    """One run: the notebook, where it goes when executed, its parameters, what it depends on, and the working directory."""

    notebook: Path
    path: Path
    run: dict
    stamp: dict
    folder: Path


def grid(declared, pairs):
    """Return a list of dict name -> value, one for each combination of the values that are asked for, each value once.

    declared: str, the source of the notebook's parameters cell; pairs: list of (name, text), the text a value, several with
    commas between (but for kind `text`), or `all` for all values of a studied parameter; a name may come again.
    Raises lab.params.ParameterError as the notebook would.
    """
    chosen = {}
    for name, text in pairs:
        several = name not in params.TABLE or params.TABLE[name].kind != "text"
        for word in text.split(",") if several else [text]:
            asked = params.read([declared, f"# Parameters\n{name} = {word!r}"]).values(name)
            chosen[name] = list(dict.fromkeys(chosen.get(name, []) + asked))
    return [dict(zip(chosen, values, strict=True)) for values in itertools.product(*chosen.values())]


def jobs(notebook, pairs):
    """Return a list of Job, one for each point of the grid.

    notebook: file; pairs: as `grid`. Errors: as `grid`, and ValueError for a corpus that is not in the data.
    """
    notebook = Path(notebook).absolute()
    code = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    cells = [cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])]
    source = hashlib.sha256(json.dumps([cell.source for cell in code]).encode("utf-8")).hexdigest()
    found = []
    for run in grid("".join(cells), pairs):
        whole = params.read([*cells, "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in run.items())])
        stamp = {"source": source, "parameters": whole.as_dict(), "data": fingerprint(whole.as_dict()), "recipe": recipe()}
        said = [f"{name}-{value}" for name, value in run.items() if name not in NO_EFFECT]
        digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode("utf-8")).hexdigest()[:6]
        name = re.sub(r"[^\w.+-]+", "-", "_".join([*said, ""]))[:80] + digest
        found.append(Job(notebook, RUNS / "sweep" / notebook.stem / f"{name}.ipynb", run, stamp, Path.cwd()))
    return found


def fingerprint(parameters):
    """Return the fingerprint of the data that a notebook with these parameters works on, None where there are none yet."""
    path = paths.folder(parameters.get("data"), paths.DATA) / "manifest.parquet"
    part = (parameters["corpus"],) if "corpus" in parameters else ()
    return _fingerprint(path, path.stat().st_mtime_ns, part) if path.is_file() else None


@lru_cache
def _fingerprint(path, _written, part):
    table = manifest.read(path)
    return Data(table, path.parent, "", False).only(*part).fingerprint if part else manifest.fingerprint(table)


def finished(job):
    """Return whether the executed notebook is there, whole, without error, of the same source, parameters, data and code."""
    try:
        made = json.loads(job.path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or cut off
        return False
    return made.get("metadata", {}).get("sweep") == job.stamp and not job.stamp["parameters"]["force"]


def execute(job):
    """Run a Job by papermill in a process of its own; return None, or the last line of its error.

    The executed notebook gets its name when all its cells have run; one that failed ends in `.failed.ipynb`.
    """
    failed = job.path.with_suffix(".failed.ipynb")
    command = [sys.executable, "-m", "rovolad_lib.lab.papermill", "--no-progress-bar", "-y", json.dumps(job.run)]
    try:
        with replacing(job.path) as part:
            done = subprocess.run(
                [*command, job.notebook, part], cwd=job.folder, env=os.environ | {"PYTHONUTF8": "1"}, encoding="utf-8",
                errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if done.returncode:
                os.replace(part, failed)
                done.check_returncode()
            made = nbformat.read(part, as_version=4)
            made.metadata["sweep"] = job.stamp | {"data": job.stamp["data"] or fingerprint(job.stamp["parameters"])}
            nbformat.write(made, part)
    except subprocess.CalledProcessError as error:
        lines = re.sub(r"\x1b\[[\d;]*m", "", error.output).split("\n")
        return next((line for line in reversed(lines) if line.strip()), str(error))
    failed.unlink(missing_ok=True)


def outcomes(todo, scheduler=None):
    """Yield (Job, None or the last line of its error) as runs end; scheduler: address of a Dask cluster, None runs them here."""
    if scheduler is None:
        yield from ((job, execute(job)) for job in todo)
        return
    from dask.distributed import Client, as_completed

    with Client(scheduler) as client:
        futures = {client.submit(execute, job, pure=False): job for job in todo}
        try:
            for future in as_completed(futures):
                error = future.exception()  # of the cluster: a run's own comes as text
                yield futures[future], f"{type(error).__name__}: {error}" if error else future.result()
        finally:
            client.cancel(list(futures))


def _pair(word):
    name, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{word!r}; accepted: name=value, name=value,value or name=all")
    return name, value


def main(arguments=None):
    """Run the command line; return 0, 1 if a run failed, 130 if it was interrupted."""
    printable()
    parser = argparse.ArgumentParser("python -m rovolad_lib.lab.sweep", description="run a notebook over a grid of parameters")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", "--parameter", type=_pair, action="append", default=[], metavar="NAME=VALUE[,VALUE...]|all")
    parser.add_argument("--scheduler", help="address of a Dask cluster, such as tcp://10.0.0.1:8786")
    parser.add_argument("--list", action="store_true", help="show the runs and whether they are finished, run none")
    asked = parser.parse_args(arguments)
    try:
        all_jobs = jobs(asked.notebook, asked.parameter)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    todo = [job for job in all_jobs if not finished(job)]
    if asked.list:
        print("\n".join(f"{'to run  ' if job in todo else 'finished'}  {job.path.stem}" for job in all_jobs))
        return 0
    print(f"{len(all_jobs)} runs, {len(all_jobs) - len(todo)} of them finished; executed notebooks in {all_jobs[0].path.parent}")
    errors, status = {}, 130
    try:
        for job, error in tqdm(outcomes(todo, asked.scheduler), total=len(todo), unit="run"):
            errors |= {job.path.stem: error} if error else {}
        status = 1 if errors else 0
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here")
    for name, error in errors.items():
        print(f"{name} failed: {error}")
    return status


if __name__ == "__main__":
    sys.exit(main())
