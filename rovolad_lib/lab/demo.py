"""The demo: notebooks 00, 01, 02 and 10 on demo voices, headless, to wav files (`python -m rovolad_lib.lab.demo`)."""

import os
import sys
import time

from rovolad_lib.files import printable
from rovolad_lib.lab.paths import ROOT, RUNS

FOLDER = RUNS / "demo"
SHARED = {"data": str(FOLDER / "data"), "results": str(FOLDER)}  # not the user's own data, not the committed results
NOTEBOOKS = {
    "00_data_combination": {"preset": "small"},
    "01_train_autoencoder": {"preset": "smoke"},
    "02_train_latent_diffusion": {"preset": "small"},
    "10_listen": {"preset": "small"},
}


def main():
    """Run the notebooks and print where the wav files are; returns the exit code, 1 if there are none."""
    printable()
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # as papermill's command does: a debugger's warning
    from papermill import execute_notebook

    began = time.time()
    for number, (name, parameters) in enumerate(NOTEBOOKS.items(), start=1):
        print(f"{number}/{len(NOTEBOOKS)} {name} ...", end=" ", flush=True)
        start, copy = time.time(), FOLDER / f"{name}.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / "notebooks" / f"{name}.ipynb"
        execute_notebook(source, copy, SHARED | parameters, kernel_name="python3", progress_bar=False)
        print(f"{time.time() - start:.0f} s, {copy.relative_to(ROOT).as_posix()}", flush=True)
    waves = [path for path in sorted(FOLDER.rglob("*.wav")) if FOLDER / "data" not in path.parents]
    print(f"\n{time.time() - began:.0f} s in all. {len(waves)} wav files in {FOLDER}:")
    for path in waves:
        print(f"  {path.relative_to(ROOT).as_posix()}")
    return 0 if waves else 1


if __name__ == "__main__":
    sys.exit(main())
