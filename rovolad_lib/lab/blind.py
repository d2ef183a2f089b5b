"""A blind comparison of two folders of samples, in the browser: `python -m rovolad_lib.lab.blind A B`, then `--plot`.

Files of one name in both folders are a pair; pairs and sides come in random order and nothing on the page tells which is
which. Every rating is saved at once, so a session that is closed early counts as far as it went.
"""

import argparse
import json
import random
import sys
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

import pandas

from rovolad_lib.files import replacing
from rovolad_lib.lab import plots
from rovolad_lib.lab.paths import RESULTS
from rovolad_lib.metrics.intervals import wilson

PAGE = Path(__file__).with_name("blind.html")
RATINGS = RESULTS / "ratings"
SIDES, CHOICES = ("first", "second"), ("first", "second", "same")
KINDS = {".wav": "audio/wav", ".flac": "audio/flac"}


class Session:
    """One listener's comparison: `pairs`, in the order of the page, (name, whether B is first), and `ratings` so far.

    a, b: folders; ratings: the folder that its file goes to; seed: of the order (None: another one every time).
    ValueError where no file name is in both folders.
    """

    def __init__(self, a, b, ratings=RATINGS, seed=None):
        self.folders, self.ratings, self.lock = (Path(a), Path(b)), [], Lock()
        names = [{path.name for path in place.glob("*") if path.suffix.lower() in KINDS} for place in self.folders]
        draw = random.Random(seed)
        self.pairs = [(name, draw.random() < 0.5) for name in sorted(set.intersection(*names))]
        draw.shuffle(self.pairs)
        if not self.pairs:
            raise ValueError(
                f"no file name is in both {a} and {b}; accepted: two folders with wav or flac files of the same names"
            )
        self.began = datetime.now(UTC)
        self.path = Path(ratings) / f"{self.began:%Y%m%d-%H%M%S-%f}.json"

    def file(self, pair, side):
        """Return the path of a pair's first or second sample."""
        name, swapped = self.pairs[pair]
        return self.folders[(side == "second") != swapped] / name

    def state(self):
        """Return what the page is told: the pair that is next, None at the end, and how many there are."""
        return {"pair": len(self.ratings) if len(self.ratings) < len(self.pairs) else None, "total": len(self.pairs)}

    def rate(self, pair, choice):
        """Take a rating of the next pair and save all so far; ValueError for another pair or choice."""
        with self.lock:
            if pair != self.state()["pair"] or choice not in CHOICES:
                raise ValueError(f"pair {pair!r}, choice {choice!r}; accepted: {self.state()['pair']}, {', '.join(CHOICES)}")
            name, swapped = self.pairs[pair]
            preferred = "same" if choice == "same" else "ab"[(choice == "second") != swapped]
            given = [*self.ratings, {"name": name, "first": "ba"[not swapped], "preferred": preferred}]
            kept = {
                "a": self.folders[0].as_posix(),
                "b": self.folders[1].as_posix(),
                "when": self.began.isoformat(),
                "ratings": given,
            }
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
            self.ratings = given  # only what is on the disk counts


class Answer(BaseHTTPRequestHandler):
    """The page, its state, its samples, and the ratings that it sends."""

    def __init__(self, session, *arguments):
        self.session = session
        super().__init__(*arguments)

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if parts == [""]:
            self.answer(PAGE.read_bytes(), "text/html; charset=utf-8")
        elif parts == ["state"]:
            self.answer(json.dumps(self.session.state()).encode())
        elif (
            len(parts) == 3 and parts[0] == "audio" and parts[1] in map(str, range(len(self.session.pairs))) and parts[2] in SIDES
        ):
            path = self.session.file(int(parts[1]), parts[2])
            self.answer(path.read_bytes(), KINDS[path.suffix.lower()])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self):
        try:
            given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.session.rate(given["pair"], given["choice"])
        except (ValueError, KeyError, TypeError) as error:
            return self.answer(str(error).encode(), "text/plain; charset=utf-8", HTTPStatus.BAD_REQUEST)
        self.answer(json.dumps(self.session.state()).encode())

    def answer(self, body, kind="application/json", status=HTTPStatus.OK):
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):  # a line a request would bury the address
        pass


