"""Unpacking of archives that nobody here has looked into: regular files and folders, below one folder, or nothing."""

import gzip
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath

from tqdm.auto import tqdm

from data_prep.download import free

FILES = 20_000_000  # twice the files of the largest corpus, English MLS
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, UnicodeError, NotImplementedError)
OTHER = "is a link, a device or a pipe"
ODD = re.compile(r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def unpack(archive, folder, size_limit, count_limit=FILES, windows=os.name == "nt"):
    """Unpack a .zip or .tar.gz into a new folder, whole or not at all.

    archive: path; folder: path that does not exist yet; size_limit: bytes that the files may have together;
    count_limit: files and folders; windows: refuse names that Windows cannot have. Links are refused even when they
    stay inside: corpora hold none, and they are how archives break out. Raises ValueError with the name and the reason
    for an entry that is refused and for a damaged archive, OSError where the disk is full or cannot be written.
    """
    entries = _zip if archive.suffix == ".zip" else _tar
    size = 0
    folder.mkdir()
    try:
        with tqdm(desc=f"unpack {archive.name}", unit="B", unit_scale=True) as bar:
            for count, (name, length, kind, extract) in enumerate(entries(archive, folder), 1):
                size += length
                fault = kind or _fault(name, windows)
                if size > size_limit:
                    fault = f"makes more than the {size_limit:,} bytes that were to be expected"
                if count > count_limit:
                    fault = f"makes more than {count_limit:,} files"
                if fault:
                    raise ValueError(f"{archive} was not unpacked: {name!r} {fault}")
                extract()
                bar.update(length)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, DAMAGE):
            raise ValueError(f"{archive} was not unpacked: it is damaged ({error})") from error
        if isinstance(error, OSError):
            raise OSError(f"{archive} was not unpacked: {error}") from error
        raise


def settle(temporary, to, name):
    """Move a whole unpacked archive to its place; what lies there already stays.

    An archive has the first folder of `name` on top, or another one in its place, or none.
    """
    if not temporary.is_dir():
        return
    top = list(temporary.iterdir())
    if (temporary / PurePosixPath(name).parts[0]).is_dir():
        _merge(temporary, to)
    else:
        _merge(top[0] if len(top) == 1 and top[0].is_dir() else temporary, to / name)
    shutil.rmtree(temporary, ignore_errors=True)


def _merge(source, target):
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    elif source.is_dir() and target.is_dir():
        for path in list(source.iterdir()):
            _merge(path, target / path.name)


def _tar(archive, folder):
    """Yield the name of each entry, its bytes, what is wrong with its kind or None, and the function that unpacks it."""
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        while member := tar.next():
            fault = None if member.isreg() or member.isdir() else OTHER
            if member.size < 0:
                fault = f"has {member.size} bytes"
            yield member.name, member.size, fault, partial(tar.extract, member, folder, filter="data")
            tar.members.clear()  # ten million of them would fill the memory
        while stream.read(1 << 20):  # gzip's own checksum comes last
            pass


def _zip(archive, folder):
    """Yield the same of a .zip, which says beforehand what it unpacks to."""
    with zipfile.ZipFile(archive) as zipped:
        free(folder, sum(info.file_size for info in zipped.infolist()), "unpacking")
        for info in zipped.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made on Windows
            fault = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else OTHER
            if info.flag_bits & 1:
                fault = "is encrypted"
            yield info.orig_filename, info.file_size, fault, partial(zipped.extract, info, folder)


def _fault(name, windows):
    """Return what is wrong with a name in an archive, or None."""
    path = PureWindowsPath(name)  # knows both kinds of slash, drives and shares
    if path.anchor:
        return "is an absolute path"
    if ".." in path.parts:
        return "leads out of its folder"
    if "\\" in name or not name.isprintable():
        return "has a backslash or an unprintable character in its name"
    if windows and any(ODD.search(part) for part in path.parts):
        return "is no name that Windows can have"
    return None
