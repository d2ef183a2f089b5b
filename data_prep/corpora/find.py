"""Which corpora lie in a folder, and the reader of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep.corpora import Refused, Utterance, audio_files
from data_prep.corpora.folder import folder
from data_prep.corpora.gigaspeech import gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from data_prep.corpora.mls import mls
from data_prep.corpora.vctk import vctk
from rovolad_lib.lab import paths


@dataclass(frozen=True)
class Source:
    """One corpus on disk: its name in the manifest, the name that progress shows, and what reads it."""

    corpus: str
    name: str
    read: Callable[[], Iterator[Utterance | Refused]]


def find(corpora=None, subset=None, supervision=None):
    """Return a list of Source, one for each corpus in a folder.

    corpora: a folder of corpora, or one corpus with a metadata.csv; None: the repository, where only the official
    folder names are looked for. Raises ValueError when there is no such folder.
    """
    root = paths.ROOT if corpora is None else Path(corpora).expanduser().resolve()
    if not root.is_dir():
        raise ValueError(f"no folder {root}; --corpora takes a folder that holds corpora")
    one = corpora is not None and (root / "metadata.csv").is_file()
    found = []
    for path in [root] if one else sorted(root.iterdir()):
        name = path.name.lower()
        if not path.is_dir() or name.startswith("."):
            continue
        if name.startswith("vctk-corpus"):
            found.append(Source("vctk", path.name, partial(vctk, path)))
        elif name == "libritts_r":
            found.append(Source("libritts_r", path.name, partial(libritts_r, path)))
        elif name.startswith("mls_"):
            found.append(Source("mls", path.name, partial(mls, path)))
        elif name == "gigaspeech_data":
            found.append(Source("gigaspeech", path.name, partial(gigaspeech, path)))
        elif corpora is not None and ((path / "metadata.csv").is_file() or audio_files(path)):
            found.append(Source(path.name, path.name, partial(folder, path)))
    return found
