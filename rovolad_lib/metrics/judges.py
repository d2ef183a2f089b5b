"""Judges: small classifiers that hear the words or the speaker in a wave.

A judge is trained once on real training takes, saved, and from then on frozen: `Judge.load` reports the file's hash,
and the judge's own accuracy on real takes stands beside every score it gives. It hears the level-normalised 16 kHz log-
mel without leading and trailing silence, so neither loudness nor padding matters.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from rovolad_lib.files import reading, replacing, sha256
from rovolad_lib.speech import audio
from rovolad_lib.speech.spectral import HOP

MELS, WIDTH, FEATURES = 80, 96, 32
FLOOR = audio.MEL_FLOOR
SILENCE = math.log(FLOOR)
TRIM_DB = 35.0
MARGIN = 4  # frames of 10 ms kept on either side of the speech; training cuts them at random


class Verdict(NamedTuple):
    """What a judge says of N waves: labels [N] (str), probabilities (N, C), features (N, 32) standardised over the
    training takes.
    """

    labels: list
    probabilities: torch.Tensor
    features: torch.Tensor


class Block(nn.Module):
    """Residual convolution over time whose result on real frames does not depend on padding."""

    def __init__(self, width, dilation):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, groups=4)
        self.mix = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GELU(), nn.Conv1d(2 * width, width, 1))

    def forward(self, x, mask):
        h = self.norm(x.transpose(1, 2)).transpose(1, 2) * mask  # (N, W, F); zeros beyond the end, as the convolution pads
        return x + self.mix(self.spread(h))


class Judge(nn.Module):
    """A classifier of waves into `classes`.

    classes: distinct strings, at least two. Fréchet distances are measured in the penultimate layer, of FEATURES. After `load`,
    `sha256` is the file's hash and `report` the facts saved with it (its accuracy on real takes).
    """

    def __init__(self, classes):
        super().__init__()
        self.classes = [str(name) for name in classes]
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes: got {self.classes}; accepted: at least two distinct names")
        self.sha256, self.report = None, {}
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.first = nn.Conv1d(MELS, WIDTH, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList([Block(WIDTH, dilation) for dilation in (1, 2, 4, 8)])
        self.drop = nn.Dropout(0.2)
        self.feature = nn.Linear(2 * WIDTH, FEATURES)
        self.standard = nn.BatchNorm1d(FEATURES, affine=False)
        self.last = nn.Linear(FEATURES, len(self.classes))

    def forward(self, mel, mask):
        """Return logits (N, C) and features (N, 32) of log-mels (N, 80, F), mask (N, F) True on real frames."""
        mask = mask[:, None].to(mel.dtype)  # (N, 1, F)
        x = self.first((mel - self.centre) / self.scale * mask)  # (N, W, F/2)
        mask = mask[..., ::2]
        for block in self.blocks:
            x = block(x, mask)
        x = functional.gelu(x)
        count = mask.sum(-1)
        mean = (x * mask).sum(-1) / count  # (N, W)
        spread = (((x - mean[..., None]) * mask).square().sum(-1) / count + 1e-5).sqrt()
        features = self.standard(self.feature(self.drop(torch.cat([mean, spread], -1))))
        return self.last(features), features

    @property
    def measured_by(self):
        """What stands beside this judge's scores: its question, its file's hash, its accuracy on real takes."""
        accuracy = self.report.get("accuracy")
        real = "accuracy on real takes not measured" if accuracy is None else f"{accuracy:.3f} on real takes"
        return f"judge of {self.report.get('question', 'unnamed')} {(self.sha256 or 'unsaved')[:8]}, {real}"

    @torch.no_grad()
    def predict(self, waves, batch=64):
        """Return the Verdict on N waves (S,) at 16 kHz; no wave, an empty one or another shape is a ValueError."""
        self.eval()
        mels = [hear(wave) for wave in waves]
        if not mels:
            raise ValueError("waves: got none; accepted: at least one (S,)")
        padded = [_pad(mels[i : i + batch]) for i in range(0, len(mels), batch)]
        parts = [self(mel.to(self.centre.device), mask.to(self.centre.device)) for mel, mask in padded]
        logits, features = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return Verdict([self.classes[i] for i in logits.argmax(-1).tolist()], logits.softmax(-1), features)

    def accuracy(self, waves, labels):
        """Return the share of N waves (S,) whose true label, of `labels` [N], the judge finds."""
        found = self.predict(waves).labels
        return sum(str(a) == b for a, b in zip(labels, found, strict=True)) / len(found)

    def save(self, path, **report):
        """Write the judge as safetensors.

        report: facts kept with it: question="text", accuracy=.992 on real validation takes, clips=250, ...
        """
        facts = {"classes": self.classes, "report": {**self.report, **report}}
        with replacing(path) as temporary:
            weights = {name: value.contiguous() for name, value in self.state_dict().items()}
            save_file(weights, temporary, {"judge": json.dumps(facts)})
        self.report, self.sha256 = facts["report"], sha256(path)

    @classmethod
    def load(cls, path):
        """Read a frozen judge from safetensors and note the file's hash; a file that holds none is a ValueError."""
        with reading(Path(path)) as file:
            facts, state = (file.metadata() or {}).get("judge"), {name: file.get_tensor(name) for name in file.keys()}
            if facts is None:
                raise ValueError(f"{path}: no judge in this file; accepted: a safetensors file written by Judge.save")
        facts = json.loads(facts)
        judge = cls(facts["classes"])
        judge.load_state_dict(state)
        judge.report, judge.sha256 = facts["report"], sha256(path)
        return judge.eval().requires_grad_(False)


