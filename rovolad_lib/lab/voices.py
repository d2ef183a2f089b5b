"""What tells a network the voice, and what it is worth: recordings by their number, what they cost, and words about the voice."""

import importlib.util
from functools import partial

import numpy
import pandas
import torch

from rovolad_lib.lab import answers, benchmark, costs, measure, score

REFERENCES = (1, 2, 4, 8)
FRAMES = (50, 100, 200, 400)  # of a context
ITEMS = 8  # that an evaluation is timed on
ASPECTS = ("gender", "language", "style")  # of a description that a judge can hear


class ByReferences:
    """What `experiment` asks for as `further` in the study of contexts: a brief portrait, scores by references, and costs.

    preset: of lab.presets.
    """

    def __init__(self, preset):
        self.preset, self.portrait = preset, measure.Portrait()

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record, among them `references`: {how many: scores}, `cost`, and `seconds_by_frames`."""
        told = self.portrait.brief(encoded, setting, model, rows, heard, waves, seed, **options)
        some = rows[:: -(-len(rows) // measure.MOST)]
        yard, told["references"] = self.portrait.yard(encoded, some, heard), {}
        for many in REFERENCES:
            made = score.speak(encoded, model, some, references=many, seed=seed, **options)
            told["references"][str(many)] = yard.means(made)[0] | yard.voices(made)
        told["cost"] = costs.cost(encoded, setting, model, self.preset, rows[:64], seed, **options)
        return told | {"seconds_by_frames": by_frames(model)}


@torch.no_grad()
def by_frames(model, items=ITEMS, frames=50, rounds=5):
    """Return {context frames: median seconds of one evaluation} of a Denoiser, in turns; without a context all are the same.

    items, frames: N and T of what it denoises.
    """
    channels = model.config["channels"]
    x, t = torch.randn(items, channels, frames), torch.rand(items)
    given = {"y": x} if model.config["condition"] else {}
    calls = {str(n): partial(model, x, t, context=torch.randn(items, channels, n), **given) for n in FRAMES}
    return benchmark.take_turns(calls, rounds).median().to_dict()


def networks(contexts, without=None):
    """Return {name: choice of a Setting}: the mechanisms asked for, and with all four of them no voice and a learned one.

    `no voice` has none in the prior's mean either, where the other networks have the average of the recordings; `learned voice`
    has a vector for each speaker trained on, so it has nothing to say where one is left out.
    """
    found = {name: {"context": name, "speakers": "off"} for name in contexts}
    if len(found) == 4:
        found["no voice"] = found["none"] | {"voice": "off"}
        if without is None:
            found["learned voice"] = {"context": "none", "speakers": "on"}
    return found


def network(frame):
    """Return the name of the network of each record, as `networks` gives it."""
    named = frame["parameters.context"]
    for name, column, value in (("learned voice", "speakers", "on"), ("no voice", "voice", "off")):
        if f"parameters.{column}" in frame:
            named = named.mask(frame[f"parameters.{column}"] == value, name)
    return named


def by_references(frame, metric):
    """Return a line for one reference and for the most: the mean score of each network."""
    lines = []
    for many in (REFERENCES[0], REFERENCES[-1]):
        if told := answers.means(frame, f"references.{many}.{metric}", "network", 3):
            lines.append(f"{metric.replace('_', ' ')} by {many} reference{'s' * (many > 1)}: {told}")
    return lines


def cost_lines(frame):
    """Return lines: what each network costs, and the milliseconds of an evaluation by the frames of its context."""
    frame = frame.assign(thousands=frame["cost.parameters"] / 1e3)
    units = {"thousands of parameters": "thousands", "memory in MB": "cost.memory_mb", "times real time": "cost.times_real_time"}
    lines = [f"{unit}: {answers.means(frame, column, 'network', 0)}" for unit, column in units.items()]
    columns = [f"seconds_by_frames.{n}" for n in FRAMES]
    medians = (frame.groupby("parameters.network")[columns].median() * 1e3).iterrows()
    told = "; ".join(f"{name} {', '.join(f'{ms:.1f}' for ms in row)}" for name, row in medians)
    return [*lines, f"ms an evaluation of {ITEMS} items, context of {', '.join(map(str, FRAMES))} frames: {told}"]


def reference_points(frame, metric):
    """Return a table of a score by the number of references: run, network, references of seen or of unseen voices, score."""
    rows = []
    for name, row in zip(network(frame), frame.to_dict("records"), strict=True):
        kind = "references, seen" if pandas.isna(row["parameters.without"]) else "references, unseen"
        for many in REFERENCES:
            rows.append({"run": row["run_id"], "network": name, kind: many, metric: row.get(f"references.{many}.{metric}")})
    return pandas.DataFrame(rows)


def encoder(name, folder=None):
    """Return the source of a text encoder by its name, None, said in a line, where the extra `text` is missing.

    folder: of the encoder that stands behind the name, None: the name's own.
    """
    if importlib.util.find_spec("transformers") is None:
        return print("transformers is not installed: pip install 'rovolad[text]'")
    return name if folder is None else str(folder)


def judges(encoded, preset, folder):
    """Return {aspect: Judge} of what descriptions say and a judge can hear in this corpus; none are asked in a smoke run."""
    if preset == "smoke":
        return {}
    found = {aspect: score.judge(encoded, aspect, folder) for aspect in ASPECTS if encoded.data.table[aspect].notna().any()}
    return {aspect: judge for aspect, judge in found.items() if judge is not None}


class Described:
    """What `experiment` asks for as `further` in the study of texts: a brief portrait, and what judges of `judges` hear."""

    def __init__(self, judges):
        self.judges, self.portrait = judges, measure.Portrait()

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record, among them `aspects`: {gender ...: {accuracy, judge, chance, follows, keeps}}, of the
        clips of which the manifest knows the aspect.

        accuracy: how often the judge hears the aspect of the true take; judge: its own on these real takes; chance: the most
        frequent answer's; follows, keeps: described as somebody of another, how often it hears that, or still the own.
        """
        told, table = self.portrait.brief(encoded, setting, model, rows, heard, waves, seed, **options), encoded.data.table
        yard, told["aspects"] = self.portrait.yard(encoded, rows, heard), {}
        for aspect, judge in self.judges.items():
            known = [k for k, i in enumerate(rows) if isinstance(table[aspect][i], str)]
            if not known:
                continue
            of, random = [rows[k] for k in known], numpy.random.default_rng(0)
            own = table[aspect][of].to_numpy()
            said = {"accuracy": share(judge, [waves[k] for k in known], own)}
            said["judge"] = share(judge, [yard.truth[k] for k in known], own)
            said["chance"] = float(table[aspect][of].value_counts(normalize=True).iloc[0])
            if setting.description != "none":
                other = [int(random.choice(table.index[table[aspect].notna() & (table[aspect] != value)])) for value in own]
                made = score.speak(
                    encoded, model, of, described=other, seed=seed, references=min(3, setting.references), **options
                )
                wanted = table[aspect][other].to_numpy()
                said |= {"follows": share(judge, made, wanted), "keeps": share(judge, made, own)}
            told["aspects"][aspect] = said
        return told


