from dataclasses import replace
from types import SimpleNamespace

import pandas
import pytest
import torch

from rovolad_lib.lab import experiment, measure, records, runs, score
from rovolad_lib.lab.params import Parameters
from rovolad_lib.metrics import judges, signal
from rovolad_lib.speech import manifest

ROWS = list(range(10, 20))


def of(encoded, rows):
    return [manifest.wave(encoded.data.table.loc[i], encoded.data.folder) for i in rows]


def retold(encoded, **columns):
    return replace(encoded, data=replace(encoded.data, table=encoded.data.table.assign(**columns)))


def test_counterparts_are_training_takes_of_the_same_voice_and_words(encoded):
    assert measure.counterparts(encoded, ROWS) == list(range(10))  # each said each word once
    one = retold(encoded, text="one")
    chosen = measure.counterparts(one, ROWS)
    assert sorted(chosen) == list(range(10)) and all((a < 15) == (b < 5) for a, b in zip(ROWS, chosen, strict=True))
    nothing = retold(encoded, split="val_seen")
    assert not set(zip(measure.counterparts(nothing, ROWS), ROWS, strict=True)) & set(zip(ROWS, ROWS, strict=True))


def test_speech_against_itself(encoded):
    torch.manual_seed(0)
    rows, judge = ROWS * 7, judges.Judge(["one", "two"]).eval()
    yard = measure.Yardstick(encoded, rows, {"text": judge, "speaker": None})
    metrics, scored = yard.means(yard.truth)
    assert metrics["mel_distance"] < 1e-3 and metrics["sharpness"] == pytest.approx(1) and len(scored) == 70
    assert metrics["frechet"] == metrics["frechet_text"] > 0
    assert yard.means(yard.real)[0]["frechet"] == pytest.approx(0, abs=1e-4)
    low, high = yard.whole(yard.truth)[1]["frechet"]
    assert (low + high) / 2 == pytest.approx(metrics["frechet"]) and low < high
    few = measure.Yardstick(encoded, ROWS, {"text": judge}).means(of(encoded, ROWS))[0]
    assert "frechet" not in few  # too few clips for a covariance


