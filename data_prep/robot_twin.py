"""One utterance becomes three files: the person, the robot saying the same, and the frame map between them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

from data_prep.corpora import Utterance
from rovolad_lib.files import replacing
from rovolad_lib.speech import audio, robot
from rovolad_lib.speech.align import align

SHORTEST_S, LONGEST_S = 0.1, 60.0
FASTEST = 260  # words per minute; a recording that would need more stops before its text does


@dataclass(frozen=True)
class Job:
    """One utterance and where its files go, relative to the folder `data`; sample_rate in Hz: of the person's file."""

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


def job(utterance, data):
    """Return the Job of an utterance: which files it becomes."""
    corpus = safe(utterance.corpus)
    one_off = f"{corpus}/{safe(utterance.path.stem)}"  # no speaker: one folder for each long recording
    group = f"{corpus}-{safe(utterance.speaker)}" if utterance.speaker else one_off
    stem = f"{group}/{safe(utterance.id)}"
    long_form = utterance.end is not None  # long recordings are pointed into, never exploded
    path = utterance.path.resolve().as_posix() if long_form else f"audio_stylized_speaker/{stem}.flac"
    return Job(utterance, Path(data), path, f"audio_robot_speaker/{stem}.flac", f"audio_robot_speaker/{stem}.npy")


def make(job):
    """Write the person's, the robot's and the alignment's file of one utterance.

    Returns {"duration" in s, "verdict"}, or a str: why the utterance cannot be used. Errors: what no other utterance would
    be spared, RuntimeError where espeak fails and OSError where nothing can be written, say; they must stop the run.
    """
    utterance, data = job.utterance, job.data
    try:
        wave = audio.load(utterance.path, start=utterance.start, end=utterance.end)
    except (ValueError, RuntimeError, FileNotFoundError, PermissionError) as error:  # a broken file is a RuntimeError
        return f"{type(error).__name__}: {error}"
    reason = _unusable(wave)
    if reason:
        return reason
    try:
        spoken, alignment = twin(wave, utterance.text, utterance.language)
    except ValueError as error:  # words or a language that espeak does not speak
        return f"{type(error).__name__}: {error}"
    if utterance.end is None:
        own = wave if job.sample_rate == audio.SAMPLE_RATE else audio.load(utterance.path, job.sample_rate, utterance.start)
        audio.save(data / job.path, own, job.sample_rate)
    audio.save(data / job.robot_path, spoken, tags={"comment": "synthetic speech by espeak-ng"})
    with replacing(data / job.align_path) as temporary:
        numpy.save(temporary, numpy.asarray(alignment.frame_map, "int32"))
    return {"duration": len(wave) / audio.SAMPLE_RATE, "verdict": alignment.verdict, "robot_method": "espeak"}


def twin(wave, text, language):
    """Return the robot saying a text as fast as a person did, and how it aligns: (S,), Alignment.

    wave: (S,) the person at 16 kHz; text, language: as `robot.say`. Errors: as `robot.say`.
    """
    loud = (wave.abs() > 0.01 * wave.abs().max()).nonzero()  # without the silence at the ends
    spoken_s = (loud[-1] - loud[0] + 1).item() / audio.SAMPLE_RATE
    rate = min(robot.rate_for(text, language, max(spoken_s, SHORTEST_S)), FASTEST)
    spoken = robot.say(text, language, rate)
    return spoken, align(wave, spoken)


def _unusable(wave):
    seconds = len(wave) / audio.SAMPLE_RATE
    if not SHORTEST_S <= seconds <= LONGEST_S:
        return f"lasts {seconds:.2f} s; accepted are {SHORTEST_S} to {LONGEST_S:.0f} s"
    if not torch.isfinite(wave).all():
        return "samples that are not finite"
    return None if wave.abs().max() > 0 else "silent"
