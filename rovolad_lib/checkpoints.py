"""A run's folder: two checkpoints of which a damaged one is passed over, and averages kept on the way."""

import os
from io import BytesIO

import pandas as pd
import torch
from safetensors.torch import save

from rovolad_lib.files import replacing

NEWEST, BEFORE = "checkpoint.pt", "checkpoint_before.pt"  # the two that are kept


def remove(run):
    """Remove a run's checkpoints, so that it starts over."""
    for name in (NEWEST, BEFORE):
        (run / name).unlink(missing_ok=True)


def write(run, model, average, optimizer, step, rows):
    """Write everything a resumed run needs, and the log, each whole or not at all."""
    state = {
        "model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
        "step": step, "rows": rows,
    }  # fmt: skip
    with replacing(run / NEWEST) as file:
        torch.save(state, whole := BytesIO())  # on a full disk torch would not say so
        file.write_bytes(whole.getbuffer())
        if (run / NEWEST).exists():
            os.replace(run / NEWEST, run / BEFORE)
    with replacing(run / "log.csv") as file:
        pd.DataFrame(rows).to_csv(file, index=False)


def keep(path, average):
    """Write the averaged weights as they stand, whole or not at all."""
    with replacing(path) as file:
        file.write_bytes(save({name: value.contiguous() for name, value in average.state_dict().items()}))


def restore(run, model, average, optimizer):
    """Load the newest of the run's checkpoints that is whole, or begin where there is none; nothing is unpickled."""
    state, damaged = None, []
    for path in (run / NEWEST, run / BEFORE):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
        except Exception:  # cut off, or not a checkpoint: of such bytes the reader raises whatever comes
            damaged.append(path)
        if state:
            break
    if damaged and state is None:
        raise ValueError(f"{damaged[0]} is damaged, and there is no other: delete it to start over")
    if damaged:
        print(f"{damaged[0]} is damaged: the run goes on from {path.name}, step {state['step']}")
    if state is None:
        return {"step": 0, "rows": []}
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state
