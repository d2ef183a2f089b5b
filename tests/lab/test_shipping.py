"""Which voices may be given on, and what of them."""

from dataclasses import replace

import pytest
import torch

from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.lab import shipping
from rovolad_lib.speech import manifest, references
from rovolad_lib.speech.audio import set_level


@pytest.mark.parametrize(
    ("licence", "free"),
    [("CC0", True), ("CC BY 4.0", True), ("public domain", True), ("CC BY-NC-SA 4.0", False), ("CC BY-SA 4.0", False),
     ("BSD-like (CMU ARCTIC)", False), ("public domain, l", False)],
)  # fmt: skip
def test_only_free_voices_are_given_on_and_only_as_long_as_asked_for(encoded, licence, free):
    table = encoded.data.table.assign(licence=licence)
    chosen = shipping.chosen(replace(encoded.data, table=table), seconds=1.0)
    assert sorted(chosen) == (["a", "b"] if free else [])
    if free:
        own = table[table.speaker == "b"].sort_values("duration", ascending=False)
        waves = [set_level(manifest.wave(row, encoded.data.folder)) for row in own.itertuples()]
        assert torch.equal(chosen["b"]["wave"], torch.cat(waves)[:16000])
        assert (chosen["b"]["licence"], chosen["b"]["source"]) == (licence, "s, speaker b")
    assert not shipping.chosen(replace(encoded.data, table=table), seconds=60.0)


def test_the_shipped_file_holds_three_seconds_of_a_dozen_named_voices():
    known, codec = references.shipped(shipping.VOICES), Autoencoder.load()
    assert len(known) >= 12
    attribution = (shipping.VOICES.parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for name, facts in known.items():
        latents = references.latents(shipping.VOICES, name, codec.fingerprint())
        assert latents.shape[0] == codec.channels and 100 <= latents.shape[1] <= 150, name
        assert facts["source"].split(",")[0] in attribution and facts["licence"] in attribution
