"""The readers: counts, words, and each reason to refuse."""

import os
from collections import Counter
from pathlib import Path

import pytest

from data_prep.corpora import Refused, Utterance, inside
from data_prep.corpora.demo import demo
from data_prep.corpora.folder import folder
from data_prep.corpora.gigaspeech import gigaspeech
from data_prep.corpora.libritts_r import libritts_r
from data_prep.corpora.mls import mls
from data_prep.corpora.vctk import vctk


def read(items):
    """Return {id: Utterance} and {id: reason}."""
    items = list(items)
    return {i.id: i for i in items if isinstance(i, Utterance)}, {
        i.id: i.reason for i in items if isinstance(i, Refused)
    }


@pytest.mark.parametrize("name", ["VCTK-Corpus", "VCTK-corpus"])
def test_vctk(corpora, tmp_path, name):
    (tmp_path / name).symlink_to(corpora / "VCTK-Corpus")
    good, bad = read(vctk(tmp_path / name))
    assert bad == {"p225_002": "no recording for this text"}
    assert [(u.id, u.speaker, u.text, u.gender, u.age, u.accent) for u in good.values()] == [
        ("p225_001", "p225", "Please call Stella.", "female", "23", "English"),
        ("p315_001", "p315", None, "male", "22", "American"),
    ]


def test_vctk_of_another_layout_names_what_is_accepted(tmp_path):
    with pytest.raises(ValueError, match="wav48"):
        list(vctk(tmp_path))


def test_libritts_r_without_speakers_tsv(corpora):
    good, bad = read(libritts_r(corpora / "LibriTTS_R"))
    assert bad == {}
    assert [(name, u.text) for name, u in good.items()] == [
        ("84_12_000001_000000", "Then he went away."),
        ("84_12_000002_000000", "Broken file."),
        ("84_12_000003_000000", None),
    ]
    assert {u.speaker for u in good.values()} == {"84"} and {u.gender for u in good.values()} == {None}


def test_mls(corpora):
    good, bad = read(mls(corpora / "mls_german"))
    assert {name: u.text for name, u in good.items()} == {
        "103_7_000000": "guten morgen", "103_7_000009": None, "103_7_000002": "gute nacht",
    }  # fmt: skip
    assert {(u.language, u.speaker, u.gender) for u in good.values()} == {("de", "103", "male")}
    assert bad == {"103_7_000001": "file not found", "../../x": "id '../../x' is not <reader>_<book>_<number>"}


def test_mls_of_an_unknown_language_names_the_known(tmp_path):
    with pytest.raises(ValueError, match=r"klingon.*german"):
        list(mls(tmp_path / "mls_klingon"))


def test_gigaspeech(corpora):
    good, bad = read(gigaspeech(corpora / "GigaSpeech_Data"))
    assert {name: u.text for name, u in good.items()} == {"POD1_S0": "hello there.", "POD1_S3": "is it?"}
    assert {(u.speaker, u.start, u.end) for u in good.values()} == {(None, 0.0, 0.8), (None, 1.0, 2.0)}
    assert bad["POD1_S1"] == "<NOISE>" and bad["POD1_S2"] == "<SIL>" and bad["POD1_S4"] == "tag <MUSIC> within the text"
    assert "outside its folder" in bad["POD2_S0"]


def test_gigaspeech_that_breaks_off_gives_what_came_before(corpora, tmp_path):
    text = (corpora / "GigaSpeech_Data/GigaSpeech.json").read_text(encoding="utf-8")
    (tmp_path / "GigaSpeech.json").write_text(text[:-60], encoding="utf-8")
    good, bad = read(gigaspeech(tmp_path))
    assert "POD1_S0" in good and bad["GigaSpeech"].startswith("broken JSON")


def test_folder_with_metadata(corpora):
    items = list(folder(corpora / "my_voices"))
    good = [i for i in items if isinstance(i, Utterance)]
    assert [(u.id, u.speaker, u.text, u.gender, u.style) for u in good[:2]] == [
        ("ann-one", "Ann/..", "One.", "female", "calm"),  # a backslash is a slash, and two files are called one
        ("bob-one", "bob", "One, perhaps", "male", None),  # no speaker in the row: the sub-folder
    ]
    assert [(i.id, i.reason) for i in items if isinstance(i, Refused)] == [
        ("outside", "file '../outside.wav' lies outside its folder my_voices"),
        ("gone", "file not found"),
        ("ann-one", "listed twice"),
        ("", "a row without a file"),
        ("two", "not listed in metadata.csv"),
    ]
    assert len(items) == 8


def test_folder_without_metadata(corpora):
    good, bad = read(folder(corpora / "plain"))
    assert [(u.speaker, u.text, u.corpus) for u in good.values()] == [("eve", "Hello.", "plain"), ("eve", None, "plain")]
    assert bad == {}


def test_folder_whose_table_names_no_files(tmp_path):
    (tmp_path / "metadata.csv").write_text("path,text\nx.wav,yes\n", encoding="utf-8")
    with pytest.raises(ValueError, match="`file` is needed.*speaker"):
        list(folder(tmp_path))


@pytest.mark.parametrize("name", ["../x.wav", "/etc/passwd", "a/../../x.wav", "..\\x.wav", "link/x.wav"])
def test_nothing_leads_out_of_a_folder(tmp_path, name):
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside"):
        inside(root, name)


def test_demo_says_160_sentences_and_builds_them_once(tmp_path):
    first = list(demo(tmp_path))
    times = [u.path.stat().st_mtime_ns for u in first]
    assert list(demo(tmp_path)) == first and [u.path.stat().st_mtime_ns for u in first] == times
    assert Counter(Counter(u.text for u in first).values()) == {8: 10, 1: 80}  # ten by all voices, ten each by one
    assert len({u.speaker for u in first}) == 8 and len({u.id for u in first}) == 160


@pytest.mark.skipif("ROVOLAD_CORPORA" not in os.environ, reason="ROVOLAD_CORPORA names no folder of real corpora")
def test_real_corpora():
    root = Path(os.environ["ROVOLAD_CORPORA"])
    counts = {}
    for reader, name in (
        (vctk, "VCTK-Corpus"), (libritts_r, "LibriTTS_R"), (mls, "mls_german"),
        (gigaspeech, "GigaSpeech_Data"), (folder, "spoken_digits"), (folder, "acted_speech"),
    ):  # fmt: skip
        counts[name] = Counter(i.reason if isinstance(i, Refused) else "good" for i in reader(root / name))
    assert counts == {
        "VCTK-Corpus": {"good": 30}, "LibriTTS_R": {"good": 14}, "mls_german": {"good": 648},
        "GigaSpeech_Data": {"good": 1176, "<NOISE>": 38, "<SIL>": 30},
        "spoken_digits": {"good": 2500}, "acted_speech": {"good": 1080},
    }  # fmt: skip
