"""Which corpora lie in a folder, and how each is read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_prep.corpora import Refused, stem, walk
from data_prep.corpora.folder import folder
from data_prep.corpora.gigaspeech import braced, gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from data_prep.corpora.mls import handles_of, language_of, mls
from data_prep.corpora.vctk import AUDIO, vctk
from rovolad_lib.lab import paths

KNOWN = "VCTK-Corpus, LibriTTS_R, mls_*, GigaSpeech_Data"


class Source(NamedTuple):
    """One corpus on disk. corpus: its name in the manifest; name: its folders; read: yields Utterance and Refused."""

    corpus: str
    name: str
    read: Callable


def find(corpora=None, subset=None, supervision=None):
    """Return a list of Source, one for each corpus in a folder.

    corpora: a folder of corpora, or one corpus; None: the repository, where only the official folder names are looked
    for. subset: of GigaSpeech, as `gigaspeech`; supervision: of MLS, as `mls`; None: everything. Folders that hold the
    same utterances (releases of VCTK, formats of one MLS language) are one source. Raises ValueError when there is no
    such folder, and when a subset or supervision is not there.
    """
    root = paths.ROOT if corpora is None else Path(corpora).expanduser().resolve()
    if not root.is_dir():
        raise ValueError(f"no folder {root}; --corpora takes a folder that holds corpora")
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{root} cannot be read: {error}") from error
    if _vctk(root):  # 0.92 has no top folder: this is where it was unzipped to, perhaps beside others
        folders = [root, *(path for path in folders if path.name not in (*AUDIO, "txt"))]
    elif corpora is not None and ((root / "metadata.csv").is_file() or _official(root) and not any(map(_official, folders))):
        folders = [root]
    groups, sources = {}, []  # groups: what is read together: (corpus, reader, ...) -> folders
    for path in folders:
        if key := _official(path) or (_own(path) if corpora is not None else None):
            groups.setdefault(key, []).append(path)
    options = {"gigaspeech": {"subset": braced(subset)}, "mls": {"supervision": supervision}}
    for (corpus, reader, _), group in groups.items():
        if corpus == "mls" and supervision is not None:
            handles_of(group, supervision)  # an error now, not after hours of other corpora
        name = " + ".join(path.name for path in group)
        sources.append(Source(corpus, name, partial(reader, *group, **options.get(corpus, {}))))
    return sources


def _official(path):
    """Return (corpus, reader, which of the folders are one) for an official folder name, else None."""
    name = path.name.lower()
    if name.startswith("vctk-corpus") or _vctk(path):
        return "vctk", vctk, None
    if name == "libritts_r":
        return "libritts_r", libritts_r, path
    if name == "gigaspeech_data":
        return "gigaspeech", gigaspeech, path
    if name.startswith("mls_"):
        return "mls", mls, language_of(path)
    return None


def _own(path):
    """Return the same for a user's folder, None where it holds no recordings."""
    entries = (entry for entry in walk(path) if not isinstance(entry, Refused))
    if not (path / "metadata.csv").is_file() and not any(stem(entry.name) for entry in entries):
        return None
    if path.name in ("vctk", "mls", "gigaspeech"):  # they would pass for those corpora, licence and all
        raise ValueError(f"{path} is no corpus as unpacked; accepted are {KNOWN}, and folders with names of their own")
    return path.name, folder, path


def _vctk(path):
    return any((path / audio).is_dir() for audio in AUDIO)
