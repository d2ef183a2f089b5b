"""What became of all utterances, written shard after shard: manifest.parquet, quarantine.csv and summary.csv."""

import csv
import re
from collections import Counter
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import pandas
import pyarrow
from pyarrow.parquet import ParquetWriter, read_table
from tqdm.auto import tqdm

from data_prep import shards
from data_prep.robot_twin import job, safe
from rovolad_lib.files import replacing
from rovolad_lib.speech import audio, manifest

HERE = Path(__file__).resolve().parent
GROUP = 512  # shards in memory at once, and in a row group of the manifest
COUNTED = ["corpus", "source", "speaker", "duration", "text_quality"]


def write(paths, found, data, sample_rate):
    """Write the three tables from the shards at some paths, all or none; return the summary.

    found: {corpus: utterances that its reader gave}; data: folder; sample_rate: Hz of the persons' files. Raises
    RuntimeError where kept + quarantined is not found; ValueError as `manifest.validate`.
    """
    schema = pyarrow.Schema.from_pandas(_frame([]), preserve_index=False)
    with (
        replacing(data / "manifest.parquet") as kept,  # the last to be renamed: with it, all is there
        replacing(data / "quarantine.csv") as refused,
        replacing(data / "summary.csv") as counted,
    ):
        with ParquetWriter(kept, schema) as writer, refused.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["id", "corpus", "path", "reason"])
            for start in tqdm(range(0, len(paths), GROUP), "manifest", leave=False, disable=len(paths) <= GROUP):
                rows = [row for path in paths[start : start + GROUP] for row in shards.read(path)]
                lines.writerows([r["id"], r["corpus"], r["path"], r["reason"]] for r in rows if r["reason"])
                frame = _frame([_row(row, data, sample_rate) for row in rows if not row["reason"]])
                manifest.validate(frame)
                writer.write_table(pyarrow.Table.from_pandas(frame, schema, preserve_index=False))
        names = [name for name in COUNTED if name != "duration"]
        rows = read_table(kept, columns=COUNTED, read_dictionary=names).to_pandas()
        corpora = rows.groupby("speaker", observed=True)["corpus"].nunique()
        if (corpora > 1).any():  # not within one part, or it would not have been valid
            raise ValueError(f"the speaker {corpora.idxmax()} is in two corpora")
        reasons = pandas.read_csv(refused, usecols=["corpus", "reason"], dtype="category", keep_default_na=False)
        table = summary(rows, reasons)
        if table["found"].to_dict() != found:
            raise RuntimeError(f"found {dict(found)} utterances, but kept + quarantined are {table['found'].to_dict()}")
        table.to_csv(counted, encoding="utf-8", lineterminator="\n")
    return table


def _frame(rows):
    return pandas.DataFrame(rows, columns=list(manifest.COLUMNS)).astype(manifest.COLUMNS)


def _row(row, data, sample_rate):
    """Return the manifest's row of a shard's: `text_quality` says so where the words may not be the recording's."""
    said = shards.utterance(row)
    files = job(said, data)
    speaker = f"{safe(said.corpus)}-{safe(said.speaker)}" if said.speaker else None
    name = f"{said.corpus}/{said.speaker or '-'}/{said.id}"
    source, licence, quality = first_match(rules("sources.csv"), name) or (said.corpus, "not stated", "exact")
    if said.text is None:
        quality = "none"
    elif not row["verdict"].startswith(("good", "unjudged")):
        quality += f"; alignment {row['verdict']}"
    (split,) = first_match(rules("splits.csv"), name) or [None]
    return {name: row[name] for name in manifest.COLUMNS if name in row} | {
        "source": source, "licence": licence, "speaker": speaker, "path": files.path,
        "end": said.start + row["duration"], "sample_rate": sample_rate if said.end is None else audio.SAMPLE_RATE,
        "text_quality": quality, "split": split or manifest.split_of(said.corpus, speaker, said.id),
        "robot_path": files.robot_path, "align_path": files.align_path,
    }  # fmt: skip


@lru_cache
def rules(name):
    """Return the rows of data_prep/<name> without the header: a pattern, then what it stands for."""
    with HERE.joinpath(name).open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def first_match(rules, name):
    """Return what the first rule whose pattern fits `name` (<corpus>/<speaker or ->/<id>) stands for, or None."""
    return next((rest for pattern, *rest in rules if fnmatchcase(name, pattern)), None)


def summary(kept, quarantine):
    """Return one row a corpus: found = kept + quarantined, hours, speakers, poor alignments, sources, reasons.

    kept: the manifest, or its columns COUNTED; quarantine: the table of refused utterances, with its columns corpus
    and reason. Where a corpus has several sources, `source` has the hours of each.
    """
    groups, refused = kept.groupby("corpus", observed=True), quarantine.groupby("corpus", observed=True)
    names = list(dict.fromkeys([*kept["corpus"].unique(), *quarantine["corpus"].unique()]))
    table = pandas.DataFrame(index=pandas.Index(names, name="corpus", dtype=object))
    table["kept"], table["quarantined"] = groups.size(), refused.size()
    table["minutes"] = groups["duration"].sum() / 60
    table["speakers"] = groups["speaker"].nunique()
    for verdict in ("poor", "trimmed"):
        wanted = kept["text_quality"].str.contains(f"alignment {verdict}")
        table[f"{verdict}_alignments"] = wanted.groupby(kept["corpus"], observed=True).sum()
    table = table.fillna(0).astype({name: int for name in table if name != "minutes"})
    table.insert(0, "found", table["kept"] + table["quarantined"])
    table.insert(3, "hours", (table["minutes"] / 60).round(2))
    sources = kept.groupby(["corpus", "source"], observed=True)["duration"].sum() / 3600
    table["source"] = [_sources(sources[name]) if name in sources else "" for name in names]
    table["reasons"] = [_reasons(quarantine["reason"][quarantine["corpus"] == name]) for name in names]
    return table.round({"minutes": 1})


def _sources(hours):
    return "; ".join(f"{name} {value:.2f} h" for name, value in hours.items()) if len(hours) > 1 else hours.index[0]


def _reasons(reasons):
    """Return how many utterances were refused for which kind of reason, the details left out."""
    kinds = Counter()
    for reason, count in reasons.value_counts().items():
        if count:
            kinds[re.sub(r"'[^']*'|\"[^\"]*\"|\d[\d.eE+-]*", "…", re.split(r"[:;] ", reason)[0])] += count
    return "; ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
