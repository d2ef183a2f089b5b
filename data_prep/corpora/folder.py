"""A user's own folder: recordings, and metadata.csv with file, speaker, text and more if wanted."""

import csv
import io
from collections import Counter
from pathlib import Path

from data_prep.corpora import Refused, Utterance, audio_files, gender, inside

COLUMNS = ("file", "speaker", "text", "language", "gender", "age", "accent", "style")


def folder(path, corpus=None):
    """Yield an Utterance or a Refused for each row of metadata.csv and each recording that it does not list.

    path: the folder; corpus: its name in the manifest, by default the folder's. The columns of metadata.csv are
    file, speaker, text, language, gender, age, accent, style; only `file` must be there. Without a speaker, the
    sub-folder is the speaker (the folder itself, where there is none); without a text, clip.txt beside clip.wav is
    the text; without a language, it is English. Raises ValueError when metadata.csv has no column `file`.
    """
    root = Path(path).resolve()
    corpus = corpus or root.name
    recordings, rows = audio_files(root), _rows(root / "metadata.csv")
    repeated = Counter(recording.stem.lower() for recording in recordings)
    listed = set()
    for row in [{"file": recording.relative_to(root).as_posix()} for recording in recordings] if rows is None else rows:
        try:
            recording = inside(root, row["file"])
        except ValueError as error:
            yield Refused(Path(row["file"]).stem, row["file"], str(error))
            continue
        if recording == root:
            yield Refused("", str(root / "metadata.csv"), "a row without a file")
            continue
        listed.add(recording)
        yield _utterance(root, corpus, recording, row, repeated[recording.stem.lower()] > 1)
    for recording in recordings:
        if rows is not None and recording.resolve() not in listed:
            yield Refused(recording.stem, str(recording), "not listed in metadata.csv")


def _utterance(root, corpus, recording, row, repeated):
    parts = recording.relative_to(root).with_suffix("").parts
    name = "-".join(parts) if repeated else parts[-1]  # ann/1.wav and bob/1.wav must not be one id
    beside = recording.with_suffix(".txt")
    text = row.get("text") or (beside.read_text(encoding="utf-8-sig").strip() if beside.is_file() else "")
    if not recording.is_file():
        return Refused(name, str(recording), "file not found")
    if not text:
        return Refused(name, str(recording), "no text")
    return Utterance(
        name, corpus, row.get("speaker") or (parts[0] if len(parts) > 1 else corpus), recording, text,
        language=row.get("language") or "en", gender=gender(row.get("gender")), age=row.get("age") or None,
        accent=row.get("accent") or None, style=row.get("style") or None,
    )  # fmt: skip


def _rows(path):
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    rows = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in header else ","
    )  # spreadsheets differ by country
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or []]
    if "file" not in rows.fieldnames:
        raise ValueError(
            f"{path} has the columns {rows.fieldnames}; `file` is needed, accepted are {', '.join(COLUMNS)}"
        )
    return [{key: (value or "").strip() for key, value in row.items() if key} for row in rows]
