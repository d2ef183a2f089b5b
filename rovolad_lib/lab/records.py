"""One JSON file per run, and the table of all of them."""

import hashlib
import importlib.metadata
import json
import math
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from rovolad_lib.files import replacing
from rovolad_lib.lab.paths import RESULTS, ROOT, RUNS, folder

NO_EFFECT = frozenset({"corpora", "data", "results", "device", "force", "processes"})  # say where and how, not what
PLACES = ("corpora", "data", "results")  # on one machine, and nobody else's business
REQUIRED = ("study", "run_id", "parameters", "data", "metrics", "units", "seconds", "device")


def run_id(study, parameters, fingerprint, recipe):
    """Return 12 hexadecimal digits that name a run by everything that decides its numbers.

    study: str; parameters: dict, of which those in NO_EFFECT are left out; fingerprint: str, of the data;
    recipe: dict package -> RECIPE integer of the code that the run uses.
    """
    text = json.dumps([study, deciding(parameters), fingerprint, _plain(recipe)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def deciding(parameters):
    """Return the parameters that decide a run's numbers, name -> value as JSON knows it: all but those in NO_EFFECT."""
    return {name: _plain(value) for name, value in parameters.items() if name not in NO_EFFECT}


def where(results, demo_or_smoke):
    """Return the folder that a run's results go to, as a Path.

    results: the notebook's parameter, a folder or None; demo_or_smoke: bool, such runs never touch the committed
    results and go to runs/results instead, unless another folder is named.
    """
    chosen = folder(results, RESULTS)
    return RUNS / "results" if demo_or_smoke and chosen.resolve() == RESULTS.resolve() else chosen


def save(record, results):
    """Write a record to results/records/<study>/<run_id>.json and return that path.

    record: dict with the keys of REQUIRED, and `recipe` (package -> integer) for plots to tell old code from new;
    versions, commit and when are filled in, folders left out. A figure that is not finite is written as null.
    results: folder. Raises ValueError if a key is missing or study or run_id cannot name a file.
    """
    if missing := [key for key in REQUIRED if key not in record]:
        raise ValueError(f"record lacks {', '.join(missing)}; needed: {', '.join(REQUIRED)}")
    if not {"fingerprint", "demo"} <= record["data"].keys() or "preset" not in record["parameters"]:
        raise ValueError("record lacks data.fingerprint, data.demo or parameters.preset, by which records are grouped")
    for key in ("study", "run_id"):
        if not re.fullmatch(r"\w[\w.-]*", str(record[key])):
            raise ValueError(f"{key}={record[key]!r} cannot name a file; accepted: letters, digits, _ . -")
    filled = {"versions": versions(), "commit": commit(), "when": datetime.now(UTC).isoformat(timespec="seconds")}
    path = Path(results) / "records" / record["study"] / f"{record['run_id']}.json"
    filled |= record | {"parameters": {k: v for k, v in record["parameters"].items() if k not in PLACES}}
    text = json.dumps(_plain(filled), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def load(study, results=RESULTS):
    """Return a DataFrame of a study's records, one row a run, nested keys as `parameters.pad`, `metrics.pesq`.

    study: str; results: folder, in which there may be no record yet (then the table is empty).
    Raises ValueError that names the file if one cannot be read.
    """
    found = []
    for path in sorted((Path(results) / "records" / study).glob("*.json")):
        try:
            found.append(dict(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a record: {error}; delete it and run its notebook again") from error
    frame = pd.json_normalize(found) if found else pd.DataFrame(columns=["study", "run_id"])
    for column in frame.columns[frame.columns.str.startswith("metrics.")]:
        frame[column] = pd.to_numeric(frame[column])
    return frame


def group(frame, varied, demo=False):
    """Return the records that may be compared: same data, preset, recipe and parameters but those that vary.

    frame: of `load`; varied: list of parameter names whose values are compared (the seed always varies).
    demo: False leaves out all smoke and demo records, True leaves out all others.
    Of several such groups, the one with most combinations of the varied values, then most records, then the newest.
    Its name stands in `.attrs["group"]` of the result, which is empty where no record fits.
    """
    if frame.empty:  # without columns
        return frame
    rehearsal = frame["data.demo"].astype(bool) | (frame["parameters.preset"] == "smoke")
    frame = frame[rehearsal == demo]
    if frame.empty:
        return frame
    loose = {f"parameters.{name}" for name in NO_EFFECT | {"seed"}}
    moving = [f"parameters.{name}" for name in varied]
    fixed = [c for c in frame if c.startswith(("parameters.", "recipe.")) and c not in loose | set(moving)]
    parts = [part for _, part in frame.groupby(_keys(frame, ["data.fingerprint", *fixed]))]
    best = max(parts, key=lambda part: (_keys(part, moving).nunique(), len(part), part["when"].max())).copy()
    first = best.iloc[0]
    best.attrs["group"] = (
        f"{len(best)} records, data {first['data.fingerprint']}, preset {first['parameters.preset']}, "
        f"code {hashlib.sha256(_keys(best, fixed).iloc[0].encode('utf-8')).hexdigest()[:6]}"
    )
    return best


def versions():
    """Return name -> version of what a run's numbers may depend on."""
    names = ("torch", "torchaudio", "numpy", "pandas")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def commit():
    """Return the repository's short commit hash, `-dirty` behind it with changes on top, None outside of a git checkout."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:  # no git on this machine
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _keys(frame, columns):
    """Return a Series with one JSON text per row of the columns' values; lists and missing values compare well so."""
    rows = frame.reindex(columns=columns).to_dict("records")
    return pd.Series([json.dumps(_plain(row)) for row in rows], index=frame.index, dtype=object)


def _plain(value):
    """Return a value as JSON knows it, a figure that is not finite as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "item"):  # a figure from numpy or torch
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
