"""What combining costs on this machine, and so what the full corpora would cost.

python -m data_prep.measure --corpora DIR [--data DIR] [--utterances N]
"""

import argparse
import json
import random
import tempfile
import time
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from data_prep import executors, shards
from data_prep.corpora import Utterance
from data_prep.corpora.find import find
from data_prep.corpora.gigaspeech import gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from rovolad_lib.lab import paths

# hours, and whether the recordings are copied (see CARD.md)
FULL = {
    "VCTK": (44, True), "LibriTTS-R, train-other-500": (310, True), "MLS German": (1_967, True),
    "MLS English": (44_660, True), "GigaSpeech XL": (10_000, False),
}  # fmt: skip
DRAWN_FROM = 2000  # utterances at the start of each corpus
SHARD = 8  # utterances: small ones, so that no process is without work for long at the end


def scanning(folder, files=8000):
    """Return how many files a second a reader goes through, in a tree of so many recordings and texts made for it.

    folder: where to make the tree.
    """
    for i in range(files // 2):
        path = folder / f"train/{i // 400}/{i // 40}/{i // 400}_{i // 40}_{i:06}_000000.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_suffix(".normalized.txt").write_text("A sentence of a few words.", encoding="utf-8")
    start = time.perf_counter()
    found = sum(1 for _ in libritts_r(folder))
    return 2 * found / (time.perf_counter() - start)


def streaming(folder, segments=100_000):
    """Return how many segments a second are read from a GigaSpeech.json of so many, made for it in a folder."""
    folder.mkdir()
    (folder / "long.opus").touch()
    named = {"speaker": "N/A", "text_tn": "HELLO THERE <COMMA> HOW ARE YOU <QUESTIONMARK>", "subsets": ["{XL}", "{L}"]}
    with (folder / "GigaSpeech.json").open("w", encoding="utf-8") as file:
        for first in range(0, segments, 500):
            times = [{"sid": f"A{first + i}", "begin_time": 4.0 * i, "end_time": 4.0 * i + 3} | named for i in range(500)]
            file.write(",\n" if first else '{"audios": [')
            json.dump({"aid": f"A{first}", "path": "long.opus", "duration": 2000.0, "segments": times}, file)
        file.write("]}")
    start = time.perf_counter()
    found = sum(1 for _ in gigaspeech(folder))
    return found / (time.perf_counter() - start)


def draw(corpora, count):
    """Return up to so many utterances of all corpora, in a random order that is always the same."""
    draw, items = random.Random(0), []
    for source in find(corpora):
        found = [item for item in islice(source.read(), DRAWN_FROM) if isinstance(item, Utterance)]
        items += draw.sample(found, min(count, len(found)))
    draw.shuffle(items)
    return items[:count]


def making(items, data, workers):
    """Return how many times faster than real time utterances are made by so many processes, once these have started.

    items: list of Utterance; data: folder to write.
    """

    def tasks(items, name):
        for i in range(0, len(items), SHARD):
            yield shards.Shard(tuple(items[i : i + SHARD]), "all", data, data / name / f"{i}.parquet", shards.Options())

    with executors.processes(workers) as pool:
        for part in ("warm", "timed"):
            start = time.perf_counter()
            some = items[: SHARD * workers] if part == "warm" else items
            made = executors.completed(shards.make, tasks(some, part), lambda: nullcontext(pool))
            seconds = sum(seconds for _, seconds in made)
    return seconds / (time.perf_counter() - start)


def disk(data):
    """Return the megabytes for each hour of the files that `making` left in a folder: person, robot and frame map."""
    rows = [row for path in data.glob("timed/*.parquet") for row in shards.read(path) if not row["reason"]]
    jobs = [shards.robot_twin.job(shards.utterance(row), data) for row in rows]

    def each(name, wanted):
        sizes = [(data / getattr(job, name)).stat().st_size for job in jobs if wanted(job)]
        hours = sum(row["duration"] for row, job in zip(rows, jobs, strict=True) if wanted(job)) / 3600
        return sum(sizes) / 1e6 / hours if sizes else 0.0

    copied = each("path", lambda job: job.utterance.end is None)
    return {"person": copied, **{name: each(f"{key}_path", bool) for name, key in (("robot", "robot"), ("map", "align"))}}


def costs(rate, megabytes):
    """Return rows (corpus, hours, core-hours, GB) for the full corpora.

    rate: times real time of one process; megabytes: an hour, as `disk`.
    """
    robot = megabytes["robot"] + megabytes["map"]
    return [
        (name, hours, hours / rate, hours * (robot + copied * megabytes["person"]) / 1000)
        for name, (hours, copied) in FULL.items()
    ]


def table(header, rows):
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what combining costs on this machine.")
    parser.add_argument("--corpora", required=True, help="folder of corpora, as for data_combine.py")
    parser.add_argument("--data", help="folder for what is made meanwhile (default: the system's temporary one)")
    parser.add_argument("--utterances", type=int, default=300, help="how many to make (default %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.data and paths.folder(options.data, None)) as name:
        folder = Path(name)
        files, segments = scanning(folder / "LibriTTS_R"), streaming(folder / "GigaSpeech_Data")
        items = draw(options.corpora, options.utterances)
        one, two = (making(items, folder / str(workers), workers) for workers in (1, 2))
        megabytes = disk(folder / "1")
    measured = [
        ("scanning, files/s", f"{files:,.0f}"), ("GigaSpeech.json, segments/s", f"{segments:,.0f}"),
        ("robot and alignment, one process, x real time", f"{one:.1f}"),
        ("two processes, x real time", f"{two:.1f}"), ("two processes over one", f"{two / one:.2f}"),
        *((f"disk, {name}, MB an hour", f"{value:.1f}") for name, value in megabytes.items()),
    ]  # fmt: skip
    print(table(("measured", "value"), measured), end="\n\n")
    rows = [(name, f"{h:,}", f"{work:,.0f}", f"{size:,.0f}") for name, h, work, size in costs(one, megabytes)]
    print(table(("corpus", "hours", "core-hours", "GB"), rows))


if __name__ == "__main__":
    main()
