"""The form of the notebooks, checked without a kernel: one skeleton, one job a cell, nothing left over from a run."""

import ast
import builtins
import io
import re
import tokenize

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from papermill.inspection import inspect_notebook

from rovolad_lib.lab.params import ParameterError, check
from rovolad_lib.lab.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COMMON = ("preset", "corpora", "data", "results", "seed", "device", "force", "processes")  # in every notebook
GIVEN = {"record", "results", "records", "plots", "pd"}  # by rovolad_lib.lab.report to an answer cell
NONE = [pytest.param(None, marks=pytest.mark.skip(reason="no notebooks in notebooks/"))]


def problems(notebook, name):
    """Return a list of what is wrong with a notebook's form, each with its place.

    notebook: nbformat node; name: its file name without suffix.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(code) < 3 or notebook.cells[0].cell_type != "markdown" or notebook.cells[-1].cell_type != "markdown":
        return ["a notebook begins and ends with markdown and has three code cells or more"]
    found = [*_file(notebook), *_opening(notebook.cells[0].source, name), *_parameters(code)]
    for number, cell in enumerate(code):
        found += [f"code cell {number}: {problem}" for problem in _cell(cell.source, 20 if number else 24)]
    found += _functions(code) + _answer(code)
    if not re.search(r"\bplots\.\w+\(", code[-1].source):
        found.append("the last code cell plots the study")
    if not re.search(r"^## Answer\b.*!\[.*\]\(\.\./results/[\w.-]+\.png\)", notebook.cells[-1].source, re.M | re.S):
        found.append("the last cell shows ../results/<study>.png under '## Answer'")
    return found


def _file(notebook):
    ids = [cell.get("id") for cell in notebook.cells]
    found = []
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5) or None in ids or len(set(ids)) < len(ids):
        found.append("nbformat 4.5 with an id of its own for each cell")
    kernel = notebook.metadata.get("kernelspec", {})
    if (kernel.get("name"), kernel.get("language")) != ("python3", "python"):  # papermill needs the language too
        found.append("kernel python3, language python")
    run = any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    if run or "widgets" in notebook.metadata:
        found.append("committed without outputs, counts and widgets")
    return found


def _opening(source, name):
    found = []
    heading = source.strip().splitlines()[0]
    if not re.fullmatch(r"# .*\?", heading.strip()):
        found.append(f"the first line is a heading that ends in a question mark, not {heading!r}")
    if f"papermill notebooks/{name}.ipynb" not in source:
        found.append("the first cell shows the command: papermill notebooks/" + name + ".ipynb")
    if not re.search(r"\d\s*(s|min|h|seconds?|minutes?|hours?)\b", source):
        found.append("the first cell says how long it takes")
    if "ablation" in name and not ("varies" in source.lower() and "fixed" in source.lower()):
        found.append("the first cell says what varies and what stays fixed")
    return found


def _parameters(code):
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0] is not code[0]:
        return ["the first code cell, and no other, has the tag 'parameters'"]
    found, source = [], code[0].source
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) and "=" in token.string:
            found.append(f"parameters cell: papermill stumbles over the = in {token.string}")
    names = []
    for statement in ast.parse(source).body:
        try:
            (target,) = statement.targets
            check(target.id, ast.literal_eval(statement.value))
            names.append(target.id)
        except ParameterError as error:
            found.append(f"parameters cell: {error}")
        except (AttributeError, ValueError):
            found.append(f"parameters cell: only name = literal, not {ast.unparse(statement)!r}")
    if missing := [name for name in COMMON if name not in names]:
        found.append(f"parameters cell: every notebook declares {', '.join(missing)}")
    if source.lstrip().startswith("# Parameters"):
        found.append("parameters cell: '# Parameters' as first line is papermill's own")
    if not ("params.read(" in code[1].source and "params.banner(" in code[1].source):
        found.append("the cell after the parameters calls params.read and params.banner")
    return found


def _cell(source, longest):
    found = []
    if len(source.splitlines()) > longest:  # a study may declare a few parameters more than a job has lines
        found.append(f"{len(source.splitlines())} lines, at most {longest}")
    if any(isinstance(node, ast.ClassDef) for node in ast.walk(_tree(source))):
        found.append("a class belongs in the library")
    if re.search(r"\bAudio\(", source):
        found.append("players come from lab.listen, which keeps the level")
    return found


def _functions(code):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for cell in code for node in ast.walk(_tree(cell.source)) if isinstance(node, kinds)]
    long = [node.name for node in found if node.end_lineno - node.lineno >= 5]
    many = [f"{len(found)} functions, at most 2"] if len(found) > 2 else []
    return many + [f"function {name} has more than 5 lines" for name in long]


def _answer(code):
    """The answer cells run in the report too, which gives them a few names and none of the cells above."""
    tree = _tree("\n".join(cell.source for cell in code if "answer" in cell.metadata.get("tags", [])))
    known = {name.asname or name.name for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))
             for name in node.names} | GIVEN | set(dir(builtins))  # fmt: skip
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return [f"answer cells: {name} comes from a cell above" for name in sorted({node.id for node in names} - known)]


def _tree(source):
    return ast.parse(TransformerManager().transform_cell(source))


def test_there_are_notebooks():
    if not NOTEBOOKS:
        pytest.skip("no notebooks in notebooks/")
    assert all(re.fullmatch(r"\d\d_[a-z_]+", path.stem) for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS or NONE, ids=lambda path: path and path.stem)
def test_form(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert problems(notebook, path.stem) == []


@pytest.mark.parametrize("path", NOTEBOOKS or NONE, ids=lambda path: path and path.stem)
def test_papermill_sees_the_same_parameters(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assigned = [statement.targets[0].id for statement in ast.parse(cell.source).body]
    assert list(inspect_notebook(str(path))) == assigned


def good():
    """Return a notebook in good form."""
    v4 = nbformat.v4
    values = {"preset": "small", "seed": 0, "device": "auto", "force": False, "processes": 0}
    declared = "\n".join(f"{name} = {values.get(name)!r}" for name in COMMON) + '\npad = "all"  # pre post even'
    parameters = v4.new_code_cell(declared, metadata={"tags": ["parameters"]})
    opening = "# Good?\nVaries: pad. Fixed: all else. 2 min.\n\n`papermill notebooks/03_ablation_x.ipynb out.ipynb`"
    cells = [
        v4.new_markdown_cell(opening),
        parameters,
        v4.new_code_cell("%matplotlib inline\nparameters = params.read()\nparams.banner(1, 2, 3)"),
        v4.new_code_cell("def half(x):\n    return x / 2"),
        v4.new_code_cell("frame = records.load(record)\nplots.study(frame)", metadata={"tags": ["answer"]}),
        v4.new_markdown_cell("## Answer\n![padding](../results/padding.png)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def test_the_checker_passes_good_form():
    assert problems(good(), "03_ablation_x") == []


@pytest.mark.parametrize(
    ("cell", "old", "new", "words"),
    [
        (0, "Good?", "Good.", "question mark"),
        (0, "03_ablation_x", "03", "shows the command"),
        (0, "2 min", "soon", "how long"),
        (0, "Varies", "Changes", "what varies"),
        (1, "# pre post even", "# pre, post, even=both", "stumbles over the ="),
        (1, '"all"', '"all=1"', "stumbles over the ="),
        (1, '"all"', '"al" + "l"', "only name = literal"),
        (1, '"all"', '"sideways"', "pre, post, even, all"),
        (1, "pad", "padd", "unknown parameter 'padd'"),
        (1, "seed = 0\n", "", "declares seed"),
        (1, "preset", "# Parameters\npreset", "papermill's own"),
        (2, "params.banner(1, 2, 3)", "", "params.banner"),
        (3, "def half(x):", "def half(x):" + "\n    x += 1" * 4, "more than 5 lines"),
        (3, "def half", "class Half:\n    pass\ndef half", "class belongs"),
        (3, "def half", "one = lambda x: x\ndef a(x): pass\ndef b(x): pass\ndef half", "3 functions"),
        (3, "def half", "x = 1\n" * 20 + "def half", "22 lines"),
        (3, "def half", "Audio(x)\ndef half", "lab.listen"),
        (4, "plots.study", "print", "plots the study"),
        (4, "(record)", "(half(record))", "half comes from a cell above"),
        (5, "## Answer", "## Result", "## Answer"),
        (5, "../results/", "", "results/<study>.png"),
    ],
)
def test_the_checker_finds(cell, old, new, words):
    notebook = good()
    assert old in notebook.cells[cell].source
    notebook.cells[cell].source = notebook.cells[cell].source.replace(old, new, 1)
    found = problems(notebook, "03_ablation_x")
    assert len(found) >= 1 and words in " ".join(found)


def test_the_checker_finds_what_a_run_leaves():
    notebook = good()
    notebook.cells[2].execution_count = 1
    assert problems(notebook, "03_ablation_x") == ["committed without outputs, counts and widgets"]
    notebook = good()
    notebook.metadata.kernelspec.name = "my_env"
    notebook.cells[1].id = notebook.cells[2].id
    assert len(problems(notebook, "03_ablation_x")) == 2
