"""One trained network walked down by every sampler, at every number of steps and spacing."""

from functools import partial

import pandas

from rovolad_lib.lab import answers, measure, score

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
# prior -> name -> options of convert.sample
WALKS = {"gaussian": _FIRST | _ORDERS, "robot": _BRIDGE | _ORDERS, "mixed": _FIRST | _ORDERS}


def evaluations(name, steps):
    """Return the network evaluations of a walk of so many steps: heun takes two a step, but for the last."""
    return 2 * steps - 1 if name == "heun" else steps


class Walked:
    """What `experiment` asks for as `further` in the study of samplers: the portrait's main scores, and all walks.

    steps: that each is walked in.
    """

    def __init__(self, steps=measure.STEPS):
        self.steps, self.portrait = steps, measure.Portrait()

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record, among them `walks`: {"sampler, steps, spacing": scores}, None where it is not possible."""
        told = self.portrait.brief(encoded, setting, model, rows, heard, waves, seed, **options)
        some = rows[:: -(-len(rows) // measure.MOST)]
        yard, told["walks"] = self.portrait.yard(encoded, some, heard), {}
        for name, given in WALKS[setting.prior].items():
            for steps in self.steps:
                for spacing in ("uniform", *(SPACINGS if steps in SPACED else ())):
                    speak = partial(score.speak, encoded, model, some, seed=seed, references=min(3, setting.references))
                    made = speak(**options | {"steps": steps, "spacing": spacing} | given)
                    told["walks"][f"{name}, {steps}, {spacing}"] = yard.means(made)[0]
        return told


def points(frame, metric):
    """Return a table of all walks of several records: run, prior, sampler, steps, spacing, evaluations and the score."""
    rows = []
    for column in frame.columns[frame.columns.str.match(rf"walks\..*\.{metric}$")]:
        name, steps, spacing = column.removeprefix("walks.").removesuffix(f".{metric}").split(", ")
        cost = evaluations(name, int(steps))
        named = {"sampler": name, "steps": int(steps), "spacing": spacing, "evaluations": cost}
        for run, prior, value in zip(frame["run_id"], frame["parameters.prior"], frame[column], strict=True):
            rows += [{"run": run, "prior": prior, **named, metric: value}] if value == value else []
    return pandas.DataFrame(rows, columns=["run", "prior", "sampler", "steps", "spacing", "evaluations", metric])


def best(points, metric):
    """Return a line a prior: within each number of evaluations the walk of the lowest mean score, and the range of its runs."""
    lines = []
    for prior, part in points.groupby("prior"):
        walked, said = part.groupby(["evaluations", "sampler", "spacing"])[metric].agg(["mean", "min", "max"]), []
        for steps in measure.STEPS:
            within = walked[walked.index.get_level_values("evaluations") <= steps]
            (_, sampler, spacing), row = within["mean"].idxmin(), within.loc[within["mean"].idxmin()]
            name = sampler if spacing == "uniform" else f"{sampler} {spacing}"
            said.append(f"{steps}: {name} {row['mean']:.2f} ({row['min']:.2f} to {row['max']:.2f})")
        lines.append(f"{prior}, best within so many evaluations: {'; '.join(said)}")
    return lines


def third_order(points, metric):
    """Return a line: DPM-Solver++ of order 3 as corrected and as published, at each number of steps, over all priors."""
    both = points[points["sampler"].isin(["dpm_solver_pp 3", "dpm_solver_pp 3 published"]) & (points["spacing"] == "uniform")]
    table = both.pivot_table(metric, "steps", "sampler")
    return "order 3, corrected and published: " + "; ".join(f"{n}: {a:.2f} and {b:.2f}" for n, (a, b) in table.iterrows())


def winner(points, metric):
    """Return the best walk of each prior at any number of evaluations, in words."""
    said = []
    for prior, part in points.groupby("prior"):
        means = part.groupby(["sampler", "evaluations"])[metric].mean()
        sampler, count = means.idxmin()
        said.append(f"{prior} {sampler} {means.min():.2f} at {count}")
    return ", ".join(said)


def trained(frame, metric):
    """Return a line: the main scores of the Gaussian's schedules and scales, best first, where several were trained."""
    runs = frame[frame["parameters.prior"] == "gaussian"]
    names = runs["parameters.schedule"].fillna("cosine") + " " + runs["parameters.scale"].fillna(1.0).map("{:g}".format)
    if names.nunique() < 2:
        return []
    return [f"gaussian, schedule and scale: {answers.factor(runs.assign(**{'parameters.path': names}), 'path', metric)}"]
