"""What can go wrong outside of the code: full and read-only disks, cut files, files from strangers; each is one clear error."""

import ast
import json
import os
import subprocess

import numpy
import pandas
import pytest
import torch
from safetensors.torch import save_file

from data_prep.data_combine import main
from rovolad_lib import checkpoints
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.files import MARK, reading, replacing
from rovolad_lib.lab import records
from rovolad_lib.lab.paths import ROOT
from rovolad_lib.metrics.judges import Judge
from rovolad_lib.speech import latents, manifest
from rovolad_lib.train import fit
from tests.test_train import Line, network, same, step

CODE = sorted([*(ROOT / "rovolad_lib").rglob("*.py"), *(ROOT / "data_prep").rglob("*.py")])


def record(folder):
    made = {"study": "padding", "run_id": "a", "parameters": {"preset": "small", "pad": "x" * 80_000}, "metrics": {}, "units": {}}
    records.save(made | {"data": {"fingerprint": "f", "demo": False}, "seconds": 1.0, "device": "cpu"}, folder)


def checkpoint(folder):
    fit(torch.nn.Linear(3, 20_000), wide, Line(), folder / "run", steps=1)


def wide(model, batch):
    return {"loss": model(batch["x"]).square().mean()}


def frame_map(folder):
    manifest.write_frame_map(numpy.arange(90_000), folder / "a.npy")


def average(folder):
    checkpoints.keep(folder / "average_1.safetensors", torch.nn.Linear(3, 20_000))


def weights(folder):
    with replacing(folder / "m.safetensors") as file:  # as all models are written
        save_file({"a": torch.zeros(20_000)}, file)


WRITERS = {"records/padding/a.json": record, "run/checkpoint.pt": checkpoint, "a.npy": frame_map,
           "average_1.safetensors": average, "m.safetensors": weights}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("disk", [64], indirect=True)
def test_a_full_disk_is_one_error_that_names_the_file_and_keeps_the_old_one(disk, name):
    (disk / name).parent.mkdir(parents=True, exist_ok=True)
    if not name.endswith(".pt"):  # an old one would be read, and be a damaged one
        (disk / name).write_text("old", encoding="utf-8")
    with pytest.raises(OSError) as caught:
        WRITERS[name](disk)
    said = str(caught.value)
    assert str(disk / name) in said and MARK not in said and "\n" not in said
    assert "No space left" in said or name == "a.npy" and "requested and" in said  # all that numpy tells
    assert not list(disk.rglob(f"*{MARK}*")) and not list(disk.rglob("owner.json"))
    assert not (disk / name).exists() if name.endswith(".pt") else (disk / name).read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("disk", [64], indirect=True)
def test_a_read_only_folder_is_one_error_that_names_it(disk, name):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        WRITERS[name](disk)
    assert str(disk) in str(caught.value) and MARK not in str(caught.value) and not list(disk.iterdir())


def test_a_checkpoint_too_large_for_the_disk_leaves_the_last_good_one(tmp_path):
    resource = pytest.importorskip("resource", reason="no limits of files on Windows")
    model = network()
    fit(model, step, Line(), tmp_path / "whole", steps=40)
    fit(network(), step, Line(), tmp_path / "run", steps=40, every=0)
    good = (tmp_path / "run" / checkpoints.NEWEST).read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=f"File too large.*{checkpoints.NEWEST}"):
            checkpoints.write(tmp_path / "run", model, model, torch.optim.AdamW(model.parameters()), 41, [{"step": 41}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "run" / checkpoints.NEWEST).read_bytes() == good and not list(tmp_path.rglob(f"*{MARK}*"))


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other.txt"), replacing(tmp_path / "a.txt"):
        (tmp_path / "other.txt").read_text(encoding="utf-8")
    with pytest.raises(OSError, match="^that is all$"), replacing(tmp_path / "a.txt"):
        raise ConnectionError("that is all")
    assert not list(tmp_path.iterdir())


def saved(codec, denoiser, folder):
    """Write one file of each kind that is read as safetensors; return {file: function that reads it}."""
    codec.save(folder / "codec")
    denoiser().save(folder / "denoiser.safetensors")
    Judge(["a", "b"]).save(folder / "judge.safetensors")
    tensors = {name: torch.zeros(4, 2) for name in ("frames", "robot_frames")} | {"map": torch.zeros(4)}
    tensors |= {name: torch.tensor([0, 4]) for name in ("starts", "robot_starts")}
    save_file(tensors, folder / "latents.safetensors", {"ids": json.dumps(["one"])})
    table = pandas.DataFrame({"id": ["one"]})
    return {
        "codec_encoder.safetensors": lambda: Autoencoder.load(folder / "codec"),
        "codec_decoder.safetensors": lambda: Autoencoder.load(folder / "codec"),
        "denoiser.safetensors": lambda: Denoiser.load(folder / "denoiser.safetensors"),
        "judge.safetensors": lambda: Judge.load(folder / "judge.safetensors"),
        "latents.safetensors": lambda: latents.encode(table, folder, None, folder / "latents.safetensors", 320),
    }


@pytest.mark.parametrize("left", [0.0, 0.01, 0.7, -1])
def test_a_truncated_file_is_named_and_stays(codec, denoiser, tmp_path, left):
    for name, read in saved(codec, denoiser, tmp_path).items():
        read()
        path = tmp_path / name
        whole = path.read_bytes()
        cut = whole[:-1] if left == -1 else whole[: int(left * len(whole))]
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="is damaged: .*; delete it") as caught:
            read()
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value) and path.read_bytes() == cut
        path.write_bytes(whole)


def test_a_truncated_manifest_is_named(tmp_path):
    path = tmp_path / "manifest.parquet"
    for content in (b"", b"PAR1" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="manifest.parquet is damaged: .*makes it again"):
            manifest.read(path)


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.safetensors"), reading(tmp_path / "none.safetensors"):
        pass


class Stranger:
    """What a pickle from outside may hold: a call."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_strangers_checkpoint_is_not_unpickled(tmp_path, capsys):
    run, trap = tmp_path / "run", tmp_path / "trap"
    model = network()
    fit(model, step, Line(), run, steps=30, every=0)
    torch.save({"model": Stranger(trap), "step": 30, "rows": []}, run / checkpoints.NEWEST)
    again = network()
    fit(again, step, Line(), run, steps=30, every=0)
    assert not trap.exists() and same(again, model) and "is damaged: the run goes on from" in capsys.readouterr().out


def test_missing_corpora_are_one_line(tmp_path, capsys):
    for name in ("none", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(SystemExit) as stopped:
            main(["--corpora", str(tmp_path / name), "--data", str(tmp_path / "data")])
        said = str(stopped.value.code) if stopped.value.code != 2 else capsys.readouterr().err.splitlines()[-1]
        assert str(tmp_path / name) in said and "\n" not in said and not (tmp_path / "data").exists()


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_and_no_shell_is_asked(path):
    """No pickle from outside, no shell, no eval: by the names that a module uses."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "dill", "joblib", "shelve", "marshal"}
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert called not in {"eval", "os.system", "os.popen", "torch.jit.load", "pandas.read_pickle", "pd.read_pickle"}
            assert called != "torch.load" or given["weights_only"] == "True"
            assert not called.endswith(("numpy.load", "np.load")) or given["allow_pickle"] == "False"
            assert given.get("shell", "False") == "False"
