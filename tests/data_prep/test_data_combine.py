"""The command: every utterance ends in the manifest or in the quarantine, and nothing is made twice."""

import io
import itertools
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys

import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from data_prep import data_combine, shards, tables
from data_prep.corpora.find import find
from data_prep.data_combine import combine
from data_prep.robot_twin import safe
from data_prep.tables import first_match, rules
from rovolad_lib.files import sha256
from rovolad_lib.speech import audio, manifest, robot


@pytest.fixture(scope="module")
def combined(corpora, tmp_path_factory):
    """The folder, the table, the manifest and the quarantine of one run over all layouts."""
    data = tmp_path_factory.mktemp("data")
    table = combine(corpora, data)
    return data, table, manifest.read(data / "manifest.parquet"), pandas.read_csv(data / "quarantine.csv", dtype=str)


def hashes(data, *names):
    """Return {path: SHA-256} of all audio and frame maps, or of the files in folders of other names."""
    folders = [data / name for name in names or ("audio_stylized_speaker", "audio_robot_speaker")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(data).as_posix(): sha256(path) for path in files}


def test_kept_and_quarantined_are_what_was_found(combined):
    _, table, kept, quarantine = combined
    assert table[["found", "kept", "quarantined"]].to_dict("index") == {
        "gigaspeech": {"found": 6, "kept": 2, "quarantined": 4},
        "libritts_r": {"found": 3, "kept": 2, "quarantined": 1},
        "vctk": {"found": 3, "kept": 2, "quarantined": 1},
        "mls": {"found": 5, "kept": 3, "quarantined": 2},
        "my_voices": {"found": 8, "kept": 2, "quarantined": 6},
        "plain": {"found": 2, "kept": 2, "quarantined": 0},
    }
    assert len(kept) == 13 and len(quarantine) == 14 and quarantine["reason"].str.len().min() > 3