def test_diversity_is_that_of_real_takes_where_draws_are_real_takes(encoded):
    one = retold(encoded, text="one")
    real = dict(zip(ROWS, score.reconstruction(one, ROWS), strict=True))
    takes = lambda rows, seed: [real[i + seed // 100 - 1] for i in rows]  # noqa: E731
    assert measure.diversity(one, ROWS, takes, 0)["diversity"] == pytest.approx(1)
    assert measure.diversity(one, ROWS, lambda rows, seed: [real[i] for i in rows], 0)["diversity"] == pytest.approx(0, abs=1e-5)
    assert measure.diversity(encoded, ROWS, takes, 0) == {}  # nobody says a text twice


class Listener:
    """Knows every take."""

    def __init__(self, encoded):
        self.known = {i: w for i, w in zip(ROWS, of(encoded, ROWS), strict=True)}
        self.texts = encoded.data.table.text

    def predict(self, waves):
        return SimpleNamespace(labels=[next(self.texts[i] for i, w in self.known.items() if torch.equal(w, x)) for x in waves])


def test_words_follow_a_swapped_robot_or_stay(encoded):
    listener = Listener(encoded)
    obeys = measure.swapped(encoded, ROWS, lambda rows, says: of(encoded, says), listener)
    assert obeys == {"follows_swap": 1.0, "keeps_words": 0.0}
    deaf = measure.swapped(encoded, ROWS, lambda rows, says: of(encoded, rows), listener)
    assert deaf == {"follows_swap": 0.0, "keeps_words": 1.0}


def test_what_training_knew(encoded):
    known = dict(zip(ROWS, measure.known_as(encoded, ROWS), strict=True))
    assert known[12] == "seen voice, said text" and known[10] == "seen voice, seen text"  # a lost "five", b said it
    some = replace(encoded, keep=[i for i in encoded.keep if i >= 5])
    assert set(measure.known_as(some, ROWS[:5])) == {"unseen voice, seen text", "unseen voice, unseen text"}


def test_a_portrait_is_part_of_the_record(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(measure, "STEPS", (1, 2))
    p = Parameters(preset="smoke", seed=0, force=False, steps=2)
    chosen = {"prior": "both", "variant": "both", "steps": 2}
    record, waves = experiment.experiment("prior", encoded, chosen, p, tmp_path, "cpu", measure.Portrait())
    curve = record["curve"]
    assert list(curve) == ["1", "2", "gaussian.1", "gaussian.2"]
    assert curve["2"]["mel_distance"] == pytest.approx(record["metrics"]["mel_distance"]) != curve["gaussian.2"]["mel_distance"]
    assert {"mcd", "voicing_error", "sharpness"} <= set(record["metrics"]) == set(record["units"])
    low, high = record["intervals"]["mcd"]
    assert low < record["metrics"]["mcd"] < high
    assert record["metrics"]["mcd"] == pytest.approx(sum(map(signal.mcd, waves, of(encoded, ROWS))) / 10)
    parts = record["parts"]
    assert set(parts) == {"seen voice, said text", "seen voice, seen text"}
    mean = (6 * parts["seen voice, said text"]["mcd"] + 4 * parts["seen voice, seen text"]["mcd"]) / 10
    assert mean == pytest.approx(record["metrics"]["mcd"])
    kept = records.load("prior", tmp_path)
    assert kept["curve.1.mel_distance"][0] == pytest.approx(curve["1"]["mel_distance"])


def test_the_regressor_is_heard_at_one_step(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    p = Parameters(preset="smoke", seed=0, force=False, steps=1)
    record, _ = experiment.experiment("prior", encoded, {"times": "start"}, p, tmp_path, "cpu", measure.Portrait())
    assert list(record["curve"]) == ["1"]


def test_anchors_are_measured_once(encoded, tmp_path):
    given = {"preset": "smoke", "corpus": "words", "autoencoder": "f", "without": None, "takes": "every", "seed": 5}
    table = measure.anchors("anchors", encoded, given, {"speech": 1}, {}, tmp_path)
    assert sorted(table.index) == ["ground truth", "reconstruction", "robot"]
    assert table.loc["ground truth", "metrics.mel_distance"] < 1e-3 < table.loc["robot", "metrics.mel_distance"]
    again = measure.anchors("anchors", encoded, given | {"seed": 6}, {"speech": 1}, {}, tmp_path)
    assert again.equals(table)


def held(**changes):
    """Records of a study: two variants, three seeds, a longer run, one heard at other steps, one without a speaker."""
    plain = {"budget": 1.0, "takes": "every", "without": None, "steps": 4, "preset": "small", "corpus": "d", "prior": "robot"}
    rows = [plain | {"variant": v, "seed": s, "frechet": f * (s + 1)} for v, f in (("a", 6.0), ("b", 2.0)) for s in range(3)]
    rows += [rows[0] | {"budget": 8.0, "frechet": 1.0}, rows[0] | {"steps": 8}, rows[0] | {"without": "x"}]
    frame = pandas.DataFrame(rows).add_prefix("parameters.").rename(columns={"parameters.frechet": "metrics.frechet"})
    fixed = {"data.fingerprint": "f", "data.demo": False, "when": "now", "steps": 2000, "seconds": 60.0}
    fixed |= {"run_id": [str(i) for i in range(len(frame))], "curve.4.frechet": frame["metrics.frechet"]}
    return frame.assign(**fixed)


def test_pairs_are_compared_over_the_seeds_of_one_group():
    frame = measure.runs(held(), 4, False)
    assert len(frame) == 6
    (row,) = measure.compare(frame, [("a", "b"), ("a", "c")]).to_dict("records")
    assert row["ratio"] == pytest.approx(3) == row["low"] and (row["seeds"], row["verdict"]) == (3, "yes")


def test_points_are_of_steps_and_of_budgets():
    frame, every = measure.runs(held(), 4, False), measure.runs(held(), 4, False, None)
    table = measure.points(every, frame, "frechet")
    assert table.steps.notna().sum() == 6 * len(measure.STEPS) and table.dropna(subset=["steps", "frechet"]).steps.eq(4).all()
    assert table.updates.notna().sum() == 7  # not who lacks a speaker, nor who is heard at other steps
    assert set(measure.points(every, frame[:1], "frechet").variant) == {"a"}
    assert measure.runs(pandas.DataFrame(columns=["study"]), 4, False).empty


def test_a_regressor_counts_at_its_one_step():
    frame = held().assign(**{"parameters.variant": "one_shot"})
    assert len(measure.runs(frame, 4, False)) == 7
