"""Files that are never half-written."""

import hashlib
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

MARK = ".part"  # in the name of a file that is being written


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path` and rename it over `path` when the block succeeds.

    path: where the file shall be; missing folders are made. The suffix is kept, since writers choose a format by it.
    On an error inside the block the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=MARK + path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # the rename must not outrun the data on a power cut
        temporary.chmod(0o644)  # mkstemp makes private files
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(folder):
    """Remove the temporary files that killed processes left in a folder and below; none may be at work there."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if re.fullmatch(rf"\..*-\w{{8}}{re.escape(MARK)}(\.\w+)?", name):
                Path(parent, name).unlink(missing_ok=True)


def sha256(path):
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
