import pickle

import numpy
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from rovolad_lib.speech.latents import Latents
from rovolad_lib.speech.pairs import REST, Pairs, beside, tell

SPEAKERS = ["a", "a", "a", "a", "b", "b", "lone", None, None]
TEXTS = ["x", "x", "y", "z", "x", "x", "x", "y", "z"]
FRAMES = [10, 7, 12, 5, 9, 8, 6, 11, 4]
ROBOT = [8, 9, 12, 7, 9, 6, 5, 11, 5]
ALONE = {6, 7, 8}  # positions without another recording of their speaker
TEXT = pandas.StringDtype("pyarrow", na_value=numpy.nan)  # as the manifest's columns: nulls come as NaN


def rows(speakers, texts, frames, paths=None, starts=0.0):
    """Make a manifest's columns; a frame is 20 ms, a recording of its own file where no paths are given."""
    paths = [f"{i}.flac" for i in range(len(speakers))] if paths is None else paths
    columns = {"speaker": speakers, "text": texts, "corpus": ["c"] * len(speakers), "path": paths}
    columns = {name: pandas.array(column, TEXT) for name, column in columns.items()}
    table = pandas.DataFrame(columns | {"start": starts}, index=range(len(speakers)))
    return table.assign(end=table.start + numpy.array(frames) * 0.02)


