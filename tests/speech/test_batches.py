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


def voices(table):
    """Name the voice of every row; one without a speaker is a voice of its own."""
    return pandas.Series([who if isinstance(who, str) else f"row {i}" for i, who in enumerate(table["speaker"])])


@settings(deadline=None, max_examples=20)
@given(
    some.lists(some.integers(1, 7), min_size=1, max_size=9), some.integers(0, 3), some.integers(1, 5),
    some.integers(1, 4), some.integers(0, 99), some.sampled_from(["unconditional", "self", "out"]),
)  # fmt: skip
def test_an_epoch_visits_every_speaker_once(counts, alone, speakers, utterances, seed, oneoff):
    table = manifest({"a": counts}, alone)
    batches = SpeakerBatches(table, speakers, utterances, seed, oneoff=oneoff)
    names = voices(table)
    for epoch in range(2):
        seen, rows = [], 0
        for i in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch):
            assert len(set(batches[i])) == len(batches[i])
            said = names.iloc[batches[i]].value_counts()
            assert len(said) <= speakers and all(n == min(utterances, (names == who).sum()) for who, n in said.items())
            seen += list(said.index)
            rows += len(batches[i])
        assert sorted(seen) == sorted(set(names if oneoff != "out" else names[: sum(counts)]))
    few = sum(n < utterances for n in counts)
    assert batches.counts() == {
        "speakers": len(counts), "few": few, "oneoff": 0 if oneoff == "out" else alone,
        "batches": batches.per_epoch, "last": len(said), "rows": rows,
    }  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(
    some.lists(some.integers(1, 7), min_size=1, max_size=9), some.integers(1, 60), some.integers(2, 6),
    some.integers(1, 4), some.floats(0.01, 0.99), some.integers(0, 99),
)  # fmt: skip
def test_one_off_rows_get_their_share_of_every_batch(counts, alone, speakers, utterances, share, seed):
    table = manifest({"a": counts}, alone)
    batches = SpeakerBatches(table, speakers, utterances, seed, oneoff_share=share)
    names, first = voices(table), sum(counts)  # the first row without a speaker
    places = min(max(1, round(share * speakers)), speakers - 1)
    many = min(places * utterances, alone)
    for epoch in range(2):
        drawn = [batches[i] for i in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)]
        assert all(len(set(batch)) == len(batch) and sum(row >= first for row in batch) == many for batch in drawn)
        said = [names.iloc[[row for row in batch if row < first]].value_counts() for batch in drawn]
        assert all(1 <= len(one) <= speakers - places for one in said)
        assert sorted(who for one in said for who in one.index) == sorted(set(names[:first]))
        assert all(n == min(utterances, (names == who).sum()) for one in said for who, n in one.items())
        assert sum(map(len, drawn)) == batches.counts()["rows"] and len(said[-1]) == batches.counts()["last"]
    per_round = alone // many
    for start in (0, per_round, 5 * per_round):
        come = [row for i in range(start, start + per_round) for row in batches[i] if row >= first]
        assert len(set(come)) == len(come) > alone - many


def test_millions_of_one_off_rows_do_not_swamp_an_epoch():
    table = manifest({"a": [8] * 40}, alone=4000)
    shared, alone = SpeakerBatches(table, 16, 4, oneoff_share=0.25), SpeakerBatches(table, 16, 4)
    there = {"speakers": 40, "few": 0, "oneoff": 4000}
    assert shared.counts() == there | {"batches": 4, "last": 4, "rows": 40 * 4 + 4 * 16}
    assert alone.counts() == there | {"batches": 253, "last": 8, "rows": 40 * 4 + 4000}
    without = SpeakerBatches(manifest({"a": [8] * 40}), 16, 4, oneoff_share=0.25)  # a share of nothing is nothing
    assert without.counts()["batches"] == 3 and [without[i] for i in range(3)] == [
        SpeakerBatches(table, 16, 4, oneoff="out")[i] for i in range(3)
    ]


@pytest.mark.parametrize("options", [{}, {"weighting": "corpus"}, {"oneoff_share": 0.3}, {"oneoff": "out"}])
def test_a_batch_follows_from_seed_and_number_alone(options):
    table = manifest({"a": [5] * 7, "b": [9] * 30}, alone=40)
    batches = SpeakerBatches(table, 8, 3, seed=4, **options)
    forwards = [batches[i] for i in range(20)]
    other = pickle.loads(pickle.dumps(SpeakerBatches(table, 8, 3, seed=4, **options)))
    assert [other[i] for i in reversed(range(20))] == forwards[::-1]
    assert list(itertools.islice(batches, 20)) == forwards
    assert SpeakerBatches(table, 8, 3, seed=5, **options)[0] != forwards[0]
    assert forwards[0] != batches[batches.per_epoch]


