"""Numbers that must not change unnoticed: a change of them orphans old runs on purpose, by a raised RECIPE."""

import numpy
import pandas
import pytest
import torch
from torch import nn

from rovolad_lib import autoencoder, denoiser, diffusion, speech, train
from rovolad_lib.autoencoder import layers
from rovolad_lib.autoencoder.crops import Crops
from rovolad_lib.autoencoder.losses import stage_one
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.denoiser.objective import Denoising
from rovolad_lib.diffusion.priors import Bridge, Gaussian
from rovolad_lib.diffusion.samplers import bridge_sde, ddpm
from rovolad_lib.diffusion.schedules import grid
from rovolad_lib.speech import latents
from rovolad_lib.speech.align import align
from rovolad_lib.speech.audio import load, log_mel, save, set_level
from rovolad_lib.speech.pairs import Pairs
from rovolad_lib.speech.spectral import stft

PACKAGES = {"speech": speech, "diffusion": diffusion, "train": train, "autoencoder": autoencoder, "denoiser": denoiser}
COMMITTED = {  # package: (RECIPE, its numbers)
    "speech": (1, [-0.774658, 0.285983, 20.22, 505.057, 465.351, 505.057]),
    "diffusion": (1, [1.07365, 0.839304]),
    "train": (1, [3.62263, 8.44262, 7.94834, 1.22638]),
    "autoencoder": (2, [2.96099, 2.85857, 2.74321, 804.056, 0.0339557]),
    "denoiser": (1, [1.38178, 1.34799, 1.42418, 1277.24]),
}


def wave(seed, samples=8000):
    random = torch.Generator().manual_seed(seed)
    t, pitch = torch.arange(samples) / 16000, 90 + 60 * torch.rand(1, generator=random)
    level = 0.6 + 0.4 * torch.sin(2 * torch.pi * 3 * t + seed)
    buzz = sum(torch.sin(2 * torch.pi * k * pitch * t) / k for k in range(1, 25))
    return 0.1 * level * buzz + 0.002 * torch.randn(samples, generator=random)


class Numbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)


class Lines:
    def __getitem__(self, i):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(i))
        return {"x": x, "y": x.sum(1, keepdim=True)}


def three_steps(model, step, batches, run):
    """Return the losses of three steps and one number of the weights that they leave."""
    losses = []

    def noting(model, batch):
        made = step(model, batch)
        losses.append(made["loss"].item())
        return made

    train.fit(model, noting, batches, run, steps=3, lr=1e-2)
    return [*losses, sum(p.detach().abs().sum().item() for p in model.parameters())]


def of_speech(held, table, folder):
    one, two = wave(0), wave(1, 9000)
    batch = Pairs(held, table, range(4), batch=4, seed=1)[2]
    parts = [batch[k].abs().sum().item() for k in ("x0", "robot", "context")]
    return [
        log_mel(set_level(one)).mean().item(),
        stft(one).abs().mean().item(),
        float(align(one, two).frame_map.mean()),
        *parts,
    ]


def of_diffusion():
    y, noise = torch.linspace(-1, 1, 24).reshape(1, 4, 6), torch.linspace(2, -1.5, 24).sin().reshape(1, 4, 6)

    def denoise(x, t):
        return 0.7 * x + t.view(-1, 1, 1)

    ends = [(ddpm, Gaussian()), (bridge_sde, Bridge())]
    return [walk(denoise, p.start(y, noise), grid(3), p, y, lambda x: noise).abs().mean().item() for walk, p in ends]


def of_train(folder):
    torch.manual_seed(0)
    return three_steps(Numbers(), lambda m, b: {"loss": (m.line(b["x"]) - b["y"]).square().mean()}, Lines(), folder / "line")


def of_autoencoder(model, folder):
    crops = Crops([wave(k) for k in range(3)], batch=2, frames=10, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "bf16_pays", lambda device: False)  # the same numbers on every processor
        losses = three_steps(model, stage_one, crops, folder / "codec")
    return [*losses, model.decode(model.encode(wave(0)[None])).abs().mean().item()]


def of_denoiser(held, table, folder):
    torch.manual_seed(0)
    model = Denoiser(channels=8, width=16, depth=1, heads=2, patch=2)
    model.mean.fit([held[i][1] for i in range(4)], [held[i][0] for i in range(4)])
    return three_steps(model, Denoising(Bridge()), Pairs(held, table, range(4), batch=4, seed=1), folder / "denoiser")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """What each package makes of fixed data, in the order in which they build on one another."""
    folder, rows = tmp_path_factory.mktemp("recipe"), []
    for i in range(4):
        for kind, seed in (("a", 10), ("b", 20)):
            save(folder / f"{kind}{i}.wav", wave(seed + i, 6400 + 500 * i))
        numpy.save(folder / f"{i}.npy", numpy.arange(-(-(6400 + 500 * i) // 160)).astype("int32"))
        end = (6400 + 500 * i) / 16000
        rows.append(
            {
                "id": str(i),
                "corpus": "c",
                "speaker": f"s{i % 2}",
                "text": f"t{i // 2}",
                "path": f"a{i}.wav",
                "robot_path": f"b{i}.wav",
                "align_path": f"{i}.npy",
                "start": 0.0,
                "end": end,
                "duration": end,
            }
        )
    table = pandas.DataFrame(rows)
    torch.manual_seed(0)
    codec = Autoencoder(8, 20, (16, 1), (16, 1))
    codec.fit_linear(stft(torch.stack([wave(k) for k in range(4)])).abs())
    codec.standardise([load(folder / f"a{i}.wav") for i in range(4)])
    held = latents.encode(table, folder, codec.encode, folder / "latents.safetensors", codec.hop)
    return {
        "speech": of_speech(held, table, folder), "diffusion": of_diffusion(), "train": of_train(folder),
        "autoencoder": of_autoencoder(codec, folder), "denoiser": of_denoiser(held, table, folder),
    }  # fmt: skip


def test_a_change_of_numbers_raises_the_recipe(numbers):
    recipes = {name: package.RECIPE for name, package in PACKAGES.items()}
    changed = [name for name in PACKAGES if numbers[name] != pytest.approx(COMMITTED[name][1], rel=1e-3)]
    lines = "\n".join(f'    "{name}": ({recipes[name]}, {[float(f"{n:.6g}") for n in numbers[name]]}),' for name in PACKAGES)
    where = {name: "rovolad_lib/train.py" if name == "train" else f"rovolad_lib/{name}/__init__.py" for name in PACKAGES}
    stale = [name for name in changed if recipes[name] == COMMITTED[name][0]]
    assert not stale, (
        f"the numbers of {', '.join(stale)} changed: raise RECIPE in {where[stale[0]]} (those after it may only follow from it, "
        f"but have changed too: {', '.join(where[n] for n in stale[1:]) or 'none'}), then commit\n{lines}"
    )
    moved = [name for name in PACKAGES if recipes[name] != COMMITTED[name][0]]
    assert not moved, f"RECIPE of {', '.join(moved)} was raised: commit its numbers\n{lines}"
