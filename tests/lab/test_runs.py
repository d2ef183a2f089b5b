import json

import pytest

from rovolad_lib.lab import records, runs

GIVEN = {"preset": "small", "pad": "pre", "seed": 0, "sizes": {"steps": 400}, "device": "cpu", "results": "elsewhere"}


@pytest.fixture
def begin(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)

    def _begin(data="aaa", speech=1, **given):
        return runs.begin("study", GIVEN | given, data, {"speech": speech, "train": 1})

    return _begin


def test_the_folder_is_named_by_the_run_and_holds_what_decides(begin, tmp_path, capsys):
    run = begin()
    assert run == tmp_path / "study" / records.run_id("study", GIVEN, "aaa", {"speech": 1, "train": 1})
    facts = json.loads((run / "decides.json").read_text(encoding="utf-8"))
    assert facts["data"] == "aaa" and facts["code of speech"] == 1 and facts["sizes"] == {"steps": 400}
    assert "device" not in facts and "results" not in facts
    assert begin(device="cuda") == run and not capsys.readouterr().out  # the same run again


def test_a_new_run_says_what_changed(begin, capsys):
    first = begin()
    begin(pad="post")
    begin(seed=1)
    assert not capsys.readouterr().out  # other parameters are another choice, and no news
    second = begin(data="bbb", speech=2)
    told = f"new run {second.name}, the same as {first.name} but for code of speech 1 -> 2, data aaa -> bbb\n"
    assert capsys.readouterr().out == told
    third = begin(data="bbb", speech=2, sizes={"steps": 500})
    told = f"new run {third.name}, the same as {second.name} but for sizes {{'steps': 400}} -> {{'steps': 500}}\n"
    assert capsys.readouterr().out == told
