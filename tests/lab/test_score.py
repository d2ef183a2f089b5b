import itertools
from dataclasses import replace

import pytest
import torch

from rovolad_lib.autoencoder.codec import decode_latents, encode_waves
from rovolad_lib.convert import CONTEXT_FRAMES
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.diffusion.named import prior_of
from rovolad_lib.lab import score
from rovolad_lib.metrics import judges
from rovolad_lib.sampling import sample
from rovolad_lib.speech import manifest, robot
from rovolad_lib.speech.audio import log_mel, set_level

ROWS = [12, 15, 11, 18]  # one by a, five by b, four by a, three by b, of val_seen


def changed(encoded, **columns):
    """The same latents under a table with other columns, {name: {position: value}}."""
    table = encoded.data.table.copy()
    for name, values in columns.items():
        for i, value in values.items():
            table.loc[i, name] = value
    return replace(encoded, data=replace(encoded.data, table=table))


@pytest.fixture(scope="module")
def model(denoiser):
    return denoiser(prior="robot")


@pytest.fixture(scope="module")
def spoken(encoded, model):
    return score.speak(encoded, model, ROWS, steps=2)


@pytest.fixture(scope="module")
def anchors(encoded):
    return score.anchors(encoded, ROWS)


@pytest.fixture
def quick(monkeypatch):
    """Judges of two steps; returns the clips and the steps that each one was asked to be trained with."""
    calls, plain = [], judges.train

    def train(waves, labels, **options):
        calls.append((len(waves), options["steps"]))
        return plain(waves, labels, **options | {"steps": 2, "batch": 4})

    monkeypatch.setattr(judges, "train", train)
    return calls


def test_to_be_scored_is_who_has_other_words_in_the_split(encoded):
    assert score.testable(encoded, "val_seen") == list(range(10, 20))
    one_word = changed(encoded, text={i: "one" for i in range(15, 20)})
    assert score.testable(one_word, "val_seen") == list(range(10, 15))
    untold = changed(encoded, text={12: None})  # the robot could not say it
    assert score.testable(untold, "val_seen") == [10, 11, *range(13, 20)]
    nobody = changed(encoded, speaker={i: None for i in range(10, 15)})
    assert score.testable(nobody, "val_seen") == list(range(15, 20))
    lone = changed(encoded, split={i: "test_seen" for i in (13, 15, 16)})
    assert score.testable(lone, "test_seen") == [15, 16]  # a's other words are of another split


def test_where_nobody_can_be_scored_corpus_and_split_are_named(encoded):
    for nobody in (encoded, changed(encoded, split={i: "test_seen" for i in (12, 17)})):  # none at all, one text each
        with pytest.raises(ValueError, match="words has no speaker with two texts in test_seen: .* by `corpus`"):
            score.testable(nobody, "test_seen")


def joins(encoded, heard, positions):
    """Whether these are the joined latents of all these positions' people, in any order."""
    orders = itertools.permutations([encoded.latents[j][0] for j in positions])
    return any(torch.equal(torch.cat(order, dim=1), heard) for order in orders)


def test_a_context_is_other_words_of_the_same_speaker_and_split(encoded):
    places = set()
    for i in range(10, 20):
        others = [j for j in (range(10, 15) if i < 15 else range(15, 20)) if j != i]
        assert joins(encoded, score.context(encoded, i, 9), others)
        (one,) = [k for k, j in enumerate(others) if joins(encoded, score.context(encoded, i, 1), [j])]
        places.add(one)
    assert len(places) > 2  # at random, not always the first
    assert joins(changed(encoded, text={13: "one"}), score.context(changed(encoded, text={13: "one"}), 12, 9), [10, 11, 14])


def test_references_are_the_same_in_every_run_and_fewer_are_the_first_of_more(encoded):
    every = score.context(encoded, 12, 9)
    torch.manual_seed(99)  # another run has another random state
    two = score.context(encoded, 12, 2)
    assert torch.equal(every, score.context(encoded, 12, 9)) and two.shape[1] < every.shape[1]
    assert torch.equal(every[:, : two.shape[1]], two)


def test_a_context_is_cut_at_what_the_converter_hears(encoded):
    rows = range(20)
    columns = {"speaker": dict.fromkeys(rows, "a"), "split": dict.fromkeys(rows, "val_seen"), "text": {i: str(i) for i in rows}}
    one = changed(encoded, **columns)
    assert sum(encoded.latents[j][0].shape[1] for j in rows if j != 12) > CONTEXT_FRAMES
    whole, some = score.context(one, 12, 19), score.context(one, 12, 5)
    assert whole.shape[1] == CONTEXT_FRAMES and torch.equal(whole[:, : some.shape[1]], some)


def test_without_other_words_there_is_no_context(encoded):
    alone = changed(encoded, split={17: "test_seen"})
    with pytest.raises(ValueError, match="b has no other words in split test_seen to be a reference for 17"):
        score.context(alone, 17, 3)


