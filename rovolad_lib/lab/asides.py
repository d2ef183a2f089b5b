"""What the study of priors says beside its main comparison: what was searched, speakers left out, few speakers or many."""

import pandas

from rovolad_lib.lab.answers import against, whole

SEARCHED = ("gaussian", "robot")  # both get the same search
PATHS = ("robot_gmax", "robot_vp")  # the bridge's own, in the place of schedules
PART = r"parts\.{} voice.*\.mel_distance"


def lines(held, anchors, metric="frechet"):
    """Return lines in words of the records of one corpus, without what was not run; held, anchors: of `records.load`."""
    held = whole(held)
    usual = held[held["parameters.without"].isna() & (held["parameters.budget"] == 1)]
    every = usual[usual["parameters.takes"] == "every"]
    found = {f"searched for {name}, seed 0": searched(every, name, metric) for name in SEARCHED}
    found["speakers never heard, each left out once"] = left_out(held[held["parameters.budget"] == 1], anchors, metric)
    found["as many minutes of few speakers and of many"] = few_or_many(usual, metric)
    return [f"{name}: {said}" for name, said in found.items() if said]


def searched(every, name, metric):
    """Return every schedule, scale, path and sampler that a baseline was tried with, the best first, and its score."""
    called = every["parameters.variant"]
    own = (called == name) | called.str.startswith(f"{name}, ") | (called.isin(PATHS) if name == "robot" else False)
    runs = every[own & (every["parameters.seed"] == 0) & every["parameters.steps"].isin(every["parameters.steps"].mode())]
    names = runs["parameters.variant"] + runs["parameters.sampler"].map(lambda s: "" if s == "ddpm" else f", {s}")
    means = runs.groupby(names)[f"metrics.{metric}"].mean().sort_values()
    return ", ".join(f"{k} {v:.2f}" for k, v in means.items()) if len(means) > 1 and name in means else ""


def left_out(held, anchors, metric):
    """Return the means over left-out speakers of two variants beside their anchors, and the ratio with its interval over them."""
    gone = held[held["parameters.without"].notna()]
    if gone["parameters.variant"].nunique() != 2:
        return ""
    one, two = sorted(gone["parameters.variant"].unique(), reverse=True)
    if len(anchors):
        gone = pandas.concat([gone, anchors[anchors["parameters.without"].isin(gone["parameters.without"])]])
    said = []
    for score in (metric, "speaker_similarity", "text_accuracy"):
        if f"metrics.{score}" in gone:
            means = gone.pivot_table(f"metrics.{score}", "parameters.without", "parameters.variant").mean().sort_values()
            said.append(f"{score.replace('_', ' ')} " + ", ".join(f"{k} {v:.2f}" for k, v in means.items()))
    at = gone.pivot_table(f"metrics.{metric}", "parameters.without", "parameters.variant")
    return "; ".join([*said, against(at[one], at[two], one, two)])


def few_or_many(usual, metric):
    """Return the ratio few / many of the main score, and of the distance to the true takes of voices heard and never heard."""
    runs, said = usual[usual["parameters.takes"] != "every"], []
    if runs["parameters.takes"].nunique() != 2:
        return ""
    of = {metric: rf"metrics\.{metric}"} | {f"mel distance of {v} voices": PART.format(v) for v in ("seen", "unseen")}
    for told, columns in of.items():
        score = runs[runs.columns[runs.columns.str.fullmatch(columns)]].mean(axis=1)
        at = runs.assign(score=score).pivot_table("score", "parameters.seed", "parameters.takes")
        if at.shape[1] == 2:
            means = ", ".join(f"{name} {value:.2f}" for name, value in at.mean().items())
            said.append(f"{told} {means}, {against(at['few'], at['many'], 'few', 'many')}")
    return "; ".join(said)
