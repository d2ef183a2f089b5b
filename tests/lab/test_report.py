"""The report says what the records say, and nothing else."""

import json
import numbers
import random
import re

import matplotlib.pyplot as plt
import nbformat
import pytest

from rovolad_lib.lab import records, report
from rovolad_lib.lab.paths import RESULTS, ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ANSWER = """frame = records.load("ablation_x", results)
frame = records.group(frame[frame["parameters.corpus"] == record["parameters"]["corpus"]], ["pad"])
title = f"{frame['parameters.corpus'].iloc[0]}: error {frame['metrics.error'].mean():.2f}\\nof {len(frame)} runs"
picture = results / f"x_{record['parameters']['corpus']}.png"
plots.study(frame, "pad", ["error"], title, picture)
"""


def notebook(folder, answer):
    """Write a notebook of a study `ablation_x`, with an answer cell or None, and return its path."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Is x better?\n\n**Command:** `papermill notebooks/03_ablation_x.ipynb out.ipynb`")]
    cells += [v4.new_code_cell(answer, metadata={"tags": ["answer"]})] if answer else []
    cells += [v4.new_markdown_cell("## Answer\n\n![x](../results/x.png)")]
    nbformat.write(v4.new_notebook(cells=cells), folder / "03_ablation_x.ipynb")
    return folder / "03_ablation_x.ipynb"


def record(run, error, folder, **parameters):
    parameters = {"preset": "small", "seed": 0, "pad": "pre", "corpus": "digits"} | parameters
    records.save({
        "study": "ablation_x", "run_id": run, "parameters": parameters, "data": {"fingerprint": "feed", "demo": False},
        "metrics": {"error": error}, "units": {}, "seconds": 600.4, "device": "cpu", "recipe": {"train": 1},
    }, folder)  # fmt: skip


def test_a_section_holds_question_answer_picture_command_seconds_and_runs(tmp_path):
    notebook(tmp_path, ANSWER)
    record("a0", 0.25, tmp_path)
    record("a1", 0.75, tmp_path, pad="post")
    record("smoke", 9.0, tmp_path, preset="smoke")
    record("b0", 2.0, tmp_path, corpus="mls")
    text = report.page(tmp_path, tmp_path)
    head, section = text.split("\n## ")
    assert head == report.HEAD and section.splitlines() == [
        "Is x better?", "", "`papermill notebooks/03_ablation_x.ipynb out.ipynb`", "",
        "digits: error 0.50  ", "of 2 runs", "", "![Is x better?](x_digits.png)", "", "1,201 s; runs `a0`, `a1`", "",
        "mls: error 2.00  ", "of 1 runs", "", "![Is x better?](x_mls.png)", "", "600 s; run `b0`",
    ]  # fmt: skip
    assert (tmp_path / "x_digits.png").is_file() and not plt.get_fignums()  # drawn anew, and closed


def test_a_study_without_records_has_no_section_and_one_without_answer_cell_no_sentence(tmp_path):
    path = notebook(tmp_path, None)
    assert report.page(tmp_path, tmp_path) == report.HEAD and report.answers(path, tmp_path) == []
    record("a0", 0.25, tmp_path)
    ((title, pictures, frame),) = report.answers(path, tmp_path)
    assert (title, pictures, list(frame["run_id"])) == ("", ["x.png"], ["a0"])


def test_a_study_is_named_after_its_notebook():
    named = {report.study_of(path) for path in NOTEBOOKS}
    kept = {path.name for path in (RESULTS / "records").iterdir()}
    assert kept - {"autoencoder_voices", "zero_shot", "trials", *(f"{study}_anchors" for study in named)} <= named, (
        "a study whose notebook has another name is not in the report"
    )


NAMES = {"study", "run_id", "parameters", "recipe", "data", "seconds", "steps", "device", "versions", "commit", "when", "units"}


def scaled(part, change, *path):
    """Return a part of a record with its figures changed by `change`, which is told where they stand."""
    if isinstance(part, dict):
        return {name: scaled(value, change, *path, name) for name, value in part.items()}
    if isinstance(part, list):
        return [scaled(value, change, *path, str(k)) for k, value in enumerate(part)]
    return change(path, part) if isinstance(part, float) else part


def copied(folder, change=lambda path, value: value):
    """Copy the committed records to a folder, their figures changed by `change`, and return it."""
    for path in (RESULTS / "records").rglob("*.json"):
        made = json.loads(path.read_text(encoding="utf-8"))
        made |= {name: scaled(value, change, made["run_id"], name) for name, value in made.items() if name not in NAMES}
        copy = folder / path.relative_to(RESULTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(made), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """{notebook: [(title, picture, frame)]} of the committed records, and the whole page."""
    folder = copied(tmp_path_factory.mktemp("results"))
    return {path: report.answers(path, folder) for path in NOTEBOOKS}, report.page(folder)


def test_the_committed_report_is_what_the_records_say(told):
    committed = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert committed == told[1], "python -m rovolad_lib.lab.report"
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", committed)
    assert shown and [name for name in shown if not (RESULTS / name).is_file()] == []


def test_each_number_of_an_answer_from_one_record_stands_in_that_record(told):
    seen = 0
    for title, _, frame in [answer for found in told[0].values() for answer in found if len(answer[2]) == 1]:
        row = frame.iloc[0]
        figures = [float(v) for v in row.filter(regex=r"^(metrics|parameters)\.") if isinstance(v, numbers.Number)]
        words = [v for v in row.filter(like="parameters.") if isinstance(v, str)]
        words += [part for name in row.index for part in name.split(".") if name.startswith("metrics.")]
        for word in sorted((word for word in words if re.search(r"\d", word)), key=len, reverse=True):
            title = title.replace(word, "")  # "net 2" is a name
        for whole, places, percent in re.findall(r"(?<![\w.])(\d+(?:\.(\d+))?)(?![\d.]*\w)(%?)", title):
            value, seen = float(whole) / (100 if percent else 1), seen + 1
            tolerance = 0.5000001 * 10.0 ** -(len(places) + (2 if percent else 0))
            assert any(abs(figure - value) <= tolerance for figure in figures), (whole, title)
    assert seen > 10


def test_no_figure_of_an_answer_is_fixed(told, tmp_path):
    draw = random.Random(0)
    changed = copied(tmp_path, lambda path, value: value * draw.uniform(6, 9))
    for path, found in told[0].items():
        for (before, pictures, frame), (after, others, _) in zip(found, report.answers(path, changed), strict=True):
            named = set(frame.filter(like="parameters.").astype(str).to_numpy().ravel())  # a dropout of 0.1 is no result
            first, second = ([k for k in re.findall(r"\d+\.\d+", title) if k not in named] for title in (before, after))
            alike = sum(a == b for a, b in zip(first, second, strict=False))
            assert pictures == others and alike <= len(first) / 5, (before, after)
