"""The house's pictures: few inks, readable at the width of a README."""

import textwrap
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from rovolad_lib.files import replacing
from rovolad_lib.speech.spectral import stft

WIDTH = 9.0  # inches; GitHub shows a README picture about 900 pixels wide
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("notebook"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "grid.color": "0.92",
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
}


def study(frame, x, metrics, title, path=None, anchors=None):
    """Plot a study: a panel per metric, a row per setting, a point per run with its 95 % interval over the clips.

    A bar marks each setting's mean, a band around it one standard deviation over its runs.
    frame: of `records.group`, its name is printed below; the interval is 1.96 times `deviation.<metric>`, where known.
    x: name of the studied parameter, or a list of them; metrics: names without `metrics.`; title: the answer, computed.
    path: picture file or None; the plotted records go to a .csv of the same name beside it.
    anchors: dict metric -> dict label -> value, drawn as dashed lines.
    Raises ValueError if the frame is empty or lacks a metric.
    """
    names = [x] if isinstance(x, str) else list(x)
    missing = [metric for metric in metrics if f"metrics.{metric}" not in frame]
    if frame.empty or missing:
        known = sorted(c.removeprefix("metrics.") for c in frame if c.startswith("metrics."))
        raise ValueError(f"{len(frame)} records to plot, without {missing}; their metrics: {known}")
    columns = [f"parameters.{name}" for name in names]
    frame = frame.sort_values([*columns, *frame.columns.intersection(["parameters.seed"])])
    frame = frame.assign(setting=frame[columns].astype(str).agg(", ".join, axis=1))
    rows = dict(list(frame.groupby("setting", sort=False)))
    inks = _inks(rows)
    look = {"figsize": (WIDTH, 0.9 + -(-len(metrics) // 3) * (1.1 + 0.34 * len(rows))), "sharey": True}
    with figure(len(metrics), title, path, frame.drop(columns="setting"), frame.attrs.get("group", ""), **look) as axes:
        for axis, metric in zip(axes, metrics, strict=True):
            axis.use_sticky_edges = False  # a band keeps its distance from the frame
            for place, (setting, runs) in enumerate(rows.items()):
                _runs(axis, place, runs, metric, inks[setting])
            for label, value in (anchors or {}).get(metric, {}).items():
                axis.axvline(value, color="0.5", linewidth=1, linestyle="--", zorder=1)
                axis.annotate(label, (value, 1), (0, 1), ("data", "axes fraction"), "offset points", ha="center", size=8)
            unit = frame[f"units.{metric}.unit"].dropna().unique() if f"units.{metric}.unit" in frame else []
            axis.set_title(metric.replace("_", " "), pad=14 if anchors else 6)
            axis.set(xlabel=unit[0] if len(unit) else "", ylim=(len(rows) - 0.5, -0.5))
            axis.set_yticks(range(len(rows)), rows)
            axis.grid(axis="x"), axis.grid(axis="y", visible=False)


def _runs(axis, place, runs, metric, ink):
    """Draw the runs of one setting on the row `place`, one below the other in the order of their seeds."""
    values = runs[f"metrics.{metric}"]
    heights = place + (np.arange(len(runs)) - (len(runs) - 1) / 2) * min(0.18, 0.6 / len(runs))
    axis.scatter(values, heights, color=ink, s=28, zorder=3)
    spread = values.std() if len(runs) > 1 else 0.0
    axis.barh(place, 2 * spread, 0.7, values.mean() - spread, color=ink, alpha=0.18, linewidth=0)
    axis.vlines(values.mean(), place - 0.35, place + 0.35, color="0.2", linewidth=2)
    if f"deviation.{metric}" in runs:
        half = 1.96 * runs[f"deviation.{metric}"].astype(float)
        axis.hlines(heights, values - half, values + half, color=ink, linewidth=1.5)


def curves(table, xs, y, hue, title, path=None, log=()):
    """Plot a score against updates, seconds or steps: one panel per column of `xs`, a line per variant.

    A line joins the means at each x; the band spans all rows there.
    table: DataFrame with the columns y, hue and xs; a row is a point in the panels whose x it has. title: the answer,
    computed; path: picture file or None, the table goes to a .csv of the same name beside it; log: names of columns on
    logarithmic axes.
    """
    with figure(len(xs), title, path, table, sharey=True) as axes:
        _lines(axes, table, [(x, y) for x in xs], hue, log, ("pi", 100))
        for axis, x in zip(axes, xs, strict=True):
            axis.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " ") if axis is axes[0] else "")


def lines(table, x, y, hue, title, path=None):
    """Plot `curves` of one panel on logarithmic axes; equal powers of x are parallel lines."""
    curves(table, [x], y, hue, title, path, log=(x, y))


def growth(table, x, metrics, hue, title, path=None):
    """Plot how scores grow with time: a panel per metric, a line per value of `hue`, 95 % bootstrap bands over rows.

    table: DataFrame of single scores; x: name of a column above 0, drawn logarithmically; a value of `hue` with one x alone is
    a level, drawn across. metrics, hue: names of columns; title: the answer, computed; path: picture file or None, the means
    go to a .csv of the same name beside it.
    """
    means = table.groupby([hue, x], sort=False)[metrics].mean().round(4).reset_index()
    with figure(len(metrics), title, path, means) as axes:
        _lines(axes, table, [(x, metric) for metric in metrics], hue, (x,), ("ci", 95), levels=True)
        for axis, metric in zip(axes, metrics, strict=True):
            axis.set(title=metric.replace("_", " "), xlabel=x, ylabel="")


def _lines(axes, table, columns, hue, log, errorbar, levels=False):
    """Draw a line per value of `hue` on each axis; columns: its (x, y); log, errorbar, levels: see `curves` and `growth`."""
    inks = _inks(table[hue].unique())
    for axis, (x, y) in zip(axes, columns, strict=True):
        points = table.dropna(subset=[x, y])
        for name, part in points.groupby(hue, sort=False):
            if levels and part[x].nunique() == 1:
                axis.axhline(part[y].mean(), color=inks[name], linestyle="--", label=name)
            else:
                look = {"color": inks[name], "marker": "o", "errorbar": errorbar, "label": name, "legend": False, "seed": 0}
                sns.lineplot(part, x=x, y=y, ax=axis, **look)
        for ruler in [ruler for ruler, name in ((axis.xaxis, x), (axis.yaxis, y)) if name in log]:
            axis.set(**{f"{ruler.axis_name}scale": "log"})
            exact = ruler is axis.xaxis and not levels
            places = (1, 3) if levels else (1, 2, 5)
            ruler.set_major_locator(FixedLocator(_apart(points[x])) if exact else LogLocator(subs=places))
            ruler.set_major_formatter("{x:g}")
            ruler.set_minor_locator(NullLocator())
    _legend_below(axes)


def _apart(values, factor=1.2):
    """Return the distinct values without those within `factor` of a larger one: labels that a logarithmic axis has room for."""
    kept = []
    for value in sorted(set(values), reverse=True):
        if not kept or kept[-1] >= factor * value:
            kept.append(value)
    return kept[::-1]


def bars(table, x, hue, metrics, title, path=None):
    """Plot one panel of bars per metric: means over rows with 95 % bootstrap intervals.

    table: DataFrame of single scores; x, hue: names of its columns; metrics: names of its columns; title: the answer,
    computed; path: picture file or None, the means go to a .csv of the same name beside it.
    """
    means = table.groupby([x, hue], sort=False)[metrics].mean().round(4).reset_index()
    with figure(len(metrics), title, path, means) as axes:
        for axis, metric in zip(axes, metrics, strict=True):
            sns.barplot(table, x=x, y=metric, hue=hue, ax=axis, palette="colorblind", legend=axis is axes[0], seed=0)
            axis.set(title=metric.replace("_", " "), xlabel="", ylabel="")
            plt.setp(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
        axes[0].get_legend().remove()
        _legend_below(axes)


def spectrograms(waves, path=None, title=""):
    """Plot spectrograms side by side on one scale, 80 dB deep.

    waves: dict name -> (S,) wave at 16 kHz; path: picture file or None.
    """
    spectra = {name: stft(torch.as_tensor(wave).detach().cpu()).abs().T for name, wave in waves.items()}  # (B, F)
    decibels = {name: 20 * magnitude.clamp(min=1e-5).log10() for name, magnitude in spectra.items()}
    loudest = max(values.max().item() for values in decibels.values())
    with figure(len(waves), title, path) as axes:
        for axis, (name, values) in zip(axes, decibels.items(), strict=True):
            look = {"extent": (0, values.shape[1] / 100, 0, 8), "vmin": loudest - 80, "vmax": loudest}
            axis.imshow(values.numpy(), cmap="magma", origin="lower", aspect="auto", **look)
            axis.grid(False)
            axis.set(title=name, xlabel="time (s)", ylabel="frequency (kHz)")


def corpora(summary, utterances, gate, title, path=None):
    """Plot what the corpora hold, one line a corpus: hours, speakers, words that the gate accepts; length, rate, level.

    summary: DataFrame indexed by corpus with `hours` and `speakers`; utterances: DataFrame of single ones with `corpus`
    and any columns to show the spread of, named as they are to be read; gate: DataFrame indexed by corpus, shares
    accepted in the columns `own words` and `other words`; title: the answer, computed; path: picture file or None.
    """
    summary = summary.sort_values("hours", ascending=False)
    order, lines = list(summary.index), np.arange(len(summary))
    spreads = [name for name in utterances if name != "corpus"]
    blue, orange = sns.color_palette("colorblind")[:2]
    one_off = (summary.speakers == 0) & (summary.hours > 0)
    lengths = [f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:.1f} min" for hours in summary.hours]
    people = summary.speakers.astype(int).astype(str).mask(one_off, "one-off")
    shares = 100 * gate.reindex(order)
    with figure(3 + len(spreads), title, path) as axes:
        for axis, name, labels in ((axes[0], "hours", lengths), (axes[1], "speakers", people)):
            axis.bar_label(axis.barh(lines, summary[name], color=blue, height=0.6), labels, padding=4, fontsize=10, color="0.3")
            axis.set(title="speech" if name == "hours" else name, xticks=[], xlim=(0, 1.3 * summary[name].max() or 1))
        axes[2].hlines(lines, shares["other words"], shares["own words"], color="0.85", linewidth=3, zorder=1)
        for line in lines[shares.isna().all(axis=1)]:
            axes[2].annotate("not judged", (4, line), va="center", fontsize=10, color="0.3")
        for name, color, inside, size in (("other words", orange, orange, 40), ("own words", blue, "none", 90)):
            look = {"edgecolors": color, "facecolors": inside, "s": size, "linewidths": 2}  # one may lie on the other
            axes[2].scatter(shares[name], lines, label=name, zorder=3, clip_on=False, **look)
        axes[2].set(title="accepted by the gate", xlim=(0, 100), xticks=[0, 50, 100], xticklabels=["0", "50", "100 %"])
        axes[2].legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, fontsize=10, handletextpad=0)
        for axis, name in zip(axes[3:], spreads, strict=True):
            look = {"color": sns.light_palette(blue)[2], "linewidth": 0.8, "inner": "box", "inner_kws": {"box_width": 4}}
            sns.violinplot(utterances, y="corpus", x=name, order=order, ax=axis, cut=0, density_norm="width", **look)
            axis.set(title=name, xlabel="", ylabel="")
        for number, axis in enumerate(axes):
            axis.grid(axis="y", visible=False)
            axis.set(yticks=lines, yticklabels=order if number % 3 == 0 else [], ylim=(len(order) - 0.5, -0.5))


def ratios(table, group, title, path=None, margin=None):
    """Plot ratios of two figures each on a logarithmic axis: a row a pair, a dot and its interval, in groups of one ink.

    table: DataFrame with the columns of `group`, `with`, `without`, ratio, low and high; group: name of a column; margin: ratios
    within it of 1 are shaded as the same; title: the answer, computed; path: picture file or None, the table goes to a .csv of
    the same name beside it.
    """
    inks, rows = _inks(table[group].unique()), range(len(table))
    with figure(1, title, path, table, figsize=(WIDTH, 1.3 + 0.3 * len(table))) as (axis,):
        axis.axvline(1, color="0.3", linewidth=1)
        if margin:
            axis.axvspan(1 / margin, margin, color="0.93", linewidth=0)
        for place, row in zip(rows, table.to_dict("records"), strict=True):
            axis.hlines(place, row["low"], row["high"], color=inks[row[group]], linewidth=2)
            axis.plot(row["ratio"], place, "o", color=inks[row[group]], label=row[group])
        axis.set(xscale="log", xlabel="first over second, two runs that differ in one thing", ylim=(len(table) - 0.5, -0.5))
        axis.set_yticks(rows, table["with"] + " / " + table["without"])
        axis.set_xlim(max(axis.get_xlim()[0], 0.05), min(axis.get_xlim()[1], 20))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}"), axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(axis="x"), axis.grid(axis="y", visible=False)
        _legend_below([axis])


