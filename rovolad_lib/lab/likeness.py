"""How like a person what was made in their voice is: similarities by two verifiers, their table, and whether these agree."""

import math

import numpy
import pandas
import torch
from seaborn.algorithms import bootstrap

from rovolad_lib.metrics import speaker
from rovolad_lib.metrics.intervals import interval
from rovolad_lib.metrics.pitch import median_f0, semitones

REAL = ("person", "autoencoder", "nearest voice")  # recordings: they say no texts of ours
MEANS = ("right_minus_wrong", "judge_similarity", "recognised", "gate_accepts", "gate_refuses", "dnsmos")


def cells(made, held, verify):
    """Return a DataFrame of a row for each voice, maker and group of texts: its similarities and F0 error.

    made: {(voice, maker): [(S,) of 6 s or so]}; held: {voice: the same of its held-out recordings}; verify: two functions
    waves -> features, the second our own. right_minus_wrong: less the similarity to the other voices, nan where there is none.
    """
    wanted = {name: [hear(waves) for hear in verify] for name, waves in held.items()}
    level, rows = {name: median_f0(torch.cat(waves)) for name, waves in held.items()}, []
    for (name, maker), waves in made.items():
        ours = [hear(waves) for hear in verify]
        right, own = (speaker.similarity(a, b).mean(1).tolist() for a, b in zip(ours, wanted[name], strict=True))
        others = [speaker.similarity(ours[0], heard).mean(1) for other, (heard, _) in wanted.items() if other != name]
        wrong = torch.stack(others).mean(0).tolist() if others else [math.nan] * len(waves)
        rows += [
            {"voice": name, "made_by": maker, "group": k, "similarity": right[k], "right_minus_wrong": right[k] - wrong[k],
             "judge_similarity": own[k], "f0_error": semitones(median_f0(wave), level[name])}
            for k, wave in enumerate(waves)
        ]  # fmt: skip
    return pandas.DataFrame(rows)


def summary(frame):
    """Return the table: for each voice, and for all, a row a maker, with 95 % intervals over groups of texts.

    frame: of `cells`, with more scores as columns if there are. way_percent: of the way from robot to autoencoder; eer: of a
    threshold that accepts the person's own recordings and refuses what was made, .5 where nothing tells them apart.
    """
    rows = []
    for name in [*dict.fromkeys(frame.voice), "all"]:
        own = frame if name == "all" else frame[frame.voice == name]
        by = dict(list(own.groupby("made_by", sort=False)))
        floor, ceiling = _over_groups(by["robot"]), _over_voices(by["autoencoder"])
        for maker, part in by.items():
            low, high = interval(_over_groups(part))
            row = {"voice": name, "made_by": maker, "similarity": _over_voices(part), "low": low, "high": high}
            row |= {"way_percent": share(row["similarity"], floor.mean(), ceiling)}
            ways = (math.nan, math.nan) if maker in REAL else _way_interval(_over_groups(part), floor, ceiling)
            row["way_low"], row["way_high"] = ways
            row |= {score: part[score].mean() for score in MEANS if score in part} | {"f0_error": part.f0_error.median()}
            row["eer"] = speaker.eer(*(by[who].similarity.tolist() for who in ("person", maker)))
            rows.append(row)
    return pandas.DataFrame(rows)


def _way_interval(values, floor, ceiling):
    """Return the 95 % bootstrap interval of the way of values (N,) beside a floor (N,) of the same groups."""
    ways = bootstrap(values, floor, n_boot=2000, seed=0, func=lambda a, b: share(a.mean(), b.mean(), ceiling))
    return numpy.percentile(ways, [2.5, 97.5]).tolist()


def share(value, floor, ceiling):
    """Return how much of the way from a floor to a ceiling a value is, in percent."""
    return 100 * (value - floor) / (ceiling - floor)


def _over_groups(part):
    """Return the similarity of each group of texts, a Series: the mean over voices."""
    return part.groupby("group").similarity.mean()


def _over_voices(part):
    """Return the mean similarity, every voice counted once, however many groups it has."""
    return part.groupby("voice").similarity.mean().mean()


def agreement(frame):
    """Return Spearman's correlation of both verifiers' rankings: of the table's rows, and of all voices' rows."""
    both = ["similarity", "judge_similarity"]
    return {
        "makers": float(frame.groupby("made_by")[both].mean().rank().corr().iloc[0, 1]),
        "voices_and_makers": float(frame.groupby(["voice", "made_by"])[both].mean().rank().corr().iloc[0, 1]),
    }
