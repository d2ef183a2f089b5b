"""The robot: espeak-ng with a flat pitch, in a process of its own, always the same samples for the same words."""

import atexit
import json
import math
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import espeakng_loader
import numpy
import torch

from rovolad_lib.speech.audio import SAMPLE_RATE, resample
from rovolad_lib.speech.spectral import istft, stft

ESPEAK_RATE = 22050
WORDS_PER_MINUTE = (80, 450)
LOWEST_HZ, HIGHEST_HZ = 20, 500  # of a flat pitch
DEFAULT_RATE = 175
EDGE_S = 0.05  # silence on both ends: where a person's silence belongs, and where an analysis window may ring out


@lru_cache
def languages():
    """Return what `voice` accepts, {language code or English name, lower case: espeak voice}, from espeak's files."""
    found = {}  # name -> (priority, length of the file's name, voice): the least wins
    for file in sorted(Path(espeakng_loader.get_data_path(), "lang").rglob("*")):
        if not file.is_file():
            continue
        lines = [line.split("//")[0].split() for line in file.read_text(encoding="utf-8").splitlines()]
        codes = {line[1].lower(): int(line[2]) if len(line) > 2 else 5 for line in lines if line[:1] == ["language"]}
        name = " ".join(next(line[1:] for line in lines if line[:1] == ["name"])).lower()
        for key, priority in {**codes, file.name.lower(): 0, name: 0, name.split(" (")[0]: 5}.items():
            found[key] = min(found.get(key, (99,)), (priority, len(file.name), file.name))
    table = {key: entry[-1] for key, entry in found.items()}
    return table | {"en": "en-US", "english": "en-US"}  # most English recordings are American


def voice(language):
    """Return the espeak voice for a language.

    language: a code or an English name in any case, such as "en", "EN", "en-gb", "de", "German", "french".
    errors: ValueError for a language that espeak does not speak.
    """
    key = str(language).strip().lower().replace("_", "-")
    if key not in languages():
        accepted = ", ".join(sorted(set(languages().values())))
        raise ValueError(f"the robot does not speak {language!r}; accepted are {accepted}, and their English names")
    return languages()[key]


class _Worker:
    """One espeak process and the pipe to it."""

    def __init__(self):
        script = Path(__file__).with_name("espeak.py")
        library = Path(espeakng_loader.get_library_path()).resolve()
        # espeak finds its data in the working directory, since its paths may be neither long nor Unicode
        self.process = subprocess.Popen(
            [sys.executable, str(script.resolve()), str(library)], cwd=library.parent, bufsize=-1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, message):
        """Return the answer (bytes) to a message (bytes), or None where the process ended first."""
        try:
            self.process.stdin.write(struct.pack("<I", len(message)) + message)
            self.process.stdin.flush()
            (size,) = struct.unpack("<I", self.process.stdout.read(4))
        except (OSError, struct.error):
            return None
        answer = self.process.stdout.read(size)
        return answer if len(answer) == size else None

    def close(self):
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # the process went away with a half-sent message: closing has nobody to send it to
                pipe.close()


_lock = threading.Lock()
_worker = None


def _forget():
    """Leave the worker to the parent: two processes on one pipe would read each other's answers."""
    global _lock, _worker
    _lock, _worker = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def close():
    """End the worker process; the next `say` starts another."""
    global _worker
    with _lock:
        if _worker is not None:
            _worker.close()
        _worker = None


def _ask(request):
    """Send a request to the worker, started where there is none, and once more where it had ended."""
    global _worker
    with _lock:
        for _ in range(2):
            if _worker is None:
                _worker = _Worker()
            answer = _worker.ask(json.dumps(request).encode())
            if answer is not None:
                return answer
            _worker.close()
            code, _worker = _worker.process.returncode, None
    raise ValueError(f"espeak-ng crashed twice (exit {code}) at {request}")


def _between(name, value, low, high):
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; accepted are {low} to {high}, or None")
    return None if value is None else round(value)


def say(text, language="en", rate=None, *, voice=None, pitch=None, pitch_range=None, f0=110.0):
    """Speak a text; the same arguments give the same samples, whatever was said before.

    text: words and punctuation.
    language: what `voice` accepts.
    rate: words per minute, 80 to 450; None is espeak's 175.
    voice: an espeak voice instead of the language's, with a variant behind a plus where wished, such as "en-us+f3".
    pitch, pitch_range: 0 to 99 (espeak's own default is 50 and 50); either one given lets espeak's intonation sound.
    f0: Hz of the flat pitch (20 to 500); None lets espeak's intonation sound.
    returns: (S,) float32 at 16 kHz, with 0.05 s of silence on both ends.
    errors: ValueError for an unknown language or voice, a value out of range, or a text without a sound; RuntimeError
        where espeak fails.
    source: espeak-ng 1.52, speak_lib.h and espeak_ng.h (espeak_ng_SetConstF0).
    """
    request = _request(text, language, rate, voice, pitch, pitch_range, f0)
    samples = torch.from_numpy(numpy.frombuffer(_said(request), "<i2").astype("float32") / 32768)
    edge = round(EDGE_S * SAMPLE_RATE)
    return torch.nn.functional.pad(resample(samples, ESPEAK_RATE, SAMPLE_RATE).clamp(-1, 1), (edge, edge))


