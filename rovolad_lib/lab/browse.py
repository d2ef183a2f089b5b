"""Utterances to look at and listen to: a browser where a person sits at the notebook, a page of players elsewhere."""

import io
import textwrap
from html import escape

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython

from rovolad_lib.lab import listen, plots
from rovolad_lib.speech import manifest
from rovolad_lib.speech.audio import SAMPLE_RATE, log_mel

LINES = 60  # of an alignment, from end to end
LISTED = 200  # matches in the browser's list; who looks for one of more types more words


def browser(data, speaker=None, words=None, seed=0):
    """Return the utterances that match: as a `panel` where somebody can use it, as a `page` in a headless run.

    data: lab.data.Data; speaker, words, errors: as `matching`; seed: of the page's choice.
    """
    found = matching(data.table, None, speaker, words)
    return panel(data, speaker, words) if attended() else page(data, drawn(found, ["corpus", "speaker"], seed=seed))


def attended():
    """Tell whether a person sits before the notebook: their front end would answer `input()`, and every request says so.

    papermill and nbconvert say that they would not; without a kernel there is nobody to ask.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def matching(table, corpus=None, speaker=None, words=None):
    """Return the rows of a manifest of a corpus, by a speaker, whose text has `words` in it; None and "" ask for nothing.

    Raises ValueError where a corpus or speaker is not in the table.
    """
    for name, wanted in {"corpus": corpus, "speaker": speaker}.items():
        if wanted:
            accepted = table[name].dropna().unique()
            if wanted not in accepted:
                raise ValueError(f"{name} {wanted!r} has no utterances here; accepted: {', '.join(sorted(accepted))}")
            table = table[table[name] == wanted]
    return table[table.text.str.contains(words, case=False, regex=False, na=False)] if words else table


def drawn(table, by, most=listen.CLIPS // 2, seed=0):
    """Return at most `most` rows, drawn by a seed so that no value of the columns `by` has two while another has none."""
    mixed = table.sample(frac=1, random_state=seed)
    turns = mixed.groupby(by, dropna=False).cumcount().sort_values(kind="stable")
    return mixed.loc[turns.index[:most]].sort_values(["corpus", "source", "speaker", "id"])


def page(data, table):
    """Return a table of players as IPython HTML: what is said, the person, the robot. At most 16 rows, as `listen.grid`."""
    return listen.grid([_played(row, data.folder) for row in table.itertuples()])


def alignment(row, data):
    """Draw a row's alignment, as `aligned`."""
    person, robot = (reader(row, data.folder) for reader in (manifest.wave, manifest.robot_wave))
    aligned(person, robot, manifest.frame_map(row, data.folder), f"{_who(row)}: {_said(row)}")


def aligned(person, robot, frame_map, title=""):
    """Plot the log-mel spectrograms of a person above a robot, with lines between the moments that belong together.

    person, robot: (S,) waves at 16 kHz; frame_map: (F,) int, the robot's 10 ms frame for each of the person's;
    title: the words.
    """
    waves = {"person": person, "robot": robot}
    seconds = max(map(len, waves.values())) / SAMPLE_RATE
    size = {"nrows": 3, "ncols": 1, "figsize": (plots.WIDTH, 4.2), "height_ratios": (3, 1, 3)}
    with plots.figure(3, "", **size) as (top, between, bottom):
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


def panel(data, speaker=None, words=None):
    """Return a widget that browses the utterances: corpus, speaker and words; players and alignment of the one chosen.

    data: lab.data.Data; speaker, words: what is looked for at first, as `matching`.
    """
    corpus = widgets.Dropdown(options=_options(data.table.corpus), description="corpus")
    who = widgets.Dropdown(options=_options(data.table.speaker), value=speaker or "", description="speaker")
    said = widgets.Text(words or "", description="words", placeholder="part of the text", continuous_update=False)
    rows = widgets.Select(description="utterance", rows=10, layout={"width": "95%"})
    count, players, picture = widgets.HTML(), widgets.HTML(), widgets.Image(format="png", layout={"max_width": "100%"})

    def within(_):
        who.options = _options(matching(data.table, corpus.value).speaker)  # which chooses all of them
        search(_)

    def search(_):
        found = matching(data.table, corpus.value, who.value, said.value)
        count.value = f"{len(found)} of {len(data.table)} utterances" + f", {LISTED} are listed" * (len(found) > LISTED)
        rows.options = [(f"{_who(row)}: {_said(row)}", row.Index) for row in found.head(LISTED).itertuples()]
        rows.index = 0 if rows.options else None

    def show(_):
        chosen = data.table.loc[[] if rows.value is None else [rows.value]]
        try:
            players.value, picture.value = page(data, chosen).data, b"".join(_png(row, data) for row in chosen.itertuples())
        except (OSError, ValueError, RuntimeError) as error:  # nobody would see what a callback raises
            players.value, picture.value = f"{type(error).__name__}: {escape(str(error))}", b""

    rows.observe(show, "value")
    search(None)
    corpus.observe(within, "value")
    who.observe(search, "value")
    said.observe(search, "value")
    return widgets.VBox([widgets.HBox([corpus, who, said]), count, rows, players, picture])


def _options(names):
    return [("all", ""), *((name, name) for name in sorted(names.dropna().unique()))]


def _played(row, folder):
    """Return what a row's players show: who and what, then each voice; a player would clip beyond -1 and 1 too."""
    facts = {"who": _who(row), "words": _said(row), "text": row.text_quality, "split": row.split}
    facts |= {"robot by": row.robot_method} if isinstance(row.robot_method, str) else {}
    robot = {"robot": manifest.robot_wave(row, folder).clamp(-1, 1)} if isinstance(row.robot_path, str) else {}
    return facts | {"person": manifest.wave(row, folder).clamp(-1, 1)} | robot


def _png(row, data):
    """Return the picture of `alignment` as the bytes of a PNG file, b"" for a row without a robot."""
    if not isinstance(row.align_path, str):
        return b""
    alignment(row, data)
    memory = io.BytesIO()
    plt.savefig(memory)
    plt.close()
    return memory.getvalue()


def _who(row):
    return row.speaker if isinstance(row.speaker, str) else f"{row.corpus}, one-off"


def _said(row):
    return row.text if isinstance(row.text, str) else "(words not known)"
