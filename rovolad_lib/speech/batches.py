"""Which utterances learn together, and how unequal lengths become one tensor."""

import numpy
import pandas
import torch

PADS = ("pre", "post", "even")
WEIGHTINGS = ("speaker", "corpus")


def pad(items, mode, length=None, multiple=1):
    """Put latents of unequal lengths into one tensor, zeros around them.

    items: N tensors (E, T_n), alike in E, type and device.
    mode: where the zeros go: "pre" (in front), "post" (behind), "even" (half in front, half behind).
    length: frames of the result; None is the longest item's, rounded up to `multiple`.
    multiple: frames; the result's length and the zeros in front are whole multiples of it (a network's stride), what is
        left over goes behind.
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
        raise ValueError(
            f"length is {length}; accepted are multiples of {multiple} from the longest item's {longest} frames"
        )
    batch = items[0].new_zeros(len(items), shapes[0][0], length)  # (N, E, T)
    mask = torch.zeros(len(items), length, dtype=torch.bool, device=items[0].device)  # (N, T)
    for row, real, item in zip(batch, mask, items, strict=True):
        spare = length - item.shape[1]
        lead = {"pre": spare, "post": 0, "even": spare // 2}[mode] // multiple * multiple
        row[:, lead : lead + item.shape[1]] = item
        real[lead : lead + item.shape[1]] = True
    return batch, mask


class SpeakerBatches:
    """An endless sequence of batches: `batches[i]` is a list of row positions, a pure function of the seed and i.

    An epoch is `per_epoch` batches and visits every speaker once in random order; its last batch holds the speakers
    that are left.
    Resuming is going on at i; any number of workers sees the same batches. Usable as a DataLoader's batch_sampler.

    manifest: a table with the columns speaker and corpus; a row without a speaker counts as a speaker of its own.
    speakers: speakers a batch.
    utterances: rows of each, random and without repeats; a speaker with fewer gives all.
    seed: whole number from 0.
    weighting: "speaker", or "corpus": no epochs; each of the batch's places goes to a random speaker of a random
        corpus, so that
        a small corpus is heard as often as a large one.
    errors: ValueError for an empty manifest, an unknown weighting, or counts below 1; IndexError for i below 0.
    """

    def __init__(self, manifest, speakers=16, utterances=4, seed=0, weighting="speaker"):
        if not len(manifest):
            raise ValueError("a manifest of no rows; accepted are one or more")
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting is {weighting!r}; accepted are {', '.join(WEIGHTINGS)}")
        if min(speakers, utterances) < 1 or seed < 0:
            given = f"{speakers}, {utterances}, {seed}"
            raise ValueError(f"speakers, utterances, seed are {given}; accepted are whole numbers from 1, 1, 0")
        self.speakers, self.utterances, self.seed, self.weighting = speakers, utterances, seed, weighting
        codes, names = pandas.factorize(manifest["speaker"])
        alone = codes < 0
        codes[alone] = len(names) + numpy.arange(alone.sum())
        self._rows = numpy.argsort(codes, kind="stable")  # positions, speaker by speaker
        self._starts = numpy.concatenate([[0], numpy.cumsum(numpy.bincount(codes))])
        corpora = pandas.factorize(manifest["corpus"])[0][self._rows[self._starts[:-1]]]  # a speaker's
        self._by_corpus = [numpy.flatnonzero(corpora == corpus) for corpus in range(corpora.max() + 1)]
        self.per_epoch = -(-(len(self._starts) - 1) // speakers)
        self._epoch, self._order = None, None

    def __getitem__(self, i):
        """Return batch i as a list of row positions."""
        if i < 0:
            raise IndexError(f"batch {i}; accepted are whole numbers from 0")
        random = numpy.random.default_rng([self.seed, 1, i])
        chosen = self._speakers_of(i) if self.weighting == "speaker" else self._draw(random)
        batch = []
        for speaker, times in zip(*numpy.unique(chosen, return_counts=True), strict=True):
            rows = self._rows[self._starts[speaker] : self._starts[speaker + 1]]
            batch += random.choice(rows, min(self.utterances * times, len(rows)), replace=False).tolist()
        return batch

    def _speakers_of(self, i):
        epoch, batch = divmod(i, self.per_epoch)
        if epoch != self._epoch:  # kept for speed alone: the order follows from the seed and the epoch
            self._order = numpy.random.default_rng([self.seed, 0, epoch]).permutation(len(self._starts) - 1)
            self._epoch = epoch
        return self._order[batch * self.speakers : (batch + 1) * self.speakers]

    def _draw(self, random):
        corpora = [self._by_corpus[corpus] for corpus in random.integers(len(self._by_corpus), size=self.speakers)]
        return [speakers[random.integers(len(speakers))] for speakers in corpora]
