"""The measures of the robots, on two espeak voices that say the same ten sentences."""

import sys

import numpy
import pandas
import pytest
import torch

from data_prep import quality, robot_twin
from data_prep.corpora import Utterance
from data_prep.corpora.demo import SHARED
from rovolad_lib.speech import audio, manifest, robot

VOICES = {"ann": ("en-us+f3", 60), "bob": ("en-us+m2", 30)}


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """The manifest of two voices, ten sentences each, and its folder."""
    data, rows = tmp_path_factory.mktemp("data"), []
    for name, (voice, pitch) in VOICES.items():
        for k in range(10):
            text = f"{SHARED[k]} {SHARED[(3 * k + 1) % 10]}"
            path = data / f"{name}{k}.wav"
            audio.save(path, robot.say(text, rate=150 + 5 * k, voice=voice, pitch=pitch, pitch_range=60))
            job = robot_twin.job(Utterance(path.stem, "c", name, path, text), data)
            made = robot_twin.make(job)
            rows.append(
                {"id": path.stem, "corpus": "c", "source": "espeak", "licence": "none", "speaker": f"c-{name}",
                 "path": job.path, "start": 0.0, "end": made["duration"], "sample_rate": 16000, "text": text,
                 "text_quality": "exact", "language": "en", "split": "train", "robot_path": job.robot_path,
                 "align_path": job.align_path, "duration": made["duration"], "robot_method": made["robot_method"]}
            )  # fmt: skip
    table = pandas.DataFrame(rows, columns=list(manifest.COLUMNS))
    manifest.write(table, data / "manifest.parquet")
    return manifest.read(data / "manifest.parquet"), data


def test_the_gate_tells_own_words_from_others(combined):
    found = quality.gate(*combined, most=6)
    assert found.groupby("texts").size().to_dict() == {"other": 6, "own": 6}
    table = quality.judged(found).loc["espeak"]
    assert table.loc["own", ["good", "poor", "poor_low", "poor_high", "clips"]].tolist() == [1, 0, 0, 0.39, 6]
    assert table.loc["other", "poor"] > 0.8


def test_interval():
    low, high = quality.interval(numpy.array([0, 5]), numpy.array([10, 10]))
    assert low == pytest.approx([0, 0.2366], abs=1e-4) and high == pytest.approx([0.2775, 0.7634], abs=1e-4)


def test_words_begin_where_a_recogniser_finds_them(combined):
    pytest.importorskip("pocketsphinx")
    found = quality.onsets(*combined, most=6)
    table = quality.lateness(found)
    assert table.loc["all", "clips"] >= 4 and table.loc["all", "words"] == len(found) >= 15
    assert table.loc["all", "off_50%"] <= 60 and (found.mapped_s > 0).all()
    assert (found.late_ms - 1000 * (found.mapped_s - found.person_s)).abs().max() <= 1


def test_without_a_recogniser_its_package_is_named(combined, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ImportError, match="pip install pocketsphinx"):
        quality.onsets(*combined)


def test_the_frame_map_explains_more_than_an_even_stretch(combined):
    table = quality.explained(*combined)
    assert table[["speaker", "clips"]].values.tolist() == [["c-ann", 10], ["c-bob", 10]]
    assert (table.dtw > table.linear).all() and table.dtw.between(0.3, 1).all()


def test_what_is_explained_is_one_for_a_linear_twin_and_nothing_for_noise():
    random = torch.Generator().manual_seed(0)
    x = [torch.randn(200, 5, generator=random) for _ in range(6)]
    pairs = [{"person": 3 * a.flip(1) + 1, "twin": a, "noise": torch.randn(200, 5, generator=random)} for a in x]
    assert quality._held_out(pairs, "twin", 2) > 0.99 and abs(quality._held_out(pairs, "noise", 2)) < 0.05


def test_a_flattened_recording_tells_who_speaks(combined):
    table = quality.identity(*combined).set_index("robot")
    assert table.index.tolist() == ["espeak", "warped", "flatten"] and (table.chance == 0.5).all()
    assert table.loc["flatten", "accuracy"] == 1 and table.loc["flatten", "p"] < 0.1  # texts share sentences
    assert table[["clips", "speakers", "texts"]].values.tolist() == [[20, 2, 10]] * 3


def test_the_probe_finds_a_planted_voice_and_none_in_noise():
    random = numpy.random.default_rng(0)
    speakers, texts = numpy.repeat(list("abc"), 20), numpy.tile(numpy.arange(5).repeat(4), 3)
    noise, voices = random.normal(size=(60, 4)), numpy.eye(4)[numpy.repeat(range(3), 20)]
    planted, lost = (quality._probe(noise + k * voices, speakers, texts, 0) for k in (5, 0))
    assert planted["accuracy"] > 0.95 and planted["p"] == 1 / (1 + quality.PERMUTATIONS)
    assert abs(lost["accuracy"] - 1 / 3) < 0.2 and lost["p"] > 0.05


def test_the_command_prints_all(combined, capsys):
    quality.main(["--data", str(combined[1]), "--most", "4"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("poor_high", "linear", "accuracy"))
