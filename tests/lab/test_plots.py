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
    points = [mark.get_offsets().tolist() for mark in axis.collections if len(mark.get_offsets()) and mark.get_offsets().any()]
    assert [[x for x, _ in part] for part in points] == [[5.0], [1.0, 3.0]]  # post, pre
    assert [y for part in points for _, y in part] == pytest.approx([0, 0.91, 1.09])  # each run on a height of its own
    assert [part[0].tolist() for part in drawn(axis) if len(set(part[:, 0])) == 1] == [[5.0, -0.35], [2.0, 0.65]]
    bands = [(band.get_x(), band.get_width()) for band in axis.patches]
    assert bands[0] == (5.0, 0) and bands[1] == pytest.approx((2 - 2**0.5, 2 * 2**0.5))
    assert [label.get_text() for label in axis.get_yticklabels()] == ["post, on", "pre, on"]
    assert axis.get_xlabel() == "dB" and figure.axes[1].get_xlabel() == ""  # words have no unit in the records
    assert axis.lines[-1].get_xdata()[0] == 4 and "floor" in [text.get_text() for text in axis.texts]
    assert figure.get_suptitle() == "post is worst" and figure.get_supxlabel() == "3 records, data feed"
    assert plt.imread(tmp_path / "p.png").shape[1] == plots.WIDTH * 150
    assert sorted(pd.read_csv(tmp_path / "p.csv")["metrics.error"]) == [1.0, 3.0, 5.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "p.png"]


def drawn(axis):
    """Return the ends [[x, y], [x, y]] of the segments on an axis."""
    return [part for mark in axis.collections if hasattr(mark, "get_segments") for part in mark.get_segments() if len(part)]


def test_study_draws_the_interval_of_each_run():
    plots.study(frame().assign(**{"deviation.error": [0.5, None, 1.0]}), "pad", ["error", "words"], "")
    axis, other = plt.gcf().axes
    spans = [part[:, 0].tolist() for part in drawn(axis) if len(set(part[:, 0])) > 1 and np.isfinite(part).all()]
    assert spans == [pytest.approx([5 - 1.96, 5 + 1.96]), pytest.approx([1 - 0.98, 1 + 0.98])]
    assert [part for part in drawn(other) if len(set(part[:, 0])) > 1] == []


def test_curves_join_means_over_runs(tmp_path):
    rows = [{"prior": prior, "run": run, "seconds": k, "error": 8 * (run + 1) / k}
            for prior in ("robot", "mixed") for run in range(2) for k in (1, 2, 4)]  # fmt: skip
    table = pd.concat([pd.DataFrame(rows), pd.DataFrame([{"prior": "robot", "run": 0, "steps": 50, "error": 1.0}])])
    plots.curves(table, ["seconds", "steps"], "error", "prior", "robot", tmp_path / "c.png", log=("steps", "error"))
    seconds, steps = plt.gcf().axes
    assert [line.get_label() for line in seconds.lines] == ["robot", "mixed"]
    assert seconds.lines[0].get_xdata().tolist() == [1, 2, 4] and seconds.lines[0].get_ydata().tolist() == [12, 6, 3]
    band = seconds.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (2, 16)  # from the better run's last to the worse run's first
    assert [line.get_xdata().tolist() for line in steps.lines] == [[50]]
    assert (seconds.get_xscale(), seconds.get_yscale(), steps.get_xscale()) == ("linear", "log", "log")
    assert [text.get_text() for text in plt.gcf().legends[0].get_texts()] == ["robot", "mixed"]
    assert len(pd.read_csv(tmp_path / "c.csv")) == 13 and (tmp_path / "c.png").stat().st_size > 0


def test_lines_are_curves_of_one_row_a_point(tmp_path):
    table = pd.DataFrame({"frames": [16, 64] * 2, "cost": [1.0, 4.0, 2.0, 32.0], "backbone": ["te"] * 2 + ["cnn"] * 2})
    plots.lines(table, "frames", "cost", "backbone", "te is linear", tmp_path / "l.png")
    (axis,) = plt.gcf().axes
    assert [(line.get_label(), line.get_ydata().tolist()) for line in axis.lines] == [("te", [1, 4]), ("cnn", [2, 32])]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["16", "64"] and axis.get_xscale() == "log"


def test_labels_of_a_logarithmic_axis_leave_room_for_each_other():
    table = pd.DataFrame({"steps": [1, 2, 3, 7, 8, 15, 16], "error": 1.0, "sampler": "heun"})
    plots.curves(table, ["steps"], "error", "sampler", "flat", log=("steps",))
    (axis,) = plt.gcf().axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3", "8", "16"]


def test_growth_draws_levels_across(tmp_path):
    table = pd.DataFrame({"minutes": [1, 1, 30, 30, 30], "pesq": [1.0, 2.0, 3.0, 3.0, 2.5], "codec": ["ours"] * 4 + ["linear"]})
    plots.growth(table, "minutes", ["pesq"], "codec", "ours grows", tmp_path / "g.png")
    (axis,) = plt.gcf().axes
    assert [(line.get_label(), list(line.get_ydata())) for line in axis.lines] == [("ours", [1.5, 3]), ("linear", [2.5, 2.5])]
    band = axis.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (1, 3) and axis.get_xscale() == "log"
    assert pd.read_csv(tmp_path / "g.csv").pesq.tolist() == [1.5, 3, 2.5]


def test_study_leaves_the_style_as_it_was():
    before = plt.rcParams["axes.spines.top"]
    plots.study(frame(), "pad", ["error"], "")
    assert plt.rcParams["axes.spines.top"] == before


def test_study_orders_numbers_by_size():
    table = frame().assign(**{"parameters.steps": [10, 2, 1]})
    plots.study(table, "steps", ["error"], "")
    assert [label.get_text() for label in plt.gca().get_yticklabels()] == ["1", "2", "10"]


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


def test_training_curve():
    log = pd.DataFrame({"step": [1, 2], "loss": [4.0, 3.0], "val_loss": [np.nan, 3.5], "seconds": [0.1, 0.2]})
    plots.training_curve(log)
    loss, val_loss = plt.gcf().axes
    assert list(loss.lines[0].get_ydata()) == [4.0, 3.0]
    assert list(val_loss.lines[0].get_xdata()) == [2]


def test_growth_draws_a_line_over_time_and_a_level_for_what_does_not_train(tmp_path):
    rows = [("ours", minutes, 2 + minutes / 10 + k / 100) for minutes in (1, 2, 4) for k in range(4)]
    table = pd.DataFrame([*rows, *[("linear", 0.0, 2.0 + k / 100) for k in range(4)]], columns=["codec", "minutes", "pesq"])
    plots.growth(table, "minutes", ["pesq"], "codec", "answer", tmp_path / "growth.png")
    (axis,) = plt.gcf().axes
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert lines["ours"].get_xdata().tolist() == [1, 2, 4] and axis.get_xscale() == "log"
    assert lines["ours"].get_ydata().tolist() == pytest.approx([2.115, 2.215, 2.415])
    assert list(lines["linear"].get_ydata()) == pytest.approx([2.015, 2.015])
    means = pd.read_csv(tmp_path / "growth.csv")
    assert means.pesq.tolist() == pytest.approx([2.115, 2.215, 2.415, 2.015]) and (tmp_path / "growth.png").stat().st_size > 5000
