"""Where things are in the repository; nothing depends on the working directory."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
RUNS = ROOT / "runs"
RESULTS = ROOT / "results"
MODELS = RESULTS / "models"


def folder(value, default):
    """Return the folder that a parameter names, as an absolute path; it need not exist.

    value: str or Path, relative to the caller's working directory, `~` allowed; None takes `default`.
    """
    return Path(default if value is None else value).expanduser().absolute()
