import itertools
import pickle

import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from rovolad_lib.speech.batches import SpeakerBatches, pad


@settings(deadline=None, max_examples=60)
@given(
    some.lists(some.integers(0, 13), min_size=1, max_size=5),
    some.sampled_from(["pre", "post", "even"]),
    some.integers(1, 5),
    some.integers(0, 3),
)
def test_pad_keeps_items_and_adds_only_zeros(lengths, mode, multiple, extra):
    items = [torch.rand(3, length) + 1 for length in lengths]
    least = -(-max(lengths) // multiple) * multiple
    batch, mask = pad(items, mode, length=least + extra * multiple if extra else None, multiple=multiple)
    assert batch.shape == (len(items), 3, least + extra * multiple) and mask.shape == (len(items), batch.shape[2])
    assert mask.dtype == torch.bool and torch.equal(mask.sum(1), torch.tensor(lengths))
    for row, real, item in zip(batch, mask, items, strict=True):
        assert torch.equal(row[:, real], item) and not row[:, ~real].any()
        lead = int(real.int().argmax()) if item.shape[1] else 0
        behind = batch.shape[2] - item.shape[1] - lead
        assert lead % multiple == 0
        if mode == "post":
            assert lead == 0
        if mode == "pre" and item.shape[1]:
            assert behind < multiple
        if mode == "even" and item.shape[1]:
            assert 0 <= behind - lead < 2 * multiple


def test_pad_says_what_is_accepted():
    one = torch.zeros(2, 3)
    for call, message in [
        (lambda: pad([], "pre"), "one or more"),
        (lambda: pad([one, torch.zeros(3, 3)], "pre"), "alike in E"),
        (lambda: pad([one], "sideways"), "'sideways'; accepted are pre, post, even"),
        (lambda: pad([one], "pre", length=2), "length is 2; accepted are multiples of 1 from the longest item's 3"),
        (lambda: pad([one], "pre", length=5, multiple=2), "length is 5"),
        (lambda: pad([one], "pre", multiple=0), "multiple is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def manifest(counts, alone=0):
    """Make a table from {corpus: [rows of each speaker]}, its speakers interleaved, and rows without a speaker."""
    rows = [(f"{c}-{s}", c, u) for c, speakers in counts.items() for s, n in enumerate(speakers) for u in range(n)]
    rows = sorted(rows, key=lambda row: row[2])
    return pandas.DataFrame([row[:2] for row in rows] + [(None, "one-off")] * alone, columns=["speaker", "corpus"])


@settings(deadline=None, max_examples=20)
@given(
    some.lists(some.integers(1, 7), min_size=1, max_size=9), some.integers(0, 3), some.integers(1, 5),
    some.integers(1, 4), some.integers(0, 99),
)  # fmt: skip
def test_an_epoch_visits_every_speaker_once(counts, alone, speakers, utterances, seed):
    table = manifest({"a": counts}, alone)
    batches = SpeakerBatches(table, speakers, utterances, seed)
    names = pandas.Series([who if isinstance(who, str) else f"row {i}" for i, who in enumerate(table["speaker"])])
    for epoch in range(2):
        seen = []
        for i in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
            assert len(set(batches[i])) == len(batches[i])
            said = names.iloc[batches[i]].value_counts()
            assert len(said) <= speakers and all(n == min(utterances, (names == who).sum()) for who, n in said.items())
            seen += list(said.index)
        assert sorted(seen) == sorted(set(names))


def test_a_batch_follows_from_seed_and_number_alone():
    table = manifest({"a": [5] * 7, "b": [9] * 30}, alone=4)
    for weighting in ("speaker", "corpus"):
        batches = SpeakerBatches(table, 8, 3, seed=4, weighting=weighting)
        forwards = [batches[i] for i in range(20)]
        other = pickle.loads(pickle.dumps(SpeakerBatches(table, 8, 3, seed=4, weighting=weighting)))
        assert [other[i] for i in reversed(range(20))] == forwards[::-1]
        assert list(itertools.islice(batches, 20)) == forwards
        assert SpeakerBatches(table, 8, 3, seed=5, weighting=weighting)[0] != forwards[0]
        assert forwards[0] != forwards[batches.per_epoch]


def test_a_loader_sees_the_same_batches():
    batches = SpeakerBatches(manifest({"a": [5] * 7}), 2, 2)
    loader = torch.utils.data.DataLoader(range(35), batch_sampler=batches)
    seen = [batch.tolist() for batch in itertools.islice(loader, 9)]
    assert seen == [batches[i] for i in range(9)]


def test_corpora_weigh_the_same():
    table = manifest({"small": [40], "large": [20] * 50})
    batches = SpeakerBatches(table, 10, 1, weighting="corpus")
    drawn = [table["corpus"][row] for i in range(200) for row in batches[i]]
    assert len(drawn) == 2000 and drawn.count("small") == pytest.approx(1000, abs=120)
    assert all(len(set(batches[i])) == len(batches[i]) for i in range(50))


def test_batches_say_what_is_accepted():
    table = manifest({"a": [2, 2]})
    for arguments, message in [
        ({"weighting": "size"}, "'size'; accepted are speaker, corpus"),
        ({"speakers": 0}, "accepted are whole numbers"),
        ({"seed": -1}, "accepted are whole numbers"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            SpeakerBatches(table, **arguments)
    with pytest.raises(ValueError, match="no rows"):
        SpeakerBatches(table[:0])
    with pytest.raises(IndexError, match="batch -1"):
        SpeakerBatches(table)[-1]
