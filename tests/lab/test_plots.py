"""Pictures: what is drawn is what was recorded."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from rovolad_lib.lab import plots


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def frame():
    table = {"pad": ["pre", "pre", "post"], "mask": ["on"] * 3}
    result = pd.DataFrame({f"parameters.{name}": values for name, values in table.items()})
    result["metrics.error"], result["metrics.words"], result["units.error.unit"] = [1.0, 3.0, 5.0], [0.1, 0.2, 0.3], "dB"
    result.attrs["group"] = "3 records, data feed"
    return result


def test_study_draws_every_run_and_the_means(tmp_path):
    anchors = {"error": {"floor": 4}}
    plots.study(frame(), ["pad", "mask"], ["error", "words"], "post is worst", tmp_path / "p.png", anchors)
    figure = plt.gcf()
    axis = figure.axes[0]
    heights = sorted(y for points in axis.collections[:2] for _, y in points.get_offsets())
    assert heights == [1.0, 3.0, 5.0]
    means = [segment[0][1] for segment in axis.collections[-1].get_segments()]
    assert means == [5.0, 2.0]  # post, pre
    assert [label.get_text() for label in axis.get_xticklabels()] == ["post\non", "pre\non"]
    assert axis.get_ylabel() == "dB" and figure.axes[1].get_ylabel() == ""  # words have no unit in the records
    assert axis.lines[-1].get_ydata()[0] == 4 and "floor" in [text.get_text() for text in axis.texts]
    assert figure.get_suptitle() == "post is worst" and figure.get_supxlabel() == "3 records, data feed"
    assert plt.imread(tmp_path / "p.png").shape[1] == plots.WIDTH * 150
    assert list(pd.read_csv(tmp_path / "p.csv")["metrics.error"]) == [1.0, 3.0, 5.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "p.png"]


def test_study_leaves_the_style_as_it_was():
    before = plt.rcParams["axes.spines.top"]
    plots.study(frame(), "pad", ["error"], "")
    assert plt.rcParams["axes.spines.top"] == before


def test_study_orders_numbers_by_size():
    table = frame().assign(**{"parameters.steps": [10, 2, 1]})
    plots.study(table, "steps", ["error"], "")
    assert [label.get_text() for label in plt.gca().get_xticklabels()] == ["1", "2", "10"]


def test_study_refuses_an_empty_frame_and_an_unknown_metric():
    with pytest.raises(ValueError, match="0 records"):
        plots.study(frame()[:0], "pad", ["error"], "")
    with pytest.raises(ValueError, match="without \\['pesq'\\]; their metrics: \\['error', 'words'\\]"):
        plots.study(frame(), "pad", ["pesq"], "")


def test_spectrograms_show_a_tone_at_its_place(tmp_path):
    tone = 0.5 * torch.sin(2 * torch.pi * 2000 * torch.arange(16000) / 16000)
    plots.spectrograms({"tone": tone, "quiet": 0.001 * tone.numpy()}, tmp_path / "s.png")
    tone_image, quiet_image = (axis.images[0] for axis in plt.gcf().axes)
    pixels = tone_image.get_array()
    assert np.argmax(pixels[:, 50]) == 80  # 2000 Hz in bins of 25 Hz
    assert tone_image.get_clim() == quiet_image.get_clim()
    assert pixels.max() - quiet_image.get_array().max() == pytest.approx(60, abs=0.1)
    assert (tmp_path / "s.png").stat().st_size > 0


def test_alignment_draws_lines_between_moments_that_belong_together(tmp_path):
    waves = [torch.randn(n, generator=torch.Generator().manual_seed(n)) / 20 for n in (16000, 8000)]
    frames = np.arange(100) // 2  # the robot is twice as fast
    plots.alignment(*waves, frames, "half as long", tmp_path / "a.png")
    top, between, bottom = plt.gcf().axes
    assert [axis.images[0].get_array().shape for axis in (top, bottom)] == [(80, 100), (80, 50)]
    assert [axis.images[0].get_extent()[1] for axis in (top, bottom)] == [1.0, 0.5]
    assert {axis.get_xlim() for axis in (top, between, bottom)} == {(0, 1)} and top.get_title() == "half as long"
    ends = np.array([line.get_xdata() for line in between.lines])
    assert len(ends) == plots.LINES and list(ends[0]) == [0, 0] and list(ends[-1]) == [0.99, 0.49]
    assert np.abs(ends[:, 0] - 2 * ends[:, 1]).max() <= 0.0101  # 10 ms frames
    assert list(between.lines[0].get_ydata()) == [1, 0] and (tmp_path / "a.png").stat().st_size > 0


def test_a_clip_shorter_than_the_lines_has_a_line_for_each_frame():
    plots.alignment(torch.ones(320) / 9, torch.ones(320) / 9, np.arange(2))
    assert {tuple(line.get_xdata()) for line in plt.gcf().axes[1].lines} == {(0, 0), (0.01, 0.01)}


def test_corpora_draws_each_corpus_on_a_line_of_its_own(tmp_path):
    summary = pd.DataFrame({"hours": [0.05, 1200.0, 0], "speakers": [0, 7, 0]}, index=["small", "large", "refused"])
    singles = pd.DataFrame({"corpus": ["small", "large"] * 5, "duration (s)": [*range(1, 11)]})
    gate = pd.DataFrame({"own words": [0.9], "other words": [0.2]}, index=["small"])  # the large one was not judged
    plots.corpora(summary, singles, gate, "two corpora", tmp_path / "c.png")
    hours, speakers, accepted, duration = plt.gcf().axes[:4]
    assert [label.get_text() for label in hours.get_yticklabels()] == ["large", "small", "refused"]
    assert [text.get_text() for text in hours.texts] == ["1,200.0 h", "3.0 min", "0.0 min"]
    assert [text.get_text() for text in speakers.texts] == ["7", "one-off", "0"]
    assert [bar.get_width() for bar in hours.patches] == [1200, 0.05, 0]
    points = {mark.get_label(): mark.get_offsets().tolist() for mark in accepted.collections[1:]}
    assert points["own words"][1] == [90, 1] and points["other words"][1] == [20, 1] and points["own words"][0][0] is None
    assert [(text.get_text(), text.xy[1]) for text in accepted.texts] == [("not judged", 0), ("not judged", 2)]
    assert {axis.get_ylim() for axis in (hours, speakers, accepted, duration)} == {(2.5, -0.5)}
    spans = [body.get_paths()[0].get_extents().intervalx.tolist() for body in duration.collections]
    assert spans == [[2, 10], [1, 9]] and duration.get_title() == "duration (s)"
    assert plt.gcf().get_suptitle() == "two corpora" and (tmp_path / "c.png").stat().st_size > 0


def test_training_curve(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss,val_loss,seconds\n1,4.0,,0.1\n2,3.0,3.5,0.2\n", encoding="utf-8")
    plots.training_curve(path)
    loss, val_loss = plt.gcf().axes
    assert list(loss.lines[0].get_ydata()) == [4.0, 3.0]
    assert list(val_loss.lines[0].get_xdata()) == [2]
    with pytest.raises(ValueError, match="column 'step'"):
        plots.training_curve(pd.DataFrame({"loss": [1.0]}))
