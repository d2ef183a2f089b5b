"""Fetching corpora from a server that cuts, changes its mind and hands out malicious archives."""

import csv
import gzip
import hashlib
import io
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import urlsplit

import pytest

from data_prep import download, fetch, unpack
from data_prep.corpora.mls import LANGUAGES
from data_prep.fetch import Download
from rovolad_lib.lab import paths

FILES = {"VCTK-Corpus/txt/p1/a.txt": b"Please call Stella.\n", "VCTK-Corpus/wav48/p1/a.wav": random.Random(0).randbytes(300_000)}


class Site(ThreadingHTTPServer):
    """One file on 127.0.0.1, and how the server misbehaves; `asked` collects the Range of each request."""

    daemon_threads = True
    body, tag, changed = b"", '"one"', None  # changed: Last-Modified
    ranges = obeys = sized = True  # obeys: If-Range; sized: says Content-Length
    hold = None  # an event to wait for before the second half is sent

    def __init__(self):
        self.asked, self.cuts, self.refusals = [], [], []
        super().__init__(("127.0.0.1", 0), Answer)

    def handle_error(self, request, client_address):  # the client may leave at any time
        pass


class Answer(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        site, wanted = self.server, self.headers["Range"]
        site.asked.append(wanted)
        if site.refusals:
            self.send_error(site.refusals.pop(0))
            return
        strong = [mark for mark in (site.tag, site.changed) if mark and not mark.startswith("W/")]
        same = not site.obeys or self.headers["If-Range"] in strong
        start = int(wanted[6:-1]) if wanted and site.ranges and same else 0
        if start >= len(site.body) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
        for name, value in (("ETag", site.tag), ("Last-Modified", site.changed)):
            if value:
                self.send_header(name, value)
        if site.sized:
            self.send_header("Content-Length", str(len(site.body) - start))
        self.end_headers()
        self.send(site.body[start:])

    def send(self, rest):
        site = self.server
        if site.hold:
            self.wfile.write(rest[: len(rest) // 2])
            site.hold.wait(20)
            return
        cut = site.cuts.pop(0) if site.cuts else None
        self.wfile.write(rest[:cut])
        if cut is not None and cut % 2:  # odd: by a reset, not by a polite goodbye
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def site():
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def tarred(files):
    """Return a .tar.gz of {name: bytes or TarInfo}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if info is content else len(content)
            tar.addfile(info, io.BytesIO(b"" if info is content else content))
    return buffer.getvalue()


def zipped(files, mode=stat.S_IFREG):
    """Return a .zip of {name: bytes}, whose entries have a Unix file type."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tar_entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return {name: info}


def item(site, body, name="VCTK-Corpus.tar.gz", unpacks_to="VCTK-Corpus", **changed):
    """Put a body on the server and return its line of the table."""
    site.body = body
    line = {
        "name": "vctk", "size": "small", "bytes": len(body), "licence": "CC BY 4.0", "unpacks_to": unpacks_to,
        "algorithm": "md5", "checksum": hashlib.md5(body).hexdigest(), "source": "its owner",
        "url": f"http://127.0.0.1:{site.server_port}/files/{name}?sequence=2",
    }  # fmt: skip
    return Download(**line | changed)


def tree(folder):
    """Return {name: bytes} of all files below a folder, without what the command keeps for itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and fetch.STORE not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def kept(folder):
    return sorted(path.name for path in (folder / fetch.STORE).iterdir())


def write_table(path, *items):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, asdict(items[0]))
        writer.writeheader()
        writer.writerows(asdict(line) for line in items)
    return path


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_cut_at_random_is_resumed_and_the_file_is_the_same(site, tmp_path, seed):
    corpus = item(site, tarred(FILES))
    chance = random.Random(seed)
    site.cuts = [chance.randrange(1, 60_000) for _ in range(8)]
    if seed % 2:
        site.tag, site.changed = 'W/"weak"', "Sat, 01 Jan 2022 00:00:00 GMT"  # a weak tag tells nothing about bytes
    assert fetch.fetch(corpus, tmp_path, pause_s=0) == tmp_path / "VCTK-Corpus"
    assert tree(tmp_path) == FILES and not site.cuts
    assert (tmp_path / fetch.STORE / "VCTK-Corpus.tar.gz").read_bytes() == site.body
    starts = [int(asked[6:-1]) for asked in site.asked if asked]
    assert starts == sorted(starts) and len(starts) >= 4  # resets may lose the first bytes, so that nothing was there
    assert kept(tmp_path) == ["VCTK-Corpus.tar.gz", "VCTK-Corpus.tar.gz.done"]


def test_a_second_run_goes_on_where_the_first_gave_up(site, tmp_path):
    corpus = item(site, tarred(FILES))
    site.cuts = [50_000, *[0] * (download.TRIES + 1)]
    with pytest.raises(OSError, match=r"cut.*50,000 bytes are kept, the same command goes on"):
        fetch.fetch(corpus, tmp_path, pause_s=0)
    assert kept(tmp_path) == ["VCTK-Corpus.tar.gz.part", "VCTK-Corpus.tar.gz.part.json"] and tree(tmp_path) == {}
    site.asked.clear()
    site.cuts.clear()
    fetch.fetch(corpus, tmp_path, pause_s=0)
    assert site.asked == ["bytes=50000-"] and tree(tmp_path) == FILES


@pytest.mark.parametrize("broken", [{"ranges": False}, {"tag": None}, {"sized": False}])
def test_a_server_without_ranges_validators_or_sizes_is_asked_anew(site, tmp_path, broken):
    corpus = item(site, tarred(FILES))
    vars(site).update(broken)
    site.cuts = [] if "sized" in broken else [100_000, 200_000]
    fetch.fetch(corpus, tmp_path, pause_s=0)
    assert tree(tmp_path) == FILES and len(site.asked) == (1 if "sized" in broken else 3)


def test_a_body_cut_without_a_size_does_not_pass(site, tmp_path):
    corpus = item(site, tarred(FILES))
    site.sized, site.cuts = False, [100_000]
    with pytest.raises(ValueError, match="another file: md5 "):
        fetch.fetch(corpus, tmp_path, pause_s=0)
    site.cuts = [100_000]
    with pytest.raises(ValueError, match=f"another file: 100,000 bytes instead of {len(site.body):,}; nothing was unpacked"):
        fetch.fetch(item(site, site.body, algorithm="", checksum=""), tmp_path, pause_s=0)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize("size", [200_000, 400_000, 30_000])
def test_two_versions_of_a_file_are_never_glued(site, tmp_path, obeys, size):
    old = item(site, tarred(FILES))
    site.cuts, site.obeys = [50_000, *[0] * (download.TRIES + 1)], obeys
    with pytest.raises(OSError, match="50,000 bytes are kept"):
        fetch.fetch(old, tmp_path, pause_s=0)
    files = {"VCTK-Corpus/new.wav": random.Random(1).randbytes(size)}
    corpus = item(site, tarred(files), bytes=None, algorithm="", checksum="")  # so that only the server can tell
    site.tag, site.cuts = '"two"', []
    fetch.fetch(corpus, tmp_path, pause_s=0)
    assert tree(tmp_path) == files


def test_a_busy_server_is_asked_again_and_a_clear_no_is_believed(site, tmp_path):
    corpus = item(site, tarred(FILES))
    site.refusals = [503, 429]
    fetch.fetch(corpus, tmp_path / "busy", pause_s=0)
    assert tree(tmp_path / "busy") == FILES and len(site.asked) == 3
    site.refusals = [404]
    with pytest.raises(OSError, match="the server answers 404 Not Found"):
        fetch.fetch(corpus, tmp_path / "no", pause_s=0)
    assert len(site.asked) == 4 and kept(tmp_path / "no") == []


def test_an_unreachable_server_is_one_clear_error(site, tmp_path):
    corpus = item(site, b"x")
    site.shutdown()
    site.server_close()
    with pytest.raises(OSError, match="connection failed .*efused.*; 0 bytes are kept"):
        fetch.fetch(corpus, tmp_path, pause_s=0)


def test_another_size_than_the_table_says_is_not_downloaded(site, tmp_path):
    corpus = item(site, tarred(FILES), bytes=12)
    with pytest.raises(ValueError, match=f"offers {len(site.body):,} bytes instead of 12; nothing was downloaded"):
        fetch.fetch(corpus, tmp_path, pause_s=0)
    assert kept(tmp_path) == []


def test_a_wrong_checksum_names_both_and_unpacks_nothing(site, tmp_path):
    corpus = item(site, tarred(FILES), checksum="0" * 32)
    right = hashlib.md5(site.body).hexdigest()
    with pytest.raises(ValueError, match=rf"md5 {right} instead of {'0' * 32} \(its owner\); nothing was unpacked.*kept as"):
        fetch.fetch(corpus, tmp_path, pause_s=0)
    assert tree(tmp_path) == {} and "VCTK-Corpus.tar.gz.rejected" in kept(tmp_path)
    fetch.fetch(item(site, site.body), tmp_path, pause_s=0)  # the rejected file is in nobody's way
    assert tree(tmp_path) == FILES


def test_without_a_checksum_the_user_is_told_and_can_pin_one(site, tmp_path, capsys):
    corpus = item(site, tarred(FILES), bytes=None, algorithm="", checksum="")
    table = str(write_table(tmp_path / "table.csv", corpus))
    pin = f"--checksum sha256:{hashlib.sha256(site.body).hexdigest()}"
    fetch.main(["vctk", "--to", str(tmp_path / "first"), "--table", table])
    said = capsys.readouterr().out
    assert "no checksum is known" in said and "nothing could be compared" in said and pin in said
    fetch.main(["vctk", "--to", str(tmp_path / "second"), "--table", table, *pin.split()])
    assert "is right (--checksum)" in capsys.readouterr().out and tree(tmp_path / "second") == FILES
    with pytest.raises(SystemExit, match="sha256 .* instead of 00"):
        fetch.main(["vctk", "--to", str(tmp_path / "third"), "--table", table, "--checksum", "sha256:" + "0" * 64])
    fetch.fetch(item(site, site.body, algorithm="", checksum=""), tmp_path / "sized", pause_s=0)
    assert f"only its size, {len(site.body):,} bytes, was compared" in capsys.readouterr().out


def test_a_second_run_does_nothing(site, tmp_path):
    corpus = item(site, tarred(FILES))
    fetch.fetch(corpus, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    fetch.fetch(corpus, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before and len(site.asked) == 1
    (tmp_path / fetch.STORE / "VCTK-Corpus.tar.gz").unlink()
    fetch.fetch(corpus, tmp_path)
    assert len(site.asked) == 1
    shutil.rmtree(tmp_path / "VCTK-Corpus")
    fetch.fetch(corpus, tmp_path)
    assert len(site.asked) == 2 and tree(tmp_path) == FILES


def test_an_archive_that_is_there_is_verified_and_not_downloaded(site, tmp_path):
    corpus = item(site, tarred(FILES))
    archive = tmp_path / fetch.STORE / "VCTK-Corpus.tar.gz"
    half = archive.with_name("VCTK-Corpus.tar.gz.unpacking") / "VCTK-Corpus"  # a killed run leaves this
    half.mkdir(parents=True)
    (half / "half.wav").write_bytes(b"half")
    archive.write_bytes(site.body)
    fetch.fetch(corpus, tmp_path)
    assert site.asked == [] and tree(tmp_path) == FILES
    assert kept(tmp_path) == ["VCTK-Corpus.tar.gz", "VCTK-Corpus.tar.gz.done"]


@pytest.mark.parametrize("step", ["verify", "unpack", "settle"])
def test_a_run_that_ends_between_two_steps_goes_on_without_downloading(site, tmp_path, monkeypatch, step):
    corpus = item(site, tarred(FILES))

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetch, step, stop)
        fetch.fetch(corpus, tmp_path)
    assert tree(tmp_path) == {} and len(site.asked) == 1
    fetch.fetch(corpus, tmp_path)
    assert tree(tmp_path) == FILES and len(site.asked) == 1
    assert kept(tmp_path) == ["VCTK-Corpus.tar.gz", "VCTK-Corpus.tar.gz.done"]


def test_a_half_moved_corpus_is_moved_on(site, tmp_path, monkeypatch):
    files = {f"LibriTTS_R/{name}": name.encode() for name in ("speakers.tsv", "BOOKS.txt", "LICENSE", "README")}
    corpus = item(site, tarred(files), "doc.tar.gz", "LibriTTS_R/speakers.tsv")
    (tmp_path / "LibriTTS_R").mkdir()
    (tmp_path / "LibriTTS_R/LICENSE").write_bytes(b"old")  # what lies there stays
    move = os.replace

    def stop(source, target):
        if Path(source).suffix == ".txt":
            with suppress(FileNotFoundError):  # the folder's order is anybody's guess: it has moved by now
                move(source.with_name("speakers.tsv"), target.with_name("speakers.tsv"))
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop)
        fetch.fetch(corpus, tmp_path)
    assert "LibriTTS_R/speakers.tsv" in tree(tmp_path) and "LibriTTS_R/BOOKS.txt" not in tree(tmp_path)
    fetch.fetch(corpus, tmp_path)
    assert tree(tmp_path) == files | {"LibriTTS_R/LICENSE": b"old"} and len(site.asked) == 1
    assert kept(tmp_path) == ["doc.tar.gz", "doc.tar.gz.done"]


def test_a_corpus_that_was_deleted_and_half_unpacked_is_not_taken_for_whole(site, tmp_path, monkeypatch):
    corpus = item(site, tarred(FILES))
    fetch.fetch(corpus, tmp_path)
    shutil.rmtree(tmp_path / "VCTK-Corpus")

    def killed(archive, folder, limit):
        (folder / "VCTK-Corpus").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetch, "unpack", killed)
        fetch.fetch(corpus, tmp_path)
    fetch.fetch(corpus, tmp_path)
    assert tree(tmp_path) == FILES and len(site.asked) == 1


def test_a_killed_download_goes_on(site, tmp_path):
    corpus = item(site, tarred(FILES))
    table = write_table(tmp_path / "table.csv", corpus)
    site.hold = threading.Event()
    command = [sys.executable, "-m", "data_prep.fetch", "vctk", "--to", str(tmp_path / "to"), "--table", str(table)]
    process = subprocess.Popen(command, cwd=paths.ROOT, stderr=subprocess.DEVNULL)
    part = tmp_path / "to" / fetch.STORE / "VCTK-Corpus.tar.gz.part"
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    site.hold.set()
    site.hold, start = None, part.stat().st_size
    fetch.fetch(corpus, tmp_path / "to", pause_s=0)
    assert start and site.asked == [None, f"bytes={start}-"] and tree(tmp_path / "to") == FILES


LINKS_AND_DEVICES = {
    "symlink out": tar_entry("a", tarfile.SYMTYPE, "../../secret"), "symlink within": tar_entry("a", tarfile.SYMTYPE, "b"),
    "hardlink out": tar_entry("a", tarfile.LNKTYPE, "/etc/passwd"), "device": tar_entry("a", tarfile.CHRTYPE),
    "pipe": tar_entry("a", tarfile.FIFOTYPE),
}  # fmt: skip
OTHER = "'a' is a link, a device or a pipe"
NAMES = {
    "../outside": "leads out of its folder",
    "VCTK-Corpus/../../outside": "leads out of its folder",
    "..\\outside": "leads out of its folder",
    "/outside": "is an absolute path",
    "C:\\outside": "is an absolute path",
    "C:outside": "is an absolute path",
    "\\\\server\\share\\outside": "is an absolute path",
    "a\\outside": "has a backslash",
    "a\nb": "has a backslash or an unprintable character",
}


def malicious():
    good = {"VCTK-Corpus/a.txt": b"good"}
    for name, reason in NAMES.items():
        yield pytest.param("tar.gz", tarred(good | {name: b"bad"}), reason, id=f"tar {name!r}")
        yield pytest.param("zip", zipped(good | {name: b"bad"}), reason, id=f"zip {name!r}")
    for name, entry in LINKS_AND_DEVICES.items():
        yield pytest.param("tar.gz", tarred(good | entry), OTHER, id=f"tar {name}")
    yield pytest.param("zip", zipped({"a": b"../../secret"}, stat.S_IFLNK), OTHER, id="zip symlink")
    yield pytest.param("zip", zipped({"a": b""}, stat.S_IFIFO), OTHER, id="zip pipe")


@pytest.mark.parametrize("suffix, body, reason", list(malicious()))
def test_a_malicious_archive_is_refused_and_leaves_nothing(site, tmp_path, suffix, body, reason):
    corpus = item(site, body, f"VCTK-Corpus.{suffix}")
    to = tmp_path / "deep" / "to"
    with pytest.raises(ValueError, match="was not unpacked: ") as refused:
        fetch.fetch(corpus, to)
    assert reason in str(refused.value)
    assert kept(to) == [f"VCTK-Corpus.{suffix}"] and tree(tmp_path) == {}
    assert [path.name for path in to.iterdir()] == [fetch.STORE]


@contextmanager
def refused(folder, words):
    with pytest.raises(ValueError, match=words):
        yield
    assert not folder.exists()


def test_bombs_are_refused(tmp_path):
    zeros, out = {"a": bytes(1000), "b": bytes(30_000_000)}, tmp_path / "out"
    for name, body in (("a.zip", zipped(zeros)), ("a.tar.gz", tarred(zeros))):
        archive = tmp_path / name
        archive.write_bytes(body)
        assert len(body) < 100_000
        with refused(out, "'b' makes more than the 1,000,000 bytes that were to be expected"):
            unpack.unpack(archive, out, 1_000_000)
        with refused(out, "'b' makes more than 1 files"):
            unpack.unpack(archive, out, 100_000_000, count_limit=1)
    info = tarfile.TarInfo("huge")
    info.size = 1 << 50  # the header alone
    archive.write_bytes(gzip.compress(info.tobuf()))
    with refused(out, "'huge' makes more than"):
        unpack.unpack(archive, out, 1 << 40)


def test_a_tar_of_negative_size_is_refused(tmp_path):
    info = tarfile.TarInfo("back")
    info.size = -1024  # a reader that goes back by so much never comes to an end
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tarfile.TarInfo("a").tobuf() + info.tobuf(tarfile.GNU_FORMAT)))
    with refused(tmp_path / "out", "'back' has -1024 bytes"):
        unpack.unpack(tmp_path / "a.tar.gz", tmp_path / "out", 1000)


def test_zips_that_are_encrypted_or_badly_named_are_refused(tmp_path):
    archive, body = tmp_path / "a.zip", bytearray(zipped({"ä": b"1"}))
    archive.write_bytes(body.replace("ä".encode(), b"\xff\xff"))
    with refused(tmp_path / "out", "it is damaged .*utf-8"):
        unpack.unpack(archive, tmp_path / "out", 1000)
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(header) + flags] |= 1
    archive.write_bytes(body)
    with refused(tmp_path / "out", "'ä' is encrypted"):
        unpack.unpack(archive, tmp_path / "out", 1000)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_files_get_no_rights_from_an_archive(tmp_path):
    info = tarfile.TarInfo("a")
    info.mode = 0o6777
    (tmp_path / "a.tar.gz").write_bytes(tarred({"a": info}))
    unpack.unpack(tmp_path / "a.tar.gz", tmp_path / "out", 1000)
    mode = (tmp_path / "out/a").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH)


def test_a_zip_that_lies_about_its_sizes_is_damaged(tmp_path):
    body = zipped({"a": bytes(5_000_000)})
    lie = body.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 10))
    (tmp_path / "a.zip").write_bytes(lie)
    with refused(tmp_path / "out", "a.zip was not unpacked: it is damaged .*CRC"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "out", 1000)


@pytest.mark.parametrize("name", ["what?.wav", "a:b", "aux", "x/COM1.wav", "dot.", "blank /a"])
def test_names_that_windows_cannot_have(tmp_path, name):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tarred({f"VCTK-Corpus/{name}": b"1"}))
    with refused(tmp_path / "out", "is no name that Windows can have"):
        unpack.unpack(archive, tmp_path / "out", 1000, windows=True)


@pytest.mark.parametrize("suffix, make", [("tar.gz", tarred), ("zip", zipped)])
def test_a_damaged_archive_is_refused_and_fetched_anew(site, tmp_path, suffix, make):
    body, chance = make(FILES), random.Random(0)
    middle = len(body) // 2
    damaged = [body[:middle], body[: middle - 1] + bytes([body[middle] ^ 255]) + body[middle:], b"<html>Log in</html>"]
    damaged += [body[:at] + chance.randbytes(40) + body[at + 40 :] for at in chance.sample(range(len(body)), 20)]
    for wrong in damaged:
        to = tmp_path / "to"
        with pytest.raises(ValueError, match="it is damaged|is an abs|leads out|has a|is a|makes more") as error:
            fetch.fetch(item(site, wrong, f"VCTK-Corpus.{suffix}", bytes=None, algorithm="", checksum=""), to)
        assert "kept as" in str(error.value) and kept(to) == [f"VCTK-Corpus.{suffix}.rejected"] and tree(to) == {}
    fetch.fetch(item(site, body, f"VCTK-Corpus.{suffix}", algorithm="", checksum=""), to)
    assert tree(to) == FILES


@pytest.mark.parametrize("top", ["VCTK-Corpus-0.92/", "VCTK-corpus/", ""])
def test_the_folder_has_its_name_whatever_lies_on_top_of_the_archive(site, tmp_path, top):
    body = zipped({f"{top}txt/a.txt": b"1", f"{top}README.txt": b"2"})
    fetch.fetch(item(site, body, "VCTK-Corpus-0.92.zip", "VCTK-Corpus-0.92"), tmp_path)
    assert tree(tmp_path) == {"VCTK-Corpus-0.92/txt/a.txt": b"1", "VCTK-Corpus-0.92/README.txt": b"2"}


def test_subsets_share_a_folder(site, tmp_path):
    for name in ("dev-clean", "dev-other"):
        fetch.fetch(item(site, tarred({f"LibriTTS_R/{name}/a": b"1"}), f"{name}.tar.gz", f"LibriTTS_R/{name}"), tmp_path)
    assert sorted(tree(tmp_path)) == ["LibriTTS_R/dev-clean/a", "LibriTTS_R/dev-other/a"]


def test_a_corpus_that_somebody_else_unpacked_is_left_alone(site, tmp_path):
    corpus = item(site, tarred(FILES))
    (tmp_path / "VCTK-Corpus").mkdir()
    with pytest.raises(ValueError, match="VCTK-Corpus is there already, and not from this command"):
        fetch.fetch(corpus, tmp_path)
    assert site.asked == [] and not (tmp_path / fetch.STORE).exists()


def test_too_little_room_is_said_before_the_first_byte(site, tmp_path, monkeypatch):
    corpus = item(site, tarred(FILES))
    size = len(site.body)
    room = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: room._replace(free=2 * size - 1))
        with pytest.raises(OSError, match=rf"needs {2 * size:,} bytes in .*, but only {2 * size - 1:,} are free"):
            fetch.fetch(corpus, tmp_path)
    assert kept(tmp_path) == []
    corpus = item(site, zipped({"a.wav": bytes(10_000_000)}), "VCTK-Corpus.zip")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: room._replace(free=1_000_000))
        with pytest.raises(OSError, match="zip was not unpacked: .*unpacking needs 10,000,000 bytes in .*, but only 1,000,000"):
            fetch.fetch(corpus, tmp_path)
    assert kept(tmp_path) == ["VCTK-Corpus.zip"] and tree(tmp_path) == {}
    fetch.fetch(corpus, tmp_path)
    assert len(site.asked) == 2 and len(tree(tmp_path)) == 1


@pytest.fixture
def tiny(tmp_path):
    """A disk of 256 KiB, and the options to mount it again."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_half_written(site, tiny):
    corpus = item(site, tarred(FILES))
    site.sized = False  # so that nobody can know before
    with pytest.raises(OSError, match=r"part cannot be written: .*No space left.*the same command goes on"):
        fetch.fetch(corpus, tiny)
    assert tree(tiny) == {} and len(site.asked) == 1
    shutil.rmtree(tiny / fetch.STORE)
    corpus = item(site, tarred({"a": bytes(10), "b": bytes(1_000_000)}))  # a .tar.gz does not say what it unpacks to
    with pytest.raises(OSError, match="tar.gz was not unpacked: .*No space left"):
        fetch.fetch(corpus, tiny)
    assert kept(tiny) == ["VCTK-Corpus.tar.gz"] and tree(tiny) == {}


def test_a_read_only_disk_is_one_clear_error(site, tiny):
    corpus = item(site, tarred(FILES))
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    with pytest.raises(OSError, match="Read-only file system: .*tiny"):
        fetch.fetch(corpus, tiny)
    assert site.asked == []


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(site, tmp_path):
    table = write_table(tmp_path / "table.csv", item(site, tarred(FILES)))
    (tmp_path / "to").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"^fetch: .*to\b") as error:
        fetch.main(["vctk", "--to", str(tmp_path / "to"), "--table", str(table)])
    assert "\n" not in str(error.value) and site.asked == []


def test_the_table():
    table = fetch.table()
    corpora = [row for row in table.values() if row.name != "gigaspeech"]
    assert {"vctk", "vctk-0.92", "libritts_r/dev-clean", "libritts_r/train-other-500", "mls_polish_opus"} <= table.keys()
    assert {f"mls_{language}{end}" for language in LANGUAGES for end in ("", "_opus")} <= table.keys()
    archives = [Path(urlsplit(row.url).path).name for row in corpora]
    assert len(set(archives)) == len(archives) and all(name.endswith((".zip", ".tar.gz")) for name in archives)
    assert len({row.unpacks_to for row in table.values()}) == len(table) == 28
    for row in corpora:
        assert row.url.startswith("https://") and row.licence == "CC BY 4.0" and row.size and row.source
        assert (row.algorithm, len(row.checksum)) in (("md5", 32), ("", 0)) and set(row.checksum) <= set("0123456789abcdef")
    unknown = [row.name for row in corpora if not row.checksum]
    assert unknown == ["vctk", "libritts_r/doc", "libritts_r/failed"]
    assert len({row.checksum for row in corpora}) == len(corpora) - len(unknown) + 1
    assert table["vctk-0.92"].bytes == 11_747_302_977


def test_the_list_and_wrong_commands(capsys):
    command = [sys.executable, str(paths.ROOT / "data_prep" / "fetch.py"), "--list"]
    elsewhere = os.path.dirname(sys.executable)
    said = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, cwd=elsewhere)
    assert "libritts_r/dev-clean" in said.stdout and len(said.stdout.splitlines()) == len(fetch.table())
    wrong = {
        "vctx --to .": "unknown name 'vctx'; accepted are vctk, vctk-0.92,",
        "": "no NAME; accepted are",
        "vctk": "--to DIR is missing",
        "vctk --to . --checksum crc:12": "--checksum crc:12: accepted is",
        "vctk vctk-0.92 --to . --checksum md5:12": "accepted is one NAME",
    }
    for arguments, words in wrong.items():
        with pytest.raises(SystemExit) as error:
            fetch.main(arguments.split())
        assert error.value.code == 2 and words in capsys.readouterr().err


def test_gigaspeech_is_explained():
    with pytest.raises(SystemExit) as error:
        fetch.main(["gigaspeech"])
    text = str(error.value)
    assert error.value.code not in (0, None) and len(text.splitlines()) > 5
    for word in ("form", "password", "terms of access", "non-commercial", "GigaSpeech_Data", "GigaSpeech.json"):
        assert word in text
