"""The means and ratios that the report states of the studies of single factors are those of the committed records."""

import json
import math
import re
from collections import defaultdict

import numpy
import pytest

from rovolad_lib.lab.paths import RESULTS

STUDENT = {2: 12.7062, 3: 4.302653, 4: 3.182446}  # 97.5 % points by the number of pairs
PAGE = (RESULTS / "README.md").read_text(encoding="utf-8")


def committed(study):
    """Return the records of a study."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS / "records" / study).glob("*.json")]


def frechet(record):
    """Return a record's Fréchet distance."""
    return record["metrics"]["frechet"]


def figures(study, factor, fits, figure=frechet):
    """Return {value of the factor: {seed and speaker left out: figure}} of the records of digits that fit.

    factor: a parameter, or `network`, which is the context or the learned voice; fits: takes a record's parameters, `without`
    and `budget` among them, and says whether it counts; figure: takes a record.
    """
    found = defaultdict(dict)
    for record in committed(study):
        given = {"without": None, "budget": 1.0} | record["parameters"]
        given["network"] = given["context"] if given.get("voice", "on") == "on" else "no voice"
        if given.get("speakers") == "on":
            given["network"] = "learned voice"
        if given["corpus"] == "spoken_digits" and given["preset"] == "small" and fits(given):
            by, key = found[str(given[factor])], (given["seed"], given["without"])
            assert key not in by, f"two records of one run, {record['run_id']}"
            by[key] = figure(record)
    return dict(found)


def check(line, found):
    """Hold the means and the ratios of a line of the report against figures."""
    said, *others = line.split(": ", 1)[1].split("; ")
    assert list(check_means(said, found)) == sorted(found, key=lambda name: numpy.mean(list(found[name].values())))
    ratios = [re.match(r"(.+) / (.+) ([\d.]+) \(([\d.]+) to ([\d.]+)\)", other).groups() for other in others]
    assert len(ratios) == len(found) - 1
    for one, two, *told in ratios:
        logs = numpy.log([found[one][key] / found[two][key] for key in found[one].keys() & found[two].keys()])
        half = STUDENT[len(logs)] * logs.std(ddof=1) / math.sqrt(len(logs))
        expected = numpy.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
        assert numpy.array(told, float) == pytest.approx(expected, abs=0.0051, rel=1e-4), line


def check_means(said, found, near=0.0051):
    """Hold "name mean, name mean" against figures; return the means as said."""
    told = {name: float(mean) for name, mean in (part.rsplit(" ", 1) for part in said.split(", "))}
    assert told == pytest.approx({name: numpy.mean(list(by.values())) for name, by in found.items()}, abs=near)
    return told


def line(start):
    """Return the only line of the report that begins so."""
    (found,) = [text.rstrip() for text in PAGE.splitlines() if text.startswith(start)]
    return found


PADDING = [("transformer_te", "none", mask) for mask in ("on", "off", "loss")]
PADDING += [("transformer_te", "dtw", "on"), ("cnn", "none", "on"), ("transformer_et", "none", "on")]


@pytest.mark.parametrize(("backbone", "align", "mask"), PADDING)
def test_where_padding_stands(backbone, align, mask):
    wanted = backbone, align, mask
    found = figures("ablation_padding", "pad", lambda p: (p["backbone"], p["align"], p["mask"]) == wanted)
    assert set(found) == {"pre", "post", "even"} and {len(by) for by in found.values()} == {3}
    check(line(f"backbone {backbone}, align {align}, mask {mask}: "), found)


@pytest.mark.parametrize("pad", ["pre", "post", "even"])
def test_what_hides_padding(pad):
    wanted = "transformer_te", "none", pad
    found = figures("ablation_padding", "mask", lambda p: (p["backbone"], p["align"], p["pad"]) == wanted)
    check(line(f"what hides it, backbone transformer_te, align none, pad {pad}: "), found)


def test_backbones_at_equal_steps_and_at_equal_seconds():
    steps = figures("ablation_backbone", "backbone", lambda p: p["equal"] == "steps" and p["budget"] == 1)
    assert len(steps) == 3 and {len(by) for by in steps.values()} == {3}
    check(line("equal steps: "), steps)
    seconds = figures("ablation_backbone", "backbone", lambda p: p["equal"] == "seconds")
    check(line("equal seconds: "), seconds | {"transformer_te": steps["transformer_te"]})


CONDITIONING = [("dropout", "oneoff", value) for value in ("out", "unconditional", "self")]
CONDITIONING += [("oneoff", "dropout", value) for value in (0.0, 0.1)]


@pytest.mark.parametrize(("factor", "other", "value"), CONDITIONING)
def test_what_dropping_the_voice_and_one_off_recordings_do(factor, other, value):
    found = figures("ablation_conditioning", factor, lambda p: p[other] == value and p["without"] is None)
    assert {len(by) for by in found.values()} == {3}
    told = f"one-off {value}" if other == "oneoff" else f"dropout {value:g}"
    check(line(f"seen speakers, {told}: "), found)


def test_one_off_recordings_for_voices_never_heard():
    found = figures("ablation_conditioning", "oneoff", lambda p: p["without"] is not None)
    check(line("unseen speakers, dropout 0.1: "), found)


def test_how_the_network_hears_a_voice():
    found = figures("ablation_context", "network", lambda p: p["without"] is None)
    assert set(found) == {"none", "two_step", "channel", "cross", "no voice", "learned voice"} and {
        len(by) for by in found.values()
    } == {3}
    check(line("seen voices, frechet: "), found)


