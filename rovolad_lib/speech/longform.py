"""Long texts and long recordings in pieces: where to cut, how to join, and how fast somebody speaks."""

import math
import re

import torch
from torch.nn import functional

from rovolad_lib.speech import robot
from rovolad_lib.speech.align import active_frames
from rovolad_lib.speech.audio import SAMPLE_RATE, info, load, set_level
from rovolad_lib.speech.spectral import HOP, stft

LONGEST = 150  # characters, some 9 s
ENDS = (r"(?<=[.!?…؟।][\"'”»)])\s+|(?<=[.!?…؟।])\s+|(?<=[。！？])|\n+", r"(?<=[,;:–—،])\s+|(?<=[，、；：])", r"\s+")
FADE_S = 0.05
PAUSE_S = 0.25  # behind a sentence, with the robot's silence at both ends as long as its own pause inside a text
WINDOW_S = 10.0  # of a long recording; its cut lies in the last third
FASTER = (0.75, 1.4)  # times the robot's usual rate: what the count of syllables in a few seconds can vouch for
DIP_DB, DEEP_DB = 2.0, 25.0  # between two syllables, and below the loudest at most
PEOPLE = 1.25  # what people's count is short of beside the robot's, median of 33 speakers whose texts are known


def phrases(text, longest=LONGEST):
    """Return a text cut into parts (list of str) of at most `longest` characters, as few as go.

    Cut are ends of sentences; in a longer sentence those of clauses, then words, then anywhere. Nothing but white space is lost.
    """
    return _packed(text.strip(), ENDS, longest)


def _packed(text, ends, longest):
    if len(text) <= longest:
        return [text]
    if not ends:
        return [text[at : at + longest] for at in range(0, len(text), longest)]
    packed = []
    for part in filter(None, map(str.strip, re.split(ends[0], text))):
        for piece in _packed(part, ends[1:], longest):
            if packed and len(packed[-1]) + 1 + len(piece) <= longest:
                packed[-1] += " " + piece
            else:
                packed.append(piece)
    return packed


def said(text, language="en", rate=None, f0=110.0):
    """Yield the robot's waves (S,) of a text's `phrases`, a pause behind every one but the last; arguments as `robot.say`.

    To be joined by `joined`: each but the last is longer by FADE_S.
    """
    parts = phrases(text)
    for part in parts[:-1]:
        pause = PAUSE_S if re.search(r"[.!?…؟।。！？][\"'”»)]*$", part) else FADE_S
        yield functional.pad(robot.say(part, language, rate, f0=f0), (0, round(pause * SAMPLE_RATE)))
    yield robot.say(parts[-1], language, rate, f0=f0)


def stretches(source, window_s=WINDOW_S):
    """Yield waves (S,) of at most `window_s` seconds, a recording cut where it is quietest; never all of it in memory.

    source: a path, or a wave (S,) at 16 kHz. Each but the last reaches FADE_S into the next, so that `joined` gives it back.
    """
    whole = isinstance(source, torch.Tensor)
    at, seconds = 0.0, len(source) / SAMPLE_RATE if whole else info(source).duration
    while seconds - at > window_s:
        first, last = round(at * SAMPLE_RATE), round((at + window_s) * SAMPLE_RATE)
        wave = source[first:last] if whole else load(source, start=at, end=at + window_s)
        cut = _quietest(wave)
        yield wave[: cut + round(FADE_S * SAMPLE_RATE)]
        at += cut / SAMPLE_RATE
    yield source[round(at * SAMPLE_RATE) :] if whole else load(source, start=at)


def _quietest(wave):
    """Return where in the last third of a wave, FADE_S before its end, the quietest FADE_S begins."""
    length = round(FADE_S * SAMPLE_RATE)
    energy = functional.pad(wave[len(wave) * 2 // 3 :].double().square().cumsum(0), (1, 0))
    return len(wave) * 2 // 3 + int((energy[length:] - energy[:-length]).argmin())


def joined(waves, fade_s=FADE_S):
    """Yield waves (S,) that one behind the other are all of `waves` (an iterable), the end of each faded into the next.

    What sounds alike in both goes through unchanged. Only the end of one is held back.
    """
    tail, length = torch.zeros(0), round(fade_s * SAMPLE_RATE)
    for wave in waves:
        if n := min(len(tail), len(wave)):
            rising = torch.sin(torch.pi / 2 * (torch.arange(n) + 0.5) / n).square()
            wave = torch.cat([tail[:-n], tail[-n:] * (1 - rising) + wave[:n] * rising, wave[n:]])
        cut = max(len(wave) - length, 0)
        if cut:
            yield wave[:cut]
        tail = wave[cut:]
    yield tail


def gain_to(wave, level_db=-26.0):
    """Return the factor that brings a wave (S,) to a level as `set_level` measures it; None for silence, 1.0 for None."""
    if level_db is None or not wave.any():
        return 1.0 if level_db is None else None
    quiet = set_level(wave / wave.abs().max(), -80.0)  # so low that no peak limits it
    return 10 ** ((level_db + 80.0) / 20) * float(quiet.norm() / wave.norm())


def level_db(wave):
    """Return the level of a wave's speech in dB of full scale, as `set_level` sets it, and -inf for silence."""
    gain = gain_to(wave, 0.0)
    return -20 * math.log10(gain) if gain else -math.inf


def amplified(wave, gain):
    """Return a wave (S,) times a factor, or as much of it as a peak of 1 lets through."""
    louder = wave if gain == 1 else wave * gain
    return louder / louder.abs().max().clamp(min=1)


def syllable_rate(wave):
    """Return syllables per second of speech in a wave (S,) at 16 kHz, 0 where there is none.

    Counted are peaks of the energy between 300 and 3,300 Hz with a dip of 2 dB on either side. It finds too few in everybody, so
    only ratios mean something. source: de Jong and Wempe 2009, without its test of voicing.
    """
    if not wave.any():
        return 0.0
    power = stft(wave[None]).abs()[0, :, 12:133].square().sum(1)  # bins of 25 Hz
    window = torch.hann_window(11, periodic=False)
    smooth = functional.conv1d(power[None, None], (window / window.sum())[None, None], padding=5)[0, 0]
    level = 10 * (smooth / smooth.max().clamp(min=1e-12)).clamp(min=1e-9).log10()
    count, rising, extreme = 0, True, -DEEP_DB
    for value in level.tolist():  # a peak counts once the level has fallen by a dip behind it
        extreme = max(extreme, value) if rising else min(extreme, value)
        if rising and value <= extreme - DIP_DB and extreme > -DEEP_DB:
            count, rising, extreme = count + 1, False, value
        elif not rising and value >= extreme + DIP_DB:
            rising, extreme = True, max(value, -DEEP_DB)
    return count / (float(active_frames(wave).sum()) * HOP / SAMPLE_RATE)


def rate_like(reference, text, language="en"):
    """Return the rate, in words per minute, at which the robot says a text as fast as somebody speaks in a recording.

    reference: (S,) at 16 kHz; text, language: as for `robot.say`; of a long text its first phrase is counted. An int, .75 to 1.4
    times the robot's usual rate. Of 33 speakers whose texts are known it was off by 17 %, espeak's usual rate by 20 %.
    """
    own, wanted = syllable_rate(robot.say(phrases(text)[0], language)), syllable_rate(reference)
    factor = PEOPLE * wanted / own if own and wanted else 1.0
    return round(robot.DEFAULT_RATE * min(max(factor, FASTER[0]), FASTER[1]))
