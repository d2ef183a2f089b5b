"""What the studies say is what their records say."""

import math

import numpy
import pandas

from rovolad_lib.lab import answers, records

T = 4.302653  # Student's 97.5 % point at 2 degrees of freedom


def row(seed, frechet):
    """A record as a row."""
    return {"parameters.seed": seed, "parameters.corpus": "digits", "metrics.frechet": frechet}


def test_a_ratio_is_the_mean_over_paired_seeds_with_students_interval():
    one, two = pandas.Series({0: 2.0, 1: 8.0, 2: 8.0, 3: 9.0}), pandas.Series({0: 1.0, 1: 2.0, 2: 4.0})
    logs = numpy.log([2, 4, 2])
    half = T * logs.std(ddof=1) / math.sqrt(3)
    low, mean, high = numpy.exp([logs.mean() - half, logs.mean(), logs.mean() + half])
    assert answers.against(one, two, "a", "b") == f"a / b {mean:.2f} ({low:.2f} to {high:.2f})"
    assert answers.against(one[:1], two, "a", "b") == "a / b 2.00 (one seed)"
    assert answers.against(one, pandas.Series({7: 1.0}), "a", "b") == ""


def test_a_factor_names_its_values_best_first_and_the_worst_beside_the_best():
    frame = pandas.DataFrame([row(s, f * (1 + s / 10)) | {"parameters.pad": pad} for pad, f in
                              (("pre", 4.0), ("post", 2.0), ("even", 2.2)) for s in range(3)])  # fmt: skip
    assert answers.factor(frame, "pad") == (
        "post 2.20, even 2.42, pre 4.40; even / post 1.10 (1.10 to 1.10), the same; pre / post 2.00 (2.00 to 2.00), they differ"
    )
    long = pandas.DataFrame([row(s, k + 1.0) | {"parameters.pad": str(k)} for k in range(7) for s in range(2)])
    assert answers.factor(long, "pad").split("; ")[1:] == ["6 / 0 7.00 (7.00 to 7.00), they differ"]
    near = frame[frame["parameters.pad"] != "pre"]
    assert answers.factor(near, "pad").endswith("even / post 1.10 (1.10 to 1.10), the same")
    assert answers.factor(near[near["parameters.seed"] == 0], "pad") == "post 2.00, even 2.20"  # one seed says no more
    both = pandas.concat([frame.assign(**{"parameters.mask": m}) for m in ("on", "off")])
    assert [line.split(": ")[0] for line in answers.factors(both, "pad", ["mask"])] == ["mask off", "mask on"]
    assert [line.split(": ")[0] for line in answers.factors(both, "mask", ["pad"])] == ["pad even", "pad post", "pad pre"]
    assert answers.factors(both[both["parameters.mask"] == "on"], "mask", ["pad"]) == []  # one value is no comparison
    mixed = pandas.concat([near.assign(**{"parameters.mask": "on"}), frame.assign(**{"parameters.mask": "off"})])
    assert answers.spans(mixed, "pad", ["mask"]) == "off 2.00; on 1.10"
    gone = frame.assign(**{"parameters.without": frame["parameters.seed"].map("v{}".format), "parameters.seed": 0})
    assert answers.factor(gone, "pad") == answers.factor(frame, "pad")  # speakers are paired as seeds are
    assert answers.means(frame, "metrics.frechet", "pad", 1) == "even 2.4, post 2.2, pre 4.4"
    assert answers.means(frame, "cost.x", "pad") == ""


def test_an_answer_rests_on_its_own_corpus_and_kind_and_the_largest_has_the_plain_name(tmp_path):
    def kept(run, corpus, preset="small", demo=False):
        record = {
            "study": "s", "run_id": run, "parameters": {"preset": preset, "corpus": corpus, "seed": 0}, "metrics": {"error": 1.0},
            "data": {"fingerprint": "f", "demo": demo}, "units": {}, "seconds": 1, "device": "cpu", "recipe": {},
        }  # fmt: skip
        records.save(record, tmp_path)
        return record

    first, second = kept("a", "digits"), kept("c", "mls")
    kept("b", "digits")
    smoke, demo = kept("d", "digits", preset="smoke"), kept("e", "demo", demo=True)
    held, picture = answers.of_corpus("s", tmp_path, first)
    assert list(held["run_id"]) == ["a", "b"] and picture == tmp_path / "s.png"
    held, picture = answers.of_corpus("s", tmp_path, second)
    assert list(held["run_id"]) == ["c"] and picture == tmp_path / "s_mls.png"
    assert [list(answers.of_corpus("s", tmp_path, r)[0]["run_id"]) for r in (smoke, demo)] == [["d"], ["e"]]
    filled = answers.whole(held)
    assert filled["parameters.budget"].tolist() == [1.0] and filled["parameters.without"].isna().all()