def training_curve(log):
    """Plot a training's log, a DataFrame, against its column `step`: every other numeric column but seconds and lr."""
    frame = log.set_index("step").select_dtypes("number")
    frame = frame.drop(columns=["seconds", "lr"], errors="ignore")
    with figure(frame.shape[1], "training") as axes:
        for axis, name in zip(axes, frame, strict=True):
            axis.plot(frame[name].dropna(), color=sns.color_palette("colorblind")[0])  # validation figures stand in few rows
            axis.set(title=name.replace("_", " "), xlabel="step")


def _inks(names):
    """Return dict name -> colour."""
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def _legend_below(axes):
    """Put what is labelled in any of the panels, once each, below all of them, in as many columns as the width holds."""
    known = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    columns = min(len(known), 5, max(1, 90 // (6 + max(map(len, known), default=0))))
    look = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": 11}
    axes[0].figure.legend(known.values(), known.keys(), **look)


@contextmanager
def figure(panels, title, path=None, table=None, footer="", **options):
    """Yield a list of axes, at most three a row; then save to path, and leave the figure open for the notebook.

    path: picture file or None; table: what is drawn, for a .csv of the same name beside it; footer: printed below; options: of
    `plt.subplots`, in the place of the house's.
    """
    columns = min(panels, 3)
    rows = -(-panels // columns)
    size = {"nrows": rows, "ncols": columns, "figsize": (WIDTH, 0.9 + 2.8 * rows), "squeeze": False}
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(**size | options)
        for axis in grid.flat[panels:]:
            axis.set_axis_off()
        yield list(grid.flat[:panels])
        figure.suptitle("\n".join(textwrap.fill(line, 90) for line in title.splitlines()), fontsize=13)
        figure.supxlabel(footer, fontsize=8, color="0.4")
        if path is not None:
            with replacing(path) as temporary:
                figure.savefig(temporary)
    if path is not None and table is not None:
        with replacing(Path(path).with_suffix(".csv")) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n", float_format="%.6g")
