"""The house's pictures: few inks, readable at the width of a README."""

import textwrap
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.ticker import LogLocator

from rovolad_lib.files import replacing
from rovolad_lib.speech.audio import SAMPLE_RATE, log_mel

WIDTH = 9.0  # inches; GitHub shows a README picture about 900 pixels wide
LINES = 60  # of an alignment, from end to end
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
    """Plot a study: one panel per metric, a point per run, a bar for each setting's mean; saves picture and table.

    frame: of `records.group`, its name is printed below; x: name of the studied parameter, or a list of them.
    metrics: names without `metrics.`; title: the answer, computed.
    path: picture file or None; the plotted records go to a .csv of the same name beside it.
    anchors: dict metric -> dict label -> value, drawn as dashed lines.
    Raises ValueError if the frame is empty or lacks a metric.
    """
    names = [x] if isinstance(x, str) else list(x)
    missing = [metric for metric in metrics if f"metrics.{metric}" not in frame]
    if frame.empty or missing:
        known = sorted(c.removeprefix("metrics.") for c in frame if c.startswith("metrics."))
        raise ValueError(f"{len(frame)} records to plot, without {missing}; their metrics: {known}")
    frame = frame.assign(setting=frame[[f"parameters.{name}" for name in names]].astype(str).agg("\n".join, axis=1))
    order = list(frame.sort_values([f"parameters.{name}" for name in names])["setting"].unique())
    with _figure(len(metrics), title, path, frame.attrs.get("group", "")) as axes:
        for axis, metric in zip(axes, metrics, strict=True):
            column = f"metrics.{metric}"
            sns.stripplot(frame, x="setting", y=column, order=order, ax=axis, color=sns.color_palette("colorblind")[0])
            means = frame.groupby("setting")[column].mean().reindex(order)
            axis.hlines(means, np.arange(len(order)) - 0.25, np.arange(len(order)) + 0.25, color="0.2", linewidth=2)
            for label, value in (anchors or {}).get(metric, {}).items():
                axis.axhline(value, color="0.5", linewidth=1, linestyle="--", zorder=0)
                axis.annotate(label, (1, value), (0, 2), ("axes fraction", "data"), "offset points", ha="right", size=9)
            unit = frame[f"units.{metric}.unit"].dropna().unique() if f"units.{metric}.unit" in frame else []
            axis.set(title=metric.replace("_", " "), xlabel=", ".join(names), ylabel=unit[0] if len(unit) else "")
    if path is not None:
        with replacing(Path(path).with_suffix(".csv")) as temporary:
            frame.drop(columns="setting").to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def bars(table, x, hue, metrics, title, path=None):
    """Plot one panel of bars per metric: means over rows with 95 % bootstrap intervals.

    table: DataFrame of single scores; x, hue: names of its columns; metrics: names of its columns; title: the answer,
    computed; path: picture file or None, the means go to a .csv of the same name beside it.
    """
    with _figure(len(metrics), title, path) as axes:
        for axis, metric in zip(axes, metrics, strict=True):
            sns.barplot(table, x=x, y=metric, hue=hue, ax=axis, palette="colorblind", legend=axis is axes[0], seed=0)
            axis.set(title=metric.replace("_", " "), xlabel="", ylabel="")
            plt.setp(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].get_legend().remove()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=11)
    if path is not None:
        with replacing(Path(path).with_suffix(".csv")) as temporary:
            means = table.groupby([x, hue], sort=False)[metrics].mean().round(4)
            means.to_csv(temporary, encoding="utf-8", lineterminator="\n")


def lines(table, x, y, hue, title, path=None):
    """Plot one panel of lines on logarithmic axes, one line a value of `hue`; equal powers of x are parallel lines.

    table: DataFrame with the columns x, y and hue, x and y above 0; title: the answer, computed; path: picture file or
    None, the table goes to a .csv of the same name beside it.
    """
    with _figure(1, title, path) as (axis,):
        sns.lineplot(table, x=x, y=y, hue=hue, style=hue, markers=True, dashes=False, ax=axis, palette="colorblind")
        axis.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        axis.set_xticks(table[x].unique(), [f"{value:g}" for value in table[x].unique()])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.legend(title="", frameon=False)
    if path is not None:
        with replacing(Path(path).with_suffix(".csv")) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n", float_format="%.4g")