def test_how_the_network_hears_a_voice_left_out():
    found = figures("ablation_context", "network", lambda p: p["without"] is not None)
    assert set(found) == {"none", "two_step", "channel", "cross", "no voice"} and {len(by) for by in found.values()} == {4}
    check(line("unseen voices, frechet: "), found)


@pytest.mark.parametrize("many", ["1", "8"])
@pytest.mark.parametrize("voices", ["seen", "unseen"])
def test_what_more_recordings_of_a_voice_are_worth(voices, many):
    def similarity(record):
        return record["references"][many]["speaker_similarity"]

    found = figures("ablation_context", "network", lambda p: (p["without"] is None) == (voices == "seen"), similarity)
    check_means(line(f"{voices} voices, speaker similarity by {many} reference").split(": ", 1)[1], found, 0.00051)


def walked(prior):
    """Return {"sampler, steps, spacing", of the Gaussian ", schedule@scale" too: {seed: Fréchet distance}} on digits."""
    found = defaultdict(dict)
    for record in committed("ablation_sampler"):
        given = record["parameters"]
        path = f", {given['schedule'] or 'cosine'}@{given['scale'] or 1.0:g}" if prior == "gaussian" else ""
        if given["corpus"] == "spoken_digits" and given["prior"] == prior:
            for name, scores in record["walks"].items():
                found[name + path][given["seed"]] = scores["frechet"] if scores else math.nan
    return found


def evaluations(name):
    """Return the network evaluations of a walk by its name."""
    sampler, steps, *_ = name.split(", ")
    return 2 * int(steps) - 1 if sampler == "heun" else int(steps)


@pytest.mark.parametrize("prior", ["gaussian", "robot", "mixed"])
def test_the_best_walk_within_every_number_of_evaluations(prior):
    found = {name: by for name, by in walked(prior).items() if len(by) == 3}
    assert len(found) > 50
    means = {name: numpy.mean(list(by.values())) for name, by in found.items()}
    said = line(f"{prior}, best within so many evaluations: ").split(": ", 1)[1].split("; ")
    assert len(said) >= 5
    for part in said:
        within, name, *told = re.match(r"(\d+): (.+) ([\d.]+) \(([\d.]+) to ([\d.]+)\)", part).groups()
        possible = {n: m for n, m in means.items() if evaluations(n) <= int(within) and not math.isnan(m)}
        named = [n for n in possible if name == re.sub(r", \d+,| uniform|,(?= \w+@)", "", n)]
        best = min(named, key=possible.get)
        assert possible[best] == pytest.approx(min(possible.values()))  # at one step many are the same
        values = numpy.array(list(found[best].values()))
        half = STUDENT[3] * values.std(ddof=1) / math.sqrt(3)
        expected = [values.mean(), values.mean() - half, values.mean() + half]
        assert [float(figure) for figure in told] == pytest.approx(expected, abs=0.0051)


def test_order_three_as_corrected_and_as_published():
    networks = [walked(prior) for prior in ("gaussian", "robot", "mixed")]
    told = re.findall(r"(\d+): ([\d.]+) and ([\d.]+)", line("order 3, corrected and published: "))
    assert len(told) >= 5
    for steps, *figures in told:
        for figure, name in zip(figures, ("dpm_solver_pp 3", "dpm_solver_pp 3 published"), strict=True):
            start = f"{name}, {steps}, uniform"
            values = [
                value for found in networks for walk, by in found.items() if walk.startswith(start) for value in by.values()
            ]
            assert float(figure) == pytest.approx(numpy.nanmean(values), abs=0.0051)


def test_schedules_and_scales():
    found = defaultdict(list)
    for record in committed("ablation_sampler"):
        given = record["parameters"]
        if given["corpus"] == "spoken_digits" and given["prior"] == "gaussian":
            found[f"{given['schedule'] or 'cosine'}@{given['scale'] or 1.0:g}"].append(frechet(record))
    assert len(found) >= 14
    check_means(
        line("gaussian, schedule and scale: ").split(": ", 1)[1].split("; ")[0], {k: dict(enumerate(v)) for k, v in found.items()}
    )


TOLD = {("none", 0): "nothing", ("none", 4): "recordings", ("minilm", 0): "words", ("minilm", 4): "both"}


@pytest.mark.parametrize(("corpus", "metric"), [("acted_speech", "frechet"), ("mls", "mel_distance"), ("every", "frechet")])
def test_what_words_about_a_voice_are_worth(corpus, metric):
    records = [record for record in committed("ablation_text") if record["parameters"]["corpus"] == corpus]
    by = defaultdict(dict)
    for record in records:
        given = record["parameters"]
        by[TOLD[given["description"], given["references"]]][given["seed"]] = record
    assert set(by) == set(TOLD.values()) and {len(runs) for runs in by.values()} == {3}
    block = PAGE.split(f"\n{corpus}, {metric} told by: ")[1].split("![")[0]
    found = {name: {seed: record["metrics"][metric] for seed, record in runs.items()} for name, runs in by.items()}
    check(re.search(r"^told by: .*?(?= *$)", block, re.M).group(), found)
    assert len(aspects := records[0]["aspects"]) >= 1
    for aspect in aspects:
        for start, figure in ((f"{aspect}: ", "accuracy"), (f"{aspect} follows the description of somebody else: ", "follows")):
            said = re.search(rf"^{re.escape(start)}([^(\n]*?) *(?:\(|$)", block, re.M).group(1)
            has = {name: runs for name, runs in by.items() if figure in runs[0]["aspects"][aspect]}
            check_means(said, {n: {seed: r["aspects"][aspect][figure] for seed, r in runs.items()} for n, runs in has.items()})
