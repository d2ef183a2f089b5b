"""A user's own folder: recordings, and metadata.csv with file, speaker, text and more if wanted."""

import csv
import os
from collections import Counter
from itertools import count
from pathlib import Path

from data_prep.corpora import LONGEST_LINE, UNREADABLE, Refused, Utterance, accounted, gender, inside, stem, walk, words

COLUMNS = ("file", "speaker", "text", "language", "gender", "age", "accent", "style")


@accounted
def folder(path, corpus=None):
    """Yield an Utterance or a Refused for each row of metadata.csv and each recording that it does not list.

    path: the folder; corpus: its name in the manifest, by default the folder's. The columns of metadata.csv are
    file, speaker, text, language, gender, age, accent, style, between commas, semicolons or tabs; only `file` must be
    there. Without a speaker, the sub-folder is the speaker (the folder itself, where there is none); without a text,
    clip.txt beside clip.wav is the text, and without that there is none; without a language, it is English.
    Raises ValueError when the folder cannot be read or metadata.csv has no column `file`.
    """
    root = Path(path).resolve()
    os.scandir(root).close()
    corpus = corpus or root.name
    entries = list(walk(root))
    yield from (entry for entry in entries if isinstance(entry, Refused))
    recordings = [entry for entry in entries if not isinstance(entry, Refused) and stem(entry.name)]
    repeated = Counter(stem(entry.name).lower() for entry in recordings)
    metadata = root / "metadata.csv"
    table = os.path.lexists(metadata)
    rows = _rows(metadata) if table else [{"file": os.path.relpath(entry, root)} for entry in recordings]
    plain, listed = {entry.path for entry in recordings if not entry.is_symlink()}, set()  # plain: nothing to resolve
    for row in rows:
        yield row if isinstance(row, Refused) else _item(root, corpus, row, repeated, listed, plain)
    for entry in recordings if table else ():
        if Path(entry if entry.path in plain else os.path.realpath(entry)) not in listed:
            yield Refused(stem(entry.name), entry.path, "not listed in metadata.csv")


def _item(root, corpus, row, repeated, listed, plain):
    path = os.path.join(root, row["file"].replace("\\", "/").replace("/", os.sep))
    try:
        recording = Path(path) if path in plain else inside(root, row["file"])
    except ValueError as error:
        return Refused(Path(row["file"]).stem, row["file"], str(error))
    if recording == root:
        return Refused("", str(root / "metadata.csv"), "a row without a file")
    parts = recording.relative_to(root).with_suffix("").parts
    name = "-".join(parts) if repeated[parts[-1].lower()] > 1 else parts[-1]  # ann/1.wav and bob/1.wav are two
    beside, known = recording.with_suffix(".txt"), recording in listed
    listed.add(recording)
    if known or not recording.is_file():
        return Refused(name, str(recording), "listed twice" if known else "file not found")
    if row.get(None):
        return Refused(name, str(recording), "a row with more fields than columns: a text with commas needs quotes")
    if UNREADABLE in "".join(row.values()):
        return Refused(name, str(recording), "its row cannot be read as UTF-8")
    return Utterance(
        name, corpus, row.get("speaker") or (parts[0] if len(parts) > 1 else corpus), recording,
        row.get("text") or (words(beside) if beside.is_file() else None),
        language=row.get("language") or "en", gender=gender(row.get("gender")), age=row.get("age") or None,
        accent=row.get("accent") or None, style=row.get("style") or None,
    )  # fmt: skip


def _rows(path):
    """Yield {column: field} for each row, what is beyond the columns under None, and a Refused for each broken row."""
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline(LONGEST_LINE)
        marks = ",;\t"  # spreadsheets differ by country
        columns = {mark: [name.strip(' "\r\n').lower() for name in header.split(mark)] for mark in marks}
        delimiter = next((mark for mark, names in columns.items() if "file" in names), None)
        if delimiter is None:
            names = ", ".join(columns[","])
            raise ValueError(f"{path} has the columns {names:.200}; `file` is needed, accepted are {', '.join(COLUMNS)}")
        reader = csv.DictReader(file, columns[delimiter], delimiter=delimiter, strict=True)
        for number in count(2):  # the header is the first
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # such as a quote left open, which would swallow the rows behind it
                yield Refused(f"row {number}", str(path), f"a broken row: {error}")
                continue
            rest = "".join(row.pop(None, ())).strip()
            yield {name: (field or "").strip() for name, field in row.items()} | {None: rest}
