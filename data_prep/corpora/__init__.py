"""What every corpus reader yields: utterances found on disk, and utterances refused with the reason."""

from dataclasses import dataclass
from pathlib import Path

AUDIO_SUFFIXES = frozenset(".wav .flac .ogg .opus .mp3 .m4a .aiff .aif".split())
GENDERS = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}


@dataclass(frozen=True)
class Utterance:
    """One recorded utterance with its words.

    id: unique in its corpus; speaker: the corpus's own name for the person, None for one-off data;
    path: the recording; start, end: seconds into it, end None for its end; gender: female, male or None.
    """

    id: str
    corpus: str
    speaker: str | None
    path: Path
    text: str
    language: str = "en"
    start: float = 0.0
    end: float | None = None
    gender: str | None = None
    age: str | None = None
    accent: str | None = None
    style: str | None = None


@dataclass(frozen=True)
class Refused:
    """One utterance that cannot be used, and why."""

    id: str
    path: str
    reason: str


def inside(root, name):
    """Return the file that metadata calls `name` in the folder `root`.

    name: a relative path with either kind of slash. Raises ValueError when it leads out of the folder.
    """
    root = Path(root).resolve()
    path = (root / name.replace("\\", "/")).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"file {name!r} lies outside its folder {root.name}")
    return path


def audio_files(folder):
    """Return all recordings below `folder`, sorted; hidden files such as AppleDouble's `._*` are not recordings."""
    return sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def gender(word):
    """Return female, male or None for what a corpus writes (F, M, female, male, w, blank)."""
    return GENDERS.get((word or "").strip().lower())
