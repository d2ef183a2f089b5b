"""VCTK: the original (datashare 10283/2651) with wav48/, and 0.92 (10283/3443) with wav48_silence_trimmed/."""

import re
from pathlib import Path

from data_prep.corpora import Refused, Utterance, accounted, gender, is_file, lines, stem, walk, words

AUDIO = ("wav48_silence_trimmed", "wav48")  # the better first
RECORDING = re.compile(r"(.+?)(?:_mic[12])?\.(?:wav|flac)", re.IGNORECASE)
TEXT = re.compile(r"(.+)\.txt", re.IGNORECASE)


@accounted
def vctk(*folders):
    """Yield an Utterance or a Refused for each sentence of each speaker, once, in whatever releases it is.

    folders: one or several of VCTK as unzipped, with wav48/ (original), wav48_silence_trimmed/ (0.92) or both, txt/ and
    speaker-info.txt. The releases hold the same sentences: a recording is taken from 0.92 (mic2, else mic1), else from
    the original, and so is its text. Recordings without one (p315) have text None; texts without recording are refused.
    Raises ValueError when the folders have another layout.
    """
    folders = [Path(folder) for folder in folders]
    releases = [(folder, audio) for audio in AUDIO for folder in folders if (folder / audio).is_dir()]
    if other := set(folders).difference(folder for folder, _ in releases):
        accepted = "VCTK as in datashare 10283/2651 or 10283/3443: wav48/ or wav48_silence_trimmed/, txt/, speaker-info.txt"
        raise ValueError(f"{', '.join(map(str, other))} has no folder wav48 or wav48_silence_trimmed; accepted is {accepted}")
    audio = [folder / name for folder, name in releases]
    texts = [folder / "txt" for folder, _ in releases if (folder / "txt").is_dir()]
    speakers = {}  # name -> age, gender, accent
    for folder in dict.fromkeys([*audio, *texts]):
        for entry in walk(folder, 0):
            if isinstance(entry, Refused):
                yield entry
            elif Path(entry).is_dir():
                speakers[entry.name] = {}
            elif stem(entry.name):
                yield Refused(stem(entry.name), entry.path, "a recording outside its speaker's folder")
    for folder, _ in reversed(releases):
        speakers |= _people(folder / "speaker-info.txt")
    for speaker in sorted(speakers):
        yield from _speaker(speaker, audio, texts, speakers[speaker])


def _speaker(speaker, audio, texts, person):
    recordings, said, broken = {}, {}, {}  # name -> path; the first found stays
    for found, pattern, folders in ((recordings, RECORDING, audio), (said, TEXT, texts)):
        for folder in (path for name in folders if (path := name / speaker).is_dir()):
            for entry in reversed(list(walk(folder, 0))):  # mic2 before mic1
                if isinstance(entry, Refused):
                    yield entry
                elif name := pattern.fullmatch(entry.name):
                    (found if is_file(entry) else broken).setdefault(name[1], Path(entry))
    for name in sorted({**broken, **said, **recordings}):
        if name in recordings:
            text = words(said[name]) if name in said else None
            yield Utterance(name, "vctk", speaker, recordings[name], text, **person)
        elif name in said:
            yield Refused(name, str(said[name]), "no recording for this text")
        else:
            yield Refused(name, str(broken[name]), "not a file")


def _people(path):
    people = {}
    for line in lines(path):
        name, age, sex, accent, *_ = [*line.partition("(")[0].split(), *[""] * 4]  # comments stand in parentheses
        if age:
            name = name if name[0].isalpha() else f"p{name}"  # the original leaves the p out
            people[name] = {"age": age, "gender": gender(sex), "accent": accent or None}
    return people
