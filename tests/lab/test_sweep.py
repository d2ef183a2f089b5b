"""The grid of runs: what is expanded, what is refused, what is run again, and two real runs of a tiny notebook."""

import json
import re

import nbformat
import pandas
import pytest

from rovolad_lib.lab import sweep
from rovolad_lib.lab.params import STUDIED, ParameterError
from rovolad_lib.speech import manifest

DECLARED = """preset = "smoke"
corpus = None
data = None
seed = 0
force = False
pad = "all"
guidance = 1.0
text = "Hm."
"""
READING = """from rovolad_lib.lab import params
p = params.read()
print(p.pad, p.seed, p.text)
if p.seed == 1:
    raise ValueError("no seed of one")
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A tiny notebook on disk, in a working directory of its own, whose executed copies stay there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "RUNS", tmp_path / "runs")
    v4 = nbformat.v4
    cells = [v4.new_code_cell(DECLARED, metadata={"tags": ["parameters"]}), v4.new_code_cell(READING)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), "tiny.ipynb")
    return tmp_path / "tiny.ipynb"


def data(folder, *texts):
    """Write a manifest of made-up utterances, one a text, and return its folder as typed."""
    rows = [{"id": text, "text": text, "corpus": f"corpus of {text}", "speaker": text} for text in texts]
    fixed = {"path": "a.flac", "end": 1.0, "source": "s", "licence": "l", "start": 0.0, "duration": 1.0, "sample_rate": 16000}
    fixed |= {"text_quality": "exact", "language": "en", "split": "train"}
    frame = pandas.DataFrame(rows).assign(**fixed)
    manifest.write(frame.assign(**{c: None for c in manifest.COLUMNS if c not in frame}), folder / "manifest.parquet")
    return str(folder)


@pytest.mark.parametrize(
    ("typed", "runs"),
    [
        ([], [{}]),
        ([("seed", "0,1")], [{"seed": 0}, {"seed": 1}]),
        ([("pad", "all")], [{"pad": value} for value in STUDIED["pad"].values]),
        ([("guidance", "all")], [{"guidance": value} for value in STUDIED["guidance"].values]),
        ([("pad", "post"), ("pad", "all")], [{"pad": value} for value in ("post", "pre", "even")]),
        ([("pad", "pre,even"), ("seed", "2,0")],
         [{"pad": "pre", "seed": 2}, {"pad": "pre", "seed": 0}, {"pad": "even", "seed": 2}, {"pad": "even", "seed": 0}]),
        ([("text", "Yes, all")], [{"text": "Yes, all"}]),  # a sentence is one value
        ([("corpus", "None,mls")], [{"corpus": None}, {"corpus": "mls"}]),
    ],
)  # fmt: skip
def test_the_grid(typed, runs):
    assert sweep.grid(DECLARED, typed) == runs


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("padd", "pre"), "unknown parameter 'padd'; accepted: preset, .*did you mean 'pad'"),
        (("prior", "robot"), "unknown parameter 'prior'"),  # of another notebook
        (("pad", "pre,sideways"), "pad='sideways'; accepted: pre, post, even, all"),
        (("seed", "all"), "seed='all'; accepted: a whole number >= 0"),
        (("seed", "0,"), "seed=''"),
        (("a b", "1"), "only plain values"),
    ],
)
def test_the_grid_refuses(typed, words, notebook, capsys):
    with pytest.raises(ParameterError, match=words):
        sweep.grid(DECLARED, [typed])
    with pytest.raises(SystemExit) as ended:
        sweep.main([str(notebook), "-p", "seed=0", "-p", "=".join(typed)])
    assert ended.value.code == 2 and re.search(words, capsys.readouterr().err) and not sweep.RUNS.exists()


@pytest.mark.parametrize(
    ("typed", "words"), [(["-p", "pad"], "'pad'; accepted: name=value"), (["-p", "corpus=x"], "corpus 'x' is not in .*hm, one")]
)
def test_what_cannot_be_run_is_refused_before_anything_runs(typed, words, notebook, capsys):
    folder = data(notebook.parent, "hm, one", "two")
    with pytest.raises(SystemExit) as ended:
        sweep.main([str(notebook), "-p", f"data={folder}", *typed])
    assert ended.value.code == 2 and re.search(words, capsys.readouterr().err) and not sweep.RUNS.exists()


def test_each_run_has_a_file_of_its_own(notebook):
    made = sweep.jobs("tiny.ipynb", [("pad", "all"), ("guidance", "1,1.5"), ("data", "a/b,a-b")])  # relative, as typed
    assert len({job.path.name.lower() for job in made}) == 12
    assert made[0].path.parent == notebook.parent / "runs" / "sweep" / "tiny"
    assert re.fullmatch(r"pad-pre_guidance-1\.0_[0-9a-f]{6}\.ipynb", made[0].path.name)
    (long,) = sweep.jobs(notebook, [("text", "Why? " * 99)])
    assert len(long.path.name) < 100 and re.fullmatch(r"[\w.-]+", long.path.name)


def done(job, **changes):
    """Write what a finished run of a Job leaves."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(metadata={"sweep": job.stamp | changes}), job.path)


