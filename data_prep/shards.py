"""Shards: some consecutive utterances of a corpus, made by one worker, and a table of what became of each.

A shard's table is written last and by rename, under a name that is a hash of all that decides its contents. So a table
with the files of its utterances, none of them younger, says that there is nothing to do.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
import torch

from data_prep import robot_twin
from data_prep.corpora import Refused, Utterance, number_of
from data_prep.soundness import unsound
from rovolad_lib.files import replacing
from rovolad_lib.speech import RECIPE

LAYOUT = 1  # of the tables and of the files' names
USUAL, MOST = 64, 128  # utterances in a shard

_WORDS = dict.fromkeys("id corpus speaker path text language gender age accent style".split(), pyarrow.string())
_RESULT = {"duration": pyarrow.float64(), "verdict": pyarrow.string(), "robot_method": pyarrow.string()}
SCHEMA = pyarrow.schema(
    {**_WORDS, "start": pyarrow.float64(), "end": pyarrow.float64(), **_RESULT, "reason": pyarrow.string()}
)


@dataclass(frozen=True, eq=False)
class Shard:
    """Utterances and refusals in their order, the folder `data`, the path of their table, and `options` of their Jobs."""

    items: tuple[Utterance | Refused, ...]
    corpus: str
    data: Path
    path: Path
    options: dict

    def __str__(self):
        return f"{self.corpus} {self.items[0].id} to {self.items[-1].id}"


def cut(items, corpus, name, data, options, seen):
    """Yield the Shards of what a reader found.

    items: iterable of Utterance and Refused; corpus, name: as Source; data: folder; options: {"rates", "sample_rate"},
    as Job; seen: Seen of the corpus, since another utterance of the same id is refused: in any case, for some file
    systems do not tell A from a. Where a shard ends is decided by the id alone, so that a recording that comes or goes
    changes only its own shard.
    """
    group = []
    for item in items:
        said = f"{corpus}\0{item.id.lower()}"
        if isinstance(item, Utterance):
            reason = _refusal(item)
            if reason is None and not seen.add(said):
                reason = f"another utterance has the id {item.id!r}"
            item = Refused(item.id, str(item.path), reason) if reason else item
        group.append(item)
        if number_of(said) % USUAL == 0 or len(group) == MOST:
            yield _shard(group, corpus, name, data, options)
            group = []
    if group:
        yield _shard(group, corpus, name, data, options)


def _shard(group, corpus, name, data, options):
    paths = {item.path for item in group if isinstance(item, Utterance)}  # a long recording holds many utterances
    states = {path: _state(path) for path in paths}
    facts = [{**vars(item), "path": states.get(item.path)} for item in group]  # not where it lies: corpora may move
    key = hashlib.sha256(json.dumps([LAYOUT, RECIPE, options, facts]).encode()).hexdigest()[:32]
    return Shard(tuple(group), corpus, data, data / "shards" / robot_twin.safe(name) / f"{key}.parquet", options)


def _state(path):
    try:
        state = path.stat()
    except (OSError, ValueError):  # what is wrong with it is for `make` to say
        return None
    return state.st_size, state.st_mtime_ns


def _refusal(item):
    """Return why an utterance cannot be used, as far as its words and times tell, or None."""
    if item.text is not None and not any(letter.isalnum() for letter in item.text):
        return "no words in the text"
    if not 0 <= item.start < math.inf or item.end is not None and not item.start < item.end < math.inf:
        return f"times from {item.start} to {item.end} s"
    return None


def make(shard):
    """Make the files of a shard's utterances, then its table; return the seconds of audio that were used.

    Errors: as `robot_twin.make`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the processes share the cores
    try:
        rows = [{"corpus": shard.corpus, **vars(item), "path": str(item.path), **_result(item, shard)} for item in shard.items]
    finally:
        torch.set_num_threads(threads)
    _write(pyarrow.Table.from_pylist(rows, SCHEMA), shard.path)
    return sum(row.get("duration", 0.0) for row in rows)


def _result(item, shard):
    """Return what `robot_twin.make` does, or {"reason": why not}."""
    if isinstance(item, Refused):
        return {"reason": item.reason}
    reason = unsound(item.path, robot_twin.LONGEST_S if item.end is None else None)
    try:
        return {"reason": reason} if reason else robot_twin.make(robot_twin.job(item, shard.data, **shard.options))
    except (ArithmeticError, ValueError) as error:  # of words that espeak does not speak, or numbers of a damaged file
        return {"reason": f"{type(error).__name__}: {error}"}


def _write(table, path):
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def is_made(shard):
    """Say whether a shard's table and files are there; a table of recordings that lay elsewhere is corrected."""
    if not shard.path.is_file():
        return False
    try:
        table, age = pyarrow.parquet.read_table(shard.path, schema=SCHEMA), shard.path.stat().st_mtime_ns
    except (OSError, ValueError):  # damaged since
        return False
    reasons = table["reason"].to_pylist()
    for item, reason in zip(shard.items, reasons, strict=True):
        if reason.startswith("PermissionError") if reason else not _files_before(age, robot_twin.job(item, shard.data)):
            return False
    paths = [str(item.path) for item in shard.items]
    if paths != table["path"].to_pylist():
        at = SCHEMA.get_field_index("path")
        _write(table.set_column(at, SCHEMA.field(at), pyarrow.array(paths)), shard.path)
    return True


def _files_before(age, job):
    """Say whether all files of a job are there and not younger: another run has not begun to make them otherwise."""
    names = [job.robot_path, job.align_path] + [job.path] * (job.utterance.end is None)
    states = [_state(job.data / name) for name in names]
    return all(state and state[1] <= age for state in states)


def read(path):
    """Return the rows of a shard's table as dictionaries, in order: with a reason where refused, else with a result."""
    return pyarrow.parquet.read_table(path, schema=SCHEMA).to_pylist()


def utterance(row):
    """Return the Utterance of a row."""
    return Utterance(**{name: row[name] for name in Utterance.__dataclass_fields__} | {"path": Path(row["path"])})
