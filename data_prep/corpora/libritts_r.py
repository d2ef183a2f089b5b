"""LibriTTS-R (openslr 141): <subset>/<reader>/<chapter>/<id>.wav with <id>.normalized.txt or <chapter>.trans.tsv."""

import os
from itertools import groupby
from pathlib import Path

from data_prep.corpora import Refused, Utterance, accounted, gender, is_file, lines, stem, walk, words

LISTS = "*_bad_sample_list.txt"


@accounted
def libritts_r(folder):
    """Yield an Utterance or a Refused for each recording of any subsets in a LibriTTS_R folder, and each text without.

    folder: `LibriTTS_R` as unpacked. Separate downloads, both optional: speakers.tsv, and the lists of recordings whose
    restoration failed, in the folder or up to two folders down (the lists also beside it, as they unpack); recordings
    on a list are refused. The text is <id>.normalized.txt, else the chapter's trans.tsv.
    Raises ValueError when there is no <subset>/<reader>/<chapter>/*.wav in it.
    """
    folder, empty = Path(folder), True
    people = {name: sex for path in _extras(folder, "speakers.tsv") for name, sex in _people(path)}
    lists = [*folder.parent.glob(f"libritts_r_failed*/{LISTS}"), *_extras(folder, LISTS)]
    failed = {os.path.basename(line).removesuffix(".wav"): path.name for path in lists for line in lines(path)}
    for chapter, entries in groupby(walk(folder, 3), lambda entry: os.path.dirname(entry.path)):
        for item in _chapter(chapter, entries, people, failed):
            empty = empty and not stem(os.path.basename(item.path))
            yield item
    if empty:
        raise ValueError(f"{folder} holds no recording; accepted is <subset>/<reader>/<chapter>/*.wav, as in train-other-500")


def _chapter(chapter, entries, people, failed):
    reader = os.path.basename(os.path.dirname(chapter))
    recordings, texts, table = {}, {}, {}
    for entry in entries:
        if isinstance(entry, Refused):
            yield entry
        elif name := stem(entry.name):
            recordings[name] = entry
        elif entry.name.endswith(".normalized.txt"):
            texts[entry.name.removesuffix(".normalized.txt")] = entry
        elif entry.name.endswith(".trans.tsv") and is_file(entry):
            rows = (line.split("\t") for line in lines(entry.path))  # id, original, normalized
            table |= {row[0]: (row[2].strip() or None, entry.path) for row in rows if len(row) > 2}
    for name in sorted({**recordings, **texts, **table}):
        if name not in recordings:
            where = texts[name].path if name in texts else table[name][1]
            yield Refused(name, where, "no recording for this text")
        elif not is_file(recordings[name]):
            yield Refused(name, recordings[name].path, "not a file")
        elif name in failed:
            yield Refused(name, recordings[name].path, f"failed restoration: listed in {failed[name]}")
        else:
            text = words(texts[name].path) if name in texts else table.get(name, (None,))[0]
            yield Utterance(name, "libritts_r", reader, Path(recordings[name]), text, gender=people.get(reader))


def _extras(folder, name):
    """Return the files of a name in a folder and up to two folders down, the nearest last."""
    found = [path for level in ("*/*/", "*/", "") for path in sorted(folder.glob(level + name))]
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def _people(path):
    columns = {}
    for fields in ([field.strip() for field in line.split("\t")] for line in lines(path)):
        columns = columns or {name.upper(): place for place, name in enumerate(fields)}
        row = {name: fields[place] for name, place in columns.items() if place < len(fields)}
        yield row.get("READER"), gender(row.get("GENDER"))
