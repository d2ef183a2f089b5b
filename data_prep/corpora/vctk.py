"""VCTK (datashare 10283/2651): wav48/p225/p225_001.wav, txt/p225/p225_001.txt, speaker-info.txt."""

from pathlib import Path

from data_prep.corpora import Refused, Utterance, gender


def vctk(folder):
    """Yield an Utterance or a Refused for each recording and each text of a VCTK folder.

    folder: `VCTK-Corpus` as unzipped. Recordings without text (p315) are refused, texts without recording too.
    Raises ValueError when the folder has another layout.
    """
    folder = Path(folder)
    if not (folder / "wav48").is_dir():
        raise ValueError(
            f"{folder} has no folder wav48; accepted is VCTK as in datashare 10283/2651: wav48/, txt/, speaker-info.txt"
        )
    people = _people(folder / "speaker-info.txt")
    names = {(p.parent.name, p.stem) for p in folder.glob("wav48/*/*.wav") if not p.name.startswith("._")}
    names |= {(p.parent.name, p.stem) for p in folder.glob("txt/*/*.txt") if not p.name.startswith("._")}
    for speaker, name in sorted(names):
        path = folder / "wav48" / speaker / f"{name}.wav"
        text = folder / "txt" / speaker / f"{name}.txt"
        if not path.is_file():
            yield Refused(name, str(text), "no recording for this text")
        elif not text.is_file():
            yield Refused(name, str(path), "no text")
        else:
            words = text.read_text(encoding="utf-8-sig", errors="replace").strip()
            yield Utterance(name, "vctk", speaker, path, words, **people.get(speaker, {}))


def _people(path):
    people = {}
    if not path.is_file():
        return people
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        fields = line.split(None, 4)  # the region, last, may hold spaces
        if len(fields) >= 4:
            name = fields[0] if fields[0][0].isalpha() else f"p{fields[0]}"  # this release leaves the p out
            people[name] = {"age": fields[1], "gender": gender(fields[2]), "accent": fields[3]}
    return people
