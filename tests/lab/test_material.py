import math
import shutil
from dataclasses import replace

import pytest
import torch
import torchaudio

from rovolad_lib import convert
from rovolad_lib.lab import experiment, material, score
from rovolad_lib.lab.setting import Setting
from rovolad_lib.speech import manifest


@pytest.fixture
def some(encoded, tmp_path):
    """The same utterances in a folder of their own, where more is kept beside them."""
    folder = shutil.copytree(encoded.data.folder, tmp_path / "data")
    return replace(encoded, data=replace(encoded.data, folder=folder))


def test_a_shared_space_at_many_rates_is_what_was_there(encoded):
    assert material.under(encoded, Setting()) is encoded


def test_a_separate_space_is_the_robot_s_alone(some):
    apart = material.under(some, Setting(ae="separate"))
    codec, table = apart.robot_codec, some.data.table
    assert codec.fingerprint() != some.autoencoder.fingerprint() and codec.encoder is None
    for i in (0, 13):
        person, robot, frame_map = apart.latents[i]
        wave = score.set_level(manifest.robot_wave(table.loc[i], some.data.folder))
        assert torch.equal(person, some.latents[i][0]) and torch.equal(frame_map, some.latents[i][2])
        torch.testing.assert_close(robot, codec.encode(wave[None])[0], atol=5e-3, rtol=5e-3)
        assert not torch.allclose(robot, some.latents[i][1], atol=0.3)
    said = score.robot_latents(apart, [12])[0]
    assert not torch.allclose(said, score.robot_latents(some, [12])[0], atol=0.3)
    again = material.under(some, Setting(ae="separate"))
    assert again.robot_codec.fingerprint() == codec.fingerprint() and torch.equal(apart.latents.lengths(), some.latents.lengths())


def test_padding_decides_how_far_apart_robot_and_person_are(encoded):
    class Held:
        def __getitem__(self, i):  # the robot says the person's eight frames two later, and nothing else for two
            return torch.zeros(2, 8), torch.zeros(2, 12), torch.arange(8) + 2

    pair, ms = replace(encoded, latents=Held(), keep=[0, 1]), 20.0
    assert [material.apart(pair, mode) for mode in ("even", "post", "pre")] == [0.0, 2 * ms, 2 * ms]


def test_at_one_rate_a_text_has_one_robot(some):
    one = material.under(some, Setting(align="none", robots="one"))
    said = score.robot_latents(some, [12])[0]
    assert torch.equal(one.latents[12][1], said) and torch.equal(one.latents[2][1], said)  # both say "one"
    assert not torch.equal(some.latents[12][1], some.latents[11][1])
    table = some.data.table.copy()
    table.loc[12, "text"] = None
    untold = material.under(replace(some, data=replace(some.data, table=table)), Setting(align="none", robots="one"))
    assert torch.equal(untold.latents[12][1], some.latents[12][1])


def test_a_speaker_left_out_is_who_is_scored(encoded):
    left = material.cut(encoded, "a")
    table = left.data.table
    assert left.keep == [i for i in encoded.keep if table.speaker[i] == "b"]
    assert score.testable(left, "val_seen") == [0, 2, 4, *range(10, 15)] and set(table.split[5:10]) == {"train"}
    assert encoded.data.table.split[0] == "train"  # nobody else sees it
    with pytest.raises(ValueError, match="without='c'; accepted: a, b"):
        material.cut(encoded, "c")


def test_few_and_many_speakers_have_equal_minutes(encoded):
    table = encoded.data.table.copy()
    table["duration"], table["speaker"] = 1.0, [f"{i % 5}" for i in range(20)]
    table["text"] = [f"{i // 5}" for i in range(20)]
    table.loc[15:, "split"] = "val_unseen"
    five = replace(encoded, data=replace(encoded.data, table=table), keep=list(range(10)))
    few, many = (material.cut(five, takes=takes) for takes in ("few", "many"))
    assert few.keep == [0, 4, 5, 9] and len(many.keep) == 4
    assert table.speaker[many.keep].nunique() == 4 and material.cut(five).keep == five.keep
    assert score.testable(few, "val_seen") == score.testable(many, "val_seen") == list(range(10, 20))


