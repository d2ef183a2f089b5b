"""One utterance becomes three files: the person, the robot saying the same, and the frame map between them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

from data_prep.corpora import Utterance
from rovolad_lib.speech import audio, manifest, robot
from rovolad_lib.speech.align import align
from rovolad_lib.speech.spectral import HOP

SHORTEST_S, LONGEST_S = 0.1, 60.0
COMMENTS = {"espeak": "synthetic speech by espeak-ng", "flatten": "a recording's spectral envelope in a flat voice"}
FASTEST = 260  # words per minute; a recording that would need more stops before its text does


@dataclass(frozen=True)
class Job:
    """One utterance and where its files go, relative to the folder `data`.

    rates: further ones of the robot, other than 1, as `make`; sample_rate: Hz of the person's file.
    """

    utterance: Utterance
    data: Path
    path: str
    robot_path: str
    align_path: str
    rates: tuple = ()
    sample_rate: int = audio.SAMPLE_RATE


def safe(name):
    """Return a name that is one file name everywhere; a changed one carries a hash, so that no two become one."""
    clean = re.sub(r"[^\w.+-]", "_", name).strip(".")
    return clean if clean == name and len(name) < 100 else f"{clean[:80]}-{hashlib.sha1(name.encode()).hexdigest()[:6]}"


def job(utterance, data, **options):
    """Return the Job of an utterance: which files it becomes; options: rates, sample_rate of the Job."""
    corpus = safe(utterance.corpus)
    one_off = f"{corpus}/{safe(utterance.path.stem)}"  # no speaker: one folder for each long recording
    group = f"{corpus}-{safe(utterance.speaker)}" if utterance.speaker else one_off
    stem = f"{group}/{safe(utterance.id)}"
    long_form = utterance.end is not None  # long recordings are pointed into, never exploded
    path = utterance.path.resolve().as_posix() if long_form else f"audio_stylized_speaker/{stem}.flac"
    stem = f"audio_robot_speaker/{stem}"
    return Job(utterance, Path(data), path, f"{stem}.flac", f"{stem}.npy", **options)


def make(job):
    """Write the person's, the robot's and the alignment's file of one utterance.

    The robot is espeak at the person's rate, cut where a recording stops before its text; at job.rates (factors of that
    rate) it gets further files, named by `manifest.at_rate`. Where there is no text, or the words are others, the robot
    is the flattened recording, at one rate.
    Returns {"duration" in s, "verdict", "robot_method"}, or {"reason": why the utterance cannot be used}. Errors:
    ValueError for words or a language that espeak does not speak; what no other utterance would be spared, RuntimeError
    where espeak fails and OSError where nothing can be written, say: they must stop the run.
    """
    utterance, data = job.utterance, job.data
    try:
        wave = audio.load(utterance.path, start=utterance.start, end=utterance.end)
    except (RuntimeError, FileNotFoundError, PermissionError) as error:  # a broken file is a RuntimeError
        return {"reason": f"{type(error).__name__}: {error}"}
    if reason := _unusable(wave):
        return {"reason": reason}
    robots, verdict = _espeak(wave, job) if utterance.text is not None else ({}, "good")
    method = "espeak" if robots else "flatten"
    robots = robots or {1: (robot.flatten(wave), numpy.arange(-(-len(wave) // HOP)))}
    if utterance.end is None:
        own = wave if job.sample_rate == audio.SAMPLE_RATE else audio.load(utterance.path, job.sample_rate, utterance.start)
        audio.save(data / job.path, own, job.sample_rate)
    for rate, (spoken, frames) in robots.items():
        path, align_path = (p if rate == 1 else manifest.at_rate(p, rate) for p in (job.robot_path, job.align_path))
        audio.save(data / path, spoken, tags={"comment": COMMENTS[method]})
        manifest.write_frame_map(frames, data / align_path)
    return {"duration": len(wave) / audio.SAMPLE_RATE, "verdict": verdict, "robot_method": method}


def rate_of(wave, text, language):
    """Return the words per minute at which the robot takes the person's time, FASTEST at most; arguments as `twin`."""
    loud = (wave.abs() > 0.01 * wave.abs().max()).nonzero()  # without the silence at the ends
    spoken_s = (loud[-1] - loud[0] + 1).item() / audio.SAMPLE_RATE
    return min(robot.rate_for(text, language, max(spoken_s, SHORTEST_S)), FASTEST)


def twin(wave, text, language):
    """Return the robot saying a text as fast as a person did, and how it aligns: words per minute, (S,), Alignment.

    wave: (S,) the person at 16 kHz; text, language: as `robot.say`. Errors: as `robot.say`.
    A recording that stops long before its text asks for too fast a robot: where it fits badly, espeak's own rate is tried.
    """
    rate = rate_of(wave, text, language)
    spoken = robot.say(text, language, rate)
    found = align(wave, spoken)
    if found.verdict.startswith("poor") and rate > robot.DEFAULT_RATE:
        slower = robot.say(text, language, robot.DEFAULT_RATE)
        again = align(wave, slower)
        if again.verdict.startswith("trimmed"):
            return robot.DEFAULT_RATE, slower, again
    return rate, spoken, found


def _espeak(wave, job):
    """Return {rate: (robot (S,), frame map (F,))} and the verdict; no robot where the words are others."""
    text, language = job.utterance.text, job.utterance.language
    rate, spoken, found = twin(wave, text, language)
    verdict, made = found.verdict, {1: (spoken, found)}
    if verdict.startswith("poor"):
        return {}, verdict
    for factor in job.rates:
        slowest, fastest = robot.WORDS_PER_MINUTE
        spoken = robot.say(text, language, min(max(rate * factor, slowest), fastest))
        made[factor] = spoken, align(wave, spoken)
    cut = verdict.startswith("trimmed")
    return {k: (s[: (a.frame_map[-1] + 1) * HOP] if cut else s, a.frame_map) for k, (s, a) in made.items()}, verdict


def _unusable(wave):
    seconds = len(wave) / audio.SAMPLE_RATE
    if not SHORTEST_S <= seconds <= LONGEST_S:
        return f"lasts {seconds:.2f} s; accepted are {SHORTEST_S} to {LONGEST_S:.0f} s"
    if not torch.isfinite(wave).all():
        return "samples that are not finite"
    return None if wave.abs().max() > 0 else "silent"
