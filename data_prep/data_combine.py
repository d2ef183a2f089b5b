"""The command that turns corpora on disk into the audio folders and the manifest.

python data_prep/data_combine.py --corpora DIR [--data DIR] [--workers N] [--demo] [--limit N] [--force]
"""

import argparse
import csv
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

if __name__ in ("__main__", "__mp_main__"):  # started by path: the packages lie one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas
from tqdm.auto import tqdm

from data_prep.corpora import Refused
from data_prep.corpora.demo import demo as demo_reader
from data_prep.corpora.find import Source, find
from data_prep.done import Done
from data_prep.robot_twin import job, make, safe
from rovolad_lib.files import replacing
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio, manifest

HERE = Path(__file__).resolve().parent
BATCH = 2048  # utterances that are under way at once, so that millions of segments never lie in memory


def combine(corpora=None, data=None, workers=1, demo=False, limit=None, force=False):
    """Read the corpora, write both audio folders, data/manifest.parquet and data/quarantine.csv.

    corpora: as `find`; data: folder to write, the repository's by default; workers: processes; demo: build the demo
    corpus, alone unless corpora is given; limit: utterances read of each corpus; force: make again what an earlier run
    made from the same recording and text. Returns the table of `summary`. Raises ValueError as the readers do, where
    there is no corpus, and rather than replace the manifest of real data by the demo's.
    """
    data = Path(data).resolve() if data else paths.DATA
    sources = [] if demo and corpora is None else find(corpora)
    if demo:
        _keep_real(data, sources)
        sources.append(Source("demo", "demo", partial(demo_reader, data / "demo")))
    if not sources:
        known = "VCTK-Corpus, LibriTTS_R, mls_*, GigaSpeech_Data, folders of recordings"
        raise ValueError(f"no corpus in {corpora or paths.ROOT}; accepted are {known}")
    tables, refused, found = [], [], {}
    with _pool(workers) as run:
        done = Done(data / "combined.jsonl", force)
        taken = set()
        for corpus, name, read in sources:
            items = islice(read(), limit)
            with tqdm(desc=name, unit=" utterances") as bar:
                while batch := list(islice(items, BATCH)):
                    found[corpus] = found.get(corpus, 0) + len(batch)
                    rows, reasons = _batch(batch, corpus, data, run, done, taken, bar)
                    tables.append(pandas.DataFrame(rows, columns=list(manifest.COLUMNS)).astype(manifest.COLUMNS))
                    refused += reasons
    kept = pandas.concat(tables, ignore_index=True)
    quarantine = pandas.DataFrame(refused, columns=["id", "corpus", "path", "reason"])
    table = summary(kept, quarantine)
    if table["found"].to_dict() != found:
        raise RuntimeError(f"found {found} utterances, but kept + quarantined are {table['found'].to_dict()}")
    with replacing(data / "quarantine.csv") as temporary:
        quarantine.to_csv(temporary, index=False, encoding="utf-8")
    manifest.write(kept, data / "manifest.parquet")
    return table


def summary(kept, quarantine):
    """Return one row a corpus: found = kept + quarantined, minutes, speakers and poor alignments.

    kept: the manifest; quarantine: the table of refused utterances, with its column `corpus`.
    """
    groups, refused = kept.groupby("corpus"), quarantine.groupby("corpus").size()
    names = list(dict.fromkeys([*kept["corpus"], *quarantine["corpus"]]))
    table = pandas.DataFrame(index=pandas.Index(names, name="corpus"))
    table["kept"] = groups.size()
    table["quarantined"] = refused
    table["minutes"] = groups["duration"].sum() / 60
    table["speakers"] = groups["speaker"].nunique()
    table["poor_alignments"] = groups["text_quality"].agg(lambda words: words.str.contains("alignment poor").sum())
    table = (
        table.fillna(0)
        .astype({name: int for name in ("kept", "quarantined", "speakers", "poor_alignments")})
        .round({"minutes": 1})
    )
    table.insert(0, "found", table["kept"] + table["quarantined"])
    return table


