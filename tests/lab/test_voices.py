"""What tells a network the voice."""

from dataclasses import replace
from types import SimpleNamespace

import numpy
import pandas
import torch

from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.lab import experiment, runs, score, voices
from rovolad_lib.lab.params import Parameters
from rovolad_lib.speech import manifest


def test_scores_by_references_and_costs_are_part_of_the_record(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    p = Parameters(preset="smoke", seed=0, force=False, steps=1)
    record, _ = experiment.experiment("context", encoded, {"context": "cross"}, p, tmp_path, "cpu", voices.ByReferences("smoke"))
    assert list(record["references"]) == ["1", "2", "4", "8"]
    heard = [record["references"][n]["mel_distance"] for n in ("1", "2", "4", "8")]
    assert len(set(heard[:3])) == 3 and heard[2] == heard[3]  # nobody has more than four other words
    assert record["cost"]["times_real_time"] > 0 and record["cost"]["parameters"] > 1000
    assert set(record["seconds_by_frames"]) == {"50", "100", "200", "400"} and min(record["seconds_by_frames"].values()) > 0
    frame = pandas.json_normalize([record]).assign(**{"parameters.without": None})
    points = voices.reference_points(frame, "mel_distance")
    assert points["mel_distance"].tolist() == heard and points["references, seen"].tolist() == [1, 2, 4, 8]
    assert set(points["network"]) == {"cross"}
    frame = frame.assign(**{"parameters.network": voices.network(frame)})
    assert voices.by_references(frame, "mel_distance")[0] == f"mel distance by 1 reference: cross {heard[0]:.3f}"
    assert voices.by_references(frame.iloc[:0], "mel_distance") == []
    lines, cost = voices.cost_lines(frame), record["cost"]
    assert lines[0] == f"thousands of parameters: cross {cost['parameters'] / 1e3:.0f}"
    at = record["seconds_by_frames"]
    assert lines[-1].endswith(f"cross {at['50'] * 1e3:.1f}, {at['100'] * 1e3:.1f}, {at['200'] * 1e3:.1f}, {at['400'] * 1e3:.1f}")


def test_a_learned_voice_is_named_so():
    frame = pandas.DataFrame({"parameters.context": ["none", "none"], "parameters.speakers": ["on", "off"]})
    assert voices.network(frame).tolist() == ["learned voice", "none"]
    assert voices.network(frame[["parameters.context"]]).tolist() == ["none", "none"]


def test_the_networks_of_all_mechanisms_are_named_as_their_records_are():
    four = ["none", "two_step", "channel", "cross"]
    found = voices.networks(four)
    assert list(found) == [*four, "no voice", "learned voice"] and list(voices.networks(["cross"])) == ["cross"]
    assert list(voices.networks(four, without="a")) == [*four, "no voice"]
    frame = pandas.DataFrame([{"voice": "on"} | chosen for chosen in found.values()]).add_prefix("parameters.")
    assert voices.network(frame).tolist() == list(found)


def test_what_tells_a_voice_is_named():
    frame = pandas.DataFrame(
        {"parameters.description": ["none", "none", "minilm", "minilm"], "parameters.references": [0, 4, 0, 4]}
    )
    assert voices.told_by(frame).tolist() == ["nothing", "recordings", "words", "both"]


class Listener:
    """Hears whose take a wave is, and knows that speaker's gender."""

    measured_by = "listener"

    def __init__(self, known):
        self.known = known

    def predict(self, waves):
        return SimpleNamespace(labels=[next(g for w, g in self.known if torch.equal(w, x)) for x in waves])


def test_a_judge_tells_whether_a_description_of_somebody_else_is_followed(encoded, monkeypatch):
    table, rows = encoded.data.table, list(range(10, 20))
    gender = table.speaker.map({"a": "female", "b": "male"})
    encoded = replace(encoded, data=replace(encoded.data, table=table.assign(gender=gender)))
    real = {i: manifest.wave(table.loc[i], encoded.data.folder) for i in table.index}
    judge = Listener([(real[i], gender[i]) for i in real])
    monkeypatch.setattr(score, "speak", lambda e, m, r, described, **k: [real[i] for i in described])  # words alone decide
    further, setting = voices.Described({"gender": judge}), experiment.Setting(description="minilm")
    told = further(encoded, setting, None, rows, {}, [real[i] for i in rows])["aspects"]["gender"]
    assert told == {"accuracy": 1.0, "judge": 1.0, "chance": 0.5, "follows": 1.0, "keeps": 0.0}
    bare = further(encoded, experiment.Setting(), None, rows, {}, [real[i] for i in rows[::-1]])["aspects"]["gender"]
    assert bare == {"accuracy": 0.0, "judge": 1.0, "chance": 0.5}
    unknown = table.assign(gender=gender, age=None)  # what a manifest does not know of a clip is not held against it
    unknown.loc[rows[:5], "gender"] = None
    further.judges["age"] = judge
    partly = replace(encoded, data=replace(encoded.data, table=unknown))
    found = further(partly, experiment.Setting(), None, rows, {}, [real[i] for i in rows])["aspects"]
    assert found == {"gender": {"accuracy": 1.0, "judge": 1.0, "chance": 1.0}}
    frame = pandas.DataFrame([
        {f"aspects.gender.{k}": v for k, v in told.items()}
        | {"parameters.description": "minilm", "parameters.references": 4, "parameters.seed": 0}
    ])  # fmt: skip
    assert voices.aspect_lines(frame) == [
        "gender: both 1.00 (judge on real takes 1.00, chance 0.50)",
        "gender follows the description of somebody else: both 1.00",
    ]


def test_an_evaluation_is_timed_for_every_length_of_context():
    model = Denoiser(channels=4, width=8, depth=1, heads=2, context="none", condition=False).eval()
    found = voices.by_frames(model, items=1, frames=4, rounds=1)
    assert list(found) == [str(n) for n in voices.FRAMES] and all(numpy.isfinite(list(found.values())))


def test_an_encoder_without_its_package_is_said(monkeypatch, capsys):
    assert voices.encoder("clip", "folder") in ("folder", None)
    monkeypatch.setattr(voices.importlib.util, "find_spec", lambda name: None)
    assert voices.encoder("minilm") is None and "pip install" in capsys.readouterr().out
    assert voices.judges(None, "smoke", None) == {}