def test_copies_are_the_takes_at_other_speeds_in_voices_of_their_own(some):
    made = material.copied(some, speeds=(0.8, 1.25))
    table, train, before = made.data.table, some.keep, len(some.data.table)
    assert len(made.latents) == len(table) == before + 2 * len(train) and made.keep == [*train, *range(before, len(table))]
    assert set(table.speaker[before:]) == {"a x0.8", "b x0.8", "a x1.25", "b x1.25"}
    for k, speed in enumerate((0.8, 1.25)):
        at, i = before + k * len(train) + 3, train[3]
        person, robot, frame_map = made.latents[at]
        wave = manifest.wave(table.loc[at], some.data.folder)
        played = torchaudio.functional.resample(wave, round(100 * speed), 100)
        wanted = some.autoencoder.encode(score.set_level(played)[None])[0]
        torch.testing.assert_close(person, wanted, atol=5e-3, rtol=5e-3)
        assert made.latents.lengths()[at] == person.shape[1] == -(-len(played) // some.autoencoder.hop)
        assert torch.equal(robot, some.latents[i][1])
        wanted = [some.latents[i][2][min(int(t * speed), some.latents[i][0].shape[1] - 1)] for t in range(person.shape[1])]
        assert frame_map.tolist() == wanted
    assert torch.equal(made.latents[3][0], some.latents[3][0])
    stamps = {path: path.stat().st_mtime_ns for path in (some.data.folder / "latents").glob("*x0.8*")}
    again = material.copied(some, speeds=(0.8,))
    assert torch.equal(again.latents[before][0], made.latents[before][0]) and stamps
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def test_copies_are_learned_from_and_never_scored(some):
    size = {"model": {"width": 16, "depth": 1, "heads": 2}, "batch": 8, "frames": 400}
    model, pairs, _ = experiment.prepare(some, Setting(copies="on", speakers="on"), size)
    assert len(model.notes["speakers"]) == 6 and len(pairs.keep) == 3 * len(some.keep) and pairs[0]["x0"].isfinite().all()
    assert len(experiment.prepare(some, Setting(speakers="on"), size)[0].notes["speakers"]) == 2


@pytest.fixture
def voiced(some, monkeypatch):
    """Take i is a hum of 150 + 10 i Hz."""

    def hum(row, data):
        time = torch.arange(round(row.duration * 16000)) / 16000
        return torch.stack([torch.sin(2 * torch.pi * k * (150 + 10 * int(row.id)) * time) for k in (1, 2, 3)]).mean(0)

    monkeypatch.setattr(manifest, "wave", hum)
    return some


def test_two_corpora_may_have_the_same_ids(some, monkeypatch):
    table = some.data.table.assign(id=[str(i % 10) for i in range(20)], corpus=[f"c{i // 10}" for i in range(20)])
    monkeypatch.setattr(material, "median_f0", lambda wave: float(len(wave)))
    found = material.pitches(replace(some, data=replace(some.data, table=table)))
    assert found.tolist() == [3200 + 300 * i for i in range(20)]


def test_a_network_is_told_the_pitch_of_the_take(voiced):
    size = {"model": {"width": 16, "depth": 1, "heads": 2}, "batch": 8, "frames": 400}
    found = material.pitches(voiced)
    assert found.tolist() == pytest.approx([150 + 10 * i for i in range(20)], abs=2)
    made = material.pitches(material.copied(voiced, speeds=(0.8,)))
    assert torch.equal(made[:20], found)
    torch.testing.assert_close(made[20:], 0.8 * found[voiced.keep])
    model, pairs, _ = experiment.prepare(voiced, Setting(pitch="told", copies="on"), size)
    assert model.config["pitch"] and set(pairs[0]["pitch"].tolist()) <= set(material.pitches(material.copied(voiced)).tolist())
    assert "pitch" not in experiment.prepare(voiced, Setting(), size)[1][0]


def test_a_network_that_is_told_the_pitch_is_told_that_of_the_references(some, monkeypatch):
    size, told, made = {"model": {"width": 16, "depth": 1, "heads": 2}, "batch": 8, "frames": 400}, [], score.sample
    monkeypatch.setattr(score, "robot_f0", lambda wave: 180.0)
    monkeypatch.setattr(score, "sample", lambda *a, **k: told.append(k["told"]["pitch"].tolist()) or made(*a, **k))
    model, rows = experiment.prepare(some, Setting(pitch="told"), size)[0], score.testable(some, "val_seen")[:2]
    for references in (2, 0):
        score.speak(some, model, rows, steps=1, references=references)
    assert told == [[180.0, 180.0], [0.0, 0.0]]
    assert experiment.x0_errors(some, Setting(pitch="told"), model, rows)


def test_what_is_spoken_too_low_is_told_higher(some, monkeypatch):
    size, heard = {"model": {"width": 16, "depth": 1, "heads": 2}, "batch": 8, "frames": 400}, []
    model, rows = experiment.prepare(some, Setting(pitch="told"), size)[0], score.testable(some, "val_seen")
    monkeypatch.setattr(score, "f0s", lambda encoded, model, contexts: [100.0] * 3 + [200.0] * 3)
    spoken = [90.0, 90.0, 0.0, 160.0, 80.0, 160.0]  # silence counts for nothing, nor does an octave once misheard
    monkeypatch.setattr(score, "speak", lambda encoded, model, few, **o: heard.append((few, o)) or spoken)
    monkeypatch.setattr(score, "median_f0", lambda hz: hz)
    slope, octaves = model.notes["pitch_line"] = score.pitch_line(some, model, rows, each=3, guidance=2.0)
    table = some.data.table
    assert heard[0][1] == {"guidance": 2.0} and table.speaker[heard[0][0]].value_counts().tolist() == [3, 3]
    assert slope == pytest.approx(1 / math.log2(160 / 90))
    assert convert.at_pitch(model, [90.0, 160.0, 0.0])[1]["pitch"].tolist() == pytest.approx([100.0, 200.0, 0.0])
    del model.notes["pitch_line"]
    assert convert.at_pitch(model, [200.0])[1]["pitch"].tolist() == [200.0]
    monkeypatch.setattr(score, "median_f0", lambda hz: 80.0)
    assert score.pitch_line(some, model, rows, each=3) == pytest.approx([1.0, math.log2(150 / 80)], abs=0.1)
