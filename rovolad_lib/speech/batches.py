"""Which utterances learn together, and how unequal lengths become one tensor."""

from collections import Counter

import numpy
import pandas
import torch

PADS = ("pre", "post", "even")
WEIGHTINGS = ("speaker", "corpus")
ONEOFFS = ("unconditional", "self", "out")


def pad(items, mode, length=None, multiple=1):
    """Put latents of unequal lengths into one tensor, zeros around them.

    items: N tensors (E, T_n), alike in E, type and device.
    mode: where the zeros go: "pre" (in front), "post" (behind), "even" (half in front, half behind).
    length: frames of the result; None is the longest item's, rounded up to `multiple`.
    multiple: frames; the result's length and the zeros in front are whole multiples of it (a network's stride), what
        is left over goes behind.
    returns: (N, E, T) and mask (N, T) bool, True for an item's own frames.
    errors: ValueError for no items, items of other shapes, an unknown mode, a length below an item's or not a multiple.
    """
    shapes = [tuple(item.shape) for item in items]
    if not shapes or any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"items have the shapes {shapes[:8]}; accepted are one or more (E, T) alike in E")
    if mode not in PADS:
        raise ValueError(f"pad is {mode!r}; accepted are {', '.join(PADS)}")
    if multiple < 1:
        raise ValueError(f"multiple is {multiple!r}; accepted are whole numbers from 1")
    longest = max(shape[1] for shape in shapes)
    if length is None:
        length = -(-longest // multiple) * multiple
    if length < longest or length % multiple:
        raise ValueError(f"length is {length}; accepted are multiples of {multiple} from the longest item's {longest} frames")
    batch = items[0].new_zeros(len(items), shapes[0][0], length)  # (N, E, T)
    mask = torch.zeros(len(items), length, dtype=torch.bool, device=items[0].device)  # (N, T)
    for row, real, item in zip(batch, mask, items, strict=True):
        spare = length - item.shape[1]
        lead = {"pre": spare, "post": 0, "even": spare // 2}[mode] // multiple * multiple
        row[:, lead : lead + item.shape[1]] = item
        real[lead : lead + item.shape[1]] = True
    return batch, mask


class SpeakerBatches:
    """An endless sequence of batches: `batches[i]` is a list of row positions, a pure function of the arguments and i.

    An epoch is `per_epoch` batches and visits every speaker once in random order; its last batch holds the speakers
    that are left. Resuming is going on at i; any number of workers sees the same batches. Usable as a DataLoader's
    batch_sampler, or as the dataset of one with batch_size=None.

    manifest: a table with the columns speaker and corpus; a row whose speaker is null is a one-off row.
    speakers: places of a batch, a speaker in each.
    utterances: rows of a place, random and without repeats; a speaker with fewer gives all, see `counts`.
    seed: whole number from 0.
    weighting: "speaker", or "corpus": no epochs; each place goes to a random speaker of a random corpus, so that a
        small corpus is heard as often as a large one. One-off rows count as speakers of their corpus; a place that
        falls to one of them is filled with `utterances` random ones of that corpus.
    oneoff: "out" leaves one-off rows out; "unconditional" and "self" keep them alike (`speech.pairs` tells them apart).
    oneoff_share: None: a one-off row is a speaker of its own, one row in its place, so that millions of them beside
        few speakers make up nearly all of an epoch. Above 0 and below 1: this share of a batch's places, rounded, at
        least one and not all, goes to one-off rows, `utterances` of them a place. An epoch then visits every speaker
        once and goes on with the one-off rows where the last one stopped; all but less than a batch's worth of them
        come before any comes again.
    errors: ValueError for a manifest without a row to use, an unknown weighting or oneoff, counts below 1, or a share
        that leaves no speaker a place; IndexError for i below 0.
    """

    def __init__(self, manifest, speakers=16, utterances=4, seed=0, weighting="speaker", oneoff="unconditional",
                 oneoff_share=None):  # fmt: skip
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting is {weighting!r}; accepted are {', '.join(WEIGHTINGS)}")
        if oneoff not in ONEOFFS:
            raise ValueError(f"oneoff is {oneoff!r}; accepted are {', '.join(ONEOFFS)}")
        if min(speakers, utterances) < 1 or seed < 0:
            given = f"{speakers}, {utterances}, {seed}"
            raise ValueError(f"speakers, utterances, seed are {given}; accepted are whole numbers from 1, 1, 0")
        self.speakers, self.utterances, self.seed, self.weighting = speakers, utterances, seed, weighting
        codes, names = pandas.factorize(manifest["speaker"])
        codes[codes < 0] = len(names)
        self._rows = numpy.argsort(codes, kind="stable")  # positions, speaker by speaker, the one-off ones behind
        sizes = numpy.bincount(codes, minlength=len(names) + 1)
        self._starts = numpy.concatenate([[0], numpy.cumsum(sizes[:-1])])
        if oneoff == "out":
            self._rows = self._rows[: self._starts[-1]]
        if not len(self._rows):
            raise ValueError(f"a manifest of {len(manifest)} rows, none of them to use; accepted are one or more")
        self._named, self._alone = len(names), len(self._rows) - self._starts[-1]  # speakers, one-off rows
        self._reserved = 0 if oneoff_share is None else self._oneoff_places(oneoff_share)
        self._voices = self._named + (0 if self._reserved else self._alone)
        self.per_epoch = -(-self._voices // (speakers - self._reserved))
        self._by_corpus = self._corpora(manifest["corpus"]) if weighting == "corpus" else None
        self._orders = {}

    def __getitem__(self, i):
        """Return batch i as a list of row positions."""
        if i < 0:
            raise IndexError(f"batch {i}; accepted are whole numbers from 0")
        random = numpy.random.default_rng([self.seed, 1, i])
        if self.weighting == "corpus":
            chosen = self._draw(random)
        else:
            voices = self._turn(i, 0, self._voices, self.speakers - self._reserved, self.per_epoch)
            chosen = [(self._of(voice), self.utterances) for voice in sorted(voices.tolist())]
        batch = []
        for rows, wanted in chosen:
            few = min(wanted, len(rows))  # a choice of one among one is slow, and draws nothing from the generator
            batch += (random.choice(rows, few, replace=False) if len(rows) > 1 else rows).tolist()
        if self._reserved:
            many = self._reserved * self.utterances
            turn = self._turn(i, 2, self._alone, many, max(1, self._alone // many))
            batch += self._rows[self._starts[-1] + turn].tolist()
        return batch

    def counts(self):
        """Return what there is to draw from and, weighting "corpus" aside, what an epoch holds, as {name: count}.

        returns: speakers; few: those of fewer rows than `utterances`; oneoff: one-off rows that may come; and of an
            epoch: batches; last: speakers in its last batch, a one-off row being one where there is no share; rows:
            those it visits.
        """
        sizes = numpy.diff(self._starts)
        counts = {"speakers": self._named, "few": (sizes < self.utterances).sum(), "oneoff": self._alone}
        if self.weighting == "speaker":
            shared = self.per_epoch * min(self._reserved * self.utterances, self._alone)
            alone = shared if self._reserved else self._alone
            counts["batches"] = self.per_epoch
            counts["last"] = self._voices - (self.per_epoch - 1) * (self.speakers - self._reserved)
            counts["rows"] = numpy.minimum(sizes, self.utterances).sum() + alone
        return {name: int(count) for name, count in counts.items()}

    def _oneoff_places(self, share):
        """Return how many of a batch's places are reserved for one-off rows."""
        if not 0 < share < 1 or self.speakers < 2 or not self._named or self.weighting == "corpus":
            raise ValueError(
                f"oneoff_share is {share}, among {self._named} speakers, {self.speakers} places a batch, weighting "
                f"{self.weighting!r}; accepted are above 0 and below 1, among 1 or more, from 2, weighting 'speaker'"
            )
        return min(max(1, round(share * self.speakers)), self.speakers - 1) if self._alone else 0

    def _corpora(self, corpus):
        """Return of every corpus (its speakers' numbers, the positions of its one-off rows)."""
        codes = pandas.factorize(corpus)[0][self._rows]
        named, alone = codes[self._starts[:-1]], codes[self._starts[-1] :]
        lone_rows = self._rows[self._starts[-1] :]
        return [(numpy.flatnonzero(named == code), lone_rows[alone == code]) for code in numpy.unique(codes)]

    def _of(self, voice):
        """Return the rows of a speaker, or of one of the one-off rows that are numbered behind them."""
        if voice < self._named:
            return self._rows[self._starts[voice] : self._starts[voice + 1]]
        at = self._starts[-1] + voice - self._named
        return self._rows[at : at + 1]

    def _turn(self, i, stream, count, many, per_round):
        """Return up to `many` of the numbers below `count`: batch i's in rounds of `per_round` batches."""
        at, batch = divmod(i, per_round)
        if self._orders.get(stream, (None,))[0] != at:  # kept for speed alone: it follows from the seed and the round
            self._orders[stream] = at, numpy.random.default_rng([self.seed, stream, at]).permutation(count)
        return self._orders[stream][1][batch * many : (batch + 1) * many]

    def _draw(self, random):
        """Return (rows, how many of them are wanted) for every speaker that a random corpus is asked for."""
        places = Counter()
        for corpus in random.integers(len(self._by_corpus), size=self.speakers).tolist():
            named, alone = self._by_corpus[corpus]
            voice = random.integers(len(named) + len(alone))
            places[(corpus, int(named[voice]) if voice < len(named) else None)] += self.utterances
        return [(self._by_corpus[c][1] if voice is None else self._of(voice), n) for (c, voice), n in places.items()]
