"""What the study of priors concludes: every figure comes from its records."""

import math

import pandas

from rovolad_lib.lab import measure
from rovolad_lib.lab.answers import against, over_seeds
from rovolad_lib.lab.variants import CAUSES, HEADLINES

SAYS = {"yes": "a cause", "no": "not one", "reverse": "not one, the other way round", "undecided": "undecided at this size"}
FIRST = ("first", "first_gaussian")
RIGHT = tuple(("robot", other) for other in ("first", "gaussian")) + tuple(
    ("robot_x0", other) for other in ("first", "gaussian", "gaussian_x0", "control_x0", "one_shot")
)
SHORT = (("robot_x0", "gaussian_x0"), ("robot_only", "gaussian"), ("robot", "gaussian"), FIRST)  # of shorter trainings


def ratios(frame, metric, pairs=RIGHT):
    """Return the ratios of pairs of variants, in words; those that were not run are left out.

    metric: of the main scores, or "curve.50.frechet" and the like.
    """
    column = metric if metric.startswith("curve.") else f"metrics.{metric}"
    at = over_seeds(frame, column) if column in frame else ()
    return "; ".join(filter(None, (against(at[a], at[b], a, b) for a, b in pairs if a in at and b in at)))


def ranking(at):
    """Return the means of the headline variants, best first; at: of `over_seeds`."""
    means = at.mean()[[name for name in HEADLINES if name in at] or list(at)].sort_values()
    return ", ".join(f"{name} {value:.2f}" for name, value in means.items())


def causes(frame, metric="frechet"):
    """Return a table of every pair of runs that isolates a suspected cause, as `measure.compare`, and the column `cause`."""
    found = [measure.compare(frame, pairs, metric).assign(cause=cause) for cause, pairs in CAUSES.items()]
    return pandas.concat([part for part in found if len(part)] or [pandas.DataFrame()], ignore_index=True)


def verdicts(table):
    """Return a line a cause, of the table of `causes`: its pairs with their ratios and what they say."""
    lines = []
    for cause, rows in table.groupby("cause", sort=False) if len(table) else ():
        pairs = [
            f"{r.with_} / {r.without} {r.ratio:.2f} ({r.low:.2f} to {r.high:.2f}), {SAYS[r.verdict]}"
            for r in rows.rename(columns={"with": "with_"}).itertuples()
        ]
        lines.append(f"{cause}: {'; '.join(pairs)}")
    return lines


def best_steps(frame, variant, metric="frechet"):
    """Return the number of steps at which a variant's mean score over its seeds is lowest."""
    runs = frame[frame["parameters.variant"] == variant]
    return min(measure.STEPS, key=lambda n: runs[f"curve.{n}.{metric}"].mean())


def reached(frame, metric="frechet"):
    """Return {variant: text}: the fewest steps, seed by seed, at which a headline reaches the Gaussian's score at 50 steps."""
    column = f"curve.50.{metric}"
    goal, found = over_seeds(frame, column).get("gaussian") if column in frame else None, {}
    for variant in HEADLINES if goal is not None else ():
        runs = frame[frame["parameters.variant"] == variant].set_index("parameters.seed")
        fewest = [
            next((n for n in measure.STEPS if run[f"curve.{n}.{metric}"] <= goal[seed]), math.inf)
            for seed, run in runs.iterrows() if seed in goal
        ]  # fmt: skip
        if fewest:
            found[variant] = _range(fewest)
    return found


def updates(every, metric="frechet"):
    """Return {variant: text}: the shortest training, seed by seed, that reaches the Gaussian's score at the usual length.

    every: records of all budgets, each a complete training.
    """
    usual = every[(every["parameters.budget"] == 1) & (every["parameters.variant"] == "gaussian")]
    goal, found = usual.set_index("parameters.seed")[f"metrics.{metric}"], {}
    for variant in HEADLINES:
        runs = every[every["parameters.variant"] == variant].sort_values("steps")
        runs = runs[runs["parameters.seed"].isin(goal.index)]
        if runs["steps"].nunique() < 2:
            continue
        there = runs[runs[f"metrics.{metric}"] <= runs["parameters.seed"].map(goal)]
        fewest = there.groupby("parameters.seed")["steps"].min().astype(float)
        found[variant] = _range(fewest.reindex(runs["parameters.seed"].unique(), fill_value=math.inf))
    return found


def _range(numbers):
    """Return "4", "4 to 8" or "never" of what the seeds say, inf standing for never."""
    low, high = (f"{n:.0f}" if math.isfinite(n) else "never" for n in (min(numbers), max(numbers)))
    return low if low == high else f"{low} to {high}"


