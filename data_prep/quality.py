"""How good the robots of a manifest are: the gate against other texts, word onsets, what they explain, who they are.

python -m data_prep.quality --data DIR [--most N] [--seed N]
"""

import argparse
import re
from pathlib import Path

import numpy
import pandas
import torch
from tqdm.auto import tqdm

from data_prep.robot_twin import rate_of, twin
from rovolad_lib.files import printable
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio, manifest, robot
from rovolad_lib.speech.align import active_frames

RIDGE = 0.01  # of the features' mean variance
PERMUTATIONS = 999


def gate(table, data, seed=0, most=None):
    """Align every clip with its own text and with another one of its source.

    table: rows of the manifest; data: its folder; seed: which other text; most: clips of a source (None: all).
    returns: a DataFrame, a row an alignment: source, id, texts ("own", "other"), cost, control, reached, speed, verdict.
    """
    random, found, table = numpy.random.default_rng(seed), [], table[table.text.notna()]
    for row in _progress(_draw(table, most, seed), "gate"):
        texts = {"own": row.text}
        others = sorted({text for text in table.text[table.source == row.source] if _plain(text) != _plain(row.text)})
        if others:
            texts["other"] = others[random.integers(len(others))]
        for kind, text in texts.items():
            *_, said = twin(manifest.wave(row, data), text, row.language)
            found.append((row.source, row.id, kind, said.cost, said.control, said.reached, said.speed, said.verdict))
    return pandas.DataFrame(found, columns="source id texts cost control reached speed verdict".split())


def judged(found):
    """Return what `gate` found as shares: a row for each source and kind of text, `poor` with its 95 % interval."""
    kind = found.verdict.str.partition(":")[0]
    table = pandas.crosstab([found.source, found.texts], kind, normalize="index")
    table = table.reindex(columns=["good", "trimmed", "poor", "unjudged"], fill_value=0.0)
    table["clips"] = found.groupby(["source", "texts"]).size()
    table["poor_low"], table["poor_high"] = interval(table.poor * table.clips, table.clips)
    return table.round(3)


def interval(hits, count, z=1.96):
    """Return the lower and upper bound of the 95 % interval of a share. source: Wilson 1927."""
    share, scale = hits / count, 1 + z * z / count
    centre, spread = share + z * z / (2 * count), z * numpy.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return (centre - spread) / scale, (centre + spread) / scale


def onsets(table, data, seed=0, most=None):
    """Compare when words begin: the robot's word times through the frame map, and a forced alignment of the person.

    arguments: as `gate`; well aligned English espeak rows whose words the recogniser knows are used.
    returns: a DataFrame, a row a word: source, id, word, person_s (forced alignment), mapped_s (through the map), late_ms.
    errors: ImportError without pocketsphinx.
    """
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise ImportError("word onsets need pocketsphinx, which is missing: pip install pocketsphinx") from error
    decoder, found = Decoder(loglevel="FATAL"), []
    rows = table[table.language.str.startswith("en") & (table.robot_method == "espeak")]
    rows = rows[~rows.text_quality.str.contains("alignment")]  # a robot that was cut may have another rate
    for row in _progress(_draw(rows, most, seed), "onsets"):
        words = list(re.finditer(r"[a-z']+", row.text.lower()))
        if not words or re.search(r"\d", row.text) or not all(decoder.lookup_word(word[0]) for word in words):
            continue
        wave, frames = manifest.wave(row, data), manifest.frame_map(row, data)
        said = dict(robot.marks("words", row.text, row.language, rate_of(wave, row.text, row.language)))
        for word, start in _forced(decoder, wave, words):
            frame = int(said[word.start()] * 100) if word.start() in said else None  # espeak speaks some words as one
            if frame is not None and frame <= frames[-1]:
                mapped = numpy.searchsorted(frames, frame) / 100
                found.append((row.source, row.id, word[0], start, mapped, round(1000 * (mapped - start))))
    return pandas.DataFrame(found, columns="source id word person_s mapped_s late_ms".split())


