"""One network under guidance of several weights."""

import pandas

from rovolad_lib.lab import experiment, guides, runs
from rovolad_lib.lab.params import Parameters


def test_guides_are_heard_of_one_network_and_of_none_that_never_lost_its_voice(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    few = {k: guides.GUIDES[k] for k in ("1", "3", "3 rescaled")}
    monkeypatch.setattr(guides, "GUIDES", few)
    p, found = Parameters(preset="smoke", seed=0, force=False, steps=1), {}
    for dropout in (0.0, 0.1):
        chosen = {"dropout": dropout, "oneoff": "out"}
        record, _ = experiment.experiment("conditioning", encoded, chosen, p, tmp_path, "cpu", guides.Guided())
        found[dropout] = record["guides"]
    assert list(found[0.0]) == ["1"] and list(found[0.1]) == list(few)
    assert len({scores["mel_distance"] for scores in found[0.1].values()}) == 3
    assert {"mel_distance", "sharpness"} <= set(found[0.0]["1"])


def told(run, dropout, **frechet):
    named = {"run_id": run, "parameters.dropout": dropout, "parameters.oneoff": "out", "parameters.seed": int(run)}
    scores = {f"guides.{name}.frechet": value for name, value in frechet.items()}
    return named | scores | {"metrics.frechet": frechet["1"]}


def test_the_guide_to_use_is_the_nearest_to_real_speech_of_networks_that_have_them_all(monkeypatch):
    monkeypatch.setattr(guides, "GUIDES", {"1": {"guidance": 1.0}, "2": {"guidance": 2.0}})
    rows = [told("0", 0.1, **{"1": 4.0, "2": 3.0}), told("1", 0.1, **{"1": 2.0, "2": 2.0}), told("2", 0.0, **{"1": 1.0})]
    points = guides.points(pandas.DataFrame(rows))
    assert len(points) == 5 and points.weight.tolist() == [1, 2, 1, 2, 1]
    assert points.network.iloc[-1] == "dropout 0, one-off out"
    assert guides.advice(points) == "guidance to use 2: frechet 2.50 (3.00 at 1)"
    assert guides.advice(points[points.run == "2"]) == "frechet 1.00, nothing to guide"
    lines = guides.lines(pandas.DataFrame([told(str(s), d, **{"1": d + 1}) for s, d in enumerate((0.0, 0.1))]), "seen")
    assert lines[0] == "seen speakers, one-off out: 0.0 1.00, 0.1 1.10"
