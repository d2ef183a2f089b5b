import pytest

from rovolad_lib.lab import launch


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
