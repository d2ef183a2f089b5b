"""Which moment of the robot's sentence belongs to each moment of the person's.

Dynamic time warping of cepstra. The robot may speak half to twice as fast as the person at every moment; its end is
free, since a recording may stop before its text does; the person may be silent for as long as they like while the robot
stays at either end. Whether the words are the same is judged by aligning the robot's sound in a wrong order as well.
"""

import math
from dataclasses import dataclass

import numpy
import torch

from rovolad_lib.speech.audio import HOP, SAMPLE_RATE, log_mel, set_level

COEFFICIENTS = 13
C0_WEIGHT = 0.6  # loudness, the least comparable coefficient; .6 told right from wrong texts better than .3 on five corpora
ACTIVE = 1e-3  # power over the loudest frame's, above which a frame counts as speech
FREE_START = 10  # frames of the robot that a tightly cut recording may lack
ONE, TWO, HALF, STAY = range(4)  # robot frames per person frame: 1, 2, 1/2, 0
SHORTEST_S = 1.0  # of speech that can be judged: a digit in a wrong order is often as near
LIMIT = 0.90  # of the cost over the control's: wrong texts of acted speech pass as seldom as right ones fail
SLACK = 0.1  # more, per second of speech, for a recording that breaks off: its length does not tell the right rate
CUT_FRAMES = 5  # without a silent end as long as this, a recording breaks off
LEAST_REACHED = 0.2
RUNNING_ON_S = 0.2  # of the robot's speech behind the recording's end
SPEEDS = (0.55, 1.85)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How a person's clip follows the robot's.

    frame_map: (F,) int32, the robot's 10 ms frame for each 10 ms frame of the person; never falls.
    cost: distance along the path over the mean distance of any two frames, speech frames only; 1 is chance, below is
        better.
    control: the mean cost of the robot's sound in three wrong orders; NaN where there is too little speech to judge.
    reached: fraction of the robot's frames at which the person ends; below 1 where a recording stops before its text.
    speed: robot frames per person frame between the two ends; 0.5 to 2.
    verdict: "good"; "trimmed: ..." where the recording stops before its text; "poor: ..." where it has other words;
        "unjudged: ..." where it is too short to tell.
    """

    frame_map: numpy.ndarray
    cost: float
    control: float
    reached: float
    speed: float
    verdict: str


def _cepstra(mel, active):
    """Turn log-mel frames (M, F) into cepstra and their slopes (F, 26), free of the mean of the active frames (F,)."""
    bands, count = torch.arange(mel.shape[0]) + 0.5, mel.shape[0]
    cosine = torch.cos(math.pi / count * bands * torch.arange(COEFFICIENTS)[:, None]) * math.sqrt(2 / count)
    cosine[0] /= math.sqrt(2)
    cepstra = (cosine @ mel).T  # (F, 13)
    cepstra = cepstra - cepstra[active].mean(0)
    cepstra[:, 0] *= C0_WEIGHT
    padded = torch.cat([cepstra[:1], cepstra[:1], cepstra, cepstra[-1:], cepstra[-1:]])
    slopes = (2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10
    return torch.cat([cepstra, slopes], 1)


def active_frames(wave):
    """Return which 10 ms frames (F,) carry speech."""
    power = torch.nn.functional.pad(wave, (0, -len(wave) % HOP)).reshape(-1, HOP).square().mean(1)
    return power >= ACTIVE * power.max()


def _distances(person, robot):
    """Return the distances of the person's frames from the robot's (F, R), and which of each are speech."""
    person, robot = set_level(person), set_level(robot)
    mel, robot_mel = log_mel(person), log_mel(robot)
    noise = mel.exp().quantile(0.05, dim=1, keepdim=True)
    robot_mel = torch.log(robot_mel.exp() + noise)  # the robot in the person's room: its silence is theirs
    active, robot_active = active_frames(person), active_frames(robot)
    distances = torch.cdist(_cepstra(mel, active), _cepstra(robot_mel, robot_active))
    return distances.numpy(), active.numpy(), robot_active.numpy()


def _warp(distances):
    """Return the path of least cost as a robot frame for each person frame (F,), given distances (F, R).

    Each person frame costs one distance, so paths that end at different robot frames compare. A row of the table needs
    the two rows before it only, all robot frames at once.
    """
    frames, width = distances.shape
    total = numpy.full((frames + 1, width + 2), numpy.inf, "float32")  # a row and two columns that no path comes from
    total[1, 2 : 2 + FREE_START] = distances[0, :FREE_START]
    for i in range(1, frames):
        last, best = total[i], total[i + 1, 2:]
        numpy.add(total[i - 1, 1:-1], distances[i - 1], out=best)  # HALF
        numpy.minimum(best, last[1:-1], out=best)  # ONE
        numpy.minimum(best, last[:-2], out=best)  # TWO
        best[0], best[-1] = min(best[0], last[2]), min(best[-1], last[-1])  # STAY
        best += distances[i]
    return _trace(total, distances)


def _trace(total, distances):
    """Follow the least costs (F + 1, R + 2) back from the last person frame's least."""
    path = numpy.empty(len(distances), numpy.int32)
    i, j = len(distances) - 1, int(total[-1, 2:].argmin())
    while i > 0:
        path[i] = j
        ways = [total[i, j + 1], total[i, j], total[i - 1, j + 1] + distances[i - 1, j]]
        if j in (0, distances.shape[1] - 1):
            ways.append(total[i, j + 2])
        taken = ways.index(min(ways))
        if taken == HALF:  # two frames of the person share one of the robot
            path[i - 1] = j
            i -= 1
        i, j = i - 1, j - (1, 2, 1, 0)[taken]
    path[0] = j
    return path


