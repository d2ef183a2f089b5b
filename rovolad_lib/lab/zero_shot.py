"""What a model is worth for voices it never heard: `python -m rovolad_lib.lab.zero_shot --voices DIR --texts FILE`.

Fixed texts are said in each voice of a folder, half of its recordings being the references, and scored against the other half;
what is below, above and beside stands in the same table (see lab.baselines). The first sample counts, nothing is chosen.
"""

import argparse
import hashlib
import math
import sys
import time
from functools import partial
from pathlib import Path

import pandas
from tqdm.auto import tqdm

from rovolad_lib.autoencoder.codec import recode
from rovolad_lib.convert import DEFAULT, MATCH, Converter
from rovolad_lib.files import replacing, sha256
from rovolad_lib.lab import baselines, experiment, likeness, listeners, recorded, records, studio
from rovolad_lib.lab.data import Data
from rovolad_lib.lab.paths import DATA, MODELS, RESULTS, RUNS, folder
from rovolad_lib.metrics import describe, speaker
from rovolad_lib.metrics.judges import Judge
from rovolad_lib.speech import manifest, robot

BESIDE = ("classical", "kNN", "one shot", "prior's mean", "nearest voice")  # what else could give a voice
UNIT = {"similarity": "zero_shot_similarity", "eer": "passes"}  # their names in metrics.UNITS
SCORES = ("similarity", "way_percent", "right_minus_wrong", "eer", "judge_similarity", "f0_error", "recognised",
          "gate_accepts", "gate_refuses", "dnsmos")  # fmt: skip


def judge(path=None):
    """Return the second verifier, a judge of speakers (None: of the shipped ones that which tells most voices apart)."""
    paths = [path] if path else sorted(MODELS.glob("judge_*_speaker_*.safetensors"))
    return max(map(Judge.load, paths), key=lambda one: len(one.classes))


def nearest(heard, data=None):
    """Return {voice: (name, waves)}: the training speaker most like each voice, itself left out; {}, said, without data.

    heard: {voice: waves} of references; data: folder of a manifest (None: data/).
    """
    path = folder(data, DATA) / "manifest.parquet"
    if not path.is_file():
        print(f"without the nearest training speaker: no {path}")
        return {}
    trained = studio.voices(Data(manifest.read(path), path.parent, "", False), "train", 20.0)
    waves = {name: [wave for _, wave in held] for name, held in trained.items()}
    known = {name: speaker.embed(speaker.join(own, recorded.LEAST_S)) for name, own in waves.items()}
    found = {}
    for name, own in heard.items():
        other = baselines.nearest(speaker.embed(own), {k: v for k, v in known.items() if k != name})
        found[name] = (other, waves[other])
    return found


def evaluate(converter, voices, texts, second, *, data=None, steps=4, seed=0, **options):
    """Return the cells of all makers, with the share of known texts recognised and DNSMOS where these extras are installed.

    voices: of `recorded.voices`; texts: of `recorded.texts`; second: Judge; data: see `nearest`; options: of the converter.
    """
    codec, join = converter.autoencoder, partial(speaker.join, least_s=recorded.LEAST_S)
    heard, held = ({name: join(voice[half]) for name, voice in voices.items()} for half in (0, 1))
    plain = [robot.say(text, language) for language, text in texts]
    robots = recode(codec, plain)
    parts, made, said = recorded.groups(robots), {(name, "person"): waves for name, waves in heard.items()}, {}
    made |= {(name, "autoencoder"): recode(codec, waves) for name, waves in heard.items()}
    for name, (other, waves) in nearest(heard, data).items():
        print(f"{name}: the nearest training speaker is {other}")
        made[name, "nearest voice"] = recode(codec, join(waves))
    for name, waves in tqdm(heard.items(), desc="voices", mininterval=2.0):
        ways = {"robot": robots} | baselines.spoken(converter, waves, texts, steps=steps, seed=seed, **options)
        said |= {(name, maker): waves for maker, waves in ways.items()}
    for key, waves in said.items():
        made[key] = [speaker.join([waves[k] for k in part], math.inf)[0] for part in parts]
    frame = likeness.cells(made, held, (speaker.embed, lambda waves: second.predict(waves).features))
    keys = list(zip(frame.voice, frame.made_by, frame.group, strict=True))
    accepts, refuses = listeners.gated(said, plain, texts, parts)
    scores = {"recognised": listeners.recognised(said, texts, parts), "gate_accepts": accepts, "gate_refuses": refuses}
    scores["dnsmos"] = listeners.opinions(made)
    for score, found in scores.items():
        if found:
            frame[score] = [found.get(key, math.nan) for key in keys]
    return frame


def fingerprint(voices):
    """Return 12 hexadecimal digits of all recordings of `recorded.voices`."""
    digest = hashlib.sha256()
    for wave in (wave for voice in voices.values() for half in voice for wave in half):
        digest.update(wave.numpy().tobytes())
    return digest.hexdigest()[:12]


def record(summary, agreed, voices, parameters, seconds, second):
    """Return the run's record for `records.save`: its table whole, and the rows of all voices as metrics."""
    scores = [name for name in SCORES if name in summary]
    overall = summary[summary.voice == "all"].set_index("made_by")
    held, recipe = fingerprint(voices), experiment.recipe()
    return {
        "study": "zero_shot", "run_id": records.run_id("zero_shot", parameters, held, recipe), "parameters": parameters,
        "data": {"fingerprint": held, "demo": False, "voices": list(voices)}, "recipe": recipe,
        "metrics": {f"{score}.{maker}": overall[score][maker] for score in scores for maker in overall.index},
        "units": {score: describe(UNIT.get(score, score), second.measured_by if score == "judge_similarity" else None)
                  for score in scores},
        "agreement": agreed, "table": summary.to_dict("records"), "seconds": seconds, "device": "cpu",
    }  # fmt: skip


