"""What every corpus reader yields: utterances found on disk, and utterances refused with the reason."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial, wraps
from operator import attrgetter
from pathlib import Path

import numpy

AUDIO_SUFFIXES = frozenset(".wav .flac .ogg .opus .mp3 .m4a .aiff .aif".split())
GENDERS = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}
LONGEST_TEXT = 5000  # letters; a minute of speech has about a thousand
LONGEST_LINE = 1 << 20  # bytes; what is longer comes in pieces, so that no file fills the memory
BUFFER = 2**18  # names
UNREADABLE = "\ufffd"  # stands for bytes that are not UTF-8


@dataclass(frozen=True)
class Utterance:
    """One recorded utterance with its words.

    id: unique in its corpus; speaker: the corpus's own name for the person, None for one-off data;
    path: the recording; text: its words, None where nobody knows them; start, end: seconds into it, end None for its
    end; gender: female, male or None.
    """

    id: str
    corpus: str
    speaker: str | None
    path: Path
    text: str | None
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


class Seen:
    """Which names came before, as 64-bit hashes: 8 bytes each, where a set of ten million takes a gigabyte."""

    def __init__(self):
        self.old, self.new = numpy.empty(0, "uint64"), set()

    def __contains__(self, name):
        number = numpy.uint64(number_of(name))
        at = self.old.searchsorted(number)
        return number in self.new or bool(at < len(self.old) and self.old[at] == number)

    def add(self, name):
        """Remember a name; return whether it is new."""
        if name in self:
            return False
        self.new.add(numpy.uint64(number_of(name)))
        if len(self.new) >= BUFFER:
            self.old = numpy.sort(numpy.append(self.old, list(self.new)))
            self.new = set()
        return True


def number_of(name):
    """Return a number below 2**64 that is always the same for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def accounted(read):
    """Decorate a reader: what could not be written to a table is refused, and its errors name the folder.

    read: a generator of Utterance and Refused. Refused are names and texts that are not UTF-8 or hold a NUL, and texts
    of more than LONGEST_TEXT letters. The reader raises ValueError where its folder or a table in it cannot be read.
    """

    @wraps(read)
    def reader(*folders, **options):
        try:
            yield from map(_writable, read(*folders, **options))
        except OSError as error:
            raise ValueError(f"{', '.join(map(str, folders))} cannot be read: {error}") from error

    return reader


def _writable(item):
    text, reason = getattr(item, "text", None) or "", None
    said = "".join([field for field in vars(item).values() if type(field) is str] + [str(item.path)])
    if len(text) > LONGEST_TEXT:
        reason = f"a text of {len(text)} letters; accepted are up to {LONGEST_TEXT}"
    elif UNREADABLE in text or _printable(said) != said:
        reason = "its name or text cannot be read as UTF-8, or holds a NUL"
    if reason is None:
        return item
    return Refused(_printable(item.id), _printable(item.path), _printable(getattr(item, "reason", reason)))


def _printable(name):
    return str(name).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def walk(folder, depth=None):
    """Yield what lies in a folder, in order of its names, and a Refused for each sub-folder that cannot be read.

    depth: how many folders further down it lies; a recording on the way there is refused. None: files at any depth,
    without following links to folders, which may lead in circles. Hidden entries such as AppleDouble's `._*` are junk.
    yields: os.DirEntry, or Refused.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if entry.name[0] != "."), key=attrgetter("name"))
    except OSError as error:
        yield Refused(os.path.basename(folder), str(folder), f"the folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        if depth == 0 or (depth is None and not os.path.isdir(entry.path)):
            yield entry
        elif depth is None and entry.is_symlink():
            yield Refused(entry.name, entry.path, "a link to a folder, which is not followed")
        elif os.path.isdir(entry.path):
            yield from walk(entry.path, depth and depth - 1)
        elif stem(entry.name):
            yield Refused(stem(entry.name), entry.path, "a recording where this layout has none")


def stem(name):
    """Return the name of a recording without its suffix, None for a file that is no recording."""
    start, suffix = os.path.splitext(name)
    return start if suffix.lower() in AUDIO_SUFFIXES else None


def is_file(entry):
    """Return whether an os.DirEntry is a file or a link to one; only links cost a look at the disk."""
    return entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)


def words(path):
    """Return the words in a text file of one utterance, None where it is empty, UNREADABLE in place of what is no UTF-8."""
    if not os.path.isfile(path):  # a pipe, say, which would never end
        return UNREADABLE
    try:
        with open(path, "rb") as file:
            return file.read(4 * LONGEST_TEXT + 4).decode("utf-8-sig", "replace").strip() or None
    except OSError:
        return UNREADABLE


def lines(path):
    """Yield the lines of a text file, stripped; none where there is no such file. UNREADABLE marks what is no UTF-8.

    Raises OSError for what has the name, but is no file: without its table, a corpus would be read, but wrongly.
    """
    if not os.path.lexists(path):
        return
    if not os.path.isfile(path):
        raise OSError(f"{path} is not a file")
    with open(path, "rb") as file:
        for line in iter(partial(file.readline, LONGEST_LINE), b""):
            yield line.decode("utf-8", "replace").lstrip("\ufeff").strip()


def inside(root, name):
    """Return the file that metadata calls `name` in the folder `root`.

    name: a relative path with either kind of slash. Raises ValueError when it leads out of the folder.
    """
    if "\0" in name:
        raise ValueError(f"file {name!r} has a NUL in its name")
    root = Path(root).resolve()
    path = Path(os.path.realpath(root / name.replace("\\", "/")))  # Path.resolve fails on links that lead in circles
    if not path.is_relative_to(root):
        raise ValueError(f"file {name!r} lies outside its folder {root.name}")
    return path


def gender(word):
    """Return female, male or None for what a corpus writes (F, M, female, male, w, blank)."""
    return GENDERS.get((word or "").strip().lower())
