"""The strict reader of notebook parameters."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from IPython.core.interactiveshell import InteractiveShell
from papermill.translators import PythonTranslator

from rovolad_lib.lab import params

DECLARED = """preset = "small"
data = None
seed = 0
force = False
pad = "all"
mask = "off"
guidance = 1.0
text = "" """


def cells(injected=None, declared=DECLARED):
    """Return a history as the kernel keeps it: an empty first entry, and the reading cell last."""
    middle = [PythonTranslator.codify(injected)] if injected else []
    return ["", declared, *middle, "parameters = params.read()"]


def test_declared_values_alone():
    common = {"preset": "small", "data": None, "seed": 0, "force": False}
    assert params.read(cells()).as_dict() == common | {"pad": "all", "mask": "off", "guidance": 1.0, "text": ""}


def test_injected_values_win():
    parameters = params.read(cells({"pad": "pre", "preset": "smoke", "seed": 3}))
    assert (parameters.pad, parameters.preset, parameters.seed, parameters.mask) == ("pre", "smoke", 3, "off")


def test_the_last_declared_cell_counts():
    history = [*cells({"pad": "pre"}), DECLARED.replace('"all"', '"post"'), "parameters = params.read()"]
    assert params.read(history).pad == "post"


def test_nothing_else_is_looked_at():
    history = cells()
    history[-1:-1] = ["pad = 'even'", "import os\npreset = 'full'", "this is no python", "%%bash"]
    assert params.read(history).pad == "all"
    assert params.read(history).preset == "small"


def test_all_and_combinations():
    parameters = params.read(cells({"guidance": "all"}))
    assert parameters.values("pad") == ["pre", "post", "even"]
    assert parameters.values("mask") == ["off"]
    assert parameters.values("guidance") == [1.0, 1.5, 2.0, 3.0]
    settings = parameters.studied(["pad", "mask"])
    assert settings == [{"pad": pad, "mask": "off"} for pad in ("pre", "post", "even")]


def test_unknown_name_names_the_accepted_ones():
    with pytest.raises(params.ParameterError, match="unknown parameter 'padd'; accepted: preset, .*did you mean 'pad'"):
        params.read(cells({"padd": "pre"}))
    with pytest.raises(params.ParameterError, match="unknown parameter 'steps'"):  # known to others, not declared here
        params.read(cells({"steps": 4}))
    with pytest.raises(params.ParameterError, match="unknown parameter 'colour'; accepted: preset, corpora"):
        params.read(cells(declared=DECLARED + "\ncolour = 1"))


def test_papermills_own_names_pass():
    assert params.read(cells({"PAPERMILL_INPUT_PATH": "a", "pad": "pre"})).pad == "pre"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pad", "sideways", "pre, post, even, all"),
        ("pad", ["pre"], "pre, post, even, all"),
        ("preset", "all", "smoke, small, full"),
        ("seed", -1, "a whole number >= 0"),
        ("seed", 1.5, "a whole number >= 0"),
        ("seed", True, "a whole number >= 0"),
        ("guidance", "much", "a number >= 0, all"),
        ("dropout", 1.5, "a number >= 0 <= 1, all"),
        ("force", "perhaps", "True, False"),
        ("seed", float("inf"), "a whole number >= 0"),
    ],
)
def test_bad_value_names_the_accepted_ones(name, value, words):
    with pytest.raises(params.ParameterError, match="accepted: ") as raised:
        params.check(name, value)
    assert f"{name}={value!r}; accepted: {words} (" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("guidance", 2, 2.0),
        ("guidance", "2.5", 2.5),
        ("steps", 1e3, 1000),
        ("force", "true", True),
        ("force", 0, False),
        ("mask", True, "on"),
        ("align", None, "none"),
        ("data", "None", None),
        ("data", "", None),
        ("reference", ["a.wav", "b.wav"], ["a.wav", "b.wav"]),
        ("text", 42, "42"),
        ("text", "none", "none"),
    ],
)
def test_coercion(name, given, value):
    result = params.check(name, given)
    assert result == value
    assert type(result) is type(value)


def test_nan_is_refused():
    with pytest.raises(params.ParameterError, match="only plain values"):
        params.read(cells({"guidance": float("nan")}))


def test_no_parameters_cell():
    with pytest.raises(params.ParameterError, match="no parameters cell"):
        params.read(["", "# Parameters\npreset = 'smoke'", "params.read()"])


def test_outside_of_a_notebook(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    with pytest.raises(params.ParameterError, match="no running notebook"):
        params.read()


def test_reads_the_history_of_a_real_shell():
    shell = InteractiveShell.instance()
    try:
        for source in (DECLARED, "# Parameters\npad = 'even'\n", "from rovolad_lib.lab.params import read\np = read()"):
            shell.run_cell(source, store_history=True).raise_error()
        assert shell.user_ns["p"].pad == "even"
    finally:
        InteractiveShell.clear_instance()


def test_every_parameter_accepts_its_own_values():
    for name, parameter in params.TABLE.items():
        assert parameter.meaning
        assert [params.check(name, value) for value in parameter.values] == list(parameter.values)
        assert (params.check(name, "all") == "all") if name in params.STUDIED else True


def test_banner(capsys):
    params.banner("0123456789ab", "cpu", "feed")
    assert capsys.readouterr().out == "run 0123456789ab · device cpu · data feed\n"


def test_a_gpu_that_is_not_there_is_refused():
    assert params.device("cpu") == "cpu"
    if torch.cuda.is_available():
        assert params.device("auto") == params.device("cuda") == "cuda"
    else:
        assert params.device("auto") == "cpu"
        with pytest.raises(params.ParameterError, match="device='cuda'.*no GPU.*accepted: auto, cpu"):
            params.device("cuda")


NUMBERS = [name for name, one in params.TABLE.items() if one.kind in ("int", "float")]
CHOICES = [name for name, one in params.TABLE.items() if one.kind == "choice"]


@settings(deadline=None, max_examples=120)
@given(some.sampled_from(NUMBERS), some.one_of(some.integers(-3, 10**6), some.floats()))
def test_any_number_is_taken_or_refused_by_its_bounds(name, value):
    one = params.TABLE[name]
    whole = one.kind != "int" or (math.isfinite(value) and value == int(value))
    if whole and one.low <= value <= one.high and (math.isfinite(value) or math.isinf(one.high)):
        for written in (value, repr(value)) if one.kind == "float" or isinstance(value, int) else (value,):
            taken = params.check(name, written)
            assert taken == value and type(taken) is {"int": int, "float": float}[one.kind]
    else:
        with pytest.raises(params.ParameterError, match=f"{name}=.*; accepted: a "):
            params.check(name, value)


@settings(deadline=None, max_examples=120)
@given(some.sampled_from(CHOICES), some.data())
def test_any_word_is_taken_or_refused_by_the_list(name, data):
    values = params.TABLE[name].values
    word = data.draw(some.one_of(some.sampled_from(values), some.text(max_size=8)))
    if word in values or (word == "all" and name in params.STUDIED):
        declared = f'preset = "smoke"\n{name} = {values[0]!r}'
        assert getattr(params.read(cells({name: word}, declared)), name) == word  # through papermill's own cell
    else:
        with pytest.raises(params.ParameterError, match="accepted: " + ", ".join(values)):
            params.check(name, word)
