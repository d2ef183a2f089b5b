"""All that the study of priors measures of one network's speech."""

import importlib.util
from functools import cached_property, partial

import numpy
import pandas
import torch
from seaborn.algorithms import bootstrap

from rovolad_lib.diffusion.named import BOTH
from rovolad_lib.lab import records, score
from rovolad_lib.lab.setting import Setting
from rovolad_lib.metrics import intervals, signal, speaker, words
from rovolad_lib.metrics.frechet import frechet
from rovolad_lib.speech import manifest

STEPS = (1, 2, 4, 8, 16, 50)
LEAST = 64  # clips for a Fréchet distance in 32 features
MOST = 100  # clips of a curve


class Yardstick:
    """What speech is held against: the true takes, as many other real takes of the same voices and words, and who judges.

    encoded: Encoded; rows: positions that are scored; heard: of score.panel.
    """

    def __init__(self, encoded, rows, heard):
        self.encoded, self.rows, self.table = encoded, rows, encoded.data.table.loc[rows]
        self.judges = {question: judge for question, judge in heard.items() if judge is not None}
        read = encoded.data.table.loc[[*rows, *counterparts(encoded, rows)]].itertuples()
        waves = [manifest.wave(row, encoded.data.folder) for row in read]
        self.truth, self.real = waves[: len(rows)], waves[len(rows) :]
        self.features = {question: judge.predict(self.real).features for question, judge in self.judges.items()}

    def means(self, waves):
        """Return (metrics, scores of each clip) of waves: what the step curve shows."""
        scored = score.scores(waves, self.encoded, self.rows, self.judges).drop(columns="utterance")
        metrics = scored.mean().to_dict() | {"sharpness": signal.sharpness(waves, self.truth)}
        if len(waves) >= LEAST and self.judges:
            for question, judge in self.judges.items():
                metrics[f"frechet_{question}"] = frechet(judge.predict(waves).features, self.features[question])
            metrics["frechet"] = numpy.mean([metrics[f"frechet_{question}"] for question in self.judges])
        return metrics, scored

    def whole(self, waves):
        """Return (metrics, 95 % intervals over clips, scores of each clip) of waves: all scores of one set of clips."""
        metrics, scored = self.means(waves)
        scored["mcd"] = [signal.mcd(a, b) for a, b in zip(waves, self.truth, strict=True)]
        pitch = [signal.log_f0(b, a) for a, b in zip(waves, self.truth, strict=True)]
        scored["log_f0_correlation"], scored["voicing_error"] = zip(*pitch, strict=True)
        spoken = {words.plain(text) for text in self.table.text}
        if set(self.table.language) == {"en"} and len(spoken) <= 40 and importlib.util.find_spec("pocketsphinx"):
            found = words.recognise(waves, sorted(spoken))
            scored["recognised"] = [float(a == words.plain(b)) for a, b in zip(found, self.table.text, strict=True)]
        known = {name: intervals.interval(scored[name]) for name in scored}
        if "frechet" in metrics:
            both = torch.stack([judge.predict(waves).features for judge in self.judges.values()], dim=1)  # (N, judges, 32)
            spread = 1.96 * bootstrap(both, n_boot=100, func=self._far, seed=0).std(ddof=1)
            known["frechet"] = [metrics["frechet"] - spread, metrics["frechet"] + spread]
        return metrics | scored.mean().to_dict() | self.voices(waves), known, scored

    def _far(self, features):
        return numpy.mean([frechet(features[:, k], real) for k, real in enumerate(self.features.values())])

    def voices(self, waves):
        """Return the scores of the voices by Resemblyzer, clips joined to 5 s; nothing of few clips, or without it."""
        if len(waves) < LEAST or not importlib.util.find_spec("resemblyzer"):
            return {}
        at, real, one, axes = self._voices
        like = [speaker.similarity(speaker.embed(speaker.join([waves[k] for k in part])), real) for part in at]
        right = torch.cat([row.argmax(1) == k for k, row in enumerate(like)]).float()
        found = {"frechet_voice": frechet(speaker.embed(waves) @ axes, one @ axes)}
        found["speaker_similarity"] = float(torch.cat([row[:, k] for k, row in enumerate(like)]).mean())
        return found | ({"speaker_identified": float(right.mean())} if len(at) > 1 else {})

    @cached_property
    def _voices(self):
        """Of the real takes: positions of each speaker, the speakers' embeddings, each take's, and 32 axes of these."""
        at = [numpy.flatnonzero(self.table.speaker == name).tolist() for name in self.table.speaker.unique()]
        real = torch.stack([speaker.embed(speaker.join([self.real[k] for k in part])).mean(0) for part in at])
        one = speaker.embed(self.real)
        return at, real, one, torch.linalg.svd(one - one.mean(0))[2][:32].T


