"""A model's speech on held-out takes, the anchors beside it, and their scores."""

from pathlib import Path

import pandas as pd
import torch

from rovolad_lib.autoencoder.codec import decode_latents, encode_waves
from rovolad_lib.convert import CONTEXT_FRAMES, ROBOT_F0, WHOLE_FRAMES, at_pitch, robot_f0
from rovolad_lib.denoiser import text
from rovolad_lib.denoiser.model import MIDDLE_HZ
from rovolad_lib.diffusion.named import prior_of
from rovolad_lib.lab.paths import MODELS
from rovolad_lib.metrics import describe, judges, signal
from rovolad_lib.metrics.pitch import median_f0
from rovolad_lib.sampling import padding, sample
from rovolad_lib.speech import manifest, robot
from rovolad_lib.speech.audio import set_level
from rovolad_lib.speech.pairs import tell


def testable(encoded, split):
    """Return the positions of a split whose speaker has other words in it, to be heard as a reference.

    ValueError for a corpus without any, which cannot be scored.
    """
    table = encoded.data.table[(encoded.data.table.split == split) & encoded.data.table.text.notna()]
    texts = table.groupby("speaker").text.transform("nunique")
    rows = table.index[texts.fillna(0) > 1].tolist()
    if not rows:
        raise ValueError(f"{encoded.data.name} has no speaker with two texts in {split}: choose a corpus that has, by `corpus`")
    return rows


def speak(encoded, model, rows, *, steps=4, guidance=1.0, sampler=None, seed=0, references=3, batch=64, prior=None,
          says=None, described=None, **options):  # fmt: skip
    """Return one wave (S,) an utterance: the robot at its own timing in the voice of other takes.

    rows: positions in the table; an utterance's references are other takes of its speaker, of its own split and of
    other words, together with what else tells this network a voice, its description, pitch or learned number; the robot
    says the text at its normal rate: nothing of the take itself is used. references: how many the network hears; a prior's
    mean that learned from more is made of all. prior: gaussian | robot, of a network that knows both (None: robot);
    sampler: None is the prior's own; says: positions whose texts the robot says instead (None: rows); described: positions
    whose descriptions are told instead; options: of sampling.sample.
    """
    prior, default = prior_of(model.notes["prior"], prior)
    contexts = [context(encoded, i, references) for i in rows]
    more = references and model.notes["setting"].get("whole")  # its prior's mean had more than the network hears
    wholes = [context(encoded, i, None, WHOLE_FRAMES) for i in rows] if more else None
    at, pitch = at_pitch(model, f0s(encoded, model, contexts))
    voices, robots = tell(described or rows, **told_to(model, encoded.data)) | pitch, robot_latents(encoded, says or rows, at)
    order, spoken = sorted(range(len(rows)), key=lambda k: robots[k].shape[1]), [None] * len(rows)
    options |= {"sampler": sampler or default, "steps": steps, "guidance": guidance, **padding(model)}
    for n, at in enumerate(range(0, len(rows), batch)):
        chosen = order[at : at + batch]
        made = sample(
            model, prior, [robots[k] for k in chosen], [contexts[k] for k in chosen], seed=seed * 1009 + n,
            told={name: value[chosen] for name, value in voices.items()}, whole=wholes and [wholes[k] for k in chosen], **options,
        )  # fmt: skip
        for k, item in zip(chosen, made, strict=True):
            spoken[k] = item
    return decode_latents(encoded.autoencoder, spoken)


def told(data, description="none", speakers=()):
    """Return what tells the voices of all rows beside recordings, for `speech.pairs.tell`, and the text encoder's fingerprint.

    data: lab.data.Data; description: none, or a source of denoiser.text.TextEncoder, which hears a sentence about every
    voice (its latents are kept beside the audio); speakers: list of those that have a learned voice, in its order.
    """
    given, fingerprint = {}, None
    if description != "none":
        encoder, distinct = text.TextEncoder(description, cache=data.folder / "text"), {}
        rows = (row._asdict() for row in data.table.itertuples(index=False))
        which = torch.tensor([distinct.setdefault(text.describe(row), len(distinct)) for row in rows])
        given, fingerprint = {"text": (*encoder(list(distinct)), which)}, encoder.fingerprint
    if len(speakers):
        given["voice"] = torch.from_numpy(pd.Index(speakers).get_indexer(data.table.speaker))
    return given, fingerprint


