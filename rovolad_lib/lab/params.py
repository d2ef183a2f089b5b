"""The parameters that all notebooks share: their names, their accepted values, and a strict reader.

papermill only warns of a name that the notebook does not declare, and takes any value. `read` compares the cell that
papermill injected with the cell that the notebook declares, both from IPython's input history, and refuses the rest.
"""

import ast
import difflib
import itertools
import math
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

from rovolad_lib.lab.variants import VARIANTS

ZERO_TERMINAL = "scaled_linear_zero"  # scaled_linear, rescaled so that no signal is left at its end


class ParameterError(ValueError):
    """A parameter that no notebook knows, or a value that it does not take."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its kind (choice, int, float, bool, text, optional), its meaning, and for

    values: a choice's accepted values, or the numbers that `all` stands for;
    low, high: the bounds of a number, both included.
    """

    kind: str
    meaning: str
    values: tuple = ()
    low: float = -math.inf
    high: float = math.inf


STUDIED = {
    "pad": Parameter("choice", "where a short clip is padded", ("pre", "post", "even")),
    "mask": Parameter("choice", "padding hidden from network and loss, or not, or from the loss alone", ("on", "off", "loss")),
    "align": Parameter("choice", "how the robot is brought to the person's timing", ("dtw", "linear", "none")),
    "prior": Parameter("choice", "where diffusion starts", ("gaussian", "robot", "mixed", "both")),
    "condition": Parameter("choice", "robot latents given to the network", ("on", "off")),
    "ae": Parameter("choice", "one autoencoder for both voices or two", ("shared", "separate")),
    "backbone": Parameter("choice", "the denoiser's trunk", ("cnn", "transformer_te", "transformer_et")),
    "dropout": Parameter("float", "share of training items without condition", (0.0, 0.1), 0.0, 1.0),
    "oneoff": Parameter("choice", "use of recordings without speaker", ("out", "unconditional", "self")),
    "guidance": Parameter("float", "classifier-free guidance weight, 1 is none", (1.0, 1.5, 2.0, 3.0), 0.0),
    "context": Parameter("choice", "how the network hears the voice", ("none", "two_step", "channel", "cross")),
    "references": Parameter("int", "recordings that show the voice", (1, 2, 4, 8), 0),
    "description": Parameter("choice", "text that describes the voice", ("none", "minilm", "clip")),
    "sampler": Parameter(
        "choice", "how diffusion steps", ("ddpm", "ddim", "dpm_solver", "dpm_solver_pp", "bridge_sde", "bridge_ode", "heun")
    ),
    "schedule": Parameter("choice", "signal power over time", ("linear", "cosine", "sigmoid", "scaled_linear", ZERO_TERMINAL)),
    "scale": Parameter("float", "input scale of the clean latents", (0.1, 0.3, 0.5, 0.7, 1.0), 1e-3, 10.0),
    "steps": Parameter("int", "network evaluations", (1, 2, 4, 8, 16, 32), 1),
    "target": Parameter("choice", "what the network learns to say", ("preconditioned", "x0", "eps", "v", "residual")),
    "variant": Parameter("choice", "a named run, or the one that the other parameters give", ("given", *VARIANTS)),
    "budget": Parameter("float", "times the preset's training steps", (0.125, 0.25, 0.5, 1.0, 8.0), 1e-3, 1e3),
    "takes": Parameter("choice", "every one to train on, or equally much of few or many speakers", ("every", "few", "many")),
}
TABLE = {
    "preset": Parameter("choice", "size of the run: seconds, minutes on two cores, a GPU", ("smoke", "small", "full")),
    "corpora": Parameter("optional", "folder that holds the corpora"),
    "corpus": Parameter(
        "optional", "one corpus of the data, or every, or open, the freely licensed ones; None is the one with most utterances"
    ),
    "data": Parameter("optional", "folder for audio and manifest, None is data/"),
    "results": Parameter("optional", "folder for records and pictures, None is results/"),
    "seed": Parameter("int", "seed of every random choice", low=0),
    "device": Parameter("choice", "where tensors live", ("auto", "cpu", "cuda", "mps")),
    "without": Parameter("optional", "a speaker left out of training, and scored"),
    "force": Parameter("bool", "run again even if a finished run is there"),
    "processes": Parameter("int", "processes that load (01), combine (00) or train (02), 0 is none beside this one", low=0),
    "text": Parameter("text", "what is said"),
    "language": Parameter("text", "language code of the text"),
    "reference": Parameter("optional", "recording of the voice, or a list of them"),
    "voice": Parameter("optional", "name of a shipped voice"),
    "model": Parameter("optional", "file of a denoiser, None takes the corpus' own or the shipped one"),
    "neighbours": Parameter("int", "frames of the references that make a frame of the prior's mean, 0 none", low=0),
    "heard": Parameter("int", "longest context in training, latent frames of 20 ms", low=1),
    "copies": Parameter("choice", "training takes again, slower and faster, as further voices", ("off", "on")),
    "robots": Parameter("choice", "at the person's rate, or at one", ("many", "one")),
    "pitch": Parameter("choice", "the voice's pitch heard in references alone, or told as a number too", ("heard", "told")),
    "shortest": Parameter("int", "least length of a batch's longest training item in latent frames, 0 always the crop's", low=0),
    "whole": Parameter("int", "longest context of the prior's mean in training, latent frames, 0 as the network's", low=0),
    "start": Parameter("optional", "file of a denoiser to go on from, None begins anew"),
    "kept": Parameter("float", "share of the weights of `start` in those that come of it", low=0.0, high=1.0),
    "speaker": Parameter("text", "whose utterances are shown, empty is everybody's"),
    "words": Parameter("text", "part of the text of the utterances that are shown"),
} | STUDIED


