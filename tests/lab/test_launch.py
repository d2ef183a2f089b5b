from types import SimpleNamespace

import nbformat
import pytest

from rovolad_lib.lab import launch, params, runs


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-p padd=pre", "unknown parameter 'padd'"),
        ("-p preset=huge", "smoke, small, full"),
        ("--accumulate 2", "--folder is needed with accumulate"),
        ("--precision fp8", "invalid choice: 'fp8'"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_before_anything_starts(typed, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        launch.main(typed.split())
    assert stopped.value.code == 2 and words in capsys.readouterr().err


def test_a_training_is_one_however_it_is_heard_and_however_much_of_its_start_is_kept(monkeypatch):
    data, codec = SimpleNamespace(name="mls", fingerprint="1", demo=False), SimpleNamespace(fingerprint=lambda: "2")
    monkeypatch.setattr(runs, "begin", lambda study, trains, *_: trains)
    cells = [cell.source for cell in nbformat.read(launch.NOTEBOOK, 4).cells if "parameters" in cell.metadata.get("tags", [])]

    def run(words=""):
        return launch.run_of(params.read([*cells, f"# Parameters\n{words}"]), data, codec)

    assert run() == run("kept = 0.7\nguidance = 2.0\nsteps = 8") != run("seed = 1")


def test_processes_that_fail_are_heard():
    given = {"preset": "smoke", "device": "cpu", "seed": -1}  # a mistake, found by each process
    assert launch.start(params.Parameters(**given, processes=0)) is False  # nothing is started
    with pytest.raises(RuntimeError, match=r"nproc_per_node 2 .*\n.*error: seed='-1'; accepted: a whole number >= 0.*$"):
        launch.start(params.Parameters(**given, processes=2))