def server(session, port=0):
    """Return a server of a session's page, for this machine alone; port 0 is any that is free."""
    made = ThreadingHTTPServer(("127.0.0.1", port), partial(Answer, session))
    made.timeout, made.daemon_threads = 0.2, True
    return made


def preferences(ratings=RATINGS):
    """Return a DataFrame, a row for each pair of folders that was compared: n, same, share preferring a, and low, high.

    ratings: folder of files of sessions. The share and its 95 % Wilson interval are of the ratings that prefer one;
    folders compared the other way round count as the same comparison.
    """
    rows = []
    for path in sorted(Path(ratings).glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        a, b = sorted((kept["a"], kept["b"]))
        rows += [(a, b, kept.get(rating["preferred"], "same")) for rating in kept["ratings"]]
    table = []
    for (a, b), part in pandas.DataFrame(rows, columns=["a", "b", "preferred"]).groupby(["a", "b"]):
        wins, losses = int((part.preferred == a).sum()), int((part.preferred == b).sum())
        low, high = wilson(wins, wins + losses)
        share = wins / (wins + losses) if wins + losses else float("nan")
        table.append(
            {"a": a, "b": b, "n": len(part), "same": len(part) - wins - losses, "share": share, "low": low, "high": high}
        )
    return pandas.DataFrame(table)


def plot(table, path=None):
    """Plot `preferences`: a row a comparison, the share that prefers the first named, and its interval; path: picture or None."""
    if table.empty:
        raise ValueError("no ratings to plot; accepted: the folder of one session or more")
    with plots.figure(1, _said(table), path, table, figsize=(plots.WIDTH, 1.3 + 0.4 * len(table))) as (axis,):
        axis.axvline(50, color="0.3", linewidth=1)
        for place, row in enumerate(table.to_dict("records")):
            axis.hlines(place, 100 * row["low"], 100 * row["high"], linewidth=2)
            axis.plot(100 * row["share"], place, "o", color="C0")
        names = [f"{Path(a).name} over {Path(b).name}" for a, b in zip(table.a, table.b, strict=True)]
        axis.set_yticks(range(len(table)), names)
        axis.set(xlim=(0, 100), ylim=(len(table) - 0.5, -0.5), xlabel="% of those who prefer one")


def _said(table):
    """Return the answer in words: how many comparisons have an interval beside a half."""
    clear = int(((table.low > 0.5) | (table.high < 0.5)).sum())
    return f"{int(table.n.sum())} ratings: in {clear} of {len(table)} comparisons one is preferred beyond chance"


def main(arguments=None):
    """Serve a comparison until every pair is rated, or with --plot draw all that were saved; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rovolad_lib.lab.blind", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="two folders with samples of the same names")
    parser.add_argument("--ratings", type=Path, default=RATINGS, help="folder of the saved ratings")
    parser.add_argument("--seed", type=int, help="of the order; another one every time if it is left out")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plot", action="store_true", help="draw ratings.png from all saved ratings")
    given = parser.parse_args(arguments)
    try:
        if given.plot:
            plot(preferences(given.ratings), given.ratings / "ratings.png")
            return print(f"written: {given.ratings / 'ratings.png'}") or 0
        if len(given.folders) != 2:
            raise ValueError(f"{len(given.folders)} folders; accepted: two, A and B")
        session = Session(*given.folders, given.ratings, given.seed)
    except ValueError as error:
        parser.error(str(error))
    with server(session, given.port) as made:
        print(f"http://127.0.0.1:{made.server_port} shows {len(session.pairs)} pairs; Ctrl-C ends it", flush=True)
        while session.state()["pair"] is not None:
            made.handle_request()
    print(f"saved: {session.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
