"""A thousand damaged corpora: each reader ends, with each recording accounted for or a ValueError that names the folder."""

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from data_prep.corpora import AUDIO_SUFFIXES, Refused, Utterance
from data_prep.corpora.folder import folder
from data_prep.corpora.gigaspeech import gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from data_prep.corpora.mls import mls
from data_prep.corpora.vctk import vctk

SEGMENTS = [
    {"sid": f"A_S{i}", "begin_time": i, "end_time": i + 0.5, "text_tn": "YES <PERIOD>", "subsets": ["{XL}"]} for i in range(4)
]
TREES = {
    vctk: {
        "speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION\np225  23  F  English  Southern England\ns5  24  F  British\n",
        "wav48/p225/p225_001.wav": "", "wav48/p225/p225_002.wav": "", "txt/p225/p225_001.txt": "Please call Stella.",
        "wav48_silence_trimmed/p225/p225_001_mic1.flac": "", "wav48_silence_trimmed/p225/p225_001_mic2.flac": "",
        "wav48_silence_trimmed/s5/s5_001_mic1.flac": "", "txt/p225/p225_002.txt": "Ask her.", "txt/s5/s5_001.txt": "Six.",
    },
    libritts_r: {
        "speakers.tsv": "READER\tGENDER\tSUBSET\tNAME\n7\tF\tdev-clean\tX\n", "dev-clean/7/1/7_1_000000_000000.wav": "",
        "dev-clean/7/1/7_1_000000_000000.normalized.txt": "Yes.", "dev-clean/7/1/7_1_000000_000001.wav": "",
        "dev-clean/7/1/7_1.trans.tsv": "7_1_000000_000000\tYes\tYes\n7_1_000000_000001\tNo\tNo\n",
        "dev-clean/7/1/7_1_000000_000002.wav": "", "doc/dev-clean_bad_sample_list.txt": "./dev-clean/7/1/7_1_000000_000002.wav\n",
    },
    mls: {
        "metainfo.txt": " SPEAKER | GENDER | PARTITION\n 20 | M | train\n", "train/audio/20/7/20_7_000000.flac": "",
        "train/audio/20/7/20_7_000001.opus": "", "train/audio/20/8/20_8_000000.flac": "", "dev/transcripts.txt": "",
        "train/transcripts.txt": "20_7_000000\tzdanie\n20_7_000001\tdrugie\n", "dev/audio/21/9/21_9_000000.flac": "",
    },
    gigaspeech: {
        "GigaSpeech.json": json.dumps(
            {"audios": [{"path": "audio/A.opus", "segments": SEGMENTS[:2]}, {"path": "audio/B.opus", "segments": SEGMENTS[2:]}]}
        ),
    },
    folder: {
        "metadata.csv": 'file,speaker,text\nann/a.wav,ann,"One, two."\nbob/b.wav,bob,Three.\ndora/d.wav,,\n', "ann/a.wav": "",
        "bob/b.wav": "", "bob/c.wav": "", "dora/d.wav": "", "dora/d.txt": "Four.",
    },
}  # fmt: skip
JUNK = (
    b"\xff\xfe", b"\xc3", b"\0", b"\r", b"\n\n\n", b"\t\t", b'"', b"'", b",;", b"{", b"]", b"[" * 3000, b"1e400", b"-1",
    b"9" * 400, b"NaN", b"../../../etc/passwd", b"/etc/passwd", b"..\\..\\x.wav", b"C:\\x.wav", b"\\ud800", b"a" * 300,
    b"x" * 200_000, "\u202e\ufeffé".encode(), b"<NOISE>", b"=cmd()", b"null", b"|" * 50,
)  # fmt: skip


def harm(root, path, dice):
    """Damage one file of a tree."""
    text, kind = path.read_bytes(), dice.randrange(9)
    if kind < 5 and text:  # the text itself, at some places
        for _ in range(dice.choice((1, 1, 3))):
            start = dice.randrange(len(text) + 1)
            text = text[:start] + dice.choice(JUNK) + text[start + dice.choice((0, 0, 1, 5, 40)) :]
        path.write_bytes(text[: dice.randrange(len(text))] if kind == 0 else text)
        return
    path.unlink()
    if kind == 6:
        path.mkdir()
    elif kind == 7:
        path.symlink_to(dice.choice([path.name, "..", root, "/nowhere/at/all", "/dev/zero"]))
    elif kind == 8 and hasattr(os, "mkfifo"):
        os.mkfifo(path)
    elif kind == 5:
        Path(os.fsdecode(os.fsencode(path.with_suffix("")) + b"\xff" + path.suffix.encode())).write_bytes(text)


@pytest.mark.skipif(os.name == "nt", reason="such names and links need another file system")
@pytest.mark.parametrize("read", TREES, ids=lambda read: read.__name__)
def test_damaged_trees_are_read_to_the_end(tmp_path, read):
    outcomes = Counter()
    for seed in range(200):
        dice, root = random.Random(seed), tmp_path / f"mls_polish_{seed}" / "mls_polish"
        for name, text in TREES[read].items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8", newline="")
        for name in dice.sample(sorted(TREES[read]), dice.choice((1, 1, 2)) if len(TREES[read]) > 1 else 1):
            harm(root, root / name, dice)
        try:
            items = list(read(root))
        except ValueError as error:
            assert root.name in str(error), seed
            outcomes["ValueError"] += 1
        else:
            outcomes.update(type(item).__name__ for item in items)
            check(root, items, seed)
        shutil.rmtree(root.parent)
    assert outcomes["Utterance"] > 100 and outcomes["Refused"] > 50, outcomes


def check(root, items, seed):
    """Hold that what was read can be written down, lies in the folder, and that no recording is lost or comes twice."""
    for item in items:
        json.dumps(vars(item), default=str).encode()
        "".join(map(str, vars(item).values())).encode()
        assert not isinstance(item, Refused) or item.reason, seed
    good = [item for item in items if isinstance(item, Utterance)]
    assert all(item.path.is_relative_to(root) and item.text != "" and "\0" not in f"{item}" for item in good), seed
    assert all(item.end is None or 0 <= item.start < item.end <= 1e6 for item in good), seed
    assert max(Counter((item.path, item.start) for item in good).values(), default=0) <= 1, seed
    known = {item.id for item in items}
    for path in root.rglob("*"):
        if path.suffix in AUDIO_SUFFIXES and path.is_file():
            name = path.stem.encode("utf-8", "backslashreplace").decode()
            assert known & {name, name[:-5]} or f"-{name}" in " ".join(f"-{one}" for one in known), (seed, path)
