"""Shards and executors: what is cut where, what counts as made, and what becomes of work whose process dies."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from data_prep import executors, shards
from data_prep.corpora import Refused, Seen, Utterance
from data_prep.corpora.folder import folder
from data_prep.data_combine import combine, main
from rovolad_lib.files import MARK, sha256
from rovolad_lib.speech import audio, robot

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def voices(root, count):
    """Write `count` recordings by two speakers."""
    for i in range(count):
        path = root / f"{'ann' if i % 2 else 'bob'}/u{i:02}.wav"
        audio.save(path, robot.say(f"Number {i}.", pitch=60 + i % 2 * 20, pitch_range=60))
        path.with_suffix(".txt").write_text(f"Number {i}.", encoding="utf-8")
    return root


def snapshot(data):
    """Return {path: SHA-256} of all there is in a folder."""
    return {path.relative_to(data).as_posix(): sha256(path) for path in data.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    voices(root / "voices", 16)
    return root


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shards, "USUAL", 2)


@pytest.fixture(scope="module")
def combined(corpora, tmp_path_factory):
    data = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "USUAL", 2)
        combine(corpora, data)
    assert len(list(data.glob("shards/voices/*.parquet"))) >= 5
    return data


def utterances(names, **changed):
    return [Utterance(name, "c", "s", Path(f"/nowhere/{name}.wav"), "Yes.", **changed) for name in names]


def cut(items, **options):
    return list(shards.cut(items, "c", "c", Path("data"), options, Seen()))


def test_nothing_is_lost_or_reordered_and_no_shard_is_too_long():
    names = [f"u{i}" for i in range(3000)]
    made = cut(utterances(names))
    assert [item.id for shard in made for item in shard.items] == names
    assert max(len(shard.items) for shard in made) <= shards.MOST and 3000 / 80 < len(made) < 3000 / 30
    assert len({shard.path for shard in made}) == len(made)


def test_a_new_recording_changes_only_its_own_shard():
    names = [f"u{i}" for i in range(3000)]
    before, after = (
        {shard.path for shard in cut(utterances(n))} for n in (names, ["new"] + names[:1500] + ["more"] + names[1500:])
    )
    assert len(before - after) <= 4 and len(after - before) <= 5


@pytest.mark.parametrize(
    "other",
    [
        {"items": utterances("ab", language="de")},
        {"items": utterances("ab", gender="female")},
        {"items": utterances("a")},
        {"items": [*utterances("a"), Refused("b", "x", "y")]},
        {"rates": (0.9,)},
        {"sample_rate": 24000},
    ],
)
def test_the_name_of_a_shard_is_of_all_that_decides_it(other):
    (one,), (two,) = cut(utterances("ab")), cut(**{"items": utterances("ab"), **other})
    assert one.path != two.path and one.path == cut(utterances("ab"))[0].path


def test_the_name_of_a_shard_is_of_the_recording_but_not_of_where_it_lies(tmp_path):
    voices(tmp_path / "a/x", 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # with their times
    (one,), (two,) = cut(folder(tmp_path / "a/x")), cut(folder(tmp_path / "b/x"))
    assert one.path == two.path
    os.utime(tmp_path / "b/x/ann/u01.wav", (1, 1))
    assert cut(folder(tmp_path / "b/x"))[0].path != one.path


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"text": "?!"}, "no words"),
        ({"start": float("nan")}, "times from nan"),
        ({"end": float("inf")}, "times from 0.0 to inf"),
        ({"end": -1.0}, "times from 0.0 to -1.0"),
        ({"start": 2.0, "end": 2.0}, "times from 2.0 to 2.0"),
    ],
)
def test_what_cannot_be_used_is_refused(changed, reason):
    (utterance,) = utterances("a")
    ((shard,),) = [cut([Utterance(**vars(utterance) | changed)])]
    assert isinstance(shard.items[0], Refused) and reason in shard.items[0].reason


def test_a_recording_without_text_is_none_of_these():
    (utterance,) = utterances("a")
    assert isinstance(cut([Utterance(**vars(utterance) | {"text": None})])[0].items[0], Utterance)


def test_ids_are_taken_once_in_any_case():
    kept = [isinstance(item, Utterance) for shard in cut(utterances(["A", "b", "a", "B", "c"])) for item in shard.items]
    assert kept == [True, True, False, False, True]


def test_seen_is_exact_beyond_its_buffer(monkeypatch):
    monkeypatch.setattr("data_prep.corpora.BUFFER", 1000)
    seen, names = Seen(), [f"u{i}" for i in range(5500)]
    assert all(map(seen.add, names)) and len(seen.old) == 5000
    assert not any(map(seen.add, names)) and "u5" in seen and "5" not in seen and seen.add("5")


def test_a_finished_run_makes_nothing_again(combined, corpora, tmp_path, small, monkeypatch):
    data = shutil.copytree(combined, tmp_path / "data")
    monkeypatch.setattr(shards, "make", None)  # whoever calls it fails
    combine(corpora, data)
    assert snapshot(data) == snapshot(combined)


@pytest.mark.parametrize("harm", ["audio gone", "map gone", "audio younger", "table gone", "table half written"])
def test_only_the_shard_that_was_harmed_is_made_again(combined, corpora, tmp_path, small, harm):
    data = shutil.copytree(combined, tmp_path / "data")
    times = {path: path.stat().st_mtime_ns for path in data.glob("shards/voices/*")}
    table = sorted(times)[0]
    name = next(row["id"] for row in shards.read(table))
    sound, frames = next(data.glob(f"audio_stylized_speaker/*/{name}.flac")), next(data.rglob(f"{name}.npy"))
    if harm == "audio gone":
        sound.unlink()
    if harm == "map gone":
        frames.unlink()
    if harm == "audio younger":  # a run for another text was killed here
        audio.save(sound, audio.torch.ones(16000) * 0.1)
    if harm == "table gone":
        table.unlink()
    if harm == "table half written":  # by rename there is none; by a broken disk there may be
        table.write_bytes(table.read_bytes()[:100])
    combine(corpora, data)
    assert snapshot(data) == snapshot(combined)
    assert [path for path, age in times.items() if path.stat().st_mtime_ns != age] == [table]


def test_tables_are_removed_when_their_corpus_was_read_without_them(combined, corpora, tmp_path, small):
    root, data = shutil.copytree(corpora, tmp_path / "corpora"), shutil.copytree(combined, tmp_path / "data")
    (data / "shards/others").mkdir()
    other = shutil.copy(next(data.glob("shards/voices/*")), data / "shards/others")
    (root / "voices/ann/u01.txt").write_text("One.", encoding="utf-8")
    combine(root, data, limit=3)
    assert {path.name for path in data.glob("shards/voices/*")} > {path.name for path in combined.glob("shards/voices/*")}
    combine(root, data)
    before, after = ({path.name for path in folder.glob("shards/voices/*")} for folder in (combined, data))
    assert len(before - after) == len(after - before) == 1 and Path(other).exists()


def test_force_makes_everything_again(combined, corpora, tmp_path, small):
    data = shutil.copytree(combined, tmp_path / "data")
    times = {path: path.stat().st_mtime_ns for path in data.rglob("[!.]*.*")}  # a lock is no work
    combine(corpora, data, force=True)
    assert snapshot(data) == snapshot(combined)
    assert not [path for path, age in times.items() if path.stat().st_mtime_ns == age]


def test_a_corpus_that_moved_is_not_made_again_but_named_anew(corpora, tmp_path, small, monkeypatch):
    root = shutil.copytree(corpora, tmp_path / "old")
    (root / "voices/ann/bad.wav").write_text("no audio", encoding="utf-8")
    (root / "voices/ann/bad.txt").write_text("No.", encoding="utf-8")
    combine(root, tmp_path / "data")
    root = root.rename(tmp_path / "new")
    monkeypatch.setattr(shards, "make", None)
    combine(root, tmp_path / "data")
    refused = (tmp_path / "data/quarantine.csv").read_text(encoding="utf-8")
    assert str(root / "voices/ann/bad.wav") in refused.split(",")


def test_the_tables_of_a_shard_say_what_became_of_each(combined):
    rows = [row for path in combined.glob("shards/voices/*") for row in shards.read(path)]
    assert {row["id"] for row in rows} == {f"u{i:02}" for i in range(16)}
    assert all(row["robot_method"] == "espeak" and row["duration"] > 0.1 and row["reason"] is None for row in rows)
    assert shards.utterance(rows[0]).path.is_file()


@pytest.mark.parametrize("workers", [0, 2])
def test_all_tasks_are_done_and_few_at_once(workers):
    taken = []
    tasks = (taken.append(i) or i for i in range(40))
    done = {}
    for task, result in executors.completed(abs, tasks, partial(executors.processes, workers)):
        done[task] = result
        assert len(taken) - len(done) <= 2 * max(workers, 1)
    assert done == {i: i for i in range(40)}


def test_an_error_of_the_work_ends_it_and_names_the_task():
    with pytest.raises(ZeroDivisionError) as caught:
        list(executors.completed(divmod_by, [1, 0, 2], partial(executors.processes, 1)))
    assert caught.value.__notes__ == ["while making 0"]


def divmod_by(number):
    return divmod(1, number)


def test_a_task_that_kills_its_process_is_named_and_others_are_not_lost():
    tasks = ["0", "1", "2", "__import__('os')._exit(1)", "4", "5", "6"]
    done = {}
    with pytest.raises(RuntimeError, match="process of __import__.* was killed 3 times"):
        for task, result in executors.completed(eval, tasks, partial(executors.processes, 2)):
            assert task not in done
            done[task] = result
    assert done.items() >= {"0": 0, "1": 1, "2": 2}.items() and tasks[3] not in done


def kill_one(pids, data):
    """Start a thread that kills one of some processes as soon as a second shard is made."""

    def watch():
        while len(list(data.glob("shards/*/*.parquet"))) < 2:
            time.sleep(0.005)
        pid = pids()[0]
        os.kill(pid, KILL)
        killed.append(pid)

    killed = []
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, killed


def test_a_killed_worker_process_loses_no_work(combined, corpora, tmp_path, small):
    pids = lambda: [child.pid for child in multiprocessing.active_children()]  # noqa: E731
    thread, killed = kill_one(pids, tmp_path)
    combine(corpora, tmp_path, workers=2)
    thread.join(5)
    assert killed and snapshot(tmp_path) == snapshot(combined)


def test_a_dask_cluster_loses_a_worker_and_no_work(combined, corpora, tmp_path, small):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = sorted(client.run(os.getpid).values())
        thread, killed = kill_one(lambda: workers, tmp_path)
        combine(corpora, tmp_path, scheduler=cluster.scheduler_address)
        thread.join(5)
    assert killed and snapshot(tmp_path) == snapshot(combined)


def test_a_cluster_that_is_not_there(corpora, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "CONNECT_S", 0.5)
    with pytest.raises(OSError, match="127.0.0.1:9"), executors.cluster("tcp://127.0.0.1:9"):
        pass


RUN = """
import os, sys
from data_prep import data_combine, shards
os.setsid()
sys.stderr = open(log, "w", encoding="utf-8")
shards.USUAL = 2
data_combine.main(["--corpora", corpora, "--data", data, "--workers", "1"])
"""


def start(corpora, data, log=os.devnull):
    """Start the command in a process group of its own, forked from a process that has imported all it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_prep.data_combine"])
    run = context.Process(target=exec, args=(RUN, {"corpora": str(corpora), "data": str(data), "log": str(log)}))
    run.start()
    return run


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_a_killed_run_goes_on_to_the_same_bytes(combined, corpora, tmp_path):
    for files in (3, 20, 34, 48):
        run = start(corpora, tmp_path)
        while run.is_alive() and len(list(tmp_path.glob("audio_*/*/*.*"))) < files:
            time.sleep(0.002)
        os.killpg(run.pid, signal.SIGKILL)
        run.join()
        assert run.exitcode == -signal.SIGKILL
    for left in ("audio_robot_speaker/voices-ann/.u01-{}.flac", "shards/.x-{}.parquet", ".manifest-{}.parquet"):
        (tmp_path / left.format(f"abcdefgh{MARK}")).write_bytes(b"half")  # whether or not one of the four left such a file
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shards/*/[!.]*.parquet")}  # whole ones
    run = start(corpora, tmp_path)
    run.join()
    assert run.exitcode == 0 and len(before) > 2
    assert snapshot(tmp_path) == snapshot(combined)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("disk", [400], indirect=True)
def test_a_full_disk_is_told_once_and_leaves_nothing_half_written(combined, corpora, disk, tmp_path):
    run = start(corpora, disk, tmp_path / "log")
    run.join()
    told = (tmp_path / "log").read_text(encoding="utf-8")
    assert run.exitcode == 1 and "Traceback" not in told and told.count("No space left on device") == 1
    assert "while making voices u" in told and not list(disk.rglob(f"*{MARK}*"))
    assert not (disk / "manifest.parquet").exists()
    for path in disk.rglob("*.flac"):
        audio.load(path)
    subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
    run = start(corpora, disk)
    run.join()
    assert run.exitcode == 0 and snapshot(disk) == snapshot(combined)


@pytest.mark.parametrize("disk", [400], indirect=True)
def test_a_read_only_folder_is_told_once(corpora, disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    run = start(corpora, disk / "data", tmp_path / "log")
    run.join()
    told = (tmp_path / "log").read_text(encoding="utf-8")
    assert run.exitcode == 1 and told.count("Read-only file system") == 1 and "Traceback" not in told


@pytest.mark.parametrize("place", ["", "shards", "audio_robot_speaker", "audio_stylized_speaker/voices-ann"])
def test_a_file_in_the_place_of_a_folder_is_told_once(corpora, tmp_path, capsys, place):
    data = tmp_path / "data"
    (data / place).parent.mkdir(parents=True, exist_ok=True)
    (data / place).write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["--corpora", str(corpora), "--data", str(data), "--workers", "1"])
    assert str(data / place) in stopped.value.code and "Nothing is half-written" in stopped.value.code
    assert (data / place).read_text(encoding="utf-8") == "mine" and not (tmp_path / "data/manifest.parquet").exists()
    assert not list(tmp_path.rglob(f"*{MARK}*"))


def test_nothing_is_written_to_the_corpora(corpora, tmp_path, small):
    def states():
        return {path: (path.stat().st_mode, path.stat().st_size, path.stat().st_mtime_ns) for path in corpora.rglob("*")}

    before = states()
    combine(corpora, tmp_path, force=True)
    assert states() == before and len(before) > 30
