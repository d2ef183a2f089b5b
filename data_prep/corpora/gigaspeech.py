"""GigaSpeech: GigaSpeech.json, and long recordings in which the segments lie by time."""

import re
from decimal import Decimal
from pathlib import Path

import ijson

from data_prep.corpora import Refused, Utterance, accounted, inside

SUBSETS = ("XS", "S", "M", "L", "XL", "DEV", "TEST")
PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
MARK = re.compile(rf"\s*({'|'.join(PUNCTUATION)})")
TAG = re.compile("<[A-Z]+>")
GARBAGE = ("<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>")
LONGEST_S = 1_000_000  # the longest recordings have some hours


@accounted
def gigaspeech(folder, subset=None):
    """Yield an Utterance or a Refused for each segment that GigaSpeech.json lists.

    folder: `GigaSpeech_Data`; subset: only the segments of one of SUBSETS (each of XS to XL lies in the next); None:
    all. The JSON is streamed, one recording at a time. Segments have no speaker (one-off data), and nothing is cut: each
    utterance points into the long file by start and end. Segments that are only a garbage tag are refused with the tag
    as reason. Where the JSON breaks off, the recordings before stay.
    Raises ValueError for an unknown subset, and where there is no GigaSpeech.json or it lists no recording.
    """
    index, wanted, number = Path(folder) / "GigaSpeech.json", braced(subset), 0
    if not index.is_file():
        raise ValueError(f"{folder} has no file GigaSpeech.json; accepted is GigaSpeech_Data as unpacked")
    try:
        with index.open("rb") as file:
            for number, recording in enumerate(ijson.items(file, "audios.item"), 1):
                yield from _recording(recording, f"recording {number}", folder, index, wanted)
    except (ijson.JSONError, ValueError) as error:  # ValueError: a number of thousands of digits
        told = str(error).split("\n")[0]  # the rest quotes the file
        yield Refused(index.stem, str(index), f"broken JSON behind recording {number}: {told}")
    else:
        if not number:
            raise ValueError(f"{index} lists no recording; accepted is " + '{"audios": [{"path", "segments"}, ...]}')


def braced(subset):
    """Return a subset as GigaSpeech.json writes it, "{XL}" for "XL"; None for None. Raises ValueError for another."""
    if subset is not None and subset.strip("{}") not in SUBSETS:
        raise ValueError(f"GigaSpeech has no subset {subset!r}; accepted are {', '.join(SUBSETS)}")
    return subset and f"{{{subset.strip('{}')}}}"


def _recording(recording, name, folder, index, wanted):
    recording = recording if isinstance(recording, dict) else {}
    path, segments = recording.get("path"), recording.get("segments")
    try:
        path, fault = (inside(folder, path), None) if isinstance(path, str) else (index, "its recording has no path")
    except ValueError as error:
        fault = str(error)
    if not isinstance(segments, list):
        yield Refused(name, str(path), "a recording without a list of segments")
        return
    for place, segment in enumerate(segments, 1):
        subsets = segment.get("subsets") if isinstance(segment, dict) else None
        if wanted is None or not isinstance(subsets, list) or wanted in subsets:
            yield _segment(segment, f"{name} segment {place}", path, fault, wanted)


def _segment(segment, name, path, fault, wanted):
    segment = segment if isinstance(segment, dict) else {}
    sid, text, start, end = map(segment.get, ("sid", "text_tn", "begin_time", "end_time"))
    if not isinstance(sid, str) or not sid:
        return Refused(name, str(path), fault or "no sid")
    if fault or not isinstance(text, str) or (wanted and not isinstance(segment.get("subsets"), list)):
        return Refused(sid, str(path), fault or ("no subsets" if isinstance(text, str) else "no text_tn"))
    text = MARK.sub(lambda tag: PUNCTUATION[tag[1]], text).strip()
    if tag := TAG.search(text):
        return Refused(sid, str(path), text if text in GARBAGE else f"tag {tag[0]} within the text")
    if {type(start), type(end)} - {int, Decimal} or not 0 <= start < end <= LONGEST_S:
        return Refused(sid, str(path), f"segment from {start!s:.20} to {end!s:.20} s; accepted is 0 <= begin < end")
    return Utterance(sid, "gigaspeech", None, path, text.lower() or None, "en", float(start), float(end))
