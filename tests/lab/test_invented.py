import shutil
from dataclasses import replace

import pandas
import pytest
import torch

from rovolad_lib.lab import experiment, invented
from rovolad_lib.lab.setting import Setting
from rovolad_lib.metrics.pitch import median_f0
from rovolad_lib.speech import manifest
from rovolad_lib.speech.audio import load

SIZE = {"model": {"width": 16, "depth": 1, "heads": 2}, "batch": 8, "frames": 400}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("invented")
    invented.corpus(folder / "a", voices=3, utterances=4)
    return folder


def test_the_same_people_say_the_same_every_time(few):
    invented.corpus(few / "b", voices=3, utterances=4)
    files = sorted(path.relative_to(few / "a") for path in (few / "a").rglob("*") if path.is_file())
    assert len(files) == 13 and all((few / "a" / file).read_bytes() == (few / "b" / file).read_bytes() for file in files)
    invented.corpus(few / "c", voices=3, utterances=4, seed=1)
    assert (few / "c" / "metadata.csv").read_bytes() != (few / "a" / "metadata.csv").read_bytes()


def test_they_have_a_pitch_each_and_words_of_their_own(few):
    table = pandas.read_csv(few / "a" / "metadata.csv")
    assert table.groupby("speaker").size().tolist() == [4, 4, 4] and table.text.nunique() == 12
    assert sorted(table.groupby("speaker").language.first()) == ["de", "en", "en"]
    assert table.text.str.split().str.len().between(2, 7).all()
    hz = table.groupby("speaker").file.agg(lambda files: median_f0(torch.cat([load(few / "a" / f, 16000) for f in files])))
    assert hz.min() > 60 and hz.max() / hz.min() > 1.1


def test_they_are_learned_from_and_the_prior_s_mean_is_the_people_s(encoded, tmp_path, monkeypatch):
    some = replace(encoded, data=replace(encoded.data, folder=shutil.copytree(encoded.data.folder, tmp_path / "data")))
    whole, runs = invented.corpus, []
    monkeypatch.setattr(invented, "corpus", lambda path: runs.append(path) or whole(path, voices=3, utterances=4))
    model, pairs, _ = experiment.prepare(some, Setting(invented="on", pitch="told"), SIZE)
    again = invented.added(some, experiment.encode)
    table, before = again.data.table, len(some.data.table)
    assert len(runs) == 1 and len(table) == before + 12 == len(again.latents) == len(again.latents.lengths())
    assert again.keep[: len(some.keep)] == some.keep and set(table.split[again.keep]) == {"train"}
    assert all(torch.equal(a, b) for a, b in zip(again.latents[3], some.latents[3], strict=True))
    wave = manifest.wave(table.loc[before], some.data.folder)
    assert again.latents[before][0].shape[1] == -(-len(wave) // some.autoencoder.hop)
    heard = {row for i in range(20) for row in pairs.keep[pairs.sampler[i]].tolist()}
    assert max(heard) >= before and min(heard) < before and (pairs[0]["pitch"] >= 0).all()
    plain = experiment.prepare(some, Setting(pitch="told"), SIZE)[0]
    assert torch.equal(plain.mean.weight, model.mean.weight)
    assert model.notes["sources"] == plain.notes["sources"] + ", invented words by espeak-ng's voices"
