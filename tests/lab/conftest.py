"""What the tests of experiments share: a manifest of two speakers, its noises on disk, and their latents."""

import numpy
import pandas
import pytest
import torch

from rovolad_lib import convert
from rovolad_lib.lab import experiment
from rovolad_lib.lab.data import Data
from rovolad_lib.speech.audio import save

TEXTS = ["five", "four", "one", "three", "two"]


def _row(folder, i, speaker, text, split):
    """Write utterance i, its robot and its frame map, and return its row of the manifest."""
    samples, random = 3200 + 300 * i, torch.Generator().manual_seed(i)
    save(folder / f"{i}.wav", torch.randn(samples, generator=random) / 20)
    save(folder / f"r{i}.wav", torch.randn(4000, generator=random) / 20)
    frames = -(-samples // 160)
    numpy.save(folder / f"{i}.npy", (numpy.arange(frames) * 25 // frames).astype("int32"))
    said = {"id": str(i), "speaker": speaker, "text": text, "split": split, "language": "en"}
    files = {"path": f"{i}.wav", "robot_path": f"r{i}.wav", "align_path": f"{i}.npy"}
    times = {"start": 0.0, "end": samples / 16000, "duration": samples / 16000}
    return said | files | times | {"corpus": "words", "source": "s", "licence": "l", "robot_method": "espeak"}


@pytest.fixture(autouse=True)
def no_shipped_voices(monkeypatch, tmp_path):
    """Let no voice be shipped: those there are belong to the shipped autoencoder, not to the tests'."""
    monkeypatch.setattr(convert, "VOICES", tmp_path / "no voices.safetensors")


@pytest.fixture(scope="package")
def encoded(codec, tmp_path_factory):
    """Two speakers say five words twice, once to train on; for nobody to change."""
    folder = tmp_path_factory.mktemp("data")
    takes = [(speaker, text, split) for split in ("train", "val_seen") for speaker in "ab" for text in TEXTS]
    table = pandas.DataFrame([_row(folder, i, *take) for i, take in enumerate(takes)])
    return experiment.encode(Data(table, folder, "f" * 12, False), codec)
