"""Whether the words survive, by a recogniser and by the gate of the data, and how it sounds, by DNSMOS.

Each takes {(voice, maker): waves}; texts: of `recorded.texts`; parts: of `recorded.groups`, positions of texts scored together.
"""

import importlib.util

import numpy
from tqdm.auto import tqdm

from rovolad_lib.metrics import artefacts, words
from rovolad_lib.speech.align import align

OPINIONS = 20  # clips a maker that DNSMOS hears
CLOSED = 10  # texts, about, among which the recogniser chooses


def recognised(said, texts, parts):
    """Return {(voice, maker, group): share of its English texts found, each in a block of about CLOSED}; {}, said, if none."""
    english = [k for k, (language, _) in enumerate(texts) if language == "en"]
    if not english or importlib.util.find_spec("pocketsphinx") is None:
        print("without recognition: " + ("the package pocketsphinx is missing" if english else "no English texts"))
        return {}
    known, right, hits_of = [words.plain(text) for _, text in texts], {}, {}
    sets = [part.tolist() for part in numpy.array_split(english, max(1, round(len(english) / CLOSED)))]
    for key, waves in said.items():
        if id(waves) not in hits_of:  # the robot is the same for all voices
            heard = [words.recognise([waves[k] for k in part], [known[k] for k in part]) for part in sets]
            hits_of[id(waves)] = {k: one == known[k] for part, found in zip(sets, heard, strict=True)
                                  for k, one in zip(part, found, strict=True)}  # fmt: skip
        hit = hits_of[id(waves)]
        for group, part in enumerate(parts):
            if hits := [hit[k] for k in part if k in hit]:
                right[(*key, group)] = sum(hits) / len(hits)
    return right


def gated(said, robots, texts, parts):
    """Return two {(voice, maker, group): share}: clips that the quality gate of the data accepts beside the robot saying the same
    text, and those that it refuses beside the robot saying the next text of the language; none of a text that is the only one.
    """
    others = {}
    for language in {language for language, _ in texts}:
        own = [k for k, (of, _) in enumerate(texts) if of == language]
        others |= dict(zip(own, own[1:] + own[:1], strict=True)) if len(own) > 1 else {}
    accepts, refuses, poor = {}, {}, {}
    for key, waves in tqdm(said.items(), desc="gate", mininterval=2.0):
        if id(waves) not in poor:
            poor[id(waves)] = [
                [j is not None and align(wave, robots[j]).verdict.startswith("poor") for j in (k, others.get(k))]
                for k, wave in enumerate(waves)
            ]
        for group, part in enumerate(parts):
            accepts[*key, group] = sum(not poor[id(waves)][k][0] for k in part) / len(part)
            if told := [poor[id(waves)][k][1] for k in part if k in others]:
                refuses[*key, group] = sum(told) / len(told)
    return accepts, refuses


def opinions(made):
    """Return {(voice, maker, group): DNSMOS} of at most OPINIONS clips a maker; {}, said, without the extra `opinion`."""
    if importlib.util.find_spec("speechmos") is None:
        print("without DNSMOS: pip install 'rovolad[opinion]'")
        return {}
    each = max(1, OPINIONS // len({voice for voice, _ in made}))
    chosen = {(*key, group): wave for key, waves in made.items() for group, wave in enumerate(waves[:each])}
    return dict(zip(chosen, artefacts.mean_opinion(list(chosen.values())), strict=True))