def told_to(model, data):
    """Return `told` as a network was told it in training; ValueError where its text encoder is another one by now."""
    description = model.notes["setting"].get("description", "none")
    given, found = told(data, description, model.notes.get("speakers", ()))
    if found != (wanted := model.notes.get("text_encoder")):
        raise ValueError(f"text encoder {description} is {found}; accepted: the one that the network learned with, {wanted}")
    return given


def robot_latents(encoded, rows, f0=None):
    """Return the robot's latents (E, R) for the texts of some utterances, at its normal rate; f0: a list of Hz (None: 110)."""
    table = encoded.data.table.loc[rows]
    keys = list(zip(table.text, table.language, f0 or [ROBOT_F0] * len(rows), strict=True))
    said = {key: robot.say(*key[:2], f0=key[2]) for key in dict.fromkeys(keys)}
    codec = encoded.robot_codec or encoded.autoencoder
    coded = dict(zip(said, encode_waves(codec, list(said.values())), strict=True))
    return [coded[key] for key in keys]


def f0s(encoded, model, contexts):
    """Return the pitch in Hz of each of some contexts (E, T2), 0 of one without a frame, and for a network that is told none."""
    if not model.config["pitch"]:
        return [0.0] * len(contexts)
    heard = [k for k, context in enumerate(contexts) if context.shape[1]]
    waves = dict(zip(heard, decode_latents(encoded.autoencoder, [contexts[k] for k in heard]), strict=True))
    return [robot_f0(waves[k]) if k in waves else 0.0 for k in range(len(contexts))]


def pitch_line(encoded, model, rows, each=6, **options):
    """Return [slope, octaves] of the line by which a pitch is told to a network that speaks higher or lower than it is told.

    In octaves around MIDDLE_HZ, told over heard, each a speaker's median of `each` utterances: the medians of the slopes
    between any two speakers, and of what they leave (slope 1 where no two differ). rows, options: of `speak`.
    source: Sen 1968, whom an octave misheard does not move.
    """
    table = encoded.data.table.loc[rows].groupby("speaker").head(each)
    rows = table.index.tolist()
    pairs = pd.DataFrame({"told": f0s(encoded, model, [context(encoded, i, 3) for i in rows]), "speaker": table.speaker.tolist()})
    pairs["heard"] = [median_f0(wave) for wave in speak(encoded, model, rows, **options)]
    pairs = pairs[(pairs.told > 0) & (pairs.heard > 0)].groupby("speaker").median() / MIDDLE_HZ
    told, heard = (torch.tensor(pairs[name].to_numpy()).log2() for name in ("told", "heard"))
    slopes = (told[:, None] - told) / (heard[:, None] - heard)
    slopes = slopes[slopes.isfinite()]
    slope = slopes.quantile(0.5) if len(slopes) else torch.tensor(1.0)
    return [float(slope), float((told - slope * heard).quantile(0.5))]


def context(encoded, i, references, frames=CONTEXT_FRAMES):
    """Return the joined latents (E, T2) of other takes of utterance i's speaker, in its split and of other words.

    references: how many (None: all), at random but the same in every run; T2 is at most `frames`, 0 for no references.
    """
    table = encoded.data.table
    own = table[(table.speaker == table.speaker[i]) & (table.split == table.split[i])]
    others = own.index[own.text != table.text[i]]
    if references != 0 and not len(others):
        raise ValueError(f"{table.speaker[i]} has no other words in split {table.split[i]} to be a reference for {table.id[i]}")
    random = torch.Generator().manual_seed(int(i))
    chosen = torch.randperm(len(others), generator=random)[:references].tolist()
    none = encoded.latents[int(i)][0][:, :0]
    return torch.cat([none, *(encoded.latents[int(others[k])][0] for k in chosen)], dim=1)[:, :frames]


