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
from data_prep.corpora.find import find
from data_prep.corpora.gigaspeech import gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio

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
    return 2 * sum(1 for _ in libritts_r(folder)) / (time.perf_counter() - start)


def streaming(folder, recordings=200):
    """Return how many segments a second are read from a GigaSpeech.json of so many recordings with 500 segments each.

    folder: where to make it.
    """
    folder.mkdir()
    (folder / "long.opus").touch()
    named = {"speaker": "N/A", "text_tn": "HELLO THERE <COMMA> HOW ARE YOU <QUESTIONMARK>", "subsets": ["{XL}", "{L}"]}
    audios = [
        {
            "path": "long.opus",
            "segments": [{"sid": f"A{n}_{i}", "begin_time": 4.0 * i, "end_time": 4.0 * i + 3, **named} for i in range(500)],
        }
        for n in range(recordings)
    ]
    (folder / "GigaSpeech.json").write_text(json.dumps({"audios": audios}), encoding="utf-8")
    start = time.perf_counter()
    return sum(1 for _ in gigaspeech(folder)) / (time.perf_counter() - start)


def draw(corpora, count):
    """Return up to so many utterances of all corpora but long recordings, in a random order that is always the same."""
    draw, items = random.Random(0), []
    for source in find(corpora):
        found = [item for item in islice(source.read(), DRAWN_FROM) if getattr(item, "end", 0) is None]
        items += draw.sample(found, min(count, len(found)))
    draw.shuffle(items)
    return items[:count]


def making(items, data, workers):
    """Return the seconds of audio and the seconds it took so many processes to make them, once these had started.

    items: list of Utterance; data: folder to write.
    """

    parts = {"warm": items[: SHARD * workers], "timed": items}
    options = {"rates": (), "sample_rate": audio.SAMPLE_RATE}
    with executors.processes(workers) as pool:
        for name, part in parts.items():
            start = time.perf_counter()
            groups = [tuple(part[i : i + SHARD]) for i in range(0, len(part), SHARD)]
            work = [shards.Shard(g, "all", data, data / name / f"{i}.parquet", options) for i, g in enumerate(groups)]
            made = executors.completed(shards.make, work, lambda: nullcontext(pool))
            seconds = sum(seconds for _, seconds in made)
    return seconds, time.perf_counter() - start


def disk(data, seconds):
    """Return the megabytes an hour of the files that `making` left in a folder, for so many seconds of audio."""
    patterns = {
        "person": "audio_stylized_speaker/**/*.flac", "robot": "audio_robot_speaker/**/*.flac",
        "map": "audio_robot_speaker/**/*.npy",
    }  # fmt: skip
    return {
        name: sum(path.stat().st_size for path in data.glob(pattern)) / 1e6 * 3600 / seconds
        for name, pattern in patterns.items()
    }


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
        (seconds, took), (_, took_two) = (making(items, folder / str(workers), workers) for workers in (1, 2))
        megabytes, one, two = disk(folder / "1", seconds), seconds / took, seconds / took_two
    measured = [
        ("scanning, files/s", f"{files:,.0f}"), ("GigaSpeech.json, segments/s", f"{segments:,.0f}"),
        ("robot and alignment, one process, x real time", f"{one:.1f}"),
        ("two processes, x real time", f"{two:.1f}"), ("two processes over one", f"{two / one:.2f}"),
        *((f"disk, {name}, MB an hour", f"{value:.1f}") for name, value in megabytes.items()),
    ]  # fmt: skip
    print(table(("measured", "value"), measured), end="\n\n")
    rows = [
        (name, f"{hours:,}", f"{work:,.{1 if work < 10 else 0}f}", f"{size:,.0f}")
        for name, hours, work, size in costs(one, megabytes)
    ]
    print(table(("corpus", "hours", "core-hours", "GB"), rows))


if __name__ == "__main__":
    main()
