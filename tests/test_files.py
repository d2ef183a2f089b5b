import hashlib
import os
import shutil
import subprocess
import sys
import threading

import pytest

from rovolad_lib.files import alone, remove_partial, replacing, sha256
from rovolad_lib.lab.paths import ROOT


def test_a_file_is_written_whole_with_its_folders_and_suffix(tmp_path):
    path = tmp_path / "new" / "deep" / "table.csv"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".csv" and temporary != path
        temporary.write_text("ä", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "ä" and list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError, match="half way"), replacing(str(path)) as temporary:
        temporary.write_text("ne", encoding="utf-8")
        raise RuntimeError("half way")
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


def test_an_interrupted_first_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_bytes(b"1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("a.csv", ".hidden", "b/x.part.flac", "b/.x-abcdefgh.flac")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in (tmp_path / "b/x.y.flac", tmp_path / "no suffix"):
        with replacing(path) as temporary:
            shutil.copy(temporary, tmp_path / "copy")
        (tmp_path / "copy").rename(temporary)  # as if the rename had not come any more
        path.unlink()
    remove_partial(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_sha256_of_known_bytes(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(bytes(range(256)) * 5000)
    assert sha256(str(path)) == hashlib.sha256(bytes(range(256)) * 5000).hexdigest()


def test_a_command_may_show_letters_that_its_output_lacks():
    command = [sys.executable, "-c", "from rovolad_lib.files import printable; printable(); print('Röbo …')"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, capture_output=True, check=True, env=environment).stdout.split() == [rb"R\xf6bo", rb"\u2026"]


@pytest.mark.parametrize("owned", [True, False])  # False: between its lock and its name, at the beginning and at the end
def test_who_comes_second_waits_for_the_owner(tmp_path, capsys, owned):
    begun, done, order = threading.Event(), threading.Event(), []

    def first():
        with alone(tmp_path, "trained"):
            if not owned:
                (tmp_path / "owner.json").unlink()
            begun.set()
            done.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait(10)
    threading.Timer(0.2, done.set).start()
    with alone(tmp_path, "trained"):
        order.append("second")
    thread.join()
    said = capsys.readouterr().out
    assert order == ["first", "second"] and said.startswith(f"{tmp_path} is being trained by ")
    assert (str(os.getpid()) in said) == owned and ("another process" in said) != owned
