"""The mutations still fit the code; `python tests/mutations.py` makes them."""

import pytest

from tests import mutations
from tests.mutations import MUTATIONS, ROOT


def test_every_mutation_fits_its_file_once():
    for mutation in MUTATIONS:
        assert (ROOT / mutation.path).read_text(encoding="utf-8").count(mutation.old) == 1, mutation.name
        assert all((ROOT / "tests" / name.partition("::")[0]).exists() for name in mutation.tests.split()), mutation.name
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_a_test_that_fails_anyway_is_taken_for_no_notice(tmp_path, monkeypatch):
    for folder in ("rovolad_lib", "tests", "data_prep"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "rovolad_lib/code.py").write_text("ONE = 1\n", encoding="utf-8")
    test = tmp_path / "tests/test_it.py"
    monkeypatch.setattr(mutations, "ROOT", tmp_path)
    monkeypatch.setattr(mutations, "MUTATIONS", [
        mutations.Mutation(new, "rovolad_lib/code.py", "ONE = 1", new, "test_it.py") for new in ("ONE = 2", "ONE  = 1")
    ])  # fmt: skip
    test.write_text("def test_it():\n    from rovolad_lib.code import ONE\n\n    assert ONE == 1\n", encoding="utf-8")
    assert mutations.main([]) == 1  # the second is no mistake
    test.write_text("def test_it():\n    assert False\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="tests/test_it.py::test_it fails without any mutation"):
        mutations.main([])
