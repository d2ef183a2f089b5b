"""The browser: what is looked for is what is listed, heard and drawn."""

import re
from types import SimpleNamespace

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy
import pandas
import pytest
import torch
from IPython.display import HTML
from jupyter_client.manager import start_new_kernel

from rovolad_lib.lab import browse, listen
from rovolad_lib.lab.data import Data
from rovolad_lib.lab.paths import ROOT
from rovolad_lib.speech import manifest


@pytest.fixture(scope="module")
def data(encoded):
    """Speakers a and b in one corpus, two one-off rows in another, the last without words and robot."""
    table = encoded.data.table.assign(text_quality="exact", robot_method="espeak")
    table.loc[18:, ["corpus", "speaker"]] = ["long", None]
    table.loc[19, ["text", "robot_path", "align_path", "robot_method"]] = None
    return Data(table, encoded.data.folder, "f" * 12, False)


def parts(panel):
    """Return the panel's corpus, speaker, words, count, list, players and picture."""
    (corpus, speaker, words), *others = panel.children[0].children, *panel.children[1:]
    return SimpleNamespace(**dict(zip(("corpus", "speaker", "words", "count", "list", "players", "picture"),
                                      (corpus, speaker, words, *others), strict=True)))  # fmt: skip


def test_matching_asks_for_corpus_speaker_and_words(data):
    assert len(browse.matching(data.table)) == len(browse.matching(data.table, "", "", "")) == 20
    assert list(browse.matching(data.table, "long").index) == [18, 19]
    assert list(browse.matching(data.table, None, "b").text) == ["five", "four", "one", "three", "two", "five", "four", "one"]
    assert list(browse.matching(data.table, "words", "a", "E").text) == ["five", "one", "three"] * 2
    assert len(browse.matching(data.table, None, None, "(")) == 0  # no pattern, and no match for a row without words
    with pytest.raises(ValueError, match="speaker 'c' has no utterances here; accepted: a, b"):
        browse.matching(data.table, None, "c")
    with pytest.raises(ValueError, match="corpus 'digits' has no utterances here; accepted: long, words"):
        browse.matching(data.table, "digits")


def test_drawing_is_fair_and_the_same_for_a_seed(data):
    rows = browse.drawn(data.table, ["corpus", "speaker"], 6)
    assert rows.speaker.fillna("-").value_counts().to_dict() == {"a": 2, "b": 2, "-": 2}
    assert list(rows.corpus) == sorted(rows.corpus)
    pandas.testing.assert_frame_equal(rows, browse.drawn(data.table, ["corpus", "speaker"], 6))
    assert {tuple(browse.drawn(data.table, ["speaker"], 6, seed).index) for seed in range(5)} != {tuple(rows.index)}
    assert len(browse.drawn(data.table, ["text"], 99)) == 20 and browse.drawn(data.table[:0], ["text"]).empty


def test_a_page_plays_the_person_and_the_robot(data):
    html = browse.page(data, data.table.iloc[17:])
    assert re.findall("<th>(.*?)</th>", html.data) == ["who", "words", "text", "split", "robot by", "person", "robot"]
    assert html.data.count("<audio") == 5  # the last row has no robot
    for row in data.table.iloc[17:19].itertuples():
        assert listen.grid([{"": manifest.wave(row, data.folder)}]).data.split('src="')[1].split('"')[0] in html.data
        assert listen.grid([{"": manifest.robot_wave(row, data.folder)}]).data.split('src="')[1].split('"')[0] in html.data
    assert "<td>b</td><td>one</td>" in html.data and "<td>long, one-off</td><td>(words not known)</td>" in html.data


def test_headless_the_browser_is_a_page_of_what_is_looked_for(data):
    html = browse.browser(data, words="five")
    assert isinstance(html, HTML) and html.data.count("<td>five</td>") == 4
    assert html.data == browse.browser(data, words="five").data
    assert "16 of 20" not in browse.browser(data).data and browse.browser(data).data.count("<tr>") == 17


