"""The words that papermill gets to see."""

import subprocess
import sys

import pytest

from rovolad_lib.lab.papermill import split


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("a.ipynb out.ipynb -p pad=pre -p preset=smoke", "a.ipynb out.ipynb -p pad pre -p preset smoke"),
        ("a.ipynb -p pad pre out.ipynb", "a.ipynb -p pad pre out.ipynb"),
        ("-ppad=pre --parameters pad=pre --parameters=pad=pre", "-p pad pre --parameters pad pre --parameters pad pre"),
        ("-r seed=7 --parameters_raw seed=7", "-r seed 7 --parameters_raw seed 7"),
        ("-p text a=b", "-p text a=b"),  # the value of papermill's own form may hold a =
        ("-p text=a=b", "-p text a=b"),  # the first = splits
        ("-p guidance -p -p pad=pre", "-p guidance -p -p pad pre"),  # a value may look like an option
        ("-p 2a=b c", "-p 2a=b c"),  # no identifier, no split
        ("-p", "-p"),
        ("-y pad=pre --parameters_file=x=y --prepare-only", "-y pad=pre --parameters_file=x=y --prepare-only"),
        ("-- -p pad=pre", "-- -p pad=pre"),
    ],
)
def test_split(typed, seen):
    assert split(typed.split()) == seen.split()


def test_split_keeps_spaces_and_empty_values():
    words = split(["-p", "text=two words\nlines", "-p", "voice="])
    assert words == ["-p", "text", "two words\nlines", "-p", "voice", ""]


def test_module_is_the_same_command():
    answer = subprocess.run(
        [sys.executable, "-m", "rovolad_lib.lab.papermill", "--help"], capture_output=True, text=True, encoding="utf-8"
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Usage: papermill [OPTIONS]")
