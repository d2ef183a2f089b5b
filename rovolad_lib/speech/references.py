"""References of a voice: recordings looked at before they are believed, and the shipped voices, as latents."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from rovolad_lib.files import reading, replacing
from rovolad_lib.speech.align import active_frames
from rovolad_lib.speech.audio import SAMPLE_RATE, info, load, set_level
from rovolad_lib.speech.spectral import HOP

LONGEST_S = 60.0  # of a file that is read: a voice is known long before
LEAST_S = 1.0  # of speech
LEAST_DB = 5.0  # deviation of the energy of 10 ms: 5.6 to 10 in 126 recordings of people, noise .5, a chord 2, a tune 4
SHIPPED_S = 3.0  # of a shipped voice at most
FRAMES_A_SECOND = 50  # latent frames


def opened(path):
    """Return the first minute of a recording as a wave (S,) at 16 kHz, and remarks (list of str) on what was made of it.

    Errors: ValueError where the file is no audio; FileNotFoundError.
    """
    name = Path(path).name
    try:
        header = info(path)
        wave = load(path, end=min(header.duration, LONGEST_S))
    except RuntimeError as error:  # soundfile's are
        raise ValueError(f"{name} is no recording: {error}; accepted: flac, wav, ogg, opus") from error
    remarks = []
    if header.sample_rate < SAMPLE_RATE:
        remarks.append(f"{name}: {header.sample_rate} Hz, so of the voice only what lies below {header.sample_rate / 2000:g} kHz")
    if header.channels > 1:
        remarks.append(f"{name}: the mean of {header.channels} channels")
    if header.duration > LONGEST_S:
        remarks.append(f"{name}: the first {LONGEST_S:.0f} of {header.duration:.0f} s")
    return wave, remarks


def read(path):
    """Return what `opened` does; ValueError, which names the file, also where `check` finds that nobody speaks in it."""
    wave, remarks = opened(path)
    try:
        check(wave)
    except ValueError as error:
        raise ValueError(f"{Path(path).name}: {error}") from None
    return wave, remarks


def check(wave):
    """Raise ValueError, which says what is accepted, where a wave (S,) at 16 kHz cannot show a voice."""
    if wave.ndim != 1 or not wave.isfinite().all():
        bad = int((~wave.isfinite()).sum())
        raise ValueError(f"a wave of shape {tuple(wave.shape)}, {bad} samples not finite; accepted: (S,), finite")
    if not wave.any():
        raise ValueError(f"{len(wave) / SAMPLE_RATE:.2f} s of silence; accepted: speech")
    active = active_frames(wave)
    if (seconds := int(active.sum()) * HOP / SAMPLE_RATE) < LEAST_S:
        raise ValueError(f"{seconds:.2f} s of sound; accepted: {LEAST_S:g} s of speech or more, 6 s are better")
    power = torch.nn.functional.pad(wave, (0, -len(wave) % HOP)).reshape(-1, HOP).square().mean(1)[active]
    if (moves := float((10 * power.log10()).std())) < LEAST_DB:
        raise ValueError(
            f"a sound as steady as noise or music, its level moves by {moves:.1f} dB; accepted: speech, {LEAST_DB:g} dB"
        )


def ship(path, voices, autoencoder):
    """Write the references of voices as latents, at most 3 s each, in one safetensors file.

    voices: {name: {"wave": (S,) at 16 kHz, "licence", "source": str}}; autoencoder: what encodes them, with `encode` and
    `fingerprint`. Errors: ValueError as `check`, and for a voice without licence or source.
    """
    tensors, facts = {}, {}
    for name, voice in voices.items():
        if not voice.get("licence") or not voice.get("source"):
            raise ValueError(
                f"voice {name!r} has licence {voice.get('licence')!r} and source {voice.get('source')!r}; both are needed"
            )
        check(voice["wave"])
        latents = autoencoder.encode(set_level(voice["wave"])[None])[0][:, : round(SHIPPED_S * FRAMES_A_SECOND)]
        tensors[name] = latents.half().contiguous().cpu()
        facts[name] = {"licence": voice["licence"], "source": voice["source"], "sha256": _hash(tensors[name])}
    with replacing(path) as file:
        save_file(tensors, file, {"voices": json.dumps(facts), "autoencoder": autoencoder.fingerprint()})


def shipped(path):
    """Return {name: {"licence", "source", "sha256"}} of a file of `ship`, none of its latents read; {} where there is none."""
    if not Path(path).is_file():
        return {}
    with reading(path) as file:
        return json.loads(file.metadata()["voices"])


def latents(path, name, fingerprint):
    """Return the latents (E, T) of one voice in a file of `ship`; fingerprint: of the autoencoder that shall decode them.

    Errors: ValueError for an unknown name, for another autoencoder, and where the latents are not those that were written.
    """
    if name not in (known := shipped(path)):
        raise ValueError(f"no shipped voice {name!r}; accepted: {', '.join(known) or 'none, there are none here'}")
    with reading(path) as file:
        wanted, found = file.metadata()["autoencoder"], file.get_tensor(name)
    if wanted != fingerprint:
        raise ValueError(f"the voices of {Path(path).name} are latents of autoencoder {wanted}, got {fingerprint}")
    if _hash(found) != known[name]["sha256"]:
        raise ValueError(f"voice {name!r} of {Path(path).name} is damaged: its hash is another")
    return found.float()


def _hash(tensor):
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
