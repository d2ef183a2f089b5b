"""How one trained network sounds under guidance of several weights."""

from functools import partial

import pandas

from rovolad_lib.lab import answers, measure, score

SHOWN = ("frechet", "speaker_accuracy", "diversity")
WEIGHTS = (1.0, 1.5, 2.0, 3.0, 4.0)
# name -> options of sampling.sample: plain, with the deviation of the conditional estimate, and in the middle of the path alone
GUIDES = {f"{w:g}": {"guidance": w} for w in WEIGHTS}
GUIDES |= {f"{w:g} rescaled": {"guidance": w, "rescale": 0.7} for w in WEIGHTS[1:]}
GUIDES |= {f"{w:g} in the middle": {"guidance": w, "interval": (0.2, 0.8)} for w in WEIGHTS[2:]}


class Guided:
    """What `experiment` asks for as `further` in the study of conditioning: a brief portrait, and the scores of all guides."""

    def __init__(self):
        self.portrait = measure.Portrait()

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record, among them `guides`: {name of GUIDES: scores}, of guidance 1 alone where none was learnt.

        Guidance needs an estimate without a voice: of items dropped in training, or of recordings that never had one.
        """
        told = self.portrait.brief(encoded, setting, model, rows, heard, waves, seed, **options)
        alone = encoded.data.table.speaker[encoded.keep].isna().any()
        learnt = setting.dropout > 0 or (setting.oneoff == "unconditional" and alone)
        some = rows[:: -(-len(rows) // measure.MOST)]
        yard, guides = self.portrait.yard(encoded, some, heard), {}
        for name, given in GUIDES.items() if learnt else [("1", GUIDES["1"])]:
            speak = partial(score.speak, encoded, model, references=min(3, setting.references), **options | given)
            guides[name] = yard.means(speak(some, seed=seed))[0] | measure.diversity(encoded, some, speak, seed)
        return told | {"guides": guides}


def points(frame):
    """Return a table of the guides of several records: run, guide, weight, network, and their scores, a row each.

    frame: of records.load.
    """
    rows = []
    for row in frame.to_dict("records"):
        network = f"dropout {row['parameters.dropout']:g}, one-off {row['parameters.oneoff']}"
        for name, given in GUIDES.items():
            prefix = f"guides.{name}."
            scores = {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix) and v == v}
            if scores:
                rows.append({"run": row["run_id"], "network": network, "guide": name, "weight": given["guidance"], **scores})
    return pandas.DataFrame(rows)


def advice(points, metric="frechet"):
    """Return which guide to use, in words: that of the lowest mean score over all networks that have them all.

    points: of `points`.
    """
    whole = points.groupby("run")["guide"].transform("nunique") == len(GUIDES)
    if not whole.any():
        return f"{metric} {points[metric].mean():.2f}, nothing to guide"
    table = points[whole].groupby("guide").mean(numeric_only=True)
    guide, plain = table[metric].idxmin(), table.loc["1"]
    said = ", ".join(f"{k.replace('_', ' ')} {table[k][guide]:.2f} ({plain[k]:.2f} at 1)" for k in SHOWN if k in table)
    return f"guidance to use {guide}: {said}"


def lines(frame, of, metric="frechet"):
    """Return what records say, a line each: what dropping the voice does, and what recordings without a speaker do.

    frame: of records.group; of: whose speech it is, such as "seen".
    """
    parts = [(f"{of} speakers, one-off {v}", "dropout", part) for v, part in frame.groupby("parameters.oneoff")]
    parts += [(f"{of} speakers, dropout {v:g}", "oneoff", part) for v, part in frame.groupby("parameters.dropout")]
    return [f"{said}: {answers.factor(part, name, metric)}" for said, name, part in parts]
