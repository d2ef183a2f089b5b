"""GigaSpeech: GigaSpeech.json, and long recordings in which the segments lie by time."""

import re
from pathlib import Path

import ijson

from data_prep.corpora import Refused, Utterance, accounted, inside

SUBSETS = ("XS", "S", "M", "L", "XL", "DEV", "TEST")
PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
MARK = re.compile(rf"\s*({'|'.join(PUNCTUATION)})")
TAG = re.compile("<[A-Z]+>")
GARBAGE = ("<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>")
LONGEST_S = 1e6  # a time beyond is no time; the longest recording has some hours


@accounted
def gigaspeech(folder, subset=None):
    """Yield an Utterance or a Refused for each segment that GigaSpeech.json lists.

    folder: `GigaSpeech_Data`; subset: only the segments of one of SUBSETS (each of XS to XL lies in the next); None:
    all. The JSON is streamed, one long recording at a time. Segments have no speaker (one-off data), and nothing is
    cut: each utterance points into the long file by start and end. Segments that are only a garbage tag are refused
    with the tag as reason. Where the JSON breaks off, what came before stays.
    Raises ValueError for an unknown subset, and where there is no GigaSpeech.json or it lists no recording.
    """
    index, wanted, number = Path(folder) / "GigaSpeech.json", braced(subset), 0
    for number, audio in enumerate(_audios(index), 1):
        if isinstance(audio, Refused):
            yield audio
        elif isinstance(audio, dict) and isinstance(audio.get("segments"), list):
            yield from _segments(folder, index, audio, f"recording {number}", wanted)
        else:
            yield Refused(f"recording {number}", str(index), "a recording without a list of segments")
    if not number:
        raise ValueError(f"{index} lists no recording; accepted is " + '{"audios": [{"path", "segments"}, ...]}')


def braced(subset):
    """Return a subset as GigaSpeech.json writes it, "{XL}" for "XL"; None for None. Raises ValueError for another."""
    if subset is not None and subset.strip("{}") not in SUBSETS:
        raise ValueError(f"GigaSpeech has no subset {subset!r}; accepted are {', '.join(SUBSETS)}")
    return subset and f"{{{subset.strip('{}')}}}"


def _audios(index):
    with index.open("rb") as file:
        try:
            yield from ijson.items(file, "audios.item", use_float=True)
        except (ijson.JSONError, ValueError) as error:  # ValueError: a number of thousands of digits
            message = str(error).split("\n")[0]  # the rest quotes the file
            yield Refused(index.stem, str(index), f"broken JSON at byte {file.tell()} or a little before: {message}")


def _segments(folder, index, audio, name, wanted):
    path, fault = audio.get("path"), None
    try:
        path = inside(folder, path) if isinstance(path, str) else index
        fault = None if path != index else "its recording has no path"
    except ValueError as error:
        fault = str(error)
    for place, segment in enumerate(audio["segments"], 1):
        if not isinstance(segment, dict):
            yield Refused(f"{name} segment {place}", str(path), "not a JSON object")
        elif wanted is None or not isinstance(segment.get("subsets"), list) or wanted in segment["subsets"]:
            yield _segment(segment, f"{name} segment {place}", path, fault, wanted)


def _segment(segment, name, path, fault, wanted):
    sid, text, start, end = map(segment.get, ("sid", "text_tn", "begin_time", "end_time"))
    named = isinstance(sid, str) and sid != ""
    if fault or not named:
        return Refused(sid if named else name, str(path), fault or "no sid")
    if not isinstance(text, str) or (wanted and not isinstance(segment.get("subsets"), list)):
        return Refused(sid, str(path), "no text_tn" if not isinstance(text, str) else "no subsets")
    text = MARK.sub(lambda tag: PUNCTUATION[tag[1]], text).strip() if "<" in text else text.strip()
    tag = TAG.search(text)
    if tag:
        return Refused(sid, str(path), text if text in GARBAGE else f"tag {tag[0]} within the text")
    if not all(type(time) in (int, float) for time in (start, end)) or not 0 <= start < end <= LONGEST_S:
        return Refused(sid, str(path), f"segment from {start!s:.20} to {end!s:.20} s; accepted is 0 <= begin < end")
    return Utterance(sid, "gigaspeech", None, path, text.lower() or None, "en", float(start), float(end))
