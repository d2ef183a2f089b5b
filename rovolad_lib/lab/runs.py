"""The folders of trainings: what decides one stands in it, so that a new one can say in what it differs from an older one."""

import json

from rovolad_lib.files import replacing
from rovolad_lib.lab import records
from rovolad_lib.lab.paths import RUNS

LOOSE = {"sizes", "autoencoder"}  # parameters that nobody gives: they change with the code


def begin(study, parameters, fingerprint, recipe):
    """Return the folder of a training, runs/<study>/<run id>; arguments as of `records.run_id`.

    Where it is new, and an older one of the same study was given the same parameters, a line names that one and what of data
    and code has changed since.
    """
    folder = RUNS / study
    run = folder / records.run_id(study, parameters, fingerprint, recipe)
    told = run / "decides.json"
    if not told.exists():
        deciding = records.deciding(parameters)
        facts = {"data": fingerprint, **{f"code of {name}": number for name, number in recipe.items()}, **deciding}
        if changed := _since(folder, facts):
            print(f"new run {run.name}, the same as {changed}")
        with replacing(told) as file:
            file.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return run


def _since(folder, facts):
    """Return "RUN but for ..." of the newest run in a folder that was given the same parameters; None where there is none."""
    for path in sorted(folder.glob("*/decides.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        older = json.loads(path.read_text(encoding="utf-8"))
        changed = {name for name in older.keys() | facts.keys() if older.get(name) != facts.get(name)}
        if all(name in LOOSE or name == "data" or name.startswith("code of ") for name in changed):
            return f"{path.parent.name} but for " + ", ".join(f"{n} {older.get(n)} -> {facts.get(n)}" for n in sorted(changed))
    return None
