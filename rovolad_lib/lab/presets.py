"""Sizes of the runs: `smoke` takes seconds, `small` minutes on two CPU cores, `full` is for a GPU."""

AUTOENCODER = {
    "smoke": {"model": {"encoder": (32, 1), "decoder": (32, 1)}, "batch": 4, "steps": 20},
    "small": {"model": {"encoder": (256, 6), "decoder": (384, 8)}, "batch": 16, "steps": 1400},
    "full": {"model": {"encoder": (256, 6), "decoder": (384, 8)}, "batch": 64, "steps": 40000},
}

DENOISER = {
    "smoke": {
        "model": {"width": 32, "depth": 1, "heads": 2},
        "batch": 16,
        "frames": 800,
        "budget": {"steps": 20},
        "lr": 1e-3,
    },
    "small": {
        "model": {"width": 192, "depth": 6, "heads": 4},
        "batch": 64,
        "frames": 2200,
        "budget": {"steps": 2000},
        "lr": 1e-3,
    },
    "full": {
        "model": {"width": 384, "depth": 10, "heads": 6},
        "batch": 256,
        "frames": 16000,
        "budget": {"steps": 30000},
        "lr": 5e-4,
    },
}
REHEARSAL = {"budget": {"seconds": 180}}  # on the demo corpus `small` shows that all works, it answers nothing


def denoiser(preset, demo):
    """Return the sizes of a denoiser's training; demo: whether the data are the demo corpus.

    model: arguments of Denoiser; batch: most items, frames: most latent frames of an average batch; budget: steps or
    seconds; lr: peak rate.
    """
    return DENOISER[preset] | (REHEARSAL if demo and preset == "small" else {})
