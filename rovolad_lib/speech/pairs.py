"""Training items of the denoiser: a person's latents, the robot's beside them, and other recordings of that person."""

import numpy
import pandas
import torch

from rovolad_lib.speech.batches import PADS, SpeakerBatches, pad

ALIGNS = ("dtw", "linear", "none")
REST = 32  # frames: of a one-off recording at least so many have to be left beside the crop for a context of their own
TIE_S = 1e-4  # times that differ by no more are one time


def beside(person, robot, frame_map, align):
    """Return the robot's latents on the person's time axis.

    person: (E, T); robot: (E, R); frame_map: (T,) long.
    align: "dtw" (by the map), "linear" (one even stretch), or "none" (the robot as it spoke).
    returns: (E, T), or (E, R) for "none".
    errors: ValueError for another align.
    """
    if align == "dtw":
        return robot[:, frame_map]
    if align == "linear":
        where = torch.linspace(0, robot.shape[1] - 1, person.shape[1]).round().long()
        return robot[:, where]
    if align == "none":
        return robot
    raise ValueError(f"align must be one of {', '.join(ALIGNS)}, got {align!r}")


def tell(rows, text=None, voice=None, pitch=None):
    """Return what tells the voices of some rows beside recordings: text (N, D, L), text_mask (N, L), speaker (N,), pitch (N,).

    rows: N positions in the table; text: its distinct texts' token latents (K, D, L) and their mask (K, L), and which of
    them each row has, (rows,) long; voice: (rows,) long, the number of each row's learned voice, -1 for none; pitch: (rows,)
    float, each row's median in Hz, 0 for none. What is None is left out.
    """
    told = {}
    if text is not None:
        latents, mask, which = text
        told = {"text": latents[which[rows]], "text_mask": mask[which[rows]]}
    told |= {} if voice is None else {"speaker": voice[rows]}
    return told if pitch is None else told | {"pitch": pitch[rows]}


