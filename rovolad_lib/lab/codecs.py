"""Autoencoders side by side: how they are heard, what their latents are worth, how they grew."""

import hashlib

import pandas
import torch

from rovolad_lib.files import reading
from rovolad_lib.metrics import latents as worth
from rovolad_lib.speech.manifest import robot_wave
from rovolad_lib.speech.phones import PAUSE, labels, phones, rate_of


def said(data, most=150):
    """Return (rows, marks): up to `most` utterances a corpus whose robot says the exact text, and the phones of each.

    data: lab.data.Data. Rows whose rate of speaking is not found again are left out. A fourth of the sentences, whoever says
    them, is held out: column `held`.
    """
    table = data.table
    exact = (table.robot_method == "espeak") & (table.text_quality == "exact") & (table.duration > 0.8)
    exact &= ~table.split.str.startswith("test")
    rows = table[exact & ~table.duplicated(["corpus", "text", "speaker"])]
    rows = rows.sample(frac=1, random_state=0).groupby("corpus").head(most)
    marks = {}
    for row in rows.itertuples():
        if rate := rate_of(robot_wave(row, data.folder), row.text, row.language):
            marks[row.Index] = phones(row.text, row.language, rate)
    rows = rows.loc[list(marks)]
    held = [hashlib.sha256(text.encode("utf-8")).digest()[0] % 4 == 0 for text in rows.text]
    return rows.assign(held=held), marks


def report(name, data, rows, marks, person, robot):
    """Return the latent report of an autoencoder, or of one for each voice, as `metrics.latents.table` has it.

    name: of the autoencoder; rows, marks: of `said`; person, robot: Autoencoders.
    """
    pairs = worth.encode_pairs(rows, data.folder, person, robot)
    people, robots = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    train, test = ([k for k, held in enumerate(rows.held) if held == side] for side in (False, True))
    parts = [worth.statistics(person, people), worth.ranks(person, people)]
    parts += [{"frechet person robot": worth.distance(people, robots)["frechet"]}]
    large = [corpus for corpus, count in rows.corpus.value_counts().items() if count >= 50]
    by = {corpus: [z for z, c in zip(people, rows.corpus, strict=True) if c == corpus] for corpus in large}
    parts += [{f"frechet {a} {b}": worth.distance(by[a], by[b])["frechet"]} for a in large for b in large if a < b]
    gap = worth.gap([pairs[k] for k in train], [pairs[k] for k in test])
    parts += [gap, {f"{measure} of all": value for measure, value in gap.mean().items()}]
    names = sorted({phone for i in rows.index for phone, _, _ in marks[i]})
    tags = [labels(marks[i], len(z.T), names, robot.hop) for i, z in zip(rows.index, robots, strict=True)]
    heard = {"robot": (robots, tags), "person": (people, [t[p[2]] for t, p in zip(tags, pairs, strict=True)])}
    for who, (latents, spoken) in heard.items():
        kept = [t != names.index(PAUSE) for t in spoken]
        latents, spoken = [z[:, k] for z, k in zip(latents, kept, strict=True)], [t[k] for t, k in zip(spoken, kept, strict=True)]
        probe = worth.phone_probe([latents[k] for k in train], [spoken[k] for k in train], len(names))
        most = torch.cat([spoken[k] for k in train]).bincount().argmax()
        parts += [{f"phones of the {who}": worth.phone_accuracy(probe, [latents[k] for k in test], [spoken[k] for k in test])}]
        parts += [{f"phones of the {who}, chance": float((torch.cat([spoken[k] for k in test]) == most).double().mean())}]
    return worth.table(name, *parts)


def grown(model, run, recode, score):
    """Return how a training's averages score, a DataFrame with the column `steps` and those of `score`, a row a clip.

    model: takes the weights; run: folder of average_<steps>.safetensors, see `train.fit`; recode: model -> list of waves;
    score: waves -> DataFrame.
    """
    rows = []
    for path in sorted(run.glob("average_*.safetensors"), key=_steps):
        with reading(path) as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
        rows.append(score(recode(model.eval())).assign(steps=_steps(path)))
    return pandas.concat(rows, ignore_index=True)


def _steps(path):
    return int(path.stem.split("_")[1])
