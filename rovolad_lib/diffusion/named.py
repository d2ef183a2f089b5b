"""Priors by the names that parameters and a model's notes give them."""

from dataclasses import fields

from rovolad_lib.diffusion.priors import Bridge, Gaussian, Mixed
from rovolad_lib.diffusion.schedules import gamma

PRIORS = {"gaussian": (Gaussian, "ddpm"), "robot": (Bridge, "bridge_sde"), "mixed": (Mixed, "ddpm")}  # and the sampler of each
BOTH = ("gaussian", "robot")  # what one network of prior "both" learns, in the order in which it counts them


def prior_of(named, under=None):
    """Return the prior that parameter `prior` or a model's note names, and its default sampler.

    named: gaussian | robot | mixed | both, or a dict {"name": one of them, further arguments of its class}, where `schedule`
    stands for gamma (a name, or a dict of the arguments of `schedules.gamma`), and of both {"name": "both", "gaussian":
    {...}, "robot": {...}}; under: which of both (None: robot). ValueError names the accepted ones, of the arguments too.
    """
    options = {"name": named} if isinstance(named, str) else dict(named)
    name = options.pop("name", None)
    if name not in (*PRIORS, "both"):
        raise ValueError(f"prior must be one of {', '.join(PRIORS)}, both, got {name!r}")
    accepted = BOTH if name == "both" else (name,)
    if under is not None and under not in accepted:
        raise ValueError(f"prior {under!r} of a model trained with prior {name!r}; accepted: {', '.join(accepted)}")
    if name == "both":
        _known(options, BOTH, "prior 'both'")
        name = under or "robot"
        options = dict(options.get(name, {}))
    accepted = [field.name.replace("gamma", "schedule") for field in fields(PRIORS[name][0]) if field.name != "eta"]
    _known(options, accepted, f"prior {name!r}")
    if schedule := options.pop("schedule", None):
        options["gamma"] = gamma(**({"name": schedule} if isinstance(schedule, str) else schedule))
    kind, sampler = PRIORS[name]
    return kind(**options), sampler


def _known(options, accepted, of):
    """Raise ValueError where an argument is not among the accepted ones."""
    if unknown := [name for name in options if name not in accepted]:
        raise ValueError(f"{', '.join(unknown)}: no argument of {of}; accepted: {', '.join(accepted)}")


def priors_of(named):
    """Return the tuple of priors that a network of parameter `prior` learns."""
    name = named if isinstance(named, str) else named.get("name")
    return tuple(prior_of(named, under)[0] for under in BOTH) if name == "both" else (prior_of(named)[0],)
