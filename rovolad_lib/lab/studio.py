"""What the voice studio says and in whose voice; its panel is lab.panel."""

import re

import torch

from rovolad_lib import convert
from rovolad_lib.autoencoder.codec import decode_latents
from rovolad_lib.metrics import signal
from rovolad_lib.speech import manifest, references
from rovolad_lib.speech.audio import SAMPLE_RATE, set_level

STRIP = 8  # clips of a sample as it forms
KINDS = {  # corpus -> the kind of sentence in it
    "spoken_digits": "single digits", "acted_speech": "two short sentences, acted", "mls": "read sentences",
    "libritts_r": "read books", "vctk": "read sentences", "gigaspeech": "commands and talk", "demo": "demo sentences of espeak",
}  # fmt: skip


def voices(data, split="test_seen", seconds=6.0):
    """Return {speaker: list of (row, wave (S,))}: recordings of each voice from a split, about `seconds` of them.

    data: lab.data.Data. Recordings that training never heard, so that a voice is not given by what the model knows by heart;
    two at least where there are two, however long, one to say and one to be heard as a reference.
    """
    found = {}
    for row in data.table[data.table.split == split].itertuples():
        if isinstance(row.speaker, str):
            held = found.setdefault(row.speaker, [])
            if len(held) < 2 or sum(len(w) for _, w in held) < seconds * SAMPLE_RATE:
                held.append((row, set_level(manifest.wave(row, data.folder))))
    return found


def render(converter, jobs, folder, **options):
    """Convert every job, write each result as WAV with a synthetic-speech tag, and return rows for `listen.grid`.

    jobs: list of dicts with text, language, voice (a name), references (list of waves), and own: the voice's own recording
    of the text or None, against which robot and result are measured; folder: where the files go; options: of the converter.
    """
    rows = []
    for job in jobs:
        robot = set_level(converter.robot(job["text"], job["language"]))
        wave = converter(job["text"], job["references"], job["language"], **options)
        path = folder / file_name(job["voice"], job["text"])
        converter.save(path, wave)
        row = {"voice": job["voice"], "text": job["text"][:60], "robot": robot, "result": wave, "file": path.name}
        row |= {"reference": sounding(converter, job["references"][0])}
        if job["own"] is not None:
            near, far = (float(signal.mel_distance(w, job["own"])) for w in (wave, robot))
            row |= {"own recording": job["own"], "distance": f"{near:.2f} nat, robot {far:.2f}", "nearer": near < far}
        rows.append(row)
    return rows


def jobs(found, text="", language="en", voice=None, reference=None):
    """Return the jobs of `render` that a notebook's parameters ask for.

    found: of `voices`; text: one sentence, or "" for a held-out take of every voice, or of `voice`; reference: a recording
    or a list of them, in the place of a voice. ValueError names the voices there are.
    """
    known = [*found, *(references.shipped(convert.VOICES) if text else ())]
    if voice is not None and voice not in known or not (known or text and reference):
        raise ValueError(f"voice {voice!r}; accepted: {', '.join(known) or 'none: no speaker has test takes here'}")
    if not text:
        return [job for job in held_out(found) if voice in (None, job["voice"])]
    given = [reference] if isinstance(reference, str) else reference
    name = voice or ("reference" if given else known[0])
    given = given or ([wave for _, wave in found[name]] if name in found else [name])
    return [{"text": text, "language": language, "voice": name, "references": given, "own": None}]


def held_out(found):
    """Return one job a voice: its own first recording of `found` is the text, its others are the references."""
    jobs = [
        {"text": row.text, "language": row.language, "voice": name, "own": own,
         "references": [wave for other, wave in others if other.text != row.text]}
        for name, ((row, own), *others) in found.items()
    ]  # fmt: skip
    return [job for job in jobs if job["references"]]


def heard(converter):
    """Return what a converter's denoiser has heard, in words: languages, kinds of sentence, sources and their licence."""
    notes = converter.denoiser.notes
    kinds = ", ".join(KINDS.get(corpus, corpus) for corpus in notes["corpus"].split(", "))
    languages = ", ".join(notes["languages"])
    return f"This model has heard {languages}: {kinds} ({notes['sources']}; licence {notes['licence']}). Others may fail it."


def corpus_of(data, voice):
    """Return the corpus of a voice of lab.data.Data, None for a shipped voice or None; ValueError names the voices there are."""
    return None if voice in references.shipped(convert.VOICES) else data.corpus_of(voice)


def forming(converter, estimates):
    """Return {"step k of n": wave (S,)}: a sample as it forms, at most STRIP of its estimates of x0, the last among them.

    estimates: list of (1, E, T), one a step, as the sampler's callback gets them, with the padding of the network's batch.
    """
    kept = sorted({round(k) for k in torch.linspace(0, len(estimates) - 1, min(STRIP, len(estimates))).tolist()})
    clips = decode_latents(converter.autoencoder, [estimates[k][0].cpu() for k in kept])
    return {f"step {k + 1} of {len(estimates)}": clip for k, clip in zip(kept, clips, strict=True)}


def sounding(converter, reference):
    """Return what a reference's player plays (S,): of a wave, the file of a recording, or the name of a shipped voice."""
    if isinstance(reference, torch.Tensor):
        return reference
    if reference not in references.shipped(convert.VOICES):
        return set_level(references.opened(reference)[0])
    latents = references.latents(convert.VOICES, reference, converter.autoencoder.fingerprint())
    return decode_latents(converter.autoencoder, [latents])[0]


def file_name(voice, text):
    """Return the name of the wav file of a text in a voice."""
    return f"{_plain(voice)}-{_plain(text)[:40]}.wav"


def _plain(words):
    """Return words as part of a file name: letters, digits and dashes."""
    return re.sub(r"\W+", "-", words).strip("-").lower() or "voice"