@pytest.mark.parametrize(
    "name, reason",
    [
        ("84_12_000002_000000", "LibsndfileError"),  # a broken file
        ("silent", "silent"),
        ("POD1_S1", "<NOISE>"),
        ("ann-one", "listed twice"),
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
        frames = manifest.frame_map(row, data)
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
    assert changed == {"p225_001.flac", "p315_001.flac"}  # one shard


def test_the_command_in_two_processes_makes_the_same_files_as_one(combined, corpora, tmp_path):
    command = [sys.executable, data_combine.__file__, "--corpora", corpora, "--data", tmp_path / "data", "--workers=2"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)  # not in the house
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "data") == hashes(combined[0]) and len(hashes(combined[0])) == 11 + 2 * 13
    assert manifest.read(tmp_path / "data/manifest.parquet").equals(combined[2])
    assert "27/27 utterances" in done.stderr and " h made at " in done.stderr and "00:00 left" in done.stderr
    assert done.stdout.split()[:6] == "found kept quarantined hours minutes speakers".split()


def test_of_two_commands_at_once_the_second_waits_and_finds_all_made(combined, corpora, tmp_path):
    command = [sys.executable, data_combine.__file__, "--corpora", corpora, "--data", tmp_path / "data", "--workers=1"]
    look = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    both = [subprocess.Popen(command, **look) for _ in range(2)]
    (out, error), (other, silent) = (process.communicate(timeout=300) for process in both)
    assert [process.returncode for process in both] == [0, 0], error + silent
    assert sum(f"{tmp_path / 'data'} is being combined by " in said for said in (out, other)) == 1
    assert sum(" h made at " in said for said in (error, silent)) == 1
    assert hashes(tmp_path / "data") == hashes(combined[0])
    assert not (tmp_path / "data" / "owner.json").exists()


def test_what_is_shown_is_counted(combined):
    data, table, kept, quarantine = combined
    assert table.loc["gigaspeech", ["speakers", "source"]].tolist() == [0, "GigaSpeech"]
    reasons = table.loc["my_voices", "reasons"].split("; ")
    assert {"1 file … lies outside its folder my_voices", "1 silent"} < set(reasons)
    assert sum(int(reason.split()[0]) for reason in reasons) == table.loc["my_voices", "quarantined"]
    assert table["minutes"].sum() == pytest.approx(kept["duration"].sum() / 60, abs=0.3)
    again = data_combine.summary(kept, quarantine)  # as the notebook asks
    assert again.equals(table) and pandas.read_csv(data / "summary.csv", index_col=0)["found"].equals(table["found"])


@pytest.mark.parametrize("sample_rate", [24000, 48000])
def test_persons_may_be_kept_at_a_higher_rate(corpora, tmp_path, combined, sample_rate):
    combine(corpora / "my_voices", tmp_path, sample_rate=sample_rate)
    rows = manifest.read(tmp_path / "manifest.parquet")
    assert set(rows["sample_rate"]) == {sample_rate} and len(rows) == 2
    for row in rows.itertuples():
        assert audio.info(tmp_path / row.path).sample_rate == sample_rate
        assert audio.info(tmp_path / row.robot_path).sample_rate == 16000
        wave, frames = manifest.wave(row, tmp_path), manifest.frame_map(row, tmp_path)
        assert abs(len(wave) - row.duration * 16000) <= 1 and len(frames) == -(-len(wave) // 160)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_rate": 8000}, "a sample rate of 8000 Hz; accepted are 16000, 22050"),
        ({"rates": (0.9, 3)}, "rates .*accepted are factors from 0.5 to 2"),
    ],
)
def test_options_are_checked(corpora, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        combine(corpora, tmp_path, **options)


def table_of(path, **rows):
    """Write a shard's table of a few rows {id: what differs}; return its path."""
    usual = {"corpus": "libritts_r", "speaker": "1", "path": "/x.wav", "text": "Yes.", "language": "en", "start": 0.0}
    result = {"duration": 1.0, "verdict": "good", "robot_method": "espeak"}
    table = pyarrow.Table.from_pylist([{"id": name, **usual, **result, **row} for name, row in rows.items()], shards.SCHEMA)
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(table, path)
    return path


def test_text_quality_says_where_the_words_may_not_be_what_is_heard(tmp_path):
    verdicts = {"a": "good", "b": "unjudged: too little speech", "c": "trimmed: up to 1.0 s", "d": "poor: other words"}
    rows = {name: {"verdict": verdict} for name, verdict in verdicts.items()}
    path = table_of(tmp_path / "s", **rows, e={"text": None, "robot_method": "flatten"})
    table = tables.write([path], {"libritts_r": 5}, tmp_path, 16000)
    kept = manifest.read(tmp_path / "manifest.parquet").set_index("id")
    assert kept["text_quality"].to_dict() == {
        "a": "exact", "b": "exact", "c": "exact; alignment trimmed: up to 1.0 s",
        "d": "exact; alignment poor: other words", "e": "none",
    }  # fmt: skip
    assert kept["robot_method"].tolist() == ["espeak"] * 4 + ["flatten"] and kept["text"].isna().tolist() == [False] * 4 + [True]
    assert table.loc["libritts_r", ["poor_alignments", "trimmed_alignments"]].tolist() == [1, 1]


def test_several_sources_of_a_corpus_stand_with_their_hours(tmp_path):
    row = {"speaker": "9102", "duration": 3600.0}
    path = table_of(tmp_path / "s", **{"9102_100_1": row, "9102_100_2": row, "x": {"duration": 1800.0}})
    table = tables.write([path], {"libritts_r": 3}, tmp_path, 16000)
    assert table.loc["libritts_r", "source"] == "CMU ARCTIC 2.00 h; LibriTTS-R 0.50 h"
    assert table.loc["libritts_r", ["hours", "speakers"]].tolist() == [2.5, 2]


def test_tables_that_do_not_add_up_replace_nothing(tmp_path):
    path = table_of(tmp_path / "shards/s", a={}, b={"reason": "silent"})
    tables.write([path], {"libritts_r": 2}, tmp_path, 16000)
    before = hashes(tmp_path, ".")
    with pytest.raises(RuntimeError, match="found .* 3.* utterances, but kept [+] quarantined are .*2"):
        tables.write([path], {"libritts_r": 3}, tmp_path, 16000)
    other = table_of(tmp_path / "shards/t", c={"corpus": "libritts"})
    two = {"d": {"corpus": "libritts", "speaker": "r-1"}, "e": {"corpus": "libritts-r", "speaker": "1"}}
    third = table_of(tmp_path / "shards/u", **two)
    with pytest.raises(ValueError, match="the speaker libritts-r-1 is in two corpora|their speaker is in two corpora"):
        tables.write([other, third], {}, tmp_path, 16000)
    for added in (other, third):
        added.unlink()
    assert hashes(tmp_path, ".") == before and len(before) == 4


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
    assert [source.corpus for source in find(corpora)] == ["gigaspeech", "libritts_r", "vctk", "mls", "my_voices", "plain"]
    assert [source.corpus for source in find(corpora / "my_voices")] == ["my_voices"]  # one corpus by itself
    assert find(tmp_path) == []
    with pytest.raises(ValueError, match="no corpus in .* accepted are VCTK-Corpus"):
        combine(tmp_path, tmp_path / "data")
    with pytest.raises(ValueError, match="no folder"):
        find(tmp_path / "nowhere")


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


def encoded(samples, format, subtype, rate=16000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def changed(content, at, form, value):
    content = bytearray(content)
    struct.pack_into(form, content, at, value)
    return bytes(content)


def harmed():
    """Return {name: (suffix, function of a random.Random that gives the bytes, pattern of the reason or None: kept)}.

    The pattern "" is for what may be kept or refused, with any reason.
    """
    wave = robot.say("Yes, please.", rate=300, pitch=60, pitch_range=60).numpy()
    wav, flac = encoded(wave, "WAV", "PCM_16"), encoded(wave, "FLAC", "PCM_16")
    opus, real = encoded(wave, "OGG", "OPUS"), encoded(wave, "WAV", "FLOAT")

    def part(content):
        return lambda draw: content[: int(len(content) * draw.uniform(0.2, 0.9))]

    def flipped(content, until):
        return lambda draw: changed(content, draw.randrange(4, until), "B", draw.randrange(256))

    def number(value):
        return lambda draw: changed(real, len(real) - 4 * draw.randrange(1, len(wave)), "<f", value)

    def same(content):
        return lambda draw: content

    return {
        "truncated": ("wav", part(wav), "truncated: [0-9]+ bytes"), "cut": ("flac", part(flac), "LibsndfileError"),
        "opus": ("opus", part(opus), ""), "empty": ("wav", same(b""), "LibsndfileError"),
        "renamed": ("wav", same(flac), None), "words": ("wav", same(b"I am no recording. " * 50), "LibsndfileError"),
        "nan": ("wav", number(float("nan")), "not finite"), "inf": ("wav", number(float("inf")), "not finite"),
        "eight": ("wav", same(encoded(numpy.tile(wave[:, None], 8), "WAV", "PCM_16")), None),
        "still": ("wav", same(changed(wav, 24, "<I", 0)), "LibsndfileError"),
        "odd": ("wav", same(changed(wav, 24, "<I", 44101)), "44101 Hz"),
        "slow": ("wav", same(changed(wav, 24, "<I", 3)), "lasts [0-9.]+ s"),
        "fast": ("wav", same(changed(wav, 24, "<I", 2**31 - 1)), "2147483647 Hz|lasts 0.00 s|LibsndfileError"),
        "header": ("wav", same(encoded(wave[:0], "WAV", "PCM_16")), "lasts 0.00 s"),
        "huge": ("wav", same(changed(wav, 40, "<I", 2**30)), "truncated"),
        "endless": ("flac", same(changed(flac, 22, ">I", 2**32 - 1)), "lasts [0-9.]+ s"),
        "quiet": ("wav", same(encoded(wave * 0, "WAV", "PCM_16")), "silent"),
        "bits": ("wav", flipped(wav, 44), ""), "noise": ("flac", flipped(flac, len(flac)), ""),
    }  # fmt: skip


TIMES = "segment from|times from|asked for"
SEGMENTS = [
    ({"begin_time": -1.0}, TIMES), ({"end_time": -1.0}, TIMES), ({"end_time": 1e300}, TIMES), ({"end_time": 0.0}, TIMES),
    ({"begin_time": 1e12, "end_time": 1e12 + 1}, TIMES), ({"text_tn": "<NOISE>"}, "<NOISE>"),
    ({"text_tn": "!!!"}, "no words"), ({"text_tn": "\ud800 HELLO"}, ""), ({"text_tn": "HO " * 9999}, "letters"),
]  # fmt: skip
PATHS = ["../../../../etc/passwd", "/etc/passwd", "..\\..\\x.opus", "audio/\0.opus", "a" * 5000, ".", "audio/gone.opus"]


def damage(root, count, seed=0):
    """Write about `count` damaged utterances in three layouts; return {id: pattern of the reason, None: kept}."""
    draw, expected = random.Random(seed), {}
    for i, (name, (suffix, content, reason)) in zip(range(count), itertools.cycle(harmed().items()), strict=False):
        path = root / f"mine/s{i % 3}/{name}{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(draw))
        path.with_suffix(".txt").write_text("Yes, please.", encoding="utf-8")
        expected[path.stem] = reason
    audio.save(root / "GigaSpeech_Data/audio/long.flac", robot.say("Hello there, how are you?"))
    audios = []
    for i in range(count // 3):
        fields, reason = SEGMENTS[i % len(SEGMENTS)] if i % 2 else ({}, None)
        where = "audio/long.flac" if i % 2 or i < 4 else PATHS[i // 2 % len(PATHS)]
        segment = {"sid": f"g{i}", "begin_time": 0.0, "end_time": 1.0, "text_tn": "HELLO THERE", "subsets": []} | fields
        audios.append({"path": where, "segments": [segment]})
        expected[f"g{i}"] = reason if where == "audio/long.flac" else "outside|not a path|Error|NUL|null"
    text = json.dumps({"audios": audios})
    (root / "GigaSpeech_Data/GigaSpeech.json").write_text(text[:-2] + ", {", encoding="utf-8")
    expected["GigaSpeech"] = "broken JSON"
    chapter = root / "LibriTTS_R/train/1/2"
    audio.save(chapter / "1_2_latin.wav", robot.say("Yes."))
    (chapter / "1_2_latin.normalized.txt").write_bytes(b"Yes, \xfc\xff.")
    expected["1_2_latin"] = "UTF-8"
    if sys.platform == "linux":
        os.mkfifo(root / "mine/pipe.wav")
        (root / "mine/loop.wav").symlink_to(root / "mine/loop.wav")
        (root / os.fsdecode(b"mine/\xff.wav")).write_bytes(harmed()["renamed"][1](draw))
        (root / os.fsdecode(b"mine/\xff.txt")).write_text("Yes.", encoding="utf-8")
        expected |= dict.fromkeys(["pipe", "loop"], "not found|no text|not a path|Error")
        expected["\\udcff"] = "UTF-8"
    return expected


def check_damaged(root, data, count):
    """Combine damaged corpora and compare what became of each utterance."""
    expected = damage(root, count)
    table = combine(root, data)
    kept = set(manifest.read(data / "manifest.parquet")["id"])
    refused = pandas.read_csv(data / "quarantine.csv", dtype=str, keep_default_na=False)
    reasons = dict(zip(refused["id"], refused["reason"], strict=True))
    assert kept | reasons.keys() == expected.keys() and not kept & reasons.keys()
    assert table["found"].sum() == len(expected) == len(kept) + len(refused)
    for name, pattern in expected.items():
        assert pattern == "" or (name in kept) == (pattern is None), (name, reasons.get(name))
        assert name in kept or re.search(pattern, reasons[name]) and len(reasons[name]) > 5, (name, reasons[name])
    return table


def test_damaged_inputs_are_kept_or_quarantined_with_their_reason(tmp_path):
    table = check_damaged(tmp_path / "corpora", tmp_path / "data", 57)
    assert table.loc["mine", "kept"] > 5 and "truncated" in table.loc["mine", "reasons"]
