"""One trained network walked down by every sampler, at every number of steps and spacing."""

from functools import partial

import pandas

from rovolad_lib.lab import answers, measure, score
from rovolad_lib.metrics import intervals

SPACINGS = ("lambda", "trailing")  # beside uniform, at few steps
SPACED = (4, 8)
_ORDERS = {
    "dpm_solver": {"sampler": "dpm_solver"},
    "dpm_solver_pp": {"sampler": "dpm_solver_pp"},
    "dpm_solver_pp 3": {"sampler": "dpm_solver_pp", "order": 3},
    "dpm_solver_pp 3 published": {"sampler": "dpm_solver_pp", "order": 3, "published": True},
    "heun": {"sampler": "heun"},
}
_FIRST = {"ddpm": {"sampler": "ddpm"}, "ddim": {"sampler": "ddim"}}
_BRIDGE = {"bridge_sde": {"sampler": "bridge_sde"}, "bridge_ode": {"sampler": "bridge_ode"}}
# prior -> name -> options of sampling.sample
WALKS = {"gaussian": _FIRST | _ORDERS, "robot": _BRIDGE | _ORDERS, "mixed": _FIRST | _ORDERS}
MAIN = ("ddpm", "ddim", "dpm_solver_pp")  # of networks that are told apart by their schedule or scale


def path_of(schedule, scale):
    """Return the name of a Gaussian's path, schedule@input scale, None or nan standing for the usual ones."""
    return f"{'cosine' if pandas.isna(schedule) else schedule}@{1.0 if pandas.isna(scale) else scale:g}"


USUAL = path_of(None, None)


def evaluations(name, steps):
    """Return the network evaluations of a walk of so many steps: heun takes two a step, but for the last."""
    return 2 * steps - 1 if name == "heun" else steps


class Walked:
    """What `experiment` asks for as `further` in the study of samplers: the portrait's main scores, and all walks.

    steps: that each is walked in; a network of another schedule or scale than the usual is walked by MAIN, evenly spaced.
    """

    def __init__(self, steps=measure.STEPS):
        self.steps, self.portrait = steps, measure.Portrait()

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record, among them `walks`: {"sampler, steps, spacing": scores}, None where it is not possible."""
        told = self.portrait.brief(encoded, setting, model, rows, heard, waves, seed, **options)
        some = rows[:: -(-len(rows) // measure.MOST)]
        yard, told["walks"] = self.portrait.yard(encoded, some, heard), {}
        usual, walks = path_of(setting.schedule, setting.scale) == USUAL, WALKS[setting.prior]
        for name, given in walks.items() if usual else ((name, walks[name]) for name in MAIN):
            for steps in self.steps:
                for spacing in ("uniform", *(SPACINGS if usual and steps in SPACED else ())):
                    speak = partial(score.speak, encoded, model, some, seed=seed, references=min(3, setting.references))
                    made = speak(**options | {"steps": steps, "spacing": spacing} | given)
                    told["walks"][f"{name}, {steps}, {spacing}"] = yard.means(made)[0]
        return told


def points(frame, metric):
    """Return a table of all walks of several records: run, prior, path, sampler, steps, spacing, evaluations and the score."""
    rows, paths = [], paths_of(frame)
    for column in frame.columns[frame.columns.str.match(rf"walks\..*\.{metric}$")]:
        name, steps, spacing = column.removeprefix("walks.").removesuffix(f".{metric}").split(", ")
        cost = evaluations(name, int(steps))
        named = {"sampler": name, "steps": int(steps), "spacing": spacing, "evaluations": cost}
        for run, prior, path, value in zip(frame["run_id"], frame["parameters.prior"], paths, frame[column], strict=True):
            rows += [{"run": run, "prior": prior, "path": path, **named, metric: value}] if value == value else []
    return pandas.DataFrame(rows, columns=["run", "prior", "path", "sampler", "steps", "spacing", "evaluations", metric])


def paths_of(frame):
    """Return the path of each record, of a Gaussian as `path_of` names it, of a bridge "its own"."""
    given = frame.reindex(columns=[f"parameters.{name}" for name in ("prior", "schedule", "scale")]).to_numpy()
    return [path_of(schedule, scale) if prior == "gaussian" else "its own" for prior, schedule, scale in given]


def bests(points, metric):
    """Return a table: for each prior, within each number of evaluations, the walk of the lowest mean score.

    Columns prior, within, evaluations, sampler, spacing, path, the score, and low and high, its 95 % interval over the seeds.
    Only walks that as many runs took as any other of that prior are held against each other.
    """
    rows, keys = [], ["evaluations", "sampler", "spacing", "path"]
    for prior, part in points.groupby("prior"):
        walked = part.groupby(keys)[metric].agg(["mean", "count", intervals.of_mean])
        walked = walked[walked["count"] == walked["count"].max()]
        for steps in measure.STEPS:
            within = walked[walked.index.get_level_values("evaluations") <= steps]
            if len(within):
                best, found = within["mean"].idxmin(), within.loc[within["mean"].idxmin()]
                scored = {metric: found["mean"]} | dict(zip(("low", "high"), found["of_mean"], strict=True))
                rows.append({"prior": prior, "within": steps, **dict(zip(keys, best, strict=True)), **scored})
    return pandas.DataFrame(rows)


def best(table, metric):
    """Return a line a prior of the table of `bests`."""
    lines = []
    for prior, part in table.groupby("prior"):
        said = []
        for row in part.to_dict("records"):
            spread = f"({row['low']:.2f} to {row['high']:.2f})" if row["low"] == row["low"] else "(one seed)"
            said.append(f"{row['within']}: {_name(row)} {row[metric]:.2f} {spread}")
        lines.append(f"{prior}, best within so many evaluations: {'; '.join(said)}")
    return lines


def third_order(points, metric):
    """Return a line: DPM-Solver++ of order 3 as corrected and as published, at each number of steps, over all priors."""
    both = points[points["sampler"].isin(["dpm_solver_pp 3", "dpm_solver_pp 3 published"]) & (points["spacing"] == "uniform")]
    table = both.pivot_table(metric, "steps", "sampler")
    return "order 3, corrected and published: " + "; ".join(f"{n}: {a:.2f} and {b:.2f}" for n, (a, b) in table.iterrows())


def winner(table, metric):
    """Return the best walk of each prior at any number of evaluations, in words; table: of `bests`."""
    best = table.loc[table.groupby("prior")[metric].idxmin()]
    return ", ".join(f"{row['prior']} {_name(row)} {row[metric]:.2f} at {row['evaluations']}" for row in best.to_dict("records"))


def _name(row):
    return " ".join(row[k] for k in ("sampler", "spacing", "path") if row[k] not in ("uniform", "its own"))


def trained(frame, metric):
    """Return a line: the main scores of the Gaussian's schedules and scales, best first, where several were trained."""
    runs = frame[frame["parameters.prior"] == "gaussian"]
    runs = runs.assign(**{"parameters.path": paths_of(runs)})
    if runs["parameters.path"].nunique() < 2:
        return []
    return [f"gaussian, schedule and scale: {answers.factor(runs, 'path', metric)}"]
