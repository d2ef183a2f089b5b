"""A blind comparison, over a real connection: what is played, what a choice means, and what is kept of it."""

import json
import threading
import urllib.error
import urllib.request

import pytest
import torch

from rovolad_lib.lab import blind
from rovolad_lib.speech.audio import save

NAMES = [f"{k}.wav" for k in range(8)]


@pytest.fixture
def folders(tmp_path):
    """Two folders of eight samples, a's longer than b's, and a file that only one has."""
    for folder, samples in (("a", 300), ("b", 200)):
        for k, name in enumerate(NAMES):
            save(tmp_path / folder / name, torch.full((samples + k,), 0.1))
    save(tmp_path / "a/alone.wav", torch.zeros(9))
    return tmp_path / "a", tmp_path / "b"


@pytest.fixture
def asked(folders, tmp_path):
    """A session, and ask(path, body=None) of its server."""
    session = blind.Session(*folders, tmp_path / "ratings", seed=1)
    with blind.server(session) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()

        def ask(path, body=None):
            sent = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{made.server_port}/{path}", sent)
            with urllib.request.urlopen(request) as answer:
                return answer.read()

        yield session, ask
        made.shutdown()
        thread.join()


def test_pairs_and_sides_come_in_random_order_and_are_each_there_once(folders):
    session, again = (blind.Session(*folders, seed=3) for _ in range(2))
    assert sorted(name for name, _ in session.pairs) == NAMES and session.pairs == again.pairs
    orders = {tuple(blind.Session(*folders, seed=seed).pairs) for seed in range(8)}
    assert len(orders) == 8 and {swapped for order in orders for _, swapped in order} == {True, False}
    for k, (name, swapped) in enumerate(session.pairs):
        first, second = (session.file(k, side) for side in ("first", "second"))
        assert (first, second) == tuple(folder / name for folder in (folders[::-1] if swapped else folders))


def test_the_page_does_not_tell_which_is_which(asked, folders):
    session, ask = asked
    page = ask("").decode()
    assert "Which do you prefer?" in page and not [name for name in NAMES if name in page]
    assert json.loads(ask("state")) == {"pair": 0, "total": 8}
    assert ask("audio/2/second") == session.file(2, "second").read_bytes()
    for wrong in ("audio/8/first", "audio/0/third", "audio/-1/first", "../a/0.wav", "ratings"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(wrong)


def test_a_choice_is_saved_as_the_folder_that_was_preferred(asked):
    session, ask = asked
    given = ["first", "second", "same", "first"]
    for k, choice in enumerate(given):
        assert json.loads(ask("rating", {"pair": k, "choice": choice})) == {"pair": k + 1, "total": 8}
        kept = json.loads(session.path.read_text(encoding="utf-8"))
        assert len(kept["ratings"]) == k + 1
    for rating, choice, (name, swapped) in zip(kept["ratings"], given, session.pairs, strict=False):
        first, second = ("b", "a") if swapped else ("a", "b")
        assert rating == {"name": name, "first": first, "preferred": {"first": first, "second": second, "same": "same"}[choice]}
    assert [path.suffix for path in session.path.parent.iterdir()] == [".json"]  # nothing half-written is left


@pytest.mark.parametrize("body", [{"pair": 1, "choice": "first"}, {"pair": 0, "choice": "third"}, {"pair": 0}, [], None])
def test_a_wrong_rating_is_refused_and_not_kept(asked, body):
    session, ask = asked
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask("rating", "no object" if body is None else body)
    assert session.ratings == [] and not session.path.exists()


def test_folders_without_a_common_name_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="no file name is in both"):
        blind.Session(folders[0], tmp_path / "none")


def kept(folder, name, a, b, preferred):
    folder.mkdir(exist_ok=True)
    ratings = [{"name": "x.wav", "first": "a", "preferred": one} for one in preferred]
    (folder / name).write_text(json.dumps({"a": a, "b": b, "when": "", "ratings": ratings}), encoding="utf-8")


def test_shares_count_both_ways_round_and_leave_out_the_undecided(tmp_path):
    kept(tmp_path, "1.json", "old", "new", ["b", "b", "same"])
    kept(tmp_path, "2.json", "new", "old", ["a", "a", "b"])
    kept(tmp_path, "3.json", "old", "other", ["same"])
    rows = blind.preferences(tmp_path).set_index(["a", "b"])
    assert rows.n.tolist() == [6, 1] and rows.same.tolist() == [1, 1]
    assert rows.share["new", "old"] == pytest.approx(4 / 5)
    assert rows.loc[("new", "old"), ["low", "high"]].tolist() == pytest.approx([0.3755, 0.9638], abs=1e-3)
    assert rows.loc[("old", "other"), ["low", "high"]].tolist() == [0.0, 1.0]


def test_the_plot_is_of_what_was_saved(tmp_path, capsys):
    kept(tmp_path, "1.json", "runs/old", "runs/new", ["b"] * 20)
    assert blind.main(["--plot", "--ratings", str(tmp_path)]) == 0
    assert (tmp_path / "ratings.png").stat().st_size > 5000 and "runs/new" in (tmp_path / "ratings.csv").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(("arguments", "words"), [(["--plot"], "no ratings to plot"), (["one"], "1 folders; accepted: two")])
def test_what_cannot_be_compared_is_one_line(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        blind.main([*arguments, "--ratings", str(tmp_path)])
    assert words in capsys.readouterr().err.splitlines()[-1]
