"""Downloads that go on where they were cut, and never glue two files together (RFC 9110, ranges and If-Range)."""

import errno
import json
import os
import shutil
import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

from rovolad_lib.files import replacing

BLOCK = 1 << 16  # read waits for so many bytes, and they are lost when it waits in vain
TIMEOUT_S = 60
TRIES = 5  # in a row, without one byte more
PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP: may be better in a moment
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG}  # not the network's; EIO is a number of TLS's


def download(url, path, name, size=None, pause_s=2.0):
    """Download a file, going on where an earlier run stopped if the server still has the same one.

    url: http or https; path: where the file shall be; until it is whole it is called <path>.part, and what is known of
    it lies beside in <path>.part.json; name: what progress shows; size: bytes that the file must have, None where
    unknown; pause_s: before the second try, doubled for each further one, at most a minute.
    Raises OSError after five tries in a row without progress, for an answer such as 404 and where the disk is too
    small, ValueError where the server offers a file of another size.
    """
    part, tries, best = path.with_name(f"{path.name}.part"), 0, 0
    with tqdm(desc=name, unit="B", unit_scale=True) as bar:
        while True:
            try:
                if _receive(url, part, size, bar):
                    break
                reason = "the connection was cut"
            except HTTPError as error:
                reason = f"the server answers {error.code} {error.reason}"
                if error.code == 416:  # the file became shorter
                    part.unlink(missing_ok=True)
                elif error.code not in PASSING:
                    raise OSError(f"{url}: {reason}") from error
            except (OSError, HTTPException) as error:
                if getattr(error, "errno", None) in DISK:
                    raise OSError(f"{part} cannot be written: {error}; the same command goes on from there") from error
                reason = f"the connection failed ({error})"
            have = part.stat().st_size if part.is_file() else 0
            tries, best = (1, have) if have > best else (tries + 1, best)
            if tries > TRIES:
                raise OSError(f"{url}: {reason}; {have:,} bytes are kept, the same command goes on from there")
            time.sleep(min(pause_s * 2 ** (tries - 1), TIMEOUT_S))
    os.replace(part, path)
    _notes(part).unlink(missing_ok=True)


def free(folder, size, what):
    """Raise OSError when a disk has less than `size` bytes free in `folder` for `what`."""
    room = shutil.disk_usage(folder).free
    if room < size:
        raise OSError(errno.ENOSPC, f"{what} needs {size:,} bytes in {folder}, but only {room:,} are free")


def _receive(url, part, size, bar):
    """Append what one answer of the server holds; return whether the file is complete."""
    notes = _notes(part)
    old = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() and part.is_file() else {}
    start = part.stat().st_size if old.get("url") == url and old["validator"] else 0
    headers = {"User-Agent": "rovolad", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": old["validator"]}
    with urlopen(Request(url, headers=headers), timeout=TIMEOUT_S) as response:
        first, length = start if response.status == 206 else 0, response.headers.get("Content-Length")
        total, tag = first + int(length) if length else None, response.headers.get("ETag", "")
        strong = tag if tag.startswith('"') else response.headers.get("Last-Modified")  # tells a file from its successor
        new = {"url": url, "validator": strong, "total": total}
        if first and new != old:  # bytes of another file: start over
            notes.unlink()
            return False
        if size and total and total != size:
            raise ValueError(f"{url} offers {total:,} bytes instead of {size:,}; nothing was downloaded")
        free(part.parent, 2 * (total or 0) - first, f"{part.stem} with what it unpacks to")
        bar.total, bar.n = total, first
        with part.open("ab" if first else "wb") as file:
            if not first:
                with replacing(notes) as temporary:  # after the old bytes are gone, before the first new one
                    temporary.write_text(json.dumps(new), encoding="utf-8")
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    return total is None or part.stat().st_size == total


def _notes(part):
    return part.with_name(f"{part.name}.json")