def lateness(found):
    """Return what `onsets` found, a row a source and one for all: clips, words, and how far off in ms they are."""
    groups = {**dict(list(found.groupby("source"))), "all": found}
    rows = {
        name: {"clips": part.id.nunique(), "words": len(part), "bias": part.late_ms.median()}
        | {f"off_{share:.0%}": part.late_ms.abs().quantile(share) for share in (0.5, 0.9)}
        for name, part in groups.items()
    }
    return pandas.DataFrame.from_dict(rows, orient="index")


def explained(table, data, seed=0, most=None):
    """Tell how much of a person's log-mel a ridge regression on the robot's explains, on a fifth of clips held out.

    arguments: as `gate`, `most` of a source; speakers with ten clips of an espeak robot.
    returns: a DataFrame, a row a speaker: source, speaker, clips, and R2 with the robot aligned by the frame map ("dtw")
        and stretched evenly from the first to the last speech frame ("linear").
    """
    rows, found = _draw(table[table.speaker.notna() & (table.robot_method == "espeak")], most, seed), []
    for (source, speaker), own in tqdm(rows.groupby(["source", "speaker"]), desc="explained", mininterval=2):
        if len(own) >= 10:
            pairs = [_spans(row, data) for row in own.sample(frac=1, random_state=seed).itertuples()]
            scores = {kind: _held_out(pairs, kind, len(pairs) // 5) for kind in ("dtw", "linear")}
            found.append({"source": source, "speaker": speaker, "clips": len(own), **scores})
    return pandas.DataFrame(found, columns="source speaker clips dtw linear".split()).round(3)


def identity(table, data, seed=0, most=None):
    """Try to tell who a robot copies: a speaker probe on the mean and spread of its log-mel, each text held out in turn.

    arguments: as `gate`; texts said by two or more speakers are used, sources with two or more of them.
    returns: a DataFrame, a row for each source and robot ("espeak" at its own timing, "warped" by the frame map,
        "flatten" of the recording): clips, speakers, texts, accuracy (mean recall), chance, and p, one-sided, by permuting
        the speakers within each text.
    """
    table = table[table.speaker.notna() & (table.robot_method == "espeak")].assign(said=table.text.map(_plain, "ignore"))
    table = table[table.groupby(["source", "said"]).speaker.transform("nunique") > 1]
    found = []
    for source, rows in _draw(table, most, seed).groupby("source"):
        if rows.said.nunique() > 1:
            features = [_features(row, data) for row in _progress(rows, f"identity {source}")]
            for kind in features[0]:
                scores = _probe(numpy.stack([f[kind] for f in features]), rows.speaker, rows.said, seed)
                found.append({"source": source, "robot": kind, "clips": len(rows), **scores})
    return pandas.DataFrame(found)


def _progress(rows, what):
    return tqdm(rows.itertuples(), desc=what, total=len(rows), mininterval=2)


def _draw(table, most, seed):
    """Return at most `most` rows of every source, in the table's order."""
    return table.sample(frac=1, random_state=seed).groupby("source").head(most or len(table)).sort_index()


def _plain(text):
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _forced(decoder, wave, words):
    """Return (word, seconds at which it begins in a recording) of matches; none where they cannot be found in it."""
    decoder.set_align_text(" ".join(word[0] for word in words))
    decoder.start_utt()
    decoder.process_raw((wave.clamp(-1, 1) * 32767).short().numpy().tobytes(), full_utt=True)
    decoder.end_utt()
    starts = [part.start_frame / 100 for part in decoder.seg() or [] if part.word[0] not in "<["]
    return list(zip(words, starts, strict=True)) if len(starts) == len(words) else []


def _spans(row, data):
    """Return a person's log-mel (F, 80) over their speech, and the robot's beside it by the map and evenly stretched."""
    wave, said = manifest.wave(row, data), manifest.robot_wave(row, data)
    person, spoken = audio.log_mel(audio.set_level(wave)).T, audio.log_mel(audio.set_level(said)).T
    (first, last), (start, end) = (active_frames(w).nonzero()[[0, -1], 0].tolist() for w in (wave, said))
    even = torch.linspace(start, end, last + 1 - first).round().long()
    frames = torch.from_numpy(manifest.frame_map(row, data)).long()[first : last + 1]
    return {"person": person[first : last + 1], "dtw": spoken[frames], "linear": spoken[even]}


def _held_out(pairs, kind, held):
    """Return the R2 of a ridge regression from the robot's bands to the person's on the first `held` clips."""
    (x, y), (test, goal) = (
        [torch.cat([pair[name] for pair in part]).double() for name in (kind, "person")] for part in (pairs[held:], pairs[:held])
    )
    mean = x.mean(0)
    weights = _ridge(x - mean, y - y.mean(0))
    left = goal - y.mean(0) - (test - mean) @ weights
    return 1 - (left.square().sum() / (goal - y.mean(0)).square().sum()).item()


def _ridge(x, y):
    """Return the weights (D, K) of a ridge regression of y (N, K) on x (N, D)."""
    square = x.T @ x
    return torch.linalg.solve(square + RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=x.dtype), x.T @ y)


def _features(row, data):
    """Return the mean and spread of each band (160,) of the robots of a row, over the frames in which they speak."""
    said, flat = manifest.robot_wave(row, data), robot.flatten(manifest.wave(row, data))
    frames = torch.from_numpy(manifest.frame_map(row, data)).long()
    mel, speaks = audio.log_mel(audio.set_level(said)), active_frames(said)
    parts = {"espeak": mel[:, speaks], "warped": mel[:, frames[speaks[frames]]]}
    parts["flatten"] = audio.log_mel(audio.set_level(flat))[:, active_frames(flat)]
    return {kind: torch.cat([part.mean(1), part.std(1)]).numpy() for kind, part in parts.items()}


def _probe(features, speakers, texts, seed):
    """Return accuracy, chance and p of a ridge classifier of speakers, (N, D), that never saw the text it judges."""
    (speaker, names), (text, said) = pandas.factorize(speakers), pandas.factorize(texts)
    folds = []
    for held in range(len(said)):
        train, test = numpy.flatnonzero(text != held), numpy.flatnonzero(text == held)
        x = torch.from_numpy((features - features[train].mean(0)) / (features[train].std(0) + 1e-6)).double()
        folds.append((test, train, x[test] @ _ridge(x[train], torch.eye(len(train), dtype=x.dtype))))  # linear in labels

    def accuracy(labels):
        ones, hit = torch.eye(len(names), dtype=torch.float64)[torch.from_numpy(labels)], numpy.empty(len(labels))
        for test, train, answer in folds:
            hit[test] = (answer @ ones[train]).argmax(1).numpy() == labels[test]
        return (numpy.bincount(labels, hit) / numpy.bincount(labels)).mean()

    random, score, others = numpy.random.default_rng(seed), accuracy(speaker), []
    for _ in range(PERMUTATIONS):
        labels = speaker.copy()
        for test, *_ in folds:
            labels[test] = random.permutation(labels[test])
        others.append(accuracy(labels))
    p = (1 + numpy.sum(numpy.array(others) >= score)) / (1 + PERMUTATIONS)
    return {"speakers": len(names), "texts": len(said), "accuracy": score, "chance": 1 / len(names), "p": p}


def main(arguments=None):
    """Print everything about the data in a folder."""
    printable()
    parser = argparse.ArgumentParser(description="Measure the robots of combined data.")
    parser.add_argument("--data", type=Path, default=paths.DATA, help=f"folder with manifest.parquet; default {paths.DATA}")
    parser.add_argument("--most", type=int, help="clips of a source (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    table = manifest.read(options.data / "manifest.parquet")
    chosen = {"table": table, "data": options.data, "seed": options.seed, "most": options.most}
    print(judged(gate(**chosen)).to_string())
    try:
        print(lateness(onsets(**chosen)).to_string())
    except ImportError as error:
        print(error)
    print(explained(**chosen).to_string(), identity(**chosen).to_string(), sep="\n")


if __name__ == "__main__":
    main()
