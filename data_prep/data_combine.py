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

from tqdm.auto import tqdm

from data_prep import executors, shards, tables
from data_prep.corpora import Seen
from data_prep.corpora.demo import demo as demo_reader
from data_prep.corpora.find import KNOWN, Source, find
from data_prep.robot_twin import safe
from data_prep.tables import summary  # noqa: F401 - read from here too
from rovolad_lib.files import MARK, alone, printable, remove_partial
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio, manifest

SAMPLE_RATES = (16000, 22050, 24000, 32000, 44100, 48000)
FORM = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} utterances, {elapsed}{postfix}, {remaining} left"


def combine(
    corpora=None, data=None, workers=1, demo=False, limit=None, force=False, scheduler=None, rates=(), subset=None,
    supervision=None, sample_rate=audio.SAMPLE_RATE,
):  # fmt: skip
    """Read the corpora, write both audio folders, data/manifest.parquet, data/quarantine.csv and data/summary.csv.

    corpora, subset, supervision: as `find`; data: folder to write, the repository's by default, where a second run waits;
    workers: processes; demo: build the demo corpus, alone unless corpora is given; limit: utterances read of each
    corpus; force: make again what an earlier run made of the same recording and text; scheduler: address of a Dask
    cluster that is to do the work; rates: factors of the robot's rate to make as well; sample_rate: Hz of the persons'
    files, one of SAMPLE_RATES. Returns the table of `summary`. Raises ValueError as the readers do, where there is no
    corpus, and rather than replace the manifest of real data by the demo's; OSError where a file cannot be written.
    """
    if sample_rate not in SAMPLE_RATES:
        raise ValueError(f"a sample rate of {sample_rate} Hz; accepted are {', '.join(map(str, SAMPLE_RATES))}")
    if not all(0.5 <= rate <= 2 for rate in rates):
        raise ValueError(f"rates {rates}; accepted are factors from 0.5 to 2")
    data = Path(data).resolve() if data else paths.DATA
    sources = [] if demo and corpora is None else find(corpora, subset, supervision)
    if demo:
        _keep_real(data, sources)
        sources.append(Source("demo", "demo", partial(demo_reader, data / "demo")))
    if not sources:
        raise ValueError(f"no corpus in {corpora or paths.ROOT}; accepted are {KNOWN}, folders of recordings")
    (data / "shards").mkdir(parents=True, exist_ok=True)  # what cannot be written is told before anything is read
    total = 0  # known before the work, as a wrong layout is
    for source in sources:
        total += sum(1 for _ in tqdm(islice(source.read(), limit), f"reading {source.name}", leave=False, delay=2))
    connect = partial(executors.cluster, scheduler) if scheduler else partial(executors.processes, workers)
    options = {"rates": tuple(rate for rate in dict.fromkeys(rates) if rate != 1), "sample_rate": sample_rate}
    with alone(data, "combined"):
        cut = _cut(sources, limit, data, options, found := Counter(), made := [])
        _make(cut, total, force, connect)
        table = tables.write(made, found, data, sample_rate)
        _tidy(data, made, [] if limit or subset or supervision else sources)
    return table


def _cut(sources, limit, data, options, found, made):
    """Yield the shards of all sources; found: Counter of their utterances by corpus; made: list of their tables."""
    seen = {source.corpus: Seen() for source in sources}
    for source in sources:
        items = islice(source.read(), limit)
        for shard in shards.cut(items, source.corpus, source.name, data, options, seen[source.corpus]):
            found[source.corpus] += len(shard.items)
            made.append(shard.path)
            yield shard


def _make(cut, total, force, connect):
    """Make the shards that are not there yet, showing how far this is, the audio made, its rate and the time left."""
    with tqdm(total=total, bar_format=FORM, smoothing=0) as bar:

        def missing():
            for shard in cut:
                bar.set_description(shard.corpus, refresh=False)
                if force or not shards.is_made(shard):
                    yield shard
                else:
                    bar.initial += len(shard.items)  # done, but not by this run: its rate is of what it makes
                    bar.update(len(shard.items))

        audio_s = 0.0
        with closing(executors.completed(shards.make, missing(), connect)) as results:
            for shard, seconds in results:
                audio_s += seconds
                rate = audio_s / max(bar.format_dict["elapsed"], 1e-3)  # some clocks are coarse
                bar.set_postfix_str(f"{audio_s / 3600:.2f} h made at {rate:.1f} x real time", refresh=False)
                bar.update(len(shard.items))


def _tidy(data, made, sources):
    """Remove the tables that nothing uses any more, of corpora that were read as a whole, and what killed runs left."""
    used = set(made)
    for source in sources:
        for path in (data / "shards" / safe(source.name)).glob("*.parquet"):
            if path not in used:
                path.unlink()
    for folder in (data / name for name in ("audio_stylized_speaker", "audio_robot_speaker", "shards", "demo")):
        remove_partial(folder)
    for path in data.glob(f".*{MARK}.*"):  # of the tables; others may be writing to other folders of data
        path.unlink()


def _keep_real(data, sources):
    path = data / "manifest.parquet"
    real = sorted(set(manifest.read(path)["corpus"]) - {"demo"}) if path.is_file() and not sources else ()
    if real:
        told = f"{path} holds {', '.join(real)}, which the demo alone would replace"
        raise ValueError(f"{told}; give another --data, or --corpora as well")


def main(arguments=None):
    """Run the command; see `combine`."""
    printable()
    parser = argparse.ArgumentParser(description="Turn corpora on disk into the audio folders and the manifest.")
    add = parser.add_argument
    add("--corpora", help="folder of corpora; default: the official folder names in the repository")
    add("--data", help=f"folder to write, where a second run waits; default {paths.DATA}")
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