class Pairs:
    """An endless sequence of batches, a pure function of (seed, i).

    latents: Latents of `table`.
    table: manifest rows with the columns speaker, corpus, text, path, start and end.
    keep: positions in the table that may be used, for items and for context alike.
    batch: about N items, of at most `speakers` people; weighting, oneoff_share: see SpeakerBatches.
    align: "dtw", "linear" or "none", see `beside`; mode: see `pad`.
    masked: False gives mask None, so that padding is trained on as if it were speech.
    crop: longest item in frames, cut anywhere; with align "none" nothing is cut. shortest: frames, above 0 and a
        batch's longest item is a random number from there to `crop`: of half a word no known sentence can be guessed.
    length: fixed length of the batch; None: the longest item's, in whole multiples of `multiple`.
    references: at most so many other recordings as context, of other texts where there are any, together at most
        `context_frames`.
    whole: above 0, the prior's mean has a context of its own, a random number of frames up to so many, of any such recordings.
    dropout: share of items whose context, text and learned voice are dropped.
    oneoff: what a recording without a speaker hears: "unconditional" (nothing), "self" (another crop of the same
        recording, nothing of the item in it; nothing where the recording is too short for that, see `counts`), or
        "out" (there is none in a batch).
    text, voice, pitch: what tells a row's voice beside its context, see `tell`; None: nothing, and no such entry in a batch.

    errors: ValueError for an option outside what is accepted, and as SpeakerBatches, `beside` and `pad`.

    pairs[i] -> {"x0": (N, E, T), "robot": (N, E, T), "mask": (N, T) bool or None, "context": (N, E, T2),
    "context_mask": (N, T2) bool, "drop": (N,) bool}, what `tell` adds, and with `whole` "whole": (N, E, T3) and "whole_mask":
    (N, T3) bool. An item that hears nothing, and is told nothing, is
    one with its context dropped.
    """

    def __init__(self, latents, table, keep, *, batch=64, speakers=16, seed=0, align="dtw", mode="post", masked=True,
                 crop=128, length=None, multiple=2, references=4, context_frames=150, dropout=0.1, weighting="speaker",
                 oneoff="unconditional", oneoff_share=None, text=None, voice=None, pitch=None, shortest=0, whole=0):  # fmt: skip
        _check(batch=batch, speakers=speakers, crop=crop, length=length, multiple=multiple, context_frames=context_frames)
        if not 0 <= shortest <= crop:
            raise ValueError(f"shortest is {shortest}; accepted are 0 to the crop's {crop} frames")
        if references < 0 or not 0 <= dropout <= 1:
            raise ValueError(f"references is {references}, dropout {dropout}; accepted are from 0, and 0 to 1")
        if align not in ALIGNS or mode not in PADS:
            accepted = f"{', '.join(ALIGNS)}, and {', '.join(PADS)}"
            raise ValueError(f"align is {align!r}, mode {mode!r}; accepted are {accepted}")
        self.latents, self.keep = latents, numpy.array(keep, dtype=numpy.int64)
        self.speaker, self.text, self.path = (_codes(table[name]) for name in ("speaker", "text", "path"))
        self.start, self.end = (table[name].to_numpy(numpy.float64) for name in ("start", "end"))
        self.others = self.keep[numpy.argsort(self.speaker[self.keep], kind="stable")]  # one-off ones, then by speaker
        self.bounds = numpy.searchsorted(self.speaker[self.others], numpy.arange(self.speaker.max() + 2))
        speakers = min(speakers, _voices(numpy.diff(self.bounds), self.bounds[0], oneoff, oneoff_share))
        self.sampler = SpeakerBatches(
            table[["speaker", "corpus"]].iloc[self.keep], speakers, max(1, batch // speakers), seed, weighting, oneoff,
            oneoff_share,
        )  # fmt: skip
        self.seed, self.align, self.mode, self.masked, self.oneoff = seed, align, mode, masked, oneoff
        self.crop, self.shortest, self.length, self.multiple = crop, shortest, length, multiple
        self.references, self.context_frames, self.dropout = references, context_frames, dropout
        self.told, self.whole = {"text": text, "voice": voice, "pitch": pitch}, whole

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        chosen = self.keep[self.sampler[i]].tolist()
        crop = int(torch.randint(self.shortest, self.crop + 1, (), generator=random)) if self.shortest else self.crop
        people, robots, starts = zip(*(self._pair(j, crop, random) for j in chosen), strict=True)
        length = self.length or max(max(p.shape[1], r.shape[1]) for p, r in zip(people, robots, strict=True))
        length += -length % self.multiple
        x0, mask = pad([p[:, :length] for p in people], self.mode, length, self.multiple)
        robot, robot_mask = pad([r[:, :length] for r in robots], self.mode, length, self.multiple)
        contexts = [self._heard(j, start, crop, random) for j, start in zip(chosen, starts, strict=True)]
        longest = max(self.multiple, *(c.shape[1] for c in contexts))  # at least one token, if only of padding
        context, context_mask = pad(contexts, "post", longest + -longest % self.multiple, self.multiple)
        drop = torch.rand(len(chosen), generator=random) < self.dropout
        told, known = tell(chosen, **self.told), context_mask.any(1)
        if "text" in told:
            known |= told["text_mask"].any(1)
        if "speaker" in told:
            known |= told["speaker"] >= 0
        if self.whole:
            more = [c if self.speaker[j] < 0 else self.known(j, random) for j, c in zip(chosen, contexts, strict=True)]
            told["whole"], told["whole_mask"] = pad(more, "post", max(1, *(known.shape[1] for known in more)))
        return {
            "x0": x0, "robot": robot, "mask": mask | robot_mask if self.masked else None,
            "context": context, "context_mask": context_mask, "drop": drop | ~known, **told,
        }  # fmt: skip

    def counts(self):
        """Return SpeakerBatches.counts and who of them hears nothing, as {name: count}.

        returns: lone: speakers of one recording; short: one-off recordings too short for oneoff "self", 0 without it.
        """
        frames = self.latents.lengths().numpy()[self.others[: self.bounds[0]]]
        short = int(self._short(frames, self.crop).sum()) if self.oneoff == "self" else 0
        return self.sampler.counts() | {"lone": int((numpy.diff(self.bounds) == 1).sum()), "short": short}

    def context(self, i, random, references=None):
        """Return other recordings of the speaker of utterance i, joined and cut: (E, T2), T2 = 0 for a lone one.

        i: position in the table; random: torch.Generator; references: how many, None is a random count.
        """
        pool = self._pool(i)
        count = references or int(torch.randint(min(1, self.references), self.references + 1, (), generator=random))
        picked = pool[torch.randperm(len(pool), generator=random)[:count].numpy()].tolist()
        parts = [self.latents[j][0] for j in picked] or [self.latents[i][0][:, :0]]
        cut = [_cut(p, -(-self.context_frames // len(parts)), random) for p in parts]
        return torch.cat(cut, dim=1)[:, : self.context_frames]

    def known(self, i, random):
        """Return what the prior's mean hears of the speaker of utterance i: (E, T3), T3 = 0 for a lone one; as `context`."""
        if not self.whole:
            return self.context(i, random)
        pool, parts = self._pool(i), [self.latents[i][0][:, :0]]
        least = min(self.context_frames // 3, self.whole)
        left = int(torch.randint(least, self.whole + 1, (), generator=random))
        for k in torch.randperm(len(pool), generator=random).tolist():
            parts.append(self.latents[int(pool[k])][0][:, :left])
            left -= parts[-1].shape[1]
            if not left:
                break
        return torch.cat(parts, dim=1)

    def _pool(self, i):
        """Return the positions of what utterance i may hear."""
        if self.speaker[i] < 0:
            return self.others[:0]
        pool = self.others[self.bounds[self.speaker[i]] : self.bounds[self.speaker[i] + 1]]
        start, end = self.start[i] + TIE_S, self.end[i] - TIE_S
        overlaps = (self.path[pool] == self.path[i]) & (self.start[pool] < end) & (self.end[pool] > start)
        pool = pool[~overlaps & (pool != i)]
        same = (self.text[pool] == self.text[i]) & (self.text[i] >= 0)
        if not same.all():
            return pool[~same]
        longer = self.end[pool] - self.start[pool] - (self.end[i] - self.start[i])
        return pool[numpy.abs(longer) > TIE_S]  # the same words in exactly the same time are one recording in two files

    def _heard(self, i, start, crop, random):
        if self.oneoff != "self" or self.speaker[i] >= 0:
            return self.context(i, random)
        person = self.latents[i][0]
        if not self.references or self._short(person.shape[1], crop):
            return person[:, :0]
        rest = max(person[:, :start], person[:, start + crop :], key=lambda part: part.shape[1])
        return _cut(rest, self.context_frames, random)

    def _short(self, frames, crop):
        """Say whether some crop would leave fewer than REST frames on both of its sides, or nothing is cropped."""
        return (frames < crop + 2 * REST - 1) | (self.align == "none")

    def _pair(self, i, crop, random):
        """Return the item (E, T), the robot's latents beside it, and the frame at which it begins."""
        person, robot, frame_map = self.latents[i]
        robot = beside(person, robot, frame_map, self.align)
        if self.align == "none" or person.shape[1] <= crop:
            return person, robot, 0
        start = int(torch.randint(person.shape[1] - crop + 1, (), generator=random))
        return person[:, start : start + crop], robot[:, start : start + crop], start


def _check(**counts):
    """Raise ValueError for counts below 1; None is none."""
    if wrong := [f"{name} is {count}" for name, count in counts.items() if count is not None and count < 1]:
        raise ValueError(f"{', '.join(wrong)}; accepted are whole numbers from 1")


def _cut(frames, longest, random):
    """Return at most `longest` frames from anywhere in (E, T)."""
    start = int(torch.randint(max(1, frames.shape[1] - longest + 1), (), generator=random))
    return frames[:, start : start + longest]


def _codes(column):
    """Number the values of a column, null being -1: a worker gets whole numbers, no strings."""
    return pandas.factorize(column)[0].astype("int32")


def _voices(sizes, alone, oneoff, share):
    """Count who can have a place: the speakers (sizes: rows of each), and the one-off rows or their share."""
    named = numpy.count_nonzero(sizes)
    if share is not None and alone and oneoff != "out":
        return max(2, int(named / (1 - share)))
    return max(1, named + (0 if oneoff == "out" else int(alone)))
