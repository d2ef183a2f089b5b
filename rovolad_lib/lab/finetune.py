"""Going on from a trained denoiser: its weights taken over, and of them so much kept."""

import torch

from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.files import sha256

GENTLER = 0.3  # times the rate of learning where weights are gone on from, so that they are not undone


def begin(model, path, facts):
    """Give a Denoiser the weights of a file; return where the speech of both is from, and which file it was.

    facts: of `experiment.provenance`. ValueError where the file is of another network.
    """
    start = Denoiser.load(path)
    if start.config != model.config:
        raise ValueError(f"start {path} is of {start.config}; accepted here: {model.config}")
    model.load_state_dict(start.state_dict())
    joined = {name: f"{facts[name]}, {start.notes[name]}".split(", ") for name in ("corpus", "sources", "licence")}
    joined = {name: ", ".join(dict.fromkeys(parts)) for name, parts in joined.items()}
    return joined | {"languages": sorted({*facts["languages"], *start.notes["languages"]}), "start": sha256(path)[:12]}


@torch.no_grad()
def keep(model, start, share):
    """Bring a Denoiser's weights back by a share of their way from another's, in place.

    Between both a network has the voices of the later and the words of the earlier, which heard more of them.
    source: Wortsman 2022 (arXiv 2109.01903).
    """
    for mine, before in zip(model.parameters(), start.parameters(), strict=True):
        mine.lerp_(before.to(mine), share)