def counterparts(encoded, rows):
    """Return as many other takes as rows, of the same speakers and, where there are any, the same words and of training.

    The same in every run; no take twice while others are left.
    """
    table, random, chosen = encoded.data.table, numpy.random.default_rng(0), []
    for i in rows:
        own = table[table.speaker == table.speaker[i]].drop(index=i)
        alike = 2 * (own.split == "train") + (own.text == table.text[i]) - 4 * own.index.isin(chosen)
        chosen.append(int(random.choice(own.index[alike == alike.max()])))
    return chosen


class Portrait:
    """What `experiment` asks for as `further`; what speech is held against is read once for all networks of one data."""

    def __init__(self):
        self.yards = {}

    def yard(self, encoded, rows, heard):
        """Return the Yardstick of some rows, made once."""
        key = (encoded.data.fingerprint, *rows)
        if key not in self.yards:
            self.yards[key] = Yardstick(encoded, rows, heard)
        return self.yards[key]

    def brief(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return parts of a record: metrics, units, intervals (over clips) and parts.

        parts: means over clips of voices and words that training knew, or not. options: what `waves` were spoken with.
        Arguments as `experiment` gives them.
        """
        yard = self.yard(encoded, rows, heard)
        metrics, known, scored = yard.whole(waves)
        if "text" in yard.judges:
            speak = partial(score.speak, encoded, model, references=min(3, setting.references), seed=seed, **options)
            metrics |= swapped(encoded, rows, speak, yard.judges["text"])
        parts = scored.groupby(known_as(encoded, rows)).mean().T.to_dict()
        return {"metrics": metrics, "units": score.units(metrics, heard), "intervals": known, "parts": parts}

    def __call__(self, encoded, setting, model, rows, heard, waves, seed=0, **options):
        """Return what `brief` does, diversity, and the curve {steps: scores}, of two priors also {"gaussian.steps": scores}."""
        told = self.brief(encoded, setting, model, rows, heard, waves, seed, **options)
        speak = partial(score.speak, encoded, model, references=min(3, setting.references))
        spread = diversity(encoded, rows, partial(speak, **options), seed)
        some = slice(None, None, -(-len(rows) // MOST))
        short, curve = self.yard(encoded, rows[some], heard), {}
        for under in BOTH[::-1] if setting.prior == "both" else (None,):
            for steps in STEPS if setting.times == "path" else (1,):
                there = steps == options.get("steps") and under in (None, "robot")
                made = waves[some] if there else speak(rows[some], seed=seed, prior=under, **options | {"steps": steps})
                curve[f"gaussian.{steps}" if under == "gaussian" else str(steps)] = short.means(made)[0]
        told["metrics"] |= spread
        return told | {"units": score.units(told["metrics"], heard), "curve": curve}


def diversity(encoded, rows, speak, seed, draws=3):
    """Return {"diversity"}: mean distance of draws of one utterance, over that of real takes of one speaker and text.

    Real takes pass through the autoencoder. Nothing where nobody says a text twice.
    """
    groups = encoded.data.table.loc[rows].groupby(["speaker", "text"]).groups.values()
    takes = [part.tolist() for part in groups if len(part) > 1]
    if not takes:
        return {}
    real = dict(zip(rows, score.reconstruction(encoded, rows), strict=True))
    made = zip(*(speak([part[0] for part in takes], seed=seed + 100 * (k + 1)) for k in range(draws)), strict=True)
    spread = signal.spread([[real[i] for i in part[:draws]] for part in takes])
    return {"diversity": signal.spread(list(made)) / spread}


def swapped(encoded, rows, speak, judge):
    """Return how often the words follow a robot that says another text, and how often they stay the take's own."""
    texts, random = encoded.data.table.text[rows], numpy.random.default_rng(0)
    says = [int(random.choice(texts.index[texts != text])) for text in texts]
    heard = judge.predict(speak(rows, says=says)).labels
    follows, keeps = (numpy.mean([a == b for a, b in zip(heard, wanted, strict=True)]) for wanted in (texts[says], texts))
    return {"follows_swap": float(follows), "keeps_words": float(keeps)}


def known_as(encoded, rows):
    """Return what training knew of each row: "seen | unseen voice, said | seen | unseen text"; said: by this very voice."""
    table = encoded.data.table
    kept = table.loc[encoded.keep]
    said = set(zip(kept.speaker, kept.text, strict=True))
    voices, texts = set(kept.speaker), set(kept.text)
    return numpy.array([
        f"{'seen' if s in voices else 'unseen'} voice, "
        f"{'said' if (s, t) in said else 'seen' if t in texts else 'unseen'} text"
        for s, t in table.loc[rows, ["speaker", "text"]].itertuples(index=False)
    ])  # fmt: skip


def anchors(study, encoded, parameters, recipe, heard, results):
    """Return the table of a study's anchors, measured once: real takes (the floor of all distances), codec, robot.

    study: name of their own; parameters: of one of the study's runs, of which those that the anchors know are kept.
    """
    rows = score.testable(encoded, "val_seen")[: 12 if parameters["preset"] == "smoke" else 400]
    kept = {name: parameters[name] for name in ("preset", "corpus", "autoencoder", "without", "takes")}
    data = {"fingerprint": encoded.data.fingerprint, "demo": encoded.data.demo, "clips": len(rows)}
    names, folder = ("ground truth", "reconstruction", "robot"), results / "records" / study
    ids = {records.run_id(study, kept | {"variant": name}, data["fingerprint"], recipe): name for name in names}
    if not all((folder / f"{run_id}.json").exists() for run_id in ids):
        yard, spoken = Yardstick(encoded, rows, heard), score.anchors(encoded, rows)
        for run_id, name in ids.items():
            metrics, known, _ = yard.whole(spoken[name])
            record = {"study": study, "run_id": run_id, "parameters": kept | {"variant": name}, "data": data, "recipe": recipe}
            record |= {"metrics": metrics, "units": score.units(metrics, heard), "intervals": known}
            records.save(record | {"seconds": 0, "device": "cpu"}, results)
    frame = records.load(study, results)
    return frame[frame.run_id.isin(ids)].set_index("parameters.variant")


def compare(frame, pairs, metric="frechet"):
    """Return a table of pairs of variants: ratio of the first's figure to the second's over the seeds both have, and verdict.

    frame: of records.group; pairs: of names; the interval is that of metrics.intervals.ratio. A pair that was not run is left
    out.
    """
    figures, found = frame.pivot_table(f"metrics.{metric}", "parameters.variant", "parameters.seed"), []
    for one, two in pairs:
        both = figures.reindex([one, two]).dropna(axis=1)
        if both.shape[1]:
            mean, low, high = intervals.ratio(*both.to_numpy(copy=True))
            row = {"with": one, "without": two, "seeds": both.shape[1], "ratio": mean, "low": low, "high": high}
            found.append(row | {"verdict": intervals.verdict(low, high)})
    return pandas.DataFrame(found)


def runs(frame, steps, demo, budget=1.0):
    """Return the records of the study that may be compared, as `records.group`, of all speakers.

    frame: of records.load; steps: that they were heard with, the one-shot regressor aside; demo: see `records.group`; budget:
    None for those of every budget. Where there are none of these yet, all count.
    """
    if frame.empty:
        return frame
    fits = frame["parameters.without"].isna() & (frame["parameters.takes"] == "every")
    fits &= (frame["parameters.steps"] == steps) | (frame["parameters.variant"] == "one_shot")
    fits &= (frame["parameters.budget"] == budget) | (budget is None)
    return records.group(frame[fits] if fits.any() else frame, [*Setting.__dataclass_fields__, "variant", "steps"], demo)


def points(frame, shown, metric):
    """Return the table of a score by sampling steps and by updates, for `plots.curves`.

    frame: of `runs`, of every budget; shown: those of its rows whose steps are shown, and whose variants alone are there;
    metric: name. Columns run, variant, steps, updates, seconds and the metric: a row has steps, of one run heard at each, or
    updates and seconds, of one budget and in the mean of its runs.
    """
    seconds = frame.groupby(["parameters.variant", "parameters.budget"], dropna=False)["seconds"].transform("mean")
    frame, rows = frame.assign(seconds=seconds).sort_values("parameters.variant", kind="stable"), []
    for row in frame[frame["parameters.variant"].isin(shown["parameters.variant"])].to_dict("records"):
        named = {"run": row["run_id"], "variant": row["parameters.variant"]}
        rows.append(named | {"updates": row["steps"], "seconds": row["seconds"], metric: row[f"metrics.{metric}"]})
        if row["run_id"] in set(shown["run_id"]):
            rows += [named | {"steps": n, metric: row.get(f"curve.{n}.{metric}")} for n in STEPS]
    return pandas.DataFrame(rows, columns=["run", "variant", "steps", "updates", "seconds", metric])