def test_a_kernel_knows_whether_somebody_is_there_who_could_answer():
    manager, client = start_new_kernel(cwd=ROOT)
    try:
        said = []
        for answers in (True, False):  # as JupyterLab asks, and as papermill does
            code = "from rovolad_lib.lab.browse import attended\nprint(attended())"
            client.execute_interactive(code, allow_stdin=answers, timeout=60, output_hook=said.append)
        assert [message["content"]["text"] for message in said if message["msg_type"] == "stream"] == ["True\n", "False\n"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_who_is_there_gets_the_panel(data, monkeypatch):
    monkeypatch.setattr(browse, "attended", lambda: True)
    panel = browse.browser(data, "a", "one")
    with pytest.raises(ValueError, match="speaker 'c' has no utterances here; accepted: a, b"):
        browse.browser(data, "c")
    assert isinstance(panel, widgets.VBox) and parts(panel).list.options == (("a: one", 2), ("a: one", 12))


def test_the_panel_lists_plays_and_draws_what_is_chosen(data):
    panel = parts(browse.panel(data))
    assert panel.corpus.options == (("all", ""), ("long", "long"), ("words", "words"))
    assert len(panel.list.options) == 20 and panel.count.value == "20 of 20 utterances" and panel.list.value == 0
    assert panel.players.value == browse.page(data, data.table[:1]).data and panel.picture.value[1:4] == b"PNG"
    first = panel.picture.value
    panel.list.index = 3
    assert panel.players.value == browse.page(data, data.table[3:4]).data and panel.picture.value != first
    panel.speaker.value = "b"
    assert [label for label, _ in panel.list.options] == [f"b: {text}" for text in data.table.text[data.table.speaker == "b"]]
    panel.words.value = "f"
    assert panel.list.options == (("b: five", 5), ("b: four", 6), ("b: five", 15), ("b: four", 16)) and panel.list.value == 5
    panel.corpus.value, panel.words.value = "long", ""
    assert panel.speaker.options == (("all", ""),) and panel.list.options[1] == ("long, one-off: (words not known)", 19)
    panel.list.index = 1
    assert panel.players.value.count("<audio") == 1 and panel.picture.value == b""
    panel.words.value = "nobody says this"
    assert panel.count.value == "0 of 20 utterances" and panel.list.options == () and "<audio" not in panel.players.value
    assert not plt.get_fignums()


def test_the_panel_begins_with_what_is_asked_for_and_lists_no_more_than_it_says(data, monkeypatch):
    monkeypatch.setattr(browse, "LISTED", 3)
    panel = parts(browse.panel(data, "a", "e"))
    assert panel.speaker.value == "a" and [label for label, _ in panel.list.options] == ["a: five", "a: one", "a: three"]
    assert panel.count.value == "6 of 20 utterances, 3 are listed"


def test_a_recording_that_is_gone_or_broken_is_said_in_the_panel(data):
    (data.folder / "broken.wav").write_text("no sound", encoding="utf-8")
    for path, words in {"gone & lost.wav": "FileNotFoundError: no audio file at ", "broken.wav": "LibsndfileError: "}.items():
        panel = parts(browse.panel(Data(data.table.assign(path=path), data.folder, "f" * 12, False)))
        assert panel.players.value.startswith(words) and path.replace("&", "&amp;") in panel.players.value
        assert panel.picture.value == b""


def test_an_alignment_carries_the_row_s_words_and_map(data):
    row = next(data.table.itertuples())
    browse.alignment(row, data)
    top, between, _ = plt.gcf().axes
    assert top.get_title() == "a: five" and len(between.lines) == browse.LINES
    assert between.lines[-1].get_xdata()[1] == manifest.frame_map(row, data.folder)[-1] / 100
    plt.close()


def test_alignment_draws_lines_between_moments_that_belong_together():
    waves = [torch.randn(n, generator=torch.Generator().manual_seed(n)) / 20 for n in (16000, 8000)]
    frames = numpy.arange(100) // 2  # the robot is twice as fast
    browse.aligned(*waves, frames, "half as long")
    top, between, bottom = plt.gcf().axes
    assert [axis.images[0].get_array().shape for axis in (top, bottom)] == [(80, 100), (80, 50)]
    assert [axis.images[0].get_extent()[1] for axis in (top, bottom)] == [1.0, 0.5]
    assert {axis.get_xlim() for axis in (top, between, bottom)} == {(0, 1)} and top.get_title() == "half as long"
    ends = numpy.array([line.get_xdata() for line in between.lines])
    assert len(ends) == browse.LINES and list(ends[0]) == [0, 0] and list(ends[-1]) == [0.99, 0.49]
    assert numpy.abs(ends[:, 0] - 2 * ends[:, 1]).max() <= 0.0101  # 10 ms frames
    assert list(between.lines[0].get_ydata()) == [1, 0]
    plt.close()


def test_a_clip_shorter_than_the_lines_has_a_line_for_each_frame():
    browse.aligned(torch.ones(320) / 9, torch.ones(320) / 9, numpy.arange(2))
    assert {tuple(line.get_xdata()) for line in plt.gcf().axes[1].lines} == {(0, 0), (0.01, 0.01)}
    plt.close()