def _cost(distances, path, active):
    """Return the mean distance along a path over the person's speech."""
    return float(distances[numpy.arange(len(path)), path][active].mean())


def _control(distances, active, robot_active):
    """Return the mean cost of the robot backwards, and with its last third and its last half first."""
    spoken = numpy.flatnonzero(robot_active)
    inner = numpy.arange(spoken[0], spoken[-1] + 1)
    costs = []
    for order in (inner[::-1], numpy.roll(inner, len(inner) // 3), numpy.roll(inner, len(inner) // 2)):
        columns = numpy.arange(distances.shape[1])
        columns[inner] = order
        shuffled = distances[:, columns]
        costs.append(_cost(shuffled, _warp(shuffled), active))
    return numpy.mean(costs)


def _verdict(ratio, limit, reached, speed, left_s):
    """Judge an alignment by its cost over the control's, the slope, and the robot's speech left over (seconds)."""
    if not ratio <= limit:
        return f"poor: {ratio:.2f} of the distance of shuffled speech, above {limit:.2f} (other words than the text?)"
    if reached < LEAST_REACHED:
        return f"poor: the recording ends at {reached:.0%} of the text; accepted are {LEAST_REACHED:.0%} and more"
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        return f"poor: the person speaks at {speed:.2f} of the robot's speed; accepted are {SPEEDS[0]} to {SPEEDS[1]}"
    return f"trimmed: the recording ends at {reached:.0%} of the text" if left_s > RUNNING_ON_S else "good"


def align(person, robot):
    """Find the robot's moment for each moment of a person's recording of the same words.

    person, robot: (S,) waves at 16 kHz; the robot's best with silence on both ends, as `robot.say` gives it.
    returns: Alignment; F = ceil(len(person) / 160). The verdict's limits were chosen on acted speech, the Emo-DB clips and
        every other Kerstin clip, with right and with wrong texts.
    errors: ValueError for an empty or silent wave.
    source: Sakoe and Chiba 1978 (slope constraint P = 1, its steps merged to one a frame).
    """
    for name, wave in (("person", person), ("robot", robot)):
        if wave.ndim != 1 or not wave.any():
            state = "silent" if wave.numel() else "empty"
            raise ValueError(f"{name} is {tuple(wave.shape)}, {state}; accepted is a wave (S,) with sound in it")
    distances, active, robot_active = _distances(person.float(), robot.float())
    path = _warp(distances)
    cost, chance = _cost(distances, path, active), float(distances[active][:, robot_active].mean())
    moving = numpy.flatnonzero((path > 0) & (path < distances.shape[1] - 1))
    span = moving[-1] - moving[0] if len(moving) else 0
    speed = float((path[moving[-1]] - path[moving[0]]) / span) if span else 0.0
    reached = float((path[-1] + 1) / distances.shape[1])
    speech_s, left_s = (part.sum() * HOP / SAMPLE_RATE for part in (active, robot_active[path[-1] + 1 :]))
    if speech_s < SHORTEST_S:
        verdict, control = f"unjudged: {speech_s:.2f} s of speech; {SHORTEST_S:.2f} s can be judged", numpy.nan
    else:
        control = _control(distances, active, robot_active)
        limit = LIMIT + SLACK / speech_s * active[-CUT_FRAMES:].any()
        verdict = _verdict(cost / control, limit, reached, speed, left_s)
    return Alignment(path, cost / chance, float(control / chance), reached, speed, verdict)