def anchors(table, frame):
    """Return the records of the anchors that belong to the runs of a study, by their names.

    table: of records.load; frame: of `measure.runs`.
    """
    if table.empty:
        return table
    ran = frame.iloc[0]
    fits = table["parameters.without"].isna() & (table["parameters.takes"] == "every")
    for name in ("parameters.corpus", "parameters.autoencoder", "parameters.preset", "data.fingerprint"):
        fits &= table[name] == ran[name]
    return table[fits].set_index("parameters.variant")


def of_priors(frame, every, anchors, metric="frechet"):
    """Return (title, lines): the answer to the study's question in one sentence, and what else its records say.

    frame, every: of `measure.runs` at the usual budget and of all; anchors: as above. What was not run is not spoken of.
    """
    at, steps = over_seeds(frame, f"metrics.{metric}"), int(frame["parameters.steps"].max())

    def pair(*names):
        return ratios(frame, metric, [names])

    def mean(column, *names):
        table = over_seeds(frame, column) if column in frame else ()
        return ", ".join(f"{name} {table[name].mean():.2f}" for name in names if name in table)

    fewer = [f"takes {v}" for v in frame.get("parameters.takes", pandas.Series("every")).unique() if v != "every"]
    where = ", ".join([frame["parameters.corpus"].iloc[0], *fewer])
    title = f"{where}, {metric.replace('_', ' ')} at {steps} steps: {ranking(at)}"
    known = (mean(f"metrics.{k}_accuracy", *HEADLINES) for k in ("text", "speaker"))
    lines = {
        "the first attempt beside its own gaussian": pair(*FIRST),
        "the same at 50 steps": ratios(frame, f"curve.50.{metric}", [FIRST]),
        "the robot prior done right": ratios(frame, metric),
        "as the only carrier of the words": pair("robot_only", "robot"),
        "words follow a swapped robot": mean("metrics.follows_swap", *HEADLINES),
        "text, then speaker accuracy": "; ".join(filter(None, known)),
        "sharpness": mean("metrics.sharpness", *HEADLINES),
        "diversity": mean("metrics.diversity", *HEADLINES, "both"),
        "both in one network": "; ".join(filter(None, [pair("both", "robot"), _as_gaussian(frame, metric)])),
        "fewest steps that reach the gaussian's 50": _listed(reached(frame, metric)),
        "training steps that reach the gaussian's score": _listed(updates(every, metric)),
    }
    if {"robot", "gaussian"} <= set(at) and f"curve.{steps}.{metric}" in frame:
        n = best_steps(frame, "gaussian", metric)
        robot, other = (over_seeds(frame, f"curve.{k}.{metric}")[v] for k, v in ((steps, "robot"), (n, "gaussian")))
        lines[f"the robot's {steps} steps beside the gaussian's best"] = against(robot, other, "robot", f"gaussian at {n}")
    lines |= by_budget(every, metric)
    if len(anchors):
        real = anchors.loc["ground truth"]
        shown = [k for k in (metric, "text_accuracy", "speaker_accuracy") if f"metrics.{k}" in real]
        lines["real takes"] = ", ".join(f"{k.replace('_', ' ')} {real[f'metrics.{k}']:.2f}" for k in shown)
    return title, [f"{name}: {text}" for name, text in lines.items() if text] + verdicts(causes(frame, metric))


def by_budget(every, metric="frechet"):
    """Return {name: text} of trainings of other lengths than the usual: ratios of the shorter ones, the ranking of the longest.

    every: records of all budgets, each a complete training.
    """
    lines, budgets = {}, sorted(every["parameters.budget"].unique())
    for budget in (b for b in budgets if b < 1):
        lines[f"at {budget:g} times the training steps"] = ratios(every[every["parameters.budget"] == budget], metric, SHORT)
    if budgets[-1] > 1:
        longest, named = every[every["parameters.budget"] == budgets[-1]], f"at {budgets[-1]:g} times the training steps"
        lines[named] = f"{ranking(over_seeds(longest, f'metrics.{metric}'))}; {ratios(longest, metric, (*RIGHT, FIRST))}"
        lines[f"{named}, sampled in 50"] = ratios(longest, f"curve.50.{metric}", (*RIGHT, FIRST))
    return lines


def _as_gaussian(frame, metric):
    """Return how a network of both, heard under the Gaussian at 4 steps, stands beside one of the Gaussian alone."""
    column = f"curve.gaussian.4.{metric}"
    if column not in frame or "gaussian" not in set(frame["parameters.variant"]):
        return ""
    alone = over_seeds(frame, f"curve.4.{metric}")["gaussian"]
    return against(over_seeds(frame, column)["both"], alone, "both as gaussian", "gaussian")


def _listed(found):
    return ", ".join(f"{name} {text}" for name, text in found.items())
