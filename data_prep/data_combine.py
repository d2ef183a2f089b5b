"""The command that turns corpora on disk into the audio folders and the manifest.

python data_prep/data_combine.py --corpora DIR [--data DIR] [--workers N | --scheduler ADDRESS] [--demo] [--limit N]
"""

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

if __name__ in ("__main__", "__mp_main__"):  # started by path: the packages lie one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep import executors, shards, tables
from data_prep.corpora.demo import demo as demo_reader
from data_prep.corpora.find import Source, find
from data_prep.progress import Progress
from data_prep.robot_twin import safe
from data_prep.tables import summary  # noqa: F401 - read from here too
from rovolad_lib.files import remove_partial, replacing
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio, manifest

SAMPLE_RATES = (16000, 22050, 24000, 32000, 44100, 48000)


def combine(
    corpora=None, data=None, workers=1, demo=False, limit=None, force=False, scheduler=None, rates=(), subset=None,
    supervision=None, sample_rate=audio.SAMPLE_RATE,
):  # fmt: skip
    """Read the corpora, write both audio folders, data/manifest.parquet, data/quarantine.csv and data/summary.csv.

    corpora, subset, supervision: as `find`; data: folder to write, the repository's by default, one run at a time;
    workers: processes; demo: build the demo corpus, alone unless corpora is given; limit: utterances read of each
    corpus; force: make again what an earlier run made of the same recording and text; scheduler: address of a Dask
    cluster that is to do the work; rates: factors of the robot's rate to make as well; sample_rate: Hz of the persons'
    files, one of SAMPLE_RATES. Returns the table of `summary`. Raises ValueError as the readers do, where there is no
    corpus, and rather than replace the manifest of real data by the demo's; OSError where a file cannot be written.
    """
    if sample_rate not in SAMPLE_RATES:
        raise ValueError(f"a sample rate of {sample_rate} Hz; accepted are {', '.join(map(str, SAMPLE_RATES))}")
    data = Path(data).resolve() if data else paths.DATA
    sources = [] if demo and corpora is None else find(corpora, subset, supervision)
    if demo:
        _keep_real(data, sources)
        sources.append(Source("demo", "demo", partial(demo_reader, data / "demo")))
    if not sources:
        known = "VCTK-Corpus, LibriTTS_R, mls_*, GigaSpeech_Data, folders of recordings"
        raise ValueError(f"no corpus in {corpora or paths.ROOT}; accepted are {known}")
    _try_writing(data)
    total = sum(1 for source in sources for _ in islice(source.read(), limit))  # a wrong layout is told before the work
    connect = partial(executors.cluster, scheduler) if scheduler else partial(executors.processes, workers)
    found, made = Counter(), []
    cut = _cut(sources, limit, data, shards.Options(tuple(rates), sample_rate), found, made)
    with Progress(total) as progress:
        missing = (shard for shard in cut if not progress.skip(shard, not force and shards.is_made(shard)))
        with closing(executors.completed(shards.make, missing, connect)) as results:
            for shard, seconds in results:
                progress.add(shard, seconds)
    table = tables.write(made, found, data, sample_rate)
    _tidy(data, made, [] if limit or subset or supervision else sources)
    return table


def _try_writing(data):
    """Make the folders and a file in each before the work begins: one error is better than one an utterance."""
    for name in ("audio_stylized_speaker", "audio_robot_speaker", "shards"):
        trial = data / name / "trial"
        with replacing(trial):
            pass
        trial.unlink()


def _cut(sources, limit, data, options, found, made):
    """Yield the shards of all sources; found: Counter of their utterances by corpus; made: list of their tables."""
    seen = {source.corpus: shards.Seen() for source in sources}
    for source in sources:
        items = islice(source.read(), limit)
        for shard in shards.cut(items, source.corpus, source.name, data, options, seen[source.corpus]):
            found[source.corpus] += len(shard.items)
            made.append(shard.path)
            yield shard


def _tidy(data, made, sources):
    """Remove the tables that nothing uses any more, of corpora that were read as a whole, and what killed runs left."""
    used = set(made)
    for source in sources:
        for path in (data / "shards" / safe(source.name)).glob("*.parquet"):
            if path not in used:
                path.unlink()
    remove_partial(data)


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
    add = parser.add_argument
    add("--corpora", help="folder of corpora; default: the official folder names in the repository")
    add("--data", help=f"folder to write, one run at a time; default {paths.DATA}")
    add("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    add("--scheduler", metavar="ADDRESS", help="do the work on the Dask cluster of this scheduler, such as "
        "tcp://10.0.0.1:8786, whose workers (one thread each) see the folders under the same names")  # fmt: skip
    add("--demo", action="store_true", help="build the demo corpus of espeak voices")
    add("--limit", type=int, help="utterances read of each corpus")
    add("--force", action="store_true", help="make again what an earlier run made")
    add("--rates", type=float, nargs="+", default=(), metavar="FACTOR",
        help="make the robot at these multiples of its rate as well, such as 0.9 1.1")  # fmt: skip
    add("--subset", help="subset of GigaSpeech to read, such as XS, S, M, L, XL, DEV or TEST; default: all")
    add("--supervision", metavar="HANDLES", help="limited-supervision list of MLS to read, such as 9hr or 1hr/0; default: all")
    add("--sample-rate", type=int, default=audio.SAMPLE_RATE, choices=SAMPLE_RATES,
        help="Hz of the persons' files (default %(default)s, what all models here read)")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        table = combine(**vars(options))
    except ValueError as error:
        parser.error(_told(error))
    except (OSError, RuntimeError, CancelledError) as error:
        told = f"{parser.prog}: {_told(error)}\nNothing is half-written; the same command goes on from here."
        raise SystemExit(told) from error
    print(table.drop(columns=["source", "reasons"]).to_string())
    for row in table.itertuples():
        print(f"{row.Index}: {row.source or 'nothing kept'}{f'; quarantined: {row.reasons}' if row.reasons else ''}")


def _told(error):
    return ", ".join([str(error) or type(error).__name__, *getattr(error, "__notes__", [])])


if __name__ == "__main__":
    main()
