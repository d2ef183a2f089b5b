"""Files that are never half-written, damaged ones that are named, and folders with one owner at a time."""

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

MARK = ".part"  # in the name of a file that is being written
FULL = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path` and rename it over `path` when the block succeeds.

    path: where the file shall be; missing folders are made. The suffix is kept, since writers choose a format by it.
    On an error inside the block the temporary file is removed and `path` stays as it was. Errors: OSError, naming `path`,
    where a file cannot be written there: the disk is full, the folder read-only.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=MARK + path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # the rename must not outrun the data on a power cut
        temporary.chmod(0o644)  # mkstemp makes private files
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        number, named = getattr(error, "errno", None), getattr(error, "filename", None)
        plain = number in FULL or (number is None and type(error) in (OSError, SafetensorError))  # numpy tells no number
        if not (plain if named is None else MARK in Path(named).name):
            raise
        raise OSError(number or errno.EIO, getattr(error, "strerror", None) or str(error), str(path)) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


@contextmanager
def alone(folder, work):
    """Hold a folder for some work, such as "trained"; who comes second waits, and says for whom. A process that dies lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    owner, lock = folder / "owner.json", FileLock(folder / f".{work}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            who = owner.read_text(encoding="utf-8")
        except OSError:  # it has just begun, or is just ending
            who = "another process"
        print(f"{folder} is being {work} by {who}: waiting until that is done")
        lock.acquire()
    try:
        with replacing(owner) as file:
            file.write_text(json.dumps({"process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


@contextmanager
def reading(path):
    """Yield a safetensors file, opened: ValueError, naming it, where it is cut off or of another kind."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}; delete it and make or fetch it again") from error


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


def printable():
    """Let a command show letters that its output lacks, as under LC_ALL=C, as escapes: they must not end it."""
    sys.stdout.reconfigure(errors="backslashreplace")
