"""The mutations still fit the code; `python tests/mutations.py` makes them."""

from tests.mutations import MUTATIONS, ROOT


def test_every_mutation_fits_its_file_once():
    for mutation in MUTATIONS:
        assert (ROOT / mutation.path).read_text(encoding="utf-8").count(mutation.old) == 1, mutation.name
        assert all((ROOT / "tests" / name).exists() for name in mutation.tests.split()), mutation.name
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
