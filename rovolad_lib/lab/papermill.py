"""The `papermill` command, which takes a parameter as one word too: `-p pad=pre` beside papermill's `-p pad pre`."""

import re
import sys

from papermill.cli import papermill

OPTIONS = ("-p", "-r", "--parameters", "--parameters_raw")
ATTACHED = re.compile(r"(-[pr]|--parameters(?:_raw)?(?==))=?([^\W\d]\w*=.*)", re.DOTALL)  # -ppad=pre


def split(arguments):
    """Return the arguments with each `-p name=value` turned into `-p name value`, all others as they are.

    arguments: list of str as typed, without the command's own name. The same goes for `-pname=value`, `-r`,
    `--parameters` and `--parameters_raw`. A word is split at its first `=`, only where an identifier stands before it.
    """
    words, result = list(arguments), []
    while words and words[0] != "--":
        option = words.pop(0)
        if attached := ATTACHED.fullmatch(option):
            option, words = attached[1], [attached[2], *words]
        result.append(option)
        if option in OPTIONS and words:
            name, equals, value = words[0].partition("=")
            whole = equals and name.isidentifier()
            result += [name, value] if whole else words[:2]
            del words[: 1 if whole else 2]
    return result + words


def main():
    """Run papermill on the command line's arguments."""
    sys.argv[1:] = split(sys.argv[1:])
    return papermill(prog_name="papermill")


if __name__ == "__main__":
    sys.exit(main())