class Parameters(SimpleNamespace):
    """The checked parameters of a notebook, one attribute each."""

    def as_dict(self):
        """Return name -> value of all parameters."""
        return dict(vars(self))

    def values(self, name):
        """Return a list of the values that `name` asks for: the one given, or every value for `all`."""
        value = getattr(self, name)
        return list(TABLE[name].values) if name in STUDIED and value == "all" else [value]

    def studied(self, names):
        """Return a list of dict name -> value, one for each combination of the values that `names` ask for."""
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*map(self.values, names))]


def read(cells=None):
    """Return the notebook's Parameters, checked.

    cells: list of str, the sources executed so far; None takes those of the running kernel.
    Raises ParameterError, which names what is accepted.
    """
    if cells is None:
        from IPython import get_ipython

        if get_ipython() is None:
            raise ParameterError("params.read() found no running notebook; outside of one, hand it the cells' sources")
        cells = get_ipython().user_ns["In"]
    declared, injected = _cells(cells)
    for name in injected:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ParameterError(f"unknown parameter {name!r}; accepted: {', '.join(declared)}{hint}")
    return Parameters(**{name: check(name, value) for name, value in (declared | injected).items()})


def check(name, value):
    """Return the value of parameter `name` in its proper type; raises ParameterError with what is accepted."""
    if name not in TABLE:
        raise ParameterError(f"unknown parameter {name!r}; accepted: {', '.join(TABLE)}")
    parameter = TABLE[name]
    if name in STUDIED and value == "all":
        return value
    try:
        return KINDS[parameter.kind][0](value, parameter)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ParameterError(f"{name}={value!r}; accepted: {accepted(name)} ({parameter.meaning})") from None


def accepted(name):
    """Return the accepted values of parameter `name` in words."""
    parameter = TABLE[name]
    limits = ((">=", parameter.low), ("<=", parameter.high))
    words = [KINDS[parameter.kind][1] or ", ".join(parameter.values)]
    words += [f"{sign} {limit:g}" for sign, limit in limits if math.isfinite(limit)]
    return " ".join(words) + (", all" if name in STUDIED else "")


def device(value):
    """Return the torch device that the parameter `device` asks for: `auto` is the first GPU, or the CPU."""
    import torch

    if value == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device='cuda', but there is no GPU here; accepted: auto, cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if value == "auto" else value


def banner(run_id, device, fingerprint):
    """Print the line that says which run this is, where it runs and on which data."""
    print(f"run {run_id} · device {device} · data {fingerprint}")


def _cells(cells):
    """Return the declared and the injected parameters, each a dict, from the sources in their order of execution."""
    for index in reversed(range(len(cells))):
        declared = None if _is_injected(cells[index]) else _literals(cells[index])
        if declared and "preset" in declared:
            break
    else:
        raise ParameterError("no parameters cell has run: a cell of literals only, `preset` among them")
    injected = {}
    for cell in cells[index + 1 :]:
        if _is_injected(cell):
            values = _literals(cell)
            if values is None:  # papermill writes a few values as calls, such as float('nan')
                raise ParameterError(f"only plain values are accepted, papermill's cell is:\n{cell}")
            injected |= values
    for name in ("PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"):  # papermill's own, by --inject-paths
        injected.pop(name, None)
    return declared, injected


def _is_injected(source):
    return source.lstrip().split("\n", 1)[0].strip() == "# Parameters"


def _literals(source):
    """Return name -> value of a source that only assigns literals, None for any other."""
    try:
        pairs = [(statement.targets, statement.value) for statement in ast.parse(source).body]
        return {target.id: ast.literal_eval(value) for (target,), value in pairs}
    except (AttributeError, SyntaxError, TypeError, ValueError):
        return None


def _choice(value, parameter):
    if isinstance(value, bool) and "on" in parameter.values:  # YAML reads on and off as booleans
        value = "on" if value else "off"
    value = "none" if value is None else value
    return parameter.values[parameter.values.index(value)]


def _number(value, parameter, kind=float):
    number = kind(value)
    if isinstance(value, bool) or number != float(value) or not parameter.low <= number <= parameter.high:
        raise ValueError
    return number


def _bool(value, parameter):
    return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]


def _text(value, parameter):
    if isinstance(value, (list, tuple, dict)):
        raise TypeError
    return str(value)


def _optional(value, parameter):
    if isinstance(value, (list, tuple)):
        return [_text(item, parameter) for item in value]
    return None if value in (None, "", "none", "None") else _text(value, parameter)


KINDS = {  # kind -> (the proper type of a value, what is accepted in words)
    "choice": (_choice, ""),
    "int": (partial(_number, kind=int), "a whole number"),
    "float": (_number, "a number"),
    "bool": (_bool, "True, False"),
    "text": (_text, "text"),
    "optional": (_optional, "text, a list of texts, None"),
}