def share(judge, waves, wanted):
    """Return how often a judge hears in waves what is wanted of them."""
    return float(numpy.mean([a == b for a, b in zip(judge.predict(waves).labels, wanted, strict=True)]))


def aspect_lines(frame):
    """Return a line an aspect: what the judge hears of each network, and whether it follows a description of somebody else."""
    lines, named = [], frame.assign(**{"parameters.network": told_by(frame)})
    for aspect in ASPECTS:
        if f"aspects.{aspect}.accuracy" in frame:
            at = {k: answers.means(named, f"aspects.{aspect}.{k}", "network") for k in ("accuracy", "follows", "keeps")}
            own = named[[f"aspects.{aspect}.judge", f"aspects.{aspect}.chance"]].mean()
            lines.append(f"{aspect}: {at['accuracy']} (judge on real takes {own.iloc[0]:.2f}, chance {own.iloc[1]:.2f})")
            lines += [f"{aspect} {k} the description of somebody else: {at[k]}" for k in ("follows",) if at[k]]
    return lines


def told_by(frame):
    """Return by what each record's network is told a voice: recordings, words, both, or nothing."""
    words, audio = frame["parameters.description"] != "none", frame["parameters.references"] > 0
    names = {(False, False): "nothing", (False, True): "recordings", (True, False): "words", (True, True): "both"}
    return pandas.Series([names[pair] for pair in zip(words, audio, strict=True)], index=frame.index)
