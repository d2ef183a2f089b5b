"""Records: named by what decides their numbers, written whole, compared only with their like."""

import json
import subprocess

import numpy as np
import pytest
import torch

from rovolad_lib.lab import records
from rovolad_lib.lab.paths import RESULTS, ROOT, RUNS

PARAMETERS = {"preset": "small", "seed": 0, "pad": "pre", "guidance": 1.0, "data": None, "device": "cpu"}


def record(run="a", demo=False, **changes):
    parameters = PARAMETERS | {k: v for k, v in changes.items() if k in PARAMETERS}
    rest = {k: v for k, v in changes.items() if k not in PARAMETERS}
    return {
        "study": "padding", "run_id": run, "parameters": parameters, "data": {"fingerprint": "feed", "demo": demo},
        "metrics": {"error": 0.5}, "units": {"error": "dB"}, "seconds": 1.0, "device": "cpu", "recipe": {"train": 1},
    } | rest  # fmt: skip


def test_run_id_depends_on_what_decides_and_on_nothing_else():
    name = records.run_id("padding", PARAMETERS, "feed", {"train": 1})
    assert len(name) == 12 and int(name, 16) >= 0
    elsewhere = {"data": "elsewhere", "device": "cuda", "force": True, "processes": 4}
    shuffled = dict(reversed(PARAMETERS.items())) | elsewhere
    assert records.run_id("padding", shuffled, "feed", {"train": 1}) == name
    others = [
        ("prior", PARAMETERS, "feed", {"train": 1}),
        ("padding", PARAMETERS | {"seed": 1}, "feed", {"train": 1}),
        ("padding", PARAMETERS, "food", {"train": 1}),
        ("padding", PARAMETERS, "feed", {"train": 2}),
    ]
    assert len({name, *(records.run_id(*other) for other in others)}) == 5


def test_run_id_is_the_same_on_every_machine():
    # sha256sum of ["padding",{"pad":"pre","seed":0},"feed",{"train":1}]
    known = records.run_id("padding", {"seed": 0, "pad": "pre"}, "feed", {"train": 1})
    assert known == "37fe6b93f20d"  # changing it orphans every committed record


def test_a_record_says_nothing_of_folders(tmp_path):
    path = records.save(record() | {"parameters": PARAMETERS | {"data": "/home/ann/data"}}, tmp_path)
    kept = json.loads(path.read_text(encoding="utf-8"))["parameters"]
    assert kept == {name: value for name, value in PARAMETERS.items() if name != "data"}


def test_save_and_load(tmp_path):
    metrics = {"error": np.float32(0.5), "words": torch.tensor(0.25), "lost": float("nan")}
    path = records.save(record(metrics=metrics), tmp_path)
    assert path == tmp_path / "records" / "padding" / "a.json"
    assert json.loads(path.read_text(encoding="utf-8"))["metrics"] == {"error": 0.5, "words": 0.25, "lost": None}
    row = records.load("padding", tmp_path).iloc[0]
    assert (row["run_id"], row["parameters.pad"], row["metrics.words"], row["units.error"]) == ("a", "pre", 0.25, "dB")
    assert np.isnan(row["metrics.lost"])
    assert row["versions.torch"] == torch.__version__.split("+")[0] or row["versions.torch"] == torch.__version__
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]  # no temporary file is left


def test_saving_again_replaces(tmp_path):
    for error in (0.5, 0.4):
        records.save(record(metrics={"error": error}), tmp_path)
    assert list(records.load("padding", tmp_path)["metrics.error"]) == [0.4]


def test_no_record_yet(tmp_path):
    frame = records.load("padding", tmp_path)
    assert frame.empty and records.group(frame, ["pad"]).empty


@pytest.mark.parametrize(
    ("change", "words"),
    [({"study": "../up"}, "cannot name a file"), ({"run_id": ""}, "cannot name a file"), ({"data": {}}, "data.demo")],
)
def test_save_refuses(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        records.save(record() | change, tmp_path)
    with pytest.raises(ValueError, match="lacks metrics"):
        records.save({key: value for key, value in record().items() if key != "metrics"}, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("content", ['{"study": ', "[1, 2]"])
def test_a_corrupt_record_is_named(tmp_path, content):
    path = records.save(record(), tmp_path)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.json is not a record"):
        records.load("padding", tmp_path)


def test_group_is_the_largest_complete_one(tmp_path):
    for number, pad in enumerate(["pre", "post", "even"]):
        records.save(record(f"best{number}", pad=pad), tmp_path)
    for seed in range(5):  # more records, fewer settings
        records.save(record(f"other{seed}", seed=seed, guidance=2.0), tmp_path)
    records.save(record("old", recipe={"train": 0}), tmp_path)
    records.save(record("demo", demo=True), tmp_path)
    records.save(record("smoke", preset="smoke"), tmp_path)
    chosen = records.group(records.load("padding", tmp_path), ["pad"])
    assert sorted(chosen["run_id"]) == ["best0", "best1", "best2"]
    assert chosen.attrs["group"].startswith("3 records, data feed, preset small, code ")
    rehearsals = records.group(records.load("padding", tmp_path), ["pad"], demo=True)
    assert list(rehearsals["run_id"]) in (["demo"], ["smoke"])


def test_group_takes_all_seeds_and_prefers_more_of_them(tmp_path):
    for seed in range(3):
        records.save(record(f"a{seed}", seed=seed, device="cpu"), tmp_path)
    records.save(record("b0", guidance=2.0), tmp_path)
    chosen = records.group(records.load("padding", tmp_path), ["pad"])
    assert list(chosen["run_id"]) == ["a0", "a1", "a2"]


def test_other_data_are_another_group_and_of_equals_the_newest_counts(tmp_path):
    for run, data, when in (("a", "1st", "2026-01-01"), ("b", "2nd", "2026-02-01"), ("c", "3rd", "2025-01-01")):
        records.save(record(run) | {"data": {"fingerprint": data, "demo": False}, "when": when}, tmp_path)
    chosen = records.group(records.load("padding", tmp_path), ["pad"])
    assert list(chosen["run_id"]) == ["b"] and "data 2nd" in chosen.attrs["group"]


def test_only_smoke_records(tmp_path):
    records.save(record(preset="smoke"), tmp_path)
    assert records.group(records.load("padding", tmp_path), ["pad"]).empty


def test_where_keeps_rehearsals_out_of_the_committed_results(tmp_path):
    assert records.where(None, False) == RESULTS
    assert records.where(None, True) == RUNS / "results"
    assert records.where(RESULTS, True) == RUNS / "results"
    assert records.where(tmp_path, True) == records.where(tmp_path, False) == tmp_path


def test_commit():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    here = records.commit()
    assert here is None if head.returncode else head.stdout.startswith(here.removesuffix("-dirty")) and len(here) >= 7


def test_a_commit_with_changes_on_top_is_called_dirty(tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert records.commit() is None
    git("init")
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    git("add", "."), git("commit", "-m", "a"), git("tag", "-a", "v1", "-m", "v1")
    clean = records.commit()
    assert git("rev-parse", "HEAD").startswith(clean) and len(clean) >= 7  # a tag does not stand for it
    (tmp_path / "a.txt").write_text("b", encoding="utf-8")
    assert records.commit() == f"{clean}-dirty"


def test_records_are_read_from_the_committed_results_by_default():
    assert records.load("autoencoder").equals(records.load("autoencoder", RESULTS)) and records.load("no such study").empty
