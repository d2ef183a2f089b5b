"""Which phone the robot says when: free labels of known text, for any frame rate."""

import torch

from rovolad_lib.speech import robot
from rovolad_lib.speech.audio import SAMPLE_RATE

PAUSE = ""
STRESS = "ˈˌ"
NEAR = 8  # words per minute by which a rate guessed from a length may be off
USUAL = (260, robot.DEFAULT_RATE)  # what data preparation takes where a recording stops long before its text
ROUNDING = 2 / 32768  # of samples kept in 16 bits


def phones(text, language="en", rate=None):
    """Return the phones of `robot.say`'s wave: a list of (name, start_s, end_s) without gaps, from 0 to the wave's end.

    text, language, rate, errors: as for `robot.say`. Names are IPA without stress, PAUSE ("") for silence; the glide that
    espeak puts between the vowels of two words (40 ms) has no name either, and the closure of a plosive behind a pause
    counts as pause.
    """
    found = [(PAUSE, 0.0), *robot.marks("phonemes", text, language, rate)]  # espeak ends with a pause of no length
    ends = [start for _, start in found[1:]] + [found[-1][1] + robot.EDGE_S]
    spoken = []
    for (name, start), end in zip(found, ends, strict=True):
        if name == PAUSE and spoken and spoken[-1][0] == PAUSE:
            start = spoken.pop()[1]
        if end > start:
            spoken.append((name.strip(STRESS), start, end))
    return spoken


def labels(spoken, frames, names, hop=320):
    """Return which phone is heard in the middle of each frame, as its place in `names`: (frames,) long.

    spoken: what `phones` returned; frames: T, of hop samples at 16 kHz; names: a list of phones that has all of them.
    Frames behind the end have the last phone. errors: ValueError for a phone that is not in names.
    """
    if missing := {name for name, _, _ in spoken} - set(names):
        raise ValueError(f"phones {sorted(missing)} are not among the names; accepted: {', '.join(map(repr, names))}")
    ends = torch.tensor([end for _, _, end in spoken], dtype=torch.float64)
    middles = (torch.arange(frames, dtype=torch.float64) + 0.5) * hop / SAMPLE_RATE
    which = torch.bucketize(middles, ends, right=True).clamp(max=len(spoken) - 1)
    return torch.tensor([names.index(name) for name, _, _ in spoken])[which]


def rate_of(wave, text, language="en"):
    """Return the words per minute at which `robot.say` gives a wave, or begins with it; None where no likely rate does.

    wave: (S,) as data preparation keeps the robot, in 16 bits; it may be cut short. text, language: as for `robot.say`.
    """
    slowest, fastest = robot.WORDS_PER_MINUTE
    guess = robot.rate_for(text, language, len(wave) / SAMPLE_RATE)
    near = [guess + sign * step for step in range(1, NEAR) for sign in (1, -1)]
    for rate in (guess, *USUAL, *near):
        if slowest <= rate <= fastest:
            said = robot.say(text, language, rate)[: len(wave)]
            if len(said) == len(wave) and (said - wave).abs().max() <= ROUNDING:
                return rate
    return None
