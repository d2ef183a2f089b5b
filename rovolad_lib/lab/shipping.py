"""The shipped voices: `python -m rovolad_lib.lab.shipping` writes at most 3 s of latents of each freely licensed speaker.

Only recordings in the public domain, under CC0 or CC BY: they may be given on with their source named, as ATTRIBUTION.md does.
"""

import argparse
import sys

import torch

from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.convert import VOICES
from rovolad_lib.files import printable
from rovolad_lib.lab.data import ready
from rovolad_lib.speech import manifest, references
from rovolad_lib.speech.audio import SAMPLE_RATE, set_level

FREE = r"^(?:CC0|public domain|CC BY \d\.\d)$"  # licences of recordings of which a few seconds may be given on


def chosen(data, seconds=references.SHIPPED_S):
    """Return {speaker: {"wave": (S,), "licence", "source"}} of every freely licensed speaker of lab.data.Data.

    A voice is its longest takes, as many as make up the seconds; a speaker without as much is left out.
    """
    found, table = {}, data.table
    for name, own in table[table.licence.str.fullmatch(FREE)].groupby("speaker"):
        waves = []
        for row in own.sort_values(["duration", "id"], ascending=False).itertuples():
            waves.append(set_level(manifest.wave(row, data.folder)))
            if sum(map(len, waves)) >= seconds * SAMPLE_RATE:
                wave = torch.cat(waves)[: round(seconds * SAMPLE_RATE)]
                found[name] = {"wave": wave, "licence": row.licence, "source": f"{row.source}, speaker {name.split('-')[-1]}"}
                break
    return found


def main(arguments=None):
    """Write the shipped voices' file and print whose they are. Returns the exit code."""
    printable()
    parser = argparse.ArgumentParser(prog="python -m rovolad_lib.lab.shipping", description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of the manifest; data/ if it is left out")
    parser.add_argument("--out", default=VOICES, help="file of the voices")
    given = parser.parse_args(arguments)
    if not (voices := chosen(ready(given.data))):
        parser.error("no speaker here is in the public domain, CC0 or CC BY with 3 s of recordings")
    references.ship(given.out, voices, Autoencoder.load())
    for name, voice in voices.items():
        print(f"{name}: {voice['source']}, {voice['licence']}")
    print(f"{len(voices)} voices in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
