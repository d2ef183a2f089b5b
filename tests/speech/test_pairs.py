import pickle

import numpy
import pandas
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from rovolad_lib.speech.latents import Latents
from rovolad_lib.speech.pairs import Pairs, beside

SPEAKERS = ["a", "a", "a", "a", "b", "b", "lone", None, None]
TEXTS = ["x", "x", "y", "z", "x", "x", "x", "y", "z"]
FRAMES = [10, 7, 12, 5, 9, 8, 6, 11, 4]
ROBOT = [8, 9, 12, 7, 9, 6, 5, 11, 5]
ALONE = {6, 7, 8}  # positions without another recording of their speaker
TEXT = pandas.StringDtype("pyarrow", na_value=numpy.nan)  # as the manifest's columns: nulls come as NaN


@pytest.fixture(scope="module")
def table():
    columns = {"speaker": pandas.array(SPEAKERS, TEXT), "text": pandas.array(TEXTS, TEXT), "corpus": "c"}
    return pandas.DataFrame(columns, index=range(len(SPEAKERS)))


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Latents that say where they are from: (utterance + 1, frame); the robot's utterance is negative."""
    frames = [[[i + 1, k] for k in range(n)] for i, n in enumerate(FRAMES)]
    robot = [[[-i - 1, k] for k in range(n)] for i, n in enumerate(ROBOT)]
    maps = [(torch.arange(n) * r) // n for n, r in zip(FRAMES, ROBOT, strict=True)]
    path = tmp_path_factory.mktemp("latents") / "all.safetensors"
    tensors = {"map": torch.cat(maps).int()}
    for name, starts, parts in (("frames", "starts", frames), ("robot_frames", "robot_starts", robot)):
        tensors[name] = torch.tensor(sum(parts, []), dtype=torch.float16)
        tensors[starts] = torch.tensor([0] + [len(p) for p in parts]).cumsum(0)
    save_file(tensors, path, {"ids": "[]"})
    return Latents(path)


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


def test_only_what_may_be_used_is_used(latents, table):
    pairs = Pairs(latents, table, [0, 3, 5], batch=4)
    for item in items(pairs):
        i = int(item["x0"][0, 0]) - 1
        assert i in (0, 3, 5) and set(item["context"][0].tolist()) <= {{0: 4, 3: 1}.get(i)}
        assert item["drop"] or i != 5
