"""The README keeps its word: what it names is there, what it shows can run, and its figures are those of the records."""

import ast
import json
import re

import pytest

from rovolad_lib.lab.paths import RESULTS, ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COLUMNS = {  # heading of the findings' table -> corpus and words of its records
    "digits, words said in training": ("spoken_digits", "said in training"),
    "digits, words new to the voice": ("spoken_digits", "new to the voice"),
    "German, words said in training": ("mls", "said in training"),
    "German, words new to the voice": ("mls", "new to the voice"),
    "acted English": ("acted_speech", "said in training"),
}
ROWS = {"speaker accuracy": "speaker_accuracy", "word accuracy": "text_accuracy", "mel distance (nat)": "mel_distance"}
VOICES = {"robot": "robot", "one shot": "one shot", "diffusion": "diffusion", "people": "ground truth", "codec": "reconstruction"}


def metrics_of(study, **parameters):
    """Return the metrics of every record of a study with the given parameters: a reader's own runs may stand beside ours."""
    paths = (RESULTS / "records" / study).glob("*.json")
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [record["metrics"] for record in found if parameters.items() <= record["parameters"].items()]


def fits(figures, metrics):
    """Say whether {key: figure as printed} is what a record's metrics are when rounded."""
    return all(key in metrics and abs(float(printed) - metrics[key]) <= 0.00501 for key, printed in figures.items())


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def findings():
    """Return {corpus: {key of a metric: figure as printed}} of the findings' table."""
    lines = TEXT.split("**What is known so far**")[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    heads, found = cells(lines[start])[1:], {}
    for line in lines[start + 2 : start + 2 + len(ROWS)]:
        name, *values = cells(line)
        measure, voices = name.split(": ")
        for head, value in zip(heads, values, strict=True):
            corpus, words = COLUMNS[head]
            for voice, printed in zip(voices.split(" / "), value.split(" / ") if value else [], strict=bool(value)):
                key = f"{ROWS[measure]}.{words}.{VOICES[voice.strip('*')]}"
                found.setdefault(corpus, {})[key] = printed.strip("*")
    return found


@pytest.mark.parametrize("corpus", ["spoken_digits", "mls", "acted_speech"])
def test_the_findings_are_a_records(corpus):
    figures = findings()[corpus]
    assert len(figures) >= 8
    records = metrics_of("latent_diffusion", corpus=corpus, prior="robot", preset="small", seed=0)
    assert any(fits(figures, metrics) for metrics in records), (figures, records)


def test_the_autoencoders_figures_are_a_records():
    said = re.search(r"PESQ-WB (\S+) and STOI (\S+) on two German.*?\(linear codec (\S+) and (\S+)\)", TEXT, re.S).groups()
    keys = [f"{name}.mls.{codec}" for codec in ("gl 32", "linear") for name in ("pesq_wb", "stoi")]
    figures = dict(zip(keys, said, strict=True))
    pesq, stoi, speed = re.search(r"the default, (\S+) and (\S+) at (\S+) times the speed of EnCodec's", TEXT).groups()
    figures |= {"pesq_wb.mls.net 2": pesq, "stoi.mls.net 2": stoi}
    assert any(fits(figures, metrics) for metrics in metrics_of("autoencoder", preset="small")), figures
    speeds = [m.get("codec_speed.net 2.median", 0.0) for m in metrics_of("benchmark")]
    assert any(abs(float(speed) - found) <= 0.0501 for found in speeds), (speed, speeds)


def test_every_ratio_and_interval_stands_in_the_report():
    report = (RESULTS / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"\w+\s/\s\w+\s[\d.]+\s\([\d.]+\sto\s[\d.]+\)", TEXT)
    found += re.findall(r"\d+\.\d+ \(\d+\.\d+ to \d+\.\d+\)", TEXT)
    assert len(found) >= 5 and [ratio for ratio in found if " ".join(ratio.split()) not in report] == []


def test_every_file_that_is_linked_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert len(links) > 8
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_names_what_is_there():
    notebooks = re.findall(r"papermill (notebooks/\w+\.ipynb)", TEXT)
    scripts = re.findall(r"python (data_prep/\w+\.py)", TEXT)
    assert notebooks and scripts
    assert [name for name in notebooks + scripts if not (ROOT / name).is_file()] == []
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"\bmake ([a-z]+)\b", TEXT)) - {"anyone"} <= made
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        ast.parse(block)


def test_every_notebook_is_in_the_table():
    listed = set(re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", TEXT))
    assert listed == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