def test_the_robot_says_a_text_at_its_normal_rate_once(encoded):
    made = score.robot_latents(encoded, ROWS + [10])
    said = encode_waves(encoded.autoencoder, [robot.say(word, "en") for word in ("one", "five", "four", "three")])
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(made, [*said, said[1]], strict=True))


def near(one, two):
    return one.shape == two.shape and float((log_mel(one) - log_mel(two)).abs().mean()) < 0.05


def test_speech_has_the_robot_s_lengths_and_keeps_the_order(encoded, model, spoken):
    frames = [z.shape[1] for z in score.robot_latents(encoded, ROWS)]
    assert [len(w) for w in spoken] == [320 * n for n in frames] and len(set(frames)) > 2
    assert all(w.isfinite().all() and 0.01 < w.abs().max() <= 1 for w in spoken)
    still = {"sampler": "bridge_ode", "steps": 1}  # no noise, so no place in the batch
    parts = score.speak(encoded, model, ROWS, batch=3, **still)
    for k, row in enumerate(ROWS):
        alone = score.speak(encoded, model, [row], **still)[0]
        assert near(parts[k], alone)
        assert not any(near(parts[k], parts[j]) for j in range(4) if j != k)


def test_a_sentence_is_the_sampler_s_with_references_of_the_take_s_speaker(encoded, model, spoken):
    said, heard = score.robot_latents(encoded, [12]), [score.context(encoded, 12, 2)]
    options = {"sampler": "ddim", "steps": 3, "guidance": 1.5}
    latents = sample(model, prior_of("robot")[0], said, heard, seed=5 * 1009, **options)
    made = score.speak(encoded, model, [12], seed=5, references=2, **options)
    assert torch.equal(made[0], decode_latents(encoded.autoencoder, latents)[0])
    one, two, other = (score.speak(encoded, model, [12], steps=2, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_prior_s_mean_that_learned_from_more_is_given_all_other_takes(encoded, denoiser, monkeypatch):
    model, given = denoiser(prior="robot"), []
    model.notes["setting"] = model.notes["setting"] | {"whole": 1500}
    monkeypatch.setattr(score, "sample", lambda *a, **k: given.append((a[3], k["whole"])) or sample(*a, **k))
    for references in (1, 0):
        score.speak(encoded, model, [12, 15], steps=1, references=references)
    (heard, known), (nobody, nothing) = given
    assert not nothing and not sum(z.shape[1] for z in nobody)
    order = [12, 15] if torch.equal(heard[0], score.context(encoded, 12, 1)) else [15, 12]
    assert all(torch.equal(z, score.context(encoded, i, None, 3000)) for z, i in zip(known, order, strict=True))
    assert all(z.shape[1] > c.shape[1] for z, c in zip(known, heard, strict=True))


def test_a_network_of_both_priors_speaks_under_either(encoded):
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=1, heads=2, patch=2, priors=2)
    with torch.no_grad():
        for value in (*model.parameters(), model.mean.weight):
            value.add_(torch.randn_like(value) / 5)
    model.notes = {"setting": {"pad": "post", "mask": "on"}, "prior": "both"}
    said, heard = score.robot_latents(encoded, [12]), [score.context(encoded, 12, 3)]
    for under, walk in (("gaussian", "ddpm"), ("robot", "bridge_sde")):
        latents = sample(model, prior_of("both", under)[0], said, heard, seed=0, sampler=walk, steps=2)
        made = score.speak(encoded, model, [12], steps=2, prior=under)
        assert torch.equal(made[0], decode_latents(encoded.autoencoder, latents)[0])
    assert torch.equal(made[0], score.speak(encoded, model, [12], steps=2)[0])
    with pytest.raises(ValueError, match="'mixed' of a model trained with prior 'both'; accepted: gaussian, robot"):
        score.speak(encoded, model, [12], prior="mixed")


def test_no_references_are_an_empty_context(encoded):
    assert score.context(encoded, 12, 0).shape == (6, 0)
    assert score.context(changed(encoded, split={17: "test_seen"}), 17, 0).shape == (6, 0)


def test_anchors_are_the_take_its_latents_and_the_robot(encoded, anchors):
    assert list(anchors) == ["ground truth", "reconstruction", "robot"]
    takes = [manifest.wave(encoded.data.table.loc[i], encoded.data.folder) for i in ROWS]
    assert all(torch.equal(a, set_level(b)) for a, b in zip(anchors["ground truth"], takes, strict=True))
    ceiling = decode_latents(encoded.autoencoder, [encoded.latents[i][0] for i in ROWS])
    floor = decode_latents(encoded.autoencoder, score.robot_latents(encoded, ROWS))
    for name, wanted in (("reconstruction", ceiling), ("robot", floor)):
        assert all(torch.equal(a, b) for a, b in zip(anchors[name], wanted, strict=True))


def test_a_judge_is_trained_once_and_tells_its_own_accuracy(encoded, quick, tmp_path):
    tested = changed(encoded, split={i: "test_seen" for i in range(15, 20)})
    first, again = (score.judge(tested, "text", tmp_path) for _ in range(2))
    assert quick == [(10, 500)] and first.sha256 == again.sha256 and first.classes == ["five", "four", "one", "three", "two"]
    takes = [manifest.wave(tested.data.table.loc[i], tested.data.folder) for i in range(15, 20)]
    right = first.accuracy(takes, tested.data.table.text[15:20].tolist())
    assert first.report == {"question": "text", "accuracy": right, "clips": 5}
    assert [p.name for p in tmp_path.iterdir()] == [f"judge_words_text_{'f' * 12}.safetensors"]


def test_without_test_takes_a_judge_says_that_its_accuracy_is_not_measured(encoded, quick, tmp_path):
    judge = score.judge(encoded, "speaker", tmp_path)
    assert quick == [(10, 500)] and judge.report == {"question": "speaker", "clips": 0}
    assert "accuracy on real takes not measured" in judge.measured_by


def test_the_demo_s_voices_are_judged_after_fewer_steps(encoded, quick, tmp_path):
    score.judge(replace(encoded, data=replace(encoded.data, demo=True)), "text", tmp_path)
    assert quick == [(10, 120)]


def test_a_panel_is_both_judges_and_nobody_in_a_smoke_run(encoded, quick, tmp_path):
    assert score.panel(encoded, "smoke", tmp_path) == {} and not quick and not list(tmp_path.iterdir())
    heard = score.panel(encoded, "small", tmp_path)
    assert list(heard) == ["text", "speaker"] and heard["speaker"].classes == ["a", "b"] and len(quick) == 2
    assert heard["text"].sha256 == score.judge(encoded, "text", tmp_path).sha256
    unwritten = changed(encoded, text={i: None for i in range(10)}, id={0: "other"})
    assert score.panel(unwritten, "full", tmp_path)["text"] is None


def test_one_answer_or_many_have_no_judge(encoded, quick, tmp_path):
    assert score.judge(changed(encoded, speaker={i: "a" for i in range(20)}), "speaker", tmp_path) is None
    assert score.judge(changed(encoded, text={i: None for i in range(10)}), "text", tmp_path) is None
    assert not quick and not list(tmp_path.iterdir())
    table = encoded.data.table.loc[[0] * 41].reset_index(drop=True)
    table["text"] = [str(i) for i in range(41)]
    many = replace(encoded, data=replace(encoded.data, table=table))
    assert score.judge(many, "text", tmp_path) is None


def test_scores_are_the_judges_and_the_distance_to_the_true_take(encoded, quick, tmp_path, spoken, anchors):
    heard = {"text": score.judge(encoded, "text", tmp_path), "speaker": None}
    scored = score.scores(spoken, encoded, ROWS, heard)
    assert scored.columns.tolist() == ["utterance", "text_accuracy", "mel_distance"] and scored.utterance.tolist() == ROWS
    said = heard["text"].predict(spoken).labels
    assert scored.text_accuracy.tolist() == [float(a == b) for a, b in zip(said, ["one", "five", "four", "three"], strict=True)]
    truth = score.scores(anchors["ground truth"], encoded, ROWS, {"text": None, "speaker": None})
    assert truth.mel_distance.max() < 1e-3 < scored.mel_distance.min() and "text_accuracy" not in truth
    bare = score.scores(spoken, encoded, ROWS, score.panel(encoded, "smoke", tmp_path))
    assert bare.mel_distance.equals(scored.mel_distance) and set(score.units(bare[["mel_distance"]], {})) == {"mel_distance"}
    units = score.units(scored.drop(columns="utterance"), heard)
    assert set(units) == {"text_accuracy", "mel_distance"} and units["text_accuracy"]["model"] == heard["text"].measured_by
    assert (units["mel_distance"]["unit"], units["mel_distance"]["better"]) == ("nat", "lower")


def test_copies_are_0_and_new_recordings_1(encoded):
    waves = {i: manifest.wave(encoded.data.table.loc[i], encoded.data.folder) for i in [*encoded.keep, *ROWS]}
    coded = encode_waves(encoded.autoencoder, list(waves.values()))  # generated speech is decoded too
    made = dict(zip(waves, decode_latents(encoded.autoencoder, coded), strict=True))
    copies, new = [made[i] for i in encoded.keep[:2]], [made[i] for i in ROWS]
    assert score.copying(new, encoded, ROWS) == pytest.approx(1, rel=0.02)
    assert score.copying(copies, encoded, ROWS) == pytest.approx(0, abs=0.05)
    assert score.copying(copies, encoded, ROWS, most=3) > 0.1  # the second is not among them
    assert score.copying([waves[i] for i in ROWS], encoded, ROWS) > 1.5  # not decoded: the autoencoder would count
