"""What the studies conclude, in words: every figure in them comes from the records, none from anywhere else."""

import math

import pandas

from rovolad_lib.lab import measure, records
from rovolad_lib.lab.variants import CAUSES, HEADLINES
from rovolad_lib.metrics import intervals
from rovolad_lib.metrics.intervals import MARGIN  # noqa: F401  of the picture

DIFFER = {"yes": "they differ", "no": "the same", "reverse": "they differ", "undecided": "undecided at this size"}
SAYS = {"yes": "a cause", "no": "not one", "reverse": "not one, the other way round", "undecided": "undecided at this size"}


def of_corpus(study, results, record):
    """Return the records of a study that an answer beside `record` may rest on, and the picture that shows it.

    Those of the same corpus, rehearsals beside rehearsals, real runs beside real ones. The corpus with most records has the
    picture of the study's own name.
    """
    held, corpus = records.load(study, results), record["parameters"]["corpus"]
    rehearsal = held["data.demo"].astype(bool) | (held["parameters.preset"] == "smoke")
    held = held[rehearsal == (record["data"]["demo"] or record["parameters"]["preset"] == "smoke")]
    main = held["parameters.corpus"].mode()[0]
    held = held[held["parameters.corpus"] == corpus]
    curves = held.columns[held.columns.str.startswith("curve.") & held.isna().all()]  # other corpora have them
    return held.drop(columns=curves), results / f"{study}{'' if corpus == main else '_' + corpus}.png"


def whole(frame):
    """Return records with what stands at its default and is left out of them: budget, takes, without, of all runs."""
    usual = {"parameters.budget": 1.0, "parameters.takes": "every", "parameters.without": None}
    known = {name: frame[name].astype(object) for name in usual if name in frame}
    filled = {name: known[name].where(known[name].notna(), value) if name in known else value for name, value in usual.items()}
    return frame.assign(**filled)


def over_seeds(frame, column, name="variant"):
    """Return a table seed x variant, or another parameter, of a column of the records, such as "curve.4.frechet".

    Where every run left a speaker out, the rows are seeds with speakers.
    """
    rows = ["parameters.seed"]
    if "parameters.without" in frame and frame["parameters.without"].notna().all():
        rows.append("parameters.without")
    return frame.pivot_table(column, rows, f"parameters.{name}")


def factor(frame, name, metric="frechet"):
    """Return what one parameter does, in words: the means of its values, best first, and each over the best.

    frame: records that differ in that parameter and the seed alone, or the speaker left out; metric: lower is better. Of more
    than six values the worst alone is held against the best.
    """
    at = over_seeds(frame, f"metrics.{metric}", name)
    means = at.mean().sort_values()
    said = [ranked(frame, name, metric)]
    for value in means.index[1:] if len(means) <= 6 else means.index[-1:]:
        both = at[[value, means.index[0]]].dropna()
        if len(both) > 1:
            low, high = intervals.ratio(*both.to_numpy(copy=True).T)[1:]
            told = against(at[value], at[means.index[0]], value, means.index[0])
            said.append(f"{told}, {DIFFER[intervals.verdict(low, high)]}")
    return "; ".join(said)


def ranked(frame, name, metric="frechet"):
    """Return the means of a parameter's values in words, best first; lower is better."""
    means = over_seeds(frame, f"metrics.{metric}", name).mean().sort_values()
    return ", ".join(f"{value} {mean:.2f}" for value, mean in means.items())


def means(frame, column, name, places=2):
    """Return the means of a column for each value of a parameter, in words; empty where no record has it."""
    if column not in frame:
        return ""
    return ", ".join(f"{value} {mean:.{places}f}" for value, mean in over_seeds(frame, column, name).mean().items())


def factors(frame, name, within, metric="frechet"):
    """Return a line for each setting of the parameters `within`: what `factor` says of the parameter `name` there."""
    lines = []
    for key, part in frame.groupby([f"parameters.{k}" for k in within]):
        setting = ", ".join(f"{k} {v}" for k, v in zip(within, key, strict=True))
        lines.append(f"{setting}: {factor(part, name, metric)}")
    return lines


def matters(frame, name, within, metric="frechet"):
    """Return in words in how many of the settings `within` a parameter matters: where any two of its values differ, or none."""
    lines = factors(frame, name, within, metric)
    differ = [line for line in lines if DIFFER["yes"] in line]
    same = [line for line in lines if DIFFER["no"] in line and not any(DIFFER[k] in line for k in ("yes", "undecided"))]
    rest = len(lines) - len(differ) - len(same)
    return f"{name} matters in {len(differ)} of {len(lines)} settings, not in {len(same)}, undecided in {rest}"


def against(a, b, one, two):
    """Return "one / two r (low to high)" of two columns over the seeds that both have; empty where there are none.

    a, b: Series by seed; one, two: their names.
    """
    a, b = pandas.concat([a, b], axis=1).dropna().to_numpy(copy=True).T
    if not len(a):
        return ""
    mean, low, high = intervals.ratio(a, b)
    return f"{one} / {two} {mean:.2f} ({low:.2f} to {high:.2f})" if len(a) > 1 else f"{one} / {two} {mean:.2f} (one seed)"


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
    lines = {
        "the first attempt beside its own gaussian": pair(*FIRST),
        "the same at 50 steps": ratios(frame, f"curve.50.{metric}", [FIRST]),
        "the robot prior done right": ratios(frame, metric),
        "as the only carrier of the words": pair("robot_only", "robot"),
        "words follow a swapped robot": mean("metrics.follows_swap", *HEADLINES),
        "text, then speaker accuracy": "; ".join(
            filter(None, (mean(f"metrics.{k}_accuracy", *HEADLINES) for k in ("text", "speaker")))
        ),
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
    for budget in sorted(b for b in every["parameters.budget"].unique() if b < 1):
        lines[f"at {budget:g} times the training steps"] = ratios(every[every["parameters.budget"] == budget], metric, SHORT)
    longest = every[every["parameters.budget"] == every["parameters.budget"].max()]
    if longest["parameters.budget"].max() > 1:
        named = f"at {longest['parameters.budget'].max():g} times the training steps"
        lines[named] = f"{ranking(over_seeds(longest, f'metrics.{metric}'))}; {ratios(longest, metric, (*RIGHT, FIRST))}"
        lines[f"{named}, sampled in 50"] = ratios(longest, f"curve.50.{metric}", (*RIGHT, FIRST))
    if len(anchors):
        real = anchors.loc["ground truth"]
        shown = [k for k in (metric, "text_accuracy", "speaker_accuracy") if f"metrics.{k}" in real]
        lines["real takes"] = ", ".join(f"{k.replace('_', ' ')} {real[f'metrics.{k}']:.2f}" for k in shown)
    return title, [f"{name}: {text}" for name, text in lines.items() if text] + verdicts(causes(frame, metric))


def _as_gaussian(frame, metric):
    """Return how a network of both, heard under the Gaussian at 4 steps, stands beside one of the Gaussian alone."""
    column = f"curve.gaussian.4.{metric}"
    if column not in frame or "gaussian" not in set(frame["parameters.variant"]):
        return ""
    alone = over_seeds(frame, f"curve.4.{metric}")["gaussian"]
    return against(over_seeds(frame, column)["both"], alone, "both as gaussian", "gaussian")


def _listed(found):
    return ", ".join(f"{name} {text}" for name, text in found.items())
