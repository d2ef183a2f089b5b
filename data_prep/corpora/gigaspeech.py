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
CONTAINERS = {"start_map": dict, "start_array": list}
LONGEST_S = 1_000_000  # the longest recordings have some hours


@accounted
def gigaspeech(folder, subset=None):
    """Yield an Utterance or a Refused for each segment that GigaSpeech.json lists.

    folder: `GigaSpeech_Data`; subset: only the segments of one of SUBSETS (each of XS to XL lies in the next); None:
    all. The JSON is streamed, one segment at a time. Segments have no speaker (one-off data), and nothing is cut: each
    utterance points into the long file by start and end. Segments that are only a garbage tag are refused with the tag
    as reason. Where the JSON breaks off, what came before stays.
    Raises ValueError for an unknown subset, and where there is no GigaSpeech.json or it lists no recording.
    """
    index, wanted, number = Path(folder) / "GigaSpeech.json", braced(subset), 0
    place, path, fault, listed = 0, index, None, False  # of the recording
    if not index.is_file():
        raise ValueError(f"{folder} has no file GigaSpeech.json; accepted is GigaSpeech_Data as unpacked")
    for kind, value in _events(index):
        if kind == "segment":
            place += 1
            subsets = value.get("subsets") if isinstance(value, dict) else None
            if wanted is None or not isinstance(subsets, list) or wanted in subsets:
                yield _segment(value, f"recording {number} segment {place}", path, fault, wanted)
        elif kind == "recording":
            number, place, path, fault, listed = number + 1, 0, index, "its recording has no path", False
        elif kind == "its path":
            path, fault = _path(folder, index, value)
        elif kind == "its segments":
            listed = value == []
        elif kind == "end" and not listed:
            yield Refused(f"recording {number}", str(path), "a recording without a list of segments")
        elif kind == "broken":
            yield Refused(index.stem, str(index), f"broken JSON in or behind recording {number}: {value}")
            return
    if not number:
        raise ValueError(f"{index} lists no recording; accepted is " + '{"audios": [{"path", "segments"}, ...]}')


def braced(subset):
    """Return a subset as GigaSpeech.json writes it, "{XL}" for "XL"; None for None. Raises ValueError for another."""
    if subset is not None and subset.strip("{}") not in SUBSETS:
        raise ValueError(f"GigaSpeech has no subset {subset!r}; accepted are {', '.join(SUBSETS)}")
    return subset and f"{{{subset.strip('{}')}}}"


def _events(index):
    """Yield (what, value) as they come: recording, what is "its ...", each segment, the end; broken, at last.

    By hand, since ijson's own objects need memory for a whole recording, and for the square of the depth.
    """
    depth, keys, audios, listing, segment, field = 0, {}, False, False, None, None
    with index.open("rb") as file:
        try:
            for event, value in ijson.basic_parse(file):
                if event == "map_key":
                    keys[depth] = value
                    continue
                if value is None and event in ("end_map", "end_array"):
                    depth -= 1
                else:
                    container = CONTAINERS.get(event) if value is None else None
                    value = container() if container else value
                    if depth == 5 and type(segment) is dict:
                        segment[keys[5]] = field = value
                    elif depth == 6 and type(field) is list:
                        field.append(value)
                    elif depth == 4:
                        segment = field = value
                    elif depth == 3 and audios:
                        listing = keys.get(3) == "segments" and value == []
                        yield f"its {keys.get(3)}", value
                    elif depth == 2 and audios:
                        keys.pop(3, None)
                        yield "recording", value
                    elif depth == 1:
                        audios = keys.get(1) == "audios" and value == []
                    if container:
                        depth += 1
                        continue
                if depth == 4 and audios and listing:
                    yield "segment", segment
                elif depth == 2 and audios:
                    yield "end", None
        except (ijson.JSONError, ValueError) as error:  # ValueError: a number of thousands of digits
            yield "broken", str(error).split("\n")[0]  # the rest quotes the file


def _path(folder, index, name):
    try:
        return (inside(folder, name), None) if isinstance(name, str) else (index, "its recording has no path")
    except ValueError as error:
        return name, str(error)


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
