import pytest

from rovolad_lib.lab import launch, params


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


def test_processes_that_fail_are_heard():
    given = {"preset": "smoke", "device": "cpu", "seed": -1}  # a mistake, found by each process
    assert launch.start(params.Parameters(**given, processes=0)) is False  # nothing is started
    with pytest.raises(RuntimeError, match=r"nproc_per_node 2 .*\n.*error: seed='-1'; accepted: a whole number >= 0.*$"):
        launch.start(params.Parameters(**given, processes=2))
