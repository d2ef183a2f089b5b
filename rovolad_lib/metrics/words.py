"""Words heard by a recogniser that chooses among a few: relative only, it finds some 80 % of real spoken digits."""

import re

import torch
from torch.nn import functional

from rovolad_lib.metrics import extra
from rovolad_lib.speech import audio

PAD_S, DITHER_DB = 0.25, -50.0  # silence around a clip and noise below its peak, without which it hears less


def recognise(waves, texts):
    """Return what is heard in each wave (S,) at 16 kHz: one of `texts`, or "" for nothing.

    texts: distinct English texts of known words, in lower case without punctuation, as `plain` makes them. Noise is the same
    in every run. ImportError without the extra `metrics`; ValueError names words that it does not know.
    """
    decoder = extra("pocketsphinx").Decoder(lm=None, samprate=float(audio.SAMPLE_RATE), loglevel="FATAL")
    words = sorted({word for text in texts for word in text.split()})
    if unknown := [word for word in words if decoder.lookup_word(word) is None]:
        raise ValueError(f"{', '.join(unknown)}: not in the recogniser's dictionary; accepted: English words")
    decoder.add_jsgf_string("texts", f"#JSGF V1.0; grammar texts; public <text> = {' | '.join(texts)};")
    decoder.activate_search("texts")
    return [_heard(decoder, wave, torch.Generator().manual_seed(k)) for k, wave in enumerate(waves)]


def plain(text):
    """Return a text as the recogniser's grammar takes it, and gives it back: words with one space between."""
    return " ".join(re.sub(r"[^a-z']+", " ", text.lower()).split())


def _heard(decoder, wave, random):
    wave = functional.pad(wave.float() / wave.abs().max().clamp(min=1e-8) * 0.5, [round(PAD_S * audio.SAMPLE_RATE)] * 2)
    wave = wave + 0.5 * 10 ** (DITHER_DB / 20) * torch.randn(len(wave), generator=random)
    decoder.start_utt()
    decoder.process_raw((wave * 32767).clamp(-32768, 32767).short().numpy().tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found else ""