def hear(wave):
    """Return what a judge hears of a wave (S,): its level-normalised log-mel (80, F) without silence at the ends."""
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"wave: got shape {tuple(wave.shape)}; accepted: (S,) with S >= 1")
    margin = 2 * MARGIN * HOP  # tightly cut clips have one too
    wave = functional.pad(wave.float().cpu(), (margin, margin))
    mel = audio.log_mel(audio.set_level(wave), MELS)  # (80, F)
    level_db = 10 * (mel.exp() - FLOOR).square().sum(0).clamp(min=1e-8).log10()
    speech = (level_db > level_db.max() - TRIM_DB).nonzero()
    start, end = int(speech[0]), int(speech[-1]) + 1
    return mel[:, max(0, start - MARGIN) : end + MARGIN]


def train(waves, labels, seed=0, steps=500, batch=64, rate=3e-3, longest_s=None):
    """Train a judge on real takes.

    waves: N tensors (S,) at 16 kHz; labels: N strings; longest_s: seconds of a random stretch of each clip heard in one step
    (None: all; for speakers 1.5 s is faster and no worse). The same arguments give the same judge on the same machine. Returns
    it frozen; `judge.save(path, ...)` keeps it.
    """
    classes = sorted(set(map(str, labels)))
    mels, answers = zip(*((hear(w), classes.index(str(label))) for w, label in zip(waves, labels, strict=True)), strict=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(classes)
        everything = torch.cat([mel.flatten() for mel in mels])
        judge.centre, judge.scale = everything.mean(), everything.std()
        optimiser = torch.optim.AdamW(judge.parameters(), rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        order = torch.cat([torch.randperm(len(mels)) for _ in range(-(-steps * batch // len(mels)))])
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            logits, _ = judge(*augment(*_pad([_stretch(mels[i], longest_s) for i in chosen])))
            loss = functional.cross_entropy(logits, torch.tensor([answers[i] for i in chosen]), label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return judge.eval().requires_grad_(False)


def augment(mel, mask):
    """Return log-mels (N, 80, F) and mask (N, F) as another take or a vocoder might have made them.

    Tempo, cut ends, a noise floor, a band limit with hiss above it (8 kHz sources, and decoders that fill them), blur
    and roughness of a vocoder, one masked stretch of time and of bands.
    """
    count, bands, _ = mel.shape
    tempo = float(torch.empty(()).uniform_(0.87, 1.15))
    mel = functional.interpolate(mel, scale_factor=tempo, mode="linear", recompute_scale_factor=True)
    mask = functional.interpolate(mask[:, None].float(), size=mel.shape[-1])[:, 0] > 0.5
    uniform = lambda low, high: torch.empty(count, 1, 1).uniform_(low, high)  # noqa: E731
    time, band = torch.arange(mel.shape[-1])[None, None], torch.arange(bands)[None, :, None]
    length = mask.sum(-1)[:, None, None]
    start, end = uniform(0, 2 * MARGIN).long().minimum(length - 2), length - uniform(0, 2 * MARGIN).long()
    cut = (time < start) | (time >= end.maximum(start + 2))  # two frames, since the judge steps by two
    mel, mask = mel.masked_fill(cut, SILENCE), mask & ~(cut & (uniform(0, 1) < 0.5))[:, 0]
    floor = torch.exp(uniform(-7, -3)) * (uniform(0, 1) < 0.5)
    mel = torch.log(mel.exp() + floor)
    hiss = torch.log(FLOOR + torch.exp(uniform(-9, -1)) * torch.rand_like(mel))
    mel = torch.where((band >= uniform(52, 110)), hiss, mel)
    blurred = functional.avg_pool2d(mel[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    share = uniform(0, 1) * (uniform(0, 1) < 0.5)
    mel = mel + share * (blurred - mel) + uniform(0, 0.25) * torch.randn_like(mel)
    at, wide = uniform(0, 1) * length, uniform(0, 0.2) * length
    mel = torch.where((time >= at) & (time < at + wide), mel.mean((1, 2), keepdim=True), mel)
    at, wide = uniform(0, bands), uniform(0, 12)
    return torch.where((band >= at) & (band < at + wide), mel.mean((1, 2), keepdim=True), mel), mask


def _stretch(mel, longest_s):
    frames = mel.shape[-1] if longest_s is None else min(mel.shape[-1], round(100 * longest_s))
    start = int(torch.randint(mel.shape[-1] - frames + 1, ()))
    return mel[:, start : start + frames]


def _pad(mels):
    lengths = torch.tensor([mel.shape[-1] for mel in mels])
    longest = int(lengths.max())
    padded = torch.stack([functional.pad(mel, (0, longest - mel.shape[-1]), value=SILENCE) for mel in mels])
    return padded, torch.arange(longest)[None] < lengths[:, None]  # (N, 80, F), (N, F)
