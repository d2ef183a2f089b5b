"""How a network takes utterances that are longer than those it was trained on."""

import torch

from rovolad_lib.autoencoder.codec import decode_latents, encode_waves
from rovolad_lib.convert import ROBOT_F0, at_pitch
from rovolad_lib.diffusion.named import prior_of
from rovolad_lib.lab import score
from rovolad_lib.sampling import padding, sample
from rovolad_lib.speech import robot
from rovolad_lib.speech.audio import SAMPLE_RATE

TIMES = (1, 2, 4, 8)  # words in one utterance, where training knew one


def joined(table, rows, words):
    """Return lists of `words` positions each: takes of one speaker one after the other, what is left over at the end is left."""
    by_speaker = [part.tolist() for part in table.loc[rows].groupby("speaker").groups.values()]
    return [part[k : k + words] for part in by_speaker for k in range(0, len(part) - words + 1, words)]


def longer(encoded, model, rows, heard, *, steps=4, seed=0, sampler=None, most=24, **options):
    """Return {words in one utterance: {"text_accuracy", "speaker_accuracy"}}: how often the judges know each word and its voice.

    The robot says several of the rows' texts in one breath at its own rate; the speech made of it is cut where the robot's
    words begin, which its timing keeps. heard: of score.panel; most: utterances of each length; options: of
    sampling.sample.
    """
    table, found = encoded.data.table, {}
    judges = {question: judge for question, judge in heard.items() if judge is not None}
    prior, default = prior_of(model.notes["prior"])
    codec = encoded.robot_codec or encoded.autoencoder
    for words in TIMES:
        groups = joined(table, rows, words)
        groups = groups[:: max(1, -(-len(groups) // most))]
        if not groups or not judges:
            continue
        texts, language = [" ".join(table.text[group]) for group in groups], table.language[rows[0]]
        contexts = [score.context(encoded, group[0], 3) for group in groups]
        f0s, pitch = at_pitch(model, score.f0s(encoded, model, contexts))
        robots = encode_waves(codec, [robot.say(text, language, f0=f0) for text, f0 in zip(texts, f0s, strict=True)])
        told = {"sampler": sampler or default, "steps": steps, "seed": seed, "told": pitch, **padding(model), **options}
        waves = decode_latents(encoded.autoencoder, sample(model, prior, robots, contexts, **told))
        spoken = zip(waves, texts, f0s, strict=True)
        pieces = [piece for wave, text, f0 in spoken for piece in cut(wave, text, language, f0)]
        said = [i for group in groups for i in group]
        found[str(words)] = {}
        for question, judge in judges.items():
            right = [a == b for a, b in zip(judge.predict(pieces).labels, table[question][said], strict=True)]
            found[str(words)][f"{question}_accuracy"] = sum(right) / len(right)
    return found


def cut(wave, text, language, f0=ROBOT_F0):
    """Return the pieces of a wave (S,) in which the words of a text are said, from where the robot, at f0 Hz, begins each."""
    starts = [round(seconds * SAMPLE_RATE) for _, seconds in robot.marks("words", text, language, f0=f0)]
    return list(torch.tensor_split(wave, starts[1:]))