def spectrograms(waves, path=None, sample_rate=16000, title=""):
    """Plot spectrograms side by side on one scale, 80 dB deep.

    waves: dict name -> (S,) wave; path: picture file or None; sample_rate: in Hz.
    """
    decibels = {}
    for name, wave in waves.items():
        wave = torch.as_tensor(wave, dtype=torch.float32).detach().cpu()  # (S,)
        spectrum = torch.stft(wave, 640, 160, window=torch.hann_window(640), pad_mode="constant", return_complex=True)
        decibels[name] = 20 * spectrum.abs().clamp(min=1e-5).log10()  # (321, S // 160 + 1)
    loudest = max(values.max().item() for values in decibels.values())
    with _figure(len(waves), title, path) as axes:
        for axis, (name, values) in zip(axes, decibels.items(), strict=True):
            extent = (0, values.shape[1] * 160 / sample_rate, 0, sample_rate / 2000)
            limits = {"vmin": loudest - 80, "vmax": loudest}
            axis.imshow(values.numpy(), extent=extent, cmap="magma", origin="lower", aspect="auto", **limits)
            axis.grid(False)
            axis.set(title=name, xlabel="time (s)", ylabel="frequency (kHz)")


def alignment(person, robot, frame_map, title="", path=None):
    """Plot the log-mel spectrograms of a person above a robot, with lines between the moments that belong together.

    person, robot: (S,) waves at 16 kHz; frame_map: (F,) int, the robot's 10 ms frame for each of the person's;
    title: the words; path: picture file or None.
    """
    waves = {"person": person, "robot": robot}
    seconds = max(map(len, waves.values())) / SAMPLE_RATE
    with _figure(3, "", path, nrows=3, ncols=1, figsize=(WIDTH, 4.2), height_ratios=(3, 1, 3)) as (top, between, bottom):
        for axis, (name, wave) in zip((top, bottom), waves.items(), strict=True):
            mel = log_mel(wave).numpy()  # (80, F)
            axis.imshow(mel, extent=(0, mel.shape[1] / 100, 0, 80), cmap="magma", origin="lower", aspect="auto")
            axis.set(xlim=(0, seconds), yticks=[], ylabel=name)
            axis.grid(False)
        moments = np.linspace(0, len(frame_map) - 1, LINES).round().astype(int)
        ends = np.stack([moments, np.asarray(frame_map)[moments]], 1) / 100  # (lines, 2) in seconds
        between.plot(ends.T, [1, 0], color="0.45", linewidth=0.7)
        between.set(xlim=(0, seconds), ylim=(0, 1))
        between.set_axis_off()
        top.tick_params(labelbottom=False)
        bottom.set_xlabel("time (s)")
        top.set_title(textwrap.fill(title, 100), pad=8)
        between.figure.get_layout_engine().set(h_pad=0, hspace=0, rect=(0, 0, 1, 0.98))  # lines touch what they join


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
    with _figure(3 + len(spreads), title, path) as axes:
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


def training_curve(log, path=None, title="training"):
    """Plot a training log, one panel per column.

    log: CSV file or DataFrame with a column `step`; every other numeric column but seconds and lr is drawn.
    """
    frame = log if isinstance(log, pd.DataFrame) else pd.read_csv(log, encoding="utf-8")
    if "step" not in frame:
        raise ValueError(f"a training log has a column 'step', this one has {list(frame)}")
    names = [name for name in frame.select_dtypes("number") if name not in ("step", "seconds", "lr")]
    with _figure(len(names), title, path) as axes:
        for axis, name in zip(axes, names, strict=True):
            rows = frame[["step", name]].dropna()  # validation figures stand in few rows
            axis.plot(rows["step"], rows[name], color=sns.color_palette("colorblind")[0])
            axis.set(title=name.replace("_", " "), xlabel="step")


@contextmanager
def _figure(panels, title, path, footer="", **options):
    """Yield a list of axes, at most three a row; then save to path, and leave the figure open for the notebook.

    options: of `plt.subplots`, in the place of the house's.
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
