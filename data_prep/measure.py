"""What combining costs on this machine, and so what the full corpora would cost.

python -m data_prep.measure --corpora DIR [--data DIR] [--utterances N]
"""

import argparse
import random
import tempfile
import time
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from data_prep import executors, shards
from data_prep.corpora.find import find
from rovolad_lib.files import printable
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio

# hours, and whether the recordings are copied (see CARD.md)
FULL = {
    "VCTK": (44, True), "LibriTTS-R, train-other-500": (310, True), "MLS German": (1_967, True),
    "MLS English": (44_660, True), "GigaSpeech XL": (10_000, False),
}  # fmt: skip
MOST = 100_000  # utterances read of each corpus
SHARD = 8  # utterances: small ones, so that no process is without work for long at the end


def reading(corpora):
    """Return the utterances of all corpora in a folder, and how many of them the readers give in a second."""
    start = time.perf_counter()
    items = [item for source in find(corpora) for item in islice(source.read(), MOST)]
    return items, len(items) / (time.perf_counter() - start)


def draw(items, count):
    """Return up to so many of some utterances that are no part of a long recording, the same ones every time."""
    items = [item for item in items if getattr(item, "end", 0) is None]
    return random.Random(0).sample(items, min(count, len(items)))


def making(items, data, workers):
    """Return the seconds of audio and the seconds it took so many processes to make them, once these had started.

    items: list of Utterance; data: folder to write.
    """
    options = {"rates": (), "sample_rate": audio.SAMPLE_RATE}
    with executors.processes(workers) as pool:
        for part in (items[: SHARD * workers], items):  # the first starts the processes
            start = time.perf_counter()
            groups = [tuple(part[i : i + SHARD]) for i in range(0, len(part), SHARD)]
            work = [shards.Shard(group, "all", data, data / f"{i}.parquet", options) for i, group in enumerate(groups)]
            seconds = sum(seconds for _, seconds in executors.completed(shards.make, work, lambda: nullcontext(pool)))
    return seconds, time.perf_counter() - start


def disk(data, seconds):
    """Return the megabytes an hour of the files that `making` left in a folder, for so many seconds of audio."""
    patterns = {"person": "*stylized*/**/*.flac", "robot": "*robot*/**/*.flac", "map": "*robot*/**/*.npy"}
    sizes = {name: sum(path.stat().st_size for path in data.glob(pattern)) for name, pattern in patterns.items()}
    return {name: size / 1e6 * 3600 / seconds for name, size in sizes.items()}


def costs(rate, megabytes):
    """Return rows (corpus, hours, core-hours, GB) for the full corpora.

    rate: times real time of one process; megabytes: an hour, as `disk`.
    """
    robot = megabytes["robot"] + megabytes["map"]
    return [
        (name, hours, hours / rate, hours * (robot + copied * megabytes["person"]) / 1000)
        for name, (hours, copied) in FULL.items()
    ]


def main(arguments=None):
    """Measure and print."""
    printable()
    parser = argparse.ArgumentParser(description="Measure what combining costs on this machine.")
    parser.add_argument("--corpora", required=True, help="folder of corpora, as for data_combine.py")
    parser.add_argument("--data", help="folder for what is made meanwhile (default: the system's temporary one)")
    parser.add_argument("--utterances", type=int, default=300, help="how many to make (default %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.data and paths.folder(options.data, None)) as name:
        folder = Path(name)
        items, read = reading(options.corpora)
        items = draw(items, options.utterances)
        (seconds, took), (_, took_two) = (making(items, folder / str(workers), workers) for workers in (1, 2))
        rate, megabytes = seconds / took, disk(folder / "1", seconds)
    measured = {
        "reading, utterances a second": read,
        "robot and alignment, one process, x real time": rate, "two processes, x real time": seconds / took_two,
        "two processes over one": took / took_two, **{f"disk, {name}, MB an hour": megabytes[name] for name in megabytes},
    }  # fmt: skip
    print("| measured | value |\n| --- | --- |")
    print(*(f"| {name} | {value:,.2f} |" for name, value in measured.items()), sep="\n")
    print("\n| corpus | hours | core-hours | GB |\n| --- | --- | --- | --- |")
    print(*(f"| {name} | {h:,} | {work:,.1f} | {size:,.0f} |" for name, h, work, size in costs(rate, megabytes)), sep="\n")


if __name__ == "__main__":
    main()
