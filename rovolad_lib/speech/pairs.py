"""Training items of the denoiser: a person's latents, the robot's beside them, and other recordings of that person."""

import torch

from rovolad_lib.speech.batches import SpeakerBatches, pad

ALIGNS = ("dtw", "linear", "none")


def beside(person, robot, frame_map, align):
    """Return the robot's latents on the person's time axis.

    person: (E, T); robot: (E, R); frame_map: (T,) long; align: dtw (by the map), linear (one even stretch), or none (the
    robot as it spoke, R frames). Returns (E, T), or (E, R) for none.
    """
    if align == "dtw":
        return robot[:, frame_map]
    if align == "linear":
        where = torch.linspace(0, robot.shape[1] - 1, person.shape[1]).round().long()
        return robot[:, where]
    if align == "none":
        return robot
    raise ValueError(f"align must be one of {', '.join(ALIGNS)}, got {align!r}")


class Pairs:
    """An endless sequence of batches, a pure function of (seed, i).

    latents: Latents of `table`; table: manifest rows; keep: positions in the table that may be used, for items and for
    context alike; batch: about N items, of at most `speakers` people, see SpeakerBatches; align: dtw | linear | none;
    mode: pre | post | even; masked: False gives mask None, so that padding is trained on as if it were speech;
    crop: longest item in frames, cut anywhere; length: fixed length of the batch (None: the longest item, in whole
    multiples of `multiple`); references: at most so many other recordings as context, of other texts where there are
    any, together at most `context_frames`; dropout: share of items whose context is dropped.

    pairs[i] -> {"x0": (N, E, T), "robot": (N, E, T), "mask": (N, T) bool or None, "context": (N, E, T2),
    "context_mask": (N, T2) bool, "drop": (N,) bool}. Someone without any other recording is an item with its context dropped.
    """

    def __init__(self, latents, table, keep, *, batch=64, speakers=16, seed=0, align="dtw", mode="post", masked=True,
                 crop=128, length=None, multiple=2, references=4, context_frames=150, dropout=0.1):  # fmt: skip
        self.latents, self.keep = latents, list(keep)
        self.text = table.text.tolist()
        self.speaker = [
            s if isinstance(s, str) else None for s in table.speaker
        ]  # NaN would be someone, and in a worker another one
        speakers = min(speakers, _voices(table, keep))
        self.sampler = SpeakerBatches(table.iloc[self.keep], speakers, max(1, batch // speakers), seed)
        self.others = {}
        for i in self.keep:
            self.others.setdefault(self.speaker[i], []).append(i)
        self.seed, self.align, self.mode, self.masked = seed, align, mode, masked
        self.crop, self.length, self.multiple = crop, length, multiple
        self.references, self.context_frames, self.dropout = references, context_frames, dropout

    def __getitem__(self, i):
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        chosen = [self.keep[j] for j in self.sampler[i]]
        people, robots = zip(*(self._pair(j, random) for j in chosen), strict=True)
        length = self.length or max(max(p.shape[1], r.shape[1]) for p, r in zip(people, robots, strict=True))
        length += -length % self.multiple
        x0, mask = pad([p[:, :length] for p in people], self.mode, length, self.multiple)
        robot, robot_mask = pad([r[:, :length] for r in robots], self.mode, length, self.multiple)
        contexts = [self.context(j, random) for j in chosen]
        longest = max(self.multiple, *(c.shape[1] for c in contexts))  # at least one token, if only of padding
        context, context_mask = pad(contexts, "post", longest + -longest % self.multiple, self.multiple)
        drop = torch.rand(len(chosen), generator=random) < self.dropout
        return {
            "x0": x0, "robot": robot, "mask": mask | robot_mask if self.masked else None,
            "context": context, "context_mask": context_mask, "drop": drop | ~context_mask.any(1),
        }  # fmt: skip

    def context(self, i, random, references=None):
        """Return other recordings of the speaker of utterance i, joined and cut: (E, T2), T2 = 0 for a lone one."""
        pool = [j for j in self.others.get(self.speaker[i], []) if j != i] if self.speaker[i] is not None else []
        pool = [j for j in pool if self.text[j] != self.text[i]] or pool
        count = references or int(torch.randint(min(1, self.references), self.references + 1, (), generator=random))
        picked = [pool[k] for k in torch.randperm(len(pool), generator=random)[:count].tolist()]
        parts = [self.latents[j][0] for j in picked] or [self.latents[i][0][:, :0]]
        cut = [_cut(p, -(-self.context_frames // len(parts)), random) for p in parts]
        return torch.cat(cut, dim=1)[:, : self.context_frames]

    def _pair(self, i, random):
        person, robot, frame_map = self.latents[i]
        robot = beside(person, robot, frame_map, self.align)
        if self.align == "none" or person.shape[1] <= self.crop:
            return person, robot
        start = int(torch.randint(person.shape[1] - self.crop + 1, (), generator=random))
        return person[:, start : start + self.crop], robot[:, start : start + self.crop]


def _cut(frames, longest, random):
    """Return at most `longest` frames from anywhere in (E, T)."""
    start = int(torch.randint(max(1, frames.shape[1] - longest + 1), (), generator=random))
    return frames[:, start : start + longest]


def _voices(table, keep):
    """Count the voices: every speaker, and every utterance without a speaker."""
    speaker = table.speaker.iloc[keep]
    return int(speaker.nunique() + speaker.isna().sum())