def test_a_finished_run_is_of_the_same_source_parameters_data_and_code(notebook):
    def again(*pairs):
        (job,) = sweep.jobs(notebook, [("data", folder), *pairs])
        return job

    folder = data(notebook.parent, "one")
    job = again()
    assert not sweep.finished(job)
    done(job)
    assert sweep.finished(job) and sweep.finished(again()) and not sweep.finished(again(("seed", "3")))
    assert not sweep.finished(again(("force", "True"))) and job.stamp["data"]
    for change in ({"recipe": {"train": 0}}, {"data": None}, {"parameters": {}}):
        done(job, **change)
        assert not sweep.finished(job)
    done(job)
    data(notebook.parent, "one", "two")  # the corpus with most utterances is still the first: the same data
    assert sweep.finished(again())
    data(notebook.parent, "another")
    assert not sweep.finished(again())
    data(notebook.parent, "one")
    assert sweep.finished(again())
    notebook.write_text(notebook.read_text(encoding="utf-8").replace("no seed of one", "no such seed"), encoding="utf-8")
    assert not sweep.finished(again())


def test_a_notebook_that_was_cut_off_is_not_finished(notebook):
    (job,) = sweep.jobs(notebook, [])
    done(job)
    whole = job.path.read_text(encoding="utf-8")
    for content in (whole[: len(whole) // 2], "", "{}", json.dumps(nbformat.v4.new_notebook())):
        job.path.write_text(content, encoding="utf-8")
        assert not sweep.finished(job)


def test_runs_here_and_on_a_cluster(notebook, capsys):
    line = [str(notebook), "-p", "pad=pre", "-p", "text=Ähm, ja", "-p"]
    assert sweep.main([*line, "seed=0"]) == 0
    (path,) = (notebook.parent / "runs").rglob("*.ipynb")
    made = nbformat.read(path, as_version=4)
    assert [o.text for cell in made.cells for o in cell.get("outputs", [])] == ["pre 0 Ähm, ja\n"]
    assert "1/1" in (shown := capsys.readouterr()).err and "1 runs, 0 of them finished" in shown.out
    written = path.stat().st_mtime_ns

    distributed = pytest.importorskip("dask.distributed", reason="extra scale is not installed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        assert sweep.main([*line, "seed=0,1", "--scheduler", cluster.scheduler_address]) == 1
    shown = capsys.readouterr()
    assert "2 runs, 1 of them finished" in shown.out and re.search(r"seed-1_\S+ failed: ValueError: no seed of one\n", shown.out)
    (failed,) = path.parent.glob("*.failed.ipynb")
    assert "no seed of one" in failed.read_text(encoding="utf-8") and path.stat().st_mtime_ns == written
    assert len(list(path.parent.iterdir())) == 2  # nothing half-written is left
    assert sweep.main([*line, "seed=0,1", "--list"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == ["finished", "to"]


def test_an_interruption_leaves_what_was_finished(notebook, capsys, monkeypatch):
    def execute(job):
        if job.run["seed"] == 1:
            raise KeyboardInterrupt
        done(job)

    monkeypatch.setattr(sweep, "execute", execute)
    assert sweep.main([str(notebook), "-p", "seed=0,1,2"]) == 130
    assert "goes on from here" in capsys.readouterr().out
    assert [sweep.finished(job) for job in sweep.jobs(notebook, [("seed", "0,1,2")])] == [True, False, False]
