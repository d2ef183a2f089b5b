"""The report: every study's question, answer and picture, from its records alone (`python -m rovolad_lib.lab.report`).

What a study's notebook concludes stands in its cell tagged `answer`, and only there. The cell is run here as it is in the
notebook: from `record`, a run's record as saved, and the folder `results`, with the modules `records`, `plots` and `pd`, it
computes `title`, the answer, and `picture`, the file that carries it. Where the answer rests on several records, it names them
`frame`, as of `records.group`; `lines`, a list, is what else they say, and `further` names the files of further pictures.
"""

import json
import re
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pandas as pd

from rovolad_lib.files import replacing
from rovolad_lib.lab import plots, records
from rovolad_lib.lab.paths import RESULTS, ROOT

MEASURED = {"listen": "zero_shot"}  # notebook -> the study whose records it shows, where that is not its own
NAMED = 12  # runs that are named one by one
HEAD = """# What is known so far

Each answer is computed from the records of its runs by the last cells of its notebook; `python -m rovolad_lib.lab.report` writes
this page anew. Runs on the demo corpus and at preset `smoke` are not counted.
"""


def study_of(notebook):
    """Return the study whose records a notebook writes or shows: its name without number and `train`."""
    name = re.sub(r"^\d\d_(train_)?", "", Path(notebook).stem)
    return MEASURED.get(name, name)


def answers(notebook, results=RESULTS):
    """Return [(title, pictures, frame)], one for each corpus that has records: what the notebook's answer cell makes of them.

    notebook: file; results: folder of records, in which the cell may draw its pictures anew. title: the answer, one line or
    several; pictures: names of files. Without such a cell the title is empty, the picture that of the last cell, and the frame
    all records.
    """
    study, cells = study_of(notebook), nbformat.read(notebook, as_version=4).cells
    frame = records.load(study, results)
    frame = frame if frame.empty else frame[~frame["data.demo"].astype(bool) & (frame["parameters.preset"] != "smoke")]
    if frame.empty:
        return []
    source = [cell.source for cell in cells if "answer" in cell.metadata.get("tags", [])]
    if not source:
        return [("", re.findall(r"\(\.\./results/([\w.-]+)\)", cells[-1].source), frame)]
    frame, found = frame.reindex(columns=frame.columns.union(["parameters.corpus"])).sort_values("when"), {}
    for _, runs in frame.groupby("parameters.corpus", dropna=False):
        path = Path(results) / "records" / study / f"{runs.iloc[-1]['run_id']}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        names = {"record": record, "results": Path(results), "records": records, "plots": plots, "pd": pd}
        exec(compile("\n".join(source), f"{notebook} (answer)", "exec"), names)
        said = "\n".join([names["title"], *names.get("lines", ())])
        shown = [path.name for path in (names["picture"], *names.get("further", ()))]
        found[shown[0]] = (said, shown, names.get("frame", runs.tail(1)))  # a cell may speak of all corpora
    plt.close("all")
    return list(found.values())


def page(results=RESULTS, notebooks=ROOT / "notebooks"):
    """Return the report as Markdown, a section for each notebook whose study has records; results, notebooks: folders."""
    parts = [HEAD]
    for notebook in sorted(Path(notebooks).glob("[0-9][0-9]_*.ipynb")):
        opening = nbformat.read(notebook, as_version=4).cells[0].source
        question, command = re.search(r"^# (.*)", opening)[1], re.search(r"`(papermill [^`]*)`", opening)[1]
        for number, (title, pictures, frame) in enumerate(answers(notebook, results)):
            parts += [] if number else [f"## {question}\n\n`{command}`\n"]
            parts += [f"{title.replace(chr(10), '  ' + chr(10))}\n"] if title else []
            runs = ("runs " if len(frame) > 1 else "run ") + ", ".join(f"`{run}`" for run in sorted(frame["run_id"]))
            runs = runs if len(frame) <= NAMED else f"{len(frame)} runs in records/{study_of(notebook)}"
            parts += [f"![{question}]({picture})\n" for picture in pictures]
            parts += [f"{frame['seconds'].sum():,.0f} s; {runs}\n"]
    return "\n".join(parts)


def main():
    """Write results/README.md."""
    matplotlib.use("Agg")
    with replacing(RESULTS / "README.md") as temporary:
        temporary.write_text(page(), encoding="utf-8", newline="\n")
    print(f"written: {RESULTS / 'README.md'}")


if __name__ == "__main__":
    sys.exit(main())
