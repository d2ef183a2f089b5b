"""What a run is given to learn from: robots of another kind, or fewer people."""

import hashlib
from dataclasses import replace

import pandas
import torch
from tqdm.auto import tqdm

from rovolad_lib import speech
from rovolad_lib.autoencoder.model import Autoencoder
from rovolad_lib.lab import score
from rovolad_lib.metrics.pitch import median_f0
from rovolad_lib.speech import latents, manifest
from rovolad_lib.speech.audio import SAMPLE_RATE, set_level
from rovolad_lib.speech.batches import pad
from rovolad_lib.speech.spectral import stft

SPEEDS = (0.88, 1.14)  # of copies: two semitones lower and higher, the vocal tract as much longer and shorter


class Robots:
    """Latents whose robots are others: robots[i], (E, R), in the place of the robot of held[i], saying the same as evenly."""

    def __init__(self, held, robots):
        self.held, self.robots = held, robots

    def __len__(self):
        return len(self.held)

    def __getitem__(self, i):
        person, before, frame_map = self.held[i]
        return person, self.robots[i], frame_map * self.robots[i].shape[1] // before.shape[1]

    def lengths(self):
        """Return the frames T of every utterance, (N,) long."""
        return self.held.lengths()


def under(encoded, setting):
    """Return Encoded with the robots that a Setting asks for.

    ae "separate": the robot's latents come from a codec of its own, the linear one in closed form, fitted to robot speech
    alone: a space whose axes know nothing of the person's. robots "one": at espeak's own rate, the same latents for the same
    text, in the place of the person's rate, which differs from take to take.
    """
    if setting.ae == "separate":
        encoded = replace(encoded, robot_codec=(codec := own_codec(encoded)))
        data = encoded.data
        path = data.folder / "latents" / f"{data.fingerprint}-{codec.fingerprint()}-{speech.RECIPE}-robot.safetensors"
        apart = latents.encode(data.table, data.folder, codec.encode, path, codec.hop)
        encoded = replace(encoded, latents=Robots(encoded.latents, [apart[i][1] for i in range(len(apart))]))
    if setting.robots == "one":
        table, held = encoded.data.table, encoded.latents
        told = table.index[table.text.notna()].tolist()
        said = dict(zip(told, score.robot_latents(encoded, told), strict=True))
        encoded = replace(encoded, latents=Robots(held, [said[i] if i in said else held[i][1] for i in table.index]))
    return encoded


def pitches(encoded):
    """Return the median pitch in Hz of every utterance's person, at a copy's speed, 0 where nothing is voiced: (rows,)."""
    data, table = encoded.data, encoded.data.table
    speeds = table.speed.fillna(1.0) if "speed" in table else pandas.Series(1.0, table.index)
    rows = tqdm(list(table[speeds == 1].itertuples()), desc="pitch", mininterval=2.0)
    found = {(row.corpus, row.id): median_f0(manifest.wave(row, data.folder)) for row in rows}  # an id is its corpus's own
    return torch.tensor([found[tuple(which)] * speed for *which, speed in zip(table.corpus, table.id, speeds, strict=True)])


def copied(encoded, speeds=SPEEDS):
    """Return Encoded with every training utterance of a speaker again at each speed, said by another speaker of its own.

    The table's column speed says which, 1 of what was there.
    """
    data, table = encoded.data, encoded.data.table
    rows = [i for i in encoded.keep if isinstance(table.speaker[i], str)]
    whose = hashlib.sha256("\n".join(table.id[rows]).encode()).hexdigest()[:12]
    name = f"{data.fingerprint}-{whose}-{encoded.autoencoder.fingerprint()}-{speech.RECIPE}"
    codec, path = encoded.autoencoder, data.folder / "latents" / name
    held = latents.encode_copies(encoded.latents, rows, table, data.folder, codec.encode, path, codec.hop, speeds)
    copies = [table.loc[rows].assign(speaker=table.speaker[rows] + f" x{speed:g}", speed=speed) for speed in speeds]
    together = pandas.concat([table.assign(speed=1.0), *copies], ignore_index=True)
    keep = [*encoded.keep, *range(len(table), len(held))]
    return replace(encoded, data=replace(data, table=together), latents=held, keep=keep)


def apart(encoded, mode):
    """Return how far apart, in ms, stand what robot and person say at the same time by DTW, once both are padded to one length.

    encoded: of whose training utterances it is the mean, over frames of the person; mode: of `batches.pad`; the robot keeps its
    own timing.
    """
    gaps = []
    for i in encoded.keep:
        person, said, frame_map = encoded.latents[i]
        length = max(person.shape[1], said.shape[1])
        ahead, behind = (int(pad([z], mode, length)[1].byte().argmax()) for z in (person, said))
        gaps.append((frame_map + behind - torch.arange(len(frame_map)) - ahead).abs())
    return 1000 * encoded.autoencoder.hop / SAMPLE_RATE * float(torch.cat(gaps).float().mean())


def own_codec(encoded, most=400):
    """Return the linear codec of robot speech alone, fitted once on at most `most` training utterances and kept."""
    data, path = encoded.data, encoded.data.folder / "latents" / f"robot-{encoded.data.fingerprint}-{speech.RECIPE}"
    if not path.with_name(f"{path.name}_encoder.safetensors").is_file():
        rows = data.table.loc[encoded.keep[:: -(-len(encoded.keep) // most)]]
        waves = [set_level(manifest.robot_wave(row, data.folder)) for row in rows.itertuples()]
        codec = Autoencoder(encoded.autoencoder.channels, encoded.autoencoder.config["mels"], None, None)
        magnitude = stft(torch.cat(waves)[None]).abs()
        codec.fit_linear(magnitude[:, : magnitude.shape[1] // 2 * 2])
        codec.standardise(waves)
        codec.save(path)
    return Autoencoder.load(path)


def cut(encoded, without=None, takes="every"):
    """Return Encoded with fewer to train on; what it is scored on stays in the split val_seen.

    without: a speaker, who is then scored in the place of all others, on validation takes and every other training take, so
    that the rest are real takes to compare with. takes: "few", a quarter of the speakers with all they said, or "many", all
    speakers with as many minutes; both are scored on speakers never heard as well. ValueError names the speakers there are.
    """
    table, keep = encoded.data.table.copy(), encoded.keep
    people = sorted(table.speaker[keep].dropna().unique())
    if without is not None:
        if without not in people:
            raise ValueError(f"without={without!r}; accepted: {', '.join(people)}")
        own = table.speaker == without
        table.loc[~own & (table.split == "val_seen"), "split"] = "val_left"
        table.loc[table.index[own & (table.split == "train")][::2], "split"] = "val_seen"
        keep = [i for i in keep if not own[i]]
    if takes != "every":
        table["split"] = table.split.replace("val_unseen", "val_seen")
        few = [i for i in keep if table.speaker[i] in people[:: min(4, len(people))]]
        mixed = table.loc[keep].sample(frac=1, random_state=0)
        mixed = mixed.loc[mixed.groupby("speaker").cumcount().sort_values(kind="stable").index]  # by turns
        share = mixed.duration.cumsum() <= table.duration[few].sum()
        keep = few if takes == "few" else sorted(mixed.index[share])
    return replace(encoded, data=replace(encoded.data, table=table), keep=keep)
