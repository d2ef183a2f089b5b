"""The command that downloads corpora, verifies them and unpacks them.

python data_prep/fetch.py NAME... --to DIR [--checksum ALGORITHM:DIGITS] [--table FILE] | --list
"""

import argparse
import csv
import hashlib
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

if __name__ == "__main__":  # started by path: the packages lie one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm.auto import tqdm

from data_prep.download import download
from data_prep.unpack import settle, unpack

TABLE = Path(__file__).resolve().with_name("downloads.csv")
STORE = ".downloads"  # in the folder of the corpora; hidden, so that it is not taken for one
ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
GROWTH, FLOOR = 4, 1 << 30  # an archive may unpack to four times its size and 1 GiB; recordings hardly shrink
CARD = TABLE.with_name("CARD.md")


@dataclass(frozen=True)
class Download:
    """One line of downloads.csv.

    size: as its page says; bytes: exact, None where unknown; unpacks_to: path below the folder of the corpora;
    algorithm, checksum: hashlib's name and hexadecimal digits, both empty where none is known; source: who says so;
    url: empty where only people get it.
    """

    name: str
    size: str
    bytes: int | None
    licence: str
    unpacks_to: str
    algorithm: str
    checksum: str
    source: str
    url: str


def table(path=TABLE):
    """Return {name: Download} as downloads.csv or a file like it lists them."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = [Download(**row | {"bytes": int(row["bytes"]) if row["bytes"] else None}) for row in csv.DictReader(file)]
    return {row.name: row for row in rows}


def fetch(item, to, pause_s=2.0):
    """Download, verify and unpack one corpus, going on where an earlier run stopped; return where it lies.

    item: Download; to: folder of the corpora, made where missing; pause_s: as in `download`.
    The archive is kept in to/.downloads. Raises ValueError when the file is not the expected one or the archive is
    refused, OSError when the server or the disk fails; what came until then is kept and nothing is half unpacked.
    """
    if not item.url:
        _, _, text = CARD.read_text(encoding="utf-8").partition("## How GigaSpeech is asked for\n\n")
        raise ValueError(text.partition("\n\n##")[0])
    to = Path(to).expanduser().resolve()
    target, store = to / item.unpacks_to, to / STORE
    archive = store / PurePosixPath(urlsplit(item.url).path).name
    temporary, record = store / f"{archive.name}.unpacking", store / f"{archive.name}.done"
    if record.is_file():
        settle(temporary, to, item.unpacks_to)  # when the last run was stopped between record and move
        if target.exists():
            print(f"{item.name}: already in {target}")
            return target
    elif target.exists():
        raise ValueError(f"{target} is there already, and not from this command: move it away to fetch {item.name} anew")
    record.unlink(missing_ok=True)
    store.mkdir(parents=True, exist_ok=True)
    if not archive.is_file():
        download(item.url, archive, item.name, item.bytes, pause_s)
    verify(item, archive)
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed run
    try:
        unpack(archive, temporary, GROWTH * archive.stat().st_size + FLOOR)
    except ValueError as error:
        if item.checksum:  # the same would come again
            raise
        raise ValueError(f"{error}; it is kept as {_reject(archive)}") from error
    record.touch()
    settle(temporary, to, item.unpacks_to)
    print(f"{item.name}: unpacked to {target} ({item.licence}); {archive} is no longer needed")
    return target


def verify(item, path):
    """Compare a file with the size and the checksum in the table, and say what could be compared.

    Raises ValueError where they differ; the file is then renamed to <path>.rejected.
    """
    size = path.stat().st_size
    algorithm = item.algorithm or "sha256"
    found = _digest(path, algorithm)
    differs = f"{size:,} bytes instead of {item.bytes:,}" if item.bytes not in (None, size) else None
    if item.checksum and found != item.checksum.lower():
        differs = f"{algorithm} {found} instead of {item.checksum} ({item.source})"
    if differs:
        raise ValueError(f"{item.name} is another file: {differs}; nothing was unpacked, it is kept as {_reject(path)}")
    if item.checksum:
        print(f"{item.name}: {algorithm} {found} is right ({item.source})")
    else:
        compared = f"only its size, {size:,} bytes, was compared" if item.bytes else "nothing could be compared"
        print(f"{item.name}: no checksum is known ({item.source}), {compared}; pin it by --checksum {algorithm}:{found}")


def _reject(path):
    return path.replace(path.with_name(f"{path.name}.rejected"))


def _digest(path, algorithm):
    digest = hashlib.new(algorithm)
    with path.open("rb") as file, tqdm.wrapattr(file, "read", path.stat().st_size, desc=algorithm) as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main(arguments=None):
    """Run the command; see `fetch`."""
    parser = argparse.ArgumentParser(description="Download corpora, verify them and unpack them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as libritts_r/dev-clean; --list shows all")
    parser.add_argument("--to", help="folder of the corpora")
    parser.add_argument("--checksum", metavar="ALGORITHM:DIGITS", help="expect this checksum, not the table's")
    parser.add_argument("--table", default=TABLE, help="another table than downloads.csv, such as one with mirrors")
    parser.add_argument("--list", action="store_true", help="show name, size, licence and where it unpacks, then end")
    options = parser.parse_args(arguments)
    known = table(options.table)
    if options.list:
        for row in known.values():
            print(f"{row.name:28}{row.size:12}{row.unpacks_to:60}{row.licence}")
        return
    unknown = [name for name in options.names if name not in known]
    if unknown or not options.names:
        parser.error(f"{f'unknown name {unknown[0]!r}' if unknown else 'no NAME'}; accepted are {', '.join(known)}")
    algorithm, _, digits = (options.checksum or "").lower().partition(":")
    if options.checksum and (len(options.names) != 1 or algorithm not in ALGORITHMS or not digits):
        parser.error(f"--checksum {options.checksum}: accepted is one NAME and {' | '.join(ALGORITHMS)}:DIGITS")
    items = [known[name] for name in options.names]
    if digits:
        items = [replace(items[0], algorithm=algorithm, checksum=digits, source="--checksum")]
    if not options.to and any(item.url for item in items):
        parser.error("--to DIR is missing: the folder of the corpora")
    try:
        for item in items:
            fetch(item, options.to or ".")
    except (OSError, ValueError) as error:
        sys.exit(f"fetch: {error}")
    except KeyboardInterrupt:
        sys.exit("fetch: stopped; the same command goes on from there")


if __name__ == "__main__":
    main()
