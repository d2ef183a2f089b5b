"""The readers on trees with the quirks of the real downloads: who, what, which language, and each utterance once."""

import json
import time
import tracemalloc
from collections import Counter

import ijson
import pytest

from data_prep.corpora import Refused, Utterance
from data_prep.corpora.folder import folder
from data_prep.corpora.gigaspeech import gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from data_prep.corpora.mls import LANGUAGES, mls
from data_prep.corpora.vctk import vctk

ENDS = (".wav", ".normalized.txt")


def grow(root, files):
    """Write {path: text} below a folder; recordings are empty, since readers never open them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return root


def read(items):
    """Return {id: Utterance} and {id: reason}, after a check that no id comes twice."""
    items = list(items)
    assert max(Counter(item.id for item in items).values(), default=0) <= 1
    good = {item.id: item for item in items if isinstance(item, Utterance)}
    return good, {item.id: item.reason for item in items if isinstance(item, Refused)}


def vctk_092(root):
    audio = "wav48_silence_trimmed"
    return grow(
        root,
        {
            "speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
            "p225  23  F    English    Southern  England\n"
            "p280  25  F    Unknown    France (mic2 files unavailable)\n"
            "p315  18  M    American   New England (Text and mic2 files unavailable)\n"
            "p362  29  F    American(some files missing)\n"
            "s5  24  F    British\n",
            f"{audio}/log.txt": "trimmed",
            f"{audio}/p225/p225_001_mic1.flac": "",
            f"{audio}/p225/p225_001_mic2.flac": "",
            f"{audio}/p225/._p225_001_mic2.flac": "junk",
            f"{audio}/p280/p280_001_mic1.flac": "",
            f"{audio}/p315/p315_001_mic1.flac": "",
            f"{audio}/p362/p362_002_mic1.flac": "",
            f"{audio}/p362/p362_002_mic2.flac": "",
            f"{audio}/s5/s5_001_mic1.flac": "",
            f"{audio}/s5/s5_001_mic2.flac": "",
            "txt/p225/p225_001.txt": "Please call Stella.\n",
            "txt/p280/p280_001.txt": "Please call Stella.\n",
            "txt/p362/p362_001.txt": "Please call Stella.\n",
            "txt/p362/p362_002.txt": "Ask her.\n",
            "txt/s5/s5_001.txt": "Please call Stella.\n",
        },
    )


def vctk_original(root):
    return grow(
        root,
        {
            "speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION \n225  23  F    English    Southern  England\n"
            "226  22  M    English    Surrey\n315  18  M    American   New  England\n362  29  F    American\n",
            "wav48/p225/p225_001.wav": "",
            "wav48/p225/p225_002.wav": "",
            "wav48/p226/p226_001.wav": "",
            "wav48/p315/p315_001.wav": "",
            "wav48/p362/p362_001.wav": "",
            "txt/p225/p225_001.txt": "Please call Stella.",
            "txt/p225/p225_002.txt": "Ask her.",
            "txt/p226/p226_001.txt": "Please call Stella.",
            "txt/p362/p362_001.txt": "Please call Stella.",
        },
    )


def test_vctk_092(tmp_path):
    good, bad = read(vctk(vctk_092(tmp_path / "VCTK-Corpus-0.92")))
    assert bad == {"p362_001": "no recording for this text"}
    assert {name: (u.path.name, u.text) for name, u in good.items()} == {
        "p225_001": ("p225_001_mic2.flac", "Please call Stella."),
        "p280_001": ("p280_001_mic1.flac", "Please call Stella."),
        "p315_001": ("p315_001_mic1.flac", None),
        "p362_002": ("p362_002_mic2.flac", "Ask her."),
        "s5_001": ("s5_001_mic2.flac", "Please call Stella."),
    }
    assert {u.speaker: (u.gender, u.age, u.accent) for u in good.values()} == {
        "p225": ("female", "23", "English"), "p280": ("female", "25", "Unknown"), "p315": ("male", "18", "American"),
        "p362": ("female", "29", "American"), "s5": ("female", "24", "British"),
    }  # fmt: skip


@pytest.mark.parametrize("apart", [True, False])
def test_vctk_twice_gives_each_sentence_once_and_the_newer_recording(tmp_path, apart):
    old, new = tmp_path / "VCTK-Corpus", tmp_path / ("VCTK-Corpus-0.92" if apart else "VCTK-Corpus")
    vctk_original(old), vctk_092(new)
    good, bad = read(vctk(old, new) if apart else vctk(old))
    assert bad == {}
    assert {name: u.path.parts[-3] for name, u in good.items()} == {
        "p225_001": "wav48_silence_trimmed", "p225_002": "wav48", "p226_001": "wav48", "p280_001": "wav48_silence_trimmed",
        "p315_001": "wav48_silence_trimmed", "p362_001": "wav48", "p362_002": "wav48_silence_trimmed",
        "s5_001": "wav48_silence_trimmed",
    }  # fmt: skip
    assert (good["p362_001"].text, good["p315_001"].text) == ("Please call Stella.", None)
    assert good["p226_001"].gender == ("male" if apart else None)  # in one folder, the newer speaker-info.txt is left


def libritts_tree(root):
    tsv = "7_1_000000_000000\tMr. X\tMister X\n7_1_000000_000001\tYes\tYes\n7_1_000000_000009\tGone\tGone\n"
    return grow(
        root,
        {
            "train-other-500/7/1/7_1_000000_000000.wav": "",
            "train-other-500/7/1/7_1_000000_000001.wav": "",
            "train-other-500/7/1/7_1_000000_000001.normalized.txt": "Yes.",
            "train-other-500/7/1/7_1_000000_000001.original.txt": "Yes.",
            "train-other-500/7/1/._7_1_000000_000001.wav": "junk",
            "train-other-500/7/1/7_1_000000_000002.wav": "",
            "train-other-500/7/1/7_1.trans.tsv": tsv,
            "train-other-500/7/1/7_1.book.tsv": "7_1_000000_000001\tYes\t20.0\n",
            "train-other-500/7/7_1_000000_000003.wav": "",
            "dev-clean/8/2/8_2_000000_000000.wav": "",
            "dev-clean/8/2/8_2_000000_000000.normalized.txt": "No.",
        },
    )


@pytest.mark.parametrize("where", ["speakers.tsv", "doc/speakers.tsv", "doc/LibriTTS_R/speakers.tsv"])
def test_libritts_r(tmp_path, where):
    root = libritts_tree(tmp_path / "LibriTTS_R")
    grow(root, {where: 'READER\tGENDER\tSUBSET\tNAME\n7\tF\ttrain-other-500\t"Q" X\n8\tM\tdev-clean\tY\n'})
    good, bad = read(libritts_r(root))
    assert {name: (u.text, u.speaker, u.gender) for name, u in good.items()} == {
        "7_1_000000_000000": ("Mister X", "7", "female"),  # from the chapter's table
        "7_1_000000_000001": ("Yes.", "7", "female"),
        "7_1_000000_000002": (None, "7", "female"),
        "8_2_000000_000000": ("No.", "8", "male"),
    }
    assert bad == {
        "7_1_000000_000009": "no recording for this text",
        "7_1_000000_000003": "a recording where this layout has none",
    }


@pytest.mark.parametrize("where", [".", "dev-clean", "doc/lists", "../libritts_r_failed_speech_restoration_examples"])
def test_libritts_r_refuses_what_failed_in_restoration(tmp_path, where):
    root = libritts_tree(tmp_path / "LibriTTS_R")
    listed = "./train-other-500/7/1/7_1_000000_000001.wav\n./train-other-500/9/9/9_9_000000_000000.wav\n"
    grow(root, {f"{where}/train-other-500_bad_sample_list.txt": listed})
    good, bad = read(libritts_r(root))
    assert bad["7_1_000000_000001"] == "failed restoration: listed in train-other-500_bad_sample_list.txt"
    assert len(good) == 3 and len(bad) == 3


def mls_tree(root, suffix="flac", recordings=(0, 1, 2), lines=(0, 1, 2, 3)):
    files = {f"train/audio/20/7/20_7_{i:06}.{suffix}": "" for i in recordings}
    files["train/transcripts.txt"] = "".join(f"20_7_{i:06}\tzdanie {i}\n" for i in lines)
    files["test/transcripts.txt"] = "21_8_000000\ttest\n"
    files[f"test/audio/21/8/21_8_000000.{suffix}"] = ""
    files["train/limited_supervision/9hr/handles.txt"] = "20_7_000001\n20_7_000003\n20_7_000077\n"
    files["train/limited_supervision/1hr/0/handles.txt"] = "20_7_000000\n"
    files["train/limited_supervision/1hr/5/handles.txt"] = "20_7_000002\n"
    files["metainfo.txt"] = (
        " SPEAKER   |   GENDER   | PARTITION  |  MINUTES   |  BOOK ID   |  TITLE  |  CHAPTER \n"
        " 20        |     M      |   train    |   1.500    |     7      | A | B  | -\n"
        " 20        |     M      |   secret   |   0.133    |     9      | C      | -\n"
        " 21        |     F      |    test    |   0.133    |     8      | D      | -\n"
    )
    return grow(root, files)


@pytest.mark.parametrize("language, code", LANGUAGES.items())
@pytest.mark.parametrize("suffix, ending", [("flac", ""), ("opus", "_opus")])
def test_mls(tmp_path, language, code, suffix, ending):
    good, bad = read(mls(mls_tree(tmp_path / f"mls_{language}{ending}", suffix)))
    assert {name: (u.text, u.speaker, u.gender, u.language, u.path.suffix) for name, u in good.items()} == {
        **{f"20_7_{i:06}": (f"zdanie {i}", "20", "male", code, f".{suffix}") for i in range(3)},
        "21_8_000000": ("test", "21", "female", code, f".{suffix}"),
    }
    assert bad == {"20_7_000003": "file not found"}


def test_mls_in_both_formats_gives_each_utterance_once_and_flac_first(tmp_path):
    flac = mls_tree(tmp_path / "mls_polish", "flac", recordings=(0, 1, 4, 6))
    opus = mls_tree(tmp_path / "mls_polish_opus", "opus", recordings=(1, 2, 5, 6), lines=(0, 1, 2, 3, 4))
    good, bad = read(mls(opus, flac))
    assert {name: (u.path.suffix, u.text) for name, u in good.items()} == {
        "20_7_000000": (".flac", "zdanie 0"), "20_7_000001": (".flac", "zdanie 1"), "20_7_000002": (".opus", "zdanie 2"),
        "20_7_000004": (".flac", "zdanie 4"), "20_7_000005": (".opus", None), "20_7_000006": (".flac", None),
        "21_8_000000": (".flac", "test"),
    }  # fmt: skip
    assert bad == {"20_7_000003": "file not found"}


@pytest.mark.parametrize(
    "supervision, good, bad",
    [
        ("9hr", ["20_7_000001"], {"20_7_000003", "20_7_000077"}),
        ("1hr/0", ["20_7_000000"], set()),
        ("1hr", ["20_7_000000", "20_7_000002"], set()),
    ],
)
def test_mls_by_the_handles_of_limited_supervision(tmp_path, supervision, good, bad):
    found, refused = read(mls(mls_tree(tmp_path / "mls_polish"), supervision=supervision))
    assert list(found) == good and refused.keys() == bad
    assert refused.get("20_7_000077", "named in handles.txt").startswith("named in handles.txt")


@pytest.mark.parametrize("supervision", ["10min", "../../.."])
def test_mls_names_the_supervision_that_is_not_there(tmp_path, supervision):
    with pytest.raises(ValueError, match="no handles for supervision.*accepted are 9hr|outside its folder"):
        list(mls(mls_tree(tmp_path / "mls_polish"), supervision=supervision))


def test_a_line_that_comes_twice_is_one_utterance(tmp_path):
    items = list(mls(mls_tree(tmp_path / "mls_dutch", lines=(0, 0, 1, 2))))
    assert [item.id for item in items if isinstance(item, Utterance)].count("20_7_000000") == 1
    assert [item.reason for item in items if isinstance(item, Refused)] == ["listed twice in transcripts.txt"]


def segment(number, text="HELLO", begin=0.0, end=1.0, subsets=("{XL}",), **more):
    return {
        "sid": f"A_S{number}", "speaker": "N/A", "begin_time": begin, "end_time": end, "text_tn": text,
        "subsets": list(subsets), **more,
    }  # fmt: skip


def giga(root, *audios):
    return grow(root, {"GigaSpeech.json": json.dumps({"dataset": "GigaSpeech", "audios": audios})})


@pytest.mark.parametrize("subset", ["S", "{S}"])
def test_gigaspeech_by_subset(tmp_path, subset):
    segments = [segment(0), segment(1, subsets=["{S}", "{XL}"]), segment(2, "<MUSIC>", subsets=["{S}"])]
    root = giga(tmp_path, {"path": "audio/podcast/P0/A.opus", "segments": [*segments, segment(3, subsets=["{XS}"])]})
    good, bad = read(gigaspeech(root, subset=subset))
    assert list(good) == ["A_S1"] and bad == {"A_S2": "<MUSIC>"}
    assert len(list(gigaspeech(root))) == 4
    with pytest.raises(ValueError, match="no subset 'XXL'; accepted are XS, S, M"):
        list(gigaspeech(root, subset="XXL"))


def test_gigaspeech_texts(tmp_path):
    texts = ["WELL <COMMA> NO <EXCLAMATIONPOINT> IS IT <QUESTIONMARK> GOOD <PERIOD>", "", "<OTHER>", "A <UH> B"]
    root = giga(tmp_path, {"path": "A.opus", "segments": [segment(i, text) for i, text in enumerate(texts)]})
    good, bad = read(gigaspeech(root))
    assert {name: u.text for name, u in good.items()} == {"A_S0": "well, no! is it? good.", "A_S1": None}
    assert bad == {"A_S2": "<OTHER>", "A_S3": "tag <UH> within the text"}
    assert {(u.speaker, u.language) for u in good.values()} == {(None, "en")}


@pytest.mark.parametrize("subset", [None, "XL"])
def test_gigaspeech_refuses_what_is_malformed_one_by_one(tmp_path, subset):
    bad = [
        segment(1, begin=2.0), segment(2, begin=-1.0), segment(3, end=1e300), segment(4, end="1"), segment(5, end=True),
        segment(6, text=None), segment(7, text=["x"]), segment(8, end=10**400), {}, 7, None, [], "text",
        segment(9, sid=None), segment(10, sid=""), segment(11, begin=None), segment(12, begin=[[0]]), segment(13, "A\0B"),
    ]  # fmt: skip
    audios = [
        {"path": "A.opus", "segments": [segment(0), *bad]}, {"segments": [segment(20)]},
        {"path": 7, "segments": [segment(21)]}, {"path": "A.opus"}, {"path": "A.opus", "segments": {}}, [], "x", 3, None,
        {"path": "/etc/passwd", "segments": [segment(22)]}, {"path": "a\0b", "segments": [segment(23)]},
        {"path": "A.opus", "segments": []}, {"path": "B.opus", "segments": [segment(99)]},
    ]  # fmt: skip
    good, refused = read(gigaspeech(giga(tmp_path, *audios), subset=subset))
    assert list(good) == ["A_S0", "A_S99"]
    assert len(refused) == len(bad) + 4 + 6  # four segments of recordings with bad paths, six recordings without any
    assert refused["A_S20"] == refused["A_S21"] == "its recording has no path"
    assert "outside its folder" in refused["A_S22"] and "NUL" in refused["A_S23"]
    assert refused["A_S8"] == "segment from 0.0 to 10000000000000000000 s; accepted is 0 <= begin < end"


@pytest.mark.parametrize("text", ["{}", "[]", '{"audios": []}', '{"audios": {"path": 1}}', "null"])
def test_gigaspeech_without_recordings_says_so(tmp_path, text):
    with pytest.raises(ValueError, match="lists no recording"):
        list(gigaspeech(grow(tmp_path, {"GigaSpeech.json": text})))


def test_scanning_is_fast_and_a_long_json_takes_little_memory(tmp_path):
    chapters = {f"train/1/{c}/1_{c}_{i:06}_000000{end}": "Yes." for c in range(20) for i in range(50) for end in ENDS}
    root, start = grow(tmp_path / "LibriTTS_R", chapters), time.process_time()
    assert len(list(libritts_r(root))) == 1000 and 2000 / (time.process_time() - start) > 4000
    recording = {"path": "A.opus", "segments": [segment(i) for i in range(500)]}
    root = giga(tmp_path / "GigaSpeech_Data", *[recording] * 60)
    tracemalloc.start()
    assert sum(1 for _ in gigaspeech(root)) == 30_000 and tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def test_json_is_parsed_by_the_fast_backend():
    assert ijson.backend == "yajl2_c"  # in Python alone, two million segments take minutes more


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_folder_tables_of_all_countries(tmp_path, mark, bom):
    rows = [["File ", "SPEAKER", "text", ""], ["a.wav", "Zoë", f'"One{mark} two"', ""], ["b/c.wav", "", "", ""], ["d.wav"]]
    grow(tmp_path, {"metadata.csv": bom + "".join(mark.join(row) + "\r\n" for row in [*rows, []])})
    grow(tmp_path, {"a.wav": "", "b/c.wav": "", "b/c.txt": "\ufeffThree.\n", "d.wav": ""})
    good, bad = read(folder(tmp_path, "own"))
    assert bad == {} and [(u.id, u.speaker, u.text) for u in good.values()] == [
        ("a", "Zoë", f"One{mark} two"), ("c", "b", "Three."), ("d", "own", None),
    ]  # fmt: skip


def test_folder_rows_that_are_broken(tmp_path):
    rows = [
        b"file,speaker,text", b"a.wav,ann,Hello, you", b"b.wav,ann,caf\xe9", b"c.wav,ann,Fine.", b"c.wav,ann,Fine again.",
        b"e\0.wav,ann,x", b"f.wav,ann,\0", b"sub,ann,A folder.", b'g.wav,ann,"' + b"x" * 200_000 + b'"',
        b"h.wav,ann," + b"y" * 9000, b'"i.wav"x,ann,y', b"j.wav,ann,Also fine.", b'k.wav,ann,"open', b"l.wav,ann,swallowed",
    ]  # fmt: skip
    (tmp_path / "metadata.csv").write_bytes(b"\n".join(rows))
    grow(tmp_path, {f"{name}.wav": "" for name in "abcfghijkl"} | {"sub/m.wav": ""})
    items = list(folder(tmp_path, "own"))
    assert [item.id for item in items if isinstance(item, Utterance)] == ["c", "j"]
    assert [(item.id, item.reason[:40]) for item in items if isinstance(item, Refused)] == [
        ("a", "a row with more fields than columns: a te"[:40]),
        ("b", "its row cannot be read as UTF-8"),
        ("c", "listed twice"),
        ("e\\0", "file 'e\\x00.wav' has a NUL in its name"),
        ("f", "its name or text cannot be read as UTF-8"),
        ("sub", "file not found"),
        ("row 9", "a broken row: field larger than field li"),
        ("h", "a text of 9000 letters; accepted are up "),
        ("row 11", "a broken row: ',' expected after '\"'"),
        ("row 13", "a broken row: unexpected end of data"),
        *((name, "not listed in metadata.csv") for name in "gikl"),
        ("m", "not listed in metadata.csv"),
    ]


@pytest.mark.parametrize(
    "reader, name, table",
    [(mls, "mls_polish", "train/transcripts.txt"), (vctk, "VCTK", "speaker-info.txt"), (folder, "own", "metadata.csv")],
    ids=["mls", "vctk", "folder"],
)
def test_a_table_that_is_no_file_is_an_error_that_names_it(tmp_path, reader, name, table):
    grow(tmp_path / name, {"wav48/p225/p225_001.wav": "", f"{table}/x.txt": ""})
    with pytest.raises(ValueError, match=f"{table} is not a file"):
        list(reader(tmp_path / name))


def test_each_folder_of_vctk_must_hold_a_release(tmp_path):
    vctk_092(tmp_path / "VCTK-Corpus-0.92")
    grow(tmp_path / "VCTK-Corpus", {"txt/p225/p225_001.txt": "x"})
    with pytest.raises(ValueError, match="VCTK-Corpus has no folder wav48 or wav48_silence_trimmed"):
        list(vctk(tmp_path / "VCTK-Corpus-0.92", tmp_path / "VCTK-Corpus"))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere cannot be read"):
        list(folder(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="has no file GigaSpeech.json"):
        list(gigaspeech(tmp_path))
    with pytest.raises(ValueError, match="holds no recording"):
        list(libritts_r(tmp_path))
