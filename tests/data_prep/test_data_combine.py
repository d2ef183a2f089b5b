"""The command: every utterance ends in the manifest or in the quarantine, and nothing is made twice."""

import shutil
import subprocess
import sys

import numpy
import pandas
import pytest

from data_prep import data_combine
from data_prep.corpora.find import find
from data_prep.data_combine import combine
from data_prep.robot_twin import safe
from data_prep.tables import first_match, rules
from rovolad_lib.files import sha256
from rovolad_lib.lab import paths
from rovolad_lib.speech import audio, manifest


@pytest.fixture(scope="module")
def combined(corpora, tmp_path_factory):
    """The folder, the table, the manifest and the quarantine of one run over all layouts."""
    data = tmp_path_factory.mktemp("data")
    table = combine(corpora, data)
    return data, table, manifest.read(data / "manifest.parquet"), pandas.read_csv(data / "quarantine.csv", dtype=str)


def hashes(data):
    """Return {path: SHA-256} of all audio and frame maps."""
    files = [path for name in ("audio_stylized_speaker", "audio_robot_speaker") for path in (data / name).rglob("*.*")]
    return {path.relative_to(data).as_posix(): sha256(path) for path in files}


def test_kept_and_quarantined_are_what_was_found(combined):
    _, table, kept, quarantine = combined
    assert table[["found", "kept", "quarantined"]].to_dict("index") == {
        "gigaspeech": {"found": 6, "kept": 2, "quarantined": 4},
        "libritts_r": {"found": 3, "kept": 1, "quarantined": 2},
        "vctk": {"found": 3, "kept": 1, "quarantined": 2},
        "mls": {"found": 5, "kept": 2, "quarantined": 3},
        "my_voices": {"found": 8, "kept": 2, "quarantined": 6},
        "plain": {"found": 2, "kept": 1, "quarantined": 1},
    }
    assert len(kept) == 9 and len(quarantine) == 18 and quarantine["reason"].str.len().min() > 3


@pytest.mark.parametrize(
    "name, reason",
    [
        ("84_12_000002_000000", "LibsndfileError"),  # a broken file
        ("silent", "silent"),
        ("POD1_S1", "<NOISE>"),
        ("ann-one", "no words in the text"),
        ("outside", "file '../outside.wav' lies outside its folder my_voices"),
    ],
)
def test_quarantine_says_why(combined, name, reason):
    rows = combined[3].query("id == @name")
    assert len(rows) == 1 and rows["reason"].iloc[0].startswith(reason)


def test_manifest_rows_fit_their_files(combined):
    data, _, kept, _ = combined
    assert list(kept.columns) == list(manifest.COLUMNS)
    for row in kept.itertuples():
        wave = audio.load(data / row.path, start=row.start, end=row.end)
        assert len(wave) == round(row.duration * 16000) and row.end - row.start == pytest.approx(row.duration)
        robot = audio.info(data / row.robot_path)
        frames = numpy.load(data / row.align_path, allow_pickle=False)
        assert (robot.sample_rate, robot.channels, frames.dtype) == (16000, 1, numpy.int32)
        assert len(frames) == -(-len(wave) // 160) and 0 <= frames.min() and frames.max() < -(-robot.frames // 160)


def test_folders_are_named_by_corpus_and_speaker(combined):
    data, _, kept, _ = combined
    rows = kept.set_index("id")
    assert rows.loc["p225_001", "path"] == "audio_stylized_speaker/vctk-p225/p225_001.flac"
    assert rows.loc["p225_001", "robot_path"] == "audio_robot_speaker/vctk-p225/p225_001.flac"
    assert rows.loc["p225_001", "speaker"] == "vctk-p225" and rows.loc["p225_001", "source"] == "VCTK"
    assert rows.loc["ann-one", "path"] == f"audio_stylized_speaker/my_voices-{safe('Ann/..')}/ann-one.flac"
    header = audio.info(data / rows.loc["ann-one", "path"])
    assert header.sample_rate == 16000 and rows.loc["103_7_000000", "language"] == "de"


def test_long_recordings_are_pointed_into_and_have_no_speaker(combined, corpora):
    data, _, kept, _ = combined
    rows = kept[kept["corpus"] == "gigaspeech"]
    long_file = (corpora / "GigaSpeech_Data/audio/podcast/P0000/POD1.flac").resolve()
    assert rows["path"].tolist() == [long_file.as_posix()] * 2 and rows["speaker"].isna().all()
    assert rows["start"].tolist() == [0.0, 1.0] and rows["end"].tolist() == [0.8, 2.0]
    assert not list((data / "audio_stylized_speaker").glob("gigaspeech*"))


def test_a_second_run_makes_nothing_and_a_changed_text_only_its_own(combined, corpora, tmp_path):
    data = shutil.copytree(combined[0], tmp_path / "data")
    root = shutil.copytree(corpora, tmp_path / "corpora", symlinks=True)
    times = {path: path.stat().st_mtime_ns for path in data.rglob("*.flac")}
    combine(root, data)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.flac")} == times
    assert manifest.read(data / "manifest.parquet").drop(columns="path").equals(combined[2].drop(columns="path"))
    (root / "VCTK-Corpus/txt/p225/p225_001.txt").write_text("Call Stella, please.", encoding="utf-8")
    combine(root, data)
    changed = {path.name for path in times if path.stat().st_mtime_ns != times[path]}
    assert changed == {"p225_001.flac"}


def test_the_command_in_two_processes_makes_the_same_files_as_one(combined, corpora, tmp_path):
    command = [sys.executable, data_combine.__file__, "--corpora", corpora, "--data", tmp_path / "data", "--workers=2"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)  # not in the house
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "data") == hashes(combined[0]) and len(hashes(combined[0])) == 7 + 2 * 9
    assert manifest.read(tmp_path / "data/manifest.parquet").equals(combined[2])
    assert done.stdout.split()[:6] == "found kept quarantined hours minutes speakers".split()