def test_every_epoch_has_an_order_of_its_own():
    batches = SpeakerBatches(manifest({"a": [1] * 40}), 8, 1)
    orders = [[set(batches[epoch * 5 + i]) for i in range(5)] for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2] and all(set.union(*order) == set(range(40)) for order in orders)


def test_a_loader_sees_the_same_batches():
    batches = SpeakerBatches(manifest({"a": [5] * 7}), 2, 2)
    loader = torch.utils.data.DataLoader(range(35), batch_sampler=batches)
    seen = [batch.tolist() for batch in itertools.islice(loader, 9)]
    assert seen == [batches[i] for i in range(9)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers, start", [(0, None), (1, None), (4, None), (2, "spawn")])
def test_workers_and_a_resumed_run_go_the_same_way(workers, start):
    table = manifest({"a": [1, 5, 9, 2] * 7}, alone=60)
    batches = SpeakerBatches(table, 4, 3, seed=2, oneoff_share=0.25)
    wanted = [batches[i] for i in range(3 * batches.per_epoch)]
    inside = batches.per_epoch + batches.per_epoch // 2
    for first in (0, inside) if start is None else (inside,):
        fresh = SpeakerBatches(table, 4, 3, seed=2, oneoff_share=0.25)
        options = {"num_workers": workers, "multiprocessing_context": start}
        loader = torch.utils.data.DataLoader(fresh, None, sampler=range(first, len(wanted)), **options)
        assert list(loader) == wanted[first:]


def test_corpora_weigh_the_same():
    table = manifest({"small": [40], "large": [20] * 50}, alone=3000)
    batches = SpeakerBatches(table, 12, 2, weighting="corpus")
    drawn = table["corpus"][[row for i in range(200) for row in batches[i]]].value_counts()
    assert drawn.sum() == 200 * 12 * 2
    assert drawn.to_dict() == pytest.approx({"small": 1600, "large": 1600, "one-off": 1600}, abs=190)  # four deviations
    assert all(len(set(batches[i])) == len(batches[i]) for i in range(50))
    assert batches.counts() == {"speakers": 51, "few": 0, "oneoff": 3000}
    two = SpeakerBatches(table, 12, 2, weighting="corpus", oneoff="out")
    drawn = table["corpus"][[row for i in range(200) for row in two[i]]].value_counts()
    assert drawn.to_dict() == pytest.approx({"small": 2400, "large": 2400}, abs=240)


def test_speakers_of_a_corpus_weigh_the_same_in_it():
    table = manifest({"a": [3, 90, 200], "b": [4]}, alone=0)
    batches = SpeakerBatches(table, 6, 1, weighting="corpus", seed=1)
    drawn = table["speaker"][[row for i in range(500) for row in batches[i]]].value_counts()
    assert drawn[["a-1", "a-2"]].to_dict() == pytest.approx({"a-1": 500, "a-2": 500}, abs=100)


def test_what_goes_to_a_worker_has_no_object_a_row():
    table = manifest({"a": [1000] * 40, "b": [1] * 2000}, alone=30_000)
    for options in ({}, {"oneoff_share": 0.5}, {"weighting": "corpus"}):
        assert len(pickle.dumps(SpeakerBatches(table, **options))) < 20 * len(table)


def test_batches_say_what_is_accepted():
    table = manifest({"a": [2, 2]})
    for arguments, message in [
        ({"weighting": "size"}, "'size'; accepted are speaker, corpus"),
        ({"speakers": 0}, "accepted are whole numbers"),
        ({"seed": -1}, "accepted are whole numbers"),
        ({"oneoff": "in"}, "'in'; accepted are unconditional, self, out"),
        ({"oneoff_share": 1}, "oneoff_share is 1, .* above 0 and below 1"),
        ({"oneoff_share": 0.5, "speakers": 1}, "1 places a batch, .* from 2, weighting"),
        ({"oneoff_share": 0.5, "weighting": "corpus"}, "weighting 'corpus'; accepted"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            SpeakerBatches(table, **arguments)
    with pytest.raises(ValueError, match="0 rows, none of them to use"):
        SpeakerBatches(table[:0])
    with pytest.raises(ValueError, match="3 rows, none of them to use"):
        SpeakerBatches(manifest({}, alone=3), oneoff="out")
    with pytest.raises(ValueError, match="among 0 speakers"):
        SpeakerBatches(manifest({}, alone=3), oneoff_share=0.5)
    with pytest.raises(IndexError, match="batch -1"):
        SpeakerBatches(table)[-1]