def kept(results, committed=RESULTS):
    """Return a folder's newest record of each set of voices and language, or else the committed ones; empty, said, if none."""
    frame = next((found for place in (results, committed) if len(found := records.load("zero_shot", place))), None)
    if frame is None:
        print("no zero-shot record yet: python -m rovolad_lib.lab.zero_shot --voices DIR --results results")
        return pandas.DataFrame()
    of = frame["parameters.voices"] + " voices, " + frame["parameters.language"]
    return frame.assign(of=of).sort_values("when").drop_duplicates("of", keep="last").sort_values("of", ascending=False)


def table(frame):
    """Return the tables of several records of `kept` as one, of which the column `of` names voices and language."""
    return pandas.concat([pandas.DataFrame(rows).assign(of=of) for of, rows in zip(frame["of"], frame["table"], strict=True)])


def said(frame):
    """Return what records of `kept` say: first one line of all, then one each; none without records."""
    ways, lines = [], []
    for row in frame.to_dict("records"):
        at = pandas.DataFrame(row["table"]).query("voice == 'all'").set_index("made_by")
        ours = at.loc["diffusion"]
        ways.append(f"{row['of']} {ours.way_percent:.1f} ({ours.way_low:.1f} to {ours.way_high:.1f})")
        others = ", ".join(f"{maker} {value:.1f}" for maker, value in at.way_percent.items() if maker in BESIDE)
        scores = (
            f"right minus wrong {ours.right_minus_wrong:.3f}, F0 error {ours.f0_error:.2f} (person {at.f0_error['person']:.2f})"
        )
        if at.get("recognised", pandas.Series(dtype=float)).notna().any():
            scores += f", recognised {ours.recognised:.2f} (robot {at.recognised['robot']:.2f})"
        scores += f", the gate accepts {ours.gate_accepts:.3f} and refuses {ours.gate_refuses:.3f} of other texts"
        lines.append(f"{row['of']}: diffusion {ours.way_percent:.1f} %, {others}; {scores}")
    return ["diffusion, % of the way from robot to real voice: " + "; ".join(ways), *lines] if lines else []


def main(arguments=None):
    """Score a folder of voices: print the table, write it to --out, keep a record. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rovolad_lib.lab.zero_shot", description=__doc__.split("\n")[0])
    parser.add_argument("--voices", required=True, help="folder of recordings: a sub-folder a speaker, or files named by speaker")
    parser.add_argument(
        "--called", help="what the record calls these voices, such as unseen; their folder's name if it is left out"
    )
    parser.add_argument("--texts", default=recorded.TEXTS, help="UTF-8, a text a line, or language, tab, text")
    parser.add_argument("--language", help="of the texts that are said; all of them if it is left out")
    parser.add_argument("--model", help="a denoiser's file; the shipped one if it is left out")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.25)
    parser.add_argument("--match", type=float, default=MATCH, help="share of the way to the voice's own mean and deviation")
    parser.add_argument("--pitch", type=pitch, help="of the voice, as the denoiser is given it: Hz, or reference")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", help="file of the second verifier; the shipped judge of most speakers if it is left out")
    parser.add_argument("--data", help="folder of the manifest in which the nearest training speaker is sought")
    parser.add_argument("--results", default=RUNS / "results", help="folder of the record")
    parser.add_argument("--out", type=Path, help="file of the table, .csv or .json")
    given = parser.parse_args(arguments)
    if given.out and given.out.suffix not in (".csv", ".json"):
        parser.error(f"--out {given.out}; accepted: a name that ends in .csv or .json")
    try:
        voices, texts = recorded.voices(given.voices), recorded.texts(given.texts, given.language)
        converter, second = Converter.load(given.model), judge(given.judge)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    began, options = time.time(), {name: getattr(given, name) for name in ("steps", "seed", "guidance", "match", "pitch")}
    frame = evaluate(converter, voices, texts, second, data=given.data, **options)
    summary, agreed = likeness.summary(frame), likeness.agreement(frame)
    languages = "+".join(sorted({language for language, _ in texts}))
    told = {"voices": given.called or Path(given.voices).resolve().name, "language": languages, "preset": "full"}
    told |= {"model": sha256(given.model or DEFAULT)[:12], "texts": [list(pair) for pair in texts], **options}
    told["closed"] = listeners.CLOSED
    path = records.save(record(summary, agreed, voices, told, time.time() - began, second), given.results)
    if given.out:
        write(summary, given.out)
    print(summary[summary.voice == "all"].drop(columns="voice").to_string(index=False, float_format="%.3f", na_rep=""))
    print("Spearman of both verifiers: " + ", ".join(f"{name} {value:.2f}" for name, value in agreed.items()) + f". {path}")
    return 0


def pitch(value):
    """Return --pitch as the converter takes it."""
    return value if value == "reference" else float(value)


def write(frame, path):
    """Write a table as .csv or .json, whole or not at all."""
    text = frame.to_csv(index=False, lineterminator="\n") if path.suffix == ".csv" else frame.to_json(orient="records", indent=1)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
