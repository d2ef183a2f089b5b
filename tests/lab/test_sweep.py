from dataclasses import asdict, replace

import pandas
import pytest
import torch

from rovolad_lib import autoencoder, speech, train
from rovolad_lib.convert import Converter, padding, priors_of
from rovolad_lib.diffusion.priors import Bridge, Gaussian
from rovolad_lib.lab import records, sweep
from rovolad_lib.lab.params import Parameters


def closed(speakers, texts):
    return pandas.DataFrame([{"speaker": s, "text": t} for s in speakers for t in texts])


def test_every_speaker_loses_another_pair_of_words():
    gone = sweep._lost_words(closed("abcdef", [str(k) for k in range(10)]), 2)
    assert len(gone) == 12
    pairs = {s: {t for who, t in gone if who == s} for s in "abcdef"}
    assert [len(pairs[s]) for s in "abcdef"] == [2] * 6 and pairs["a"] == {"0", "1"} and pairs["e"] == {"8", "9"}
    assert not any(pairs[a] & pairs[b] for a, b in zip("abcd", "bcde", strict=True))


def test_nobody_loses_words_of_an_open_or_a_tiny_vocabulary():
    words = closed("ab", "12345")
    assert len(sweep._lost_words(words, 2)) == 4 and sweep._lost_words(words, 0) == set()
    assert sweep._lost_words(words.iloc[:-1], 2) == set()
    assert sweep._lost_words(closed("ab", "1234"), 2) == set()
    assert sweep._lost_words(words.assign(speaker=None), 2) == set()
    unwritten = pandas.DataFrame([{"speaker": "a", "text": None}, {"speaker": None, "text": "1"}])
    assert sweep._lost_words(pandas.concat([words, unwritten]), 2) == sweep._lost_words(words, 2)


def test_lost_words_are_in_no_training_and_in_every_split(encoded):
    table = encoded.data.table
    said = {(table.speaker[i], table.text[i]) for i in encoded.keep}
    lost = {(table.speaker[i], table.text[i]) for i in encoded.lost}
    assert lost == {("a", "five"), ("a", "four"), ("b", "one"), ("b", "three")} and not said & lost
    assert len(encoded.keep) == 6 and len(encoded.lost) == 8 and set(table.split[encoded.keep]) == {"train"}
    assert len(encoded.latents) == 20
    made = f"{speech.RECIPE}.{autoencoder.RECIPE}"  # latents of old code are not read
    held = list((encoded.data.folder / "latents").iterdir())
    assert [p.name for p in held] == [f"{'f' * 12}-{encoded.autoencoder.fingerprint()}-{made}.safetensors"]


def test_flattened_recordings_teach_nobody_unless_there_is_nothing_else(encoded):
    def kept(rows):
        table = encoded.data.table.copy()
        table.loc[rows, "robot_method"] = "flatten"
        return sweep.encode(replace(encoded.data, table=table), encoded.autoencoder).keep

    assert set(encoded.keep) - set(kept(rows=[encoded.keep[0]])) == {encoded.keep[0]}
    assert kept(rows=slice(None)) == encoded.keep


def test_a_smoke_fit_is_trained_noted_and_loaded(encoded, tmp_path):
    setting = sweep.Setting(pad="even", references=2)
    model, done = sweep.fit(encoded, setting, "smoke", tmp_path / "run")
    assert done.steps == 20 and done.log.loss.notna().all() and not model.training
    assert model.notes["prior"] == "robot" and model.notes["setting"]["pad"] == "even" and model.notes["data"] == "f" * 12
    assert model.notes["autoencoder"] == encoded.autoencoder.fingerprint() and model.notes["corpus"] == "words"
    assert model.mean.weight.any() and (model.mean.residual > 0).all()
    again, loaded = sweep.fit(encoded, setting, "smoke", tmp_path / "run")
    assert loaded.log.equals(done.log)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    model.save(tmp_path / "model.safetensors")


def test_masks_off_are_trained_at_one_length(encoded, tmp_path):
    length = sweep.longest(encoded)
    frames = [max(p.shape[1] for p in encoded.latents[i][:2]) for i in encoded.keep]
    assert length == max(frames) + max(frames) % 2 and sweep.longest(encoded, most=8) == 8
    model, done = sweep.fit(
        encoded, sweep.Setting(mask="off", align="none", prior="gaussian"), "smoke", tmp_path / "run", length=length
    )
    assert done.steps == 20 and model.notes["prior"] == "gaussian"
    model.save(tmp_path / "model.safetensors")
    converter = Converter.load(tmp_path / "model.safetensors", encoded.autoencoder)
    assert padding(converter.denoiser) == {"mode": "post", "masked": False, "length": length}
    said = converter("one", torch.randn(8000) / 20, steps=2)
    assert said.shape == converter.robot("one").shape and said.isfinite().all() and said.abs().max() > 0.01


def asked(**given):
    return Parameters(**{"preset": "smoke", "seed": 0, "force": False, "steps": 1} | given)


