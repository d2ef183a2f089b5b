"""Sizes of the runs: `smoke` takes seconds, `small` minutes on two CPU cores, `full` is for a GPU."""

TINY = {"encoder": (32, 1), "decoder": (32, 1)}
SIZE = {"encoder": (256, 6), "decoder": (384, 8)}
# steps: of stage 1, head_steps: of the net head, with discriminators where judged; peer_steps: of EnCodec's architecture, some 30
# minutes on two cores in batches of a quarter, which gives it more steps; apart_steps: of each autoencoder of `ae=separate`
AUTOENCODER = {
    "smoke": {
        "model": TINY, "head": (32, 1), "judged": False, "batch": 4,
        "steps": 20, "head_steps": 10, "peer_steps": 3, "apart_steps": 5,
    },
    "small": {
        "model": SIZE, "head": (256, 6), "judged": False, "batch": 16,
        "steps": 9000, "head_steps": 2000, "peer_steps": 2800, "apart_steps": 300,
    },
    "full": {
        "model": SIZE, "head": (384, 8), "judged": True, "batch": 64,
        "steps": 40000, "head_steps": 30000, "peer_steps": 10000, "apart_steps": 5000,
    },
}  # fmt: skip
SHARES = (1 / 30, 1 / 15, 2 / 15, 4 / 15, 8 / 15, 1)  # of a training, at which its averages are kept


def marks(steps):
    """Return the numbers of steps that are the SHARES of a training of so many steps."""
    return sorted({max(1, round(steps * share)) for share in SHARES})


DENOISER = {
    "smoke": {
        "model": {"width": 32, "depth": 1, "heads": 2},
        "batch": 16, "frames": 800, "budget": {"steps": 20}, "lr": 1e-3,
    },
    "small": {
        "model": {"width": 192, "depth": 6, "heads": 4},
        "batch": 64, "frames": 2200, "budget": {"steps": 2000}, "lr": 1e-3,
    },
    "full": {
        "model": {"width": 384, "depth": 10, "heads": 6},
        "batch": 256, "frames": 16000, "budget": {"steps": 30000}, "lr": 5e-4,
    },
}  # fmt: skip
# of the ablations, which train many and small ones: a minute and a half each on one core
STUDY = {
    "small": {
        "model": {"width": 128, "depth": 4, "heads": 4},
        "batch": 32, "frames": 1100, "budget": {"steps": 400}, "lr": 1e-3,
    },
}  # fmt: skip
REHEARSAL = {"budget": {"seconds": 180}}  # on the demo corpus `small` shows that all works, it answers nothing


def denoiser(preset, demo, study=False):
    """Return the sizes of a denoiser's training; demo: whether the data are the demo corpus; study: whether it is one of many.

    model: arguments of Denoiser; batch: most items, frames: most latent frames of an average batch; budget: steps or
    seconds; lr: peak rate.
    """
    size = STUDY.get(preset, DENOISER[preset]) if study else DENOISER[preset]
    return size | (REHEARSAL if demo and preset == "small" else {})
