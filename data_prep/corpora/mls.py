"""Multilingual LibriSpeech (openslr 94): mls_<language>/train/{audio/<reader>/<book>/*.flac,transcripts.txt}."""

import os
import re
from pathlib import Path

from data_prep.corpora import Refused, Seen, Utterance, accounted, gender, inside, is_file, lines, stem, walk

LANGUAGES = {
    "english": "en", "german": "de", "dutch": "nl", "french": "fr",
    "spanish": "es", "italian": "it", "portuguese": "pt", "polish": "pl",
}  # fmt: skip
SUFFIXES = (".flac", ".opus", ".wav")
NAME, ODD = re.compile(r"[0-9]+_[0-9]+_[0-9]{1,6}"), "id {!r} is not <reader>_<book>_<number>"


@accounted
def mls(*folders, supervision=None):
    """Yield an Utterance or a Refused for each line of the transcripts, and an Utterance for each recording without.

    folders: `mls_<language>`, `mls_<language>_opus` or both, as unpacked; with both, each utterance comes once, as flac
    where it is there. supervision: only what the handles of limited supervision name, such as "9hr", "1hr/0" or "1hr"
    (all six of its parts); None: everything. metainfo.txt is optional; its first word on a reader counts.
    The partitions train, dev and test are read alike: they share speakers and texts, so they are no splits.
    Raises ValueError for another language or layout, and for a supervision that is not there.
    """
    folders = sorted(map(Path, folders), key=lambda folder: folder.name.lower().endswith("_opus"))
    language = language_of(folders[0])
    partitions = [name for name in ("train", "dev", "test") if any((folder / name).is_dir() for folder in folders)]
    if not partitions:
        raise ValueError(f"{folders[0]} has none of the folders train, dev, test")
    handles = None if supervision is None else handles_of(folders, supervision)
    people = {}
    for line in (line for folder in folders for line in lines(folder / "metainfo.txt")):
        reader, sex, *_ = [field.strip() for field in f"{line}||".split("|")]
        people.setdefault(reader, gender(sex))
    for partition in partitions:
        yield from _partition([folder / partition for folder in folders], language, people, handles)
    for name, path in (handles or {}).items():
        if path:
            yield Refused(name, str(path), "named in handles.txt, but not in the transcripts")


def language_of(folder):
    """Return the code of the language of a folder mls_<language>[_opus], else raise a ValueError that names them all."""
    name = Path(folder).name.lower().removeprefix("mls_").removesuffix("_opus")
    if name not in LANGUAGES:
        known = " | ".join(LANGUAGES)
        raise ValueError(f"{Path(folder).name}: unknown language {name!r}; accepted are mls_<{known}>[_opus]")
    return LANGUAGES[name]


def handles_of(folders, supervision):
    """Return {id: the handles.txt that names it} of limited supervision such as "9hr", "1hr/0" or "1hr"."""
    handles = {}
    for root in (Path(folder, "train", "limited_supervision") for folder in folders):
        for path in sorted(inside(root, supervision).rglob("handles.txt")):
            handles |= dict.fromkeys(filter(None, lines(path)), path)
    if not handles:
        raise ValueError(f"{folders[0]} has no handles for supervision {supervision!r}; accepted are 9hr, 1hr, 1hr/0 ...")
    return handles


def _partition(folders, language, people, handles):
    seen = Seen()
    for folder in folders:
        transcripts, listed = folder / "transcripts.txt", Seen()
        for name, _, text in (line.partition("\t") for line in lines(transcripts)):  # English has ten million
            name = name.strip()
            if not name or not _wanted(name, handles):
                continue
            if not NAME.fullmatch(name):
                yield Refused(name, str(transcripts), ODD.format(name))
            elif not listed.add(name):
                yield Refused(name, str(transcripts), "listed twice in transcripts.txt")
            elif not seen.add(name):
                continue  # the same utterance in the other format
            elif path := _recording(folders, name):
                yield _utterance(name, path, text.strip() or None, language, people)
            else:
                yield Refused(name, str(transcripts), "file not found")
    for folder in folders:
        for entry in walk(folder / "audio", 2) if (folder / "audio").is_dir() else ():
            name = stem(os.path.basename(entry.path))
            if isinstance(entry, Refused):
                yield entry
            elif name and _wanted(name, handles) and not NAME.fullmatch(name):
                yield Refused(name, entry.path, ODD.format(name))
            elif name and _wanted(name, handles) and seen.add(name):
                found = is_file(entry)
                yield _utterance(name, entry.path, None, language, people) if found else Refused(name, entry.path, "not a file")


def _wanted(name, handles):
    """Return whether supervision asks for an utterance; its handle is then no longer waited for."""
    if handles is None:
        return True
    if name in handles:
        handles[name] = None
    return name in handles


def _recording(folders, name):
    reader, book, _ = name.split("_")
    paths = (f"{folder}/audio/{reader}/{book}/{name}{suffix}" for folder in folders for suffix in SUFFIXES)
    return next(filter(os.path.isfile, paths), None)


def _utterance(name, path, text, language, people):
    reader = name.partition("_")[0]
    return Utterance(name, "mls", reader, Path(path), text, language, gender=people.get(reader))
