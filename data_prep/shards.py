"""Shards: some consecutive utterances of a corpus, made by one worker, and a table of what became of each.

A shard's table is written last and by rename, under a name that is a hash of all that decides its contents. So a table
with the files of its utterances, none of them younger, says that there is nothing to do.
"""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import torch

from data_prep import robot_twin
from data_prep.corpora import Refused, Utterance
from data_prep.soundness import unsound
from rovolad_lib.files import replacing
from rovolad_lib.speech import RECIPE, audio

LAYOUT = 1  # of the tables and of the files' names
USUAL, MOST = 64, 128  # utterances in a shard
LETTERS = 100 * robot_twin.LONGEST_S  # nobody speaks faster

_WORDS = dict.fromkeys("id corpus speaker path text language gender age accent style".split(), pyarrow.string())
_RESULT = {"duration": pyarrow.float64(), "verdict": pyarrow.string(), "robot_method": pyarrow.string()}
SCHEMA = pyarrow.schema(
    {**_WORDS, "start": pyarrow.float64(), "end": pyarrow.float64(), **_RESULT, "reason": pyarrow.string()}
)


@dataclass(frozen=True)
class Options:
    """What is made of every utterance: the rates of robot_twin.Job and the sample rate of the person's file in Hz."""

    rates: tuple = ()
    sample_rate: int = audio.SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Shard:
    """Utterances and refusals in their order, the folder `data`, and the path of their table."""

    items: tuple[Utterance | Refused, ...]
    corpus: str
    data: Path
    path: Path
    options: Options

    def __str__(self):
        return f"{self.corpus} {self.items[0].id} to {self.items[-1].id}"


class Seen:
    """Which 64-bit numbers came before: 8 bytes each, where a set takes a hundred."""

    def __init__(self):
        self.old, self.new = numpy.empty(0, "uint64"), set()

    def add(self, number):
        """Return whether a number is new, and remember it."""
        at = self.old.searchsorted(numpy.uint64(number))
        if number in self.new or at < len(self.old) and self.old[at] == number:
            return False
        self.new.add(number)
        if len(self.new) >= 2**18:
            self.old = numpy.sort(numpy.concatenate([self.old, numpy.array(list(self.new), "uint64")]))
            self.new = set()
        return True


def cut(items, corpus, name, data, options, seen):
    """Yield the Shards of what a reader found.

    items: iterable of Utterance and Refused; corpus, name: as Source; data: folder; options: Options; seen: Seen, of
    the corpus: another utterance of the same id in any case is refused, since some file systems do not tell A from a.
    Where a shard ends is decided by the id alone, so that a recording that comes or goes changes only its own shard.
    """
    group = []
    for item in items:
        item, number = _plain(item), _number(corpus, item.id.lower())
        if isinstance(item, Utterance):
            reason = _refusal(item)
            if reason is None and not seen.add(number):
                reason = f"another utterance has the id {item.id!r}"
            item = Refused(item.id, str(item.path), reason) if reason else item
        group.append(item)
        if number % USUAL == 0 or len(group) == MOST:
            yield _shard(group, corpus, name, data, options)
            group = []
    if group:
        yield _shard(group, corpus, name, data, options)


def _shard(group, corpus, name, data, options):
    states = {}
    for item in group:
        if isinstance(item, Utterance) and item.path not in states:  # a long recording holds many utterances
            states[item.path] = _state(item.path)
    facts = [LAYOUT, RECIPE, vars(options)]
    for item in group:
        fields = {key: value for key, value in vars(item).items() if key != "path"}  # corpora may move
        facts.append([fields, states.get(item.path)])
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return Shard(tuple(group), corpus, data, data / "shards" / robot_twin.safe(name) / f"{key}.parquet", options)


def _state(path):
    try:
        state = path.stat()
    except (OSError, ValueError):  # what is wrong with it is for `make` to say
        return None
    return state.st_size, state.st_mtime_ns


def _plain(item):
    """Return an item all of whose words can be written as UTF-8; names of files need not be."""
    texts = {key: str(value) for key, value in vars(item).items() if isinstance(value, str | Path)}
    if "".join(texts.values()).isprintable():  # quick, and true of nearly all
        return item
    plain = {key: value.encode("utf-8", "backslashreplace").decode() for key, value in texts.items()}
    if plain == texts:
        return item
    reason = item.reason if isinstance(item, Refused) else "a name or a text that is not UTF-8"
    return Refused(plain["id"], plain["path"], reason.encode("utf-8", "backslashreplace").decode())


def _refusal(item):
    """Return why an utterance cannot be used, as far as its words and times tell, or None."""
    if item.text is not None and not any(letter.isalnum() for letter in item.text):
        return "no words in the text"
    if item.text is not None and len(item.text) > LETTERS:
        return f"a text of {len(item.text)} letters; accepted are up to {LETTERS:.0f}"
    if not 0 <= item.start < math.inf or item.end is not None and not item.start < item.end < math.inf:
        return f"times from {item.start} to {item.end} s"
    return None


def _number(*names):
    return int.from_bytes(hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest())


def job(item, shard):
    """Return the Job of one of a shard's utterances."""
    made = robot_twin.job(item, shard.data)
    return replace(made, rates=shard.options.rates, sample_rate=shard.options.sample_rate)


def make(shard):
    """Make the files of a shard's utterances, then its table; return the seconds of audio that were used.

    Errors: as `robot_twin.make`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the processes share the cores
    try:
        results = [_result(item, shard) for item in shard.items]
    finally:
        torch.set_num_threads(threads)
    rows = [
        {**vars(item), "corpus": shard.corpus, "path": str(item.path)}
        | (result if isinstance(result, dict) else {"reason": result})
        for item, result in zip(shard.items, results, strict=True)
    ]
    _write(pyarrow.Table.from_pylist(rows, SCHEMA), shard.path)
    return sum(result["duration"] for result in results if isinstance(result, dict))


def _result(item, shard):
    if isinstance(item, Refused):
        return item.reason
    reason = unsound(item.path, robot_twin.LONGEST_S if item.end is None else None)
    if reason:
        return reason
    try:
        return robot_twin.make(job(item, shard))
    except (ArithmeticError, ValueError) as error:  # numbers that only a damaged file has
        return f"{type(error).__name__}: {error}"


def _write(table, path):
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def is_made(shard):
    """Say whether a shard's table and files are there; a table of recordings that lay elsewhere is corrected."""
    if not shard.path.is_file():
        return False
    table, age = pyarrow.parquet.read_table(shard.path), shard.path.stat().st_mtime_ns
    reasons = table["reason"].to_pylist()
    for item, reason in zip(shard.items, reasons, strict=True):
        if reason and reason.startswith("PermissionError") or not reason and not _files_before(age, job(item, shard)):
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
