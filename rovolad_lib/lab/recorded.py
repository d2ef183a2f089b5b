"""Voices and texts from the disk, as a zero-shot table takes them; what cannot be used is named with the reason."""

import re
from pathlib import Path
from typing import NamedTuple

import torch

from rovolad_lib.speech import references
from rovolad_lib.speech.audio import SAMPLE_RATE, set_level

TEXTS = Path(__file__).with_name("sentences.txt")
LEAST_S, MOST_S = 6.0, 60.0  # of speech that is heard at once, and of each half of a voice


class Voice(NamedTuple):
    """Recordings of a speaker, lists of waves (S,) at 16 kHz: to be heard as references, and held out to score against."""

    references: list
    held: list


def voices(directory):
    """Return {speaker: Voice} of a folder: a sub-folder a speaker, or files named by speaker (ann_1.wav, ann_2.wav).

    Every second recording, in the order of their names, is a reference, up to a minute in each half. A file or a speaker that
    cannot be used is printed, a line each. ValueError where no speaker is left.
    """
    root, found = Path(directory), {}
    if not root.is_dir():
        raise ValueError(f"no folder {root}; accepted: one of recordings")
    files = [(top, path) for top in sorted(root.iterdir()) for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
    for top, path in [(top, path) for top, path in files if path.is_file() and not path.name.startswith(".")]:
        name = top.name if top.is_dir() else re.sub(r"[\W_]*\d*$", "", path.stem) or path.stem
        try:
            found.setdefault(name, []).append(_sounding(path))
        except ValueError as error:
            print(f"left out: {path.relative_to(root).as_posix()}: {error}")
    halved = {name: _halved(name, waves) for name, waves in found.items()}
    if not any(halved.values()):
        raise ValueError(f"no voice in {root}; accepted: a sub-folder a speaker, or files named by speaker, two recordings each")
    return {name: voice for name, voice in halved.items() if voice}


def _sounding(path):
    wave = references.opened(path)[0]
    if not wave.any() or not wave.isfinite().all():
        raise ValueError("silent, or not finite; accepted: speech")
    return set_level(wave)


def _halved(name, waves):
    """Return the Voice of one speaker's waves, or None, said in a line, where a half does not show a voice."""
    try:
        if len(waves) < 2:
            raise ValueError(f"{len(waves)} usable; accepted: two or more, one half to hear and one to score against")
        voice = Voice(*(_first(half) for half in (waves[::2], waves[1::2])))
        for half in voice:
            references.check(torch.cat(half))  # a single short take shows nobody, many do
    except ValueError as error:
        return print(f"left out: recordings of {name}: {error}")
    return voice


def _first(waves):
    return [wave for k, wave in enumerate(waves) if sum(map(len, waves[:k])) < MOST_S * SAMPLE_RATE]


def texts(path=TEXTS, language=None):
    """Return [(language, text)] of a UTF-8 file, a text a line, alone or behind its language and a tab.

    language: those in it alone, and that of the lines that name none (None: all, and English). ValueError where none is left.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{Path(path).name} is no text file: {error}; accepted: UTF-8, a text a line") from None
    said = [tuple(line.split("\t", 1)) if "\t" in line else (language or "en", line) for line in lines]
    if not (kept := [pair for pair in said if language in (None, pair[0])]):
        raise ValueError(f"{Path(path).name}: {len(said)} texts, none in {language or 'any language'}; accepted: a text a line")
    return kept


def groups(waves, least_s=LEAST_S):
    """Return lists of positions of neighbouring waves that last `least_s` together; a rest shorter than that joins the last."""
    parts, total = [[]], 0
    for position, wave in enumerate(waves):
        if total >= least_s * SAMPLE_RATE:
            parts, total = [*parts, []], 0
        parts[-1].append(position)
        total += len(wave)
    return parts if total >= least_s * SAMPLE_RATE or len(parts) == 1 else [*parts[:-2], parts[-2] + parts[-1]]
