"""What every test shares: no window is opened, one thread, and the reasons of skipped tests listed at the end."""

import multiprocessing
import os
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import is_dataclass

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import Phase, settings

from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.denoiser.model import Denoiser
from rovolad_lib.speech.spectral import stft

matplotlib.use("Agg")  # not by the environment: MPLBACKEND would reach the kernels and hide their figures
if "START" in os.environ:  # START=spawn starts processes as Windows and macOS do
    multiprocessing.set_start_method(os.environ["START"])
settings.register_profile("first", phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS", "default"))  # first: a failing example is told as it is found
torch.set_num_threads(1)  # tiny tensors: waking a second thread costs a thousand times the sum


@pytest.fixture(autouse=True)
def closed():
    """Close what a test drew: figures are left open for notebooks."""
    yield
    plt.close("all")


@pytest.fixture
def disk(request, tmp_path):
    """A disk of as many kB as the test's parameter says."""
    folder = tmp_path / "disk ü"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def codec():
    """A linear codec of six channels, fitted to noise; for nobody to change."""
    noise = torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)) / 20
    model = Autoencoder(6, 20, None, None)
    model.fit_linear(stft(noise).abs())
    model.standardise([noise[0]])
    return model.eval()


def _denoiser(**notes):
    """A small denoiser that answers something everywhere, as its mean does."""
    torch.manual_seed(0)
    model = Denoiser(channels=6, width=16, depth=1, heads=2, patch=2)
    with torch.no_grad():
        for value in (*model.parameters(), model.mean.weight, model.mean.centre):
            value.add_(torch.randn_like(value) / 5)
        model.mean.residual.copy_(torch.rand(6) + 0.5)
    model.notes = {"setting": {"pad": "post", "mask": "on"}, **notes}
    return model.eval()


@pytest.fixture(scope="session")
def denoiser():
    """denoiser(**notes): a small denoiser of the codec's channels, the same every time."""
    return _denoiser


def pytest_collection_modifyitems(items):
    """Put the notebooks first: of two workers one runs them, the other all the rest, and both end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


def pytest_make_parametrize_id(config, val):
    """Name a prior or an objective by its words, without the addresses of its functions, which differ between workers."""
    if is_dataclass(val) or isinstance(val, dict):
        return re.sub(r" at 0x[0-9a-f]+", "", str(val))


def pytest_terminal_summary(terminalreporter):
    """List why tests were skipped, a line each."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped, and why")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} x {reason}")