def test_two_files_of_one_id_are_not_one_file(tmp_path):
    for suffix in ("wav", "flac"):
        audio.save(tmp_path / f"corpora/ann/ann/x.{suffix}", audio.torch.ones(8000) * 0.1)
        (tmp_path / "corpora/ann/ann/x.txt").write_text("Yes.", encoding="utf-8")
    table = combine(tmp_path / "corpora", tmp_path / "data")
    assert table.loc["ann", ["found", "kept", "quarantined"]].tolist() == [2, 1, 1]
    assert "another utterance has the id" in (tmp_path / "data/quarantine.csv").read_text(encoding="utf-8")


def test_the_demo_never_replaces_real_data(combined):
    with pytest.raises(ValueError, match="holds gigaspeech.*another --data"):
        combine(data=combined[0], demo=True)


def test_find(corpora, tmp_path):
    assert [source.name for source in find(corpora)] == ["gigaspeech", "libritts_r", "vctk", "mls", "my_voices", "plain"]
    assert [source.name for source in find(corpora / "my_voices")] == ["my_voices"]  # one corpus by itself
    assert find(tmp_path) == []
    with pytest.raises(ValueError, match="no corpus in .* accepted are VCTK-Corpus"):
        combine(tmp_path, tmp_path / "data")
    with pytest.raises(ValueError, match="no folder"):
        find(tmp_path / "nowhere")


def test_find_looks_for_official_names_only_in_the_repository(corpora, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", corpora)
    assert sorted(source.name for source in find(None)) == ["gigaspeech", "libritts_r", "mls", "vctk"]


@pytest.mark.parametrize(
    "name, split",
    [
        ("vctk/p227/p227_003", "val_unseen"),
        ("libritts_r/9102/9102_100_000004_000000", "val_unseen"),
        ("mls/103/103_2000_000000", "val_unseen"),
        ("mls/108/108_2000_000000", "val_unseen"),
        ("spoken_digits/yweweler/0_yweweler_3", "val_unseen"),
        ("acted_speech/actor18/03-01-01-01-01-01-18", "val_unseen"),
        ("spoken_digits/george/0_george_4", "test_seen"),
        ("spoken_digits/george/0_george_5", "val_seen"),
        ("spoken_digits/george/0_george_14", "train"),
        ("demo/ann/ann_20", "test_seen"),
    ],
)
def test_splits(name, split):
    assert first_match(rules("splits.csv"), name) == [split]


def test_a_demo_voice_has_14_3_and_3():
    splits = [first_match(rules("splits.csv"), f"demo/ann/ann_{i:02}")[0] for i in range(1, 21)]
    assert [splits.count(name) for name in ("train", "val_seen", "test_seen")] == [14, 3, 3]


@pytest.mark.parametrize(
    "name, source, text",
    [
        ("libritts_r/3922/3922_9001_000000_000000", "LJ Speech", "exact"),
        ("libritts_r/9102/9102_100_000004_000000", "CMU ARCTIC", "exact"),
        ("libritts_r/84/84_12_000001_000000", "LibriTTS-R", "exact"),
        ("mls/150/150_2001_000238", "Kerstin", "exact"),
        ("mls/114/114_2000_000059", "Emo-DB", "exact"),
        ("mls/20/20_1_000000", "Multilingual LibriSpeech", "exact"),
        ("gigaspeech/-/YOU0000000038_S0000001", "Picovoice speech-to-intent benchmark", "approximate"),
        ("gigaspeech/-/POD0000000030_S0000001", "Picovoice wake-word benchmark", "exact"),
        ("gigaspeech/-/AUD0000000030_S0000001", "GigaSpeech", "exact"),
    ],
)
def test_sources(name, source, text):
    found = first_match(rules("sources.csv"), name)
    assert (found[0], found[2]) == (source, text)


def test_no_name_leads_out_of_the_folder_and_no_two_names_become_one():
    names = ["a", "a/b", "a b", "a_b", "..", "../../x", "ü", "C:x"]
    made = [safe(name) for name in names]
    assert made[0] == "a" and made[3] == "a_b" and made[6] == "ü" and len(set(made)) == len(names)
    assert not any(set("/\\:") & set(name) or name in ("", ".", "..") for name in made)


def test_the_command_names_what_it_accepts(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        data_combine.main(["--corpora", str(tmp_path), "--data", str(tmp_path / "data")])
    assert stopped.value.code == 2 and "accepted are VCTK-Corpus, LibriTTS_R" in capsys.readouterr().err
