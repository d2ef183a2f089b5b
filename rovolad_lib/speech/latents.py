"""Latents of a manifest, encoded once: a person's, the robot's, and the frame map that aligns them."""

import json
from contextlib import nullcontext
from functools import partial

import torch
from filelock import FileLock
from safetensors.torch import save_file
from tqdm.auto import tqdm

from rovolad_lib.files import reading, replacing
from rovolad_lib.speech import manifest
from rovolad_lib.speech.audio import SAMPLE_RATE, resample, set_level
from rovolad_lib.speech.spectral import HOP


class Latents:
    """Latents of every utterance of a table, in its order, read from one file.

    latents[i] -> person (E, T), robot (E, R) at its own timing, frame map (T,) long: the robot's frame for the person's.
    """

    def __init__(self, path):
        with reading(path) as file:
            self.frames, self.robot_frames, self.map = (file.get_tensor(k) for k in ("frames", "robot_frames", "map"))
            starts, robot_starts = file.get_tensor("starts"), file.get_tensor("robot_starts")
            self.ids = json.loads(file.metadata()["ids"])
        self.starts, self.robot_starts = starts.tolist(), robot_starts.tolist()

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, i):
        a, b, c, d = *self.starts[i : i + 2], *self.robot_starts[i : i + 2]
        return self.frames[a:b].float().T, self.robot_frames[c:d].float().T, self.map[a:b].long()

    def lengths(self):
        """Return the frames T of every utterance, (N,) long."""
        return torch.tensor(self.starts).diff()


class Copies:
    """Latents, and behind them some of their utterances again at other speeds, as a tape is played: other voices, same words.

    held: Latents; rows: positions of those; speeds: a copy of all rows each; parts: its frames and starts, see `encode_read`. A
    copy's robot is its original's.
    """

    def __init__(self, held, rows, speeds, parts):
        self.held, self.rows, self.speeds, self.parts = held, list(rows), list(speeds), list(parts)

    def __len__(self):
        return len(self.held) + len(self.rows) * len(self.parts)

    def __getitem__(self, i):
        if i < len(self.held):
            return self.held[i]
        copy, row = divmod(i - len(self.held), len(self.rows))
        frames, starts = self.parts[copy]
        _, robot, frame_map = self.held[self.rows[row]]
        person = frames[starts[row] : starts[row + 1]].float().T
        at = (torch.arange(person.shape[1]) * self.speeds[copy]).long().clamp(max=len(frame_map) - 1)
        return person, robot, frame_map[at]

    def lengths(self):
        """Return the frames T of every utterance, (N,) long."""
        return torch.cat([self.held.lengths(), *(starts.diff() for _, starts in self.parts)])


def encode_copies(held, rows, table, data, encode_batch, path, hop, speeds, batch=16):
    """Return Copies of the utterances `rows` at each of some speeds, encoded into a file each, or from the files that are there.

    held: Latents of `table`; path: of the files, to whose name each adds its speed; the rest as for `encode`.
    """
    chosen, parts = table.iloc[rows], []
    for speed in speeds:
        file = path.with_name(f"{path.name}-x{speed:g}.safetensors")
        parts.append(encode_read(chosen, data, partial(_played, speed), encode_batch, file, hop, batch))
    return Copies(held, rows, speeds, parts)


def encode_read(table, data, read, encode_batch, path, hop, batch=16):
    """Encode what `read` (row, data) -> (S,) reads of every row of a table into one file, or leave the file that is there.

    Returns its latents, (sum of T, E) float16, and where each row's begin, (N + 1,) long; the rest as for `encode`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if path.exists() else FileLock(path.with_suffix(".lock")):
        if not path.exists():
            frames = _encode_all(table, data, read, encode_batch, hop, batch)
            starts = torch.tensor([0] + [len(part) for part in frames]).cumsum(0)
            with replacing(path) as temporary:
                save_file({"frames": torch.cat(frames), "starts": starts}, temporary)
    with reading(path) as file:
        return file.get_tensor("frames"), file.get_tensor("starts")


def _played(speed, row, data):
    """Read a person's wave of a row as a tape plays it at a speed."""
    return resample(manifest.wave(row, data), round(SAMPLE_RATE * speed))


def encode(table, data, encode_batch, path, hop, batch=16):
    """Encode every utterance of a table into one file at `path`, or leave the file that is there, and open it.

    table: rows of the manifest; data: its folder; encode_batch: (wave (N, S), lengths (N,)) -> (N, E, T), whose hop in
    samples is `hop`. Speech and robot are set to one level first. Returns Latents. The file is float16.
    Errors: ValueError where the file there is of other utterances, or an alignment is of another length than its recording.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if path.exists() else FileLock(path.with_suffix(".lock")):  # of many that ask at once, the first encodes
        if not path.exists():
            _encode(table, data, encode_batch, path, hop, batch)
    held = Latents(path)
    if held.ids != list(table.id):
        raise ValueError(f"{path} holds latents of other utterances than the {len(table)} asked for; delete it to encode again")
    return held


def _encode(table, data, encode_batch, path, hop, batch):
    """Write the file of `encode`."""
    readers = manifest.wave, manifest.robot_wave
    person, robot = (_encode_all(table, data, read, encode_batch, hop, batch) for read in readers)
    maps = [
        _latent_map(manifest.frame_map(row, data), row.id, len(p), len(r), hop)
        for row, p, r in zip(table.itertuples(), person, robot, strict=True)
    ]
    tensors = {"frames": torch.cat(person), "robot_frames": torch.cat(robot), "map": torch.cat(maps)}
    for name, parts in (("starts", person), ("robot_starts", robot)):
        tensors[name] = torch.tensor([0] + [len(p) for p in parts]).cumsum(0)
    with replacing(path) as file:
        save_file(tensors, file, {"ids": json.dumps(list(table.id))})


def _encode_all(table, data, read, encode_batch, hop, batch):
    """Return float16 latents (T, E) of what `read` reads of every row, encoded in batches of like length."""
    rows, results = list(table.itertuples()), [None] * len(table)
    order = sorted(range(len(rows)), key=lambda i: rows[i].duration)
    name = getattr(read, "func", read).__name__.strip("_")  # of a partial too
    for at in tqdm(range(0, len(order), batch), desc=f"encode {name}", mininterval=2.0):
        chosen = order[at : at + batch]
        waves = [set_level(read(rows[i], data)) for i in chosen]
        lengths = torch.tensor([len(w) for w in waves])
        latents = encode_batch(torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths)  # (N, E, T)
        for i, item, length in zip(chosen, latents, lengths.tolist(), strict=True):
            results[i] = item[:, : -(-length // hop)].T.half().contiguous()
    return results


def _latent_map(frame_map, utterance, frames, robot_frames, hop):
    """Bring a map of 10 ms frames to latent frames: (frames,) int32 below robot_frames."""
    step = hop // HOP
    picked = torch.as_tensor(frame_map)[::step] // step
    if len(picked) != frames:
        given = f"the alignment of {utterance!r} holds {len(picked)} latent frames, its recording {frames}"
        raise ValueError(f"{given}; accepted are as many")
    return picked.clamp(0, robot_frames - 1).int()
