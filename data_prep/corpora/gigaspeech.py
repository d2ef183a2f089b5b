"""GigaSpeech: GigaSpeech.json, and long recordings in which the segments lie by time."""

import re
from pathlib import Path

import ijson

from data_prep.corpora import Refused, Utterance, inside

PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
GARBAGE = ("<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>")


def gigaspeech(folder):
    """Yield an Utterance or a Refused for each segment that GigaSpeech.json lists.

    folder: `GigaSpeech_Data`. The JSON is streamed, one long recording at a time. Segments have no speaker (one-off
    data), and nothing is cut: each utterance points into the long file by start and end. Segments that are only a
    garbage tag are refused with the tag as reason.
    """
    folder = Path(folder)
    index = folder / "GigaSpeech.json"
    try:
        with index.open("rb") as file:
            for audio in ijson.items(file, "audios.item", use_float=True):
                yield from _segments(folder, audio)
    except ijson.JSONError as error:
        yield Refused(index.stem, str(index), f"broken JSON: {error}")


def _segments(folder, audio):
    for segment in audio["segments"]:
        name, text = segment["sid"], _punctuated(segment["text_tn"])
        start, end = segment["begin_time"], segment["end_time"]
        try:
            path = inside(folder, audio["path"])
        except ValueError as error:
            yield Refused(name, audio["path"], str(error))
            continue
        tag = re.search("<[A-Z]+>", text)
        if text in GARBAGE:
            yield Refused(name, str(path), text)
        elif tag:
            yield Refused(name, str(path), f"tag {tag[0]} within the text")
        elif not 0 <= start < end:
            yield Refused(name, str(path), f"segment from {start} to {end} s")
        else:
            yield Utterance(name, "gigaspeech", None, path, text.lower(), "en", float(start), float(end))


def _punctuated(text):
    for tag, mark in PUNCTUATION.items():
        text = re.sub(rf"\s*{tag}", mark, text)
    return text.strip()
