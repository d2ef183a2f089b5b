"""What the studies conclude, in words: every figure in them comes from the records, none from anywhere else."""

import pandas

from rovolad_lib.lab import records
from rovolad_lib.metrics import intervals

DIFFER = {"yes": "they differ", "no": "the same", "reverse": "they differ", "undecided": "undecided at this size"}


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
    others = held.columns[held.columns.str.startswith(("curve.", "metrics.", "aspects.")) & held.isna().all()]  # other corpora's
    return held.drop(columns=others), results / f"{study}{'' if corpus == main else '_' + corpus}.png"


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
    """Return a line for each setting of the parameters `within` with several values of `name`: what `factor` says of it there."""
    lines = []
    for key, part in frame.groupby([f"parameters.{k}" for k in within]):
        setting = ", ".join(f"{k} {v}" for k, v in zip(within, key, strict=True))
        lines += [f"{setting}: {factor(part, name, metric)}"] if part[f"parameters.{name}"].nunique() > 1 else []
    return lines


def spans(frame, name, within, metric="frechet"):
    """Return in words how far apart a parameter's values are in each setting of the parameters `within`: worst mean over best."""
    said = []
    for key, part in frame.groupby([f"parameters.{k}" for k in within]):
        means = over_seeds(part, f"metrics.{metric}", name).mean()
        said.append(f"{', '.join(map(str, key))} {means.max() / means.min():.2f}")
    return "; ".join(said)


def against(a, b, one, two):
    """Return "one / two r (low to high)" of two columns over the seeds that both have; empty where there are none.

    a, b: Series by seed; one, two: their names.
    """
    a, b = pandas.concat([a, b], axis=1).dropna().to_numpy(copy=True).T
    if not len(a):
        return ""
    mean, low, high = intervals.ratio(a, b)
    return f"{one} / {two} {mean:.2f} ({low:.2f} to {high:.2f})" if len(a) > 1 else f"{one} / {two} {mean:.2f} (one seed)"
