"""What the ablations vary, checked before anything is trained."""

from dataclasses import asdict, dataclass, replace

import torch

from rovolad_lib.denoiser.mean import FORMS
from rovolad_lib.denoiser.objective import Denoising
from rovolad_lib.diffusion.named import BOTH, priors_of
from rovolad_lib.diffusion.priors import Bridge
from rovolad_lib.diffusion.schedules import check
from rovolad_lib.diffusion.targets import TARGETS
from rovolad_lib.lab import params
from rovolad_lib.lab.variants import GAUSSIAN, VARIANTS

SHARED = ("pad", "mask", "align", "prior", "condition", "backbone", "context", "oneoff", "ae")  # values as in lab.params
CHOICES = {name: params.STUDIED[name].values for name in SHARED} | {
    "target": ("preconditioned", *TARGETS), "normalise": ("known", "item"), "mapped": FORMS, "voice": ("on", "off"),
    "speakers": ("on", "off"), "copies": ("on", "off"), "robots": ("many", "one"), "times": ("path", "start"),
    "pitch": ("heard", "told"),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What the ablations vary; the names and values of `lab.params`, and below them what only some studies vary.

    The robot reaches the network as prior (prior robot or mixed), as condition, as both, or as neither: prior gaussian,
    condition off, and mapped none, or else it would come in by the mean. target, normalise, mapped, voice: see
    denoiser.objective; mask: "loss" hides padding from the loss alone, the network sees it; noise: in deviations of the
    residual, of mixed the prior's own, of a bridge of any kind that of the Brownian bridge which is as noisy where both are
    noisiest (half of it); path: kind of the bridge or form of the mixed prior; end: of the bridge; schedule, scale: of the
    gaussian prior, schedule also of the diffvc form; None: as the prior has it. description: none, or a text encoder of
    denoiser.text, which hears a sentence about each voice; oneoff, oneoff_share: see speech.batches; speakers: a learned
    voice for every speaker trained on, the known upper bar; ae, robots: see lab.material; times: see denoiser.objective;
    crop: longest item in frames; budget: times the preset's training steps; batch: items of a batch, None: as many as the
    preset's frames hold; neighbours: of the prior's mean, see denoiser.mean; heard: longest context in frames;
    copies: see lab.material; pitch: "told", the network is given that of the take as a number; shortest: see speech.pairs;
    whole: longest context of the prior's mean in frames, see speech.pairs; start: file of a denoiser to go on from; kept:
    share of its weights in what comes of it.
    ValueError for what is not known, and for what does not go together.
    """

    pad: str = "post"
    mask: str = "on"
    align: str = "dtw"
    prior: str = "robot"
    condition: str = "on"
    backbone: str = "transformer_te"
    context: str = "cross"
    dropout: float = 0.1
    references: int = 4
    target: str = "preconditioned"
    normalise: str = "known"
    mapped: str = "ridge"
    voice: str = "on"
    noise: float | None = None
    path: str | None = None
    end: str | None = None
    schedule: str | None = None
    scale: float | None = None
    description: str = "none"
    oneoff: str = "unconditional"
    oneoff_share: float | None = None
    speakers: str = "off"
    ae: str = "shared"
    robots: str = "many"
    times: str = "path"
    budget: float = 1.0
    crop: int = 128
    batch: int | None = None
    neighbours: int = 0
    heard: int = 150
    copies: str = "off"
    pitch: str = "heard"
    shortest: int = 0
    whole: int = 0
    start: str | None = None
    kept: float = 0.5

    def __post_init__(self):
        for name, accepted in CHOICES.items():
            check(getattr(self, name), name, accepted)
        if self.robots == "one" and self.align == "dtw":
            raise ValueError("robots 'one' have no alignment by DTW; accepted: align linear, none")
        if self.neighbours and (self.voice != "on" or self.mapped != "ridge"):
            raise ValueError(f"neighbours {self.neighbours} are of a voice and a ridge; accepted: 0, or voice on, mapped ridge")
        whole = [(name, float("inf")) for name in ("references", "budget", "neighbours", "heard", "whole")]
        for name, high in (("dropout", 1), ("kept", 1), ("shortest", self.crop), *whole):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)}; accepted: 0 to {high}")
        Denoising(*priors_of(self.named(1.0)), **self.objective())  # says what is wrong with a path, its noise or its target

    def objective(self):
        """Return the options of denoiser.objective.Estimator."""
        chosen = {"target": self.target, "normalise": self.normalise, "mapped": self.mapped, "voice": self.voice == "on"}
        chosen |= {} if self.times == "path" else {"times": self.times}
        return chosen | ({"padding": "seen"} if self.mask == "loss" else {})

    def named(self, deviation):
        """Return what `diffusion.named.prior_of` takes; deviation: of the residual that the prior's mean leaves.

        ValueError for a field that has no meaning under the prior.
        """
        given = {name: getattr(self, name) for name in ("noise", "path", "end", "schedule", "scale")}
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("schedule") == params.ZERO_TERMINAL:
            given["schedule"] = {"name": "scaled_linear", "zero_terminal_snr": True}
        own = {
            "gaussian": {"schedule": "schedule", "scale": "scale"},
            "robot": {"noise": "noise", "path": "kind", "end": "end"},
            "mixed": {"noise": "noise", "path": "form"} | ({"schedule": "schedule"} if self.path == "diffvc" else {}),
        }
        parts = {prior: own[prior] for prior in (BOTH if self.prior == "both" else (self.prior,))}
        if lost := [name for name in given if not any(name in part for part in parts.values())]:
            accepted = ", ".join(name for part in parts.values() for name in part)
            raise ValueError(f"{', '.join(lost)} has no meaning under prior {self.prior!r}; accepted: {accepted}")
        if "noise" in given:
            given["noise"] *= deviation / (1.0 if self.prior == "mixed" else 2 * _noisiest(self.path or "brownian"))
        chosen = {p: {k: given[name] for name, k in part.items() if name in given} for p, part in parts.items()}
        chosen = {p: options for p, options in chosen.items() if options}
        return {"name": self.prior, **(chosen if self.prior == "both" else chosen[self.prior])} if chosen else self.prior


def _noisiest(kind):
    """Return the largest c_t of a kind of Bridge; 1/2 of the Brownian."""
    return float(Bridge(kind=kind).coefficients(torch.linspace(0, 1, 1001, dtype=torch.float64))[2].max())


# fields that came after the first records: left out where they stand at their defaults, so that those keep their run ids
LATER = ("target", "normalise", "mapped", "voice", "noise", "path", "end", "schedule", "scale", "description", "oneoff",
         "oneoff_share", "speakers", "ae", "robots", "times", "budget", "crop", "batch", "neighbours", "heard",
         "copies", "pitch", "shortest", "whole", "start", "kept")  # fmt: skip


def named_runs(p):
    """Return the list of runs that a notebook's parameters ask for, each once: {name: value} of every field of Setting,
    `variant`, and of what it is heard with.

    p: lab.params.Parameters with `variant`. A named variant's fields take the place of the parameters; `given` is what the
    parameters say, a gaussian prior then being the plain one, and is called by a variant's name where it is one.
    """
    studied, runs = [name for name in p.as_dict() if name in (*Setting.__dataclass_fields__, "steps", "sampler")], []
    names = [name for name in p.values("variant") if name != "given" or p.variant != "all"]
    for given in p.studied(studied):
        usual = {name: None for name, value in (("schedule", "cosine"), ("scale", 1.0)) if given.get(name) == value}
        for name in names:
            own = VARIANTS[name] if name in VARIANTS else GAUSSIAN if given["prior"] == "gaussian" else {}
            chosen = given | usual | own
            setting = Setting(**{k: v for k, v in chosen.items() if k in Setting.__dataclass_fields__})
            if (run := chosen | asdict(setting) | {"variant": _called(setting)}) not in runs:
                runs.append(run)
    return runs


def _called(setting):
    """Return the name of the variant that a Setting is, its budget aside, or what it changes of one, or of all."""
    bare, fields = replace(setting, pad="post", schedule=None, scale=None, budget=1.0), asdict(setting)
    alike = [name for name, v in VARIANTS.items() if Setting(**{k: x for k, x in v.items() if k != "steps"}) == bare]
    plain = asdict(bare if alike else Setting()) | {"budget": setting.budget}
    return ", ".join(alike[:1] + [f"{k} {v}" for k, v in fields.items() if v != plain[k]])