def test_what_decides_a_run_holds_the_defaults_and_one_value_each(encoded):
    model, chosen = encoded.autoencoder, {"pad": "pre"}
    made = sweep.decides(asked(pad="all", references=2), encoded.data, model, **chosen)
    first = {k: v for k, v in asdict(sweep.Setting(pad="pre", references=2)).items() if k not in sweep.LATER}
    assert first.items() <= made.items() and not set(sweep.LATER) & set(made)  # and all that nobody named
    assert sweep.decides(asked(), encoded.data, model, target="v")["target"] == "v"
    assert (made["steps"], made["corpus"], made["autoencoder"]) == (1, "words", model.fingerprint()) and made["sizes"]
    with pytest.raises(ValueError, match="one value each is accepted here for pad, mask, got all"):
        sweep.decides(asked(pad="all", mask="all", prior="robot"), encoded.data, model)
    with pytest.raises(ValueError, match="for mask, got all"):
        sweep.decides(asked(pad="all", mask="all"), encoded.data, model, **chosen)


def test_an_experiment_is_trained_scored_and_recorded(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "RUNS", tmp_path / "runs")
    record, waves = sweep.experiment("padding", encoded, {"pad": "even"}, asked(pad="all"), tmp_path / "results", "cpu")
    assert record["parameters"]["pad"] == "even" and record["steps"] == 20 and record["data"]["clips"] == len(waves) == 10
    assert list(record["metrics"]) == ["mel_distance"] and record["units"]["mel_distance"]["unit"] == "nat"
    kept = records.load("padding", tmp_path / "results")
    assert kept.run_id.tolist() == [record["run_id"]] and (tmp_path / "runs" / "padding" / record["run_id"]).is_dir()
    assert kept["metrics.mel_distance"].tolist() == pytest.approx([record["metrics"]["mel_distance"]])


def test_an_experiment_that_cannot_be_scored_is_not_trained(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "RUNS", tmp_path / "runs")
    table = encoded.data.table.replace({"split": {"val_seen": "test_seen"}})
    with pytest.raises(ValueError, match="words has no speaker with two texts in val_seen"):
        sweep.experiment("padding", replace(encoded, data=replace(encoded.data, table=table)), {}, asked(), tmp_path, "cpu")
    assert not list(tmp_path.iterdir())


def test_an_unknown_prior_is_refused(encoded, tmp_path):
    with pytest.raises(ValueError, match="gaussian, robot, mixed, both, got 'noise'"):
        sweep.fit(encoded, sweep.Setting(prior="noise"), "smoke", tmp_path / "run")


def test_a_setting_names_its_prior_by_what_differs():
    assert sweep.Setting().named(0.7) == "robot" and sweep.Setting(prior="both").named(0.7) == "both"
    assert sweep.Setting(noise=2.0, end="zero").named(0.7) == {"name": "robot", "noise": 1.4, "end": "zero"}
    assert sweep.Setting(prior="gaussian", schedule="linear", scale=0.5).named(1.0) == {
        "name": "gaussian", "schedule": "linear", "scale": 0.5,
    }  # fmt: skip
    assert sweep.Setting(prior="mixed", path="diffvc").named(1.0) == {"name": "mixed", "form": "diffvc"}
    both = {"name": "both", "gaussian": {"scale": 0.5}, "robot": {"kind": "gmax"}}
    assert sweep.Setting(prior="both", scale=0.5, path="gmax").named(1.0) == both
    assert priors_of(both) == (Gaussian(scale=0.5), Bridge(kind="gmax"))
    with pytest.raises(ValueError, match="noise has no meaning under prior 'gaussian'; accepted: schedule, scale"):
        sweep.Setting(prior="gaussian", noise=2.0).named(1.0)
    with pytest.raises(ValueError, match="schedule has no meaning under prior 'mixed'; accepted: noise, path"):
        sweep.Setting(prior="mixed", schedule="linear").named(1.0)


@pytest.mark.parametrize(
    "setting",
    [
        sweep.Setting(prior="both", noise=0.5),
        sweep.Setting(prior="mixed", target="x0", mapped="affine", voice="off", condition="off"),
        sweep.Setting(prior="gaussian", schedule="scaled_linear", target="eps", normalise="item", mapped="none"),
    ],
    ids=lambda setting: setting.prior,
)
def test_what_was_trained_is_what_converts(encoded, tmp_path, setting):
    model, _ = sweep.fit(encoded, setting, "smoke", tmp_path / "run")
    model.save(tmp_path / "model.safetensors")
    converter = Converter.load(tmp_path / "model.safetensors", encoded.autoencoder)
    assert converter.denoiser.notes["objective"] == setting.objective()
    if setting.prior == "both":
        assert converter.prior == Bridge(0.5 * float(model.mean.residual.mean().sqrt()))
    if setting.mapped == "none":
        assert not model.mean.weight.any()
    said = converter("one", torch.randn(8000) / 20, steps=2)
    assert said.isfinite().all() and said.abs().max() > 0.01


def test_the_recipe_of_every_package():
    assert set(sweep.recipe()) == {"speech", "autoencoder", "diffusion", "denoiser", "train"}
    assert sweep.recipe()["train"] == train.RECIPE and all(isinstance(n, int) and n > 0 for n in sweep.recipe().values())
