"""The manifest: one row an utterance, and the readers of the files a row names."""

import hashlib
import re
from pathlib import Path, PurePosixPath

import numpy
import pandas
import pyarrow

from rovolad_lib.files import replacing
from rovolad_lib.speech import audio

_TEXT = pandas.StringDtype("pyarrow", na_value=numpy.nan)
COLUMNS = {
    "id": _TEXT, "corpus": _TEXT, "source": _TEXT, "licence": _TEXT, "speaker": _TEXT, "path": _TEXT,
    "start": "float64", "end": "float64", "sample_rate": "int64", "duration": "float64",
    "text": _TEXT, "text_quality": _TEXT, "language": _TEXT, "gender": _TEXT, "age": _TEXT,
    "accent": _TEXT, "style": _TEXT, "split": _TEXT, "robot_path": _TEXT, "robot_method": _TEXT, "align_path": _TEXT,
}  # fmt: skip
NULLABLE = ("speaker", "text", "gender", "age", "accent", "style", "robot_path", "robot_method", "align_path")
SPLITS = ("train", "val_seen", "test_seen", "val_unseen", "test_unseen")
AFFECTS_RESULTS = (
    "id", "corpus", "speaker", "start", "end", "sample_rate", "text", "language", "split", "robot_method",
)  # fmt: skip
ROUNDING_S = 0.01
# of posix strings, as regular expressions, which pandas applies to ten million rows in seconds
UP = r"(?:^|[/\\])\.\.(?:[/\\]|$)"  # a way back
ABSOLUTE = r"^/|^[A-Za-z]:[/\\]"  # on this system or on Windows
LEAVES = rf"{UP}|{ABSOLUTE}|\\|^[A-Za-z]:|^[./]*$"  # the folder that a relative path starts from