def _batch(items, corpus, data, run, done, taken, bar):
    """Return the manifest rows and the refusals of some utterances."""
    jobs, refused = [], []
    for item in items:
        reason = item.reason if isinstance(item, Refused) else None
        if reason is None and item.text is None:
            reason = "no text"
        if reason is None and not any(letter.isalnum() for letter in item.text):
            reason = "no words in the text"
        if reason is None and (corpus, item.id.lower()) in taken:
            reason = f"another utterance has the id {item.id!r}"
        if reason is None:
            taken.add((corpus, item.id.lower()))  # lower: some file systems do not tell A from a
            jobs.append(job(item, data))
        else:
            refused.append((item.id, corpus, str(item.path), reason))
    fresh = [job for job in jobs if done.get(job) is None]
    bar.update(len(items) - len(fresh))
    for made, result in zip(fresh, run(fresh), strict=True):
        bar.update()
        if isinstance(result, str):
            refused.append((made.utterance.id, corpus, str(made.utterance.path), result))
        else:
            done.add(made, result)
    return [_row(job, result) for job in jobs if (result := done.get(job))], refused


def _row(job, result):
    said = job.utterance
    speaker = f"{safe(said.corpus)}-{safe(said.speaker)}" if said.speaker else None
    name = f"{said.corpus}/{said.speaker or '-'}/{said.id}"
    source, licence, quality = first_match(rules("sources.csv"), name) or (said.corpus, "not stated", "exact")
    if result["verdict"] != "good":
        quality += f"; alignment {result['verdict']}"  # the words may not be the recording's
    (split,) = first_match(rules("splits.csv"), name) or [None]
    start = said.start
    return {
        "id": said.id, "corpus": said.corpus, "source": source, "licence": licence, "speaker": speaker,
        "path": job.path, "start": start, "end": start + result["duration"], "sample_rate": audio.SAMPLE_RATE,
        "duration": result["duration"], "text": said.text, "text_quality": quality,
        "language": said.language, "gender": said.gender, "age": said.age, "accent": said.accent, "style": said.style,
        "split": split or manifest.split_of(said.corpus, speaker, said.id),
        "robot_path": job.robot_path, "robot_method": "espeak", "align_path": job.align_path,
    }  # fmt: skip


@lru_cache
def rules(name):
    """Return the rows of data_prep/<name> without the header: a pattern, then what it stands for."""
    with HERE.joinpath(name).open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def first_match(rules, name):
    """Return what the first rule whose pattern fits `name` (<corpus>/<speaker or ->/<id>) stands for, or None."""
    return next((rest for pattern, *rest in rules if fnmatchcase(name, pattern)), None)


@contextmanager
def _pool(workers):
    """Yield a function that makes jobs, one after the other or in processes, and gives the results in order."""
    if workers <= 1:
        yield lambda jobs: map(make, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda jobs: pool.map(make, jobs, chunksize=8)


def _keep_real(data, sources):
    path = data / "manifest.parquet"
    if path.is_file() and not sources:
        real = sorted(set(manifest.read(path)["corpus"]) - {"demo"})
        if real:
            raise ValueError(
                f"{path} holds {', '.join(real)}, which the demo alone would replace; "
                "give another --data, or --corpora as well"
            )


def main(arguments=None):
    """Run the command; see `combine`."""
    parser = argparse.ArgumentParser(description="Turn corpora on disk into the audio folders and the manifest.")
    parser.add_argument("--corpora", help="folder of corpora; default: the official folder names in the repository")
    parser.add_argument("--data", help=f"folder to write; default {paths.DATA}")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--demo", action="store_true", help="build the demo corpus of espeak voices")
    parser.add_argument("--limit", type=int, help="utterances read of each corpus")
    parser.add_argument("--force", action="store_true", help="make again what an earlier run made")
    options = parser.parse_args(arguments)
    try:
        table = combine(**vars(options))
    except ValueError as error:
        parser.error(str(error))
    print(table.to_string())


if __name__ == "__main__":
    main()