def hold(folder, frames, robot):
    """Latents that say where they are from: (utterance + 1, frame); the robot's utterance is negative."""
    maps = [(torch.arange(n) * r) // n for n, r in zip(frames, robot, strict=True)]
    tensors = {"map": torch.cat(maps).int()}
    for name, starts, counts, sign in (("frames", "starts", frames, 1), ("robot_frames", "robot_starts", robot, -1)):
        parts = [[sign * (i + 1), k] for i, n in enumerate(counts) for k in range(n)]
        tensors[name] = torch.tensor(parts, dtype=torch.float16)
        tensors[starts] = torch.tensor([0, *counts]).cumsum(0)
    save_file(tensors, folder / "all.safetensors", {"ids": "[]"})
    return Latents(folder / "all.safetensors")


@pytest.fixture(scope="module")
def table():
    return rows(SPEAKERS, TEXTS, FRAMES)


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    return hold(tmp_path_factory.mktemp("latents"), FRAMES, ROBOT)


LONG = [300, 40, 128 + 2 * REST - 2, 128 + 2 * REST - 1, 200, 30]  # the first four without a speaker


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Recordings, most of them without a speaker, some long enough for a context of their own, and their table."""
    table = rows([None, None, None, None, "a", "a"], list("uvwxyz"), LONG)
    return hold(tmp_path_factory.mktemp("alone"), LONG, [n + 3 for n in LONG]), table


def make(latents, table, **options):
    return Pairs(latents, table, range(len(table)), **{"batch": 12, "seed": 3} | options)


def items(pairs, count=30):
    """The items of the first batches, one dict each; x0, robot and context cut to their real frames."""
    for i in range(count):
        batch = pairs[i]
        for n in range(len(batch["x0"])):
            real, heard = batch["mask"][n], batch["context_mask"][n]
            yield {"x0": batch["x0"][n, :, real].int(), "robot": batch["robot"][n, :, real].int(), "drop": bool(batch["drop"][n]),
                   "context": batch["context"][n, :, heard].int()}  # fmt: skip


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[k], other[k]) for k in one)


def test_batches_are_a_pure_function_of_seed_and_index(latents, table):
    one, two = make(latents, table), make(latents, table)
    wanted = [one[i] for i in range(6)]
    assert all(same(two[i], wanted[i]) for i in reversed(range(6)))
    assert not all(same(make(latents, table, seed=4)[i], wanted[i]) for i in range(6))
    assert all(same(pickle.loads(pickle.dumps(one))[i], wanted[i]) for i in range(6))


def test_workers_of_their_own_give_the_same_batches(latents, table):
    pairs = make(latents, table)
    loader = DataLoader(pairs, batch_size=None, sampler=range(2, 8), num_workers=2, multiprocessing_context="spawn")
    assert [same(batch, pairs[i]) for i, batch in enumerate(loader, start=2)] == [True] * 6


def test_the_robot_beside_the_person_counted_by_hand():
    person, robot = torch.zeros(1, 7), torch.arange(4.0)[None]
    frame_map = torch.tensor([0, 0, 1, 3, 3, 2, 1])
    assert beside(person, robot, frame_map, "dtw").tolist() == [[0, 0, 1, 3, 3, 2, 1]]
    assert beside(person, robot, frame_map, "linear").tolist() == [[0, 0, 1, 2, 2, 2, 3]]  # k / 2, halves to even
    assert beside(torch.zeros(1, 2), robot, None, "linear").tolist() == [[0, 3]]
    assert beside(person, robot, None, "none") is robot
    with pytest.raises(ValueError, match="dtw, linear, none, got 'dwt'"):
        beside(person, robot, frame_map, "dwt")


@pytest.mark.parametrize("align", ["dtw", "linear"])
def test_an_item_is_a_whole_utterance_and_its_robot(latents, table, align):
    seen = set()
    for item in items(make(latents, table, align=align)):
        i = int(item["x0"][0, 0]) - 1
        person, robot, frame_map = latents[i]
        assert torch.equal(item["x0"], person.int())
        assert torch.equal(item["robot"], beside(person, robot, frame_map, align).int())
        seen.add(i)
    assert seen == set(range(9))


def test_without_alignment_the_robot_keeps_its_own_time(latents, table):
    for i in range(10):
        batch = make(latents, table, align="none")[i]
        for x0, robot, mask in zip(batch["x0"], batch["robot"], batch["mask"], strict=True):
            k = int(x0[0].max()) - 1
            assert mask.sum() == max(FRAMES[k], ROBOT[k])  # either of them is speech
            assert torch.equal(x0[:, : FRAMES[k]], latents[k][0]) and not x0[:, FRAMES[k] :].any()
            assert torch.equal(robot[:, : ROBOT[k]], latents[k][1]) and not robot[:, ROBOT[k] :].any()


def test_context_is_other_words_of_the_same_voice(latents, table):
    allowed = {0: {2, 3}, 1: {2, 3}, 2: {0, 1, 3}, 3: {0, 1, 2}, 4: {5}, 5: {4}}  # b has only one text
    heard, counts = {i: set() for i in range(9)}, set()
    for item in items(make(latents, table, dropout=0.0), 40):
        i = int(item["x0"][0, 0]) - 1
        others = [k - 1 for k in item["context"][0].unique().tolist()]
        heard[i] |= set(others)
        counts.add(len(others))
        assert item["drop"] == (i in ALONE)
        for k in others:  # whole, since they are shorter than the share of 150 frames
            assert torch.equal(item["context"][:, item["context"][0] == k + 1], latents[k][0].int())
    assert heard == allowed | {i: set() for i in ALONE}
    assert counts == {0, 1, 2, 3}


def test_context_is_cut_to_its_frames(latents, table):
    starts = set()
    for item in items(make(latents, table, context_frames=7, references=3)):
        assert item["context"].shape[1] <= 7
        for k in item["context"][0].unique():
            part = item["context"][1, item["context"][0] == k]
            assert torch.equal(part, torch.arange(part[0], part[0] + len(part)))
            starts.add(int(part[0]))
    assert len(starts) > 3  # from anywhere


def test_the_prior_s_mean_has_a_context_of_its_own(latents, table):
    options = {"batch": 9, "speakers": 9, "whole": 30, "context_frames": 12, "dropout": 0.0}
    plain, pairs = Pairs(latents, table, range(9), **options | {"whole": 0}), Pairs(latents, table, range(9), **options)
    assert "whole" not in plain[0]
    lengths = set()
    for i in range(40):
        batch = pairs[i]
        for k, x0 in enumerate(batch["x0"]):
            who = int(x0[0, 0]) - 1
            known = batch["whole"][k][:, batch["whole_mask"][k]]
            places = list(map(tuple, known.T.tolist()))
            assert len(set(places)) == len(places)  # nothing twice
            found = {int(place[0]) - 1 for place in places}
            others = {j for j in range(9) if SPEAKERS[j] == SPEAKERS[who] and SPEAKERS[j] and j != who}
            assert found <= {j for j in others if TEXTS[j] != TEXTS[who]} or SPEAKERS[who] == "b"
            assert bool(found) == (who not in ALONE) and who not in found
            if who == 3:  # of a, who says 29 frames of other words
                lengths.add(known.shape[1])
    assert 4 <= min(lengths) < 10 and 24 < max(lengths) <= 29  # from a third of the context's 12


def test_a_one_off_recording_s_mean_hears_what_it_hears(alone):
    pairs = Pairs(*alone, range(4), oneoff="self", whole=1000)
    for i in range(4):
        batch = pairs[i]
        for name in ("", "_mask"):
            assert torch.equal(batch[f"whole{name}"][..., :150], batch[f"context{name}"][..., : batch[f"whole{name}"].shape[-1]])


def test_no_references_are_no_context(latents, table):
    for item in items(make(latents, table, references=0), 3):
        assert item["context"].shape == (2, 0) and item["drop"]
    random = torch.Generator().manual_seed(0)
    assert make(latents, table).context(0, random, references=2).shape == (2, 12 + 5)


def test_a_share_of_the_contexts_is_dropped(latents, table):
    drops = [item["drop"] for item in items(make(latents, table, dropout=0.4), 150) if item["context"].shape[1]]
    assert len(drops) > 300 and abs(sum(drops) / len(drops) - 0.4) < 0.1


@pytest.mark.parametrize(
    "mode, lead", [("post", lambda room: 0), ("pre", lambda room: room // 2 * 2), ("even", lambda room: room // 4 * 2)]
)
def test_padding_and_masks(latents, table, mode, lead):
    batch = make(latents, table, mode=mode, length=21)[0]
    assert batch["x0"].shape == (7, 2, 22) == batch["robot"].shape  # the fixed length in whole steps of 2
    for x0, robot, mask in zip(batch["x0"], batch["robot"], batch["mask"], strict=True):
        frames = FRAMES[int(x0[0].max()) - 1]
        first = lead(22 - frames)
        assert mask.nonzero()[:, 0].tolist() == list(range(first, first + frames))
        assert (x0[0] > 0).equal(mask) and (robot[0] < 0).equal(mask)
    assert make(latents, table, mode=mode, masked=False)[0]["mask"] is None
    assert make(latents, table, mode=mode)[0]["x0"].shape[2] == 12
    assert batch["context"].shape[2] % 2 == 0 and batch["context_mask"].shape == (7, batch["context"].shape[2])


def test_a_fixed_length_cuts_what_is_longer(latents, table):
    batch = make(latents, table, length=6)[0]
    assert batch["x0"].shape[2] == 6 and batch["mask"].sum(1).max() == 6


def test_long_items_are_cut_anywhere_with_their_robot(latents, table):
    starts = set()
    for item in items(make(latents, table, crop=5)):
        i, start, frames = int(item["x0"][0, 0]) - 1, int(item["x0"][1, 0]), item["x0"].shape[1]
        person, robot, frame_map = latents[i]
        assert frames == min(5, FRAMES[i])
        assert torch.equal(item["x0"], person[:, start : start + frames].int())
        assert torch.equal(item["robot"], robot[:, frame_map[start : start + frames]].int())
        starts.add((i, start))
    assert {start for i, start in starts if i == 2} == set(range(8))


def test_a_batch_is_cut_to_a_length_of_its_own(latents, table):
    pairs, plain = make(latents, table, crop=9, shortest=4), make(latents, table, crop=9)
    longest = [pairs[i]["mask"].sum(1).max().item() for i in range(80)]
    assert set(longest) == {4, 5, 6, 7, 8, 9}
    for item in items(pairs):
        i, start, frames = int(item["x0"][0, 0]) - 1, int(item["x0"][1, 0]), item["x0"].shape[1]
        person, robot, frame_map = latents[i]
        assert torch.equal(item["x0"], person[:, start : start + frames].int())
        assert torch.equal(item["robot"], robot[:, frame_map[start : start + frames]].int())
    assert same(pairs[3], pickle.loads(pickle.dumps(pairs))[3]) and same(plain[3], make(latents, table, crop=9, shortest=0)[3])


def test_a_one_off_recording_hears_what_its_own_crop_leaves(alone):
    pairs = make(*alone, oneoff="self", crop=128, shortest=20, batch=6, dropout=0.0)
    for item in items(pairs, 40):
        i, start, frames = int(item["x0"][0, 0]) - 1, int(item["x0"][1, 0]), item["x0"].shape[1]
        if i < 4 and item["context"].shape[1]:
            assert set(item["context"][0].tolist()) == {i + 1} and frames <= LONG[i] - REST
            assert not set(item["context"][1].tolist()) & set(range(start, start + frames))


def test_only_what_may_be_used_is_used(latents, table):
    pairs = Pairs(latents, table, [0, 3, 5], batch=4)
    for item in items(pairs):
        i = int(item["x0"][0, 0]) - 1
        assert i in (0, 3, 5) and set(item["context"][0].tolist()) <= {{0: 4, 3: 1}.get(i)}
        assert item["drop"] or i != 5


TAKE = some.tuples(*(some.integers(0, 2) for _ in range(4)), some.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(some.lists(TAKE, min_size=1, max_size=12))
def test_context_is_all_but_what_holds_the_target(tmp_path_factory, takes):
    """Few speakers, texts, files and times, so that utterances share them in every way."""
    speakers, texts = [[None, "a", "b"][take[0]] for take in takes], [[None, "x", "y"][take[1]] for take in takes]
    paths = [f"{take[2] or f'own {i}'}.flac" for i, take in enumerate(takes)]
    begins, frames = [10 * take[3] for take in takes], [10 * take[4] for take in takes]
    table = rows(speakers, texts, frames, paths, [0.02 * begin for begin in begins])
    pairs = make(hold(tmp_path_factory.mktemp("any"), frames, frames), table, context_frames=360)
    for i in range(len(takes)):
        heard = {int(k) - 1 for k in pairs.context(i, torch.Generator().manual_seed(i), references=12)[0].unique()}
        mine = [j for j in range(len(takes)) if j != i and speakers[i] and speakers[j] == speakers[i]]
        moments = set(range(begins[i], begins[i] + frames[i]))
        mine = [j for j in mine if paths[j] != paths[i] or not moments & set(range(begins[j], begins[j] + frames[j]))]
        other = [j for j in mine if texts[i] is None or texts[j] != texts[i]]
        assert heard == set(other or [j for j in mine if frames[j] != frames[i]])


def test_a_recording_under_two_ids_does_not_hear_itself(tmp_path):
    table = rows(["a"] * 4, ["x"] * 4, [9, 9, 9, 7], ["1.flac", "1.flac", "copy.flac", "2.flac"])
    pairs = make(hold(tmp_path, [9, 9, 9, 7], [9, 9, 9, 7]), table, dropout=0.0)
    heard = {i: set() for i in range(4)}
    for item in items(pairs):
        heard[int(item["x0"][0, 0]) - 1] |= {int(k) - 1 for k in item["context"][0].unique()}
    assert heard == {0: {3}, 1: {3}, 2: {3}, 3: {0, 1, 2}}


def test_one_off_recordings_hear_nothing_or_are_out(latents, table, alone):
    assert {int(item["x0"][0, 0]) - 1 for item in items(make(latents, table, oneoff="out"))} == {0, 1, 2, 3, 4, 5, 6}
    assert make(latents, table, oneoff="out").counts()["oneoff"] == 0
    for item in items(make(*alone), 5):
        assert item["drop"] or item["x0"][0, 0] > 4
    assert make(*alone).counts()["short"] == 0
    with pytest.raises(ValueError, match="none of them to use"):
        Pairs(latents, table, [7, 8], oneoff="out")


def test_a_one_off_recording_hears_another_part_of_itself(alone):
    latents, table = alone
    pairs, crops = make(latents, table, oneoff="self", dropout=0.0, context_frames=50), set()
    for item in items(pairs, 60):
        i, (first, last) = int(item["x0"][0, 0]) - 1, item["x0"][1, [0, -1]].tolist()
        assert item["x0"].shape[1] == min(128, LONG[i]) and item["drop"] == (i in (1, 2))  # too short
        if i in (0, 3):
            who, frames = item["context"]
            assert who.unique().tolist() == [i + 1] and frames.equal(torch.arange(frames[0], frames[0] + len(frames)))
            assert min(REST, 50) <= len(frames) <= 50 and (frames[-1] < first or frames[0] > last)
            crops.add((i, first, int(frames[0])))
    assert len(crops) > 80
    plain = make(latents, table, dropout=0.0, context_frames=50)
    assert torch.equal(plain[0]["x0"], pairs[0]["x0"])  # the items themselves stay
    assert pairs.counts() == plain.counts() | {"short": 2} and pairs.counts()["lone"] == 0
    for options in ({"references": 0}, {"align": "none"}):
        silent = make(latents, table, oneoff="self", **options)
        assert all(item["drop"] or item["x0"][0, 0] > 4 for item in items(silent, 5))
    assert silent.counts()["short"] == 4


def test_one_off_recordings_at_a_share(latents, table):
    pairs = make(latents, table, oneoff_share=0.5, batch=12)  # three speakers, so six places of two
    counts = {"speakers": 3, "few": 1, "oneoff": 2, "batches": 1, "last": 3, "rows": 7, "lone": 1, "short": 0}
    assert pairs.counts() == counts
    for i in range(5):
        who = (pairs[i]["x0"][:, 0].amax(1) - 1).int().tolist()
        assert len(who) == 7 and {6, 7, 8} <= set(who)


def words():
    """Token latents (3, 2, 4) of three texts that say which and where they are, the last of no token, and whose they are."""
    latents = torch.stack([torch.tensor([[k + 1.0] * 4, [0.0, 1, 2, 3]]) for k in range(3)])
    mask = torch.arange(4) < torch.tensor([4, 2, 0])[:, None]
    return latents * mask[:, None], mask, torch.tensor([0, 0, 1, 2, 1, 1, 2, 0, 2])


def test_what_is_told_is_looked_up_by_row():
    latents, mask, which = words()
    told = tell([3, 0, 4], words(), torch.tensor([5, 6, 7, 8, 9]))
    assert told["speaker"].tolist() == [8, 5, 9] and told["text_mask"].sum(1).tolist() == [0, 4, 2]
    assert torch.equal(told["text"], latents[[2, 0, 1]]) and tell([3, 0, 4]) == {}
    assert tell([2, 0], pitch=torch.tensor([90.0, 0.0, 210.0]))["pitch"].tolist() == [210.0, 90.0]


def test_items_are_told_their_text_and_their_voice(latents, table):
    voice, (said, tokens, which) = torch.tensor([0, 0, 0, 0, 1, 1, -1, -1, -1]), words()
    plain = make(latents, table, dropout=0.0)
    given = [{"text": words()}, {"voice": voice}, {"text": words(), "voice": voice}]
    for options in given:
        pairs = make(latents, table, dropout=0.0, **options)
        for i in range(10):
            before, after = plain[i], pairs[i]
            rows = (before["x0"][:, 0].amax(1) - 1).long()
            told = {name: after.pop(name) for name in list(after) if name not in before}
            assert told.keys() == tell([0], **options).keys()
            known = before["context_mask"].any(1)
            assert before.pop("drop").equal(~known)
            if "text" in options:
                assert told["text"].equal(said[which[rows]]) and told["text_mask"].equal(tokens[which[rows]])
                known = known | tokens[which[rows]].any(1)
            if "voice" in options:
                assert told["speaker"].equal(voice[rows])
                known = known | (voice[rows] >= 0)
            assert after.pop("drop").equal(~known) and not known.all()  # who hears nothing may still be told
            assert all(torch.equal(before[name], after[name]) for name in before)
        assert make(latents, table, dropout=1.0, **options)[0]["drop"].all()
        assert same(pickle.loads(pickle.dumps(pairs))[3], pairs[3])


@pytest.mark.parametrize(
    "given, said",
    [
        ({"multiple": 0}, "multiple is 0; accepted are whole numbers from 1"),
        ({"speakers": 0, "crop": -1}, "speakers is 0, crop is -1; accepted"),
        ({"batch": 0}, "batch is 0"),
        ({"length": 0}, "length is 0"),
        ({"context_frames": 0}, "context_frames is 0"),
        ({"references": -1}, "references is -1, dropout 0.1; accepted are from 0, and 0 to 1"),
        ({"dropout": 2}, "references is 4, dropout 2; accepted"),
        ({"dropout": float("nan")}, "dropout nan; accepted"),
        ({"align": "dwt"}, "align is 'dwt', mode 'post'; accepted are dtw, linear, none, and pre, post, even"),
        ({"mode": "front"}, "mode 'front'; accepted"),
        ({"shortest": 129}, "shortest is 129; accepted are 0 to the crop's 128 frames"),
        ({"shortest": -1}, "shortest is -1; accepted"),
    ],
)
def test_options_are_checked_before_a_batch_is_asked_for(latents, table, given, said):
    with pytest.raises(ValueError, match=said):
        make(latents, table, **given)
