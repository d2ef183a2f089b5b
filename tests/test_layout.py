"""The house: what stands at the top, which way imports run, and that the two lists of dependencies agree."""

import ast
import subprocess
import sys
import tomllib

import nbformat
import pytest
import yaml

from rovolad_lib.lab.paths import ROOT

TOP = {
    ".ci", ".gitattributes", ".github", ".gitignore", ".pre-commit-config.yaml", "CITATION.cff", "LICENSE", "Makefile",
    "README.md", "data_prep", "environment.yml", "notebooks", "pyproject.toml", "results", "rovolad_lib", "tests",
}  # fmt: skip
ROOMS = ("speech", "diffusion", "autoencoder", "denoiser", "metrics")
ABOVE = {*(f"rovolad_lib.{room}" for room in ROOMS), "rovolad_lib.lab.paths"}
# module or package -> what of this project it may import beside itself and rovolad_lib.files; the longest match counts
MAY_IMPORT = {
    "rovolad_lib": set(),
    "rovolad_lib.speech": set(),
    "rovolad_lib.diffusion": set(),
    "rovolad_lib.autoencoder": {"rovolad_lib.speech.audio", "rovolad_lib.speech.spectral"},
    "rovolad_lib.denoiser": {"rovolad_lib.diffusion"},
    "rovolad_lib.metrics": {"rovolad_lib.speech"},
    "rovolad_lib.train": ABOVE | {"rovolad_lib.checkpoints", "rovolad_lib.lab.launch"},  # the second as a command alone
    "rovolad_lib.sampling": ABOVE,
    "rovolad_lib.convert": ABOVE | {"rovolad_lib.sampling"},
    "rovolad_lib.lab": set(),
    "rovolad_lib.lab.answers": {"rovolad_lib.metrics.intervals"},
    "rovolad_lib.lab.baselines": {"rovolad_lib"},
    "rovolad_lib.lab.blind": {"rovolad_lib.metrics.intervals"},
    "rovolad_lib.lab.browse": {"rovolad_lib.speech"},
    "rovolad_lib.lab.codecs": {"rovolad_lib.metrics.latents", "rovolad_lib.speech"},
    "rovolad_lib.lab.costs": {"rovolad_lib.speech.audio"},
    "rovolad_lib.lab.data": {"rovolad_lib.speech"},
    "rovolad_lib.lab.experiment": {"rovolad_lib"},
    "rovolad_lib.lab.finetune": {"rovolad_lib.denoiser"},
    "rovolad_lib.lab.launch": {"rovolad_lib"},
    "rovolad_lib.lab.lengths": {"rovolad_lib"},
    "rovolad_lib.lab.likeness": {"rovolad_lib.metrics"},
    "rovolad_lib.lab.listeners": {"rovolad_lib.metrics", "rovolad_lib.speech.align"},
    "rovolad_lib.lab.panel": {"rovolad_lib"},
    "rovolad_lib.lab.peers": {"rovolad_lib.speech.audio"},
    "rovolad_lib.lab.material": {"rovolad_lib"},
    "rovolad_lib.lab.measure": {"rovolad_lib"},
    "rovolad_lib.lab.plots": {"rovolad_lib.speech"},
    "rovolad_lib.lab.recorded": {"rovolad_lib.speech"},
    "rovolad_lib.lab.score": {"rovolad_lib"},
    "rovolad_lib.lab.setting": {"rovolad_lib"},
    "rovolad_lib.lab.shipping": {"rovolad_lib"},
    "rovolad_lib.lab.studio": {"rovolad_lib"},
    "rovolad_lib.lab.sweep": {"rovolad_lib.speech"},
    "rovolad_lib.lab.trials": {"rovolad_lib"},
    "rovolad_lib.lab.walks": {"rovolad_lib.metrics.intervals"},
    "rovolad_lib.lab.zero_shot": {"rovolad_lib"},
    "data_prep": {"rovolad_lib.speech", "rovolad_lib.lab.paths"},
}
MODULES = sorted([*(ROOT / "rovolad_lib").rglob("*.py"), *(ROOT / "data_prep").rglob("*.py")])
SOUND = {"torchaudio", "soundfile"}  # only rovolad_lib.speech.audio knows them