def reconstruction(encoded, rows):
    """Return what the autoencoder leaves of some utterances' waves."""
    return decode_latents(encoded.autoencoder, [encoded.latents[i][0] for i in rows])


def anchors(encoded, rows):
    """Return {"ground truth", "reconstruction", "robot"} -> waves of some utterances, all at one level."""
    table, data = encoded.data.table, encoded.data.folder
    people = [set_level(manifest.wave(row, data)) for row in table.loc[rows].itertuples()]
    ceiling = reconstruction(encoded, rows)
    floor = decode_latents(encoded.autoencoder, robot_latents(encoded, rows))
    return {"ground truth": people, "reconstruction": ceiling, "robot": floor}


def judge(encoded, question, folder=MODELS):
    """Return the frozen judge of a corpus for `text` or `speaker`, trained once on real training takes and kept in `folder`.

    Its own accuracy on real test takes stands in its report, where there are any. None for fewer than two answers, or more
    than 40. On the demo corpus a judge is trained less long: its voices are easily told apart.
    """
    table = encoded.data.table
    trained = table[(table.split == "train") & table[question].notna()]
    tested = table[(table.split == "test_seen") & table[question].isin(trained[question])]
    if not 2 <= trained[question].nunique() <= 40:
        return None
    path = Path(folder) / f"judge_{encoded.data.name}_{question}_{encoded.data.fingerprint}.safetensors"
    if not path.exists():
        waves = [manifest.wave(row, encoded.data.folder) for row in trained.itertuples()]
        size = {"steps": 120 if encoded.data.demo else 500, "longest_s": 1.5 if question == "speaker" else None}
        made = judges.train(waves, trained[question].tolist(), **size)
        real = [manifest.wave(row, encoded.data.folder) for row in tested.itertuples()]
        measured = {"accuracy": made.accuracy(real, tested[question].tolist())} if real else {}
        made.save(path, question=question, clips=len(real), **measured)
    return judges.Judge.load(path)


def panel(encoded, preset, folder=MODELS):
    """Return {"text": Judge or None, "speaker": Judge or None}, the judges of a corpus; none are asked in a smoke run."""
    return {question: judge(encoded, question, folder) for question in ("text", "speaker") if preset != "smoke"}


def scores(waves, encoded, rows, heard):
    """Return a DataFrame of one row an utterance: its position and the scores of the wave (S,) that stands for it.

    heard: {"text": Judge or None, "speaker": Judge or None}, whose word counts as accuracy; mel distance is taken after
    DTW to the true take.
    """
    table = encoded.data.table.loc[rows]
    truth = [manifest.wave(row, encoded.data.folder) for row in table.itertuples()]
    made = pd.DataFrame({"utterance": rows})
    for question, one in heard.items():
        if one is not None:
            right = [a == b for a, b in zip(one.predict(waves).labels, table[question], strict=True)]
            made[f"{question}_accuracy"] = pd.Series(right, dtype=float)
    made["mel_distance"] = [float(signal.mel_distance(a, b)) for a, b in zip(waves, truth, strict=True)]
    return made


def copying(waves, encoded, rows, most=1000):
    """Return the distance of waves to their nearest training clip over that of the real takes they stand for.

    All pass through the autoencoder, or its traces would count as distance. Near 1: as far from the training set as new
    recordings are; far below: copies.
    """
    chosen = encoded.keep[:: -(-len(encoded.keep) // most)]
    return signal.copying(waves, reconstruction(encoded, rows), reconstruction(encoded, chosen))


def units(metrics, heard):
    """Return {metric: {"unit", "better", "model"}} as records keep them, a judge's own scores with its hash and its accuracy.

    metrics: their names, or what has them as columns or keys; heard: as for `scores`.
    """
    own = {question: one.measured_by for question, one in heard.items() if one is not None}
    named = {name: by for question, by in own.items() for name in (f"{question}_accuracy", f"frechet_{question}")}
    return {name: describe(name, named.get(name)) for name in metrics}
