"""The combined data that a notebook works on; a demo corpus is made where there are none."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock

from rovolad_lib.lab import paths
from rovolad_lib.speech import manifest

GROUPS = {"every": None, "open": "NC|SA"}  # several corpora together -> the licences that keep one out


@dataclass(frozen=True)
class Data:
    """A manifest `table`, its `folder`, its `fingerprint`, whether it is the demo corpus, and a group's name."""

    table: pd.DataFrame
    folder: Path
    fingerprint: str
    demo: bool
    called: str | None = None

    @property
    def name(self):
        """Return the corpus, or of several their group or `mixed`."""
        if self.called:
            return self.called
        names = self.table.corpus.unique()
        return str(names[0]) if len(names) == 1 else "mixed"

    def corpus_of(self, speaker):
        """Return the corpus of a speaker, or None for None; ValueError for one who is not in the data."""
        if speaker is None:
            return None
        found = self.table.corpus[self.table.speaker == speaker]
        if found.empty:
            accepted = ", ".join(self.table.speaker.dropna().unique())
            raise ValueError(f"voice {speaker!r} is not in {self.folder}; accepted: {accepted}")
        return found.iloc[0]

    def only(self, corpus, oneoff=False):
        """Return the same data cut to one corpus, None: the one with most utterances; ValueError names those there are.

        "every" is all of them, "open" those whose licences ask neither for the same licence nor for no commerce.
        oneoff: with what other corpora have to train on beside it, nobody being told who speaks there.
        """
        corpus = self.table.corpus.mode()[0] if corpus is None else corpus
        kept = self.table.corpus == corpus
        if corpus in GROUPS:
            kept = ~self.table.licence.str.contains(GROUPS[corpus]) if GROUPS[corpus] else self.table.corpus.notna()
        table = self.table[kept].reset_index(drop=True)
        if table.empty:
            accepted = ", ".join([*self.table.corpus.unique(), *GROUPS])
            raise ValueError(f"corpus {corpus!r} is not in {self.folder}; accepted: {accepted}")
        if oneoff:
            others = self.table[~kept & (self.table.split == "train")]
            table = pd.concat([table, others.assign(speaker=None)], ignore_index=True)
        called = corpus if corpus in GROUPS else None
        return Data(table, self.folder, manifest.fingerprint(table), set(table.corpus) == {"demo"}, called)


def ready(data=None, corpora=None):
    """Return the combined Data in a folder, and combine first where it has no manifest.

    data: folder of the manifest (None: data/); corpora: what to combine from (None: the demo corpus, and this is said).
    """
    folder = paths.folder(data, paths.DATA)
    path = folder / "manifest.parquet"
    if _lacking(path, corpora):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of many that ask at once, the first combines
            if _lacking(path, corpora):
                _combine(folder, corpora)
    table = manifest.read(path)
    return Data(table, folder, manifest.fingerprint(table), set(table.corpus) == {"demo"})


def _lacking(path, corpora):
    """Say whether there is no manifest, or the demo's where real corpora are asked for."""
    return not path.exists() or (corpora and set(manifest.read(path).corpus) == {"demo"})


def _combine(folder, corpora):
    """Combine corpora, or the demo's, into a folder; RuntimeError with the command's last words."""
    source = ["--corpora", str(paths.folder(corpora, None))] if corpora else ["--demo"]
    print(f"{folder} holds no real data: combining {corpora or 'the demo corpus of espeak voices'} first")
    command = [sys.executable, str(paths.ROOT / "data_prep" / "data_combine.py"), *source, "--data", str(folder)]
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise RuntimeError(f"combining failed: {' '.join(command)}\n{done.stderr[-2000:]}")