def marks(kind, text, language="en", rate=None, f0=110.0):
    """Return when `say` begins each word or phoneme: a list of (what begins, seconds into `say`'s wave).

    kind: "words" (what begins: the index of its first character) or "phonemes" (IPA with stress and length, "" for a
    pause); text, language, rate, f0, errors: as for `say`, whose timing moves a little with the pitch.
    """
    if kind not in ("words", "phonemes"):
        raise ValueError(f"marks of kind {kind!r}; accepted are words, phonemes")
    found = json.loads(_said(_request(text, language, rate, f0=f0) | {"marks": kind}))
    return [(what, sample / ESPEAK_RATE + EDGE_S) for what, sample in found]


def _request(text, language, rate, name=None, pitch=None, pitch_range=None, f0=110.0):
    """Return what the worker is asked, after a look at every value; name: of a voice in the place of the language's."""
    name = voice(language) if name is None else name
    if not str(text).strip() or "\0" in text:
        raise ValueError(f"the robot needs words to say, not {text!r}")
    if variant := name.partition("+")[2]:
        accepted = sorted(file.name for file in Path(espeakng_loader.get_data_path(), "voices", "!v").iterdir())
        if variant not in accepted:
            raise ValueError(f"espeak-ng has no voice {name!r}: no variant {variant!r}; accepted are {', '.join(accepted)}")
    return {
        "text": text,
        "voice": name,
        "rate": _between("rate", rate, *WORDS_PER_MINUTE),
        "pitch": _between("pitch", pitch, 0, 99),
        "pitch_range": _between("pitch_range", pitch_range, 0, 99),
        "f0": _between("f0", f0, LOWEST_HZ, HIGHEST_HZ) if pitch is None and pitch_range is None else None,
    }


def _said(request):
    """Return what the worker answers to a request (bytes)."""
    answer = _ask(request)
    if answer[:1] == b"!":
        raise RuntimeError(f"espeak-ng failed: {answer[1:].decode()}; asked for {request}")
    if answer[:1] != b"+":
        raise ValueError(f"{answer[1:].decode()}; asked for {request}")
    if not any(answer[1:]):
        raise ValueError(f"the robot makes no sound of {request['text']!r} in {request['voice']!r}")
    return answer[1:]


def flatten(wave, f0=110.0, quefrencies=30):
    """Return a recording in a flat voice, for recordings without text: its spectral envelope over a pulse train or noise.

    wave: (S,) at 16 kHz; f0: Hz of the pulses; quefrencies: cepstral coefficients of the envelope. Frames with more energy
    above 2 kHz than below 1 kHz are noise. returns: (S,). It keeps the vocal tract and so leaks who spoke: a stopgap, not
    the robot. source: Oppenheim 1969, homomorphic vocoder.
    """
    spectrum = stft(wave)  # (F, 321)
    cepstrum = torch.fft.irfft(spectrum.abs().clamp(min=1e-4).log())  # (F, 640)
    cepstrum[:, quefrencies : 1 - quefrencies] = 0
    envelope = torch.fft.rfft(cepstrum).real.exp()
    pulses = torch.zeros_like(wave)
    pulses[:: round(SAMPLE_RATE / f0)] = 1
    noise = torch.randn(len(wave), generator=torch.Generator().manual_seed(0))
    voiced = spectrum[:, :40].abs().square().sum(1) > spectrum[:, 80:].abs().square().sum(1)  # bins of 25 Hz
    source = torch.where(voiced[:, None], stft(pulses), stft(noise))
    source = source / source.abs().square().mean(1, keepdim=True).sqrt().clamp(min=1e-9)
    flat = istft((envelope * source)[None])[0, : len(wave)]
    return flat / flat.abs().max().clamp(min=1)


def rate_for(text, language, duration):
    """Return the speaking rate at which the robot takes as long for a text as a person did.

    text, language: as for `say`.
    duration: seconds, above 0.
    returns: words per minute, an int in 80..450 (the nearest bound where the duration lies beyond them).
    errors: as for `say`; ValueError for a duration not above 0.
    """
    if not duration > 0:
        raise ValueError(f"duration is {duration!r} s; accepted are values above 0")
    rate = DEFAULT_RATE
    for _ in range(2):  # duration is not quite inverse to rate (pauses shrink less): the first guess is corrected once
        rate *= _spoken_s(text, language, rate) / max(duration - 2 * EDGE_S, EDGE_S)
        rate = round(min(max(rate, WORDS_PER_MINUTE[0]), WORDS_PER_MINUTE[1]))
    return rate


@lru_cache(4096)  # corpora repeat texts
def _spoken_s(text, language, rate):
    """Return how long the robot speaks, in whole samples of `say`."""
    samples = len(_said(_request(text, language, rate))) // 2
    return math.ceil(samples * SAMPLE_RATE / ESPEAK_RATE) / SAMPLE_RATE
