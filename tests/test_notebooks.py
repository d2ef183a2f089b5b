"""Every notebook executed, headless and small; and the owner's line, as typed, in a fresh copy of the repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from papermill.inspection import inspect_notebook

from rovolad_lib.lab.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NONE = [pytest.param(None, marks=pytest.mark.skip(reason="no notebooks in notebooks/"))]
PADDING = ROOT / "notebooks" / "03_ablation_padding.ipynb"
ONE = {  # of many
    "04_ablation_prior": {"prior": "robot"},
    "05_ablation_backbone": {"backbone": "cnn"}, "06_ablation_conditioning": {"dropout": 0.1, "oneoff": "out"},
    "07_ablation_context": {"context": "two_step"}, "08_ablation_sampler": {"prior": "mixed"},
}  # fmt: skip
COMMAND = Path(sys.executable).parent / ("papermill.exe" if os.name == "nt" else "papermill")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder whose data/ and results/ all notebooks of this file use, as one user would."""
    return tmp_path_factory.mktemp("notebooks")


def papermill(*arguments, cwd, **environment):
    """Run the papermill command that is installed; returns its exit code and all that it printed."""
    assert COMMAND.is_file(), f"{COMMAND} is missing: pip install -e ."
    quiet = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    answer = subprocess.run(
        [COMMAND, *map(str, arguments)], cwd=cwd, env=quiet | {"PYTHONUTF8": "1"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    return answer.returncode, answer.stdout


def streams(path, name):
    """Return the text of all outputs of an executed notebook that went to stream `name`."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == name)


@pytest.mark.parametrize("path", NOTEBOOKS or NONE, ids=lambda path: path and path.stem)
def test_notebook_runs(path, shared):
    wanted = {"preset": "smoke", "data": shared / "data", "results": shared / "results", "force": True}
    chosen = {name: value for name, value in wanted.items() if name in inspect_notebook(str(path))} | ONE.get(path.stem, {})
    before = {file: file.stat().st_mtime_ns for file in (ROOT / "results").rglob("*") if file.is_file()}
    out = shared / f"{path.stem}.ipynb"
    code, text = papermill(path, out, *(f"-p{name}={value}" for name, value in chosen.items()), cwd=shared)
    assert code == 0, text[-5000:]
    assert "run " in streams(out, "stdout") and " · data " in streams(out, "stdout")
    assert streams(out, "stderr") == "", "no third-party prints or warnings in an executed notebook"
    assert before == {file: file.stat().st_mtime_ns for file in (ROOT / "results").rglob("*") if file.is_file()}


def test_our_papermill_answers():
    assert COMMAND.is_file(), f"{COMMAND} is missing: pip install -e ."
    if os.name == "nt":
        pytest.skip("a Windows script is a program; that -p pad=pre works there shows which one it is")
    assert "rovolad_lib.lab.papermill" in COMMAND.read_text(encoding="utf-8"), "another package's script: make setup"


@pytest.mark.skipif(not PADDING.is_file(), reason="notebook 03 is not there")
def test_the_owners_line_as_typed(shared, tmp_path):
    for name in ("notebooks", "rovolad_lib", "data_prep", "results"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    if (shared / "data" / "manifest.parquet").is_file():  # else the notebook builds it
        shutil.copytree(shared / "data", tmp_path / "data")
    line = "notebooks/03_ablation_padding.ipynb out.ipynb -p pad=pre -p preset=smoke"
    code, text = papermill(*line.split(), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert code == 0, text[-5000:]
    (record,) = (tmp_path / "runs" / "results" / "records").rglob("*.json")
    parameters = json.loads(record.read_text(encoding="utf-8"))["parameters"]
    assert (parameters["pad"], parameters["preset"]) == ("pre", "smoke")
    assert len(list((tmp_path / "runs" / "results").glob("*.png"))) == 1


@pytest.mark.skipif(not PADDING.is_file(), reason="notebook 03 is not there")
@pytest.mark.parametrize(
    ("typed", "words"),
    [("padd=pre", ["unknown parameter 'padd'", "preset", "pad", "mask"]), ("pad=sideways", ["pre, post, even, all"])],
)
def test_a_wrong_name_or_value_stops_the_notebook(typed, words, tmp_path):
    code, text = papermill(PADDING, tmp_path / "out.ipynb", "-p", typed, "-p", "preset=smoke", cwd=tmp_path)
    assert code != 0
    assert [word for word in words if word not in text] == []
    assert not (tmp_path / "runs").exists()
