"""Which corpora a folder holds, and what is read together."""

import pytest

from data_prep.corpora import Refused
from data_prep.corpora.find import find
from rovolad_lib.lab import paths


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(*arguments, **options):
    return [(source.corpus, source.name) for source in find(*arguments, **options)]


VCTK_092 = ("wav48_silence_trimmed/p225/p225_001_mic2.flac", "txt/p225/p225_001.txt")


def test_releases_and_formats_of_the_same_speech_are_one_source(tmp_path):
    touch(tmp_path, "VCTK-Corpus/wav48/p225/p225_001.wav", "VCTK-Corpus/wav48/p225/p225_002.wav")
    touch(tmp_path / "VCTK-Corpus-0.92", *VCTK_092)
    touch(tmp_path, "mls_polish/train/transcripts.txt", "mls_polish_opus/train/transcripts.txt", "mls_dutch/dev/x")
    assert found(tmp_path) == [
        ("vctk", "VCTK-Corpus + VCTK-Corpus-0.92"), ("mls", "mls_dutch"), ("mls", "mls_polish + mls_polish_opus"),
    ]  # fmt: skip
    assert [item.id for item in find(tmp_path)[0].read()] == ["p225_001", "p225_002"]


@pytest.mark.parametrize("name", ["VCTK-Corpus", "VCTK-corpus", "VCTK-Corpus-0.92", "some_other_name"])
def test_vctk_by_name_or_by_what_it_holds(tmp_path, name):
    touch(tmp_path / name, *VCTK_092)
    touch(tmp_path, ".hidden/x.wav", "empty/readme.md")
    assert found(tmp_path) == found(tmp_path / name) == [("vctk", name)]


def test_vctk_unzipped_straight_into_the_folder_of_corpora(tmp_path):
    touch(tmp_path, *VCTK_092, "VCTK-Corpus/wav48/p225/p225_001.wav", "mine/x.wav")
    assert found(tmp_path) == [("vctk", f"{tmp_path.name} + VCTK-Corpus"), ("mine", "mine")]


@pytest.mark.parametrize(
    "name, corpus", [("LibriTTS_R", "libritts_r"), ("mls_german_opus", "mls"), ("GigaSpeech_Data", "gigaspeech")]
)
def test_one_corpus_given_by_itself(tmp_path, name, corpus):
    touch(tmp_path / name, "train-other-500/7/1/7_1_000000_000000.wav", "train/audio/1/2/1_2_000000.flac", "audio/x.opus")
    assert found(tmp_path / name) == found(tmp_path) == [(corpus, name)]


def test_only_official_names_count_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    touch(tmp_path, "results/x.wav", "libritts_r/dev-clean/7/1/7_1_000000_000000.wav")
    assert found() == [("libritts_r", "libritts_r")] and len(found(tmp_path)) == 2


def test_options_reach_their_readers(tmp_path):
    (tmp_path / "GigaSpeech_Data").mkdir()
    segments = '[{"sid": "A", "subsets": ["{L}"], "begin_time": 0, "end_time": 1, "text_tn": "YES"}]'
    text = f'{{"audios": [{{"path": "A.opus", "segments": {segments}}}]}}'
    (tmp_path / "GigaSpeech_Data/GigaSpeech.json").write_text(text, encoding="utf-8")
    touch(tmp_path, "mls_polish/train/audio/1/2/1_2_000000.flac", "mls_polish/train/audio/1/2/1_2_000001.flac")
    touch(tmp_path, "mls_polish/train/limited_supervision/9hr/handles.txt")
    (tmp_path / "mls_polish/train/limited_supervision/9hr/handles.txt").write_text("1_2_000001\n", encoding="utf-8")
    giga, mls = find(tmp_path, subset="L", supervision="9hr")
    assert [item.id for item in giga.read()] == ["A"] and [item.id for item in mls.read()] == ["1_2_000001"]
    assert list(find(tmp_path, subset="S")[0].read()) == []
    with pytest.raises(ValueError, match="no subset 'XXS'"):
        find(tmp_path, subset="XXS")
    with pytest.raises(ValueError, match="no handles for supervision '10hr'"):
        find(tmp_path, supervision="10hr")


@pytest.mark.parametrize("name", ["mls", "vctk", "gigaspeech"])
def test_own_recordings_never_pass_for_a_corpus(tmp_path, name):
    touch(tmp_path, f"{name}/ann/x.wav")
    with pytest.raises(ValueError, match=f"{name} is no corpus as unpacked; accepted are VCTK-Corpus"):
        find(tmp_path)


def test_unknown_languages_and_folders(tmp_path):
    touch(tmp_path, "mls_klingon/train/transcripts.txt")
    with pytest.raises(ValueError, match="klingon.*german"):
        find(tmp_path)
    with pytest.raises(ValueError, match="no folder"):
        find(tmp_path / "nowhere")


def test_links_that_lead_in_circles_end(tmp_path):
    touch(tmp_path, "mine/ann/x.wav")
    (tmp_path / "mine/ann/again").symlink_to(tmp_path / "mine")
    (tmp_path / "mine/self.wav").symlink_to("self.wav")
    items = list(find(tmp_path)[0].read())
    assert [(item.id, getattr(item, "reason", None)) for item in items] == [
        ("again", "a link to a folder, which is not followed"), ("x", None), ("self", "file not found"),
    ]  # fmt: skip
    assert isinstance(items[0], Refused)
