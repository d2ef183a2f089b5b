"""What a converter holds out against, beside likeness: `python -m rovolad_lib.lab.trials --voices DIR`.

Digits said in one breath, cut where the robot begins each; recordings turned into the next voice of the folder; ten minutes of
text in one voice. The first sample counts, nothing is chosen.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy
import torch
from tqdm.auto import tqdm

from rovolad_lib.convert import DEFAULT, ROBOT_F0, Converter
from rovolad_lib.files import sha256
from rovolad_lib.lab import benchmark, experiment, lengths, recorded, records, zero_shot
from rovolad_lib.lab.paths import RUNS
from rovolad_lib.metrics import describe, pitch, speaker, words
from rovolad_lib.speech import longform, robot
from rovolad_lib.speech.align import align
from rovolad_lib.speech.audio import SAMPLE_RATE

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BESIDE_S = 1.5  # of speech on either side of a join
UNITS = {
    "digits": "recognised", "nearer": "nearer_target", "target": "zero_shot_similarity", "source": "zero_shot_similarity",
    "accepts": "gate_accepts", "refuses": "gate_refuses", "f0_jump": "f0_jump", "level_jump_db": "level_jump",
}  # fmt: skip


def digits(converter, voices, strings=40, length=6, **options):
    """Return {"robot" or voice: share of digits that are recognised among the ten}.

    voices: of `recorded.voices`; strings: texts of `length` digits each, the same for all; options: of the converter.
    """
    random, found = torch.Generator().manual_seed(0), {}
    said = [[DIGITS[k] for k in torch.randint(len(DIGITS), (length,), generator=random)] for _ in range(strings)]
    texts, wanted = [" ".join(one) for one in said], [word for one in said for word in one]
    for name in tqdm(["robot", *voices], desc="digits", mininterval=2.0):
        waves = [robot.say(text) if name == "robot" else converter(text, voices[name].references, **options) for text in texts]
        pieces = [piece for wave, text in zip(waves, texts, strict=True) for piece in lengths.cut(wave, text, "en", ROBOT_F0)]
        heard = words.recognise(pieces, DIGITS)
        found[name] = float(numpy.mean([a == b for a, b in zip(heard, wanted, strict=True)]))
    return found


def recordings(converter, voices, each=4, **options):
    """Return what becomes of recordings in another voice: means over `each` held-out ones of every voice, in that of the next.

    target, source: similarity to the recordings of either voice; nearer: share in which the target's is the higher; accepts,
    refuses: shares in which the quality gate of the data hears the words of the recording, and not those of the next one.
    ValueError for fewer than two voices.
    """
    if len(voices) < 2:
        raise ValueError(f"{len(voices)} voice; accepted: two or more, to turn one into another")
    names, rows = list(voices), []
    whose = {name: speaker.embed(speaker.join(voice.references, recorded.LEAST_S)) for name, voice in voices.items()}
    for name, other in tqdm(zip(names, names[1:] + names[:1], strict=True), desc="recordings", total=len(names), mininterval=2.0):
        sources = voices[name].held[:each]
        for wave, another in zip(sources, sources[1:] + sources[:1], strict=True):
            made = converter(wave, voices[other].references, **options)
            target, source = (float(speaker.similarity(speaker.embed([made]), whose[of]).mean()) for of in (other, name))
            poor = [align(made, robot.flatten(said)).verdict.startswith("poor") for said in (wave, another)]
            rows.append([target, source, target > source, not poor[0], poor[1]])
    return dict(zip(("target", "source", "nearer", "accepts", "refuses"), numpy.mean(rows, axis=0).tolist(), strict=True))


def long(path, references, seconds=600.0, **options):
    """Return what a long text takes and sounds like at its joins, of a denoiser's file.

    seconds: of speech, about. memory_mb: MiB that the process grows by after the first minute of it, the speech itself too;
    first_audio_s: until the first wave; times_real_time; level_jump_db, f0_jump: {"joins", "inside"}, medians over all joins of
    sentences, and over as many places inside them, of how much level and median F0 of the speech before and behind differ.
    """
    converter, sentences = Converter.load(path), [text for _, text in recorded.texts(language="en")]
    once = sum(len(robot.say(text)) for text in sentences) / SAMPLE_RATE
    text = " ".join(sentences * max(1, round(seconds / once)))
    began, first, waves, grown = time.perf_counter(), None, [], []
    for wave in converter.stream(text, references, **options):
        first = first or time.perf_counter() - began
        waves.append(wave)
        grown.append((sum(map(len, waves)) / SAMPLE_RATE, benchmark.resident()))
    taken, wave = time.perf_counter() - began, torch.cat(waves)
    early, late = ([size for at, size in grown if (at < 60) == head] for head in (True, False))
    starts = numpy.cumsum([len(part) for part in waves])
    middles = [(a + b) // 2 for a, b in zip(starts[:-1], starts[1:], strict=True)]
    jumps = {kind: numpy.nanmedian([_jump(wave, at) for at in places], axis=0)
             for kind, places in (("joins", starts[:-1]), ("inside", middles))}  # fmt: skip
    return {
        "memory_mb": (max(late) - max(early)) / 2**20 if early and late else float("nan"), "first_audio_s": first,
        "times_real_time": len(wave) / SAMPLE_RATE / taken, "seconds": len(wave) / SAMPLE_RATE,
        "level_jump_db": {kind: float(jump[0]) for kind, jump in jumps.items()},
        "f0_jump": {kind: float(jump[1]) for kind, jump in jumps.items()},
    }  # fmt: skip


def _jump(wave, at):
    """Return by how many dB and semitones the speech before and behind a place of a wave differ; nan where there is none."""
    span = round(BESIDE_S * SAMPLE_RATE)
    sides = wave[max(0, at - span) : at], wave[at : at + span]
    levels = [longform.level_db(side) for side in sides]
    level = abs(levels[1] - levels[0]) if numpy.isfinite(levels).all() else float("nan")
    return level, pitch.semitones(*(pitch.median_f0(side) for side in sides))


def main(arguments=None):
    """Run all trials with a folder of voices, print what came of them and keep a record. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rovolad_lib.lab.trials", description=__doc__.split("\n")[0])
    parser.add_argument("--voices", required=True, help="folder of recordings: a sub-folder a speaker, or files named by speaker")
    parser.add_argument("--model", help="a denoiser's file; the shipped one if it is left out")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strings", type=int, default=40, help="of six digits each, in every voice")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the long text")
    parser.add_argument("--results", default=RUNS / "results", help="folder of the record")
    given = parser.parse_args(arguments)
    options = {"steps": given.steps, "seed": given.seed, "guidance": given.guidance}
    try:
        voices, converter = recorded.voices(given.voices), Converter.load(given.model)
        began, found = time.time(), {"recordings": recordings(converter, voices, **options)}
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    found["digits"] = digits(converter, voices, given.strings, **options)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # its memory is of nothing else
        held = pool.submit(long, given.model, next(iter(voices.values())).references, given.seconds, **options)
        found["long"] = held.result()
    told = {"preset": "full", "model": sha256(given.model or DEFAULT)[:12], "seconds": given.seconds, "strings": given.strings}
    told |= options
    fingerprint, recipe = zero_shot.fingerprint(voices), experiment.recipe()
    record = {
        "study": "trials", "run_id": records.run_id("trials", told, fingerprint, recipe), "parameters": told, "recipe": recipe,
        "data": {"fingerprint": fingerprint, "demo": False, "voices": list(voices)}, "metrics": found,
        "units": {name: describe(unit) for name, unit in UNITS.items()}, "seconds": time.time() - began, "device": "cpu",
    }  # fmt: skip
    path = records.save(record, given.results)
    for name, part in found.items():
        print(f"{name}: " + ", ".join(f"{k} {v if isinstance(v, dict) else round(v, 3)}" for k, v in part.items()))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
