"""A training killed at a random moment; `python tests/kills.py 20` kills more of them, as does KILLS=20 here."""

import os

from tests import kills


def test_a_training_killed_at_any_moment_learns_the_same():
    told = []
    assert kills.main(int(os.environ.get("KILLS", 1)), seed=2, said=told.append) == 0
    assert all("the same bits" in line for line in told) and told
