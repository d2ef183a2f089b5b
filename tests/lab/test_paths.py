"""Folders from the repository and from parameters."""

from pathlib import Path

from rovolad_lib.lab import paths


def test_root_is_the_repository():
    assert (paths.ROOT / "rovolad_lib" / "lab" / "paths.py").is_file()
    assert paths.MODELS == paths.ROOT / "results" / "models"


def test_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.folder(None, paths.DATA) == paths.DATA
    assert paths.folder("here", paths.DATA) == tmp_path / "here"
    assert paths.folder(str(tmp_path / "there"), paths.DATA) == tmp_path / "there"
    assert paths.folder("~/there", paths.DATA) == Path.home() / "there"