def write(frame, path):
    """Write a manifest as parquet, whole or not at all.

    frame: a table with the columns of COLUMNS; None and NaN are null. path: where to.
    errors: ValueError as `validate`.
    """
    frame = _typed(frame)
    validate(frame)
    with replacing(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", index=False)


def read(path):
    """Return the manifest in a parquet file, its rows numbered from 0, nulls as NaN.

    errors: FileNotFoundError; ValueError as `validate`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no manifest at {path}; data_prep/data_combine.py makes one")
    try:
        frame = _typed(pandas.read_parquet(path, engine="pyarrow"))
    except pyarrow.ArrowInvalid as error:  # cut off, or of another kind
        raise ValueError(f"{path} is damaged: {error}; data_prep/data_combine.py makes it again") from error
    validate(frame)
    return frame


def _typed(frame):
    """Return the table with the columns of COLUMNS in their order and types."""
    missing, unknown = [name for name in COLUMNS if name not in frame], [name for name in frame if name not in COLUMNS]
    if missing or unknown:
        found = f"without the columns {missing} and with the unknown ones {unknown}"
        raise ValueError(f"a manifest {found}; accepted are {', '.join(COLUMNS)}")
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    try:
        return frame.astype(COLUMNS)
    except (TypeError, ValueError) as error:
        accepted = {name: str(kind) for name, kind in COLUMNS.items()}
        raise ValueError(f"a column cannot be read as its type: {error}; accepted are {accepted}") from error


def validate(frame):
    """Raise ValueError, naming the first rows at fault, where a manifest is not one that the readers can trust.

    frame: a table with the columns of COLUMNS. Held: (corpus, id) unique, null only in NULLABLE, splits of SPLITS,
        times in order,
    relative paths inside the data folder (only `path` may be absolute), one-off rows aside every speaker in one corpus.
    """

    def refuse(wrong, what):
        wrong = numpy.asarray(wrong, dtype=bool)
        if wrong.any():
            first = frame["id"][wrong][:3].tolist()
            raise ValueError(f"{int(wrong.sum())} rows of the manifest: {what}; the first are {first}")

    for name in COLUMNS:
        if name not in NULLABLE:
            refuse(frame[name].isna(), f"{name} is null; accepted are nulls in {', '.join(NULLABLE)}")
    refuse(frame.duplicated(["corpus", "id"]), "their id stands more than once in their corpus")
    refuse(~frame["split"].isin(SPLITS), f"another split than {', '.join(SPLITS)}")
    backwards = (frame["start"] < 0) | (frame["end"] < frame["start"])
    refuse(backwards, "times out of order; accepted are 0 <= start <= end, in seconds")
    refuse((frame["end"] - frame["start"] - frame["duration"]).abs() > ROUNDING_S, "duration is not end - start")
    refuse(frame["sample_rate"] <= 0, "sample_rate is not above 0 Hz")
    leaves = {name: frame[name].str.contains(LEAVES, na=False) for name in ("path", "robot_path", "align_path")}
    leaves["path"] &= ~frame["path"].str.contains(ABSOLUTE, na=False) | frame["path"].str.contains(UP, na=False)
    for name, wrong in leaves.items():
        refuse(wrong, f"{name} leaves the data folder")
    several = frame.groupby("speaker")["corpus"].transform("nunique").gt(1)
    refuse(frame["speaker"].notna() & several, "their speaker is in two corpora")


def fingerprint(frame):
    """Return 12 hexadecimal digits of what a manifest says that affects results: the rows in their order, without where
    files lie.

    frame: a manifest. Columns: AFFECTS_RESULTS, times to 0.1 ms.
    """
    table = frame[list(AFFECTS_RESULTS)].to_csv(index=False, float_format="%.4f", lineterminator="\n", na_rep="\\N")
    return hashlib.sha256(table.encode()).hexdigest()[:12]


def split_of(corpus, speaker, id):
    """Return the split of an utterance that no rule names, by a hash: 80 % train, 10 % val_seen, 10 % test_seen of
    every speaker's.

    corpus, id: str; speaker: str, or None for one-off data.
    """
    share = int(hashlib.sha256(f"{corpus}/{speaker or ''}/{id}".encode()).hexdigest()[:8], 16) / 16**8
    return "train" if share < 0.8 else "val_seen" if share < 0.9 else "test_seen"


def wave(row, data):
    """Return the person's recording of a row, cut to its start and end.

    row: a row as a Series or a named tuple; data: the folder that relative paths start from.
    returns: (S,) float32 at 16 kHz.
    errors: ValueError for a path that leaves the folder; as `audio.load`.
    """
    absolute = re.search(ABSOLUTE, row.path) and not re.search(UP, row.path)
    return audio.load(row.path if absolute else _file(row, "path", data), start=row.start, end=row.end)


def robot_wave(row, data, rate=None):
    """Return the robot's recording of a row; arguments and errors as `wave`, and ValueError where the row has none.

    rate: a further rate that the data were combined with, as a factor of the person's; None or 1: the person's. A row
        whose robot is not espeak has one robot for all rates.
    returns: (S,) float32 at 16 kHz.
    """
    return audio.load(_file(row, "robot_path", data, rate))


def frame_map(row, data, rate=None):
    """Return the robot's 10 ms frame for each 10 ms frame of the person; arguments and errors as `robot_wave`.

    returns: (F,) int32.
    """
    frames = numpy.load(_file(row, "align_path", data, rate), allow_pickle=False)
    if frames.ndim != 1 or frames.dtype not in (numpy.int32, numpy.uint8):
        given = f"{row.align_path} holds {frames.dtype} {frames.shape}"
        raise ValueError(f"{given}; accepted are uint8 steps and int32 frames (F,)")
    return frames.cumsum(dtype=numpy.int32) if frames.dtype == numpy.uint8 else frames


def write_frame_map(frames, path):
    """Write a frame map as uint8 steps from frame to frame, whole or not at all.

    frames: (F,) robot frames that never fall and step by 255 at most, the first from 0; path: a name that ends in .npy.
    errors: ValueError for other frames.
    """
    steps = numpy.diff(numpy.asarray(frames, numpy.int64), prepend=0)
    if steps.ndim != 1 or (steps < 0).any() or (steps > 255).any():
        raise ValueError(f"a frame map {steps.shape} steps by {steps.min()} to {steps.max()}; accepted are 0 to 255 (F,)")
    with replacing(path) as temporary:
        numpy.save(temporary, steps.astype(numpy.uint8))


def at_rate(path, rate):
    """Return the name of a robot's file at a further rate: a/b.flac at 0.8 is a/b@0.8.flac."""
    path = PurePosixPath(path)
    return path.with_name(f"{path.stem}@{rate:g}{path.suffix}").as_posix()


def _file(row, name, data, rate=None):
    path = getattr(row, name)
    if not isinstance(path, str):
        raise ValueError(f"the row {row.id!r} has no {name}")
    if re.search(LEAVES, path):
        raise ValueError(f"{name} of {row.id!r} is {path!r}; accepted are relative paths inside the data folder")
    further = rate not in (None, 1) and row.robot_method == "espeak"
    return Path(data, at_rate(path, rate) if further else path)
