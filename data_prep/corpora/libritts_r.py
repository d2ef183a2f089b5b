"""LibriTTS-R (openslr 141): <subset>/<reader>/<chapter>/<id>.wav and <id>.normalized.txt."""

import csv
from pathlib import Path

from data_prep.corpora import Refused, Utterance, gender


def libritts_r(folder):
    """Yield an Utterance or a Refused for each recording of any subsets in a LibriTTS_R folder.

    folder: `LibriTTS_R` as unpacked; its speakers.tsv (a separate download) is optional.
    Raises ValueError when there is no <subset>/<reader>/<chapter>/*.wav in it.
    """
    folder = Path(folder)
    people = _people(folder / "speakers.tsv")
    paths = sorted(p for p in folder.glob("*/*/*/*.wav") if not p.name.startswith("._"))  # AppleDouble junk
    if not paths:
        raise ValueError(
            f"{folder} holds no recording; accepted is <subset>/<reader>/<chapter>/*.wav, as in train-other-500"
        )
    for path in paths:
        text = path.with_suffix(".normalized.txt")
        if text.is_file():
            reader = path.parent.parent.name
            words = text.read_text(encoding="utf-8-sig", errors="replace").strip()
            yield Utterance(path.stem, "libritts_r", reader, path, words, gender=people.get(reader))
        else:
            yield Refused(path.stem, str(path), "no text")


def _people(path):
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["READER"].strip(): gender(row["GENDER"]) for row in csv.DictReader(file, delimiter="\t")}
