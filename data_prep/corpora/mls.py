"""Multilingual LibriSpeech (openslr 94): mls_<language>/train/{audio/<reader>/<book>/*.flac,transcripts.txt}."""

import re
from pathlib import Path

from data_prep.corpora import Refused, Utterance, gender

LANGUAGES = {
    "english": "en", "german": "de", "dutch": "nl", "french": "fr",
    "spanish": "es", "italian": "it", "portuguese": "pt", "polish": "pl",
}  # fmt: skip
SUFFIXES = (".flac", ".opus", ".wav")


def mls(folder):
    """Yield an Utterance or a Refused for each line of the transcripts and each recording without one.

    folder: `mls_<language>` or `mls_<language>_opus` as unpacked; metainfo.txt is optional.
    The partitions train, dev and test are read alike: they share speakers and texts, so they are no splits.
    Raises ValueError for another language or layout.
    """
    folder = Path(folder)
    language = folder.name.removeprefix("mls_").removesuffix("_opus")
    if language not in LANGUAGES:
        raise ValueError(
            f"{folder.name}: unknown language {language!r}; accepted are mls_<{' | '.join(LANGUAGES)}>[_opus]"
        )
    partitions = [folder / name for name in ("train", "dev", "test") if (folder / name).is_dir()]
    if not partitions:
        raise ValueError(f"{folder} has none of the folders train, dev, test")
    people = _people(folder / "metainfo.txt")
    for partition in partitions:
        yield from _partition(partition, LANGUAGES[language], people)


def _partition(partition, language, people):
    transcripts = partition / "transcripts.txt"
    seen = set()
    for name, text in _lines(transcripts):
        seen.add(name)
        if not re.fullmatch(r"\d+_\d+_\d+", name):
            yield Refused(name, str(transcripts), f"id {name!r} is not <reader>_<book>_<number>")
            continue
        reader, book, _ = name.split("_")
        stem = partition / "audio" / reader / book / name
        path = next((p for s in SUFFIXES if (p := stem.with_suffix(s)).is_file()), None)
        if path is None:
            yield Refused(name, str(stem.with_suffix(".flac")), "file not found")
        else:
            yield Utterance(name, "mls", reader, path, text.strip(), language, gender=people.get(reader))
    for path in sorted(partition.glob("audio/*/*/*")):
        if path.suffix in SUFFIXES and path.stem not in seen and not path.name.startswith("._"):
            yield Refused(path.stem, str(path), "no text")


def _lines(transcripts):
    if transcripts.is_file():
        with transcripts.open(encoding="utf-8-sig") as file:  # English has ten million lines: never all at once
            for line in file:
                name, _, text = line.partition("\t")
                if name.strip():
                    yield name.strip(), text


def _people(path):
    if not path.is_file():
        return {}
    rows = [[field.strip() for field in line.split("|")] for line in path.read_text(encoding="utf-8-sig").splitlines()]
    return {row[0]: gender(row[1]) for row in rows[1:] if len(row) > 1}