def imported(tree, module, package):
    """Return the full names that a syntax tree imports; module: its own dotted name, package: whether an __init__."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            kept = module.split(".")[: len(module.split(".")) - node.level + package]
            base = ".".join([*(kept if node.level else []), *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def inside(name, room):
    return name == room or name.startswith(room + ".")


def forbidden(names, module):
    """Return those of the imported names that a module may not import."""
    room = max((room for room in MAY_IMPORT if inside(module, room)), key=len)
    own = {"rovolad_lib.files", "rovolad_lib.lab" if inside(room, "rovolad_lib.lab") else room} - {"rovolad_lib"}
    allowed = MAY_IMPORT[room] | own
    ours = [name for name in names if name.split(".")[0] in ("rovolad_lib", "data_prep")]
    return [name for name in ours if not any(inside(name, door) for door in allowed)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_downwards(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if package else parts)
    names = imported(ast.parse(path.read_text(encoding="utf-8")), module, package)
    assert forbidden(names, module) == []
    assert module == "rovolad_lib.speech.audio" or not [name for name in names if name.split(".")[0] in SOUND]


def test_the_import_rule_itself():
    assert forbidden(["rovolad_lib.speech.audio.load", "torch"], "rovolad_lib.autoencoder.model") == []
    assert forbidden(["rovolad_lib.speech.align"], "rovolad_lib.autoencoder.model") == ["rovolad_lib.speech.align"]
    assert forbidden(["rovolad_lib.lab.params"], "rovolad_lib.train") == ["rovolad_lib.lab.params"]
    assert forbidden(["rovolad_lib.train.fit"], "rovolad_lib.lab.plots") == ["rovolad_lib.train.fit"]
    assert forbidden(["rovolad_lib.train.fit", "rovolad_lib.lab.plots"], "rovolad_lib.lab.experiment") == []
    assert forbidden(["data_prep.fetch"], "rovolad_lib.lab.experiment") == ["data_prep.fetch"]
    tree = ast.parse("from . import robot\nfrom ..diffusion import priors\nimport soundfile")
    assert imported(tree, "rovolad_lib.speech.align", False) == [
        "rovolad_lib.speech.robot", "rovolad_lib.diffusion.priors", "soundfile",
    ]  # fmt: skip


def test_only_the_first_notebook_imports_data_prep():
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not paths:
        pytest.skip("no notebooks in notebooks/")
    importing = [
        path.stem
        for path in paths
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and ("import data_prep" in cell.source or "from data_prep" in cell.source)
    ]
    assert set(importing) <= {"00_data_combination"}


def test_nothing_else_stands_at_the_top():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if answer.returncode:
        pytest.skip("no git checkout")
    assert {line.split("/")[0] for line in answer.stdout.splitlines()} <= TOP


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_environment_and_pyproject_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]  # pytorch and nvidia channels hold other builds
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-e .[metrics,scale,dev]"]}
    assert {"metrics", "scale", "dev"} <= project()["optional-dependencies"].keys()
    assert conda == ["python=3.11", "pip", "c-compiler"]  # all else, torch first of all, comes from pyproject.toml
    assert project()["requires-python"] == ">=3.11,<3.13"


def test_torch_and_torchaudio_are_a_pair():
    pins = [name for name in project()["dependencies"] if name.startswith("torch")]
    assert [pin.split("==")[1] for pin in pins] == ["2.11.0", "2.11.0"]


def test_the_makefile_names_the_scores_of_every_metrics_package():
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith("SCORES := ")]
    packages = [pair.rpartition("=")[0] for pair in line.removeprefix("SCORES := ").split()]
    assert packages == project()["optional-dependencies"]["metrics"]


def test_the_linter_finds_nothing():
    command = [sys.executable, "-m", "ruff", "check", "."]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer.stdout
